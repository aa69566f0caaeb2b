// A map of winners: two fields of the setting along its sides, in each cell the choice that is best
// there and by how much. Cells arrive coarse first; until one does, it shows its nearest neighbour.

import { figure, percent, place, shown, spoken, spread, time } from "./units.js";
import { COLOURS } from "./answer.js";

const { html } = window.tiersim;
const STEPS = 16;
// Shade of a cell: from this share of its colour where choices are equal, to the second at STRONG.
const FAINT = 12, FULL = 52, STRONG = 0.5, PENDING = 8;
// Choices closer than this count as equally good.
const WITHIN = 0.005;

const value = (by, number) => (by === "tpot" ? time(number) : figure(number, 4) + " tokens/s");

// The axes of a map over a setting, with the machine's own figures.
export function axes(names, fields, machine) {
  return names.map((name) => {
    const field = fields.find((one) => one.name === name);
    return { field, values: spread(field, field.own ? machine?.[name] : null) };
  });
}

export const question = (state, [x, y], choose, memories, by) => ({
  state: { ...state, steps: Math.min(state.steps, STEPS) },
  x: { field: x.field.name, values: x.values }, y: { field: y.field.name, values: y.values },
  choose, by, ...(choose === "memory" ? { memories } : {}),
});

// A map in `box`. `take(x, y)` gets the values of a cell that a reader picks.
export class WinnerMap {
  constructor(box, take) {
    this.box = box;
    this.take = take;
    this.note = html("p", { class: "readout", id: "map-readout" });
    this.legend = html("p", { class: "legends" });
    this.progress = html("p", { class: "note" });
    this.table = html("table", { class: "winners", role: "grid", "aria-describedby": "map-help" });
    this.help = html("p", { class: "note", id: "map-help" }, "Arrow keys go from cell to cell, Enter or a click takes its setting.");
    box.replaceChildren(this.legend, html("div", { class: "scroll" }, this.table), this.note, this.progress, this.help);
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.table.addEventListener("focusin", (event) => this.read(event.target));
    this.table.addEventListener("pointerover", (event) => this.read(event.target));
    this.table.addEventListener("click", (event) => this.pick(event.target));
  }

  // An empty map over these axes, with the names of the choices; its caption ends with `more`.
  begin([x, y], choices, by, more) {
    Object.assign(this, { x, y, choices, by, cells: new Map(), at: this.at || [0, 0] });
    this.at = [Math.min(this.at[0], x.values.length - 1), Math.min(this.at[1], y.values.length - 1)];
    this.legend.replaceChildren(...choices.map((name, index) => html("span", { class: "key" }, html("i", { class: "mark-of s" + index, "aria-hidden": "true" }), name)));
    const heads = x.values.map((one) => html("th", { scope: "col" }, shown(x.field, one)));
    const rows = y.values.map((one, row) => html("tr", { role: "row" }, html("th", { scope: "row" }, shown(y.field, one)),
      ...x.values.map((_, column) => html("td", { role: "gridcell", tabindex: -1, "data-x": column, "data-y": row, class: "pending" }))));
    this.table.replaceChildren(html("caption", {}, `Down: ${name(y.field)}; across: ${name(x.field)}${more}`),
      html("thead", {}, html("tr", { role: "row" }, html("td", {}), ...heads)), html("tbody", {}, ...rows));
    this.all = x.values.length * y.values.length;
    this.cell(...this.at).tabIndex = 0;
    this.note.textContent = "";
    this.count();
    for (const cell of this.table.querySelectorAll(".pending")) this.draw(cell);
  }

  cell(x, y) { return this.table.tBodies[0].rows[y].cells[x + 1]; }

  // A line of the answer: a cell is done.
  put(found) {
    this.cells.set(found.x + "," + found.y, found);
    this.count();
    for (const cell of this.table.querySelectorAll("td[data-x]")) {
      if (cell.classList.contains("pending")) this.draw(cell);
    }
    if (document.activeElement === this.cell(found.x, found.y)) this.read(document.activeElement);
  }

  count() {
    const done = this.cells.size === this.all;
    this.progress.textContent = done ? `${this.all} cells of up to ${STEPS} steps each.` : `${this.cells.size} of ${this.all} cells done.`;
    this.box.classList.toggle("whole", done);
  }

