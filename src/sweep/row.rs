//! A row of a sweep's dataset: the figures of one cell, or why it has none.

use super::SweepError;
use crate::metrics::{FigureValue, Named, Summary, stand_in, swept_figures};
use crate::runs::Pool;
use crate::simulation::{RunError, Scenario, ScenarioConfig, ScenarioError};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// The result of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The number of the cell.
    pub cell: u64,
    /// Why it has no figures or, with figures, why its run is incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The figures of its run, by their paths in `summary.json`.
    #[serde(default)]
    pub figures: Named<FigureValue>,
}

/// How the error of a cell begins that does not fit, in files as well.
pub const DOES_NOT_FIT: &str = "does not fit";

impl Row {
    /// A cell that did not run.
    #[must_use]
    pub fn failed(cell: u64, error: String) -> Self {
        Self { cell, error: Some(error), figures: Named::default() }
    }

    /// A cell whose weights and KV are more than the machine holds.
    #[must_use]
    pub(super) fn does_not_fit(cell: u64, error: &ScenarioError) -> Self {
        Self::failed(cell, format!("{DOES_NOT_FIT}: {error}"))
    }

    /// The row of a cell whose scenario is refused.
    #[must_use]
    pub(super) fn refused(cell: u64, error: &ScenarioError) -> Self {
        if error.is_of_room() { Self::does_not_fit(cell, error) } else { Self::failed(cell, error.to_string()) }
    }

    /// Why it does not fit, if that is why it has no figures.
    #[must_use]
    pub fn no_room(&self) -> Option<&str> {
        self.error.as_deref()?.strip_prefix(DOES_NOT_FIT)?.strip_prefix(": ")
    }

    /// Runs `scenario` and keeps its figures; `None` if it was interrupted.
    pub(super) fn simulated(cell: u64, scenario: &Scenario, pool: &Pool<'_>) -> Option<Self> {
        let (mut report, _) = match pool.measure(scenario) {
            Ok(ended) => ended,
            Err(RunError::Interrupted) => return None,
            Err(error) => return Some(Self::failed(cell, error.to_string())),
        };
        Some(match report.charge(scenario) {
            Ok(()) => Self::of(cell, &report.summary),
            Err(error) => Self::failed(cell, error.to_string()),
        })
    }

    /// Runs the scenario that `config` is, in memory of the pool.
    pub(super) fn of_config(config: ScenarioConfig, pool: &Pool<'_>) -> Result<Self, SweepError> {
        let scenario = match Scenario::new(config) {
            Ok(scenario) => scenario,
            Err(error) => return Ok(Self::refused(0, &error)),
        };
        let needed = pool.check(&scenario, Bytes::ZERO)?;
        let _held = pool.hold(needed).map_err(|_| SweepError::Stopped)?;
        Self::simulated(0, &scenario, pool).ok_or(SweepError::Stopped)
    }

    /// The figures of a run that sweeps keep. Their size does not depend on the length of the run.
    #[must_use]
    pub fn of(cell: u64, summary: &Summary) -> Self {
        Self { cell, error: summary.error.clone(), figures: swept_figures(summary) }
    }

    /// The figure of that path, of a complete run.
    #[must_use]
    pub fn figure(&self, path: &str) -> Option<f64> {
        if self.error.is_some() {
            return None;
        }
        let own = self.figures.get(path);
        let figure = own.or_else(|| self.figures.get(&stand_in(path)?));
        figure.map(|figure| figure.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was() {
        let figures = vec![
            ("a".to_owned(), FigureValue::Whole(u64::MAX)),
            ("b".to_owned(), FigureValue::Real(2.0)),
            ("c".to_owned(), FigureValue::Real(0.1 + 0.2)),
            ("d".to_owned(), FigureValue::Real(1.234_567_890_123_456_7e300)),
        ];
        let row = Row { cell: 7, error: Some("it's \"so\"".to_owned()), figures: Named(figures) };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }

    proptest::proptest! {
        #[test]
        fn floats_keep_their_last_bit(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = serde_json::to_string(&FigureValue::Real(value)).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<FigureValue>(&text).unwrap().as_f64().to_bits(), bits);
            }
        }
    }
}
