//! From what a [`RequestsRecorder`] saw to the report of its run.
//!
//! The figures of requests are computed from their records, over finished requests; rates are over
//! the time from the first arrival to the last token. Fields of a common [`Summary`] that have no
//! meaning here are empty: there is no bound, as it would depend on what the scheduler decides, and
//! no alpha by stage.

use super::recorder::RequestsRecorder;
use crate::memory::PerTier;
use crate::metrics::recorder::{
    Histograms, Mean, RunReport, SCHEMA, capacities, lane_summaries, shares, transfer_summaries,
};
use crate::metrics::requests::{RequestsReport, rows};
use crate::metrics::summary::{
    AlphaSummary, BoundSummary, GoodputSummary, LayoutSummary, MigrationSummary, MoveSummary, Named, RequestsSummary,
    StageAlpha, StoredSummary, Summary, WaitsSummary,
};
use crate::metrics::{Series, Timings};
use crate::simulation::{Scenario, ServingOutcome};
use crate::units::{Bytes, SimTime};
use crate::workload::{MoveKind, Requests};
use std::sync::Arc;

impl RequestsRecorder {
    /// The report of the run of `scenario` that ended so.
    ///
    /// # Panics
    /// If `scenario` has no requests.
    #[must_use]
    pub fn finish(self, scenario: &Scenario, outcome: &ServingOutcome) -> RunReport {
        let requests = scenario.requests().expect("a scenario that was served has requests");
        self.report(scenario, requests, outcome)
    }

    /// The same of any requests.
    pub(super) fn report(
        mut self,
        scenario: &Scenario,
        requests: &Arc<Requests>,
        outcome: &ServingOutcome,
    ) -> RunReport {
        let tiers: Vec<String> = scenario.memory().tiers().iter().map(|tier| tier.name.clone()).collect();
        let external = external_tier(requests, &tiers);
        let figures = self.figures(requests, outcome, &tiers, external);
        let by_tier = |values: &PerTier<Bytes>| -> Named<u64> {
            tiers.iter().cloned().zip(values.values().map(|bytes| bytes.get())).collect()
        };
        let times = |values: &PerTier<SimTime>| -> Named<f64> {
            tiers.iter().cloned().zip(values.values().map(|time| time.as_ns())).collect()
        };
        let Histograms { tokens, token_latency, .. } = &self.histograms;
        let moved = |inward: bool| -> u64 {
            let kinds = MoveKind::ALL.into_iter().filter(|kind| kind.is_inward() == inward);
            kinds.map(|kind| self.moves[kind as usize].1.get()).sum()
        };
        let waits = &outcome.waits;
        let summary = Summary {
            schema: SCHEMA,
            strategy: scenario.strategy_name(),
            knows: scenario.knowledge().to_string(),
            complete: outcome.error.is_none(),
            error: outcome.error.as_ref().map(ToString::to_string),
            steps: outcome.steps,
            simulated_ns: outcome.simulated.as_ns(),
            tokens_per_s: figures.output_tokens_per_s,
            drained_ns: outcome.drained.as_ns(),
            events: outcome.events,
            best_ratio: scenario.memory().best_ratio(),
            alpha: self.alpha(),
            read_share: tiers.iter().cloned().zip(self.shares.iter().map(Mean::mean)).collect(),
            token_latency_ns: token_latency.distribution(),
            tpot_ns: tokens.tpot.distribution(),
            ttft_ns: figures.ttft_ns,
            sequences: Vec::new(),
            layer_latency_ns: None,
            transfers: transfer_summaries(scenario.memory(), &self.histograms, &self.bytes),
            peak_bytes: by_tier(&outcome.peak),
            capacity_bytes: capacities(scenario.memory()),
            layout: Some(self.layout(&tiers, &outcome.weights)),
            waits: Some(WaitsSummary {
                tiers_ns: times(&waits.tiers),
                compute_ns: waits.compute.as_ns(),
                fixed_ns: Some(waits.fixed.as_ns()).filter(|fixed| *fixed > 0.0),
            }),
            lanes: lane_summaries(scenario.memory(), &outcome.lanes, outcome.drained),
            read_beyond_bytes: 0,
            read_beyond_share: 0.0,
            migration: MigrationSummary {
                in_bytes: moved(true),
                out_bytes: moved(false),
                late_tokens: 0,
                dropped_bytes: 0,
            },
            cache: None,
            experts: None,
            bound: BoundSummary {
                simulated_ns: 0.0,
                achieved_over_bound: None,
                charged_ns: None,
                achieved_over_charged: None,
            },
            requests: Some(figures),
            // Known only when the files are written.
            files: Named::default(),
            scenario: scenario.resolved().clone(),
        };
        let report = RequestsReport {
            requests: Arc::clone(requests),
            records: outcome.records.clone(),
            series: self.series,
            timeline: self.timeline,
            kv_room: outcome.kv_room.clone(),
            external,
        };
        RunReport {
            summary,
            series: Series::new(tiers.len()),
            histograms: self.histograms,
            sequences: Vec::new(),
            requests: Some(report),
            tiers,
            written: scenario.written().cloned(),
        }
    }

