//! Synthetic skip sets with a given share of skipped tokens and a given churn.
//!
//! A step costs O(context / 64) words a layer and a random draw for each token exchanged. Draws are
//! by rejection: where few tokens qualify, the qualifying ones are listed instead.

use super::{SkipSource, StepSkips, TraceError};
use crate::units::Ratio;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};
use multiversion::multiversion;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::ops::Range;

/// The parameters of synthetic skip sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "Generated", deny_unknown_fields)]
pub struct GeneratorConfig {
    /// The share of the context that is skipped: `floor(skip * context)` tokens in each layer,
    /// exactly.
    pub skip: Ratio,
    /// The share of the skipped tokens that is exchanged for others from a step to the next, to the
    /// nearest token.
    pub churn: Ratio,
    /// Same seed, same sets.
    #[serde(deserialize_with = "crate::config::count")]
    pub seed: u64,
    /// So many tokens at the start are never skipped.
    #[serde(deserialize_with = "crate::config::count")]
    pub sinks: u32,
    /// So many of the newest tokens are never skipped.
    #[serde(deserialize_with = "crate::config::count")]
    pub recent: u32,
    /// Preference for skipping old tokens: a token newly skipped is the oldest of `1 + old_bias`
    /// drawn ones. 0: none.
    #[serde(deserialize_with = "crate::config::count")]
    pub old_bias: u32,
    /// Aligned pages of so many tokens are skipped or read as a whole; single tokens where not
    /// given. Shares are then of the whole pages, and what `sinks` and `recent` touch is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_tokens: Option<NonZeroU32>,
}

impl GeneratorConfig {
    /// The largest `old_bias` that is accepted.
    pub const MAX_OLD_BIAS: u32 = 8;

    /// Whether `old_bias` is within its limit, and whether enough tokens may be skipped in each of
    /// `decode` steps from a context of `prefill` on. The tightest context is the one that sinks
    /// and recent tokens fill, or the nearest to it: before it nothing may be skipped, and after it
    /// each token more may be skipped but need not.
    ///
    /// # Errors
    /// [`TraceError::OldBias`] or [`TraceError::TooManyKept`].
    pub fn check(&self, prefill: usize, decode: usize) -> Result<(), TraceError> {
        if self.old_bias > Self::MAX_OLD_BIAS {
            return Err(TraceError::OldBias { old_bias: self.old_bias });
        }
        if let Some((pages, page)) = self.of_pages() {
            let last = (prefill + decode).saturating_sub(1) / page;
            return pages.check(prefill / page, last - prefill / page + 1);
        }
        let kept = u64::from(self.sinks) + u64::from(self.recent);
        let last = (prefill + decode).saturating_sub(1).max(prefill);
        let context = kept.clamp(prefill as u64, last as u64);
        let skipped = self.skip.floor_of(context);
        let eligible = context.saturating_sub(kept);
        if skipped > eligible {
            return Err(TraceError::TooManyKept { skipped, context, sinks: self.sinks, recent: self.recent, eligible });
        }
        Ok(())
    }

    /// The generator that chooses among pages as if they were tokens, and how many tokens they
    /// have; `None` where single tokens are chosen.
    pub(super) fn of_pages(&self) -> Option<(Self, usize)> {
        let page = self.page_tokens?;
        let pages = |tokens: u32| tokens.div_ceil(page.get());
        let of_pages = Self { sinks: pages(self.sinks), recent: pages(self.recent), page_tokens: None, ..self.clone() };
        Some((of_pages, page.get() as usize))
    }
}

/// Generates skip sets, step by step: each layer has a random stream of its own, derived from the
/// seed.
///
/// Step 0 draws its skipped tokens at random from those that may be skipped. Each later step
/// exchanges `churn` of them for others and adds what the longer context demands. All draws are
/// uniform (but for `old_bias`) and without replacement: a token exchanged in a step does not
/// return in the same step. Where fewer tokens are read than would be exchanged, as many are
/// exchanged as there are.
pub struct Generator {
    config: GeneratorConfig,
    layers: Vec<LayerState>,
    scratch: Scratch,
}

/// Sets of the layer that is being generated.
struct Scratch {
    /// What was skipped in the step before.
    before: TokenSet,
    /// That, and what is newly skipped.
    taken: TokenSet,
}

struct LayerState {
    draws: Draws,
    skipped: TokenSet,
    count: usize,
    /// The first token that was too new to be skipped in the last step.
    end: usize,
}

