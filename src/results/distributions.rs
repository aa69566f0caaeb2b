use super::ResultsError;
use crate::config;
use crate::metrics::Timings;
use crate::report::LOG_MARK;
use crate::units::SimTime;
use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry, LogIteratorError};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// How long a recorded value of 1 is, in a file that does not say so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogUnit {
    /// Picoseconds.
    Ps,
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
}

impl LogUnit {
    const fn ps(self) -> u64 {
        match self {
            Self::Ps => 1,
            Self::Ns => 1_000,
            Self::Us => 1_000_000,
            Self::Ms => 1_000_000_000,
        }
    }
}

/// The distributions of a file, by their tags.
#[derive(Clone, Debug)]
pub struct Distributions {
    /// Tag and times, in the order of the file.
    pub named: Vec<(String, Timings)>,
    /// What the file's intervals span.
    pub span: SimTime,
    /// A `.hgrm` keeps some percentiles only: each time stands for those up to it.
    pub approximate: bool,
}

/// The largest file that is read, and the most that a histogram in it may unpack to.
const MAX_FILE: u64 = 1 << 30;
const MAX_HISTOGRAM: u64 = 64 << 20;
/// What an interval without a tag is called.
const UNTAGGED: &str = "untagged";

impl Distributions {
    /// Reads an interval log (V2, compressed or not) or a `.hgrm` file; in a folder, the `histograms.hlog` of a run. Intervals
    /// of one tag are merged. Values are picoseconds in a log of ours and nanoseconds in a `.hgrm`, unless `unit` says other.
    ///
    /// # Errors
    /// [`ResultsError`] with the line that is not right.
    pub fn read(path: &Path, unit: Option<LogUnit>) -> Result<Self, ResultsError> {
        let path = if path.is_dir() { &path.join("histograms.hlog") } else { path };
        let shown = path.display().to_string();
        let failed = |message: String| ResultsError::Read { path: shown.clone(), message };
        let (file, _) = config::open_regular(path).map_err(|error| failed(error.to_string()))?;
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        if text.len() as u64 > MAX_FILE {
            return Err(failed(format!("more than {MAX_FILE} bytes are too many for histograms")));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if text.trim_start().starts_with("Value") {
            return percentiles(&text, path, unit);
        }
        log(&text, &shown, unit)
    }

    /// All times of `files`, tag by tag.
    #[must_use]
    pub fn merged(files: &[Self]) -> Self {
        let mut all = Self { named: Vec::new(), span: SimTime::ZERO, approximate: false };
        for file in files {
            all.span = all.span.max(file.span);
            all.approximate |= file.approximate;
            file.named.iter().for_each(|(tag, timings)| all.add(tag, timings));
        }
        all
    }

    /// All times of all tags as one.
    #[must_use]
    pub fn as_one(&self, tag: &str) -> Self {
        let mut one = Self { named: Vec::new(), ..*self };
        self.named.iter().for_each(|(_, timings)| one.add(tag, timings));
        one
    }

    /// What is left when the times of `other`, called `name`, are taken away, tag by tag.
    ///
    /// # Errors
    /// [`ResultsError::Subtract`] where `other` has times that are not here.
    pub fn without(&self, other: &Self, name: &str) -> Result<Self, ResultsError> {
        let failed = |tag: &str, message: &str| ResultsError::Subtract {
            tag: tag.to_owned(),
            from: name.to_owned(),
            message: message.to_owned(),
        };
        if self.approximate || other.approximate {
            return Err(failed("*", "a .hgrm keeps some percentiles only; subtract logs (.hlog)"));
        }
        let mut rest = self.clone();
        for (tag, timings) in &other.named {
            let there = rest.named.iter_mut().find(|(known, _)| known == tag);
            let (_, from) = there.ok_or_else(|| failed(tag, "the other file has no such tag"))?;
            *from = from
                .without(timings)
                .ok_or_else(|| failed(tag, "it has times that the other does not have; is it part of the other?"))?;
        }
        rest.named.retain(|(_, timings)| timings.count() > 0);
        Ok(rest)
    }

    /// Only those of `tags`, in their order in the file; all where `tags` is empty.
    ///
    /// # Errors
    /// The first tag that is not there.
    pub fn only(&mut self, tags: &[String]) -> Result<(), String> {
        let missing = tags.iter().find(|tag| !self.named.iter().any(|(known, _)| known == *tag));
        if let Some(missing) = missing {
            return Err(missing.clone());
        }
        self.named.retain(|(tag, _)| tags.is_empty() || tags.contains(tag));
        Ok(())
    }

    fn add(&mut self, tag: &str, timings: &Timings) {
        match self.named.iter_mut().find(|(known, _)| known == tag) {
            Some((_, sum)) => sum.merge(timings),
            None => self.named.push((tag.to_owned(), timings.clone())),
        }
    }
}

fn log(text: &str, path: &str, unit: Option<LogUnit>) -> Result<Distributions, ResultsError> {
    let line_of = |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let place = |line: usize, message: String| ResultsError::Place { path: path.to_owned(), line, message };
    let ours = text.lines().any(|line| line.strip_prefix('#') == Some(LOG_MARK)).then_some(LogUnit::Ps);
    let mut all = Distributions { named: Vec::new(), span: SimTime::ZERO, approximate: false };
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let interval = match entry {
            Ok(LogEntry::Interval(interval)) => interval,
            Ok(_) => continue,
            Err(LogIteratorError::ParseError { offset }) => {
                let message = "it is no line of an HdrHistogram interval log, or not all of one".to_owned();
                return Err(place(line_of(offset), message));
            }
        };
        let unit = unit.or(ours).ok_or_else(|| ResultsError::NoUnit { path: path.to_owned() })?;
        let encoded = interval.encoded_histogram();
        let histogram = unpack(encoded).map_err(|message| {
            // The line is sought only now: it is part of the text.
            place(line_of(encoded.as_ptr() as usize - text.as_ptr() as usize), message)
        })?;
        all.span = all.span.max(span(interval.start_timestamp(), interval.duration()));
        let tag = interval.tag().map_or(UNTAGGED, |tag| tag.as_str());
        all.add(tag, &Timings::of_histogram(in_picoseconds(histogram, unit.ps())));
    }
    if all.named.is_empty() {
        let message = "it is empty, or no interval log of HdrHistogram".to_owned();
        return Err(ResultsError::Empty { path: path.to_owned(), what: "histogram", message });
    }
    Ok(all)
}

