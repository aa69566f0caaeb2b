//! The numbers that a page has sliders for: one table, which bounds what a request may ask for.

use super::error::Refused;
use serde::Serialize;

/// The most strategies, or machines of a map, side by side.
pub const MAX_SIDE_BY_SIDE: usize = 4;
/// The most steps that are simulated of a setting.
pub const MAX_STEPS: u32 = 1024;
/// The most cells of a map.
pub const MAX_CELLS: usize = 400;
/// The most tokens of all sequences together: more take seconds a step.
pub const MAX_TOKENS: u64 = 8 << 20;
/// The most steps in which prompts are computed.
pub const MAX_PROMPT_STEPS: u64 = 4096;

/// How a slider goes from the least value to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// At equal ratios.
    Log,
    /// At equal distances.
    Linear,
    /// From one listed value to the next; a request may have those between.
    List,
}

/// A number of the state.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Its name in the state.
    pub name: &'static str,
    /// Its path in a scenario, as `--set` takes it.
    pub path: &'static str,
    /// What a page calls it.
    pub label: &'static str,
    /// `tokens`, `sequences`, `share`, `bytes`, `bytes/s`.
    pub unit: &'static str,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// How a slider divides the values.
    pub scale: Scale,
    /// The values of a list.
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    pub values: &'static [f64],
}

const fn field(name: &'static str, path: &'static str, label: &'static str, unit: &'static str) -> Field {
    Field { name, path, label, unit, min: 0.0, max: 0.0, scale: Scale::Log, values: &[] }
}

impl Field {
    const fn between(self, min: f64, max: f64, scale: Scale) -> Self {
        Self { min, max, scale, ..self }
    }

    const fn listed(self, min: f64, max: f64, values: &'static [f64]) -> Self {
        Self { min, max, scale: Scale::List, values, ..self }
    }
}

/// All of them, in the order of the page.
pub const FIELDS: [Field; 8] = [
    field("prefill", "prefill_tokens", "context", "tokens").between(128.0, 1_048_576.0, Scale::Log),
    field("batch", "batch", "batch", "sequences").between(1.0, 256.0, Scale::Log),
    field("skip", "trace.skip", "tokens skipped", "share").between(0.0, 0.95, Scale::Linear),
    field("hbm_capacity", "memory.tiers.0.capacity", "HBM capacity", "bytes").between(1e8, 2e12, Scale::Log),
    field("link_bandwidth", "memory.tiers.LINKED.link.read+write", "link bandwidth", "bytes/s").between(
        1e9,
        4e12,
        Scale::Log,
    ),
    field("hbm_bandwidth", "memory.tiers.0.bandwidth", "HBM bandwidth", "bytes/s").between(1e10, 4e13, Scale::Log),
    field("page_tokens", "page_tokens", "page", "tokens").listed(
        1.0,
        256.0,
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
    ),
    field("prefill_chunk", "prefill.chunk_tokens", "chunk of prompts", "tokens").listed(
        0.0,
        65_536.0,
        &[0.0, 512.0, 2048.0, 8192.0],
    ),
];

/// The field of that name.
pub fn field_named(name: &str) -> Option<&'static Field> {
    static ALL: [Field; 8] = FIELDS;
    ALL.iter().find(|field| field.name == name)
}

/// Refuses a value outside the bounds of the field of that name, or outside those that the scenario
/// starts with.
pub fn check(name: &'static str, value: f64, own: Option<f64>) -> Result<(), Refused> {
    let Some(field) = field_named(name) else { return Ok(()) };
    if (field.min..=field.max).contains(&value) || Some(value) == own {
        return Ok(());
    }
    let Field { label, unit, min, max, .. } = field;
    Err(Refused::value(name, format!("{label}: {value} is out of bounds: write {min} to {max} {unit}")))
}
