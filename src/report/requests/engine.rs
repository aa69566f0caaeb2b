//! `engine.csv` and `engine.parquet`: the engine over time, a row for each of at most 2000 equal
//! stretches of the run.

use crate::metrics::{RunReport, ServingBin, TierBin};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::exporter::Exporter;
use crate::report::rows::{self, Value};
use crate::units::SimTime;
use crate::workload::MoveKind;
use Value::{Real, Time, Whole};

/// `engine.csv` and `engine.parquet`.
pub(in crate::report) struct EngineFiles;

/// A stretch of time: when it begins and ends, and what happened within it.
type Row<'a> = (SimTime, SimTime, &'a ServingBin, &'a [TierBin]);

type Get = for<'a> fn(&Row<'a>) -> Value;

/// The columns: name, meaning, value. Means are over the time in steps.
#[rustfmt::skip]
const COLUMNS: [(&str, &str, Get); 16] = [
    ("from_ns", "when the stretch begins", |it| Time(Some(it.0))),
    ("to_ns", "when it ends", |it| Time(Some(it.1))),
    ("busy_ns", "time in steps", |it| Value::Mean(Some(it.2.busy))),
    ("steps", "steps that ended in it", |it| Whole(it.2.steps)),
    ("step_mean_ns", "mean time of these", |it| Value::Mean((it.2.steps > 0).then(|| it.2.step_time / it.2.steps as f64))),
    ("step_max_ns", "the longest of these", |it| Time(Some(it.2.longest_step))),
    ("running_mean", "running requests", |it| Real(it.2.mean(it.2.running))),
    ("running_max", "the most of them", |it| Whole(u64::from(it.2.most_running))),
    ("waiting_mean", "waiting requests", |it| Real(it.2.mean(it.2.waiting))),
    ("waiting_max", "the most of them", |it| Whole(u64::from(it.2.most_waiting))),
    ("tokens", "tokens computed", |it| Real(it.2.tokens)),
    ("chunk_tokens", "of these, tokens of prompts, or computed again", |it| Real(it.2.prompt)),
    ("tokens_out", "tokens that came out", |it| Real(it.2.outputs)),
    ("kv_pages", "pages of KV in the first tier", |it| Real(it.2.mean(it.2.pages_hbm))),
    ("kv_pages_cached", "of these, cached and read by no running request", |it| Real(it.2.mean(it.2.pages_cached))),
    ("kv_pages_external", "pages of KV in external memory", |it| Real(it.2.mean(it.2.pages_external))),
];

type GetTier = for<'a> fn(&Row<'a>, &TierBin) -> Value;

/// The columns of each tier: what follows its name.
const OF_TIERS: [(&str, &str, GetTier); 4] = [
    ("weight_bytes", "weights read", |_, it| Real(it.weights)),
    ("kv_bytes", "KV read by steps", |_, it| Real(it.kv)),
    ("kv_written_bytes", "KV written by steps", |_, it| Real(it.written)),
    ("used_bytes", "bytes in use", |row, it| Real(row.2.mean(it.used))),
];

impl Exporter for EngineFiles {
    fn names(&self) -> Vec<String> {
        vec!["engine.csv".to_owned(), "engine.parquet".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let Some(requests) = &run.requests else { return Ok(Vec::new()) };
        let width = requests.series.width();
        let rows: Vec<Row<'_>> =
            requests.series.bins().map(|(from, bin, by_tier)| (from, from + width, bin, by_tier)).collect();
        let column = |(name, _, get): (&str, &str, Get)| -> rows::Get<Row<'_>> {
            (name.to_owned(), Box::new(move |_, row| get(row)))
        };
        let mut columns: Vec<rows::Get<Row<'_>>> = COLUMNS.map(column).into();
        for (tier, name) in run.tiers.iter().enumerate() {
            for (what, _, get) in OF_TIERS {
                columns.push((format!("{name}_{what}"), Box::new(move |_, row| get(row, &row.3[tier]))));
            }
        }
        for kind in MoveKind::ALL {
            let name = format!("{}_bytes", kind.name());
            columns.push((name, Box::new(move |_, row| Real(row.2.moved[kind as usize]))));
        }
        rows::files("engine", &rows, &columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::workload::GoalsConfig;

    /// `src/report/README.md` lists the columns as these tables have them.
    #[test]
    fn the_columns_are_documented() {
        let readme = include_str!("../README.md");
        let of_tiers = OF_TIERS.map(|(name, about, _)| (format!("TIER_{name}"), about));
        for (name, about) in COLUMNS.map(|(name, about, _)| (name.to_owned(), about)).into_iter().chain(of_tiers) {
            let row = format!("| `{name}` | {about} |\n");
            assert!(readme.contains(&row), "src/report/README.md lacks the line {row}");
        }
    }

    #[test]
    fn tokens_of_all_stretches_are_those_of_the_run() {
        let served = serve(requests(40, SimTime::from_ns(1e8), GoalsConfig::default()));
        let files = EngineFiles.export(&served.report).unwrap();
        let mut reader = csv::Reader::from_reader(files[0].bytes.as_slice());
        let place = reader.headers().unwrap().iter().position(|name| name == "tokens_out").unwrap();
        let sum: f64 = reader.records().map(|row| row.unwrap()[place].parse::<f64>().unwrap()).sum();
        let tokens: usize = served.tokens.iter().map(Vec::len).sum();
        assert!((sum - tokens as f64).abs() < 1.0, "{sum} of {tokens}");
    }
}
