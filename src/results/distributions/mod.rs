//! Distributions from histogram files, of tiersim and of other tools.
//!
//! Two formats of the HdrHistogram family are read: interval logs (`.hlog`), which hold encoded
//! histograms by tag, and percentile files (`.hgrm`), which are a printed table. Both become
//! [`Timings`], which can be merged and subtracted tag by tag. Sizes are limited before anything is
//! allocated, as these files may come from anywhere.

mod encoded;
mod log;
mod percentile_file;

use super::ResultsError;
use crate::config;
use crate::metrics::Timings;
use crate::units::SimTime;
use std::io::Read;
use std::path::Path;

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
    /// Seconds.
    S,
}

impl LogUnit {
    const fn ps(self) -> u64 {
        match self {
            Self::Ps => 1,
            Self::Ns => 1_000,
            Self::Us => 1_000_000,
            Self::Ms => 1_000_000_000,
            Self::S => 1_000_000_000_000,
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
    /// Whether it is a `.hgrm`, which keeps some percentiles only: each time stands for those up to
    /// it.
    pub approximate: bool,
}

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;
/// The name of an interval without a tag.
const UNTAGGED: &str = "untagged";

impl Distributions {
    /// Reads an interval log or a percentile file, of tiersim or of any tool of HdrHistogram; in a
    /// folder, the `histograms.hlog` of a run. The format is recognized by the content: a
    /// percentile file has the heading of its table. Intervals of one tag are merged. Values are
    /// picoseconds in a log of tiersim and nanoseconds in a percentile file, unless `unit` is
    /// given. Values that other tools recorded stand for the top of their bucket, as HdrHistogram's
    /// tools report them.
    ///
    /// # Errors
    /// [`ResultsError`] naming the invalid line.
    pub fn read(path: &Path, unit: Option<LogUnit>) -> Result<Self, ResultsError> {
        let path = if path.is_dir() { &path.join("histograms.hlog") } else { path };
        let shown = path.display().to_string();
        let failed = |message: String| ResultsError::Read { path: shown.clone(), message };
        let (file, _) = config::open_regular(path).map_err(|error| failed(error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(failed(format!("more than {MAX_FILE} bytes are too many for histograms")));
        }
        let text = config::utf8(bytes).map_err(failed)?;
        if percentile_file::is_one(&text) {
            return percentile_file::read(&text, path, unit);
        }
        log::read(&text, &shown, unit)
    }

    /// All times of `files`, tag by tag.
    ///
    /// # Errors
    /// [`ResultsError::Merge`] for more times than can be counted.
    pub fn merged(files: &[Self]) -> Result<Self, ResultsError> {
        let mut all = Self { named: Vec::new(), span: SimTime::ZERO, approximate: false };
        for file in files {
            all.span = all.span.max(file.span);
            all.approximate |= file.approximate;
            for (tag, timings) in &file.named {
                all.add(tag, timings).map_err(|message| ResultsError::Merge { tag: tag.clone(), message })?;
            }
        }
        Ok(all)
    }

    /// All times of all tags as one.
    ///
    /// # Errors
    /// [`ResultsError::Merge`] for more times than can be counted.
    pub fn as_one(&self, tag: &str) -> Result<Self, ResultsError> {
        let mut one = Self { named: Vec::new(), ..*self };
        for (_, timings) in &self.named {
            one.add(tag, timings).map_err(|message| ResultsError::Merge { tag: tag.to_owned(), message })?;
        }
        Ok(one)
    }

    /// Subtracts the times of `other`, called `name` in messages, tag by tag.
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

    fn add(&mut self, tag: &str, timings: &Timings) -> Result<(), String> {
        match self.named.iter_mut().find(|(known, _)| known == tag) {
            Some((_, sum)) if sum.count().checked_add(timings.count()).is_none() => {
                return Err("all in all it counts more than 2^64 values".to_owned());
            }
            Some((_, sum)) => sum.merge(timings),
            None => self.named.push((tag.to_owned(), timings.clone())),
        }
        Ok(())
    }
}
