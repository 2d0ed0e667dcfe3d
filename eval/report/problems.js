"use strict";
// Problem by problem: a table of all problems at one k, and what the models wrote on each.

/** An element with attributes and children; text stays text. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Unbiased pass@k of one problem with c of n samples right. */
function passAtK(n, c, k) {
  if (k > n) return NaN;
  let wrong = 1;
  for (let i = n - c + 1; i <= n; i += 1) wrong *= Math.max(0, 1 - k / i);
  return 1 - wrong;
}

const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(3);
const WAYS = {
  all: ["all problems", () => true],
  base: ["solved by the base only", (a, b) => a > 0 && b === 0],
  model: ["solved by the trained model only", (a, b) => a === 0 && b > 0],
  both: ["solved by both", (a, b) => a > 0 && b > 0],
  neither: ["solved by neither", (a, b) => a === 0 && b === 0],
  rare: ["solved once or twice by one of them", (a, b) => [1, 2].includes(a) || [1, 2].includes(b)],
};

function drilldown(home) {
  const data = JSON.parse(home.querySelector("script").textContent);
  const state = { k: data.ks[0], model: Math.min(1, data.models.length - 1), show: "all", sort: null, rising: true };
  const compared = data.models.length > 1;

  const select = (name, options, key) => {
    const box = make("select", { name: key });
    for (const [value, text] of options) box.append(make("option", { value }, text));
    box.addEventListener("change", () => { state[key] = key === "show" ? box.value : Number(box.value); fill(); });
    return make("label", {}, `${name} `, box);
  };
  const controls = make("div", { class: "controls" }, select("k =", data.ks.map((k) => [k, String(k)]), "k"));
  if (data.models.length > 2) {
    controls.append(select("model", data.models.map((m, i) => [i, m.name]).slice(1), "model"));
  }
  if (compared) controls.append(select("show", Object.entries(WAYS).map(([key, [text]]) => [key, text]), "show"));
  const counted = make("span", { class: "small", "aria-live": "polite" });
  controls.append(counted);
  const head = make("thead"), body = make("tbody");
  home.append(controls, make("div", { class: "table" }, make("table", {}, head, body)));

  const at = (problem, model) => passAtK(problem.n[model], problem.c[model], state.k);
  const columns = () => {
    const shown = compared ? [0, state.model] : [0];
    const found = shown.map((m) => ({ name: data.models[m].name, model: m, value: (p) => at(p, m) }));
    if (compared) found.push({ name: "difference", value: (p) => at(p, state.model) - at(p, 0) });
    return found;
  };

  function fill() {
    const chosen = columns();
    const test = compared ? WAYS[state.show][1] : () => true;
    const rows = data.problems.filter((p) => test(p.c[0], p.c[state.model]));
    if (state.sort !== null) {
      const column = chosen[Math.min(state.sort, chosen.length) - 1];
      const value = state.sort === 0 ? null : column.value;
      rows.sort((a, b) => (value ? value(a) - value(b) : a.id.localeCompare(b.id, "en", { numeric: true })));
      if (!state.rising) rows.reverse();
    }
    head.replaceChildren(make("tr", {}, ...["problem", ...chosen.map((c) => c.name)].map(heading)));
    body.replaceChildren(...rows.map((problem) => row(problem, chosen)));
    const mean = (value) => rows.reduce((sum, p) => sum + value(p), 0) / rows.length;
    const means = rows.length ? chosen.map((c) => `${c.name} ${c.model === undefined ? signed(mean(c.value)) : mean(c.value).toFixed(3)}`) : [];
    counted.textContent = `${rows.length} of ${data.problems.length}${means.length ? `; means: ${means.join(", ")}` : ""}`;
  }

  function heading(name, index) {
    const button = make("button", { type: "button" }, name);
    const cell = make("th", { scope: "col" }, button);
    if (state.sort === index) cell.setAttribute("aria-sort", state.rising ? "ascending" : "descending");
    button.addEventListener("click", () => {
      state.rising = state.sort === index ? !state.rising : index === 0;
      state.sort = index;
      fill();
    });
    return cell;
  }

  function row(problem, chosen) {
    const open = make("button", { type: "button", class: "open", "aria-expanded": "false" }, problem.id);
    const line = make("tr", {}, make("th", { scope: "row" }, open));
    for (const column of chosen) {
      const value = column.value(problem);
      const cell = make("td", {}, column.model === undefined ? signed(value) : value.toFixed(3));
      if (column.model === undefined && value) cell.className = value > 0 ? "right" : "wrong";
      if (column.model !== undefined) cell.append(make("small", {}, `${problem.c[column.model]} of ${problem.n[column.model]}`));
      line.append(cell);
    }
    open.addEventListener("click", () => {
      const expanded = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!expanded));
      if (expanded) line.nextSibling.remove();
      else line.after(make("tr", { class: "detail" }, make("td", { colspan: String(chosen.length + 1) }, detail(problem))));
    });
    return line;
  }

  function detail(problem) {
    const box = make("div", { class: "written" });
    if (problem.truth !== undefined) box.append(make("p", {}, "Right answer: ", make("strong", {}, problem.truth)));
    if (problem.prompt) box.append(make("pre", { class: "prompt" }, problem.prompt));
    const sides = make("div", { class: "columns" });
    for (const m of compared ? [0, state.model] : [0]) {
      const title = make("h4", {}, make("span", { class: `swatch s${data.models[m].style}` }), data.models[m].name);
      title.append(make("span", { class: "count" }, `${problem.c[m]} of ${problem.n[m]} correct`));
      const side = make("div", { class: "column" }, title);
      for (const given of problem.responses[m] ?? []) {
        const chip = make("span", { class: `chip ${given.right ? "right" : "wrong"}` }, data.verdicts[given.status]);
        const line = make("p", {}, chip, make("span", { class: "small" }, given.note));
        side.append(make("div", { class: "response" }, line, make("pre", {}, given.text)));
      }
      sides.append(side);
    }
    box.append(sides);
    return box;
  }

  /** Show this k, the largest differences on top. */
  home.showK = (k) => {
    if (!data.ks.includes(k)) return;
    Object.assign(state, { k, sort: columns().length, rising: true });
    controls.querySelector("[name=k]").value = String(k);
    fill();
    home.closest("section, .block").scrollIntoView({ block: "start" });
  };
  /** Show this problem, opened on what was written. */
  home.showProblem = (id) => {
    state.show = "all";
    const show = controls.querySelector("[name=show]");
    if (show) show.value = "all";
    fill();
    const opener = [...body.querySelectorAll("button.open")].find((button) => button.textContent === id);
    if (!opener) return;
    opener.click();
    opener.scrollIntoView({ block: "center" });
    opener.focus({ preventScroll: true });
  };
  fill();
}

/** The drill-down that belongs to a place of the page: that of its section, or the first benchmark's. */
const drilldownOf = (node) =>
  node.closest("section").querySelector(".problems") ?? document.querySelector("#problems .problems");

for (const home of document.querySelectorAll(".problems")) drilldown(home);
for (const zone of document.querySelectorAll("[data-k]")) {
  const home = drilldownOf(zone);
  if (home) zone.addEventListener("click", () => home.showK(Number(zone.dataset.k)));
}
for (const link of document.querySelectorAll("[data-problem]")) {
  link.addEventListener("click", (event) => {
    const home = drilldownOf(link);
    if (!home) return;
    event.preventDefault();
    home.showProblem(link.dataset.problem);
  });
}
