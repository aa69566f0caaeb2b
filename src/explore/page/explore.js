// The page of `tiersim explore`: a setting on the left, what it gives on the right. Each change asks
// the server anew; the answer comes in stages, and only the newest one is shown.

import { asker } from "./ask.js";
import { cards, latency, sentence, stage } from "./answer.js";
import { fill, runtimes, several, slider } from "./controls.js";
import { WinnerMap, axes, question } from "./map.js";
import { pinned as pinnedView } from "./pinned.js";
import { query, read, readable } from "./state.js";

const { html } = window.tiersim;
// A slider that moves is asked about this often, but no oftener than first estimates come, so that
// figures follow it; the address and the map wait until it rests.
const ASK_MS = 30, SELDOM_MS = 200, ADDRESS_MS = 150, MAP_MS = 500, ANNOUNCE_MS = 700;
// Changes of the same control within this time are one entry of the history.
const ENTRY_MS = 1000;
// The fields that a machine has by itself: null in a setting is the machine's own.
const OWN = ["hbm_capacity", "hbm_bandwidth", "link_bandwidth"];
const $ = (id) => document.getElementById(id);

const ask = asker("api/run", "run"), askPinned = asker("api/run", "pinned"), askMap = asker("api/map", "map");
let catalog, fields, state, answer = null, pinned = null, sliders = {}, lists = {};
// What the map compares, while there is one.
let mapped = { on: false, x: "prefill", y: "skip", choose: "strategy", by: "tokens_per_s", rivals: [], stale: false };
const timers = {};
const later = (name, ms, act) => { clearTimeout(timers[name]); timers[name] = setTimeout(act, ms); };
// How long the last first estimate took, and what of the address cannot be.
let estimateMs = ASK_MS, asking = false, faults = "";
const map = new WinnerMap($("map"), (patch) => change(patch, "map"));
$("map").hidden = true;

// The address: the setting, then the pinned one, then the map.
function address() {
  const rest = new URLSearchParams();
  if (pinned) rest.append("pin", query(pinned.state, fields));
  if (mapped.on) {
    rest.append("map", [mapped.x, mapped.y, mapped.choose, mapped.by].join(" "));
    for (const rival of mapped.rivals) rest.append("rival", rival);
  }
  const more = readable(rest);
  return "#" + query(state, fields) + (more && "&" + more);
}

let lastEntry = { cause: null, at: 0 };
function keep(cause) {
  const text = address();
  if (text === location.hash) return;
  const now = performance.now(), same = lastEntry.cause === cause && now - lastEntry.at < ENTRY_MS;
  history[same ? "replaceState" : "pushState"](null, "", text);
  lastEntry = { cause, at: now };
}

// Takes over what a control says.
function change(patch, cause) {
  Object.assign(state, patch);
  faults = "";
  show();
  $("results").setAttribute("aria-busy", "true");
  if (!asking) {
    asking = true;
    setTimeout(() => { asking = false; run(); }, Math.min(Math.max(estimateMs, ASK_MS), SELDOM_MS));
  }
  later("address", ADDRESS_MS, () => keep(cause));
  if (mapped.on && Object.keys(patch).some((name) => name !== mapped.x && name !== mapped.y)) {
    mapped.stale = true;
    later("map", MAP_MS, draw);
  }
}

const about = (list, name) => list.find((one) => one.name === name)?.about || "";

// Puts the setting into the controls.
function show() {
  for (const name of ["model", "memory"]) {
    $(name).value = state[name];
    $(name + "-about").title = $(name + "-about").textContent = about(name === "model" ? catalog.models : catalog.memories, state[name]);
  }
  runtimes($("runtime"), catalog.runtimes.map((one) => one.name), state.memory);
  $("runtime").value = state.runtime ?? "";
  lists.strategies(state.strategies);
  const machine = answer?.memory === state.memory ? answer.machine : null;
  for (const field of fields) {
    if (sliders[field.name]) sliders[field.name].show(state[field.name], field.own ? (machine ? machine[field.name] ?? undefined : null) : null);
    else if ($(field.name)) $(field.name).value = state[field.name];
  }
  map.mark(state, machine);
}

function refuse(message, field) {
  $("refusal").textContent = message || "";
  $("refusal").hidden = !message;
  if (field && sliders[field]) sliders[field].say(message);
}

