//! Reads that a stage does not issue when it starts.
//!
//! * [`Serial`](crate::workload::ReadsConfig::Serial): a stage issues its reads of such a tier when
//!   those of all faster tiers have arrived.
//! * [`Staged`](crate::workload::ReadsConfig::Staged): a stage first copies what it reads of such a
//!   tier into a buffer on the first tier. When its copies have arrived, it reads the buffer and,
//!   at the same time, what it reads in place. Where copies go on ahead of their stage or chunk by
//!   chunk, see `staging.rs`.
//!
//! Weights of such tiers are not read early.

use super::Run;
use super::completions::Purpose;
use super::writes::HeldRead;
use crate::memory::{Machine, Path, Pattern, Reach, Request, TierId, TransferClass, TransferId, Urgency};
use crate::simulation::probe::Probe;
use crate::units::{Bytes, StageId};
use crate::workload::Workload;

/// The reads of the present stage that are not issued yet, in the order of their turns; in a turn
/// in the order in which they were deferred.
#[derive(Default)]
pub(super) struct Turns {
    waiting: Vec<(Turn, Deferred)>,
}

/// When a read is issued: a turn comes when all reads of the turns before it have arrived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// When the copies of the stage have arrived; at once, where it has none.
    Copied,
    /// When all faster tiers have been read.
    After(TierId),
}

/// A read that is not issued yet.
#[derive(Clone, Copy)]
pub(super) struct Deferred {
    pub class: TransferClass,
    /// From where it is read.
    pub tier: TierId,
    /// Of the buffer: where it was copied from.
    pub copied_from: Option<TierId>,
    pub bytes: Bytes,
    pub granule: Bytes,
    pub reach: Reach,
    /// The room that it takes in a buffer that others wait for: free when it is complete.
    pub room: Bytes,
}

impl Deferred {
    /// The read of so many bytes of weights.
    pub fn weights(tier: TierId, bytes: Bytes, reach: Reach, copied_from: Option<TierId>) -> Self {
        Self { class: TransferClass::WeightRead, tier, copied_from, bytes, granule: bytes, reach, room: Bytes::ZERO }
    }
}

impl Turns {
    /// `read` is issued when its turn comes.
    pub fn defer(&mut self, turn: Turn, read: Deferred) {
        let place = self.waiting.partition_point(|(other, _)| *other <= turn);
        self.waiting.insert(place, (turn, read));
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Copies what the stage reads of `read.copied_from` into the buffer, from where it is read
    /// when all copies have arrived. Where the copy waits for that many writes, it is held.
    pub(super) fn stage_read(&mut self, machine: &mut Machine<Purpose>, stage: StageId, read: Deferred, writes: usize) {
        let Some(source) = read.copied_from else { return };
        let routes = self.system.even_copies(source, TierId::HBM);
        let request = Request {
            class: TransferClass::Stage,
            path: Path::Even(&routes),
            bytes: read.bytes,
            granule: read.granule,
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: Purpose::Copy { stage, tier: source },
        };
        self.issue_or_hold(machine, stage, request, (source, writes));
        // A buffer is contiguous.
        self.turns.defer(Turn::Copied, Deferred { granule: read.bytes, ..read });
    }

    /// All that the present stage has issued has arrived: issues the reads whose turn comes next.
    /// Returns whether there are any.
    #[inline]
    pub(super) fn take_turn(&mut self, machine: &mut Machine<Purpose>, stage: StageId) -> bool {
        let Some(&(turn, _)) = self.turns.waiting.first() else { return false };
        self.issue_turn(machine, stage, turn);
        true
    }

    /// Issues the reads of `turn`, which is the next.
    fn issue_turn(&mut self, machine: &mut Machine<Purpose>, stage: StageId, turn: Turn) {
        let count = self.turns.waiting.iter().take_while(|(other, _)| *other == turn).count();
        for index in 0..count {
            self.issue_deferred(machine, stage, self.turns.waiting[index].1);
        }
        self.turns.waiting.drain(..count);
    }

    /// Issues a read that was deferred.
    pub(super) fn issue_deferred(&mut self, machine: &mut Machine<Purpose>, stage: StageId, read: Deferred) {
        let Deferred { class, tier, copied_from, bytes, granule, reach, room } = read;
        // Of KV that lies there: what it waits for, and on which channels it lies.
        let is_kv = class == TransferClass::KvRead && copied_from.is_none();
        let writes = if is_kv { self.writes.awaited_by(tier) } else { None };
        let tag = match copied_from {
            Some(source) if room > Bytes::ZERO => Purpose::Buffered { stage, source, room },
            _ => Purpose::Read { stage, tier },
        };
        let request = Request {
            class,
            path: Path::Even(self.system.even_reads(tier)),
            bytes,
            granule,
            pattern: if class == TransferClass::KvRead { Pattern::Random } else { Pattern::Streams },
            urgency: Urgency::Due,
            reach,
            tag,
        };
        if is_kv && self.paging.parts(self.system, tier).is_some() {
            let parts: Vec<_> = self.paging.parts(self.system, tier).unwrap_or_default().to_vec();
            let request = Request { path: Path::Parts(&parts), ..request };
            self.issue_or_hold(machine, stage, request, (tier, writes.unwrap_or(0)));
        } else {
            self.issue_or_hold(machine, stage, request, (tier, writes.unwrap_or(0)));
        }
    }

    /// Issues a read or a copy of the present stage, or holds it until that many writes to the tier
    /// are complete.
    fn issue_or_hold(
        &mut self,
        machine: &mut Machine<Purpose>,
        stage: StageId,
        request: Request<'_, Purpose>,
        (tier, writes): (TierId, usize),
    ) -> TransferId {
        self.reads.issued(stage);
        if writes == 0 {
            return machine.issue(request);
        }
        let transfer = machine.issue_held(request);
        self.writes.hold(tier, HeldRead { transfer: Some(transfer), writes });
        transfer
    }
}
