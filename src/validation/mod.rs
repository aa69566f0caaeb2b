//! Measured runs of real machines, and how far simulated times are from them.
//!
//! A [`Case`] is a row of a CSV file: a machine, a runtime, a model, a context, and what was
//! measured there. [`validate`] simulates each case as a scenario of its own, on all threads, and
//! an [`Accuracy`] holds measured against simulated: the error of each case, and its mean, median,
//! 90th percentile and maximum in each group. [`calibrate`] fits the costs of a runtime to cases.
//!
#![doc = include_str!("README.md")]

mod accuracy;
mod calibration;
mod case;
mod error;
mod measured;
mod served;
mod simulated;
mod table;

pub use accuracy::{Accuracy, CaseError, Errors, Excluded, GroupErrors};
pub use calibration::{Calibration, CalibrationError, FittedCost, FittedRow, Settings, calibrate};
pub use case::{COLUMNS, Case, Use};
pub use error::InvalidCase;
pub use measured::{Measured, Metric};
pub use served::Running;
pub use simulated::{Checked, Outcome, Simulated, validate};
pub use table::{CaseFile, read};
