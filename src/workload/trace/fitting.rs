//! A recorded trace made to fit a scenario: another number of layers, a longer prefill, more steps.
//!
//! Recorded sets are mapped by layer, shifted by the tokens that stand before them, and extended
//! past their last step: by the recorded steps over again, or by a fitted generator. Where nothing
//! is to be changed they pass through as they are.

use super::{
    Extend, Fit, LayerMap, Lifelike, LifelikeConfig, RecordedConfig, Recording, SkipSource, StepSkips, TraceError,
};
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{LanguageModel, TokenSet};

/// A recorded trace made to fit a model, a prefill and a number of steps, as a [`RecordedConfig`]
/// says.
///
/// The recorded token j stands for token `j + prefill_offset`; step 0 is the recorded step
/// `first_step`.
pub struct FittedTrace {
    open: Open,
    recording: Recording,
    config: RecordedConfig,
    layers: usize,
    /// How many recorded steps are used.
    usable: usize,
    step: usize,
    /// The recorded sets of a step, before they are mapped.
    recorded: StepSkips,
    /// With [`Extend::Like`], what follows the recorded steps.
    like: Option<LifelikeConfig>,
    generator: Option<Lifelike>,
    range: usize,
    /// With [`Extend::Repeat`], by layer: what is skipped of the tokens that the passes so far have
    /// left behind.
    left_behind: Vec<TokenSet>,
}

/// Opens the recording, from its first step on.
type Open = Box<dyn Fn() -> Result<Recording, TraceError> + Send>;

/// The scenario that a trace must be made to fit.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// The model whose layers need sets.
    pub model: &'a LanguageModel,
    /// The tokens before step 0.
    pub prefill: usize,
    /// The steps.
    pub decode: usize,
}

impl FittedTrace {
    /// A fitted stream of the recording that `open` opens.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be opened or does not fit, with what would make it fit.
    pub fn new(
        open: impl Fn() -> Result<Recording, TraceError> + Send + 'static,
        config: &RecordedConfig,
        demand: Demand<'_>,
    ) -> Result<Self, TraceError> {
        let mut config = config.clone();
        let mut recording = open()?;
        check(&recording, &config, demand)?;
        if config.extend == Extend::Statistics && demand.decode > recording.steps() - config.first_step as usize {
            let name = recording.name().to_owned();
            config.extend = Extend::Like(Fit::of(&name, &mut recording)?.config);
            // To fit a generator is to read the recording to its end.
            recording = open()?;
        }
        let range = demand.prefill + demand.decode;
        let offset = config.prefill_offset as usize;
        let like = match &config.extend {
            Extend::Like(like) => {
                like.check(demand.prefill - offset, demand.decode)?;
                Some(like.clone())
            }
            _ => None,
        };
        let first_step = config.first_step as usize;
        let usable = recording.steps() - first_step;
        // As many tokens as the steps that are used have.
        let tokens = recording.prefill() + first_step + usable.min(demand.decode);
        let recorded = StepSkips::none(recording.layers(), tokens);
        let layers = demand.model.layers();
        let left_behind = match config.extend {
            Extend::Repeat => vec![TokenSet::new(range); layers],
            _ => Vec::new(),
        };
        recording.check_steps(first_step)?;
        Ok(Self {
            usable,
            open: Box::new(open),
            recording,
            config,
            layers,
            step: 0,
            recorded,
            like,
            generator: None,
            range,
            left_behind,
        })
    }

    /// How the recording is made to fit: with the fitted generator in the place of
    /// [`Extend::Statistics`], where the trace is too short without it.
    #[must_use]
    pub fn config(&self) -> &RecordedConfig {
        &self.config
    }

    /// The next step, generated.
    fn generate(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let offset = self.config.prefill_offset as usize;
        if self.generator.is_none() {
            let like = self.like.clone().unwrap_or_default();
            let sources = (0..self.layers).map(|layer| self.source(layer));
            let (sets, counts) =
                sources.map(|source| (self.recorded.sets[source].clone(), self.recorded.counts[source])).unzip();
            let last = StepSkips { sets, counts };
            // It knows the recorded tokens and those after them alone.
            let mut generator = Lifelike::new(&like, self.layers, self.range - offset);
            generator.resume(context - 1 - offset, &last);
            self.generator = Some(generator);
            self.recorded = StepSkips::none(self.layers, self.range - offset);
        }
        let generator = self.generator.as_mut().expect("it was made above");
        if offset == 0 {
            return generator.next_step(context, skips);
        }
        generator.next_step(context - offset, &mut self.recorded)?;
        for layer in 0..self.layers {
            let set = &mut skips.sets[layer];
            set.clear();
            place(set.words_mut(), self.recorded.sets[layer].words(), offset);
            skips.counts[layer] = self.recorded.counts[layer];
        }
        Ok(())
    }

    /// The recorded layer for a layer of the model.
    fn source(&self, layer: usize) -> usize {
        self.config.layer_map.source(layer, self.layers, self.recording.layers())
    }

