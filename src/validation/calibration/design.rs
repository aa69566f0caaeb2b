//! The design matrix: what each cost adds to the time of a step in each row.
//!
//! A step's time is linear in what a stage takes besides reading, and in the reciprocal of each
//! reach, as what a stage reads of several classes and formats is read one after the other. So the
//! matrix is found on the simulator itself: each row runs with ideal costs, and once more for each
//! cost with only that one changed. The differences are exact, whatever a model reads: windows,
//! experts, quantized mixes, a growing context.

use super::error::CalibrationError;
use crate::runs::{Cancel, Progress, Resources};
use crate::simulation::{Assignment, Scenario};
use crate::units::Bytes;
use crate::validation::{Case, Checked, InvalidCase, Outcome, validate};
use crate::workload::Format;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A cost that rows may determine, at its finest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// The time of each stage besides its reads.
    PerStage,
    /// The reciprocal of the reach of weights of a format; `None` for weights without one.
    Weights(Option<Format>),
    /// The reciprocal of the reach of KV.
    Kv,
}

impl Cost {
    /// A runtime with this cost alone, away from its ideal value by one unit: a stage takes 1 us,
    /// or a reach is a half, so that its reciprocal is larger by 1.
    fn probe(self, formats: &BTreeSet<Option<Format>>) -> Value {
        let mut runtime = json!({ "name": "probe" });
        match self {
            Self::PerStage => runtime["per_stage"] = "1 us".into(),
            Self::Kv => runtime["reaches"] = json!([{ "class": "Kv", "reach": 0.5 }]),
            Self::Weights(Some(format)) => {
                runtime["reaches"] = json!([{ "class": "Weights", "format": format.to_string(), "reach": 0.5 }]);
            }
            // A rule without a format holds for all; those with a format come first.
            Self::Weights(None) => {
                let others = formats.iter().flatten();
                let mut rules: Vec<Value> = others
                    .map(|format| json!({ "class": "Weights", "format": format.to_string(), "reach": 1.0 }))
                    .collect();
                rules.push(json!({ "class": "Weights", "reach": 0.5 }));
                runtime["reaches"] = rules.into();
            }
        }
        runtime
    }
}

/// A measured run in the fit.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its case.
    pub case: Case,
    /// The measured time of a step, in seconds.
    pub measured: f64,
    /// The simulated time with ideal costs.
    pub ideal: f64,
    /// What each cost adds for a unit of it: seconds for a microsecond a stage, or for each 1 by
    /// which the reciprocal of a reach exceeds 1. In the order of [`Design::costs`].
    pub added: Vec<f64>,
    /// What a stage reads on average, in bytes.
    pub stage_bytes: f64,
}

/// The rows, and the costs that change any of them.
#[derive(Clone, Debug)]
pub(super) struct Design {
    pub costs: Vec<Cost>,
    pub rows: Vec<Row>,
    /// The effective read bandwidth of the first tier, in B/s.
    pub bandwidth: f64,
    /// The memory system's name.
    pub machine: String,
}

impl Design {
    /// Runs each of `cases` with ideal costs and once for each cost.
    pub fn new(
        cases: Vec<Case>,
        resources: Resources,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Self, CalibrationError> {
        let scenarios: Vec<Scenario> = cases
            .iter()
            .map(|case| with_runtime(case, json!({ "name": "ideal" })).scenario())
            .collect::<Result<_, _>>()?;
        let mut formats = BTreeSet::new();
        let mut reads_kv = false;
        for (case, scenario) in cases.iter().zip(&scenarios) {
            check(case, scenario)?;
            let reading = scenario.model().weights().filter(|weights| weights.read > Bytes::ZERO);
            formats.extend(reading.map(|weights| weights.format));
            reads_kv |= scenario.model().token_bytes() > Bytes::ZERO;
        }
        let mut costs = vec![Cost::PerStage];
        costs.extend(formats.iter().map(|format| Cost::Weights(*format)));
        costs.extend(reads_kv.then_some(Cost::Kv));
        let mut probes = vec![json!({ "name": "ideal" })];
        probes.extend(costs.iter().map(|cost| cost.probe(&formats)));
        let runs: Vec<Case> =
            cases.iter().flat_map(|case| probes.iter().map(|probe| with_runtime(case, probe.clone()))).collect();
        let seconds = seconds(runs, resources, cancel, progress)?;
        let first = &scenarios[0].memory();
        let mut rows = Vec::with_capacity(cases.len());
        for ((case, times), scenario) in cases.into_iter().zip(seconds.chunks(probes.len())).zip(&scenarios) {
            let added: Vec<f64> = times[1..].iter().map(|time| time - times[0]).collect();
            // A microsecond for each stage that reads.
            let stages = added[0] / 1e-6;
            let bytes = (times[0] * scenario.memory().tiers()[0].read_bandwidth.as_f64()) / stages.max(1.0);
            let measured = case.measured.step_seconds(case.batch);
            rows.push(Row { measured, ideal: times[0], added, stage_bytes: bytes, case });
        }
        Ok(Self { costs, rows, bandwidth: first.tiers()[0].read_bandwidth.as_f64(), machine: first.name().to_owned() })
    }
}

/// Whether a run reads everything from its first tier.
fn check(case: &Case, scenario: &Scenario) -> Result<(), CalibrationError> {
    let model = scenario.model();
    let tokens = (scenario.prefill() + scenario.decode()) as u64;
    let needed = u128::from(model.stored_weights().get()) + u128::from(tokens) * u128::from(model.token_bytes().get());
    let tier = &scenario.memory().tiers()[0];
    if needed > u128::from(tier.capacity.get()) {
        let problem = format!("does not fit into {} of {}", tier.name, tier.capacity.rounded());
        return Err(CalibrationError::Row { case: case.name.clone(), problem });
    }
    Ok(())
}

/// The case with that runtime in the place of its own.
pub(super) fn with_runtime(case: &Case, runtime: Value) -> Case {
    let mut case = case.clone();
    case.runtime = None;
    case.set.push(Assignment { path: "runtime".to_owned(), value: runtime, asked: "the fitted runtime".to_owned() });
    case
}

/// The mean time of a step of each case, in seconds.
pub(super) fn seconds(
    cases: Vec<Case>,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<f64>, CalibrationError> {
    let simulated = validate(Checked::new(cases)?, resources, cancel, progress)?;
    let times = simulated.into_iter().map(|it| match it.outcome {
        Outcome::Simulated(figure) => {
            let mut measured = it.case.measured;
            measured.value = figure;
            Ok(measured.step_seconds(it.case.batch))
        }
        Outcome::NotYet(problem) | Outcome::Failed(problem) => {
            Err(CalibrationError::Row { case: it.case.name, problem: format!("was not simulated ({problem})") })
        }
    });
    times.collect()
}

/// So that a file of cases that is wrong is distinguished from a fit that fails.
impl CalibrationError {
    /// The error of a file of cases, if it is one.
    #[must_use]
    pub fn invalid_case(&self) -> Option<&InvalidCase> {
        match self {
            Self::Case(error) => Some(error),
            _ => None,
        }
    }
}
