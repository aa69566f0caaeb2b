use super::quantity::{self, Kind, QuantityError};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

/// A number of bytes, exact.
///
/// Read from text as people write sizes: `"4GiB"`, `"512 MiB"`, `"1.5 GB"`, or a bare number of bytes. A size that
/// falls between two bytes is rounded to the nearest. Printed in the largest unit that loses nothing, so that what is
/// printed reads back as the same size.
///
/// ```
/// use tiersim::units::Bytes;
/// let hbm: Bytes = "4 GiB".parse()?;
/// assert_eq!(hbm.get(), 4 << 30);
/// assert_eq!(hbm.to_string(), "4 GiB");
/// # Ok::<(), tiersim::units::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

const KIND: Kind = Kind {
    what: "size",
    example: "\"4GiB\"",
    units: &[
        ("", 1),
        ("B", 1),
        ("KB", 1_000),
        ("kB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("TB", 1_000_000_000_000),
        ("TiB", 1 << 40),
        ("PB", 1_000_000_000_000_000),
        ("PiB", 1 << 50),
    ],
};

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// The largest size that is accepted as input: 64 PiB. Sums of a few such still fit a `u64`.
    pub const MAX_INPUT: Self = Self(1 << 56);

    /// `count` bytes.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// `self` taken `count` times.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0 * count)
    }

    /// What is left when `other` is taken away, or nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self * part / whole`, to the nearest byte, halves up; `whole` must not be 0.
    #[must_use]
    pub fn share(self, part: u128, whole: u128) -> Self {
        let exact = u128::from(self.0) * part;
        Self(u64::try_from((2 * exact + whole) / (2 * whole)).unwrap_or(u64::MAX))
    }

    /// How often `unit` fits, whole.
    #[must_use]
    pub const fn whole_units(self, unit: Self) -> u64 {
        self.0 / unit.0
    }

    /// As a person reads it: at most one decimal of the largest binary unit that it reaches.
    #[must_use]
    pub fn rounded(self) -> String {
        let units =
            [("B", 1u64), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50)];
        let (name, factor) = units.into_iter().rfind(|(_, factor)| self.0 >= *factor).unwrap_or(units[0]);
        let text = format!("{:.1}", self.0 as f64 / factor as f64);
        format!("{} {name}", text.trim_end_matches(".0"))
    }

    /// For ratios and axes; exact up to 2^53.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match u64::try_from(KIND.parse(text)?) {
            Ok(count) if count <= Self::MAX_INPUT.0 => Ok(Self(count)),
            _ => Err(KIND.range(text, format!("at most {}", Self::MAX_INPUT))),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&quantity::exact(self.0, KIND.units))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl SubAssign for Bytes {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

quantity::serialize_as_text!(Bytes);
quantity::deserialize_from_text!(Bytes, "a size such as \"4GiB\", or a number of bytes");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            (" 4 GiB ", 4 << 30),
            ("1.5 kB", 1_500),
            ("1_000 B", 1_000),
            ("768", 768),
            ("0.3 B", 0),
            ("0.5 B", 1),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap().get(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "GiB", "-4GiB", "4 Gb", "4 gib", "1.2.3 B", "99999999 PiB", "65 PiB", "4 GB/s"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn share_rounds_halves_up() {
        assert_eq!(Bytes::new(5).share(1, 2), Bytes::new(3));
        assert_eq!(Bytes::new(4).share(1, 3), Bytes::new(1));
    }

    proptest! {
        #[test]
        fn printed_sizes_read_back(count in 0u64..=1 << 56) {
            let size = Bytes::new(count);
            prop_assert_eq!(size.to_string().parse::<Bytes>().unwrap(), size);
        }
    }
}
