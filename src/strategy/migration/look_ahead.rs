use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::strategy::knowledge::Future;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};

/// Knows what the next step skips. (1) The tokens that it skips go to the slowest tier. (2) Active tokens move either way until
/// each tier serves its best ratio of what the layer's attention will read, within capacity. Tier by tier, the fastest first: its
/// best ratio is of what the faster ones leave, among those that remain; a tier that has too few takes from the slowest, one
/// that has too many gives to the next.
#[derive(Default)]
pub struct LookAhead {
    /// Active tokens that this decision moves already; only more than two tiers can ask for one twice.
    moved: Option<TokenSet>,
}

impl Migration for LookAhead {
    type Knows = Future;

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let Some(next) = view.next_step() else { return };
        let skipped = &next.sets[view.layer];
        let active = view.context - next.counts[view.layer];
        let tiers = view.system.tiers().len();
        let last = TierId(tiers - 1);
        if tiers > 2 {
            let range = view.at[0].words().len() * WORD_BITS;
            self.moved.get_or_insert_with(|| TokenSet::new(range)).clear();
        }
        for tier in (0..last.0).map(TierId) {
            for token in candidates(view, skipped, tier, |skip| skip) {
                if !plan.add(token, tier, last) {
                    break;
                }
            }
        }
        // What later tiers have more, or fewer, than at home by what earlier ones have taken or given.
        let mut change = [0isize; MemorySystem::MAX_TIERS];
        let mut rest = Rest::new(view, active);
        for tier in (0..last.0).map(TierId) {
            let target = rest.target_on(view, tier);
            let at_home = view.home[tier.0].count_without(skipped);
            let mut here = at_home.saturating_add_signed(change[tier.0]);
            if here < target {
                let mut wanted = (target - here).min(plan.room(tier));
                for source in (tier.0 + 1..tiers).rev().map(TierId) {
                    for token in candidates_from_the_end(view, skipped, source, |skip| !skip) {
                        if wanted == 0 {
                            break;
                        }
                        if self.is_first_move(token) {
                            plan.add(token, source, tier);
                            change[source.0] -= 1;
                            wanted -= 1;
                            here += 1;
                        }
                    }
                }
            } else {
                for token in candidates(view, skipped, tier, |skip| !skip) {
                    let to = (tier.0 + 1..tiers).map(TierId).find(|to| plan.room(*to) > 0);
                    let Some(to) = to.filter(|_| here > target) else { break };
                    if self.is_first_move(token) {
                        plan.add(token, tier, to);
                        change[to.0] += 1;
                        here -= 1;
                    }
                }
            }
            rest.take(view, tier, here);
        }
    }
}

impl LookAhead {
    fn is_first_move(&mut self, token: usize) -> bool {
        let Some(moved) = &mut self.moved else { return true };
        let first = !moved.contains(token);
        moved.insert(token);
        first
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
        let bandwidth = i128::from(view.system.tiers()[tier.0].read_bandwidth.get());
        let kv = i128::from(view.kv_bytes.get());
        let here = i128::from(view.weights_read[tier.0].get());
        let numerator = bandwidth * (self.weights + self.active as i128 * kv) - self.bandwidth * here;
        let denominator = self.bandwidth * kv;
        let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
        rounded.clamp(0, self.active as i128) as usize
    }

    /// `tier` will serve its weights and `tokens` active tokens.
    fn take(&mut self, view: &MigrationView<'_>, tier: TierId, tokens: usize) {
        self.active = self.active.saturating_sub(tokens);
        self.weights -= i128::from(view.weights_read[tier.0].get());
        self.bandwidth -= i128::from(view.system.tiers()[tier.0].read_bandwidth.get());
    }
}

/// The words of the tokens on `tier`, not in flight, and kept by `keep` of the words that the next step skips.
fn word(view: &MigrationView<'_>, skipped: &TokenSet, tier: TierId, index: usize, keep: impl Fn(Word) -> Word) -> Word {
    view.at[tier.0].words()[index] & !view.in_flight.words()[index] & keep(skipped.words()[index])
}

fn words_in_context(view: &MigrationView<'_>) -> usize {
    view.context.div_ceil(WORD_BITS)
}

/// The tokens whose bits `word` keeps, the lowest index first.
fn candidates(
    view: &MigrationView<'_>,
    skipped: &TokenSet,
    tier: TierId,
    keep: impl Fn(Word) -> Word,
) -> impl Iterator<Item = usize> {
    (0..words_in_context(view)).flat_map(move |index| {
        let mut left = word(view, skipped, tier, index, &keep);
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                index * WORD_BITS + bit
            })
        })
    })
}

/// As `candidates`, the highest index first.
fn candidates_from_the_end(
    view: &MigrationView<'_>,
    skipped: &TokenSet,
    tier: TierId,
    keep: impl Fn(Word) -> Word,
) -> impl Iterator<Item = usize> {
    (0..words_in_context(view)).rev().flat_map(move |index| {
        let mut left = word(view, skipped, tier, index, &keep);
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = WORD_BITS - 1 - left.leading_zeros() as usize;
                left &= !(1 << bit);
                index * WORD_BITS + bit
            })
        })
    })
}
