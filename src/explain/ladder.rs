use super::ExplainError;
use crate::metrics::WaitRecorder;
use crate::simulation::{Ideal, Idealization, Scenario};

/// The runs that explain a scenario: as it is, then with one more thing idealized each.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// In that order.
    pub runs: Vec<Run>,
    /// Idealizations that make no difference to the scenario, and have no run.
    pub without_effect: Vec<Ideal>,
}

/// One run of a [`Ladder`].
#[derive(Clone, Debug)]
pub struct Run {
    /// What this run idealizes in addition to the one before; nothing in the first.
    pub idealized: Option<Ideal>,
    /// Its steps, and what they waited for.
    pub waits: WaitRecorder,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

impl Run {
    /// The name of what this run idealizes in addition to the one before.
    #[must_use]
    pub fn name(&self) -> String {
        self.idealized.map_or_else(|| "as it is".to_owned(), |ideal| ideal.name().to_owned())
    }
}

impl Ladder {
    /// The idealizations that make a difference to `scenario`, in their order.
    #[must_use]
    pub fn ideals(scenario: &Scenario) -> Vec<Ideal> {
        Ideal::ALL.into_iter().filter(|ideal| scenario.is_affected_by(*ideal)).collect()
    }

    /// The scenarios to run, each with what it idealizes in addition to the one before.
    ///
    /// # Errors
    /// [`ExplainError::Scenario`]: what is wrong with an idealized scenario.
    pub fn scenarios(scenario: &Scenario) -> Result<Vec<(Option<Ideal>, Scenario)>, ExplainError> {
        let mut scenarios = vec![(None, scenario.clone())];
        let mut idealization = Idealization::NONE;
        for ideal in Self::ideals(scenario) {
            idealization = idealization.with(ideal);
            let idealized = scenario.idealized(idealization);
            let idealized = idealized.map_err(|source| ExplainError::Scenario { ideal, source: Box::new(source) })?;
            scenarios.push((Some(ideal), idealized));
        }
        Ok(scenarios)
    }

    /// The ladder of the runs of all [scenarios](Self::scenarios), in their order.
    #[must_use]
    pub fn new(runs: Vec<Run>) -> Self {
        let is_idealized = |ideal: &Ideal| runs.iter().any(|run| run.idealized == Some(*ideal));
        let without_effect = Ideal::ALL.into_iter().filter(|ideal| !is_idealized(ideal)).collect();
        Self { runs, without_effect }
    }
}
