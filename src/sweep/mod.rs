//! Grids of runs: what varies, the runs of all cells, and what they say.
//!
//! A [`SweepConfig`] is what a person typed; a [`Plan`] is checked, and knows its cells by number. [`execute`] runs them and keeps
//! each row in a [`Folder`] as it comes in; [`merge`] puts together what was run apart, a [`Shard`] each.
//!
//! # What is on disk
//! `cells/part-NNNNNNNN.parquet` has the rows of 4096 cell numbers, in their order; `journal/` the rows of blocks that are not
//! complete, a line each with its checksum. A row counts when its line is synced; a torn line at the end of a journal is dropped
//! when the sweep goes on. When a block is complete its file is written under another name, synced and renamed, and its journal
//! goes. So a process may end at any moment, and a complete dataset depends on the sweep alone.
//!
#![doc = include_str!("README.md")]

mod asked;
mod axis;
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

pub use axis::{Axis, Level, REPEAT};
pub use config::{AxisConfig, SampleConfig, SweepConfig};
pub use error::SweepError;
pub use folder::{Existing, Folder};
pub use front::front;
pub use merge::merge;
pub use plan::Plan;
pub use quantity::{Quantity, Unit};
pub use query::{Query, ranked, subject};
pub use results::{Measure, Point, Results};
pub use row::Row;
pub use run::{Tally, Watcher, execute};
pub use sensitivity::{Sensitivity, sensitivities};
pub use shard::Shard;
pub use solve::{Crossing, MOST_SAMPLES, Probed, Search, Solution, solve};
