//! Line charts in one panel or several, and stacked areas: the plotting crate's plots with legends
//! of our own (`legend.rs`).

use super::apart::{below, dashes};
use super::artifact::{Artifact, ReportError};
use super::canvas::Canvas;
use super::legend::{self, Entry, Sample};
pub(super) use super::strokes::{Line, Stroke, colour};
use kuva::plot::{LinePlot, LineStyle, ScatterPlot, StackedAreaPlot};
use kuva::render::figure::Figure;
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::render::{Primitive, render_multiple};
use kuva::render::render_utils::wrap_text;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// One pair of axes.
#[derive(Clone, Debug, Default)]
pub(super) struct Panel {
    pub title: String,
    /// A note on the axes, under the title.
    pub note: String,
    pub x_label: String,
    pub y_label: String,
    pub lines: Vec<Line>,
    /// The end of the x axis, which starts at 0; chosen to fit the data where it is not given.
    pub x_to: Option<f64>,
    /// The end of the y axis, which starts at 0; chosen to fit the data where it is not given.
    pub y_to: Option<f64>,
    /// The ends of a y axis that is logarithmic, and does not start at 0.
    pub y_decades: Option<(f64, f64)>,
}

/// A picture of one panel, or of several on the same scale with a common legend.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// The name of the files, without an ending.
    pub name: String,
    /// Above all panels, where there are several.
    pub title: String,
    pub panels: Vec<Panel>,
}

/// Whether the panels of a picture have the same y axis.
#[derive(Clone, Copy, Debug)]
enum Scales {
    Common,
    Own,
}

/// Parts of a whole over x, stacked.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub x: Vec<f64>,
    /// Label, colour and a value for each x; the first at the bottom.
    pub parts: Vec<(String, &'static str, Vec<f64>)>,
}

impl Shares {
    /// The picture as `NAME.svg` and `NAME.png`.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let (first, last) = (self.x.first().copied().unwrap_or(0.0), self.x.last().copied().unwrap_or(0.0));
        let mut plot = StackedAreaPlot::new().with_x(self.x);
        let mut entries = Vec::new();
        // The highest first, as it is drawn.
        for (label, colour, _) in self.parts.iter().rev() {
            entries.push(Entry { label: label.clone(), colour: (*colour).to_owned(), sample: Sample::Fill });
        }
        for (_, colour, values) in self.parts {
            plot = plot.with_series(values).with_color(colour);
        }
        let plots = vec![Plot::StackedArea(plot.with_fill_opacity(0.85))];
        let layout = Layout::auto_from_plots(&plots)
            .with_title(self.title)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_x_axis_min(first)
            .with_x_axis_max(last.max(first + 1.0))
            .with_y_axis_min(0.0)
            .with_y_axis_max(100.0)
            .with_width(600.0)
            .with_height(340.0);
        let mut canvas = Canvas::over(render_multiple(plots, layout));
        legend::add(&mut canvas, &entries);
        canvas.artifacts(&self.name)
    }
}

/// The most points of a line that are drawn: more cannot be distinguished at this size.
pub(super) const MOST_POINTS: usize = 1200;

