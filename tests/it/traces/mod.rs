//! Recorded traces: every format reads back what was written, and no damaged file does any harm.
//!
//! * `foreign`: files as other tools write them, and what is refused of them.
//! * `damage`: truncated and randomly damaged files.
//! * `routing`: recorded routing, and sets for each KV head.
//! * `topk`: recorded top-k attention, its caches, and the generators like it.
//! * `commands`: `tiersim trace ...`, and Python that writes and reads traces.

mod commands;
mod damage;
mod foreign;
mod routing;
mod topk;

use crate::common::program::tiersim;
use crate::common::properties::{CASES, cases};
use crate::common::python;
use crate::skip;
use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tiersim::workload::{
    Encoding, Extend, Fit, JsonLinesWriter, KvsWriter, Lifelike, ParquetWriter, Provenance, Recorded, Recording,
    SkipSource, StepSkips, TraceConfig, TraceError, TraceHeader, TraceStatistics,
};

/// A trace in memory: for each step and layer its skipped tokens.
#[derive(Clone, Debug)]
struct Sets {
    header: TraceHeader,
    rows: Vec<Vec<Vec<usize>>>,
}

impl Sets {
    fn steps(&self) -> impl Iterator<Item = StepSkips> + '_ {
        let range = self.header.range();
        self.rows.iter().map(move |layers| {
            let mut skips = StepSkips::none(layers.len(), range);
            for (layer, tokens) in layers.iter().enumerate() {
                skips.sets[layer].extend(tokens.iter().copied());
                skips.counts[layer] = tokens.len();
            }
            skips
        })
    }

    fn as_parquet(&self, encoding: Encoding, level: i32) -> Vec<u8> {
        let mut writer = ParquetWriter::new(Vec::new(), &self.header, encoding, level).unwrap();
        self.steps().for_each(|skips| writer.write(&skips).unwrap());
        writer.finish().unwrap()
    }

    fn as_kvs(&self) -> Vec<u8> {
        let mut writer = KvsWriter::new(Cursor::new(Vec::new()), self.header.clone()).unwrap();
        self.steps().for_each(|skips| writer.write(&skips).unwrap());
        writer.finish().unwrap().into_inner()
    }

    fn as_json_lines(&self) -> Vec<u8> {
        let mut writer = JsonLinesWriter::new(Vec::new(), self.header.clone()).unwrap();
        self.steps().for_each(|skips| writer.write(&skips).unwrap());
        writer.finish().unwrap()
    }
}

/// Reads a whole trace.
fn read(bytes: impl Into<Bytes>) -> Result<Sets, TraceError> {
    let mut recording = Recording::in_memory("test", bytes.into())?;
    let header = recording.header().clone();
    let mut skips = header.room();
    let mut rows = Vec::new();
    for step in 0..header.steps {
        recording.next_step(header.context(step), &mut skips)?;
        for (set, count) in skips.sets.iter().zip(&skips.counts) {
            assert_eq!(set.count(), *count);
            assert!(set.iter().all(|token| token < header.context(step)));
        }
        rows.push(skips.sets.iter().map(|set| set.iter().collect()).collect());
    }
    Ok(Sets { header, rows })
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[ -~äß\n]{0,20}")
}

fn provenance() -> impl Strategy<Value = Provenance> {
    (some_text(), some_text(), some_text(), some_text()).prop_map(|(model, source, licence, made_by)| Provenance {
        model,
        source,
        licence,
        made_by,
    })
}

prop_compose! {
    fn sets()(
        layers in 1usize..5, prefill in 0usize..150, steps in 1usize..12, density in 0u8..=16,
        skip_permille in proptest::option::of(0u32..=1000), provenance in provenance(),
    )(
        cells in proptest::collection::vec(proptest::collection::vec(0u8..16, layers * (prefill + steps)), steps),
        header in Just(TraceHeader { skip_permille, provenance, ..TraceHeader::skips(layers, prefill, steps) }), density in Just(density),
    ) -> Sets {
        let rows = cells.iter().enumerate().map(|(step, cells)| {
            let of_layers = cells.chunks(header.prefill + header.steps);
            of_layers.map(|cells| (0..header.context(step)).filter(|token| cells[*token] < density).collect()).collect()
        }).collect();
        Sets { header, rows }
    }
}

