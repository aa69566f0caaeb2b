//! `sequences.csv` and `sequences.parquet`: a row for each sequence of a run that decodes several,
//! or whose prompts take time.
//!
//! Both are generated from [`COLUMNS`].

use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use super::rows::{self, Value};
use crate::metrics::{RunReport, SequenceRow};
use Value::{Time, Whole};

/// The names of the files.
const NAMES: [&str; 2] = ["sequences.csv", "sequences.parquet"];

/// `sequences.csv` and `sequences.parquet`.
pub(super) struct SequenceFiles;

type Get = fn(usize, &SequenceRow) -> Value;

/// The columns: name, meaning, value.
#[rustfmt::skip]
const COLUMNS: [(&str, &str, Get); 13] = [
    ("sequence", "number of the sequence, from 0", |id, _| Whole(id as u64)),
    ("group", "its group, by its place in `sequences` of the scenario", |_, it| Whole(it.of.group.index() as u64)),
    ("start_step", "the step with which it begins", |_, it| Whole(it.of.start as u64)),
    ("prefill_tokens", "tokens of its prompt", |_, it| Whole(it.of.prefill as u64)),
    ("prompt_tokens", "those that were given, or computed in time", |_, it| Whole(it.prompt as u64)),
    ("decoded_tokens", "tokens that it decoded", |_, it| Whole(it.decoded as u64)),
    ("began_ns", "start of the step with which it began", |_, it| Time(it.began)),
    ("first_token_ns", "when its first token came out", |_, it| Time(it.first_token)),
    ("ttft_ns", "TTFT; none where prompts are given", |_, it| Time(it.ttft)),
    ("ended_ns", "when its last token came out", |_, it| Time(it.ended)),
    ("tpot_mean_ns", "TPOT: the mean over all of its tokens", |_, it| Value::Mean(it.tpot_mean_ps)),
    ("tpot_p99_ns", "the time that 99 % of them do not exceed, exact", |_, it| Time(it.tpot_p99)),
    ("tpot_max_ns", "the longest", |_, it| Time(it.tpot_max)),
];

impl Exporter for SequenceFiles {
    fn names(&self) -> Vec<String> {
        NAMES.map(str::to_owned).into()
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        if run.sequences.is_empty() {
            return Ok(Vec::new());
        }
        let column = |(name, _, get): (&str, &str, Get)| -> rows::Get<SequenceRow> { (name.to_owned(), Box::new(get)) };
        rows::files("sequences", &run.sequences, &COLUMNS.map(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Recorder;
    use crate::simulation::{Scenario, ScenarioConfig, run};

    /// `src/report/README.md` lists the columns as this table has them.
    #[test]
    fn the_columns_are_documented() {
        let readme = include_str!("README.md");
        for (name, about, _) in COLUMNS {
            let row = format!("| `{name}` | {about} |\n");
            assert!(readme.contains(&row), "src/report/README.md lacks the line {row}");
        }
    }

    fn exported(batch: u32) -> Vec<Artifact> {
        let mut config = ScenarioConfig::load("study").unwrap();
        (config.decode_tokens, config.batch) = (4, batch);
        let scenario = Scenario::new(config).unwrap();
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).unwrap();
        SequenceFiles.export(&recorder.finish(&scenario, &outcome)).unwrap()
    }

    #[test]
    fn a_row_a_sequence_and_none_of_a_single_one() {
        assert!(exported(1).is_empty());
        let files = exported(3);
        let mut reader = csv::Reader::from_reader(files[0].bytes.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        for (id, row) in rows.iter().enumerate() {
            assert_eq!((&row[0], &row[5], &row[8]), (id.to_string().as_str(), "4", ""));
            assert_eq!((&row[6], row[9].is_empty()), ("0.000", false));
        }
    }
}
