//! Synthetic routing: Zipf popularity, persistence from a step to the next, and correlation of
//! adjacent layers.
//!
//! Token i of a step belongs to *stream* i, a sequence of its own. A stream holds a random number
//! for each expert that a token uses in each layer; the number decides which expert it is
//! ([`Slots`]). From a step to the next a number is kept with the probability `persistence`, else
//! drawn anew. A number drawn anew is with the probability `correlation` that of the same slot in
//! the layer before, and then changes whenever that one does; else it is a fresh one. So each
//! number is kept with exactly that probability, a share of exactly `correlation` follows the layer
//! before, and each is uniform at any time: the experts' probabilities are those of [`Routing`].
//!
//! A step costs O(active) for each layer of each token, with a factor of log(count).

use super::RoutingSource;
use super::config::RoutingGeneratorConfig;
use super::slots::{Slots, shuffle};
use crate::units::LayerId;
use crate::workload::TokenSet;
use crate::workload::trace::{SkipSource, StepSkips, TraceError};
use crate::workload::union::Routing;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// Generates the experts of each step's tokens.
///
/// Streams are independent of each other, and the same however many there are. One that has no
/// token in a step ends; the token that later takes its place starts a new one. Streams past
/// [`MAX_STREAMS`](Self::MAX_STREAMS), which only chunks of prompts have, start anew in each step.
pub struct RoutingGenerator {
    seed: u64,
    /// Of 2^32 numbers, how many are kept, and how many of the new ones follow.
    keep: u64,
    follow: u64,
    layers: Vec<Layer>,
    /// How many layers the model has, with and without experts.
    all: usize,
    streams: Vec<Stream>,
    /// The stream that is drawn and forgotten.
    passing: Stream,
    step: u64,
    /// The experts in use, by layer with experts.
    used: Vec<TokenSet>,
}

/// A layer with experts.
struct Layer {
    layer: usize,
    slots: usize,
    /// Which of [`Slots`] are this layer's: layers that route alike share them.
    shared: std::sync::Arc<Slots>,
    /// The expert of each rank.
    experts: Vec<u32>,
}

/// The random numbers of one stream, by layer, then slot.
struct Stream {
    random: Xoshiro256PlusPlus,
    numbers: Vec<Number>,
}

#[derive(Clone, Copy, Default)]
struct Number {
    value: u64,
    /// Whether it is that of the layer before.
    follows: bool,
    /// Whether it was drawn anew in the present step.
    new: bool,
}

impl RoutingGenerator {
    /// How many streams are kept from a step to the next.
    pub const MAX_STREAMS: usize = 4096;

    /// A generator for a model of such layers. [`RoutingGeneratorConfig::check`] must hold.
    #[must_use]
    pub fn new(config: &RoutingGeneratorConfig, layers: &[Option<Routing>]) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        let mut known: Vec<(Routing, std::sync::Arc<Slots>)> = Vec::new();
        let mut made = Vec::new();
        for (layer, routing) in layers.iter().enumerate() {
            let Some(routing) = routing.map(|routing| config.applied(routing)) else { continue };
            let shared = match known.iter().find(|(other, _)| *other == routing) {
                Some((_, slots)) => slots.clone(),
                None => {
                    let slots = std::sync::Arc::new(Slots::new(&routing, &mut random));
                    known.push((routing, slots.clone()));
                    slots
                }
            };
            let mut experts: Vec<u32> = (0..routing.count()).collect();
            shuffle(&mut experts, &mut random);
            made.push(Layer { layer, slots: shared.len(), shared, experts });
        }
        let used = made.iter().map(|layer| TokenSet::new(layer.experts.len())).collect();
        let passing = Stream { random, numbers: Vec::new() };
        Self {
            seed: config.seed,
            keep: config.persistence.floor_of(1 << 32),
            follow: config.correlation.floor_of(1 << 32),
            layers: made,
            all: layers.len(),
            streams: Vec::new(),
            passing,
            step: 0,
            used,
        }
    }
}

impl RoutingGenerator {
    /// Moves on to the next step, with so many streams that are kept.
    fn advance(&mut self, kept: usize) {
        self.streams.truncate(kept);
        for stream in &mut self.streams {
            stream.advance(&self.layers, (self.keep, self.follow));
        }
        while self.streams.len() < kept {
            let mut stream = Stream { random: self.passing.random.clone(), numbers: Vec::new() };
            stream.start(&self.layers, self.follow, (self.seed, self.streams.len(), self.step));
            self.streams.push(stream);
        }
    }

