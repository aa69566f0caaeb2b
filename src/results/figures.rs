use super::FinishedRun;
use crate::config::nearest;
use crate::metrics::{Named, Summary};
use crate::report::rate;
use crate::units::{SimTime, SizeStyle};
use serde_json::Value;
use std::sync::OnceLock;

/// What a figure is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// A share of one.
    Share,
    /// Tokens a second.
    Rate,
    /// Anything else.
    Number,
}

impl Kind {
    /// The kind of the figure of that path: its name says so.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let parts = || path.split('.');
        if parts().any(|part| part.ends_with("_ns")) {
            Self::Time
        } else if parts().any(|part| part.contains("bytes")) {
            Self::Bytes
        } else if parts().any(|part| part.ends_with("_share") || ["alpha", "utilization", "best_ratio"].contains(&part))
        {
            Self::Share
        } else if parts().any(|part| part == "tokens_per_s") {
            Self::Rate
        } else {
            Self::Number
        }
    }

    /// A value as a person reads it, sizes in the units of `style`.
    #[must_use]
    pub fn shown_in(self, value: f64, style: SizeStyle) -> String {
        if self == Self::Bytes { Self::bytes(value, style) } else { self.shown(value) }
    }

    fn bytes(value: f64, style: SizeStyle) -> String {
        match style {
            _ if value < (1u64 << 20) as f64 => format!("{value} B"),
            SizeStyle::Binary => format!("{:.3} GiB", value / (1u64 << 30) as f64),
            SizeStyle::Decimal => format!("{:.3} GB", value / 1e9),
        }
    }

    /// A value as a person reads it.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self {
            // Beyond 213 days the clock has no name for it; before the start it has none either.
            Self::Time if value >= 0.0 => SimTime::from_ns(value).rounded(),
            Self::Bytes => Self::bytes(value, SizeStyle::Binary),
            Self::Share => format!("{value:.4}"),
            Self::Rate => rate(value),
            Self::Number if value.fract() != 0.0 => format!("{value:.4}"),
            _ => value.to_string(),
        }
    }
}

/// A figure of several runs.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its path in `summary.json`.
    pub path: String,
    /// By run; `None` where a run has none.
    pub values: Vec<Option<f64>>,
}

impl Figure {
    /// The value of a run over that of the first, where both have one and the first's is not 0.
    #[must_use]
    pub fn ratio(&self, index: usize) -> Option<f64> {
        let (first, value) = ((*self.values.first()?)?, (*self.values.get(index)?)?);
        (first != 0.0).then_some(value / first)
    }
}

/// Short names of figures that are asked for often.
pub(super) const ALIASES: [(&str, &str); 12] = [
    ("time", "simulated_ns"),
    ("rate", "tokens_per_s"),
    ("tokens/s", "tokens_per_s"),
    ("alpha", "alpha.mean"),
    ("over_bound", "bound.achieved_over_bound"),
    ("achieved_over_bound", "bound.achieved_over_bound"),
    ("mean", "token_latency_ns.mean"),
    ("p50", "token_latency_ns.p50"),
    ("p90", "token_latency_ns.p90"),
    ("p99", "token_latency_ns.p99"),
    ("p999", "token_latency_ns.p999"),
    ("max", "token_latency_ns.max"),
];

/// The short names of figures.
pub fn short_names() -> impl Iterator<Item = &'static str> {
    ALIASES.iter().map(|(short, _)| *short)
}

/// The path of the figure that is called `name`, which may be its path or a short name.
#[must_use]
pub fn full_name(name: &str) -> &str {
    ALIASES.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long)
}

/// The figures of a summary by their paths, as far as these are the same for all runs: those by
/// tier, lane or class end before its name. They are those of its published schema.
#[must_use]
pub fn known_figures() -> &'static [String] {
    static KNOWN: OnceLock<Vec<String>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let schema = schemars::schema_for!(Summary).to_value();
        let mut paths = Vec::new();
        numbers(&schema, &schema, String::new(), &mut paths);
        paths
    })
}

/// The paths below `place`, which is called `path`, at which there are numbers.
fn numbers(schema: &Value, place: &Value, path: String, paths: &mut Vec<String>) {
    if let Some(name) = place.get("$ref").and_then(Value::as_str) {
        return schema
            .pointer(name.trim_start_matches('#'))
            .into_iter()
            .for_each(|it| numbers(schema, it, path.clone(), paths));
    }
    if let Some(Value::Array(choices)) = place.get("anyOf") {
        return choices.iter().for_each(|choice| numbers(schema, choice, path.clone(), paths));
    }
    if let Some(Value::Object(properties)) = place.get("properties") {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let figures = properties.iter().filter(|(name, _)| !["schema", "scenario"].contains(&name.as_str()));
        return figures.for_each(|(name, inner)| numbers(schema, inner, below(name), paths));
    }
    let is = |name: &str| match &place["type"] {
        Value::Array(types) => types.iter().any(|it| it == name),
        it => it == name,
    };
    if is("number") || is("integer") || place.get("additionalProperties").is_some() {
        paths.push(path);
    }
}

