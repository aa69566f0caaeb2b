//! Probes: how serving is observed.

use crate::memory::{PerTier, TierId, TransferClass};
use crate::units::{Bytes, SimTime, Step};
use crate::workload::{KvMove, ServingStep};
use std::ops::ControlFlow;

/// What one step came to.
#[derive(Clone, Copy, Debug)]
pub struct ServingRecord<'a> {
    /// Which, from 0.
    pub number: Step,
    /// When it began: after the moves that it had to wait for.
    pub began: SimTime,
    /// When its last stage ended.
    pub ended: SimTime,
    /// What it computed.
    pub step: &'a ServingStep,
    /// Weights read from each tier.
    pub weights: &'a PerTier<Bytes>,
    /// KV and state read from each tier.
    pub kv: &'a PerTier<Bytes>,
    /// KV written to each tier.
    pub written: &'a PerTier<Bytes>,
    /// Bytes in use on each tier, weights included.
    pub used: &'a PerTier<Bytes>,
}

/// Equal transfers: of layers that were simulated once, there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRecord {
    /// What for.
    pub class: TransferClass,
    /// The tier read from or written to; of a move its destination.
    pub tier: TierId,
    /// The size of each.
    pub bytes: Bytes,
    /// From issue to the last byte, of each.
    pub latency: SimTime,
    /// Its latency with all its lanes to itself.
    pub unloaded: SimTime,
    /// How many.
    pub count: u64,
}

/// A move that is complete.
#[derive(Clone, Copy, Debug)]
pub struct MoveRecord {
    /// What was moved.
    pub moved: KvMove,
    /// How many bytes.
    pub bytes: Bytes,
    /// When it was asked for.
    pub issued: SimTime,
    /// When its last byte arrived.
    pub completed: SimTime,
}

/// Watches serving. Every method has an empty default.
pub trait ServingProbe {
    /// A step has ended. `Break` interrupts the run.
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// Transfers have completed.
    fn transfers(&mut self, transfers: &TransferRecord) {
        let _ = transfers;
    }

    /// A move is complete.
    fn moved(&mut self, moved: &MoveRecord) {
        let _ = moved;
    }
}

/// Watches nothing.
impl ServingProbe for () {}

/// Both watch, the first first; either may interrupt.
impl<A: ServingProbe, B: ServingProbe> ServingProbe for (A, B) {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        match self.0.step(step) {
            ControlFlow::Continue(()) => self.1.step(step),
            stop => stop,
        }
    }

    fn transfers(&mut self, transfers: &TransferRecord) {
        self.0.transfers(transfers);
        self.1.transfers(transfers);
    }

    fn moved(&mut self, moved: &MoveRecord) {
        self.0.moved(moved);
        self.1.moved(moved);
    }
}

/// Watches if it is there.
impl<A: ServingProbe> ServingProbe for Option<A> {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        self.iter_mut().try_for_each(|probe| probe.step(step))
    }

    fn transfers(&mut self, transfers: &TransferRecord) {
        self.iter_mut().for_each(|probe| probe.transfers(transfers));
    }

    fn moved(&mut self, moved: &MoveRecord) {
        self.iter_mut().for_each(|probe| probe.moved(moved));
    }
}
