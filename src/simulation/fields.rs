//! The fields of a scenario by path, and assignments to them.
//!
//! Everything that changes a scenario is an [`Assignment`]: `--set memory.hbm.capacity=8GiB`, a
//! flag such as `--hbm-capacity 8GiB`, a level of a sweep's axis, a value that a search tries.
//! Assignments edit a tree of values ([`Fields`]); the tree is read as a scenario once, when all of
//! them are made. Only if that fails are they made again, one by one, to name the one that is to
//! blame.

use super::config::ScenarioConfig;
use crate::catalog::{self, open_trace};
use crate::config::{self, ConfigError, did_you_mean, not_finite};
use crate::strategy::{ExpertChoice, Late, On, Strategy};
use crate::workload::{PrefillConfig, SequencesConfig, TierComputeConfig, TraceConfig, TraceError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The fields of a scenario by path: what `--set`, sweeps and searches change.
///
/// A path is the names of fields as under `scenario` in `summary.json`, separated by dots; an entry
/// of a list is its index, or the `name` that it has; the variant of a choice may be left out. So
/// `memory.hbm.capacity` is `memory.tiers[0].capacity`, and `trace.sinks` is the `sinks` of
/// whatever the trace is.
///
/// What the scenario names (its model, its memory system, a link) is read in when a path leads into
/// it, and by [`config`](Self::config). A path into `prefill` sets prompts that take time where
/// they are given.
///
/// ```
/// use tiersim::simulation::{Fields, ScenarioConfig};
/// let mut fields = Fields::new(&ScenarioConfig::load("study")?)?;
/// assert_eq!(fields.get("memory.hbm.capacity")?, "4 GiB");
/// fields.set("memory.hbm.capacity", "2GiB".into())?;
/// fields.set("model", "llama-3.1-70b".into())?;
/// assert!(fields.set("memory.hbm.capasity", "2GiB".into()).is_err());
/// assert_eq!(fields.config()?.prefill_tokens, 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fields {
    tree: Value,
    /// A `prefill` that takes time, for paths that lead into one where prompts are given.
    timed: Value,
}

/// The path of the price of the machine.
const PRICE: &str = "memory.price";
/// How paths into `prefill` begin.
const OF_PREFILL: &str = "prefill.";

/// A value for a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The path of the field, as [`Fields`] takes it.
    pub path: String,
    /// The value.
    pub value: Value,
    /// What asked for it, for messages: `--set trace.skip=0.4`, `--skip 0.4`.
    pub asked: String,
}

/// Why a field cannot be had or set.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs)]
pub enum FieldError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Trace(#[from] Arc<TraceError>),
    #[error("there is no '{name}' there: it has no fields")]
    NoFields { name: String },
    #[error("'{parent}' is not set, so there is no '{name}' in it: set the whole of it, as {parent}={{{name}: ...}}")]
    Unset { parent: String, name: String },
    #[error("there is no '{name}' there: use one of {}.{}", known.join(", "), did_you_mean(name, known.iter().map(String::as_str)))]
    Unknown { name: String, known: Vec<String> },
    #[error("{0}")]
    Value(String),
    #[error("{asked}: {source}")]
    Assignment { asked: String, source: Box<FieldError> },
}

impl FieldError {
    /// What is wrong, apart from the assignment that it is wrong in.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::Assignment { source, .. } => source.cause(),
            other => other,
        }
    }

    fn of(assignment: &Assignment) -> impl FnOnce(Self) -> Self {
        let asked = assignment.asked.clone();
        move |source| Self::Assignment { asked, source: Box::new(source) }
    }
}

impl Fields {
    /// The fields of `config`.
    ///
    /// # Errors
    /// [`FieldError::Value`] if it has a path that is not Unicode.
    pub fn new(config: &ScenarioConfig) -> Result<Self, FieldError> {
        let timed = serde_json::json!({ "prefill": as_tree(&PrefillConfig::TIMED)? });
        let mut fields = Self { tree: as_tree(&config)?, timed };
        // Not written where they are as in the study, but fields all the same.
        fields.tree["warmup_steps"] = config.warmup_steps.into();
        fields.tree["batch"] = config.batch.into();
        fields.tree["kv_groups"] = as_tree(&config.kv_groups)?;
        fields.tree["sequences"] = as_tree(&config.sequences)?;
        fields.tree["prefill"] = as_tree(&config.prefill)?;
        fields.tree["requests"] = as_tree(&config.requests)?;
        (fields.tree["prefill_tokens"], fields.tree["decode_tokens"]) =
            (config.prefill_tokens.into(), config.decode_tokens.into());
        fields.tree["layout"] = as_tree(&config.layout)?;
        fields.tree["index"] = as_tree(&config.index)?;
        fields.tree["routing"] = as_tree(&config.routing)?;
        fields.tree["runtime"] = as_tree(&config.runtime)?;
        fields.complete_strategy();
        fields.complete_sequences();
        Ok(fields)
    }

