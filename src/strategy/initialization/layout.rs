//! The layout that an initialization fills.

use super::ExpertOrder;
use crate::memory::{Ledger, MemorySystem, PerTier, Shortage, TierId};
use crate::units::{Bytes, Page, PageSize, RegionId, Table};
use crate::workload::{Lengths, Regions, Stage, StageReads, TokenSet, Weights};
use std::ops::Range;

/// Where weights, state and prefill KV lie: empty at first, filled by an
/// [`Initialization`](super::Initialization). Weights and state are divisible to the byte; KV is
/// put in pages, those that the attention window of the first step overlaps.
///
/// Experts that are units are asked for in bytes, as weights are: so each initialization lays them
/// out, and says how many lie where. [`finish`](Layout::finish) makes whole experts of the bytes,
/// and an [`ExpertOrder`] says which ones lie on the faster tiers.
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
    /// Of each region that is kept in pages.
    page_bytes: Table<RegionId, Bytes>,
    /// What of each layer's experts is to lie on each tier, in bytes.
    experts: Vec<PerTier<Bytes>>,
    order: ExpertOrder,
    laid_out: LaidOut,
}

/// What was laid out.
#[derive(Clone, Debug)]
pub struct LaidOut {
    /// For each region of weights or state, in the order of their ids, its stored bytes on each
    /// tier.
    pub divided: Vec<PerTier<Bytes>>,
    /// For each region that is kept in pages, the pages on each tier.
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
        let empty =
            |(lengths, size): (Lengths, PageSize)| PerTier::filled(tiers, TokenSet::new(size.pages(lengths.most)));
        let of_tokens =
            |tokens: usize, window: usize| tokens.saturating_sub(window) / size.tokens()..size.pages(tokens);
        let all = || regions.lengths().zip(regions.windows()).take(regions.kv_len());
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
            page_bytes: regions
                .token_bytes()
                .zip(regions.page_sizes(size))
                .map(|(bytes, size)| bytes.times(size.tokens() as u64))
                .collect(),
            experts: vec![PerTier::filled(tiers, Bytes::ZERO); regions.paged_len() - regions.kv_len()],
            order: ExpertOrder::default(),
            laid_out: LaidOut {
                divided: vec![PerTier::filled(tiers, Bytes::ZERO); regions.len() - regions.paged_len()],
                pages: regions.lengths().zip(regions.page_sizes(size)).map(empty).collect(),
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

    /// What is laid out in bytes, in the order in which a step reads it: weights, state and the
    /// experts that are units.
    #[must_use]
    pub fn divisible(&self) -> Vec<(RegionId, Weights)> {
        self.regions.constant().collect()
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

    /// The same where experts go to the faster tiers in that order.
    #[must_use]
    pub fn with_expert_order(self, order: ExpertOrder) -> Self {
        Self { order, ..self }
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

    /// Puts `bytes` of the stored weights, state or experts of `region` on `tier`.
    ///
    /// # Errors
    /// [`Shortage`] if they do not fit.
    pub fn put_weights(&mut self, region: RegionId, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        self.ledger.store(tier, bytes)?;
        let (kv, paged) = (self.regions.kv_len(), self.regions.paged_len());
        if self.regions.is_experts(region) {
            self.experts[region.index() - kv][tier] += bytes;
        } else {
            self.laid_out.divided[region.index() - paged][tier] += bytes;
        }
        Ok(())
    }

    /// Puts `bytes` of the stored weights, state or experts of `region` on the tiers from `tier`
    /// on, each while it has room; what fits on none of them, on faster ones.
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

    /// What was laid out, with whole experts in the place of bytes of them.
    ///
    /// # Errors
    /// [`Shortage`] if an expert fits nowhere.
    pub fn finish(mut self) -> Result<LaidOut, Shortage> {
        self.put_experts()?;
        Ok(self.laid_out)
    }

    /// Makes whole experts of the bytes that were put on each tier. A faster tier gets as many as
    /// fit into its bytes and what the layers before it have left over of theirs; what is left of a
    /// layer goes to the last tier, or to where there is room.
    fn put_experts(&mut self) -> Result<(), Shortage> {
        let experts = std::mem::take(&mut self.experts);
        for (tier, bytes) in experts.iter().flat_map(|of_layer| of_layer.iter()) {
            self.ledger.discard(tier, *bytes);
        }
        let last = self.system.last_tier();
        let mut left_over = PerTier::filled(self.system.tiers().len(), Bytes::ZERO);
        let regions = (self.regions.kv_len()..self.regions.paged_len()).map(RegionId::new);
        for (region, asked) in regions.zip(&experts) {
            let Some(of) = self.regions.experts(region).filter(|of| of.count > 0) else { continue };
            let mut order = self.order.of(self.regions.layer_of(region).unwrap_or_default(), of.count);
            for (tier, asked) in asked.iter().filter(|(tier, _)| *tier != last) {
                let bytes = *asked + left_over[tier];
                let whole = bytes.whole_units(of.expert_bytes).min(order.len() as u64);
                left_over[tier] = bytes - of.expert_bytes.times(whole);
                self.ledger.store(tier, of.expert_bytes.times(whole))?;
                self.laid_out.pages[region.index()][tier].extend(order.drain(..whole as usize));
            }
            // Least wanted on a fast tier first.
            for expert in order.into_iter().rev() {
                self.spill_page(region, Page::new(expert), last)?;
            }
        }
        Ok(())
    }
}