impl Chart {
    /// The picture as `NAME.svg` and `NAME.png`.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        self.drawn(|layout| layout)
    }

    /// The same where x is [`nines`] of a share: it is labelled with the share, 0 %, 90 %, 99 %.
    pub fn artifacts_over_shares(self) -> Result<[Artifact; 2], ReportError> {
        let share = |nines: f64| {
            let decimals = (nines.round() as usize).saturating_sub(2);
            format!("{:.decimals$} %", 100.0 * (1.0 - 10f64.powf(-nines)))
        };
        self.drawn(|layout| layout.with_x_tick_step(1.0).with_x_tick_format(TickFormat::Custom(Arc::new(share))))
    }

    /// The same where x is the logarithm to the base of 2 of a count, which labels show. Each panel
    /// has a scale of its own.
    pub fn artifacts_over_doublings(self) -> Result<[Artifact; 2], ReportError> {
        let xs = || self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points).map(|(x, _)| *x);
        let (least, most) = (xs().fold(f64::MAX, f64::min).floor(), xs().fold(f64::MIN, f64::max));
        let count = |x: f64| format!("{}", x.exp2().round());
        let name = self.name.clone();
        let lay_out = |layout: Layout| {
            layout
                .with_x_tick_step(1.0)
                .with_x_tick_format(TickFormat::Custom(Arc::new(count)))
                .with_x_axis_min(least)
                .with_x_axis_max(most.max(least + 1.0))
        };
        self.canvas(Vec::new(), lay_out, Scales::Own).artifacts(&name)
    }

    /// The same with single points beside the lines of its panel, and x logarithmic within the ends
    /// given.
    pub fn artifacts_with_points(
        self,
        points: Vec<(f64, f64)>,
        logarithmic: Option<(f64, f64)>,
    ) -> Result<[Artifact; 2], ReportError> {
        let lay_out = |layout: Layout| match logarithmic {
            None => layout,
            Some((least, most)) => layout.with_log_x().with_x_axis_min(least).with_x_axis_max(most),
        };
        let name = self.name.clone();
        self.canvas(points, lay_out, Scales::Common).artifacts(&name)
    }

    fn drawn(self, lay_out: impl Fn(Layout) -> Layout) -> Result<[Artifact; 2], ReportError> {
        let name = self.name.clone();
        self.canvas(Vec::new(), lay_out, Scales::Common).artifacts(&name)
    }

    /// `points` go with a single panel.
    fn canvas(self, points: Vec<(f64, f64)>, lay_out: impl Fn(Layout) -> Layout, scales: Scales) -> Canvas {
        let mut panels = self.panels;
        let within = points.is_empty() && panels.iter().all(Panel::is_within_axes);
        let strokes = strokes(&panels);
        let entries = entries(&panels, &strokes);
        let mut scene = if panels.len() == 1 {
            let (plots, layout) = panels.remove(0).draw(&strokes[0], points);
            render_multiple(plots, lay_out(layout).with_width(520.0).with_height(340.0))
        } else {
            let columns = if panels.len() == 4 { 2 } else { panels.len().min(COLUMNS) };
            let rows = panels.len().div_ceil(columns);
            let cell = if rows == 1 { (430.0, 340.0) } else { (380.0, 270.0) };
            equally_tall(&mut panels);
            let drawn = panels.into_iter().zip(&strokes).map(|(panel, strokes)| panel.draw(strokes, Vec::new()));
            let (plots, layouts): (Vec<_>, Vec<_>) = drawn.unzip();
            let narrow = |layout: Layout| lay_out(layout).with_title_size(14).with_title_wrap(PANEL_TITLE_WIDTH);
            let layouts = layouts.into_iter().map(narrow).collect();
            let figure = Figure::new(rows, columns).with_title(self.title).with_plots(plots).with_layouts(layouts);
            let figure = match scales {
                Scales::Common => figure.with_shared_y_all(),
                Scales::Own => figure,
            };
            figure.with_cell_size(cell.0, cell.1).render()
        };
        if within {
            // Nothing needs to be clipped, and clipping takes a rasterizer as long as everything
            // else.
            scene.elements.retain(|it| !matches!(it, Primitive::ClipStart { .. } | Primitive::ClipEnd));
        }
        let mut canvas = Canvas::over(scene);
        legend::add(&mut canvas, &entries);
        canvas
    }
}

/// The dash pattern of each line of each panel. A line of the same label has the same one in all,
/// that of the panel where it lies over the most others.
fn strokes(panels: &[Panel]) -> Vec<Vec<Option<String>>> {
    let mut over: FxHashMap<&str, usize> = FxHashMap::default();
    for panel in panels {
        for (line, below) in panel.lines.iter().zip(panel.below()) {
            let most = over.entry(&line.label).or_default();
            *most = below.max(*most);
        }
    }
    let of = |line: &Line| dashes(line.stroke, over.get(line.label.as_str()).copied().unwrap_or(0));
    panels.iter().map(|panel| panel.lines.iter().map(of).collect()).collect()
}

/// Pads all titles to the number of lines of the longest, so that the axes of a row of panels are
/// equally tall and share the one scale at its left.
fn equally_tall(panels: &mut [Panel]) {
    let lines = |panel: &Panel| wrap_text(&panel.title, PANEL_TITLE_WIDTH).len();
    let most = panels.iter().map(lines).max().unwrap_or(0);
    for panel in panels {
        panel.title.insert_str(0, &"\n".repeat(most - lines(panel)));
    }
}

/// The most panels side by side.
const COLUMNS: usize = 3;

