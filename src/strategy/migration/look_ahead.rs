//! The study's migration: it sees the next step and keeps each tier at its best ratio.

use super::move_batch::{Order, Piece};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::strategy::knowledge::Future;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word, select};

/// Knows what the next step skips. (1) The pages that it skips go to the slowest tier. (2) Active
/// pages move either way until each tier serves its best ratio of what the layer's attention will
/// read, within capacity. Tier by tier, the fastest first: its best ratio is of what the faster
/// ones leave, among those that remain; a tier that has too few takes from the slowest, one that
/// has too many gives to the next.
#[derive(Default)]
pub struct LookAhead {
    /// Active pages that this decision moves already; only more than two tiers can ask for one
    /// twice.
    moved: Option<TokenSet>,
    /// Scratch space: words of candidates.
    found: Vec<Word>,
}

impl Migration for LookAhead {
    type Knows = Future;

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let Some(next) = view.next_step() else { return };
        let skipped = next.pages;
        let active = view.pages - next.count;
        let tiers = view.system.tiers().len();
        let last = TierId::new(tiers - 1);
        if tiers > 2 {
            let range = view.at[TierId::HBM].words().len() * WORD_BITS;
            // Sequences differ in length: the set is as long as the longest so far.
            match &mut self.moved {
                Some(moved) if moved.range() >= range => moved.clear(),
                moved => *moved = Some(TokenSet::new(range)),
            }
        }
        for tier in (0..last.index()).map(TierId::new).filter(|_| next.count > 0) {
            let skips = self.candidates(view, skipped, tier, false);
            plan.add_set(skips, Order::Ascending, tier, last, usize::MAX);
        }
        // How many more pages, or fewer, a later tier has than at home, as earlier tiers gave or
        // took some.
        let mut change = [0isize; MemorySystem::MAX_TIERS];
        let mut rest = Rest::new(view, active);
        for tier in (0..last.index()).map(TierId::new) {
            let target = rest.target_on(view, tier);
            let at_home = match next.set() {
                Some(skipped) => view.home[tier].count_without_between(skipped, view.live()),
                None => view.regions.region(view.region).count[tier],
            };
            let mut here = at_home.saturating_add_signed(change[tier.index()]);
            if here < target {
                let mut wanted = (target - here).min(plan.room(tier));
                for source in (tier.index() + 1..tiers).rev().map(TierId::new) {
                    let active = self.candidates(view, skipped, source, true);
                    let added = plan.add_set(active, Order::Descending, source, tier, wanted);
                    self.note(plan, source, tier, added);
                    change[source.index()] -= added as isize;
                    wanted -= added;
                    here += added;
                }
            } else {
                for to in (tier.index() + 1..tiers).map(TierId::new) {
                    let active = self.candidates(view, skipped, tier, true);
                    let added = plan.add_set(active, Order::Ascending, tier, to, here - target);
                    self.note(plan, tier, to, added);
                    change[to.index()] += added as isize;
                    here -= added;
                }
            }
            rest.take(view, tier, here);
        }
    }
}

impl LookAhead {
    /// The words of the pages that are on `tier`, not in flight, not moved by this decision yet,
    /// and skipped by the next step or, if `active`, read by it.
    fn candidates(&mut self, view: &MigrationView<'_>, skipped: &TokenSet, tier: TierId, active: bool) -> &[Word] {
        let words = view.pages.div_ceil(WORD_BITS);
        self.found.resize(words, 0);
        select(
            &mut self.found,
            &view.at[tier].words()[..words],
            &view.in_flight.words()[..words],
            &skipped.words()[..words],
            active,
        );
        if let Some(moved) = &self.moved {
            self.found.iter_mut().zip(moved.words()).for_each(|(found, moved)| *found &= !moved);
        }
        &self.found
    }

    /// The last `added` pages from `source` to `destination` are moved.
    fn note(&mut self, plan: &MovePlan, source: TierId, destination: TierId, added: usize) {
        if let Some(moved) = &mut self.moved {
            let batch = plan.batch(source, destination);
            let all = batch.len();
            batch.pieces(all - added..all, |piece| match piece {
                Piece::Listed(pages) => moved.extend(pages.iter().map(|page| *page as usize)),
                Piece::Words(first, words) => {
                    moved.words_mut()[first..].iter_mut().zip(words).for_each(|(to, word)| *to |= word);
                }
                Piece::Word(index, word) => moved.words_mut()[index] |= word,
            });
        }
    }
}

/// What remains for the tiers that have not been served yet.
struct Rest {
    /// Active pages.
    active: usize,
    /// Weights read.
    weights: i128,
    /// The sum of the bandwidths that remain.
    bandwidth: i128,
}

impl Rest {
    fn new(view: &MigrationView<'_>, active: usize) -> Self {
        Self {
            active,
            weights: view.weights_read.values().map(|bytes| i128::from(bytes.get())).sum(),
            bandwidth: view.system.total_read_bandwidth() as i128,
        }
    }

    /// round((best * (read weights + active * page) - weights read from the tier) / page), within
    /// 0..active; halves up. With best = BW / sum(BW), numerator and denominator are multiplied by
    /// sum(BW): integers throughout.
    fn target_on(&self, view: &MigrationView<'_>, tier: TierId) -> usize {
        let bandwidth = i128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
        let page = i128::from(view.page_bytes.get());
        let here = i128::from(view.weights_read[tier].get());
        let numerator = bandwidth * (self.weights + self.active as i128 * page) - self.bandwidth * here;
        let denominator = self.bandwidth * page;
        let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
        rounded.clamp(0, self.active as i128) as usize
    }

    /// `tier` will serve its weights and `pages` active pages.
    fn take(&mut self, view: &MigrationView<'_>, tier: TierId, pages: usize) {
        self.active = self.active.saturating_sub(pages);
        self.weights -= i128::from(view.weights_read[tier].get());
        self.bandwidth -= i128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
    }
}
