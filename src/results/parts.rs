//! Differences between configurations, by named parts instead of every field.
//!
//! Two scenarios on different machines differ in dozens of fields. A reader wants to know that one
//! uses another memory system, model or DRAM part; this module replaces the fields of such a part
//! by its name and a short description.

use crate::catalog;
use crate::config::Reference;
use crate::memory::MemoryConfig;
use crate::simulation::{Difference, ScenarioConfig};
use crate::workload::{LanguageModel, ModelConfig};
use serde_json::Value;

/// `differences` between `scenarios`, with parts by their names: where the memory systems or the
/// models differ, their names and contents replace all their fields; where a tier's efficiency
/// differs, its name or its source does.
#[must_use]
pub fn named_parts(scenarios: &[&ScenarioConfig], differences: &[Difference]) -> Vec<Difference> {
    let mut named: Vec<Difference> = Vec::new();
    let is_other = |path: &str| differences.iter().any(|field| field.path == path);
    let (other_memory, other_model) = (is_other("memory.name"), is_other("model.name"));
    for field in differences {
        let path = field.path.as_str();
        if other_memory && path.starts_with("memory.") {
            if !named.iter().any(|known| known.path == "memory") {
                named.extend(memories(scenarios));
            }
        } else if other_model && path.starts_with("model.") {
            if !named.iter().any(|known| known.path == "model") {
                named.extend(models(scenarios));
            }
        } else if let Some((tier, _)) = path.split_once(".efficiency") {
            let path = format!("{tier}.efficiency");
            if !named.iter().any(|known| known.path == path) {
                named.push(efficiency(scenarios, &path));
            }
        } else {
            named.push(field.clone());
        }
    }
    named
}

fn difference(path: &str, values: impl Iterator<Item = Option<String>>) -> Difference {
    Difference { path: path.to_owned(), values: values.map(|value| value.map(Value::String)).collect() }
}

/// The name of the memory system, and a line a tier where that is another.
fn memories(scenarios: &[&ScenarioConfig]) -> Vec<Difference> {
    let systems: Vec<Option<&MemoryConfig>> = scenarios.iter().map(|scenario| inline(&scenario.memory)).collect();
    let parts: Vec<Vec<String>> = systems.iter().map(|system| system.map(catalog::parts).unwrap_or_default()).collect();
    let most = parts.iter().map(Vec::len).max().unwrap_or(0);
    let mut rows = vec![difference("memory", systems.iter().map(|system| system.map(|it| it.name.clone())))];
    for tier in 0..most {
        rows.push(difference(&format!("tier {tier}"), parts.iter().map(|lines| lines.get(tier).cloned())));
    }
    rows.retain(|row| row.values.iter().any(|value| *value != row.values[0]));
    rows
}

/// The name of the model, and what it stores.
fn models(scenarios: &[&ScenarioConfig]) -> Vec<Difference> {
    let models: Vec<Option<&ModelConfig>> = scenarios.iter().map(|scenario| inline(&scenario.model)).collect();
    let checked: Vec<Option<LanguageModel>> =
        models.iter().map(|model| model.and_then(|model| LanguageModel::new(model).ok())).collect();
    let of = |path: &str, shown: fn(&LanguageModel) -> String| {
        difference(path, checked.iter().map(|model| model.as_ref().map(shown)))
    };
    let mut rows = vec![
        difference("model", models.iter().map(|model| model.map(|it| it.name.clone()))),
        of("weights stored", |model| model.stored_weights().to_string()),
        of("KV of a token", |model| model.token_bytes().to_string()),
        of("layers", |model| model.layers().to_string()),
    ];
    rows.retain(|row| row.values.iter().any(|value| *value != row.values[0]));
    rows
}

/// The efficiency of the tier at `memory.TIER.efficiency`: the name of the DRAM part, or where its
/// figures are from.
fn efficiency(scenarios: &[&ScenarioConfig], path: &str) -> Difference {
    let name = path.trim_start_matches("memory.").trim_end_matches(".efficiency");
    let of = |scenario: &&ScenarioConfig| {
        let tier = inline(&scenario.memory)?.tiers.iter().find(|tier| tier.name == name)?;
        let efficiency = tier.efficiency()?;
        Some(catalog::dram_name(efficiency).map_or_else(|| efficiency.source.clone(), str::to_owned))
    };
    difference(path, scenarios.iter().map(of))
}

fn inline<T>(reference: &Reference<T>) -> Option<&T> {
    match reference {
        Reference::Inline(value) => Some(value),
        Reference::Name(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Scenario, differences};

    fn scenario(memory: &str) -> ScenarioConfig {
        let mut config = ScenarioConfig::load("gh200").unwrap();
        config.memory = Reference::Name(memory.to_owned());
        config.decode_tokens = 4;
        Scenario::new(config).unwrap().resolved().clone()
    }

    #[test]
    fn two_machines_differ_in_parts_not_in_timings() {
        let (one, other) = (scenario("gh200"), scenario("h200-pcie"));
        let trees = [&one, &other].map(|config| serde_json::to_value(config).unwrap());
        let fields = differences(&[&trees[0], &trees[1]]);
        let named = named_parts(&[&one, &other], &fields);
        let paths: Vec<&str> = named.iter().map(|row| row.path.as_str()).collect();
        assert!(fields.len() > 8 && paths == ["memory", "tier 0", "tier 1"], "{paths:?}");
        assert_eq!((named[0].shown(0), named[0].shown(1)), ("gh200".to_owned(), "h200-pcie".to_owned()));
        assert!(named[2].shown(0).ends_with("over nvlink-c2c") && named[2].shown(1).ends_with("over pcie5-x16"));
    }
}
