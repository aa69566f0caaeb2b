//! The source of routing in a scenario, as a person writes it.

use crate::units::Ratio;
use crate::workload::trace::TraceError;
use crate::workload::union::{Popularity, Routing};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Where a scenario's routing comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExpertTraceConfig {
    /// Synthetic, by parameters.
    Generated(RoutingGeneratorConfig),
    /// Read from recorded routing: a trace with `kind: experts`.
    Recorded(RecordedRoutingConfig),
}

impl Default for ExpertTraceConfig {
    fn default() -> Self {
        Self::Generated(RoutingGeneratorConfig::default())
    }
}

/// The parameters of synthetic routing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "Generated", deny_unknown_fields)]
pub struct RoutingGeneratorConfig {
    /// How unequal the popularity of a layer's experts is: the i-th most popular has a weight of i
    /// to the power of minus this. 0: all alike. Not given: as the model says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponent: Option<f64>,
    /// The probability that a token keeps an expert of the token that took its place in the step
    /// before; the others are drawn anew, by popularity.
    pub persistence: Ratio,
    /// The probability that an expert follows from one of the layer before, by a mapping that is
    /// the same in all steps: what a predictor of the next layer's experts could know.
    pub correlation: Ratio,
    /// Same seed, same experts.
    #[serde(deserialize_with = "crate::config::count")]
    pub seed: u64,
}

/// Recorded routing and how it is made to fit a run, as a person writes it: the path of a file, or
/// `Recorded(file: "...", extend: Repeat)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename = "Recorded")]
pub struct RecordedRoutingConfig {
    /// A Parquet or JSON Lines file.
    pub file: PathBuf,
    /// What follows the last recorded step, and the last token of a step.
    pub extend: RoutingExtend,
    /// So many recorded steps are left out at the start.
    pub first_step: u32,
}

/// What follows the last recorded step, and the last recorded token of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoutingExtend {
    /// Nothing: a run of more steps, or of more tokens in a step, is refused.
    #[default]
    No,
    /// The recorded steps again. Where a step has more tokens than were recorded, a recorded token
    /// stands for several, each of another step.
    Repeat,
}

/// The fields, when they are spelled out.
#[derive(Deserialize)]
#[serde(rename = "Recorded", deny_unknown_fields)]
struct Fields {
    file: PathBuf,
    #[serde(default)]
    extend: RoutingExtend,
    #[serde(default, deserialize_with = "crate::config::count")]
    first_step: u32,
}

impl<'de> Deserialize<'de> for RecordedRoutingConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileOrFields;

        impl<'de> Visitor<'de> for FileOrFields {
            type Value = RecordedRoutingConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of recorded routing, or (file: \"...\", ...)")
            }

            fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<Self::Value, E> {
                Ok(RecordedRoutingConfig { file: file.into(), ..RecordedRoutingConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Fields { file, extend, first_step } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RecordedRoutingConfig { file, extend, first_step })
            }
        }

        deserializer.deserialize_any(FileOrFields)
    }
}

impl RoutingGeneratorConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// [`TraceError::Routing`], naming the field.
    pub fn check(&self) -> Result<(), TraceError> {
        let most = Routing::MAX_EXPONENT;
        match self.exponent {
            Some(exponent) if !(0.0..=most).contains(&exponent) => Err(TraceError::Routing {
                field: "exponent",
                value: exponent.to_string(),
                limit: format!("it must be a number from 0 (all experts alike) to {most}"),
            }),
            _ => Ok(()),
        }
    }

    /// How a layer routes under this configuration, which must be within its limits.
    #[must_use]
    pub fn applied(&self, routing: Routing) -> Routing {
        let popularity = self.exponent.map(Popularity::Zipf);
        popularity.and_then(|it| Routing::new(routing.count(), routing.active(), it)).unwrap_or(routing)
    }
}
