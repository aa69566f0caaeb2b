//! Compute: how long a stage computes, beside its reads.
//!
//! The FLOP of a model with an architecture follow from its shapes
//! ([`ModelStage`](super::ModelStage)). Those of a model in bytes are those of the bytes that it
//! reads, by two factors that a person gives.

use super::LanguageModel;
use crate::units::{Bytes, FlopRate, SimTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How fast the chip computes, as a person writes it.
///
/// The two factors are for models in bytes, and left out for a model with an architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Roofline", deny_unknown_fields)]
pub struct ComputeConfig {
    /// `"990 TFLOP/s"`.
    pub rate: FlopRate,
    /// FLOP of each token for each byte of weights read: 2 for each parameter, so 1 at FP16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flop_per_weight_byte: Option<f64>,
    /// FLOP of each token for each byte of KV that it attends to: 4 for each element pair and query
    /// head, so query heads over KV heads at FP16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flop_per_kv_byte: Option<f64>,
}

/// A roofline that makes no sense.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum ComputeError {
    #[error("compute.{field}: {value} FLOP a byte: it must be a number from 0 to 1e9")]
    Range { field: &'static str, value: f64 },
    #[error("compute.{field}: it is missing: the model gives its layers in bytes, so write the FLOP of each byte read")]
    Missing { field: &'static str },
    #[error("compute.{field}: {value} FLOP a byte, but the FLOP follow from the model's architecture: leave it out")]
    Known { field: &'static str, value: f64 },
}

/// What a stage computes besides what follows from the roofline's own factors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageFlop {
    /// FLOP whatever it reads.
    pub fixed: f64,
    /// FLOP for each byte of KV that a token attends to.
    pub per_kv_byte: f64,
    /// Bytes of KV that its tokens attend to without reading them, those of each token added up:
    /// they are on the chip, as they are computed in the same step.
    pub kv_on_chip: f64,
}

/// How long a stage computes, whatever memory does: FLOP over FLOP/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    ps_per_weight_byte: f64,
    ps_per_kv_byte: f64,
    ps_per_flop: f64,
}

impl Roofline {
    /// Checks `config` for stages of `model`.
    ///
    /// # Errors
    /// [`ComputeError`] for what is not a number, negative or above 10^9, for a factor that a model
    /// in bytes needs and for one that a model with an architecture has no use for.
    pub fn new(config: &ComputeConfig, model: &LanguageModel) -> Result<Self, ComputeError> {
        let ps_per_byte = |field: &'static str, value: Option<f64>| match (value, model.has_flop()) {
            (None, true) => Ok(0.0),
            (None, false) => Err(ComputeError::Missing { field }),
            (Some(value), true) => Err(ComputeError::Known { field, value }),
            (Some(value), false) if (0.0..=1e9).contains(&value) => {
                Ok(value * SimTime::PS_PER_SECOND as f64 / config.rate.as_f64())
            }
            (Some(value), false) => Err(ComputeError::Range { field, value }),
        };
        Ok(Self {
            ps_per_weight_byte: ps_per_byte("flop_per_weight_byte", config.flop_per_weight_byte)?,
            ps_per_kv_byte: ps_per_byte("flop_per_kv_byte", config.flop_per_kv_byte)?,
            ps_per_flop: SimTime::PS_PER_SECOND as f64 / config.rate.as_f64(),
        })
    }

    /// The compute time of a stage of so many tokens that reads so many bytes of weights, whose
    /// tokens attend to so many bytes of KV that is read (those of each token, added up), and that
    /// takes `flop` besides what follows from these, in picoseconds, not rounded.
    pub(crate) fn picoseconds(&self, tokens: usize, weights: f64, kv: f64, flop: StageFlop) -> f64 {
        tokens as f64 * weights * self.ps_per_weight_byte
            + (kv + flop.kv_on_chip) * (self.ps_per_kv_byte + flop.per_kv_byte * self.ps_per_flop)
            + flop.fixed * self.ps_per_flop
    }

    /// The compute time of a stage of so many tokens that reads so much weight, whose tokens attend
    /// to so much KV and that takes `flop` besides what follows from the bytes, rounded up.
    #[must_use]
    pub fn time_for(&self, tokens: usize, weights: Bytes, kv: Bytes, flop: StageFlop) -> SimTime {
        // A cast from float saturates: what is past the end of the clock never ends.
        SimTime::from_ps(self.picoseconds(tokens, weights.as_f64(), kv.as_f64(), flop).ceil() as u64)
    }
}
