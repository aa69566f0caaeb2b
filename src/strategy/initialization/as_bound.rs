//! The layout that the bound itself uses, so that what is lost beyond it is no layout's fault.

use super::{Initialization, Layout};
use crate::memory::{PerTier, Shortage, TierId};
use crate::strategy::BoundReads;
use crate::units::{Bytes, Page, RegionId, Table};
use crate::workload::StepSkips;

/// Places everything where the bound of the first step reads it from.
///
/// The bound splits bytes, so a stage's weights are rounded to whole bytes and a layer's KV to
/// whole pages, spread evenly over those that the first step reads. The pages that it skips are
/// read in later steps, so they are split alike while there is room for them; the rest goes to the
/// last tier. O(pages x regions) time where the first step skips some of each region.
pub struct AsBound {
    reads: BoundReads,
    /// What the first step skips.
    skips: StepSkips,
}

impl AsBound {
    /// The layout of a bound that reads so from each tier in a step which skips `skips`.
    #[must_use]
    pub fn new(reads: BoundReads, skips: &StepSkips) -> Self {
        Self { reads, skips: skips.clone() }
    }
}

/// The pages of one region that the first step reads, dealt to the tiers in order of their index.
#[derive(Clone)]
struct Deal {
    /// By tier but the last, how many pages it takes in all.
    takes: Vec<f64>,
    /// How many pages are dealt to all tiers.
    all: f64,
    dealt: f64,
}

impl Deal {
    /// Deals with equal keys deal alike.
    fn key(&self) -> Vec<u64> {
        self.takes.iter().chain([&self.all]).map(|number| number.to_bits()).collect()
    }

    /// Those that the first step reads are dealt.
    fn skip_to_end(&mut self) {
        self.dealt = self.all;
    }

    /// The tier of the next page: the first whose share of the pages dealt so far grows by one.
    fn next(&mut self) -> usize {
        let before = self.dealt;
        self.dealt += 1.0;
        let (mut until, all) = (0.0, self.all.max(1.0));
        let mut below = 0.0;
        for (tier, takes) in self.takes.iter().enumerate() {
            until += takes;
            let (was, is) = ((before * until / all).floor(), (self.dealt * until / all).floor());
            if is - was > below {
                return tier;
            }
            below = is - was;
        }
        self.takes.len()
    }
}

impl Initialization for AsBound {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let tiers = layout.system().tiers().len();
        let last = TierId::new(tiers - 1);
        // The bound has no entry for a region of which nothing is read, such as weights of 0 bytes.
        let nothing = PerTier::filled(tiers, 0.0);
        let reads = |region: RegionId| self.reads.get(region).unwrap_or(&nothing);
        for (region, weights) in layout.divisible() {
            let stored_per_read = weights.stored.as_f64() / weights.read.as_f64().max(1.0);
            let mut left = weights.stored;
            for (tier, read) in reads(region).iter().take(tiers - 1) {
                let part = Bytes::new((read * stored_per_read).round() as u64);
                let part = part.min(left).min(layout.free(tier));
                layout.put_weights(region, tier, part)?;
                left -= part;
            }
            layout.spill_weights(region, last, left)?;
        }
        let deal = |region: RegionId| {
            let page = layout.page_bytes(region).as_f64().max(1.0);
            let takes = reads(region).values().take(tiers - 1).map(|bytes| (bytes / page).round()).collect();
            Deal { takes, all: (layout.live(region).end - self.skips.counts[region.index()]) as f64, dealt: 0.0 }
        };
        let mut deals: Table<RegionId, Deal> = layout.kv().map(deal).collect();
        // Regions of which the first step skips something are not alike.
        let skips_any = |region: RegionId| (self.skips.counts[region.index()] > 0).then_some(region);
        layout.spill_pages(
            |region| (skips_any(region), deals[region].key()),
            |region, live, pattern| {
                let mut deal = deals[region].clone();
                for page in live.filter(|page| !self.is_skipped(region, *page)) {
                    pattern.put(Page::new(page), TierId::new(deal.next()));
                }
            },
        )?;
        self.lay_out_skipped(layout, &mut deals)
    }
}

impl AsBound {
    fn is_skipped(&self, region: RegionId, page: usize) -> bool {
        self.skips.counts[region.index()] > 0 && self.skips.sets[region.index()].contains(page)
    }

    /// Goes on with the pages that the first step skips, when the others are dealt.
    fn lay_out_skipped(&self, layout: &mut Layout<'_>, deals: &mut Table<RegionId, Deal>) -> Result<(), Shortage> {
        let last = layout.system().last_tier();
        let regions: Vec<RegionId> = layout.kv().filter(|region| self.skips.counts[region.index()] > 0).collect();
        regions.iter().for_each(|region| deals[*region].skip_to_end());
        for page in Page::all(if regions.is_empty() { 0 } else { layout.prefill() }) {
            for &region in &regions {
                if layout.live(region).contains(&page.index()) && self.is_skipped(region, page.index()) {
                    let tier = TierId::new(deals[region].next());
                    let has_room = layout.free(tier) >= layout.page_bytes(region);
                    layout.spill_page(region, page, if has_room { tier } else { last })?;
                }
            }
        }
        Ok(())
    }
}
