//! The pictures of a run, and of runs side by side: alpha, token latency and its distribution, and
//! memory in use.

use super::artifact::{Artifact, ReportError};
use super::chart::{Chart, Line, Panel, Stroke, colour};
use super::exporter::Exporter;
use super::labelled::Labelled;
use super::named::Named;
use super::percentiles::{Percentiles, drawn};
use super::placement::TIER_COLOURS;
use super::scale::{Cut, cut};
use crate::metrics::{RunReport, Timings};
use crate::units::SimTime;

/// The names of the pictures in every run's folder, without their endings.
pub(super) const PICTURES: [&str; 4] = ["alpha", "token_latency", "latency_cdf", "mem_usage"];
/// Those of a run that decodes several sequences, or whose prompts take time.
const OF_BATCH: [&str; 4] = ["batch", "prompts", "tpot_cdf", "ttft_cdf"];

/// The pictures in every run's folder.
pub(super) struct RunPictures;

impl Exporter for RunPictures {
    fn names(&self) -> Vec<String> {
        PICTURES.iter().chain(&OF_BATCH).flat_map(|name| [format!("{name}.svg"), format!("{name}.png")]).collect()
    }

    fn export(&self, run: &RunReport) -> Result<Vec<Artifact>, ReportError> {
        if run.series.is_empty() {
            return Ok(Vec::new());
        }
        let name = &*run.summary.label();
        let labelled = [Labelled { label: name, run }];
        let [of_alpha, of_latency, of_cdf, of_memory] = PICTURES;
        let panels = [MemoryPanel { title: name, runs: vec![labelled[0]] }];
        let unit = unit(&labelled);
        let ((alpha, latency), (cdf, memory)) = rayon::join(
            || {
                rayon::join(
                    || alpha(of_alpha, &format!("Alpha: {name}"), &labelled),
                    || token_latency(of_latency, &format!("{unit} latency: {name}"), &labelled),
                )
            },
            || {
                rayon::join(
                    || latency_cdf(of_cdf, &format!("{unit} latency CDF: {name}"), &labelled),
                    || memory_in_use(of_memory, "Memory in use", &panels),
                )
            },
        );
        let mut files: Vec<Artifact> = [alpha?, latency?, cdf?, memory?].into_iter().flatten().collect();
        files.extend(of_batch(&format!(": {name}"), &labelled)?);
        Ok(files)
    }
}

