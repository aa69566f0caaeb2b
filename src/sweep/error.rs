//! Errors of sweeps.
//!
//! Each message names the axis, cell or file at fault and ends with a remedy: what to write
//! instead, or how to go on. A sweep may have run for days, so the messages say whether finished
//! cells are kept.

use crate::config::{ConfigError, did_you_mean};
use crate::metrics::short_names;
use crate::simulation::NoRoom;
use crate::units::Bytes;
use std::path::Path;
use thiserror::Error;

/// Why a sweep cannot be run, or its results not be read.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum SweepError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("name: {0}")]
    Name(String),
    #[error("base: {0}")]
    Base(String),
    #[error("set: {path}: {message}")]
    Set { path: String, message: String },
    #[error(
        "axes: there are none, so there is nothing to vary: write at least one, such as Values(field: \"memory.hbm.capacity\", values: [\"2GiB\", \"4GiB\"])"
    )]
    NoAxes,
    #[error("a search over nothing: name what varies, such as --over strategy.migration.steps=1..64")]
    NoSearchAxes,
    #[error("0 evaluations find nothing: allow at least 1")]
    NoEvaluations,
    #[error("axis '{axis}': {message}")]
    Axis { axis: String, message: String },
    #[error("the axes '{}' and '{}' both set {field}: leave one out, or put both into one axis of Choices", axes[0], axes[1])]
    Twice { field: String, axes: [String; 2] },
    #[error("exclude: {0}")]
    Exclude(String),
    #[error(
        "sample: {points} points of {axes} axes, but Sobol's sequence has up to {most_points} of {most_axes} here: use LatinHypercube"
    )]
    Sobol { points: u32, axes: usize, most_points: u32, most_axes: u32 },
    #[error(
        "the axes have {cells} combinations, more than the {most} that can be numbered: take fewer values, or a sample"
    )]
    TooMany { cells: u128, most: u64 },
    #[error(
        "axes, exclude: {values} values and {rules} rules take more memory than the {most} values that fit: write shorter axes or \
         fewer rules"
    )]
    TooManyValues { values: usize, rules: usize, most: usize },
    #[error("the recorded trace '{file}' cannot be read: {message}")]
    Trace { file: String, message: String },
    #[error("'{folder}' holds no results of a sweep: it has no sweep.json")]
    NoSweep { folder: String },
    #[error("'{folder}' is not of this sweep: {message}. Nothing there was touched; choose another folder with --out")]
    Foreign { folder: String, message: String },
    #[error(
        "'{folder}' holds an unfinished run of this sweep: go on with --resume, or choose another folder with --out"
    )]
    Unfinished { folder: String },
    #[error("another process is writing to '{folder}': wait for it, or choose another folder with --out")]
    Locked { folder: String },
    #[error(
        "cannot read or write '{path}': {source}. Finished cells are kept: {}, then go on with --resume",
        remedy(source)
    )]
    Io { path: String, source: std::io::Error },
    #[error("'{path}' is damaged: {message}. Remove it and go on with --resume: its cells are run again")]
    Damaged { path: String, message: String },
    #[error("cannot create the dataset: {0}")]
    Encode(String),
    #[error(transparent)]
    NoThreads(#[from] crate::runs::NoThreads),
    #[error("interrupted with {done} of {cells} cells done: go on with --resume")]
    Interrupted { done: u64, cells: u64 },
    #[error("there is no axis or figure '{name}' in these results: there is {known}.{}", meant(name, known))]
    Measure { name: String, known: String },
    #[error("'{text}': {message}")]
    Query { text: String, message: String },
    #[error("interrupted")]
    Stopped,
    #[error(
        "{cells} of the cells were not run, as they need up to {} of memory and --memory-limit leaves {}: the others are done; raise it and go on with --resume",
        needed.rounded(),
        limit.rounded()
    )]
    MemoryLimit { cells: u64, needed: Bytes, limit: Bytes },
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("there is nothing to merge: name the folders of all shards")]
    NothingToMerge,
    #[error("cell {cell} differs between '{}' and '{}': the same cell must have the same result in every shard", folders[0], folders[1])]
    Differ { cell: u64, folders: [String; 2] },
    #[error("cell {cell} is in none of the shards {shards}: name the folders of all shards")]
    Missing { cell: u64, shards: String },
}

/// The remedy where a file cannot be read or written.
fn remedy(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "make it readable and writable for you",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "move away the file that is in the place of the folder",
        ErrorKind::IsADirectory => "move away the folder that is in the place of the file",
        _ => "make room or choose another folder",
    }
}

fn meant(name: &str, known: &str) -> String {
    let names: Vec<&str> = known.split(", ").chain(short_names().map(|short| -> &str { short })).collect();
    did_you_mean(name, names)
}

impl SweepError {
    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    pub(super) fn damaged(path: &Path, message: impl ToString) -> Self {
        Self::Damaged { path: path.display().to_string(), message: message.to_string() }
    }
}
