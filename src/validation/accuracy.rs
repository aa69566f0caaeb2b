//! Errors of simulated figures: of each case, and summarized by group.
//!
//! The error of a case is `(simulated - measured) / measured`, so 0.05 means that tiersim's figure
//! is 5 % above the measured one. Groups are summarized by the absolute errors of their cases;
//! cases that were not simulated are listed apart and count nowhere.

use super::case::Use;
use super::simulated::{Outcome, Simulated};
use serde::Serialize;
use std::collections::BTreeMap;

/// Measured against simulated.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Every case that was simulated, in the order of the files.
    pub cases: Vec<CaseError>,
    /// The errors of each group.
    pub groups: BTreeMap<String, GroupErrors>,
    /// The errors of all cases; those on which costs may be fitted and those that are only compared
    /// with apart, where both kinds are there.
    pub overall: BTreeMap<&'static str, GroupErrors>,
    /// Cases that did not get to their end.
    pub failed: Vec<Excluded>,
}

/// A case with its error.
#[derive(Clone, Debug, Serialize)]
pub struct CaseError {
    /// Its name.
    pub case: String,
    /// Its group.
    pub group: String,
    /// The measured figure.
    pub measured: f64,
    /// The simulated one, in the same unit.
    pub simulated: f64,
    /// `(simulated - measured) / measured`.
    pub error: f64,
    /// What was measured.
    pub metric: String,
    /// The unit of both figures.
    pub unit: &'static str,
    /// How many sequences each step decodes.
    pub batch: u32,
    /// The tokens of each prompt.
    pub prefill_tokens: u32,
    /// Whether costs may be fitted on it.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Whether it is a step of several stages that decodes.
    #[serde(skip)]
    pub is_of_decoding: bool,
    /// What ran: the model, the runtime if it has one, and the memory system.
    #[serde(skip)]
    pub system: (String, Option<String>, String),
    /// Both figures as seconds, of a step or of prefill: the places of its point in pictures.
    #[serde(skip)]
    pub seconds: (f64, f64),
}

/// A case without a simulated figure.
#[derive(Clone, Debug, Serialize)]
pub struct Excluded {
    /// Its name.
    pub case: String,
    /// Its group.
    pub group: String,
    /// Why.
    pub reason: String,
}

/// The absolute errors of several cases, as fractions of the measured figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupErrors {
    /// How many cases.
    pub count: usize,
    /// The mean.
    pub mean_abs_error: f64,
    /// The median.
    pub median_abs_error: f64,
    /// The 90th percentile.
    pub p90_abs_error: f64,
    /// The greatest.
    pub worst: f64,
    /// The case that has it.
    pub worst_case: String,
}

/// Absolute errors, sorted: their mean and their quantiles.
#[derive(Clone, Debug)]
pub struct Errors(Vec<f64>);

impl Errors {
    /// The absolute values of `errors`; `None` where there are none.
    pub fn new(errors: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut absolute: Vec<f64> = errors.into_iter().map(f64::abs).collect();
        absolute.sort_unstable_by(f64::total_cmp);
        (!absolute.is_empty()).then_some(Self(absolute))
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The error that a share of all does not exceed, interpolated between the two nearest (the
    /// seventh definition of Hyndman and Fan, 1996, as NumPy's).
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.0.len() - 1) as f64;
        let (below, above) = (self.0[at.floor() as usize], self.0[at.ceil() as usize]);
        below + (above - below) * at.fract()
    }
}

impl GroupErrors {
    /// Of `cases`; `None` where there are none.
    fn of<'a>(cases: impl Iterator<Item = &'a CaseError> + Clone) -> Option<Self> {
        let errors = Errors::new(cases.clone().map(|case| case.error))?;
        let count = errors.0.len();
        let worst = cases.max_by(|a, b| a.error.abs().total_cmp(&b.error.abs()))?;
        Some(Self {
            count,
            mean_abs_error: errors.mean(),
            median_abs_error: errors.quantile(0.5),
            p90_abs_error: errors.quantile(0.9),
            worst: worst.error.abs(),
            worst_case: worst.case.clone(),
        })
    }
}

impl Accuracy {
    /// Summarizes `simulated`.
    #[must_use]
    pub fn new(simulated: &[Simulated]) -> Self {
        let (mut cases, mut failed) = (Vec::new(), Vec::new());
        for Simulated { case, outcome, .. } in simulated {
            let excluded = |reason: &String| Excluded {
                case: case.name.clone(),
                group: case.group.clone(),
                reason: reason.clone(),
            };
            match outcome {
                Outcome::Failed(reason) => failed.push(excluded(reason)),
                Outcome::Simulated(figure) => {
                    let mut of_simulated = case.measured;
                    of_simulated.value = *figure;
                    cases.push(CaseError {
                        case: case.name.clone(),
                        group: case.group.clone(),
                        measured: case.measured.value,
                        simulated: *figure,
                        error: (figure - case.measured.value) / case.measured.value,
                        metric: case.measured.metric.to_string(),
                        unit: case.measured.unit,
                        batch: case.batch,
                        prefill_tokens: case.prefill_tokens,
                        usage: case.usage.name(),
                        is_of_decoding: case.measured.metric.is_of_decoding(),
                        system: (case.model.clone(), case.runtime.clone(), case.memory.clone()),
                        seconds: (case.measured_seconds(), of_simulated.seconds(case.tokens())),
                    });
                }
            }
        }
        let mut groups = BTreeMap::new();
        for group in cases.iter().map(|case| &case.group) {
            let of_group = cases.iter().filter(|case| case.group == *group);
            if !groups.contains_key(group)
                && let Some(errors) = GroupErrors::of(of_group)
            {
                groups.insert(group.clone(), errors);
            }
        }
        let overall = overall(&cases);
        Self { cases, groups, overall, failed }
    }
}

fn overall(cases: &[CaseError]) -> BTreeMap<&'static str, GroupErrors> {
    let mut overall: BTreeMap<&'static str, GroupErrors> = BTreeMap::new();
    for (name, _) in Use::ALL {
        if let Some(errors) = GroupErrors::of(cases.iter().filter(|case| case.usage == name)) {
            overall.insert(name, errors);
        }
    }
    if overall.len() < 2 {
        overall.clear();
    }
    overall.extend(GroupErrors::of(cases.iter()).map(|errors| ("all", errors)));
    overall
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let errors = Errors::new([-0.3, 0.1, 0.2, 0.0, 0.4]).unwrap();
        assert!((errors.mean() - 0.2).abs() < 1e-12);
        assert!((errors.quantile(0.5) - 0.2).abs() < 1e-12);
        // At 3.6 of 0..=4: six tenths of the way from 0.3 to 0.4.
        assert!((errors.quantile(0.9) - 0.36).abs() < 1e-12);
        assert_eq!((errors.quantile(0.0), errors.quantile(1.0)), (0.0, 0.4));
        assert!(Errors::new([]).is_none());
    }
}