fn span(start: Duration, duration: Duration) -> SimTime {
    let ps = start.saturating_add(duration).as_nanos().saturating_mul(1_000);
    SimTime::from_ps(u64::try_from(ps).unwrap_or(u64::MAX))
}

/// The histogram of a line. What it says of its own size is checked first: the crate takes its word.
fn unpack(encoded: &str) -> Result<Histogram<u64>, String> {
    let damaged = |what: &dyn std::fmt::Display| format!("its histogram is damaged: {what}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|error| damaged(&error))?;
    // A compressed one is a cookie, a length and a zlib stream of a plain one.
    let plain = match bytes.as_slice() {
        [0x1c, 0x84, 0x93, 0x14, a, b, c, d, packed @ ..] => {
            if u32::from_be_bytes([*a, *b, *c, *d]) as usize != packed.len() {
                return Err(damaged(&"it is not as long as it says"));
            }
            let mut plain = Vec::new();
            let mut stream = flate2::read::ZlibDecoder::new(packed).take(MAX_HISTOGRAM + 1);
            stream.read_to_end(&mut plain).map_err(|error| damaged(&error))?;
            plain
        }
        _ => bytes,
    };
    if plain.len() as u64 > MAX_HISTOGRAM {
        return Err(damaged(&format!("it unpacks to more than {MAX_HISTOGRAM} bytes")));
    }
    // Cookie, length of what follows the header of 40 bytes.
    let said = plain.get(4..8).map(|length| u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize);
    if plain.len() < 40 || said != Some(plain.len() - 40) {
        return Err(damaged(&"it is not as long as it says, or not in format V2"));
    }
    Deserializer::new().deserialize(&mut plain.as_slice()).map_err(|error| damaged(&error))
}

/// As tiersim records: in picoseconds, with 3 significant digits.
fn in_picoseconds(histogram: Histogram<u64>, factor: u64) -> Histogram<u64> {
    if factor == 1 && histogram.sigfig() == 3 && histogram.low() == 1 {
        return histogram;
    }
    let mut scaled = Histogram::new(3).expect("3 digits are valid");
    for bucket in histogram.iter_recorded() {
        let value = histogram.median_equivalent(bucket.value_iterated_to()).saturating_mul(factor);
        scaled.record_n(value, bucket.count_at_value()).expect("a histogram that grows by itself takes any value");
    }
    scaled
}

/// What a `.hgrm` keeps: for some shares, the time that they do not exceed.
fn percentiles(text: &str, path: &Path, unit: Option<LogUnit>) -> Result<Distributions, ResultsError> {
    let shown = path.display().to_string();
    let place = |line: usize, message: &str| ResultsError::Place {
        path: shown.clone(),
        line: line + 1,
        message: message.to_owned(),
    };
    let unit = unit.unwrap_or(LogUnit::Ns).ps() as f64;
    let mut histogram = Histogram::<u64>::new(3).expect("3 digits are valid");
    let (mut before, mut last) = (0, 0.0);
    for (line, content) in text.lines().enumerate() {
        if content.starts_with('#') || content.trim().is_empty() || content.trim_start().starts_with("Value") {
            continue;
        }
        let mut fields = content.split_whitespace();
        let (value, share, total) = (fields.next(), fields.next(), fields.next());
        let value = value.and_then(|text| text.parse::<f64>().ok()).filter(|value| *value >= 0.0 && value.is_finite());
        let share = share.and_then(|text| text.parse::<f64>().ok()).filter(|share| (last..=1.0).contains(share));
        let total = total.and_then(|text| text.parse::<u64>().ok()).filter(|total| *total >= before);
        let (Some(value), Some(share), Some(total)) = (value, share, total) else {
            return Err(place(
                line,
                "it is no line of a .hgrm file: Value, Percentile and TotalCount are expected, rising",
            ));
        };
        let ps = (value * unit).round();
        if ps >= u64::MAX as f64 {
            return Err(place(line, "its value is longer than 213 days; say with --unit how long one is"));
        }
        histogram.record_n(ps as u64, total - before).expect("a histogram that grows by itself takes any value");
        (before, last) = (total, share);
    }
    if histogram.is_empty() || last < 1.0 {
        let message = "it is empty or cut short".to_owned();
        return Err(ResultsError::Empty { path: shown, what: "line for 100 %", message });
    }
    let tag = path.file_stem().map_or_else(|| UNTAGGED.to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Distributions { named: vec![(tag, Timings::of_histogram(histogram))], span: SimTime::ZERO, approximate: true })
}
