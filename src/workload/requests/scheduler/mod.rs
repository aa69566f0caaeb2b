//! Which requests run in each step, as vLLM's V1 scheduler decides.
//!
//! The [`Scheduler`] is asked for the [next](Scheduler::next) thing to do at a time. It returns a
//! step, or what it waits for. The engine that simulates the step calls
//! [`completed`](Scheduler::completed) at its end, and [`moved`](Scheduler::moved) when a move of
//! KV that the scheduler asked for ([`take_moves`](Scheduler::take_moves)) is complete.
//!
//! # Steps
//! Running requests come first, in the order of admission: each decodes a token, or computes as
//! much of its prompt as the budget of tokens allows. One that needs pages for new KV takes free
//! ones; else unreferenced blocks are evicted, the one used least recently first; else the request
//! that was admitted last is preempted, perhaps itself. Where nothing was preempted, waiting
//! requests are admitted while the limits allow, and while there is room for all tokens of the
//! request (vLLM: `scheduler_reserve_full_isl`). The first one that does not fit blocks the others.
//!
//! # Prefix blocks
//! Blocks that lie wholly within a prompt may be shared from the end of the step that computes them
//! on. A request finds the longest prefix of its blocks that is in the first tier or in external
//! memory, in any mix; its last token is always computed. Of blocks that are given up at once the
//! last ones are evicted first. Two requests that compute the same block at the same time both keep
//! it, as in vLLM; a request whose block is being loaded for another waits for that load.
//!
//! # External memory
//! * A request that loads has pages for all its tokens while it waits (else two that wait could
//!   block each other and never run), and runs before others are admitted when its moves are
//!   complete. Layer by layer, it runs at once.
//! * Stores that write through keep blocks in the first tier until they are complete. Stores on
//!   eviction free their pages only then. So that steps need not wait, blocks are evicted ahead
//!   when a step ends, until the pages of two full steps are free or leaving, at most an eighth of
//!   the tier: those of the next step, and those that are stored during it. A running request that
//!   needs pages nevertheless waits for the oldest store; a request to be admitted does not let the
//!   step wait: it is admitted later. A block on its way out is found on neither tier.
//! * A request that is swapped out moves all its KV but the blocks that external memory has. Blocks
//!   that nobody else refers to leave the first tier. It comes back when there is room for all its
//!   tokens; what the first tier has by then is not moved.
//! * Read in place, a block of a prompt lies on one tier: its pages are taken together. A request
//!   that is preempted where both tiers are full is computed again.
//! * Stored outputs are private blocks, which are never found. They are stored when they are full;
//!   on eviction, when the request ends.
//!
//! A step costs O(parts), and nothing is allocated once its vectors have grown. Blocks cost O(1)
//! each time that they are found, filled, moved or given up.

mod admit;
#[cfg(test)]
mod driver;
mod flight;
mod give_up;
mod pool;
#[cfg(test)]
mod properties;
mod queue;
mod room;
mod running;
mod sizes;
mod step;
mod store;
#[cfg(test)]
mod twin;

pub use step::{Decision, KvMove, KvRoom, MoveKind, Rejection, RequestRecord, ServingStep, StepPart, WhenMoved};

use super::config::{CacheConfig, ExternalKv, Preemption, StoredBlocks, WriteBack};
use super::request::{Request, Requests};
use crate::units::{BlockId, MoveId, PageSize, RequestId, SimTime, Table};
use admit::Loading;
use flight::{Flights, Leaving};
use pool::Pool;
use queue::Queue;
use room::Place;
use running::Running;
use sizes::Sizes;
use std::sync::Arc;