impl Generator {
    /// A generator for `layers` layers of up to `range` tokens. [`GeneratorConfig::check`] must
    /// hold.
    #[must_use]
    pub fn new(config: GeneratorConfig, layers: usize, range: usize) -> Self {
        // Each layer's stream starts 2^128 draws after the one before: they never meet.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        let layers = (0..layers)
            .map(|_| {
                let draws = Draws::new(random.clone());
                random.jump();
                LayerState { draws, skipped: TokenSet::new(range), count: 0, end: 0 }
            })
            .collect();
        Self { config, layers, scratch: Scratch { before: TokenSet::new(range), taken: TokenSet::new(range) } }
    }
}

impl SkipSource for Generator {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        for (layer, (set, count)) in self.layers.iter_mut().zip(skips.sets.iter_mut().zip(&mut skips.counts)) {
            layer.step(&self.config, context, &mut self.scratch, set);
            *count = layer.count;
        }
        Ok(())
    }
}

impl LayerState {
    /// Puts what is skipped of `context` into `set`; what that has beyond it is left.
    fn step(&mut self, config: &GeneratorConfig, context: usize, scratch: &mut Scratch, set: &mut TokenSet) {
        let wanted = config.skip.floor_of(context as u64) as usize;
        if wanted == 0 {
            set.copy_below(&self.skipped, context);
            return;
        }
        let first = config.sinks as usize;
        // `check` makes sure that `first..end` holds `wanted` tokens.
        let end = context - config.recent as usize;
        let added = wanted - self.count;
        let readable = end - first - self.count;
        let exchanged = (config.churn.round_of(self.count as u64) as usize).min(readable - added);
        scratch.before.copy_below(&self.skipped, end);
        scratch.taken.copy_below(&self.skipped, end);
        if exchanged > 0 {
            let old = Pool { range: first..self.end, fitting: self.count, set: self.skipped.words_mut(), has: true };
            self.draws.toggle(old, exchanged, 0);
        }
        let new = Pool { range: first..end, fitting: readable, set: scratch.taken.words_mut(), has: false };
        self.draws.toggle(new, exchanged + added, config.old_bias);
        let words = end.div_ceil(WORD_BITS);
        let (skipped, set) = (&mut self.skipped.words_mut()[..words], set.words_mut());
        merge(skipped, &mut set[..words], &scratch.before.words()[..words], &scratch.taken.words()[..words]);
        set[words..context.div_ceil(WORD_BITS)].fill(0);
        self.count = wanted;
        self.end = end;
    }
}

/// A stream of random token indices.
struct Draws {
    random: Xoshiro256PlusPlus,
    /// The half of the last draw that was not used yet.
    spare: Option<u32>,
    /// Scratch space: tokens to draw from.
    list: Vec<usize>,
}

impl Draws {
    fn new(random: Xoshiro256PlusPlus) -> Self {
        Self { random, spare: None, list: Vec::new() }
    }

    /// A number below `range`, uniform to 2^-32 of it.
    #[inline]
    fn below(&mut self, range: usize) -> usize {
        let x = match self.spare.take() {
            Some(x) => x,
            None => {
                let both = self.random.next_u64();
                self.spare = Some((both >> 32) as u32);
                both as u32
            }
        };
        scaled(x, range)
    }

    /// Toggles `count` tokens of those of `pool` that fit, each the oldest of `1 + old_bias` drawn
    /// ones. A token that was toggled fits no more.
    fn toggle(&mut self, pool: Pool<'_>, count: usize, old_bias: u32) {
        // Draws that do not fit are drawn again. Where few fit, or most of those that fit are
        // wanted, that would take long.
        if 4 * pool.fitting < pool.range.len() || 2 * count > pool.fitting {
            self.toggle_listed(pool, count, old_bias);
        } else if old_bias > 0 {
            self.toggle_oldest(pool, count, old_bias);
        } else if count > 0 {
            toggle_any(&mut self.random, &mut self.spare, pool, count);
        }
    }

    fn toggle_oldest(&mut self, mut pool: Pool<'_>, count: usize, old_bias: u32) {
        for _ in 0..count {
            let mut drawn = 0;
            let mut oldest = usize::MAX;
            while drawn <= old_bias {
                let token = pool.range.start + self.below(pool.range.len());
                if pool.fits(token) {
                    oldest = oldest.min(token);
                    drawn += 1;
                }
            }
            pool.toggle(oldest);
        }
    }

