//! `timeline.json`: a few steps as a trace in Chrome's format, which ui.perfetto.dev and
//! chrome://tracing open, and a picture of the rate of each lane.
//!
//! Four processes: `decode` (a track of steps, one of layers), `lanes` (a track each, with its
//! transfers from first byte to last), `classes` (a track each, from issue to the last byte), and
//! counters: the rate of each lane, the bytes in use on each tier, alpha. Where slices of a track
//! overlap, it has more rows. Times are in microseconds, exact to the picosecond.

use super::artifact::{Artifact, ReportError};
use super::chart::{Chart, Line, Panel, Stroke, colour};
use crate::memory::TransferClass;
use crate::metrics::{SpanKind, Timeline, TimelineTransfer};
use crate::units::{Bytes, SimTime};
use serde_json::{Value, json};

const DECODE: u32 = 1;
const LANES: u32 = 2;
const CLASSES: u32 = 3;
const COUNTERS: u32 = 4;

/// The names of the files.
pub(super) const FILES: [&str; 3] = ["timeline.json", "timeline.svg", "timeline.png"];
/// The name of the pictures, without an ending.
const PICTURE: &str = "timeline";

/// The files of a timeline; none if the run did not get to its steps.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn timeline_files(timeline: &Timeline) -> Result<Vec<Artifact>, ReportError> {
    let Some((from, to)) = timeline.span() else { return Ok(Vec::new()) };
    let mut files = vec![Artifact::new("timeline.json", trace(timeline))];
    files.extend(picture(timeline, from, to)?);
    Ok(files)
}

fn trace(timeline: &Timeline) -> Vec<u8> {
    let mut events = Events::default();
    for (pid, name) in [(DECODE, "decode"), (LANES, "lanes"), (CLASSES, "classes"), (COUNTERS, "counters")] {
        named_process(&mut events, pid, name);
    }
    decode(timeline, &mut events);
    let mut rows = Rows::default();
    for (index, lane) in timeline.lanes.iter().enumerate() {
        let on_lane = timeline.transfers.iter().filter(|transfer| transfer.lanes.contains(&index));
        track(timeline, &mut events, &mut rows, (LANES, lane), on_lane.map(|it| (it.started, it)).collect());
    }
    rows = Rows::default();
    let used = |class| timeline.transfers.iter().any(|transfer| transfer.class == class);
    for class in TransferClass::ALL.into_iter().filter(|class| class.is_shown(used(*class))) {
        let of_class = timeline.transfers.iter().filter(|transfer| transfer.class == class);
        track(timeline, &mut events, &mut rows, (CLASSES, class.name()), of_class.map(|it| (it.issued, it)).collect());
    }
    counters(timeline, &mut events);
    events.finish()
}

/// The text of the events so far: trees of JSON values would take 15 times as much memory.
pub(super) struct Events(Vec<u8>);

impl Default for Events {
    fn default() -> Self {
        Self(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[".to_vec())
    }
}

impl Events {
    /// An event a line: large files can be looked at.
    pub fn push(&mut self, event: Value) {
        let separator: &[u8] = if self.0.ends_with(b"[") { b"\n" } else { b",\n" };
        self.0.extend_from_slice(separator);
        self.0.extend_from_slice(event.to_string().as_bytes());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\n]}\n");
        self.0
    }
}

fn decode(timeline: &Timeline, events: &mut Events) {
    for (tid, name) in [(1, "steps"), (2, "layers")] {
        events.push(thread_name(DECODE, tid, name));
    }
    for span in &timeline.spans {
        let (tid, name) = match span.what {
            SpanKind::Step(step) => (1, format!("step {step}")),
            SpanKind::Layer(layer) => (2, format!("layer {layer}")),
            SpanKind::Outside(label) => (2, label.to_string()),
        };
        events.push(slice((DECODE, tid), &name, span.began, span.ended, json!({})));
    }
}

/// How many rows the tracks before have taken.
#[derive(Default)]
struct Rows(u64);

