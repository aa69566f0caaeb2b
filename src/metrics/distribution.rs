use super::summary::Distribution;
use crate::units::SimTime;
use hdrhistogram::Histogram;

/// A distribution of times: a histogram with 3 significant digits, and exact sum, least and greatest.
#[derive(Clone, Debug)]
pub struct Timings {
    histogram: Histogram<u64>,
    sum: u128,
    least: SimTime,
    greatest: SimTime,
}

impl Default for Timings {
    fn default() -> Self {
        // A millisecond to begin with; it grows by itself, so no time is out of range.
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).expect("these bounds are valid");
        histogram.auto(true);
        Self { histogram, sum: 0, least: SimTime::MAX, greatest: SimTime::ZERO }
    }
}

impl Timings {
    /// Adds one time.
    pub fn record(&mut self, time: SimTime) {
        let ps = time.as_ps();
        self.histogram.record(ps).expect("a histogram that grows by itself has no greatest value");
        self.sum += u128::from(ps);
        self.least = self.least.min(time);
        self.greatest = self.greatest.max(time);
    }

    /// How many times were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The sum of all, exact.
    #[must_use]
    pub fn sum_ps(&self) -> u128 {
        self.sum
    }

    /// The histogram, in picoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The greatest; 0 if nothing was recorded.
    #[must_use]
    pub fn greatest(&self) -> SimTime {
        self.greatest
    }

    /// The least time that at least `quantile` of all do not exceed, to 3 digits.
    #[must_use]
    pub fn at(&self, quantile: f64) -> SimTime {
        // The histogram answers with the top of a bucket, which may lie above all that was recorded.
        SimTime::from_ps(self.histogram.value_at_quantile(quantile)).min(self.greatest)
    }

    /// The figures of a summary; `None` if nothing was recorded.
    #[must_use]
    pub fn distribution(&self) -> Option<Distribution> {
        let count = self.count();
        (count > 0).then(|| Distribution {
            mean: self.sum as f64 / count as f64 / 1_000.0,
            min: self.least.as_ns(),
            p50: self.at(0.5).as_ns(),
            p90: self.at(0.9).as_ns(),
            p99: self.at(0.99).as_ns(),
            p999: self.at(0.999).as_ns(),
            max: self.greatest.as_ns(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_keep_three_digits() {
        let mut timings = Timings::default();
        for ps in [5_003, 5_010, 5_018] {
            timings.record(SimTime::from_ps(ps));
        }
        let figures = timings.distribution().unwrap();
        assert!((figures.p50 - 5.010).abs() <= 0.005, "{figures:?}");
        assert_eq!((figures.min, figures.max), (5.003, 5.018));
    }

    #[test]
    fn long_times_are_in_range() {
        let mut timings = Timings::default();
        timings.record(SimTime::from_ps(3_600_000_000_000_000));
        assert_eq!(timings.distribution().unwrap().p99, 3.6e12);
    }
}
