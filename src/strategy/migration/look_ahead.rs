use super::convoy::{Order, Piece};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::strategy::knowledge::Future;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word, select};

/// Knows what the next step skips. (1) The tokens that it skips go to the slowest tier. (2) Active tokens move either way until
/// each tier serves its best ratio of what the layer's attention will read, within capacity. Tier by tier, the fastest first: its
/// best ratio is of what the faster ones leave, among those that remain; a tier that has too few takes from the slowest, one
/// that has too many gives to the next.
#[derive(Default)]
pub struct LookAhead {
    /// Active tokens that this decision moves already; only more than two tiers can ask for one twice.
    moved: Option<TokenSet>,
    /// Scratch space: words of candidates.
    found: Vec<Word>,
}

impl Migration for LookAhead {
    type Knows = Future;

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let Some(next) = view.next_step() else { return };
        let skipped = &next.sets[view.layer];
        let active = view.context - next.counts[view.layer];
        let tiers = view.system.tiers().len();
        let last = TierId::new(tiers - 1);
        if tiers > 2 {
            let range = view.at[0].words().len() * WORD_BITS;
            self.moved.get_or_insert_with(|| TokenSet::new(range)).clear();
        }
        for tier in (0..last.index()).map(TierId::new) {
            let skips = self.candidates(view, skipped, tier, false);
            plan.add_set(skips, Order::Ascending, tier, last, usize::MAX);
        }
        // What later tiers have more, or fewer, than at home by what earlier ones have taken or given.
        let mut change = [0isize; MemorySystem::MAX_TIERS];
        let mut rest = Rest::new(view, active);
        for tier in (0..last.index()).map(TierId::new) {
            let target = rest.target_on(view, tier);
            let at_home = view.home[tier.index()].count_without_below(skipped, view.context);
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
    /// The words of the tokens of the context that are on `tier`, not in flight, not moved by this decision yet, and skipped by the
    /// next step or, if `active`, read by it.
    fn candidates(&mut self, view: &MigrationView<'_>, skipped: &TokenSet, tier: TierId, active: bool) -> &[Word] {
        let words = view.context.div_ceil(WORD_BITS);
        self.found.resize(words, 0);
        select(
            &mut self.found,
            &view.at[tier.index()].words()[..words],
            &view.in_flight.words()[..words],
            &skipped.words()[..words],
            active,
        );
        if let Some(moved) = &self.moved {
            self.found.iter_mut().zip(moved.words()).for_each(|(found, moved)| *found &= !moved);
        }
        &self.found
    }

    /// The last `added` tokens from `source` to `destination` are moved.
    fn note(&mut self, plan: &MovePlan, source: TierId, destination: TierId, added: usize) {
        if let Some(moved) = &mut self.moved {
            let convoy = plan.convoy(source, destination);
            let all = convoy.len();
            convoy.pieces(all - added..all, |piece| match piece {
                Piece::Listed(tokens) => moved.extend(tokens.iter().map(|token| *token as usize)),
                Piece::Words(first, words) => {
                    moved.words_mut()[first..].iter_mut().zip(words).for_each(|(to, word)| *to |= word);
                }
                Piece::Word(index, word) => moved.words_mut()[index] |= word,
            });
        }
    }
}

/// What the tiers that are already served leave for those that remain.
struct Rest {
    /// Active tokens.
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
            weights: view.weights_read.iter().map(|bytes| i128::from(bytes.get())).sum(),
            bandwidth: view.system.total_read_bandwidth() as i128,
        }
    }

    /// round((best * (read weights + active * kv) - weights read from the tier) / kv), within 0..active; halves up. With best =
    /// BW / sum(BW), numerator and denominator are multiplied by sum(BW): integers throughout.
    fn target_on(&self, view: &MigrationView<'_>, tier: TierId) -> usize {
        let bandwidth = i128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
        let kv = i128::from(view.kv_bytes.get());
        let here = i128::from(view.weights_read[tier.index()].get());
        let numerator = bandwidth * (self.weights + self.active as i128 * kv) - self.bandwidth * here;
        let denominator = self.bandwidth * kv;
        let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
        rounded.clamp(0, self.active as i128) as usize
    }

    /// `tier` will serve its weights and `tokens` active tokens.
    fn take(&mut self, view: &MigrationView<'_>, tier: TierId, tokens: usize) {
        self.active = self.active.saturating_sub(tokens);
        self.weights -= i128::from(view.weights_read[tier.index()].get());
        self.bandwidth -= i128::from(view.system.tiers()[tier.index()].read_bandwidth.get());
    }
}