/// A track, in as many rows as it takes for slices not to overlap.
fn track(
    timeline: &Timeline,
    events: &mut Events,
    rows: &mut Rows,
    (pid, name): (u32, &str),
    mut slices: Vec<(SimTime, &TimelineTransfer)>,
) {
    slices.sort_by_key(|(start, transfer)| (*start, transfer.finished));
    let mut ends: Vec<SimTime> = vec![SimTime::ZERO];
    let first = rows.0 + 1;
    for (start, transfer) in slices {
        let free = ends.iter().position(|end| *end <= start).unwrap_or_else(|| {
            ends.push(SimTime::ZERO);
            ends.len() - 1
        });
        ends[free] = transfer.finished;
        let tier = |tier: Option<crate::memory::TierId>| {
            tier.map_or("chip", |tier| timeline.tiers[tier.index()].as_str()).to_owned()
        };
        let mut details = json!({
            "bytes": transfer.bytes.get(),
            "from": tier(transfer.ends.source),
            "to": tier(transfer.ends.destination),
            "issued_ns": transfer.issued.as_ns(),
            "queueing_ns": transfer.queueing.as_ns(),
        });
        if transfer.dropped > Bytes::ZERO {
            details["dropped_bytes"] = transfer.dropped.get().into();
        }
        let called = format!("{} {}", transfer.class, timeline.tiers[transfer.ends.tier().index()]);
        events.push(slice((pid, first + free as u64), &called, start, transfer.finished, details));
    }
    for row in 0..ends.len() as u64 {
        let called = if row == 0 { name.to_owned() } else { format!("{name} ({})", row + 1) };
        events.push(thread_name(pid, first + row, &called));
        let index = json!({"sort_index": first + row});
        events.push(json!({"ph": "M", "pid": pid, "tid": first + row, "name": "thread_sort_index", "args": index}));
    }
    rows.0 += ends.len() as u64;
}

fn counters(timeline: &Timeline, events: &mut Events) {
    for (at, rates) in &timeline.rates {
        for (lane, rate) in timeline.lanes.iter().zip(rates) {
            events.push(counter(&format!("{lane} (GB/s)"), *at, rate / 1e9));
        }
    }
    for mark in &timeline.marks {
        if mark.alpha.is_finite() {
            events.push(counter("alpha", mark.at, mark.alpha));
        }
        for (tier, used) in timeline.tiers.iter().zip(&mark.used) {
            events.push(counter(&format!("{tier} in use (GiB)"), mark.at, used.as_f64() / (1u64 << 30) as f64));
        }
    }
}

/// The name of a process, whose place among the others is its number.
pub(super) fn named_process(events: &mut Events, pid: u32, name: &str) {
    events.push(json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}));
    events.push(json!({"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}));
}

pub(super) fn thread_name(pid: u32, tid: u64, name: &str) -> Value {
    json!({"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}})
}

pub(super) fn slice((pid, tid): (u32, u64), name: &str, start: SimTime, end: SimTime, args: Value) -> Value {
    json!({
        "ph": "X", "pid": pid, "tid": tid, "name": name,
        "ts": microseconds(start), "dur": microseconds(end - start), "args": args,
    })
}

pub(super) fn counter(name: &str, at: SimTime, value: f64) -> Value {
    json!({"ph": "C", "pid": COUNTERS, "name": name, "ts": microseconds(at), "args": {"value": value}})
}

/// Exact: a double holds 2^53 ps, 2.5 hours, to the picosecond when divided by 10^6 and printed.
fn microseconds(time: SimTime) -> f64 {
    time.as_ps() as f64 / 1e6
}

/// The most layers that the picture shows: a reader cannot distinguish more.
const LAYERS_SHOWN: usize = 4;

/// The rate of each lane over the first layers.
fn picture(timeline: &Timeline, from: SimTime, to: SimTime) -> Result<[Artifact; 2], ReportError> {
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    let first_step = timeline.spans.iter().find_map(|span| match span.what {
        SpanKind::Step(step) => Some(step),
        SpanKind::Layer(_) | SpanKind::Outside(_) => None,
    });
    let shown: Vec<SimTime> = timeline
        .spans
        .iter()
        .take_while(|span| !matches!(span.what, SpanKind::Step(_)))
        .take(LAYERS_SHOWN)
        .map(|span| span.ended)
        .collect();
    let to = shown.last().copied().unwrap_or(to);
    let since = |at: SimTime| (at.min(to) - from).as_ps() as f64 / 1e6;
    let lines = timeline.lanes.iter().enumerate().map(|(lane, name)| {
        let mut points = Vec::new();
        let mut before = None;
        for (at, rates) in timeline.rates.iter().filter(|(at, _)| *at < to) {
            points.extend(before.map(|rate| (since(*at), rate)));
            let rate = rates[lane] / 1e9;
            points.push((since(*at), rate));
            before = Some(rate);
        }
        points.extend(before.map(|rate| (since(to), rate)));
        Line {
            label: name.clone(),
            colour: colour::ALL[lane % colour::ALL.len()],
            stroke: strokes[lane % strokes.len()],
            points,
        }
    });
    let (step, layers) = (first_step.unwrap_or(0), shown.len());
    let panel = Panel {
        title: format!("What lanes carry: step {step}, the first {layers} layers"),
        x_label: format!("us since the start of step {step}"),
        y_label: "GB/s".to_owned(),
        // A system of many channels has more lanes than a reader can distinguish.
        lines: lines.take(colour::ALL.len() * strokes.len()).collect(),
        ..Panel::default()
    };
    Chart { name: PICTURE.to_owned(), title: String::new(), panels: vec![panel] }.artifacts()
}