    /// Lists those that fit and draws from the list.
    fn toggle_listed(&mut self, mut pool: Pool<'_>, count: usize, old_bias: u32) {
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend(pool.range.clone().filter(|token| pool.fits(*token)));
        debug_assert_eq!(list.len(), pool.fitting);
        for _ in 0..count {
            let mut oldest = self.below(list.len());
            for _ in 0..old_bias {
                let other = self.below(list.len());
                if list[other] < list[oldest] {
                    oldest = other;
                }
            }
            pool.toggle(list.swap_remove(oldest));
        }
        self.list = list;
    }
}

/// Where to draw from.
struct Pool<'a> {
    range: Range<usize>,
    /// How many tokens of the range fit.
    fitting: usize,
    /// Those fit that this set has, or has not.
    set: &'a mut [Word],
    has: bool,
}

impl Pool<'_> {
    fn fits(&self, token: usize) -> bool {
        (self.set[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1) == self.has
    }

    fn toggle(&mut self, token: usize) {
        self.set[token / WORD_BITS] ^= 1 << (token % WORD_BITS);
    }
}

/// Adds to `skipped` what was taken and had not been there before, and has `set` be the same. All
/// of one length.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn merge(skipped: &mut [Word], set: &mut [Word], before: &[Word], taken: &[Word]) {
    for (((skipped, set), before), taken) in skipped.iter_mut().zip(set).zip(before).zip(taken) {
        *skipped |= taken & !before;
        *set = *skipped;
    }
}

/// Toggles `count` tokens of those that fit, drawn with equal chances.
#[multiversion(targets("x86_64+bmi1+bmi2"))]
fn toggle_any(random: &mut Xoshiro256PlusPlus, spare: &mut Option<u32>, pool: Pool<'_>, count: usize) {
    if pool.has {
        draw_until::<true>(random, spare, pool, count);
    } else {
        draw_until::<false>(random, spare, pool, count);
    }
}

/// Draws until `count` tokens have changed.
#[inline(always)]
fn draw_until<const HAS: bool>(random: &mut Xoshiro256PlusPlus, spare: &mut Option<u32>, pool: Pool<'_>, count: usize) {
    let Pool { range, set, .. } = pool;
    let (start, range) = (range.start, range.len());
    let mut toggled = 0;
    if let Some(x) = spare.take() {
        toggled += toggle_one::<HAS>(set, start + scaled(x, range));
    }
    // In registers, over all draws.
    let mut state = random.clone();
    while toggled < count {
        let both = state.next_u64();
        toggled += toggle_one::<HAS>(set, start + scaled(both as u32, range));
        let other = (both >> 32) as u32;
        if toggled == count {
            *spare = Some(other);
        } else {
            toggled += toggle_one::<HAS>(set, start + scaled(other, range));
        }
    }
    *random = state;
}

/// Toggles `token` if it fits, and says whether: 1 or 0. Whether a draw fits is as good as random,
/// and a branch on it would be mispredicted.
#[inline(always)]
fn toggle_one<const HAS: bool>(set: &mut [Word], token: usize) -> usize {
    let (word, bit) = (&mut set[token / WORD_BITS], token % WORD_BITS);
    let before = *word;
    if HAS {
        *word = before & !(1 << bit);
        before >> bit & 1
    } else {
        *word = before | 1 << bit;
        !before >> bit & 1
    }
}

