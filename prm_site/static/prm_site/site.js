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

// Without a clipboard the text is selected, so that the reader can copy it.
async function copyText(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    say("Copied");
  } catch {
    getSelection().selectAllChildren(element);
    say("Selected");
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-copy]");
  if (link && navigator.clipboard && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    copy(link);
  }
  const copier = event.target.closest("[data-copies]");
  if (copier) copyText(copier.previousElementSibling);
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog).showModal();
});

addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector(".menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  // A tree has a search of its own; elsewhere the key leads to the search of the site.
  const search = document.querySelector("[data-search]") ?? document.getElementById("find");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});

addEventListener("DOMContentLoaded", () => document.body.append(said));
