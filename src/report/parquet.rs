//! `steps.parquet`: the columns of `steps.csv` in a typed, compressed file.
//!
//! Both formats are generated from [`STEP_COLUMNS`](crate::metrics::STEP_COLUMNS), so that their
//! names and values agree. Counts and bytes are 64-bit integers; shares and times (in nanoseconds)
//! are doubles, with `NaN` where there is no value.

use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use crate::metrics::{RunColumn, RunReport, StepUnit, StepValue, step_columns};
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::sync::Arc;

/// `steps.parquet`: the columns of `steps.csv` under the same names, for pandas, DuckDB and the
/// like.
pub(super) struct StepsParquet;

/// A column and its values.
pub(super) struct Column {
    pub name: String,
    pub values: Values,
}

pub(super) enum Values {
    /// Counts and bytes.
    Whole(Vec<i64>),
    /// Shares, and times in nanoseconds. `NaN` where there is no value.
    Real(Vec<f64>),
}

impl Exporter for StepsParquet {
    fn names(&self) -> Vec<String> {
        vec!["steps.parquet".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        if run.requests.is_some() {
            return Ok(Vec::new());
        }
        let bytes = write("steps", &columns(run)).map_err(|error| ReportError::format("steps.parquet", error))?;
        Ok(vec![Artifact::new("steps.parquet", bytes)])
    }
}

fn columns(run: &RunReport) -> Vec<Column> {
    step_columns(&run.tiers, run.summary.is_single(), run.summary.cache.is_some())
        .into_iter()
        .map(|column| values(run, column))
        .collect()
}

/// A column of all steps.
fn values(run: &RunReport, column: RunColumn) -> Column {
    let steps = || run.series.steps().map(|step| column.value(&step));
    let values = match column.column.unit {
        // No count comes near 2^63.
        StepUnit::Step | StepUnit::Tokens | StepUnit::Sequences | StepUnit::Pages | StepUnit::Bytes => {
            Values::Whole(steps().map(|it| it.whole() as i64).collect())
        }
        StepUnit::Nanoseconds | StepUnit::Share => Values::Real(steps().map(StepValue::real).collect()),
    };
    Column { name: column.name, values }
}

/// A file of `columns`, which are equally long; `name` is that of its rows.
pub(super) fn write(name: &str, columns: &[Column]) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (kind, logical) = match column.values {
            Values::Whole(_) => (PhysicalType::INT64, Some(LogicalType::integer(64, true))),
            Values::Real(_) => (PhysicalType::DOUBLE, None),
        };
        let field = Type::primitive_type_builder(&column.name, kind);
        field.with_repetition(Repetition::REQUIRED).with_logical_type(logical).build().map(Arc::new)
    });
    let schema = Type::group_type_builder(name).with_fields(fields.collect::<Result<_, _>>()?).build()?;
    let properties = WriterProperties::builder()
        .set_created_by(format!("tiersim version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else { break };
        match &column.values {
            Values::Whole(values) => writer.typed::<Int64Type>().write_batch(values, None, None)?,
            Values::Real(values) => writer.typed::<DoubleType>().write_batch(values, None, None)?,
        };
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Recorder;
    use crate::simulation::{Scenario, ScenarioConfig, run};
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    /// Both files are generated from one table; text and binary values must agree.
    #[test]
    fn says_what_steps_csv_says() {
        let mut config = ScenarioConfig::load("study").unwrap();
        config.decode_tokens = 9;
        let scenario = Scenario::new(config).unwrap();
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).unwrap();
        let report = recorder.finish(&scenario, &outcome);
        let parquet = StepsParquet.export(&report).unwrap().remove(0).bytes;
        let csv = super::super::csv::StepsCsv.export(&report).unwrap().remove(0).bytes;
        let reader = SerializedFileReader::new(Bytes::from(parquet)).unwrap();
        let names: Vec<String> =
            reader.metadata().file_metadata().schema_descr().columns().iter().map(|it| it.name().to_owned()).collect();
        let mut csv = ::csv::Reader::from_reader(csv.as_slice());
        assert_eq!(names, csv.headers().unwrap().iter().collect::<Vec<_>>());
        let mut rows = 0;
        for (row, record) in reader.get_row_iter(None).unwrap().zip(csv.records()) {
            let (row, record) = (row.unwrap(), record.unwrap());
            for ((_, field), text) in row.get_column_iter().zip(record.iter()) {
                let number: f64 = text.parse().unwrap();
                let same = match field {
                    parquet::record::Field::Long(value) => *value as f64 == number,
                    parquet::record::Field::Double(value) => *value == number,
                    other => panic!("{other:?}"),
                };
                assert!(same, "{field:?} against {text}");
            }
            rows += 1;
        }
        assert_eq!(rows, 9);
    }
}
