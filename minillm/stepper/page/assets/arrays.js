// Arrays as heat maps that are tables: colours to look at, numbers to hover over and to read out.

const WIDE = 8; // columns; wider arrays show colours alone until numbers are asked for
let numbersEverywhere = false;

/** A card with a caption and an array: scalar, table, or one table for each leading index. */
function arrayCard({ caption, label, note, name, array, role, value, quiet = false }) {
  const W = words();
  const card = make(`figure.array.${role}`);
  const head = make("figcaption");
  if (caption) head.append(make("span.caption", {}, caption));
  if (label) head.append(math(label));
  if (note) head.append(make("span.caption", {}, note));
  card.append(head);
  if (array === null || array === undefined) {
    card.append(make("p.small", {}, W.many));
    return card;
  }
  const stored = data.arrays[array];
  card.append(make("div.numbers", {}, ...tables(stored, name)));
  if (stored.shape.length) head.append(make("span.shape", {}, shapeText(stored)));
  if (isWide(stored)) head.append(numbersButton(card, name));
  if (value !== undefined && value !== null && !quiet) head.append(followButton(value, name));
  return card;
}

/** Whether an array is shown as colours at first: wide ones, and those of more than two axes. */
const isWide = stored => stored.shown.at(-1) > WIDE || stored.shape.length > 2;

function shapeText(stored) {
  const W = words();
  const shape = W.shape(stored.shape);
  return String(stored.shape) === String(stored.shown) ? shape : `${shape}, ${W.elided(stored.shown)}`;
}

function tables(stored, name) {
  const { shape, shown, data: numbers } = stored;
  if (shape.length === 0) {
    return [make("p.scalar", { title: longNumber(numbers[0]) }, shortNumber(numbers[0]))];
  }
  if (numbers.length === 0) return [make("p.small", {}, words().empty)];
  const width = shown.at(-1), height = shape.length > 1 ? shown.at(-2) : 1;
  const found = [];
  for (let start = 0; start < numbers.length; start += width * height) {
    const leading = unravel(start, shown).slice(0, Math.max(shape.length - 2, 0));
    const table = oneTable(stored, start, height, width, leading, name);
    const where = make("p.block", {}, `[${[...leading, ":", ":"].join(", ")}]`);
    found.push(leading.length ? make("div", {}, where, table) : table);
  }
  return found;
}

function oneTable(stored, start, height, width, leading, name) {
  const table = make("table", { "aria-label": `${name}${leading.length ? ` [${leading}, :, :]` : ""}` });
  if (isWide(stored)) table.classList.add("wide");
  const head = make("tr", {}, ...(height > 1 ? [make("td")] : []),
    ...Array.from({ length: width }, (_, j) => make("th", { scope: "col" }, String(j))));
  table.append(make("thead", {}, head));
  const body = make("tbody");
  for (let i = 0; i < height; i++) {
    const row = make("tr");
    if (height > 1) row.append(make("th", { scope: "row" }, String(i)));
    for (let j = 0; j < width; j++) {
      const index = [...leading, ...(stored.shape.length > 1 ? [i] : []), j];
      row.append(cell(stored, start + i * width + j, index));
    }
    body.append(row);
  }
  table.append(body);
  return table;
}

function cell(stored, at, index) {
  const x = stored.data[at];
  const node = make("td.number", {}, make("span", {}, shortNumber(x)));
  node.dataset.index = index.join(", ");
  node.dataset.number = longNumber(x);
  const heat = stored.largest > 0 ? Math.abs(Number(x)) / stored.largest : 0;
  if (typeof x === "string") node.classList.add("odd"); // nan, inf and what is no number
  else node.style.setProperty("--heat", heat.toFixed(3));
  if (Number(x) < 0) node.classList.add("negative");
  return node;
}

/** The indices of the element at a place of the flat data. */
function unravel(at, shape) {
  const index = [];
  for (const n of [...shape].reverse()) {
    index.unshift(at % n);
    at = Math.floor(at / n);
  }
  return index;
}

function numbersButton(card, name) {
  const button = make("button.quiet", { type: "button" }, words().numbers);
  button.setAttribute("aria-label", words().numbersLabel(name));
  const show = on => {
    card.classList.toggle("with-numbers", on);
    button.setAttribute("aria-pressed", String(on));
  };
  show(numbersEverywhere);
  button.addEventListener("click", () => show(!card.classList.contains("with-numbers")));
  return button;
}

function followButton(value, name) {
  const button = make("button.quiet", { type: "button" }, words().follow);
  button.setAttribute("aria-label", words().followLabel(name));
  button.setAttribute("aria-pressed", String(followed === value));
  button.addEventListener("click", () => follow(followed === value ? null : value));
  return button;
}

// ---- the number under the pointer, and its like in arrays of the same shape

function pointAt(event) {
  const here = event.target.closest?.("td.number");
  for (const lit of document.querySelectorAll("td.lit")) lit.classList.remove("lit");
  byId("tip").hidden = !here;
  if (!here) return;
  for (const td of document.querySelectorAll("td.number")) {  // the element of memory, wherever it is shown
    if (here.dataset.element && td.dataset.element === here.dataset.element) td.classList.add("lit");
  }
  const shapeOf = card => card.querySelector(".shape")?.textContent;
  for (const card of byId("values").querySelectorAll("figure.array")) {
    if (shapeOf(card) !== shapeOf(here.closest("figure"))) continue;
    for (const td of card.querySelectorAll("td.number")) {
      if (td.dataset.index === here.dataset.index) td.classList.add("lit");
    }
  }
  const tip = byId("tip"), box = here.getBoundingClientRect();
  tip.textContent = here.dataset.tip ?? `[${here.dataset.index}] = ${here.dataset.number}`;
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${box.top > 40 ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
}
