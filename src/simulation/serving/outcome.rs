//! How serving ended.

use crate::memory::{LaneLoad, MemorySystem, PerClass, PerTier};
use crate::simulation::outcome::RunError;
use crate::units::{Bytes, RequestId, SimTime, Table};
use crate::workload::RequestRecord;

/// How serving ended, and its totals.
#[derive(Debug)]
pub struct ServingOutcome {
    /// Why it ended early, if it did.
    pub error: Option<RunError>,
    /// How many steps were simulated to their end.
    pub steps: u64,
    /// From time 0 to the end of the last step.
    pub simulated: SimTime,
    /// When the last transfer was complete.
    pub drained: SimTime,
    /// How many events were handled; those of layers that were not simulated one by one count.
    pub events: u64,
    /// The record of each request.
    pub records: Table<RequestId, RequestRecord>,
    /// What the time from 0 to `simulated` was spent on.
    pub waits: ServingWaits,
    /// The stored weights by tier.
    pub weights: PerTier<Bytes>,
    /// What KV may take on each tier.
    pub kv_room: PerTier<Bytes>,
    /// The most bytes in use on each tier at any moment.
    pub peak: PerTier<Bytes>,
    /// What each lane did.
    pub lanes: Vec<LaneLoad>,
    /// Bytes issued, by class.
    pub issued: PerClass<Bytes>,
    /// Bytes completed, by class.
    pub completed: PerClass<Bytes>,
    /// Bytes in flight when it ended, by class: none after a complete run.
    pub in_flight: PerClass<Bytes>,
}

/// What time was spent on: the parts add up to the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingWaits {
    /// In steps, by the tier whose reads arrived last.
    pub tiers: PerTier<SimTime>,
    /// In steps, where compute ended after all reads.
    pub compute: SimTime,
    /// In steps, the fixed times of the runtime.
    pub fixed: SimTime,
    /// Steps, or their layers, that could not begin before a move was complete; and times in which
    /// all requests waited for moves.
    pub moves: SimTime,
    /// No request was there.
    pub idle: SimTime,
}

impl ServingWaits {
    /// Nothing was waited for yet, on so many tiers.
    pub(super) fn none(tiers: usize) -> Self {
        let [compute, fixed, moves, idle] = [SimTime::ZERO; 4];
        Self { tiers: PerTier::filled(tiers, SimTime::ZERO), compute, fixed, moves, idle }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> SimTime {
        self.tiers.values().copied().sum::<SimTime>() + self.compute + self.fixed + self.moves + self.idle
    }

    /// Takes over the times of `other`.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.tiers.copy_from(&other.tiers);
        (self.compute, self.fixed, self.moves, self.idle) = (other.compute, other.fixed, other.moves, other.idle);
    }

    /// Becomes what came after it until it was `now`.
    pub(super) fn since(&mut self, now: &Self) {
        for (tier, now) in now.tiers.iter() {
            self.tiers[tier] = *now - self.tiers[tier];
        }
        (self.compute, self.fixed) = (now.compute - self.compute, now.fixed - self.fixed);
        (self.moves, self.idle) = (now.moves - self.moves, now.idle - self.idle);
    }

    /// Adds those of `other` so many times.
    pub(super) fn add(&mut self, other: &Self, times: u64) {
        for (tier, time) in other.tiers.iter() {
            self.tiers[tier] += time.times(times);
        }
        self.compute += other.compute.times(times);
        self.fixed += other.fixed.times(times);
        self.moves += other.moves.times(times);
        self.idle += other.idle.times(times);
    }
}

impl ServingOutcome {
    /// That of a run that has not begun.
    #[must_use]
    pub fn new(system: &MemorySystem, records: Table<RequestId, RequestRecord>) -> Self {
        let tiers = system.tiers().len();
        let none = || PerTier::filled(tiers, Bytes::ZERO);
        Self {
            error: None,
            steps: 0,
            simulated: SimTime::ZERO,
            drained: SimTime::ZERO,
            events: 0,
            records,
            waits: ServingWaits::none(tiers),
            weights: none(),
            kv_room: none(),
            peak: none(),
            lanes: vec![LaneLoad::default(); system.lanes().len()],
            issued: PerClass::filled(Bytes::ZERO),
            completed: PerClass::filled(Bytes::ZERO),
            in_flight: PerClass::filled(Bytes::ZERO),
        }
    }
}
