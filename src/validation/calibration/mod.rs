//! Costs of a runtime from measured runs: what `tiersim calibrate` solves for.
//!
//! 1. The rows that may be fitted on are of one machine and one runtime, and read everything from
//!    its first tier.
//! 2. `design.rs` finds on the simulator what each cost adds to each row.
//! 3. `fit.rs` finds which costs the rows separate, and their values, by least squares
//!    (`least_squares.rs`).
//! 4. The fitted runtime is simulated on the rows of the fit, and corrected by what the linear
//!    model leaves out; then on the rows that were held out.

mod design;
mod error;
mod fit;
mod least_squares;
mod written;

pub use error::CalibrationError;

use crate::runs::{Cancel, Progress, Resources};
use crate::units::SimTime;
use crate::validation::{Case, Use};
use crate::workload::RuntimeConfig;
use design::{Cost, Design, seconds, with_runtime};
use fit::{Fit, name_of};
use std::collections::BTreeSet;

/// What is asked of a calibration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Fit on the rows of these groups alone; of all where none is given.
    pub groups: Vec<String>,
    /// Fit on all rows, whatever their `use`.
    pub all: bool,
    /// Hold the time per stage at this value.
    pub per_stage: Option<SimTime>,
    /// The runtime's name.
    pub name: String,
}

/// A fitted cost, in words.
#[derive(Clone, Debug)]
pub struct FittedCost {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A row of a calibration.
#[derive(Clone, Debug)]
pub struct FittedRow {
    /// Its case.
    pub case: String,
    /// The measured time of a step or of prefill, in seconds.
    pub measured: f64,
    /// The simulated one, with the fitted runtime.
    pub simulated: f64,
    /// Its error with the same costs fitted on all other rows, where these determine them; `None`
    /// for rows that were held out.
    pub left_out: Option<f64>,
}

impl FittedRow {
    /// `(simulated - measured) / measured`.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.simulated / self.measured - 1.0
    }
}

/// A fitted runtime, and how well it fits.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The runtime.
    pub runtime: RuntimeConfig,
    /// Its file.
    pub ron: String,
    /// Its costs, in words.
    pub costs: Vec<FittedCost>,
    /// The condition number of the fit.
    pub condition: f64,
    /// The rows that it was fitted on.
    pub fitted: Vec<FittedRow>,
    /// The rows that were left out of it.
    pub held_out: Vec<FittedRow>,
}

