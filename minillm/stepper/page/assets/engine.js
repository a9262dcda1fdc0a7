// A step of the engine: an op computed, or a derivative passed back.

const SIGNS = { add: "+", subtract: "−", multiply: "·", divide: "÷", matmul: "@", power: "^" };
const firstBackward = steps.findIndex(step => step.direction === "backward");

const view = {
  colour: step => step.direction,
  heading: step => words().pass[step.direction],
  sentence,
  values: (step, index) => step.direction === "forward" ? forwardValues(step)
    : step.argument === null ? completeValues(step) : backwardValues(step, index),
  about: resultText,
  build: () => { buildPasses(); buildGraph(); },
  show: (step, index) => { showPasses(step); showGraph(step, index); },
  // What is followed is a value, by its number: the one that the step makes, or the one that receives.
  atHand: step => step.direction === "backward" ? receiver(step) : step.value,
  uses: value => steps.flatMap((step, i) =>
    step.value === value || step.inputs.some(input => input.value === value) ? [i] : []),
  nameOf: value => nameOf(value, data.values[value].label),
  keys: {},
};

/** What a value is called: by its label, and by its line where another value has the same name. */
const nameOf = (value, label) => formulaText(label) + againText(value);

function againText(value) {
  const again = value === null ? null : data.values[value].again;
  return again ? words().again(...again) : "";
}

// ---- the two passes, above the slider

function buildPasses() {
  const W = words();
  const split = firstBackward === -1 ? 1 : firstBackward / steps.length;
  byId("track").style.setProperty("--split", `${100 * split}%`);
  const buttons = [["to-forward", W.forward, 0], ["to-backward", W.backward, firstBackward]];
  byId("passes").replaceChildren(...buttons.filter(b => b[2] !== -1).map(([id, text, first]) => {
    const button = make("button.quiet", { id, type: "button" }, text);
    button.addEventListener("click", () => go(first));
    return button;
  }));
}

function showPasses(step) {
  byId("to-forward").setAttribute("aria-pressed", String(step.direction === "forward"));
  byId("to-backward")?.setAttribute("aria-pressed", String(step.direction === "backward"));
}

/** What L is: the result, summed where it is an array. */
function resultText() {
  if (data.result === null) return "";
  const { label, data: array } = data.values[data.result];
  return words().ofResult(formulaText(label), data.arrays[array].shape.length > 0);
}

// ---- the sentence

/** What happens, in one sentence: shown, and read out by screen readers. */
function sentence(step, index) {
  const W = words();
  const y = nameOf(step.value, data.values[step.value].label);
  if (step.direction === "forward") {
    const from = step.inputs.map((input, i) => inputText(step, i)).filter(Boolean);
    const listed = from.length > 1 ? from.slice(0, -1).join(W.comma) + W.and + from.at(-1) : from.join("");
    const value = data.arrays[data.values[step.value].data];
    return W.sayForward(step.op, listed, y) + W.sayValue(inWords(value));
  }
  if (step.argument === null) return W.sayComplete(y, steps[index - 1]?.direction === "forward");
  const x = nameOf(receiver(step), labelOf(step, step.argument));
  const array = data.arrays[step.accumulated];
  return W.sayBack(step.op, x, before(step, index) === null) + W.sayGradient(inWords(array));
}

function inputText(step, i) {
  const { value, label } = step.inputs[i];
  return label === null && value === null ? "" : nameOf(value, labelOf(step, i));
}

// ---- forwards: inputs, sign, result

function forwardValues(step) {
  const cards = step.inputs.map((input, i) => inputCard(step, i)).filter(Boolean);
  const sign = SIGNS[step.op];
  const given = sign && cards.length === 2 ? [cards[0], signed(sign, cards[1])]
    : cards.length ? [signed(step.op, cards[0], "op"), ...cards.slice(1)] : [signNode(step.op, "op")];
  return [make("div.flow", {}, ...given, signed("=", valueCard(step.value, "result")))];
}

function inputCard(step, i) {
  const { value, label } = step.inputs[i];
  if (value !== null) return valueCard(value, "input", labelOf(step, i));
  if (label === null) return null;
  return make("figure.array.plain", {}, math(formulaMath(label)));
}

