//! Recorded routing: which experts the tokens of each step of a real run were routed to.
//!
//! A recording is read into memory as a whole ([`ExpertSteps`]): it is small, a layout by
//! popularity needs all of it, and a recorded token may stand for several of a run.

use super::config::{RecordedRoutingConfig, RoutingExtend};
use super::{RoutingSource, unread};
use crate::units::LayerId;
use crate::workload::TokenSet;
use crate::workload::trace::{ExpertsShape, Recorded, StepSkips, TraceError};
use crate::workload::union::Routing;
use std::sync::Arc;

/// The experts of all tokens of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertSteps {
    name: String,
    steps: usize,
    layers: usize,
    shape: ExpertsShape,
    /// The layers that have experts.
    routed: Vec<usize>,
    /// By step, then layer with experts, then token: each token's experts, the lowest first.
    experts: Vec<u16>,
}

impl ExpertSteps {
    /// The most experts of all tokens together.
    pub const MAX_ENTRIES: u64 = 1 << 29;

    /// Reads all steps of `recording`, called `name` in messages.
    ///
    /// # Errors
    /// [`TraceError`] if it is not of routing, too large, or damaged.
    pub fn read(name: &str, recording: &mut dyn Recorded) -> Result<Self, TraceError> {
        let header = recording.header().clone();
        let shape = header.want_experts(name)?;
        let entries = header.rows().saturating_mul(shape.active as u64);
        if entries > Self::MAX_ENTRIES {
            return Err(TraceError::RoutingTooLarge { path: name.to_owned(), entries, most: Self::MAX_ENTRIES });
        }
        let mut sets = header.room();
        let mut found = Self {
            name: name.to_owned(),
            steps: header.steps,
            layers: header.layers,
            shape,
            routed: Vec::new(),
            experts: Vec::new(),
        };
        for step in 0..header.steps {
            recording.next_step(header.context(step), &mut sets)?;
            if step == 0 {
                found.routed = (0..header.layers).filter(|layer| sets.counts[layer * shape.tokens] > 0).collect();
            }
            // The most are below 2^16.
            found.experts.extend(sets.sets.iter().flat_map(TokenSet::iter).map(|expert| expert as u16));
        }
        Ok(found)
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How many experts, of how many a token uses, and how many tokens a step has.
    #[must_use]
    pub fn shape(&self) -> ExpertsShape {
        self.shape
    }

    /// The layers that have experts.
    #[must_use]
    pub fn routed(&self) -> &[usize] {
        &self.routed
    }

    /// The experts of a token, the lowest first; `place` is the layer's among those with experts.
    #[must_use]
    pub fn of(&self, step: usize, place: usize, token: usize) -> &[u16] {
        let row = (step * self.routed.len() + place) * self.shape.tokens + token;
        &self.experts[row * self.shape.active..][..self.shape.active]
    }

    /// The share of the tokens from step `first` on that are routed to each expert of a layer.
    #[must_use]
    pub fn popularity(&self, place: usize, first: usize) -> Vec<f64> {
        let mut counts = vec![0u64; self.shape.experts];
        for step in first..self.steps {
            for token in 0..self.shape.tokens {
                self.of(step, place, token).iter().for_each(|expert| counts[usize::from(*expert)] += 1);
            }
        }
        let tokens = ((self.steps - first) * self.shape.tokens) as f64;
        counts.into_iter().map(|count| count as f64 / tokens).collect()
    }
}

/// Recorded routing, made to fit a run.
pub struct RecordedRouting {
    experts: Arc<ExpertSteps>,
    config: RecordedRoutingConfig,
    /// The model's layer of each recorded one that has experts.
    layers: Vec<usize>,
    /// All experts of each layer, unread.
    all: StepSkips,
    step: usize,
}

impl RecordedRouting {
    /// For a model whose layers route so, and so many steps. The recording has the model's layers,
    /// or those of them that have experts.
    ///
    /// # Errors
    /// [`TraceError`] if layers, experts or steps do not fit.
    pub fn new(
        experts: Arc<ExpertSteps>,
        config: &RecordedRoutingConfig,
        layers: &[Option<Routing>],
        steps: usize,
    ) -> Result<Self, TraceError> {
        let path = || experts.name.clone();
        let wanted: Vec<usize> = (0..layers.len()).filter(|layer| layers[*layer].is_some()).collect();
        if wanted.is_empty() {
            return Err(TraceError::NoExperts);
        }
        let same = experts.layers == layers.len() && experts.routed == wanted;
        let only_routed = experts.layers == wanted.len() && experts.routed.len() == wanted.len();
        if !same && !only_routed {
            return Err(TraceError::RoutingLayers {
                path: path(),
                recorded: experts.layers,
                routed: experts.routed.len(),
                layers: layers.len(),
                wanted: wanted.len(),
            });
        }
        let ExpertsShape { experts: count, active, .. } = experts.shape;
        for layer in wanted.iter().copied() {
            let found = layers[layer].map(|routing| (routing.count() as usize, routing.active() as usize));
            if let Some((wanted, wanted_active)) = found.filter(|found| *found != (count, active)) {
                let path = path();
                return Err(TraceError::RoutingExperts { path, layer, active, experts: count, wanted_active, wanted });
            }
        }
        let first_step = config.first_step as usize;
        if first_step >= experts.steps {
            return Err(TraceError::FirstStep { path: path(), first_step, recorded: experts.steps });
        }
        let usable = experts.steps - first_step;
        if steps > usable && config.extend == RoutingExtend::No {
            return Err(TraceError::RoutingTooShort { path: path(), recorded: usable, wanted: steps });
        }
        Ok(Self { experts, config: config.clone(), layers: wanted, all: unread(layers), step: 0 })
    }
}

impl RoutingSource for RecordedRouting {
    fn next_step(&mut self, tokens: usize, unread: &mut StepSkips) -> Result<(), TraceError> {
        let (experts, first) = (&self.experts, self.config.first_step as usize);
        let (recorded, usable) = (experts.shape.tokens, experts.steps - first);
        if self.config.extend == RoutingExtend::No {
            let path = || experts.name.clone();
            if tokens > recorded {
                return Err(TraceError::RoutingTokens { path: path(), recorded, wanted: tokens });
            }
            if self.step >= usable {
                return Err(TraceError::RoutingTooShort { path: path(), recorded: usable, wanted: self.step + 1 });
            }
        }
        for (set, all) in unread.sets.iter_mut().zip(&self.all.sets) {
            set.copy_from(all);
        }
        unread.counts.copy_from_slice(&self.all.counts);
        // The tokens that one recorded token stands for are of steps as far apart as they can be.
        let apart = (usable / tokens.div_ceil(recorded).max(1)).max(1);
        // More than all recorded steps would only be read again.
        for token in 0..tokens.min(recorded * usable) {
            let step = first + (self.step + token / recorded * apart) % usable;
            for (place, layer) in self.layers.iter().enumerate() {
                for expert in experts.of(step, place, token % recorded).iter().map(|expert| usize::from(*expert)) {
                    if unread.sets[*layer].contains(expert) {
                        unread.sets[*layer].remove(expert);
                        unread.counts[*layer] -= 1;
                    }
                }
            }
        }
        self.step += 1;
        Ok(())
    }

