//! `requests_timeline.json`: the first requests of a run as a trace in Chrome's format, which
//! ui.perfetto.dev and chrome://tracing open.
//!
//! Three processes: `requests` (a row for each request that is there at one time, with slices for
//! the request, its queueing, loads, prompt, decoding and preemptions), `moves` (a row for each
//! kind, or more where moves overlap) and counters of the engine: running and waiting requests,
//! tokens a second, the time of steps, bytes in use. A trace of all requests of an hour would be
//! too large for a browser: it has the first [`TIMELINE_REQUESTS`], which its title says.

use crate::metrics::{Pause, RequestRow, RequestsReport, RunReport, TIMELINE_REQUESTS};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::exporter::Exporter;
use crate::report::timeline::{Events, counter, named_process, slice, thread_name};
use crate::units::{RequestId, SimTime};
use crate::workload::MoveKind;
use serde_json::json;
use std::collections::HashMap;

const NAME: &str = "requests_timeline.json";

const REQUESTS: u32 = 1;
const MOVES: u32 = 2;
const COUNTERS: u32 = 4;

/// `requests_timeline.json`.
pub(in crate::report) struct RequestsTrace;

impl Exporter for RequestsTrace {
    fn names(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let Some(requests) = &run.requests else { return Ok(Vec::new()) };
        Ok(vec![Artifact::new(NAME, trace(run, requests))])
    }
}

fn trace(run: &RunReport, requests: &RequestsReport) -> Vec<u8> {
    let mut events = Events::default();
    let all = requests.records.len();
    let shown = if all > TIMELINE_REQUESTS {
        format!("requests (the first {TIMELINE_REQUESTS} of {all})")
    } else {
        "requests".to_owned()
    };
    for (pid, name) in [(REQUESTS, shown.as_str()), (MOVES, "moves"), (COUNTERS, "counters")] {
        named_process(&mut events, pid, name);
    }
    let end = SimTime::from_ns(run.summary.simulated_ns);
    of_requests(requests, end, &mut events);
    moves(requests, &mut events);
    counters(run, requests, &mut events);
    events.finish()
}

/// Rows in which slices do not overlap.
#[derive(Default)]
struct Rows(Vec<SimTime>);

impl Rows {
    /// The first row that is free from `start` on, taken until `end`; numbers begin at 1.
    fn take(&mut self, start: SimTime, end: SimTime) -> u64 {
        let free = self.0.iter().position(|until| *until <= start).unwrap_or_else(|| {
            self.0.push(SimTime::ZERO);
            self.0.len() - 1
        });
        self.0[free] = end;
        free as u64 + 1
    }
}

fn of_requests(requests: &RequestsReport, end: SimTime, events: &mut Events) {
    let mut pauses: HashMap<RequestId, Vec<Pause>> = HashMap::new();
    requests.timeline.pauses.iter().for_each(|pause| pauses.entry(pause.request).or_default().push(*pause));
    let mut loads: HashMap<RequestId, Vec<(SimTime, SimTime)>> = HashMap::new();
    for of in requests.timeline.moves.iter().filter(|of| of.moved.kind == MoveKind::Load) {
        loads.entry(of.moved.request).or_default().push((of.issued, of.completed));
    }
    let mut rows = Rows::default();
    for row in requests.rows().take(TIMELINE_REQUESTS).filter(|row| row.record.rejected.is_none()) {
        let record = row.record;
        let finished = record.finished.unwrap_or(end).max(record.arrival);
        let tid = rows.take(record.arrival, finished);
        let at = (REQUESTS, tid);
        events.push(slice(at, &format!("request {}", row.id.index()), record.arrival, finished, details(&row)));
        let scheduled = record.scheduled.unwrap_or(finished);
        let first = record.first_token.unwrap_or(finished);
        for (name, from, to) in
            [("queued", record.arrival, scheduled), ("prompt", scheduled, first), ("decode", first, finished)]
        {
            if to > from {
                events.push(slice(at, name, from, to, json!({})));
            }
        }
        // Within queueing, so that slices of a row lie within each other.
        for (from, to) in loads.get(&row.id).into_iter().flatten() {
            let to = (*to).min(scheduled);
            if *from >= record.arrival && to > *from {
                events.push(slice(at, "loading", *from, to, json!({})));
            }
        }
        for pause in pauses.get(&row.id).into_iter().flatten().filter(|pause| pause.to > pause.from) {
            let name = if pause.preempted { "preempted" } else { "waiting for a share of steps" };
            events.push(slice(at, name, pause.from, pause.to, json!({})));
        }
    }
    for row in 1..=rows.0.len() as u64 {
        events.push(thread_name(REQUESTS, row, &format!("slot {row}")));
        let index = json!({"sort_index": row});
        events.push(json!({"ph": "M", "pid": REQUESTS, "tid": row, "name": "thread_sort_index", "args": index}));
    }
}

