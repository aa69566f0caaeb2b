//! New KV: where it goes, when it is written, and which reads wait for it.
//!
//! A write is posted: the step that issues it does not wait. The next read of the same page from
//! the same tier does, held back on the machine until the write is complete. Of a part of a prompt,
//! all pages that go to one tier are one write.

use super::Run;
use super::completions::Purpose;
use crate::memory::{
    Cancelled, Machine, Path, Pattern, Reach, Request, ResidencyKind, TierId, TransferClass, TransferId, Urgency,
};
use crate::simulation::idealization::Ideal;
use crate::simulation::outcome::RunError;
use crate::simulation::probe::Probe;
use crate::strategy::{PlacementView, Skips};
use crate::units::{Page, RegionId, Step, Table, Token};
use crate::workload::{Stage, Workload};

/// The KV writes that are not complete, and the reads that wait for them.
pub(super) struct Writes {
    pub pending: Table<RegionId, Vec<PendingWrite>>,
    /// At most one read per tier waits: that of the present stage.
    held: Vec<(TierId, HeldRead)>,
}

/// A KV write that is not complete.
pub(super) struct PendingWrite {
    /// The first token that it writes, and its page.
    pub token: Token,
    pub page: Page,
    /// The other pages that it writes, of a part of a prompt.
    pub others: Vec<Page>,
    pub tier: TierId,
    pub transfer: TransferId,
    /// Whether a KV read waits for it.
    pub awaited: bool,
}

impl PendingWrite {
    pub fn pages(&self) -> impl Iterator<Item = Page> + '_ {
        std::iter::once(self.page).chain(self.others.iter().copied())
    }
}

/// A KV read that waits for writes of its pages.
#[derive(Clone, Copy)]
pub(super) struct HeldRead {
    /// `None` while it waits for the turn of its tier as well, and is not issued.
    pub transfer: Option<TransferId>,
    pub writes: usize,
}

impl Writes {
    /// No writes, of so many regions.
    pub fn new(regions: usize) -> Self {
        Self { pending: (0..regions).map(|_| Vec::with_capacity(2)).collect(), held: Vec::new() }
    }

    /// Marks the pending writes of `region` to `tier` whose pages `is_read` as awaited, and returns
    /// how many they are.
    pub fn await_those_of(&mut self, region: RegionId, tier: TierId, is_read: impl Fn(Page) -> bool) -> usize {
        let mut awaited = 0;
        for write in self.pending[region].iter_mut().filter(|write| write.tier == tier) {
            write.awaited = {
                let mut pages = write.pages();
                pages.any(&is_read)
            };
            awaited += usize::from(write.awaited);
        }
        awaited
    }

    /// Cancels the writes of `region`, for which no read may wait, and calls `dropped` with each,
    /// its source (the chip: none) and its destination.
    pub fn cancel(
        &mut self,
        machine: &mut Machine<Purpose>,
        region: RegionId,
        dropped: &mut impl FnMut(Cancelled<Purpose>, Option<TierId>, Option<TierId>),
    ) {
        for write in self.pending[region].drain(..) {
            dropped(machine.cancel(write.transfer), None, Some(write.tier));
        }
    }

    /// `read` waits for that many writes to `tier`; in place of a read that was not issued.
    pub fn hold(&mut self, tier: TierId, read: HeldRead) {
        self.held.retain(|(held, _)| *held != tier);
        self.held.push((tier, read));
    }

    /// An awaited write to `tier` is complete: the read that waits for no other may go.
    pub fn release(&mut self, tier: TierId) -> Option<TransferId> {
        let place = self.held.iter().position(|(held, _)| *held == tier)?;
        let read = &mut self.held[place].1;
        read.writes -= 1;
        if read.writes > 0 {
            return None;
        }
        self.held.swap_remove(place).1.transfer
    }

