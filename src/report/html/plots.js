// The plotting module of tiersim's pages, as `window.tiersim`: lines over common axes, to hover,
// zoom and toggle. Reports embed it; `tiersim explore` serves it as a file. It needs no library, no
// network and no eval, and sets styles through the CSSOM alone, so that it works under
// `script-src 'self'; style-src 'self'`. Colours and sizes are those of page.css.
//
// A plot is drawn from a spec:
//   { id, title, x, y,          // id is unique on the page; x and y are the labels of the axes
//     lines: [{ label, points: [x, y, x, y, ...], colour: 0..5 or null, dash: 0..5, names }],
//     x_to, y_to, x_view,       // ends of the axes, where they are not those of the points
//     log, snap, fit, note }    // log x; x has values only at points; y need not begin at 0
// A line of which every point has a name is a cloud of points. A plot of snapping lines takes
// `spec.read(line, index)` and `spec.pick(line, index)`: the reader points at the index-th point of
// a line, or chooses it.
(function () {
  "use strict";
  const DASHES = ["", "8 4", "2 4", "12 4 2 4", "16 5", "5 3 2 3"];
  // Of lines that coincide, the upper ones have gaps, so that the lower ones show: dashes of so many
  // pixels in every PERIOD.
  const OVER = [14, 9, 5], PERIOD = 24;
  // A dashed line has its dashes at the end of each period, where the dashes below are not.
  const REFERENCE = "0 18 6 0";
  const NS = "http://www.w3.org/2000/svg";
  // The width of a plot on paper, in pixels.
  const PAPER = 680;
  let printing = false;
  // The plot of each figure on the page, to redraw them when the page's width changes.
  const drawn = new WeakMap();

  // An element with attributes; `style` is an object of properties, `on...` are listeners.
  function html(tag, attributes, ...children) {
    return put(document.createElement(tag), attributes, children);
  }
  function svg(tag, attributes, ...children) {
    return put(document.createElementNS(NS, tag), attributes, children);
  }
  function put(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
      else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }
  const colour = (line) => (line.colour == null ? "var(--ink)" : "var(--s" + line.colour + ")");
  const dash = (line) => DASHES[line.dash % DASHES.length];
  const same = (value) => value;
  const power = (value) => Math.pow(10, value);
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

  function swatch(line) {
    const sample = line.names
      ? svg("circle", { cx: 24, cy: 5, r: 4, style: { fill: colour(line) } })
      : svg("line", { x1: 0, x2: 48, y1: 5, y2: 5, style: { stroke: colour(line) }, "stroke-width": 2.5, "stroke-dasharray": line.pattern == null ? dash(line) : line.pattern });
    return svg("svg", { class: "swatch", viewBox: "0 0 48 10", "aria-hidden": "true" }, sample);
  }

  // Round numbers over a range: 1, 2 or 5 times a power of ten apart.
  function ticks(from, to, count, whole) {
    const rough = (to - from) / Math.max(count, 1);
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.85) || power;
    if (whole) step = Math.max(1, step);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const list = [];
    for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) list.push(i * step + 0);
    const shown = (v) => v.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    return list.map((at) => [at, shown(at)]);
  }
  function figure(value) {
    if (value === 0) return "0";
    return Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4 ? value.toExponential(4) : String(Number(value.toPrecision(6)));
  }

  // The last of a line's points at or before x: an index of pairs, -1 where x lies before all.
  function before(points, x) {
    let low = -1, high = points.length / 2 - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (points[2 * middle] <= x) low = middle; else high = middle - 1;
    }
    return low;
  }

  // What a line says at x: on a level stretch its height, else that of the nearest point that it has, and where that lies.
  function reading(line, x, steps) {
    const p = line.points, last = p.length / 2 - 1;
    if (last < 0) return null;
    const at = before(p, x);
    if (steps) return { x: x, y: at < 0 ? 0 : p[2 * at + 1] };
    if (at < 0 || (at === last && x > p[2 * last])) return null;
    if (at === last || p[2 * at] === x) return { x: x, y: p[2 * at + 1] };
    if (p[2 * at + 1] === p[2 * at + 3]) return { x: x, y: p[2 * at + 1] };
    const near = x - p[2 * at] <= p[2 * at + 2] - x ? at : at + 1;
    return { x: p[2 * near], y: p[2 * near + 1] };
  }

  // A line as a button that shows or hides it.
  function entry(line, toggle) {
    const made = html("button", { type: "button", "aria-pressed": "true", title: "Show or hide", onclick: () => {
      made.setAttribute("aria-pressed", String(!toggle()));
    } }, swatch(line), html("span", {}, line.label));
    return made;
  }

  // Puts key into a set or takes it away; whether it is there now.
  function flip(set, key) {
    if (set.delete(key)) return false;
    set.add(key);
    return true;
  }

  // A pair of axes. Plots with the same view zoom together; where it is shared, they also have one
  // scale and one legend.
  function Plot(spec, view, choices) {
    const plot = this;
    this.hidden = view.hidden || new Set();
    this.view = view;
    this.tail = false;
    this.fit = Boolean(spec.fit);
    this.whole = false;
    view.plots.push(this);
    const title = html("span", {}, spec.title);
    const tools = html("div", { class: "tools", role: "group", "aria-label": "View of " + spec.title });
    const button = (text, name, act) => {
      const made = html("button", { type: "button", title: name, "aria-label": name, onclick: act }, text);
      tools.append(made);
      return made;
    };
    const mode = (text, name, key) => {
      const made = button(text, name, () => {
        plot[key] = !plot[key];
        made.setAttribute("aria-pressed", String(plot[key]));
        plot.draw();
      });
      made.classList.add("mode");
      made.setAttribute("aria-pressed", String(plot[key]));
    };
    if (choices) {
      const select = html("select", { "aria-label": "Distribution", onchange: () => plot.show(choices[select.value]) },
        ...choices.map((choice, index) => html("option", { value: index }, choice.title)));
      tools.append(select);
    }
    button("+", "Zoom in", () => plot.zoom(0.5));
    button("−", "Zoom out", () => plot.zoom(2));
    this.reset = button("All", "Show all", () => plot.range(null));
    if (choices) mode("Tail", "Show the tail: percentiles on a logarithmic scale", "tail");
    else {
      mode("Fit", "Fit the height to what is shown, instead of starting at 0", "fit");
      if (spec.y_to != null) mode("Whole", "Show the values that are beyond the scale", "whole");
    }
    this.legend = html("div", { class: "legend", role: "group" });
    this.axes = svg("svg", { class: "axes", tabindex: 0, role: "application", "aria-roledescription": "plot" });
    this.tip = html("div", { class: "tip", hidden: true });
    this.note = html("p", { class: "note" });
    this.table = html("div", { class: "scroll", tabindex: 0, role: "region" });
    this.details = html("details", { ontoggle: () => plot.details.open && plot.tabulate() }, html("summary", {}, "Values as a table"), this.table);
    this.body = html("div", {}, tools, ...(view.hidden ? [] : [this.legend]), this.axes, this.tip, this.note, this.details);
    this.title = title;
    this.tools = tools;
    this.element = html("figure", { id: view.prefix + spec.id, class: "plot" }, html("figcaption", {}, title), this.body);
    drawn.set(this.element, this);
    this.listen();
    this.show(spec);
  }

  Plot.prototype.show = function (spec) {
    this.spec = spec;
    this.steps = spec.id === "cdf";
    this.cloud = spec.lines.some((line) => line.names);
    this.tokens = !this.steps && !this.cloud && !spec.snap && !spec.time;
    // What x counts: tokens, steps or time.
    this.unit = spec.time ? "time" : spec.x === "step" ? "step" : "token";
    // Along the x axis, and back from there.
    [this.along, this.back] = spec.log ? [Math.log10, power] : [same, same];
    if (!this.view.hidden) this.hidden.clear();
    let to = spec.x_to, from = 0;
    if (to == null) {
      const ends = spec.lines.filter((l) => l.points.length).map((l) => [l.points[0], l.points[l.points.length - 2]]);
      if (this.view.ends) ends.push(this.view.ends);
      if (this.cloud) for (const line of spec.lines) for (let i = 0; i < line.points.length; i += 2) ends.push([line.points[i], line.points[i]]);
      [from, to] = [Math.min(...ends.map((e) => e[0])), Math.max(...ends.map((e) => e[1]))].map(this.along);
      const room = (to - from || Math.abs(to) || 1) * 0.03;
      [from, to] = [spec.log ? from - room : Math.max(0, from - room), to + room].map(this.back);
    }
    this.full = [from, to];
    this.stops = this.stopped();
    if (this.steps) this.view.range = spec.x_view != null && spec.x_view < to ? [from, spec.x_view] : null;
    this.axes.setAttribute("aria-label", spec.title + ", " + spec.y + ", over " + spec.x +
      ". Left and right arrow keys read values, plus and minus zoom, Escape shows all. The values are also in the table below.");
    this.legend.setAttribute("aria-label", "Lines of " + spec.title);
    this.table.setAttribute("aria-label", "Values of " + spec.title);
    this.note.textContent = spec.note;
    this.note.hidden = !spec.note;
    this.entries = spec.lines.map((line, index) => entry(line, () => {
      const hidden = flip(this.hidden, this.key(line, index));
      this.draw();
      return hidden;
    }));
    this.legend.replaceChildren(...this.entries);
    this.draw();
    if (this.details.open) this.tabulate();
  };

  // Draws another spec in the same place. Lines of the same label stay hidden, and a range that the
  // reader chose stays.
  Plot.prototype.update = function (spec) {
    const hidden = new Set(this.spec.lines.filter((line, index) => this.hidden.has(this.key(line, index))).map((line) => line.label));
    const range = this.view.range;
    this.title.textContent = spec.title;
    this.tools.setAttribute("aria-label", "View of " + spec.title);
    this.show(spec);
    spec.lines.forEach((line, index) => {
      if (!hidden.has(line.label)) return;
      this.hidden.add(this.key(line, index));
      this.entries[index].setAttribute("aria-pressed", "false");
    });
    if (range && range[0] < this.full[1] && range[1] > this.full[0]) this.range(range);
    else if (range) this.range(null);
    else if (hidden.size) this.draw();
  };

  // What a hidden line is known by: its label where a legend is for several plots.
  Plot.prototype.key = function (line, index) {
    return this.view.hidden ? line.label : index;
  };

  // The values of x, if it has discrete ones: of lines each x, of a cloud each point, from the left.
  Plot.prototype.stopped = function () {
    const stops = new Map();
    if (!this.cloud && !this.spec.snap) return null;
    for (const line of this.spec.lines) {
      if (this.cloud && !line.names) continue;
      for (let i = 0; 2 * i < line.points.length; i++) {
        const [x, y] = [line.points[2 * i], line.points[2 * i + 1]];
        stops.set(this.cloud ? stops.size : x, { x, y, name: line.names && line.names[i], line, index: i });
      }
    }
    return Array.from(stops.values()).sort((a, b) => a.x - b.x || a.y - b.y);
  };

  Plot.prototype.lines = function () {
    return this.spec.lines.filter((line, index) => !this.hidden.has(this.key(line, index)));
  };
  Plot.prototype.shown = function () {
    return this.view.range || this.full;
  };
  // Sets the range of x that is shown; null for all.
  Plot.prototype.range = function (range) {
    if (range) {
      const [first, last] = this.full.map(this.along);
      let [from, to] = range.map(this.along);
      const least = this.tokens ? Math.min(4, last) : (last - first) / 1e4;
      const width = Math.max(to - from, least);
      from = clamp((from + to - width) / 2, first, Math.max(first, last - width));
      to = Math.min(from + width, last);
      range = from <= first && to >= last ? null : [this.back(from), this.back(to)];
    }
    this.view.range = range;
    for (const plot of this.view.plots) plot.draw();
  };
  Plot.prototype.zoom = function (factor) {
    const [from, to] = this.shown().map(this.along), half = (to - from) / 2 * factor;
    const at = this.at == null ? null : this.along(this.at);
    const middle = at != null && at >= from && at <= to ? at : (from + to) / 2;
    this.range([middle - half, middle + half].map(this.back));
  };

  // Heights: as they are, or for the tail of a distribution by how many are above.
  Plot.prototype.height = function (y) {
    if (!this.tail) return y;
    // All of them are infinitely far up: at the top of the picture, above the last mark.
    return y < 1 ? -Math.log10(1 - y) : this.top;
  };

  // The least and the most that lines reach within a range of x.
  function extent(lines, from, to) {
    let least = Infinity, most = -Infinity;
    for (const line of lines) {
      const p = line.points;
      for (let i = line.names ? 0 : Math.max(before(p, from), 0); 2 * i < p.length && (line.names || p[2 * i] <= to || i === 0); i++) {
        if (line.names && (p[2 * i] < from || p[2 * i] > to)) continue;
        least = Math.min(least, p[2 * i + 1]);
        most = Math.max(most, p[2 * i + 1]);
      }
    }
    // What the scale holds on to when no line is shown.
    return most > -Infinity ? [least, most] : [0, 1];
  }

  // The marks of the x axis, no two over each other.
  Plot.prototype.marks = function (from, to, box) {
    const wide = box.right - box.left;
    if (!this.spec.snap && !this.spec.log) return ticks(from, to, Math.max(2, Math.floor(wide / 85)), this.tokens);
    let places = [];
    if (this.spec.snap) places = this.stops.map((stop) => stop.x);
    else for (let d = Math.floor(Math.log10(from)); d <= Math.log10(to); d++) for (const m of [1, 2, 5]) places.push(m * Math.pow(10, d));
    let end = -Infinity;
    return places.filter((at) => at >= from && at <= to).map((at) => [at, figure(at)]).filter(([at, text]) => {
      const half = text.length * 3.6 + 4, middle = this.x(at);
      if (middle - half < end) return false;
      end = middle + half;
      return true;
    });
  };

  // How each line is drawn: where it coincides with others below it, with gaps.
  Plot.prototype.apart = function (lines) {
    const places = 120, box = this.box, [from, to] = this.shown().map(this.along);
    const heights = lines.map((line) => Array.from({ length: places }, (_, place) => {
      const p = line.points, x = this.back(from + (to - from) * place / (places - 1)), i = before(p, x);
      // Where a distribution is all or nothing, lines coincide always.
      if (this.steps && (i < 0 || p[2 * i + 1] === 1)) return null;
      if (line.names || i < 0 || (2 * i + 2 >= p.length && !this.steps && p[2 * i] !== x)) return null;
      if (this.steps || 2 * i + 2 >= p.length) return this.y(this.height(p[2 * i + 1]));
      const share = (this.along(x) - this.along(p[2 * i])) / (this.along(p[2 * i + 2]) - this.along(p[2 * i]));
      return this.y(this.height(p[2 * i + 1] + (p[2 * i + 3] - p[2 * i + 1]) * share));
    }));
    const near = (a, b) => a != null && b != null && Math.abs(a - b) <= 1 && a >= box.top - 1 && a <= box.bottom + 1;
    let more = false;
    const patterns = lines.map((line, index) => {
      let below = 0;
      for (let other = 0; other < index; other++) {
        if (dash(lines[other]) || lines[other].names) continue;
        const alike = heights[index].filter((height, place) => near(height, heights[other][place])).length;
        if (alike >= 0.04 * places) below++;
      }
      // A line looks the same in all plots that have one legend.
      if (this.view.below) {
        const most = this.view.below.get(line.label) || 0;
        if (below > most) {
          this.view.below.set(line.label, below);
          more = true;
        }
        below = Math.max(below, most);
      }
      const long = OVER[Math.min(below, OVER.length) - 1];
      return !below ? dash(line) : dash(line) ? REFERENCE : long + " " + (PERIOD - long);
    });
    if (more) setTimeout(() => this.view.plots.forEach((plot) => plot !== this && plot.draw()));
    return patterns;
  };

  Plot.prototype.draw = function () {
    if (!this.element.isConnected) return;
    const width = printing ? PAPER : Math.max(this.axes.parentNode.clientWidth, 240);
    const tall = clamp(Math.round(width * 0.5), 230, 300);
    const [from, to] = this.shown();
    const lines = this.lines();
    const common = this.view.hidden && !this.fit ? this.view.plots.flatMap((plot) => plot.lines()) : lines;
    const [least, most] = extent(common, from, to);
    let low = this.fit ? least - (most - least || Math.abs(most) || 1) * 0.06 : 0;
    let high = this.fit ? most + (most - least || Math.abs(most) || 1) * 0.06 : most > 0 ? most * 1.06 : 1;
    if (this.fit && least >= 0) low = Math.max(low, 0);
    if (!this.fit && !this.whole && this.spec.y_to != null) high = Math.min(high, this.spec.y_to);
    const count = Math.max(2, Math.floor(tall / 48));
    let marks;
    if (this.steps) {
      [low, high] = [0, 1];
      marks = [0, 0.25, 0.5, 0.75, 1].map((y) => [y, 100 * y + " %"]);
      if (this.tail) {
        // Down to the last one that is not the greatest.
        let rest = 1;
        for (const line of lines) for (let i = 1; i < line.points.length; i += 2) if (line.points[i] < 1) rest = Math.min(rest, 1 - line.points[i]);
        this.decades = clamp(Math.ceil(-Math.log10(rest) - 0.01), 1, 7);
        high = this.top = this.decades + Math.max(0.5, this.decades / 8);
        marks = [[0, "0 %"]];
        for (let d = 1; d <= this.decades; d++) marks.push([d, (100 - Math.pow(10, 2 - d)).toFixed(Math.max(0, d - 2)) + " %"]);
        marks.push([high, "100 %"]);
      }
    } else {
      marks = ticks(low, high, count);
    }
    const wide = Math.max(...marks.map((mark) => mark[1].length)) * 7 + 10;
    const box = { left: wide + 20, right: width - 14, top: 10, bottom: tall - 42 };
    const [first, last] = [from, to].map(this.along);
    const x = (v) => box.left + (this.along(v) - first) / (last - first || 1) * (box.right - box.left);
    const y = (v) => box.bottom - (v - low) / (high - low || 1) * (box.bottom - box.top);
    Object.assign(this, { box, x, y, width, tall });
    const clip = this.view.prefix + this.spec.id + "clip";
    const parts = [svg("clipPath", { id: clip }, svg("rect", { x: box.left, y: box.top - 3, width: box.right - box.left, height: box.bottom - box.top + 6 }))];
    for (const [at, text] of marks) {
      parts.push(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(at), y2: y(at) }));
      parts.push(svg("text", { x: box.left - 6, y: y(at) + 4, "text-anchor": "end" }, text));
    }
    for (const [at, text] of this.marks(from, to, box)) {
      parts.push(svg("line", { class: "axis", x1: x(at), x2: x(at), y1: box.bottom, y2: box.bottom + 5 }));
      parts.push(svg("text", { x: clamp(x(at), 0, width - text.length * 3.4), y: box.bottom + 18, "text-anchor": "middle" }, text));
    }
    parts.push(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    parts.push(svg("text", { x: (box.left + box.right) / 2, y: tall - 6, "text-anchor": "middle" }, this.spec.x));
    parts.push(svg("text", { transform: "translate(12 " + (box.top + box.bottom) / 2 + ") rotate(-90)", "text-anchor": "middle" }, this.spec.y));
    const group = svg("g", { "clip-path": "url(#" + clip + ")" });
    const patterns = this.apart(lines);
    lines.forEach((line, index) => {
      line.pattern = patterns[index];
      if (!line.names) {
        group.append(svg("path", { class: "line", d: this.path(line, from, to), style: { stroke: colour(line) }, "stroke-dasharray": line.pattern }));
        if (!this.spec.snap) return;
      }
      for (let i = 0; 2 * i < line.points.length; i++) {
        if (line.points[2 * i] < from || line.points[2 * i] > to) continue;
        const style = { fill: colour(line), "fill-opacity": line.names ? 0.6 : 1 };
        group.append(svg("circle", { class: "point", cx: x(line.points[2 * i]).toFixed(1), cy: y(line.points[2 * i + 1]).toFixed(1), r: line.names ? 4 : 2.5, style }));
      }
    });
    for (const line of this.spec.lines) {
      const made = this.view.hidden ? this.view.entries.get(line.label) : this.entries[this.spec.lines.indexOf(line)];
      made.firstChild.replaceWith(swatch(line));
    }
    this.over = svg("g", { "aria-hidden": "true" });
    this.axes.replaceChildren(...parts, group, this.over);
    this.axes.setAttribute("viewBox", "0 0 " + width + " " + tall);
    this.reset.disabled = !this.view.range;
    this.tip.hidden = true;
    if (this.at != null && document.activeElement === this.axes) this.read(this.at, null, false);
  };

  Plot.prototype.path = function (line, from, to) {
    const p = line.points, parts = [];
    const start = Math.max(before(p, from), 0);
    let last = this.y(this.height(0));
    if (this.steps && start === 0) parts.push("M" + this.x(Math.min(from, p[0])).toFixed(1) + " " + last.toFixed(1));
    for (let i = start; 2 * i < p.length; i++) {
      const x = this.x(p[2 * i]), y = this.y(this.height(p[2 * i + 1]));
      if (this.steps && parts.length) parts.push("H" + x.toFixed(1) + "V" + y.toFixed(1));
      else parts.push((parts.length ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1));
      last = y;
      // One point beyond the end, so that the line leaves the picture where it should.
      if (p[2 * i] > to) return parts.join("");
    }
    if (this.steps) parts.push("H" + this.x(Math.max(to, p[p.length - 2])).toFixed(1));
    return parts.join("");
  };

  // The stop that is nearest to a place of the picture; y is null where x alone counts.
  Plot.prototype.stop = function (at, y) {
    const off = (stop) => Math.hypot(this.x(stop.x) - this.x(at), y == null || !this.cloud ? 0 : this.y(stop.y) - y);
    const [from, to] = this.shown();
    const shown = this.stops.filter((stop) => stop.x >= from && stop.x <= to);
    return shown.reduce((best, stop) => (best && off(best) <= off(stop) ? best : stop), null);
  };

  // The point that a reader means at a stop: of a cloud the stop's own, of lines the one nearest to
  // y, or that of the line which the arrow keys are on.
  Plot.prototype.meant = function (stop, y) {
    if (!stop || !this.spec.read) return null;
    if (this.cloud) return stop;
    const at = this.lines().map((line) => ({ line, index: before(line.points, stop.x) }))
      .filter(({ line, index }) => index >= 0 && line.points[2 * index] === stop.x);
    const off = ({ line, index }) => Math.abs(this.y(this.height(line.points[2 * index + 1])) - y);
    if (typeof y === "number") return at.reduce((best, one) => (best && off(best) <= off(one) ? best : one), null);
    return at.find((one) => this.point && one.line === this.point.line) || at[0] || null;
  };

  // Goes to the next line above or below at the same x.
  Plot.prototype.climb = function (by) {
    if (!this.point || this.cloud) return;
    const at = this.point.line.points[2 * this.point.index];
    const lines = this.lines().filter((line) => { const found = reading(line, at, false); return found && found.x === at; });
    lines.sort((a, b) => reading(a, at, false).y - reading(b, at, false).y);
    const line = lines[clamp(lines.indexOf(this.point.line) + by, 0, lines.length - 1)];
    this.point = { line, index: before(line.points, at) };
    this.read(at, null, true);
  };

  // Shows the values of the lines at x (of a cloud, the point next to x and y), and announces them
  // where a keyboard asked.
  Plot.prototype.read = function (at, y, aloud) {
    const [from, to] = this.shown();
    at = clamp(at, from, to);
    if (this.tokens) at = Math.round(at);
    const stop = this.stops && (typeof y === "object" && y ? y : this.stop(at, y));
    if (this.stops && !stop) return;
    if (stop) at = stop.x;
    this.at = at;
    this.held = stop;
    const head = this.cloud ? stop.name : this.tokens ? this.unit + " " + at.toLocaleString("en-US") : this.spec.x + ": " + figure(at);
    const rows = [], words = [];
    const line = (label, value, mark) => {
      rows.push(html("div", {}, ...(mark ? [swatch(mark)] : []), label + ": " + value));
      words.push(label + " " + value);
    };
    this.over.replaceChildren(svg("line", { class: "cursor", x1: this.x(at), x2: this.x(at), y1: this.box.top, y2: this.box.bottom }));
    if (this.cloud) {
      line(this.spec.x, figure(stop.x));
      line(this.spec.y, figure(stop.y));
      this.over.append(svg("circle", { cx: this.x(stop.x), cy: this.y(stop.y), r: 5, style: { fill: colour(stop.line) } }));
    }
    for (const one of this.cloud ? [] : this.lines()) {
      const found = reading(one, at, this.steps);
      if (!found || (this.stops && found.x !== at)) continue;
      const value = (this.steps ? figure(100 * found.y) + " %" : figure(found.y)) +
        (found.x !== at ? " (at " + this.unit + " " + found.x.toLocaleString("en-US") + ")" : "");
      line(one.label, value, one);
      if (found.x >= from && found.x <= to) {
        const height = clamp(this.y(this.height(found.y)), this.box.top, this.box.bottom);
        this.over.append(svg("circle", { cx: this.x(found.x), cy: height, r: 3.5, style: { fill: colour(one) } }));
      }
    }
    this.point = this.meant(stop, y);
    if (this.point) {
      const { points } = this.point.line, place = 2 * this.point.index;
      this.over.append(svg("circle", { class: "meant", cx: this.x(points[place]), cy: this.y(this.height(points[place + 1])), r: 7 }));
      this.spec.read(this.point.line, this.point.index);
    }
    this.tip.replaceChildren(html("strong", {}, head), ...rows);
    this.tip.hidden = false;
    const scale = this.axes.clientWidth / this.width || 1, left = this.x(at) * scale;
    const room = this.element.clientWidth - this.tip.offsetWidth;
    const side = left + 14 <= room ? left + 14 : left - this.tip.offsetWidth - 14;
    this.tip.style.left = clamp(side, 0, Math.max(0, room)) + "px";
    this.tip.style.top = this.axes.getBoundingClientRect().top - this.element.getBoundingClientRect().top + 8 + "px";
    if (aloud) say(head + ". " + words.join(". "));
  };
  Plot.prototype.leave = function () {
    this.tip.hidden = true;
    this.at = null;
    this.over.replaceChildren();
  };

  Plot.prototype.listen = function () {
    const axes = this.axes;
    let start = null, dragged = false;
    const pick = () => this.spec.pick && this.point && this.spec.pick(this.point.line, this.point.index);
    // From a place on the screen to x.
    const at = (event) => {
      const edge = axes.getBoundingClientRect(), [from, to] = this.shown().map(this.along);
      const place = (event.clientX - edge.left) * (this.width / edge.width);
      return this.back(clamp(from + (place - this.box.left) / (this.box.right - this.box.left) * (to - from), from, to));
    };
    const above = (event) => {
      const edge = axes.getBoundingClientRect();
      return (event.clientY - edge.top) * (this.tall / edge.height);
    };
    axes.addEventListener("pointermove", (event) => {
      this.read(at(event), above(event), false);
      if (start != null) {
        const [a, b] = [this.x(start), this.x(at(event))];
        this.over.append(svg("rect", { class: "drag", x: Math.min(a, b), y: this.box.top, width: Math.abs(b - a), height: this.box.bottom - this.box.top }));
      }
    });
    axes.addEventListener("pointerdown", (event) => {
      // A finger reads values; the buttons zoom.
      if (event.pointerType === "touch") return this.read(at(event), above(event), false);
      if (event.button !== 0) return;
      start = at(event);
      dragged = false;
      try { axes.setPointerCapture(event.pointerId); } catch (gone) { /* The pointer has left already. */ }
    });
    axes.addEventListener("pointerup", (event) => {
      if (start == null) return;
      const ends = [start, at(event)].sort((a, b) => a - b);
      start = null;
      dragged = this.x(ends[1]) - this.x(ends[0]) > 6;
      if (dragged) this.range(ends);
    });
    axes.addEventListener("click", () => { if (!dragged) pick(); });
    axes.addEventListener("pointercancel", () => { start = null; });
    axes.addEventListener("pointerleave", () => this.leave());
    axes.addEventListener("blur", () => this.leave());
    axes.addEventListener("dblclick", () => this.range(null));
    axes.addEventListener("keydown", (event) => {
      const [from, to] = this.shown();
      const step = Math.max((to - from) / (event.shiftKey ? 10 : 100), this.tokens ? 1 : 0);
      const now = this.at == null ? from : this.at;
      const stops = this.stops && this.stops.filter((stop) => stop.x >= from && stop.x <= to);
      // On by so many stops, or by a stretch of x where there are none.
      const go = (by) => {
        if (!stops) return this.read(this.at == null ? from : now + by * step, null, true);
        const place = this.at == null ? (by > 0 ? -1 : stops.length) : stops.indexOf(this.held);
        const next = stops[clamp(place + by, 0, stops.length - 1)];
        if (next) this.read(next.x, next, true);
      };
      const keys = {
        ArrowLeft: () => go(-1),
        ArrowRight: () => go(1),
        Home: () => this.read(from, null, true),
        End: () => this.read(to, null, true),
        "+": () => this.zoom(0.5),
        "=": () => this.zoom(0.5),
        "-": () => this.zoom(2),
        Escape: () => this.range(null),
        ...(this.spec.read && { ArrowUp: () => this.climb(1), ArrowDown: () => this.climb(-1) }),
        ...(this.spec.pick && { Enter: pick }),
      };
      if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
        keys[event.key]();
        event.preventDefault();
      }
    });
  };

  // For readers who do not see the lines: 33 places over the whole range, or all there are.
  Plot.prototype.tabulate = function () {
    const [from, to] = this.full, rows = [];
    const lines = this.cloud ? [] : this.spec.lines;
    const cell = (text) => html("td", {}, text);
    if (this.cloud) {
      for (const stop of this.stops) rows.push(html("tr", {}, html("th", { scope: "row" }, stop.name), cell(figure(stop.x)), cell(figure(stop.y))));
    } else {
      const places = new Set(this.stops && this.stops.map((stop) => stop.x));
      if (!this.stops) for (let i = 0; i <= 32; i++) places.add(this.tokens ? Math.round(from + (to - from) * i / 32) : from + (to - from) * i / 32);
      for (const at of places) {
        const cells = lines.map((line) => {
          const found = reading(line, at, this.steps);
          return cell(!found || (this.stops && found.x !== at) ? "–" : this.steps ? figure(100 * found.y) + " %" : figure(found.y));
        });
        rows.push(html("tr", {}, html("th", { scope: "row" }, this.tokens ? at.toLocaleString("en-US") : figure(at)), ...cells));
      }
    }
    const heads = this.cloud ? ["point", this.spec.x, this.spec.y] : [this.spec.x, ...lines.map((line) => line.label)];
    const head = heads.map((text) => html("th", { scope: "col", class: "number" }, text));
    this.table.replaceChildren(html("table", {}, html("caption", {}, this.spec.title + ", " + this.spec.y),
      html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows)));
  };

  // Tells readers that do not see the page.
  function say(text) {
    const status = document.getElementById("status");
    if (status) status.textContent = text;
  }

  // Makes a button copy the text of an element.
  function copying(button, text) {
    const name = button.textContent;
    const show = (what) => { button.textContent = what; say(what); setTimeout(() => { button.textContent = name; }, 2000); };
    const mark = () => {
      getSelection().selectAllChildren(text);
      show("Selected: press Ctrl+C or ⌘C");
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      if (!navigator.clipboard) return mark();
      navigator.clipboard.writeText(text.textContent).then(() => show("Copied"), mark);
    });
  }

  // Draws a plot into `place`; `update(spec)` of what it returns draws another in the same place.
  function plot(place, spec) {
    const made = new Plot(spec, { prefix: "", range: null, plots: [] }, null);
    place.append(made.element);
    made.draw();
    return made;
  }

  const redraw = () => document.querySelectorAll("figure.plot").forEach((element) => drawn.get(element).draw());
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === width || printing) return;
    width = innerWidth;
    redraw();
  });
  window.addEventListener("beforeprint", () => { printing = true; redraw(); });
  window.addEventListener("afterprint", () => { printing = false; redraw(); });

  window.tiersim = { html, svg, plot, Plot, entry, flip, figure, ticks, clamp, say, copying };
})();
