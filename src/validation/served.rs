//! Served requests: the mean times of requests, and how many run over time.
//!
//! A case whose scenario has requests runs as `tiersim requests` does. Its figures are means over
//! the requests: TTFT and e2e from the arrival of each, TPOT from its first token to its last, over
//! one token less than its output has. A file `LOG.running.csv` beside the log `LOG.csv`, with the
//! columns `time_s,running`, says how many requests were measured to run at some times after the
//! first arrival; the simulated number at the same times stands beside it in a picture.

use super::error::InvalidCase;
use super::measured::Metric;
use crate::catalog;
use crate::config;
use crate::runs::{Pool, RunsError};
use crate::simulation::{RunError, Scenario, ServingProbe, ServingRecord, serve};
use crate::units::{RequestId, SimTime, Table};
use crate::workload::{RequestRecord, Requests, SourceConfig};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many requests run over time, measured and simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// The name of their log.
    pub log: String,
    /// Times after the first arrival, in seconds, with the measured number.
    pub measured: Vec<(f64, f64)>,
    /// The same times with the simulated number.
    pub simulated: Vec<(f64, f64)>,
}

/// The measured number of running requests at some times.
#[derive(Clone, Debug)]
pub(super) struct MeasuredRunning {
    log: String,
    at: Vec<(SimTime, u32)>,
}

/// The columns of a file of running requests.
const COLUMNS: [&str; 2] = ["time_s", "running"];
/// The ending of the file beside a log, in the place of the log's own.
const ENDING: &str = "running.csv";

impl MeasuredRunning {
    /// What was measured of the requests of `scenario`, if anything was.
    ///
    /// # Errors
    /// [`InvalidCase`] if the file beside the log cannot be read or is not right.
    pub fn of(scenario: &Scenario) -> Result<Option<Self>, InvalidCase> {
        let requests = scenario.resolved().requests.as_ref();
        let Some(SourceConfig::Log { file, .. }) = requests.map(|requests| &requests.source) else { return Ok(None) };
        let name = file.to_string_lossy();
        if let Some(shipped) = catalog::RUNNING.iter().find(|shipped| shipped.name == name) {
            return Self::parse(shipped.name, shipped.text, shipped.path).map(Some);
        }
        let beside = file.with_extension(ENDING);
        if !beside.is_file() {
            return Ok(None);
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&stem, &config::read(&beside)?, &beside.display().to_string()).map(Some)
    }

    fn parse(log: &str, text: &str, origin: &str) -> Result<Self, InvalidCase> {
        let wrong = |line: u64, message: &str| InvalidCase::Csv {
            origin: format!("{origin}:{line}"),
            message: format!("{message}: write rows of {}, the earliest first", COLUMNS.join(",")),
        };
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, header)| header.trim() != COLUMNS.join(",")) {
            return Err(wrong(1, "it is not the header of a file of running requests"));
        }
        let mut at: Vec<(SimTime, u32)> = Vec::new();
        for (number, line) in lines {
            let (time, running) = line.split_once(',').ok_or_else(|| wrong(number, "it is no row of two columns"))?;
            let seconds: f64 = time.trim().parse().map_err(|_| wrong(number, "time_s is no number"))?;
            if !(0.0..=LATEST_S).contains(&seconds) {
                return Err(wrong(number, "time_s is below 0 or above a month"));
            }
            let time = SimTime::from_ns(1e9 * seconds);
            if at.last().is_some_and(|(before, _)| time <= *before) {
                return Err(wrong(number, "time_s is not after that of the row before"));
            }
            let running = running.trim().parse().map_err(|_| wrong(number, "running is no count"))?;
            at.push((time, running));
        }
        Ok(Self { log: log.to_owned(), at })
    }
}

/// The latest time of a measured number, in seconds: 30 days.
const LATEST_S: f64 = 30.0 * 86_400.0;

/// What came of served requests.
pub(super) struct Served {
    /// The mean that the case is about, in seconds; or why there is none.
    pub seconds: Result<f64, String>,
    /// How many requests ran, where that was measured.
    pub running: Option<Running>,
}

/// Serves `requests`, those of `scenario`.
pub(super) fn served(
    pool: &Pool<'_>,
    scenario: &Scenario,
    requests: &Arc<Requests>,
    metric: Metric,
    measured: Option<&MeasuredRunning>,
) -> Result<Served, RunsError> {
    let failed = |reason: String| Ok(Served { seconds: Err(reason), running: None });
    let at = measured.map_or(&[][..], |measured| &measured.at);
    let mut samples = Samples { pool, at, running: Vec::with_capacity(at.len()) };
    let outcome = match serve(scenario, requests, &mut samples) {
        Err(error @ RunError::Layout(_)) => return failed(error.to_string()),
        outcome => outcome?,
    };
    if let Some(error) = outcome.error {
        return failed(error.to_string());
    }
    samples.running.resize(at.len(), 0);
    let pairs = |of: &mut dyn Iterator<Item = u32>| {
        at.iter().zip(of).map(|((time, _), running)| (seconds(*time), f64::from(running))).collect()
    };
    let running = measured.map(|measured| Running {
        log: measured.log.clone(),
        measured: pairs(&mut measured.at.iter().map(|(_, running)| *running)),
        simulated: pairs(&mut samples.running.iter().copied()),
    });
    Ok(Served { seconds: mean(&outcome.records, metric), running })
}

