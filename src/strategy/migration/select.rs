//! Selecting pages: those that are skipped in the fewest, or in the most, of the steps that are
//! looked at. All of it works word by word, as sets are large.

use super::{MigrationView, MovePlan};
use crate::memory::TierId;
use crate::units::{Page, Ratio};
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};

/// For each page of a region, in how many of some sets it is. Bit b of a page's count is its bit in
/// plane b: a bit-sliced counter, so that adding a set takes a few operations per word.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// None before a set with a page is added.
    planes: Vec<Vec<Word>>,
    /// How many planes are needed, of how many words.
    shape: (usize, usize),
    /// How many sets are counted at present.
    sets: usize,
}

impl Counts {
    /// All 0, for pages of the same range as a set of `words` words, each in `most` sets at a time
    /// at most.
    pub fn new(words: usize, most: usize) -> Self {
        let planes = (most + 1).next_power_of_two().trailing_zeros() as usize;
        Self { planes: Vec::new(), shape: (planes, words), sets: 0 }
    }

    /// How many words they have.
    pub fn words(&self) -> usize {
        self.shape.1
    }

    /// How many bytes they take.
    pub fn bytes(words: usize, most: usize) -> u64 {
        let planes = u64::from((most + 1).next_power_of_two().trailing_zeros());
        planes * (words * size_of::<Word>()) as u64
    }

    /// One more for each page of a set, which may be `None` for the empty one. O(1) then.
    pub fn add(&mut self, set: Option<&TokenSet>, words: usize) {
        self.sets += 1;
        let Some(set) = set else { return };
        if self.planes.is_empty() {
            self.planes = vec![vec![0; self.shape.1]; self.shape.0];
        }
        for (index, &word) in set.words()[..words].iter().enumerate() {
            let mut carry = word;
            for plane in &mut self.planes {
                if carry == 0 {
                    break;
                }
                let bits = plane[index];
                plane[index] = bits ^ carry;
                carry &= bits;
            }
            debug_assert_eq!(carry, 0, "a page is in more sets than can be counted");
        }
    }

    /// One less for each page of a set, which was added before.
    pub fn subtract(&mut self, set: Option<&TokenSet>, words: usize) {
        self.sets -= 1;
        let Some(set) = set else { return };
        for (index, &word) in set.words()[..words].iter().enumerate() {
            let mut borrow = word;
            for plane in &mut self.planes {
                if borrow == 0 {
                    break;
                }
                let bits = plane[index];
                plane[index] = bits ^ borrow;
                borrow &= !bits;
            }
            debug_assert_eq!(borrow, 0, "a set is taken away that was not added");
        }
    }
}

impl Counts {
    /// Entry c of `tally` becomes how many of `candidates` are counted c times, for c up to `most`,
    /// which no count exceeds. O(words + candidates that are counted).
    pub fn tally(&self, candidates: &[Word], most: usize, tally: &mut Vec<usize>) {
        tally.clear();
        tally.resize(most + 1, 0);
        for (index, &word) in candidates.iter().enumerate() {
            let counted = self.planes.iter().fold(0, |any, plane| any | plane[index]) & word;
            tally[0] += (word & !counted).count_ones() as usize;
            for bit in tokens(&[counted]) {
                let planes = self.planes.iter().enumerate();
                tally[planes.map(|(plane, words)| (words[index] >> bit & 1) << plane).sum::<usize>()] += 1;
            }
        }
    }

    /// Whether no set is counted.
    pub fn is_empty(&self) -> bool {
        self.sets == 0
    }
}

/// Which end of the counts comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Least,
    Most,
}

/// Pages to choose from, and those that were chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// The pages to choose from; used up by [`choose`](Self::choose).
    pub candidates: Vec<Word>,
    chosen: Vec<Word>,
}

impl Choice {
    /// Offers the pages of the words that `word` returns.
    pub fn offer(&mut self, words: usize, word: impl Fn(usize) -> Word) {
        self.candidates.clear();
        self.candidates.extend((0..words).map(word));
    }

    /// Chooses `wanted` of the candidates, or all if they are fewer: by their counts, of equals the
    /// lowest index.
    pub fn choose(&mut self, wanted: usize, counts: &Counts, first: First) {
        self.chosen.clear();
        self.chosen.resize(self.candidates.len(), 0);
        let mut wanted = wanted;
        for plane in counts.planes.iter().rev() {
            let better = |word: Word, plane: Word| if first == First::Least { word & !plane } else { word & plane };
            let words = self.candidates.iter().zip(plane);
            let count: usize = words.map(|(&word, &plane)| better(word, plane).count_ones() as usize).sum();
            let all = count <= wanted;
            for ((word, chosen), &plane) in self.candidates.iter_mut().zip(&mut self.chosen).zip(plane) {
                let here = better(*word, plane);
                if all {
                    *chosen |= here;
                    *word &= !here;
                } else {
                    *word = here;
                }
            }
            if all {
                wanted -= count;
            }
        }
        // What is left has equal counts.
        for (word, chosen) in self.candidates.iter_mut().zip(&mut self.chosen) {
            while *word != 0 && wanted > 0 {
                let lowest = *word & word.wrapping_neg();
                *chosen |= lowest;
                *word ^= lowest;
                wanted -= 1;
            }
        }
    }

