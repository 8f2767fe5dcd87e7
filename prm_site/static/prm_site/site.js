// Comforts of the tree page; every page works without them.
"use strict";

document.documentElement.classList.add("scripts");

function setAll(isOpen) {
  for (const details of document.querySelectorAll(".step > details")) details.open = isOpen;
}

function openAncestorsOfTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let part = target.firstElementChild; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target.scrollIntoView();
}

document.addEventListener("click", (event) => {
  const control = event.target.closest("[data-steps]");
  if (!control) return;
  event.preventDefault();
  setAll(control.dataset.steps === "open");
});

addEventListener("hashchange", openAncestorsOfTarget);
addEventListener("DOMContentLoaded", openAncestorsOfTarget);
addEventListener("beforeprint", () => setAll(true));
