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
//! waiting requests are admitted while the limits allow, and while there is room for all tokens of
//! the request (vLLM: `scheduler_reserve_full_isl`).
//!
//! A step costs O(parts), and nothing is allocated once its vectors have grown.

mod queue;
mod step;

pub use step::{Decision, KvMove, KvRoom, MoveKind, Rejection, RequestRecord, ServingStep, StepPart, WhenMoved};

use super::request::Requests;
use crate::units::{MoveId, PageSize, RequestId, SimTime, Table};
use queue::Queue;
use std::sync::Arc;

/// Decides what a serving engine computes and moves.
#[derive(Clone, Debug)]
pub struct Scheduler {
    requests: Arc<Requests>,
    records: Table<RequestId, RequestRecord>,
    /// The most tokens that each request had computed when it was preempted.
    peaks: Table<RequestId, u32>,
    room: KvRoom,
    page_size: PageSize,
    free: u64,
    /// How many requests have arrived.
    arrived: usize,
    /// How many are not finished and not rejected, those that are to arrive included.
    unfinished: usize,
    queue: Queue,
    /// Those that run, in the order of admission. The first ones have the parts of the step.
    running: Vec<Running>,
    moves: Vec<KvMove>,
    step: ServingStep,
}

/// A request that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    request: RequestId,
    /// The tokens whose KV it has.
    computed: u32,
    /// The tokens whose KV it needs for its next token: its prompt, and its output so far.
    tokens: u32,
    /// The tokens that its pages hold.
    room: u32,
    /// How many tokens of output are still to come.
    left: u32,
    /// The end of its prompt, of which tokens that are computed again are a part.
    prompt_end: u32,
}

impl Running {
    /// What it computes in a step with room for `budget` tokens.
    fn part(&self, budget: u32) -> StepPart {
        let rest = self.tokens - self.computed;
        let tokens = rest.min(budget);
        let is_chunk = self.computed < self.prompt_end;
        StepPart {
            request: self.request,
            context: self.computed,
            context_external: 0,
            tokens,
            tokens_external: 0,
            outputs: tokens == rest,
            is_chunk,
        }
    }
}

impl Scheduler {
    /// Serves `requests`, with `room` for KV in pages of `page_size` tokens.
    #[must_use]
    pub fn new(requests: Arc<Requests>, room: KvRoom, page_size: PageSize) -> Self {
        let records: Table<RequestId, _> = requests.all.iter().map(RequestRecord::new).collect();
        Self {
            room,
            page_size,
            free: room.hbm,
            arrived: 0,
            unfinished: records.len(),
            peaks: Table::filled(records.len(), 0),
            queue: Queue::new(requests.order),
            running: Vec::new(),
            records,
            requests,
            moves: Vec::new(),
            step: ServingStep::default(),
        }
    }

    /// What comes next at `now`. Called at time 0, when a step has been
    /// [completed](Self::completed), and when what it waited for has come. After
    /// [`Decision::Step`], [`step`](Self::step) has the step.
    pub fn next(&mut self, now: SimTime) -> Decision {
        self.arrive(now);
        self.step.parts.clear();
        let mut budget = self.requests.limits.tokens;
        let mut preempted = self.schedule_running(&mut budget);
        // Where the only request that runs is preempted, another may be admitted at once.
        if self.step.parts.is_empty() {
            preempted = false;
        }
        if !preempted {
            self.admit(now, &mut budget);
        }
        if self.step.parts.is_empty() {
            let next = self.requests.all.get(RequestId::new(self.arrived)).map(|request| request.arrival);
            return if self.unfinished == 0 { Decision::End } else { Decision::Wait(next.unwrap_or(SimTime::MAX)) };
        }
        self.step.running = count(self.running.len());
        self.step.waiting = count(self.queue.len());
        self.step.pages_hbm = self.room.hbm - self.free;
        Decision::Step
    }

