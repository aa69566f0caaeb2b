use super::artifact::{Artifact, HISTOGRAMS, ReportError};
use super::exporter::Exporter;
use crate::metrics::{RunReport, Timings};
use crate::units::SimTime;
use std::fmt::Write;

/// `histograms/NAME.hgrm`: percentile distributions in the text format of the HdrHistogram tools
/// and plotters, in nanoseconds.
pub(super) struct PercentileFiles;

/// How often the distance to 100 % is halved between two lines, as the Java implementation's
/// default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

impl Exporter for PercentileFiles {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        percentile_files(run.histograms.named())
    }
}

/// A file for each of `named`.
pub(super) fn percentile_files<'a>(
    named: impl Iterator<Item = (String, &'a Timings)>,
) -> Result<Vec<Artifact>, ReportError> {
    let file = |(name, timings): (String, &Timings)| {
        let text = percentiles(timings).map_err(|error| ReportError::format(format!("{name}.hgrm"), error))?;
        Ok(Artifact::new(format!("{HISTOGRAMS}/{name}.hgrm"), text))
    };
    named.map(file).collect()
}

fn percentiles(timings: &Timings) -> Result<String, std::fmt::Error> {
    let histogram = timings.histogram();
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for point in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += point.count_since_last_iteration();
        let quantile = point.quantile_iterated_to();
        // The top of a bucket may exceed every recorded time.
        let own = SimTime::from_ps(point.value_iterated_to()).min(timings.greatest());
        let value = timings.reported_at(total).unwrap_or(own).as_ps() as f64 / 1_000.0;
        if quantile < 1.0 {
            writeln!(text, "{value:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {total:10}")?;
        }
    }
    let mean = timings.sum_ps() as f64 / timings.count() as f64 / 1_000.0;
    let deviation = timings.deviation_ps() / 1_000.0;
    writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", timings.greatest().as_ns(), timings.count())?;
    writeln!(
        text,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        // 3 significant digits need 2 * 10^3 sub-buckets, as a power of two.
        2048
    )?;
    Ok(text)
}