    /// The sets of each token of each layer as a recording has them, of so many tokens in each
    /// step, at most [`MAX_STREAMS`](Self::MAX_STREAMS): row `layer * tokens + token`.
    #[must_use]
    pub fn by_token(self, tokens: usize) -> impl SkipSource + Send {
        ByToken { generator: self, tokens }
    }
}

/// The experts of each token.
struct ByToken {
    generator: RoutingGenerator,
    tokens: usize,
}

impl SkipSource for ByToken {
    fn next_step(&mut self, _experts: usize, sets: &mut StepSkips) -> Result<(), TraceError> {
        let generator = &mut self.generator;
        generator.advance(self.tokens);
        generator.step += 1;
        sets.sets.iter_mut().for_each(TokenSet::clear);
        sets.counts.fill(0);
        for (token, stream) in generator.streams.iter().enumerate() {
            stream.draw(&generator.layers, |place, expert| {
                let row = generator.layers[place].layer * self.tokens + token;
                sets.sets[row].insert(expert);
                sets.counts[row] += 1;
            });
        }
        Ok(())
    }
}

impl RoutingSource for RoutingGenerator {
    fn next_step(&mut self, tokens: usize, unread: &mut StepSkips) -> Result<(), TraceError> {
        self.used.iter_mut().for_each(TokenSet::clear);
        let kept = tokens.min(Self::MAX_STREAMS);
        self.advance(kept);
        for stream in &self.streams {
            stream.draw(&self.layers, |layer, expert| self.used[layer].insert(expert));
        }
        for stream in kept..tokens {
            // Thousands of tokens use every expert, and each stream has random numbers of its own.
            if stream % 256 == 0
                && self.layers.iter().zip(&self.used).all(|(layer, used)| used.count() == layer.experts.len())
            {
                break;
            }
            self.passing.start(&self.layers, self.follow, (self.seed, stream, self.step));
            self.passing.draw(&self.layers, |layer, expert| self.used[layer].insert(expert));
        }
        self.step += 1;
        debug_assert_eq!(unread.sets.len(), self.all);
        unread.sets.iter_mut().for_each(TokenSet::clear);
        unread.counts.fill(0);
        for (layer, used) in self.layers.iter().zip(&self.used) {
            let (set, count) = (&mut unread.sets[layer.layer], layer.experts.len());
            set.insert_all(0..count);
            for (word, used) in set.words_mut().iter_mut().zip(used.words()) {
                *word &= !used;
            }
            unread.counts[layer.layer] = count - used.count();
        }
        Ok(())
    }

    fn popularity(&self, layer: LayerId) -> Vec<f64> {
        let Some(layer) = self.layers.iter().find(|it| it.layer == layer.index()) else { return Vec::new() };
        let mut popularity = vec![0.0; layer.experts.len()];
        for (expert, probability) in layer.experts.iter().zip(layer.shared.probabilities()) {
            popularity[*expert as usize] = probability;
        }
        popularity
    }
}

impl Stream {
    /// Draws all numbers of the stream of that seed and place, which starts in that step.
    fn start(&mut self, layers: &[Layer], follow: u64, (seed, place, step): (u64, usize, u64)) {
        // Odd multiples of a seed's bits, so that neighbouring streams and steps have other seeds.
        let mixed = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.random =
            Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ mixed);
        self.numbers.clear();
        self.numbers.resize(layers.iter().map(|layer| layer.slots).sum(), Number::default());
        self.advance(layers, (0, follow));
    }

    /// Moves on to the next step: of 2^32 numbers so many are kept, and of the new ones so many
    /// follow.
    fn advance(&mut self, layers: &[Layer], (keep, follow): (u64, u64)) {
        let (mut start, mut before) = (0, 0);
        for layer in layers {
            for slot in 0..layer.slots {
                let above = (slot < before).then(|| self.numbers[start - before + slot]);
                let number = self.numbers[start + slot];
                let new = match above {
                    Some(above) if number.follows && keep > 0 => above.new,
                    _ => self.random.next_u64() >> 32 >= keep,
                };
                self.numbers[start + slot] = match above {
                    _ if !new => Number { new, ..number },
                    Some(above) if self.random.next_u64() >> 32 < follow => {
                        Number { value: above.value, follows: true, new }
                    }
                    _ => Number { value: self.random.next_u64(), follows: false, new },
                };
            }
            (start, before) = (start + layer.slots, layer.slots);
        }
    }

    /// Calls `drawn` with each of the stream's experts and the place of its layer.
    fn draw(&self, layers: &[Layer], mut drawn: impl FnMut(usize, usize)) {
        let mut rest = self.numbers.as_slice();
        for (place, layer) in layers.iter().enumerate() {
            let (numbers, others) = rest.split_at(layer.slots);
            let experts = &layer.experts;
            layer.shared.draw(numbers.iter().map(|number| number.value), |rank| {
                drawn(place, experts[rank as usize] as usize);
            });
            rest = others;
        }
    }
}

