//! Sizes, in bytes: exact integers, read and printed in binary and decimal units.

use super::quantity::{self, Kind, QuantityError};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

/// A number of bytes, exact.
///
/// Read from text as people write sizes: `"4GiB"`, `"512 MiB"`, `"1.5 GB"`. Only 0 needs no unit. A
/// size that falls between two bytes is rounded to the nearest. Displayed in the largest unit that
/// loses nothing, so that the text reads back as the same size; [`rounded`](Self::rounded) is for
/// people.
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

    /// `self` times `count`.
    ///
    /// # Panics
    /// In debug builds, if the product does not fit a `u64`: sizes are checked at the edge so that
    /// it does.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0 * count)
    }

    /// `self` less `other`, or nothing where that is more.
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

    /// How many whole `unit`s fit.
    ///
    /// # Panics
    /// If `unit` is no bytes.
    #[must_use]
    pub const fn whole_units(self, unit: Self) -> u64 {
        self.0 / unit.0
    }

    /// For ratios and axes; exact up to 2^53.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// The units that this size was most likely typed in: decimal for `96 GB`, binary for `4 GiB`
    /// and for what no unit holds in three decimals.
    #[must_use]
    pub fn style(self) -> SizeStyle {
        let text = self.to_string();
        let decimal = text.ends_with("kB") || text.ends_with("MB") || text.ends_with("GB");
        if decimal || text.ends_with("TB") || text.ends_with("PB") { SizeStyle::Decimal } else { SizeStyle::Binary }
    }

    /// As a person reads it: exact where a few digits are, otherwise four significant digits in the
    /// units of [`style`](Self::style).
    #[must_use]
    pub fn rounded(self) -> String {
        let exact = self.to_string();
        // `464346720 KiB` is exact, but nobody reads it.
        let short = exact.bytes().filter(u8::is_ascii_digit).count() <= quantity::READ_EXACTLY;
        if short { exact } else { self.rounded_in(self.style()) }
    }

    /// Four significant digits and the unit of that style that fits: for sizes beside others, such
    /// as those of tiers whose capacities have that style.
    #[must_use]
    pub fn rounded_in(self, style: SizeStyle) -> String {
        style.shown(self.as_f64())
    }
}

/// Powers of 2 or of 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeStyle {
    /// KiB, MiB, GiB, TiB.
    Binary,
    /// kB, MB, GB, TB.
    Decimal,
}

impl SizeStyle {
    /// The units, the smallest first, with their bytes.
    #[must_use]
    pub const fn units(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Binary => &[
                (1.0, "B"),
                (1024.0, "KiB"),
                (1_048_576.0, "MiB"),
                (1_073_741_824.0, "GiB"),
                (1_099_511_627_776.0, "TiB"),
                (1_125_899_906_842_624.0, "PiB"),
            ],
            Self::Decimal => &[(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"), (1e15, "PB")],
        }
    }

    /// So many bytes with four significant digits, and the unit that fits.
    #[must_use]
    pub fn shown(self, bytes: f64) -> String {
        let units = self.units();
        let (factor, name) = units.iter().rfind(|(factor, _)| bytes.abs() >= *factor).unwrap_or(&units[0]);
        format!("{} {name}", quantity::significant(bytes / factor))
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
quantity::deserialize_from_text!(Bytes, "a size such as \"4GiB\"");

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
            ("0", 0),
            ("0.3 B", 0),
            ("0.5 B", 1),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap().get(), bytes, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in
            ["", "GiB", "-4GiB", "4 Gb", "4 gib", "1.2.3 B", "99999999 PiB", "65 PiB", "4 GB/s", "4", "768", "0.5"]
        {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn people_read_the_units_that_they_typed() {
        for (typed, shown) in [
            ("96 GB", "96 GB"),
            ("4GiB", "4 GiB"),
            ("0 B", "0 B"),
            ("475491041280 B", "442.8 GiB"),
            ("464346720 KiB", "442.8 GiB"),
            ("1.234567 GB", "1.235 GB"),
            ("10240 MB", "10.24 GB"),
        ] {
            assert_eq!(typed.parse::<Bytes>().unwrap().rounded(), shown, "{typed}");
        }
        let peak: Bytes = "98765432100 B".parse().unwrap();
        assert_eq!(peak.rounded_in(SizeStyle::Decimal), "98.77 GB");
        assert_eq!(peak.rounded_in(SizeStyle::Binary), "91.98 GiB");
        assert_eq!("480 GB".parse::<Bytes>().unwrap().style(), SizeStyle::Decimal);
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
