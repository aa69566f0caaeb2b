use super::{Artifact, Exporter, ReportError};
use crate::metrics::{RunReport, Timings};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::time::Duration;

/// `histograms.hlog`: every distribution in one HdrHistogram interval log (V2, compressed), a tag each, for the standard
/// tools. Values are picoseconds; the log's divisor shows greatest values in nanoseconds.
pub(super) struct HistogramLog;

impl Exporter for HistogramLog {
    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let span = Duration::from_nanos(run.summary.simulated_ns as u64);
        Ok(vec![histogram_log(run.histograms.named(), span)?])
    }
}

/// The comment by which a log of ours is known, and with it the unit of its values.
pub(crate) const MARK: &str = "[tiersim: values are picoseconds of simulated time, maxima are nanoseconds]";

/// The log of all of `named`, which were taken over `span`.
pub(super) fn histogram_log<'a>(
    named: impl Iterator<Item = (String, &'a Timings)>,
    span: Duration,
) -> Result<Artifact, ReportError> {
    let failed = |error: &dyn std::fmt::Debug| ReportError::format("histograms.hlog", format!("{error:?}"));
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(MARK)
        .with_max_value_divisor(1_000.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|error| failed(&error))?;
    for (name, timings) in named {
        log.write_histogram(timings.histogram(), Duration::ZERO, span, Tag::new(&name))
            .map_err(|error| failed(&error))?;
    }
    drop(log);
    Ok(Artifact::new("histograms.hlog", bytes))
}
