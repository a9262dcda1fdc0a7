// The arrays of a launch as they lie in memory: what is touched now, what is masked off, what is known.

const ROWS_DRAWN = 24; // of an array, at most
const MOST = 64; // columns
const BEYOND = 32; // places after the end of an array that are drawn, at most

/** Every element that a launch touches, in order: { step, array, kind, at, number }. */
const touches = data.launches.map(() => []);
steps.forEach((step, i) => {
  for (const { kind, array, touched, numbers, found, left } of step.accesses) {
    const note = (name, all) => touched.forEach((at, k) =>
      touches[step.launch].push({ step: i, array, kind: name, at, number: all[k] }));
    if (kind === "atomic") { note("load", found); note("store", left); } // it finds a number and leaves one
    else note(kind, numbers);
  }
});

/** The elements that are known at a step, by array: what the kernel found, and what it has stored by then. */
function memoryAt(index) {
  const { launch, program } = steps[index];
  const memory = new Map(data.launches[launch].map(a => [a.name, { known: new Map(), mine: new Set() }]));
  for (const touch of touches[launch]) {
    const here = memory.get(touch.array);
    if (!here) continue;
    const reached = touch.step <= index;
    // What the first load of an element finds was there from the beginning.
    if (reached || (touch.kind === "load" && !here.known.has(touch.at) && !here.dirty?.has(touch.at))) {
      here.known.set(touch.at, touch.number);
    }
    if (!reached && touch.kind === "store") (here.dirty ??= new Set()).add(touch.at);
    if (touch.step < index && steps[touch.step].program === program) here.mine.add(touch.at);
  }
  return memory;
}

/** The largest magnitude that an array holds in the launch: colours mean the same at every step. */
const scales = data.launches.map((arrays, launch) => new Map(arrays.map(a => {
  const sizes = touches[launch].filter(t => t.array === a.name && typeof t.number === "number")
    .map(t => Math.abs(t.number));
  return [a.name, sizes.reduce((x, y) => Math.max(x, y), 0)];
})));

function showMemory(step, index) {
  const arrays = data.launches[step.launch], memory = memoryAt(index);
  const drawn = arrays.map(array => memoryCard(array, memory.get(array.name), step));
  byId("scroll").replaceChildren(...drawn);
  byId("key").replaceChildren(...(arrays.length ? legend() : [words().noMemory]));
  const here = byId("scroll").querySelector("td.load, td.store");
  if (here) reveal(byId("scroll"), here.closest("tr"), here);
}

/** What the looks of a square mean. */
function legend() {
  const W = words();
  const looks = [["load", W.now.load], ["store", W.now.store], ["off", W.now.off], ["mine", W.keyMine],
    ["unknown", W.unknown]];
  return [W.key, ...looks.flatMap(([look, text]) => [" ", make("span.swatch-item", {},
    make(`span.number.swatch.${look}`, { "aria-hidden": "true" }), text)])];
}

function memoryCard(array, { known, mine }, step) {
  const now = new Map(), off = new Set();
  for (const access of step.accesses.filter(a => a.array === array.name)) {
    access.off.forEach(at => off.add(at));
    access.touched.forEach(at => now.set(at, lookOf(access.kind)));
  }
  const card = make("figure.array.memory", {}, make("figcaption", {}, make("span.array-name", {}, array.name),
    make("span.shape", {}, `${words().shape(array.shape)} ${array.dtype}`)));
  const table = make("table", { "aria-label": array.name });
  const last = Math.max(array.span - 1, ...[...off].filter(at => at < array.span + BEYOND));
  const rows = rowsDrawn(Math.floor(last / array.row) + 1, [...now.keys(), ...off], array.row);
  const columns = array.flat ? Math.min(array.row, last + 1) : Math.min(array.columns, MOST);
  const from = firstColumn(array, columns, [...now.keys()]);
  if (columns > WIDE) table.classList.add("wide");
  card.classList.toggle("with-numbers", numbersEverywhere);
  const heads = Array.from({ length: columns }, (_, j) => make("th", { scope: "col" }, String(from + j)));
  const body = make("tbody");
  const scale = scales[step.launch].get(array.name);
  let before = -1;
  for (const i of rows) {
    if (i > before + 1) body.append(gapRow(i - before - 1, columns));
    body.append(memoryRow(i, from, columns, { array, known, mine, now, off, last, scale }));
    before = i;
  }
  const left = Math.floor(last / array.row) - before;
  if (left > 0) body.append(gapRow(left, columns));
  table.append(make("thead", {}, make("tr", {}, make("td"), ...heads)), body);
  card.append(make("div.numbers", {}, table));
  const notes = [memoryNote(array, step),
    !array.flat && columns < array.columns ? words().columnsShown(from, from + columns - 1) : ""].filter(Boolean);
  if (notes.length) card.append(make("p.small", {}, notes.join(" · ")));
  return card;
}

