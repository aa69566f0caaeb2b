//! What kind of thing a configuration file describes, and what to say of one that is used in the
//! place of another kind.

use super::{GENERATORS, MEMORY_SYSTEMS, MODELS, RUNTIMES, SCENARIOS, SWEEPS, Shipped};
use crate::config::{self, ConfigError};

/// What a configuration file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A language model.
    Model,
    /// A memory system.
    Memory,
    /// A runtime.
    Runtime,
    /// A scenario.
    Scenario,
    /// A sweep.
    Sweep,
    /// A generator of skip sets.
    Generator,
}

impl FileKind {
    const ALL: [Self; 6] = [Self::Sweep, Self::Model, Self::Scenario, Self::Memory, Self::Runtime, Self::Generator];

    /// What a file says: the name that it starts with or, failing that, the kind whose fields it
    /// has.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let code = || text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
        let first = code().find(|line| !line.is_empty() && !line.starts_with("#!"))?;
        let starts = |kind: &Self| kind.starts().iter().any(|name| first.starts_with(name));
        let named = first.starts_with(|c: char| c.is_alphabetic());
        let has = |kind: &Self| code().any(|line| kind.fields().iter().any(|field| line.contains(field)));
        let found = Self::ALL.iter().find(|kind| starts(kind));
        found.or_else(|| Self::ALL.iter().find(|kind| !named && has(kind))).copied()
    }

    fn starts(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["LanguageModel"],
            Self::Memory => &["MemorySystem"],
            Self::Runtime => &["Runtime"],
            Self::Scenario => &["Scenario"],
            Self::Sweep => &["Sweep"],
            Self::Generator => &["Generated", "Lifelike"],
        }
    }

    /// Fields that no other kind has.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["kv_bytes:", "architecture:"],
            Self::Memory => &["tiers:"],
            Self::Runtime => &["per_stage:"],
            Self::Scenario => &["decode_tokens:"],
            Self::Sweep => &["axes:"],
            Self::Generator => &[],
        }
    }

    /// The shipped files of this kind.
    #[must_use]
    pub const fn shipped(self) -> &'static [Shipped] {
        match self {
            Self::Model => MODELS,
            Self::Memory => MEMORY_SYSTEMS,
            Self::Runtime => RUNTIMES,
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
            Self::Runtime => ("a runtime", "--runtime"),
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
pub(super) fn hint(name: &str, shipped: &[Shipped]) -> String {
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
