// The recording, and how its numbers are written.

const data = JSON.parse(document.getElementById("data").textContent);
const steps = data.steps;

const byId = id => document.getElementById(id);

/** An element with classes ("td.number"), properties and children. */
function make(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  node.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** A number in a few digits, with a true minus sign. */
function shortNumber(x) {
  if (typeof x === "boolean") return x ? "1" : "0";
  if (typeof x === "string") return minus({ inf: "∞", "-inf": "-∞" }[x] ?? x);
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return minus(String(x));
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e5) return minus(x.toExponential(1).replace("e+", "e"));
  return minus(String(Number(x.toPrecision(size < 1 ? 3 : 4))));
}

/** A number in all the digits that the page has. */
const longNumber = x => typeof x === "boolean" ? String(x) : minus(String(x));

const minus = text => text.replace(/-/g, "−");

/** What is said of an array in a sentence: a number, or its shape. */
function inWords(array) {
  return array.shape.length === 0 ? shortNumber(array.data[0]) : words().sayShape(array.shape);
}

// ---- formulas

/** A <math> element; `text` is from the page's own store, where everything is escaped. */
function math(text, display = false) {
  const holder = document.createElement("span");
  holder.innerHTML = `<math display="${display ? "block" : "inline"}">${text}</math>`;
  return holder.firstChild;
}

const formulaText = index => data.formulas[index].text.trim();
const formulaMath = index => data.formulas[index].mathml;

/** The formula in brackets if it is more than one symbol. */
function tight(index) {
  const text = formulaMath(index);
  const isOne = !text.includes("<mo>") && !text.includes("<mspace");
  return isOne ? text : `<mrow><mo>(</mo>${text}<mo>)</mo></mrow>`;
}

/** dL/d(value), as a fraction. */
const gradientMath = index => derivative("<mi>L</mi>", tight(index));
const localMath = (y, x) => derivative(tight(y), tight(x));

const derivative = (of, by) => `<mfrac><mrow><mi>∂</mi>${of}</mrow><mrow><mi>∂</mi>${by}</mrow></mfrac>`;

/** What a value is called in the code line of a step: there an argument may have another name. */
function labelOf(step, input) {
  const { label, value } = step.inputs[input];
  return label ?? data.values[value].label;
}