/** An atomic operation looks like a store. */
const lookOf = kind => kind === "atomic" ? "store" : kind;

/** All rows where there are few; else those with what is touched, and the first. */
function rowsDrawn(count, touched, width) {
  if (count <= ROWS_DRAWN) return Array.from({ length: count }, (_, i) => i);
  const wanted = [...new Set(touched.map(at => Math.floor(at / width)))].filter(i => i >= 0 && i < count);
  return [...new Set([0, ...wanted.sort((a, b) => a - b)])].slice(0, ROWS_DRAWN);
}

const gapRow = (n, columns) =>
  make("tr", {}, make("td"), make("td.small", { colSpan: columns }, words().rowsLeft(n)));

/** Of a wide array, the column to begin at: so that what is touched first is among those drawn. */
function firstColumn(array, columns, touched) {
  if (array.flat || columns >= array.columns || !touched.length) return 0;
  return Math.min(touched[0] % array.row, array.columns - columns);
}

function memoryRow(i, from, columns, { array, known, mine, now, off, last, scale }) {
  const W = words();
  const row = make("tr", {}, make("th", { scope: "row" }, String(array.flat ? i * array.row : i)));
  for (let j = from; j < from + columns; j++) {
    const at = i * array.row + j;
    if (at > last) break;
    const inside = at < array.span, number = known.get(at);
    if (!inside && !off.has(at)) continue;
    const text = number === undefined ? "·" : shortNumber(number);
    const td = make("td.number", {}, make("span", {}, text));
    const states = [now.get(at), off.has(at) && !now.has(at) ? "off" : "", mine.has(at) ? "mine" : "",
      inside ? "" : "beyond", number === undefined ? "unknown" : ""].filter(Boolean);
    td.classList.add(...states);
    if (typeof number === "number") {
      td.style.setProperty("--heat", (scale ? Math.abs(number) / scale : 0).toFixed(3));
      if (number < 0) td.classList.add("negative");
    }
    const element = elementText(array, at);
    td.dataset.element = `${array.name}:${at}`;
    td.dataset.index = String(at);
    td.dataset.number = number === undefined ? "" : longNumber(number);
    const said = [now.has(at) ? W.now[now.get(at)] : "", states.includes("off") ? W.now.off : "",
      inside ? "" : W.beyond, number === undefined && inside ? W.unknown : ""].filter(Boolean);
    td.dataset.tip = `${element}${number === undefined ? "" : ` = ${longNumber(number)}`}`
      + (said.length ? ` · ${said.join(" · ")}` : "");
    row.append(td);
  }
  return row;
}

/** X[1, 3] of a matrix, X[13] of a row of numbers, by the place in memory. */
function elementText({ name, shape, flat, row }, at) {
  return shape.length === 2 && !flat && at % row < shape[1] && at < shape[0] * row
    ? `${name}[${Math.floor(at / row)}, ${at % row}]` : `${name}[${at}]`;
}

/** In words, for those who see no colours: loaded now: 0-3; masked off: 4-7. */
function memoryNote(array, step) {
  const W = words();
  return step.accesses.filter(a => a.array === array.name).flatMap(a => [
    a.count ? `${W.now[a.kind]}: ${a.where}` : "",
    a.off.length ? `${W.now.off}: ${a.offWhere}` : ""]).filter(Boolean).join(" · ");
}
