//! The plots of runs that serve requests: the engine over time.

use super::plots::{
    COLOURS, Line, Plot, Plots, byte_unit, coloured, distributions, level, numbers, time_unit, with_ends,
};
use crate::metrics::{ServingBin, ServingSeries, TierBin};
use crate::report::labelled::Labelled;
use crate::report::numbers::bytes_in;
use crate::units::SimTime;
use crate::workload::MoveKind;

/// The most stretches of time that a line has: more would be noise.
const MOST_POINTS: usize = 500;

/// The value of a stretch of time, by its tiers and its width in seconds.
type Value<'a> = dyn Fn(&ServingBin, &[TierBin], f64) -> f64 + 'a;

/// The plots of `runs`, with at most `most` points a line.
pub(super) fn engine_plots(title: &str, runs: &[Labelled<'_>], most: usize) -> Plots {
    let colours = coloured(runs);
    let mut plots =
        Plots { title: title.to_owned(), distributions: distributions(runs, &colours, most), ..Plots::default() };
    let over = OverTime::new(runs, colours, most);
    if over.end == 0.0 {
        plots.notes.push("The engine over time is on the page of each run, and in its engine.csv.".to_owned());
        return plots;
    }
    plots.plots.extend([over.requests(), over.tokens(), over.steps(), over.memory()]);
    plots.plots.extend(over.pages());
    plots.plots.push(over.reads());
    match over.moves() {
        Some(plot) => plots.plots.push(plot),
        None => plots.notes.push("No KV moved between tiers.".to_owned()),
    }
    plots
}

/// The common settings of plots over time.
struct OverTime<'a> {
    runs: &'a [Labelled<'a>],
    /// Of each run; empty where it was read back.
    series: Vec<ServingSeries>,
    colours: Vec<(usize, usize)>,
    most: usize,
    /// The unit of time, and its nanoseconds.
    unit: (&'static str, f64),
    /// Where the axes end, in that unit.
    end: f64,
}

