//! Reading the folder of a finished run back.
//!
//! `summary.json`, `steps.csv` and `histograms.hlog` together hold everything that a report needs.
//! The summary has the checksums of the other two, so that a folder whose files are of different
//! runs, or damaged, is refused with the name of the file instead of giving wrong comparisons.
//! Results of later versions of the same schema are read with the fields that this version knows.

use super::{Distributions, ResultsError};
use crate::config;
use crate::metrics::{
    Distribution, Histograms, RunColumn, RunReport, SCHEMA, Series, Step, StepDraft, Summary, TierBytes, step_columns,
};
use crate::report::READ_BACK;
use crate::units::SimTime;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;

/// A run whose files were read back.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// The run's report; extremes of distributions that are not in the summary are exact only to
    /// their buckets.
    pub report: RunReport,
    /// `summary.json` as it is, with the fields that this version of tiersim does not know.
    pub summary: Value,
}

impl FinishedRun {
    /// Reads the `summary.json`, the `steps.csv` and the `histograms.hlog` in `folder`.
    ///
    /// # Errors
    /// [`ResultsError`] where a file is missing, was not written by tiersim, has another schema, is
    /// damaged, or is not of the same run as the others.
    pub fn read(folder: &Path) -> Result<Self, ResultsError> {
        let (shown, path) = (folder.display().to_string(), folder.join("summary.json"));
        if !folder.is_dir() {
            let message = "it is no folder; name one that `tiersim run` wrote".to_owned();
            return Err(ResultsError::Read { path: shown, message });
        }
        if !path.is_file() {
            return Err(ResultsError::NoRun { hint: hint(folder), folder: shown });
        }
        let (summary, typed) = read_summary(&path)?;
        let torn = |message: String| ResultsError::Torn { folder: shown.clone(), message };
        let serves = typed.requests.is_some();
        let needed = |file: &str| !(serves && file == STEPS);
        for file in READ_BACK.into_iter().filter(|file| needed(file)) {
            if !folder.join(file).is_file() {
                return Err(ResultsError::Missing { folder: shown, file });
            }
        }
        let tiers: Vec<String> = typed.capacity_bytes.0.iter().map(|(tier, _)| tier.clone()).collect();
        // Runs that serve requests have too many steps for a file.
        let series = if serves {
            Series::new(tiers.len())
        } else {
            read_steps(&folder.join(STEPS), &tiers, (typed.is_single(), typed.cache.is_some()))?
        };
        if !serves && series.len() as u64 != typed.steps {
            let found = format!("summary.json counts {} steps, steps.csv {}", typed.steps, series.len());
            return Err(torn(found));
        }
        // Versions before the checksums wrote the same sums.
        let summed = series.steps().map(|step| step.latency).sum::<SimTime>().as_ns();
        if typed.files.is_empty() && typed.complete && summed != typed.simulated_ns {
            let found =
                format!("summary.json has {} ns, but the steps of steps.csv take {summed} ns", typed.simulated_ns);
            return Err(torn(found));
        }
        let histograms = read_histograms(&folder.join("histograms.hlog"), &typed)?;
        let (counted, measured) = (histograms.token_latency.count(), typed.measured_steps());
        if counted != measured {
            return Err(torn(format!("summary.json counts {measured} steps, histograms.hlog {counted}")));
        }
        // Checked last, as an error in a line is more precise.
        for (file, expected) in &typed.files.0 {
            if READ_BACK.contains(&file.as_str()) && checksum(&folder.join(file))? != *expected {
                return Err(torn(format!("{file} is not the one that summary.json was written with")));
            }
        }
        Ok(Self {
            report: RunReport {
                summary: typed,
                series,
                histograms,
                sequences: Vec::new(),
                requests: None,
                tiers,
                written: None,
            },
            summary,
        })
    }
}

/// The file of every step of a run.
const STEPS: &str = "steps.csv";

