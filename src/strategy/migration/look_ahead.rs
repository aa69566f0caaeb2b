use super::{Migration, MigrationView, MovePlan};
use crate::memory::TierId;
use crate::workload::tokens::{WORD_BITS, Word};

/// Knows what the next step skips. (1) The tokens on HBM that it skips go out. (2) Active tokens move either way until HBM
/// serves the best ratio of what the layer's attention will read, within capacity.
pub struct LookAhead;

const EXTERNAL: TierId = TierId(1);

impl Migration for LookAhead {
    fn look_ahead(&self) -> usize {
        1
    }

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let hbm = TierId::HBM;
        let next = view.next_step();
        let skipped = &next.sets[view.layer];
        let active = view.context - next.counts[view.layer];
        let target = target_on_hbm(view, active);
        let on_hbm = view.home[hbm.0].count_without(skipped);

        let leaving = candidates(view, hbm, |skip| skip);
        for token in leaving {
            if !plan.add(token, hbm, EXTERNAL) {
                break;
            }
        }
        if on_hbm < target {
            let wanted = (target - on_hbm).min(plan.room(hbm));
            for token in candidates_from_the_end(view, EXTERNAL, |skip| !skip).take(wanted) {
                plan.add(token, EXTERNAL, hbm);
            }
        } else {
            for token in candidates(view, hbm, |skip| !skip).take(on_hbm - target) {
                if !plan.add(token, hbm, EXTERNAL) {
                    break;
                }
            }
        }
    }
}

/// round((best * (read weights + active * kv) - weights read from HBM) / kv), within 0..active; halves up. With best =
/// BW_hbm / sum(BW), numerator and denominator are multiplied by sum(BW): integers throughout.
fn target_on_hbm(view: &MigrationView<'_>, active: usize) -> usize {
    let wide = |number: u64| i128::from(number);
    let hbm = wide(view.system.tiers()[TierId::HBM.0].read_bandwidth.get());
    let all = view.system.total_read_bandwidth() as i128;
    let kv = wide(view.kv_bytes.get());
    let weights: i128 = view.weights_read.iter().map(|bytes| wide(bytes.get())).sum();
    let on_hbm = wide(view.weights_read[TierId::HBM.0].get());
    let numerator = hbm * (weights + active as i128 * kv) - all * on_hbm;
    let denominator = all * kv;
    let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
    rounded.clamp(0, active as i128) as usize
}

/// The words of the tokens on `tier`, not in flight, and kept by `keep` of the words that the next step skips.
fn word(view: &MigrationView<'_>, tier: TierId, index: usize, keep: impl Fn(Word) -> Word) -> Word {
    let skipped = view.next_step().sets[view.layer].words()[index];
    view.at[tier.0].words()[index] & !view.in_flight.words()[index] & keep(skipped)
}

fn words_in_context(view: &MigrationView<'_>) -> usize {
    view.context.div_ceil(WORD_BITS)
}

/// The tokens whose bits `word` keeps, the lowest index first.
fn candidates(view: &MigrationView<'_>, tier: TierId, keep: impl Fn(Word) -> Word) -> impl Iterator<Item = usize> {
    (0..words_in_context(view)).flat_map(move |index| {
        let mut left = word(view, tier, index, &keep);
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
    tier: TierId,
    keep: impl Fn(Word) -> Word,
) -> impl Iterator<Item = usize> {
    (0..words_in_context(view)).rev().flat_map(move |index| {
        let mut left = word(view, tier, index, &keep);
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = WORD_BITS - 1 - left.leading_zeros() as usize;
                left &= !(1 << bit);
                index * WORD_BITS + bit
            })
        })
    })
}
