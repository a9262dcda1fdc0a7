// The graph: the current value lit, what is already known in full, what is still to come pale.

const nodes = new Map([...document.querySelectorAll("#graph .node")].map(n => [Number(n.dataset.value), n]));
const edges = [...document.querySelectorAll("#graph .line")].map(path =>
  ({ path, from: Number(path.dataset.from), to: Number(path.dataset.to) }));

function buildGraph() {
  byId("key").textContent = nodes.size ? words().key : words().noGraph;
}

// A picture somewhat too wide shrinks to its panel; one much too wide is scrolled.
if (nodes.size) byId("graph").style.minWidth = `${0.6 * byId("graph").width.baseVal.value}px`;

for (const [value, node] of nodes) {
  node.addEventListener("click", () => go(stepOf(value)));
}

/** The step that belongs to a value: in the pass at hand, where it is made or first receives. */
function stepOf(value) {
  const made = data.values[value].madeBy;
  if (steps[current].direction === "backward") {
    const receives = steps.findIndex(s => s.direction === "backward" && receiver(s) === value);
    if (receives !== -1) return receives;
  }
  return made ?? steps.findIndex(s => s.inputs.some(i => i.value === value));
}

/** The value whose gradient a backward step adds to, or begins to pass on. */
function receiver(step) {
  return step.argument === null ? step.value : step.inputs[step.argument].value;
}

function showGraph(step, index) {
  const back = step.direction === "backward";
  const reached = new Set();
  for (let i = 0; i <= index; i++) {
    if (back && steps[i].direction === "backward") reached.add(receiver(steps[i]));
    if (!back) reached.add(steps[i].value);
  }
  const target = back ? receiver(step) : step.value;
  const passing = step.argument === null ? [] : [step.value];
  const sources = new Set(back ? passing : step.inputs.map(input => input.value));
  for (const [value, node] of nodes) {
    const known = reached.has(value) || (!back && data.values[value].kind !== "computed");
    node.classList.toggle("known", known);
    node.classList.toggle("now", value === target);
    node.classList.toggle("source", sources.has(value) && value !== target);
    node.classList.toggle("followed", value === followed);
    node.tabIndex = value === target ? 0 : -1;
    if (value === target) node.setAttribute("aria-current", "step");
    else node.removeAttribute("aria-current");
  }
  for (const { path, from, to } of edges) {
    const lit = back ? step.argument !== null && to === step.value && from === target
      : to === step.value && sources.has(from);
    path.classList.toggle("now", lit);
    path.classList.toggle("known", back ? reached.has(from) && reached.has(to) : reached.has(to));
  }
  if (nodes.has(target)) reveal(byId("scroll"), nodes.get(target));
  else if (nodes.size) nodes.values().next().value.tabIndex = 0;
}