/// The checksum of a file, as a run's summary has it.
fn checksum(path: &Path) -> Result<String, ResultsError> {
    let failed =
        |error: std::io::Error| ResultsError::Read { path: path.display().to_string(), message: error.to_string() };
    let (mut file, _) = config::open_regular(path).map_err(failed)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(format!("{:08x}", hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Folders below or beside this one that hold runs, for the error message.
fn hint(folder: &Path) -> String {
    if READ_BACK.iter().any(|file| folder.join(file).is_file()) {
        return " A run was stopped while it put its files in place: run it again".to_owned();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<String> =
        entries.filter(|path| path.join("summary.json").is_file()).map(|path| path.display().to_string()).collect();
    runs.sort();
    match runs.len() {
        0 => " Name a folder that `tiersim run` or `tiersim study` wrote".to_owned(),
        count => {
            runs.truncate(4);
            let more = if count > 4 { ", ..." } else { "" };
            format!(" There are runs in {}{more}", runs.join(", "))
        }
    }
}

fn read_summary(path: &Path) -> Result<(Value, Summary), ResultsError> {
    let shown = path.display().to_string();
    let not_ours = |message: String| ResultsError::NotOurs { path: shown.clone(), message };
    let text = config::read(path).map_err(|error| not_ours(error.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| not_ours(format!("it is no JSON: {error}")))?;
    match value.get("schema") {
        None => return Err(not_ours("it has no schema".to_owned())),
        Some(schema) if schema.as_u64() != Some(u64::from(SCHEMA)) => {
            return Err(ResultsError::Schema { path: shown, found: schema.to_string(), known: SCHEMA });
        }
        Some(_) => {}
    }
    if value.get("scenario").is_none() {
        return Err(not_ours("it has no scenario. A replay's results cannot be compared".to_owned()));
    }
    // From the text, as a tree of values would not keep the order of the tiers.
    let summary: Summary = config::parse_json(&text, "summary.json").map_err(|error| not_ours(error.to_string()))?;
    if summary.capacity_bytes.0.is_empty() {
        return Err(not_ours("capacity_bytes: it names no tier".to_owned()));
    }
    Ok((value, summary))
}

fn read_steps(path: &Path, tiers: &[String], (single, cached): (bool, bool)) -> Result<Series, ResultsError> {
    let shown = path.display().to_string();
    let place = |line: u64, message: String| ResultsError::Place { path: shown.clone(), line: line as usize, message };
    let opened = config::open_regular(path);
    let (file, _) = opened.map_err(|error| ResultsError::Read { path: shown.clone(), message: error.to_string() })?;
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(file));
    let unreadable =
        |error: csv::Error| place(error.position().map_or(1, csv::Position::line), format!("it is not whole: {error}"));
    let heading = reader.headers().map_err(unreadable)?.clone();
    let column = |name: &str| {
        let found = heading.iter().position(|column| column == name);
        found.ok_or_else(|| place(1, format!("it has no column '{name}'")))
    };
    let columns: Vec<(RunColumn, usize)> = step_columns(tiers, single, cached)
        .into_iter()
        .filter(RunColumn::is_read_back)
        .map(|known| column(&known.name).map(|index| (known, index)))
        .collect::<Result<_, _>>()?;
    let mut series = Series::new(tiers.len());
    let mut row = csv::StringRecord::new();
    let mut draft = StepDraft { by_tier: vec![TierBytes::default(); tiers.len()], ..StepDraft::default() };
    while reader.read_record(&mut row).map_err(unreadable)? {
        let line = row.position().map_or(0, csv::Position::line);
        for (column, index) in &columns {
            let text = row.get(*index).unwrap_or("");
            column
                .read(text, &mut draft)
                .ok_or_else(|| place(line, format!("{}: '{text}' is not what tiersim writes there", column.name)))?;
        }
        let step = series.len();
        if draft.step != step as u64 {
            return Err(place(line, format!("step: {} stands where step {step} is due", draft.step)));
        }
        series.append(&Step { step, values: draft.values, by_tier: &draft.by_tier });
    }
    Ok(series)
}

/// The figures of a distribution of one group of sequences, by its name in the log.
fn of_group(name: &str, summary: &Summary) -> Option<Distribution> {
    let (kind, group) = name.split_once("_group")?;
    let group = summary.sequences.get(group.parse::<usize>().ok()?)?;
    if kind == "tpot" { group.tpot_ns } else { group.ttft_ns }
}

fn read_histograms(path: &Path, summary: &Summary) -> Result<Histograms, ResultsError> {
    let mut histograms = Histograms::of_groups(summary.sequences.len());
    for (name, timings) in Distributions::read(path, None)?.named {
        let of_class = |what: &str| {
            let class = summary.transfers.get(name.strip_suffix(what)?)?;
            match what {
                "_latency" => class.latency_ns,
                "_queueing" => class.queueing_ns,
                _ => class.lateness_ns,
            }
        };
        let exact = match name.as_str() {
            "token_latency" => summary.token_latency_ns,
            "layer_latency" => summary.layer_latency_ns,
            "tpot" => summary.tpot_ns,
            "ttft" => summary.ttft_ns,
            "request_tpot" => summary.requests.as_ref().and_then(|of| of.tpot_ns),
            "e2e" => summary.requests.as_ref().and_then(|of| of.e2e_ns),
            "request_queueing" => summary.requests.as_ref().and_then(|of| of.queueing_ns),
            name if name.contains("_group") => of_group(name, summary),
            _ => ["_latency", "_queueing", "_lateness"].into_iter().find_map(of_class),
        };
        // Fields that this version does not know are left out.
        if let Some(place) = histograms.named_mut(&name) {
            *place = match exact {
                Some(figures) => timings.with_exact(&figures),
                None => timings,
            };
        }
    }
    Ok(histograms)
}
