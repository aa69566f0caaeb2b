//! What reports show of the requests of a run.

use super::series::ServingSeries;
use super::timeline::RequestsTimeline;
use crate::memory::PerTier;
use crate::units::{Bytes, RequestId, SimTime, Table};
use crate::workload::{GoalsConfig, RequestRecord, Requests};
use std::sync::Arc;

/// What reports show of requests, besides the summary.
#[derive(Clone, Debug)]
pub struct RequestsReport {
    /// The requests and how they were served.
    pub requests: Arc<Requests>,
    /// The record of each.
    pub records: Table<RequestId, RequestRecord>,
    /// The engine over time.
    pub series: ServingSeries,
    /// Of the first requests, what the timeline shows besides their records.
    pub timeline: RequestsTimeline,
    /// What KV may take on each tier.
    pub kv_room: PerTier<Bytes>,
    /// Where KV in external memory is kept, if it is.
    pub external: Option<usize>,
}

/// The times of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRow<'a> {
    /// Which.
    pub id: RequestId,
    /// The tokens of its prompt.
    pub prompt: u32,
    /// The tokens of its output.
    pub output: u32,
    /// Its record.
    pub record: &'a RequestRecord,
    /// From its arrival to the start of its first step.
    pub queueing: Option<SimTime>,
    /// From its arrival to its first token.
    pub ttft: Option<SimTime>,
    /// The mean time between its tokens, if it is finished and has at least two.
    pub tpot: Option<SimTime>,
    /// From its arrival to its last token, if it is finished.
    pub e2e: Option<SimTime>,
}

impl RequestRow<'_> {
    /// Whether it met `goals`: it is finished, and each of its times is below its limit. A request
    /// of one token has no TPOT to miss a limit with.
    #[must_use]
    pub fn meets(&self, goals: &GoalsConfig) -> bool {
        let below = |time: Option<SimTime>, limit: Option<SimTime>| match (time, limit) {
            (Some(time), Some(limit)) => time < limit,
            _ => true,
        };
        let all = below(self.ttft, goals.ttft) && below(self.tpot, goals.tpot) && below(self.e2e, goals.e2e);
        self.record.finished.is_some() && all
    }
}

impl RequestsReport {
    /// Each request, by arrival.
    pub fn rows(&self) -> impl Iterator<Item = RequestRow<'_>> {
        rows(&self.requests, &self.records)
    }
}

/// Each of `requests`, with what became of it.
pub(in crate::metrics) fn rows<'a>(
    requests: &'a Requests,
    records: &'a Table<RequestId, RequestRecord>,
) -> impl Iterator<Item = RequestRow<'a>> {
    requests.all.entries().zip(records.iter()).map(|((id, of), record)| {
        let since = |end: Option<SimTime>| end.map(|end| end.saturating_sub(record.arrival));
        let decodes = record.first_token.zip(record.finished).filter(|_| of.output > 1);
        RequestRow {
            id,
            prompt: of.prompt,
            output: of.output,
            record,
            queueing: since(record.scheduled),
            ttft: since(record.first_token),
            tpot: decodes.map(|(first, last)| {
                let gaps = u64::from(of.output - 1);
                SimTime::from_ps(((last - first).as_ps() + gaps / 2) / gaps)
            }),
            e2e: since(record.finished),
        }
    })
}
