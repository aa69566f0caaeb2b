//! A window of the future, and the share of the wanted moves that is carried out: the two
//! parameters of the search in the paper that followed the study (arXiv 2508.13231).
//!
//! Of each region, the pages on HBM should be those that the window reads most. So a page comes in
//! where HBM has room, or where it is read more often than a page that leaves for it: the most read
//! pages in external memory are paired with the least read ones on HBM while the first are read
//! more often. Of the moves that this makes, the share is carried out, those that gain most first.
//! A long window moves what stays useful and is late for what changes; a small share saves the link
//! and leaves pages where they are read slowly. The best values depend on the trace and on the
//! link, which is why they are searched for.

use super::select::{Choice, Counts, First};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{ResidencyKind, TierId};
use crate::strategy::knowledge::Future;
use crate::units::{Bytes, Page, Ratio};
use crate::workload::Shape;
use crate::workload::tokens::{WORD_BITS, Word};
use std::num::NonZeroU32;

/// Sees some steps: the pages that they read most come to HBM, in the place of those that they read
/// least; a share of these moves is carried out.
pub struct LookAheadShare {
    steps: NonZeroU32,
    share: Ratio,
    /// Scratch space: pages that may come in, and pages that may leave.
    coming: Choice,
    leaving: Choice,
    /// Scratch space: how many of these are skipped in so many of the steps.
    by_skips: [Vec<usize>; 2],
}

impl LookAheadShare {
    pub fn new(steps: NonZeroU32, share: Ratio) -> Self {
        let (coming, leaving) = (Choice::default(), Choice::default());
        Self { steps, share, coming, leaving, by_skips: Default::default() }
    }

    /// So many of `wanted` moves as the share allows: to the nearest, and at least one where
    /// neither is 0.
    fn carried_out(&self, wanted: usize) -> usize {
        let least = usize::from(self.share > Ratio::default());
        wanted.min(least.max(self.share.round_of(wanted as u64) as usize))
    }
}

impl Migration for LookAheadShare {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.steps.get() as usize
    }

    fn memory(&self, shape: Shape, _skips: bool) -> Bytes {
        let words = shape.range().div_ceil(WORD_BITS);
        let sets = 4 * (words * size_of::<Word>()) as u64;
        let tallies = 2 * (Migration::look_ahead(self) as u64 + 1) * size_of::<usize>() as u64;
        Bytes::new(Counts::bytes(words, Migration::look_ahead(self)) + sets + tallies)
    }

    /// O(steps x pages / 64 + pages) time.
    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let last = view.system.last_tier();
        if last == TierId::HBM {
            return;
        }
        let words = view.pages.div_ceil(WORD_BITS);
        let mut skips = Counts::new(words, Migration::look_ahead(self));
        let mut seen = 0;
        for skipped in (1..=Migration::look_ahead(self)).map_while(|ahead| view.skips.ahead(ahead, view.region)) {
            skips.add(skipped.set(), words);
            seen += 1;
        }
        if seen == 0 {
            return;
        }
        let live = |index: usize| !below(view.first, index) & below(view.pages, index) & !view.in_flight.words()[index];
        let on_hbm = |index: usize| view.at[TierId::HBM].words()[index] & live(index);
        self.leaving.offer(words, on_hbm);
        self.coming.offer(words, |index| live(index) & !view.at[TierId::HBM].words()[index]);
        for (choice, by_skips) in [(&self.coming, 0), (&self.leaving, 1)] {
            skips.tally(&choice.candidates, seen, &mut self.by_skips[by_skips]);
        }

        // Every region has the same share of the room, so that none takes what others have freed.
        let share = view.kv_room[TierId::HBM].get() / view.deciding.max(1) as u64 / view.page_bytes.get().max(1);
        let held: u32 = (0..words)
            .map(|index| (view.at[TierId::HBM].words()[index] | view.home[TierId::HBM].words()[index]).count_ones())
            .sum();
        let room = usize::try_from(share).unwrap_or(usize::MAX).saturating_sub(held as usize);
        // What is skipped throughout is not worth a place.
        let useful: usize = self.by_skips[0][..seen].iter().sum();
        let free = useful.min(room).min(plan.room(TierId::HBM));
        let pairs = pairs(&self.by_skips[0], &self.by_skips[1], free);
        let (into_room, exchanged) = (self.carried_out(free), self.carried_out(pairs));

        // A page that leaves holds its place until it has arrived elsewhere, unless there is a copy
        // of it: then the page of the next decision comes in.
        let at_once = view.system.residency() == ResidencyKind::Inclusive;
        let evict = |leaving: &mut Choice, plan: &mut MovePlan| {
            leaving.choose(exchanged, &skips, First::Most);
            leaving.chosen().take_while(|page| plan.evict(Page::new(*page))).count()
        };
        let evicted = if at_once { evict(&mut self.leaving, plan) } else { 0 };
        self.coming.choose(into_room + evicted, &skips, First::Least);
        let skipped = view.skipped().pages;
        for page in self.coming.chosen() {
            let held = |tier: &TierId| view.at[*tier].contains(page);
            let Some(tier) = view.system.tier_ids().skip(1).find(held) else { continue };
            // What this step has read is on the chip: it is written, and not read again.
            let added = if skipped.contains(page) {
                plan.add(Page::new(page), tier, TierId::HBM)
            } else {
                plan.retain(Page::new(page), tier, TierId::HBM)
            };
            if !added {
                break;
            }
        }
        if !at_once {
            evict(&mut self.leaving, plan);
        }
    }
}