    /// The value at `path`.
    ///
    /// # Errors
    /// [`FieldError`] if there is no such field.
    pub fn get(&mut self, path: &str) -> Result<&Value, FieldError> {
        self.read_in_runtime(path)?;
        if self.gives_prompts() && path.starts_with(OF_PREFILL) {
            return find(&mut self.timed, path).map(|value| &*value);
        }
        find(&mut self.tree, path).map(|value| &*value)
    }

    /// Sets the value at `path`. A `model`, a `memory`, a `strategy` or a `trace` may be given by
    /// name or path, and so may the `link` and the `efficiency` of a tier by name. `prefill` and
    /// `sequences` may be given as a file has them: `Timed(chunk_tokens: 512)`.
    ///
    /// # Errors
    /// [`FieldError`] if there is no such field, or nothing of that name. Whether the value is
    /// right for the field is found by [`config`](Self::config).
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), FieldError> {
        let value = spelled_out(path, value)?;
        self.read_in_runtime(path)?;
        self.complete_computes(path);
        if self.gives_prompts() && path.starts_with(OF_PREFILL) {
            self.tree["prefill"] = self.timed["prefill"].clone();
        }
        if path == PRICE {
            // Not written where there is none.
            find(&mut self.tree, "memory.tiers")?;
            self.tree["memory"]["price"] = Value::Null;
        }
        *find(&mut self.tree, path)? = value;
        match path {
            "strategy" => self.complete_strategy(),
            "sequences" => self.complete_sequences(),
            _ => {}
        }
        Ok(())
    }

    /// Makes all of `assignments`, in their order, and reads the scenario that they lead to.
    ///
    /// # Errors
    /// [`FieldError::Assignment`], naming the assignment that cannot be made, or the first one
    /// after which the scenario is not right.
    pub fn apply(&self, assignments: &[Assignment]) -> Result<ScenarioConfig, FieldError> {
        let mut fields = self.clone();
        for assignment in assignments {
            fields.set(&assignment.path, assignment.value.clone()).map_err(FieldError::of(assignment))?;
        }
        fields.config().map_err(|error| self.to_blame(assignments).unwrap_or(error))
    }

    /// The error of the first of `assignments` after which the scenario is not right.
    fn to_blame(&self, assignments: &[Assignment]) -> Option<FieldError> {
        let mut fields = self.clone();
        assignments.iter().find_map(|assignment| {
            let made = fields.set(&assignment.path, assignment.value.clone());
            made.and_then(|()| fields.config()).err().map(FieldError::of(assignment))
        })
    }

    /// The scenario, with all that it names spelled out but for the trace.
    ///
    /// # Errors
    /// [`FieldError::Value`] if a value is not right for its field, naming the field;
    /// [`FieldError::Config`] if it names what is not there.
    pub fn config(&self) -> Result<ScenarioConfig, FieldError> {
        let config = <ScenarioConfig as Deserialize>::deserialize(&self.tree).or_else(|_| {
            // Once more, for the field: keeping track of it takes longer than reading.
            serde_path_to_error::deserialize(&self.tree).map_err(|error| {
                let field = error.path().to_string();
                FieldError::Value(format!("{field}: {}", not_finite(error.into_inner().to_string())))
            })
        })?;
        let model = config.model.resolve(catalog::model)?;
        let memory = catalog::resolved(config.memory)?;
        Ok(ScenarioConfig { model: model.into(), memory: memory.into(), ..config })
    }

    /// Reads in the runtime if it is named and `path` leads into it: which file its name stands for
    /// depends on the memory system.
    fn read_in_runtime(&mut self, path: &str) -> Result<(), FieldError> {
        let leads_into = path.starts_with("runtime.");
        if let Some(name) = self.tree["runtime"].as_str().filter(|_| leads_into) {
            let memory = find(&mut self.tree.clone(), "memory.name")?.as_str().unwrap_or_default().to_owned();
            self.tree["runtime"] = as_tree(&catalog::runtime(name, &memory)?)?;
        }
        Ok(())
    }

    /// Makes room for the tiers that compute, which a runtime does not write where there are none;
    /// and for one of them that is to be set as a whole.
    fn complete_computes(&mut self, path: &str) {
        let Some(tier) = path.strip_prefix("runtime.computes") else { return };
        let Some(runtime) = self.tree["runtime"].as_object_mut() else { return };
        let computes = runtime.entry("computes").or_insert_with(|| Map::new().into());
        if let (Some(tier), Some(computes)) = (tier.strip_prefix('.'), computes.as_object_mut())
            && !tier.contains('.')
        {
            computes.entry(tier).or_insert(Value::Null);
        }
    }

    /// Whether prompts are there at no cost.
    fn gives_prompts(&self) -> bool {
        self.tree["prefill"].is_string()
    }

    /// Adds the fields of groups of sequences that are not written where they have their defaults.
    fn complete_sequences(&mut self) {
        let groups = self.tree["sequences"].as_array_mut().into_iter().flatten();
        for group in groups.filter_map(Value::as_object_mut) {
            group.entry("count").or_insert_with(|| 1.into());
            group.entry("start_step").or_insert_with(|| 0.into());
            for field in ["prefill_tokens", "decode_tokens", "trace"] {
                group.entry(field).or_insert(Value::Null);
            }
        }
    }

    /// Adds the fields of the strategy that are not written where they have their defaults.
    fn complete_strategy(&mut self) {
        if let Some(strategy) = self.tree["strategy"].as_object_mut() {
            strategy.entry("budget").or_insert(Value::Null);
            strategy.entry("prefetch").or_insert(Value::Null);
            strategy.entry("late").or_insert_with(|| Late::default().to_string().into());
            strategy.entry("on").or_insert_with(|| On::default().to_string().into());
            strategy.entry("experts").or_insert_with(|| ExpertChoice::default().to_string().into());
        }
    }
}

