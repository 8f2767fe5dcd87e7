// Keys, folding and targets of a tree's page. A step is in view if all <details> around it are open.
"use strict";

const inTree = (selector) => [...document.querySelectorAll(`.steps.root ${selector}`)];
const headOf = (step) => step.querySelector(":scope > details > summary");
const stepOf = (head) => head.closest(".step");
const detailsOf = (head) => head.parentElement;
const nameOf = (step) => step.id.replace("node-", "").replaceAll("-", ".");
const above = (step) => step.parentElement.closest(".step");

function isInView(head) {
  return !head.closest("details:not([open]) > :not(summary)");
}

function headsInView() {
  return inTree(".step > details > summary").filter(isInView);
}

function currentHead() {
  const step = document.activeElement.closest(".steps.root .step");
  return step && headOf(step);
}

function go(head) {
  if (!head) return;
  head.focus({ preventScroll: true });
  head.scrollIntoView({ block: "nearest" });
}

function reveal(step) {
  for (let part = step; part; part = above(part)) {
    if (part !== step) part.querySelector(":scope > details").open = true;
  }
  go(headOf(step));
}

function move(by) {
  const heads = headsInView();
  const here = heads.indexOf(currentHead());
  go(here < 0 ? heads[0] : heads[Math.min(heads.length - 1, Math.max(0, here + by))]);
}

function openOrEnter(head) {
  if (!detailsOf(head).open) detailsOf(head).open = true;
  else {
    const below = stepOf(head).querySelector(":scope > details > .steps > .step");
    if (below) go(headOf(below));
  }
}

function closeOrLeave(head) {
  if (detailsOf(head).open) detailsOf(head).open = false;
  else if (above(stepOf(head))) go(headOf(above(stepOf(head))));
}

function jump(name) {
  const link = document.querySelector(`[data-jump="${name}"]`);
  if (!link) return;
  const step = document.getElementById(new URL(link.href).hash.slice(1));
  if (step) reveal(step);
  else link.click(); // the server sends the page with it opened
}

function nextOf(name, by) {
  const hits = inTree(`.step.${name}`);
  if (!hits.length) return;
  const current = currentHead() && stepOf(currentHead());
  let next = hits.indexOf(current) + by;
  if (current && !hits.includes(current)) {
    const after = hits.findIndex((hit) => current.compareDocumentPosition(hit) & Node.DOCUMENT_POSITION_FOLLOWING);
    next = by > 0 ? after : (after < 0 ? hits.length : after) - 1;
  }
  reveal(hits.at(((next % hits.length) + hits.length) % hits.length));
}

const VERDICTS = { 1: "right", 2: "neutral", 3: "wrong", 0: "none" };

// The response holds the step's scores from all scorers, with the new label.
async function label(key) {
  const step = currentHead() && stepOf(currentHead());
  const root = document.querySelector(".steps.root[data-labels]");
  if (!step || !root) return;
  const target = document.getElementById(`scores-${step.id}`);
  await htmx.ajax("POST", `nodes/${nameOf(step)}/label/`, { source: root, target, swap: "outerHTML", values: { verdict: VERDICTS[key] } });
}

document.addEventListener("htmx:afterRequest", (event) => {
  const { pathInfo, successful, requestConfig, xhr } = event.detail;
  if (!pathInfo?.requestPath.endsWith("/label/")) return;
  const said = requestConfig.parameters.verdict;
  if (!successful) say(xhr.status === 409 ? xhr.responseText : "Not stored: the site did not take it");
  else say(said === "none" ? "Label taken back" : `Labelled ${said}`);
});

// Returns false if it cannot open all steps, because some are not in the page yet: the server then opens them.
function foldAll(isOpen) {
  if (isOpen && document.querySelector(".rest, .gap")) return false;
  let here = currentHead() && stepOf(currentHead());
  for (const details of inTree(".step > details")) details.open = isOpen;
  while (here && !isInView(headOf(here))) here = above(here);
  if (here) go(headOf(here));
  return true;
}

function fold(name) {
  const link = document.querySelector(`[data-steps="${name}"]`);
  if (link && !foldAll(name === "open")) link.click();
}

function leave(rel) {
  document.querySelector(`main a[rel="${rel}"]`)?.click();
}

// Opens the siblings of the current step, or of the step that this page shows.
function compareSiblings() {
  const step = currentHead() && stepOf(currentHead());
  if (step) location.assign(`nodes/${nameOf(step)}/siblings/`);
  else document.querySelector("[data-siblings]")?.click();
}

function copyLink() {
  const step = currentHead() && stepOf(currentHead());
  const link = document.createElement("a");
  link.href = step ? `nodes/${nameOf(step)}/` : location.href;
  link.dataset.copy = "link";
  copy(link);
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  ArrowRight: () => (currentHead() ? openOrEnter(currentHead()) : move(0)),
  ArrowLeft: () => (currentHead() ? closeOrLeave(currentHead()) : move(0)),
  Home: () => go(headsInView()[0]),
  End: () => go(headsInView().at(-1)),
  b: () => jump("best"),
  w: () => jump("worst"),
  n: () => nextOf("hit", 1),
  p: () => nextOf("hit", -1),
  d: () => (document.querySelector(".step.disputed") ? nextOf("disputed", 1) : jump("disputed")),
  0: () => label(0),
  1: () => label(1),
  2: () => label(2),
  3: () => label(3),
  e: () => fold("open"),
  c: () => fold("close"),
  f: () => document.querySelector("main a[download]")?.click(),
  l: copyLink,
  s: compareSiblings,
  t: () => document.querySelector("[data-thoughts]")?.click(),
  "[": () => leave("prev"),
  "]": () => leave("next"),
  "?": () => document.getElementById("keys").showModal(),
};

const OF_EVERY_STEP = new Set(["l", "s", "[", "]"]); // on the page of a single step too

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const isPlace = /^(Arrow|Home|End)/.test(event.key);
  // Until an arrow key enters the tree, Home, End and sideways keys move the page.
  if (isPlace && !currentHead() && !/^Arrow(Up|Down)$/.test(event.key)) return;
  if (isPlace && event.target.closest("svg, .tools, .scroll, header")) return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  if (!document.querySelector(".steps.root") && !OF_EVERY_STEP.has(event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

document.addEventListener("click", (event) => {
  const control = event.target.closest("[data-steps]");
  if (control && foldAll(control.dataset.steps === "open")) event.preventDefault();
  const place = event.target.closest('a[href^="#node-"]');
  const step = place && document.getElementById(place.getAttribute("href").slice(1));
  if (step) reveal(step); // even if the URL names it already
});

// Mark the current step in the picture too.
document.addEventListener("focusin", (event) => {
  const step = event.target.closest(".steps.root .step");
  for (const point of document.querySelectorAll(".picture a.here")) point.classList.remove("here");
  if (step) document.querySelector(`.picture a[href$="#${step.id}"]`)?.classList.add("here");
});

function showTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches(".step")) reveal(target);
}

// On a phone the first screen is for the steps.
if (matchMedia("(max-width: 40rem)").matches) document.querySelector("details.picture")?.removeAttribute("open");

addEventListener("hashchange", showTarget);
addEventListener("DOMContentLoaded", showTarget);
addEventListener("load", showTarget); // after the browser's own jump to the target, which takes the focus
addEventListener("beforeprint", () => {
  for (const details of inTree(".step > details:not(:has(> .rest))")) details.open = true;
});
