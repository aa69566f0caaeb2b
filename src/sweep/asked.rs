use super::Measure;

/// The subject of a report: its figure, axes and front.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The figure that tables are sorted by and pictures show; less is better.
    pub figure: Measure,
    /// The axes of pictures: the x axis, and the axis that has a line for each value. By default
    /// those that matter most.
    pub axes: Vec<usize>,
    /// The two measures of the front. By default the capacity that varies, and the figure.
    pub front: Option<(Measure, Measure)>,
    /// How many rows the table has.
    pub top: usize,
}

/// A figure by which runs of different lengths can be compared.
pub(super) const USUAL: &str = "token_latency_ns.mean";

/// The same of runs that serve requests: what a person waits for.
pub(super) const OF_REQUESTS: &str = "requests.e2e_ns.mean";

/// The columns of a table of points, after the axes.
pub(super) const FIGURES: [(&str, &str); 9] = [
    ("simulated time", "simulated_ns"),
    ("tokens/s", "tokens_per_s"),
    ("TPOT", "tpot_ns.mean"),
    ("TTFT", "ttft_ns.mean"),
    ("token p50", "token_latency_ns.p50"),
    ("token p99", "token_latency_ns.p99"),
    ("over bound", "bound.achieved_over_bound"),
    ("alpha", "alpha.mean"),
    ("migrated in", "migration.in_bytes"),
];