    /// Requests that have arrived at `now` begin to wait, or are rejected.
    fn arrive(&mut self, now: SimTime) {
        while let Some(request) = self.requests.all.get(RequestId::new(self.arrived)) {
            if request.arrival > now {
                break;
            }
            let id = RequestId::new(self.arrived);
            self.arrived += 1;
            let most = self.requests.limits.context.unwrap_or(u32::MAX);
            let pages = self.page_size.pages(request.most_tokens() as usize) as u64;
            if request.most_tokens() >= u64::from(most) {
                self.records[id].rejected = Some(Rejection::Context);
            } else if pages > self.room.hbm {
                self.records[id].rejected = Some(Rejection::Kv);
            } else {
                self.queue.arrive(id, request.prompt);
                continue;
            }
            self.unfinished -= 1;
        }
    }

    /// Schedules running requests, the first first. Returns whether one was preempted.
    fn schedule_running(&mut self, budget: &mut u32) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.running.len() && *budget > 0 {
            let part = self.running[index].part(*budget);
            let needed = part.context + part.tokens;
            if needed > self.running[index].room {
                let pages = self.pages_for(needed) - self.pages_for(self.running[index].room);
                while self.free < pages && index < self.running.len() {
                    self.preempt_last();
                    preempted = true;
                }
                if index == self.running.len() {
                    break;
                }
                self.take(index, pages);
            }
            self.step.parts.push(part);
            *budget -= part.tokens;
            index += 1;
        }
        preempted
    }

    /// Admits waiting requests while the limits and the room allow.
    fn admit(&mut self, now: SimTime, budget: &mut u32) {
        while *budget > 0 && self.running.len() < self.requests.limits.sequences as usize {
            let Some(request) = self.queue.front() else { break };
            let record = &mut self.records[request];
            let of = &self.requests.all[request];
            let tokens = of.prompt + record.tokens_out;
            let left = of.output - record.tokens_out;
            let running = Running { request, computed: 0, tokens, room: 0, left, prompt_end: tokens };
            if self.page_size.pages(running.tokens as usize) as u64 > self.free {
                break;
            }
            record.scheduled.get_or_insert(now);
            self.queue.pop_front();
            self.running.push(running);
            let part = running.part(*budget);
            self.take(self.running.len() - 1, self.pages_for(part.tokens));
            self.step.parts.push(part);
            *budget -= part.tokens;
        }
    }

    fn pages_for(&self, tokens: u32) -> u64 {
        self.page_size.pages(tokens as usize) as u64
    }

    /// A running request takes so many pages more.
    fn take(&mut self, index: usize, pages: u64) {
        self.free -= pages;
        self.running[index].room += (pages * self.page_size.tokens() as u64) as u32;
    }

    /// The request that was admitted last gives up its KV, and waits in front of all others.
    fn preempt_last(&mut self) {
        let Some(last) = self.running.pop() else { return };
        self.free += self.pages_for(last.room);
        let record = &mut self.records[last.request];
        record.preemptions += 1;
        let peak = &mut self.peaks[last.request];
        *peak = last.computed.max(*peak);
        self.queue.push_front(last.request);
    }

    /// The step that [`next`](Self::next) returned last.
    #[must_use]
    pub fn step(&self) -> &ServingStep {
        &self.step
    }

    /// The step has ended at `now`: its tokens are out.
    pub fn completed(&mut self, now: SimTime) {
        let mut ended = false;
        for (running, part) in self.running.iter_mut().zip(&self.step.parts) {
            let before = running.computed;
            running.computed += part.tokens;
            let record = &mut self.records[running.request];
            if part.is_chunk {
                let peak = self.peaks[running.request];
                record.recomputed += running.computed.min(peak) - before.min(peak);
            }
            if part.outputs {
                running.tokens += 1;
                running.left -= 1;
                record.tokens_out += 1;
                record.first_token.get_or_insert(now);
                if running.left == 0 {
                    record.finished = Some(now);
                    ended = true;
                }
            }
        }
        if ended {
            let (size, free, unfinished) = (self.page_size, &mut self.free, &mut self.unfinished);
            self.running.retain(|running| {
                if running.left == 0 {
                    *free += size.pages(running.room as usize) as u64;
                    *unfinished -= 1;
                }
                running.left > 0
            });
        }
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

/// A number of requests: ids fit 32 bits.
fn count(requests: usize) -> u32 {
    requests as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::requests::{GoalsConfig, KvConfig, LimitsConfig, Preemption, QueueOrder, Request};

    /// Requests of (arrival in ps, prompt, output), with limits of 4 sequences and 8 tokens.
    pub(super) fn requests(all: &[(u64, u32, u32)]) -> Requests {
        let request = |&(arrival, prompt, output): &(u64, u32, u32)| Request {
            arrival: SimTime::from_ps(arrival),
            prompt,
            output,
            blocks: 0..0,
        };
        Requests {
            all: all.iter().map(request).collect(),
            blocks: Vec::new(),
            distinct_blocks: 0,
            block_tokens: 4,
            limits: LimitsConfig { sequences: 4, tokens: 8, ..LimitsConfig::default() },
            order: QueueOrder::Fcfs,
            preemption: Preemption::Recompute,
            kv: KvConfig::default(),
            goals: GoalsConfig::default(),
        }
    }

    /// The parts of each step as (request, context, tokens), one time unit a step, in pages of two
    /// tokens; and the scheduler at the end.
    fn steps(requests: Requests, hbm: u64) -> (Vec<Vec<(usize, u32, u32)>>, Scheduler) {
        let size = PageSize::new(2).unwrap();
        let mut scheduler = Scheduler::new(Arc::new(requests), KvRoom { hbm, external: 0 }, size);
        let (mut now, mut steps) = (SimTime::ZERO, Vec::new());
        loop {
            match scheduler.next(now) {
                Decision::Step => {
                    let parts = scheduler.step().parts.iter();
                    steps.push(parts.map(|part| (part.request.index(), part.context, part.tokens)).collect());
                    now += SimTime::from_ps(1);
                    scheduler.completed(now);
                }
                Decision::Wait(until) => now = until,
                Decision::End => return (steps, scheduler),
            }
        }
    }

    #[test]
    fn prompts_are_computed_in_chunks_beside_those_that_decode() {
        let (steps, scheduler) = steps(requests(&[(0, 3, 3), (1, 12, 1), (9, 1, 1)]), 100);
        let expected = [vec![(0, 0, 3)], vec![(0, 3, 1), (1, 0, 7)], vec![(0, 4, 1), (1, 7, 5)], vec![(2, 0, 1)]];
        assert_eq!(steps, expected);
        let times = |of: usize| {
            let record = scheduler.records()[RequestId::new(of)];
            [record.scheduled, record.first_token, record.finished].map(|time| time.map(SimTime::as_ps))
        };
        assert_eq!(times(0), [Some(0), Some(1), Some(3)]);
        assert_eq!(times(1), [Some(1), Some(3), Some(3)]);
        assert_eq!(times(2), [Some(9), Some(10), Some(10)]);
    }

    #[test]
    fn the_last_one_admitted_is_preempted_and_computed_again() {
        // Four pages: both prompts fit, and the first to need a third page gets it from the second.
        let (steps, scheduler) = steps(requests(&[(0, 4, 3), (0, 4, 3)]), 4);
        let expected = [vec![(0, 0, 4), (1, 0, 4)], vec![(0, 4, 1)], vec![(0, 5, 1)], vec![(1, 0, 5)], vec![(1, 5, 1)]];
        assert_eq!(steps, expected);
        let record = scheduler.records()[RequestId::new(1)];
        assert_eq!((record.preemptions, record.recomputed, record.tokens_out), (1, 4, 3));
    }

    #[test]
    fn what_never_fits_is_rejected() {
        let mut requests = requests(&[(0, 9, 1), (0, 8, 1), (0, 4, 5)]);
        requests.limits.context = Some(8);
        let (_, scheduler) = steps(requests.clone(), 4);
        assert!(scheduler.records().iter().all(|record| record.rejected == Some(Rejection::Context)));
        requests.limits.context = None;
        let (_, scheduler) = steps(requests, 4);
        let rejected: Vec<_> = scheduler.records().iter().map(|record| record.rejected).collect();
        assert_eq!(rejected, [Some(Rejection::Kv), None, None]);
    }
}
