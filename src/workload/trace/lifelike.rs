//! Synthetic skip sets that behave like those of recorded attention.
//!
//! Every token has a score in every layer, and a step skips the tokens of the lowest scores. A
//! score is what the token's age gives it plus a random part, of which a share is fixed (heavy
//! hitters), a share drifts, and a share is new in each step; shares are common to all layers or a
//! layer's own, and common to neighbouring tokens or a token's own. [`Fit`](super::Fit) finds them
//! for a recorded trace.
//!
//! A step costs O(context) a layer: scores are small integers, and the lowest are found by
//! counting.

use super::{SkipSource, StepSkips, TraceError};
use crate::units::Ratio;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The parameters of synthetic skip sets that behave like recorded ones.
///
/// Every token has a score in every layer; a step skips the `floor(skip * context)` tokens of the
/// lowest scores. A score is what the token's age gives it ([`recency`](Self::recency)) and a
/// random part of variance 1, which is partly fixed for good (the heavy hitters), partly drifting,
/// and partly new in each step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "Lifelike", deny_unknown_fields)]
pub struct LifelikeConfig {
    /// The share of the context that is skipped: `floor(skip * context)` tokens in each layer,
    /// exactly.
    pub skip: Ratio,
    /// In the place of `skip`: how many tokens are read in each step, however long the context is,
    /// as top-k attention does.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::config::optional_count_from_1")]
    pub read: Option<u32>,
    /// Same seed, same sets.
    #[serde(deserialize_with = "crate::config::count")]
    pub seed: u64,
    /// So many tokens at the start are never skipped.
    #[serde(deserialize_with = "crate::config::count")]
    pub sinks: u32,
    /// The share of a score's variance that is new in each step: what makes sets of successive
    /// steps differ.
    pub exchange: Ratio,
    /// The share of a score's variance that fades over `drift_steps`. What exchange and drift leave
    /// is fixed for good.
    pub drift: Ratio,
    /// After so many steps about a third of the drifting part is what it was.
    #[serde(deserialize_with = "crate::config::count")]
    pub drift_steps: u32,
    /// The share of a score's variance that each layer has of its own; the rest is common to all
    /// layers.
    pub layer_independence: Ratio,
    /// The share of the fixed variance that neighbouring tokens have in common.
    pub patches: Ratio,
    /// Over so many tokens that share fades to about a third.
    #[serde(deserialize_with = "crate::config::count")]
    pub patch_tokens: u32,
    /// What a token's age adds to its score: entry i holds at the age of 2^i - 1, where the newest
    /// token's age is 0; in between on a straight line, and past the last entry as there. The
    /// higher, the less such tokens are skipped.
    pub recency: Vec<f64>,
}

impl Default for LifelikeConfig {
    fn default() -> Self {
        let share = |permille| Ratio::from_permille(permille).unwrap_or_default();
        Self {
            skip: Ratio::default(),
            read: None,
            seed: 0,
            sinks: 0,
            exchange: share(200),
            drift: share(200),
            drift_steps: 16,
            layer_independence: share(500),
            patches: share(300),
            patch_tokens: 4,
            recency: vec![0.0],
        }
    }
}

impl LifelikeConfig {
    /// The longest `drift_steps` and `patch_tokens`.
    pub const MAX_LENGTH: u32 = 1 << 20;
    /// The most entries of `recency`: enough for the longest context.
    pub const MAX_RECENCY: usize = 25;
    /// The largest entry of `recency`, and with the opposite sign the least.
    pub const MOST_RECENCY: f64 = 8.0;

    /// How many tokens of a context are skipped.
    #[must_use]
    pub fn skipped(&self, context: usize) -> usize {
        match self.read {
            Some(read) => context.saturating_sub(read as usize),
            None => self.skip.floor_of(context as u64) as usize,
        }
    }

