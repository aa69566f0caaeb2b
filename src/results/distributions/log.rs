//! Interval logs of HdrHistogram (`.hlog`), of any version and by any tool.

use super::encoded::Encoded;
use super::{Distributions, LogUnit, UNTAGGED};
use crate::metrics::Timings;
use crate::report::LOG_MARK;
use crate::results::ResultsError;
use crate::units::SimTime;
use hdrhistogram::Histogram;
use std::time::Duration;

/// A line of such a log.
struct Interval<'a> {
    tag: Option<&'a str>,
    end: SimTime,
    encoded: &'a str,
}

/// All intervals of a log called `path`, those of one tag as one.
///
/// # Errors
/// [`ResultsError`] naming the invalid line.
pub(super) fn read(text: &str, path: &str, unit: Option<LogUnit>) -> Result<Distributions, ResultsError> {
    let place = |line: usize, message: String| ResultsError::Place { path: path.to_owned(), line, message };
    let ours = text.lines().any(|line| line.trim_end().strip_prefix('#') == Some(LOG_MARK)).then_some(LogUnit::Ps);
    let mut all = Distributions { named: Vec::new(), span: SimTime::ZERO, approximate: false };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("\"StartTimestamp\"") {
            continue;
        }
        let interval = interval(line).ok_or_else(|| {
            let message = "it is no line of an HdrHistogram interval log, or not all of one: \
                           [Tag=NAME,]START,LENGTH,MAX,HISTOGRAM is expected";
            place(index + 1, message.to_owned())
        })?;
        let unit = unit.or(ours).ok_or_else(|| ResultsError::NoUnit { path: path.to_owned() })?;
        let timings = Encoded::read(interval.encoded).and_then(|encoded| timings(&encoded, unit));
        let timings = timings.map_err(|message| place(index + 1, message))?;
        all.span = all.span.max(interval.end);
        all.add(interval.tag.unwrap_or(UNTAGGED), &timings).map_err(|message| place(index + 1, message))?;
    }
    if all.named.is_empty() {
        let message = "it is empty, or no interval log of HdrHistogram".to_owned();
        return Err(ResultsError::Empty { path: path.to_owned(), what: "histogram", message });
    }
    Ok(all)
}

fn interval(line: &str) -> Option<Interval<'_>> {
    let (tag, rest) = match line.strip_prefix("Tag=") {
        Some(tagged) => tagged.split_once(',').map(|(tag, rest)| (Some(tag.trim()), rest))?,
        None => (None, line),
    };
    let mut columns = rest.split(',').map(str::trim);
    let mut seconds = || Duration::try_from_secs_f64(columns.next()?.parse().ok()?).ok();
    let end = seconds()?.saturating_add(seconds()?);
    columns.next()?.parse::<f64>().ok()?;
    let encoded = columns.next()?;
    let ps = end.as_nanos().saturating_mul(1_000);
    let end = SimTime::from_ps(u64::try_from(ps).unwrap_or(u64::MAX));
    columns.next().is_none().then_some(Interval { tag, end, encoded })
}

/// The times of a histogram whose values are of `unit`.
fn timings(encoded: &Encoded, unit: LogUnit) -> Result<Timings, String> {
    let too_many = || "it counts more than 2^64 values".to_owned();
    let total = encoded.count().ok_or_else(too_many)?;
    // As tiersim records: in picoseconds, with 3 significant digits.
    if unit == LogUnit::Ps && encoded.ratio == 1.0 && encoded.digits == 3 && encoded.low == 1 {
        let created = Histogram::new_with_bounds(1, encoded.high.max(2), 3);
        let mut histogram = created.map_err(|error| format!("its histogram is damaged: {error}"))?;
        histogram.auto(true);
        for bucket in &encoded.buckets {
            histogram.record_n(bucket.least, bucket.count).map_err(|error| error.to_string())?;
        }
        return Ok(Timings::of_histogram(histogram));
    }
    let factor = unit.ps();
    let ps = |value: u64| {
        let exact = if encoded.ratio == 1.0 {
            value.checked_mul(factor)
        } else {
            let exact = (value as f64 * encoded.ratio * factor as f64).round();
            (exact < u64::MAX as f64).then_some(exact as u64)
        };
        exact.ok_or_else(|| {
            let value = value as f64 * encoded.ratio;
            format!("it has the value {value:e}, which is longer than 213 days; say with --unit how long 1 is")
        })
    };
    let mut kept: Vec<(SimTime, u64)> = Vec::with_capacity(encoded.buckets.len());
    let mut sum = 0u128;
    for bucket in &encoded.buckets {
        let top = SimTime::from_ps(ps(bucket.top)?);
        sum = sum.saturating_add(u128::from(ps(bucket.middle)?) * u128::from(bucket.count));
        match kept.last_mut() {
            Some((last, count)) if *last == top => *count += bucket.count,
            _ => kept.push((top, bucket.count)),
        }
    }
    debug_assert_eq!(kept.iter().map(|(_, count)| count).sum::<u64>(), total);
    let least = encoded.buckets.first().map_or(Ok(0), |bucket| ps(bucket.least))?;
    Ok(Timings::reported(kept, sum, SimTime::from_ps(least)))
}