    /// How many writes the read from `tier` waits for, if it waits for any.
    pub fn awaited_by(&self, tier: TierId) -> Option<usize> {
        self.held.iter().find(|(held, _)| *held == tier).map(|(_, read)| read.writes)
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Issues the writes of the KV that `stage` has computed.
    pub(super) fn append(&mut self, machine: &mut Machine<Purpose>, step: Step, stage: &Stage) -> Result<(), RunError> {
        if stage.appends.is_empty() {
            return Ok(());
        }
        self.scratch.expected.copy_from(&self.measured.read);
        for append in &stage.appends {
            match append.tokens {
                1 => self.append_token(machine, step, append.region)?,
                tokens => self.append_chunk(machine, step, append.region, tokens)?,
            }
        }
        Ok(())
    }

    fn append_token(&mut self, machine: &mut Machine<Purpose>, step: Step, region: RegionId) -> Result<(), RunError> {
        let (now, size) = (machine.now(), self.page_size);
        let residency = self.moves.residency_at(now, machine.fabric());
        residency.slide(region);
        let token = Token::new(residency.kv(region).tokens);
        let page = size.page_of(token);
        if size.starts_page(token) {
            self.place(machine, step, region, page)?;
        }
        let residency = self.moves.residency_at(now, machine.fabric());
        residency.grow(region, 1);
        let tier = residency.tier_of(region, page).expect("an open page lies on a tier");
        let bytes = residency.kv(region).token_bytes;
        if self.scenario.idealization().has(Ideal::FreeWrites) {
            if size.starts_page(token.next()) {
                residency.end_write(region, page);
            }
            return Ok(());
        }
        let last = self.system.last_tier();
        let copy = self.system.residency() == ResidencyKind::Inclusive && tier != last;
        for tier in [Some(tier), copy.then_some(last)].into_iter().flatten() {
            let routes;
            let path = match self.paging.port(self.system, tier, region, page) {
                None => Path::Even(self.system.even_writes(tier)),
                Some(port) => {
                    routes = [self.system.write_route(port)];
                    Path::Even(&routes)
                }
            };
            let transfer = machine.issue(Request {
                class: TransferClass::KvWrite,
                path,
                bytes,
                granule: bytes,
                pattern: Pattern::Random,
                urgency: Urgency::Due,
                reach: Reach::FULL,
                tag: Purpose::Write { region, token, tier },
            });
            let others = Vec::new();
            self.writes.pending[region].push(PendingWrite { token, page, others, tier, transfer, awaited: false });
        }
        Ok(())
    }

    /// Chooses the tier of a new page, and takes its room.
    pub(super) fn place(
        &mut self,
        machine: &Machine<Purpose>,
        step: Step,
        region: RegionId,
        page: Page,
    ) -> Result<(), RunError> {
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        residency.note_free(&mut self.scratch.free);
        let pages = residency.kv(region);
        let regions = self.workload.regions();
        let layer = regions.layer_of(region).unwrap_or_default();
        let view = PlacementView {
            region,
            layer,
            layers: regions.layers(),
            page,
            page_size: self.page_size,
            page_bytes: pages.page_bytes,
            pages: &pages.count,
            free: &self.scratch.free,
            read: &self.scratch.expected,
            skips: Skips::all(self.workload.window()),
            system: self.system,
        };
        // Where it fits nowhere, the shortage reported is that of the last tier: the one meant to
        // be large.
        let tier = self.decisions.placement.place(&view).unwrap_or(self.system.last_tier());
        // What is placed next in the same stage will be read beside it.
        self.scratch.expected[tier] += pages.page_bytes;
        residency.begin_write(region, page, tier).map_err(|shortage| RunError::OutOfMemory { step, layer, shortage })
    }

    /// A write is complete: its page may be free to move, and a read that waited for it may go.
    pub(super) fn end_write(&mut self, machine: &mut Machine<Purpose>, region: RegionId, token: Token, tier: TierId) {
        let pending = &mut self.writes.pending[region];
        let at = pending.iter().position(|write| (write.token, write.tier) == (token, tier));
        let write = pending.remove(at.expect("a write that completes was pending"));
        for page in write.pages() {
            if !pending.iter().any(|other| other.pages().any(|of_other| of_other == page)) {
                self.moves.end_write(region, page);
            }
        }
        if write.awaited
            && let Some(read) = self.writes.release(write.tier)
        {
            machine.admit(read);
        }
    }
}
