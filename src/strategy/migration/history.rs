use crate::units::{RegionId, Table};
use crate::workload::{Skipped, TokenSet};
use std::num::NonZeroU32;

/// What the last steps skipped, the present one included. A step that skips nothing of a region
/// takes no set.
pub struct History {
    window: usize,
    regions: Table<RegionId, OfRegion>,
}

#[derive(Default)]
struct OfRegion {
    steps: Vec<Noted>,
    /// Where the present step is.
    newest: usize,
}

/// What is known of a step.
struct Noted {
    /// What it skipped; unspecified where that is nothing.
    set: TokenSet,
    is_empty: bool,
    counted: Counted,
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

impl Noted {
    fn set(&self) -> Option<&TokenSet> {
        (!self.is_empty).then_some(&self.set)
    }
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

    /// The memory that a region of so many words takes in a run of so many steps: with no words
    /// where nothing of it is ever skipped.
    pub fn memory(&self, words: usize, steps: usize) -> u64 {
        // The list of steps grows by doubling.
        (self.window.min(steps.next_power_of_two()) as u64).saturating_mul((words * 8 + 2 * size_of::<Noted>()) as u64)
    }

    /// The present step has skipped `skipped` of `region`. Calls `forget` with the set that leaves
    /// the window for it, `None` if it is empty.
    pub fn note(
        &mut self,
        region: RegionId,
        skipped: Skipped<'_>,
        counted: Counted,
        forget: impl FnOnce(Option<&TokenSet>),
    ) {
        let window = self.window;
        let of_region = self.regions.or_insert_with(region, OfRegion::default);
        if of_region.steps.len() < window {
            of_region.newest = of_region.steps.len();
            of_region.steps.push(Noted { set: TokenSet::new(0), is_empty: true, counted });
        } else {
            of_region.newest = (of_region.newest + 1) % window;
            forget(of_region.steps[of_region.newest].set());
        }
        let Noted { set, is_empty, counted: of_step } = &mut of_region.steps[of_region.newest];
        (*is_empty, *of_step) = (skipped.count == 0, counted);
        if *is_empty {
            return;
        }
        if set.range() == skipped.pages.range() {
            set.copy_from(skipped.pages);
        } else {
            set.clone_from(skipped.pages);
        }
    }

    /// The region was freed: its past is no one's.
    pub fn forget(&mut self, region: RegionId) {
        if self.regions.get(region).is_some() {
            self.regions[region] = OfRegion::default();
        }
    }

    /// What was skipped of `region` so many steps ago, `None` for nothing, and what was counted of
    /// it.
    pub fn step(&self, region: RegionId, ago: usize) -> Option<(Option<&TokenSet>, Counted)> {
        let OfRegion { steps, newest } = self.regions.get(region)?;
        let index = (newest + self.window - ago.min(self.window)) % self.window;
        (ago < steps.len()).then(|| (steps[index].set(), steps[index].counted))
    }
}
