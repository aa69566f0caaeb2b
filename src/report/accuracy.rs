//! Measured against simulated figures.
//!
//! [`accuracy_picture`] has a point for each case, on logarithmic axes of the same scale: what is
//! exact lies on the diagonal, and two bands around it show errors of 5 % and 20 %.
//! [`batch_picture`] shows what a batch gains: tokens/s over the number of sequences, a line for
//! each context as simulated, with a mark for each figure that was measured. [`running_picture`]
//! shows how many requests ran over time, simulated as a line and measured as marks.

use super::artifact::{Artifact, ReportError};
use super::canvas::Canvas;
use super::chart::{TITLE_WIDTH, colour};
use super::legend::{self, Entry, Sample};
use kuva::plot::LinePlot;
use kuva::render::layout::{ComputedLayout, Layout};
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;

/// The cases of a group: its name, and measured and simulated time of each.
#[derive(Clone, Debug)]
pub struct MeasuredGroup {
    /// Its name.
    pub label: String,
    /// Measured and simulated times, in milliseconds.
    pub points: Vec<(f64, f64)>,
}

/// The bands: the error at their edges, and their colour.
const BANDS: [(f64, &str); 2] = [(0.2, "#e4e4e4"), (0.05, "#bdbdbd")];

/// The picture of `groups` as SVG and PNG; none where there are no points.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn accuracy_picture(name: &str, title: &str, groups: &[MeasuredGroup]) -> Result<Vec<Artifact>, ReportError> {
    let all =
        || groups.iter().flat_map(|group| &group.points).flat_map(|(measured, simulated)| [*measured, *simulated]);
    let (least, most) = all().fold((f64::MAX, 0.0f64), |(least, most), time| (least.min(time), most.max(time)));
    if most <= 0.0 {
        return Ok(Vec::new());
    }
    // Whole decades, which the axes would otherwise be widened to.
    let ends = (10f64.powf(least.log10().floor()), 10f64.powf((most * 1.0001).log10().ceil()));
    let plots = vec![diagonal(ends)];
    let layout = Layout::auto_from_plots(&plots)
        .with_log_scale()
        .with_x_axis_min(ends.0)
        .with_x_axis_max(ends.1)
        .with_y_axis_min(ends.0)
        .with_y_axis_max(ends.1)
        .with_x_label("measured (ms)")
        .with_y_label("simulated (ms)")
        .with_title(title.to_owned())
        .with_title_wrap(TITLE_WIDTH)
        .with_width(620.0)
        .with_height(560.0);
    let axes = ComputedLayout::from_layout(&layout);
    let mut canvas = Canvas::over(render_multiple(plots, layout));
    let corners = |(x, y): (f64, f64)| (axes.map_x(x), axes.map_y(y));
    let mut under = Vec::new();
    for (error, colour) in BANDS {
        let edge = [
            (ends.0, ends.0 * (1.0 + error)),
            (ends.1 / (1.0 + error), ends.1),
            (ends.1, ends.1),
            (ends.1, ends.1 * (1.0 - error)),
            (ends.0 / (1.0 - error), ends.0),
            (ends.0, ends.0),
        ];
        under.push((edge.map(corners), colour));
    }
    canvas.polygons_below(&under);
    let mut entries: Vec<Entry> = Vec::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| !group.points.is_empty()) {
        let colour = colour::EIGHT[index % colour::EIGHT.len()];
        let mark = index / colour::EIGHT.len();
        for point in &group.points {
            canvas.mark(corners(*point), colour, mark);
        }
        entries.push(Entry { label: group.label.clone(), colour: colour.to_owned(), sample: Sample::Mark(mark) });
    }
    for (error, colour) in BANDS {
        let label = format!("within {:.0} %", 100.0 * error);
        entries.push(Entry { label, colour: colour.to_owned(), sample: Sample::Fill });
    }
    legend::add(&mut canvas, &entries);
    Ok(canvas.artifacts(name)?.into())
}

/// Measured and simulated rates of one model on one machine, by batch.
#[derive(Clone, Debug)]
pub struct BatchCurves {
    /// The files' name, without an ending.
    pub name: String,
    /// What ran.
    pub title: String,
    /// A line for each context.
    pub lines: Vec<BatchLine>,
}

/// The rates at one context.
#[derive(Clone, Debug)]
pub struct BatchLine {
    /// The context, in words.
    pub label: String,
    /// The rates by batch, the smallest first.
    pub points: Vec<BatchPoint>,
}

