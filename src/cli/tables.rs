use crate::metrics::{RunReport, rate};
use crate::report::Column;
use crate::units::{SimTime, SizeStyle};

/// The columns with the results of runs, after those that identify the runs.
pub(super) fn result_columns() -> Vec<Column> {
    [
        "simulated time",
        "tokens/s",
        "against first",
        "over bound",
        "alpha",
        "token p50",
        "token p99",
        "migrated",
        "late",
        "HBM peak",
    ]
    .map(Column::number)
    .to_vec()
}

/// The cells for them. `first` is the run that the others are compared with.
pub(super) fn result_cells(run: &RunReport, first: &RunReport) -> Vec<String> {
    let summary = &run.summary;
    let quantile = |pick: fn(&crate::metrics::Distribution) -> f64| {
        summary.token_latency_ns.as_ref().map_or_else(dash, |latency| time(pick(latency)))
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
