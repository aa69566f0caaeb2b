//! The models, memory systems, scenarios and traces that are shipped with tiersim: part of the binary, so that it
//! works alone. Wherever a name is accepted, so is the path of a file of one's own.

use crate::config::{self, ConfigError};
use crate::memory::{MemoryConfig, MemorySystem};
use crate::workload::{LanguageModel, ModelConfig, TraceConfig};
use serde::de::DeserializeOwned;
use std::path::Path;

/// One shipped file.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// The name by which it is used.
    pub name: &'static str,
    /// Where it lies in the source tree.
    pub path: &'static str,
    /// What it says.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal => $path:literal),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            path: $path,
            text: include_str!(concat!("../", $path)),
        }),+]
    };
}

/// The language models.
pub const MODELS: &[Shipped] = shipped! {
    "study" => "models/llm/study.ron",
    "published" => "models/llm/published.ron",
    "smollm2-135m" => "models/llm/smollm2-135m.ron",
    "llama-3.1-70b" => "models/llm/llama-3.1-70b.ron",
    "qwen3-235b-a22b" => "models/llm/qwen3-235b-a22b.ron",
};

/// The memory systems.
pub const MEMORY_SYSTEMS: &[Shipped] = shipped! {
    "study" => "models/memory/study.ron",
    "gh200" => "models/memory/gh200.ron",
    "gb200" => "models/memory/gb200.ron",
    "h100-pcie" => "models/memory/h100-pcie.ron",
    "h200-pcie" => "models/memory/h200-pcie.ron",
    "a100" => "models/memory/a100.ron",
    "mi300a" => "models/memory/mi300a.ron",
    "rtx3090" => "models/memory/rtx3090.ron",
    "rtx4090" => "models/memory/rtx4090.ron",
    "rtx5090" => "models/memory/rtx5090.ron",
    "dgx-spark" => "models/memory/dgx-spark.ron",
    "m2-ultra" => "models/memory/m2-ultra.ron",
    "m4-max" => "models/memory/m4-max.ron",
    "cxl-box" => "models/memory/cxl-box.ron",
    "laptop" => "models/memory/laptop.ron",
    "phone" => "models/memory/phone.ron",
    "hbm-lpddr-cxl" => "models/memory/hbm-lpddr-cxl.ron",
    "hbm-dram-nvme" => "models/memory/hbm-dram-nvme.ron",
};

/// The scenarios.
pub const SCENARIOS: &[Shipped] = shipped! {
    "study" => "models/scenarios/study.ron",
    "recorded" => "models/scenarios/recorded.ron",
    "gh200" => "models/scenarios/gh200.ron",
};

/// The sweeps.
pub const SWEEPS: &[Shipped] = shipped! {
    "hbm-or-link" => "models/sweeps/hbm-or-link.ron",
    "skip-and-migration" => "models/sweeps/skip-and-migration.ron",
    "gh200-hbm-or-link" => "models/sweeps/gh200-hbm-or-link.ron",
    "gh200-skip-and-migration" => "models/sweeps/gh200-skip-and-migration.ron",
    "strategies" => "models/sweeps/strategies.ron",
    "every-strategy" => "models/sweeps/every-strategy.ron",
    "experts-and-dense" => "models/sweeps/experts-and-dense.ron",
};

/// The recorded traces: name, what it is, and its bytes.
pub const TRACES: &[(&str, &str, &[u8])] = &[(
    "python_heapq_skip40",
    "320 steps of SmolLM2-135M's attention on CPython's heapq.py, 512 tokens before step 0, 40 % skipped",
    include_bytes!("../traces/python_heapq_skip40.parquet"),
)];

/// The settings of generators of skip sets.
pub const GENERATORS: &[Shipped] = shipped! {
    "study-skip40" => "traces/study-skip40.ron",
    "like-recorded-40" => "traces/like-recorded-40.ron",
};

/// The bytes of the shipped trace of that name.
#[must_use]
pub fn trace(name: &str) -> Option<&'static [u8]> {
    TRACES.iter().find(|(known, _, _)| *known == name).map(|(_, _, bytes)| *bytes)
}

/// The language model of that name or path.
///
/// # Errors
/// [`ConfigError`] if there is none or its file is not right.
pub fn model(name_or_path: &str) -> Result<ModelConfig, ConfigError> {
    let (config, origin) = load("model", FileKind::Model, name_or_path)?;
    LanguageModel::new(&config).map_err(|error| meaning(origin, &error))?;
    Ok(config)
}

/// The memory system of that name or path.
///
/// # Errors
/// [`ConfigError`] if there is none or its file is not right.
pub fn memory(name_or_path: &str) -> Result<MemoryConfig, ConfigError> {
    let (config, origin) = load("memory system", FileKind::Memory, name_or_path)?;
    MemorySystem::new(&config).map_err(|error| meaning(origin, &error))?;
    Ok(config)
}

