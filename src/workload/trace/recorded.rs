//! A recorded trace in a scenario: which file, and how it is made to fit the scenario's model and
//! length.

use super::LifelikeConfig;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A recorded trace and how it is made to fit a scenario, as a person writes it: the name of a
/// file, or `Recorded(file: "...", layer_map: Scale)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename = "Recorded")]
pub struct RecordedConfig {
    /// A Parquet, `.kvs` or JSON Lines file, or the name of a shipped trace.
    pub file: PathBuf,
    /// Which recorded layer each layer of the model takes its sets from.
    pub layer_map: LayerMap,
    /// What follows the last recorded step.
    pub extend: Extend,
    /// So many recorded steps are left out at the start; their tokens count as prefill.
    pub first_step: u32,
    /// So many tokens stand before the recorded ones; they are never skipped.
    pub prefill_offset: u32,
}

/// Which recorded layer a layer of the model takes its skip sets from, where the two differ in
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerMap {
    /// The one of the same number; a model with another number of layers is refused.
    #[default]
    Same,
    /// The one at the same depth: layer l of M takes recorded layer floor(l * R / M) of R.
    Scale,
    /// The recorded layers over and over: layer l takes recorded layer l mod R.
    Repeat,
}

impl LayerMap {
    /// Each with its name.
    pub const ALL: [(&str, Self); 3] = [("Same", Self::Same), ("Scale", Self::Scale), ("Repeat", Self::Repeat)];

    /// The recorded layer for `layer` of `layers`.
    #[must_use]
    pub fn source(self, layer: usize, layers: usize, recorded: usize) -> usize {
        match self {
            Self::Same => layer,
            Self::Scale => layer * recorded / layers,
            Self::Repeat => layer % recorded,
        }
    }
}

/// What follows the last recorded step of a trace that is shorter than the decode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Extend {
    /// Nothing: such a trace is refused.
    #[default]
    No,
    /// The recorded steps again. In each further pass the recorded tokens stand for tokens that are
    /// as many later as the passes before it had steps; the tokens before them stay as they were in
    /// the last step of the pass before.
    Repeat,
    /// Synthetic steps like the recorded ones: a [`Lifelike`](super::Lifelike) fitted to the trace,
    /// which goes on from the last recorded step. The resolved scenario has it spelled out, as
    /// `Like`.
    Statistics,
    /// The steps of this generator, which goes on from the last recorded step.
    Like(LifelikeConfig),
}

impl Extend {
    /// Those that need no more than their name.
    pub const NAMED: [(&str, Self); 3] = [("No", Self::No), ("Repeat", Self::Repeat), ("Statistics", Self::Statistics)];
}

macro_rules! from_name {
    ($kind:ty, $list:expr) => {
        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $list.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                found.map(|(_, value)| value).ok_or_else(|| {
                    let names: Vec<&str> = $list.iter().map(|(name, _)| *name).collect();
                    format!("there is no '{text}': use one of {}", names.join(", "))
                })
            }
        }
    };
}

from_name!(LayerMap, LayerMap::ALL);
from_name!(Extend, Extend::NAMED);

impl From<PathBuf> for RecordedConfig {
    fn from(file: PathBuf) -> Self {
        Self { file, ..Self::default() }
    }
}

/// The fields, when they are spelled out.
#[derive(Deserialize)]
#[serde(rename = "Recorded", deny_unknown_fields)]
struct Fields {
    file: PathBuf,
    #[serde(default)]
    layer_map: LayerMap,
    #[serde(default)]
    extend: Extend,
    #[serde(default, deserialize_with = "crate::config::count")]
    first_step: u32,
    #[serde(default, deserialize_with = "crate::config::count")]
    prefill_offset: u32,
}

impl<'de> Deserialize<'de> for RecordedConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileOrFields;

        impl<'de> Visitor<'de> for FileOrFields {
            type Value = RecordedConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a trace's name or path, or (file: \"...\", ...)")
            }

            fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<Self::Value, E> {
                Ok(PathBuf::from(file).into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Fields { file, layer_map, extend, first_step, prefill_offset } =
                    Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RecordedConfig { file, layer_map, extend, first_step, prefill_offset })
            }
        }

        deserializer.deserialize_any(FileOrFields)
    }
}
