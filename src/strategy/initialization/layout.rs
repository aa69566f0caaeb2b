//! The layout that an initialization fills.

use crate::memory::{Ledger, MemorySystem, PerTier, ResidencyKind, Shortage, TierId};
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
        let live = |(Lengths { at_start, .. }, window): (Lengths, usize)| {
            at_start.saturating_sub(window) / size.tokens()..size.pages(at_start)
        };
        let live: Table<RegionId, Range<usize>> = regions.lengths().zip(regions.windows()).map(live).collect();
        Self {
            regions,
            stages,
            system,
            ledger,
            prefill: live.iter().map(|live| live.end).max().unwrap_or(0),
            live,
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

    /// The different [`live`](Self::live) ranges, and for each KV region which of them it has.
    #[must_use]
    pub fn live_ranges(&self) -> (Vec<Range<usize>>, Table<RegionId, usize>) {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let of_region = |live: &Range<usize>| {
            ranges.iter().position(|known| known == live).unwrap_or_else(|| {
                ranges.push(live.clone());
                ranges.len() - 1
            })
        };
        let of = self.live.iter().map(of_region).collect();
        (ranges, of)
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

    /// As [`spill_page`](Self::spill_page) for `page` of each KV region in turn that
    /// [has](Self::live) it, which goes to the tier that `tier` returns.
    ///
    /// # Errors
    /// [`Shortage`] if no tier has room for one of them.
    pub fn spill_page_of_regions(&mut self, page: Page, tier: impl Fn(RegionId) -> TierId) -> Result<(), Shortage> {
        let mut wanted = [Bytes::ZERO; MemorySystem::MAX_TIERS];
        let has_page = |live: &Range<usize>| live.contains(&page.index());
        for ((region, bytes), _) in self.page_bytes.entries().zip(&self.live).filter(|(_, live)| has_page(live)) {
            wanted[tier(region).index()] += *bytes;
        }
        // Where all fit where they are to go, none has to look for room.
        let fits = |id: TierId| wanted[id.index()] <= self.free(id);
        if self.system.residency() == ResidencyKind::Exclusive && self.system.tier_ids().all(fits) {
            for id in self.system.tier_ids() {
                self.ledger.store(id, wanted[id.index()])?;
            }
            let regions = self.live.entries().zip(&mut self.laid_out.pages);
            for ((region, _), pages) in regions.filter(|((_, live), _)| has_page(live)) {
                pages[tier(region)].insert(page.index());
            }
            return Ok(());
        }
        for region in self.kv() {
            if has_page(&self.live[region]) {
                self.spill_page(region, page, tier(region))?;
            }
        }
        Ok(())
    }

    /// The tiers from `tier` on, then the faster ones.
    fn tiers_from(&self, tier: TierId) -> impl Iterator<Item = TierId> + use<> {
        (tier.index()..self.system.tiers().len()).chain(0..tier.index()).map(TierId::new)
    }

    /// What was laid out.
    #[must_use]
    pub fn finish(self) -> LaidOut {
        self.laid_out
    }
}