    /// Whether every field is within its limits, and whether enough tokens may be skipped in each
    /// of `decode` steps from a context of `prefill` on.
    ///
    /// # Errors
    /// [`TraceError::Parameter`] or [`TraceError::TooManyKept`].
    pub fn check(&self, prefill: usize, decode: usize) -> Result<(), TraceError> {
        let wrong = |field: &'static str, value: String, limit: String| TraceError::Parameter { field, value, limit };
        if self.exchange.as_f64() + self.drift.as_f64() > 1.0 {
            let value = format!("{} and drift {}", self.exchange, self.drift);
            return Err(wrong("exchange", value, "together they must be at most 1".to_owned()));
        }
        for (field, value) in [("drift_steps", self.drift_steps), ("patch_tokens", self.patch_tokens)] {
            if !(1..=Self::MAX_LENGTH).contains(&value) {
                let limit = format!("it must be between 1 and {}", Self::MAX_LENGTH);
                return Err(wrong(field, value.to_string(), limit));
            }
        }
        if !(1..=Self::MAX_RECENCY).contains(&self.recency.len()) {
            let limit = format!("it must have between 1 and {}", Self::MAX_RECENCY);
            return Err(wrong("recency", format!("{} entries", self.recency.len()), limit));
        }
        let most = Self::MOST_RECENCY;
        if let Some(value) = self.recency.iter().find(|value| !(-most..=most).contains(*value)) {
            return Err(wrong("recency", value.to_string(), format!("each entry must be between -{most} and {most}")));
        }
        if let Some(read) = self.read {
            let value = read.to_string();
            if self.skip.as_f64() > 0.0 {
                return Err(wrong("read", value, format!("skip is {} as well: give one of the two", self.skip)));
            }
            if self.sinks > read {
                return Err(wrong("read", value, format!("sinks, which are always read, are {}", self.sinks)));
            }
            return Ok(());
        }
        // Each further token adds less than one that is skipped, so the first context with room for
        // the sinks is the tightest.
        let kept = u64::from(self.sinks);
        let last = (prefill + decode).saturating_sub(1).max(prefill);
        let context = kept.clamp(prefill as u64, last as u64);
        let (skipped, eligible) = (self.skip.floor_of(context), context.saturating_sub(kept));
        if skipped > eligible {
            return Err(TraceError::TooManyKept { skipped, context, sinks: self.sinks, recent: 0, eligible });
        }
        Ok(())
    }
}

/// Generates skip sets like recorded ones, step by step, by a [`LifelikeConfig`]: each layer, and
/// what the layers have in common, has a random stream of its own.
///
/// Scores are computed with additions, multiplications and square roots of IEEE floats alone, so
/// that the sets are the same on every machine.
pub struct Lifelike {
    config: LifelikeConfig,
    sinks: usize,
    range: usize,
    /// What age gives, the oldest first, for a context of the whole range.
    recency: Vec<f32>,
    common: Field,
    layers: Vec<Field>,
    /// Scratch space: what all layers have in common in a step; a layer's scores, in steps of
    /// [`RESOLUTION`].
    base: Vec<f32>,
    keys: Vec<u16>,
    histogram: Vec<u32>,
}

/// The deviation of a 16-bit integer that may have any value.
const DEVIATION_16: f32 = 18_918.614;
/// Scores are sorted into so many classes of the same width, in the middle of which is a score of
/// 0. Among those of one class older tokens count as lower.
const CLASSES: usize = 8192;
/// Classes within a deviation.
const RESOLUTION: f32 = 512.0;

impl Lifelike {
    /// A generator for `layers` layers of up to `range` tokens. [`LifelikeConfig::check`] must
    /// hold.
    #[must_use]
    pub fn new(config: &LifelikeConfig, layers: usize, range: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        let mut stream = || {
            let stream = random.clone();
            random.jump();
            stream
        };
        let own = config.layer_independence.as_f64() as f32;
        let common = Field::new(stream(), config, 1.0 - own, range);
        let layers = (0..layers).map(|_| Field::new(stream(), config, own, range)).collect();
        Self {
            config: config.clone(),
            sinks: config.sinks as usize,
            range,
            recency: (0..range).rev().map(|age| recency(&config.recency, age)).collect(),
            common,
            layers,
            base: vec![0.0; range],
            keys: vec![0; range],
            histogram: vec![0; CLASSES],
        }
    }

