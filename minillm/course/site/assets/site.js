// Theme, and search over the index that the page brought along. Nothing is asked of the network.
"use strict";

const root = document.documentElement;

function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }  // a browser may forbid it for files
}

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* then it is forgotten */ }
}

if (remembered("theme")) root.dataset.theme = remembered("theme");

document.getElementById("theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
  dressSteppers();
});

// A frame from the disk cannot be scripted; its address can: the stepper reads #theme=... and watches it.
// Only once it is loaded: a change before would break the loading off.
const loaded = new Set();

function dressSteppers() {
  if (!root.dataset.theme) return;
  for (const frame of loaded) {
    const [page] = frame.getAttribute("src").split("#");
    const src = `${page}#theme=${root.dataset.theme}`;
    if (frame.getAttribute("src") !== src) frame.src = src;
  }
}

for (const frame of document.querySelectorAll(".stepper iframe")) {
  frame.addEventListener("load", () => { loaded.add(frame); dressSteppers(); });
}

const field = document.getElementById("search");
const list = document.getElementById("found");

// Sections that hold every word that was typed; those with words in their headings first.
function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const scored = [];
  for (const [to, lesson, heading, body] of INDEX) {
    const parts = [heading, lesson, body].map((part) => part.toLowerCase());
    if (!words.every((word) => parts.some((part) => part.includes(word)))) continue;
    const score = words.reduce((sum, word) => sum + (parts[0].includes(word) ? 4 : 0) + (parts[1].includes(word) ? 2 : 0), 0);
    scored.push({ to, lesson, heading, body, score });
  }
  return scored.sort((a, b) => b.score - a.score).slice(0, 12);
}

// A piece of text around the first word, with the words marked.
function excerpt(body, words) {
  const at = Math.max(0, Math.min(...words.map((w) => body.toLowerCase().indexOf(w)).filter((i) => i >= 0), body.length) - 30);
  const small = document.createElement("small");
  let rest = body.slice(at, at + 120);
  while (rest) {
    const places = words.map((w) => [rest.toLowerCase().indexOf(w), w.length]).filter(([i]) => i >= 0);
    if (!places.length) break;
    const [i, n] = places.sort((a, b) => a[0] - b[0])[0];
    const mark = document.createElement("mark");
    mark.textContent = rest.slice(i, i + n);
    small.append(rest.slice(0, i), mark);
    rest = rest.slice(i + n);
  }
  small.append(rest);
  return small;
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = search(field.value);
  list.hidden = !words.length;
  list.replaceChildren(...found.map(({ to, lesson, heading, body }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = to;
    link.append(heading ? `${lesson}: ${heading}` : lesson, excerpt(body, words));
    item.append(link);
    return item;
  }));
  if (words.length && !found.length) {
    const item = document.createElement("li");
    item.textContent = field.dataset.nothing;
    list.append(item);
  }
}

if (field) {
  field.addEventListener("input", show);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); field.focus(); }
    if (event.key === "Escape") { list.hidden = true; }
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !list.hidden && field.closest(".search").contains(document.activeElement)) {
      const links = [field, ...list.querySelectorAll("a")];
      const next = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      links[Math.max(0, Math.min(next, links.length - 1))].focus();
      event.preventDefault();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) list.hidden = true;
  });
}