/// The paths that `a.b.c+d` stands for.
///
/// ```
/// use tiersim::simulation::expand;
/// let both = expand("memory.external.link.read+write");
/// assert_eq!(both, ["memory.external.link.read", "memory.external.link.write"]);
/// assert_eq!(expand("strategy"), ["strategy"]);
/// ```
#[must_use]
pub fn expand(path: &str) -> Vec<String> {
    let (stem, names) = path.rsplit_once('.').map_or(("", path), |(stem, names)| (stem, names));
    let whole = |name: &str| if stem.is_empty() { name.to_owned() } else { format!("{stem}.{name}") };
    names.split('+').map(whole).collect()
}

/// What a `model`, a `memory`, a `strategy`, a `trace` or a part of a tier of that name is, and
/// what `prefill` and `sequences` are that are written as a file has them; any other value as it
/// is.
///
/// # Errors
/// [`FieldError`] if there is nothing of that name.
pub fn spelled_out(path: &str, value: Value) -> Result<Value, FieldError> {
    let Value::String(name) = &value else { return Ok(value) };
    match path {
        "strategy" => as_tree(&name.parse::<Strategy>().map_err(|error| FieldError::Value(error.to_string()))?),
        "trace" => match catalog::generator(name)? {
            Some(generator) => as_tree(&generator),
            None => {
                open_trace(Path::new(name)).map_err(Arc::new)?;
                as_tree(&TraceConfig::Recorded(Path::new(name).to_path_buf().into()))
            }
        },
        "prefill" => as_tree(&config::parse::<PrefillConfig>(name, path)?),
        "sequences" => as_tree(&config::parse::<Vec<SequencesConfig>>(name, path)?),
        path if path.strip_prefix("runtime.computes.").is_some_and(|tier| !tier.contains('.')) => {
            as_tree(&config::parse::<TierComputeConfig>(name, path)?)
        }
        path if is_trace_of_group(path) => spelled_out("trace", value),
        // Its file depends on the memory system, which may change.
        "runtime" if catalog::is_runtime(name) => Ok(value),
        "runtime" => as_tree(&catalog::runtime(name, "")?),
        path => Ok(named(path, name)?.unwrap_or(value)),
    }
}

/// Whether a path is that of the trace of a group of sequences: `sequences.0.trace`.
fn is_trace_of_group(path: &str) -> bool {
    let mut names = path.split('.');
    names.next() == Some("sequences") && names.next().is_some() && names.eq(["trace"])
}

/// The model, memory system, link or efficiency of that name, if a field of that path is one.
fn named(path: &str, name: &str) -> Result<Option<Value>, FieldError> {
    let of_tier = path.strip_prefix("memory.").and_then(|path| path.rsplit_once('.')).map(|(_, field)| field);
    Ok(Some(match (path, of_tier) {
        ("model", _) => as_tree(&catalog::model(name)?)?,
        ("memory", _) => as_tree(&catalog::memory(name)?)?,
        (_, Some("link")) => as_tree(&catalog::link(name)?)?,
        (_, Some("efficiency")) => as_tree(&catalog::efficiency(name)?)?,
        _ => return Ok(None),
    }))
}

fn as_tree<T: Serialize>(value: &T) -> Result<Value, FieldError> {
    serde_json::to_value(value).map_err(|error| FieldError::Value(error.to_string()))
}

/// The place that `path` names.
fn find<'a>(tree: &'a mut Value, path: &str) -> Result<&'a mut Value, FieldError> {
    let mut place = tree;
    let mut parent = String::new();
    for name in path.split('.') {
        // What is named is read in where a path leads into it.
        if let Value::String(given) = &*place
            && let Some(value) = named(&parent, given)?
        {
            *place = value;
        }
        let unset = place.is_null();
        place = step(place, name).map_err(|known| {
            let name = name.to_owned();
            match known.is_empty() {
                true if unset => FieldError::Unset { parent: parent.clone(), name },
                true => FieldError::NoFields { name },
                false => FieldError::Unknown { name, known },
            }
        })?;
        parent = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
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