    fn popularity(&self, layer: LayerId) -> Vec<f64> {
        let place = self.layers.iter().position(|it| *it == layer.index());
        place.map_or_else(Vec::new, |place| self.experts.popularity(place, self.config.first_step as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::{
        Encoding, ExpertsShape, JsonLinesWriter, ParquetWriter, Popularity, Recording, RoutingGenerator,
        RoutingGeneratorConfig, SkipSource, TraceHeader, TraceKind,
    };

    const STEPS: usize = 20;

    fn layers() -> Vec<Option<Routing>> {
        let routing = Routing::new(12, 3, Popularity::Zipf(0.7));
        vec![routing, None, routing]
    }

    fn header(tokens: usize) -> TraceHeader {
        let shape = ExpertsShape { experts: 12, active: 3, tokens };
        TraceHeader { kind: TraceKind::Experts(shape), ..TraceHeader::skips(3, 0, STEPS) }
    }

    fn generator() -> RoutingGenerator {
        let half = Ratio::from_permille(500).unwrap();
        let config = RoutingGeneratorConfig { persistence: half, correlation: half, ..Default::default() };
        RoutingGenerator::new(&config, &layers())
    }

    fn written(tokens: usize, json: bool) -> bytes::Bytes {
        let header = header(tokens);
        let (mut source, mut sets) = (generator().by_token(tokens), header.room());
        let mut rows = Vec::new();
        for step in 0..STEPS {
            source.next_step(header.context(step), &mut sets).unwrap();
            rows.push(sets.clone());
        }
        if json {
            let mut writer = JsonLinesWriter::new(Vec::new(), header).unwrap();
            rows.iter().for_each(|sets| writer.write(sets).unwrap());
            return writer.finish().unwrap().into();
        }
        let mut writer = ParquetWriter::new(Vec::new(), &header, Encoding::Differences, 1).unwrap();
        rows.iter().for_each(|sets| writer.write(sets).unwrap());
        writer.finish().unwrap().into()
    }

    fn read(tokens: usize, json: bool) -> Arc<ExpertSteps> {
        let mut recording = Recording::in_memory("test", written(tokens, json)).unwrap();
        Arc::new(ExpertSteps::read("test", &mut recording).unwrap())
    }

    #[test]
    fn what_a_generator_wrote_is_what_it_generates() {
        for tokens in [1, 4] {
            assert_eq!(read(tokens, false), read(tokens, true));
            let config = RecordedRoutingConfig::default();
            let mut recorded = RecordedRouting::new(read(tokens, false), &config, &layers(), STEPS).unwrap();
            let mut generated = generator();
            let (mut found, mut wanted) = (unread(&layers()), unread(&layers()));
            for _ in 0..STEPS {
                recorded.next_step(tokens, &mut found).unwrap();
                generated.next_step(tokens, &mut wanted).unwrap();
                assert_eq!((&found.sets, &found.counts), (&wanted.sets, &wanted.counts));
            }
            let message = recorded.next_step(tokens, &mut found).unwrap_err().to_string();
            assert!(message.contains("20 steps") && message.contains("Repeat"), "{message}");
            let popularity = recorded.popularity(LayerId::new(2));
            assert!((popularity.iter().sum::<f64>() - 3.0).abs() < 1e-9);
            assert!(recorded.popularity(LayerId::new(1)).is_empty());
        }
    }

    #[test]
    fn steps_and_tokens_come_again_if_that_is_asked_for() {
        let config = RecordedRoutingConfig { extend: RoutingExtend::Repeat, first_step: 4, ..Default::default() };
        let experts = read(2, false);
        let mut recorded = RecordedRouting::new(experts.clone(), &config, &layers(), 100).unwrap();
        let mut skips = unread(&layers());
        for step in 0..40 {
            recorded.next_step(4, &mut skips).unwrap();
            // Two recorded tokens stand for four: those of this step and of 8 of 16 steps later.
            let mut used: Vec<u16> = [0, 8]
                .iter()
                .flat_map(|later| (0..2).map(move |token| (4 + (step + later) % 16, token)))
                .flat_map(|(step, token)| experts.of(step, 1, token).to_vec())
                .collect();
            used.sort_unstable();
            used.dedup();
            let found: Vec<u16> = (0..12).filter(|expert| !skips.sets[2].contains(usize::from(*expert))).collect();
            assert_eq!(found, used);
            assert_eq!(skips.counts[2], 12 - used.len());
        }
        // Any number of tokens.
        recorded.next_step(100_000, &mut skips).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |config: &RecordedRoutingConfig, layers: &[Option<Routing>], steps: usize, parts: &[&str]| {
            let error = RecordedRouting::new(read(1, false), config, layers, steps).err().expect("it does not fit");
            let message = error.to_string();
            for part in parts {
                assert!(message.contains(part), "no '{part}' in: {message}");
            }
        };
        let plain = RecordedRoutingConfig::default();
        let routing = |count, active| Routing::new(count, active, Popularity::Uniform);
        refused(&plain, &layers(), 21, &["'test' has 20 steps, too few for 21", "Repeat"]);
        refused(&plain, &[routing(12, 3); 3], 5, &["3 layers, 2 of which", "3, 3 of which"]);
        refused(&plain, &[None, routing(12, 3), routing(12, 3)], 5, &["2 of which"]);
        refused(&plain, &[routing(12, 2), None, routing(12, 2)], 5, &["3 of 12 experts", "layer 0", "2 of 12"]);
        refused(&plain, &[None; 3], 5, &["no layer of the model has experts"]);
        let late = RecordedRoutingConfig { first_step: 20, ..Default::default() };
        refused(&late, &layers(), 5, &["first_step is 20", "at most 19"]);
        let mut recorded = RecordedRouting::new(read(1, false), &plain, &layers(), 5).unwrap();
        let message = recorded.next_step(2, &mut unread(&layers())).unwrap_err().to_string();
        assert!(message.contains("1 tokens in each step") && message.contains("2 tokens"), "{message}");
    }
}
