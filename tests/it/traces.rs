//! Recorded traces: every format reads back what was written, and no damaged file does any harm.

use crate::common::properties::{CASES, cases};
use crate::common::python;
use crate::skip;
use assert_cmd::Command;
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

const SHIPPED: &str = "traces/python_heapq_skip40.parquet";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tiersim(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tiersim").expect("the binary is built for its tests");
    command.current_dir(folder).args(args);
    command
}

/// A trace in memory: for each step and layer its skipped tokens.
#[derive(Clone, Debug)]
struct Sets {
    header: TraceHeader,
    rows: Vec<Vec<Vec<usize>>>,
}

impl Sets {
    fn steps(&self) -> impl Iterator<Item = StepSkips> + '_ {
        let range = self.header.prefill + self.header.steps;
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
    let mut skips = StepSkips::none(header.layers, header.prefill + header.steps);
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
        header in Just(TraceHeader { layers, prefill, steps, skip_permille, provenance }), density in Just(density),
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
    // Sets of more than 4096 tokens are bitmaps in a Roaring container; more than 65536 tokens take several containers.
    let header =
        TraceHeader { layers: 3, prefill: 90_000, steps: 700, skip_permille: None, provenance: Provenance::default() };
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

/// What a cell of a made-up Parquet file holds.
#[derive(Clone)]
enum Column {
    U32(Vec<i32>),
    U16(Vec<i32>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    Binary(Vec<Vec<u8>>),
    Text(Vec<Vec<u8>>),
    /// Empty cells.
    EmptyU16(usize),
    EmptyBinary(usize),
}

/// A Parquet file of those columns and that metadata, as other tools might write it.
fn foreign(columns: &[(&str, Column)], metadata: &[(&str, &str)], rows_a_group: usize) -> Vec<u8> {
    let fields = columns.iter().map(|(name, column)| {
        let unsigned = |bits| Some(LogicalType::integer(bits, false));
        let (kind, logical, repetition) = match column {
            Column::U32(_) => (PhysicalType::INT32, unsigned(32), Repetition::REQUIRED),
            Column::U16(_) => (PhysicalType::INT32, unsigned(16), Repetition::OPTIONAL),
            Column::EmptyU16(_) => (PhysicalType::INT32, unsigned(16), Repetition::OPTIONAL),
            Column::I64(_) => (PhysicalType::INT64, None, Repetition::OPTIONAL),
            Column::F64(_) => (PhysicalType::DOUBLE, None, Repetition::OPTIONAL),
            Column::Binary(_) | Column::EmptyBinary(_) => (PhysicalType::BYTE_ARRAY, None, Repetition::OPTIONAL),
            Column::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
        };
        let field = Type::primitive_type_builder(name, kind).with_logical_type(logical).with_repetition(repetition);
        Arc::new(field.build().unwrap())
    });
    let schema = Type::group_type_builder("schema").with_fields(fields.collect()).build().unwrap();
    let metadata = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_data_page_row_count_limit(3)
        .set_write_batch_size(1)
        .set_key_value_metadata(Some(metadata.collect()));
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build())).unwrap();
    let rows = columns.iter().map(|(_, column)| length(column)).max().unwrap_or(0);
    let mut start = 0;
    while start < rows {
        let end = (start + rows_a_group).min(rows);
        let mut group = file.next_row_group().unwrap();
        for (_, column) in columns {
            let mut writer = group.next_column().unwrap().unwrap();
            let present = vec![1i16; end - start];
            let bytes =
                |cells: &[Vec<u8>]| -> Vec<ByteArray> { cells.iter().map(|cell| cell.clone().into()).collect() };
            match column {
                Column::U32(cells) => put::<Int32Type>(&mut writer, &cells[start..end], None),
                Column::U16(cells) => put::<Int32Type>(&mut writer, &cells[start..end], Some(&present)),
                Column::I64(cells) => put::<Int64Type>(&mut writer, &cells[start..end], Some(&present)),
                Column::F64(cells) => put::<DoubleType>(&mut writer, &cells[start..end], Some(&present)),
                Column::Binary(cells) | Column::Text(cells) => {
                    put::<ByteArrayType>(&mut writer, &bytes(&cells[start..end]), Some(&present));
                }
                Column::EmptyU16(_) => put::<Int32Type>(&mut writer, &[], Some(&vec![0; end - start])),
                Column::EmptyBinary(_) => put::<ByteArrayType>(&mut writer, &[], Some(&vec![0; end - start])),
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
        start = end;
    }
    file.into_inner().unwrap()
}

fn put<T: DataType>(
    writer: &mut parquet::file::writer::SerializedColumnWriter<'_>,
    cells: &[T::T],
    present: Option<&[i16]>,
) {
    writer.typed::<T>().write_batch(cells, present, None).unwrap();
}

fn length(column: &Column) -> usize {
    match column {
        Column::U32(cells) | Column::U16(cells) => cells.len(),
        Column::I64(cells) => cells.len(),
        Column::F64(cells) => cells.len(),
        Column::Binary(cells) | Column::Text(cells) => cells.len(),
        Column::EmptyU16(rows) | Column::EmptyBinary(rows) => *rows,
    }
}

fn bitmap(tokens: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokens.iter().copied().collect::<RoaringBitmap>().serialize_into(&mut bytes).unwrap();
    bytes
}

/// Two layers, five tokens before step 0, three steps: what the metadata of a right file says.
const METADATA: [(&str, &str); 4] = [("schema_version", "1"), ("layers", "2"), ("prefill_tokens", "5"), ("steps", "3")];

/// The columns of a right file.
fn right() -> Vec<(&'static str, Column)> {
    let cells = vec![bitmap(&[0, 4]), bitmap(&[]), bitmap(&[5]), bitmap(&[1, 2]), bitmap(&[6]), bitmap(&[0])];
    vec![
        ("step", Column::U32(vec![0, 0, 1, 1, 2, 2])),
        ("layer", Column::U16(vec![0, 1, 0, 1, 0, 1])),
        ("skipped", Column::Binary(cells)),
    ]
}

/// A right file with one column in the place of that of its name, or beside the others.
fn with(name: &'static str, column: Column) -> Vec<u8> {
    let mut columns = right();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some((_, found)) => *found = column,
        None => columns.push((name, column)),
    }
    foreign(&columns, &METADATA, 4)
}

#[test]
fn files_of_other_tools_are_read() {
    let wanted = vec![vec![vec![0, 4], vec![]], vec![vec![5], vec![1, 2]], vec![vec![6], vec![0]]];
    for rows_a_group in [1, 4, 100] {
        assert_eq!(read(foreign(&right(), &METADATA, rows_a_group)).unwrap().rows, wanted);
    }
    // 64-bit integers, a reserved column without content, columns of the user's own, in any order.
    let mut columns = right();
    columns[0].1 = Column::I64(vec![0, 0, 1, 1, 2, 2]);
    columns.push(("kv_head", Column::EmptyU16(6)));
    columns.insert(0, ("note", Column::Text(vec![b"mine".to_vec(); 6])));
    columns.reverse();
    assert_eq!(read(foreign(&columns, &METADATA, 4)).unwrap().rows, wanted);
    // Differences: of each step against the one before.
    let mut metadata = METADATA.to_vec();
    metadata.push(("encoding", "differences"));
    let rows = read(foreign(&right(), &metadata, 4)).unwrap().rows;
    assert_eq!(rows[2], [vec![0, 4, 5, 6], vec![0, 1, 2]]);
}

#[test]
fn wrong_rows_are_refused_by_their_number() {
    let refused = |file: Vec<u8>, parts: &[&str]| {
        let message = read(file).expect_err("a wrong file").to_string();
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    };
    let step = |cells: [i32; 6]| with("step", Column::U32(cells.to_vec()));
    let layer = |cells: [i32; 6]| with("layer", Column::U16(cells.to_vec()));
    refused(step([0, 0, 2, 2, 1, 1]), &["row 2", "step 2, layer 0", "step 1, layer 0", "missing"]);
    refused(step([0, 0, 0, 1, 2, 2]), &["row 2", "comes twice"]);
    refused(layer([0, 1, 1, 0, 0, 1]), &["row 2", "step 1, layer 1"]);
    refused(layer([0, 1, 0, 7, 0, 1]), &["row 3", "no such layer"]);
    refused(with("step", Column::I64(vec![0, 0, -1, 1, 2, 2])), &["row 2", "step -1"]);

    let skipped = |row: usize, cell: Vec<u8>| {
        let mut columns = right();
        if let Column::Binary(cells) = &mut columns[2].1 {
            cells[row] = cell;
        }
        foreign(&columns, &METADATA, 4)
    };
    refused(skipped(3, bitmap(&[6])), &["row 3 (step 1, layer 1)", "token 6", "6 tokens"]);
    refused(skipped(0, bitmap(&[u32::MAX])), &["row 0", "token 4294967295"]);
    refused(skipped(4, b"roaring".to_vec()), &["row 4 (step 2, layer 0)", "no Roaring bitmap"]);
    refused(skipped(4, vec![]), &["row 4", "no Roaring bitmap"]);
    refused(skipped(5, [bitmap(&[1]), vec![0]].concat()), &["row 5", "1 bytes follow"]);
    // A bitmap whose header announces 2^32 - 1 containers.
    refused(skipped(1, [&12346u32.to_le_bytes()[..], &[0xff; 4]].concat()), &["row 1", "no Roaring bitmap"]);
    refused(with("skipped", Column::EmptyBinary(6)), &["row 0", "'skipped' is empty"]);
    refused(with("layer", Column::EmptyU16(6)), &["row 0", "'layer' is empty"]);
    refused(with("kv_head", Column::U16(vec![0; 6])), &["row 0", "'kv_head' is 0"]);

    let rows = |rows: usize| {
        let columns: Vec<(&str, Column)> = right()
            .into_iter()
            .map(|(name, column)| {
                let column = match column {
                    Column::U32(cells) => Column::U32(cells[..rows].to_vec()),
                    Column::U16(cells) => Column::U16(cells[..rows].to_vec()),
                    Column::Binary(cells) => Column::Binary(cells[..rows].to_vec()),
                    other => other,
                };
                (name, column)
            })
            .collect();
        foreign(&columns, &METADATA, 4)
    };
    refused(rows(5), &["5 rows", "6"]);
    refused(rows(0), &["0 rows", "6"]);
}

#[test]
fn wrong_columns_and_metadata_are_refused_by_name() {
    let refused = |file: Vec<u8>, parts: &[&str]| {
        let message = read(file).expect_err("a wrong file").to_string();
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    };
    refused(with("step", Column::F64(vec![0.0; 6])), &["'step'", "DOUBLE", "u32"]);
    refused(with("skipped", Column::Text(vec![b"[0]".to_vec(); 6])), &["'skipped'", "String", "binary"]);
    refused(with("kv_head", Column::Text(vec![b"0".to_vec(); 6])), &["'kv_head'", "u16"]);
    for missing in ["step", "layer", "skipped"] {
        let columns: Vec<_> = right().into_iter().filter(|(name, _)| *name != missing).collect();
        refused(foreign(&columns, &METADATA, 4), &[&format!("no column '{missing}'")]);
    }
    for (key, _) in METADATA {
        let metadata: Vec<_> = METADATA.into_iter().filter(|(known, _)| *known != key).collect();
        refused(foreign(&right(), &metadata, 4), &[key, "key-value metadata"]);
    }
    let changed = |key: &'static str, value: &'static str| {
        let mut metadata: Vec<_> = METADATA.into_iter().filter(|(known, _)| *known != key).collect();
        metadata.push((key, value));
        foreign(&right(), &metadata, 4)
    };
    refused(changed("schema_version", "2"), &["schema_version = '2'", "version 1"]);
    refused(changed("steps", "many"), &["steps = 'many'", "whole number"]);
    refused(changed("steps", "100000000000"), &["steps = 100000000000", "16777216"]);
    refused(changed("layers", "0"), &["layers = 0", "4096"]);
    refused(changed("layers", "-1"), &["layers = '-1'"]);
    refused(changed("prefill_tokens", "16777216"), &["prefill_tokens + steps"]);
    let mut many = METADATA.map(|(key, _)| (key, "1"));
    many[1].1 = "4096";
    many[2].1 = "262144";
    refused(foreign(&right(), &many, 4), &["layers * (prefill_tokens + steps) = 1073745920"]);
    refused(changed("encoding", "deltas"), &["encoding = 'deltas'", "differences"]);
    refused(changed("steps", "4"), &["6 rows", "8"]);
}

#[test]
fn wrong_json_lines_are_refused_by_their_line() {
    let header = r#"{"layers":2,"prefill_tokens":5,"steps":2}"#;
    let rows = [
        r#"{"step":0,"layer":0,"skipped":[4,0]}"#,
        r#"{"step":0,"layer":1,"skipped":[]}"#,
        r#"{"step":1,"layer":0,"skipped":[5]}"#,
        r#"{"step":1,"layer":1,"skipped":[1]}"#,
    ];
    let file = |lines: &[&str]| Vec::from(lines.join("\n"));
    let whole: Vec<&str> = [header].into_iter().chain(rows).collect();
    let found = read(file(&whole)).unwrap();
    assert_eq!(found.rows, [[vec![0, 4], vec![]], [vec![5], vec![1]]]);
    // What the header does not say is counted.
    let counted = read(file(&[&[r#"{"prefill_tokens":5}"#], &rows[..]].concat())).unwrap();
    assert_eq!((counted.header.layers, counted.header.steps, counted.rows), (2, 2, found.rows));

    let refused = |lines: &[&str], parts: &[&str]| {
        let message = read(file(lines)).expect_err("a wrong file").to_string();
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    };
    let replaced = |at: usize, line: &'static str| {
        let mut lines = whole.clone();
        lines[at] = line;
        lines
    };
    refused(&rows, &["prefill_tokens", "--prefill"]);
    refused(&whole[..4], &["3 rows", "4"]);
    refused(&[&whole[..], &[r#"{"step":2,"layer":0,"skipped":[]}"#]].concat(), &["line 6", "too many"]);
    refused(&replaced(3, rows[3]), &["row 2", "step 1, layer 1"]);
    refused(&replaced(2, r#"{"step":0,"layer":1,"skipped":[5]}"#), &["row 1", "token 5", "5 tokens"]);
    refused(&replaced(1, r#"{"step":0,"layer":0,"skipped":[1,1]}"#), &["row 0", "twice"]);
    refused(&replaced(2, r#"{"step":0,"layer":1,"skipped":[-1]}"#), &["line 3", "-1"]);
    refused(&replaced(2, r#"{"step":0,"layer":1}"#), &["line 3", "skipped"]);
    refused(&replaced(2, "{"), &["line 3"]);
    refused(&replaced(0, r#"{"layers":2,"prefill_tokens":5,"steps":1e11}"#), &["line 1"]);
    refused(&replaced(0, r#"{"layers":2,"prefill_tokens":5,"steps":99999999999}"#), &["steps = 99999999999"]);
}

#[test]
fn truncated_files_are_refused() {
    let sets = small();
    for file in [sets.as_parquet(Encoding::Sets, 3), sets.as_parquet(Encoding::Differences, 3), sets.as_kvs()] {
        for length in 0..file.len() {
            assert!(read(file[..length].to_vec()).is_err(), "{length} of {} bytes were read as a trace", file.len());
        }
    }
}

/// A page whose header says that it takes 1 GB when it is decompressed is refused before room is made for it.
#[test]
fn absurd_lengths_are_not_believed() {
    let file = small().as_parquet(Encoding::Sets, 3);
    // The header of the first page of the first column: 0x15, its type (0 or 4), 0x15, its size.
    let start = 4;
    assert_eq!((file[start], file[start + 2]), (0x15, 0x15));
    let old = if file[start + 3] < 0x80 { 1 } else { 2 };
    let mut huge = file[..start + 3].to_vec();
    // 2^30, zigzag and in groups of 7 bits. The columns' offsets no longer fit, but the first page is met first.
    huge.extend([0x80, 0x80, 0x80, 0x80, 0x08]);
    huge.extend(&file[start + 3 + old..]);
    let message = read(huge).expect_err("a wrong file").to_string();
    assert!(message.contains("a page of 1073741824 bytes"), "{message}");
    // A footer longer than the file.
    let mut footer = file.clone();
    let at = footer.len() - 8;
    footer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read(footer).is_err());
}

fn small() -> Sets {
    let header = TraceHeader {
        layers: 3,
        prefill: 40,
        steps: 12,
        skip_permille: Some(400),
        provenance: Provenance { model: Some("a model".to_owned()), ..Provenance::default() },
    };
    let rows = (0..12)
        .map(|step| {
            (0..3).map(|layer| (0..40 + step).filter(|token| (token * 7 + step + layer) % 5 < 2).collect()).collect()
        })
        .collect();
    Sets { header, rows }
}

/// The whole trace of a damaged file, if it still is one: what matters is that nothing panics and little memory is taken.
fn survives(bytes: Vec<u8>) {
    let _ = read(bytes);
}

/// One of the small files, damaged: bytes overwritten, taken out, put in, or doubled.
fn damaged(file: &[u8], damages: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for (kind, at, value) in damages {
        let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match kind % 5 {
            _ if bytes.is_empty() => bytes.push(*value),
            0 => bytes[at] = *value,
            1 => bytes[at] ^= 1 << (value % 8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *value),
            _ => {
                let end = (at + usize::from(*value)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn files() -> Vec<Vec<u8>> {
    let sets = small();
    vec![
        sets.as_parquet(Encoding::Sets, 3),
        sets.as_parquet(Encoding::Differences, 3),
        foreign(&right(), &METADATA, 4),
        sets.as_kvs(),
        sets.as_json_lines(),
    ]
}

fn damages() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(cases(CASES))]
    #[test]
    fn damaged_files_do_no_harm(which in 0usize..5, damages in damages()) {
        survives(damaged(&files()[which], &damages));
    }
}

/// The same for as long as `FUZZ_SECONDS` says, for one format or all.
fn fuzz(which: &[usize]) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(seconds);
    let files = files();
    let mut rounds = 0u64;
    while Instant::now() < end {
        // A runner's own random seed: every round is new.
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(5_000)
        });
        let strategy = (proptest::sample::select(which.to_vec()), damages());
        runner
            .run(&strategy, |(which, damages)| {
                survives(damaged(&files[which], &damages));
                Ok(())
            })
            .unwrap();
        rounds += 5_000;
    }
    println!("{rounds} damaged files in {seconds} s");
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_parquet() {
    fuzz(&[0, 1, 2]);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_kvs() {
    fuzz(&[3]);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_json_lines() {
    fuzz(&[4]);
}

#[test]
fn import_export_generate_fit_info_and_verify() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    let succeeds = |args: &[&str]| {
        let output = tiersim(place.path(), args).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let fails = |args: &[&str], parts: &[&str]| {
        let output = tiersim(place.path(), args).assert().code(2).get_output().clone();
        let message = String::from_utf8(output.stderr).unwrap();
        for part in parts.iter().copied() {
            assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
        }
    };
    succeeds(&["trace", "export", "python_heapq_skip40", "-o", "a.kvs"]);
    assert_eq!(fs::metadata(path("a.kvs")).unwrap().len(), 810_024);
    succeeds(&["trace", "import", "a.kvs", "--model", "a model", "--licence", "CC0", "--level", "3"]);
    succeeds(&["trace", "export", "a.parquet", "-o", "b.jsonl"]);
    succeeds(&["trace", "import", "b.jsonl", "-o", "c.parquet", "--encoding", "sets", "--source", "a text"]);
    succeeds(&["trace", "export", "c.parquet", "-o", "c.kvs"]);
    assert!(fs::read(path("a.kvs")).unwrap() == fs::read(path("c.kvs")).unwrap());
    let verified = succeeds(&["trace", "verify", "a.kvs", "b.jsonl", "c.parquet", "python_heapq_skip40"]);
    assert_eq!(verified.matches("valid: a recorded trace").count(), 4, "{verified}");
    assert!(verified.contains("320 steps, 30 layers, 512 tokens before step 0, 39.9"), "{verified}");

    let table = succeeds(&["trace", "info", "c.parquet", "like-recorded-40", "--out", "pictures"]);
    for part in ["a model", "a text", "CC0", "not said", "churn", "Jaccard", "page", "like-recorded-40", "difference"] {
        assert!(table.contains(part), "no '{part}' in {table}");
    }
    for name in ["skip", "churn", "changed", "pages", "jaccard_steps", "jaccard_layers", "runs", "ages"] {
        assert!(path(&format!("pictures/{name}.png")).is_file(), "{name}");
    }

    let generate = ["trace", "generate", "--skip", "0.25", "--churn", "10%", "--layers", "3", "--decode", "40"];
    succeeds(&[&generate[..], &["-o", "made.parquet"]].concat());
    succeeds(&[&generate[..], &["-o", "made.kvs"]].concat());
    succeeds(&["trace", "export", "made.parquet", "-o", "again.kvs"]);
    assert!(fs::read(path("made.kvs")).unwrap() == fs::read(path("again.kvs")).unwrap());
    assert!(succeeds(&["trace", "verify", "made.parquet"]).contains("40 steps, 3 layers, 1024 tokens"));

    succeeds(&["trace", "fit", "python_heapq_skip40", "-o", "fitted.ron"]);
    let once = fs::read(path("fitted.ron")).unwrap();
    succeeds(&["trace", "fit", "a.kvs", "-o", "fitted.ron"]);
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&once), lines(&fs::read(path("fitted.ron")).unwrap()));
    succeeds(&["run", "--trace", "fitted.ron", "--decode", "8"]);
    succeeds(&["run", "--trace", "like-recorded-40", "--decode", "8", "--skip", "30%", "--seed", "4"]);

    fails(&["trace", "import", "a.kvs", "-o", "a.kvs"], &[".parquet"]);
    fails(&["trace", "import", "a.parquet"], &["the trace itself"]);
    fails(&["trace", "export", "a.parquet", "-o", "a.csv"], &["a.csv", ".kvs", ".jsonl"]);
    fails(&["trace", "export", "a.kvs", "-o", "a.parquet/x.kvs"], &["a.parquet/x.kvs"]);
    fails(&["trace", "info", "like-recorded-40"], &["no size of its own"]);
    fails(&["trace", "generate", "nowhere", "-o", "x.kvs"], &["nowhere"]);
    fails(&["trace", "generate", "--skip", "1", "--sinks", "1", "-o", "x.kvs"], &["sinks"]);
    fs::write(path("cut.parquet"), &fs::read(path("a.parquet")).unwrap()[..9000]).unwrap();
    fails(&["trace", "verify", "a.kvs", "cut.parquet"], &["cut.parquet", "damaged"]);
    fs::write(path("empty.parquet"), []).unwrap();
    fails(&["trace", "info", "empty.parquet"], &["0 bytes"]);
    fails(&["run", "--trace", "empty.parquet"], &["0 bytes"]);
    assert!(!path("x.kvs").exists());
}

#[test]
fn a_recorded_trace_is_made_to_fit_by_flags_and_set() {
    let place = TempDir::new().unwrap();
    let scenario = |args: &[&str]| -> serde_json::Value {
        let args =
            [&["run", "study", "--json", "--trace", "python_heapq_skip40", "--strategy", "baseline"], args].concat();
        let output = tiersim(place.path(), &args).assert().success().get_output().stdout.clone();
        serde_json::from_slice::<serde_json::Value>(&output).unwrap()["scenario"].clone()
    };
    let flags = scenario(&["--layer-map", "scale", "--decode", "7"]);
    let set = scenario(&["--set", "trace.layer_map=Scale", "--decode", "7"]);
    assert_eq!(flags, set);
    assert_eq!((&flags["prefill_tokens"], &flags["decode_tokens"]), (&512.into(), &7.into()));
    let moved = scenario(&[
        "--layer-map",
        "Repeat",
        "--first-step",
        "300",
        "--prefill-offset",
        "212",
        "--extend",
        "repeat",
        "--decode",
        "70",
    ]);
    assert_eq!(moved["prefill_tokens"], 1024);
    let extended = scenario(&["--layer-map", "Scale", "--extend", "Statistics", "--decode", "330"]);
    assert!(extended["trace"]["Recorded"]["extend"]["Like"]["exchange"].is_number(), "{}", extended["trace"]);
    // Both forms of the configuration.
    let old = fs::read_to_string(in_repository("models/scenarios/recorded.ron")).unwrap();
    let start = old.find("trace: Recorded(").unwrap();
    let end = old.rfind(')').unwrap();
    let short =
        format!("{}trace: Recorded(\"python_heapq_skip40\"), model: \"smollm2-135m\", {}", &old[..start], &old[end..]);
    let short = short.replace("    model: \"study\",\n", "").replace("decode_tokens: 4096", "decode_tokens: 4");
    fs::write(place.path().join("short.ron"), short).unwrap();
    tiersim(place.path(), &["run", "short.ron"]).assert().success();
}

/// The example in traces/README.md, run by Python, makes a file that the real reader takes; pyarrow and pyroaring read
/// what tiersim writes.
#[test]
fn python_writes_and_reads_traces() {
    let Some(python) = python::with("pyarrow.parquet, pyroaring", &["pyarrow", "pyroaring"]) else {
        skip!("no python3 with pyarrow and pyroaring, and none can be installed here");
    };
    let place = TempDir::new().unwrap();
    let readme = fs::read_to_string(in_repository("traces/README.md")).unwrap();
    let (_, rest) = readme.split_once("```python\n").expect("an example in traces/README.md");
    let (example, _) = rest.split_once("```").expect("the end of the example");
    assert!(example.lines().count() <= 12, "the example is to be short");
    let run = |code: &str| {
        let output = std::process::Command::new(&python).current_dir(place.path()).args(["-c", code]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(example);
    let verified = tiersim(place.path(), &["trace", "verify", "mine.parquet"]).assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&verified.stdout).contains("valid: a recorded trace (Parquet)"));

    for encoding in ["sets", "differences"] {
        let args = ["trace", "generate", "like-recorded-40", "--layers", "2", "--prefill", "70", "--decode", "5"];
        let args = [&args[..], &["--encoding", encoding, "-o", "ours.parquet"]].concat();
        tiersim(place.path(), &args).assert().success();
        tiersim(place.path(), &["trace", "export", "ours.parquet", "-o", "ours.jsonl"]).assert().success();
        let same = run("import json, pyarrow.parquet as pq, pyroaring\n\
             table = pq.read_table('ours.parquet')\n\
             differences = table.schema.metadata[b'encoding'] == b'differences'\n\
             lines = [json.loads(line) for line in open('ours.jsonl')][1:]\n\
             before = {}\n\
             for row, line in zip(table.to_pylist(), lines, strict=True):\n\
             \x20   assert (row['step'], row['layer']) == (line['step'], line['layer'])\n\
             \x20   found = pyroaring.BitMap.deserialize(row['skipped'])\n\
             \x20   if differences: found = found ^ before.get(row['layer'], pyroaring.BitMap())\n\
             \x20   before[row['layer']] = found\n\
             \x20   assert list(found) == line['skipped'], row\n\
             print(len(lines))");
        assert_eq!(same.trim(), "10");
    }
}

#[test]
fn the_shipped_trace_is_small_and_the_scenario_goes_on_with_the_shipped_generator() {
    assert!(fs::metadata(in_repository(SHIPPED)).unwrap().len() < 1_000_000);
    let scenario = tiersim::simulation::ScenarioConfig::load("recorded").unwrap();
    let generator = tiersim::catalog::generator("like-recorded-40").unwrap();
    let (TraceConfig::Recorded(recorded), Some(TraceConfig::Lifelike(like))) = (scenario.trace, generator) else {
        panic!("a recorded trace and a generator");
    };
    assert_eq!(recorded.extend, Extend::Like(like));
}

/// The generator is as like the whole recording as `trace info` would say; the recording is not shipped.
#[test]
#[ignore = "needs recordings: TIERSIM_RECORDED=FOLDER cargo test --test it recorded -- --ignored"]
fn the_shipped_generator_is_like_the_recorded_trace() {
    let Some(folder) = std::env::var_os("TIERSIM_RECORDED") else {
        skip!("TIERSIM_RECORDED names no folder of recorded .kvs files");
    };
    let mut compared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "kvs") {
            continue;
        }
        let mut recording = Recording::open(&path).unwrap();
        let header = recording.header().clone();
        let fit = Fit::of("test", &mut recording).unwrap();
        let mut recording = Recording::open(&path).unwrap();
        let (layers, prefill, steps) = (header.layers, header.prefill, header.steps);
        let wanted = TraceStatistics::measure(&mut recording, layers, prefill, steps).unwrap().mean;
        let mut made = Lifelike::new(&fit.config, layers, prefill + steps);
        let found = TraceStatistics::measure(&mut made, layers, prefill, steps).unwrap().mean;
        let pairs = [
            (wanted.churn, found.churn, 0.1),
            (wanted.jaccard[0], found.jaccard[0], 0.1),
            (wanted.jaccard[1], found.jaccard[1], 0.1),
            (wanted.jaccard[2], found.jaccard[2], 0.1),
            (wanted.layer_jaccard, found.layer_jaccard, 0.1),
            (wanted.read_run, found.read_run, 0.1),
            (wanted.skipped_run, found.skipped_run, 0.1),
            // Few pages are skipped, by some chance.
            (wanted.skipped_pages, found.skipped_pages, 0.15),
        ];
        for (index, (wanted, found, most)) in pairs.into_iter().enumerate() {
            let (wanted, found) = (wanted.unwrap(), found.unwrap());
            assert!((found / wanted - 1.0).abs() < most, "{path:?}, {index}: {found} for {wanted}");
        }
        compared += 1;
    }
    assert!(compared > 0, "no .kvs file in TIERSIM_RECORDED");
}
