//! A file in memory, and the errors of creating and writing files.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file to be written, with its path relative to the folder of the results.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Relative path.
    pub path: PathBuf,
    /// Content.
    pub bytes: Vec<u8>,
}

impl Artifact {
    /// A file of that relative path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: bytes.into() }
    }

    /// The name and the checksum of a file that is read back with its run's summary; `None` for
    /// other files.
    pub(super) fn checksum(&self) -> Option<(String, String)> {
        let name = READ_BACK.into_iter().find(|name| self.path == Path::new(name))?;
        Some((name.to_owned(), format!("{:08x}", crc32fast::hash(&self.bytes))))
    }
}

/// Why results cannot be written.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ReportError {
    #[error("cannot write '{path}': {source}. Choose another folder with --out")]
    Write { path: String, source: std::io::Error },
    #[error("another process is writing to '{folder}': wait for it, or choose another folder with --out")]
    Locked { folder: String },
    #[error(
        "'{path}' is a folder, but a file is to be written there: move it away, or choose another folder with --out"
    )]
    IsFolder { path: String },
    #[error("cannot create {what}: {message}")]
    Format { what: String, message: String },
}

impl ReportError {
    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.display().to_string(), source }
    }

    pub(super) fn format(what: impl Into<String>, message: impl ToString) -> Self {
        Self::Format { what: what.into(), message: message.to_string() }
    }
}

/// The files that are read back with a run's `summary.json`.
pub(crate) const READ_BACK: [&str; 2] = ["steps.csv", "histograms.hlog"];

/// The folder of a run's percentile files, within that of the run.
pub(super) const HISTOGRAMS: &str = "histograms";
