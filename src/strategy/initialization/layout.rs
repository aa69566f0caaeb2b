//! The layout that an initialization fills.

use crate::memory::{Ledger, MemorySystem, PerTier, Shortage, TierId};
use crate::units::{Bytes, Page, PageSize, RegionId, Table};
use crate::workload::{Lengths, Regions, Stage, StageReads, TokenSet, Weights};
use std::ops::Range;

/// Where weights, state and prefill KV lie: empty at first, filled by an
/// [`Initialization`](super::Initialization). Weights and state are divisible to the byte; KV is
/// put in pages, those that the attention window of the first step overlaps.
pub struct Layout<'a> {
    regions: &'a Regions,
    stages: &'a [Stage],
    system: &'a MemorySystem,
    ledger: &'a mut Ledger,
    /// How many pages the longest prompt takes.
    prefill: usize,
    /// The pages that each KV region has before step 0.
    live: Table<RegionId, Range<usize>>,
    /// How many it has when the prompts are computed of the sequences that begin with the run.
    expected: Table<RegionId, usize>,
    read_share: f64,
    /// Of each KV region.
    page_bytes: Table<RegionId, Bytes>,
    laid_out: LaidOut,
}

/// What was laid out.
#[derive(Clone, Debug)]
pub struct LaidOut {
    /// For each region of weights or state, in the order of their ids, its stored bytes on each
    /// tier.
    pub divided: Vec<PerTier<Bytes>>,
    /// For each KV region, the pages on each tier.
    pub pages: Vec<PerTier<TokenSet>>,
}

impl<'a> Layout<'a> {
    /// Nothing laid out yet of `regions`, which a step reads in `stages`, in pages of `size`.
    #[must_use]
    pub fn new(
        regions: &'a Regions,
        stages: &'a [Stage],
        system: &'a MemorySystem,
        ledger: &'a mut Ledger,
        size: PageSize,
    ) -> Self {
        let tiers = system.tiers().len();
        let empty = |lengths: Lengths| PerTier::filled(tiers, TokenSet::new(size.pages(lengths.most)));
        let of_tokens =
            |tokens: usize, window: usize| tokens.saturating_sub(window) / size.tokens()..size.pages(tokens);
        let all = || regions.lengths().zip(regions.windows());
        let live: Table<RegionId, Range<usize>> =
            all().map(|(lengths, window)| of_tokens(lengths.at_start, window)).collect();
        let expected = all().map(|(lengths, window)| of_tokens(lengths.expected, window).len()).collect();
        Self {
            regions,
            stages,
            system,
            ledger,
            prefill: live.iter().map(|live| live.end).max().unwrap_or(0),
            live,
            expected,
            read_share: 1.0,
            page_bytes: regions.token_bytes().map(|bytes| bytes.times(size.tokens() as u64)).collect(),
            laid_out: LaidOut {
                divided: vec![PerTier::filled(tiers, Bytes::ZERO); regions.len() - regions.kv_len()],
                pages: regions.lengths().map(empty).collect(),
            },
        }
    }