/// What a step is in the words of a picture: `Token`, or `Step` where any of `runs` decodes several
/// sequences or computes prompts.
#[must_use]
pub fn unit(runs: &[Labelled<'_>]) -> &'static str {
    if runs.iter().all(|run| run.run.summary.is_single()) { "Token" } else { "Step" }
}

/// The pictures of runs that decode several sequences, or whose prompts take time: the number of
/// sequences and the prompt tokens by step, and the distributions of TPOT and TTFT. None of other
/// runs. `of` follows the titles.
///
/// # Errors
/// [`ReportError`] if a picture cannot be drawn.
pub fn of_batch(of: &str, runs: &[Labelled<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let Some(first) = runs.iter().find(|run| !run.run.summary.is_single()) else { return Ok(Vec::new()) };
    let [batch, prompts, tpot, ttft] = OF_BATCH;
    let over_steps = |value: fn(&crate::metrics::Step<'_>) -> usize| {
        let lines = coloured(runs).map(|(run, colour)| Line {
            label: run.label.to_owned(),
            colour,
            stroke: Stroke::Solid,
            points: run.run.series.steps().map(|step| (step.step as f64, value(&step) as f64)).collect(),
        });
        lines.collect::<Vec<Line>>()
    };
    let mut lines = over_steps(|step| step.sequences);
    // The schedule follows from the sequences alone, so runs of one scenario share it.
    let same = |lines: &[Line]| lines.windows(2).all(|pair| pair[0].points == pair[1].points);
    let decoding = over_steps(|step| step.decoding);
    if same(&lines) && same(&decoding) {
        lines.truncate(1);
        lines.extend(decoding.into_iter().take(1));
        for (line, (label, colour)) in
            lines.iter_mut().zip([("begun and not ended", colour::VERMILLION), ("decoding", colour::BLUE)])
        {
            (line.label, line.colour) = (label.to_owned(), colour);
        }
    }
    let panel = |title: &str, y_label: &str, lines| Panel {
        title: format!("{title}{of}"),
        x_label: "step".to_owned(),
        y_label: y_label.to_owned(),
        lines,
        ..Panel::default()
    };
    let mut files: Vec<Artifact> = single(batch, panel("Sequences that share a step", "sequences", lines))?.into();
    let mut lines = over_steps(|step| step.prompt_tokens);
    if lines.iter().any(|line| line.points.iter().any(|(_, tokens)| *tokens > 0.0)) {
        if same(&lines) {
            lines.truncate(1);
            lines[0].label = String::new();
        }
        files.extend(single(prompts, panel("Prompt tokens by step", "prompt tokens in the step", lines))?);
    }
    for (name, what, pick) in [
        (tpot, "TPOT", (|run| run.tpot()) as fn(&RunReport) -> &Timings),
        (ttft, "TTFT", |run| &run.histograms.tokens.ttft),
    ] {
        if pick(first.run).count() > 0 {
            files.extend(distribution(name, &format!("{what} CDF{of}"), what, runs, pick)?);
        }
    }
    Ok(files)
}

/// The cumulative distribution of a time of tokens.
fn distribution(
    name: &str,
    title: &str,
    what: &str,
    runs: &[Labelled<'_>],
    pick: fn(&RunReport) -> &Timings,
) -> Result<[Artifact; 2], ReportError> {
    let lines = coloured(runs).map(|(run, colour)| Line {
        label: run.label.to_owned(),
        colour,
        stroke: Stroke::Solid,
        points: cumulative(pick(run.run)),
    });
    let of = if what == "TTFT" { "sequences" } else { "tokens" };
    let panel = Panel {
        title: title.to_owned(),
        x_label: format!("{what} (ms)"),
        y_label: format!("share of {of}"),
        lines: lines.filter(|line| !line.points.is_empty()).collect(),
        y_to: Some(1.0),
        ..Panel::default()
    };
    single(name, panel)
}

/// Throughput against latency: each run's tokens/s over its median TPOT, where any decodes several
/// sequences.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn throughput(name: &str, runs: &[Labelled<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let place = |run: &Labelled<'_>| {
        let summary = &run.run.summary;
        Some((run.label.to_owned(), milliseconds(summary.tpot()?.p50), summary.tokens_per_s?))
    };
    let points: Vec<(String, f64, f64)> = runs.iter().filter_map(place).collect();
    if points.len() < 2 || runs.iter().all(|run| run.run.summary.is_single()) {
        return Ok(Vec::new());
    }
    let picture = Named {
        name: name.to_owned(),
        title: "Throughput against latency: up and to the left is better".to_owned(),
        x_label: "TPOT p50 (ms)".to_owned(),
        y_label: "tokens/s".to_owned(),
        points,
    };
    Ok(picture.artifacts()?.into())
}

/// HBM's share of the bytes read, over the tokens, with the best ratio.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn alpha(name: &str, title: &str, runs: &[Labelled<'_>]) -> Result<[Artifact; 2], ReportError> {
    let mut lines: Vec<Line> = coloured(runs)
        .map(|(run, colour)| Line {
            label: run.label.to_owned(),
            colour,
            stroke: Stroke::Solid,
            points: run.run.series.steps().map(|step| (step.step as f64, step.alpha())).collect(),
        })
        .collect();
    let end = runs.iter().map(|run| run.run.series.len()).max().unwrap_or(0).saturating_sub(1).max(1) as f64;
    let best = |run: &RunReport| run.summary.best_ratio;
    let references = references(runs, |one, other| best(one) == best(other));
    let ratios = references.iter().enumerate().map(|(index, reference)| {
        let best = best(reference.run);
        Line {
            label: format!("best ratio ({best:.3})"),
            colour: colour::BLACK,
            stroke: [Stroke::Dashed, Stroke::Dotted][index.min(1)],
            points: vec![(0.0, best), (end, best)],
        }
    });
    lines.extend(ratios);
    single(name, Panel { y_to: Some(1.02), ..over_tokens(runs, title, "alpha (HBM's share of bytes read)", lines) })
}

/// Token latency over the tokens, with the bound.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn token_latency(name: &str, title: &str, runs: &[Labelled<'_>]) -> Result<[Artifact; 2], ReportError> {
    let mut lines: Vec<Line> = coloured(runs)
        .map(|(run, colour)| Line {
            label: run.label.to_owned(),
            colour,
            stroke: Stroke::Solid,
            points: latencies(run),
        })
        .collect();
    for reference in references(runs, same_bounds) {
        lines.push(Line {
            label: format!("bound{}", reference.of),
            colour: reference.colour,
            stroke: Stroke::Dashed,
            points: reference
                .run
                .series
                .steps()
                .map(|step| (step.step as f64, milliseconds(step.bound.as_ns())))
                .collect(),
        });
    }
    let panel = over_tokens(runs, title, &format!("{} latency (ms)", unit(runs).to_lowercase()), lines);
    let Some(cut) = latency_cut(runs) else { return single(name, panel) };
    single(name, Panel { y_to: Some(cut.end), note: beyond(&cut, runs), ..panel })
}

