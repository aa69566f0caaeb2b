//! Pictures of many runs at once: lines over an axis, heat maps over two, and fronts.

use super::chart::{Chart, Line, Panel, Stroke, colour};
use super::heat::HeatMap;
use super::named::Named;
use super::scale::cut;
use super::{Artifact, ReportError};

/// A figure over one axis, a line each for the values of another.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// The name of the files, without an ending.
    pub name: &'a str,
    /// Above the picture.
    pub title: &'a str,
    /// The label of the x axis.
    pub x_label: &'a str,
    /// The label of the y axis.
    pub y_label: &'a str,
    /// The panels, all on the same axes.
    pub panels: Vec<LinesPanel>,
}

/// A panel of [`Lines`]; lines of the same label look the same in all.
#[derive(Clone, Debug, Default)]
pub struct LinesPanel {
    /// Its title; may be empty where there is only one.
    pub title: String,
    /// Labels and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// The most lines of a picture that a reader can distinguish.
pub const MOST_LINES: usize = 8;

/// The picture as SVG and PNG. An axis whose values span a factor of 12 or more, as doublings do,
/// is logarithmic.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn lines(picture: Lines<'_>) -> Result<[Artifact; 2], ReportError> {
    let mut labels: Vec<String> = Vec::new();
    for (label, _) in picture.panels.iter().flat_map(|panel| &panel.lines) {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    let all: Vec<&[(f64, f64)]> =
        picture.panels.iter().flat_map(|panel| &panel.lines).map(|(_, line)| &line[..]).collect();
    let (least, x_most, y_most) =
        all.iter().copied().flatten().fold((f64::MAX, 0.0f64, 0.0f64), |(least, x, y), point| {
            (least.min(point.0), x.max(point.0), y.max(point.1))
        });
    let cut = cut(&all);
    let note = cut.map_or_else(String::new, |cut| {
        cut.note(&format!("{} of {}", cut.x, picture.x_label), &format!("{:.4}", cut.y))
    });
    let y_to = cut.map_or(1.05 * y_most, |cut| cut.end);
    let several = picture.panels.len() > 1;
    let line = |(label, points): (String, Vec<(f64, f64)>)| {
        let index = labels.iter().position(|known| *known == label).unwrap_or(0);
        let colour = colour::EIGHT[index % colour::EIGHT.len()];
        Line { label, colour, stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index % 3], points }
    };
    let panel = |panel: LinesPanel| Panel {
        title: if several { panel.title } else { picture.title.to_owned() },
        note: note.clone(),
        x_label: picture.x_label.to_owned(),
        y_label: picture.y_label.to_owned(),
        lines: panel.lines.into_iter().map(line).collect(),
        x_to: Some(x_most),
        y_to: Some(y_to),
        ..Panel::default()
    };
    let panels = picture.panels.into_iter().map(panel).collect();
    let chart = Chart { name: picture.name.to_owned(), title: picture.title.to_owned(), panels };
    chart.artifacts_with_points(Vec::new(), is_logarithmic(least, x_most).then_some((least, x_most)))
}

/// All points over two measures, and their Pareto front.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn front(
    (name, title): (&str, &str),
    (x_label, y_label): (&str, &str),
    all: Vec<(f64, f64)>,
    front: &[(f64, f64)],
) -> Result<[Artifact; 2], ReportError> {
    // Steps, not slopes: between two points, a larger first measure gains nothing until the next
    // point is reached.
    let mut steps = Vec::new();
    for (x, y) in front {
        if let Some((_, before)) = steps.last().copied() {
            steps.push((*x, before));
        }
        steps.push((*x, *y));
    }
    let line =
        Line { label: "Pareto front".to_owned(), colour: colour::VERMILLION, stroke: Stroke::Solid, points: steps };
    chart(name, title, x_label, y_label, vec![line], all)
}

fn chart(
    name: &str,
    title: &str,
    x_label: &str,
    y_label: &str,
    lines: Vec<Line>,
    points: Vec<(f64, f64)>,
) -> Result<[Artifact; 2], ReportError> {
    let xs = || lines.iter().flat_map(|line| &line.points).chain(&points).map(|(x, _)| *x);
    let (least, most) = xs().fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
    let panel = Panel {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        lines,
        ..Panel::default()
    };
    let chart = Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] };
    chart.artifacts_with_points(points, is_logarithmic(least, most).then_some((least, most)))
}

/// Whether an axis of these ends is logarithmic, as doublings want.
#[must_use]
pub fn is_logarithmic(least: f64, most: f64) -> bool {
    least > 0.0 && most / least >= 12.0
}

/// All points over two measures.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn points(
    (name, title): (&str, &str),
    (x_label, y_label): (&str, &str),
    all: Vec<(f64, f64)>,
) -> Result<[Artifact; 2], ReportError> {
    chart(name, title, x_label, y_label, Vec::new(), all)
}

/// Points with names, on axes that begin where the points do. Every point is named, and no name
/// lies on another.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn named_points(
    (name, title): (&str, &str),
    (x_label, y_label): (&str, &str),
    points: Vec<(String, f64, f64)>,
) -> Result<[Artifact; 2], ReportError> {
    Named {
        name: name.to_owned(),
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        points,
    }
    .artifacts()
}

/// A figure over two axes. `ends` are the values of the palest and of the strongest colour: maps
/// that are compared have the same.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn heat_map(
    (name, title): (&str, &str),
    (x_label, x_values): (&str, Vec<String>),
    (y_label, y_values): (&str, Vec<String>),
    rows: Vec<Vec<Option<f64>>>,
    ends: (f64, f64),
) -> Result<[Artifact; 2], ReportError> {
    HeatMap {
        name: name.to_owned(),
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        x_values,
        y_values,
        rows,
        ends,
    }
    .artifacts()
}