/// The mean of `metric` over all requests, in seconds.
fn mean(records: &Table<RequestId, RequestRecord>, metric: Metric) -> Result<f64, String> {
    let (mut sum, mut count) = (0.0, 0u64);
    for (number, record) in records.iter().enumerate() {
        let (Some(first), Some(last)) = (record.first_token, record.finished) else {
            return Err(format!("request {number}, counted from 0, did not get all of its tokens"));
        };
        sum += match metric {
            Metric::Ttft => seconds(first - record.arrival),
            Metric::E2e => seconds(last - record.arrival),
            _ if record.tokens_out < 2 => continue,
            _ => seconds(last - first) / f64::from(record.tokens_out - 1),
        };
        count += 1;
    }
    if count == 0 { Err(format!("no request has {metric}")) } else { Ok(sum / count as f64) }
}

fn seconds(time: SimTime) -> f64 {
    time.as_ps() as f64 * 1e-12
}

/// Takes the number of running requests at given times.
struct Samples<'a> {
    pool: &'a Pool<'a>,
    at: &'a [(SimTime, u32)],
    running: Vec<u32>,
}

impl ServingProbe for Samples<'_> {
    fn step(&mut self, step: &ServingRecord<'_>) -> ControlFlow<()> {
        while let Some((time, _)) = self.at.get(self.running.len()).filter(|(time, _)| *time < step.ended) {
            self.running.push(if *time < step.began { 0 } else { step.step.running });
        }
        if self.pool.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Request;

    /// Arrival, first and last token in seconds, and the tokens of the output.
    fn record([arrival, first, last]: [u64; 3], output: u32) -> RequestRecord {
        let of = |seconds: u64| SimTime::from_ps(seconds * SimTime::PS_PER_SECOND);
        let request = Request { arrival: of(arrival), prompt: 1, output, blocks: 0..0 };
        RequestRecord {
            first_token: Some(of(first)),
            finished: Some(of(last)),
            tokens_out: output,
            ..RequestRecord::new(&request)
        }
    }

    #[test]
    fn means_are_over_requests_and_tpot_needs_two_tokens() {
        let all = [record([0, 2, 12], 11), record([1, 4, 10], 4), record([5, 6, 6], 1)];
        let records: Table<RequestId, _> = all.into_iter().collect();
        for (metric, expected) in [(Metric::Ttft, 2.0), (Metric::Tpot, 1.5), (Metric::E2e, 22.0 / 3.0)] {
            let found = mean(&records, metric).unwrap();
            assert!((found - expected).abs() < 1e-9, "{metric}: {found}");
        }
        let one: Table<RequestId, _> = [all[2]].into_iter().collect();
        assert!(mean(&one, Metric::Tpot).unwrap_err().contains("tpot"));
        let unfinished = [all[0], RequestRecord { finished: None, ..all[1] }].into_iter().collect();
        assert!(mean(&unfinished, Metric::Ttft).unwrap_err().starts_with("request 1"));
    }

    #[test]
    fn measured_numbers_are_read_with_the_line_of_what_is_wrong() {
        let parse = |text: &str| MeasuredRunning::parse("a", text, "a.running.csv");
        let read = parse("time_s,running\n0.5,3\n1.5,0\n").unwrap();
        let half = SimTime::from_ps(SimTime::PS_PER_SECOND / 2);
        assert_eq!(read.at, [(half, 3), (half.times(3), 0)]);
        let wrong = [
            ("", 1, "header"),
            ("running,time_s\n", 1, "header"),
            ("time_s,running\n1\n", 2, "two columns"),
            ("time_s,running\n1,2\nx,2\n", 3, "no number"),
            ("time_s,running\n-1,2\n", 2, "below 0"),
            ("time_s,running\ninf,2\n", 2, "month"),
            ("time_s,running\nNaN,2\n", 2, "month"),
            ("time_s,running\n1,2\n1,2\n", 3, "not after"),
            ("time_s,running\n1,2.5\n", 2, "no count"),
        ];
        for (text, line, what) in wrong {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("a.running.csv:{line}: ")) && message.contains(what), "{message}");
        }
    }

    /// Steps from 1 to 2 and from 3 to 5 time units.
    #[test]
    fn the_number_at_a_time_is_that_of_its_step_and_none_between_steps() {
        use crate::memory::PerTier;
        use crate::runs::{Cancel, Resources, Silent};
        use crate::units::{Bytes, Step};
        use crate::workload::ServingStep;
        let cancel = Cancel::new(false);
        let pool = Pool::new(Resources { threads: 1, memory: Bytes::ZERO }, 1, &cancel, &Silent).unwrap();
        let at = [0, 1, 2, 3, 4, 5, 6].map(|time| (SimTime::from_ps(time), 9));
        let mut samples = Samples { pool: &pool, at: &at, running: Vec::new() };
        let none = PerTier::filled(1, Bytes::ZERO);
        for (number, (began, ended, running)) in [(1, 2, 7), (3, 5, 4)].into_iter().enumerate() {
            let step = ServingStep { running, ..ServingStep::default() };
            let (began, ended) = (SimTime::from_ps(began), SimTime::from_ps(ended));
            let (weights, kv, written, used) = (&none, &none, &none, &none);
            let number = Step::new(number);
            let record = ServingRecord { number, began, ended, step: &step, weights, kv, written, used };
            assert_eq!(samples.step(&record), ControlFlow::Continue(()));
        }
        assert_eq!(samples.running, [0, 7, 0, 4, 4]);
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let step = ServingStep::default();
        let (number, began, ended) = (Step::new(2), SimTime::from_ps(5), SimTime::from_ps(6));
        let (weights, kv, written, used) = (&none, &none, &none, &none);
        let record = ServingRecord { number, began, ended, step: &step, weights, kv, written, used };
        assert_eq!(samples.step(&record), ControlFlow::Break(()));
    }
}