/// `floor(x * range / 2^32)`: of a random x, a number below `range`.
#[inline]
fn scaled(x: u32, range: usize) -> usize {
    ((u64::from(x) * range as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(skip: &str, churn: &str) -> GeneratorConfig {
        GeneratorConfig {
            skip: skip.parse().unwrap(),
            churn: churn.parse().unwrap(),
            seed: 7,
            ..GeneratorConfig::default()
        }
    }

    fn steps(config: &GeneratorConfig, layers: usize, prefill: usize, decode: usize) -> Vec<StepSkips> {
        config.check(prefill, decode).unwrap();
        let mut generator = Generator::new(config.clone(), layers, prefill + decode);
        (0..decode)
            .map(|step| {
                let mut skips = StepSkips::none(layers, prefill + decode);
                generator.next_step(prefill + step, &mut skips).unwrap();
                skips
            })
            .collect()
    }

    proptest! {
        #[test]
        fn draws_in_pairs_are_as_draws_one_by_one(
            words in prop::collection::vec(any::<Word>(), 1..9), has: bool, seed: u64, counts in prop::collection::vec(0usize..40, 1..5),
        ) {
            let tokens = words.len() * WORD_BITS;
            let (mut set, mut twin) = (words.clone(), words);
            let mut draws = Draws::new(Xoshiro256PlusPlus::seed_from_u64(seed));
            let mut one_by_one = Draws::new(Xoshiro256PlusPlus::seed_from_u64(seed));
            for count in counts {
                let fits = |token: usize, set: &[Word]| (set[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1) == has;
                let left = (0..tokens).filter(|token| fits(*token, &twin)).count();
                let count = count.min(left);
                if count > 0 {
                    let pool = Pool { range: 0..tokens, fitting: left, set: &mut set, has };
                    toggle_any(&mut draws.random, &mut draws.spare, pool, count);
                }
                let mut toggled = 0;
                while toggled < count {
                    let token = one_by_one.below(tokens);
                    if fits(token, &twin) {
                        twin[token / WORD_BITS] ^= 1 << (token % WORD_BITS);
                        toggled += 1;
                    }
                }
                prop_assert_eq!(&set, &twin);
            }
            prop_assert_eq!(draws.below(1 << 32), one_by_one.below(1 << 32), "neither has drawn more than the other");
        }
    }

    #[test]
    fn every_token_is_as_likely_and_layers_differ() {
        let all = steps(&config("0.4", "0.1"), 4, 200, 300);
        let mut skipped = vec![0u32; 200];
        for step in &all {
            for set in &step.sets {
                set.iter().filter(|token| *token < 200).for_each(|token| skipped[token] += 1);
            }
        }
        let mean = f64::from(skipped.iter().sum::<u32>()) / 200.0;
        assert!((mean / 1200.0 - 0.4).abs() < 0.02, "{mean}");
        // 1200 draws with a memory of about 10 steps: 120 independent ones, so a deviation of 0.13
        // is three sigma.
        for count in skipped {
            assert!((f64::from(count) / 1200.0 - 0.4).abs() < 0.25, "{count}");
        }
        let same = all[0].sets[0].iter().filter(|token| all[0].sets[1].contains(*token)).count();
        assert!((15..50).contains(&same), "{same} of 80 shared; 32 expected of independent layers");
    }

    #[test]
    fn old_bias_prefers_old_tokens() {
        let mean_age = |old_bias| {
            let config = GeneratorConfig { old_bias, ..config("0.2", "0.05") };
            let all = steps(&config, 1, 500, 50);
            let last = &all[49].sets[0];
            last.iter().sum::<usize>() as f64 / last.count() as f64
        };
        assert!(mean_age(0) > 200.0);
        assert!(mean_age(4) < 150.0);
    }

    #[test]
    fn refuses_more_than_may_be_skipped() {
        let config = GeneratorConfig { sinks: 4, recent: 32, ..config("0.9", "0") };
        assert!(config.check(0, 100).is_err(), "at a context of 36 none may be skipped");
        assert!(matches!(config.check(64, 1), Err(TraceError::TooManyKept { skipped: 57, eligible: 28, .. })));
        assert!(config.check(1024, 9).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn counts_churn_and_limits_are_exact(
            skip in 0u32..=1000, churn in 0u32..=1000, seed: u64, sinks in 0u32..5, recent in 0u32..9,
            old_bias in 0u32..3, prefill in 0usize..150, decode in 1usize..40,
        ) {
            let config = GeneratorConfig {
                skip: Ratio::from_permille(skip).unwrap(),
                churn: Ratio::from_permille(churn).unwrap(),
                seed, sinks, recent, old_bias, page_tokens: None,
            };
            prop_assume!(config.check(prefill, decode).is_ok());
            let all = steps(&config, 2, prefill, decode);
            for (step, skips) in all.iter().enumerate() {
                let context = prefill + step;
                let wanted = config.skip.floor_of(context as u64) as usize;
                for (layer, set) in skips.sets.iter().enumerate() {
                    prop_assert_eq!(skips.counts[layer], wanted);
                    prop_assert_eq!(set.count(), wanted);
                    prop_assert!(set.iter().all(|token| token >= sinks as usize && token + (recent as usize) < context));
                    if step > 0 {
                        let before = &all[step - 1].sets[layer];
                        let had = before.count();
                        let kept = recent as usize + sinks as usize;
                        let room = if wanted == 0 { 0 } else { context - kept - wanted };
                        let exchanged = (config.churn.round_of(had as u64) as usize).min(room);
                        prop_assert_eq!(before.count_without(set), exchanged);
                    }
                }
            }
        }
    }
}
