//! What a page starts from: a scenario with the flags of the command line.

use super::error::ExploreError;
use super::fields::MAX_SIDE_BY_SIDE;
use crate::catalog;
use crate::config::Reference;
use crate::memory::MemoryConfig;
use crate::simulation::ScenarioConfig;
use crate::strategy::Strategy;
use crate::workload::{ModelConfig, TraceConfig};
use std::sync::Arc;

/// The scenario that states of a page change.
#[derive(Clone, Debug)]
pub struct Base {
    /// With the flags of the command line.
    pub config: ScenarioConfig,
    /// As its file has it.
    pub written: Option<Arc<ScenarioConfig>>,
    /// The scenario and the flags, as words that follow `tiersim run`.
    pub words: Vec<String>,
    /// How its model is called: a shipped name, or the path that was typed.
    pub model: String,
    /// How its memory system is called.
    pub memory: String,
    /// How its runtime is called; `None` for the ideal one.
    pub runtime: Option<String>,
    /// The strategies that are shown first.
    pub strategies: Vec<Strategy>,
}

impl Base {
    /// Refuses scenarios whose length or batch no slider can change.
    ///
    /// # Errors
    /// [`ExploreError::Base`].
    pub fn check(&self) -> Result<(), ExploreError> {
        let refused = |message: &str| Err(ExploreError::Base(message.to_owned()));
        if self.config.requests.is_some() {
            return refused(
                "it serves requests over time, which no page can answer while its reader plays: run it, or vary it with `tiersim run --vary`",
            );
        }
        if matches!(self.config.trace, TraceConfig::Recorded(_)) {
            return refused(
                "its skip sets are recorded, so that sliders could not change them: name a generator with --trace",
            );
        }
        if !self.config.sequences.is_empty() {
            return refused("it has groups of sequences: explore shows a batch of equal ones");
        }
        if self.strategies.len() > MAX_SIDE_BY_SIDE {
            return refused(&format!("at most {MAX_SIDE_BY_SIDE} strategies are shown side by side"));
        }
        Ok(())
    }

    /// Whether a state may name this model: a path that only the command line may give, or a
    /// shipped one.
    pub(super) fn knows_model(&self, name: &str) -> bool {
        name == self.model || catalog::MODELS.iter().any(|file| file.name == name)
    }

    pub(super) fn knows_memory(&self, name: &str) -> bool {
        name == self.memory || catalog::MEMORY_SYSTEMS.iter().any(|file| file.name == name)
    }

    pub(super) fn knows_runtime(&self, name: &str) -> bool {
        self.runtime.as_deref() == Some(name) || catalog::is_runtime(name)
    }

    /// The memory system of that name, as a state starts from it.
    pub(super) fn memory_config(&self, name: &str) -> Option<MemoryConfig> {
        let named = if name == self.memory { self.config.memory.clone() } else { Reference::Name(name.to_owned()) };
        catalog::resolved(named).ok()
    }

    /// What its model and its memory system are, a line each.
    pub(super) fn about(&self) -> (String, String) {
        let model: Option<ModelConfig> = self.config.model.clone().resolve(catalog::model).ok();
        let memory = self.memory_config(&self.memory);
        (model.map(|it| it.about).unwrap_or_default(), memory.map(|it| it.about).unwrap_or_default())
    }
}
