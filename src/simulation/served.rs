//! A scenario that serves requests: what of it makes no sense then, and its requests.
//!
//! Requests bring prompts, outputs and times of their own, and `requests.kv` says where KV lies and
//! what moves. Fields that say the same of a batch that is there from the start are refused by
//! name. A few are replaced: the default strategy, which moves KV between steps, by one that moves
//! nothing.

use super::config::ScenarioConfig;
use super::refused::ScenarioError;
use crate::catalog;
use crate::strategy::{BoundKind, MigrationKind, PlacementKind, Strategy};
use crate::workload::{KvGroups, Requests, RequestsConfig, RequestsError, SourceConfig};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Refuses what makes no sense where requests are served, and replaces the strategy of scenarios
/// that name none.
///
/// # Errors
/// [`ScenarioError::WithRequests`], naming the field and the remedy.
pub(super) fn check_served(config: &mut ScenarioConfig) -> Result<(), ScenarioError> {
    config.strategy = still(config.strategy);
    let (strategy, [prefill, decode]) = (config.strategy, ScenarioConfig::OF_REQUESTS);
    let cases = [
        (config.prefill_tokens != prefill, "prefill_tokens", "each request has a prompt of its own: leave it out"),
        (config.decode_tokens != decode, "decode_tokens", "each request has an output of its own: leave it out"),
        (config.batch != 1, "batch", "requests.limits.sequences is the most that run at once: leave it out"),
        (!config.sequences.is_empty(), "sequences", "requests take their place: leave it out"),
        (
            !config.prefill.is_given(),
            "prefill",
            "prompts are always computed, requests.limits.tokens in a step: leave it out",
        ),
        (
            config.warmup_steps > 0,
            "warmup_steps",
            "figures are of all requests: leave it out, or begin with other requests",
        ),
        (config.kv_groups != KvGroups::default(), "kv_groups", "KV is kept in pages of all layers: leave it out"),
        (!config.trace.skips_nothing(), "trace", "attention reads the KV of all tokens: leave it out"),
        (config.routing.is_some(), "routing", "a step reads the expected share of experts: leave it out"),
        (config.index.is_some(), "index", "attention reads the KV of all tokens: leave it out"),
        (
            config.weight_prefetch > 0,
            "weight_prefetch",
            "weights are read by the stage that needs them: leave it out, or write 0",
        ),
        (config.bound == BoundKind::Charged, "bound", "steps that depend on each other have no bound: leave it out"),
        (
            strategy.migration != MigrationKind::None,
            "strategy.migration",
            "requests.kv says what moves: write \"None\", or leave out the strategy",
        ),
        (
            strategy.placement != PlacementKind::PreferHbm,
            "strategy.placement",
            "requests.kv says where KV goes: write \"PreferHbm\", or leave out the strategy",
        ),
        (strategy.prefetch.is_some(), "strategy.prefetch", "requests.kv says what moves: leave it out"),
        (strategy.budget.is_some(), "strategy.budget", "requests.kv says what moves: leave it out"),
    ];
    match cases.into_iter().find(|(is_wrong, ..)| *is_wrong) {
        Some((_, field, remedy)) => Err(ScenarioError::WithRequests { field, remedy }),
        None => Ok(()),
    }
}

/// The strategy with the placement and the migration of [`Strategy::REFERENCE`], which moves
/// nothing, where they are those of scenarios that name none; the reference itself where nothing
/// is named.
fn still(strategy: Strategy) -> Strategy {
    let (usual, reference) = (Strategy::default(), Strategy::REFERENCE);
    if strategy == usual {
        return reference;
    }
    let placement = if strategy.placement == usual.placement { reference.placement } else { strategy.placement };
    let migration = if strategy.migration == usual.migration { reference.migration } else { strategy.migration };
    Strategy { placement, migration, ..strategy }
}

/// The last requests that were read: cells of a sweep that serve the same ones share them.
static READ: Mutex<Vec<(String, Arc<Requests>)>> = Mutex::new(Vec::new());

/// How many different ones are kept: a log of an hour takes a few MB.
const KEPT: usize = 8;

/// The requests of `config`, read once for all runs of this process that serve the same ones. A
/// log that has changed meanwhile is read again.
///
/// # Errors
/// [`RequestsError`], as [`Requests::new`].
pub(super) fn requests(config: &RequestsConfig) -> Result<Arc<Requests>, RequestsError> {
    let key = format!("{} {:?}", serde_json::to_string(config).unwrap_or_default(), changed(config));
    let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = read().iter().find(|(known, _)| *known == key) {
        return Ok(Arc::clone(known));
    }
    // Not under the lock: other runs may need other requests meanwhile.
    let requests = Arc::new(catalog::requests(config)?);
    let mut all = read();
    if let Some((_, known)) = all.iter().find(|(known, _)| *known == key) {
        return Ok(Arc::clone(known));
    }
    if all.len() == KEPT {
        all.remove(0);
    }
    all.push((key, Arc::clone(&requests)));
    Ok(requests)
}

/// When the log was changed last, and its length.
fn changed(config: &RequestsConfig) -> Option<(SystemTime, u64)> {
    let SourceConfig::Log { file, .. } = &config.source else { return None };
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_that_nobody_named_moves_nothing() {
        assert_eq!(still(Strategy::default()), Strategy::REFERENCE);
        let spread: Strategy = "best-ratio".parse().unwrap();
        assert_eq!(still(spread), spread);
        let laid = Strategy { initialization: spread.initialization, ..Strategy::default() };
        let expected = Strategy { initialization: spread.initialization, ..Strategy::REFERENCE };
        assert_eq!(still(laid), expected);
    }
}
