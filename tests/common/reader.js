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
    const [alpha, latency] = figures, cdf = figures[figures.length - 1];
    const axes = alpha.querySelector("svg.axes");
    const lines = () => all("path.line", alpha).length;
    found.plots = figures.length;
    if (!axes) {
      // A run without a single token: nothing to hover.
      found.instead = alpha.textContent;
      parent.postMessage(JSON.stringify(found), "*");
      return;
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
    found.tip_by_pointer = !tip.hidden && /^token [\d,]+[a-z]/.test(tip.textContent) && /best-ratio: 0\.8\d+/.test(tip.textContent);
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
    found.read_by_keyboard = /^token [1-9][\d,]*\. .*best-ratio 0\.8\d+/.test(found.said);
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

  try {
    look();
  } catch (error) {
    found.errors.push(String(error.stack || error));
    parent.postMessage(JSON.stringify(found), "*");
  }
})();
