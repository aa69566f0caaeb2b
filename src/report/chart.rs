//! The one place that knows the plotting crate.

use super::output::{Artifact, ReportError};
use super::raster::png;
use crate::config::printable_lines;
use kuva::backend::svg::SvgBackend;
use kuva::plot::{ColorMap, Heatmap, LegendPosition, LinePlot, LineStyle, ScatterPlot, StackedAreaPlot};
use kuva::render::figure::{Figure, FigureLegendPosition};
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::render::{Primitive, Scene, render_multiple};
use std::sync::Arc;

/// Colours of Okabe and Ito, which colour-blind readers can tell apart.
pub(super) mod colour {
    pub const BLUE: &str = "#0072B2";
    pub const VERMILLION: &str = "#D55E00";
    pub const GREEN: &str = "#009E73";
    pub const ORANGE: &str = "#E69F00";
    pub const PURPLE: &str = "#CC79A7";
    pub const SKY: &str = "#56B4E9";
    pub const BLACK: &str = "#000000";
    /// Two more, for the seventh and eighth tier.
    pub const GREY: &str = "#777777";
    pub const OLIVE: &str = "#5B5B00";
    /// In the order of use where one is needed for each of several things.
    pub const ALL: [&str; 6] = [VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY];
    /// The same for up to eight things.
    pub const EIGHT: [&str; 8] = [VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY, OLIVE];
}

/// How a line is drawn; never colour alone tells two lines apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

/// One line of a panel.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub label: String,
    pub colour: &'static str,
    pub stroke: Stroke,
    pub points: Vec<(f64, f64)>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub lines: Vec<Line>,
    /// The end of the y axis, which starts at 0; chosen to fit the data where it is not given.
    pub y_to: Option<f64>,
}

/// A picture of one panel, or of several side by side with a common legend.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// The name of the files, without an ending.
    pub name: String,
    /// Above all panels, where there are several.
    pub title: String,
    pub panels: Vec<Panel>,
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
        for (label, colour, values) in self.parts {
            plot = plot.with_series(values).with_color(colour).with_legend(label);
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
            .with_width(720.0)
            .with_height(340.0)
            .with_legend_position(LegendPosition::OutsideRightMiddle);
        pictures(&self.name, render_multiple(plots, layout))
    }
}

/// The most points of a line that are drawn: more cannot be told apart at this size.
pub(super) const MOST_POINTS: usize = 1200;
const PNG_SCALE: f32 = 1.5;

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

    /// The same with single points beside the lines of its panel, and x logarithmic within the ends given.
    pub fn artifacts_with_points(
        self,
        points: Vec<(f64, f64)>,
        logarithmic: Option<(f64, f64)>,
    ) -> Result<[Artifact; 2], ReportError> {
        let lay_out = |layout: Layout| match logarithmic {
            None => layout.with_title_wrap(TITLE_WIDTH),
            Some((least, most)) => {
                layout.with_title_wrap(TITLE_WIDTH).with_log_x().with_x_axis_min(least).with_x_axis_max(most)
            }
        };
        let name = self.name.clone();
        pictures(&name, self.scene(points, lay_out))
    }

    fn drawn(self, lay_out: impl Fn(Layout) -> Layout) -> Result<[Artifact; 2], ReportError> {
        let name = self.name.clone();
        let within = self.panels.iter().all(Panel::is_within_axes);
        let mut scene = self.scene(Vec::new(), lay_out);
        if within {
            // There is nothing to clip, and to do so takes a rasterizer as long as all the rest.
            scene.elements.retain(|it| !matches!(it, Primitive::ClipStart { .. } | Primitive::ClipEnd));
        }
        pictures(&name, scene)
    }

    /// `points` go with a single panel.
    fn scene(self, points: Vec<(f64, f64)>, lay_out: impl Fn(Layout) -> Layout) -> Scene {
        let mut panels = self.panels;
        if panels.len() == 1 {
            let panel = panels.remove(0);
            let (plots, layout) = panel.draw(points);
            let layout = lay_out(layout)
                .with_width(620.0)
                .with_height(340.0)
                .with_legend_position(LegendPosition::OutsideRightMiddle);
            render_multiple(plots, layout)
        } else {
            let columns = panels.len();
            let (plots, layouts): (Vec<_>, Vec<_>) = panels.into_iter().map(|panel| panel.draw(Vec::new())).unzip();
            let layouts = layouts.into_iter().map(lay_out).collect();
            Figure::new(1, columns)
                .with_title(self.title)
                .with_plots(plots)
                .with_layouts(layouts)
                .with_shared_y_all()
                .with_shared_legend_position(FigureLegendPosition::RightMiddle)
                .with_cell_size(430.0, 340.0)
                .render()
        }
    }
}

