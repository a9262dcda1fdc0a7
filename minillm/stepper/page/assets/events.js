// Keys, buttons and the start.

const KEYS = {
  ArrowRight: () => move(1), ArrowLeft: () => move(-1), Home: () => goToEnd(-1), End: () => goToEnd(1),
  " ": () => timer === null ? play() : pause(),
  f: () => follow(followed === null ? view.atHand(steps[current]) : null),
  Escape: () => follow(null),
  n: switchNumbers, l: () => byId("language").click(), "?": () => byId("keys").showModal(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open || !steps.length) return;
  if (event.target.closest?.("select")) return; // the list has keys of its own
  const place = event.target.closest?.("#functions .jump, #graph .node");
  if (place && event.key === "ArrowUp") moveFocus(place, -1);
  else if (place && event.key === "ArrowDown") moveFocus(place, 1);
  else if (place && (event.key === "Enter" || event.key === " ")) choose(place);
  else if (event.key === " " && event.target.closest?.("button, summary")) return; // it presses the button
  else if (event.key === "Escape" && followed === null) return;
  else if (KEYS[event.key] ?? view.keys[event.key]) (KEYS[event.key] ?? view.keys[event.key])();
  else return;
  event.preventDefault();
}

/** Up and down among the code lines with steps, or among the graph's nodes. */
function moveFocus(place, way) {
  const alike = place.matches(".node") ? "#graph .node" : "#functions .jump:not([hidden])";
  const all = [...document.querySelectorAll(alike)];
  const next = all[all.indexOf(place) + way];
  if (!next) return;
  place.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function choose(place) {
  place.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  place.tabIndex = 0;
  place.focus();
}

function start() {
  byId("slider").max = Math.max(lastStep, 0);
  const clicks = {
    first: () => goToEnd(-1), previous: () => move(-1), next: () => move(1), last: () => goToEnd(1),
    play: () => timer === null ? play() : pause(), unfollow: () => follow(null),
    language: () => { setLanguage(language === "en" ? "zh" : "en"); keep("lang", language); },
    theme: () => { setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]); keep("theme", theme); },
    help: () => byId("keys").showModal(),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  byId("slider").addEventListener("input", event => go(Number(event.target.value)));
  document.addEventListener("keydown", onKey);
  document.addEventListener("pointerover", pointAt);
  addEventListener("hashchange", recall);
  if (innerWidth >= 1280 && innerHeight >= 800) document.querySelector("#equation details").open = true;
  recall();
  if (!steps.length) byId("sentence").textContent = words().noSteps;
}

start();
