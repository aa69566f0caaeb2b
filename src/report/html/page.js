// A report's own script: draws the plots of the page's data, a setting at a time, and lets its
// buttons copy and unfold. The plots are those of plots.js.
(function () {
  "use strict";
  const { html, Plot, entry, flip, clamp, copying } = window.tiersim;
  const data = JSON.parse(document.getElementById("data").textContent);

  // A group's plots are made when it is first shown.
  function make(index) {
    const group = data[index], place = document.querySelector("#group" + index + " .plots");
    if (!place || place.childElementCount) return;
    const prefix = "g" + index + "-";
    const steps = { prefix, range: null, plots: [] };
    if (group.shared) share(group, steps);
    const points = (spec) => spec.lines.some((line) => line.names);
    const alone = () => ({ prefix, range: null, plots: [] });
    const made = group.plots.map((spec) => new Plot(spec, points(spec) ? alone() : steps, null));
    const counted = made.length ? { step: "steps", time: "time" }[made[0].unit] || "tokens" : "tokens";
    if (group.distributions.length) {
      const first = Object.assign({}, group.distributions[0]);
      const cdf = new Plot(first, alone(), group.distributions);
      cdf.element.querySelector("figcaption").textContent = (counted !== "tokens" ? "Waits for tokens, latency" : "Latency") + " and queueing: cumulative distribution";
      made.push(cdf);
    }
    const together = group.distributions.length ? "; plots over " + counted + " zoom together" : made.length > 1 ? "; all plots here zoom together" : "";
    const hint = "Drag over a plot to zoom, double-click to show all again" + together + ". A click on a line’s name hides it.";
    if (made.length) place.before(html("p", { class: "note hint" }, hint));
    if (group.shared) place.before(steps.legend);
    if (group.notes) place.after(html("p", { class: "note instead" }, group.notes.join(" ")));
    place.append(...made.map((plot) => plot.element));
    for (const plot of made) plot.draw();
  }

  // One legend and one scale for all plots of a group: each of their lines once.
  function share(group, view) {
    const lines = new Map(), ends = [];
    for (const line of group.plots.flatMap((spec) => spec.lines)) {
      if (!lines.has(line.label)) lines.set(line.label, line);
      if (line.points.length) ends.push(line.points[0], line.points[line.points.length - 2]);
    }
    view.hidden = new Set();
    view.below = new Map();
    view.ends = [Math.min(...ends), Math.max(...ends)];
    const toggle = (label) => {
      const hidden = flip(view.hidden, label);
      for (const plot of view.plots) plot.draw();
      return hidden;
    };
    view.entries = new Map(Array.from(lines, ([label, line]) => [label, entry(line, () => toggle(label))]));
    view.legend = html("div", { class: "legend", role: "group", "aria-label": "Lines" }, ...view.entries.values());
  }

  function choose(index) {
    document.querySelectorAll("section.group").forEach((section, at) => { section.hidden = at !== index; });
    make(index);
  }

  document.documentElement.classList.add("scripted");
  const select = document.getElementById("group");
  const wanted = () => clamp(Number((location.hash.match(/^#setting=(\d+)$/) || [0, 1])[1]) - 1, 0, data.length - 1);
  if (select) {
    select.parentNode.hidden = false;
    // The address keeps the choice, so that a link leads to it.
    select.addEventListener("change", () => {
      choose(Number(select.value));
      try { history.replaceState(null, "", "#setting=" + (Number(select.value) + 1)); } catch (refused) { /* Some browsers, from disk. */ }
    });
    window.addEventListener("hashchange", () => { select.value = wanted(); choose(wanted()); });
    select.value = wanted();
  }
  if (select) choose(wanted());
  else data.forEach((group, index) => make(index));

  for (const button of document.querySelectorAll("button.all")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      button.closest("section").querySelectorAll(".more").forEach((body) => body.classList.add("shown"));
      button.hidden = true;
    });
  }
  for (const button of document.querySelectorAll("button.copy")) copying(button, button.parentNode.querySelector("pre"));
})();
