//! Bandwidths, in bytes per second.

use super::quantity::{self, Kind, QuantityError};
use super::{Bytes, SimTime};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes per second; never 0. Decimal units only: `"900 GB/s"` is 900 * 10^9 bytes per second.
///
/// ```
/// use tiersim::units::{Bandwidth, Bytes, SimTime};
/// let link: Bandwidth = "900 GB/s".parse()?;
/// assert_eq!(link.time_for(Bytes::new(900)), SimTime::from_ps(1_000));
/// assert_eq!(link.time_for(Bytes::new(1)), SimTime::from_ps(2)); // 1.11 ps, rounded up
/// # Ok::<(), tiersim::units::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(NonZeroU64);

const KIND: Kind = Kind {
    what: "bandwidth",
    example: "\"900 GB/s\"",
    units: &[
        ("B/s", 1),
        ("KB/s", 1_000),
        ("kB/s", 1_000),
        ("MB/s", 1_000_000),
        ("GB/s", 1_000_000_000),
        ("TB/s", 1_000_000_000_000),
        ("PB/s", 1_000_000_000_000_000),
    ],
};

impl Bandwidth {
    /// The least that is accepted as input: 1 MB/s. With less, a run would outlast the clock.
    pub const MIN_INPUT: u64 = 1_000_000;
    /// The most that is accepted as input: 100 PB/s.
    pub const MAX_INPUT: u64 = 100_000_000_000_000_000;

    /// `None` for 0 bytes per second.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Option<Self> {
        match NonZeroU64::new(bytes_per_second) {
            Some(rate) => Some(Self(rate)),
            None => None,
        }
    }

    /// Bytes per second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The unloaded service time of `bytes`, rounded up to a whole picosecond; `SimTime::MAX` where
    /// that is past the end of the clock.
    #[must_use]
    pub fn time_for(self, bytes: Bytes) -> SimTime {
        let exact = u128::from(bytes.get()) * u128::from(SimTime::PS_PER_SECOND);
        SimTime::from_ps(u64::try_from(exact.div_ceil(u128::from(self.get()))).unwrap_or(u64::MAX))
    }

    /// As a person reads it: exact where a few digits are, otherwise four significant digits.
    #[must_use]
    pub fn rounded(self) -> String {
        let exact = self.to_string();
        // `3598717948.717 kB/s` is exact, but nobody reads it.
        if exact.bytes().filter(u8::is_ascii_digit).count() <= quantity::READ_EXACTLY {
            exact
        } else {
            Self::shown(self.as_f64())
        }
    }

    /// That many bytes per second with four significant digits, in MB/s, GB/s or, from ten of them,
    /// TB/s.
    #[must_use]
    pub fn shown(bytes_per_second: f64) -> String {
        let (factor, unit) = match bytes_per_second {
            rate if rate >= 1e13 => (1e12, "TB/s"),
            rate if rate >= 1e9 => (1e9, "GB/s"),
            rate if rate >= 1e6 => (1e6, "MB/s"),
            rate if rate >= 1e3 => (1e3, "kB/s"),
            _ => (1.0, "B/s"),
        };
        format!("{} {unit}", quantity::significant(bytes_per_second / factor))
    }

    /// For ratios; exact up to 2^53 B/s.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.get() as f64
    }
}

impl FromStr for Bandwidth {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let limit = "at least 1 MB/s and at most 100 PB/s";
        let rate = u64::try_from(KIND.parse(text)?).map_err(|_| KIND.range(text, limit))?;
        match Self::new(rate) {
            Some(bandwidth) if (Self::MIN_INPUT..=Self::MAX_INPUT).contains(&rate) => Ok(bandwidth),
            _ => Err(KIND.range(text, limit)),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 4915 GB/s is how data sheets write it, not 4.915 TB/s: TB/s only from 10 of them.
        let most = if self.get() < 10_000_000_000_000 { 1_000_000_000 } else { u128::MAX };
        let end = KIND.units.partition_point(|(_, factor)| *factor <= most);
        f.pad(&quantity::exact(self.get(), &KIND.units[..end]))
    }
}

quantity::serialize_as_text!(Bandwidth);
quantity::deserialize_from_text!(Bandwidth, "a bandwidth such as \"900 GB/s\"");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_zero_and_bare_numbers() {
        for text in ["0 GB/s", "900", "900 GB", "900 GiB/s", "-1 GB/s", "1 B/s", "101 PB/s", "NaN", "inf GB/s"] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_as_data_sheets_do() {
        for text in ["4915 GB/s", "900 GB/s", "1.5 GB/s", "10 TB/s"] {
            assert_eq!(text.parse::<Bandwidth>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn people_read_four_digits() {
        for (rate, shown) in [
            (3_598_717_948_717, "3599 GB/s"),
            (900_000_000_000, "900 GB/s"),
            (4_915_000_000_000, "4915 GB/s"),
            (338_461_538_461, "338.5 GB/s"),
        ] {
            assert_eq!(Bandwidth::new(rate).unwrap().rounded(), shown);
        }
    }

    proptest! {
        #[test]
        fn printed_bandwidths_read_back(rate in Bandwidth::MIN_INPUT..=Bandwidth::MAX_INPUT) {
            let bandwidth = Bandwidth::new(rate).unwrap();
            prop_assert_eq!(bandwidth.to_string().parse::<Bandwidth>().unwrap(), bandwidth);
        }

        #[test]
        fn time_is_the_least_in_which_the_bytes_fit(rate in 1u64..1 << 50, bytes in 0u64..1 << 40) {
            let time = Bandwidth::new(rate).unwrap().time_for(Bytes::new(bytes));
            prop_assume!(time < SimTime::MAX);
            let carried = |ps: u64| u128::from(rate) * u128::from(ps);
            let needed = u128::from(bytes) * 1_000_000_000_000;
            prop_assert!(carried(time.as_ps()) >= needed);
            prop_assert!(time.as_ps() == 0 || carried(time.as_ps() - 1) < needed);
        }
    }
}
