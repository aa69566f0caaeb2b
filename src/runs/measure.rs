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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Cancel, Progress, Resources};
    use crate::simulation::ScenarioConfig;
    use crate::units::Bytes;
    use crate::workload::RequestsConfig;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Counted<'a>(&'a Cancel, AtomicU64, u64);

    impl Progress for Counted<'_> {
        fn advance(&self, units: u64) {
            if self.1.fetch_add(units, Ordering::Relaxed) + units >= self.2 {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The output tokens that were reported, and how the run ended, of one that is cancelled when
    /// so many are out.
    fn served(cancelled_at: u64) -> (u64, Result<(RunReport, Option<RunError>), RunError>) {
        let text = "(source: Generated(per_second: 100, prompt: Fixed(64), output: Fixed(50)), count: 20)";
        let requests: RequestsConfig = crate::config::parse(text, "test").unwrap();
        let [prefill_tokens, decode_tokens] = ScenarioConfig::OF_REQUESTS;
        let study = ScenarioConfig::load("study").unwrap();
        let config = ScenarioConfig { prefill_tokens, decode_tokens, requests: Some(requests), ..study };
        let scenario = Scenario::new(config).unwrap();
        assert_eq!(scenario.progress_units(), 20 * 50);
        let cancel = Cancel::new(false);
        let progress = Counted(&cancel, AtomicU64::new(0), cancelled_at);
        let pool = Pool::new(Resources::new(Some(1), Some(Bytes::new(1 << 30))), 1, &cancel, &progress).unwrap();
        let ended = pool.measure(&scenario);
        (progress.1.into_inner(), ended)
    }

    #[test]
    fn progress_is_in_output_tokens_and_a_cancelled_run_ends_at_its_next_step() {
        let (tokens, ended) = served(u64::MAX);
        let (report, error) = ended.unwrap();
        assert_eq!((tokens, error.is_none(), report.summary.complete), (1000, true, true));
        let (tokens, ended) = served(200);
        assert!((200..400).contains(&tokens), "{tokens}");
        assert!(matches!(ended, Err(RunError::Interrupted)));
    }
}
