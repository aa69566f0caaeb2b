//! The distributions of a run that serves requests.

use crate::metrics::Timings;
use crate::workload::MoveKind;

/// The distributions of requests and of moves, besides TTFT and the times between tokens
/// ([`TokenTimings`](crate::metrics::TokenTimings)).
#[derive(Clone, Debug, Default)]
pub struct RequestTimings {
    /// TPOT: the mean time between the tokens of a request, of each request.
    pub tpot: Timings,
    /// From arrival to the last token.
    pub e2e: Timings,
    /// From arrival to the start of the first step.
    pub queueing: Timings,
    /// By the place of their kind in [`MoveKind::ALL`], from when they were asked for to their last
    /// byte.
    pub moves: [Timings; MoveKind::COUNT],
}

/// The names of the distributions of moves in files, in the order of [`MoveKind::ALL`].
const OF_MOVES: [&str; MoveKind::COUNT] =
    ["kv_load_latency", "kv_store_latency", "swap_out_latency", "swap_in_latency"];

impl RequestTimings {
    /// Whether one of them is called `name`.
    pub(in crate::metrics) fn has(name: &str) -> bool {
        ["request_tpot", "e2e", "request_queueing"].into_iter().chain(OF_MOVES).any(|known| known == name)
    }

    /// Each distribution, with its name in file names and tags.
    pub(in crate::metrics) fn named(&self) -> impl Iterator<Item = (&'static str, &Timings)> {
        let of_requests = [("request_tpot", &self.tpot), ("e2e", &self.e2e), ("request_queueing", &self.queueing)];
        of_requests.into_iter().chain(OF_MOVES.into_iter().zip(&self.moves))
    }

    /// The same, to be changed.
    pub(in crate::metrics) fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Timings)> {
        let of_requests =
            [("request_tpot", &mut self.tpot), ("e2e", &mut self.e2e), ("request_queueing", &mut self.queueing)];
        of_requests.into_iter().chain(OF_MOVES.into_iter().zip(&mut self.moves))
    }
}
