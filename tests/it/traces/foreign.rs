//! Parquet and JSON lines as other tools write them: they are read, and what is wrong in them is
//! refused by its row, column or line.

use super::*;

/// A column of a Parquet file and its cells.
#[derive(Clone)]
pub enum Column {
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
pub fn foreign(columns: &[(&str, Column)], metadata: &[(&str, &str)], rows_a_group: usize) -> Vec<u8> {
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

/// Two layers, five tokens before step 0, three steps: the metadata of a valid file.
pub const METADATA: [(&str, &str); 4] =
    [("schema_version", "1"), ("layers", "2"), ("prefill_tokens", "5"), ("steps", "3")];

/// The columns of a valid file.
pub fn valid_columns() -> Vec<(&'static str, Column)> {
    let cells = vec![bitmap(&[0, 4]), bitmap(&[]), bitmap(&[5]), bitmap(&[1, 2]), bitmap(&[6]), bitmap(&[0])];
    vec![
        ("step", Column::U32(vec![0, 0, 1, 1, 2, 2])),
        ("layer", Column::U16(vec![0, 1, 0, 1, 0, 1])),
        ("skipped", Column::Binary(cells)),
    ]
}

/// A valid file with one column replaced by name, or added.
fn with(name: &'static str, column: Column) -> Vec<u8> {
    let mut columns = valid_columns();
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
        assert_eq!(read(foreign(&valid_columns(), &METADATA, rows_a_group)).unwrap().rows, wanted);
    }
    // 64-bit integers, a reserved column without content, columns of the user's own, in any order.
    let mut columns = valid_columns();
    columns[0].1 = Column::I64(vec![0, 0, 1, 1, 2, 2]);
    columns.push(("kv_head", Column::EmptyU16(6)));
    columns.insert(0, ("note", Column::Text(vec![b"mine".to_vec(); 6])));
    columns.reverse();
    assert_eq!(read(foreign(&columns, &METADATA, 4)).unwrap().rows, wanted);
    // Differences: of each step against the one before.
    let mut metadata = METADATA.to_vec();
    metadata.push(("encoding", "differences"));
    let rows = read(foreign(&valid_columns(), &metadata, 4)).unwrap().rows;
    assert_eq!(rows[2], [vec![0, 4, 5, 6], vec![0, 1, 2]]);
}

#[test]
fn wrong_rows_are_refused_by_their_number() {
    let refused = |file: Vec<u8>, parts: &[&str]| {
        let message = read(file).expect_err("an invalid file").to_string();
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
        let mut columns = valid_columns();
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
    refused(with("kv_head", Column::U16(vec![1; 6])), &["row 0", "'kv_head' is 1", "kv_heads"]);

    let rows = |rows: usize| {
        let columns: Vec<(&str, Column)> = valid_columns()
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
        let message = read(file).expect_err("an invalid file").to_string();
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    };
    refused(with("step", Column::F64(vec![0.0; 6])), &["'step'", "DOUBLE", "u32"]);
    refused(with("skipped", Column::Text(vec![b"[0]".to_vec(); 6])), &["'skipped'", "String", "binary"]);
    refused(with("kv_head", Column::Text(vec![b"0".to_vec(); 6])), &["'kv_head'", "u16"]);
    for missing in ["step", "layer", "skipped"] {
        let columns: Vec<_> = valid_columns().into_iter().filter(|(name, _)| *name != missing).collect();
        refused(foreign(&columns, &METADATA, 4), &[&format!("no column '{missing}'")]);
    }
    for (key, _) in METADATA {
        let metadata: Vec<_> = METADATA.into_iter().filter(|(known, _)| *known != key).collect();
        refused(foreign(&valid_columns(), &metadata, 4), &[key, "key-value metadata"]);
    }
    let changed = |key: &'static str, value: &'static str| {
        let mut metadata: Vec<_> = METADATA.into_iter().filter(|(known, _)| *known != key).collect();
        metadata.push((key, value));
        foreign(&valid_columns(), &metadata, 4)
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
    refused(foreign(&valid_columns(), &many, 4), &["layers * (prefill_tokens + steps) = 1073745920"]);
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
    // Layers and steps that the header does not give are counted.
    let counted = read(file(&[&[r#"{"prefill_tokens":5}"#], &rows[..]].concat())).unwrap();
    assert_eq!((counted.header.layers, counted.header.steps, counted.rows), (2, 2, found.rows));

    let refused = |lines: &[&str], parts: &[&str]| {
        let message = read(file(lines)).expect_err("an invalid file").to_string();
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
