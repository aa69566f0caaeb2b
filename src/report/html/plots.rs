//! The lines that the page's script draws, as JSON: thinned, and in a readable unit.
//!
//! A long run has more steps than a screen has pixels and would make the page too large. Lines are
//! thinned to the minimum and maximum of each stretch, so that no peak is lost; distributions keep
//! their tail; numbers have six significant digits.

use super::words;
use crate::metrics::{RunReport, Step, Timings};
use crate::report::chart::{self, colour};
use crate::report::labelled::Labelled;
use crate::report::{numbers, scale};
use serde::{Serialize, Serializer};

/// The most points over all lines of a page, so that it stays under 5 MB: a point takes some 10
/// bytes, at most 20.
const POINTS_OF_A_PAGE: usize = 160_000;
/// The least number of points of a line: a page of hundreds of runs grows instead.
const LEAST_POINTS: usize = 100;
/// How many lines a run has on average: two for alpha and latency, those of its tiers, three of
/// migration.
const LINES_OF_A_RUN: usize = 8;

/// All that the script draws in one place of a page.
#[derive(Default, Serialize)]
pub(super) struct Plots {
    pub title: String,
    pub plots: Vec<Plot>,
    /// Sentences in place of plots that would be empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The choices of the plot of distributions.
    pub distributions: Vec<Plot>,
    /// Whether all plots have the same lines, in one legend, and the same scale.
    #[serde(skip_serializing_if = "is_false")]
    pub shared: bool,
}

impl Plots {
    pub fn of(plots: Vec<Plot>) -> Self {
        Self { plots, ..Self::default() }
    }
}

/// One pair of axes.
#[derive(Default, Serialize)]
pub(super) struct Plot {
    pub id: String,
    pub title: String,
    pub x: String,
    pub y: String,
    /// The end of the x axis, where it is not the last point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_to: Option<f64>,
    /// The end of what is shown of the x axis at first, where a few values lie far beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_view: Option<Number>,
    /// The end of the y axis, where a few values lie far beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_to: Option<Number>,
    /// Whether the height begins where the values do, and not at 0, unless a reader asks for that.
    #[serde(skip_serializing_if = "is_false")]
    pub fit: bool,
    /// Whether x is logarithmic.
    #[serde(skip_serializing_if = "is_false")]
    pub log: bool,
    /// Whether x has values only where the lines have points, and not in between.
    #[serde(skip_serializing_if = "is_false")]
    pub snap: bool,
    /// Whether x is a time, and not a count.
    #[serde(skip_serializing_if = "is_false")]
    pub time: bool,
    /// A note for the reader: that the lines were thinned, and how, or that some values are beyond
    /// the scale.
    pub note: String,
    pub lines: Vec<Line>,
}

impl Plot {
    /// A plot without anything yet; `id` is its own on the page.
    pub fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }
}

#[derive(Serialize)]
pub(super) struct Line {
    label: String,
    /// An index of the page's colours; `None` for a reference such as the bound.
    colour: Option<usize>,
    /// An index of the page's dashes: two lines never differ only in colour.
    dash: usize,
    /// x and y in turn.
    points: Vec<Number>,
    /// A name for each of the points, which are then no line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Line {
    pub fn new(label: String, (colour, dash): (Option<usize>, usize), points: Vec<Number>) -> Self {
        Self { label, colour, dash, points, names: Vec::new() }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde has it.
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// A number that JSON shows in as few digits as it needs: whole ones without a fraction.
#[derive(Clone, Copy)]
pub(super) struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = (1u64 << 53) as f64;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

const NO_STEPS: &str = "No token was decoded to its end.";

/// The most points of a line on a page of `runs` runs.
pub(super) fn most_points(runs: usize) -> usize {
    (POINTS_OF_A_PAGE / (LINES_OF_A_RUN * runs.max(1))).clamp(LEAST_POINTS, chart::MOST_POINTS)
}

/// The plots of `runs`, with at most `most` points a line. A constant is described in a sentence
/// instead of drawn.
pub(super) fn plots(title: &str, runs: &[Labelled<'_>], most: usize) -> Plots {
    let over = OverTokens::new(runs, most);
    let mut plots =
        Plots { title: title.to_owned(), distributions: distributions(runs, &over.colours, most), ..Plots::default() };
    if over.steps == 0 {
        plots.notes.push(NO_STEPS.to_owned());
        return plots;
    }
    // Time first: it is the subject of the page.
    plots.plots.push(over.latency());
    plots.plots.extend(throughput(runs, &over.colours));
    if let Some(count) = over.constant_batch() {
        plots.notes.push(format!("Every step decodes {count} sequences."));
    } else {
        plots.plots.extend(over.sequences());
    }
    plots.plots.extend(over.prompts());
    plots.plots.extend([over.memory(), over.alpha()]);
    for (plot, nothing) in [
        (over.migrated(), "Nothing moved between steps."),
        (over.late(), "No token was read before its move had ended."),
    ] {
        match plot {
            Some(plot) => plots.plots.push(plot),
            None => plots.notes.push(nothing.to_owned()),
        }
    }
    plots
}

/// The common settings of plots over the decoded tokens.
struct OverTokens<'a> {
    runs: &'a [Labelled<'a>],
    colours: Vec<(usize, usize)>,
    most: usize,
    steps: usize,
    /// `token`; or `step` where any run decodes several sequences.
    unit: &'static str,
}

impl<'a> OverTokens<'a> {
    fn new(runs: &'a [Labelled<'a>], most: usize) -> Self {
        let steps = runs.iter().map(|run| run.run.series.len()).max().unwrap_or(0);
        let batch = runs.iter().any(|run| !run.run.summary.is_single());
        Self { runs, colours: coloured(runs), most, steps, unit: if batch { "step" } else { "token" } }
    }

