// What a setting's runs say: a sentence, a card for each strategy, and the latency of each step.

import { bytes, difference, figure, percent, time } from "./units.js";

const { html, plot } = window.tiersim;
// The colours of strategies, by their places; tiers have the others.
export const COLOURS = [1, 0, 2, 3];
const SHOWN_WAITS = 3;

// The figures of a run: key, name, how it is shown, and whether more of it is better.
const FIGURES = [
  { key: "tokens_per_s", name: "tokens/s", show: (value) => figure(value, 4), more: true },
  { key: "tpot_ns", name: "TPOT", title: "Time between two tokens of a sequence", show: time },
  { key: "ttft_ns", name: "TTFT", title: "Time from the start of a sequence to its first token", show: time },
  { key: "bound_ns", name: "bound", title: "The least time of a step under any placement", show: time, neutral: true },
  { key: "over_bound", name: "over bound", title: "Achieved time over the bound", show: (value) => figure(value, 4) + "x" },
  { key: "alpha", name: "from HBM", title: "Alpha: HBM’s share of the bytes read", show: percent, neutral: true },
];

const can = (run) => !run.error;
export const fastest = (runs) => runs.filter(can).reduce((best, run) => (!best || run.tokens_per_s > best.tokens_per_s ? run : best), null);

// The fastest run, where one is faster than all others.
const EQUAL = 1.0005;
function clear(runs) {
  const best = fastest(runs), second = fastest(runs.filter((run) => run !== best));
  return best && second && best.tokens_per_s / second.tokens_per_s >= EQUAL ? best : null;
}

// The answer in one sentence.
export function sentence(answer) {
  const best = fastest(answer.runs), others = answer.runs.filter((run) => can(run) && run !== best);
  if (!best) return answer.runs.length > 1 ? "None of these strategies can run this setting." : "This setting cannot run.";
  const gives = `${figure(best.tokens_per_s, 4)} tokens/s`;
  const bound = best.over_bound < EQUAL ? ", at the bound" : `, ${percent(best.over_bound - 1)} over the bound`;
  if (!others.length) return `${best.strategy}: ${gives}${bound}.`;
  const second = fastest(others), gain = best.tokens_per_s / second.tokens_per_s;
  if (gain < EQUAL) return `${best.strategy} and ${second.strategy} are equally fast: ${gives}${bound}.`;
  return `${best.strategy} is the fastest: ${gives}, ${percent(gain - 1)} more than ${second.strategy}${bound}.`;
}

export const stage = (answer) => (answer.refined ? `${answer.steps} steps, simulated in ${time(answer.ms * 1e6)}` : `first estimate: ${answer.steps} steps`);

// The run of a pinned answer that a run is compared with: the same strategy's, else the fastest.
const counterpart = (pinned, run) => pinned && (pinned.runs.find((one) => one.strategy === run.strategy && can(one)) || fastest(pinned.runs));

const broken = (name) => name.split(/(?<=\/)/).flatMap((part, index) => (index ? [html("wbr"), part] : [part]));

function delta(entry, run, before) {
  const [now, then] = [run[entry.key], before?.[entry.key]];
  if (now == null || !then) return "";
  const text = difference(now / then), better = (now > then) === Boolean(entry.more);
  const kind = entry.neutral || text === "same" ? "" : better ? " better" : " worse";
  return html("small", { class: "delta" + kind, title: "Against the pinned setting" }, text);
}

// A bar whose parts fill it; widths are set by script, as the page allows no inline styles.
function bar(parts, label) {
  const made = html("div", { class: "bar", role: "img", "aria-label": label });
  for (const part of parts) {
    const piece = html("i", { class: part.colour, title: part.text });
    piece.style.setProperty("width", 100 * part.share + "%");
    made.append(piece);
  }
  return made;
}

// The colour of a cause of waiting: that of the tier that it names, else one of its own.
function colourOf(what, tiers, index) {
  const tier = tiers.findIndex((name) => what.toLowerCase().includes(name.toLowerCase()));
  return tier >= 0 ? "t" + tier : ["c3", "c4", "t5"][index % 3];
}

function layout(run, tiers) {
  return (run.layout || []).map(({ what, parts }) => {
    const total = parts.reduce((sum, part) => sum + part.bytes, 0);
    const drawn = parts.filter((part) => part.share > 0).map((part) => ({ share: part.share, colour: "t" + Math.max(0, tiers.indexOf(part.tier)), text: `${part.tier} ${percent(part.share)}, ${bytes(part.bytes)}` }));
    const said = drawn.map((part) => part.text).join("; ");
    return html("div", { class: "stack" },
      html("p", {}, html("span", {}, what), html("span", {}, bytes(total))),
      bar(drawn, `${what}: ${said}`),
      html("p", { class: "quiet" }, parts.map((part) => percent(part.share)).join(" · ")));
  });
}

