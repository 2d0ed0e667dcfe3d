"use strict";
// Tooltips: the text lies in data-tip, escaped; textContent keeps it text.
const tip = document.getElementById("tip");
for (const zone of document.querySelectorAll("[data-tip]")) {
  zone.querySelector("title")?.remove(); // the browser's own tooltip would double ours
  zone.addEventListener("pointermove", (event) => {
    tip.textContent = zone.dataset.tip;
    tip.hidden = false;
    const gap = 14, box = tip.getBoundingClientRect();
    const left = event.clientX + gap + box.width > innerWidth ? event.clientX - gap - box.width : event.clientX + gap;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + gap, innerHeight - box.height - 4))}px`;
  });
  zone.addEventListener("pointerleave", () => { tip.hidden = true; });
}
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// Pointing at a name in a legend fades the other series; a tap or click keeps it so.
for (const legend of document.querySelectorAll(".legend")) {
  const figure = legend.parentElement;
  let kept = null;
  const single = (chosen) => {
    for (const part of figure.querySelectorAll("[data-series]")) {
      part.classList.toggle("faded", chosen !== null && part.dataset.series !== chosen);
      part.classList.toggle("chosen", part.dataset.series === chosen);
    }
  };
  for (const name of legend.children) {
    const series = name.dataset.series;
    name.addEventListener("pointerenter", () => single(series));
    name.addEventListener("pointerleave", () => single(kept));
    name.addEventListener("click", () => { kept = kept === series ? null : series; single(kept); });
  }
}

// Sortable tables: by data-order where a cell has one, else by its text.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead tr:last-child th").forEach((head, column) => {
    const name = head.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name || "name";
    if (!name) button.classList.add("unnamed");
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.order ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)], difference = Number(x) - Number(y);
        return Number.isNaN(difference) ? x.localeCompare(y) : difference;
      });
      table.tBodies[0].append(...(rising ? rows : rows.reverse()));
    });
  });
}

// Folds open for printing, and close again.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const fold of opened) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
