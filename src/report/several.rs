//! `report.runs.json`: the list of the runs that a page of several runs shows.
//!
//! Such a page stands beside the folders of its runs. When another run is written into one of
//! these, the page no longer matches its folders: it is [`stale`], and is removed.

use super::artifact::{Artifact, ReportError};
use super::json::summary_json;
use crate::metrics::Summary;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The name of the file.
const NAME: &str = "report.runs.json";
/// The page that it belongs to.
const PAGE: &str = "report.html";

#[derive(Serialize, Deserialize)]
struct Shown {
    page: String,
    runs: Vec<Member>,
}

/// A run by its folder, below that of the page, and the checksum (CRC-32) of its `summary.json`.
#[derive(Serialize, Deserialize)]
struct Member {
    folder: String,
    summary_crc32: u32,
}

/// `report.runs.json` of a page that shows these runs, each with the name of its folder.
///
/// # Errors
/// As [`summary_json`].
pub fn shown_runs(runs: &[(String, &Summary)]) -> Result<Artifact, ReportError> {
    let member = |(folder, summary): &(String, &Summary)| {
        let text = summary_json(summary)? + "\n";
        Ok(Member { folder: folder.clone(), summary_crc32: crc32fast::hash(text.as_bytes()) })
    };
    let runs = runs.iter().map(member).collect::<Result<_, ReportError>>()?;
    let text = serde_json::to_string_pretty(&Shown { page: PAGE.to_owned(), runs });
    Ok(Artifact::new(NAME, text.map_err(|error| ReportError::format(NAME, error))? + "\n"))
}

/// The page beside `folder` that shows another run of it than the one of these `artifacts`, and its
/// list. A `report.runs.json` that cannot be read is not ours.
pub(super) fn stale(folder: &Path, artifacts: &[Artifact]) -> Vec<PathBuf> {
    let summary = artifacts.iter().find(|artifact| artifact.path == Path::new("summary.json"));
    let (Some(summary), Some(beside), Some(name)) = (summary, folder.parent(), folder.file_name()) else {
        return Vec::new();
    };
    let list = beside.join(NAME);
    let Ok(text) = fs::read_to_string(&list) else { return Vec::new() };
    let Ok(shown) = serde_json::from_str::<Shown>(&text) else { return Vec::new() };
    let crc = crc32fast::hash(&summary.bytes);
    let stale = |member: &Member| member.folder.as_str() == name && member.summary_crc32 != crc;
    if shown.runs.iter().any(stale) { vec![beside.join(PAGE), list] } else { Vec::new() }
}
