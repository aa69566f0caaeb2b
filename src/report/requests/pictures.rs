//! The pictures of runs that serve requests: the engine over time, and the distributions of the
//! times of requests.

use crate::metrics::{RunReport, ServingBin, TierBin, Timings};
use crate::report::artifact::{Artifact, ReportError};
use crate::report::chart::{Chart, Line, Panel, Stroke, colour};
use crate::report::exporter::Exporter;
use crate::report::labelled::Labelled;
use crate::report::pictures::cumulative;
use crate::units::SimTime;
use crate::workload::MoveKind;

/// The names of the pictures, without their endings.
const NAMES: [&str; 10] = [
    "batch",
    "tokens",
    "mem_usage",
    "kv_pages",
    "moves",
    "ttft_cdf",
    "tpot_cdf",
    "e2e_cdf",
    "queueing_cdf",
    "latency_cdf",
];

/// The pictures of a run that serves requests.
pub(in crate::report) struct RequestPictures;

impl Exporter for RequestPictures {
    fn names(&self) -> Vec<String> {
        NAMES.iter().flat_map(|name| [format!("{name}.svg"), format!("{name}.png")]).collect()
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        if run.requests.is_none() {
            return Ok(Vec::new());
        }
        let label = run.summary.label();
        request_pictures(&[Labelled { label: &label, run }])
    }
}

/// The most points of a line: more would be noise.
const MOST_POINTS: usize = 500;

/// The value of a stretch of time, given its width in seconds.
type Value = fn(&ServingBin, f64) -> f64;