    fn end(&self) -> f64 {
        self.steps.saturating_sub(1).max(1) as f64
    }

    fn plot(&self, id: &str, title: &str, y: String, lines: Vec<Line>) -> Plot {
        let note = if self.steps > self.most {
            format!(
                "Thinned: of every {} {}s each line shows the least and the greatest, so no peak is missing; all {} are in steps.csv.",
                chart::stretch(self.steps, self.most),
                self.unit,
                self.steps
            )
        } else {
            String::new()
        };
        let x = if self.unit == "token" { "decoded tokens" } else { self.unit }.to_owned();
        Plot { title: title.to_owned(), x, y, x_to: Some(self.end()), note, lines, ..Plot::new(id.to_owned()) }
    }

    /// `plot` with a scale that a few values, as of the first step, do not set; `shown` has the
    /// unit of its values.
    fn cut(&self, plot: Plot, value: impl Fn(&Step<'_>) -> f64, shown: impl Fn(f64) -> String) -> Plot {
        let points = |run: &Labelled<'_>| -> Vec<(f64, f64)> {
            run.run.series.steps().map(|step| (step.step as f64, value(&step))).collect()
        };
        let lines: Vec<Vec<(f64, f64)>> = self.runs.iter().map(points).collect();
        let Some(cut) = scale::cut(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>()) else { return plot };
        let greatest = format!("{} {} of {}", self.unit, cut.x, self.runs[cut.line].label);
        let note = cut.note(&greatest, &shown(cut.y)) + " “Whole” shows all. " + &plot.note;
        Plot { y_to: Some(Number(rounded(cut.end))), note: note.trim_end().to_owned(), ..plot }
    }

