// Quantities as a reader meets them: how a number is shown, read from a field, and laid on a slider.
// Numbers are in base units everywhere else: tokens, shares, bytes, bytes/s, nanoseconds.

const POINTS = 1000;
const SUFFIXES = { k: 1024, m: 1024 * 1024 };
const BYTES = { kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 };

// With so many significant digits, without an exponent and without zeros at the end.
export function figure(value, digits = 3) {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(digits));
  return Math.abs(rounded) >= 10 ** digits ? String(Math.round(value)) : String(rounded);
}

const scaled = (value, units, digits) => {
  const [size, unit] = units.find(([least]) => Math.abs(value) >= least) || units[units.length - 1];
  return figure(value / size, digits) + " " + unit;
};
export const time = (ns) => scaled(ns, [[1e9, "s"], [1e6, "ms"], [1e3, "us"], [1, "ns"]], 4);
export const bytes = (value) => scaled(value, [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]], 3);
export const percent = (share) => figure(100 * share, Math.abs(share) >= 0.1 ? 3 : 2) + " %";
// A difference: +12 %, −3.1 %.
export function difference(ratio) {
  const share = ratio - 1;
  if (Math.abs(share) < 5e-4) return "same";
  return (share > 0 ? "+" : "−") + percent(Math.abs(share));
}

// What a field's text shows of a number in base units, without its unit.
export function shown(field, value) {
  switch (field.unit) {
    case "tokens": return value >= 1024 && value % 1024 === 0 ? value / 1024 + "k" : String(value);
    case "share": return figure(100 * value, 4);
    case "bytes": case "bytes/s": return figure(value / 1e9, 5);
    default: return figure(value, 6);
  }
}

// The same with its unit, as it is spoken and written in sentences.
export function spoken(field, value) {
  const unit = { tokens: " tokens", sequences: " sequences", share: " %", bytes: " GB", "bytes/s": " GB/s" }[field.unit] || "";
  return shown(field, value) + unit;
}

// The number that a reader typed, in base units: 128k, 40, 40 %, 0.5k, 96, 24 GiB. NaN where it is none.
export function typed(field, text) {
  const found = text.trim().toLowerCase().replace(/[,_\s]/g, "").match(/^(\d*\.?\d+(?:e\d+)?)([a-z%/]*)$/);
  if (!found) return NaN;
  const number = Number(found[1]), suffix = found[2].replace(/\/s$/, "");
  if (field.unit === "share") return ["", "%"].includes(suffix) ? number / 100 : NaN;
  if (field.unit === "bytes" || field.unit === "bytes/s") return suffix in BYTES || !suffix ? number * (BYTES[suffix] || 1e9) : NaN;
  return suffix in SUFFIXES || !suffix ? Math.round(number * (SUFFIXES[suffix] || 1)) : NaN;
}

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// The nearest number that a field may have; those between the values of a list are possible, too.
export const allowed = (field, value) => clamp(value, field.min, field.max);

const nearest = (list, value) => list.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));

// A number that is easy to read, near one that a slider was moved to: 128k rather than 130862.
function round(field, value) {
  if (field.unit === "share") return Math.round(value * 100) / 100;
  if (field.unit === "tokens" && value >= 2048) {
    const step = Math.max(1024, 2 ** (Math.floor(Math.log2(value)) - 4));
    return Math.round(value / step) * step;
  }
  if (field.unit === "bytes" || field.unit === "bytes/s") return Math.round(Number(value.toPrecision(2)));
  return Number(value.toPrecision(value < 100 ? 2 : 3)) && Math.round(value);
}

// Sliders have so many places, or one for each value of a list.
export const places = (field) => (field.scale === "list" ? field.values.length - 1 : POINTS);
export function place(field, value) {
  if (field.scale === "list") return field.values.indexOf(nearest(field.values, value));
  const from = field.scale === "log" ? Math.log(Math.max(field.min, 1e-9)) : field.min;
  const to = field.scale === "log" ? Math.log(field.max) : field.max;
  const at = field.scale === "log" ? Math.log(Math.max(value, 1e-9)) : value;
  return clamp(Math.round((at - from) / (to - from) * POINTS), 0, POINTS);
}
export function at(field, place) {
  if (field.scale === "list") return field.values[place];
  const part = place / POINTS;
  const value = field.scale === "log" ? field.min * (field.max / field.min) ** part : field.min + part * (field.max - field.min);
  return clamp(round(field, value), field.min, field.max);
}

// One step of a slider by an arrow key: to the next number that is shown differently.
export function next(field, value, up) {
  for (let to = place(field, value); to >= 0 && to <= places(field); to += up ? 1 : -1) {
    const found = at(field, to);
    if (up ? found > value : found < value) return found;
  }
  return value;
}

// Values of an axis of a map: a list's own; shares in tenths; where the machine has a value of its
// own, from a quarter to four times it; else the greatest powers of two, or of ten.
const MOST_VALUES = 9, TENTH = 0.1;
export function spread(field, own) {
  if (field.scale === "list") return field.values.slice(0, MOST_VALUES);
  const numbers = Array.from({ length: MOST_VALUES + 1 }, (_, index) => index);
  if (field.unit === "share") return numbers.map((index) => Math.round(100 * index * TENTH) / 100).filter((one) => one <= field.max);
  const possible = (all) => [...new Set(all.filter((one) => one >= field.min && one <= field.max))];
  if (own) return possible(numbers.slice(1).map((index) => (index === 5 ? own : round(field, own * 2 ** ((index - 5) / 2)))));
  const top = Math.floor(Math.log2(field.max));
  return possible(numbers.slice(1).map((index) => 2 ** (top - MOST_VALUES + index)));
}
