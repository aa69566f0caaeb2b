use crate::memory::{Completed, TierId, TransferClass};
use crate::units::{Bytes, SimTime};
use std::ops::ControlFlow;

/// What one step came to.
#[derive(Clone, Copy, Debug)]
pub struct StepRecord<'a> {
    /// Its number, from 0.
    pub step: usize,
    /// The tokens before it.
    pub context: usize,
    /// The tokens read, summed over layers.
    pub read_kv_tokens: u64,
    /// KV that it read of tokens that were to be skipped, as others of their pages were not.
    pub read_beyond: Bytes,
    /// From its start to the end of its last sublayer.
    pub latency: SimTime,
    /// The least that any placement could have taken.
    pub bound: SimTime,
    /// Bytes read by attention sublayers, weights and KV, on each tier.
    pub attention_read: &'a [Bytes],
    /// Bytes read by mlp sublayers on each tier.
    pub mlp_read: &'a [Bytes],
    /// Bytes in use on each tier at its end, reservations included.
    pub used: &'a [Bytes],
    /// Bytes of the migrations towards faster tiers that were issued in it.
    pub migrated_in: Bytes,
    /// Bytes of the migrations towards slower tiers that were issued in it.
    pub migrated_out: Bytes,
    /// Tokens that it read at the source of a move that was not complete, summed over layers.
    pub late_tokens: u64,
}

/// Watches a run. Every method has an empty default.
pub trait Probe {
    /// A transfer has completed. `tier` is where it read from, or wrote or moved to.
    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, tier: TierId) {
        let _ = (transfer, tier);
    }

    /// A migration of `class` has completed, so long after the reads that it was meant for were issued; 0 if in time.
    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        let _ = (class, late);
    }

    /// A layer has ended, so long after it began.
    fn layer(&mut self, latency: SimTime) {
        let _ = latency;
    }

    /// A step has ended. `Break` interrupts the run.
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }
}

/// Watches nothing.
impl Probe for () {}

/// Both watch, the first first; either may interrupt.
impl<A: Probe, B: Probe> Probe for (A, B) {
    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, tier: TierId) {
        self.0.transfer(transfer, tier);
        self.1.transfer(transfer, tier);
    }

    fn lateness(&mut self, class: TransferClass, late: SimTime) {
        self.0.lateness(class, late);
        self.1.lateness(class, late);
    }

    fn layer(&mut self, latency: SimTime) {
        self.0.layer(latency);
        self.1.layer(latency);
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        match self.0.step(step) {
            ControlFlow::Continue(()) => self.1.step(step),
            stop => stop,
        }
    }
}