/// Fits the costs of a runtime on those of `cases` that may be fitted on.
///
/// # Errors
/// [`CalibrationError`] if the rows are of several machines, do not separate the costs, or lead to
/// costs that are not physical.
pub fn calibrate(
    cases: Vec<Case>,
    settings: &Settings,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Calibration, CalibrationError> {
    let Selected { fitted, held_out } = select(cases, settings)?;
    let per_stage = settings.per_stage.map(|time| time.as_ps() as f64 * 1e-12);
    let mut compute = design::least_compute(&fitted, resources, cancel, progress)?;
    let mut design = Design::new(fitted.clone(), compute, resources, cancel, progress)?;
    let mut fit = Fit::new(&design, per_stage)?;
    for _ in 0..COMPUTE_RATES {
        compute = written::compute(&design, &fit);
        if compute.is_some() {
            design = Design::new(fitted.clone(), compute, resources, cancel, progress)?;
            fit = Fit::new(&design, per_stage)?;
        }
    }
    let run = |cases: &[Case], fit: &Fit, design: &Design| {
        let probe = written::json(&written::rules(design, fit, settings.per_stage));
        let runs = cases.iter().map(|case| with_runtime(case, probe.clone())).collect();
        seconds(runs, resources, cancel, progress)
    };
    let of_fit: Vec<Case> = design.rows.iter().map(|row| row.case.clone()).collect();
    let mut simulated = run(&of_fit, &fit, &design)?;
    for _ in 0..CORRECTIONS {
        fit = fit.again(&mut design, &simulated, per_stage)?;
        simulated = run(&of_fit, &fit, &design)?;
    }
    let left_out = fit.left_out(&design, per_stage);
    let checked = run(&held_out, &fit, &design)?;
    let row = |case: &Case, simulated: f64, left_out: Option<f64>| FittedRow {
        case: case.name.clone(),
        measured: case.measured_seconds(),
        simulated,
        left_out,
    };
    let of_fit = design.rows.iter().zip(simulated).zip(left_out);
    let fitted: Vec<FittedRow> = of_fit.map(|((of, time), left_out)| row(&of.case, time, left_out)).collect();
    let held_out: Vec<FittedRow> = held_out.iter().zip(checked).map(|(case, time)| row(case, time, None)).collect();
    let rules = written::rules(&design, &fit, settings.per_stage);
    let costs = costs(&design, &fit, settings.per_stage);
    let sources: BTreeSet<&str> = design.rows.iter().map(|row| row.case.source.as_str()).collect();
    let source = written::source(&fitted, &held_out, &sources, fit.condition, settings.per_stage);
    let ron = written::ron(&settings.name, &design.machine, &rules, &source);
    let runtime = crate::config::parse(&ron, "the fitted runtime").map_err(crate::validation::InvalidCase::File)?;
    Ok(Calibration { runtime, ron, costs, condition: fit.condition, fitted, held_out })
}

/// How often a fit is corrected by what the simulator adds to the linear model: posted KV writes
/// contend with reads or not, depending on the costs. The second correction is of rounding alone.
const CORRECTIONS: usize = 2;

/// How often the compute rate is improved: which stages are compute-bound depends on it.
const COMPUTE_RATES: usize = 2;

/// The rows, by what they are for.
struct Selected {
    fitted: Vec<Case>,
    held_out: Vec<Case>,
}

fn select(cases: Vec<Case>, settings: &Settings) -> Result<Selected, CalibrationError> {
    let groups: BTreeSet<String> = cases.iter().map(|case| case.group.clone()).collect();
    let (mut fitted, mut held_out) = (Vec::<Case>::new(), Vec::new());
    let of_group = cases.into_iter().filter(|case| settings.groups.is_empty() || settings.groups.contains(&case.group));
    for case in of_group {
        if settings.all || case.usage != Use::Check {
            fitted.push(case);
        } else {
            held_out.push(case);
        }
    }
    let Some(first) = fitted.first() else {
        return Err(CalibrationError::NoRows { groups: settings.groups.clone() });
    };
    let runtime = |case: &Case| case.runtime.clone().unwrap_or_else(|| "no runtime".to_owned());
    for other in fitted.iter().chain(&held_out) {
        for (what, of) in [("rows", other.memory == first.memory), ("runtimes", other.runtime == first.runtime)] {
            if !of {
                let (first, second) = match what {
                    "rows" => (first.memory.clone(), other.memory.clone()),
                    _ => (runtime(first), runtime(other)),
                };
                let groups = groups.into_iter().collect::<Vec<_>>().join(", ");
                return Err(CalibrationError::Several { what, first, second, groups });
            }
        }
    }
    Ok(Selected { fitted, held_out })
}

/// The costs in words.
fn costs(design: &Design, fit: &Fit, held: Option<SimTime>) -> Vec<FittedCost> {
    let mut costs = Vec::new();
    if let Some(time) = held {
        costs.push(FittedCost { name: "time per stage (held)".to_owned(), value: time.rounded() });
    }
    for (column, value) in fit.columns.iter().zip(&fit.values) {
        let value = match column[0] {
            cost if cost.is_fixed() => format!("{:.2} us", 1e6 * value),
            Cost::Compute => format!("{:.1} TFLOP/s", written::compute(design, fit).unwrap_or(0.0) * 1e-12),
            _ => format!("reach {:.3} ({:.0} GB/s)", 1.0 / value, design.bandwidth / value / 1e9),
        };
        costs.push(FittedCost { name: name_of(column), value });
    }
    costs
}