    /// What all layers add to the scores of a step.
    fn set_base(&mut self, context: usize) {
        self.common.draw(context);
        let recency = &self.recency[self.range - context..];
        let parts = self.common.fixed[..context].iter().zip(&mut self.common.drift).zip(&self.common.noise);
        let (fade, drift, exchange) = (self.common.fade, self.common.drift_scale, self.common.exchange_scale);
        for (((fixed, drifting), noise), (base, recency)) in parts.zip(self.base.iter_mut().zip(recency)) {
            *drifting = *drifting * fade + halves(*noise).0 * drift;
            *base = recency + fixed + *drifting + halves(*noise).1 * exchange;
        }
    }

    /// The scores of `layer`, as classes, and how many there are of each.
    fn set_keys(&mut self, layer: usize, context: usize) {
        let field = &mut self.layers[layer];
        field.draw(context);
        let parts = field.fixed[..context].iter().zip(&mut field.drift).zip(&field.noise);
        let (fade, drift, exchange) = (field.fade, field.drift_scale, field.exchange_scale);
        for (((fixed, drifting), noise), (key, base)) in parts.zip(self.keys.iter_mut().zip(&self.base)) {
            *drifting = *drifting * fade + halves(*noise).0 * drift;
            *key = class(base + fixed + *drifting + halves(*noise).1 * exchange);
        }
        self.histogram.fill(0);
        for key in &self.keys[self.sinks.min(context)..context] {
            self.histogram[usize::from(*key)] += 1;
        }
    }

    /// The class in which the `wanted` lowest scores end, and how many of it are among them.
    fn cut(&self, wanted: usize) -> (u16, u32) {
        let mut left = wanted as u32;
        for (class, count) in self.histogram.iter().enumerate() {
            if *count >= left {
                return (class as u16, left);
            }
            left -= count;
        }
        (CLASSES as u16 - 1, left)
    }

    /// Goes on from recorded sets, the last of which are `skips`, of a step with that context:
    /// changes what is fixed and what drifts just so much that the scores of that step would have
    /// skipped the same tokens.
    pub fn resume(&mut self, context: usize, skips: &StepSkips) {
        self.set_base(context);
        for layer in 0..self.layers.len() {
            self.set_keys(layer, context);
            let (cut, _) = self.cut(skips.counts[layer].max(1));
            let threshold = score(cut);
            let field = &mut self.layers[layer];
            for token in 0..context {
                let beyond = score(self.keys[token]) - threshold;
                if skips.sets[layer].contains(token) != (beyond <= 0.0) {
                    // Mirrored at the threshold: as far from it as before, on the other side.
                    let change = -2.0 * beyond + if beyond <= 0.0 { 1.0 / RESOLUTION } else { 0.0 };
                    field.fixed[token] += change * field.fixed_share;
                    field.drift[token] += change * (1.0 - field.fixed_share);
                }
            }
        }
    }
}

impl SkipSource for Lifelike {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let wanted = self.config.skipped(context);
        self.set_base(context);
        for layer in 0..self.layers.len() {
            self.set_keys(layer, context);
            let set = &mut skips.sets[layer];
            set.clear();
            if wanted > 0 {
                let cut = self.cut(wanted);
                select(&mut self.keys[..context], self.sinks, cut, set);
            }
            skips.counts[layer] = wanted;
        }
        Ok(())
    }
}

