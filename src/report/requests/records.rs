//! `requests.csv` and `requests.parquet`: a row for each request.

use crate::metrics::{RequestRow, RunReport};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::exporter::Exporter;
use crate::report::rows::{self, Value};
use crate::workload::Rejection;
use Value::{Time, Whole};

/// `requests.csv` and `requests.parquet`.
pub(in crate::report) struct RequestFiles;

type Get = for<'a> fn(&RequestRow<'a>) -> Value;

/// The columns: name, meaning, value.
#[rustfmt::skip]
const COLUMNS: [(&str, &str, Get); 17] = [
    ("request", "number of the request by arrival, from 0", |it| Whole(it.id.index() as u64)),
    ("arrival_ns", "when it arrived", |it| Time(Some(it.record.arrival))),
    ("prompt_tokens", "tokens of its prompt", |it| Whole(u64::from(it.prompt))),
    ("output_tokens", "tokens of its output", |it| Whole(u64::from(it.output))),
    ("scheduled_ns", "when its first step began", |it| Time(it.record.scheduled)),
    ("first_token_ns", "when its first token was out", |it| Time(it.record.first_token)),
    ("finished_ns", "when its last token was out", |it| Time(it.record.finished)),
    ("queueing_ns", "from its arrival to the start of its first step", |it| Time(it.queueing)),
    ("ttft_ns", "TTFT: from its arrival to its first token", |it| Time(it.ttft)),
    ("tpot_ns", "TPOT: the mean time between its tokens", |it| Time(it.tpot)),
    ("e2e_ns", "from its arrival to its last token", |it| Time(it.e2e)),
    ("tokens_out", "tokens that came out", |it| Whole(u64::from(it.record.tokens_out))),
    ("hit_tokens", "tokens of its prompt found in the first tier", |it| Whole(u64::from(it.record.hit_hbm))),
    ("hit_external_tokens", "tokens of its prompt found in external memory", |it| Whole(u64::from(it.record.hit_external))),
    ("preemptions", "how often it was preempted", |it| Whole(u64::from(it.record.preemptions))),
    ("recomputed_tokens", "tokens that were computed again", |it| Whole(u64::from(it.record.recomputed))),
    ("rejected", "0; 1 if it is longer than `limits.context`, 2 if its KV fits nowhere", |it| Whole(rejected(it))),
];

fn rejected(row: &RequestRow<'_>) -> u64 {
    match row.record.rejected {
        None => 0,
        Some(Rejection::Context) => 1,
        Some(Rejection::Kv) => 2,
    }
}

impl Exporter for RequestFiles {
    fn names(&self) -> Vec<String> {
        vec!["requests.csv".to_owned(), "requests.parquet".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let Some(requests) = &run.requests else { return Ok(Vec::new()) };
        let rows: Vec<RequestRow<'_>> = requests.rows().collect();
        let column = |(name, _, get): (&str, &str, Get)| -> rows::Get<RequestRow<'_>> {
            (name.to_owned(), Box::new(move |_, row| get(row)))
        };
        rows::files("requests", &rows, &COLUMNS.map(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::units::SimTime;
    use crate::workload::GoalsConfig;

    /// `src/report/README.md` lists the columns as this table has them.
    #[test]
    fn the_columns_are_documented() {
        let readme = include_str!("../README.md");
        for (name, about, _) in COLUMNS {
            let row = format!("| `{name}` | {about} |\n");
            assert!(readme.contains(&row), "src/report/README.md lacks the line {row}");
        }
    }

    #[test]
    fn a_row_a_request() {
        let mut served = serve(requests(40, SimTime::from_ns(1e8), GoalsConfig::default()));
        // One that has not finished.
        let report = served.report.requests.as_mut().unwrap();
        let last = report.records.ids().last().unwrap();
        report.records[last].finished = None;
        let files = RequestFiles.export(&served.report).unwrap();
        let mut reader = csv::Reader::from_reader(files[0].bytes.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 40);
        for (row, tokens) in rows.iter().zip(&served.tokens) {
            assert_eq!(row[5], tokens[0].exact_ns());
            assert_eq!(row[11], tokens.len().to_string());
        }
        assert_eq!((&rows[39][6], &rows[39][10], rows[0][10].is_empty()), ("", "", false));
        assert!(files[1].bytes.starts_with(b"PAR1"));
    }
}
