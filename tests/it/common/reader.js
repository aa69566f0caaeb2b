// What a reader does on report.html, and what then is on the page; told to the outer page as JSON.
(function () {
  "use strict";
  const found = { errors: [] };
  addEventListener("error", (event) => found.errors.push(String(event.message)));
  const all = (query, within) => Array.from((within || document).querySelectorAll(query));
  const button = (figure, name) => all("button", figure).find((one) => one.getAttribute("aria-label") === name);
  const marks = (figure) => all("svg.axes text", figure).map((text) => text.textContent).join("|");
  const fire = (element, type, x, y) =>
    element.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y, bubbles: true, button: 0, pointerType: "mouse", pointerId: 1 }));
  const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));

  // Labels of axes that lie over each other, or beyond the picture.
  function overlaps() {
    const bad = [];
    for (const axes of all("svg.axes")) {
      const edge = axes.getBoundingClientRect();
      const boxes = all("text", axes).map((text) => [text.textContent, text.getBoundingClientRect()]);
      boxes.forEach(([text, a], index) => {
        if (a.left < edge.left - 1 || a.right > edge.right + 1 || a.top < edge.top - 1 || a.bottom > edge.bottom + 1) bad.push("outside: " + text);
        for (const [other, b] of boxes.slice(index + 1)) {
          if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) bad.push(text + " on " + other);
        }
      });
    }
    return bad;
  }

  function look() {
    const figures = all("figure");
    const named = (name) => document.querySelector("figure[id$='-" + name + "']");
    const [alpha, latency, cdf] = ["alpha", "latency", "cdf"].map(named);
    found.plots = figures.length;
    found.order = figures.map((figure) => figure.id.replace(/^g\d+-/, ""));
    found.instead = all(".instead").map((note) => note.textContent).join(" ");
    found.links = all("a[href]").map((link) => link.getAttribute("href"));
    if (!alpha) {
      // A run without a single token: nothing to hover.
      parent.postMessage(JSON.stringify(found), "*");
      return;
    }
    const axes = alpha.querySelector("svg.axes");
    const lines = () => all("path.line", alpha).length;
    found.samples = all(".legend .swatch line", latency).map((line) => line.getBBox().width);
    found.latency_dashes = all("path.line", latency).map((line) => line.getAttribute("stroke-dasharray"));
    found.latency_notes = latency.querySelector(".note").textContent;
    const tops = () => all("svg.axes text[text-anchor=end]", latency).map((text) => Number(text.textContent));
    const whole = button(latency, "Show the values that are beyond the scale");
    if (whole) {
      const shown = tops();
      whole.click();
      found.whole = Math.max(...tops()) > Math.max(...shown);
      whole.click();
    }
    found.overlapping_labels = overlaps();
    found.legend = alpha.querySelector(".legend button").textContent;

    const toggle = alpha.querySelector(".legend button");
    found.pressed = [toggle.getAttribute("aria-pressed")];
    found.lines = lines();
    toggle.click();
    found.lines_without_one = lines();
    found.pressed.push(toggle.getAttribute("aria-pressed"));
    toggle.click();
    found.lines_again = lines();
    found.pressed.push(toggle.getAttribute("aria-pressed"));

    const [before, other] = [marks(alpha), marks(latency)];
    button(alpha, "Zoom in").click();
    found.zoomed_together = marks(alpha) !== before && marks(latency) !== other;
    found.overlapping_labels.push(...overlaps());
    button(latency, "Show all").click();
    found.all_again = marks(alpha) === before && marks(latency) === other;

    let edge = axes.getBoundingClientRect();
    fire(axes, "pointermove", edge.left + edge.width / 2, edge.top + 50);
    const tip = alpha.querySelector(".tip");
    found.tip = tip.textContent;
    found.tip_by_pointer = !tip.hidden && /^token [\d,]+[a-z]/.test(tip.textContent) && /best-ratio[^:]*(: sees 1 step\))?: 0\.8\d+/.test(tip.textContent);
    fire(axes, "pointerdown", edge.left + edge.width * 0.5, edge.top + 50);
    fire(axes, "pointermove", edge.left + edge.width * 0.7, edge.top + 50);
    fire(axes, "pointerup", edge.left + edge.width * 0.7, edge.top + 50);
    found.dragged = marks(alpha) !== before;
    press(axes, "Escape");
    found.dragged = found.dragged && marks(alpha) === before;

    axes.focus();
    press(axes, "ArrowRight");
    press(axes, "ArrowRight");
    found.said = document.getElementById("status").textContent;
    found.read_by_keyboard = /^token [1-9][\d,]*\. .*best-ratio( \(oracle: sees 1 step\))? 0\.8\d+/.test(found.said);
    axes.blur();

    const tail = button(cdf, "Show the tail: percentiles on a logarithmic scale");
    tail.click();
    found.tail = marks(cdf).includes("90 %") && tail.getAttribute("aria-pressed") === "true";
    found.overlapping_labels.push(...overlaps());
    const select = cdf.querySelector("select");
    const wanted = all("option", select).findIndex((option) => option.textContent === "KvRead latency");
    select.value = String(wanted);
    select.dispatchEvent(new Event("change"));
    found.another_distribution = all("svg.axes text", cdf).map((text) => text.textContent.replace(/ \(.*/, "")).find((text) => text === "KvRead latency");
    found.overlapping_labels.push(...overlaps());

    const details = alpha.querySelector("details");
    details.open = true;

    const choice = document.getElementById("group");
    if (choice) {
      const hidden = () => all("section.group").map((section) => section.hidden);
      found.settings = [hidden()];
      choice.value = "1";
      choice.dispatchEvent(new Event("change"));
      found.settings.push(hidden());
    }
    found.unnamed_controls = all("button, select, svg.axes").filter((one) =>
      !one.closest("[hidden]") && !(one.getAttribute("aria-label") || one.textContent.trim() || (one.labels && one.labels.length))).length;
    // A details element tells of its opening a moment later.
    setTimeout(() => {
      found.table_rows = all("tbody tr", details).length;
      found.overflow = Math.max(0, document.documentElement.scrollWidth - innerWidth);
      parent.postMessage(JSON.stringify(found), "*");
    }, 200);
  }

  // What a reader chooses on the page of a sweep: the figure, the axes, and a cell.
  function lookAtCells() {
    const explore = document.getElementById("explore");
    const control = (name) => all("label", explore).find((label) => label.firstChild.textContent === name).querySelector("select");
    const take = (name, text) => {
      const select = control(name);
      select.value = all("option", select).find((option) => option.textContent === text).value;
      select.dispatchEvent(new Event("change"));
    };
    const cells = () => all("table.heat tbody td", explore).map((cell) => cell.textContent);
    const drawn = () => all("path.line", explore).map((line) => line.getAttribute("d")).join();
    const panel = explore.querySelector(".picked");
    const chosen = (found.chosen = {});
    chosen.controls = all("label > span", explore).map((label) => label.textContent);
    chosen.figures = all("option", control("Figure")).map((option) => option.textContent);
    chosen.cells = [cells()];
    const before = drawn();
    take("Figure", "tokens/s");
    chosen.redrawn = drawn() !== before;
    chosen.cells.push(cells());
    take("Across", "trace.skip");
    take("Lines and rows", "strategy");
    take("prefill_tokens", "1024");
    chosen.cells.push(cells());
    chosen.lines = all("path.line", explore).length;
    chosen.swapped = (take("Across", "strategy"), control("Lines and rows").selectedOptions[0].textContent);
    chosen.without_lines = all("path.line", explore).length && !all(".axes", explore)[0].closest("[hidden]");
    take("Across", "trace.skip");
    // With the keys: to the second row and column, and Enter.
    const first = explore.querySelector("table.heat td[tabindex='0']");
    first.focus();
    press(document.activeElement, "ArrowDown");
    press(document.activeElement, "ArrowRight");
    chosen.hovered = all("tr", panel).map((row) => row.textContent);
    chosen.before_pick = all("pre", panel).length;
    press(document.activeElement, "Enter");
    chosen.command = panel.querySelector("pre").textContent;
    chosen.links = all("a", panel).map((link) => link.getAttribute("href"));
    chosen.selected = all("[aria-selected='true']", explore).length;
    chosen.hash = decodeURIComponent(location.hash);
    // With the pointer, on the plot.
    const point = all("circle.point", explore)[0].getBoundingClientRect();
    const axes = explore.querySelector("svg.axes");
    fire(axes, "pointermove", point.left + point.width / 2, point.top + point.height / 2);
    chosen.pointed = panel.querySelector("h3").textContent;
    axes.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    chosen.clicked = panel.querySelector("pre").textContent;
  }

  // The page of a sweep: panels on the same axes, one legend, tables of colours and bars, a cloud.
  function lookAtSweep() {
    const panels = all("figure[id*='-facet']");
    const axesOf = (panel) => panel.querySelector("svg.axes");
    // The marks of the y axis: what is written to the left of the plot.
    const heights = (panel) => all("text[text-anchor=end]", axesOf(panel)).map((text) => text.textContent).join("|");
    const lines = () => panels.reduce((sum, panel) => sum + all("path.line", panel).length, 0);
    found.panels = panels.length;
    found.same_scale = new Set(panels.map(heights)).size === 1;
    found.legends = all("section.group > .legend").length;
    found.overlapping_labels = overlaps();
    const toggle = document.querySelector("section.group > .legend button");
    found.lines = [lines()];
    toggle.click();
    found.lines.push(lines());
    toggle.click();
    found.lines.push(lines());
    const first = panels[0], axes = axesOf(first), edge = axes.getBoundingClientRect();
    fire(axes, "pointermove", edge.left + edge.width / 2, edge.top + 50);
    found.tip = first.querySelector(".tip").hidden ? "" : first.querySelector(".tip").textContent;
    axes.focus();
    press(axes, "ArrowRight");
    found.said = document.getElementById("status").textContent;
    axes.blur();
    const before = panels.map(marks);
    button(first, "Zoom in").click();
    found.zoomed_together = panels.every((panel, index) => marks(panel) !== before[index]);
    button(first, "Show all").click();
    found.all_again = panels.every((panel, index) => marks(panel) === before[index]);
    const cloud = document.querySelector("figure[id$='-cloud']");
    if (cloud) {
      const point = cloud.querySelector("circle.point").getBoundingClientRect();
      fire(axesOf(cloud), "pointermove", point.left + point.width / 2, point.top + point.height / 2);
      found.point = cloud.querySelector(".tip").textContent;
    }
    lookAtCells();
    found.heat_cells = all(".tables table.heat td[style]").length;
    found.bars = all("table.lanes .bar i").length;
    found.overflow = Math.max(0, document.documentElement.scrollWidth - innerWidth);
    parent.postMessage(JSON.stringify(found), "*");
  }

  try {
    if (document.querySelector("main.wide")) lookAtSweep();
    else look();
  } catch (error) {
    found.errors.push(String(error.stack || error));
    parent.postMessage(JSON.stringify(found), "*");
  }
})();