/// Points with names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub points: Vec<(String, f64, f64)>,
}

impl Named {
    /// The picture; its axes begin where the points do. Of points that lie on one another the first alone is named.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let ends = |of: fn(&(String, f64, f64)) -> f64| {
            let values = self.points.iter().map(of);
            let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at), most.max(at)));
            let margin = 0.08 * (most - least).max(1e-3 * most.abs());
            (least - margin, most + margin)
        };
        let (x, y) = (ends(|point| point.1), ends(|point| point.2));
        let near = |a: f64, b: f64, (least, most): (f64, f64)| (a - b).abs() < 0.03 * (most - least);
        let label = |(index, point): (usize, &(String, f64, f64))| {
            let hidden =
                self.points[..index].iter().any(|other| near(other.1, point.1, x) && near(other.2, point.2, y));
            if hidden { String::new() } else { point.0.clone() }
        };
        let labels: Vec<String> = self.points.iter().enumerate().map(label).collect();
        let plot = ScatterPlot::new()
            .with_data(self.points.iter().map(|(_, x, y)| (*x, *y)))
            .with_color(colour::BLUE)
            .with_size(3.5)
            .with_labels(labels)
            .with_repel_labels();
        let plots = vec![Plot::Scatter(plot)];
        let layout = Layout::auto_from_plots(&plots)
            .with_x_axis_min(x.0)
            .with_x_axis_max(x.1)
            .with_y_axis_min(y.0)
            .with_y_axis_max(y.1)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_width(860.0)
            .with_height(520.0);
        pictures(&self.name, render_multiple(plots, layout))
    }
}

/// A colour for each pair of values of two axes.
#[derive(Clone, Debug)]
pub(super) struct HeatMap {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// From the left.
    pub x_values: Vec<String>,
    /// From below.
    pub y_values: Vec<String>,
    /// From below, each from the left.
    pub rows: Vec<Vec<Option<f64>>>,
}

/// How many characters of a title go into a line.
const TITLE_WIDTH: usize = 60;
/// Values are written into the fields of a heat map of at most so many columns: more leave no room.
const WRITTEN_COLUMNS: usize = 10;

/// The colour of a value between the least and the greatest: from pale to vermillion, on all of which black can be read.
fn heat(share: f64) -> String {
    const PALE: [f64; 3] = [255.0, 250.0, 226.0];
    const STRONG: [f64; 3] = [213.0, 94.0, 0.0];
    // What is missing has no colour.
    if !share.is_finite() {
        return "#dddddd".to_owned();
    }
    let share = share.clamp(0.0, 1.0);
    let mixed: [f64; 3] = std::array::from_fn(|part| PALE[part] + (STRONG[part] - PALE[part]) * share);
    format!("#{:02x}{:02x}{:02x}", mixed[0].round() as u8, mixed[1].round() as u8, mixed[2].round() as u8)
}

impl HeatMap {
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let columns = self.x_values.len();
        let values = self.rows.iter().map(|row| row.iter().map(|value| value.unwrap_or(f64::NAN)));
        let mut map = Heatmap::new().with_data(values).with_color_map(ColorMap::Custom(Arc::new(heat)));
        if columns <= WRITTEN_COLUMNS {
            map = map.with_values();
        }
        let plots = vec![Plot::Heatmap(map)];
        let layout = Layout::auto_from_plots(&plots)
            .with_x_categories(self.x_values)
            .with_y_categories(self.y_values)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_title_wrap(TITLE_WIDTH)
            .with_width(620.0)
            .with_height(380.0);
        pictures(&self.name, render_multiple(plots, layout))
    }
}

/// What was drawn, as `NAME.svg` and `NAME.png`.
pub(super) fn pictures(name: &str, scene: Scene) -> Result<[Artifact; 2], ReportError> {
    let svg = numbered_anew(&SvgBackend::new().render_scene(&scene));
    // XML has no control characters, but the names in legends and titles come from files.
    let svg = printable_lines(&svg).into_owned();
    let png = png(&svg, PNG_SCALE).map_err(|error| ReportError::format(format!("{name}.png"), error))?;
    Ok([Artifact::new(format!("{name}.svg"), svg), Artifact::new(format!("{name}.png"), png)])
}

