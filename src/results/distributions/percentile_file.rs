//! Percentile files (`.hgrm`): the table that the tools of HdrHistogram print, such as wrk2 or the
//! plotter's input.

use super::{Distributions, LogUnit, UNTAGGED};
use crate::metrics::Timings;
use crate::results::ResultsError;
use crate::units::SimTime;
use std::path::Path;

/// Whether `text` has the heading of such a table. What comes before it is a title, or what else
/// the tool printed.
pub(super) fn is_one(text: &str) -> bool {
    text.lines().any(is_heading)
}

/// `Value Percentile TotalCount 1/(1-Percentile)`, with blanks or, in quotes, with commas between.
fn is_heading(line: &str) -> bool {
    let mut names = fields(line);
    ["Value", "Percentile", "TotalCount"].into_iter().all(|name| names.next() == Some(name))
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    let names = line.split(|c: char| c.is_whitespace() || c == ',').map(|name| name.trim_matches('"'));
    names.filter(|name| !name.is_empty())
}

/// The figures in the lines below the table: exact where the table is rounded up to buckets.
#[derive(Clone, Copy, Debug, Default)]
struct Footer {
    mean: Option<f64>,
    max: Option<f64>,
    count: Option<u64>,
}

impl Footer {
    /// Reads the figures of a line such as `#[Max = 2.000, Total count = 2]`, whose blanks differ
    /// between tools.
    fn read(&mut self, line: &str) {
        let inner = line.trim().trim_start_matches("#[").trim_end_matches(']');
        for (name, value) in inner.split(',').filter_map(|part| part.split_once('=')) {
            let value = value.trim();
            match name.trim() {
                "Mean" => self.mean = value.parse().ok(),
                "Max" => self.max = value.parse().ok(),
                "Total count" => self.count = value.parse().ok(),
                _ => {}
            }
        }
    }
}

/// The distribution of such a file. Values are nanoseconds unless `unit` is given.
///
/// # Errors
/// [`ResultsError`] naming the invalid line.
pub(super) fn read(text: &str, path: &Path, unit: Option<LogUnit>) -> Result<Distributions, ResultsError> {
    let shown = path.display().to_string();
    let place = |line: usize, message: String| ResultsError::Place { path: shown.clone(), line, message };
    let unit = unit.unwrap_or(LogUnit::Ns).ps() as f64;
    let mut footer = Footer::default();
    let mut kept: Vec<(SimTime, u64)> = Vec::new();
    let (mut before, mut share) = (0, 0.0);
    let mut last_line = 1;
    for (index, content) in text.lines().enumerate().skip_while(|(_, line)| !is_heading(line)).skip(1) {
        let content = content.trim();
        if content.is_empty() {
            continue;
        }
        if content.starts_with('#') {
            footer.read(content);
            continue;
        }
        if footer.count.is_some() {
            // Other output of the tool after its table.
            break;
        }
        let row = row(content, before, share).ok_or_else(|| {
            let message = "it is no line of a .hgrm file: Value, Percentile and TotalCount are expected, rising";
            place(index + 1, message.to_owned())
        })?;
        last_line = index + 1;
        let time = picoseconds(row.0, unit).ok_or_else(|| place(index + 1, too_long(row.0)))?;
        if kept.last().is_some_and(|(last, _)| *last > time) {
            return Err(place(index + 1, format!("its value {} is less than that of the line before", row.0)));
        }
        add(&mut kept, time, row.2 - before);
        (share, before) = (row.1, row.2);
    }
    if before == 0 || share < 1.0 {
        let message = "it is empty or cut short".to_owned();
        return Err(ResultsError::Empty { path: shown, what: "line for 100 %", message });
    }
    let timings = with_footer(kept, before, footer, unit).map_err(|message| place(last_line, message))?;
    let tag = path.file_stem().map_or_else(|| UNTAGGED.to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Distributions { named: vec![(tag, timings)], span: SimTime::ZERO, approximate: true })
}

/// Value, share and total count of a line, none of which may be less than in the line before.
fn row(content: &str, before: u64, last: f64) -> Option<(f64, f64, u64)> {
    let mut fields = fields(content);
    let value = fields.next()?.parse::<f64>().ok().filter(|value| *value >= 0.0 && value.is_finite())?;
    let share = fields.next()?.parse::<f64>().ok().filter(|share| (last..=1.0).contains(share))?;
    let total = fields.next()?.parse::<u64>().ok().filter(|total| *total >= before)?;
    Some((value, share, total))
}

fn add(kept: &mut Vec<(SimTime, u64)>, time: SimTime, count: u64) {
    match kept.last_mut() {
        Some((last, sum)) if *last == time => *sum += count,
        _ if count > 0 => kept.push((time, count)),
        _ => {}
    }
}

fn picoseconds(value: f64, unit: f64) -> Option<SimTime> {
    let ps = (value * unit).round();
    (ps < u64::MAX as f64).then(|| SimTime::from_ps(ps as u64))
}

fn too_long(value: f64) -> String {
    format!("its value {value:e} is longer than 213 days; say with --unit how long one is")
}

/// The table's times with the mean, the greatest value and the count of the lines below it, where
/// there are any.
fn with_footer(mut kept: Vec<(SimTime, u64)>, total: u64, footer: Footer, unit: f64) -> Result<Timings, String> {
    if let Some(count) = footer.count.filter(|count| *count != total) {
        return Err(format!(
            "this line counts {total} values, but 'Total count' below it is {count}: is the file whole?"
        ));
    }
    if let Some(max) = footer.max {
        let greatest = picoseconds(max, unit).ok_or_else(|| too_long(max))?;
        // Lines are rounded up to a bucket, or to the digits that are printed. The last one is the
        // greatest.
        kept.retain(|(time, _)| *time < greatest);
        let below: u64 = kept.iter().map(|(_, count)| count).sum();
        add(&mut kept, greatest, total - below);
    }
    let bounds = (kept.first().map_or(0, |it| it.0.as_ps()), kept.last().map_or(0, |it| it.0.as_ps()));
    let sum = match footer.mean.map(|mean| mean * unit) {
        None => kept.iter().map(|(time, count)| u128::from(time.as_ps()) * u128::from(*count)).sum(),
        // A mean below the first line is that of the times which the line stands for.
        Some(mean) if mean >= 0.0 && mean <= bounds.1 as f64 * 1.001 => (mean * total as f64).round() as u128,
        Some(mean) => {
            return Err(format!(
                "'Mean' below the table is {:e}, but the greatest value is {:e}: is the file whole?",
                mean / unit,
                bounds.1 as f64 / unit
            ));
        }
    };
    Ok(Timings::reported(kept, sum, SimTime::from_ps(bounds.0)))
}
