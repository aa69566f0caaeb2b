//! The state of a page: what it asks to simulate. Checked, it is a [`Setting`]: scenarios, and the
//! command that gives the same.

use super::base::Base;
use super::command::{Change, command};
use super::error::Refused;
use super::fields::{self, MAX_PROMPT_STEPS, MAX_SIDE_BY_SIDE, MAX_STEPS, MAX_TOKENS};
use crate::catalog;
use crate::config::did_you_mean;
use crate::memory::MemoryConfig;
use crate::simulation::{Assignment, Fields, Scenario, ScenarioConfig};
use crate::strategy::Strategy;
use crate::units::{Bandwidth, Bytes, Ratio};
use crate::workload::{PrefillConfig, TraceConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// The steps of a page's first state.
const STEPS: u32 = 64;
/// The longest name in a state.
const MAX_NAME: usize = 200;

/// What a page asks to simulate. Sizes are in bytes, bandwidths in bytes a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// A shipped language model, or that of the command line.
    pub model: String,
    /// A shipped memory system, or that of the command line.
    pub memory: String,
    /// The runtime; `None` is the ideal one.
    pub runtime: Option<String>,
    /// One to four strategies.
    pub strategies: Vec<String>,
    /// The tokens of each prompt.
    pub prefill: u32,
    /// The sequences.
    pub batch: u32,
    /// The share of the tokens that attention skips.
    pub skip: f64,
    /// The capacity of the first tier; `None` is the machine's own.
    pub hbm_capacity: Option<f64>,
    /// The bandwidth of the first link, each direction.
    pub link_bandwidth: Option<f64>,
    /// The bandwidth of the first tier.
    pub hbm_bandwidth: Option<f64>,
    /// The tokens of a page of KV.
    pub page_tokens: u32,
    /// The tokens of prompts that a step computes; 0 where prompts are there at no cost.
    pub prefill_chunk: u32,
    /// The tokens that each sequence decodes.
    pub steps: u32,
}

/// A state that is checked.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The state.
    pub state: State,
    /// Its memory system before sliders change it.
    pub machine: MemoryConfig,
    strategies: Vec<Strategy>,
    changes: Vec<Change>,
}

impl State {
    /// The state that `base` starts with.
    #[must_use]
    pub fn of(base: &Base) -> Self {
        let config = &base.config;
        let skip = match &config.trace {
            TraceConfig::Generated(of) => of.skip,
            TraceConfig::Lifelike(of) => of.skip,
            TraceConfig::Recorded(_) => Ratio::default(),
        };
        let prefill_chunk = match config.prefill {
            PrefillConfig::Given => 0,
            PrefillConfig::Timed { chunk_tokens, .. } => chunk_tokens,
        };
        Self {
            model: base.model.clone(),
            memory: base.memory.clone(),
            runtime: base.runtime.clone(),
            strategies: base.strategies.iter().map(Strategy::name).collect(),
            prefill: config.prefill_tokens,
            batch: config.batch,
            skip: skip.as_f64(),
            hbm_capacity: None,
            link_bandwidth: None,
            hbm_bandwidth: None,
            page_tokens: config.page_tokens,
            prefill_chunk,
            steps: STEPS,
        }
    }

    /// The same with another value of a field, as a map has it.
    pub fn with(mut self, field: &'static str, value: f64) -> Result<Self, Refused> {
        let whole = || {
            let is_whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
            is_whole.then_some(value as u32).ok_or_else(|| Refused::value(field, format!("{value} is no whole number")))
        };
        match field {
            "prefill" => self.prefill = whole()?,
            "batch" => self.batch = whole()?,
            "skip" => self.skip = value,
            "hbm_capacity" => self.hbm_capacity = Some(value),
            "link_bandwidth" => self.link_bandwidth = Some(value),
            "hbm_bandwidth" => self.hbm_bandwidth = Some(value),
            "page_tokens" => self.page_tokens = whole()?,
            _ => self.prefill_chunk = whole()?,
        }
        Ok(self)
    }

    /// Checks it against the bounds of [`fields::FIELDS`] and the names that it may have.
    ///
    /// # Errors
    /// [`Refused`] with the field that is to blame.
    pub fn checked(self, base: &Base) -> Result<Setting, Refused> {
        let strategies = self.check_names(base)?;
        self.check_numbers(&Self::of(base))?;
        let unknown = || Refused::value("memory", format!("the memory system '{}' cannot be read", self.memory));
        let machine = base.memory_config(&self.memory).ok_or_else(unknown)?;
        let changes = self.changes(base, &machine)?;
        Ok(Setting { state: self, machine, strategies, changes })
    }