/// Decides what a serving engine computes and moves.
#[derive(Clone, Debug)]
pub struct Scheduler {
    requests: Arc<Requests>,
    policy: Policy,
    sizes: Sizes,
    records: Table<RequestId, RequestRecord>,
    kept: Table<RequestId, Kept>,
    /// Where the blocks of each request are, as [`Requests::blocks`] has them.
    places: Vec<Place>,
    /// The request that gave up each block last: its store is for that request.
    users: Vec<RequestId>,
    /// How many requests have arrived.
    arrived: usize,
    /// How many are not finished and not rejected, those that are to arrive included.
    unfinished: usize,
    queue: Queue,
    /// The front of the queue, where it has no room and nothing has become free since.
    blocked: Option<RequestId>,
    /// Those that wait for loads, in the order of admission, and how many of them are loaded.
    loading: Vec<Loading>,
    loaded: u32,
    /// Moves that those wait for.
    waiting: Vec<(MoveId, RequestId)>,
    /// Those that run, in the order of admission. The first ones have the parts of the step.
    running: Vec<Running>,
    hbm: Pool,
    external: Pool,
    flights: Flights,
    leaving: Leaving,
    last_move: usize,
    moves: Vec<KvMove>,
    step: ServingStep,
}

/// Choices that follow from the configuration.
#[derive(Clone, Copy, Debug)]
struct Policy {
    /// KV in external memory is read in place, and new KV goes there where the first tier is full.
    direct: bool,
    /// Loads are waited for layer by layer.
    by_layer: bool,
    /// Preempted requests are swapped.
    swaps: bool,
    /// External memory keeps prefix blocks.
    caches_external: bool,
    /// Blocks are stored when they are computed.
    stores_through: bool,
    /// Blocks are stored when they are evicted.
    stores_evicted: bool,
    /// Private blocks are stored as well.
    stores_private: bool,
    /// How many pages are evicted ahead of need.
    ahead: u64,
}

impl Policy {
    fn new(requests: &Requests, room: KvRoom, page_size: PageSize) -> Self {
        let kv = &requests.kv;
        let has_external = room.external > 0;
        let direct = has_external && kv.external == ExternalKv::Direct;
        let caches_external = has_external && kv.cache == CacheConfig::External;
        let step = page_size.pages(requests.limits.tokens as usize) as u64;
        Self {
            direct,
            by_layer: kv.external == ExternalKv::LoadByLayer,
            swaps: has_external && !direct && requests.preemption == Preemption::Swap,
            caches_external,
            stores_through: caches_external && kv.write == WriteBack::Through,
            stores_evicted: caches_external && kv.write == WriteBack::OnEviction,
            stores_private: caches_external && kv.blocks == StoredBlocks::All,
            ahead: (2 * step).min(room.hbm / 8),
        }
    }

    /// Whether private blocks are stored when they are computed.
    fn stores_computed_private(&self) -> bool {
        self.stores_through && self.stores_private
    }
}

/// What is known of a request whether it runs or not.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// How many blocks of its prompt may be shared.
    blocks: u32,
    /// The most tokens that it had computed when it was preempted.
    peak: u32,
    /// The tokens that it has in external memory while it waits, if it was swapped out; the move
    /// that takes them there, and the end of its prompt.
    swapped: u32,
    swap: Option<MoveId>,
    prompt_end: u32,
}

impl Scheduler {
    /// Serves `requests`, with `room` for KV in pages of `page_size` tokens. O(requests + blocks).
    #[must_use]
    pub fn new(requests: Arc<Requests>, room: KvRoom, page_size: PageSize) -> Self {
        let policy = Policy::new(&requests, room, page_size);
        let sizes = Sizes::new(page_size, requests.block_tokens, policy.direct);
        let blocks = requests.distinct_blocks as usize;
        let records: Table<RequestId, _> = requests.all.iter().map(RequestRecord::new).collect();
        Self {
            policy,
            sizes,
            kept: shared_blocks(&requests, &sizes),
            places: vec![Place::Own; requests.blocks.len()],
            users: vec![RequestId::new(0); if policy.stores_evicted { blocks } else { 0 }],
            arrived: 0,
            unfinished: records.len(),
            queue: Queue::new(requests.order),
            blocked: None,
            loading: Vec::new(),
            loaded: 0,
            waiting: Vec::new(),
            running: Vec::new(),
            hbm: Pool::new(room.hbm, blocks, sizes.block_pages, true),
            external: Pool::new(room.external, blocks, sizes.block_pages, policy.caches_external),
            flights: Flights::default(),
            leaving: Leaving::default(),
            last_move: 0,
            moves: Vec::new(),
            step: ServingStep::default(),
            records,
            requests,
        }
    }

