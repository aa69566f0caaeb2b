//! Tiers that are read one after another: which reads wait for the turn of their tier.
//!
//! Where the runtime reads a tier as [`Serial`](crate::workload::ReadsConfig::Serial), a stage
//! issues its reads of that tier when those of all faster tiers have arrived. Its weights are not
//! read early.

use super::Run;
use super::completions::Purpose;
use super::writes::HeldRead;
use crate::memory::{Machine, Path, Pattern, Reach, Request, TierId, TransferClass, Urgency};
use crate::simulation::probe::Probe;
use crate::units::{Bytes, StageId};
use crate::workload::Workload;

/// The reads of the present stage that wait for the turn of their tier.
#[derive(Default)]
pub(super) struct Turns {
    /// In the order of the tiers; of a tier its weights first.
    waiting: Vec<Deferred>,
}

/// A read that is not issued yet.
#[derive(Clone, Copy)]
struct Deferred {
    class: TransferClass,
    tier: TierId,
    bytes: Bytes,
    granule: Bytes,
    reach: Reach,
}

impl Turns {
    /// The weights of the present stage on `tier` wait.
    pub fn defer_weights(&mut self, tier: TierId, bytes: Bytes, reach: Reach) {
        self.defer(Deferred { class: TransferClass::WeightRead, tier, bytes, granule: bytes, reach });
    }

    /// Its KV on `tier` waits.
    pub fn defer_kv(&mut self, tier: TierId, bytes: Bytes, granule: Bytes, reach: Reach) {
        self.defer(Deferred { class: TransferClass::KvRead, tier, bytes, granule, reach });
    }

    fn defer(&mut self, read: Deferred) {
        let place = self.waiting.partition_point(|other| other.tier <= read.tier);
        self.waiting.insert(place, read);
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// All reads that the present stage has issued have arrived: issues those of the tier whose turn
    /// comes next. Returns whether there are any.
    pub(super) fn take_turn(&mut self, machine: &mut Machine<Purpose>, stage: StageId) -> bool {
        let Some(tier) = self.turns.waiting.first().map(|read| read.tier) else { return false };
        let count = self.turns.waiting.iter().take_while(|read| read.tier == tier).count();
        for index in 0..count {
            let Deferred { class, bytes, granule, reach, .. } = self.turns.waiting[index];
            let is_kv = class == TransferClass::KvRead;
            let parts = if is_kv { self.paging.parts(self.system, tier) } else { None };
            let request = Request {
                class,
                path: parts.map_or(Path::Even(self.system.even_reads(tier)), Path::Parts),
                bytes,
                granule,
                pattern: if is_kv { Pattern::Random } else { Pattern::Streams },
                urgency: Urgency::Due,
                reach,
                tag: Purpose::Read { stage, tier },
            };
            self.reads.issued(stage);
            match self.writes.awaited_by(tier).filter(|_| is_kv) {
                None => drop(machine.issue(request)),
                Some(writes) => {
                    let transfer = machine.issue_held(request);
                    self.writes.hold(tier, HeldRead { transfer: Some(transfer), writes });
                }
            }
        }
        self.turns.waiting.drain(..count);
        true
    }
}
