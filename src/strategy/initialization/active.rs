//! The share of the tokens that a step reads, as a layout assumes it before the first step.

use super::Layout;
use crate::units::{QuantityError, Ratio};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The share of the tokens that an initialization assumes to be read in each step: it decides
/// whether a byte of KV is read more often than a byte of weights, and so which of them belongs in
/// HBM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Active {
    /// What the trace itself reads: what its generator's `skip` leaves, or measured over the first
    /// steps of a recorded trace, and of any trace where KV is kept in pages of several tokens (a
    /// page is read if one of its tokens is).
    #[default]
    Auto,
    /// This share, whatever the trace reads.
    Share(Ratio),
}

impl Active {
    /// The share to assume for `layout`.
    pub(super) fn of(self, layout: &Layout<'_>) -> f64 {
        match self {
            Self::Auto => layout.read_share(),
            Self::Share(share) => share.as_f64(),
        }
    }
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("Auto"),
            Self::Share(share) => share.fmt(f),
        }
    }
}

impl FromStr for Active {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.trim().eq_ignore_ascii_case("auto") { Ok(Self::Auto) } else { text.parse().map(Self::Share) }
    }
}

impl Serialize for Active {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("Auto"),
            Self::Share(share) => share.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Active {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrShare;
        impl Visitor<'_> for AutoOrShare {
            type Value = Active;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Auto, or the share of the tokens that a step reads: 0.4 or \"40%\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Active, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: serde::de::Error>(self, share: f64) -> Result<Active, E> {
                self.visit_str(&share.to_string())
            }

            fn visit_u64<E: serde::de::Error>(self, share: u64) -> Result<Active, E> {
                self.visit_str(&share.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, share: i64) -> Result<Active, E> {
                self.visit_str(&share.to_string())
            }
        }
        deserializer.deserialize_any(AutoOrShare)
    }
}

#[cfg(test)]
mod tests {
    use crate::strategy::InitializationKind;

    #[test]
    fn a_share_or_auto() {
        let kind = |text: &str| text.parse::<InitializationKind>();
        assert_eq!(kind("ByRoom").unwrap(), kind("ByRoom(active: Auto)").unwrap());
        assert_eq!(kind("ByRoom(active: 1)").unwrap().to_string(), "ByRoom(active: 1.0)");
        assert_eq!(kind("ByRoom(active: 5%)").unwrap(), kind("ByRoom(active: 0.05)").unwrap());
        for text in ["ByRoom(active: -1)", "ByRoom(active: 2)", "ByRoom(active: always)", "DensityFirst(active: true)"]
        {
            let message = kind(text).unwrap_err().to_string();
            assert!(message.contains("active"), "{message}");
        }
        let kind = kind("DensityFirst(active: 40%)").unwrap();
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<InitializationKind>(&json).unwrap(), kind, "{json}");
    }
}
