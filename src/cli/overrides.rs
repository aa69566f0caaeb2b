//! `--set path=value`: any field of a scenario, by the path that it has in `summary.json`.

use super::error::CliError;
use crate::simulation::ScenarioConfig;
use serde_json::{Map, Value};

/// Sets each `path=value` on `config`.
///
/// A path is the names of fields, separated by dots; an entry of a list is its index, or the `name` that it has; the
/// variant of a choice may be left out. So `memory.hbm.capacity` is `memory.tiers[0].capacity`, and `trace.sinks` is the `sinks`
/// of whatever the trace is. A value is JSON (`0.4`, `true`, `null`, `{...}`) or else text (`8GiB`).
pub(super) fn apply(config: &ScenarioConfig, assignments: &[String]) -> Result<ScenarioConfig, CliError> {
    let mut tree = serde_json::to_value(config).map_err(|error| CliError::Usage(error.to_string()))?;
    for assignment in assignments {
        let usage = |message: String| CliError::Usage(format!("--set {assignment}: {message}"));
        let (path, text) = assignment
            .split_once('=')
            .ok_or_else(|| usage("write it as path=value, such as memory.hbm.capacity=8GiB".to_owned()))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        *find(&mut tree, path).map_err(usage)? = value;
        // Read back at once, so that an error names the assignment that caused it.
        let _: ScenarioConfig = read(&tree).map_err(usage)?;
    }
    read(&tree).map_err(CliError::Usage)
}

fn read(tree: &Value) -> Result<ScenarioConfig, String> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let field = error.path().to_string();
        format!("{field}: {}", error.into_inner())
    })
}

/// The place that `path` names.
fn find<'a>(tree: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let mut place = tree;
    for name in path.split('.') {
        place = step(place, name).map_err(|known| {
            if known.is_empty() {
                format!("there is no '{name}' there: it has no fields")
            } else {
                format!("there is no '{name}' there: use one of {}", known.join(", "))
            }
        })?;
    }
    Ok(place)
}

/// What `name` leads to from `place`, or what there is instead.
fn step<'a>(place: &'a mut Value, name: &str) -> Result<&'a mut Value, Vec<String>> {
    let known = names(place);
    let found = match place {
        Value::Object(fields) => {
            if fields.contains_key(name) {
                fields.get_mut(name)
            } else if is_variant(fields) {
                let inner = fields.values_mut().next().map(|inner| step(inner, name));
                return inner.unwrap_or(Err(known));
            } else {
                // An entry of that name, in whichever list of this object has it.
                fields.values_mut().filter_map(|value| entry(value, name)).next()
            }
        }
        list => entry(list, name),
    };
    found.ok_or(known)
}

/// The entry of a list with that index or `name`.
fn entry<'a>(list: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let list = list.as_array_mut()?;
    let index = name.parse().ok().or_else(|| list.iter().position(|entry| entry["name"] == name))?;
    list.get_mut(index)
}

/// `{"Generated": {...}}`: a choice with fields of its own.
fn is_variant(fields: &Map<String, Value>) -> bool {
    fields.len() == 1 && fields.keys().all(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
}

fn names(place: &Value) -> Vec<String> {
    match place {
        Value::Object(fields) if is_variant(fields) => fields.values().flat_map(names).collect(),
        Value::Object(fields) => {
            let entries = fields.values().filter(|value| value.is_array()).flat_map(names);
            fields.keys().cloned().chain(entries.filter(|name| name.parse::<usize>().is_err())).collect()
        }
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(index, entry)| entry["name"].as_str().map_or_else(|| index.to_string(), str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
