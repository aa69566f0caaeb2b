//! The dataset of a sweep: Parquet files of a block of cells each, with a row a cell.

use super::{Axis, Plan, Row, SweepError};
use crate::metrics::{FigureValue, Named, figures as figures_of_runs};
use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The columns that are not figures.
const CELL: &str = "cell";
const COMPLETE: &str = "complete";
const ERROR: &str = "error";

enum Values {
    Flags(Vec<bool>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<ByteArray>>),
}

struct Column {
    name: String,
    values: Values,
    optional: bool,
}

/// The bytes of a file with `rows`, which are in the order of their cells.
pub(super) fn encode(plan: &Plan, rows: &[Row]) -> Result<Vec<u8>, SweepError> {
    write(plan, &columns(plan, rows)).map_err(|error| SweepError::Encode(error.to_string()))
}

fn columns(plan: &Plan, rows: &[Row]) -> Vec<Column> {
    let text = |text: &str| Some(ByteArray::from(text.as_bytes().to_vec()));
    let mut columns = vec![Column {
        name: CELL.to_owned(),
        values: Values::Whole(rows.iter().map(|row| Some(row.cell as i64)).collect()),
        optional: false,
    }];
    let levels: Vec<Vec<usize>> = rows.iter().map(|row| plan.levels(row.cell).unwrap_or_default()).collect();
    for (place, axis) in plan.axes().iter().enumerate() {
        let of_rows = levels.iter().map(|levels| &axis.levels[levels[place]]);
        let values = if !axis.is_numeric() {
            Values::Text(of_rows.map(|level| text(&level.label)).collect())
        } else if axis.unit.is_whole() {
            Values::Whole(of_rows.map(|level| level.number.map(|number| number as i64)).collect())
        } else {
            Values::Real(of_rows.map(|level| level.number).collect())
        };
        columns.push(Column { name: axis.name.clone(), values, optional: false });
    }
    columns.push(Column {
        name: COMPLETE.to_owned(),
        values: Values::Flags(rows.iter().map(|row| row.error.is_none()).collect()),
        optional: false,
    });
    columns.push(Column {
        name: ERROR.to_owned(),
        values: Values::Text(rows.iter().map(|row| row.error.as_deref().and_then(text)).collect()),
        optional: true,
    });
    // The columns of a file depend only on its rows, not on which process wrote them or when.
    let rank =
        |name: &str| figures_of_runs().iter().find(|it| it.path == name).and_then(|it| it.rank).unwrap_or(u8::MAX);
    let names: BTreeSet<(u8, &str)> =
        rows.iter().flat_map(|row| &row.figures.0).map(|(name, _)| (rank(name), name.as_str())).collect();
    for (_, name) in names {
        let figures: Vec<Option<FigureValue>> = rows.iter().map(|row| row.figures.get(name).copied()).collect();
        let real = figures.iter().any(|figure| matches!(figure, Some(FigureValue::Real(_))));
        let values = if real {
            Values::Real(figures.into_iter().map(|figure| figure.map(FigureValue::as_f64)).collect())
        } else {
            let whole = |figure: FigureValue| if let FigureValue::Whole(whole) = figure { whole as i64 } else { 0 };
            Values::Whole(figures.into_iter().map(|figure| figure.map(whole)).collect())
        };
        // A figure may have the name of an axis, which already has a column.
        let name =
            if plan.axes().iter().any(|axis| axis.name == name) { format!("figure.{name}") } else { name.to_owned() };
        columns.push(Column { name, values, optional: true });
    }
    columns
}

fn write(plan: &Plan, columns: &[Column]) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (kind, logical) = match column.values {
            Values::Flags(_) => (PhysicalType::BOOLEAN, None),
            Values::Whole(_) => (PhysicalType::INT64, Some(LogicalType::integer(64, true))),
            Values::Real(_) => (PhysicalType::DOUBLE, None),
            Values::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(&column.name, kind);
        field.with_repetition(repetition).with_logical_type(logical).build().map(Arc::new)
    });
    let schema = Type::group_type_builder("cells").with_fields(fields.collect::<Result<_, _>>()?).build()?;
    let units: Vec<String> = plan.axes().iter().map(|axis| format!("{}: {}", axis.name, unit_of(axis))).collect();
    let properties = WriterProperties::builder()
        .set_created_by(format!("tiersim version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_key_value_metadata(Some(vec![
            KeyValue::new("tiersim.sweep".to_owned(), plan.config().name.clone()),
            KeyValue::new("tiersim.axes".to_owned(), units.join("; ")),
        ]))
        .build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else { break };
        macro_rules! put {
            ($type:ty, $values:expr) => {{
                let there: Vec<_> = $values.iter().flatten().cloned().collect();
                let levels: Vec<i16> = $values.iter().map(|value| value.is_some().into()).collect();
                writer.typed::<$type>().write_batch(&there, column.optional.then_some(&levels), None)?
            }};
        }
        match &column.values {
            Values::Flags(values) => writer.typed::<BoolType>().write_batch(values, None, None)?,
            Values::Whole(values) => put!(Int64Type, values),
            Values::Real(values) => put!(DoubleType, values),
            Values::Text(values) => put!(ByteArrayType, values),
        };
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

