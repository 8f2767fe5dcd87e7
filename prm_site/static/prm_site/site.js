// Conveniences of every page; all pages work without them.
"use strict";

document.documentElement.classList.add("scripts");

const said = document.createElement("p");
said.className = "said";
said.setAttribute("role", "status");

function say(words) {
  said.textContent = words;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 2500);
}

// Without a clipboard (it needs HTTPS or localhost) the link opens the plain text.
async function copy(link) {
  try {
    const answer = link.dataset.copy === "link" ? null : await fetch(link.href);
    if (answer && !answer.ok) throw new Error(answer.statusText);
    await navigator.clipboard.writeText(answer ? await answer.text() : link.href);
    say("Copied");
  } catch {
    location.assign(link.href);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-copy]");
  if (link && navigator.clipboard && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    copy(link);
  }
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog).showModal();
});

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const search = document.querySelector("[data-search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});

addEventListener("DOMContentLoaded", () => document.body.append(said));
