//! Distributions of times: an HdrHistogram with exact sum, minimum and maximum.
//!
//! Percentiles come from the histogram, to 3 significant digits of a picosecond count. Sum, minimum
//! and maximum are kept beside it, so that means and extremes are exact and adding distributions in
//! any order gives the same result. Times that another tool recorded keep that tool's own buckets,
//! so that the percentiles shown are those that the tool itself would report.

use super::summary::Distribution;
use crate::units::SimTime;
use hdrhistogram::Histogram;

/// A distribution of times: a histogram with 3 significant digits, and exact sum, least and
/// greatest.
#[derive(Clone, Debug)]
pub struct Timings {
    histogram: Histogram<u64>,
    /// Of times that another tool recorded: what that tool reports, rising, with how often it
    /// occurred. The histogram holds the same times in its own buckets.
    reported: Option<Box<[(SimTime, u64)]>>,
    sum: u128,
    least: SimTime,
    greatest: SimTime,
}

impl Default for Timings {
    fn default() -> Self {
        // Most histograms of a run stay empty.
        Self { histogram: up_to(2), reported: None, sum: 0, least: SimTime::MAX, greatest: SimTime::ZERO }
    }
}

/// A millisecond in picoseconds: the initial range of a histogram.
const MILLISECOND: u64 = 1_000_000_000;

/// An empty histogram with a range of that many picoseconds. It grows automatically, so no time is
/// out of range.
fn up_to(picoseconds: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, picoseconds, 3).expect("these bounds are valid");
    histogram.auto(true);
    histogram
}

impl Timings {
    /// The distribution in `histogram`, in picoseconds. Sum, minimum and maximum are as exact as
    /// its buckets.
    #[must_use]
    pub fn of_histogram(mut histogram: Histogram<u64>) -> Self {
        histogram.auto(true);
        // In whole picoseconds, so that sums of sums come out the same in any order.
        let of_bucket = |value: u64, count: u64| u128::from(histogram.median_equivalent(value)) * u128::from(count);
        let sum = histogram.iter_recorded().fold(0, |sum: u128, bucket| {
            sum.saturating_add(of_bucket(bucket.value_iterated_to(), bucket.count_at_value()))
        });
        let ends =
            if histogram.is_empty() { (SimTime::MAX, 0) } else { (SimTime::from_ps(histogram.min()), histogram.max()) };
        Self { sum, least: ends.0, greatest: SimTime::from_ps(ends.1), reported: None, histogram }
    }

    /// Times that another tool recorded, in its buckets: each of `times`, which rise, stands for a
    /// bucket as that tool reports it. Percentiles are among them; the last is the greatest.
    ///
    /// # Panics
    /// If the counts add up to more than a `u64` holds.
    #[must_use]
    pub fn reported(times: Vec<(SimTime, u64)>, sum: u128, least: SimTime) -> Self {
        let mut own = up_to(times.last().map_or(2, |(time, _)| time.as_ps().max(2)));
        for (time, count) in &times {
            own.record_n(time.as_ps(), *count).expect("a histogram that grows by itself has no greatest value");
        }
        let total = times.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
        assert_eq!(total, Some(own.len()), "every time is counted");
        let greatest = times.last().map_or(SimTime::ZERO, |(time, _)| *time);
        let least = if times.is_empty() { SimTime::MAX } else { least.min(greatest) };
        Self { histogram: own, reported: Some(times.into()), sum, least, greatest }
    }

