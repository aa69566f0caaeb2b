use super::FinishedRun;
use crate::config::nearest;
use crate::metrics::{Summary, compared_paths, known_figures, short_names, stand_in};
use serde_json::Value;

/// A figure of several runs.
#[derive(Clone, Debug)]
pub struct FigureOfRuns {
    /// Its path in `summary.json`.
    pub path: String,
    /// By run; `None` where a run has none.
    pub values: Vec<Option<f64>>,
}

impl FigureOfRuns {
    /// The value of a run over that of the first, where both have one and the first's is not 0.
    #[must_use]
    pub fn ratio(&self, index: usize) -> Option<f64> {
        let (first, value) = ((*self.values.first()?)?, (*self.values.get(index)?)?);
        (first != 0.0).then_some(value / first)
    }
}

/// The figure that was probably meant by the unknown `name`: a path or a short name.
#[must_use]
pub fn figure_meant(name: &str) -> Option<&'static str> {
    let known = || short_names().chain(known_figures().iter().copied());
    // A user who asks for a latency hardly means the minimum, the maximum or that of a layer
    // without saying so.
    let rarely = |path: &&str| path.starts_with("layer_latency") || path.ends_with(".max") || path.ends_with(".min");
    nearest(name, known().filter(|path| !rarely(path))).or_else(|| nearest(name, known()))
}

/// Whether a path begins as one of a summary does.
pub(super) fn begins_as_a_figure(path: &str) -> bool {
    let first = |path: &'_ str| path.split('.').next().unwrap_or_default().to_owned();
    known_figures().iter().any(|known| first(known) == first(path))
}

/// The figures of a comparison, in the order of [the table](crate::metrics::figures()). Those that
/// no run has, or that are 0 in all, are left out.
#[must_use]
pub fn figures(runs: &[&FinishedRun]) -> Vec<FigureOfRuns> {
    let summaries: Vec<&Summary> = runs.iter().map(|run| &run.report.summary).collect();
    let of = |path: String| {
        let values = runs.iter().map(|run| figure_in(&run.summary, &path).ok().and_then(Value::as_f64)).collect();
        FigureOfRuns { path, values }
    };
    let has_values = |figure: &FigureOfRuns| figure.values.iter().any(|value| value.is_some_and(|value| value != 0.0));
    compared_paths(&summaries).into_iter().map(of).filter(has_values).collect()
}

/// As [`find`], of a run's summary; or the value of the figure that stands in for that at `path` in
/// a run of one sequence.
pub(super) fn figure_in<'a>(summary: &'a Value, path: &str) -> Result<&'a Value, Vec<String>> {
    let single = || summary.get("sequences").is_none();
    find(summary, path).or_else(|known| {
        let instead = stand_in(path).filter(|_| single()).and_then(|path| find(summary, &path).ok());
        instead.ok_or(known)
    })
}

/// The value at `path`, whose names may have dots in them, or the names that exist at the deepest
/// level that was reached.
pub(super) fn find<'a>(value: &'a Value, path: &str) -> Result<&'a Value, Vec<String>> {
    let mut deepest = known(value);
    for (end, _) in path.match_indices('.').chain(std::iter::once((path.len(), ""))) {
        let name = &path[..end];
        let inner = match value {
            Value::Array(entries) => name.parse::<usize>().ok().and_then(|index| entries.get(index)),
            value => value.get(name),
        };
        let Some(inner) = inner else { continue };
        if end == path.len() {
            return Ok(inner);
        }
        match find(inner, &path[end + 1..]) {
            Ok(found) => return Ok(found),
            Err(names) => deepest = names,
        }
    }
    Err(deepest)
}

fn known(value: &Value) -> Vec<String> {
    value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_may_have_dots() {
        let value = json!({"lanes": {"hbm.bus": {"utilization": 0.5}, "hbm": {"x": 1}}});
        assert_eq!(find(&value, "lanes.hbm.bus.utilization").unwrap(), &json!(0.5));
        assert_eq!(find(&value, "lanes.hbm.bus.use").unwrap_err(), ["utilization"]);
        assert_eq!(find(&value, "lane").unwrap_err(), ["lanes"]);
    }

    #[test]
    fn tpot_of_one_sequence_is_the_latency_of_a_step() {
        let single = json!({"token_latency_ns": {"p99": 7.0}});
        assert_eq!(figure_in(&single, "tpot_ns.p99").unwrap(), &json!(7.0));
        let batch = json!({"token_latency_ns": {"p99": 7.0}, "sequences": []});
        assert!(figure_in(&batch, "tpot_ns.p99").is_err() && figure_in(&single, "ttft_ns.p99").is_err());
    }

    #[test]
    fn a_name_that_is_almost_right_is_understood() {
        assert!(figure_meant("p98").is_some_and(|short| short.starts_with("p9")));
        assert_eq!(figure_meant("tmie"), Some("time"));
        assert!(figure_meant("latency").is_some_and(|path| path.contains("latency_ns")));
        assert!(begins_as_a_figure("lanes.hbm.bus.utilization") && !begins_as_a_figure("latency"));
    }
}
