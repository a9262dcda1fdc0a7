// What stays while we step: language, colours, the equation, and the address, which keeps all choices.

const THEMES = ["auto", "light", "dark"];
let theme = "auto";

function setLanguage(name) {
  language = name;
  const W = words();
  translate();
  document.title = data.title[language];
  byId("title").textContent = data.title[language];
  byId("language").textContent = W.language;
  byId("language").title = W.languageLabel;
  buildEquation();
  buildCode();
  view.build();
  buildKeys();
  setTheme(theme);
  showPlaying();
  showFollowing();
  go(current);
}

function setTheme(name) {
  theme = name;
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = `◐ ${words().theme[name]}`;
  byId("theme").setAttribute("aria-label", `${words().themeLabel}: ${words().theme[name]}`);
}

function buildEquation() {
  const W = words(), row = data.equation;
  byId("equation").hidden = !row;
  const about = [row ? W.about(row.section, row.source) : "", view.about()].filter(Boolean);
  byId("about").textContent = about.join(" · ");
  if (!row) return;
  byId("latex").replaceChildren(...row.lines.map(line => fromLatex(line, line.latex)));
  byId("symbols").replaceChildren(...row.symbols.flatMap(s =>
    [make("dt", {}, fromLatex(s, s.symbol)), make("dd", {}, s.meaning[language])]));
}

/** MathML if the page was made with latex2mathml, else the text that it would be made from. */
function fromLatex({ mathml }, text) {
  const holder = make("div");
  if (mathml) holder.innerHTML = mathml;
  else holder.append(make("code", {}, text));
  return holder;
}

function buildKeys() {
  byId("key-list").replaceChildren(...words().keyList.flatMap(([keys, what]) => [
    make("dt", {}, ...keys.split(" ").map(k => make("kbd", {}, k))), make("dd", {}, what)]));
}

function switchNumbers() {
  numbersEverywhere = !numbersEverywhere;
  go(current);
}

// ---- the address: #step=12&lang=zh&theme=dark

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const step = Number(parts.get("step"));
  if (Number.isInteger(step) && step >= 1) current = Math.min(step, steps.length) - 1;
  if (THEMES.includes(parts.get("theme"))) theme = parts.get("theme");
  setLanguage(Object.hasOwn(WORDS, parts.get("lang")) ? parts.get("lang") : language);
}

let waiting = null;

/** Keep the step there too, once we stay at one: browsers refuse to change the address at every key. */
function keepStep() {
  clearTimeout(waiting);
  waiting = setTimeout(() => keep("step", current + 1), 150);
}

/** Keep a choice in the address, so that a reload or a link has it too. */
function keep(name, value) {
  if (location.protocol === "about:") return; // inside a notebook's frame there is no address
  const parts = new URLSearchParams(location.hash.slice(1));
  parts.set(name, value);
  history.replaceState(null, "", `#${parts}`);
}