    /// The times, rising, with how often each occurred: the top of each bucket in which there are
    /// any.
    pub fn buckets(&self) -> impl Iterator<Item = (SimTime, u64)> + '_ {
        let own = self.reported.is_none().then(|| {
            let buckets = self.histogram.iter_recorded();
            buckets.map(|it| (SimTime::from_ps(it.value_iterated_to()).min(self.greatest), it.count_at_value()))
        });
        own.into_iter().flatten().chain(self.reported.iter().flat_map(|reported| reported.iter().copied()))
    }

    /// The least time that at least `count` of all do not exceed, where another tool recorded them.
    #[must_use]
    pub fn reported_at(&self, count: u64) -> Option<SimTime> {
        let mut below = 0u64;
        let reached = |(_, here): &&(SimTime, u64)| {
            below += here;
            below >= count
        };
        let reported = self.reported.as_deref()?;
        Some(reported.iter().find(reached).map_or(self.greatest, |(time, _)| *time))
    }

    /// The same distribution with the exact figures of a summary, where only the histogram was
    /// kept; percentiles stay those of the histogram.
    #[must_use]
    pub fn with_exact(self, figures: &Distribution) -> Self {
        let sum = (figures.mean * 1_000.0 * self.count() as f64).round() as u128;
        Self { sum, least: SimTime::from_ns(figures.min), greatest: SimTime::from_ns(figures.max), ..self }
    }

    /// Adds all times of `other`, as if they had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if self.reported.is_some() || other.reported.is_some() {
            let mut all: std::collections::BTreeMap<SimTime, u64> = std::collections::BTreeMap::new();
            self.buckets().chain(other.buckets()).for_each(|(time, count)| *all.entry(time).or_default() += count);
            let (sum, least) = (self.sum.saturating_add(other.sum), self.least.min(other.least));
            *self = Self::reported(all.into_iter().collect(), sum, least);
            return;
        }
        self.histogram.add(&other.histogram).expect("a histogram that grows by itself has no greatest value");
        self.sum = self.sum.saturating_add(other.sum);
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// Subtracts the times of `other`; `None` where `other` has more times of one length than this
    /// has.
    #[must_use]
    pub fn without(&self, other: &Self) -> Option<Self> {
        if self.reported.is_some() || other.reported.is_some() {
            return self.without_reported(other);
        }
        let mut histogram = self.histogram.clone();
        histogram.subtract(&other.histogram).ok()?;
        let mut rest = Self::of_histogram(histogram);
        rest.sum = self.sum.saturating_sub(other.sum);
        // Where an end's bucket is left, the end is known better than by its bucket.
        if rest.count() > 0 && rest.histogram.equivalent(rest.least.as_ps(), self.least.as_ps()) {
            rest.least = self.least;
        }
        if rest.count() > 0 && rest.histogram.equivalent(rest.greatest.as_ps(), self.greatest.as_ps()) {
            rest.greatest = self.greatest;
        }
        Some(rest)
    }

    /// As [`without`](Self::without), where another tool recorded the times.
    fn without_reported(&self, other: &Self) -> Option<Self> {
        let mut all: std::collections::BTreeMap<SimTime, u64> = self.buckets().collect();
        for (time, count) in other.buckets() {
            let here = all.get_mut(&time)?;
            *here = here.checked_sub(count)?;
        }
        all.retain(|_, count| *count > 0);
        let least = all.keys().next().copied().unwrap_or(SimTime::MAX);
        // The least of all is known to less than its bucket; that of the rest only where it is of
        // the same bucket.
        let same = self.buckets().next().is_some_and(|(first, _)| first == least);
        let least = if same { self.least } else { least };
        Some(Self::reported(all.into_iter().collect(), self.sum.saturating_sub(other.sum), least))
    }

    /// Frees the buckets above the longest recorded time, which may be most of the memory. The
    /// recorded times stay; logs and files show the smaller range.
    pub fn shrink(&mut self) {
        let mut small = up_to(self.histogram.max().max(2));
        small.add(&self.histogram).expect("a histogram that grows by itself has no greatest value");
        self.histogram = small;
    }

    /// Adds one time.
    pub fn record(&mut self, time: SimTime) {
        let ps = time.as_ps();
        self.make_room();
        self.histogram.record(ps).expect("a histogram that grows by itself has no greatest value");
        self.note(time, u128::from(ps));
    }

    /// Adds the same time `count` times.
    pub fn record_n(&mut self, time: SimTime, count: u64) {
        let ps = time.as_ps();
        self.make_room();
        self.histogram.record_n(ps, count).expect("a histogram that grows by itself has no greatest value");
        self.note(time, u128::from(ps) * u128::from(count));
    }

    /// The first time makes room for others of its kind.
    fn make_room(&mut self) {
        if self.histogram.high() < MILLISECOND && self.histogram.is_empty() {
            self.histogram = up_to(MILLISECOND);
        }
    }

    /// Adds a time to the figures that are exact.
    fn note(&mut self, time: SimTime, sum: u128) {
        self.sum += sum;
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

    /// The standard deviation, in picoseconds, to the width of a bucket; 0 of nothing. The same
    /// operations as [`Histogram::stdev`] in one pass over the buckets in the place of two.
    #[must_use]
    pub fn deviation_ps(&self) -> f64 {
        let total = self.count() as f64;
        let bucket = |value: u64, count: u64| (self.histogram.median_equivalent(value) as f64, count as f64);
        let recorded = self.histogram.iter_recorded();
        let buckets: Vec<(f64, f64)> = recorded.map(|it| bucket(it.value_iterated_to(), it.count_at_value())).collect();
        if buckets.is_empty() {
            return 0.0;
        }
        let mean = buckets.iter().fold(0.0, |sum, (value, count)| sum + value * count / total);
        let squares = buckets.iter().fold(0.0, |sum, (value, count)| sum + (value - mean) * (value - mean) * count);
        (squares / total).sqrt()
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
        let count = (quantile * self.count() as f64).ceil() as u64;
        if let Some(time) = self.reported_at(count.max(1)) {
            return time;
        }
        // The histogram answers with the top of a bucket, which may exceed every recorded time.
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
    fn the_deviation_is_that_of_the_histogram_to_the_bit() {
        let mut timings = Timings::default();
        assert_eq!(timings.deviation_ps(), 0.0);
        let mut ps = 7u64;
        for _ in 0..3_000 {
            ps = ps * 48_271 % 2_147_483_647;
            timings.record(SimTime::from_ps(ps));
            timings.record(SimTime::from_ps(ps % 1_000));
        }
        assert_eq!(timings.deviation_ps().to_bits(), timings.histogram().stdev().to_bits());
    }

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
    fn merging_is_as_recording_both_and_subtracting_takes_it_back() {
        let of = |times: &[u64]| {
            let mut timings = Timings::default();
            times.iter().for_each(|ps| timings.record(SimTime::from_ps(*ps)));
            timings
        };
        let (one, other) = (of(&[5_003, 77_000]), of(&[9_001, 3_600_000_000_000_000]));
        let mut merged = one.clone();
        merged.merge(&other);
        let both = of(&[5_003, 77_000, 9_001, 3_600_000_000_000_000]);
        assert_eq!(merged.distribution(), both.distribution());
        // The maximum was subtracted; that of the rest is known to its bucket.
        let (left, own) = (merged.without(&other).unwrap().distribution().unwrap(), one.distribution().unwrap());
        assert_eq!((left.mean, left.min, left.p50), (own.mean, own.min, own.p50));
        assert!((left.max / own.max - 1.0).abs() < 0.001, "{left:?}");
        assert!(one.without(&other).is_none() && one.without(&merged).is_none());
        let nothing = one.without(&one).unwrap();
        assert!(nothing.distribution().is_none());
        let mut again = nothing;
        again.merge(&one);
        assert_eq!(again.distribution(), one.distribution());
    }

    #[test]
    fn what_is_recorded_stays_when_room_is_given_up() {
        for times in [&[][..], &[0], &[0, 17], &[5_003, 77_000, 77_000, 9_001_000], &[3_600_000_000_000_000]] {
            let mut timings = Timings::default();
            times.iter().for_each(|ps| timings.record(SimTime::from_ps(*ps)));
            let mut small = timings.clone();
            small.shrink();
            assert_eq!(small.distribution(), timings.distribution());
            let values = |timings: &Timings| {
                let buckets = timings.histogram.iter_recorded();
                buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect::<Vec<_>>()
            };
            assert_eq!(values(&small), values(&timings));
            assert!(small.histogram.distinct_values() <= timings.histogram.distinct_values());
            small.record(SimTime::from_ps(80_000));
            timings.record(SimTime::from_ps(80_000));
            assert_eq!(small.distribution(), timings.distribution());
        }
    }

    #[test]
    fn long_times_are_in_range() {
        let mut timings = Timings::default();
        timings.record(SimTime::from_ps(3_600_000_000_000_000));
        assert_eq!(timings.distribution().unwrap().p99, 3.6e12);
    }
}
