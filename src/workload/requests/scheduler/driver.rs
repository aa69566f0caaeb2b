//! Drives a scheduler, and its slow twin, through random logs: steps and moves take random times.

use super::{Decision, KvMove, KvRoom, RequestRecord, Scheduler, ServingStep};
use crate::units::{BlockId, MoveId, PageSize, RequestId, SimTime, Table};
use crate::workload::requests::{
    CacheConfig, ExternalKv, GoalsConfig, KvConfig, LimitsConfig, Preemption, QueueOrder, Request, Requests,
    StoredBlocks, WriteBack,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A scheduler, or its twin.
pub(super) trait Schedules {
    fn next(&mut self, now: SimTime) -> Decision;
    fn step(&self) -> &ServingStep;
    fn completed(&mut self, now: SimTime);
    fn moved(&mut self, now: SimTime, moved: MoveId);
    fn take_moves(&mut self) -> Vec<KvMove>;
    fn records(&self) -> &Table<RequestId, RequestRecord>;
    /// Pages of both tiers that are in use and hold no cached block.
    fn lost_pages(&self) -> (u64, u64);
}

impl Schedules for Scheduler {
    fn next(&mut self, now: SimTime) -> Decision {
        self.next(now)
    }
    fn step(&self) -> &ServingStep {
        self.step()
    }
    fn completed(&mut self, now: SimTime) {
        self.completed(now);
    }
    fn moved(&mut self, now: SimTime, moved: MoveId) {
        self.moved(now, moved);
    }
    fn take_moves(&mut self) -> Vec<KvMove> {
        self.take_moves().collect()
    }
    fn records(&self) -> &Table<RequestId, RequestRecord> {
        self.records()
    }
    fn lost_pages(&self) -> (u64, u64) {
        let of = |pool: &super::pool::Pool| pool.room - pool.available(0);
        (of(&self.hbm), of(&self.external))
    }
}

/// A case: a log, the engine's room, and how long moves take.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) requests: Arc<Requests>,
    pub(super) room: KvRoom,
    pub(super) page: PageSize,
    pub(super) slowness: u64,
    pub(super) seed: u64,
}

/// What happens, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A step begins and ends.
    Step(SimTime, SimTime, ServingStep),
    /// A move is asked for.
    Asked(SimTime, KvMove),
    /// A move is complete.
    Moved(SimTime, MoveId),
}

/// A number that follows from two others.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut x = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3 {
        x ^= x >> 29;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    x ^ x >> 32
}

/// Runs `case` to its end.
pub(super) fn drive(case: &Case, it: &mut impl Schedules) -> Vec<Event> {
    let unit = SimTime::from_ps;
    let mut events = Vec::new();
    let mut moving: BTreeMap<(SimTime, MoveId), KvMove> = BTreeMap::new();
    let mut now = SimTime::ZERO;
    let ask = |it: &mut dyn FnMut() -> Vec<KvMove>, now, moving: &mut BTreeMap<_, _>, events: &mut Vec<_>| {
        for moved in it() {
            let takes = mixed(case.seed, moved.id.index() as u64) % (case.slowness + 1);
            moving.insert((now + unit(takes), moved.id), moved);
            events.push(Event::Asked(now, moved));
        }
    };
    for number in 0.. {
        assert!(number < 20_000, "no end");
        let decision = it.next(now);
        ask(&mut || it.take_moves(), now, &mut moving, &mut events);
        let until = match decision {
            Decision::Step => {
                let step = it.step().clone();
                let end_of = |id: &MoveId| moving.keys().find(|(_, other)| other == id).map(|(end, _)| *end);
                let begin = step.after.iter().filter_map(end_of).max().unwrap_or(now).max(now);
                let end = begin + unit(1 + mixed(case.seed, number) % 3);
                let end = step.by_layer.iter().filter_map(end_of).max().unwrap_or(end).max(end);
                events.push(Event::Step(begin, end, step));
                end
            }
            Decision::Wait(until) => {
                let moved = moving.keys().next().map_or(SimTime::MAX, |(end, _)| *end);
                assert!(until > now && until.min(moved) < SimTime::MAX, "nothing ends the wait at {now}");
                until.min(moved)
            }
            Decision::End => SimTime::MAX,
        };
        while let Some(entry) = moving.first_entry().filter(|entry| entry.key().0 <= until) {
            let (end, id) = *entry.key();
            entry.remove();
            it.moved(end.max(now), id);
            events.push(Event::Moved(end, id));
        }
        match decision {
            Decision::Step => {
                it.completed(until);
                ask(&mut || it.take_moves(), until, &mut moving, &mut events);
            }
            Decision::Wait(_) => {}
            Decision::End => break,
        }
        now = until;
    }
    events
}

