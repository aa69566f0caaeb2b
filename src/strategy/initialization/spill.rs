//! Laying out the pages of all KV regions, many at once.
//!
//! The order matters where tiers run out of room: page by page, of each page region by region, each
//! on the first tier that has room from the one where it is to go. Ten thousands of regions have
//! hundreds of millions of pages, so as many as possible are put together: while all pages of a
//! stretch fit on the tiers where they are to go, or on the next where one is full, no order
//! matters, and each region takes over the words of its [`Pattern`]. Of the pages after it, one in
//! each region is put one by one; then a tier has become too full for some size of page. That
//! happens at most once for each tier and size.

use super::Layout;
use crate::memory::{PerTier, Shortage, TierId};
use crate::units::{Bytes, Page, RegionId, Table};
use crate::workload::TokenSet;
use std::collections::BTreeMap;
use std::ops::Range;

/// The tier where each page of a KV region is to go.
#[derive(Clone, Debug)]
pub struct Pattern(PerTier<TokenSet>);

impl Pattern {
    /// A page goes to `tier`. Each page goes to one tier at most.
    pub fn put(&mut self, page: Page, tier: TierId) {
        self.0[tier].insert(page.index());
    }

    /// All pages of a range go to `tier`.
    pub fn put_all(&mut self, pages: Range<usize>, tier: TierId) {
        self.0[tier].insert_all(pages);
    }

    /// Where a page goes, if it goes anywhere.
    fn tier_of(&self, page: Page) -> Option<TierId> {
        self.0.iter().find(|(_, pages)| pages.contains(page.index())).map(|(tier, _)| tier)
    }

    /// That part of a range of pages which it may have.
    fn clamp(&self, pages: &Range<usize>) -> Range<usize> {
        pages.start..pages.end.min(self.0[TierId::HBM].range()).max(pages.start)
    }
}

impl Layout<'_> {
    /// Puts pages of all KV regions: page by page, of each page region by region, each as
    /// [`spill_page`](Self::spill_page) does. Where they are to go is a [`Pattern`], which
    /// `fill` fills for a region and the pages that it [has](Self::live); it is asked once for all
    /// regions that have the same pages and the same `kind`.
    ///
    /// Pages that all fit where they are to go are put at once. O(kinds x pages + regions x pages /
    /// 64), whatever fits where.
    ///
    /// # Errors
    /// [`Shortage`] if no tier has room for one of them.
    pub fn spill_pages<K: Ord>(
        &mut self,
        kind: impl Fn(RegionId) -> K,
        fill: impl FnMut(RegionId, Range<usize>, &mut Pattern),
    ) -> Result<(), Shortage> {
        Spill::new(self, kind, fill).all(self)
    }
}

/// Regions that are alike: the same pattern, of pages of the same size.
struct Alike {
    pattern: Pattern,
    page_bytes: Bytes,
    regions: u64,
    /// By the tier where a page is to go, the one where it goes: the first that has room for one.
    goes: PerTier<Option<TierId>>,
}

/// What is to be laid out.
struct Spill {
    kinds: Vec<Alike>,
    kind_of: Table<RegionId, usize>,
}

impl Spill {
    /// Finds the regions that are alike: those that have the same pages and the same `kind`.
    pub fn new<K: Ord>(
        layout: &Layout<'_>,
        kind: impl Fn(RegionId) -> K,
        mut fill: impl FnMut(RegionId, Range<usize>, &mut Pattern),
    ) -> Self {
        let tiers = layout.system().tiers().len();
        let mut known = BTreeMap::new();
        let mut kinds: Vec<Alike> = Vec::new();
        let mut of_region = |region: RegionId| {
            let (live, page_bytes) = (layout.live(region), layout.page_bytes(region));
            let of = *known.entry((live.start, live.end, page_bytes, kind(region))).or_insert_with(|| {
                let mut pattern = Pattern(PerTier::filled(tiers, TokenSet::new(live.end)));
                fill(region, live, &mut pattern);
                kinds.push(Alike { pattern, page_bytes, regions: 0, goes: PerTier::filled(tiers, None) });
                kinds.len() - 1
            });
            kinds[of].regions += 1;
            of
        };
        let kind_of = layout.kv().map(&mut of_region).collect();
        Self { kinds, kind_of }
    }

    /// Lays all of it out.
    pub fn all(mut self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let mut left = 0..layout.prefill();
        while !left.is_empty() {
            self.find_tiers(layout);
            let end = self.fitting(layout, &left);
            self.put(layout, &(left.start..end))?;
            left.start = end;
            if let Some(page) = left.next() {
                for (region, kind) in self.kind_of.entries() {
                    if let Some(tier) = self.kinds[*kind].pattern.tier_of(Page::new(page)) {
                        layout.spill_page(region, Page::new(page), tier)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the tiers that have room for a page.
    fn find_tiers(&mut self, layout: &Layout<'_>) {
        for Alike { page_bytes, goes, .. } in &mut self.kinds {
            for (wanted, tier) in goes.iter_mut() {
                *tier = layout.tiers_from(wanted).find(|tier| layout.free(*tier) >= *page_bytes);
            }
        }
    }

    /// Up to which page of a range all fit where they go. O(kinds x pages / 64 x log(pages)).
    fn fitting(&self, layout: &Layout<'_>, pages: &Range<usize>) -> usize {
        let fits = |end: usize| self.bytes(&(pages.start..end)).is_some_and(|bytes| layout.fits(&bytes));
        if fits(pages.end) {
            return pages.end;
        }
        let (mut fitting, mut too_many) = (pages.start, pages.end);
        while too_many - fitting > 1 {
            let middle = fitting + (too_many - fitting) / 2;
            if fits(middle) {
                fitting = middle;
            } else {
                too_many = middle;
            }
        }
        fitting
    }

    /// The bytes of a range of pages on each tier; `None` where some go nowhere.
    fn bytes(&self, pages: &Range<usize>) -> Option<PerTier<Bytes>> {
        let mut all: Option<PerTier<Bytes>> = None;
        for Alike { pattern, page_bytes, regions, goes } in &self.kinds {
            let all = all.get_or_insert_with(|| goes.map(|_| Bytes::ZERO));
            for (wanted, of_tier) in pattern.0.iter() {
                let pages = of_tier.count_in(pattern.clamp(pages)) as u64;
                if pages > 0 {
                    all[goes[wanted]?] += page_bytes.times(pages * regions);
                }
            }
        }
        all
    }

    /// Puts a range of pages that all fit where they go.
    fn put(&self, layout: &mut Layout<'_>, pages: &Range<usize>) -> Result<(), Shortage> {
        let Some(bytes) = self.bytes(pages) else { return Ok(()) };
        layout.store_pages(&bytes)?;
        for (region, kind) in self.kind_of.entries() {
            let Alike { pattern, goes, .. } = &self.kinds[*kind];
            let here = pattern.clamp(pages);
            for (wanted, of_tier) in pattern.0.iter() {
                if let Some(tier) = goes[wanted] {
                    layout.pages_mut(region)[tier].insert_from(of_tier, here.clone());
                }
            }
        }
        Ok(())
    }
}
