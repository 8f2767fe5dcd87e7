// Adds the new steps of a growing tree to the page and removes those that are gone, without
// changing what the reader has opened.
"use strict";

const listIn = (step) => step.querySelector(":scope > details > .steps");
const bodyIn = (step) => step.querySelector(":scope > details > .body");

function exchange(old, fresh) {
  old.replaceWith(fresh);
  htmx.process(fresh);
}

// Leaves the part in which the reader is as it is.
function renew(old, fresh) {
  if (old && fresh && !old.isEqualNode(fresh) && !old.contains(document.activeElement)) exchange(old, fresh);
}

// Open steps stay open, and parts that were loaded later stay in the page.
function updateStep(step, fresh) {
  step.className = fresh.className;
  const head = step.querySelector(":scope > details > summary");
  const newHead = fresh.querySelector(":scope > details > summary");
  if (head.innerHTML !== newHead.innerHTML) head.innerHTML = newHead.innerHTML;
  const body = bodyIn(step);
  const newBody = bodyIn(fresh);
  if (newBody.matches(".rest")) return;
  if (body.matches(".rest")) renew(body, newBody);
  else if (!body.querySelector(".more[open]")) renew(body.querySelector(".meta"), newBody.querySelector(".meta"));
  const steps = listIn(step);
  const newSteps = listIn(fresh);
  if (steps && newSteps) addSteps(steps, newSteps);
  else if (steps) steps.remove();
  else if (newSteps) {
    bodyIn(step).after(newSteps);
    htmx.process(newSteps);
  }
}

// A tree that was emptied and grows again has other steps at the same places.
function isOther(step, fresh) {
  const [text, newText] = [step.dataset.text, fresh.dataset.text];
  return text && newText && text !== newText;
}

// A list without a gap has all its steps.
function removeGone(list, fresh) {
  const isWhole = [...fresh.children].every((one) => one.id);
  const kept = new Set([...fresh.children].map((one) => one.id));
  if (isWhole) for (const old of [...list.children]) if (!kept.has(old.id)) old.remove();
}

function isKnown(gap) {
  return document.getElementById(new URL(gap.querySelector("a").href).hash.slice(1));
}

function addSteps(list, fresh) {
  let before = null;
  removeGone(list, fresh);
  for (const one of [...fresh.children]) {
    let step = one.id ? document.getElementById(one.id) : null;
    if (step && isOther(step, one)) {
      exchange(step, one);
      step = one;
    } else if (step) updateStep(step, one);
    else if (one.id || !isKnown(one)) {
      if (!one.id) for (const old of list.querySelectorAll(":scope > .gap")) old.remove();
      step = one;
      if (before) before.after(step);
      else list.prepend(step);
      htmx.process(step);
    }
    before = step ?? before;
  }
}

const withoutHash = (address) => address.split("#")[0];

document.addEventListener("htmx:beforeSwap", (event) => {
  const answer = event.detail;
  if (answer.target.id !== "growth" || !answer.shouldSwap) return;
  // The reader has searched since the request: do not add other steps to the results.
  if (withoutHash(answer.pathInfo.requestPath) !== withoutHash(location.href)) {
    answer.shouldSwap = false;
    return;
  }
  const page = new DOMParser().parseFromString(answer.serverResponse, "text/html");
  const steps = document.querySelector(".steps.root");
  const fresh = page.querySelector(".steps.root");
  if (!steps || !fresh) {
    const old = document.getElementById("steps");
    const whole = page.getElementById("steps");
    if (whole && !old.isEqualNode(whole)) exchange(old, whole);
    return;
  }
  addSteps(steps, fresh);
  renew(document.querySelector(".picture > svg"), page.querySelector(".picture > svg"));
  renew(document.querySelector("#steps > .found"), page.querySelector("#steps > .found"));
  renew(document.querySelector(".tools > .tabs"), page.querySelector(".tools > .tabs"));
});
