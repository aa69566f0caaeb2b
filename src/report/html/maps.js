// Maps: tables whose cells are coloured by their values, to point at and to pick from, with the
// pointer and with the arrow keys.
(function () {
  "use strict";
  const { html, clamp } = window.tiersim;
  // As heat.rs: from pale to vermillion, on all of which black can be read.
  const PALE = [255, 250, 226], STRONG = [213, 94, 0];
  const shade = (share) => "rgb(" + PALE.map((pale, part) => Math.round(pale + (STRONG[part] - pale) * clamp(share, 0, 1))).join(" ") + ")";

  // Draws a map into `place` from a spec:
  //   { caption, columns: [text], rows: [text],
  //     cells: [[{ text, share, label, here }]],  // a row each; share is null for a cell without value
  //     read(row, column), pick(row, column) }    // the reader points at a cell, or chooses it
  // `update(spec)` of what it returns draws another in the same place.
  function heat(place, first) {
    const table = html("table", { class: "heat", role: "grid" });
    const box = html("div", { class: "scroll" }, table);
    let spec = first, at = [0, 0];
    const cellAt = (row, column) => table.tBodies[0].rows[row].cells[column + 1];
    const of = (target) => {
      const cell = target.closest && target.closest("tbody td");
      return cell && [cell.parentNode.sectionRowIndex, cell.cellIndex - 1];
    };
    const read = (event) => { const found = of(event.target); if (found) spec.read(...found); };
    const go = (row, column) => {
      const next = [clamp(row, 0, spec.rows.length - 1), clamp(column, 0, spec.columns.length - 1)];
      cellAt(...at).tabIndex = -1;
      at = next;
      cellAt(...at).tabIndex = 0;
      cellAt(...at).focus();
    };
    table.addEventListener("pointerover", read);
    table.addEventListener("focusin", read);
    table.addEventListener("click", (event) => {
      const found = of(event.target);
      if (!found) return;
      go(...found);
      spec.pick(...found);
    });
    table.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !of(event.target)) return;
      const [row, column] = at;
      const keys = {
        ArrowLeft: () => go(row, column - 1), ArrowRight: () => go(row, column + 1), ArrowUp: () => go(row - 1, column), ArrowDown: () => go(row + 1, column),
        Home: () => go(row, 0), End: () => go(row, Infinity), Enter: () => spec.pick(row, column), " ": () => spec.pick(row, column),
      };
      if (!keys[event.key]) return;
      keys[event.key]();
      event.preventDefault();
    });

    function drawn(cell, row, column) {
      const made = html("td", { role: "gridcell", tabindex: row === at[0] && column === at[1] ? 0 : -1, class: cell.share == null ? "none" : null, "aria-label": cell.label, "aria-selected": String(Boolean(cell.here)) }, cell.text);
      if (cell.share != null) made.style.setProperty("background", shade(cell.share));
      return made;
    }
    function update(next) {
      const focused = table.contains(document.activeElement);
      spec = next;
      at = [clamp(at[0], 0, spec.rows.length - 1), clamp(at[1], 0, spec.columns.length - 1)];
      const heads = spec.columns.map((text) => html("th", { scope: "col", class: "number" }, text));
      const rows = spec.rows.map((text, row) => html("tr", {}, html("th", { scope: "row" }, text), ...spec.cells[row].map((cell, column) => drawn(cell, row, column))));
      table.replaceChildren(html("caption", {}, spec.caption), html("thead", {}, html("tr", {}, html("td", {}), ...heads)), html("tbody", {}, ...rows));
      if (focused) cellAt(...at).focus();
    }
    update(first);
    place.append(box);
    return { element: box, update };
  }

  window.tiersim.heat = heat;
})();