// Asks for the setting that is shown.
async function run() {
  const asked = { ...state }, own = query(asked, fields), began = performance.now();
  let first = true, whole = true;
  $("results").setAttribute("aria-busy", "true");
  try {
    whole = await ask({ state: asked }, (found) => {
      if (first) estimateMs = performance.now() - began;
      first = false;
      answer = { ...found, memory: asked.memory, query: own };
      if (pinned && query(pinned.state, fields) === own) pinned.answer = answer;
      render();
    });
    if (whole) refuse(faults);
  } catch (error) {
    refuse(error.message, error.field);
    $("sentence").textContent = "This setting is refused.";
    marks("no answer");
    announce("Refused: " + error.message);
    $("results").classList.add("stale");
  }
  if (whole && !asking) $("results").setAttribute("aria-busy", "false");
}

const marks = (text) => { for (const mark of document.querySelectorAll(".mark")) mark.textContent = text; };
const announce = (text) => later("announce", ANNOUNCE_MS, () => { $("status").textContent = text; });

// Shows the newest answer.
function render() {
  const said = sentence(answer);
  $("sentence").textContent = said;
  document.title = said.split(":").pop().split(",")[0].trim() + " · tiersim explore";
  marks(stage(answer));
  const results = $("results");
  results.classList.toggle("estimate", !answer.refined);
  results.classList.remove("stale");
  results.dataset.query = answer.query;
  results.dataset.steps = answer.steps;
  // A first estimate is no measure for another.
  const against = pinned?.answer?.refined && pinned.answer.query !== answer.query ? pinned.answer : null;
  cards(answer, against);
  latency(answer, against);
  $("command").textContent = answer.command;
  $("copy").disabled = false;
  $("download").href = "api/run.zip?state=" + encodeURIComponent(JSON.stringify(state));
  $("pin").disabled = false;
  pinnedView($("pinned"), pinned, state, fields, { back: () => change({ ...pinned.state }, "pin"), drop: () => pin(null) });
  $("pin").textContent = pinned ? "Pin this setting instead" : "Pin this setting";
  $("pin").setAttribute("aria-pressed", String(Boolean(pinned && query(pinned.state, fields) === answer.query)));
  show();
  if (answer.refined) announce(said + " " + stage(answer) + ".");
}

// Pins a setting, whose answer is asked for where it is not known yet.
function pin(setting, known) {
  pinned = setting && { state: { ...setting }, answer: known || null };
  later("address", 0, () => keep("pin"));
  if (answer) render();
  if (!pinned || known) return;
  const own = pinned;
  askPinned({ state: own.state }, (found) => {
    own.answer = { ...found, memory: own.state.memory, query: query(own.state, fields) };
    if (answer && pinned === own) render();
  }).catch((error) => {
    pinned = null;
    refuse("The pinned setting of the address is refused: " + error.message);
  });
}

// Asks for the map that the controls describe.
async function draw() {
  const machine = answer?.memory === state.memory ? answer.machine : null;
  const sides = axes([mapped.x, mapped.y], fields, machine);
  const machines = [state.memory, ...mapped.rivals.filter((name) => name !== state.memory)];
  const choices = mapped.choose === "memory" ? machines : state.strategies;
  $("map").hidden = false;
  $("map-go").textContent = "Draw anew";
  mapped.stale = false;
  map.begin(sides, choices, mapped.by, mapped.choose === "memory" ? `; strategy: ${state.strategies[0]}` : "");
  map.mark(state, machine);
  try {
    await askMap(question(state, sides, mapped.choose, machines, mapped.by), (found) => { if (found.x != null) map.put(found); });
  } catch (error) {
    map.progress.textContent = error.message;
  }
}

// Reads the controls of the map; two sides that are equal change places.
function mapControls(event) {
  const before = { ...mapped };
  for (const name of ["x", "y", "choose", "by"]) mapped[name] = $("map-" + name).value;
  if (mapped.x === mapped.y) mapped[event.target.id === "map-x" ? "y" : "x"] = before[event.target.id === "map-x" ? "x" : "y"];
  if (mapped.choose === "memory" && !mapped.rivals.length) mapped.rivals = [catalog.memories.find((one) => one.name !== state.memory).name];
  showMap();
  if (mapped.on) redraw();
}
function redraw() {
  mapped.on = true;
  draw();
  later("address", ADDRESS_MS, () => keep("map"));
}
function showMap() {
  for (const name of ["x", "y", "choose", "by"]) $("map-" + name).value = mapped[name];
  $("rivals").hidden = mapped.choose !== "memory";
  lists.rivals(mapped.rivals);
}

