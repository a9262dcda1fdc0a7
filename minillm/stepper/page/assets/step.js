// One step: its heading, its sentence, its formula and its numbers. `view` knows what kind of step it is.

function showStep(step, index) {
  const W = words();
  byId("pass").textContent = view.heading(step);
  byId("count").textContent = followed === null ? W.count(index + 1, steps.length)
    : W.countFollowed(followedSteps.indexOf(index) + 1, followedSteps.length, index + 1, steps.length);
  byId("sentence").textContent = view.sentence(step, index);
  byId("formula").hidden = step.formula === null;
  byId("formula").replaceChildren(...(step.formula === null ? [] : [math(formulaMath(step.formula), true)]));
  byId("values").replaceChildren(...view.values(step, index));
  byId("tip").hidden = true;
}

/** A sign and the card after it, which stay on one line. */
const signed = (sign, card, kind = "") => make("div.signed", {}, signNode(sign, kind), card);
const signNode = (text, kind = "") => make(kind ? `span.sign.${kind}` : "span.sign", {}, text);
