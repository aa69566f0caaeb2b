// The setting that is simulated, and how the fragment of the address holds it.

import { allowed } from "./units.js";

const NAMES = ["model", "memory", "runtime"];

// `#model=...&strategy=...&strategy=...&prefill=131072`; what is the machine's own is left out.
export function query(state, fields) {
  const pairs = new URLSearchParams();
  for (const name of NAMES) if (state[name] != null) pairs.append(name, state[name]);
  for (const name of state.strategies) pairs.append("strategy", name);
  for (const field of fields) if (state[field.name] != null) pairs.append(field.name, state[field.name]);
  return readable(pairs);
}

// Slashes and brackets need no escape in a fragment.
export const readable = (pairs) => pairs.toString().replace(/%2F/g, "/").replace(/%28/g, "(").replace(/%29/g, ")").replace(/%3A/g, ":");

// The state that a query holds, on top of the defaults, and a sentence for each part that cannot be.
export function read(text, catalog) {
  const pairs = new URLSearchParams(text), state = { ...catalog.defaults }, faults = [];
  const listed = { model: catalog.models, memory: catalog.memories, runtime: catalog.runtimes };
  const known = (list, name) => list.some((one) => one.name === name);
  const given = [...pairs.keys()].length > 0;
  for (const name of NAMES) {
    const value = pairs.get(name);
    if (value == null) {
      if (given && name === "runtime") state.runtime = null;
    } else if (known(listed[name], value) || value === catalog.defaults[name]) state[name] = value;
    else faults.push(`The ${name} “${value}” of the address is not in the catalog: ${state[name] || "the machine’s own"} is shown.`);
  }
  const strategies = [...new Set(pairs.getAll("strategy"))];
  for (const name of strategies.filter((name) => !known(catalog.strategies, name))) faults.push(`The strategy “${name}” of the address is not known.`);
  const found = strategies.filter((name) => known(catalog.strategies, name)).slice(0, 4);
  if (found.length) state.strategies = found;
  for (const field of catalog.fields) {
    if (!pairs.has(field.name)) {
      if (given && field.own) state[field.name] = null;
      continue;
    }
    const value = Number(pairs.get(field.name));
    if (pairs.get(field.name) === "" || !Number.isFinite(value)) faults.push(`“${pairs.get(field.name)}” of the address is no number: ${field.name} is as by default.`);
    else state[field.name] = allowed(field, value);
  }
  return [state, faults];
}