    /// What was chosen, the lowest index first.
    pub fn chosen(&self) -> impl Iterator<Item = usize> + '_ {
        tokens(&self.chosen)
    }
}

/// The pages of `words`, the lowest index first.
pub(super) fn tokens(words: &[Word]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(index, &word)| {
        let mut left = word;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                index * WORD_BITS + bit
            })
        })
    })
}

/// Whether what is in use on HBM is at least `threshold` of it.
pub(super) fn is_filled<K>(view: &MigrationView<'_, K>, threshold: Ratio) -> bool {
    let capacity = view.system.tiers()[0].capacity;
    let used = capacity.saturating_sub(view.free[TierId::HBM]);
    used.get() >= threshold.round_of(capacity.get())
}

/// The pages at `tier` that are not in flight and that `keep` keeps, the lowest index first.
fn candidates<K>(
    view: &MigrationView<'_, K>,
    tier: TierId,
    keep: impl Fn(usize) -> Word,
) -> impl Iterator<Item = Page> {
    (0..view.pages.div_ceil(WORD_BITS)).flat_map(move |index| {
        let mut left = view.at[tier].words()[index] & !view.in_flight.words()[index] & keep(index);
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                Page::new(index * WORD_BITS + bit)
            })
        })
    })
}

/// All pages on HBM that `keep` keeps go to the slowest tier.
pub(super) fn all_out<K>(view: &MigrationView<'_, K>, plan: &mut MovePlan, keep: impl Fn(usize) -> Word) {
    out_while(view, plan, usize::MAX, keep);
}

/// Of the pages on HBM that `keep` keeps, so many go to the slowest tier, the oldest first.
pub(super) fn out_while<K>(
    view: &MigrationView<'_, K>,
    plan: &mut MovePlan,
    most: usize,
    keep: impl Fn(usize) -> Word,
) {
    let last = view.system.last_tier();
    if last == TierId::HBM {
        return;
    }
    for page in candidates(view, TierId::HBM, keep).take(most) {
        if !plan.add(page, TierId::HBM, last) {
            break;
        }
    }
}

/// All pages elsewhere that `keep` keeps come to HBM, while it has room.
pub(super) fn all_in<K>(view: &MigrationView<'_, K>, plan: &mut MovePlan, keep: impl Fn(usize) -> Word) {
    in_while(view, plan, usize::MAX, keep);
}

/// Of the pages elsewhere that `keep` keeps, so many come to HBM while it has room.
pub(super) fn in_while<K>(view: &MigrationView<'_, K>, plan: &mut MovePlan, most: usize, keep: impl Fn(usize) -> Word) {
    let mut left = most;
    for tier in view.system.tier_ids().skip(1) {
        for page in candidates(view, tier, &keep) {
            if left == 0 || !plan.add(page, tier, TierId::HBM) {
                return;
            }
            left -= 1;
        }
    }
}

/// Of the pages that the present step has read from elsewhere and that `keep` keeps, so many are
/// retained on HBM while it has room.
pub(super) fn retain_while<K>(
    view: &MigrationView<'_, K>,
    plan: &mut MovePlan,
    most: usize,
    keep: impl Fn(usize) -> Word,
) {
    let skipped = view.skipped().pages;
    let mut left = most;
    for tier in view.system.tier_ids().skip(1) {
        for page in candidates(view, tier, |index| !skipped.words()[index] & keep(index)) {
            if left == 0 || !plan.retain(page, tier, TierId::HBM) {
                return;
            }
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_and_the_most_counted_are_chosen(
            sets in prop::collection::vec(prop::collection::vec(any::<bool>(), 150), 1..12), gone in 0usize..12,
            candidates in prop::collection::vec(any::<bool>(), 150), wanted in 0usize..160, most: bool,
        ) {
            let set = |bits: &[bool]| {
                let mut set = TokenSet::new(bits.len());
                set.extend(bits.iter().enumerate().filter(|(_, bit)| **bit).map(|(token, _)| token));
                set
            };
            let gone = gone.min(sets.len());
            let words = set(&candidates).words().len();
            let mut counts = Counts::new(words, sets.len());
            let non_empty = |bits: &[bool]| Some(set(bits)).filter(|set| set.count() > 0);
            sets.iter().for_each(|bits| counts.add(non_empty(bits).as_ref(), words));
            sets[..gone].iter().for_each(|bits| counts.subtract(non_empty(bits).as_ref(), words));

            let mut choice = Choice::default();
            let offered = set(&candidates);
            choice.offer(words, |index| offered.words()[index]);
            choice.choose(wanted, &counts, if most { First::Most } else { First::Least });

            // The twin sorts.
            let count = |token: usize| sets[gone..].iter().filter(|bits| bits[token]).count() as isize;
            let mut sorted: Vec<usize> = offered.iter().collect();
            sorted.sort_by_key(|token| (if most { -count(*token) } else { count(*token) }, *token));
            sorted.truncate(wanted);
            sorted.sort_unstable();
            prop_assert_eq!(choice.chosen().collect::<Vec<_>>(), sorted);

            let mut tally = Vec::new();
            counts.tally(offered.words(), sets.len() - gone, &mut tally);
            let of = |times: usize| offered.iter().filter(|token| count(*token) == times as isize).count();
            prop_assert_eq!(tally, (0..=sets.len() - gone).map(of).collect::<Vec<_>>());
        }
    }
}