    /// The next decision at `now`. Called at time 0, when a step has been
    /// [completed](Self::completed), and when what it waited for has come. After
    /// [`Decision::Step`], [`step`](Self::step) has the step.
    pub fn next(&mut self, now: SimTime) -> Decision {
        self.arrive(now);
        self.step.parts.clear();
        self.step.after.clear();
        self.step.by_layer.clear();
        let mut budget = self.requests.limits.tokens;
        let preempted = self.schedule_running(&mut budget);
        // Where the only request that runs is preempted, others may be admitted at once.
        if !preempted || self.step.parts.is_empty() {
            self.admit(now, &mut budget);
        }
        if self.step.parts.is_empty() {
            if self.unfinished == 0 {
                return Decision::End;
            }
            let next = self.requests.all.get(RequestId::new(self.arrived));
            return Decision::Wait(next.map_or(SimTime::MAX, |request| request.arrival));
        }
        self.step.running = count(self.running.len());
        self.step.waiting = count(self.queue.len() + self.loading.len());
        self.step.pages_hbm = self.hbm.room - self.hbm.free;
        self.step.pages_cached = self.hbm.cached_pages();
        self.step.pages_external = self.external.room - self.external.free;
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
            match self.rejection(request, self.kept[id].blocks) {
                None => self.queue.arrive(id, request.prompt),
                rejected => {
                    self.records[id].rejected = rejected;
                    self.unfinished -= 1;
                }
            }
        }
    }

    /// Why a request with so many shareable blocks is rejected, if it is.
    fn rejection(&self, request: &Request, blocks: u32) -> Option<Rejection> {
        let most = self.requests.limits.context.map_or(crate::workload::MAX_TOKENS, u64::from);
        let tokens = request.most_tokens();
        if tokens + 1 > most {
            return Some(Rejection::Context);
        }
        // It fits 32 bits then, as every context does.
        let tokens = tokens as u32;
        let fits = if self.policy.direct {
            // Blocks lie on one tier each; what they leave is room for other pages.
            let pages = self.sizes.block_pages;
            let most_blocks = self.hbm.room / pages + self.external.room / pages;
            let full = u64::from(tokens.div_ceil(self.sizes.block).min(blocks));
            full <= most_blocks && self.sizes.pages_for(tokens, blocks) <= self.hbm.room + self.external.room
        } else {
            self.sizes.pages_for(tokens, blocks) <= self.hbm.room
        };
        (!fits).then_some(Rejection::Kv)
    }

    /// Schedules running requests, the first first. Returns whether one was preempted.
    fn schedule_running(&mut self, budget: &mut u32) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.running.len() && *budget > 0 {
            let running = &mut self.running[index];
            let mut part = running.part(*budget);
            let is_private = running.computed > running.blocks * self.sizes.block;
            if part.context + part.tokens <= running.room && (is_private || !self.policy.direct) {
                // All of it goes to the last page.
                part.tokens_external = if running.ends_external { part.tokens } else { 0 };
                running.external += part.tokens_external;
                *budget -= part.tokens;
                self.step.parts.push(part);
                index += 1;
                continue;
            }
            let mut running = *running;
            let in_external = loop {
                if let Some(tokens) = self.grow(&mut running, part.tokens, true) {
                    break tokens;
                }
                self.preempt_last();
                preempted = true;
                if index == self.running.len() {
                    return true;
                }
            };
            self.running[index] = running;
            self.push_part(&running, in_external, budget);
            index += 1;
        }
        preempted
    }

    /// Adds the part of a request that has room for it, of which `in_external` tokens are in
    /// external memory.
    fn push_part(&mut self, running: &Running, in_external: u32, budget: &mut u32) {
        let context_external = running.external - in_external;
        let part = StepPart { context_external, tokens_external: in_external, ..running.part(*budget) };
        *budget -= part.tokens;
        self.step.parts.push(part);
    }

    /// The step that [`next`](Self::next) returned last.
    #[must_use]
    pub fn step(&self) -> &ServingStep {
        &self.step
    }

    /// The step has ended at `now`: its tokens are out, and the moves that its layers waited for
    /// are complete.
    pub fn completed(&mut self, now: SimTime) {
        let mut ended = false;
        for index in 0..self.step.parts.len() {
            let part = &self.step.parts[index];
            let running = &mut self.running[index];
            let before = running.computed;
            running.computed += part.tokens;
            let record = &mut self.records[running.request];
            if part.is_chunk {
                let peak = self.kept[running.request].peak;
                record.recomputed += running.computed.min(peak) - before.min(peak);
                if part.outputs {
                    record.first_token.get_or_insert(now);
                }
            }
            if part.outputs {
                running.tokens += 1;
                running.left -= 1;
                record.tokens_out += 1;
                if running.left == 0 {
                    record.finished = Some(now);
                    ended = true;
                }
            }
            if running.computed >= running.boundary {
                self.fill_blocks(index, before);
            }
        }
        if ended {
            let mut left = 0;
            for index in 0..self.running.len() {
                let running = self.running[index];
                if running.left == 0 {
                    self.finish(&running);
                } else {
                    self.running[left] = running;
                    left += 1;
                }
            }
            self.running.truncate(left);
        }
        self.evict_ahead();
    }

    /// A move is complete.
    pub fn moved(&mut self, now: SimTime, moved: MoveId) {
        let _ = now;
        self.land(moved);
    }

    /// The moves that were decided since the last call: to be issued now, in this order. To be
    /// called after [`next`](Self::next) and after [`completed`](Self::completed).
    pub fn take_moves(&mut self) -> std::vec::Drain<'_, KvMove> {
        self.moves.drain(..)
    }

    /// Whether requests have arrived that do not run: they wait to be admitted, or for their loads.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.queue.len() + self.loading.len() > 0
    }

    /// The record of each request so far.
    #[must_use]
    pub fn records(&self) -> &Table<RequestId, RequestRecord> {
        &self.records
    }
}