    /// A line of one value a step; steps without one are left out.
    fn line(&self, run: usize, label: String, style: (Option<usize>, usize), value: impl Fn(&Step<'_>) -> f64) -> Line {
        let points: Vec<(f64, f64)> = self.runs[run]
            .run
            .series
            .steps()
            .map(|step| (step.step as f64, value(&step)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        Line::new(label, style, numbers(&level(&with_ends(&points, self.most))))
    }

    /// The line of each run in its own colour.
    fn of_each(&self, value: impl Fn(&Step<'_>) -> f64 + Copy) -> Vec<Line> {
        let style = |run: usize| (Some(self.colours[run].0), self.colours[run].1);
        (0..self.runs.len()).map(|run| self.line(run, self.runs[run].label.to_owned(), style(run), value)).collect()
    }

    fn greatest(&self, value: impl Fn(&Step<'_>) -> f64) -> f64 {
        let steps = self.runs.iter().flat_map(|run| run.run.series.steps());
        steps.map(|step| value(&step)).fold(0.0, f64::max)
    }

    /// A line at the same height all over.
    fn across(&self, label: String, dash: usize, height: f64) -> Line {
        Line::new(label, (None, dash), numbers(&[(0.0, height), (self.end(), height)]))
    }

    fn alpha(&self) -> Plot {
        let mut lines = self.of_each(|step| step.alpha());
        let mut shown: Vec<f64> = Vec::new();
        for run in self.runs {
            let best = run.run.summary.best_ratio;
            if !shown.contains(&best) {
                shown.push(best);
                lines.push(self.across(format!("best ratio ({best:.3})"), shown.len(), best));
            }
        }
        let tier = self.runs.first().map_or("tier 0", |run| words::fastest_tier(run.run));
        self.plot("alpha", "Alpha", format!("share of bytes read from {tier}"), lines)
    }

    fn latency(&self) -> Plot {
        let (unit, factor) = time_unit(self.greatest(|step| step.latency.as_ns().max(step.bound.as_ns())));
        let mut lines = self.of_each(|step| step.latency.as_ns() / factor);
        let bound = |step: &Step<'_>| step.bound.as_ns() / factor;
        // Runs with the same bounds share one line, that of the longest run.
        let longest =
            (0..self.runs.len()).max_by_key(|run| (self.runs[*run].run.series.len(), std::cmp::Reverse(*run)));
        let same = |run: &RunReport, other: &RunReport| {
            run.series.steps().zip(other.series.steps()).all(|(a, b)| a.bound == b.bound)
        };
        if let Some(longest) = longest {
            if self.runs.iter().all(|run| same(run.run, self.runs[longest].run)) {
                lines.push(self.line(longest, "bound".to_owned(), (None, 1), bound));
            } else {
                let bounds = (0..self.runs.len()).map(|run| {
                    let label = format!("bound, {}", self.runs[run].label);
                    self.line(run, label, (Some(self.colours[run].0), self.colours[run].1 + 1), bound)
                });
                lines.extend(bounds);
            }
        }
        let (title, of) = match self.unit {
            "token" => ("Token latency and its bound", "token"),
            other => ("Latency of a step and its bound", other),
        };
        let plot = self.plot("latency", title, format!("time a {of} ({unit})"), lines);
        self.cut(plot, |step| step.latency.as_ns() / factor, |time| format!("{time:.4} {unit}"))
    }

    fn memory(&self) -> Plot {
        let (unit, factor) =
            byte_unit(self.greatest(|step| step.by_tier.iter().map(|tier| tier.used.as_f64()).fold(0.0, f64::max)));
        let single = self.runs.len() == 1;
        let mut lines = Vec::new();
        for (run, labelled) in self.runs.iter().enumerate() {
            for (tier, name) in labelled.run.tiers.iter().enumerate() {
                let used = |step: &Step<'_>| step.by_tier[tier].used.as_f64() / factor;
                let (label, style) = if single {
                    // In the order of the pictures: blue for the first tier.
                    (name.clone(), (Some([1, 4, 2, 3, 0, 5][tier % COLOURS]), tier / COLOURS))
                } else {
                    let (colour, dash) = self.colours[run];
                    (format!("{name}, {}", labelled.label), (Some(colour), dash + tier))
                };
                lines.push(self.line(run, label, style, used));
            }
        }
        // A capacity far above the memory in use would flatten the lines; the table has it.
        let most = self.greatest(|step| step.by_tier.iter().map(|tier| tier.used.as_f64()).fold(0.0, f64::max));
        let mut shown: Vec<(&str, u64)> = Vec::new();
        for run in self.runs {
            for (tier, capacity) in &run.run.summary.capacity_bytes.0 {
                if (*capacity as f64) <= 2.0 * most && !shown.contains(&(tier, *capacity)) {
                    shown.push((tier, *capacity));
                    let label =
                        format!("capacity of {tier} ({})", numbers::bytes_in(run.run.summary.size_style(), *capacity));
                    lines.push(self.across(label, 1 + shown.len(), *capacity as f64 / factor));
                }
            }
        }
        self.plot("memory", "Memory in use on each tier", format!("in use at the {}'s end ({unit})", self.unit), lines)
    }

    /// Whether all runs have the same value in every step: it follows from the sequences alone.
    fn is_same(&self, value: impl Fn(&Step<'_>) -> f64 + Copy) -> bool {
        let mut series = self.runs.iter().map(|run| run.run.series.steps().map(|step| value(&step)));
        let Some(first) = series.next() else { return true };
        let first: Vec<f64> = first.collect();
        series.all(|other| other.eq(first.iter().copied()))
    }

    /// How many sequences every step of every run decodes, where that is the same number.
    fn constant_batch(&self) -> Option<usize> {
        let mut steps = self.runs.iter().flat_map(|run| run.run.series.steps());
        let first = steps.next()?.decoding;
        (self.unit == "step" && steps.all(|step| step.decoding == first && step.sequences == first)).then_some(first)
    }

    /// The sequences of a batch: how many there are, and how many of them decode. `None` where each
    /// run decodes one.
    fn sequences(&self) -> Option<Plot> {
        let (all, decoding) = (|step: &Step<'_>| step.sequences as f64, |step: &Step<'_>| step.decoding as f64);
        if self.unit == "token" {
            return None;
        }
        let same = self.is_same(all) && self.is_same(decoding);
        let mut lines = Vec::new();
        for run in 0..if same { 1 } else { self.runs.len() } {
            let label = |what: &str| if same { what.to_owned() } else { format!("{what}, {}", self.runs[run].label) };
            let (colour, dash) = self.colours[run];
            let styles = if same { [(0, 0), (1, 0)] } else { [(colour, dash), (colour, dash + 1)] };
            let styles = styles.map(|(colour, dash)| (Some(colour), dash));
            lines.push(self.line(run, label("begun and not ended"), styles[0], all));
            lines.push(self.line(run, label("decoding"), styles[1], decoding));
        }
        let mut plot = self.plot("sequences", "How many sequences share a step?", "sequences".to_owned(), lines);
        let waiting = self.greatest(|step| step.sequences as f64 - step.decoding as f64) > 0.0;
        let waiting = if waiting { "; those that do not decode wait for prompts, theirs or others" } else { "" };
        plot.note = format!(
            "Weights are read once a step, whatever the number of sequences that decode{waiting}. {}",
            plot.note
        );
        plot.note.truncate(plot.note.trim_end().len());
        Some(plot)
    }

    /// The tokens of prompts by step. `None` where prompts are given.
    fn prompts(&self) -> Option<Plot> {
        let tokens = |step: &Step<'_>| step.prompt_tokens as f64;
        if self.greatest(tokens) == 0.0 {
            return None;
        }
        let lines = if self.is_same(tokens) {
            vec![self.line(0, "prompt tokens".to_owned(), (Some(2), 0), tokens)]
        } else {
            self.of_each(tokens)
        };
        Some(self.plot("prompts", "Which steps compute prompts?", "prompt tokens in the step".to_owned(), lines))
    }

    /// `None` where nothing moved.
    fn migrated(&self) -> Option<Plot> {
        let (into, out) = (|step: &Step<'_>| step.migrated_in.as_f64(), |step: &Step<'_>| step.migrated_out.as_f64());
        let most = self.greatest(into).max(self.greatest(out));
        let (unit, factor) = byte_unit(most);
        if most == 0.0 {
            return None;
        }
        let single = self.runs.len() == 1;
        let mut lines = Vec::new();
        for (run, labelled) in self.runs.iter().enumerate() {
            let (colour, dash) = self.colours[run];
            let (name_in, name_out) = ("to faster memory", "to slower memory");
            if single {
                lines.push(self.line(run, name_in.to_owned(), (Some(2), 0), |step| into(step) / factor));
                lines.push(self.line(run, name_out.to_owned(), (Some(4), 1), |step| out(step) / factor));
            } else {
                let label = |way: &str| format!("{way}, {}", labelled.label);
                lines.push(self.line(run, label(name_in), (Some(colour), dash), |step| into(step) / factor));
                lines.push(self.line(run, label(name_out), (Some(colour), dash + 1), |step| out(step) / factor));
            }
        }
        let plot = self.plot("migrated", "Migrated bytes", format!("moved after a {} ({unit})", self.unit), lines);
        let larger = |step: &Step<'_>| into(step).max(out(step)) / factor;
        Some(self.cut(plot, larger, |bytes| format!("{bytes:.4} {unit}")))
    }

    /// `None` where no token was late.
    fn late(&self) -> Option<Plot> {
        let late = |step: &Step<'_>| step.late_tokens as f64;
        let y = "late tokens, over all layers".to_owned();
        let plot = || self.plot("late", "Late tokens: read before their move had ended", y, self.of_each(late));
        (self.greatest(late) > 0.0).then(plot)
    }
}

/// Throughput against latency: a point for each of several runs, where there are several sequences.
fn throughput(runs: &[Labelled<'_>], colours: &[(usize, usize)]) -> Option<Plot> {
    let batch = runs.iter().any(|run| !run.run.summary.is_single());
    let place = |run: &Labelled<'_>| Some((run.run.summary.tpot()?.p50, run.run.summary.tokens_per_s?));
    let places: Vec<(f64, f64)> = runs.iter().filter_map(place).collect();
    if !batch || places.len() < 2 || places.len() < runs.len() {
        return None;
    }
    let (unit, factor) = time_unit(places.iter().map(|(tpot, _)| *tpot).fold(0.0, f64::max));
    let point = |index: usize| {
        let (run, (tpot, rate), (colour, dash)) = (&runs[index], places[index], colours[index]);
        let at = numbers(&[(tpot / factor, rate)]);
        let mut line = Line::new(run.label.to_owned(), (Some(colour), dash), at);
        line.names = vec![run.label.to_owned()];
        line
    };
    Some(Plot {
        title: "Throughput against latency".to_owned(),
        x: format!("TPOT p50 ({unit})"),
        y: "tokens/s".to_owned(),
        fit: true,
        note:
            "Which run gives more tokens/s for the wait between two tokens of a sequence? Up and to the left is better."
                .to_owned(),
        lines: (0..runs.len()).map(point).collect(),
        ..Plot::new("throughput".to_owned())
    })
}

/// The distributions of what a person waits for, which come first.
const FIRST: [&str; 5] = ["tpot", "ttft", "request_tpot", "e2e", "request_queueing"];

/// The cumulative distributions of everything that any of the runs measured.
pub(super) fn distributions(runs: &[Labelled<'_>], colours: &[(usize, usize)], most: usize) -> Vec<Plot> {
    let grain = Grain::new(most);
    let mut plots: Vec<(String, Vec<(usize, &Timings)>)> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        for (name, timings) in run.run.histograms.named() {
            match plots.iter_mut().find(|(known, _)| *known == name) {
                Some((_, lines)) => lines.push((index, timings)),
                None => plots.push((name, vec![(index, timings)])),
            }
        }
    }
    // What a person waits for comes first.
    plots.sort_by_key(|(name, _)| !FIRST.contains(&name.as_str()));
    let plot = |(name, lines): (String, Vec<(usize, &Timings)>)| {
        let greatest = lines.iter().map(|(_, timings)| timings.greatest().as_ns()).fold(0.0, f64::max);
        let (unit, factor) = time_unit(greatest);
        // The longest of many transfers would squeeze all others against the axis.
        let usual = lines.iter().map(|(_, timings)| timings.at(0.99).as_ns()).fold(0.0, f64::max);
        let end = scale::end(usual, greatest).map(|end| end / factor);
        let mut note = String::new();
        let mut drawn = Vec::new();
        for (run, timings) in lines {
            let (points, thinned) = cumulative(timings, factor, grain);
            if thinned {
                note = grain.note();
            }
            let (colour, dash) = colours[run];
            let label = runs[run].label.to_owned();
            drawn.push(Line::new(label, (Some(colour), dash), numbers(&points)));
        }
        if end.is_some() {
            note = format!(
                "Up to {:.4} {unit} are shown at first; “All” shows up to the greatest, {:.4} {unit}. {note}",
                end.unwrap_or(0.0),
                greatest / factor
            );
        }
        let name = spoken(&name, runs);
        Plot {
            x: format!("{name} ({unit})"),
            title: name,
            y: "share that took at most so long".to_owned(),
            x_view: end.map(|end| Number(rounded(end))),
            note: note.trim_end().to_owned(),
            lines: drawn,
            ..Plot::new("cdf".to_owned())
        }
    };
    plots.into_iter().map(plot).collect()
}

/// The name of a distribution as words: `KvRead_queueing` is `KvRead queueing`, `tpot_group0` is
/// `TPOT of group 0`. The latency of a token is that of a `step` where runs decode several
/// sequences.
pub(super) fn spoken(name: &str, runs: &[Labelled<'_>]) -> String {
    let of_tokens = |kind: &str| match kind {
        "tpot" if runs.iter().any(|run| run.run.summary.requests.is_some()) => Some("time between tokens"),
        "tpot" => Some("TPOT"),
        "ttft" => Some("TTFT"),
        "request_tpot" => Some("TPOT"),
        "e2e" => Some("end-to-end time"),
        "request_queueing" => Some("queueing"),
        "token_latency" if runs.iter().any(|run| !run.run.summary.is_single()) => Some("step latency"),
        _ => None,
    };
    match name.split_once("_group") {
        Some((kind, group)) => {
            of_tokens(kind).map_or_else(|| name.to_owned(), |kind| format!("{kind} of group {group}"))
        }
        None => of_tokens(name).map_or_else(|| name.replace('_', " "), str::to_owned),
    }
}

/// How finely a cumulative distribution is drawn.
#[derive(Clone, Copy, Debug)]
struct Grain {
    /// A rise of so much of all makes a corner.
    of_all: f64,
    /// And so does one of so much of what is above, so that the tail keeps its shape down to its
    /// last value.
    of_above: f64,
}

impl Grain {
    /// Half a percent of all and a tenth of what is above, where lines have all their points;
    /// coarser where they have fewer.
    fn new(most: usize) -> Self {
        let coarser = chart::MOST_POINTS as f64 / most as f64;
        Self { of_all: 0.005 * coarser, of_above: (0.1 * coarser).min(0.5) }
    }

    fn note(self) -> String {
        format!(
            "Thinned: a line has a corner where it has risen by {:.1} % of all, or by {:.0} % of what is above; its least and greatest are exact. All values are in histograms/.",
            100.0 * self.of_all,
            100.0 * self.of_above
        )
    }
}

/// Corners of the cumulative distribution, from the least to the greatest, and whether there are
/// more.
fn cumulative(timings: &Timings, factor: f64, grain: Grain) -> (Vec<(f64, f64)>, bool) {
    let total = timings.count();
    let greatest = timings.greatest().as_ps();
    let mut points: Vec<(f64, f64)> = Vec::new();
    let (mut up_to, mut shown) = (0u64, 0u64);
    let mut thinned = false;
    for bucket in timings.histogram().iter_recorded() {
        up_to += bucket.count_at_value();
        let rise = (up_to - shown) as f64;
        let first = points.is_empty();
        let corner = rise >= grain.of_all * total as f64 || rise >= grain.of_above * (total - shown) as f64;
        if first || up_to == total || corner {
            let value = bucket.value_iterated_to().min(greatest) as f64 / 1_000.0 / factor;
            points.push((value, up_to as f64 / total as f64));
            shown = up_to;
        } else {
            thinned = true;
        }
    }
    (points, thinned)
}

/// At most two points more than [`chart::thinned`] keeps: with the first and the last, so that a
/// line has a value all over.
pub(super) fn with_ends(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let mut kept = chart::thinned(points, most);
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        if kept.first() != Some(first) {
            kept.insert(0, *first);
        }
        if kept.last() != Some(last) {
            kept.push(*last);
        }
    }
    kept
}

/// Without the inner points of stretches where nothing changes.
pub(super) fn level(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let inner = |index: usize| {
        let y = points[index].1;
        index > 0 && index + 1 < points.len() && points[index - 1].1 == y && points[index + 1].1 == y
    };
    (0..points.len()).filter(|index| !inner(*index)).map(|index| points[index]).collect()
}

pub(super) fn numbers(points: &[(f64, f64)]) -> Vec<Number> {
    points.iter().flat_map(|(x, y)| [Number(rounded(*x)), Number(rounded(*y))]).collect()
}

/// To six significant digits: more than a screen shows, and the same on every machine.
pub(super) fn rounded(value: f64) -> f64 {
    if value.fract() == 0.0 {
        return value;
    }
    rounded_by_arithmetic(value).unwrap_or_else(|| rounded_as_text(value))
}

fn rounded_as_text(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// The same for most numbers: `None` where the product that is rounded might be on the wrong side
/// of a half.
fn rounded_by_arithmetic(value: f64) -> Option<f64> {
    /// All of them exact, so that the quotient of two whole numbers is the float that is nearest to
    /// it, which is what text is read as.
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let size = value.abs();
    let power = *POWERS.iter().find(|power| size * *power >= 1e5)?;
    let scaled = size * power;
    let is_safe = (1e5..1e6).contains(&scaled) && (scaled.fract() - 0.5).abs() > 1e-6;
    is_safe.then(|| (scaled.round() / power).copysign(value))
}

pub(super) const COLOURS: usize = colour::ALL.len();

/// A colour and a dash for each run. A strategy with a name has the colour that it has in every
/// picture, unless two runs have the same one; then they are coloured in turn.
pub(super) fn coloured(runs: &[Labelled<'_>]) -> Vec<(usize, usize)> {
    let own = |run: &Labelled<'_>| {
        let own = colour::of_strategy(&run.run.summary.strategy)?;
        colour::ALL.iter().position(|colour| *colour == own)
    };
    let mut left: Vec<usize> = (0..runs.len().max(COLOURS)).collect();
    let mut taken: Vec<Option<usize>> = Vec::new();
    for run in runs {
        let place = own(run).and_then(|index| left.iter().position(|free| *free == index));
        taken.push(place.map(|place| left.remove(place)));
    }
    let mut left = left.into_iter();
    let of_run = |index: Option<usize>| {
        let index = index.or_else(|| left.next()).unwrap_or(0);
        (index % COLOURS, index / COLOURS)
    };
    taken.into_iter().map(of_run).collect()
}

pub(super) fn time_unit(greatest_ns: f64) -> (&'static str, f64) {
    match greatest_ns {
        ns if ns >= 1e9 => ("s", 1e9),
        ns if ns >= 1e6 => ("ms", 1e6),
        ns if ns >= 1e3 => ("us", 1e3),
        _ => ("ns", 1.0),
    }
}

pub(super) fn byte_unit(greatest: f64) -> (&'static str, f64) {
    match greatest {
        bytes if bytes >= (1u64 << 40) as f64 => ("TiB", (1u64 << 40) as f64),
        bytes if bytes >= (1u64 << 30) as f64 => ("GiB", (1u64 << 30) as f64),
        bytes if bytes >= (1u64 << 20) as f64 => ("MiB", (1u64 << 20) as f64),
        bytes if bytes >= (1u64 << 10) as f64 => ("KiB", (1u64 << 10) as f64),
        _ => ("B", 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SimTime;
    use proptest::prelude::*;

    #[test]
    fn level_stretches_keep_their_ends() {
        let points = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 2.0), (4.0, 1.0), (5.0, 1.0)];
        assert_eq!(level(&points), [(0.0, 1.0), (2.0, 1.0), (3.0, 2.0), (4.0, 1.0), (5.0, 1.0)]);
    }

    #[test]
    fn thinned_lines_keep_their_ends() {
        let bent: Vec<(f64, f64)> = (0..1000i32).map(|i| (f64::from(i), f64::from((i - 300).abs() % 7))).collect();
        let kept = with_ends(&bent, 100);
        assert_eq!((kept.first(), kept.last()), (bent.first(), bent.last()));
        assert!(kept.len() <= 102 && kept.is_sorted_by(|a, b| a.0 < b.0));
        assert!(with_ends(&[], 100).is_empty());
    }

    #[test]
    fn a_distribution_keeps_its_tail() {
        let mut timings = Timings::default();
        (0..100_000).for_each(|i| timings.record(SimTime::from_ps(1_000_000 + 50 * i)));
        timings.record(SimTime::from_ps(9_000_000));
        let (points, thinned) = cumulative(&timings, 1.0, Grain::new(chart::MOST_POINTS));
        assert!(thinned);
        assert!(points.len() < 400, "{}", points.len());
        assert_eq!(points.last(), Some(&(9_000.0, 1.0)));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }

    proptest! {
        #[test]
        fn numbers_are_rounded_as_their_text_is(value: f64, digits in 0u64..10_000_000_000, power in -12i32..12, tenths in 0u32..100_000_000) {
            for value in [value, digits as f64 * 10f64.powi(power), -f64::from(tenths) / 10.0] {
                let rounded = rounded_by_arithmetic(value);
                prop_assert!(rounded.is_none_or(|rounded| rounded == rounded_as_text(value)), "{value}");
            }
            // The latencies of a plot in milliseconds, and not on a half.
            prop_assert!(rounded_by_arithmetic((f64::from(tenths) + 0.1) / 1e7 + 1e-3).is_some());
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        let text = serde_json::to_string(&numbers(&[(3.0, 1.0 / 3.0), (0.0, 1e300)])).unwrap();
        assert_eq!(text, "[3,0.333333,0,1e+300]");
    }

    #[test]
    fn points_get_fewer_with_the_runs() {
        assert_eq!(most_points(1), chart::MOST_POINTS);
        assert!(most_points(22) * 22 * LINES_OF_A_RUN <= POINTS_OF_A_PAGE);
        assert_eq!(most_points(100_000), LEAST_POINTS);
    }
}