/// Adds the tokens from `first` on whose keys are below the cut, and so many of those at the cut as
/// it says.
fn select(keys: &mut [u16], first: usize, (cut, mut at_cut): (u16, u32), set: &mut TokenSet) {
    let before = first.min(keys.len());
    // Above every cut.
    keys[..before].fill(u16::MAX);
    for (word, keys) in set.words_mut().iter_mut().zip(keys.chunks(WORD_BITS)) {
        let (mut below, mut equal): (Word, Word) = (0, 0);
        for (bit, key) in keys.iter().enumerate() {
            below |= Word::from(*key < cut) << bit;
            equal |= Word::from(*key == cut) << bit;
        }
        *word = below;
        while equal != 0 && at_cut > 0 {
            let lowest = equal & equal.wrapping_neg();
            *word |= lowest;
            equal ^= lowest;
            at_cut -= 1;
        }
    }
}

/// The random parts of scores that a layer has of its own, or that all layers have in common.
struct Field {
    random: Xoshiro256PlusPlus,
    fixed: Vec<f32>,
    drift: Vec<f32>,
    /// Two random 16-bit integers a token.
    noise: Vec<u32>,
    fade: f32,
    drift_scale: f32,
    exchange_scale: f32,
    /// The fixed part's share of the fixed and the drifting variance.
    fixed_share: f32,
}

impl Field {
    /// A field of that variance.
    fn new(mut random: Xoshiro256PlusPlus, config: &LifelikeConfig, variance: f32, range: usize) -> Self {
        let (exchange, drift) = (config.exchange.as_f64() as f32, config.drift.as_f64() as f32);
        let fixed = (1.0 - exchange - drift).max(0.0);
        let patches = config.patches.as_f64() as f32;
        let near = 1.0 - 1.0 / config.patch_tokens as f32;
        let fade = 1.0 - 1.0 / config.drift_steps as f32;
        let mut patch = normal(&mut random);
        let fixed_values = (0..range)
            .map(|_| {
                patch = patch * near + normal(&mut random) * (1.0 - near * near).sqrt();
                let alone = normal(&mut random);
                (patch * patches.sqrt() + alone * (1.0 - patches).sqrt()) * (fixed * variance).sqrt()
            })
            .collect();
        let drift_values = (0..range).map(|_| normal(&mut random) * (drift * variance).sqrt()).collect();
        Self {
            fixed: fixed_values,
            drift: drift_values,
            noise: vec![0; range],
            fade,
            drift_scale: (drift * variance * (1.0 - fade * fade)).sqrt() / DEVIATION_16,
            exchange_scale: (exchange * variance).sqrt() / DEVIATION_16,
            fixed_share: if fixed + drift > 0.0 { fixed / (fixed + drift) } else { 1.0 },
            random,
        }
    }

    fn draw(&mut self, context: usize) {
        for pair in self.noise[..context].chunks_mut(2) {
            let both = self.random.next_u64();
            pair[0] = both as u32;
            if let Some(second) = pair.get_mut(1) {
                *second = (both >> 32) as u32;
            }
        }
    }
}

/// A random number of mean 0 and deviation 1, near enough to normal: the sum of four uniform ones.
fn normal(random: &mut Xoshiro256PlusPlus) -> f32 {
    let bits = random.next_u64();
    let quarter = |index: u32| f32::from((bits >> (16 * index)) as u16 as i16);
    (quarter(0) + quarter(1) + quarter(2) + quarter(3)) / (2.0 * DEVIATION_16)
}

/// Two random 16-bit integers.
#[inline]
fn halves(noise: u32) -> (f32, f32) {
    (f32::from(noise as u16 as i16), f32::from((noise >> 16) as u16 as i16))
}

/// The class of a score.
#[inline]
fn class(score: f32) -> u16 {
    /// Adding it leaves a number below 2^22, rounded to the nearest whole, in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let place = score * RESOLUTION + CLASSES as f32 / 2.0;
    let place = if place > 0.0 { place } else { 0.0 };
    let most = (CLASSES - 1) as f32;
    let place = if place < most { place } else { most };
    (place + ROUND).to_bits() as u16
}

