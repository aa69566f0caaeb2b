//! Recurrent state: read in full with the KV of its stage, and written back.
//!
//! State lies in shares, as weights do, and does not move. Each step writes all of it where it was
//! read from; under inclusive residency, also to the last tier, which has a copy of all. The write
//! is posted, as that of KV is: the step goes on, and the next read of the same state from the same
//! tier waits until it is complete.

use super::Run;
use super::completions::Purpose;
use crate::memory::{
    Machine, Path, Pattern, PerTier, Reach, Request, ResidencyKind, TierId, TransferClass, TransferId, Urgency,
};
use crate::simulation::idealization::Ideal;
use crate::simulation::probe::Probe;
use crate::units::{Bytes, RegionId, Table};
use crate::workload::{Stage, Workload};

/// The writes of state that are not complete.
pub(super) struct StateWrites {
    /// By region.
    pending: Table<RegionId, Vec<PendingState>>,
}

/// A write of state that is not complete.
struct PendingState {
    tier: TierId,
    transfer: TransferId,
    /// Whether a read waits for it.
    awaited: bool,
}

impl StateWrites {
    /// No writes yet.
    pub fn new() -> Self {
        Self { pending: Table::new() }
    }

    /// Marks the pending writes of `region` to `tier` as awaited, and returns how many they are.
    pub fn await_those_of(&mut self, region: RegionId, tier: TierId) -> usize {
        let pending = self.pending.or_insert_with(region, Vec::new);
        let of_tier = pending.iter_mut().filter(|write| write.tier == tier);
        of_tier.map(|write| write.awaited = true).count()
    }

    /// A write is complete. Returns whether a read waits for it.
    fn complete(&mut self, region: RegionId, transfer: TransferId) -> bool {
        let pending = &mut self.pending[region];
        let at = pending.iter().position(|write| write.transfer == transfer);
        pending.remove(at.expect("a write that completes was pending")).awaited
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Adds all of a state to the reads that are about to be issued. Returns its bytes.
    pub(super) fn gather_state(&mut self, machine: &Machine<Purpose>, region: RegionId) -> Bytes {
        let on = self.moves.residency_at(machine.now(), machine.fabric()).divided(region);
        let mut read = Bytes::ZERO;
        for (tier, &bytes) in on.iter().filter(|(_, bytes)| **bytes > Bytes::ZERO) {
            let kv = &mut self.reads.kv[tier];
            kv.bytes += bytes;
            kv.page_bytes = kv.page_bytes.max(bytes);
            kv.runs += 1;
            // The copies of a pipe wait for them.
            if !self.staging.copies_kv(tier) {
                kv.writes += self.states.await_those_of(region, tier);
            }
            self.paging.gather_evenly(tier, bytes);
            read += bytes;
        }
        read
    }

    /// Issues the writes of the state that `stage` has brought up to date.
    pub(super) fn update(&mut self, machine: &mut Machine<Purpose>, stage: &Stage) {
        if self.scenario.idealization().has(Ideal::FreeWrites) {
            return;
        }
        for &region in &stage.updates {
            let on = self.moves.residency_at(machine.now(), machine.fabric()).divided(region);
            let written = written(on, self.system.residency());
            for (tier, bytes) in written.filter(|(_, bytes)| *bytes > Bytes::ZERO) {
                let transfer = machine.issue(Request {
                    class: TransferClass::KvWrite,
                    path: Path::Even(self.system.even_writes(tier)),
                    bytes,
                    granule: bytes,
                    pattern: Pattern::Streams,
                    reach: Reach::FULL,
                    urgency: Urgency::Due,
                    tag: Purpose::Update { region, tier },
                });
                let pending = self.states.pending.or_insert_with(region, Vec::new);
                pending.push(PendingState { tier, transfer, awaited: false });
            }
        }
    }

    /// A write of state is complete: a read that waited for it alone may go.
    pub(super) fn end_update(
        &mut self,
        machine: &mut Machine<Purpose>,
        region: RegionId,
        tier: TierId,
        transfer: TransferId,
    ) {
        if self.states.complete(region, transfer)
            && let Some(read) = self.writes.release(tier)
        {
            machine.admit(read);
        }
    }
}

/// What a write of a state that lies so goes to each tier: to the last one all of it, if it has a
/// copy of all.
fn written(on: &PerTier<Bytes>, residency: ResidencyKind) -> impl Iterator<Item = (TierId, Bytes)> {
    let (all, last): (Bytes, TierId) = (on.values().copied().sum(), on.last());
    let copied = move |tier: TierId| residency == ResidencyKind::Inclusive && tier == last;
    on.iter().map(move |(tier, bytes)| (tier, if copied(tier) { all } else { *bytes }))
}