/// How many blocks of each prompt may be shared: those that lie wholly within it, up to the first
/// that stands there a second time.
fn shared_blocks(requests: &Requests, sizes: &Sizes) -> Table<RequestId, Kept> {
    if requests.kv.cache == CacheConfig::Off {
        return Table::filled(requests.all.len(), Kept::default());
    }
    let mut seen: Table<BlockId, usize> = Table::filled(requests.distinct_blocks as usize, usize::MAX);
    let all = requests.all.entries().map(|(id, request)| {
        let full = (request.prompt / sizes.block) as usize;
        let is_new = |block: &&BlockId| std::mem::replace(&mut seen[**block], id.index()) != id.index();
        let blocks = requests.blocks_of(request).iter().take(full).take_while(is_new).count();
        Kept { blocks: count(blocks), ..Kept::default() }
    });
    all.collect()
}

/// A number of requests or blocks: ids fit 32 bits.
fn count(number: usize) -> u32 {
    number as u32
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

    /// A part of a step: the request, the context, and the tokens.
    type Part = (usize, u32, u32);

    /// The parts of each step, one time unit a step, in pages of two
    /// tokens; and the scheduler at the end.
    fn steps(requests: Requests, hbm: u64) -> (Vec<Vec<Part>>, Scheduler) {
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