    fn check_names(&self, base: &Base) -> Result<Vec<Strategy>, Refused> {
        let unknown = |field, what: &str, name: &str, known: Vec<&'static str>| {
            let name: String = name.chars().take(MAX_NAME).collect();
            Refused::value(field, format!("there is no {what} named '{name}'.{}", did_you_mean(&name, known)))
        };
        let names = |files: &'static [catalog::Shipped]| files.iter().map(|file| file.name).collect();
        if !base.knows_model(&self.model) {
            return Err(unknown("model", "model", &self.model, names(catalog::MODELS)));
        }
        if !base.knows_memory(&self.memory) {
            return Err(unknown("memory", "memory system", &self.memory, names(catalog::MEMORY_SYSTEMS)));
        }
        if let Some(runtime) = self.runtime.as_ref().filter(|name| !base.knows_runtime(name)) {
            return Err(unknown("runtime", "runtime", runtime, catalog::runtime_names()));
        }
        if !(1..=MAX_SIDE_BY_SIDE).contains(&self.strategies.len()) {
            let count = self.strategies.len();
            let message = format!("{count} strategies: write one to {MAX_SIDE_BY_SIDE} to compare");
            return Err(Refused::value("strategies", message));
        }
        let mut strategies: Vec<Strategy> = Vec::new();
        for name in &self.strategies {
            let short = name.len() <= MAX_NAME;
            let strategy = short.then(|| name.parse::<Strategy>().map_err(|error| error.to_string()));
            let strategy = strategy.unwrap_or_else(|| Err("a strategy's name is too long".to_owned()));
            let strategy = strategy.map_err(|message| Refused::value("strategies", message))?;
            if strategies.contains(&strategy) {
                return Err(Refused::value("strategies", format!("'{name}' is there twice: leave one out")));
            }
            strategies.push(strategy);
        }
        Ok(strategies)
    }

    fn check_numbers(&self, own: &Self) -> Result<(), Refused> {
        let number = |name, value: u32, own: u32| fields::check(name, value.into(), Some(own.into()));
        number("prefill", self.prefill, own.prefill)?;
        number("batch", self.batch, own.batch)?;
        number("page_tokens", self.page_tokens, own.page_tokens)?;
        number("prefill_chunk", self.prefill_chunk, own.prefill_chunk)?;
        fields::check("skip", self.skip, Some(own.skip))?;
        let sizes = [("hbm_capacity", self.hbm_capacity), ("link_bandwidth", self.link_bandwidth)];
        for (name, value) in sizes.into_iter().chain([("hbm_bandwidth", self.hbm_bandwidth)]) {
            value.map_or(Ok(()), |value| fields::check(name, value, None))?;
        }
        if !(1..=MAX_STEPS).contains(&self.steps) {
            let message = format!("{} steps: write 1 to {MAX_STEPS}; tiersim run simulates more", self.steps);
            return Err(Refused::value("steps", message));
        }
        let (prefill, batch) = (u64::from(self.prefill), u64::from(self.batch));
        if prefill * batch > MAX_TOKENS {
            let message = format!(
                "{batch} sequences of {prefill} tokens are more than {MAX_TOKENS} tokens: tiersim run simulates more"
            );
            return Err(Refused::value("batch", message));
        }
        let prompts = (prefill * batch).checked_div(self.prefill_chunk.into()).unwrap_or(0);
        if prompts > MAX_PROMPT_STEPS {
            let message =
                format!("prompts would take {prompts} steps, and {MAX_PROMPT_STEPS} are simulated here: larger chunks");
            return Err(Refused::value("prefill_chunk", message));
        }
        Ok(())
    }

    /// What differs from `base`, in the order in which flags are applied.
    fn changes(&self, base: &Base, machine: &MemoryConfig) -> Result<Vec<Change>, Refused> {
        let own = Self::of(base);
        let change = |flag: &'static str, path: &str, typed: String, value: Value| Change {
            flag: Some(flag),
            path: path.to_owned(),
            typed,
            value,
        };
        let text = |flag, path: &str, typed: String| change(flag, path, typed.clone(), typed.into());
        let whole = |flag, path: &str, count: u32| change(flag, path, count.to_string(), count.into());
        let mut changes = Vec::new();
        if self.model != own.model {
            changes.push(text("model", "model", self.model.clone()));
        }
        if self.memory != own.memory {
            changes.push(text("memory", "memory", self.memory.clone()));
        }
        if self.runtime != own.runtime {
            changes.push(text("runtime", "runtime", self.runtime.clone().unwrap_or_else(|| IDEAL.to_owned())));
        }
        if self.prefill != own.prefill {
            changes.push(whole("prefill", "prefill_tokens", self.prefill));
        }
        if self.batch != own.batch {
            changes.push(whole("batch", "batch", self.batch));
        }
        if self.prefill_chunk != own.prefill_chunk {
            changes.push(match self.prefill_chunk {
                0 => Change { flag: None, path: "prefill".into(), typed: GIVEN.into(), value: GIVEN.into() },
                chunk => whole("prefill-chunk", "prefill.chunk_tokens", chunk),
            });
        }
        if self.page_tokens != own.page_tokens {
            changes.push(whole("page-tokens", "page_tokens", self.page_tokens));
        }
        if self.skip != own.skip {
            let typed = format!("{:.6}", self.skip);
            let typed = typed.trim_end_matches('0').trim_end_matches('.').to_owned();
            let ratio: Ratio = typed.parse().map_err(|error| Refused::value("skip", format!("{error}")))?;
            let value = serde_json::to_value(ratio).unwrap_or_default();
            changes.push(change("skip", "trace.skip", typed, value));
        }
        if let Some(bytes) = self.hbm_capacity {
            changes.push(text("hbm-capacity", "memory.tiers.0.capacity", Bytes::new(bytes.round() as u64).to_string()));
        }
        if let Some(rate) = self.hbm_bandwidth.and_then(bandwidth) {
            changes.push(text("hbm-bandwidth", "memory.tiers.0.bandwidth", rate.to_string()));
        }
        if let Some(rate) = self.link_bandwidth.and_then(bandwidth) {
            let linked = machine.tiers.iter().position(|tier| tier.link.is_some()).ok_or_else(|| {
                Refused::value("link_bandwidth", format!("no tier of the memory system '{}' has a link", machine.name))
            })?;
            changes.push(text("link-bandwidth", &format!("memory.tiers.{linked}.link.read+write"), rate.to_string()));
        }
        Ok(changes)
    }
}

