// The source: functions one below the other, the current expression and its callers marked.

const lineNodes = new Map(); // "function:line" -> the line's element
let marked = [];

function buildCode() {
  const holder = byId("functions");
  holder.replaceChildren();
  lineNodes.clear();
  marked = [];
  data.functions.forEach((f, number) => holder.append(buildFunction(f, number)));
  if (!data.functions.length) holder.append(make("p.small", {}, words().noSource));
}

function buildFunction(f, number) {
  const block = make("div.function", { role: "group" });
  block.setAttribute("aria-label", f.name);
  block.append(make("p.where", {}, make("span.name", {}, f.name), f.file ? ` ${f.file}` : ""));
  if (!f.lines.length) {
    block.append(make("p.small", {}, words().noSource));
    return block;
  }
  const list = make("div.lines");
  f.lines.forEach((pieces, i) => {
    const line = f.first + i;
    const folded = f.doc && line > f.doc[0] && line <= f.doc[1];
    const shown = make("span.line-number", { "aria-hidden": "true" }, String(line));
    const code = make("code", {}, ...coloured(pieces));
    code.style.setProperty("--hang", Math.min(marginOf(pieces), 12) + 4);
    const item = make("div.line", { hidden: Boolean(folded) }, shown, code);
    if (f.doc && line === f.doc[0]) {
      item.classList.add("folded");
      item.append(foldButton(f, number));
    }
    if (firstStepAt(number, line) !== -1) makeJump(item, number, line);
    lineNodes.set(`${number}:${line}`, item);
    list.append(item);
  });
  block.append(list);
  return block;
}

function foldButton(f, number) {
  const hidden = f.doc[1] - f.doc[0];
  const button = make("button.quiet.fold", { type: "button" }, words().fold(hidden));
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", event => {
    event.stopPropagation();
    const open = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(open));
    button.parentNode.classList.toggle("folded", !open);
    button.textContent = open ? words().unfold : words().fold(hidden);
    for (let line = f.doc[0] + 1; line <= f.doc[1]; line++) lineNodes.get(`${number}:${line}`).hidden = !open;
  });
  return button;
}

/** A line that steps belong to: choosing it goes to the next of them, and around. */
function makeJump(item, number, line) {
  item.classList.add("jump");
  item.tabIndex = -1;
  item.setAttribute("role", "button");
  item.addEventListener("click", () => go(nextStepAt(number, line)));
}

const isAt = (step, number, line) =>
  step.places.some(p => p.function === number && p.line <= line && line <= p.endLine);

const firstStepAt = (number, line) => steps.findIndex(step => isAt(step, number, line));

function nextStepAt(number, line) {
  const later = steps.findIndex((step, i) => i > current && isAt(step, number, line));
  return later !== -1 ? later : firstStepAt(number, line);
}

/** The pieces of a line as nodes; those between the columns `from` and `to` inside a mark. */
function coloured(pieces, from = 0, to = 0, kind = "") {
  const before = [], inside = [], after = [];
  let at = 0;
  for (const [style, text] of pieces) {
    const cuts = [at, clamp(from, at, at + text.length), clamp(to, at, at + text.length), at + text.length];
    [before, inside, after].forEach((part, i) => {
      const piece = text.slice(cuts[i] - at, cuts[i + 1] - at);
      if (piece) part.push(style ? make(`span.${style}`, {}, piece) : piece);
    });
    at += text.length;
  }
  return inside.length ? [...before, make(`mark.${kind}`, {}, ...inside), ...after] : [...before, ...after];
}

/** How many blanks a line begins with. */
const marginOf = pieces => pieces.map(p => p[1]).join("").search(/\S|$/);

const clamp = (x, low, high) => Math.max(low, Math.min(x, high));

/** Mark a step's expression, and outside of it the calls that led there. */
function showCode(step) {
  for (const { item, pieces } of marked) {
    item.classList.remove("now", "caller");
    item.removeAttribute("aria-current");
    item.querySelector("code").replaceChildren(...coloured(pieces));
  }
  marked = [];
  step.places.forEach((place, depth) => {
    const kind = depth === step.places.length - 1 ? "now" : "caller";
    for (let line = place.line; line <= place.endLine; line++) markLine(place, line, kind);
  });
  for (const item of lineNodes.values()) if (item.tabIndex === 0) item.tabIndex = -1;
  const here = marked.find(({ item }) => item.classList.contains("now"))?.item
    ?? document.querySelector("#functions .jump");
  if (here?.classList.contains("jump")) here.tabIndex = 0;
  if (here) reveal(byId("functions"), here, document.querySelector("#functions mark.now") ?? here.firstChild);
  showPath(step);
  byId("line").replaceChildren(...linesOf(step.places.at(-1)));
}

/** The lines at work once more, for windows in which the code lies below. */
function linesOf(place) {
  const f = data.functions[place?.function];
  const found = [];
  if (f?.lines.length) byId("line").style.setProperty("--margin", marginOf(f.lines[place.line - f.first]));
  for (let line = place?.line; f?.lines.length && line <= place.endLine; line++) {
    found.push(make("div", {}, lineNodes.get(`${place.function}:${line}`).querySelector("code").cloneNode(true)));
  }
  return found;
}

function markLine(place, line, kind) {
  const item = lineNodes.get(`${place.function}:${line}`);
  if (!item) return;
  const f = data.functions[place.function];
  const pieces = f.lines[line - f.first];
  const from = line === place.line ? place.column : marginOf(pieces);
  const to = line === place.endLine ? place.endColumn : Infinity;
  item.classList.add(kind);
  if (kind === "now") item.setAttribute("aria-current", "step");
  item.hidden = false;
  item.querySelector("code").replaceChildren(...coloured(pieces, from, to, kind));
  marked.push({ item, pieces });
}

/** The call path: adam_step › sigmoid. */
function showPath(step) {
  const names = step.places.map(p => data.functions[p.function].name);
  const parts = names.map((name, i) => make(i === names.length - 1 ? "strong" : "span", {}, name));
  byId("path").replaceChildren(...parts.flatMap((part, i) => i ? [" › ", part] : [part]));
}

/** When a panel was last scrolled. */
const scrolled = new WeakMap();

/** Scroll a panel, and only it, so that a row of it can be seen: to the middle if it is not; and sideways
 *  no further than it takes to see all of `part`, back to the left where that will do. Whoever goes fast or
 *  far does not wait for an animation. */
function reveal(panel, row, part = row) {
  const a = row.getBoundingClientRect(), b = panel.getBoundingClientRect();
  const outside = a.top < b.top + 20 || a.bottom > b.bottom - 20;
  const right = part.getBoundingClientRect().right - b.left + panel.scrollLeft;
  const down = outside ? (a.top + a.bottom - b.top - b.bottom) / 2 : 0;
  const now = performance.now(), hurried = now - (scrolled.get(panel) ?? 0) < 600;
  scrolled.set(panel, now);
  panel.scrollTo({
    behavior: hurried || Math.abs(down) > panel.clientHeight ? "instant" : "auto",
    top: panel.scrollTop + down,
    left: Math.max(0, right + 24 - panel.clientWidth),
  });
}
