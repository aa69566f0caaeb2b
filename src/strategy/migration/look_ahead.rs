use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};

/// Knows what the next step skips. (1) The tokens that it skips go to the slowest tier. (2) Active tokens move either way until
/// each tier serves its best ratio of what the layer's attention will read, within capacity: tier by tier, the fastest first,
/// a tier that has too few takes from the slowest, one that has too many gives to the next.
#[derive(Default)]
pub struct LookAhead {
    /// Active tokens that this decision moves already; only more than two tiers can ask for one twice.
    moved: Option<TokenSet>,
}

impl Migration for LookAhead {
    fn look_ahead(&self) -> usize {
        1
    }

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
        for tier in (0..last.0).map(TierId) {
            let target = target_on(view, tier, active);
            let at_home = view.home[tier.0].count_without(skipped);
            let here = at_home.saturating_add_signed(change[tier.0]);
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
                        }
                    }
                }
            } else {
                let mut excess = here - target;
                for token in candidates(view, skipped, tier, |skip| !skip) {
                    let to = (tier.0 + 1..tiers).map(TierId).find(|to| plan.room(*to) > 0);
                    let Some(to) = to.filter(|_| excess > 0) else { break };
                    if self.is_first_move(token) {
                        plan.add(token, tier, to);
                        change[to.0] += 1;
                        excess -= 1;
                    }
                }
            }
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

/// round((best * (read weights + active * kv) - weights read from the tier) / kv), within 0..active; halves up. With best =
/// BW / sum(BW), numerator and denominator are multiplied by sum(BW): integers throughout.
fn target_on(view: &MigrationView<'_>, tier: TierId, active: usize) -> usize {
    let wide = |number: u64| i128::from(number);
    let bandwidth = wide(view.system.tiers()[tier.0].read_bandwidth.get());
    let all = view.system.total_read_bandwidth() as i128;
    let kv = wide(view.kv_bytes.get());
    let weights: i128 = view.weights_read.iter().map(|bytes| wide(bytes.get())).sum();
    let here = wide(view.weights_read[tier.0].get());
    let numerator = bandwidth * (weights + active as i128 * kv) - all * here;
    let denominator = all * kv;
    let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
    rounded.clamp(0, active as i128) as usize
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