proptest! {
    #![proptest_config(cases(150))]
    #[test]
    fn every_format_reads_back_what_was_written(sets in sets(), level in 1i32..=22) {
        for encoding in [Encoding::Sets, Encoding::Differences] {
            let found = read(sets.as_parquet(encoding, level)).unwrap();
            prop_assert_eq!(&found.header, &sets.header);
            prop_assert_eq!(&found.rows, &sets.rows);
        }
        let found = read(sets.as_json_lines()).unwrap();
        prop_assert_eq!(&found.header, &sets.header);
        prop_assert_eq!(&found.rows, &sets.rows);
        let kvs = sets.as_kvs();
        let found = read(kvs.clone()).unwrap();
        prop_assert_eq!(&found.rows, &sets.rows);
        prop_assert_eq!((found.header.layers, found.header.prefill), (sets.header.layers, sets.header.prefill));
        // Import, then export: the same bytes.
        prop_assert_eq!(read(found.as_parquet(Encoding::Differences, 3)).unwrap().as_kvs(), kvs);
    }
}

#[test]
fn a_trace_of_many_row_groups_and_wide_sets_reads_back() {
    // Sets of more than 4096 tokens are bitmaps in a Roaring container; more than 65536 tokens take
    // several containers.
    let header = TraceHeader::skips(3, 90_000, 700);
    let tokens = |step: usize, layer: usize| -> Vec<usize> {
        (0..90_000 + step).filter(|token| (token * 7 + step + 31 * layer) % 13 < 4).collect()
    };
    for encoding in [Encoding::Sets, Encoding::Differences] {
        let mut writer = ParquetWriter::new(Vec::new(), &header, encoding, 1).unwrap();
        let mut skips = StepSkips::none(3, 90_700);
        for step in 0..40 {
            for layer in 0..3 {
                skips.sets[layer].clear();
                skips.sets[layer].extend(tokens(step, layer));
                skips.counts[layer] = skips.sets[layer].count();
            }
            writer.write(&skips).unwrap();
        }
        // As many steps as were written, not as many as were announced.
        let file = writer.finish().unwrap();
        let error = read(file).unwrap_err().to_string();
        assert!(error.contains("120 rows") && error.contains("2100"), "{error}");
    }
    let header = TraceHeader { steps: 200, ..header };
    let mut writer = ParquetWriter::new(Vec::new(), &header, Encoding::Sets, 1).unwrap();
    let mut skips = StepSkips::none(3, 90_200);
    for step in 0..200 {
        for layer in 0..3 {
            skips.sets[layer].clear();
            skips.sets[layer].extend(tokens(step, layer));
            skips.counts[layer] = skips.sets[layer].count();
        }
        writer.write(&skips).unwrap();
    }
    let mut recording = Recording::in_memory("test", writer.finish().unwrap().into()).unwrap();
    for step in 0..200 {
        recording.next_step(90_000 + step, &mut skips).unwrap();
        if step % 37 == 0 {
            assert_eq!(skips.sets[2].iter().collect::<Vec<_>>(), tokens(step, 2));
        }
    }
}

fn small() -> Sets {
    let header = TraceHeader {
        skip_permille: Some(400),
        provenance: Provenance { model: Some("a model".to_owned()), ..Provenance::default() },
        ..TraceHeader::skips(3, 40, 12)
    };
    let rows = (0..12)
        .map(|step| {
            (0..3).map(|layer| (0..40 + step).filter(|token| (token * 7 + step + layer) % 5 < 2).collect()).collect()
        })
        .collect();
    Sets { header, rows }
}
