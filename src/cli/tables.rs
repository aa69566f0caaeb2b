use crate::metrics::{RunReport, Summary, rate};
use crate::report::Column;
use crate::units::{SimTime, SizeStyle};

/// Which figures the table of some runs has: of several sequences TPOT instead of the latency of a
/// token, and TTFT where prompts take time.
#[derive(Clone, Copy)]
pub(super) struct Results {
    batch: bool,
    timed: bool,
}

impl Results {
    /// Those of a table of `runs`.
    pub fn of<'a>(runs: impl IntoIterator<Item = &'a Summary>) -> Self {
        let runs = runs.into_iter();
        runs.fold(Self { batch: false, timed: false }, |all, run| Self {
            batch: all.batch || !run.is_single(),
            timed: all.timed || run.ttft_ns.is_some(),
        })
    }

    /// The columns with the results of runs, after those that identify the runs.
    pub fn columns(self) -> Vec<Column> {
        let latency = if self.batch { ["TPOT p50", "TPOT p99"] } else { ["token p50", "token p99"] };
        let to_first: &[&str] = if self.timed { &["TTFT p50", "TTFT p99"] } else { &[] };
        let before = ["simulated time", "tokens/s", "against first", "over bound", "alpha"];
        let all = before.iter().chain(&latency).chain(to_first).chain(&["migrated", "late", "HBM peak"]);
        all.map(|name| Column::number(name)).collect()
    }

    /// The cells for them. `first` is the run that the others are compared with.
    pub fn cells(self, run: &RunReport, first: &RunReport) -> Vec<String> {
        let mut cells = cells(run, first);
        if self.timed {
            let part = |pick: fn(&crate::metrics::Distribution) -> f64| {
                run.summary.ttft_ns.as_ref().map_or_else(dash, |times| time(pick(times)))
            };
            cells.splice(7..7, [part(|times| times.p50), part(|times| times.p99)]);
        }
        cells
    }
}

/// The cells but for TTFT.
fn cells(run: &RunReport, first: &RunReport) -> Vec<String> {
    let summary = &run.summary;
    let quantile = |pick: fn(&crate::metrics::Distribution) -> f64| {
        summary.tpot().as_ref().map_or_else(dash, |latency| time(pick(latency)))
    };
    // In the units in which the capacity was typed.
    let size = |bytes: u64| match first.summary.size_style() {
        SizeStyle::Binary => format!("{:.3} GiB", bytes as f64 / (1u64 << 30) as f64),
        SizeStyle::Decimal => format!("{:.3} GB", bytes as f64 / 1e9),
    };
    vec![
        if summary.complete {
            time(summary.simulated_ns)
        } else {
            format!("{} (incomplete)", time(summary.simulated_ns))
        },
        summary.tokens_per_s.map_or_else(dash, rate),
        summary.time_against(&first.summary).map_or_else(dash, |ratio| format!("{ratio:.4}")),
        summary.bound.achieved_over_bound.map_or_else(dash, |ratio| format!("{ratio:.4}")),
        summary.alpha.mean.map_or_else(dash, |alpha| format!("{alpha:.4}")),
        quantile(|latency| latency.p50),
        quantile(|latency| latency.p99),
        size(summary.migration.bytes()),
        summary.migration.late_tokens.to_string(),
        summary.peak_bytes.0.first().map_or_else(dash, |(_, bytes)| size(*bytes)),
    ]
}

fn time(nanoseconds: f64) -> String {
    SimTime::from_ns(nanoseconds).rounded()
}

fn dash() -> String {
    "-".to_owned()
}
