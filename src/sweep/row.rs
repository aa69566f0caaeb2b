use crate::metrics::{Distribution, Named, Recorder, Summary};
use crate::simulation::{RunError, Scenario, Watch, run};
use serde::{Deserialize, Serialize};

/// What a cell came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its number.
    pub cell: u64,
    /// Why it has no figures or, with figures, why its run is incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The figures of its run, by their paths in `summary.json`.
    #[serde(default)]
    pub figures: Named<Figure>,
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// Counts and bytes.
    Whole(u64),
    /// Shares, ratios, and times in nanoseconds.
    Real(f64),
}

impl Figure {
    /// As a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl Row {
    /// A cell that did not run.
    #[must_use]
    pub fn failed(cell: u64, error: String) -> Self {
        Self { cell, error: Some(error), figures: Named::default() }
    }

    /// Runs `scenario` and keeps its figures; `None` if `is_over` said to end it.
    pub(super) fn simulated(cell: u64, scenario: &Scenario, is_over: &dyn Fn() -> bool) -> Option<Self> {
        let mut probe = (Recorder::new(scenario), Watch::new(is_over, &|_| {}));
        let outcome = match run(scenario, &mut probe) {
            Ok(outcome) => outcome,
            Err(RunError::Interrupted) => return None,
            Err(error) => return Some(Self::failed(cell, error.to_string())),
        };
        let mut report = probe.0.finish(scenario, &outcome);
        Some(match report.charge(scenario) {
            Ok(()) => Self::of(cell, &report.summary),
            Err(error) => Self::failed(cell, error.to_string()),
        })
    }

    /// The figures of a run. Of lanes, utilization alone is kept, and the distributions of transfers without their outer
    /// percentiles: what is kept takes the same room for each cell, however long its run was.
    #[must_use]
    pub fn of(cell: u64, summary: &Summary) -> Self {
        let mut figures = Figures(Vec::with_capacity(160));
        figures.real("simulated_ns", summary.simulated_ns);
        figures.some("tokens_per_s", summary.tokens_per_s);
        figures.some("bound.achieved_over_bound", summary.bound.achieved_over_bound);
        figures.real("bound.simulated_ns", summary.bound.simulated_ns);
        figures.some("bound.charged_ns", summary.bound.charged_ns);
        figures.some("bound.achieved_over_charged", summary.bound.achieved_over_charged);
        figures.whole("steps", summary.steps);
        figures.whole("events", summary.events);
        figures.real("best_ratio", summary.best_ratio);
        let alpha = &summary.alpha;
        for (name, value) in [
            ("mean", alpha.mean),
            ("min", alpha.min),
            ("max", alpha.max),
            ("first", alpha.first),
            ("last", alpha.last),
            ("attention.mean", alpha.attention.mean),
            ("attention.last", alpha.attention.last),
            ("mlp.mean", alpha.mlp.mean),
            ("mlp.last", alpha.mlp.last),
        ] {
            figures.some(&format!("alpha.{name}"), value);
        }
        for (tier, share) in &summary.read_share.0 {
            figures.some(&format!("read_share.{tier}"), *share);
        }
        figures.distribution("token_latency_ns", summary.token_latency_ns, true);
        figures.distribution("layer_latency_ns", summary.layer_latency_ns, true);
        for (class, transfers) in &summary.transfers.0 {
            figures.whole(&format!("transfers.{class}.count"), transfers.count);
            for (tier, bytes) in &transfers.bytes.0 {
                figures.whole(&format!("transfers.{class}.bytes.{tier}"), *bytes);
            }
            figures.distribution(&format!("transfers.{class}.latency_ns"), transfers.latency_ns, false);
            figures.distribution(&format!("transfers.{class}.queueing_ns"), transfers.queueing_ns, false);
            figures.distribution(&format!("transfers.{class}.lateness_ns"), transfers.lateness_ns, false);
        }
        for (tier, bytes) in &summary.peak_bytes.0 {
            figures.whole(&format!("peak_bytes.{tier}"), *bytes);
        }
        if let Some(layout) = &summary.layout {
            for (when, stored) in [("start", &layout.start), ("end", &layout.end)] {
                for (what, shares) in [("weights_share", &stored.weights_share), ("kv_share", &stored.kv_share)] {
                    for (tier, share) in &shares.0 {
                        figures.some(&format!("layout.{when}.{what}.{tier}"), *share);
                    }
                }
            }
        }
        for (tier, bytes) in &summary.capacity_bytes.0 {
            figures.whole(&format!("capacity_bytes.{tier}"), *bytes);
        }
        for (lane, load) in &summary.lanes.0 {
            figures.real(&format!("lanes.{lane}.utilization"), load.utilization);
        }
        figures.whole("read_beyond_bytes", summary.read_beyond_bytes);
        figures.whole("migration.in_bytes", summary.migration.in_bytes);
        figures.whole("migration.out_bytes", summary.migration.out_bytes);
        figures.whole("migration.late_tokens", summary.migration.late_tokens);
        Self { cell, error: summary.error.clone(), figures: Named(figures.0) }
    }

    /// The figure of that path, of a run that got to its end.
    #[must_use]
    pub fn figure(&self, path: &str) -> Option<f64> {
        if self.error.is_some() { None } else { self.figures.get(path).map(|figure| figure.as_f64()) }
    }
}

struct Figures(Vec<(String, Figure)>);

impl Figures {
    fn whole(&mut self, name: &str, value: u64) {
        self.0.push((name.to_owned(), Figure::Whole(value)));
    }

    fn real(&mut self, name: &str, value: f64) {
        // What is no number has no place in a dataset, nor in JSON.
        if value.is_finite() {
            self.0.push((name.to_owned(), Figure::Real(value)));
        }
    }

    fn some(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.real(name, value);
        }
    }

    fn distribution(&mut self, name: &str, of: Option<Distribution>, all: bool) {
        let Some(Distribution { mean, min, p50, p90, p99, p999, max }) = of else { return };
        for (part, value) in [("mean", mean), ("p50", p50), ("p99", p99), ("max", max)] {
            self.real(&format!("{name}.{part}"), value);
        }
        if all {
            for (part, value) in [("min", min), ("p90", p90), ("p999", p999)] {
                self.real(&format!("{name}.{part}"), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was() {
        let figures = vec![
            ("a".to_owned(), Figure::Whole(u64::MAX)),
            ("b".to_owned(), Figure::Real(2.0)),
            ("c".to_owned(), Figure::Real(0.1 + 0.2)),
            ("d".to_owned(), Figure::Real(1.234_567_890_123_456_7e300)),
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
                let text = serde_json::to_string(&Figure::Real(value)).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<Figure>(&text).unwrap().as_f64().to_bits(), bits);
            }
        }
    }
}
