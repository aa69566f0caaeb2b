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
    /// How many pages each of them read.
    read: Vec<usize>,
    /// Where the present step is.
    newest: usize,
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

    /// The present step has skipped `skipped` of `region`, and read `read` pages. Calls `forget`
    /// with the set that leaves the window for it.
    pub fn note(&mut self, region: RegionId, skipped: &TokenSet, read: usize, forget: impl FnOnce(&TokenSet)) {
        let of_region = self.regions.or_insert_with(region, OfRegion::default);
        if of_region.sets.len() < self.window {
            of_region.newest = of_region.sets.len();
            of_region.sets.push(skipped.clone());
            of_region.read.push(read);
        } else {
            of_region.newest = (of_region.newest + 1) % self.window;
            let oldest = &mut of_region.sets[of_region.newest];
            forget(oldest);
            oldest.copy_from(skipped);
            of_region.read[of_region.newest] = read;
        }
    }

    /// The region was freed: its past is no one's.
    pub fn forget(&mut self, region: RegionId) {
        if self.regions.get(region).is_some() {
            self.regions[region] = OfRegion::default();
        }
    }

    /// What was skipped of `region` so many steps ago, and how many pages were read.
    pub fn step(&self, region: RegionId, ago: usize) -> Option<(&TokenSet, usize)> {
        let OfRegion { sets, read, newest } = self.regions.get(region)?;
        let index = (newest + self.window - ago.min(self.window)) % self.window;
        (ago < sets.len()).then(|| (&sets[index], read[index]))
    }
}
