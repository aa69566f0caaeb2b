// The page of a sweep: a reader chooses the figure and the axes, points at a cell for its figures,
// and picks it for the command that runs it. The data is that of cells.rs; the choice is kept in
// the fragment of the address: figure, x, rows, at.AXIS and cell.
(function () {
  "use strict";
  const { html, plot, heat, say, copying } = window.tiersim;
  const data = JSON.parse(document.getElementById("cells").textContent);
  const place = document.getElementById("explore");
  // More lines cannot be distinguished, and more cells of a table are slow.
  const MOST_LINES = 36, MOST_ROWS = 100, MOST_COLUMNS = 60;
  // From this ratio on, numbers are spread by their logarithms.
  const LOGARITHMIC = 12;
  const short = (value) => String(Number(value.toPrecision(4)));
  const shown = (figure, value) => (value == null ? "–" : short(value) + (figure.unit && " " + figure.unit));
  const labelled = (figure) => figure.name + (figure.unit && " [" + figure.unit + "]");
  const named = (list, key, name) => list.findIndex((one) => one[key] === name);

  // The points by their levels; the cells that do not fit as well, with -1.
  const places = new Map();
  data.cells.forEach((_, point) => places.set(data.axes.map((axis) => axis.of[point]).join(), point));
  for (const levels of data.unfit || []) places.set(levels.join(), -1);

  // What may be to the right: of a grid an axis; of a sample also a figure, as its points hardly share levels.
  const across = data.axes.map((axis, index) => ({ name: axis.name, label: axis.label, axis: index, numbers: axis.numbers && ((point) => axis.numbers[axis.of[point]]) }))
    .filter((one) => one.numbers || !data.sampled)
    .concat(data.sampled ? data.figures.map((figure) => ({ name: figure.path, label: labelled(figure), numbers: (point) => figure.values[point] })) : []);

  // The choice: places of the figure, of the axis to the right and of that of rows, a level for each axis, and a point.
  const state = {};
  function restore() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const chosen = (list, key, name, usual) => { const found = named(list, key, asked.get(name)); return found < 0 ? usual : found; };
    state.figure = chosen(data.figures, "path", "figure", data.first.figure);
    state.x = chosen(across, "name", "x", Math.max(0, across.findIndex((one) => one.axis === data.first.x)));
    state.rows = asked.get("rows") === "" ? -1 : chosen(data.axes, "name", "rows", data.first.rows == null ? -1 : data.first.rows);
    if (data.sampled || state.rows === across[state.x].axis) state.rows = -1;
    const point = asked.has("cell") ? data.cells.indexOf(Number(asked.get("cell"))) : -1;
    state.point = point < 0 ? null : point;
    // The levels of the address, else those of its cell, else those of the first point.
    state.levels = data.axes.map((axis) => {
      const level = axis.levels.indexOf(asked.get("at." + axis.name));
      return level < 0 ? axis.of[Math.max(point, 0)] : level;
    });
  }
  const others = () => data.axes.map((_, index) => index).filter((index) => !data.sampled && index !== across[state.x].axis && index !== state.rows);
  function keep() {
    const kept = new URLSearchParams({ figure: data.figures[state.figure].path, x: across[state.x].name });
    if (!data.sampled) kept.set("rows", state.rows < 0 ? "" : data.axes[state.rows].name);
    for (const axis of others()) kept.set("at." + data.axes[axis].name, data.axes[axis].levels[state.levels[axis]]);
    if (state.point != null) kept.set("cell", data.cells[state.point]);
    try { history.replaceState(null, "", "#" + kept); } catch (refused) { /* Some browsers, from disk. */ }
  }

  // A labelled choice among texts.
  function select(name, texts, value, take) {
    const made = html("select", { onchange: () => { take(Number(made.value)); refresh(); } }, ...texts.map(([index, text]) => html("option", { value: index }, text)));
    made.value = String(value);
    return html("label", {}, html("span", {}, name), made);
  }
  const controls = html("div", { class: "controls", role: "group", "aria-label": "What is shown" });
  function choose() {
    const focused = Array.from(controls.querySelectorAll("select")).indexOf(document.activeElement);
    const list = (texts) => texts.map((text, index) => [index, text]);
    const x = across[state.x].axis;
    const made = [
      select("Figure", list(data.figures.map((figure) => figure.name)), state.figure, (value) => { state.figure = value; }),
      select("Across", list(across.map((one) => one.name)), state.x, (value) => {
        // The two axes change places where one is chosen for the other.
        if (across[value].axis === state.rows && !data.sampled) state.rows = x;
        state.x = value;
      }),
    ];
    if (!data.sampled && data.axes.length > 1) {
      const rows = [[-1, "none"], ...list(data.axes.map((axis) => axis.name)).filter(([index]) => index !== x)];
      made.push(select("Lines and rows", rows, state.rows, (value) => { state.rows = value; }));
    }
    for (const axis of others()) made.push(select(data.axes[axis].name, list(data.axes[axis].levels), state.levels[axis], (value) => { state.levels[axis] = value; }));
    controls.replaceChildren(...made);
    if (focused >= 0 && made[focused]) made[focused].querySelector("select").focus();
  }

  // The point of a level to the right and one of the rows; undefined where there is no such cell.
  function pointAt(column, row) {
    const levels = state.levels.slice();
    levels[across[state.x].axis] = column;
    if (state.rows >= 0) levels[state.rows] = row;
    return places.get(levels.join());
  }
  const rowsShown = () => (state.rows < 0 ? [data.figures[state.figure].name] : data.axes[state.rows].levels);

  // The lines of the plot, and for each of their points the point of the sweep.
  function lines() {
    const { values } = data.figures[state.figure], x = across[state.x];
    const line = (label, row, points, names) => {
      points.sort((a, b) => a[0] - b[0]);
      const made = { label, colour: row % 6, dash: Math.floor(row / 6), points: points.flatMap(([at, value]) => [at, value]), of: points.map((point) => point[2]) };
      return names ? { ...made, names: made.of.map((point) => "cell " + data.cells[point]) } : made;
    };
    const numbered = (point) => (point >= 0 && values[point] != null && x.numbers(point) != null ? [[x.numbers(point), values[point], point]] : []);
    if (data.sampled) return [line("all points", 5, data.cells.flatMap((_, point) => numbered(point)), true)];
    return rowsShown().slice(0, MOST_LINES).map((label, row) => line(state.rows < 0 ? label : data.axes[state.rows].name + " " + label, row, data.axes[x.axis].levels.flatMap((_, column) => numbered(pointAt(column, row)))))
      .filter((one) => one.points.length);
  }
  const drawing = html("div"), table = html("div"), note = html("p", { class: "note" });
  let drawnPlot = null, drawnMap = null;
  function draw() {
    const figure = data.figures[state.figure], x = across[state.x];
    const found = x.numbers ? lines() : [];
    const at = found.flatMap((line) => line.of.map((point) => x.numbers(point)));
    drawing.hidden = !found.length;
    const notes = [];
    if (!x.numbers) notes.push("Values of " + x.name + " have no order, so that there are no lines over them.");
    if (found.length) {
      const spec = {
        id: "explored", title: labelled(figure) + " over " + x.name, x: x.label, y: labelled(figure), snap: true, note: "", lines: found,
        log: Math.min(...at) > 0 && Math.max(...at) >= LOGARITHMIC * Math.min(...at),
        read: (line, index) => read(line.of[index]), pick: (line, index) => pick(line.of[index]),
      };
      if (drawnPlot) drawnPlot.update(spec); else drawnPlot = plot(drawing, spec);
    }
    if (!data.sampled) tabulate(figure, x, notes);
    if (state.rows >= 0 && rowsShown().length > MOST_LINES) notes.push("The plot has the first " + MOST_LINES + " of " + rowsShown().length + " lines.");
    note.textContent = notes.join(" ");
    note.hidden = !notes.length;
  }
  function tabulate(figure, x, notes) {
    const all = data.axes[x.axis].levels, rows = rowsShown().slice(0, MOST_ROWS), columns = all.slice(0, MOST_COLUMNS);
    const points = rows.map((_, row) => columns.map((_, column) => pointAt(column, row)));
    const values = points.flat().map((point) => figure.values[point]).filter((value) => value != null);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const cell = (point, row, column) => {
      const value = point >= 0 ? figure.values[point] : null;
      const text = point === -1 ? "does not fit" : value == null ? "–" : short(value);
      return { text, share: value == null ? null : most > least ? (value - least) / (most - least) : 0, here: point != null && point === state.point,
        label: x.name + " " + columns[column] + (state.rows < 0 ? "" : ", " + data.axes[state.rows].name + " " + rows[row]) + ": " + (value == null ? (point === -1 ? text : "no value") : shown(figure, value)) };
    };
    if (columns.length < all.length || rows.length < rowsShown().length) notes.push("The table has the first " + rows.length + " rows and " + columns.length + " columns.");
    const spec = {
      caption: labelled(figure) + ": " + x.name + " across" + (state.rows < 0 ? "" : ", " + data.axes[state.rows].name + " down") + "; paler is less", columns, rows,
      cells: points.map((row, index) => row.map((point, column) => cell(point, index, column))),
      read: (row, column) => read(points[row][column]), pick: (row, column) => pick(points[row][column]),
    };
    if (drawnMap) drawnMap.update(spec); else drawnMap = heat(table, spec);
  }

  // The panel of the cell that a reader points at, or has picked.
  const panel = html("section", { class: "picked", "aria-label": "The chosen cell" });
  const pair = (name, value) => html("tr", {}, html("th", { scope: "row" }, name), html("td", { class: "text" }, value));
  function read(point) {
    if (point == null) return;
    if (point < 0) return panel.replaceChildren(html("p", {}, "This cell does not fit on its machine."));
    const cell = data.cells[point];
    const rows = [...data.axes.map((axis) => pair(axis.name, axis.levels[axis.of[point]])), ...data.figures.map((figure) => pair(figure.name, shown(figure, figure.values[point])))];
    const head = "Cell " + cell + (data.repeats > 1 ? " and the next " + (data.repeats - 1) + ", its repeats: the mean" : "");
    panel.replaceChildren(html("h3", {}, head), html("div", { class: "scroll" }, html("table", {}, html("tbody", {}, ...rows))),
      ...(point === state.point ? run(cell) : [html("p", { class: "note" }, "Click, or press Enter, to open its run.")]));
  }
  // The command that runs a cell, and its page.
  function run(cell) {
    if (!data.command) return [html("p", { class: "note" }, "The cells of this sweep were run in memory; none has a folder.")];
    const address = "../runs/" + cell + "/report.html", done = (data.runs || []).includes(cell);
    const command = html("pre", { tabindex: 0, "aria-label": "Command of cell " + cell }, data.command + " " + cell);
    const copy = html("button", { type: "button", class: "copy" }, "Copy");
    copying(copy, command);
    return [
      html("p", {}, done ? html("a", { href: address }, "Open the page of its run") : "This command runs the cell with all its files:"),
      html("div", {}, copy, command),
      ...(done ? [] : [html("p", { class: "note" }, "Then its page is ", html("a", { href: address }, "runs/" + cell + "/report.html"), " in the sweep’s folder.")]),
    ];
  }
  function pick(point) {
    if (point == null) return;
    state.point = point < 0 ? null : point;
    keep();
    draw();
    read(point);
    if (point >= 0) say("Cell " + data.cells[point] + " is chosen; its command is below the table.");
  }

  function refresh() {
    choose();
    draw();
    keep();
    say(labelled(data.figures[state.figure]) + " over " + across[state.x].name);
  }
  function start() {
    restore();
    choose();
    draw();
    read(state.point);
    if (state.point == null) panel.replaceChildren(html("p", { class: "note" }, "Point at a place of the plot or of the table for all figures of its cell."));
  }
  place.replaceChildren(controls, html("div", { class: "explored" }, html("div", {}, drawing, table, note), panel));
  window.addEventListener("hashchange", start);
  start();
})();