fn unit_of(axis: &Axis) -> &'static str {
    if axis.is_numeric() { axis.unit.name() } else { "text" }
}

/// The figures of the file at `path`, which has these bytes.
pub(super) fn figures(plan: &Plan, path: &Path, bytes: Vec<u8>) -> Result<Vec<String>, SweepError> {
    let reader = open(path, bytes)?;
    let fields = reader.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name());
    let figures = fields
        .filter(|name| !plan.axes().iter().any(|axis| axis.name == *name) && ![CELL, COMPLETE, ERROR].contains(name));
    Ok(figures.map(|name| name.strip_prefix("figure.").unwrap_or(name).to_owned()).collect())
}

/// The rows of the file at `path`, which has these bytes, with those figures that are `wanted`.
pub(super) fn decode(
    plan: &Plan,
    path: &Path,
    bytes: Vec<u8>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Row>, SweepError> {
    let damaged = |error: ParquetError| SweepError::damaged(path, error);
    let reader = open(path, bytes)?;
    let fields: Vec<TypePtr> = reader.metadata().file_metadata().schema().get_fields().to_vec();
    let mut rows: Vec<Row> = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let first = rows.len();
        rows.extend((0..count).map(|_| Row { cell: 0, error: None, figures: Named::default() }));
        let rows = &mut rows[first..];
        for (place, field) in fields.iter().enumerate() {
            let name = field.name();
            let is_axis = plan.axes().iter().any(|axis| axis.name == name);
            let path_of = name.strip_prefix("figure.").unwrap_or(name);
            let figure = !is_axis && ![CELL, COMPLETE, ERROR].contains(&name);
            if is_axis || name == COMPLETE || (figure && !wanted(path_of)) {
                continue;
            }
            let optional = field.is_optional();
            let column = group.get_column_reader(place).map_err(damaged)?;
            let wrong = || SweepError::damaged(path, format!("column '{name}' is not of a kind that tiersim writes"));
            match column {
                ColumnReader::Int64ColumnReader(mut column) => {
                    let mut take = |index: usize, value: i64| match figure {
                        true => rows[index].figures.0.push((path_of.to_owned(), FigureValue::Whole(value as u64))),
                        false => rows[index].cell = value as u64,
                    };
                    each(count, optional, |levels, values| column.read_records(count, levels, None, values), &mut take)
                        .map_err(damaged)?;
                }
                ColumnReader::DoubleColumnReader(mut column) if figure => {
                    let mut take = |index: usize, value: f64| {
                        rows[index].figures.0.push((path_of.to_owned(), FigureValue::Real(value)));
                    };
                    each(count, optional, |levels, values| column.read_records(count, levels, None, values), &mut take)
                        .map_err(damaged)?;
                }
                ColumnReader::ByteArrayColumnReader(mut column) if name == ERROR => {
                    let mut take = |index: usize, value: ByteArray| {
                        rows[index].error = Some(String::from_utf8_lossy(value.data()).into_owned());
                    };
                    each(count, optional, |levels, values| column.read_records(count, levels, None, values), &mut take)
                        .map_err(damaged)?;
                }
                _ => return Err(wrong()),
            }
        }
    }
    if !rows.is_sorted_by(|a, b| a.cell < b.cell) {
        return Err(SweepError::damaged(path, "its cells are out of order"));
    }
    Ok(rows)
}

