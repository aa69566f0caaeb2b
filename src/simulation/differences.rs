//! The fields in which configurations differ, by the paths that `--set` takes.
//!
//! Scenarios are compared as trees of values, as `summary.json` has them. An entry of a list is
//! known by its name, so that the tiers of two machines are compared by what they are called; a
//! choice such as `Generated(...)` is a field of its own, beside its parameters. Comparison is
//! linear in the fields.

use serde_json::{Map, Value};

/// A field that is not the same in all scenarios.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// As `--set` takes it.
    pub path: String,
    /// By scenario; `None` where it has no such field.
    pub values: Vec<Option<Value>>,
}

impl Difference {
    /// The value of the scenario of that index, as a person reads it.
    #[must_use]
    pub fn shown(&self, index: usize) -> String {
        match self.values.get(index).and_then(Option::as_ref) {
            None => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }

    /// Whether it only says what something is called.
    #[must_use]
    pub fn is_name(&self) -> bool {
        let field = ["model.", "memory.", "runtime."].iter().find_map(|part| self.path.strip_prefix(part));
        ["name", "about"].contains(&field.unwrap_or(&self.path))
    }

    fn between(&self, one: usize, other: usize) -> bool {
        self.values.get(one) != self.values.get(other)
    }
}

/// The name of a field, and its value where it is not written.
type Usual = (&'static str, fn() -> Value);

/// What fields that are not written mean.
const DEFAULTS: [Usual; 3] = [("batch", || 1.into()), ("prefill", || "Given".into()), ("warmup_steps", || 0.into())];

/// Every field in which `scenarios`, as `summary.json` has them, are not all the same, in their
/// order. A field that is written only where it is not as usual has its usual value in the others.
#[must_use]
pub fn differences(scenarios: &[&Value]) -> Vec<Difference> {
    let mut fields: Vec<Difference> = Vec::new();
    let unwritten: Vec<_> =
        DEFAULTS.iter().filter(|(name, _)| scenarios.iter().any(|scenario| scenario.get(name).is_some())).collect();
    // Where each path is: a scenario may spell out long lists.
    let mut places = rustc_hash::FxHashMap::default();
    for (index, scenario) in scenarios.iter().enumerate() {
        let mut leaves = Vec::new();
        collect(scenario, String::new(), &mut leaves);
        let usual = unwritten.iter().filter(|(name, _)| scenario.get(name).is_none());
        leaves.extend(usual.map(|(name, value)| ((*name).to_owned(), value())));
        for (path, value) in leaves {
            let place = *places.entry(path.clone()).or_insert_with(|| {
                fields.push(Difference { path, values: vec![None; scenarios.len()] });
                fields.len() - 1
            });
            fields[place].values[index] = Some(value);
        }
    }
    fields.retain(|field| field.values.iter().any(|value| *value != field.values[0]));
    fields
}

/// What the difference between two of the scenarios is, in words, where it is but one thing; names
/// do not count.
pub(crate) fn one_thing(differences: &[Difference], first: usize, other: usize) -> Option<String> {
    let apart: Vec<&Difference> =
        differences.iter().filter(|field| !field.is_name() && field.between(first, other)).collect();
    let instead = |path: &str, field: &Difference| match (field.values[first].is_some(), field.values[other].is_some())
    {
        (_, false) => format!("that it has no {path} ({})", field.shown(first)),
        (false, _) => format!("{path}, which is {}", field.shown(other)),
        _ => format!("{path}, which is {} instead of {}", field.shown(other), field.shown(first)),
    };
    match apart.as_slice() {
        [] => None,
        [field] => Some(instead(&field.path, field)),
        // A runtime has a name, a strategy is three parts, and a link two directions.
        several if several.iter().all(|field| field.path.starts_with("runtime.")) => {
            let name = differences.iter().find(|field| field.path == "runtime.name")?;
            let of = |run: usize| if name.values[run].is_some() { name.shown(run) } else { "ideal".to_owned() };
            Some(format!("the runtime, which is {} instead of {}", of(other), of(first)))
        }
        several if several.iter().all(|field| field.path == "prefill" || field.path.starts_with("prefill.")) => {
            let of = |run: usize| prefill_shown(differences, run);
            Some(format!("the time of prompts (prefill), which are {} instead of {}", of(other), of(first)))
        }
        several => {
            let of = |suffix: &str| several.iter().find(|field| field.path.ends_with(suffix));
            if let (2, Some(read), Some(write)) = (several.len(), of(".link.read"), of(".link.write")) {
                let link = read.path.strip_suffix(".read")?;
                let same = write.path.strip_suffix(".write") == Some(link)
                    && [first, other].iter().all(|run| read.values[*run] == write.values[*run]);
                return same.then(|| instead(&format!("{link} (read and write)"), read));
            }
            let strategy = several.iter().all(|field| field.path.starts_with("strategy."));
            strategy.then(|| {
                let parts: Vec<String> = several
                    .iter()
                    .map(|field| {
                        let part = field.path.trim_start_matches("strategy.");
                        format!("{part} {} instead of {}", field.shown(other), field.shown(first))
                    })
                    .collect();
                format!("the strategy: {}", parts.join(", "))
            })
        }
    }
}

/// How the prompts of a scenario are computed, in words, where that differs.
fn prefill_shown(differences: &[Difference], run: usize) -> String {
    let part = |path: &str| {
        let field = differences.iter().find(|field| field.path == path)?;
        field.values[run].is_some().then(|| field.shown(run))
    };
    match (part("prefill.chunk_tokens"), part("prefill.order")) {
        (Some(tokens), Some(order)) => format!("in chunks of {tokens} tokens ({})", order.to_lowercase()),
        (Some(tokens), None) => format!("in chunks of {tokens} tokens"),
        (None, Some(order)) => format!("in chunks ({})", order.to_lowercase()),
        (None, None) => "given".to_owned(),
    }
}

/// Whether two of the scenarios are the same but for names.
pub(crate) fn same(differences: &[Difference], first: usize, other: usize) -> bool {
    differences.iter().all(|field| field.is_name() || !field.between(first, other))
}

/// Every value that has no parts, by the shortest path that `--set` takes: entries of a list by
/// their names, choices without the name of the variant.
fn collect(value: &Value, path: String, leaves: &mut Vec<(String, Value)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            if let Some((variant, inner)) = variant(fields) {
                leaves.push((path.clone(), Value::String(variant.clone())));
                return collect(inner, path, leaves);
            }
            for (name, value) in fields {
                match names(value).filter(|names| names.iter().all(|name| !fields.contains_key(*name))) {
                    Some(names) => {
                        let entries = value.as_array().into_iter().flatten();
                        names.into_iter().zip(entries).for_each(|(name, entry)| collect(entry, below(name), leaves));
                    }
                    None => collect(value, below(name), leaves),
                }
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for (index, entry) in entries.iter().enumerate() {
                collect(entry, below(&index.to_string()), leaves);
            }
        }
        value => leaves.push((path, value.clone())),
    }
}

/// `{"Generated": {...}}`: a choice with fields of its own.
fn variant(fields: &Map<String, Value>) -> Option<(&String, &Value)> {
    let only = fields.iter().next().filter(|_| fields.len() == 1)?;
    only.0.starts_with(|first: char| first.is_ascii_uppercase()).then_some(only)
}

/// The names of the entries of a list that all have one of their own.
fn names(list: &Value) -> Option<Vec<&str>> {
    let names: Vec<&str> = list.as_array()?.iter().map(|entry| entry["name"].as_str()).collect::<Option<_>>()?;
    let apart = names.iter().enumerate().all(|(index, name)| !names[..index].contains(name));
    (apart && !names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_those_of_set() {
        let scenario = |capacity: &str, sinks: u32, layers: u32| {
            json!({
                "memory": {"name": "m", "tiers": [{"name": "hbm", "capacity": capacity}, {"name": "ddr", "link": null}]},
                "trace": {"Generated": {"sinks": sinks}},
                "model": {"layers": [{"count": layers}]},
            })
        };
        let (one, other) = (scenario("1 GiB", 0, 2), scenario("2 GiB", 4, 3));
        let found = differences(&[&one, &other]);
        let paths: Vec<&str> = found.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["memory.hbm.capacity", "model.layers.0.count", "trace.sinks"]);
        assert_eq!((found[0].shown(0), found[0].shown(1)), ("1 GiB".to_owned(), "2 GiB".to_owned()));
        assert!(differences(&[&one, &one]).is_empty());
    }

    #[test]
    fn another_variant_and_a_missing_part_are_seen() {
        let one = json!({"trace": {"Generated": {"sinks": 0}}, "link": null});
        let other = json!({"trace": {"Recorded": {"file": "x"}}, "link": {"read": "1 GB/s"}});
        let found = differences(&[&one, &other]);
        let rows: Vec<String> =
            found.iter().map(|field| format!("{} {} {}", field.path, field.shown(0), field.shown(1))).collect();
        let expected =
            ["link null -", "trace Generated Recorded", "trace.sinks 0 -", "link.read - 1 GB/s", "trace.file - x"];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_strategy_and_both_ways_of_a_link_are_one_thing() {
        let scenario = |migration: &str, placement: &str, read: &str, write: &str, name: &str| {
            json!({
                "name": name,
                "strategy": {"placement": placement, "migration": migration},
                "memory": {"tiers": [{"name": "ddr", "link": {"read": read, "write": write}}]},
            })
        };
        let base = scenario("None", "PreferHbm", "1", "1", "a");
        let told = |other: &Value| one_thing(&differences(&[&base, other]), 0, 1);
        assert_eq!(told(&scenario("None", "PreferHbm", "1", "1", "b")), None);
        let strategy = told(&scenario("LookAhead", "BestRatio", "1", "1", "b")).unwrap();
        assert!(strategy.contains("the strategy") && strategy.contains("LookAhead instead of None"), "{strategy}");
        let link = told(&scenario("None", "PreferHbm", "2", "2", "b")).unwrap();
        assert_eq!(link, "memory.ddr.link (read and write), which is 2 instead of 1");
        assert_eq!(told(&scenario("None", "PreferHbm", "2", "3", "b")), None);
        assert_eq!(told(&scenario("LookAhead", "PreferHbm", "2", "2", "b")), None);
    }
}
