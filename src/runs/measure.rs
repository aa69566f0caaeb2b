use super::Pool;
use crate::metrics::{Recorder, RequestsRecorder, RunReport};
use crate::simulation::{RunError, Scenario, ServingOutcome, ServingProbe, Watch, serve};
use crate::workload::Requests;
use std::sync::Arc;

impl Pool<'_> {
    /// Runs `scenario` on this thread until it ends or the pool is over, whether it decodes
    /// sequences or serves requests: its report, and why it ended early if it did. The caller holds
    /// memory.
    ///
    /// # Errors
    /// As [`run()`](crate::simulation::run) and [`serve`].
    pub fn measure(&self, scenario: &Scenario) -> Result<(RunReport, Option<RunError>), RunError> {
        let Some(requests) = scenario.requests() else {
            let (recorder, outcome) = self.run(scenario, Recorder::new(scenario))?;
            return Ok((recorder.finish(scenario, &outcome), outcome.error));
        };
        let (recorder, outcome) = self.serve(scenario, requests, RequestsRecorder::new(scenario))?;
        Ok((recorder.finish(scenario, &outcome), outcome.error))
    }

    /// Serves `requests` on this thread until all are served or the pool is over. The caller holds
    /// memory.
    ///
    /// # Errors
    /// As [`serve`].
    pub fn serve<P: ServingProbe>(
        &self,
        scenario: &Scenario,
        requests: &Arc<Requests>,
        probe: P,
    ) -> Result<(P, ServingOutcome), RunError> {
        let (is_over, advance) = (|| self.is_over(), |tokens| self.progress().advance(tokens));
        let mut watched = (probe, Watch::new(&is_over, &advance));
        let outcome = serve(scenario, requests, &mut watched)?;
        let (probe, watch) = watched;
        watch.finish();
        self.progress().ended();
        Ok((probe, outcome))
    }
}
