//! The share of its peak bandwidth that a DRAM bus achieves.
//!
//! A bus loses time where it opens a row for a few bytes only, and where it turns from reads to
//! writes. So the share depends on the *granule*, which is how many contiguous bytes one channel
//! carries, and on the share of reads among the bytes that are carried at a time. Both come from a
//! measured table or from a model of the DRAM part's timing ([`Dram`]).

use super::dram::{Dram, DramConfig, DramError, Pattern};
use crate::units::{Bytes, Ratio, SimTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The share of a tier's peak bandwidth that is achieved, as a person writes it: a measured table,
/// or a model of the DRAM part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Efficiency", deny_unknown_fields)]
pub struct EfficiencyConfig {
    /// Where the figures are from.
    pub source: String,
    /// Measured figures.
    #[serde(default)]
    pub table: Option<EfficiencyTable>,
    /// A DRAM part by its timing.
    #[serde(default)]
    pub dram: Option<DramConfig>,
}

/// Achieved over peak bandwidth, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficiencyTable {
    /// How many contiguous bytes one channel carries: a row of the table each, the least first.
    pub granules: Vec<Bytes>,
    /// The share of reads among the bytes carried: a column of the table each, the least first.
    pub read_shares: Vec<Ratio>,
    /// Achieved over peak: for each granule a list with an entry for each read share.
    pub achieved: Vec<Vec<Ratio>>,
}

/// What an efficiency cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum EfficiencyError {
    #[error("write either a table or a dram, not {0}")]
    Source(&'static str),
    #[error("table.{field}: {count} of them, but a table has from 1 to {max}", max = Efficiency::MAX_LINES)]
    Count { field: &'static str, count: usize },
    #[error("table.{field}[{index}]: {value} does not come after {before}: list them in ascending order")]
    Order { field: &'static str, index: usize, value: String, before: String },
    #[error("table.granules[0]: a granule holds at least 1 byte")]
    NoGranule,
    #[error("table.achieved: {rows} rows, but there are {granules} granules: write a row for each")]
    Rows { rows: usize, granules: usize },
    #[error("table.achieved[{row}]: {found} entries, but there are {shares} read shares: write one for each")]
    Columns { row: usize, found: usize, shares: usize },
    #[error("table.achieved[{row}][{column}]: {value} is too little: at least {min} of the peak is achieved", min = Efficiency::MIN)]
    TooLittle { row: usize, column: usize, value: Ratio },
    #[error(
        "table.achieved[{row}][{column}]: {value} is less than {before} at the smaller granule: more contiguous bytes never achieve less"
    )]
    Granules { row: usize, column: usize, value: Ratio, before: Ratio },
    #[error(
        "table.achieved[{row}]: from read share {from} to {to} it changes so steeply that more bytes would take less time: smooth the row"
    )]
    Shares { row: usize, from: Ratio, to: Ratio },
    #[error("dram.{0}")]
    Dram(#[from] DramError),
}

/// Achieved over peak bandwidth of a channel, by granule (the contiguous bytes that it carries) and
/// by the share of reads among its bytes.
///
/// What is interpolated is the time that a byte takes, the inverse of the efficiency: over the read
/// share linearly, so that bus times add up; over the granule linearly in its inverse, as what a
/// granule costs once is shared by its bytes. Outside a table its edges hold.
///
/// ```
/// use tiersim::memory::Efficiency;
/// use tiersim::units::Bytes;
/// let hbm3 = Efficiency::new(&tiersim::catalog::efficiency("hbm3-6400")?)?;
/// let streaming = hbm3.achieved(Bytes::new(1 << 20), 1.0);
/// assert!((streaming - 0.9).abs() < 0.02);
/// assert!(hbm3.achieved(Bytes::new(64), 1.0) < 0.7 * streaming);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Efficiency {
    /// The read shares between which the time of a byte is linear, from 0 to 1.
    shares: Vec<f64>,
    model: Model,
}

#[derive(Clone, Debug, PartialEq)]
enum Model {
    /// For each granule the time of a byte at each read share, in units of its time at peak.
    Table(Vec<(Bytes, Vec<f64>)>),
    Dram(Dram),
}

