use super::quantity::{self, Kind, QuantityError};
use std::fmt;
use std::str::FromStr;

/// A share between 0 and 1, in billionths, so that `floor(ratio * count)` is what a person
/// computes: 0.29 of 100 is 29, though no float is 0.29.
///
/// ```
/// use tiersim::units::Ratio;
/// let skip: Ratio = "0.29".parse()?;
/// assert_eq!(skip.floor_of(100), 29);
/// assert_eq!("40%".parse::<Ratio>()?, "0.4".parse()?);
/// # Ok::<(), tiersim::units::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

const BILLION: u64 = 1_000_000_000;

const KIND: Kind =
    Kind { what: "ratio", example: "0.4 or \"40%\"", units: &[("", BILLION as u128), ("%", BILLION as u128 / 100)] };

impl Ratio {
    /// `permille` thousandths; `None` above 1000.
    #[must_use]
    pub const fn from_permille(permille: u32) -> Option<Self> {
        if permille > 1000 { None } else { Some(Self(permille * 1_000_000)) }
    }

    /// The whole.
    pub const ONE: Self = Self(BILLION as u32);

    /// Both shares together, at most the whole.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        let sum = self.0.saturating_add(other.0);
        if sum > Self::ONE.0 { Self::ONE } else { Self(sum) }
    }

    /// What of this share another one leaves, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many billionths: the share without rounding.
    #[must_use]
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// The whole part of this share of `count`.
    #[must_use]
    pub const fn floor_of(self, count: u64) -> u64 {
        (self.0 as u128 * count as u128 / BILLION as u128) as u64
    }

    /// This share of `count`, to the nearest whole, halves up.
    #[must_use]
    pub const fn round_of(self, count: u64) -> u64 {
        ((self.0 as u128 * count as u128 + BILLION as u128 / 2) / BILLION as u128) as u64
    }

    /// As a float between 0 and 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / BILLION as f64
    }

    /// In percent, for names and titles: `40`, `12.5`.
    #[must_use]
    pub fn percent(self) -> String {
        format!("{}", f64::from(self.0) / (BILLION / 100) as f64)
    }
}

impl FromStr for Ratio {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match u32::try_from(KIND.parse(text)?) {
            Ok(billionths) if u64::from(billionths) <= BILLION => Ok(Self(billionths)),
            _ => Err(KIND.range(text, "between 0 and 1")),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_f64().to_string())
    }
}

impl serde::Serialize for Ratio {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

quantity::deserialize_from_text!(Ratio, "a ratio between 0 and 1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_and_rounds_exactly() {
        let ratio: Ratio = "0.7".parse().unwrap();
        assert_eq!(ratio.floor_of(10), 7);
        assert_eq!(ratio.round_of(5), 4);
        assert_eq!("1".parse::<Ratio>().unwrap().floor_of(u64::MAX), u64::MAX);
    }

    #[test]
    fn refuses_what_is_outside() {
        for text in ["1.01", "-0.1", "101%", "NaN", "inf", "0.4x"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }
}