function valueCard(value, role, label = data.values[value].label) {
  const { data: array, kind } = data.values[value];
  const isLiteral = kind === "constant" && /^[\d.]+$/.test(formulaText(label)); // the number says it all
  return arrayCard({ label: isLiteral ? "" : formulaMath(label), note: againText(value),
    name: nameOf(value, label), array, role, value, quiet: kind === "constant" });
}

// ---- backwards: incoming . local = contribution, added to what came before

function completeValues(step) {
  const { label, gradient } = data.values[step.value];
  const array = step.incoming ?? gradient;
  return [make("div.flow", {},
    gradientCard(words().complete, label, array, "result", step.value),
    valueCard(step.value, "input"))];
}

function backwardValues(step, index) {
  const W = words();
  const y = data.values[step.value].label, x = labelOf(step, step.argument);
  const to = receiver(step);
  const earlier = before(step, index);
  const contribution = earlier === null
    ? gradientCard(`${W.contribution} = ${W.accumulated}`, x, step.contribution, "result", to)
    : gradientCard(W.contribution, x, step.contribution, "input", to, true);
  const row = [gradientCard(W.incoming, y, step.incoming, "incoming", step.value)];
  if (step.local !== null) {
    row.push(signed("·", arrayCard({ caption: W.local, label: localMath(y, x),
      name: `${W.local} ${formulaText(x)}`, array: step.local, role: "local" })));
  }
  row.push(signed(step.local === null ? "→" : "=", contribution));
  const parts = [make("div.flow", {}, ...row)];
  const note = noteOn(step);
  if (note) parts.push(make("p.small", {}, note));
  const rule = ruleOf(step);
  if (rule) parts.push(rule);
  if (earlier !== null) parts.push(sumOf(step, earlier, x, to));
  return parts;
}

function noteOn(step) {
  const shape = array => array === null ? "" : String(data.arrays[array].shape);
  if (step.local === null) return words().notElementwise;
  return shape(step.local) === shape(step.contribution) ? "" : words().summed;
}

function gradientCard(caption, label, array, role, value, quiet = false) {
  const name = `${caption} ∂L/∂${nameOf(value, label)}`;
  return arrayCard({ caption, label: gradientMath(label), note: againText(value), name, array, role, value,
    quiet });
}

/** The gradient before this step, or null: the sum of what came from the other uses. */
function before(step, index) {
  for (let i = index - 1; i >= 0 && steps[i].direction === "backward"; i--) {
    if (receiver(steps[i]) === receiver(step)) return steps[i].accumulated;
  }
  return null;
}

function sumOf(step, earlier, x, to) {
  const W = words();
  const sum = gradientCard(W.accumulated, x, step.accumulated, "result", to);
  const old = gradientCard(W.earlier, x, earlier, "input", to, true);
  return make("div.flow.sum", {}, old, signed("+", signNode(W.contribution, "word")), signed("=", sum));
}

/** The rule of the derivative table: as a formula, its letters explained, their numbers at hand. */
function ruleOf(step) {
  const { rule } = step, W = words();
  if (!rule) return null;
  const shown = rule.formula === null ? make("code", {}, rule.text) : math(formulaMath(rule.formula));
  const box = make("section.rule", {}, make("h3", {}, W.rule), shown);
  if (rule.formula === null) return box;
  box.append(make("code.small", {}, rule.text));
  const letters = make("ul.letters");
  letters.append(letter("g", W.letterG, gradientMath(data.values[step.value].label)));
  const cards = [];
  const used = name => new RegExp(`\\b${name}\\b`).test(rule.text);
  if (used("y")) {
    letters.append(letter("y", W.letterY, formulaMath(data.values[step.value].label)));
    cards.push(valueCard(step.value, "input"));
  }
  for (const [name, i] of Object.entries(rule.letters)) {
    letters.append(letter(name, W.letterX[i] ?? "", formulaMath(labelOf(step, i))));
    cards.push(valueCard(step.inputs[i].value, "input", labelOf(step, i)));
  }
  box.append(letters);
  if (cards.length) {
    const details = make("details", { open: lettersOpen },
      make("summary", {}, W.letters), make("div.flow", {}, ...cards));
    details.addEventListener("toggle", () => { lettersOpen = details.open; });
    box.append(details);
  }
  return box;
}

let lettersOpen = false;

const letter = (name, meaning, formula) =>
  make("li", {}, math(`<mi>${name}</mi>`), ` ${meaning} `, math(formula));