impl RoutingGeneratorConfig {
    /// A stream of routing for a model of such layers, of which some have experts.
    ///
    /// # Errors
    /// [`TraceError`] if a parameter is not right, or no layer has experts.
    pub fn source(&self, layers: &[Option<Routing>]) -> Result<Box<dyn RoutingSource>, TraceError> {
        self.check()?;
        if layers.iter().all(Option::is_none) {
            return Err(TraceError::NoExperts);
        }
        Ok(Box::new(RoutingGenerator::new(self, layers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::Popularity;
    use crate::workload::routing::unread;
    use proptest::prelude::*;

    fn share(permille: u32) -> Ratio {
        Ratio::from_permille(permille).unwrap()
    }

    fn config(persistence: u32, correlation: u32, seed: u64) -> RoutingGeneratorConfig {
        RoutingGeneratorConfig {
            exponent: None,
            persistence: share(persistence),
            correlation: share(correlation),
            seed,
        }
    }

    fn zipf(count: u32, active: u32, exponent: f64) -> Option<Routing> {
        Some(Routing::new(count, active, Popularity::Zipf(exponent)).unwrap())
    }

    /// The experts that each step's tokens use, by step, then layer.
    fn used(
        config: &RoutingGeneratorConfig,
        layers: &[Option<Routing>],
        tokens: &[usize],
    ) -> (RoutingGenerator, Vec<Vec<Vec<usize>>>) {
        let mut generator = RoutingGenerator::new(config, layers);
        let mut skips = unread(layers);
        let steps = tokens.iter().map(|tokens| {
            generator.next_step(*tokens, &mut skips).unwrap();
            let of_layer = |(set, count): (&TokenSet, &usize)| {
                assert_eq!(set.count(), *count);
                (0..set.range()).filter(|expert| !set.contains(*expert)).collect::<Vec<_>>()
            };
            skips.sets.iter().zip(&skips.counts).map(of_layer).collect()
        });
        let steps = steps.collect();
        (generator, steps)
    }

    /// The share of `these` that are in `those`.
    fn overlap(these: &[usize], those: &[usize]) -> f64 {
        these.iter().filter(|it| those.contains(it)).count() as f64 / these.len() as f64
    }

    #[test]
    fn experts_are_as_popular_as_they_are_to_be_whatever_persists_or_follows() {
        let layers = [zipf(24, 4, 1.0), None, zipf(24, 4, 1.0), zipf(10, 3, 0.0)];
        for (persistence, correlation) in [(0, 0), (700, 0), (0, 800), (600, 700)] {
            let steps = 40_000;
            let (generator, used) = used(&config(persistence, correlation, 5), &layers, &vec![2; steps]);
            assert!(used.iter().all(|step| step[1].is_empty()));
            assert_eq!(generator.popularity(LayerId::new(1)), Vec::<f64>::new());
            for layer in [0, 2, 3] {
                let popularity = generator.popularity(LayerId::new(layer));
                let routing = layers[layer].unwrap();
                assert!((popularity.iter().sum::<f64>() - f64::from(routing.active())).abs() < 1e-9);
                for (expert, popularity) in popularity.iter().enumerate() {
                    let found = used.iter().filter(|step| step[layer].contains(&expert)).count() as f64 / steps as f64;
                    let wanted = 1.0 - (1.0 - popularity).powi(2);
                    assert!(
                        (found - wanted).abs() < 0.015,
                        "{persistence} {correlation} {layer} {expert}: {found} {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn unions_are_of_the_expected_size() {
        for (count, active, exponent, tokens) in [(128, 8, 0.0, 16), (128, 8, 1.0, 8), (64, 6, 0.7, 32), (8, 2, 1.2, 4)]
        {
            let layers = [zipf(count, active, exponent); 3];
            let (_, used) = used(&config(300, 400, 9), &layers, &vec![tokens; 1000]);
            let mean = used.iter().flatten().map(|layer| layer.len() as f64).sum::<f64>() / 3000.0;
            let wanted = layers[0].unwrap().union(tokens as u32);
            assert!((mean / wanted - 1.0).abs() < 0.01, "{count} {active} {exponent} {tokens}: {mean} for {wanted}");
        }
        // More streams than are kept: all experts but those that are never drawn.
        let layers = [zipf(128, 8, 0.0)];
        let (_, used) = used(&config(500, 0, 9), &layers, &[RoutingGenerator::MAX_STREAMS + 700]);
        assert_eq!(used[0][0].len(), 128);
    }

    /// What is kept, and what follows, are measured as the overlap beyond that of independent
    /// draws.
    #[test]
    fn persistence_and_correlation_are_as_asked_for() {
        let layers = [zipf(64, 6, 0.6), zipf(64, 6, 0.6), zipf(64, 6, 0.6)];
        let steps = 6000;
        let measured = |persistence, correlation| {
            let (generator, used) = used(&config(persistence, correlation, 3), &layers, &vec![1; steps]);
            let mut kept = [0.0; 3];
            let mut follows = [0.0; 2];
            let rank = |layer: usize, expert: usize| {
                generator.layers[layer].experts.iter().position(|it| *it as usize == expert).unwrap()
            };
            for pair in used.windows(2) {
                let ranks: Vec<Vec<usize>> =
                    (0..3).map(|l| pair[1][l].iter().map(|it| rank(l, *it)).collect()).collect();
                for (layer, kept) in kept.iter_mut().enumerate() {
                    *kept += overlap(&pair[1][layer], &pair[0][layer]) / (steps - 1) as f64;
                }
                for (layer, follows) in follows.iter_mut().enumerate() {
                    *follows += overlap(&ranks[layer + 1], &ranks[layer]) / (steps - 1) as f64;
                }
            }
            (kept, follows)
        };
        let (chance, _) = measured(0, 0);
        for (persistence, correlation) in [(0, 0), (500, 0), (900, 600), (0, 1000), (400, 300)] {
            let (kept, follows) = measured(persistence, correlation);
            let beyond = |wanted: u32, chance: f64| f64::from(wanted) / 1000.0 * (1.0 - chance) + chance;
            for (kept, chance) in kept.iter().zip(&chance) {
                let wanted = beyond(persistence, *chance);
                assert!((kept - wanted).abs() < 0.015, "{persistence} {correlation}: {kept} kept for {wanted}");
            }
            for follows in follows {
                // By chance ranks agree as experts of a layer do from step to step.
                let wanted = beyond(correlation, chance[0]);
                assert!((follows - wanted).abs() < 0.025, "{persistence} {correlation}: {follows} follow for {wanted}");
            }
        }
    }

    #[test]
    fn a_stream_is_the_same_whatever_the_others_do() {
        let layers = [zipf(64, 4, 1.0), zipf(32, 2, 0.5)];
        let (_, one) = used(&config(500, 500, 7), &layers, &[1; 40]);
        let (_, many) = used(&config(500, 500, 7), &layers, &[3, 1, 9, 2].repeat(10));
        for (one, many) in one.iter().zip(&many) {
            for (one, many) in one.iter().zip(many) {
                assert!(one.iter().all(|expert| many.contains(expert)));
            }
        }
        // A stream that starts later is not one that has been there before.
        let (_, again) = used(&config(0, 0, 7), &layers, &[2, 1, 2, 1, 2]);
        assert!(again[0] != again[2] || again[2] != again[4]);
    }

    #[test]
    fn no_token_reads_no_expert_and_what_was_in_the_sets_does_not_matter() {
        let layers = [zipf(8, 2, 0.0), None];
        let mut generator = RoutingGenerator::new(&config(0, 0, 0), &layers);
        let mut skips = unread(&layers);
        generator.next_step(0, &mut skips).unwrap();
        assert_eq!(skips.counts, [8, 0]);
        skips.sets[0].clear();
        skips.counts = vec![77, 77];
        generator.next_step(1, &mut skips).unwrap();
        assert_eq!((skips.counts[0], skips.counts[1], skips.sets[0].count()), (6, 0, 6));
    }

    /// The same sets on every machine and in every later version.
    #[test]
    fn the_numbers_of_a_seed_do_not_change() {
        let layers = [zipf(16, 3, 1.0), zipf(16, 3, 1.0)];
        let (_, used) = used(&config(500, 500, 42), &layers, &[1, 1, 2]);
        let wanted = [
            [vec![1, 3, 6], vec![0, 4, 9]],
            [vec![1, 2, 6], vec![7, 10, 14]],
            [vec![1, 6, 8, 12], vec![0, 4, 7, 10, 13]],
        ];
        assert_eq!(used, wanted);
    }

    #[test]
    fn exponents_are_those_of_the_configuration_or_the_models() {
        let layers = [zipf(16, 3, 1.0)];
        let popularity = |exponent| {
            let config = RoutingGeneratorConfig { exponent, ..config(0, 0, 0) };
            config.check().unwrap();
            RoutingGenerator::new(&config, &layers).popularity(LayerId::new(0))
        };
        assert_eq!(popularity(None), popularity(Some(1.0)));
        assert!(popularity(Some(0.0)).iter().all(|it| (it - 3.0 / 16.0).abs() < 1e-9));
        let message =
            RoutingGeneratorConfig { exponent: Some(9.0), ..config(0, 0, 0) }.check().unwrap_err().to_string();
        assert!(message.contains("routing.exponent is 9"), "{message}");
    }

    /// The twin: the experts of stream 0 alone, number by number, each found by going along the
    /// slots' probabilities.
    fn twin(generator: &RoutingGenerator, config: &RoutingGeneratorConfig, steps: usize) -> Vec<Vec<Vec<usize>>> {
        let coin = |random: &mut Xoshiro256PlusPlus, share: Ratio| {
            ((random.next_u64() >> 32) as f64) < (share.as_f64() * (1u64 << 32) as f64).floor()
        };
        let mut first = Stream { random: Xoshiro256PlusPlus::seed_from_u64(0), numbers: Vec::new() };
        first.start(&[], 0, (config.seed, 0, 0));
        let mut random = first.random;
        let mut held: Vec<Vec<(u64, bool)>> = Vec::new();
        let mut all = Vec::new();
        for step in 0..steps {
            let mut redrawn: Vec<Vec<bool>> = Vec::new();
            let mut experts = Vec::new();
            for (at, layer) in generator.layers.iter().enumerate() {
                let mut now = held.get(at).cloned().unwrap_or_else(|| vec![(0, false); layer.slots]);
                let mut new = vec![false; layer.slots];
                for slot in 0..layer.slots {
                    let leads = at > 0 && slot < generator.layers[at - 1].slots;
                    let keeps = config.persistence.as_f64() > 0.0 && step > 0;
                    new[slot] = if leads && now[slot].1 && keeps {
                        redrawn[at - 1][slot]
                    } else if step == 0 {
                        random.next_u64();
                        true
                    } else {
                        !coin(&mut random, config.persistence)
                    };
                    if new[slot] {
                        let follows = leads && coin(&mut random, config.correlation);
                        let value = if follows { held[at - 1][slot].0 } else { random.next_u64() };
                        now[slot] = (value, follows);
                    }
                }
                let mut drawn = Vec::new();
                layer.shared.draw(now.iter().map(|it| it.0), |rank| drawn.push(layer.experts[rank as usize] as usize));
                drawn.sort_unstable();
                experts.push(drawn);
                redrawn.push(new);
                if held.len() > at { held[at] = now } else { held.push(now) }
            }
            all.push(experts);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_stream_is_the_one_that_is_drawn_number_by_number(
            persistence in prop_oneof![Just(0u32), Just(1000), 0u32..=1000], correlation in 0u32..=1000, seed: u64,
            shapes in prop::collection::vec((1u32..40, 1u32..6, 0.0f64..3.0), 1..5),
        ) {
            let layers: Vec<_> = shapes.iter().map(|(count, active, e)| zipf(*count, (*active).min(*count), *e)).collect();
            let config = config(persistence, correlation, seed);
            let (generator, used) = used(&config, &layers, &[1; 12]);
            prop_assert_eq!(used, twin(&generator, &config, 12));
        }
    }
}
