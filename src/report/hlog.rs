use super::artifact::{Artifact, ReportError};
use super::exporter::Exporter;
use crate::metrics::{RunReport, Timings};
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Serializer, V2SerializeError, V2Serializer};
use hdrhistogram::{Counter, Histogram};
use std::io::Write;
use std::time::Duration;

/// `histograms.hlog`: every distribution in one HdrHistogram interval log (V2, compressed), a tag
/// each, for the standard tools. Values are picoseconds; the log's divisor shows greatest values in
/// nanoseconds.
pub(super) struct HistogramLog;

impl Exporter for HistogramLog {
    fn names(&self) -> Vec<String> {
        vec!["histograms.hlog".to_owned()]
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        let span = Duration::from_nanos(run.summary.simulated_ns as u64);
        Ok(vec![histogram_log(run.histograms.named(), span)?])
    }
}

/// The comment that identifies a log of tiersim, and with it the unit of its values.
pub(crate) const MARK: &str = "[tiersim: values are picoseconds of simulated time, maxima are nanoseconds]";

/// The log of all of `named`, which were taken over `span`.
pub(super) fn histogram_log<'a>(
    named: impl Iterator<Item = (String, &'a Timings)>,
    span: Duration,
) -> Result<Artifact, ReportError> {
    let failed = |error: &dyn std::fmt::Debug| ReportError::format("histograms.hlog", format!("{error:?}"));
    let mut bytes = Vec::new();
    let mut serializer = Packed { plain: V2Serializer::new(), bytes: Vec::new() };
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

/// A histogram in the format V2, compressed: as the histogram crate writes it, but with a
/// compressor that is chosen here. The compressor of that crate depends on the other crates of the
/// program, and the bytes of the log must not.
struct Packed {
    plain: V2Serializer,
    /// Scratch space.
    bytes: Vec<u8>,
}

impl Packed {
    /// The cookie of a compressed histogram, and zlib's default compression level.
    const COOKIE: u32 = 0x1c84_9314;
    const LEVEL: u8 = 6;
}

impl Serializer for Packed {
    type SerializeError = V2SerializeError;

    fn serialize<T: Counter, W: Write>(
        &mut self,
        histogram: &Histogram<T>,
        writer: &mut W,
    ) -> Result<usize, V2SerializeError> {
        self.bytes.clear();
        self.plain.serialize(histogram, &mut self.bytes)?;
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&self.bytes, Self::LEVEL);
        // Far below 4 GiB: a histogram has at most some millions of counts.
        for part in [&Self::COOKIE.to_be_bytes()[..], &(packed.len() as u32).to_be_bytes(), &packed] {
            writer.write_all(part)?;
        }
        Ok(8 + packed.len())
    }
}
