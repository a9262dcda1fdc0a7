// A line of a kernel, run by one of its programs: what it loads and stores, and the variables it sets.

document.documentElement.dataset.kind = "kernels";

const view = {
  colour: step => step.accesses.some(a => a.kind !== "load") ? "store" : "load",
  heading: () => {
    const { kernel, time, program } = programOf(current);
    return words().programOf(kernel, time, program);
  },
  sentence: kernelSentence,
  values: (step, index) => [
    ...step.accesses.map(accessCards),
    ...(step.bound.length ? [make("div.flow", {}, ...step.bound.flatMap(b => boundCards(step, b)))] : []),
    ...overTime(index)],
  about: () => data.about[language],
  build: buildPrograms,
  show: (step, index) => { showPrograms(index); showMemory(step, index); },
  // What is followed is a variable, by its function and name.
  atHand: step => step.bound.length ? variable(step, step.bound[0].name) : null,
  uses: key => steps.flatMap((step, i) => step.bound.some(b => variable(step, b.name) === key) ? [i] : []),
  nameOf: key => key.split(" ").at(-1),
  keys: { "]": () => toProgram(1), "[": () => toProgram(-1) },
};

const variable = (step, name) => `${step.function} ${name}`;
const programOf = index => data.programs.find(p => p.first <= index && index <= p.last);

// ---- the sentence

function kernelSentence(step, index) {
  const W = words();
  const said = step.accesses.map(a => {
    const array = a.array || W.address, off = a.size - a.count;
    const what = a.count === 0 ? W.sayNone(a.kind, array)
      : a.kind === "atomic" ? W.sayAtomic(a.operation, a.count, array, a.where)
      : W[a.kind === "load" ? "sayLoad" : "sayStore"](a.count, array, a.where);
    return what + (off ? W.sayOff(off, a.size) : "") + W.stop;
  });
  if (steps[index + 1]?.depth > step.depth && steps[index + 1].launch === step.launch) {
    said.push(W.sayCalls(steps[index + 1].function));
  }
  if (step.bound.length) {
    said.push(W.saySets(step.bound.map(b => W.sayIs(b.name, inBrief(b))).join(W.comma)));
  }
  if (!said.length) said.push(step.head === "return" ? W.sayReturns(data.functions[step.places.at(-2)?.function]?.name)
    : step.head ? W.sayHead(step.head, step.holds) : W.sayNothing);
  return [W.sayLine(step.places.at(-1).line), ...said].join(W.gap);
}

function inBrief({ parts }) {
  const W = words();
  const texts = parts.map(p => "pointer" in p ? W.sayPointer(p.pointer, p.text) : inWords(data.arrays[p.data]));
  return texts.length > 1 ? `(${texts.join(W.comma)})` : texts[0];
}

/** A few numbers as they are, more by their shape. */
function partInBrief(part) {
  if ("pointer" in part) return `${part.pointer} + ${part.text}`;
  const { shape, data: numbers } = data.arrays[part.data];
  if (shape.length === 1 && numbers.length <= 4) return `[${numbers.map(shortNumber).join(", ")}]`;
  return shape.length === 0 ? shortNumber(numbers[0]) : words().shape(shape);
}

// ---- loads, stores, and what is set

function accessCards(access) {
  const W = words();
  const array = access.array || W.address;
  const caption = access.kind === "atomic" ? W.atomic(access.operation) : W[access.kind];
  const name = `${caption} ${array}`;
  const card = arrayCard({ caption, label: `<mi>${escaped(access.array || "?")}</mi>`, name,
    array: access.values, role: access.kind === "load" ? "input" : "result" });
  card.classList.add("access");
  markLanes(card, access);
  if (access.count) card.append(make("p.small", {}, W.elements(access.where)));
  const cards = access.kind === "atomic"
    ? [card, arrayCard({ caption: W.found, name: `${name}: ${W.found}`, array: access.before, role: "input" })]
    : [card];
  if (access.mask === null) return make("div.flow", {}, ...cards);
  return make("div.flow", {}, ...cards, arrayCard({ caption: W.mask, name: `${name}: ${W.mask}`, array: access.mask,
    role: "local" }));
}

/** Each number of a block knows its element; those that are masked off look like it. */
function markLanes(card, { array, offsets, mask, kind }) {
  const W = words(), at = data.arrays[offsets].data, numbers = card.querySelectorAll("td.number");
  const kept = mask === null ? null : data.arrays[mask].data;
  const launch = data.launches[steps[current].launch].find(a => a.name === array);
  numbers.forEach((td, k) => {
    const element = launch ? elementText(launch, at[k]) : String(at[k]);
    const off = kept !== null && !kept[k];
    td.dataset.tip = off ? W.laneOff(td.dataset.index, element, td.textContent)
      : W.lane(td.dataset.index, element, td.dataset.number);
    td.classList.toggle("off", off);
    if (!off) td.classList.add(lookOf(kind));
    if (array) td.dataset.element = `${array}:${at[k]}`;
  });
}

const escaped = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

