//! What tokens cost: the price of a machine over what it produces.

use crate::config::Reference;
use crate::memory::MemoryConfig;
use crate::simulation::ScenarioConfig;
use crate::units::Price;

/// The figure that the cost of tokens is made of.
pub(super) const RATE: &str = "tokens_per_s";

/// What the machine of a scenario costs.
pub(super) fn price(config: &ScenarioConfig) -> Option<Price> {
    let memory: Option<&MemoryConfig> = match &config.memory {
        Reference::Inline(memory) => Some(memory),
        Reference::Name(_) => None,
    };
    memory?.price.clone()
}
