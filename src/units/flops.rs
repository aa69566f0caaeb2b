use super::quantity::{self, Kind, QuantityError};
use std::fmt;
use std::str::FromStr;

/// Floating-point operations a second; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlopRate(u64);

const KIND: Kind = Kind {
    what: "compute rate",
    example: "\"990 TFLOP/s\"",
    units: &[("GFLOP/s", 1_000_000_000), ("TFLOP/s", 1_000_000_000_000), ("PFLOP/s", 1_000_000_000_000_000)],
};

impl FlopRate {
    /// FLOP a second; exact up to 2^53.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl FromStr for FlopRate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match u64::try_from(KIND.parse(text)?) {
            Ok(rate @ 1_000_000_000..=10_000_000_000_000_000_000) => Ok(Self(rate)),
            _ => Err(KIND.range(text, "at least 1 GFLOP/s and at most 10000 PFLOP/s")),
        }
    }
}

impl fmt::Display for FlopRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&quantity::exact(self.0, KIND.units))
    }
}

quantity::serialize_as_text!(FlopRate);
quantity::deserialize_from_text!(FlopRate, "a compute rate such as \"990 TFLOP/s\"");
