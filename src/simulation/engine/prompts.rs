//! The KV of prompts: computed in chunks and written, or there when its sequence begins.
//!
//! A chunk appends many tokens to a region at once. The placement chooses the tier of each page;
//! all pages that go to one tier are one write. A prompt that is given *arrives*: the placement
//! chooses its tiers, and nothing is carried.

use super::Run;
use super::completions::Purpose;
use super::writes::PendingWrite;
use crate::memory::{Machine, Path, Pattern, PerTier, Reach, Request, ResidencyKind, TierId, TransferClass, Urgency};
use crate::simulation::idealization::Ideal;
use crate::simulation::outcome::RunError;
use crate::simulation::probe::Probe;
use crate::units::{Page, RegionId, StageId, Step, Token};
use crate::workload::{Amount, Arrival, Stage, StepPlan, Workload};

/// What a part of a prompt writes to one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkWrite {
    first: Token,
    pages: Vec<Page>,
    tokens: usize,
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Issues the writes of a part of a prompt, one for each tier. Tokens that later ones of the
    /// same part push out of the attention window are not stored.
    pub(super) fn append_chunk(
        &mut self,
        machine: &mut Machine<Purpose>,
        step: Step,
        region: RegionId,
        tokens: usize,
    ) -> Result<(), RunError> {
        let (now, size) = (machine.now(), self.page_size);
        let residency = self.moves.residency_at(now, machine.fabric());
        let first = residency.kv(region).tokens;
        let end = first + tokens;
        let kept = first.max(residency.slide_to(region, end));
        let mut writes = std::mem::replace(&mut self.scratch.chunk, PerTier::filled(1, ChunkWrite::default()));
        writes.values_mut().for_each(|write| (write.tokens, write.pages) = (0, Vec::new()));
        for page in size.page_of(Token::new(kept)).index()..size.pages(end) {
            let page = Page::new(page);
            let residency = self.moves.residency_at(now, machine.fabric());
            if residency.tier_of(region, page).is_none() {
                self.place(machine, step, region, page)?;
            }
            let residency = self.moves.residency_at(now, machine.fabric());
            let tier = residency.tier_of(region, page).expect("a page that was placed lies on a tier");
            let of_page = size.tokens_of(page, end);
            let written = of_page.start.max(kept)..of_page.end;
            let write = &mut writes[tier];
            if write.tokens == 0 {
                write.first = Token::new(written.start);
            }
            write.tokens += written.len();
            write.pages.push(page);
        }
        let residency = self.moves.residency_at(now, machine.fabric());
        residency.grow(region, tokens);
        // An open page that has left the window is written no further.
        let pending = &self.writes.pending[region];
        let is_left = |page: &Page| {
            *page < size.page_of(Token::new(kept)) && !pending.iter().any(|write| write.pages().any(|of| of == *page))
        };
        let left: Vec<Page> = residency.kv(region).being_written.iter().copied().filter(is_left).collect();
        residency.end_writes(region, left.into_iter());
        if self.scenario.idealization().has(Ideal::FreeWrites) {
            let full = (size.page_of(Token::new(kept)).index()..end / size.tokens()).map(Page::new);
            residency.end_writes(region, full);
            self.scratch.chunk = writes;
            return Ok(());
        }
        let last = self.system.last_tier();
        let is_inclusive = self.system.residency() == ResidencyKind::Inclusive;
        for (tier, write) in writes.iter_mut().filter(|(_, write)| write.tokens > 0) {
            let pages = std::mem::take(&mut write.pages);
            let copy = is_inclusive && tier != last;
            for to in [Some(tier), copy.then_some(last)].into_iter().flatten() {
                self.write_chunk(machine, (region, to), write.first, &pages, write.tokens);
            }
        }
        self.scratch.chunk = writes;
        Ok(())
    }

    /// Issues the write of so many tokens on `pages`, from `token` on.
    fn write_chunk(
        &mut self,
        machine: &mut Machine<Purpose>,
        (region, tier): (RegionId, TierId),
        token: Token,
        pages: &[Page],
        tokens: usize,
    ) {
        let of_region = self.moves.residency_at(machine.now(), machine.fabric()).kv(region);
        let (bytes, page_bytes) = (of_region.token_bytes.times(tokens as u64), of_region.page_bytes);
        let parts = self.paging.write_parts(self.system, (tier, region), pages, bytes);
        let transfer = machine.issue(Request {
            class: TransferClass::KvWrite,
            path: parts.as_deref().map_or(Path::Even(self.system.even_writes(tier)), Path::Parts),
            bytes,
            granule: self.paging.granule(tier, page_bytes).min(bytes),
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: Purpose::Write { region, token, tier },
        });
        let (page, others) = (pages[0], pages[1..].to_vec());
        self.writes.pending[region].push(PendingWrite { token, page, others, tier, transfer, awaited: false });
    }

    /// The prompt of a sequence that begins is there: its pages go where the placement wants them.
    pub(super) fn arrive(
        &mut self,
        machine: &Machine<Purpose>,
        plan: &StepPlan,
        arrival: Arrival,
    ) -> Result<(), RunError> {
        let (now, size) = (machine.now(), self.page_size);
        self.expect_reads(machine, plan, arrival.region);
        let residency = self.moves.residency_at(now, machine.fabric());
        let kept = residency.slide_to(arrival.region, arrival.tokens);
        for page in size.page_of(Token::new(kept)).index()..size.pages(arrival.tokens) {
            self.place(machine, plan.step, arrival.region, Page::new(page))?;
        }
        let residency = self.moves.residency_at(now, machine.fabric());
        residency.grow(arrival.region, arrival.tokens);
        let full = (size.page_of(Token::new(kept)).index()..arrival.tokens / size.tokens()).map(Page::new);
        residency.end_writes(arrival.region, full);
        Ok(())
    }

    /// What the stage that reads `region` is expected to read from each tier: all that lies there.
    fn expect_reads(&mut self, machine: &Machine<Purpose>, plan: &StepPlan, region: RegionId) {
        let reads_it = |stage: &Stage| stage.reads.iter().any(|read| read.region == region);
        let Some(index) = plan.stages.iter().position(reads_it) else { return };
        let id = StageId::new(index);
        self.scratch.expected.copy_from(self.reads.constant(id));
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        for read in plan.stages[index].reads.iter().filter(|read| matches!(read.amount, Amount::Unskipped { .. })) {
            let pages = residency.kv(read.region);
            for (tier, expected) in self.scratch.expected.iter_mut() {
                *expected += pages.page_bytes.times(pages.count[tier] as u64);
            }
        }
    }
}
