// Everything is in the page without this script. It sorts and filters tables, shows a trial wherever it is,
// compares two trials, and switches arms of a figure on and off.
"use strict";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// -- sorting ----------------------------------------------------------------------------------

const UNITS = { GiB: 1024, MiB: 1 };

function sortKey(cell) {
  const text = cell.textContent.trim();
  const found = /^[<>]?\s*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)\s*(GiB|MiB)?/i.exec(text);
  if (found) return Number(found[1].replaceAll(",", "")) * (UNITS[found[2]] ?? 1);
  return text === "" || text === "-" ? null : text.toLowerCase();
}

function compareKeys(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null); // empty ones last
    return descending ? compareKeys(b.key, a.key) : compareKeys(a.key, b.key);
  });
  body.append(...rows.map((each) => each.row));
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const text = head.textContent;
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => sortBy(table, column));
    // Chromium repeats a table's head on each printed page only if no button is in it.
    head.replaceChildren(button, make("span", { className: "printed", textContent: text }));
  });
}

// -- the table of all trials ------------------------------------------------------------------

function addFilter(table, tools) {
  const count = make("span", { className: "count" });
  count.setAttribute("role", "status");
  const input = make("input", { type: "search", placeholder: "filter trials" });
  input.setAttribute("aria-label", "Show only trials with this text");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} trials` : "";
  });
  tools.append(input, count);
}

function valueText(value) {
  return value === null || value === undefined ? "-" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

function differences(one, two) {
  const flat = (trial) => ({
    arm: trial.arm,
    phase: trial.phase,
    seed_index: trial.seed_index,
    ...trial.settings,
    epochs: trial.epochs,
    best_validation: trial.best_validation,
    test: trial.test,
    seconds: trial.seconds,
    status: trial.reason ?? trial.status,
    ...trial.metrics,
  });
  const [a, b] = [flat(one), flat(two)];
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return names
    .map((name) => [name, valueText(a[name]), valueText(b[name])])
    .filter(([, ours, theirs]) => ours !== theirs);
}

function addComparison(table, trials, tools) {
  const panel = make("div", { className: "compared scroll" });
  panel.setAttribute("aria-live", "polite");
  const chosen = [];
  const hint = make("span", { className: "count", textContent: "tick two trials to compare them" });
  tools.append(hint);
  tools.after(panel);
  function show() {
    panel.replaceChildren();
    if (chosen.length < 2) return;
    const [one, two] = chosen.map((box) => trials.get(Number(box.value)));
    const head = ["differs in", `trial ${one.trial}`, `trial ${two.trial}`];
    const line = (tag, cells) => make("tr", {}, ...cells.map((text) => make(tag, { textContent: text })));
    const found = differences(one, two);
    panel.append(
      found.length
        ? make("table", {}, make("thead", {}, line("th", head)), make("tbody", {}, ...found.map((each) => line("td", each))))
        : make("p", { textContent: "These two trials differ in nothing." }),
    );
  }
  for (const row of table.tBodies[0].rows) {
    const box = make("input", { type: "checkbox", value: row.dataset.trial });
    box.setAttribute("aria-label", `Compare trial ${row.dataset.trial}`);
    row.cells[0].prepend(box);
  }
  table.addEventListener("change", (event) => {
    const box = event.target;
    if (box.checked) chosen.push(box);
    else chosen.splice(chosen.indexOf(box), 1);
    if (chosen.length > 2) chosen.shift().checked = false;
    show();
  });
}

// -- one trial in all places ------------------------------------------------------------------

function highlight(article) {
  let lit = [];
  const show = (event) => {
    const number = event.target.closest?.("[data-trial]")?.dataset.trial;
    for (const element of lit) element.classList.remove("lit");
    lit = number === undefined ? [] : [...article.querySelectorAll(`[data-trial="${CSS.escape(number)}"]`)];
    for (const element of lit) element.classList.add("lit");
  };
  article.addEventListener("mouseover", show);
  article.addEventListener("focusin", show);
}

// -- arms of a figure -------------------------------------------------------------------------

function addSwitches(figure) {
  const marks = [...figure.querySelectorAll("[data-arm]")];
  const arms = [...new Set(marks.map((mark) => mark.dataset.arm))];
  if (arms.length < 2) return;
  const bar = make("div", { className: "tools arms" });
  for (const arm of arms) {
    const button = make("button", { type: "button", textContent: arm });
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const mark of marks) if (mark.dataset.arm === arm) mark.classList.toggle("off", !on);
    });
    bar.append(button);
  }
  figure.prepend(bar);
}

// -- all of it --------------------------------------------------------------------------------

function markWide() {
  for (const each of document.querySelectorAll(".scroll")) {
    each.classList.toggle("over", each.scrollWidth > each.clientWidth + 1);
  }
}

const facts = JSON.parse(document.getElementById("facts").textContent);
const studies = facts.studies ?? [facts];
document.querySelectorAll("article").forEach((article, place) => {
  const trials = new Map(studies[place].trials.map((trial) => [trial.trial, trial]));
  for (const table of article.querySelectorAll("table:not(.pairs)")) {
    if (table.tBodies[0].rows.length > 1) makeSortable(table);
    if (!("tools" in table.dataset)) continue;
    const tools = make("div", { className: "tools" });
    table.closest(".scroll").before(tools);
    addFilter(table, tools);
    addComparison(table, trials, tools);
  }
  article.querySelectorAll("figure").forEach(addSwitches);
  highlight(article);
});
addEventListener("resize", markWide);
document.addEventListener("toggle", markWide, true);
markWide();