/// The entries of a legend of all panels: each line once, as the first panel that has it draws it.
fn entries(panels: &[Panel], strokes: &[Vec<Option<String>>]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, dashes) in panels.iter().zip(strokes).flat_map(|(panel, strokes)| panel.lines.iter().zip(strokes)) {
        let known = |entry: &Entry| entry.label == line.label && entry.colour == line.colour;
        if !line.label.is_empty() && !entries.iter().any(known) {
            let sample = Sample::Line(dashes.clone());
            entries.push(Entry { label: line.label.clone(), colour: line.colour.to_owned(), sample });
        }
    }
    entries
}

/// The characters of a line of a title, and of a note.
pub(super) const TITLE_WIDTH: usize = 60;
const NOTE_WIDTH: usize = 80;
/// The same of the title of one of several panels.
const PANEL_TITLE_WIDTH: usize = 38;

/// Where a share stands on an axis that gives each nine of it the same room: 0.9 at 1, 0.99 at 2,
/// 0.999 at 3. A share that rounds to 1 in a float stands at [`MOST_NINES`].
pub(super) fn nines(share: f64) -> f64 {
    (-(1.0 - share).log10()).min(MOST_NINES)
}

/// The most nines of a share that a float distinguishes from 1.
const MOST_NINES: f64 = 16.0;

impl Panel {
    /// Whether all lines stay within axes that start at 0 and have the ends that
    /// [`draw`](Self::draw) is given.
    fn is_within_axes(&self) -> bool {
        let (x_to, y_to) = (self.x_to.unwrap_or(f64::MAX), self.y_to.unwrap_or(f64::MAX));
        let mut points = self.lines.iter().flat_map(|line| &line.points);
        points.all(|(x, y)| (0.0..=x_to).contains(x) && (0.0..=y_to).contains(y))
    }

    /// The ends of the axes, with `points` beside the lines.
    fn ends(&self, points: &[(f64, f64)]) -> (f64, f64) {
        let all = || self.lines.iter().flat_map(|line| &line.points).chain(points);
        let x_most = || all().map(|(x, _)| *x).fold(f64::MIN, f64::max);
        let y_most = || all().map(|(_, y)| *y).fold(f64::MIN, f64::max) * 1.05;
        (self.x_to.unwrap_or_else(x_most), self.y_to.unwrap_or_else(y_most))
    }

    /// For each line over how many others it is drawn.
    fn below(&self) -> Vec<usize> {
        let (x_to, y_to) = self.ends(&[]);
        below(&self.lines, x_to, y_to)
    }

    fn draw(self, strokes: &[Option<String>], points: Vec<(f64, f64)>) -> (Vec<Plot>, Layout) {
        let (x_to, y_to) = self.ends(&points);
        let mut plots = Vec::new();
        if !points.is_empty() {
            plots.push(Plot::Scatter(ScatterPlot::new().with_data(points).with_color(colour::SKY).with_size(3.0)));
        }
        for (line, dashes) in self.lines.into_iter().zip(strokes) {
            let points = thinned(&line.points, MOST_POINTS);
            // What is little of a linear axis may be much of a logarithmic one.
            let points = if self.y_decades.is_some() { points } else { straightened(&points) };
            let plot = LinePlot::new()
                .with_data(points)
                .with_color(line.colour)
                .with_stroke_width(2.0)
                .with_line_style(dashes.clone().map_or(LineStyle::Solid, LineStyle::Custom));
            plots.push(Plot::Line(plot));
        }
        let mut layout = Layout::auto_from_plots(&plots)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_title_wrap(TITLE_WIDTH)
            .with_x_axis_min(0.0)
            .with_y_axis_min(0.0);
        if !self.note.is_empty() {
            layout = layout.with_subtitle(self.note).with_subtitle_wrap(NOTE_WIDTH).with_subtitle_size(12);
        }
        if x_to > 0.0 {
            layout = layout.with_x_axis_max(x_to);
        }
        if let Some((least, most)) = self.y_decades {
            layout = layout.with_log_y().with_y_axis_min(least).with_y_axis_max(most);
        } else if y_to > 0.0 {
            layout = layout.with_y_axis_max(y_to);
        }
        (plots, layout)
    }
}

