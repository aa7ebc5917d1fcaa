// Search, and what keeps folded parts within reach. The page is whole without it.
"use strict";
(() => {
  const form = document.querySelector("nav form");
  const input = document.getElementById("search");
  const found = document.getElementById("found");
  const main = document.getElementById("content");
  const folds = [...document.querySelectorAll("details")];

  // What a search shows or hides: rows and messages; and what holds them, which is shown while it holds one.
  const entries = [...main.querySelectorAll("article, tbody tr")].map((node) => ({
    node,
    text: `${node.id} ${node.textContent}`.toLowerCase(),
  }));
  const sections = [...main.querySelectorAll("section")].map((node) => ({
    node,
    inside: entries.filter((entry) => node.contains(entry.node)),
    holders: [...node.querySelectorAll("details, .wide")],
  }));
  const classes = new Map(sections.map((section) => [section.node.id, section]));
  const links = [...document.querySelectorAll("nav li")];

  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const searching = words.length > 0;
    let hits = 0;
    for (const entry of entries) {
      const hit = words.every((word) => entry.text.includes(word));
      entry.node.classList.toggle("missed", !hit);
      entry.hit = hit;
      hits += hit;
    }
    for (const { node, inside, holders } of sections) {
      const named = searching && words.every((word) => node.id.toLowerCase().includes(word));
      if (named) {
        inside.forEach((entry) => entry.node.classList.remove("missed"));
      }
      node.classList.toggle("missed", !named && !inside.some((entry) => entry.hit));
      for (const holder of holders) {
        const some = holder.querySelector("tbody tr:not(.missed)") !== null;
        holder.classList.toggle("missed", !some);
        if (holder.tagName === "DETAILS") {
          holder.open = searching && some && !named;
        }
      }
    }
    for (const link of links) {
      const section = classes.get(link.firstElementChild.hash.slice(1));
      link.classList.toggle("missed", section !== undefined && section.node.classList.contains("missed"));
    }
    document.body.classList.toggle("searching", searching);
    found.textContent = searching ? `${hits} of ${entries.length} rows and messages` : "";
  };

  // A link to something that is folded away opens it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold && !fold.open) {
      fold.open = true;
      target.scrollIntoView();
    }
  };

  form.hidden = false;
  input.addEventListener("input", search);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = main.querySelector("article:not(.missed) .anchor, tbody tr:not(.missed) .anchor");
    if (first) {
      first.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Escape" && input.value) {
      input.value = "";
      search();
      input.focus();
    }
  });
  document.addEventListener("click", (event) => {
    // What is linked to may be among what the search left out.
    const link = event.target.closest("main a[href^='#']");
    if (link && input.value) {
      input.value = "";
      search();
    }
  });
  addEventListener("hashchange", reveal);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = folds.filter((fold) => !fold.open);
    opened.forEach((fold) => (fold.open = true));
  });
  addEventListener("afterprint", () => opened.forEach((fold) => (fold.open = false)));
  reveal();
  if (input.value) {
    search();
  }
})();