impl Efficiency {
    /// The most rows, and the most columns, of a table.
    pub const MAX_LINES: usize = 64;
    /// The least share of the peak that may be achieved.
    pub const MIN: f64 = 0.001;

    /// Checks `config`.
    ///
    /// # Errors
    /// [`EfficiencyError`], naming the field, the value and what to write instead.
    pub fn new(config: &EfficiencyConfig) -> Result<Self, EfficiencyError> {
        match (&config.table, &config.dram) {
            (Some(table), None) => Self::of_table(table),
            (None, Some(dram)) => {
                let dram = Dram::new(dram)?;
                Ok(Self { shares: Dram::READ_SHARES.to_vec(), model: Model::Dram(dram) })
            }
            (Some(_), Some(_)) => Err(EfficiencyError::Source("both")),
            (None, None) => Err(EfficiencyError::Source("neither")),
        }
    }

    fn of_table(table: &EfficiencyTable) -> Result<Self, EfficiencyError> {
        check_table(table)?;
        // Constant before the first share and after the last.
        let mut shares: Vec<f64> = table.read_shares.iter().map(|share| share.as_f64()).collect();
        let starts_late = shares[0] > 0.0;
        let ends_early = shares[shares.len() - 1] < 1.0;
        if starts_late {
            shares.insert(0, 0.0);
        }
        if ends_early {
            shares.push(1.0);
        }
        let rows = table.granules.iter().zip(&table.achieved).map(|(granule, achieved)| {
            let mut times: Vec<f64> = achieved.iter().map(|achieved| 1.0 / achieved.as_f64()).collect();
            if starts_late {
                times.insert(0, times[0]);
            }
            if ends_early {
                times.push(times[times.len() - 1]);
            }
            (*granule, times)
        });
        Ok(Self { model: Model::Table(rows.collect()), shares })
    }

    /// Achieved over peak by endless streams, where `read_share` of all bytes are reads.
    #[must_use]
    pub fn streaming(&self, read_share: f64) -> f64 {
        self.interpolated(&self.streaming_times(), read_share)
    }

    /// For each of [`read_shares`](Self::read_shares), the time of a byte of endless streams in
    /// units of its time at peak: the least that there is.
    pub(super) fn streaming_times(&self) -> Vec<f64> {
        self.times(Pattern::Streams, Bytes::new(1 << 40))
    }

    /// Achieved over peak for bytes in granules of `granule` that lie anywhere, where `read_share`
    /// of all bytes are reads.
    #[must_use]
    pub fn achieved(&self, granule: Bytes, read_share: f64) -> f64 {
        self.interpolated(&self.times(Pattern::Random, granule), read_share)
    }

    fn interpolated(&self, times: &[f64], read_share: f64) -> f64 {
        let (segment, part) = segment(&self.shares, read_share);
        1.0 / (times[segment] + part * (times[segment + 1] - times[segment]))
    }

    /// The read shares between which the time of a byte is linear, from 0 to 1.
    #[must_use]
    pub fn read_shares(&self) -> &[f64] {
        &self.shares
    }

    /// What a change of direction costs a bus that carries one transfer at a time.
    #[must_use]
    pub fn turnaround(&self) -> SimTime {
        match &self.model {
            Model::Table(_) => SimTime::ZERO,
            Model::Dram(dram) => dram.turnaround(),
        }
    }

    /// The DRAM part behind it, if it is one.
    #[must_use]
    pub fn dram(&self) -> Option<&Dram> {
        match &self.model {
            Model::Table(_) => None,
            Model::Dram(dram) => Some(dram),
        }
    }

    /// Whether granules of different sizes achieve differently.
    #[must_use]
    pub fn depends_on_granule(&self) -> bool {
        match &self.model {
            Model::Table(rows) => rows.len() > 1,
            Model::Dram(_) => true,
        }
    }