/// The figure that was meant by `name`, which is none: a path or a short name.
#[must_use]
pub fn figure_meant(name: &str) -> Option<&'static str> {
    let known = || ALIASES.iter().map(|(short, _)| *short).chain(known_figures().iter().map(String::as_str));
    // Whoever asks for a latency hardly means the least or the greatest one, or that of a layer,
    // without saying so.
    let rarely = |path: &&str| path.starts_with("layer_latency") || path.ends_with(".max") || path.ends_with(".min");
    nearest(name, known().filter(|path| !rarely(path))).or_else(|| nearest(name, known()))
}

/// Whether a path begins as one of a summary does.
pub(super) fn begins_as_a_figure(path: &str) -> bool {
    let first = |path: &'_ str| path.split('.').next().unwrap_or_default().to_owned();
    known_figures().iter().any(|known| first(known) == first(path))
}

/// The figures of a comparison: time, token latency, alpha, transfers, memory and lanes. Those that no run has, or that are 0
/// in all, are left out.
#[must_use]
pub fn figures(runs: &[&FinishedRun]) -> Vec<Figure> {
    let mut paths: Vec<String> = [
        "simulated_ns",
        "tokens_per_s",
        "steps",
        "bound.simulated_ns",
        "bound.achieved_over_bound",
        "token_latency_ns.mean",
        "token_latency_ns.p50",
        "token_latency_ns.p90",
        "token_latency_ns.p99",
        "token_latency_ns.p999",
        "token_latency_ns.max",
        "layer_latency_ns.p50",
        "layer_latency_ns.p99",
        "alpha.mean",
        "alpha.min",
        "alpha.max",
    ]
    .map(str::to_owned)
    .to_vec();
    let summaries = || runs.iter().map(|run| &run.report.summary);
    for name in names(summaries().map(|summary| &summary.transfers)) {
        let parts = ["latency_ns.p50", "latency_ns.p99", "queueing_ns.p99"];
        paths.extend(parts.map(|part| format!("transfers.{name}.{part}")));
    }
    let layouts = || summaries().filter_map(|summary| summary.layout.as_ref());
    for (when, what, shares) in [
        ("start", "weights_share", names(layouts().map(|layout| &layout.start.weights_share))),
        ("start", "kv_share", names(layouts().map(|layout| &layout.start.kv_share))),
        ("end", "kv_share", names(layouts().map(|layout| &layout.end.kv_share))),
    ] {
        paths.extend(shares.iter().map(|tier| format!("layout.{when}.{what}.{tier}")));
    }
    let waits = names(summaries().filter_map(|summary| Some(&summary.waits.as_ref()?.tiers_ns)));
    paths.extend(waits.iter().map(|tier| format!("waits.tiers_ns.{tier}")));
    paths.push("waits.compute_ns".to_owned());
    paths.extend(names(summaries().map(|summary| &summary.peak_bytes)).iter().map(|tier| format!("peak_bytes.{tier}")));
    paths.extend(
        names(summaries().map(|summary| &summary.lanes)).iter().map(|lane| format!("lanes.{lane}.utilization")),
    );
    paths.extend(
        ["read_beyond_bytes", "migration.in_bytes", "migration.out_bytes", "migration.late_tokens"].map(str::to_owned),
    );
    let of = |path: String| {
        let values = runs.iter().map(|run| find(&run.summary, &path).ok().and_then(Value::as_f64)).collect();
        Figure { path, values }
    };
    let said = |figure: &Figure| figure.values.iter().any(|value| value.is_some_and(|value| value != 0.0));
    paths.into_iter().map(of).filter(said).collect()
}

/// Every name that one of `all` has, in their order.
fn names<'a, T: 'a>(all: impl Iterator<Item = &'a Named<T>>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in all.flat_map(|named| &named.0) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// The value at `path`, whose names may have dots in them, or what there is instead at the deepest place that was reached.
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
    fn the_schema_names_the_figures() {
        for path in
            ["simulated_ns", "token_latency_ns.p99", "alpha.mlp.last", "peak_bytes", "lanes", "bound.simulated_ns"]
        {
            assert!(known_figures().iter().any(|known| known == path), "{path}: {:?}", known_figures());
        }
        assert!(!known_figures().iter().any(|known| known.starts_with("scenario") || known == "strategy"));
        assert!(figure_meant("p98").is_some_and(|short| short.starts_with("p9")));
        assert_eq!(figure_meant("tmie"), Some("time"));
        assert!(figure_meant("latency").is_some_and(|path| path.contains("latency_ns")));
        assert!(begins_as_a_figure("lanes.hbm.bus.utilization") && !begins_as_a_figure("latency"));
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(Kind::of("transfers.KvRead.latency_ns.p99").shown(1_500.0), "1.500 us");
        assert_eq!(Kind::of("peak_bytes.hbm").shown(1_073_741_824.0), "1.000 GiB");
        assert_eq!(Kind::of("lanes.hbm.bus.utilization").shown(0.5), "0.5000");
        assert_eq!(Kind::of("steps").shown(256.0), "256");
    }
}
