// Keys for labelling steps: a key clicks or focuses the element with that data-key in the current card.
"use strict";

let sent = null; // the button of the label that was just sent

const allCards = () => [...document.querySelectorAll("article.card")];
const currentCard = () => document.activeElement.closest("article.card");

function goToCard(card) {
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
}

function moveCard(by) {
  const cards = allCards();
  const here = cards.indexOf(currentCard());
  const next = cards[here < 0 ? 0 : Math.max(0, here + by)];
  if (next) goToCard(next);
  else document.querySelector('main a[rel="next"]')?.focus();
}

function press(key) {
  const card = currentCard() ?? allCards()[0];
  const found = card?.querySelector(`[data-key="${key}"]`);
  if (!found) return false;
  if (!currentCard()) goToCard(card);
  if (found.matches("textarea")) found.focus();
  else found.click();
  return true;
}

const LABEL_KEYS = {
  ArrowDown: () => moveCard(1),
  ArrowUp: () => moveCard(-1),
  ArrowRight: () => document.querySelector('main a[rel="next"]')?.click(),
  "?": () => document.getElementById("keys").showModal(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape" && event.target.matches(".labelling textarea")) {
    goToCard(currentCard());
    return;
  }
  if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog, .scroll")) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary, input")) return;
  if (Object.hasOwn(LABEL_KEYS, event.key) && allCards().length) LABEL_KEYS[event.key]();
  else if (!/^[0-9a-z]$|^Enter$/.test(event.key) || !press(event.key)) return;
  event.preventDefault();
});

document.addEventListener("htmx:beforeRequest", (event) => {
  sent = event.detail.requestConfig.triggeringEvent?.submitter ?? null;
});

document.addEventListener("htmx:afterRequest", (event) => {
  const button = sent;
  sent = null;
  if (!event.detail.successful) {
    say(event.detail.xhr.status === 409 ? event.detail.xhr.responseText : "Not stored: the site did not take it");
    return;
  }
  if (!button) return;
  say(button.dataset.said);
  const card = document.getElementById(button.id.replace(/^[a-z]+/, "step"));
  if (card && !currentCard()) goToCard(card);
  if (card && "moves" in button.dataset) moveCard(1);
});
