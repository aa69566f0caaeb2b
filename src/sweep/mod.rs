//! Grids and samples of runs: the axes that vary, the runs of all cells, and their results.
//!
//! A [`SweepConfig`] is a sweep as a person typed it; a [`Plan`] is checked, and numbers its cells.
//! [`execute`] runs the cells and writes each row to a [`Folder`] as it arrives; [`merge`] joins
//! the [`Shard`]s of a sweep that ran in several processes.
//!
//! # Files
//! `cells/part-NNNNNNNN.parquet` has the rows of 4096 cell numbers, in their order; `journal/` has
//! the rows of incomplete blocks, a line each with its checksum. A row counts as done when its line
//! is synced; a partial line at the end of a journal is dropped when the sweep resumes. When a
//! block is complete, its file is written under a temporary name, synced and renamed, and its
//! journal is removed. So a process may end at any moment, and the bytes of a complete dataset
//! depend only on the sweep.
//!
#![doc = include_str!("README.md")]

mod anneal;
mod asked;
mod axis;
mod batch;
mod cells;
mod checksums;
mod config;
mod dataset;
mod error;
mod folder;
mod front;
mod grid;
mod journal;
mod merge;
mod plan;
mod points;
mod quantity;
mod query;
pub mod report;
mod results;
mod row;
mod run;
mod sample;
mod sensitivity;
mod shard;
mod shared;
mod solve;

pub use anneal::{Annealed, Annealing, Evaluated, Searched, anneal};
pub use axis::{Axis, Level, REPEAT};
pub use cells::{run_all, run_cells, run_configs};
pub use config::{AxisConfig, SampleConfig, SweepConfig};
pub use error::SweepError;
pub use folder::{Existing, Folder};
pub use front::front;
pub use merge::merge;
pub use plan::Plan;
pub use points::RUNS;
pub use quantity::{Quantity, Unit};
pub use query::{Query, ranked, subject};
pub use results::{Measure, Point, Results};
pub use row::{DOES_NOT_FIT, Row};
pub use run::{Tally, Watcher, execute};
pub use sensitivity::{Sensitivity, sensitivities};
pub use shard::Shard;
pub use solve::{Crossing, MOST_SAMPLES, Probed, Search, Solution, solve};
