//! A list of transfers, carried over the lanes of a memory system.

use super::carry::{Carried, ReplayError, carry};
use super::traffic::{Times, Traffic};
use crate::memory::{Completed, MemorySystem, Path, PerClass, Reach, Request, Urgency};
use crate::metrics::{Histograms, LaneSummary, Named, TransferSummary, lane_summaries, transfer_summaries};
use crate::units::{Bytes, SimTime};
use serde::Serialize;

/// The results of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// By row.
    pub times: Vec<Times>,
    /// The distributions of latency and queueing by class.
    pub histograms: Histograms,
    /// The figures of `summary.json`.
    pub summary: ReplaySummary,
    /// When the last transfer was complete.
    pub end: SimTime,
}

/// The figures of a replay, under the names of a run's `summary.json` where both have them.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct ReplaySummary {
    pub schema: u32,
    pub memory: String,
    pub arbitration: String,
    pub simulated_ns: f64,
    pub events: u64,
    pub transfers: Named<TransferSummary>,
    pub lanes: Named<LaneSummary>,
}

/// Carries `traffic` over the lanes of `system`.
///
/// # Errors
/// [`ReplayError`] if the transfers end after the last time that the clock can represent.
pub fn replay(system: &MemorySystem, traffic: &Traffic) -> Result<Replayed, ReplayError> {
    let rows = traffic.rows();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| rows[row].issue);
    let mut record = Record {
        times: vec![Times::default(); rows.len()],
        histograms: Histograms::default(),
        bytes: PerClass::from_fn(|_| vec![Bytes::ZERO; system.tiers().len()]),
    };
    let arrivals = order.into_iter().map(|row| {
        let transfer = &rows[row];
        let request = Request {
            class: transfer.class,
            path: Path::Even(traffic.routes(transfer)),
            bytes: transfer.bytes,
            granule: transfer.bytes,
            pattern: transfer.pattern,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: row,
        };
        (transfer.issue, request)
    });
    let Carried { end, events, loads } = carry(system, arrivals, |transfer| record.complete(transfer, traffic))?;
    let summary = ReplaySummary {
        schema: 1,
        memory: system.name().to_owned(),
        arbitration: system.arbitration().to_string(),
        simulated_ns: end.as_ns(),
        events,
        transfers: transfer_summaries(system, &record.histograms, &record.bytes),
        lanes: lane_summaries(system, &loads, end),
    };
    Ok(Replayed { times: record.times, histograms: record.histograms, summary, end })
}

struct Record {
    times: Vec<Times>,
    histograms: Histograms,
    /// By class and tier.
    bytes: PerClass<Vec<Bytes>>,
}

impl Record {
    fn complete(&mut self, transfer: &Completed<usize>, traffic: &Traffic) {
        self.histograms.record(transfer);
        self.bytes[transfer.class][traffic.rows()[transfer.tag].tier.index()] += transfer.bytes;
        self.times[transfer.tag] =
            Times { start: transfer.started, finish: transfer.finished, queueing: transfer.queueing() };
    }
}
