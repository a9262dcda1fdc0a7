// Where we are, and how to get on: to the next step, along one value, by itself.

const PACE = 1400; // milliseconds a step while playing
let current = 0;
let followed = null; // the value whose steps we go through, or null for all
let followedSteps = [];
let timer = null;

const lastStep = steps.length - 1;
const firstBackward = steps.findIndex(step => step.direction === "backward");

/** Go to a step and show it everywhere. */
function go(index) {
  if (!steps.length || index < 0 || index > lastStep) return;
  current = index;
  const step = steps[index];
  document.body.className = step.direction;
  showStep(step, index);
  showCode(step);
  showGraph(step, index);
  showControls();
  keepStep();
}

function showControls() {
  const slider = byId("slider");
  slider.value = current;
  slider.setAttribute("aria-valuetext", `${byId("pass").textContent}, ${byId("count").textContent}`);
  for (const [id, way] of [["first", -1], ["previous", -1], ["next", 1], ["last", 1]]) {
    byId(id).setAttribute("aria-disabled", String(neighbour(way) === null));
  }
  byId("to-forward").setAttribute("aria-pressed", String(steps[current].direction === "forward"));
  byId("to-backward").setAttribute("aria-pressed", String(steps[current].direction === "backward"));
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

// ---- following one value

/** Step only through what a value takes part in; null: through everything again. */
function follow(value) {
  followed = value;
  followedSteps = value === null ? [] : usesOf(value);
  if (value !== null && !followedSteps.includes(current)) {
    current = followedSteps.find(i => i > current) ?? followedSteps[0];
  }
  showFollowing();
  go(current);
}

const usesOf = value => steps.flatMap((step, i) =>
  step.value === value || step.inputs.some(input => input.value === value) ? [i] : []);

function showFollowing() {
  byId("following").hidden = followed === null;
  if (followed !== null) {
    byId("followed").replaceChildren(words().following(formulaText(data.values[followed].label)));
  }
  const parts = followedSteps.map(i => {
    const at = 100 * i / Math.max(lastStep, 1);
    return `transparent ${at - 0.25}%, var(--accent) ${at - 0.25}% ${at + 0.25}%, transparent ${at + 0.25}%`;
  });
  const marks = parts.length ? `linear-gradient(90deg, ${parts.join(", ")})` : "none";
  byId("track").style.setProperty("--followed", marks);
}

/** What `f` follows: the value that the step makes, or the one that receives. */
const valueAtHand = () => receiverOrResult(steps[current]);
const receiverOrResult = step => step.direction === "backward" ? receiver(step) : step.value;

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