/// Where a share stands on an axis that gives each nine of it the same room: 0.9 at 1, 0.99 at 2, 0.999 at 3. A share
/// that no float tells from 1 stands at [`MOST_NINES`].
pub(super) fn nines(share: f64) -> f64 {
    (-(1.0 - share).log10()).min(MOST_NINES)
}

/// The most nines of a share that a float tells from 1.
const MOST_NINES: f64 = 16.0;

impl Panel {
    /// Whether all lines keep within axes that start at 0 and end where [`draw`](Self::draw) says.
    fn is_within_axes(&self) -> bool {
        let y_to = self.y_to.unwrap_or(f64::MAX);
        let mut points = self.lines.iter().flat_map(|line| &line.points);
        points.all(|(x, y)| (0.0..=f64::MAX).contains(x) && (0.0..=y_to).contains(y))
    }

    fn draw(self, points: Vec<(f64, f64)>) -> (Vec<Plot>, Layout) {
        let mut x_to = f64::MIN;
        let mut y_most = f64::MIN;
        let mut plots = Vec::new();
        if !points.is_empty() {
            for (x, y) in &points {
                x_to = x_to.max(*x);
                y_most = y_most.max(*y);
            }
            plots.push(Plot::Scatter(ScatterPlot::new().with_data(points).with_color(colour::SKY).with_size(3.0)));
        }
        for line in self.lines {
            for (x, y) in &line.points {
                x_to = x_to.max(*x);
                y_most = y_most.max(*y);
            }
            let style = match line.stroke {
                Stroke::Solid => LineStyle::Solid,
                Stroke::Dashed => LineStyle::Dashed,
                Stroke::Dotted => LineStyle::Dotted,
            };
            let plot = LinePlot::new()
                .with_data(straightened(&thinned(&line.points, MOST_POINTS)))
                .with_color(line.colour)
                .with_stroke_width(2.0)
                .with_line_style(style)
                .with_legend(line.label);
            plots.push(Plot::Line(plot));
        }
        let y_to = self.y_to.unwrap_or(y_most * 1.05);
        let mut layout = Layout::auto_from_plots(&plots)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_x_axis_min(0.0)
            .with_y_axis_min(0.0);
        if x_to > 0.0 {
            layout = layout.with_x_axis_max(x_to);
        }
        if y_to > 0.0 {
            layout = layout.with_y_axis_max(y_to);
        }
        (plots, layout)
    }
}

/// At most `most` points: of each stretch the least and the greatest are kept, so that no peak is lost.
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

/// Of how many of `points` points [`thinned`] keeps the least and the greatest, to keep at most `most`.
pub(super) fn stretch(points: usize, most: usize) -> usize {
    points.div_ceil((most / 2).max(1))
}

/// The same drawing with its clip paths numbered from 0 in the order of their appearance. The plotting crate counts them
/// over the whole process, so the numbers would depend on what was drawn before, and on threads.
fn numbered_anew(svg: &str) -> String {
    const PREFIX: &str = "kuva-clip-";
    let mut numbers: Vec<&str> = Vec::new();
    let mut text = String::with_capacity(svg.len());
    let mut parts = svg.split(PREFIX);
    text.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let index = numbers.iter().position(|known| *known == number).unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        text.push_str(PREFIX);
        text.push_str(&index.to_string());
        text.push_str(rest);
    }
    text
}

/// Without the points that lie on the straight line between their neighbours, to a two-thousandth of the line's height
/// (Ramer, Douglas and Peucker). Dashes are drawn anew from each point on, so a dashed line of many points would look solid.
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

    #[test]
    fn clip_paths_are_numbered_from_zero() {
        let svg = "<clipPath id=\"kuva-clip-17\"/><g clip-path=\"url(#kuva-clip-17)\"/><clipPath id=\"kuva-clip-3\"/>";
        let expected =
            "<clipPath id=\"kuva-clip-0\"/><g clip-path=\"url(#kuva-clip-0)\"/><clipPath id=\"kuva-clip-1\"/>";
        assert_eq!(numbered_anew(svg), expected);
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