/// Reads a column of `count` rows and gives the value of each row that has one to `take`.
fn each<T>(
    count: usize,
    optional: bool,
    mut read: impl FnMut(Option<&mut Vec<i16>>, &mut Vec<T>) -> Result<(usize, usize, usize), ParquetError>,
    take: &mut dyn FnMut(usize, T),
) -> Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        let before = values.len();
        let (records, _, _) = read(optional.then_some(&mut levels), &mut values)?;
        if records == 0 || (values.len() == before && !optional) || levels.len().max(values.len()) >= count {
            break;
        }
    }
    let there: Vec<usize> = match optional {
        true => levels.iter().enumerate().filter(|(_, level)| **level > 0).map(|(index, _)| index).collect(),
        false => (0..values.len()).collect(),
    };
    if there.len() != values.len() || there.last().is_some_and(|last| *last >= count) {
        return Err(ParquetError::General("a column has another number of values than rows".to_owned()));
    }
    there.into_iter().zip(values).for_each(|(index, value)| take(index, value));
    Ok(())
}

fn open(path: &Path, bytes: Vec<u8>) -> Result<SerializedFileReader<Bytes>, SweepError> {
    SerializedFileReader::new(Bytes::from(bytes)).map_err(|error| SweepError::damaged(path, error))
}

#[cfg(test)]
mod tests {
    use super::super::{AxisConfig, SweepConfig};
    use super::*;
    use crate::simulation::ScenarioConfig;
    use proptest::prelude::*;
    use serde_json::json;

    fn plan() -> Plan {
        let values = |field: &str, values: serde_json::Value| AxisConfig::Values {
            field: field.to_owned(),
            values: values.as_array().unwrap().clone(),
        };
        let axes = vec![
            values("trace.skip", json!([0.0, 0.1, 0.2, 0.3, 0.4])),
            values("memory.hbm.capacity", json!(["1GiB", "2GiB"])),
            values("strategy", json!(["baseline", "best-ratio"])),
        ];
        Plan::new(SweepConfig::of("test".to_owned(), ScenarioConfig::load("study").unwrap(), axes)).unwrap()
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let names = ["simulated_ns", "steps", "alpha.mean", "zebra", "events", "lanes.a.b.utilization"];
        let figure = prop_oneof![
            any::<u32>().prop_map(|it| FigureValue::Whole(it.into())),
            (-1e9..1e9).prop_map(FigureValue::Real)
        ];
        // A name is always of one kind.
        let kind = |index: usize, figure: FigureValue| {
            if index % 2 == 1 {
                FigureValue::Whole(figure.as_f64().abs() as u64)
            } else {
                FigureValue::Real(figure.as_f64())
            }
        };
        let row =
            (proptest::option::of("[a-z ]{0,9}"), proptest::collection::vec(proptest::option::of(figure), names.len()));
        proptest::collection::btree_map(0u64..20, row, 1..20).prop_map(move |rows| {
            rows.into_iter()
                .map(|(cell, (error, figures))| {
                    let figures = figures.into_iter().enumerate();
                    let named =
                        figures.filter_map(|(index, figure)| Some((names[index].to_owned(), kind(index, figure?))));
                    Row { cell, error, figures: named.collect() }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(rows in rows(), split in 0usize..20) {
            let plan = plan();
            let path = Path::new("part.parquet");
            let bytes = encode(&plan, &rows).unwrap();
            let read = decode(&plan, path, bytes.clone(), |_| true).unwrap();
            let sorted = |rows: &[Row]| {
                let mut rows = rows.to_vec();
                rows.iter_mut().for_each(|row| row.figures.0.sort_by(|a, b| a.0.cmp(&b.0)));
                rows
            };
            prop_assert_eq!(sorted(&read), sorted(&rows));
            // Written again from what was read, in two parts or one, it is the same to the byte.
            prop_assert_eq!(&encode(&plan, &read).unwrap(), &bytes);
            let (one, two) = rows.split_at(split.min(rows.len()));
            let mut merged = Vec::new();
            for part in [two, one].into_iter().filter(|part| !part.is_empty()) {
                merged.extend(decode(&plan, path, encode(&plan, part).unwrap(), |_| true).unwrap());
            }
            merged.sort_by_key(|row| row.cell);
            prop_assert_eq!(&encode(&plan, &merged).unwrap(), &bytes);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let plan = plan();
        let path = Path::new("part.parquet");
        let rows: Vec<Row> = (0..20).map(|cell| Row::failed(cell, "no".to_owned())).collect();
        let bytes = encode(&plan, &rows).unwrap();
        for end in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            assert!(
                decode(&plan, path, bytes[..end].to_vec(), |_| true).unwrap_err().to_string().contains("part.parquet")
            );
        }
    }
}