/// The generator of that name or path of a RON file; `None` where it is neither, so that it must be a trace.
///
/// # Errors
/// [`ConfigError`] if its file is not right.
pub fn generator(name_or_path: &str) -> Result<Option<TraceConfig>, ConfigError> {
    let shipped = GENERATORS.iter().any(|file| file.name == name_or_path);
    if !shipped && Path::new(name_or_path).extension().is_none_or(|ending| ending != "ron") {
        return Ok(None);
    }
    let (config, origin) = load("generator", FileKind::Generator, name_or_path)?;
    if let TraceConfig::Recorded(_) = config {
        let message = "a generator starts with Generated( or Lifelike(".to_owned();
        return Err(ConfigError::Meaning { origin, message });
    }
    Ok(Some(config))
}

/// What a configuration file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A language model.
    Model,
    /// A memory system.
    Memory,
    /// A scenario.
    Scenario,
    /// A sweep.
    Sweep,
    /// A generator of skip sets.
    Generator,
}

impl FileKind {
    const ALL: [Self; 5] = [Self::Sweep, Self::Model, Self::Scenario, Self::Memory, Self::Generator];

    /// What a file says: the name that it starts with or, failing that, the kind whose fields it
    /// has.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let code = || text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
        let first = code().find(|line| !line.is_empty() && !line.starts_with("#!"))?;
        let starts = |kind: &Self| kind.starts().iter().any(|name| first.starts_with(name));
        let named = first.starts_with(|c: char| c.is_alphabetic());
        let has = |kind: &Self| code().any(|line| kind.field().is_some_and(|field| line.contains(field)));
        let found = Self::ALL.iter().find(|kind| starts(kind));
        found.or_else(|| Self::ALL.iter().find(|kind| !named && has(kind))).copied()
    }

    fn starts(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["LanguageModel"],
            Self::Memory => &["MemorySystem"],
            Self::Scenario => &["Scenario"],
            Self::Sweep => &["Sweep"],
            Self::Generator => &["Generated", "Lifelike"],
        }
    }

    /// A field that no other kind has.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::Model => Some("kv_bytes:"),
            Self::Memory => Some("tiers:"),
            Self::Scenario => Some("decode_tokens:"),
            Self::Sweep => Some("axes:"),
            Self::Generator => None,
        }
    }

    /// The shipped files of this kind.
    #[must_use]
    pub const fn shipped(self) -> &'static [Shipped] {
        match self {
            Self::Model => MODELS,
            Self::Memory => MEMORY_SYSTEMS,
            Self::Scenario => SCENARIOS,
            Self::Sweep => SWEEPS,
            Self::Generator => GENERATORS,
        }
    }

    /// What it is called, and how it is used on the command line.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Model => ("a language model", "--model"),
            Self::Memory => ("a memory system", "--memory"),
            Self::Scenario => ("a scenario", "tiersim run"),
            Self::Sweep => ("a sweep", "tiersim sweep"),
            Self::Generator => ("a generator of skip sets", "--trace"),
        }
    }

    /// What to say of `name`, which is of this kind, where another kind was asked for.
    fn misplaced(self, name: &str) -> String {
        let (what, usage) = self.described();
        format!("it is {what}: use it with {usage} {name}")
    }
}

/// The hint for a name that is not among `shipped`: what it is instead, or which name was meant.
fn hint(name: &str, shipped: &[Shipped]) -> String {
    let other = FileKind::ALL.into_iter().find(|kind| kind.shipped().iter().any(|file| file.name == name));
    match other {
        Some(kind) => format!(" But {}", kind.misplaced(name)),
        None => config::did_you_mean(name, shipped.iter().map(|file| file.name)),
    }
}

/// Refuses a file that is of another kind than `kind`.
///
/// # Errors
/// [`ConfigError::Meaning`], saying how the file is used.
pub fn check_kind(text: &str, origin: &str, kind: FileKind) -> Result<(), ConfigError> {
    match FileKind::of(text).filter(|found| *found != kind) {
        None => Ok(()),
        Some(kind) => Err(ConfigError::Meaning { origin: origin.to_owned(), message: kind.misplaced(origin) }),
    }
}

/// The text of what is called `name_or_path`, and what to call it in messages.
///
/// # Errors
/// [`ConfigError`] if it is neither shipped nor a readable file.
pub fn text(
    what: &'static str,
    shipped: &[Shipped],
    name_or_path: &str,
) -> Result<(std::borrow::Cow<'static, str>, String), ConfigError> {
    if let Some(found) = shipped.iter().find(|file| file.name == name_or_path) {
        return Ok((found.text.into(), found.path.to_owned()));
    }
    let path = Path::new(name_or_path);
    if !path.exists() {
        return Err(ConfigError::Unknown {
            what,
            name: name_or_path.to_owned(),
            known: shipped.iter().map(|file| file.name).collect::<Vec<_>>().join(", "),
            meant: hint(name_or_path, shipped),
        });
    }
    Ok((config::read(path)?.into(), name_or_path.to_owned()))
}

fn load<T: DeserializeOwned>(
    what: &'static str,
    kind: FileKind,
    name_or_path: &str,
) -> Result<(T, String), ConfigError> {
    let (text, origin) = text(what, kind.shipped(), name_or_path)?;
    check_kind(&text, &origin, kind)?;
    Ok((config::parse(&text, &origin)?, origin))
}

fn meaning(origin: String, error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Meaning { origin, message: error.to_string() }
}
