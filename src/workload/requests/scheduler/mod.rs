//! Which requests run in each step, as vLLM's V1 scheduler decides.
//!
//! The [`Scheduler`] is asked for the [next](Scheduler::next) thing to do at a time. It returns a
//! step, or what it waits for. Whoever simulates the step calls [`completed`](Scheduler::completed)
//! at its end, and [`moved`](Scheduler::moved) when a move of KV that the scheduler asked for
//! ([`take_moves`](Scheduler::take_moves)) is complete.
//!
//! In a step, running requests come first, in the order of admission: each decodes a token, or
//! computes as much of its prompt as the budget of tokens allows. Where one needs room for KV and
//! there is none, the request that was admitted last is preempted. Where nothing was preempted,
//! waiting requests are admitted while the limits allow.

mod step;

pub use step::{Decision, KvMove, KvRoom, MoveKind, Rejection, RequestRecord, ServingStep, StepPart, WhenMoved};

use super::request::Requests;
use crate::units::{MoveId, PageSize, RequestId, SimTime, Table};
use std::sync::Arc;

/// Decides what a serving engine computes and moves.
#[derive(Clone, Debug)]
pub struct Scheduler {
    requests: Arc<Requests>,
    records: Table<RequestId, RequestRecord>,
    moves: Vec<KvMove>,
    step: ServingStep,
}

impl Scheduler {
    /// Serves `requests`, with `room` for KV in pages of `page_size` tokens.
    #[must_use]
    pub fn new(requests: Arc<Requests>, room: KvRoom, page_size: PageSize) -> Self {
        let _ = (room, page_size);
        let records = requests.all.iter().map(RequestRecord::new).collect();
        Self { requests, records, moves: Vec::new(), step: ServingStep::default() }
    }

    /// What comes next at `now`. Called at time 0, when a step has been
    /// [completed](Self::completed), and when what it waited for has come. After
    /// [`Decision::Step`], [`step`](Self::step) has the step.
    pub fn next(&mut self, now: SimTime) -> Decision {
        let _ = (now, &self.requests);
        Decision::End
    }

    /// The step that [`next`](Self::next) returned last.
    #[must_use]
    pub fn step(&self) -> &ServingStep {
        &self.step
    }

    /// The step has ended at `now`: its tokens are out.
    pub fn completed(&mut self, now: SimTime) {
        let _ = now;
    }

    /// A move is complete.
    pub fn moved(&mut self, now: SimTime, moved: MoveId) {
        let _ = (now, moved);
    }

    /// The moves that were decided since the last call: to be issued now, in this order. To be
    /// called after [`next`](Self::next) and after [`completed`](Self::completed).
    pub fn take_moves(&mut self) -> std::vec::Drain<'_, KvMove> {
        self.moves.drain(..)
    }

    /// What became of each request so far.
    #[must_use]
    pub fn records(&self) -> &Table<RequestId, RequestRecord> {
        &self.records
    }
}
