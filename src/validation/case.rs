//! A case: a row of a file of cases, checked, and the scenario that it stands for.
//!
//! [`Case::scenario`] builds a scenario from the row alone. What a row leaves out is the same in
//! every case: the strategy is `baseline` and nothing is skipped, as in software that keeps a model
//! in one memory; the runtime is ideal where the row names none. Where prefill was measured,
//! prompts are computed in chunks before anything is decoded; else their KV is there.

use super::error::InvalidCase;
use super::measured::{Measured, Metric};
use crate::config::ConfigError;
use crate::simulation::{Assignment, FieldError, Fields, Scenario, ScenarioConfig, ScenarioError};
use crate::units::Bytes;
use crate::workload::{CHUNK_TOKENS, LanguageModel, ModelStage};
use serde_json::json;

/// The columns of a file of cases, in the order in which they are usually written.
pub const COLUMNS: [&str; 14] = [
    "case",
    "group",
    "memory",
    "runtime",
    "model",
    "set",
    "prefill_tokens",
    "decode_tokens",
    "batch",
    "metric",
    "measured",
    "unit",
    "source",
    "use",
];

/// Whether costs may be fitted on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Costs may be fitted on it.
    Fit,
    /// It is only compared with.
    Check,
    /// Whoever uses it decides.
    Either,
}

impl Use {
    /// All of them, by the names in files.
    pub const ALL: [(&str, Self); 3] = [("fit", Self::Fit), ("check", Self::Check), ("fit or check", Self::Either)];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// A measured run of a real machine.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, the only one of that name among the cases of a validation.
    pub name: String,
    /// The group in whose errors it counts.
    pub group: String,
    /// The memory system, by name or path as seen from the working directory.
    pub memory: String,
    /// The runtime, by name or path; `None` for ideal costs.
    pub runtime: Option<String>,
    /// The language model, by name or path.
    pub model: String,
    /// Changes to the scenario.
    pub set: Vec<Assignment>,
    /// The tokens before step 0.
    pub prefill_tokens: u32,
    /// The steps over which the mean was measured.
    pub decode_tokens: u32,
    /// How many sequences each step decodes.
    pub batch: u32,
    /// What was measured.
    pub measured: Measured,
    /// Where the figure is from.
    pub source: String,
    /// Whether costs may be fitted on it.
    pub usage: Use,
    /// The file that it stands in, as messages call it.
    pub origin: String,
    /// Its line there.
    pub line: u64,
}

impl Case {
    /// The tokens that are computed in the time that it is about: one of each sequence, or those of
    /// the prompts of all.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        let prompts = if self.measured.metric.is_of_prefill() { self.prefill_tokens } else { 1 };
        f64::from(self.batch) * f64::from(prompts)
    }

    /// The measured time, in seconds: of a step, or of prefill.
    #[must_use]
    pub fn measured_seconds(&self) -> f64 {
        self.measured.seconds(self.tokens())
    }

    /// Whether requests arrive over time in it.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.set.iter().any(|assignment| assignment.path.split('.').next() == Some("requests"))
    }

    /// Its scenario.
    ///
    /// # Errors
    /// [`InvalidCase`], naming the file, the line and the field.
    pub fn scenario(&self) -> Result<Scenario, InvalidCase> {
        let metric = self.measured.metric;
        match self.serves() {
            true if !metric.is_of_requests() => {
                let remedy = "of requests that arrive over time, ttft, tpot and e2e are measured: write one of these";
                return Err(self.wrong("metric", metric.to_string(), remedy.to_owned()));
            }
            false if metric == Metric::E2e => {
                let remedy =
                    "it is of requests that arrive over time: set requests={\"source\":{\"Log\":{\"file\":\"FILE\"}}}";
                return Err(self.wrong("metric", metric.to_string(), remedy.to_owned()));
            }
            false if metric.is_of_prefill() && self.prefill_tokens == 0 => {
                let remedy = format!("{metric} is of a prompt: write how many tokens it has, at least 1");
                return Err(self.wrong("prefill_tokens", "0".to_owned(), remedy));
            }
            _ => {}
        }
        let config = self.config().map_err(|source| self.wrong_field(source))?;
        let scenario = Scenario::new(config).map_err(|source| self.wrong_scenario(source))?;
        let reading = reading_stages(scenario.model());
        if metric == Metric::Kernel && reading != 1 {
            let remedy = format!(
                "{reading} stages of the model read something, but a kernel is a single one: give a model of one \
                 layer in which either attention or mlp reads nothing, or measure a step"
            );
            return Err(self.wrong("metric", "kernel".to_owned(), remedy));
        }
        Ok(scenario)
    }

    /// Its scenario as a person would write it, with all that it names read in.
    fn config(&self) -> Result<ScenarioConfig, FieldError> {
        let base = json!({
            "name": self.name,
            "about": self.source,
            "model": "study",
            "memory": "study",
            "prefill_tokens": self.prefill_tokens,
            "decode_tokens": self.decode_tokens,
            "batch": self.batch,
        });
        let config: ScenarioConfig =
            serde_json::from_value(base).map_err(|error| FieldError::Value(error.to_string()))?;
        let mut assignments = vec![
            assigned("model", self.model.as_str().into(), "model"),
            assigned("memory", self.memory.as_str().into(), "memory"),
            assigned("strategy", "baseline".into(), "the strategy of all cases"),
            assigned("trace.skip", 0.into(), "the skip share of all cases"),
        ];
        if self.measured.metric.is_of_prefill() && !self.serves() {
            let timed = json!({ "Timed": { "chunk_tokens": CHUNK_TOKENS, "order": "First" } });
            assignments.push(assigned("prefill", timed, "the prefill of the metric"));
        }
        if let Some(runtime) = &self.runtime {
            assignments.push(assigned("runtime", runtime.as_str().into(), "runtime"));
        }
        assignments.extend(self.set.iter().cloned());
        Fields::new(&config)?.apply(&assignments)
    }

    fn wrong(&self, column: &'static str, value: String, remedy: String) -> InvalidCase {
        InvalidCase::Value { origin: self.origin.clone(), line: self.line, column, value, remedy }
    }

    fn wrong_field(&self, source: FieldError) -> InvalidCase {
        match source.cause() {
            // A file of its own is to blame, which the error names.
            FieldError::Config(ConfigError::Invalid(invalid)) => ConfigError::Invalid(invalid.clone()).into(),
            _ => InvalidCase::Field {
                origin: self.origin.clone(),
                line: self.line,
                case: self.name.clone(),
                source: Box::new(source),
            },
        }
    }

    fn wrong_scenario(&self, source: ScenarioError) -> InvalidCase {
        InvalidCase::Scenario {
            origin: self.origin.clone(),
            line: self.line,
            case: self.name.clone(),
            source: Box::new(source),
        }
    }
}

/// How many stages of a step read weights or KV.
fn reading_stages(model: &LanguageModel) -> usize {
    let reads = |stage: &&ModelStage| {
        let weights = stage.weights.iter().any(|weights| weights.read > Bytes::ZERO);
        let kv = stage.layer.is_some_and(|layer| stage.attends && model.kv_bytes()[layer] > Bytes::ZERO);
        weights || kv
    };
    model.stages().iter().filter(reads).count()
}

fn assigned(path: &str, value: serde_json::Value, asked: &str) -> Assignment {
    Assignment { path: path.to_owned(), value, asked: asked.to_owned() }
}
