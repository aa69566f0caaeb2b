//! Compute: how long a stage computes, beside its reads.

use crate::units::{Bytes, FlopRate, SimTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How fast the chip computes, as a person writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Roofline", deny_unknown_fields)]
pub struct ComputeConfig {
    /// `"990 TFLOP/s"`.
    pub rate: FlopRate,
    /// FLOP for each byte of weights read: 2 for each parameter, so 1 at FP16 and one sequence.
    pub flop_per_weight_byte: f64,
    /// FLOP for each byte of KV read: 4 for each element pair and query head, so query heads over
    /// KV heads at FP16.
    pub flop_per_kv_byte: f64,
}

/// A roofline that makes no sense.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("compute.{field}: {value} FLOP a byte: it must be a number from 0 to 1e9")]
pub struct ComputeError {
    /// Which field.
    pub field: &'static str,
    /// What it says.
    pub value: f64,
}

/// How long a stage computes, whatever memory does: FLOP over FLOP/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    ps_per_weight_byte: f64,
    ps_per_kv_byte: f64,
    ps_per_flop: f64,
}

impl Roofline {
    /// Checks `config`.
    ///
    /// # Errors
    /// [`ComputeError`] for what is not a number, negative or above 10^9.
    pub fn new(config: &ComputeConfig) -> Result<Self, ComputeError> {
        let ps_per_byte = |field: &'static str, value: f64| {
            if (0.0..=1e9).contains(&value) {
                Ok(value * SimTime::PS_PER_SECOND as f64 / config.rate.as_f64())
            } else {
                Err(ComputeError { field, value })
            }
        };
        Ok(Self {
            ps_per_weight_byte: ps_per_byte("flop_per_weight_byte", config.flop_per_weight_byte)?,
            ps_per_kv_byte: ps_per_byte("flop_per_kv_byte", config.flop_per_kv_byte)?,
            ps_per_flop: SimTime::PS_PER_SECOND as f64 / config.rate.as_f64(),
        })
    }

    /// The compute time of a stage that reads so many bytes of weights and KV and takes `flop` FLOP
    /// besides those that follow from these, in picoseconds, not rounded.
    pub(crate) fn picoseconds(&self, weights: f64, kv: f64, flop: f64) -> f64 {
        weights * self.ps_per_weight_byte + kv * self.ps_per_kv_byte + flop * self.ps_per_flop
    }

    /// The compute time of a stage that reads so much and takes `flop` FLOP besides those that
    /// follow from the bytes, rounded up.
    #[must_use]
    pub fn time_for(&self, weights: Bytes, kv: Bytes, flop: f64) -> SimTime {
        // A cast from float saturates: what is past the end of the clock never ends.
        SimTime::from_ps(self.picoseconds(weights.as_f64(), kv.as_f64(), flop).ceil() as u64)
    }
}