function waits(run, tiers) {
  const all = [...(run.waits || [])].sort((a, b) => b.share - a.share);
  const parts = all.map((wait, index) => ({ share: wait.share, colour: colourOf(wait.what, tiers, index), text: `${wait.what} ${percent(wait.share)}` }));
  return [
    html("p", {}, html("span", {}, "waits for")),
    bar(parts, "Waits for: " + (parts.map((part) => part.text).join("; ") || "nothing")),
    html("ul", { class: "keys" }, ...parts.slice(0, SHOWN_WAITS).map((part, index) =>
      html("li", {}, html("i", { class: part.colour, "aria-hidden": "true" }), html("span", {}, all[index].what), html("b", {}, percent(part.share))))),
  ];
}

function card(run, index, answer, pinned, best) {
  const head = html("header", {},
    html("h3", {}, html("i", { class: "mark-of s" + index, "aria-hidden": "true" }), html("span", {}, ...broken(run.strategy))),
    html("p", { class: "quiet" }, run.knows || "", ...(best === run ? [html("b", { class: "best" }, "fastest")] : [])));
  if (run.error) {
    return html("article", { class: "card", "aria-label": run.strategy }, head, html("p", { class: "refusal" }, run.error));
  }
  const before = counterpart(pinned, run), [main, ...rest] = FIGURES, tiers = answer.machine.tiers;
  const lines = rest.filter((entry) => run[entry.key] != null).flatMap((entry) => [
    html("dt", { title: entry.title }, entry.name),
    html("dd", {}, html("span", {}, entry.show(run[entry.key])), delta(entry, run, before)),
  ]);
  return html("article", { class: "card", "aria-label": run.strategy }, head,
    html("p", { class: "main" }, html("span", { class: "figure" }, main.show(run.tokens_per_s)), html("span", { class: "unit" }, " tokens/s"), delta(main, run, before)),
    html("dl", {}, ...lines),
    html("div", { class: "stacks" }, ...layout(run, tiers)),
    html("div", { class: "stack" }, ...waits(run, tiers)));
}

// The cards, and the same figures as a table.
export function cards(answer, pinned) {
  const best = clear(answer.runs);
  const keys = answer.machine.tiers.map((tier, index) => html("span", { class: "key" }, html("i", { class: "t" + index, "aria-hidden": "true" }), tier));
  document.getElementById("tiers").replaceChildren(...keys);
  document.getElementById("cards").classList.toggle("compared", Boolean(pinned));
  document.getElementById("cards").replaceChildren(...answer.runs.map((run, index) => card(run, index, answer, pinned, best)));
  document.querySelector("#figures .scroll").replaceChildren(table(answer, pinned));
}

function table(answer, pinned) {
  const shown = FIGURES.filter((entry) => answer.runs.some((run) => run[entry.key] != null));
  const rows = answer.runs.map((run) => {
    const before = counterpart(pinned, run);
    const cells = shown.flatMap((entry) => {
      const now = run[entry.key], then = before?.[entry.key];
      const text = now == null || run.error ? "–" : entry.show(now);
      return [html("td", {}, text), ...(pinned ? [html("td", {}, now == null || !then ? "–" : difference(now / then))] : [])];
    });
    return html("tr", {}, html("th", { scope: "row" }, run.strategy), ...cells);
  });
  const heads = shown.flatMap((entry) => [entry.name, ...(pinned ? ["against the pinned"] : [])]);
  return html("table", {}, html("caption", {}, `Figures of ${answer.steps} simulated steps`),
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "strategy"), ...heads.map((name) => html("th", { scope: "col", class: "number" }, name)))),
    html("tbody", {}, ...rows));
}

let drawn = null;
// The latency of each step, of the setting and, dashed, of the pinned one.
export function latency(answer, pinned) {
  const lines = (runs, dash, note) => runs.map((run, index) => ({ run, index })).filter(({ run }) => can(run) && run.latency?.length)
    .map(({ run, index }) => ({ label: run.strategy + note, colour: COLOURS[index], dash, points: run.latency.flatMap(([step, ns]) => [step, ns / 1e6]) }));
  const spec = { id: "latency", title: "Latency of each step", x: "step", y: "ms", x_to: null, y_to: null, notes: [], log: false,
    lines: [...lines(answer.runs, 0, ""), ...(pinned ? lines(pinned.runs, 1, " (pinned)") : [])] };
  const box = document.getElementById("latency");
  box.hidden = !spec.lines.length;
  if (box.hidden) return;
  if (drawn) drawn.update(spec); else drawn = plot(box, spec);
}
