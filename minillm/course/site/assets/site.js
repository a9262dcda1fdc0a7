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
// Only once it is loaded: a change before would break the loading off. Replaced, so that the browser's
// back button still leaves the page.
const loaded = new Set();

function dressSteppers() {
  if (!root.dataset.theme) return;
  for (const frame of loaded) {
    if (frame.dataset.theme === root.dataset.theme) continue;
    frame.dataset.theme = root.dataset.theme;
    frame.contentWindow.location.replace(`${frame.src}#theme=${root.dataset.theme}`);
  }
}

for (const frame of document.querySelectorAll(".stepper iframe")) {
  frame.addEventListener("load", () => { loaded.add(frame); dressSteppers(); });
}

// The other language opens at the same heading: both have the same ones.
document.querySelector("header .other")?.addEventListener("click", (event) => {
  const line = document.querySelector("header").getBoundingClientRect().bottom + 40;
  const passed = [...document.querySelectorAll("main [id]")].filter((heading) =>
    /^H\d$/.test(heading.tagName) && heading.getBoundingClientRect().top <= line);
  event.currentTarget.hash = passed.length ? passed[passed.length - 1].id : "";
});

const field = document.getElementById("search");
const list = document.getElementById("found");
const count = document.getElementById("count");

function open(is) {
  list.hidden = !is;
  field.setAttribute("aria-expanded", String(is));
}

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

// Whether a word, not Chinese, goes on at a place.
function insideWord(body, at) {
  return /^[^\s\u3000-\u9fff\uff00-\uffef]{2}$/.test(body.slice(at - 1, at + 1));
}

// A piece of text around the first word, from a word's beginning to a word's end, with the words marked.
function excerpt(body, words) {
  const first = Math.min(...words.map((w) => body.toLowerCase().indexOf(w)).filter((i) => i >= 0));
  let at = Number.isFinite(first) ? Math.max(0, first - 30) : 0;
  while (at > 0 && insideWord(body, at)) at -= 1;
  let end = Math.min(body.length, at + 120);
  while (end < body.length && insideWord(body, end)) end += 1;
  const small = document.createElement("small");
  if (at > 0) small.append("…");
  let rest = body.slice(at, end).trim();
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
  if (end < body.length) small.append("…");
  return small;
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = search(field.value);
  open(words.length > 0);
  count.textContent = !words.length ? "" : found.length ? field.dataset.count.replace("{0}", found.length) : field.dataset.nothing;
  list.replaceChildren(...found.map(({ to, lesson, heading, body }) => {
    const item = document.createElement("li");
    item.setAttribute("role", "none");
    const link = document.createElement("a");
    link.setAttribute("role", "option");
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
    if (event.key === "Escape" && !list.hidden) {
      if (list.contains(document.activeElement)) field.focus();
      open(false);
    }
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !list.hidden && field.closest(".search").contains(document.activeElement)) {
      const links = [field, ...list.querySelectorAll("a")];
      const next = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      links[Math.max(0, Math.min(next, links.length - 1))].focus();
      event.preventDefault();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) open(false);
  });
}