/// The rates of a case, in tokens/s of all sequences.
#[derive(Clone, Copy, Debug)]
pub struct BatchPoint {
    /// How many sequences each step decodes.
    pub batch: u32,
    /// The measured rate.
    pub measured: f64,
    /// The simulated one.
    pub simulated: f64,
}

/// The picture of `curves` as SVG and PNG.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn batch_picture(curves: &BatchCurves) -> Result<[Artifact; 2], ReportError> {
    let colour_of = |index: usize| colour::EIGHT[index % colour::EIGHT.len()];
    let simulated = |(index, line): (usize, &BatchLine)| {
        let points: Vec<(f64, f64)> = line.points.iter().map(|it| (f64::from(it.batch), it.simulated)).collect();
        Plot::Line(LinePlot::new().with_data(points).with_color(colour_of(index)).with_stroke_width(1.5))
    };
    let plots: Vec<Plot> = curves.lines.iter().enumerate().map(simulated).collect();
    let all = || curves.lines.iter().flat_map(|line| &line.points);
    let most_rate = all().flat_map(|point| [point.measured, point.simulated]).fold(0.0, f64::max);
    let most_batch = all().map(|point| point.batch).max().unwrap_or(1);
    let layout = Layout::auto_from_plots(&plots)
        .with_x_axis_min(0.0)
        .with_x_axis_max(1.03 * f64::from(most_batch))
        .with_y_axis_min(0.0)
        .with_y_axis_max(1.05 * most_rate)
        .with_x_label("batch (sequences)")
        .with_y_label("tokens/s of all sequences")
        .with_title(curves.title.clone())
        .with_title_wrap(TITLE_WIDTH)
        .with_width(560.0)
        .with_height(400.0);
    let axes = ComputedLayout::from_layout(&layout);
    let mut canvas = Canvas::over(render_multiple(plots, layout));
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in curves.lines.iter().enumerate() {
        for point in &line.points {
            canvas.mark((axes.map_x(f64::from(point.batch)), axes.map_y(point.measured)), colour_of(index), index);
        }
        for (sample, what) in [(Sample::Line(None), "simulated"), (Sample::Mark(index), "measured")] {
            let label = format!("{}, {what}", line.label);
            entries.push(Entry { label, colour: colour_of(index).to_owned(), sample });
        }
    }
    legend::add(&mut canvas, &entries);
    canvas.artifacts(&curves.name)
}

/// How many requests ran over time: as measured, and as simulated.
#[derive(Clone, Debug)]
pub struct RunningCurves {
    /// The files' name, without an ending.
    pub name: String,
    /// What ran.
    pub title: String,
    /// Seconds after the first arrival, and requests.
    pub measured: Vec<(f64, f64)>,
    /// The same, simulated.
    pub simulated: Vec<(f64, f64)>,
}

/// The picture of `curves` as SVG and PNG.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn running_picture(curves: &RunningCurves) -> Result<[Artifact; 2], ReportError> {
    let all = || curves.measured.iter().chain(&curves.simulated);
    let ends = all().fold((1.0f64, 1.0f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
    let line = LinePlot::new().with_data(curves.simulated.clone()).with_color(colour::BLUE).with_stroke_width(1.5);
    let plots = vec![Plot::Line(line)];
    let layout = Layout::auto_from_plots(&plots)
        .with_x_axis_min(0.0)
        .with_x_axis_max(ends.0)
        .with_y_axis_min(0.0)
        .with_y_axis_max(1.05 * ends.1)
        .with_x_label("time after the first arrival (s)")
        .with_y_label("running requests")
        .with_title(curves.title.clone())
        .with_title_wrap(TITLE_WIDTH)
        .with_width(700.0)
        .with_height(380.0);
    let axes = ComputedLayout::from_layout(&layout);
    let mut canvas = Canvas::over(render_multiple(plots, layout));
    for (time, running) in &curves.measured {
        canvas.mark((axes.map_x(*time), axes.map_y(*running)), colour::VERMILLION, 0);
    }
    let entry =
        |label: &str, colour: &str, sample| Entry { label: label.to_owned(), colour: colour.to_owned(), sample };
    let simulated = entry("simulated", colour::BLUE, Sample::Line(None));
    legend::add(&mut canvas, &[simulated, entry("measured", colour::VERMILLION, Sample::Mark(0))]);
    canvas.artifacts(&curves.name)
}

/// Where simulated and measured times are equal.
fn diagonal((least, most): (f64, f64)) -> Plot {
    let line = LinePlot::new().with_data([(least, least), (most, most)]);
    Plot::Line(line.with_color(colour::BLACK).with_stroke_width(1.0))
}