    /// Whether recorded sets are used as they are.
    fn as_they_are(&self) -> bool {
        self.config.layer_map == LayerMap::Same
            && self.config.prefill_offset == 0
            && !matches!(self.config.extend, Extend::Repeat | Extend::Like(_))
    }
}

/// Whether `recording` fits what is demanded.
fn check(recording: &Recording, config: &RecordedConfig, demand: Demand<'_>) -> Result<(), TraceError> {
    let path = || recording.name().to_owned();
    let layers = demand.model.layers();
    if config.layer_map == LayerMap::Same && layers != recording.layers() {
        let model = demand.model.name().to_owned();
        return Err(TraceError::Layers { path: path(), recorded: recording.layers(), model, layers });
    }
    let (first_step, offset) = (config.first_step as usize, config.prefill_offset as usize);
    if first_step >= recording.steps() {
        return Err(TraceError::FirstStep { path: path(), first_step, recorded: recording.steps() });
    }
    let prefill = recording.prefill() + first_step + offset;
    if demand.prefill != prefill {
        return Err(TraceError::Prefill {
            path: path(),
            recorded: recording.prefill(),
            first_step,
            offset,
            prefill,
            wanted: demand.prefill,
        });
    }
    let usable = recording.steps() - first_step;
    if demand.decode > usable && config.extend == Extend::No {
        return Err(TraceError::TooShort { path: path(), recorded: usable, wanted: demand.decode });
    }
    Ok(())
}

impl SkipSource for FittedTrace {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        if self.step >= self.usable && self.like.is_some() {
            return self.generate(context, skips);
        }
        let within = self.step % self.usable;
        let shift = self.config.prefill_offset as usize + (self.step - within);
        let first_step = self.config.first_step as usize;
        if within == 0 && self.step > 0 {
            self.recording = (self.open)()?;
            self.recording.check_steps(first_step)?;
        }
        let recorded_context = self.recording.prefill() + first_step + within;
        debug_assert_eq!(recorded_context + shift, context);
        self.step += 1;
        if self.as_they_are() {
            return self.recording.next_step(recorded_context, skips);
        }
        self.recording.next_step(recorded_context, &mut self.recorded)?;
        for layer in 0..self.layers {
            let source = self.source(layer);
            let set = &mut skips.sets[layer];
            set.clear();
            place(set.words_mut(), self.recorded.sets[source].words(), shift);
            skips.counts[layer] = self.recorded.counts[source];
            if let Some(left_behind) = self.left_behind.get_mut(layer) {
                if within == 0 {
                    // What the pass before left of its last step: only what lies before this pass's
                    // tokens stays.
                    keep_below(left_behind.words_mut(), shift);
                }
                for (word, left) in set.words_mut().iter_mut().zip(left_behind.words()) {
                    *word |= left;
                }
                skips.counts[layer] = set.count();
                if within + 1 == self.usable {
                    left_behind.copy_from(set);
                }
            }
        }
        Ok(())
    }
}

/// Adds the tokens of `from`, each `shift` later, to `to`, which must be long enough for them.
fn place(to: &mut [Word], from: &[Word], shift: usize) {
    let (words, bits) = (shift / WORD_BITS, shift % WORD_BITS);
    for (index, &word) in from.iter().enumerate() {
        if word == 0 {
            continue;
        }
        to[words + index] |= word << bits;
        let carried = if bits == 0 { 0 } else { word >> (WORD_BITS - bits) };
        if carried != 0 {
            to[words + index + 1] |= carried;
        }
    }
}

