use crate::memory::MemorySystem;
use crate::units::{Bytes, QuantityError, Ratio, SimTime};
use std::fmt;
use std::str::FromStr;

/// The most that migration may move in a step: `64MiB`, or `25%` of the read bandwidth of the
/// slowest tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// So many bytes.
    Bytes(Bytes),
    /// This share of the read bandwidth of the slowest tier, for as long as the step before took;
    /// nothing in the first step.
    Share(Ratio),
}

impl Budget {
    /// How many bytes may move in a step, if the step before took `before`. Rounded down.
    #[must_use]
    pub fn bytes(self, system: &MemorySystem, before: SimTime) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => {
                let bandwidth = system.tiers()[system.last_tier().index()].read_bandwidth;
                let whole =
                    u128::from(bandwidth.get()) * u128::from(before.as_ps()) / u128::from(SimTime::PS_PER_SECOND);
                Bytes::new(share.floor_of(u64::try_from(whole).unwrap_or(u64::MAX)))
            }
        }
    }
}

impl FromStr for Budget {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.trim_end().ends_with('%') { text.parse().map(Self::Share) } else { text.parse().map(Self::Bytes) }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.pad(&bytes.to_string()),
            Self::Share(share) => f.pad(&format!("{}%", share.percent())),
        }
    }
}

impl serde::Serialize for Budget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Budget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// A budget as it is written: text, or a share as a number, as ranges of shares have it.
struct Written;

impl serde::de::Visitor<'_> for Written {
    type Value = Budget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes (\"64MiB\") or a share (\"25%\", 0.25)")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Budget, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, share: f64) -> Result<Budget, E> {
        share.to_string().parse().map(Budget::Share).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_text_or_a_share() {
        let read = |json: &str| serde_json::from_str::<Budget>(json);
        assert_eq!(read("0.25").unwrap(), Budget::Share("25%".parse().unwrap()));
        assert_eq!(read("\"25%\"").unwrap(), read("0.25").unwrap());
        assert_eq!(read("\"64MiB\"").unwrap(), Budget::Bytes(Bytes::new(64 << 20)));
        // A whole number might be bytes or a share.
        for wrong in ["1", "1.5", "-0.5", "\"64\"", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