impl<'a> OverTime<'a> {
    fn new(runs: &'a [Labelled<'a>], colours: Vec<(usize, usize)>, most: usize) -> Self {
        let of = |run: &Labelled<'_>| match &run.run.requests {
            Some(requests) => requests.series.coarser(MOST_POINTS.min(most)),
            None => ServingSeries::new(run.run.tiers.len()),
        };
        let series: Vec<ServingSeries> = runs.iter().map(of).collect();
        let ends = series.iter().map(|series| series.width().times(series.len() as u64).as_ns());
        let end = ends.fold(0.0, f64::max);
        let unit = time_unit(end);
        Self { runs, series, colours, most, unit, end: end / unit.1 }
    }

    fn plot(&self, id: &str, title: &str, y: &str, note: &str, lines: Vec<Line>) -> Plot {
        let width = self.series.iter().map(ServingSeries::width).max();
        let each = width.map_or_else(String::new, |width| {
            format!("A point is {} of the run; engine.csv has more of them.", width.rounded())
        });
        let note = if note.is_empty() { each } else { format!("{note} {each}") };
        let x = format!("time ({})", self.unit.0);
        let (title, y) = (title.to_owned(), y.to_owned());
        Plot { title, x, y, x_to: Some(self.end), note, lines, time: true, ..Plot::new(id.to_owned()) }
    }

    /// A value of each stretch of a run, at its middle.
    fn points(&self, run: usize, value: &Value<'_>) -> Vec<(f64, f64)> {
        let series = &self.series[run];
        let width = series.width();
        let seconds = width.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
        let middle = |from: SimTime| (from.as_ns() + width.as_ns() / 2.0) / self.unit.1;
        series.bins().map(|(from, bin, tiers)| (middle(from), value(bin, tiers, seconds))).collect()
    }

    fn greatest(&self, value: &Value<'_>) -> f64 {
        let all = (0..self.runs.len()).flat_map(|run| self.points(run, value));
        all.map(|(_, y)| y).fold(0.0, f64::max)
    }

    /// A line for each part of each run that is not 0 all over: of one run each part in its own
    /// colour, of several each run.
    fn lines(&self, parts: &[(String, Box<Value<'_>>)]) -> Vec<Line> {
        let mut lines = Vec::new();
        for run in 0..self.runs.len() {
            for (part, (label, value)) in parts.iter().enumerate() {
                let points = self.points(run, &**value);
                if points.iter().all(|(_, y)| *y == 0.0) {
                    continue;
                }
                let (label, style) = if self.runs.len() == 1 {
                    (label.clone(), (Some([1, 0, 2, 4, 3, 5][part % COLOURS]), part / COLOURS))
                } else {
                    let (colour, dash) = self.colours[run];
                    (format!("{label}, {}", self.runs[run].label), (Some(colour), dash + part))
                };
                lines.push(Line::new(label, style, numbers(&level(&with_ends(&points, self.most)))));
            }
        }
        lines
    }

    fn requests(&self) -> Plot {
        let per_ps = |seconds: f64| seconds * SimTime::PS_PER_SECOND as f64;
        let lines = self.lines(&[
            ("running".to_owned(), Box::new(move |bin, _, seconds| bin.running / per_ps(seconds))),
            ("waiting".to_owned(), Box::new(move |bin, _, seconds| bin.waiting / per_ps(seconds))),
        ]);
        let note = "Means over time; where the engine is idle, none.";
        self.plot("requests", "How many requests run, and how many wait?", "requests", note, lines)
    }

    fn tokens(&self) -> Plot {
        let lines = self.lines(&[
            ("output tokens".to_owned(), Box::new(|bin, _, seconds| bin.outputs / seconds)),
            ("prompt tokens".to_owned(), Box::new(|bin, _, seconds| bin.prompt / seconds)),
        ]);
        let note = "Prompt tokens that are found in a cache are not computed, and do not count.";
        self.plot("tokens", "How many tokens are computed?", "tokens/s", note, lines)
    }

    fn steps(&self) -> Plot {
        let (unit, factor) = time_unit(self.greatest(&|bin, _, _| bin.longest_step.as_ns()));
        let mean = move |bin: &ServingBin| match bin.steps {
            0 => 0.0,
            steps => bin.step_time / steps as f64 / 1_000.0 / factor,
        };
        let lines = self.lines(&[
            ("mean".to_owned(), Box::new(move |bin, _, _| mean(bin))),
            ("longest".to_owned(), Box::new(move |bin, _, _| bin.longest_step.as_ns() / factor)),
        ]);
        let note = "A step that computes parts of prompts takes longer, and all that decode wait for it.";
        self.plot("steps", "How long does a step take?", &format!("time a step ({unit})"), note, lines)
    }

    fn tiers(&self) -> Vec<String> {
        self.runs.first().map_or_else(Vec::new, |run| run.run.tiers.clone())
    }

    fn memory(&self) -> Plot {
        let used = |tier: usize| {
            move |bin: &ServingBin, tiers: &[TierBin], _: f64| tiers.get(tier).map_or(0.0, |of| bin.mean(of.used))
        };
        let tiers = self.tiers();
        let most = (0..tiers.len()).map(|tier| self.greatest(&used(tier))).fold(0.0, f64::max);
        let (unit, factor) = byte_unit(most);
        let parts: Vec<(String, Box<Value<'_>>)> = tiers
            .iter()
            .enumerate()
            .map(|(tier, name)| -> (String, Box<Value<'_>>) {
                let used = used(tier);
                (name.clone(), Box::new(move |bin, tiers, seconds| used(bin, tiers, seconds) / factor))
            })
            .collect();
        let mut lines = self.lines(&parts);
        let mut shown: Vec<(&str, u64)> = Vec::new();
        for run in self.runs {
            for (tier, capacity) in &run.run.summary.capacity_bytes.0 {
                // A capacity far above the memory in use would flatten the lines; the table has it.
                if (*capacity as f64) <= 2.0 * most && !shown.contains(&(tier, *capacity)) {
                    shown.push((tier, *capacity));
                    let size = bytes_in(run.run.summary.size_style(), *capacity);
                    let height = *capacity as f64 / factor;
                    let points = numbers(&[(0.0, height), (self.end, height)]);
                    lines.push(Line::new(format!("capacity of {tier} ({size})"), (None, 1 + shown.len()), points));
                }
            }
        }
        let note = "Weights, KV of running requests and cached blocks.";
        self.plot("memory", "Memory in use on each tier", &format!("in use ({unit})"), note, lines)
    }

    /// `None` where no page of KV was in use.
    fn pages(&self) -> Option<Plot> {
        let lines = self.lines(&[
            ("in the first tier".to_owned(), Box::new(|bin, _, _| bin.mean(bin.pages_hbm))),
            ("of these, cached only".to_owned(), Box::new(|bin, _, _| bin.mean(bin.pages_cached))),
            ("in external memory".to_owned(), Box::new(|bin, _, _| bin.mean(bin.pages_external))),
        ]);
        let note = "Cached pages are of prompts that no running request reads; they make room where it is needed.";
        (!lines.is_empty()).then(|| self.plot("pages", "Pages of KV in use", "pages", note, lines))
    }

    fn reads(&self) -> Plot {
        let tiers = self.tiers();
        let mut parts: Vec<(String, Box<Value<'_>>)> = Vec::new();
        for (tier, name) in tiers.iter().enumerate() {
            let of = move |tiers: &[TierBin]| tiers.get(tier).copied().unwrap_or_default();
            parts.push((format!("weights from {name}"), Box::new(move |_, tiers, s| of(tiers).weights / s / 1e9)));
            parts.push((format!("KV from {name}"), Box::new(move |_, tiers, s| of(tiers).kv / s / 1e9)));
            parts.push((format!("KV to {name}"), Box::new(move |_, tiers, s| of(tiers).written / s / 1e9)));
        }
        let lines = self.lines(&parts);
        let note = "Idle time counts: a lane at its limit reads as fast as its bandwidth.";
        self.plot("reads", "What do steps read and write?", "GB/s", note, lines)
    }

    /// `None` where nothing moved.
    fn moves(&self) -> Option<Plot> {
        let parts = MoveKind::ALL.map(|kind| -> (String, Box<Value<'_>>) {
            (kind.name().to_owned(), Box::new(move |bin, _, seconds| bin.moved[kind as usize] / seconds / 1e9))
        });
        let lines = self.lines(&parts);
        let note = "Load: prefix blocks that a request needs. Store: prefix blocks to external memory. SwapOut and SwapIn: \
                    the KV of preempted requests.";
        (!lines.is_empty()).then(|| self.plot("moves", "What KV moves between tiers?", "GB/s", note, lines))
    }
}