/// The cumulative distribution of token latency.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn latency_cdf(name: &str, title: &str, runs: &[Labelled<'_>]) -> Result<[Artifact; 2], ReportError> {
    let lines = coloured(runs)
        .map(|(run, colour)| Line {
            label: run.label.to_owned(),
            colour,
            stroke: Stroke::Solid,
            points: cumulative(&run.run.histograms.token_latency),
        })
        .collect();
    let panel = Panel {
        title: title.to_owned(),
        x_label: format!("{} latency (ms)", unit(runs).to_lowercase()),
        y_label: format!("share of {}s", unit(runs).to_lowercase()),
        lines,
        y_to: Some(1.0),
        ..Panel::default()
    };
    let Some(cut) = latency_cut(runs) else { return single(name, panel) };
    single(name, Panel { x_to: Some(cut.end), note: beyond(&cut, runs), ..panel })
}

/// The token latency that a share of all tokens does not exceed, over the share; TPOT where runs
/// decode several sequences.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn latency_percentiles(name: &str, title: &str, runs: &[Labelled<'_>]) -> Result<Vec<Artifact>, ReportError> {
    let lines: Vec<Percentiles<'_>> =
        coloured(runs).map(|(run, colour)| Percentiles { label: run.label, colour, timings: run.run.tpot() }).collect();
    drawn(name, title, &lines)
}

/// A panel of [`memory_in_use`].
pub struct MemoryPanel<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// The first is drawn solid, the second dashed.
    pub runs: Vec<Labelled<'a>>,
}

/// The bytes in use on each tier over the tokens: a panel for each entry of `panels`.
///
/// # Errors
/// [`ReportError`] if the picture cannot be drawn.
pub fn memory_in_use(name: &str, title: &str, panels: &[MemoryPanel<'_>]) -> Result<[Artifact; 2], ReportError> {
    const GIB: f64 = (1u64 << 30) as f64;
    let mut most: f64 = 0.0;
    let mut drawn = Vec::new();
    let x_label = counted(panels.iter().flat_map(|panel| &panel.runs));
    for panel in panels {
        let mut lines = Vec::new();
        for (index, labelled) in panel.runs.iter().enumerate() {
            let run = labelled.run;
            for (tier, tier_name) in run.tiers.iter().enumerate() {
                let points: Vec<(f64, f64)> =
                    run.series.steps().map(|step| (step.step as f64, step.by_tier[tier].used.as_f64() / GIB)).collect();
                most = points.iter().fold(most, |most, (_, y)| most.max(*y));
                let label =
                    if panel.runs.len() > 1 { format!("{tier_name}, {}", labelled.label) } else { tier_name.clone() };
                lines.push(Line {
                    label,
                    colour: TIER_COLOURS[tier % TIER_COLOURS.len()],
                    stroke: [Stroke::Solid, Stroke::Dashed][index.min(1)],
                    points,
                });
            }
        }
        if let Some(run) = panel.runs.first().map(|labelled| labelled.run)
            && let Some((tier, capacity)) = run.summary.capacity_bytes.0.first()
        {
            let (capacity, end) = (*capacity as f64 / GIB, run.series.len().saturating_sub(1).max(1) as f64);
            most = most.max(capacity);
            lines.push(Line {
                label: format!("{tier} capacity"),
                colour: colour::BLACK,
                stroke: Stroke::Dotted,
                points: vec![(0.0, capacity), (end, capacity)],
            });
        }
        drawn.push((panel.title.to_owned(), lines));
    }
    let panels = drawn
        .into_iter()
        .map(|(title, lines)| Panel {
            title,
            x_label: x_label.clone(),
            y_label: "in use (GiB)".to_owned(),
            lines,
            y_to: Some(most * 1.05),
            ..Panel::default()
        })
        .collect();
    Chart { name: name.to_owned(), title: title.to_owned(), panels }.artifacts()
}

/// The label of an axis of steps.
fn counted<'a>(mut runs: impl Iterator<Item = &'a Labelled<'a>>) -> String {
    if runs.all(|run| run.run.summary.is_single()) { "decoded tokens" } else { "step" }.to_owned()
}

