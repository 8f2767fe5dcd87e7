// Keys for judging pairs. Every form works without them.
"use strict";

let judged = null; // the pair whose review a key has just sent

const allPairs = () => [...document.querySelectorAll("article.pair")];
const pairInHand = () => document.activeElement.closest("article.pair");
// Before a pair has the focus, keys are for the first one that is in view.
const pairForKeys = () => pairInHand() ?? allPairs().find((pair) => pair.getBoundingClientRect().bottom > 0);

function goToPair(pair) {
  pair.focus({ preventScroll: true });
  pair.scrollIntoView({ block: "start" });
}

function movePair(by) {
  const pairs = allPairs();
  const here = pairs.indexOf(pairInHand());
  const next = pairs[here < 0 ? 0 : Math.max(0, here + by)];
  if (next) goToPair(next);
  else document.querySelector('main a[rel="next"]')?.focus();
}

function judge(state) {
  const button = pairForKeys()?.querySelector(`.review button[value="${state}"]`);
  if (!button) {
    say("Your account may not review pairs");
    return;
  }
  judged = pairForKeys();
  judged.focus({ preventScroll: true });
  button.click();
}

function leavePage(rel) {
  document.querySelector(`main a[rel="${rel}"]`)?.click();
}

const REVIEW_KEYS = {
  ArrowDown: () => movePair(1),
  ArrowUp: () => movePair(-1),
  ArrowLeft: () => leavePage("prev"),
  ArrowRight: () => leavePage("next"),
  a: () => judge("accepted"),
  r: () => judge("rejected"),
  o: () => judge("open"),
  n: () => pairForKeys()?.querySelector(".review textarea")?.focus(),
  p: () => pairForKeys()?.querySelector("summary")?.click(),
  "?": () => document.getElementById("keys")?.showModal(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape" && event.target.matches(".review textarea")) {
    goToPair(pairInHand());
    return;
  }
  if (event.target.closest("input, textarea, select, dialog, .scroll")) return;
  if (!Object.hasOwn(REVIEW_KEYS, event.key) || !allPairs().length) return;
  event.preventDefault();
  REVIEW_KEYS[event.key]();
});

document.addEventListener("htmx:afterRequest", (event) => {
  const pair = judged;
  judged = null;
  if (!event.detail.successful) {
    say("Not stored: the site did not take it");
    return;
  }
  const state = event.detail.requestConfig.parameters.state;
  const refused = document.querySelector(".review [role=alert]");
  if (!refused) say(state === "open" ? "Stored" : `Pair ${state}`);
  if (pair && !refused && state !== "open") movePair(1);
});