/// A line of a picture over time: its label and its values.
type Part = (&'static str, Value);

const BATCH: [Part; 2] = [
    ("running", |bin, seconds| bin.running / seconds / SimTime::PS_PER_SECOND as f64),
    ("waiting", |bin, seconds| bin.waiting / seconds / SimTime::PS_PER_SECOND as f64),
];
const TOKENS: [Part; 2] =
    [("output tokens", |bin, seconds| bin.outputs / seconds), ("prompt tokens", |bin, seconds| bin.prompt / seconds)];
const PAGES: [Part; 3] = [
    ("in the first tier", |bin, _| bin.mean(bin.pages_hbm)),
    ("of these, cached only", |bin, _| bin.mean(bin.pages_cached)),
    ("in external memory", |bin, _| bin.mean(bin.pages_external)),
];
const MOVES: [Part; MoveKind::COUNT] = [
    ("Load", |bin, seconds| bin.moved[MoveKind::Load as usize] / seconds / 1e9),
    ("Store", |bin, seconds| bin.moved[MoveKind::Store as usize] / seconds / 1e9),
    ("SwapOut", |bin, seconds| bin.moved[MoveKind::SwapOut as usize] / seconds / 1e9),
    ("SwapIn", |bin, seconds| bin.moved[MoveKind::SwapIn as usize] / seconds / 1e9),
];

/// The pictures of `runs` that serve requests, on the same axes. Those over time are of runs whose
/// series are in memory: not of runs that were read back.
///
/// # Errors
/// [`ReportError`] if a picture cannot be drawn.
pub fn request_pictures(runs: &[Labelled<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let [batch, tokens, memory, pages, moves, ttft, tpot, e2e, queueing, latency] = NAMES;
    let of = if let [only] = runs { format!(": {}", only.label) } else { String::new() };
    let mut files = Vec::new();
    for (name, title, y, parts) in [
        (batch, "Requests in the engine", "requests", &BATCH[..]),
        (tokens, "Throughput", "tokens/s", &TOKENS),
        (pages, "Pages of KV in use", "pages", &PAGES),
        (moves, "KV moved between tiers", "GB/s", &MOVES),
    ] {
        files.extend(over_time(name, &format!("{title}{of}"), y, runs, parts)?);
    }
    files.extend(in_use(memory, &format!("Memory in use{of}"), runs)?);
    for (name, what, pick) in [
        (ttft, "TTFT", (|run| Some(&run.histograms.tokens.ttft)) as fn(&RunReport) -> Option<&Timings>),
        (tpot, "TPOT", |run| Some(&run.histograms.requests.as_ref()?.tpot)),
        (e2e, "End-to-end time", |run| Some(&run.histograms.requests.as_ref()?.e2e)),
        (queueing, "Queueing", |run| Some(&run.histograms.requests.as_ref()?.queueing)),
        (latency, "Step latency", |run| Some(&run.histograms.token_latency)),
    ] {
        files.extend(distribution(name, what, &of, runs, pick)?);
    }
    Ok(files)
}

/// The colour and the stroke of a line: of one run by what it shows, of several by run.
fn style(runs: usize, run: usize, part: usize) -> (&'static str, Stroke) {
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    match runs {
        1 => (colour::EIGHT[[1, 0, 2, 4][part % 4]], Stroke::Solid),
        _ => (colour::EIGHT[run % colour::EIGHT.len()], strokes[part % strokes.len()]),
    }
}

fn over_time(
    name: &str,
    title: &str,
    y_label: &str,
    runs: &[Labelled<'_>],
    parts: &[Part],
) -> Result<Vec<Artifact>, ReportError> {
    let mut lines = Vec::new();
    for (run, labelled) in runs.iter().enumerate() {
        for (part, (what, value)) in parts.iter().enumerate() {
            let points = points(labelled.run, |bin, _, seconds| value(bin, seconds));
            if points.iter().all(|(_, y)| *y == 0.0) {
                continue;
            }
            let label = if runs.len() == 1 { (*what).to_owned() } else { format!("{what}, {}", labelled.label) };
            let (colour, stroke) = style(runs.len(), run, part);
            lines.push(Line { label, colour, stroke, points });
        }
    }
    drawn(name, title, y_label, lines)
}

/// Memory in use on each tier, with the capacities that are near.
fn in_use(name: &str, title: &str, runs: &[Labelled<'_>]) -> Result<Vec<Artifact>, ReportError> {
    const GIB: f64 = (1u64 << 30) as f64;
    let mut lines = Vec::new();
    for (run, labelled) in runs.iter().enumerate() {
        for (tier, what) in labelled.run.tiers.iter().enumerate() {
            let points = points(labelled.run, |bin, by_tier, _| bin.mean(by_tier[tier].used) / GIB);
            let most = points.iter().fold(0.0, |most: f64, (_, y)| most.max(*y));
            if most == 0.0 {
                continue;
            }
            let end = points.last().map_or(0.0, |(x, _)| *x);
            let label = if runs.len() == 1 { what.clone() } else { format!("{what}, {}", labelled.label) };
            let (colour, stroke) = style(runs.len(), run, tier);
            lines.push(Line { label, colour, stroke, points });
            let capacity = labelled.run.summary.capacity_bytes.get(what).map_or(0.0, |bytes| *bytes as f64 / GIB);
            let label = format!("{what} capacity");
            if capacity > 0.0 && capacity <= 2.0 * most && lines.iter().all(|line| line.label != label) {
                let (colour, stroke) = (colour::BLACK, Stroke::Dotted);
                lines.push(Line { label, colour, stroke, points: vec![(0.0, capacity), (end, capacity)] });
            }
        }
    }
    drawn(name, title, "in use (GiB)", lines)
}

/// A value of each stretch, at its middle, in seconds; none of a run that was read back.
fn points(run: &RunReport, value: impl Fn(&ServingBin, &[TierBin], f64) -> f64) -> Vec<(f64, f64)> {
    let Some(requests) = &run.requests else { return Vec::new() };
    let seconds = |time: SimTime| time.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
    let series = requests.series.coarser(MOST_POINTS);
    let width = seconds(series.width());
    let bins = series.bins();
    bins.map(|(from, bin, by_tier)| (seconds(from) + width / 2.0, value(bin, by_tier, width))).collect()
}

fn drawn(name: &str, title: &str, y_label: &str, lines: Vec<Line>) -> Result<Vec<Artifact>, ReportError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let panel = Panel {
        title: title.to_owned(),
        x_label: "time (s)".to_owned(),
        y_label: y_label.to_owned(),
        lines,
        ..Panel::default()
    };
    Ok(Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] }.artifacts()?.into())
}

fn distribution(
    name: &str,
    what: &str,
    of: &str,
    runs: &[Labelled<'_>],
    pick: fn(&RunReport) -> Option<&Timings>,
) -> Result<Vec<Artifact>, ReportError> {
    let most = runs.iter().filter_map(|run| pick(run.run)).map(|it| it.greatest().as_ns()).fold(0.0, f64::max);
    let (unit, per_ms) = if most >= 2e9 { ("s", 1e-3) } else { ("ms", 1.0) };
    let line = |(index, run): (usize, &Labelled<'_>)| {
        let points = cumulative(pick(run.run)?);
        let points = points.into_iter().map(|(x, y)| (x * per_ms, y)).collect();
        let (colour, stroke) = style(runs.len(), index, 0);
        Some(Line { label: run.label.to_owned(), colour, stroke, points })
    };
    let lines: Vec<Line> = runs.iter().enumerate().filter_map(line).filter(|line| !line.points.is_empty()).collect();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let panel = Panel {
        title: format!("{what} CDF{of}"),
        x_label: format!("{what} ({unit})"),
        y_label: format!("share of {}", if name == "latency_cdf" { "steps" } else { "requests" }),
        lines,
        y_to: Some(1.0),
        ..Panel::default()
    };
    Ok(Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] }.artifacts()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::synthetic::{requests, serve};
    use crate::workload::GoalsConfig;

    #[test]
    fn every_picture_is_drawn_and_listed() {
        let served = serve(requests(30, SimTime::from_ns(1e8), GoalsConfig::default()));
        let files = RequestPictures.export(&served.report).unwrap();
        let mut drawn: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        let mut listed = RequestPictures.names();
        drawn.sort_unstable();
        listed.sort_unstable();
        assert_eq!(drawn, listed);
        let batch = files.iter().find(|file| file.path.ends_with("batch.svg")).unwrap();
        let text = String::from_utf8(batch.bytes.clone()).unwrap();
        assert!(text.contains("running") && text.contains("waiting"));
        // On the axes of another.
        let other = serve(requests(30, SimTime::from_ns(3e8), GoalsConfig::default()));
        let both = [Labelled { label: "busy", run: &served.report }, Labelled { label: "calm", run: &other.report }];
        assert_eq!(request_pictures(&both).unwrap().len(), files.len());
    }
}
