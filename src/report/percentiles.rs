//! Percentiles of times, as the plotters of HdrHistogram draw them: on a scale on which each
//! further nine of the percentile takes the same width.

use super::artifact::{Artifact, ReportError};
use super::chart::{Chart, Line, Panel, Stroke, colour, nines};
use crate::metrics::Timings;

/// The quantile function of each of `named`: the time that a share of all does not exceed, over
/// the share. Empty distributions are left out.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn percentile_picture(name: &str, title: &str, named: &[(&str, &Timings)]) -> Result<Vec<Artifact>, ReportError> {
    let lines: Vec<Percentiles<'_>> = named
        .iter()
        .zip(colour::EIGHT.into_iter().cycle())
        .map(|((label, timings), colour)| Percentiles { label, colour, timings })
        .collect();
    drawn(name, title, &lines)
}

/// A line of such a picture.
pub(super) struct Percentiles<'a> {
    pub label: &'a str,
    pub colour: &'static str,
    pub timings: &'a Timings,
}

/// The picture; none where all of `lines` are empty.
pub(super) fn drawn(name: &str, title: &str, lines: &[Percentiles<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let (unit, ps) = unit(lines.iter().map(|line| line.timings.greatest().as_ps()).max().unwrap_or(0));
    let lines: Vec<Line> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.timings.count() > 0)
        .map(|(index, line)| Line {
            label: line.label.to_owned(),
            colour: line.colour,
            stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index / colour::EIGHT.len() % 3],
            points: steps(line.timings, ps),
        })
        .collect();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let panel = Panel {
        title: title.to_owned(),
        x_label: "share of all".to_owned(),
        y_label: format!("at most ({unit})"),
        lines,
        ..Panel::default()
    };
    Ok(Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] }.artifacts_over_shares()?.into())
}

/// Up at each share from which on the time is longer. The line ends where a share has but one time
/// left.
fn steps(timings: &Timings, unit: f64) -> Vec<(f64, f64)> {
    let total = timings.count() as f64;
    let end = nines(1.0 - 1.0 / (total + 1.0));
    let mut points = Vec::new();
    let mut below: u64 = 0;
    for (time, count) in timings.buckets() {
        let time = time.as_ps() as f64 / unit;
        points.push((nines(below as f64 / total).min(end), time));
        below += count;
        points.push((nines(below as f64 / total).min(end), time));
    }
    points
}

/// The unit that shows `greatest` without many zeros, and its picoseconds.
fn unit(greatest: u64) -> (&'static str, f64) {
    match greatest {
        0..10_000_000 => ("ns", 1e3),
        10_000_000..10_000_000_000 => ("us", 1e6),
        10_000_000_000..10_000_000_000_000 => ("ms", 1e9),
        _ => ("s", 1e12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SimTime;

    #[test]
    fn a_share_stands_where_its_nines_are() {
        let mut timings = Timings::default();
        for ns in [1, 1, 1, 1, 1, 1, 1, 1, 1, 7] {
            timings.record(SimTime::from_ps(ns * 1_000));
        }
        let points = steps(&timings, 1e3);
        let x: Vec<f64> = points.iter().map(|(x, _)| (x * 1e3).round() / 1e3).collect();
        assert_eq!(x, [0.0, 1.0, 1.0, 1.041]);
        assert_eq!(points[3].1, 7.0);
    }
}