    /// The part `requests` of the summary; adds the distributions of finished requests.
    fn figures(
        &mut self,
        requests: &Requests,
        outcome: &ServingOutcome,
        tiers: &[String],
        external: Option<usize>,
    ) -> RequestsSummary {
        let mut of = RequestsSummary {
            arrived: requests.all.len() as u64,
            output_tokens: outcome.records.iter().map(|record| u64::from(record.tokens_out)).sum(),
            recomputed_tokens: outcome.records.iter().map(|record| u64::from(record.recomputed)).sum(),
            preemptions: outcome.records.iter().map(|record| u64::from(record.preemptions)).sum(),
            rejected: outcome.records.iter().filter(|record| record.rejected.is_some()).count() as u64,
            batch_mean: ratio(self.running as f64, self.busy.as_ps() as f64).unwrap_or(0.0),
            batch_max: u64::from(self.most_running),
            idle_ns: outcome.waits.idle.as_ns(),
            moves_ns: outcome.waits.moves.as_ns(),
            ..RequestsSummary::default()
        };
        let mut timings = self.histograms.requests.take().unwrap_or_default();
        let (mut good, mut last, mut hits) = (0, None, (0u64, 0u64));
        for row in rows(requests, &outcome.records) {
            if row.record.scheduled.is_some() {
                let (hbm, external) = (u64::from(row.record.hit_hbm), u64::from(row.record.hit_external));
                hits = (hits.0 + hbm, hits.1 + external);
                of.prompt_tokens.computed += u64::from(row.prompt).saturating_sub(hbm + external);
            }
            let (Some(ttft), Some(e2e), Some(queueing)) = (row.ttft, row.e2e, row.queueing) else { continue };
            of.finished += 1;
            last = last.max(row.record.finished);
            self.histograms.tokens.ttft.record(ttft);
            timings.e2e.record(e2e);
            timings.queueing.record(queueing);
            row.tpot.into_iter().for_each(|tpot| timings.tpot.record(tpot));
            good += u64::from(row.meets(&requests.goals));
        }
        (of.ttft_ns, of.tpot_ns) = (self.histograms.tokens.ttft.distribution(), timings.tpot.distribution());
        (of.e2e_ns, of.queueing_ns) = (timings.e2e.distribution(), timings.queueing.distribution());
        // Of a run that was interrupted, what came out so far.
        let end = if outcome.error.is_some() { Some(outcome.simulated) } else { last };
        let first = outcome.records.iter().map(|record| record.arrival).min();
        let span = end.zip(first).map(|(end, first)| seconds(end.saturating_sub(first)));
        let per_second = |count: u64| ratio(count as f64, span?);
        of.requests_per_s = per_second(of.finished);
        of.prompt_tokens_per_s = per_second(of.prompt_tokens.computed);
        of.output_tokens_per_s = per_second(of.output_tokens);
        of.goodput = (!requests.goals.is_none()).then(|| GoodputSummary {
            goals: requests.goals.to_string(),
            requests: good,
            share: ratio(good as f64, of.arrived as f64).unwrap_or(0.0),
            requests_per_s: per_second(good).unwrap_or(0.0),
        });
        let by_tier = [(0, hits.0)].into_iter().chain(external.map(|tier| (tier, hits.1)));
        of.prompt_tokens.hits = by_tier.map(|(tier, tokens)| (tiers[tier].clone(), tokens)).collect();
        let found = hits.0 + hits.1;
        of.prompt_tokens.hit_rate = ratio(found as f64, (found + of.prompt_tokens.computed) as f64);
        let of_kind = |kind: &MoveKind| self.moves[*kind as usize].0 > 0;
        let figures = |kind: MoveKind| {
            let ((count, bytes), times): (_, &Timings) = (self.moves[kind as usize], &timings.moves[kind as usize]);
            let latency_ns = times.distribution();
            (kind.name().to_owned(), MoveSummary { count, bytes: bytes.get(), latency_ns })
        };
        of.moves = MoveKind::ALL.into_iter().filter(of_kind).map(figures).collect();
        self.histograms.requests = Some(timings);
        of
    }

