//! The contract of [`SkipSource`], held against every source.

use super::*;
use crate::units::{Bytes, Ratio};
use crate::workload::{LanguageModel, LayersConfig, ModelConfig, WeightsConfig};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::io::Cursor;
use std::sync::Arc;

const LAYERS: usize = 3;

/// The dimensions of a trace.
#[derive(Clone, Copy, Debug)]
struct Size {
    prefill: usize,
    decode: usize,
}

impl Size {
    fn range(self) -> usize {
        self.prefill + self.decode
    }

    fn contexts(self) -> std::ops::Range<usize> {
        self.prefill..self.range()
    }
}

fn generator(size: Size, seed: u64, skip: u32) -> Generator {
    let config = GeneratorConfig {
        skip: Ratio::from_permille(skip).unwrap(),
        churn: "0.3".parse().unwrap(),
        seed,
        ..GeneratorConfig::default()
    };
    Generator::new(config, LAYERS, size.range())
}

fn model() -> LanguageModel {
    let weights = || WeightsConfig { stored: Bytes::new(64), ..WeightsConfig::default() };
    let layers = LayersConfig {
        count: LAYERS as u32,
        attention: weights(),
        mlp: weights(),
        kv_bytes: Bytes::new(16),
        ..Default::default()
    };
    LanguageModel::new(&ModelConfig { name: "test".to_owned(), layers: vec![layers], ..Default::default() }).unwrap()
}

/// The generator's steps as a recording, written by `write`.
fn recorded(
    size: Size,
    seed: u64,
    skip: u32,
    write: impl FnOnce(TraceHeader, &mut dyn FnMut(&mut dyn FnMut(&StepSkips))) -> Vec<u8>,
) -> bytes::Bytes {
    let header = TraceHeader::skips(LAYERS, size.prefill, size.decode);
    let mut steps = |take: &mut dyn FnMut(&StepSkips)| {
        let (mut source, mut skips) = (generator(size, seed, skip), StepSkips::none(LAYERS, size.range()));
        for context in size.contexts() {
            source.next_step(context, &mut skips).unwrap();
            take(&skips);
        }
    };
    write(header, &mut steps).into()
}

fn parquet(encoding: Encoding, size: Size, seed: u64, skip: u32) -> bytes::Bytes {
    recorded(size, seed, skip, |header, steps| {
        let mut writer = ParquetWriter::new(Vec::new(), &header, encoding, 1).unwrap();
        steps(&mut |skips| writer.write(skips).unwrap());
        writer.finish().unwrap()
    })
}

fn read(file: bytes::Bytes) -> Box<dyn SkipSource + Send> {
    Box::new(Recording::in_memory("test", file).unwrap())
}

/// A trace of one third of the steps, over and over, from another layer, behind tokens of its own.
fn fitted(size: Size, seed: u64, skip: u32) -> Box<dyn SkipSource + Send> {
    let offset = size.prefill / 2;
    let short = Size { prefill: size.prefill - offset, decode: size.decode.div_ceil(3) };
    let file = parquet(Encoding::Sets, short, seed, skip);
    let config = RecordedConfig {
        layer_map: LayerMap::Scale,
        extend: Extend::Repeat,
        prefill_offset: offset as u32,
        ..RecordedConfig::default()
    };
    let open = move || Recording::in_memory("test", file.clone());
    let model = model();
    let demand = Demand { model: &model, prefill: size.prefill, decode: size.decode };
    Box::new(FittedTrace::new(open, &config, demand).unwrap())
}

/// Every source, by name.
fn sources(size: Size, seed: u64, skip: u32) -> Vec<(&'static str, Box<dyn SkipSource + Send>)> {
    let generated = || Box::new(generator(size, seed, skip)) as Box<dyn SkipSource + Send>;
    let lifelike =
        LifelikeConfig { skip: Ratio::from_permille(skip).unwrap(), seed, sinks: 0, ..LifelikeConfig::default() };
    let stored = StoredSkips::of(&mut *generated(), LAYERS, size.prefill, size.decode).unwrap();
    let kvs = recorded(size, seed, skip, |header, steps| {
        let mut writer = KvsWriter::new(Cursor::new(Vec::new()), header).unwrap();
        steps(&mut |skips| writer.write(skips).unwrap());
        writer.finish().unwrap().into_inner()
    });
    let jsonl = recorded(size, seed, skip, |header, steps| {
        let mut writer = JsonLinesWriter::new(Vec::new(), header).unwrap();
        steps(&mut |skips| writer.write(skips).unwrap());
        writer.finish().unwrap()
    });
    // The other reader goes ahead: what this one reads was kept for it.
    let mut readers = Fan::out(generated(), LAYERS, size.range(), 2);
    let mut skips = StepSkips::none(LAYERS, size.range());
    for context in size.contexts() {
        readers[1].next_step(context, &mut skips).unwrap();
    }
    vec![
        ("generator", generated()),
        (
            "paged",
            Box::new(paged::Paged::new(
                generator(Size { prefill: size.range() / 4, decode: 0 }, seed, skip),
                4,
                LAYERS,
                size.range(),
            )),
        ),
        ("lifelike", Box::new(Lifelike::new(&lifelike, LAYERS, size.range()))),
        ("stored", Arc::new(stored).stream()),
        ("parquet, sets", read(parquet(Encoding::Sets, size, seed, skip))),
        ("parquet, differences", read(parquet(Encoding::Differences, size, seed, skip))),
        ("kvs", read(kvs)),
        ("jsonl", read(jsonl)),
        ("fan", Box::new(readers.swap_remove(0))),
        ("ahead", Ahead::start(generated(), LAYERS, size.prefill, size.decode)),
        ("fitted", fitted(size, seed, skip)),
    ]
}

/// Reads `source` to its end. Before each step `skips` is given every `gap`th token below the
/// context; 0: what the last step left.
fn steps(source: &mut dyn SkipSource, size: Size, gap: usize) -> Result<Vec<Vec<Vec<usize>>>, TestCaseError> {
    let mut skips = StepSkips::none(LAYERS, size.range());
    let mut all = Vec::new();
    for context in size.contexts() {
        if gap > 0 {
            for (set, count) in skips.sets.iter_mut().zip(&mut skips.counts) {
                set.clear();
                set.extend((0..context).step_by(gap));
                *count = usize::MAX;
            }
        }
        source.next_step(context, &mut skips).unwrap();
        prop_assert_eq!((skips.sets.len(), skips.counts.len()), (LAYERS, LAYERS));
        for (set, count) in skips.sets.iter().zip(&skips.counts) {
            prop_assert_eq!(set.count(), *count);
            prop_assert!(set.iter().all(|token| token < context), "a token at or past the context of {}", context);
        }
        all.push(skips.sets.iter().map(|set| set.iter().collect()).collect());
    }
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_source_writes_over_what_lies_below_the_context_and_leaves_the_rest_empty(
        prefill in 1usize..200, decode in 1usize..80, seed: u64, skip in prop_oneof![Just(0u32), Just(1000), 0u32..=1000],
        gap in 1usize..5,
    ) {
        let size = Size { prefill, decode };
        let kept = sources(size, seed, skip);
        for ((name, mut source), (_, mut again)) in kept.into_iter().zip(sources(size, seed, skip)) {
            let expected = steps(&mut *source, size, 0)?;
            prop_assert_eq!(expected, steps(&mut *again, size, gap)?, "{}", name);
        }
    }
}