/// At most `most` points: of each stretch the least and the greatest are kept, so that no peak is
/// lost.
pub(super) fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(most);
    let stretch = stretch(points.len(), most);
    for part in points.chunks(stretch) {
        let least = (0..part.len()).min_by(|a, b| part[*a].1.total_cmp(&part[*b].1));
        let most = (0..part.len()).max_by(|a, b| part[*a].1.total_cmp(&part[*b].1));
        let mut ends: Vec<usize> = least.into_iter().chain(most).collect();
        ends.sort_unstable();
        ends.dedup();
        kept.extend(ends.into_iter().map(|index| part[index]));
    }
    kept
}

/// Of how many of `points` points [`thinned`] keeps the least and the greatest, to keep at most
/// `most`.
pub(super) fn stretch(points: usize, most: usize) -> usize {
    points.div_ceil((most / 2).max(1))
}

/// Without the points that lie on the straight line between their neighbours, to a two-thousandth
/// of the line's height (Ramer, Douglas and Peucker). Dashes are drawn anew from each point on, so
/// a dashed line of many points would look solid.
fn straightened(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() < 3 {
        return points.to_vec();
    }
    let (least, most) = points.iter().fold((f64::MAX, f64::MIN), |(least, most), (_, y)| (least.min(*y), most.max(*y)));
    // Measured against the axis from 0, so that a nearly constant line is drawn as constant.
    let tolerance = (most - least.min(0.0)) / 2_000.0;
    let mut keep = vec![false; points.len()];
    keep[0] = true;
    keep[points.len() - 1] = true;
    let mut stretches = vec![(0, points.len() - 1)];
    while let Some((from, to)) = stretches.pop() {
        let ((x0, y0), (x1, y1)) = (points[from], points[to]);
        let off = |index: usize| {
            let (x, y) = points[index];
            let across = if x1 > x0 { y0 + (y1 - y0) * (x - x0) / (x1 - x0) } else { y0 };
            (y - across).abs()
        };
        let farthest = (from + 1..to).max_by(|a, b| off(*a).total_cmp(&off(*b)));
        if let Some(farthest) = farthest.filter(|index| off(*index) > tolerance) {
            keep[farthest] = true;
            stretches.push((from, farthest));
            stretches.push((farthest, to));
        }
    }
    points.iter().zip(keep).filter(|(_, keep)| *keep).map(|(point, _)| *point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_lines_lose_their_inner_points() {
        let bent: Vec<(f64, f64)> = (0..=100).map(|i| (f64::from(i), f64::from((i - 50).max(0)))).collect();
        assert_eq!(straightened(&bent), [(0.0, 0.0), (50.0, 0.0), (100.0, 50.0)]);
    }

    /// Two panels: in the second, the lines of both labels coincide.
    #[test]
    fn a_line_looks_the_same_in_all_panels_and_in_the_legend() {
        let line = |label: &str, height: f64| Line {
            label: label.to_owned(),
            colour: colour::BLUE,
            stroke: Stroke::Solid,
            points: vec![(0.0, height), (10.0, height)],
        };
        let panel = |lines| Panel { lines, ..Panel::default() };
        let panels =
            [panel(vec![line("a", 1.0), line("b", 2.0)]), panel(vec![line("a", 2.0), line("b", 2.0), line("c", 1.0)])];
        let strokes = strokes(&panels);
        let gaps = Some("14 10".to_owned());
        assert_eq!(strokes, [vec![None, gaps.clone()], vec![None, gaps.clone(), None]]);
        let entries = entries(&panels, &strokes);
        let shown: Vec<(&str, &Sample)> = entries.iter().map(|entry| (entry.label.as_str(), &entry.sample)).collect();
        assert_eq!(shown, [("a", &Sample::Line(None)), ("b", &Sample::Line(gaps)), ("c", &Sample::Line(None))]);
    }

    #[test]
    fn titles_of_panels_have_as_many_lines() {
        let panel = |title: &str| Panel { title: title.to_owned(), ..Panel::default() };
        let mut panels = [panel("short"), panel("a title that is longer than a line of a panel has room for")];
        equally_tall(&mut panels);
        let lines = panels.map(|panel| wrap_text(&panel.title, PANEL_TITLE_WIDTH).len());
        assert_eq!(lines, [2, 2]);
    }

    #[test]
    fn thinning_keeps_peaks() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[77_777].1 = 9.0;
        points[12_345].1 = -9.0;
        let kept = thinned(&points, MOST_POINTS);
        assert!(kept.len() <= MOST_POINTS);
        assert!(kept.contains(&(77_777.0, 9.0)) && kept.contains(&(12_345.0, -9.0)));
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
    }
}