/// How many pages that may come in, the `free` most read ones aside, are read more often than the
/// page on HBM that they are paired with: the most read with the least read, and so on. Entry s of
/// a tally is how many pages are skipped in s of the steps.
fn pairs(coming: &[usize], leaving: &[usize], free: usize) -> usize {
    let (mut come, mut stay) = (0, 0);
    let all: usize = leaving.iter().sum();
    // The pairs up to the n-th gain if, for some s, n pages are skipped at most s times and n
    // others more often.
    let at = |(come_here, leave_here): (&usize, &usize)| {
        come += come_here;
        stay += leave_here;
        come.saturating_sub(free).min(all - stay)
    };
    coming.iter().zip(leaving).map(at).max().unwrap_or(0)
}

/// The bits of word `index` that stand for pages below `end`.
fn below(end: usize, index: usize) -> Word {
    match end.saturating_sub(index * WORD_BITS) {
        0 => 0,
        pages if pages >= WORD_BITS => Word::MAX,
        pages => (1 << pages) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The twin sorts both sides and pairs them one by one.
        #[test]
        fn pairs_are_those_that_gain(
            coming in prop::collection::vec(0usize..6, 0..40), leaving in prop::collection::vec(0usize..6, 0..40), free in 0usize..10,
        ) {
            let tally = |skips: &[usize]| {
                let mut tally = vec![0; 6];
                skips.iter().for_each(|skips| tally[*skips] += 1);
                tally
            };
            let found = pairs(&tally(&coming), &tally(&leaving), free);
            let (mut coming, mut leaving) = (coming, leaving);
            coming.sort_unstable();
            leaving.sort_unstable_by(|a, b| b.cmp(a));
            let twin = coming.iter().skip(free).zip(&leaving).take_while(|(come, leave)| come < leave).count();
            prop_assert_eq!(found, twin);
        }
    }

    #[test]
    fn a_share_is_of_the_wanted_moves() {
        let of = |share: &str, wanted| LookAheadShare::new(NonZeroU32::MIN, share.parse().unwrap()).carried_out(wanted);
        assert_eq!((of("100%", 7), of("50%", 7), of("1%", 7), of("0%", 7), of("50%", 0)), (7, 4, 1, 0, 0));
    }
}