/// The score in the middle of a class.
fn score(class: u16) -> f32 {
    (f32::from(class) - CLASSES as f32 / 2.0) / RESOLUTION
}

/// What an age adds to a score.
fn recency(entries: &[f64], age: usize) -> f32 {
    let class = (age + 1).ilog2() as usize;
    let Some(&from) = entries.get(class) else {
        return entries.last().copied().unwrap_or(0.0) as f32;
    };
    let to = entries.get(class + 1).copied().unwrap_or(from);
    let width = 1usize << class;
    let along = (age + 1 - width) as f64 / width as f64;
    (from + (to - from) * along) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::TraceStatistics;
    use proptest::prelude::*;

    fn share(permille: u32) -> Ratio {
        Ratio::from_permille(permille).unwrap()
    }

    fn measured(config: &LifelikeConfig, layers: usize, prefill: usize, steps: usize) -> TraceStatistics {
        config.check(prefill, steps).unwrap();
        let mut generator = Lifelike::new(config, layers, prefill + steps);
        TraceStatistics::measure(&mut generator, layers, prefill, steps).unwrap()
    }

    #[test]
    fn each_parameter_does_what_it_says() {
        let usual = LifelikeConfig { skip: share(400), seed: 3, ..LifelikeConfig::default() };
        let base = measured(&usual, 4, 600, 150).mean;

        let all_new =
            LifelikeConfig { exchange: share(1000), drift: share(0), layer_independence: share(1000), ..usual.clone() };
        let random = measured(&all_new, 4, 600, 150).mean;
        // Independent sets of 40 % share 0.16 of all tokens and have 0.64 together.
        for jaccard in [random.jaccard[0], random.layer_jaccard] {
            assert!((jaccard.unwrap() - 0.25).abs() < 0.01, "{jaccard:?}");
        }
        assert!((random.churn.unwrap() - 0.6).abs() < 0.01);

        let all_fixed = LifelikeConfig { exchange: share(0), drift: share(0), ..usual.clone() };
        let fixed = measured(&all_fixed, 4, 600, 150).mean;
        assert!(fixed.jaccard[0].unwrap() > 0.98, "{fixed:?}");
        // Sets that are 64 steps apart differ by what the context has grown.
        assert!(fixed.jaccard[2].unwrap() > 0.8, "{fixed:?}");

        let slower = measured(&LifelikeConfig { drift_steps: 200, ..usual.clone() }, 4, 600, 150).mean;
        assert!(slower.jaccard[2].unwrap() > base.jaccard[2].unwrap() + 0.02);

        let alike = measured(&LifelikeConfig { layer_independence: share(0), ..usual.clone() }, 4, 600, 150).mean;
        assert_eq!(alike.layer_jaccard, Some(1.0));

        let patchy = LifelikeConfig { patches: share(1000), patch_tokens: 30, ..usual.clone() };
        let patchy = measured(&patchy, 4, 600, 150).mean;
        assert!(patchy.read_run.unwrap() > 1.3 * base.read_run.unwrap());
        assert!(patchy.skipped_pages.unwrap() > base.skipped_pages.unwrap());

        let recent = LifelikeConfig { recency: vec![4.0, 4.0, 4.0, 4.0, 0.0], ..usual };
        let recent = measured(&recent, 4, 600, 150).skipped_by_age;
        assert!(recent[0] < 0.01 && recent[6] > 0.35, "{recent:?}");
    }

    #[test]
    fn top_k_attention_reads_as_many_tokens_in_each_step() {
        let config = LifelikeConfig { read: Some(50), sinks: 2, ..LifelikeConfig::default() };
        config.check(30, 60).unwrap();
        let mut generator = Lifelike::new(&config, 2, 90);
        let mut skips = StepSkips::none(2, 90);
        for context in 30..90 {
            generator.next_step(context, &mut skips).unwrap();
            assert_eq!(skips.counts, [context.saturating_sub(50); 2]);
            assert_eq!(skips.sets[0].count(), skips.counts[0]);
            assert!(!skips.sets[1].contains(0) && !skips.sets[1].contains(1));
        }
    }

    #[test]
    fn goes_on_from_given_sets() {
        let config =
            LifelikeConfig { skip: share(400), exchange: share(0), drift: share(0), ..LifelikeConfig::default() };
        let mut given = StepSkips::none(2, 400);
        for layer in 0..2 {
            given.sets[layer].extend((0..300).filter(|token| (token + layer) % 5 < 2));
            given.counts[layer] = given.sets[layer].count();
        }
        let mut generator = Lifelike::new(&config, 2, 400);
        generator.resume(300, &given);
        let mut next = StepSkips::none(2, 400);
        generator.next_step(301, &mut next).unwrap();
        for layer in 0..2 {
            // Nothing is exchanged: but for the new token's rank and scores of one class, the sets
            // are the given ones.
            let changed = given.sets[layer].count_without(&next.sets[layer]);
            assert!(changed <= 2, "{changed} of {} changed", given.counts[layer]);
        }
    }

    #[test]
    fn refuses_what_is_out_of_bounds() {
        let usual = LifelikeConfig { skip: share(400), ..LifelikeConfig::default() };
        for (wrong, field) in [
            (LifelikeConfig { read: Some(40), ..usual.clone() }, "read"),
            (LifelikeConfig { read: Some(4), skip: share(0), sinks: 5, ..usual.clone() }, "read"),
            (LifelikeConfig { exchange: share(700), drift: share(400), ..usual.clone() }, "exchange"),
            (LifelikeConfig { drift_steps: 0, ..usual.clone() }, "drift_steps"),
            (LifelikeConfig { patch_tokens: 1 << 21, ..usual.clone() }, "patch_tokens"),
            (LifelikeConfig { recency: vec![], ..usual.clone() }, "recency"),
            (LifelikeConfig { recency: vec![f64::NAN], ..usual.clone() }, "recency"),
            (LifelikeConfig { recency: vec![9.0], ..usual.clone() }, "recency"),
        ] {
            let message = wrong.check(100, 10).unwrap_err().to_string();
            assert!(message.contains(&format!("trace.{field}")), "{message}");
        }
        let sinks = LifelikeConfig { sinks: 90, ..usual };
        assert!(matches!(sinks.check(100, 10), Err(TraceError::TooManyKept { skipped: 40, eligible: 10, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn sets_are_those_of_the_lowest_scores_sorted(
            skip in 0u32..=1000, sinks in 0u32..4, seed: u64, exchange in 0u32..=500, drift in 0u32..=500,
            prefill in 0usize..200, decode in 1usize..12, slope in -6.0f64..6.0,
        ) {
            let config = LifelikeConfig {
                skip: share(skip), seed, sinks, exchange: share(exchange), drift: share(drift),
                recency: vec![slope, 0.0, -slope], ..LifelikeConfig::default()
            };
            prop_assume!(config.check(prefill, decode).is_ok());
            let (mut fast, mut slow) =
                (Lifelike::new(&config, 2, prefill + decode), Lifelike::new(&config, 2, prefill + decode));
            let mut skips = StepSkips::none(2, prefill + decode);
            for context in prefill..prefill + decode {
                fast.next_step(context, &mut skips).unwrap();
                slow.set_base(context);
                for layer in 0..2 {
                    slow.set_keys(layer, context);
                    let mut order: Vec<usize> = (sinks as usize..context).collect();
                    order.sort_by_key(|token| (slow.keys[*token], *token));
                    order.truncate(config.skipped(context));
                    order.sort_unstable();
                    prop_assert_eq!(skips.counts[layer], order.len());
                    prop_assert_eq!(skips.sets[layer].iter().collect::<Vec<_>>(), order);
                }
            }
        }
    }
}
