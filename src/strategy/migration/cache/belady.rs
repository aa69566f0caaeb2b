//! The oracle: the token whose next read is furthest away goes first.

use super::order::{Order, Turns, used};
use super::{below, tokens};
use crate::strategy::knowledge::Future;
use crate::strategy::migration::MigrationView;
use crate::units::RegionId;
use crate::workload::tokens::{WORD_BITS, Word};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::num::NonZeroU32;

/// How far an oracle sees: `All` to the end of the run, or a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Horizon {
    /// To the end of the run. All of its skip sets are in memory then, a bit for each token, layer
    /// and step.
    All,
    /// So many steps.
    Steps(NonZeroU32),
}

impl Horizon {
    /// In steps; without limit for `All`.
    #[must_use]
    pub fn steps(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Steps(steps) => steps.get() as usize,
        }
    }
}

impl Serialize for Horizon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("All"),
            Self::Steps(steps) => steps.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Horizon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of steps from 1 on, or All")]
        enum Written {
            Steps(NonZeroU32),
            Word(Word),
        }
        #[derive(Deserialize)]
        enum Word {
            All,
        }
        match Written::deserialize(deserializer)? {
            Written::Steps(steps) => Ok(Self::Steps(steps)),
            Written::Word(Word::All) => Ok(Self::All),
        }
    }
}

/// Evicts the token whose next read is furthest away (Belady 1966). Worth: the step of the next
/// read, from 0 on, if its sequence decodes in every step until then.
pub struct Belady {
    horizon: Horizon,
    /// Scratch space: words of tokens whose next read is looked for.
    pending: Vec<(usize, Word)>,
}

/// The worth of a token that is not read again, as far as is seen.
const NEVER: u32 = u32::MAX;

impl Belady {
    /// An oracle that sees that far.
    pub fn new(horizon: Horizon) -> Self {
        Self { horizon, pending: Vec::new() }
    }
}

impl Belady {
    /// Finds the next read of each token that is pending, from so many steps ahead of the present
    /// one on.
    fn find(
        &mut self,
        view: &MigrationView<'_, Future>,
        (region, present): (RegionId, u32),
        from: usize,
        worth: &mut [u32],
    ) {
        let mut set = |index: usize, word: Word, step: u32| {
            tokens(&[word]).for_each(|bit| worth[index * WORD_BITS + bit] = step);
        };
        let mut ahead = from;
        while ahead <= self.horizon.steps()
            && !self.pending.is_empty()
            && let Some(skipped) = view.skips.ahead(ahead, region)
        {
            // Of a word whose pages have all left the attention window, none is read again.
            let (skipped, gone) = (skipped.pages.words(), skipped.gone / WORD_BITS);
            self.pending.retain_mut(|(index, word)| {
                let read = *word & !skipped[*index];
                set(*index, read, present + ahead as u32);
                *word &= !read;
                if *index < gone {
                    set(*index, std::mem::take(word), NEVER);
                }
                *word != 0
            });
            ahead += 1;
        }
        self.pending.iter().for_each(|&(index, word)| set(index, word, NEVER));
    }
}

impl Order for Belady {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.horizon.steps()
    }

    fn initial(&self) -> u32 {
        NEVER
    }

    /// The next read of a token may be in the present step, which the layer has yet to compute.
    fn begin(&mut self, view: &MigrationView<'_, Future>, region: RegionId, end: usize, worth: &mut [u32]) {
        self.pending.clear();
        self.pending.extend((0..end.div_ceil(WORD_BITS)).map(|index| (index, below(end, index))));
        self.find(view, (region, view.step.index() as u32), 0, worth);
    }

    /// A token's next read is looked for when it has been used, step by step until it is found:
    /// over a run a token's searches take no more steps than the run has. A token whose next read
    /// was out of sight is found when that step comes into sight.
    fn note(&mut self, view: &MigrationView<'_, Future>, worth: &mut [u32], step: u32, _known: usize) {
        let (present, pages) = (step - 1, view.pages);
        self.pending.clear();
        self.pending.extend(used(view).enumerate().filter(|(_, word)| *word != 0));
        self.find(view, (view.region, present), 1, worth);
        let Some(last) = view.skips.ahead(self.horizon.steps(), view.region) else { return };
        let skipped = last.pages.words();
        for (index, skipped) in skipped.iter().enumerate().take(pages.div_ceil(WORD_BITS)) {
            for bit in tokens(&[!skipped & below(pages, index)]) {
                let worth = &mut worth[index * WORD_BITS + bit];
                *worth = (*worth).min(present + self.horizon.steps() as u32);
            }
        }
    }

    fn rank(&self, worth: u32, region: RegionId, turns: Turns) -> u64 {
        match worth {
            NEVER => 0,
            step => u64::MAX - turns.of_region(step, region),
        }
    }

    /// A token that is never read again is of no use in the cache.
    fn admits(&self, rank: u64) -> bool {
        rank > 0 || self.horizon != Horizon::All
    }
}
