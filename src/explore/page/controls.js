// The controls of a setting: menus, sliders with their fields, and lists of names.

import { allowed, at, next, place, places, shown, spoken, typed } from "./units.js";

const { html } = window.tiersim;
const MOST = 4;
// The runtime of a setting that names none.
const IDEAL = "ideal";
const STEPS_OF = { ArrowRight: true, ArrowUp: true, ArrowLeft: false, ArrowDown: false };

// A menu's options: plain names, or groups of them.
export function fill(select, names, text = (name) => name) {
  select.replaceChildren(...names.map((name) => html("option", { value: name ?? "" }, text(name))));
  select.disabled = false;
}

// A list of one to four different names, each a menu, with a button that adds one.
export function several(box, options, label, least, changed) {
  const rows = box.querySelector(".rows"), add = box.querySelector(".add");
  let names = [];
  const put = (list, focus) => {
    changed(list);
    show(list);
    if (focus != null) rows.querySelectorAll("select")[focus]?.focus();
  };
  function show(list) {
    names = list;
    add.disabled = list.length >= MOST || list.length >= options().length;
    while (rows.childElementCount > list.length) rows.lastElementChild.remove();
    while (rows.childElementCount < list.length) rows.append(row(rows.childElementCount));
    [...rows.children].forEach((made, index) => {
      const select = made.querySelector("select");
      // Only what is not in another row: names are different.
      const free = options().filter((name) => name === list[index] || !list.includes(name));
      const now = [...select.options].map((option) => option.value);
      if (now.join() !== free.join()) fill(select, free);
      select.value = list[index];
      made.querySelector("button").disabled = list.length <= least;
    });
  }
  function row(index) {
    const name = `${label} ${index + 1}`;
    return html("div", { class: "row" },
      html("i", { class: "mark-of s" + index, "aria-hidden": "true" }),
      html("select", { "aria-label": name, onchange: (event) => put(names.map((old, place) => (place === index ? event.target.value : old))) }),
      html("button", { type: "button", class: "less", "aria-label": "Remove " + name.toLowerCase(), title: "Remove", onclick: () => put(names.filter((_, place) => place !== index), Math.max(0, index - 1)) }, "×"));
  }
  add.addEventListener("click", () => put([...names, options().find((name) => !names.includes(name))], names.length));
  return show;
}

// A slider and its field, which show and change one number. `change(value)` gets it in base units,
// or null for the machine's own.
export function slider(field, change) {
  const box = document.querySelector(`.field[data-field="${field.name}"]`);
  const [text, range, own] = [box.querySelector("input[type=text]"), box.querySelector("input[type=range]"), box.querySelector(".own")];
  let value = null, machine = null;
  const fault = html("p", { class: "fault", id: field.name + "-fault", hidden: true });
  box.append(fault);
  range.max = places(field);
  const now = () => value ?? machine;
  const say = (message) => {
    fault.textContent = message || "";
    fault.hidden = !message;
    text.toggleAttribute("aria-invalid", Boolean(message));
    if (message) text.setAttribute("aria-describedby", fault.id); else text.removeAttribute("aria-describedby");
  };
  const set = (to) => { say(); show(to, machine); change(to); };
  range.addEventListener("input", () => set(at(field, Number(range.value))));
  range.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS_OF) || event.ctrlKey || event.metaKey || event.altKey || now() == null) return;
    event.preventDefault();
    set(next(field, now(), STEPS_OF[event.key]));
  });
  text.addEventListener("change", () => {
    if (!text.value.trim() && own) return set(null);
    const number = typed(field, text.value);
    if (Number.isNaN(number)) return say(`“${text.value}” is not a number: write ${example(field)}.`);
    const possible = allowed(field, number);
    set(possible);
    if (possible !== number) say(`Possible here: ${spoken(field, field.min)} to ${spoken(field, field.max)}.`);
  });
  own?.addEventListener("click", () => { set(null); text.focus(); });
  function show(to, of) {
    [value, machine] = [to, of];
    const known = now();
    box.classList.toggle("changed", Boolean(own) && value != null);
    if (own) own.disabled = value == null;
    // A machine without such a part: nothing to change.
    const without = Boolean(own) && machine === undefined;
    text.disabled = range.disabled = without;
    text.value = known == null ? "" : shown(field, known);
    text.placeholder = without ? "none" : "";
    if (known == null) return;
    range.value = place(field, known);
    range.setAttribute("aria-valuetext", spoken(field, known) + (own && value == null ? ", the machine’s own" : ""));
  }
  return { show, say };
}

const example = (field) => ({ tokens: "131072 or 128k", share: "40 for 40 %", bytes: "96 for 96 GB, or 24 GiB", "bytes/s": "900 for 900 GB/s" }[field.unit] || "8");

// The runtimes in groups: first those that fit the machine.
export function runtimes(select, all, memory) {
  const fits = (name) => !name.includes("/") || name.endsWith("/any") || name.endsWith("/" + memory);
  const options = (names) => names.map((name) => html("option", { value: name }, name));
  const others = all.filter((name) => !fits(name) && name !== IDEAL);
  select.replaceChildren(html("option", { value: "" }, "ideal: no software costs"), ...options(all.filter((name) => fits(name) && name !== IDEAL)),
    ...(others.length ? [html("optgroup", { label: "Fitted on other machines" }, ...options(others))] : []));
  select.disabled = false;
}