/// The runtime of a state that names none.
const IDEAL: &str = "ideal";
/// Prompts that are there at no cost, as a file has it.
const GIVEN: &str = "Given";

fn bandwidth(bytes_per_second: f64) -> Option<Bandwidth> {
    Bandwidth::new(bytes_per_second.round() as u64)
}

/// A scenario for each strategy, or why it cannot be simulated.
pub type Scenarios = Vec<(Strategy, Result<Scenario, String>)>;

impl Setting {
    /// Its scenarios, with `steps` tokens to decode.
    ///
    /// # Errors
    /// [`Refused`] where a value is not right for its field. What does not fit the machine is an
    /// error of the scenario.
    pub fn scenarios(&self, base: &Base, steps: u32) -> Result<Scenarios, Refused> {
        let changes = self.changes_with(steps);
        let assignments: Vec<Assignment> = changes.iter().flat_map(Change::assignments).collect();
        let refused = |error: &dyn std::fmt::Display| {
            Refused::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        };
        let fields = Fields::new(&base.config).map_err(|error| refused(&error))?;
        let config = fields.apply(&assignments).map_err(|error| refused(&error))?;
        let mut resolved: Option<ScenarioConfig> = None;
        let mut scenarios = Vec::new();
        for strategy in &self.strategies {
            // What the first one has looked up need not be looked up again.
            let config = ScenarioConfig { strategy: *strategy, ..resolved.as_ref().unwrap_or(&config).clone() };
            let scenario = Scenario::new(config).map_err(|error| error.to_string()).map(|scenario| {
                resolved.get_or_insert_with(|| scenario.resolved().clone());
                match &base.written {
                    Some(written) => scenario.with_written(Arc::clone(written)),
                    None => scenario,
                }
            });
            scenarios.push((*strategy, scenario));
        }
        Ok(scenarios)
    }

    /// The command that gives what is shown of so many steps.
    #[must_use]
    pub fn command(&self, base: &Base, steps: u32) -> String {
        command(&base.words, &self.changes_with(steps), &self.state.strategies)
    }

    fn changes_with(&self, steps: u32) -> Vec<Change> {
        let decode = Change {
            flag: Some("decode"),
            path: "decode_tokens".to_owned(),
            typed: steps.to_string(),
            value: steps.into(),
        };
        self.changes.iter().cloned().chain([decode]).collect()
    }
}