    /// The memory system.
    #[must_use]
    pub fn system(&self) -> &'a MemorySystem {
        self.system
    }

    /// Everything that is laid out.
    pub(super) fn regions(&self) -> &'a Regions {
        self.regions
    }

    /// The regions of weights and state, in the order in which a step reads them.
    #[must_use]
    pub fn divisible(&self) -> Vec<(RegionId, Weights)> {
        self.regions.divisible().collect()
    }

    /// The KV regions.
    pub fn kv(&self) -> impl DoubleEndedIterator<Item = RegionId> + ExactSizeIterator + Clone + use<> {
        self.regions.kv()
    }

    /// What each stage of a step reads, in the order in which they run.
    #[must_use]
    pub fn stages(&self) -> Vec<StageReads> {
        self.stages.iter().map(|stage| stage.reads_of(self.regions)).collect()
    }

    /// The size of a page of a KV region.
    #[must_use]
    pub fn page_bytes(&self, region: RegionId) -> Bytes {
        self.page_bytes[region]
    }

    /// How many pages the longest prompt takes that is there before step 0.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.prefill
    }

    /// The pages that a KV region has before step 0: the last ones of its prompt, as many as its
    /// attention window overlaps.
    #[must_use]
    pub fn live(&self, region: RegionId) -> Range<usize> {
        self.live[region].clone()
    }

    /// How many pages a KV region has when the prompts are computed of all sequences that begin
    /// with the run: as many as are [live](Self::live) where prompts are given. A layout that keeps
    /// room for KV reckons with these. Sequences that begin later have none: they take the place of
    /// others, as a rule.
    #[must_use]
    pub fn expected(&self, region: RegionId) -> usize {
        self.expected[region]
    }

    /// The same where the trace's first steps read that share of the pages.
    #[must_use]
    pub fn with_read_share(self, share: f64) -> Self {
        Self { read_share: share, ..self }
    }

    /// The share of the pages that the trace reads in its first steps, between 0 and 1. An
    /// initialization that asks for it returns true from
    /// [`uses_read_share`](super::Initialization::uses_read_share); for others it is 1.
    #[must_use]
    pub fn read_share(&self) -> f64 {
        self.read_share
    }

    /// What still fits on `tier`.
    #[must_use]
    pub fn free(&self, tier: TierId) -> Bytes {
        self.ledger.room(tier)
    }

    /// Puts `bytes` of the stored weights or state of `region` on `tier`.
    ///
    /// # Errors
    /// [`Shortage`] if they do not fit.
    pub fn put_weights(&mut self, region: RegionId, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        self.ledger.store(tier, bytes)?;
        self.laid_out.divided[region.index() - self.regions.kv_len()][tier] += bytes;
        Ok(())
    }

    /// Puts `bytes` of the stored weights or state of `region` on the tiers from `tier` on, each
    /// while it has room; what fits on none of them, on faster ones.
    ///
    /// # Errors
    /// [`Shortage`] if they do not all fit.
    pub fn spill_weights(&mut self, region: RegionId, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        let mut left = bytes;
        for tier in self.tiers_from(tier) {
            let part = left.min(self.free(tier));
            self.put_weights(region, tier, part)?;
            left -= part;
        }
        // Reported as a shortage of the last tier, the one meant to be large.
        self.put_weights(region, self.system.last_tier(), left)
    }

    /// Puts a page of `region` on the first tier from `tier` on that has room, or else on a faster
    /// one.
    ///
    /// # Errors
    /// [`Shortage`] if none has.
    pub fn spill_page(&mut self, region: RegionId, page: Page, tier: TierId) -> Result<(), Shortage> {
        let bytes = self.page_bytes[region];
        let fitting = self.tiers_from(tier).find(|&tier| self.free(tier) >= bytes);
        let tier = fitting.unwrap_or(self.system.last_tier());
        self.ledger.store(tier, bytes)?;
        self.laid_out.pages[region.index()][tier].insert(page.index());
        Ok(())
    }

    /// As [`spill_page`](Self::spill_page) of each page that `region` has, the first one first.
    /// O(pages / 64).
    ///
    /// # Errors
    /// [`Shortage`] if one of them fits nowhere.
    pub fn spill_region(&mut self, region: RegionId, tier: TierId) -> Result<(), Shortage> {
        let (bytes, mut left) = (self.page_bytes[region], self.live(region));
        // What a tier has no more room for, it has none for later: rooms only shrink.
        for tier in self.tiers_from(tier) {
            let room = self.free(tier).get().checked_div(bytes.get()).unwrap_or(u64::MAX);
            let here = left.start..left.start + usize::try_from(room).unwrap_or(usize::MAX).min(left.len());
            self.ledger.store(tier, bytes.times(here.len() as u64))?;
            left.start = here.end;
            self.laid_out.pages[region.index()][tier].insert_all(here);
        }
        left.try_for_each(|page| self.spill_page(region, Page::new(page), tier))
    }

    /// The tiers from `tier` on, then the faster ones.
    pub(super) fn tiers_from(&self, tier: TierId) -> impl Iterator<Item = TierId> + use<> {
        (tier.index()..self.system.tiers().len()).chain(0..tier.index()).map(TierId::new)
    }

    /// Whether each tier has room for so many bytes more, and the last for the copies of all where
    /// it has one of everything.
    pub(super) fn fits(&self, bytes: &PerTier<Bytes>) -> bool {
        let all = || bytes.values().copied().sum();
        let on = |tier: TierId| if self.ledger.has_copy(tier) { all() } else { bytes[tier] };
        bytes.ids().all(|tier| on(tier) <= self.ledger.free(tier))
    }

    /// Takes `bytes` for pages on each tier.
    pub(super) fn store_pages(&mut self, bytes: &PerTier<Bytes>) -> Result<(), Shortage> {
        bytes.iter().try_for_each(|(tier, bytes)| self.ledger.store(tier, *bytes))
    }

    /// The sets of pages of a KV region, by tier.
    pub(super) fn pages_mut(&mut self, region: RegionId) -> &mut PerTier<TokenSet> {
        &mut self.laid_out.pages[region.index()]
    }

    /// What was laid out.
    #[must_use]
    pub fn finish(self) -> LaidOut {
        self.laid_out
    }
}
