// Where we are, and how to get on: to the next step, along one value, by itself.

const PACE = 1400; // milliseconds a step while playing
let current = 0;
let followed = null; // what is followed from step to step, as `view` knows it; null: nothing
let followedSteps = [];
let timer = null;

const lastStep = steps.length - 1;

/** Go to a step and show it everywhere. */
function go(index) {
  if (!steps.length || index < 0 || index > lastStep) return;
  current = index;
  const step = steps[index];
  document.body.className = view.colour(step);
  showStep(step, index);
  showCode(step);
  showControls();
  view.show(step, index);
  keepStep();
}

function showControls() {
  const slider = byId("slider");
  slider.value = current;
  slider.setAttribute("aria-valuetext", `${byId("pass").textContent}, ${byId("count").textContent}`);
  for (const [id, way] of [["first", -1], ["previous", -1], ["next", 1], ["last", 1]]) {
    byId(id).setAttribute("aria-disabled", String(neighbour(way) === null));
  }
}

/** The nearest step before (-1) or after (1) this one, among those that are followed; or null. */
function neighbour(way) {
  if (followed === null) {
    const index = current + way;
    return index < 0 || index > lastStep ? null : index;
  }
  const there = followedSteps.filter(i => way > 0 ? i > current : i < current);
  return there.length ? there.at(way > 0 ? 0 : -1) : null;
}

function move(way) {
  const index = neighbour(way);
  if (index === null) return pause();
  go(index);
}

const goToEnd = way => go(followed === null ? (way < 0 ? 0 : lastStep) : followedSteps.at(way < 0 ? 0 : -1));

// ---- following one value or variable

/** Step only through what a value takes part in; null: through everything again. */
function follow(value) {
  followed = value;
  followedSteps = value === null ? [] : view.uses(value);
  if (value !== null && !followedSteps.includes(current)) {
    current = followedSteps.find(i => i > current) ?? followedSteps[0];
  }
  showFollowing();
  go(current);
}

function showFollowing() {
  byId("following").hidden = followed === null;
  if (followed !== null) {
    byId("followed").replaceChildren(words().following(view.nameOf(followed)));
  }
  const parts = followedSteps.map(i => {
    const at = 100 * i / Math.max(lastStep, 1);
    return `transparent ${at - 0.25}%, var(--accent) ${at - 0.25}% ${at + 0.25}%, transparent ${at + 0.25}%`;
  });
  const marks = parts.length ? `linear-gradient(90deg, ${parts.join(", ")})` : "none";
  byId("track").style.setProperty("--followed", marks);
}

// ---- playing

function play() {
  if (neighbour(1) === null) goToEnd(-1);
  timer = setInterval(() => move(1), PACE);
  showPlaying();
}

function pause() {
  clearInterval(timer);
  timer = null;
  showPlaying();
}

function showPlaying() {
  const button = byId("play");
  button.classList.toggle("playing", timer !== null);
  button.dataset.label = timer === null ? "play" : "pause";
  button.title = words()[button.dataset.label];
  button.setAttribute("aria-label", button.title);
}