// Takes the setting, the pin and the map from the address.
function restore() {
  const [found, wrong] = read(location.hash.slice(1), catalog), pairs = new URLSearchParams(location.hash.slice(1));
  state = found;
  faults = wrong.join(" ");
  $("results").setAttribute("aria-busy", "true");
  const text = pairs.get("pin");
  if (!text) pinned = null;
  else if (!pinned || query(pinned.state, fields) !== text) pin(read(text, catalog)[0]);
  const [x, y, choose, by] = (pairs.get("map") || "").split(" "), axis = (name) => fields.some((field) => field.name === name);
  const before = JSON.stringify({ ...mapped, stale: false });
  mapped.on = axis(x) && axis(y) && x !== y;
  if (mapped.on) Object.assign(mapped, { x, y, choose: choose === "memory" ? choose : "strategy", by: by === "tpot" ? by : "tokens_per_s" });
  mapped.rivals = pairs.getAll("rival").filter((name) => catalog.memories.some((one) => one.name === name)).slice(0, 3);
  if (mapped.choose === "memory" && !mapped.rivals.length) mapped.choose = "strategy";
  show();
  showMap();
  run();
  if (mapped.on && JSON.stringify({ ...mapped, stale: false }) !== before) later("map", MAP_MS, draw);
  if (!mapped.on) { askMap.stop(); $("map").hidden = true; }
}

async function copy() {
  const say = (what) => { $("copy").textContent = what; $("status").textContent = what; later("copy", 2000, () => { $("copy").textContent = "Copy the command"; }); };
  try {
    await navigator.clipboard.writeText($("command").textContent);
    say("Copied");
  } catch (refused) {
    getSelection().selectAllChildren($("command"));
    say("Selected: press Ctrl+C or ⌘C");
  }
}

// Fills the controls from the catalog and listens to them.
function wire() {
  const names = (list) => list.map((one) => one.name);
  fill($("model"), names(catalog.models));
  fill($("memory"), names(catalog.memories));
  const pick = (id, patch) => $(id).addEventListener("change", () => change(patch($(id).value), id));
  pick("model", (model) => ({ model }));
  // Another machine has other figures of its own.
  pick("memory", (memory) => ({ memory, ...Object.fromEntries(OWN.map((name) => [name, null])) }));
  pick("runtime", (runtime) => ({ runtime: runtime || null }));
  lists.strategies = several($("strategies"), () => names(catalog.strategies), "Strategy", 1, (strategies) => change({ strategies }, "strategies"));
  lists.rivals = several($("rivals"), () => names(catalog.memories).filter((name) => name !== state.memory), "Machine", 1, (rivals) => { mapped.rivals = rivals; redraw(); });
  for (const field of fields) {
    if (document.querySelector(`.field[data-field="${field.name}"]`)) sliders[field.name] = slider(field, (value) => change({ [field.name]: value }, field.name));
  }
  const chunks = fields.find((field) => field.name === "prefill_chunk");
  fill($("prefill_chunk"), chunks.values || [0, 512, 2048, 8192], (tokens) => (tokens ? `computed, ${tokens} tokens a step` : "are there already"));
  pick("prefill_chunk", (text) => ({ prefill_chunk: Number(text) }));
  const axis = fields.filter((field) => sliders[field.name]);
  for (const name of ["x", "y"]) {
    fill($("map-" + name), names(axis), (one) => document.querySelector(`label[for="${one}"]`).firstChild.textContent.trim());
  }
  for (const name of ["x", "y", "choose", "by"]) {
    $("map-" + name).disabled = false;
    $("map-" + name).addEventListener("change", mapControls);
  }
  $("map-go").disabled = false;
  $("map-go").addEventListener("click", redraw);
  $("pin").addEventListener("click", () => pin(state, answer.query === query(state, fields) ? answer : null));
  $("copy").addEventListener("click", copy);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("jump").addEventListener("click", (event) => { event.preventDefault(); $("results").focus(); });
  window.addEventListener("popstate", restore);
}

async function start() {
  try {
    const response = await fetch("api/catalog");
    if (!response.ok) throw new Error("the server answered " + response.status);
    catalog = await response.json();
  } catch (error) {
    $("sentence").textContent = "The server does not answer.";
    return refuse("The catalog cannot be read (" + error.message + "). Is tiersim explore still running?");
  }
  fields = catalog.fields.map((field) => ({ ...field, own: OWN.includes(field.name) }));
  catalog.fields = fields;
  wire();
  restore();
}

start();
