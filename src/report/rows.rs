//! Tables with a row for each sequence, request or stretch of time, as a CSV file and as a Parquet
//! file.
//!
//! Both are generated from one list of columns. Where a row has no value (a request that has not
//! finished, say), the field of the CSV file is empty and the value of the Parquet file is `NaN`.

use super::artifact::{Artifact, ReportError};
use super::parquet::{Column, Values, write};
use crate::units::SimTime;
use Value::{Time, Whole};

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// A count.
    Whole(u64),
    /// A time, if there is one.
    Time(Option<SimTime>),
    /// A mean of times in picoseconds, if there is one.
    Mean(Option<f64>),
    /// Any other number.
    Real(f64),
}

impl Value {
    fn text(self) -> String {
        match self {
            Whole(whole) => whole.to_string(),
            Time(time) => time.map_or_else(String::new, |time| time.exact_ns()),
            Self::Mean(ps) => ps.map_or_else(String::new, |ps| format!("{:.3}", ps / 1_000.0)),
            Self::Real(real) => format!("{real:.3}"),
        }
    }

    fn real(self) -> f64 {
        match self {
            Whole(whole) => whole as f64,
            Time(time) => time.map_or(f64::NAN, SimTime::as_ns),
            Self::Mean(ps) => ps.map_or(f64::NAN, |ps| ps / 1_000.0),
            Self::Real(real) => real,
        }
    }
}

/// A column: its name, and the value of a row by its number.
pub(super) type Get<R> = (String, Box<dyn Fn(usize, &R) -> Value>);

/// `NAME.csv` and `NAME.parquet` of `rows`.
pub(super) fn files<R>(name: &str, rows: &[R], columns: &[Get<R>]) -> Result<Vec<Artifact>, ReportError> {
    let names = [format!("{name}.csv"), format!("{name}.parquet")];
    let failed = |error: csv::Error| ReportError::format(&names[0], error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|(name, _)| name)).map_err(failed)?;
    for (id, row) in rows.iter().enumerate() {
        writer.write_record(columns.iter().map(|(_, get)| get(id, row).text())).map_err(failed)?;
    }
    let text = writer.into_inner().map_err(|error| ReportError::format(&names[0], error))?;
    let columns: Vec<Column> = columns.iter().map(|column| values(rows, column)).collect();
    let typed = write(name, &columns).map_err(|error| ReportError::format(&names[1], error))?;
    let [csv, parquet] = names;
    Ok(vec![Artifact::new(csv, text), Artifact::new(parquet, typed)])
}

/// A column of all rows.
fn values<R>(rows: &[R], (name, get): &Get<R>) -> Column {
    let all = || rows.iter().enumerate().map(|(id, row)| get(id, row));
    let counts = all().all(|value| matches!(value, Whole(_)));
    // No count comes near 2^63.
    let values = if counts {
        Values::Whole(all().map(|value| value.real() as i64).collect())
    } else {
        Values::Real(all().map(Value::real).collect())
    };
    Column { name: name.clone(), values }
}