  draw(cell) {
    const [x, y] = [Number(cell.dataset.x), Number(cell.dataset.y)];
    const own = this.cells.get(x + "," + y), near = own || this.nearest(x, y);
    cell.classList.toggle("pending", !own);
    cell.classList.toggle("none", Boolean(own && own.winner == null));
    cell.textContent = !own ? "" : own.winner == null ? "×" : own.margin == null ? "" : own.margin < WITHIN ? "=" : percent(own.margin);
    cell.setAttribute("aria-label", this.words(x, y));
    if (!near || near.winner == null) return cell.style.removeProperty("background");
    const share = own ? FAINT + (FULL - FAINT) * Math.min((own.margin ?? STRONG) / STRONG, 1) : PENDING;
    const colour = `var(--s${COLOURS[near.winner]})`;
    cell.style.setProperty("background", `color-mix(in srgb, ${colour} ${share.toFixed(1)}%, var(--page))`);
  }

  // The nearest cell that is done, by places along the sides.
  nearest(x, y) {
    let best = null, least = Infinity;
    for (const found of this.cells.values()) {
      const far = Math.hypot(found.x - x, found.y - y);
      if (far < least) [best, least] = [found, far];
    }
    return best;
  }

  words(x, y) {
    const where = `${name(this.x.field)} ${spoken(this.x.field, this.x.values[x])}, ${name(this.y.field)} ${spoken(this.y.field, this.y.values[y])}`;
    const found = this.cells.get(x + "," + y);
    if (!found) return where + ": not simulated yet";
    if (found.winner == null) return `${where}: ${found.error || "no choice can run"}`;
    const others = (found.values || []).map((one, index) => (index === found.winner ? null : `${this.choices[index]} ${one == null ? "cannot run" : value(this.by, one)}`)).filter(Boolean);
    const lead = found.margin == null ? "" : found.margin < WITHIN ? ", equally good" : `, better by ${percent(found.margin)}`;
    return `${where}: ${this.choices[found.winner]} ${value(this.by, found.value)}${lead}${others.length ? "; " + others.join(", ") : ""}`;
  }

  // Outlines the cell that is nearest to the setting.
  mark(state, machine) {
    if (!this.x) return;
    const near = ({ field, values }) => {
      const now = state[field.name] ?? machine?.[field.name];
      if (now == null) return -1;
      const far = (one) => Math.abs(place(field, one) - place(field, now));
      return values.reduce((best, one, index) => (far(one) < far(values[best]) ? index : best), 0);
    };
    const [x, y] = [near(this.x), near(this.y)];
    for (const cell of this.table.querySelectorAll("td[data-x]")) {
      const here = Number(cell.dataset.x) === x && Number(cell.dataset.y) === y;
      cell.classList.toggle("here", here);
      if (here) cell.setAttribute("aria-current", "true"); else cell.removeAttribute("aria-current");
    }
  }

  read(target) {
    const cell = target.closest?.("td[data-x]");
    if (!cell) return;
    this.note.textContent = this.words(Number(cell.dataset.x), Number(cell.dataset.y)) + ".";
  }

  pick(target) {
    const cell = target.closest?.("td[data-x]");
    if (!cell) return;
    this.go(Number(cell.dataset.x), Number(cell.dataset.y));
    this.take({ [this.x.field.name]: this.x.values[this.at[0]], [this.y.field.name]: this.y.values[this.at[1]] });
  }

  go(x, y) {
    if (x < 0 || y < 0 || x >= this.x.values.length || y >= this.y.values.length) return;
    this.cell(...this.at).tabIndex = -1;
    this.at = [x, y];
    this.cell(x, y).tabIndex = 0;
    this.cell(x, y).focus();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.x) return;
    const [x, y] = this.at, last = this.x.values.length - 1;
    const keys = {
      ArrowLeft: [x - 1, y], ArrowRight: [x + 1, y], ArrowUp: [x, y - 1], ArrowDown: [x, y + 1], Home: [0, y], End: [last, y],
    };
    if (event.key === "Enter" || event.key === " ") this.pick(event.target);
    else if (keys[event.key]) this.go(...keys[event.key]);
    else return;
    event.preventDefault();
  }
}

const NAMES = { prefill: "context", batch: "batch", skip: "skipped", page_tokens: "page", hbm_capacity: "HBM capacity", hbm_bandwidth: "HBM bandwidth", link_bandwidth: "link bandwidth", prefill_chunk: "chunk of a prompt" };
const name = (field) => NAMES[field.name] || field.label;