/// Takes out all tokens from `end` on.
fn keep_below(words: &mut [Word], end: usize) {
    let first = end / WORD_BITS;
    for (index, word) in words.iter_mut().enumerate().skip(first) {
        *word &= if index == first { (1 << (end % WORD_BITS)) - 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, Ratio};
    use crate::workload::{
        Encoding, LayersConfig, ModelConfig, ParquetWriter, TraceHeader, TraceStatistics, WeightsConfig,
    };
    use proptest::prelude::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};

    fn model(layers: usize) -> LanguageModel {
        let weights = || WeightsConfig { stored: Bytes::new(64), ..WeightsConfig::default() };
        let layers = LayersConfig {
            count: layers as u32,
            attention: weights(),
            mlp: weights(),
            kv_bytes: Bytes::new(16),
            ..Default::default()
        };
        let config = ModelConfig { name: "test".to_owned(), layers: vec![layers], ..Default::default() };
        LanguageModel::new(&config).unwrap()
    }

    /// A trace of random sets: for each step and layer whether each token is skipped, and the file.
    fn random(layers: usize, prefill: usize, steps: usize, seed: u64) -> (Vec<Vec<Vec<bool>>>, bytes::Bytes) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let header = TraceHeader::skips(layers, prefill, steps);
        let mut writer = ParquetWriter::new(Vec::new(), &header, Encoding::Sets, 1).unwrap();
        let mut rows = Vec::new();
        for step in 0..steps {
            let mut skips = StepSkips::none(layers, prefill + steps);
            let mut row = Vec::new();
            for layer in 0..layers {
                let set: Vec<bool> = (0..prefill + step).map(|_| random.next_u64() % 5 < 2).collect();
                skips.sets[layer].extend((0..set.len()).filter(|token| set[*token]));
                skips.counts[layer] = skips.sets[layer].count();
                row.push(set);
            }
            writer.write(&skips).unwrap();
            rows.push(row);
        }
        (rows, writer.finish().unwrap().into())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn fitted_sets_are_those_of_the_rules_token_by_token(
            recorded_layers in 1usize..5, layers in 1usize..7, scale: bool, prefill in 0usize..90, steps in 1usize..8,
            first_step in 0usize..4, offset in 0usize..150, decode in 1usize..30, seed: u64,
        ) {
            prop_assume!(first_step < steps);
            let (rows, file) = random(recorded_layers, prefill, steps, seed);
            let config = RecordedConfig {
                layer_map: if scale { LayerMap::Scale } else { LayerMap::Repeat },
                extend: Extend::Repeat,
                first_step: first_step as u32,
                prefill_offset: offset as u32,
                ..RecordedConfig::default()
            };
            let prefill = prefill + first_step + offset;
            let model = model(layers);
            let open = move || Recording::in_memory("test", file.clone());
            let mut fitted = FittedTrace::new(open, &config, Demand { model: &model, prefill, decode }).unwrap();
            let mut skips = StepSkips::none(layers, prefill + decode);
            let usable = steps - first_step;
            let mut before: Vec<Vec<bool>> = vec![Vec::new(); layers];
            for step in 0..decode {
                let context = prefill + step;
                fitted.next_step(context, &mut skips).unwrap();
                for (layer, before) in before.iter_mut().enumerate() {
                    let source = if scale { layer * recorded_layers / layers } else { layer % recorded_layers };
                    let recorded = &rows[first_step + step % usable][source];
                    let shift = offset + step / usable * usable;
                    let wanted: Vec<bool> = (0..context)
                        .map(|token| if token < shift {
                            // Left behind by an earlier pass: as it last was.
                            before.get(token).copied().unwrap_or(false)
                        } else {
                            recorded[token - shift]
                        })
                        .collect();
                    let found: Vec<bool> = (0..context).map(|token| skips.sets[layer].contains(token)).collect();
                    prop_assert_eq!(&found, &wanted, "step {}, layer {}", step, layer);
                    prop_assert_eq!(skips.counts[layer], skips.sets[layer].count());
                    *before = wanted;
                }
            }
        }
    }

    #[test]
    fn a_made_up_extension_joins_the_recorded_steps() {
        const TRACE: &[u8] = include_bytes!("../../../traces/python_heapq_skip40.parquet");
        let open = || Recording::embedded("python_heapq_skip40", TRACE);
        for offset in [0, 100] {
            let model = model(32);
            let demand = Demand { model: &model, prefill: 512 + offset, decode: 420 };
            let config = RecordedConfig {
                layer_map: LayerMap::Scale,
                extend: Extend::Statistics,
                prefill_offset: offset as u32,
                ..RecordedConfig::default()
            };
            let mut fitted = FittedTrace::new(open, &config, demand).unwrap();
            let statistics = TraceStatistics::measure(&mut fitted, 32, demand.prefill, demand.decode).unwrap();
            let churn = |steps: std::ops::Range<usize>| {
                let count = steps.len() as f64;
                statistics.steps[steps].iter().filter_map(|step| step.churn).sum::<f64>() / count
            };
            let (recorded, seam, after) = (churn(1..320), churn(320..321), churn(321..420));
            assert!((after / recorded - 1.0).abs() < 0.2, "{after} after, {recorded} recorded");
            assert!((seam / recorded - 1.0).abs() < 0.35, "{seam} where they meet, {recorded} recorded");
            let expected = Ratio::from_permille(400).unwrap().floor_of(512 + 419) as f64 / (512 + offset + 419) as f64;
            assert!((statistics.steps[419].skip - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_remedy() {
        let (_, file) = random(3, 10, 5, 1);
        let refused = |config: RecordedConfig, layers: usize, prefill: usize, decode: usize| {
            let file = file.clone();
            let model = model(layers);
            let open = move || Recording::in_memory("test", file.clone());
            let fitted = FittedTrace::new(open, &config, Demand { model: &model, prefill, decode });
            fitted.err().expect("it does not fit").to_string()
        };
        let usual = RecordedConfig::default;
        assert!(refused(usual(), 4, 10, 5).contains("--layer-map"));
        assert!(refused(usual(), 3, 10, 6).contains("--decode 5"));
        let message = refused(usual(), 3, 17, 5);
        assert!(message.contains("--prefill 10") && message.contains("add 7 to --prefill-offset"), "{message}");
        assert!(refused(RecordedConfig { first_step: 5, ..usual() }, 3, 15, 1).contains("at most 4"));
        assert!(
            refused(RecordedConfig { extend: Extend::Statistics, ..usual() }, 3, 10, 6).contains("to fit a generator")
        );
    }
}