function boundCards(step, { name, label, parts }) {
  return parts.map((part, k) => {
    const quiet = k < parts.length - 1, value = variable(step, name);
    const called = parts.length > 1 ? `${name}[${k}]` : name;
    if (!("pointer" in part) || part.data !== null) {
      const card = arrayCard({ label: formulaMath(label), name: called, array: part.data, role: "result", value,
        quiet });
      if ("pointer" in part) {
        const caption = make("span.caption", {}, words().pointerTo(part.pointer));
        card.querySelector("figcaption").prepend(caption);
      }
      return card;
    }
    const card = make("figure.array.result", {}, make("figcaption", {}, math(formulaMath(label))),
      make("p.pointer", {}, words().sayPointer(part.pointer, part.text)));
    if (!quiet) card.querySelector("figcaption").append(followButton(value, called));
    return card;
  });
}

// ---- variables over time: the running maximum and sum, among others

/** The variables of the function at hand that took several numbers in this program; and what is followed. */
function overTime(index) {
  const W = words(), step = steps[index], { first, last } = programOf(index);
  const series = new Map();
  for (let i = first; i <= last; i++) {
    for (const b of steps[i].bound) {
      const key = variable(steps[i], b.name);
      if (steps[i].function !== step.function && key !== followed) continue;
      if (!series.has(key)) series.set(key, []);
      series.get(key).push({ index: i, bound: b });
    }
  }
  const isNumber = ({ bound: { parts: [p, ...more] } }) =>
    !more.length && !("pointer" in p) && data.arrays[p.data].shape.length === 0;
  const shown = [...series].filter(([key, all]) => key === followed || (all.length > 1 && all.every(isNumber)));
  if (!shown.length) return [];
  const list = make("dl.series");
  for (const [key, all] of shown) {
    const label = math(formulaMath(all[0].bound.label));
    list.append(make("dt", {}, label), make("dd", {}, ...chips(key, all, index)));
  }
  return [make("section.over-time", {}, make("h3", {}, W.overTime), list)];
}

function chips(key, all, index) {
  const reached = all.filter(x => x.index <= index).length;
  return all.map((x, k) => {
    const text = x.bound.parts.map(partInBrief).join(", ");
    const chip = make("button.chip", { type: "button" }, text);
    chip.setAttribute("aria-label", words().valueAt(view.nameOf(key), k + 1, text));
    chip.classList.toggle("to-come", k >= reached);
    if (k === reached - 1) chip.setAttribute("aria-current", "true");
    chip.addEventListener("click", () => go(x.index));
    return chip;
  });
}

// ---- programs: a stretch of the slider each

// Programs whose names would not stand above their stretch of the slider are a list to choose from.
const MANY = 12, SMALL = 0.07;

function buildPrograms() {
  const W = words(), sizes = data.programs.map(p => p.last - p.first + 1);
  const many = sizes.length > MANY || Math.min(...sizes) < SMALL * steps.length;
  const several = new Set(data.programs.map(p => p.launch)).size > 1;
  const texts = data.programs.map(({ program, kernel, time }) =>
    W.program(program, several && kernel + (time ? ` ${time}` : "")));
  const edges = data.programs.map((p, k) => {
    const [from, to] = [p.first, p.last + 1].map(i => 100 * i / steps.length);
    const colour = k % 2 ? "var(--backward-wash)" : "var(--forward-wash)";
    return `${colour} ${from}%, ${colour} ${to}%`;
  });
  byId("track").style.setProperty("--parts", `linear-gradient(90deg, ${edges.join(", ")})`);
  const holder = byId("passes");
  holder.classList.toggle("programs", !many);
  holder.setAttribute("role", "group");
  holder.setAttribute("aria-label", W.programs);
  if (many) {
    const options = texts.map((text, k) => make("option", { value: k }, text));
    const list = make("select", { id: "program" }, ...options);
    list.setAttribute("aria-label", W.programs);
    list.addEventListener("change", () => jumpToProgram(Number(list.value)));
    return holder.replaceChildren(list);
  }
  holder.style.gridTemplateColumns = sizes.map(n => `minmax(0, ${n}fr)`).join(" ");
  holder.replaceChildren(...texts.map((text, k) => {
    const button = make("button.quiet.program", { type: "button", title: text }, text);
    button.addEventListener("click", () => jumpToProgram(k));
    return button;
  }));
}

function showPrograms(index) {
  const here = data.programs.indexOf(programOf(index));
  if (byId("program")) byId("program").value = here;
  byId("passes").querySelectorAll(".program").forEach((button, k) =>
    button.setAttribute("aria-pressed", String(k === here)));
}

const toProgram = way => jumpToProgram(data.programs.indexOf(programOf(current)) + way);

/** Go to the same line of another program, as often as it has been run here; or to the program's first. */
function jumpToProgram(k) {
  const there = data.programs[k], here = programOf(current);
  if (!there) return;
  const place = step => step.places.map(p => `${p.function}:${p.line}`).join(" ");
  const wanted = place(steps[current]);
  const times = steps.slice(here.first, current + 1).filter(step => place(step) === wanted).length;
  let seen = 0;
  const same = steps.findIndex((step, i) =>
    i >= there.first && i <= there.last && place(step) === wanted && ++seen === times);
  if (followed !== null && same !== -1 && !followedSteps.includes(same)) follow(null);
  go(same === -1 ? there.first : same);
}