    /// The granule from which on larger ones make no difference.
    #[must_use]
    pub fn largest_granule(&self) -> Bytes {
        match &self.model {
            Model::Table(rows) => rows[rows.len() - 1].0,
            Model::Dram(dram) => dram.largest_granule(),
        }
    }

    /// For each of [`read_shares`](Self::read_shares), the time of a byte in units of its time at
    /// peak. A table holds whatever the pattern.
    pub(super) fn times(&self, pattern: Pattern, granule: Bytes) -> Vec<f64> {
        match &self.model {
            Model::Table(rows) => {
                if rows.len() == 1 {
                    return rows[0].1.clone();
                }
                let inverse = |granule: Bytes| -1.0 / granule.as_f64().max(1.0);
                let inverses: Vec<f64> = rows.iter().map(|(granule, _)| inverse(*granule)).collect();
                let (row, part) = segment(&inverses, inverse(granule));
                let (below, above) = (&rows[row].1, &rows[row + 1].1);
                below.iter().zip(above).map(|(below, above)| below + part * (above - below)).collect()
            }
            Model::Dram(dram) => self.shares.iter().map(|share| dram.time(pattern, granule, *share)).collect(),
        }
    }
}

/// Between which of `points` (ascending, at least two) `x` lies: the first of the two, and how far
/// between them, from 0 to 1. Outside them, the nearest end.
pub(super) fn segment(points: &[f64], x: f64) -> (usize, f64) {
    let first = points.partition_point(|point| *point <= x).clamp(1, points.len() - 1) - 1;
    let part = (x - points[first]) / (points[first + 1] - points[first]);
    (first, part.clamp(0.0, 1.0))
}

fn check_table(table: &EfficiencyTable) -> Result<(), EfficiencyError> {
    for (field, count) in [("granules", table.granules.len()), ("read_shares", table.read_shares.len())] {
        if !(1..=Efficiency::MAX_LINES).contains(&count) {
            return Err(EfficiencyError::Count { field, count });
        }
    }
    ascending("granules", &table.granules)?;
    ascending("read_shares", &table.read_shares)?;
    if table.granules[0] == Bytes::ZERO {
        return Err(EfficiencyError::NoGranule);
    }
    let (rows, granules, shares) = (table.achieved.len(), table.granules.len(), table.read_shares.len());
    if rows != granules {
        return Err(EfficiencyError::Rows { rows, granules });
    }
    for (row, achieved) in table.achieved.iter().enumerate() {
        if achieved.len() != shares {
            return Err(EfficiencyError::Columns { row, found: achieved.len(), shares });
        }
        for (column, &value) in achieved.iter().enumerate() {
            if value.as_f64() < Efficiency::MIN {
                return Err(EfficiencyError::TooLittle { row, column, value });
            }
            if row > 0 && value < table.achieved[row - 1][column] {
                let before = table.achieved[row - 1][column];
                return Err(EfficiencyError::Granules { row, column, value, before });
            }
        }
        for column in 1..shares {
            let (from, to) = (table.read_shares[column - 1], table.read_shares[column]);
            if !grows_with_both(
                (from.as_f64(), 1.0 / achieved[column - 1].as_f64()),
                (to.as_f64(), 1.0 / achieved[column].as_f64()),
            ) {
                return Err(EfficiencyError::Shares { row, from, to });
            }
        }
    }
    Ok(())
}

fn ascending<T: Ord + ToString>(field: &'static str, values: &[T]) -> Result<(), EfficiencyError> {
    match (1..values.len()).find(|&index| values[index] <= values[index - 1]) {
        None => Ok(()),
        Some(index) => Err(EfficiencyError::Order {
            field,
            index,
            value: values[index].to_string(),
            before: values[index - 1].to_string(),
        }),
    }
}

/// Whether between two points (read share, time of a byte) more reads as well as more writes take
/// more time: X bytes of which R are reads take `a X + b R`, so that a byte more to write takes a,
/// and one more to read a + b.
fn grows_with_both((from, before): (f64, f64), (to, after): (f64, f64)) -> bool {
    let b = (after - before) / (to - from);
    let a = before - b * from;
    a >= 0.0 && a + b >= 0.0
}
