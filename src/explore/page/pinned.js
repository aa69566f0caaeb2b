// The pinned setting: what it gives, and where the one that is shown differs from it.

import { sentence } from "./answer.js";
import { spoken } from "./units.js";

const { html } = window.tiersim;

// What differs, as rows of a table: name, pinned, shown.
function differences(then, now, fields) {
  const rows = [];
  const text = (value) => (Array.isArray(value) ? value.join(", ") : value ?? "the machine’s own");
  for (const [name, label] of [["model", "model"], ["memory", "machine"], ["runtime", "runtime"], ["strategies", "strategies"]]) {
    const [a, b] = [then, now].map((state) => (name === "runtime" ? state[name] ?? "ideal" : text(state[name])));
    if (a !== b) rows.push([label, a, b]);
  }
  for (const field of fields) {
    const [a, b] = [then[field.name], now[field.name]];
    const shown = (value) => (value == null ? "the machine’s own" : spoken(field, value));
    if (a !== b) rows.push([field.label, shown(a), shown(b)]);
  }
  return rows;
}

// Shows the pinned setting in `box`, or nothing where there is none.
export function pinned(box, pin, state, fields, { back, drop }) {
  box.hidden = !pin;
  const rows = pin ? differences(pin.state, state, fields) : [];
  // What says the same stays: a button that is replaced while it is pressed is not clicked.
  const said = JSON.stringify([pin?.state, pin?.answer?.steps, rows]);
  if (box.dataset.said === said) return;
  box.dataset.said = said;
  if (!pin) return box.replaceChildren();
  const focused = box.contains(document.activeElement) && document.activeElement.className;
  box.replaceChildren(
    html("p", {}, html("b", {}, "Pinned: "), pin.answer ? sentence(pin.answer) : "is being simulated …"),
    ...(rows.length ? [html("dl", {}, ...rows.map(([name, a, b]) => html("div", {}, html("dt", {}, name), html("dd", {}, a, html("span", { "aria-label": "now" }, " → "), html("b", {}, b)))))]
      : [html("p", { class: "quiet" }, "This is the pinned setting. Change something to compare.")]),
    html("p", { class: "bar-of-tools" },
      html("button", { type: "button", class: "back", onclick: back, disabled: !rows.length }, "Back to it"),
      html("button", { type: "button", class: "drop", onclick: drop }, "Unpin")));
  if (focused) box.querySelector("." + focused)?.focus();
}