fn over_tokens(runs: &[Labelled<'_>], title: &str, y_label: &str, lines: Vec<Line>) -> Panel {
    Panel {
        title: title.to_owned(),
        x_label: counted(runs.iter()),
        y_label: y_label.to_owned(),
        lines,
        ..Panel::default()
    }
}

/// The latency of each token of a run, in milliseconds.
fn latencies(run: Labelled<'_>) -> Vec<(f64, f64)> {
    run.run.series.steps().map(|step| (step.step as f64, milliseconds(step.latency.as_ns()))).collect()
}

/// Where a scale of token latency ends before the longest of them.
fn latency_cut(runs: &[Labelled<'_>]) -> Option<Cut> {
    let lines: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| latencies(*run)).collect();
    cut(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The note of a picture on latencies beyond its scale.
fn beyond(cut: &Cut, runs: &[Labelled<'_>]) -> String {
    cut.note(
        &format!("{} {} of {}", unit(runs).to_lowercase(), cut.x, runs[cut.line].label),
        &SimTime::from_ns(cut.y * 1e6).rounded(),
    )
}

fn single(name: &str, panel: Panel) -> Result<[Artifact; 2], ReportError> {
    Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] }.artifacts()
}

/// A colour for each run. A strategy with a name has the same one in every picture, if it is but
/// one run's; the others have what is left.
fn coloured<'a>(runs: &'a [Labelled<'a>]) -> impl Iterator<Item = (Labelled<'a>, &'static str)> {
    let own = |run: &Labelled<'_>| {
        let strategy = &run.run.summary.strategy;
        let unique = runs.iter().filter(|other| other.run.summary.strategy == *strategy).count() == 1;
        colour::of_strategy(strategy).filter(|_| unique)
    };
    let taken: Vec<&str> = runs.iter().filter_map(own).collect();
    // Those of the study come last, so that no other run looks like one of its strategies while
    // there is another colour.
    let free = colour::EIGHT.into_iter().filter(|colour| !colour::OF_THE_STUDY.contains(colour));
    let left: Vec<&'static str> = free.chain(colour::OF_THE_STUDY).filter(|colour| !taken.contains(colour)).collect();
    let mut others = left.into_iter().cycle();
    runs.iter().copied().map(move |run| (run, own(&run).or_else(|| others.next()).unwrap_or(colour::BLACK)))
}

/// A reference of runs, such as their bound.
struct Reference<'a> {
    /// The label of its run where there are several references: `, LABEL`.
    of: String,
    colour: &'static str,
    /// The longest run that has this reference.
    run: &'a RunReport,
}

/// The references of `runs`, one for all runs that share it: in black if all do, else in the colour
/// of the first run that has it.
fn references<'a>(runs: &'a [Labelled<'a>], same: impl Fn(&RunReport, &RunReport) -> bool) -> Vec<Reference<'a>> {
    let mut groups: Vec<Vec<(Labelled<'a>, &'static str)>> = Vec::new();
    for (run, colour) in coloured(runs) {
        match groups.iter_mut().find(|group| same(group[0].0.run, run.run)) {
            Some(group) => group.push((run, colour)),
            None => groups.push(vec![(run, colour)]),
        }
    }
    let all = groups.len() == 1;
    let reference = |group: Vec<(Labelled<'a>, &'static str)>| {
        let (first, colour) = *group.first()?;
        let others = if group.len() > 1 { format!(" and {} more", group.len() - 1) } else { String::new() };
        let longest = group.iter().rev().max_by_key(|(run, _)| run.run.series.len())?;
        Some(Reference {
            of: if all { String::new() } else { format!(", {}{others}", first.label) },
            colour: if all { colour::BLACK } else { colour },
            run: longest.0.run,
        })
    };
    groups.into_iter().filter_map(reference).collect()
}

/// Whether two runs have the same bounds, as far as both go.
fn same_bounds(one: &RunReport, other: &RunReport) -> bool {
    one.series.steps().zip(other.series.steps()).all(|(one, other)| one.bound == other.bound)
}

fn milliseconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e6
}

/// The steps of the cumulative distribution: up at each recorded value.
pub(super) fn cumulative(timings: &Timings) -> Vec<(f64, f64)> {
    let total = timings.count() as f64;
    let mut points = Vec::new();
    let mut share = 0.0;
    for bucket in timings.histogram().iter_recorded() {
        let value = milliseconds(bucket.value_iterated_to().min(timings.greatest().as_ps()) as f64 / 1_000.0);
        points.push((value, share));
        share += bucket.count_at_value() as f64 / total;
        points.push((value, share.min(1.0)));
    }
    points
}