    fn alpha(&self) -> AlphaSummary {
        let nothing = || StageAlpha { mean: None, last: None };
        AlphaSummary {
            mean: self.shares.first().and_then(Mean::mean),
            min: self.alpha.min,
            max: self.alpha.max,
            first: self.alpha.first,
            last: self.alpha.last,
            attention: nothing(),
            mlp: nothing(),
            embedding: None,
            head: None,
        }
    }

    /// Weights stay where they are; at the start there is no KV, and at the end what the last step
    /// had in use.
    fn layout(&self, tiers: &[String], weights: &PerTier<Bytes>) -> LayoutSummary {
        let named = |values: &[Bytes]| -> Named<u64> {
            tiers.iter().cloned().zip(values.iter().map(|bytes| bytes.get())).collect()
        };
        let stored = |kv: &[Bytes]| StoredSummary {
            weights_bytes: named(weights.as_slice()),
            weights_share: shares(tiers, weights.as_slice()),
            kv_bytes: named(kv),
            kv_share: shares(tiers, kv),
        };
        let kv = self.used.iter().zip(weights.values());
        let kv: Vec<Bytes> = kv.map(|(used, weights)| Bytes::new(used.get().saturating_sub(weights.get()))).collect();
        LayoutSummary { start: stored(&vec![Bytes::ZERO; tiers.len()]), end: stored(&kv) }
    }
}

/// The tier behind the first that KV may be kept on: the one that is named, or the second.
fn external_tier(requests: &Requests, tiers: &[String]) -> Option<usize> {
    let named = requests.kv.tier.as_ref().and_then(|name| tiers.iter().position(|tier| tier == name));
    named.or((tiers.len() > 1).then_some(1))
}

