//! What a cache values: by last use, by number of uses, by arrival.

use super::below;
use crate::memory::TierId;
use crate::strategy::knowledge::{Knows, Past};
use crate::strategy::migration::MigrationView;
use crate::strategy::migration::select::tokens;
use crate::units::RegionId;
use crate::workload::tokens::{WORD_BITS, Word};

/// What a token is worth to a cache: a number per token, brought up to date once per layer and
/// step.
pub trait Order {
    /// What it knows of the skip sets.
    type Knows: Knows;

    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize {
        0
    }

    /// The worth of a token that has not been used.
    fn initial(&self) -> u32 {
        0
    }

    /// Finds the worth of the tokens of `region`, which has decided nothing yet and has none from
    /// `end` on.
    fn begin(&mut self, _view: &MigrationView<'_, Self::Knows>, _region: RegionId, _end: usize, _worth: &mut [u32]) {}

    /// Takes note of the present step, the run's `step`th from 1 on. Tokens from `known` on were
    /// written in it.
    fn note(&mut self, view: &MigrationView<'_, Self::Knows>, worth: &mut [u32], step: u32, known: usize);

    /// These pages come into HBM in that step of the run, from 1 on, before it reads the region.
    fn prefetched(&self, _worth: &mut [u32], _step: u32, _pages: &[u32]) {}

    /// Ranks a token of `region` by its worth: a lower rank is evicted first. Of two regions'
    /// tokens that were used in one step, that of the region whose turn is earlier has the lower
    /// rank.
    fn rank(&self, worth: u32, region: RegionId, turns: Turns) -> u64;

    /// Whether a miss of that rank is to come into the cache at all.
    fn admits(&self, _rank: u64) -> bool {
        true
    }
}

/// The words of the tokens that the present step used: those that it read and those that it wrote.
pub(super) fn used<'a, K>(view: &MigrationView<'a, K>) -> impl Iterator<Item = Word> + use<'a, K> {
    let (skipped, pages) = (view.skipped().pages.words(), view.pages);
    (0..pages.div_ceil(WORD_BITS)).map(move |index| !skipped[index] & below(pages, index))
}

/// Calls `use_of` with each token of a set given by its words.
fn each(words: impl Iterator<Item = Word>, mut use_of: impl FnMut(usize)) {
    for (index, word) in words.enumerate() {
        tokens(&[word]).for_each(|bit| use_of(index * WORD_BITS + bit));
    }
}

/// In which order a step comes to the regions: layer by layer, of each layer sequence by sequence.
#[derive(Clone, Copy)]
pub struct Turns {
    layers: usize,
    sequences: usize,
}

impl Turns {
    /// Those of the regions that `view` sees.
    pub(super) fn of<K>(view: &MigrationView<'_, K>) -> Self {
        Self { layers: view.layers, sequences: view.regions.count().div_ceil(view.layers) }
    }

    /// The turn of a region in a step, of all turns of a run.
    pub(super) fn of_region(self, step: u32, region: RegionId) -> u64 {
        let Self { layers, sequences } = self;
        let turn = region.index() % layers * sequences + region.index() / layers;
        u64::from(step) * (layers * sequences) as u64 + turn as u64
    }
}

/// Evicts the token that was used longest ago. Worth: the step of the last use.
pub struct Lru;

impl Order for Lru {
    type Knows = Past;

    fn note(&mut self, view: &MigrationView<'_, Past>, worth: &mut [u32], step: u32, _known: usize) {
        each(used(view), |token| worth[token] = step);
    }

    fn rank(&self, worth: u32, region: RegionId, turns: Turns) -> u64 {
        turns.of_region(worth, region)
    }
}

/// Evicts, of the tokens that the last step has not used, the one that the fewest steps have used.
/// Worth: the number of uses, with a bit above it for a use in the last step.
pub struct Lfu;

const JUST_USED: u32 = 1 << 31;

impl Order for Lfu {
    type Knows = Past;

    fn note(&mut self, view: &MigrationView<'_, Past>, worth: &mut [u32], _step: u32, _known: usize) {
        worth[..view.pages].iter_mut().for_each(|worth| *worth &= !JUST_USED);
        each(used(view), |token| worth[token] = (worth[token] + 1) | JUST_USED);
    }

    fn rank(&self, worth: u32, _region: RegionId, _turns: Turns) -> u64 {
        u64::from(worth)
    }
}

/// Evicts the token that has been in HBM longest, used or not. Worth: the step that brought it
/// there.
pub struct Fifo;

impl Order for Fifo {
    type Knows = Past;

    fn note(&mut self, view: &MigrationView<'_, Past>, worth: &mut [u32], step: u32, known: usize) {
        // A miss comes in now, if it does.
        let resident = view.home[TierId::HBM].words();
        each(used(view).zip(resident).map(|(used, resident)| used & !resident), |token| worth[token] = step);
        worth[known..view.pages].fill(step);
    }

    fn prefetched(&self, worth: &mut [u32], step: u32, pages: &[u32]) {
        pages.iter().for_each(|page| worth[*page as usize] = step);
    }

    fn rank(&self, worth: u32, region: RegionId, turns: Turns) -> u64 {
        turns.of_region(worth, region)
    }
}
