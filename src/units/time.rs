//! Simulated time, in whole picoseconds.

use super::quantity::{self, Kind, QuantityError};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// A point in simulated time, or a span of it, in whole picoseconds. A `u64` of them is 213 days.
///
/// Sums saturate at [`SimTime::MAX`], which stands for "never": the engine ends a run that would
/// get there with an error instead of wrapping around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

const KIND: Kind = Kind {
    what: "time",
    example: "\"1.2us\"",
    units: &[
        ("ps", 1),
        ("ns", 1_000),
        ("µs", 1_000_000),
        ("us", 1_000_000),
        ("ms", 1_000_000_000),
        ("s", 1_000_000_000_000),
        ("min", 60_000_000_000_000),
        ("h", 3_600_000_000_000_000),
    ],
};

/// The units that are printed: those up to the second.
const PRINTED: &[(&str, u128)] = KIND.units.split_at(6).0;

impl SimTime {
    /// The start of a run, or an empty span.
    pub const ZERO: Self = Self(0);
    /// Never.
    pub const MAX: Self = Self(u64::MAX);
    /// Picoseconds in a second.
    pub const PS_PER_SECOND: u64 = 1_000_000_000_000;

    /// `ps` picoseconds.
    #[must_use]
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// Picoseconds.
    #[must_use]
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// From nanoseconds, such as [`as_ns`](Self::as_ns) returns, to the nearest picosecond;
    /// negative ones are 0.
    #[must_use]
    pub fn from_ns(nanoseconds: f64) -> Self {
        Self((nanoseconds * 1_000.0).round() as u64)
    }

    /// Nanoseconds, the unit of every result. Exact up to 2^53 ps (2.5 hours).
    #[must_use]
    pub fn as_ns(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Nanoseconds as text, exact: picoseconds are the third decimal.
    #[must_use]
    pub fn exact_ns(self) -> String {
        format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }

    /// The span from `earlier` to here; empty if `earlier` is later.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// So many spans like this one, at most [`MAX`](Self::MAX).
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// As a person reads it: four significant digits or a little more, and the unit that fits.
    #[must_use]
    pub fn rounded(self) -> String {
        let reached = PRINTED.iter().rfind(|(_, factor)| u128::from(self.0) >= *factor);
        let (name, factor) = reached.unwrap_or(&PRINTED[0]);
        let value = self.0 as f64 / *factor as f64;
        let decimals = match value {
            v if v >= 100.0 => 1,
            v if v >= 10.0 => 2,
            _ => 3,
        };
        format!("{value:.decimals$} {name}")
    }
}

impl FromStr for SimTime {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        u64::try_from(KIND.parse(text)?).map(Self).map_err(|_| KIND.range(text, "at most 213 days"))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&quantity::exact(self.0, PRINTED))
    }
}

impl Add for SimTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for SimTime {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for SimTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for SimTime {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

quantity::serialize_as_text!(SimTime);
quantity::deserialize_from_text!(SimTime, "a time such as \"1.2us\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, ps) in [("1.2us", 1_200_000), ("5 ns", 5_000), ("1 ms", 1_000_000_000), ("0 ps", 0)] {
            assert_eq!(text.parse::<SimTime>().unwrap().as_ps(), ps, "{text}");
        }
        for (text, printed) in [("1h", "3600 s"), ("30 min", "1800 s"), ("1.5h", "5400 s")] {
            assert_eq!(text.parse::<SimTime>().unwrap().to_string(), printed);
        }
        assert_eq!("2h".parse::<SimTime>().unwrap().rounded(), "7200.0 s");
        assert!("5".parse::<SimTime>().is_err());
        assert!("300 d".parse::<SimTime>().is_err());
        assert_eq!(SimTime::from_ps(1_234_567).rounded(), "1.235 us");
        assert_eq!(SimTime::from_ps(1_200_000).to_string(), "1.2 us");
    }

    #[test]
    fn sums_stop_at_never() {
        assert_eq!(SimTime::MAX + SimTime::from_ps(1), SimTime::MAX);
    }
}
