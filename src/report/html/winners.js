// The map of winners: its axes can be chosen, choices left out, and each cell shows its ranking.
// Without this script a page shows the same map as a table that does not change.
(function () {
  "use strict";
  const { html, say } = window.tiersim;
  const MOST_PANELS = 24;

  function margin(share) {
    const percent = 100 * share;
    if (percent >= 900) return (1 + share).toFixed(0) + "x";
    if (percent < 0.05) return "+0 %";
    return "+" + percent.toFixed(percent < 1 ? 1 : 0) + " %";
  }

  function Winners(element) {
    this.spec = JSON.parse(element.querySelector("script").textContent);
    this.hidden = new Set();
    this.axes = [this.spec.x, this.spec.y];
    this.cells = new Map(this.spec.cells.map((cell) => [cell.given.join(), cell]));
    this.legend = html("div", { class: "legend", role: "group", "aria-label": "Choices" });
    this.tables = html("div", { class: "tables" });
    this.details = html("div", { class: "details", role: "region", "aria-label": "Ranking in the chosen cell" });
    const hint = html("p", { class: "note hint" }, "Point at a cell, or move with the arrow keys, for its ranking. A click on a choice leaves it out.");
    element.replaceChildren(this.controls(), hint, this.legend, this.tables, this.details);
    this.entries();
    this.draw();
    this.show(this.at);
  }

  // Selects of the axes; choosing the other's axis exchanges them.
  Winners.prototype.controls = function () {
    const varying = this.spec.axes.flatMap((axis, place) => axis.levels.length > 1 ? [place] : []);
    const select = (side) => {
      const options = varying.map((place) => html("option", { value: place }, this.spec.axes[place].name));
      const made = html("select", {}, ...options);
      made.value = this.axes[side];
      made.addEventListener("change", () => {
        const chosen = Number(made.value);
        if (this.axes[1 - side] === chosen) this.axes[1 - side] = this.axes[side];
        this.axes[side] = chosen;
        selects.forEach((other, at) => { other.value = this.axes[at]; });
        this.draw();
        this.show(this.at);
      });
      return made;
    };
    const selects = [select(0), select(1)];
    return html("div", { class: "tools" }, html("label", {}, "across ", selects[0]), html("label", {}, "down ", selects[1]));
  };

  Winners.prototype.entries = function () {
    const used = new Set(this.spec.cells.flatMap((cell) => cell.ranking.map((ranked) => ranked[0])));
    const button = (name, place) => {
      const made = html("button", { type: "button", "aria-pressed": "true" }, html("i", { class: "box m4 " + colour(place) }), html("span", {}, name));
      made.addEventListener("click", () => {
        if (!this.hidden.delete(place)) this.hidden.add(place);
        made.setAttribute("aria-pressed", String(!this.hidden.has(place)));
        this.draw();
        this.show(this.at);
      });
      return made;
    };
    this.legend.append(...this.spec.choices.flatMap((name, place) => used.has(place) ? [button(this.named(place), place)] : []));
  };

  function colour(place) {
    return place < 6 ? "w" + place : "wx";
  }

  // A choice with its key, where cells have keys.
  Winners.prototype.named = function (place) {
    const [shown, name] = [this.spec.shown[place], this.spec.choices[place]];
    return shown === name ? name : shown + ": " + name;
  };

  // The ranking without the choices that are left out, and the margin of the first.
  Winners.prototype.ranking = function (cell) {
    return cell ? cell.ranking.filter((ranked) => !this.hidden.has(ranked[0])) : [];
  };

  Winners.prototype.worse = function (best, other) {
    return (this.spec.more ? best[1] / other[1] : other[1] / best[1]) - 1;
  };

  // The class and the text of a cell.
  Winners.prototype.outcome = function (cell) {
    const [first, second] = this.ranking(cell);
    if (!cell) return ["none", "–", ""];
    if (!first) return ["none", "none", ""];
    const name = this.spec.shown[first[0]];
    if (!second) return [colour(first[0]) + " m4", name, "only one"];
    const by = this.worse(first, second), text = margin(by);
    if (by <= this.spec.within) return [colour(first[0]) + " same", name, "≈ " + text];
    const level = Math.max(1, this.spec.levels.filter((from) => by > from).length);
    return [colour(first[0]) + " m" + level, name, text];
  };

  // The levels of an axis as rows: numbers grow upwards.
  Winners.prototype.down = function () {
    const axis = this.spec.axes[this.axes[1]], places = axis.levels.map((_, place) => place);
    return axis.numeric ? places.reverse() : places;
  };

  // Every combination of the circumstances that are not axes.
  Winners.prototype.panels = function () {
    let all = [this.spec.axes.map(() => 0)];
    this.spec.axes.forEach((axis, place) => {
      if (this.axes.includes(place)) return;
      all = all.flatMap((given) => axis.levels.map((_, level) => given.map((at, other) => other === place ? level : at)));
    });
    return all;
  };

  Winners.prototype.draw = function () {
    const [x, y] = this.axes, axes = this.spec.axes, all = this.panels();
    const others = axes.flatMap((axis, place) => axis.levels.length > 1 && !this.axes.includes(place) ? [place] : []);
    this.at = null;
    const table = (panel) => {
      const title = this.words(panel, others);
      const caption = html("caption", {}, ...(title ? [html("strong", {}, title), ": "] : []), axes[y].name + " down, " + axes[x].name + " across");
      const heads = axes[x].levels.map((level) => html("th", { scope: "col", class: "number" }, level));
      const rows = this.down().map((row) => {
        const cells = axes[x].levels.map((_, column) => this.cell(panel.map((at, place) => place === x ? column : place === y ? row : at)));
        return html("tr", {}, html("th", { scope: "row" }, axes[y].levels[row]), ...cells);
      });
      const made = html("table", { class: "heat winners" }, caption, html("thead", {}, html("tr", {}, html("td", {}), ...heads)), html("tbody", {}, ...rows));
      made.addEventListener("keydown", (event) => this.key(event));
      return html("div", { class: "scroll", role: "region", "aria-label": title || "Map of winners" }, made);
    };
    this.tables.replaceChildren(...all.slice(0, MOST_PANELS).map(table));
    if (all.length > MOST_PANELS) {
      this.tables.append(html("p", { class: "note" }, "Shown are the first " + MOST_PANELS + " of " + all.length + " combinations of the other circumstances."));
    }
  };

  Winners.prototype.cell = function (given) {
    const [classes, name, text] = this.outcome(this.cells.get(given.join()));
    const made = html("td", { class: classes, tabindex: this.at ? "-1" : "0" }, html("b", {}, name), text ? " " + text : "");
    if (!this.at) this.at = given;
    made.addEventListener("pointerenter", () => this.show(given));
    made.addEventListener("focus", () => this.show(given));
    return made;
  };

  // Arrow keys move from cell to cell of a table.
  Winners.prototype.key = function (event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    const row = cell.parentElement, rows = row.parentElement.rows;
    const next = rows[row.sectionRowIndex + step[0]];
    const target = next && next.cells[cell.cellIndex + step[1]];
    if (!target || target.tagName !== "TD") return;
    cell.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  };

  Winners.prototype.words = function (given, places) {
    return places.map((place) => this.spec.axes[place].name + " " + this.spec.axes[place].levels[given[place]]).join(", ");
  };

  // The ranking in a circumstance.
  Winners.prototype.show = function (given) {
    const cell = given && this.cells.get(given.join());
    if (!cell) { this.details.replaceChildren(); return; }
    const ranking = this.ranking(cell);
    const head = ["choice", this.spec.by, "worse by", "must know"];
    const row = (ranked) => html("tr", {}, html("td", { class: "text" }, html("i", { class: "box m4 " + colour(ranked[0]) }), " " + (this.spec.shown[ranked[0]] === this.spec.choices[ranked[0]] ? "" : this.spec.shown[ranked[0]] + ": ") + ranked[3]), html("td", {}, ranked[2]),
      html("td", {}, ranked === ranking[0] ? "" : margin(this.worse(ranking[0], ranked))), html("td", { class: "text" }, ranked[4]));
    const without = cell.without.map(([name, why]) => html("p", { class: "note" }, name + ": " + why));
    const title = this.words(given, given.map((_, place) => place));
    this.details.replaceChildren(html("table", {}, html("caption", {}, html("strong", {}, title)),
      html("thead", {}, html("tr", {}, ...head.map((text) => html("th", { scope: "col" }, text)))), html("tbody", {}, ...ranking.map(row))), ...without);
    say(title + ": " + (ranking.length ? ranking[0][3] : "none"));
  };

  document.querySelectorAll(".winners-map").forEach((element) => new Winners(element));
})();