fn seconds(time: SimTime) -> f64 {
    time.as_ps() as f64 / SimTime::PS_PER_SECOND as f64
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Served, requests, serve};
    use super::*;
    use crate::metrics::{figures, known_figures};
    use crate::workload::GoalsConfig;

    fn times(of: &Timings) -> (u64, u128) {
        (of.count(), of.sum_ps())
    }

    fn sums(values: impl Iterator<Item = SimTime>) -> (u64, u128) {
        values.fold((0, 0), |(count, sum), time| (count + 1, sum + u128::from(time.as_ps())))
    }

    fn goals(ttft: &str, tpot: &str) -> GoalsConfig {
        GoalsConfig { ttft: Some(ttft.parse().unwrap()), tpot: Some(tpot.parse().unwrap()), e2e: None }
    }

    /// Against the times of every token.
    #[test]
    fn figures_are_those_of_every_token() {
        let all = requests(300, SimTime::from_ns(1e8), goals("2s", "20ms"));
        let Served { report, tokens, steps } = serve(all.clone());
        let histograms = &report.histograms;
        let timings = histograms.requests.as_ref().unwrap();
        let gaps = tokens.iter().flat_map(|of| of.windows(2).map(|pair| pair[1] - pair[0]));
        assert_eq!(times(&histograms.tokens.tpot), sums(gaps));
        let arrivals = || all.all.iter().map(|request| request.arrival);
        let ttft = || tokens.iter().zip(arrivals()).map(|(of, arrival)| of[0] - arrival);
        assert_eq!(times(&histograms.tokens.ttft), sums(ttft()));
        let e2e = tokens.iter().zip(arrivals()).map(|(of, arrival)| of[of.len() - 1] - arrival);
        assert_eq!(times(&timings.e2e), sums(e2e));
        assert_eq!(times(&histograms.token_latency), sums(steps.iter().copied()));
        let tpot = |of: &Vec<SimTime>| {
            let gaps = of.len() as u64 - 1;
            (gaps > 0).then(|| SimTime::from_ps(((of[of.len() - 1] - of[0]).as_ps() + gaps / 2) / gaps))
        };
        assert_eq!(times(&timings.tpot), sums(tokens.iter().filter_map(tpot)));
        let good = ttft().zip(&tokens).filter(|(ttft, of)| {
            *ttft < all.goals.ttft.unwrap() && tpot(of).is_none_or(|tpot| tpot < all.goals.tpot.unwrap())
        });
        let good = good.count() as u64;
        let summary = report.summary.requests.as_ref().unwrap();
        let goodput = summary.goodput.as_ref().unwrap();
        assert!(good > 0 && good < 300, "{good} of 300 meet the goals: this test says nothing");
        assert_eq!((goodput.requests, goodput.goals.as_str()), (good, "ttft<2s,tpot<20ms"));
        assert_eq!((summary.arrived, summary.finished, report.summary.is_single()), (300, 300, false));
        assert_eq!(summary.output_tokens, tokens.iter().map(|of| of.len() as u64).sum::<u64>());
        assert_eq!(summary.moves.0.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["Load", "Store"]);
        // A pause of a request is a gap that is longer than a step.
        let pauses = &report.requests.as_ref().unwrap().timeline.pauses;
        assert!(
            pauses.len() as u64 <= summary.preemptions && !pauses.is_empty() && pauses.iter().all(|of| of.preempted)
        );
        let series = &report.requests.as_ref().unwrap().series;
        let outputs: f64 = series.bins().map(|(_, bin, _)| bin.outputs).sum();
        assert!((outputs / summary.output_tokens as f64 - 1.0).abs() < 1e-9);
        let moved: f64 = series.bins().map(|(_, bin, _)| bin.moved[0]).sum();
        assert!((moved / summary.moves.0[0].1.bytes as f64 - 1.0).abs() < 1e-9);
    }

    /// Every number of the part `requests` is a figure, and has its value.
    #[test]
    fn every_number_is_a_figure() {
        let summary = serve(requests(20, SimTime::from_ns(1e8), goals("2s", "20ms"))).report.summary;
        let written = serde_json::to_value(&summary).unwrap();
        let values = figures().iter().flat_map(|figure| figure.values(&summary));
        let mut count = 0;
        for (path, value) in values.filter(|(path, _)| path.starts_with("requests.")) {
            let place = format!("/{}", path.replace('.', "/"));
            assert_eq!(written.pointer(&place).and_then(serde_json::Value::as_f64), Some(value.as_f64()), "{path}");
            count += 1;
        }
        fn numbers(value: &serde_json::Value) -> usize {
            match value {
                serde_json::Value::Number(_) => 1,
                serde_json::Value::Object(fields) => fields.values().map(numbers).sum(),
                _ => 0,
            }
        }
        assert_eq!(count, numbers(&written["requests"]));
        assert!(known_figures().contains(&"requests.goodput.share"));
    }

    #[test]
    fn nothing_served_has_no_rates() {
        let report = serve(requests(0, SimTime::from_ns(1.0), GoalsConfig::default())).report;
        let summary = report.summary.requests.unwrap();
        assert_eq!((summary.requests_per_s, summary.batch_max, summary.goodput.is_none()), (None, 0, true));
        assert!(summary.ttft_ns.is_none() && report.summary.tokens_per_s.is_none());
    }
}