fn details(row: &RequestRow<'_>) -> serde_json::Value {
    let time = |time: Option<SimTime>| time.map(SimTime::as_ns);
    json!({
        "prompt_tokens": row.prompt,
        "output_tokens": row.output,
        "queueing_ns": time(row.queueing),
        "ttft_ns": time(row.ttft),
        "tpot_ns": time(row.tpot),
        "e2e_ns": time(row.e2e),
        "hit_tokens": row.record.hit_hbm,
        "hit_external_tokens": row.record.hit_external,
        "preemptions": row.record.preemptions,
        "recomputed_tokens": row.record.recomputed,
    })
}

/// A row for each kind of moves, or more where they overlap.
fn moves(requests: &RequestsReport, events: &mut Events) {
    let mut before = 0;
    for kind in MoveKind::ALL {
        let mut of_kind: Vec<_> = requests.timeline.moves.iter().filter(|of| of.moved.kind == kind).collect();
        of_kind.sort_by_key(|of| (of.issued, of.completed));
        let mut rows = Rows::default();
        for of in of_kind {
            let tid = before + rows.take(of.issued, of.completed);
            let name = format!("{} of request {}", kind.name(), of.moved.request.index());
            let details = json!({"bytes": of.bytes.get(), "tokens": of.moved.tokens});
            events.push(slice((MOVES, tid), &name, of.issued, of.completed, details));
        }
        for row in 1..=rows.0.len() as u64 {
            let name = if row == 1 { kind.name().to_owned() } else { format!("{} ({row})", kind.name()) };
            events.push(thread_name(MOVES, before + row, &name));
        }
        before += rows.0.len() as u64;
    }
}

fn counters(run: &RunReport, requests: &RequestsReport, events: &mut Events) {
    let width = requests.series.width().as_ps() as f64;
    let seconds = width / SimTime::PS_PER_SECOND as f64;
    for (from, bin, by_tier) in requests.series.bins() {
        events.push(counter("running requests", from, bin.running / width));
        events.push(counter("waiting requests", from, bin.waiting / width));
        events.push(counter("tokens/s out", from, bin.outputs / seconds));
        events.push(counter("tokens/s of prompts", from, bin.prompt / seconds));
        if bin.steps > 0 {
            events.push(counter("time of a step (ms)", from, bin.step_time / bin.steps as f64 / 1e9));
        }
        for (tier, here) in run.tiers.iter().zip(by_tier).filter(|_| bin.busy > 0.0) {
            events.push(counter(&format!("{tier} in use (GiB)"), from, bin.mean(here.used) / (1u64 << 30) as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::workload::GoalsConfig;
    use serde_json::Value;

    /// Slices of a row lie within each other or apart, and each request has one of its own.
    #[test]
    fn slices_of_a_row_lie_within_each_other() {
        let served = serve(requests(60, SimTime::from_ns(1e8), GoalsConfig::default()));
        let file = RequestsTrace.export(&served.report).unwrap().remove(0);
        let trace: Value = serde_json::from_slice(&file.bytes).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        type Slices = Vec<(f64, f64, String)>;
        let mut rows: HashMap<(u64, u64), Slices> = HashMap::new();
        for event in events.iter().filter(|event| event["ph"] == "X") {
            let (from, took) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            let key = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            rows.entry(key).or_default().push((from, from + took, event["name"].as_str().unwrap().to_owned()));
        }
        let mut names: Vec<&str> = Vec::new();
        for slices in rows.values() {
            for (from, to, name) in slices {
                names.push(name);
                let apart = |(start, end, _): &&(f64, f64, String)| {
                    let tolerance = 1e-6;
                    *end <= from + tolerance
                        || *start >= to - tolerance
                        || (start + tolerance >= *from && *end <= to + tolerance)
                        || (*from + tolerance >= *start && *to <= end + tolerance)
                };
                assert!(slices.iter().all(|other| apart(&other)), "{name} at {from}");
            }
        }
        assert_eq!(names.iter().filter(|name| name.starts_with("request ")).count(), 60);
        for expected in ["queued", "prompt", "decode", "preempted", "loading", "Store of request 3"] {
            assert!(names.contains(&expected), "{expected}");
        }
        assert!(events.iter().any(|event| event["name"] == "running requests"));
    }
}
