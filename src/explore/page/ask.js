// Questions to the server: each kind of question has a session of its own, in which a newer one
// cancels an older one, here and there.

const page = crypto.randomUUID();
const BUSY = 429, PATIENCE = 8, PAUSE_MS = 150;

const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

// An answer that the server refused: what it said, and the field that it concerns.
export class Refused extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

// A function that asks `path` and calls `line` for each line of the answer. It resolves to whether
// the answer is whole: it is not where a newer question took its place.
export function asker(path, name) {
  const session = page + "-" + name;
  let number = 0, running = null;
  const ask = async (body, line) => {
    running?.abort();
    const own = new AbortController();
    running = own;
    number += 1;
    const question = JSON.stringify({ session, number, ...body });
    try {
      const response = await posted(path, question, own.signal);
      for await (const found of lines(response)) {
        if (own.signal.aborted) return false;
        if (found.error && !found.runs && found.x == null) throw new Refused(found.error, found.field);
        line(found);
      }
      return !own.signal.aborted;
    } catch (error) {
      if (own.signal.aborted) return false;
      throw error instanceof Refused ? error : new Refused("The server does not answer. Is tiersim explore still running? (" + error.message + ")");
    }
  };
  ask.stop = () => running?.abort();
  return ask;
}

async function posted(path, body, signal) {
  for (let tried = 1; ; tried++) {
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
    if (response.ok) return response;
    if (response.status === BUSY && tried < PATIENCE) {
      await pause(PAUSE_MS * tried, signal);
      continue;
    }
    const said = await response.json().catch(() => ({}));
    throw new Refused(said.error || `The server answered ${response.status}.`, said.field);
  }
}

// The lines of a body, as they arrive, read as JSON.
async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const all = (rest + (value || "")).split("\n");
    rest = done ? "" : all.pop();
    for (const one of all) if (one.trim()) yield JSON.parse(one);
    if (done) return;
  }
}