/// Random small cases over all settings.
pub(super) fn cases() -> impl Strategy<Value = Case> {
    let request = (0_u64..12, 1_u32..32, 1_u32..14, 0_u32..3, 0_usize..16);
    let log = prop::collection::vec(request, 1..20);
    let kv = (0_usize..6, 0_usize..3, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let limits = (1_u32..6, 3_u32..20, prop::option::weighted(0.2, 8_u32..60));
    // The first tier in percent of what the largest request needs.
    let sizes = (60_u64..300, prop_oneof![Just(0_u64), 1_u64..80], 1_u32..5, 1_u32..7);
    (log, kv, limits, sizes, 0_u64..12, any::<u64>()).prop_map(|(log, kv, limits, sizes, slowness, seed)| {
        let (cache, external, write, blocks, swap, shortest) = kv;
        let (percent, external_room, page, block_tokens) = sizes;
        let kv = KvConfig {
            cache: [CacheConfig::Off, CacheConfig::Hbm, CacheConfig::External][cache.min(2)],
            external: [ExternalKv::Load, ExternalKv::LoadByLayer, ExternalKv::Direct][external],
            write: if write { WriteBack::Through } else { WriteBack::OnEviction },
            blocks: if blocks { StoredBlocks::All } else { StoredBlocks::Prompt },
            ..KvConfig::default()
        };
        let (sequences, tokens, context) = limits;
        let mut ids: BTreeMap<(u32, usize, usize), usize> = BTreeMap::new();
        let (mut blocks, mut all, mut arrival) = (Vec::new(), Vec::new(), 0);
        for (number, &(gap, prompt, output, family, alike)) in log.iter().enumerate() {
            // Prompts of a family begin alike: up to `alike` blocks are those of the family.
            let start = blocks.len() as u32;
            for block in 0..prompt.div_ceil(block_tokens) as usize {
                let key = (family, block, if block < alike { 0 } else { number + 1 });
                let next = ids.len();
                blocks.push(BlockId::new(*ids.entry(key).or_insert(next)));
            }
            arrival += gap;
            let blocks = start..blocks.len() as u32;
            all.push(Request { arrival: SimTime::from_ps(arrival), prompt, output, blocks });
        }
        let requests = Requests {
            all: all.into(),
            blocks,
            distinct_blocks: ids.len() as u32,
            block_tokens,
            limits: LimitsConfig { sequences, tokens, context, ..LimitsConfig::default() },
            order: if shortest { QueueOrder::ShortestFirst } else { QueueOrder::Fcfs },
            preemption: if swap { Preemption::Swap } else { Preemption::Recompute },
            kv,
            goals: GoalsConfig::default(),
        };
        let largest = requests.all.iter().map(|it| it.most_tokens().div_ceil(u64::from(page))).max();
        let hbm = (largest.unwrap_or(1) * percent / 100).max(1);
        let (requests, room) = (Arc::new(requests), KvRoom { hbm, external: external_room });
        Case { requests, room, page: PageSize::new(page).unwrap(), slowness, seed }
    })
}

impl Case {
    pub(super) fn scheduler(&self) -> Scheduler {
        Scheduler::new(Arc::clone(&self.requests), self.room, self.page)
    }
}
