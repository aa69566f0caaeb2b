//! The design matrix: what each cost adds to the time of a step in each row.
//!
//! A step's time is linear in what a stage takes besides reading, and in the reciprocal of each
//! reach, as what a stage reads of several classes and formats is read one after the other. So the
//! matrix is found on the simulator itself: each row runs with ideal costs, and once more for each
//! cost with only that one changed. The differences are exact, whatever a model reads: windows,
//! experts of a batch, quantized mixes, a growing context.
//!
//! A stage takes the longer of its reads and its compute, so time is linear in the reciprocal of
//! the compute rate only while the same stages stay compute-bound. Where prefill was measured, all
//! rows therefore run with a compute rate near the solution (`compute`), which the fit improves.

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
    /// The same for each sequence of the batch.
    PerSequence,
    /// The same once a step.
    PerStep,
    /// The reciprocal of the compute rate.
    Compute,
    /// The reciprocal of the reach of weights of a format; `None` for weights without one.
    Weights(Option<Format>),
    /// The reciprocal of the reach of KV.
    Kv,
}

impl Cost {
    /// Whether it is a time that stages or steps take besides reading and computing.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::PerStage | Self::PerSequence | Self::PerStep)
    }

    /// By how much a probe changes it: a time is 1 us longer, a reach is a half, so that its
    /// reciprocal is larger by 1, and compute takes a tenth longer.
    fn unit(self) -> f64 {
        match self {
            Self::PerStage | Self::PerSequence | Self::PerStep => 1e-6,
            Self::Compute => 0.1,
            Self::Weights(_) | Self::Kv => 1.0,
        }
    }

    /// A runtime with this cost alone, away from its ideal value by its [`unit`](Self::unit).
    fn probe(self, formats: &BTreeSet<Option<Format>>, compute: Option<f64>) -> Value {
        let mut runtime = ideal(compute);
        match self {
            Self::PerStage => runtime["per_stage"] = "1 us".into(),
            Self::PerSequence => runtime["per_sequence"] = "1 us".into(),
            Self::PerStep => runtime["per_step"] = "1 us".into(),
            Self::Compute => runtime = ideal(compute.map(|rate| rate / (1.0 + self.unit()))),
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

/// A runtime without costs, that computes at that rate, in FLOP/s.
fn ideal(compute: Option<f64>) -> Value {
    let mut runtime = json!({ "name": "ideal" });
    if let Some(rate) = compute {
        runtime["compute"] = flop_rate(rate).into();
    }
    runtime
}

/// A compute rate as files have it.
pub(super) fn flop_rate(rate: f64) -> String {
    format!("{} GFLOP/s", (rate * 1e-9).round().max(1.0))
}

/// A measured run in the fit.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Its case.
    pub case: Case,
    /// The measured time of a step or of prefill, in seconds.
    pub measured: f64,
    /// The simulated time with ideal costs.
    pub ideal: f64,
    /// The derivative of the time by each cost: by the seconds of a fixed time, by the reciprocal
    /// of a reach, or by the reciprocal of the compute rate, where that of [`Design::compute`] is
    /// 1. In the order of [`Design::costs`].
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
    /// The compute rate with which all rows ran, in FLOP/s, where prefill was measured.
    pub compute: Option<f64>,
}

impl Design {
    /// Runs each of `cases` with ideal costs and once for each cost; all of them compute at the
    /// rate `compute`, in FLOP/s, if one is given.
    pub fn new(
        cases: Vec<Case>,
        compute: Option<f64>,
        resources: Resources,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Self, CalibrationError> {
        let scenarios: Vec<Scenario> =
            cases.iter().map(|case| with_runtime(case, ideal(None)).scenario()).collect::<Result<_, _>>()?;
        let mut formats = BTreeSet::new();
        let mut reads_kv = false;
        for (case, scenario) in cases.iter().zip(&scenarios) {
            check(case, scenario)?;
            let reading = scenario.model().weights().filter(|weights| weights.read > Bytes::ZERO);
            formats.extend(reading.map(|weights| weights.format));
            reads_kv |= scenario.model().token_bytes() > Bytes::ZERO;
        }
        let mut costs = vec![Cost::PerStage];
        let batches: BTreeSet<u32> = cases.iter().map(|case| case.batch).collect();
        costs.extend((batches.len() > 1).then_some(Cost::PerSequence));
        let stages: BTreeSet<usize> = scenarios.iter().map(|scenario| scenario.model().stages().len()).collect();
        costs.extend((stages.len() > 1).then_some(Cost::PerStep));
        costs.extend(compute.map(|_| Cost::Compute));
        costs.extend(formats.iter().map(|format| Cost::Weights(*format)));
        costs.extend(reads_kv.then_some(Cost::Kv));
        let mut probes = vec![ideal(compute)];
        probes.extend(costs.iter().map(|cost| cost.probe(&formats, compute)));
        let runs: Vec<Case> =
            cases.iter().flat_map(|case| probes.iter().map(|probe| with_runtime(case, probe.clone()))).collect();
        let seconds = seconds(runs, resources, cancel, progress)?;
        let first = &scenarios[0].memory();
        let mut rows = Vec::with_capacity(cases.len());
        for ((case, times), scenario) in cases.into_iter().zip(seconds.chunks(probes.len())).zip(&scenarios) {
            let added: Vec<f64> =
                times[1..].iter().zip(&costs).map(|(time, cost)| (time - times[0]) / cost.unit()).collect();
            // The derivative by the time per stage counts the stages that read.
            let stages = added[0];
            let bytes = (times[0] * scenario.memory().tiers()[0].read_bandwidth.as_f64()) / stages.max(1.0);
            let measured = case.measured_seconds();
            rows.push(Row { measured, ideal: times[0], added, stage_bytes: bytes, case });
        }
        let bandwidth = first.tiers()[0].read_bandwidth.as_f64();
        Ok(Self { costs, rows, bandwidth, machine: first.name().to_owned(), compute })
    }
}

impl Design {
    /// The derivative of the time of `row` by `cost`; 0 where no row has that cost.
    pub fn added(&self, row: &Row, cost: Cost) -> f64 {
        self.costs.iter().position(|known| *known == cost).map_or(0.0, |at| row.added[at])
    }
}

/// A compute rate to begin with, in FLOP/s: the least at which no run that is about prefill
/// computes longer than was measured. `None` where no run is.
pub(super) fn least_compute(
    cases: &[Case],
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Option<f64>, CalibrationError> {
    let prefill: Vec<&Case> = cases.iter().filter(|case| case.measured.metric.is_of_prefill()).collect();
    // So slow that nothing else takes time.
    let slow = 1e11;
    let runs: Vec<Case> = prefill.iter().map(|case| with_runtime(case, ideal(Some(slow)))).collect();
    for case in &runs {
        if !case.scenario()?.model().has_flop() {
            let problem = "is of prefill, but its model gives its layers in bytes, and no FLOP".to_owned();
            return Err(CalibrationError::Row { case: case.name.clone(), problem });
        }
    }
    let times = seconds(runs, resources, cancel, progress)?;
    let rates = prefill.iter().zip(times).map(|(case, time)| slow * time / case.measured_seconds());
    Ok(rates.reduce(f64::max))
}

/// Whether a run reads everything from its first tier.
fn check(case: &Case, scenario: &Scenario) -> Result<(), CalibrationError> {
    let model = scenario.model();
    let tokens: u64 =
        scenario.sequences().all().iter().map(|sequence| (sequence.prefill + sequence.decode) as u64).sum();
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

/// The mean time of a step of each case, or of its prefill, in seconds.
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
            Ok(measured.seconds(it.case.tokens()))
        }
        Outcome::Failed(problem) => {
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
