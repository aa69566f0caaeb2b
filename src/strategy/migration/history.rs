use crate::units::{RegionId, Table};
use crate::workload::TokenSet;
use std::num::NonZeroU32;

/// What the last steps skipped, the present one included.
pub struct History {
    window: usize,
    regions: Table<RegionId, OfRegion>,
}

#[derive(Default)]
struct OfRegion {
    sets: Vec<TokenSet>,
    /// What is counted of each of them.
    counted: Vec<Counted>,
    /// Where the present step is.
    newest: usize,
}

/// What is counted of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// How many pages it skipped that its attention window overlaps.
    pub skipped: usize,
    /// How many of them the attention window of the next step overlaps as well.
    pub staying: usize,
    /// How many pages the next step reads if it skips the same.
    pub read: usize,
}

impl History {
    /// Of so many steps.
    pub fn new(window: NonZeroU32) -> Self {
        Self { window: window.get() as usize, regions: Table::new() }
    }

    /// How many steps are kept.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The memory that a region of so many words takes in a run of so many steps.
    pub fn memory(&self, words: usize, steps: usize) -> u64 {
        (self.window.min(steps) as u64).saturating_mul((words * 8 + 64) as u64)
    }

    /// The present step has skipped `skipped` of `region`. Calls `forget` with the set that leaves
    /// the window for it.
    pub fn note(&mut self, region: RegionId, skipped: &TokenSet, counted: Counted, forget: impl FnOnce(&TokenSet)) {
        let of_region = self.regions.or_insert_with(region, OfRegion::default);
        if of_region.sets.len() < self.window {
            of_region.newest = of_region.sets.len();
            of_region.sets.push(skipped.clone());
            of_region.counted.push(counted);
        } else {
            of_region.newest = (of_region.newest + 1) % self.window;
            let oldest = &mut of_region.sets[of_region.newest];
            forget(oldest);
            oldest.copy_from(skipped);
            of_region.counted[of_region.newest] = counted;
        }
    }

    /// The region was freed: its past is no one's.
    pub fn forget(&mut self, region: RegionId) {
        if self.regions.get(region).is_some() {
            self.regions[region] = OfRegion::default();
        }
    }

    /// What was skipped of `region` so many steps ago, and what was counted of it.
    pub fn step(&self, region: RegionId, ago: usize) -> Option<(&TokenSet, Counted)> {
        let OfRegion { sets, counted, newest } = self.regions.get(region)?;
        let index = (newest + self.window - ago.min(self.window)) % self.window;
        (ago < sets.len()).then(|| (&sets[index], counted[index]))
    }
}
