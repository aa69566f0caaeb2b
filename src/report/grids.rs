//! Pictures of many runs at once: lines over an axis, heat maps over two, and fronts.

use super::chart::{Chart, HeatMap, Line, Named, Panel, Stroke, colour};
use super::{Artifact, ReportError};

/// A figure over one axis, a line each for the values of another.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// The name of the files, without an ending.
    pub name: &'a str,
    /// Above the picture.
    pub title: &'a str,
    /// What is to the right.
    pub x_label: &'a str,
    /// What is upwards.
    pub y_label: &'a str,
    /// Their labels and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// The most lines of a picture that can be told apart.
pub const MOST_LINES: usize = 8;

/// The picture as SVG and PNG. An axis whose values span a factor of 12 or more, as doublings do, is logarithmic.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn lines(picture: Lines<'_>) -> Result<[Artifact; 2], ReportError> {
    let of = |(index, (label, points)): (usize, (String, Vec<(f64, f64)>))| Line {
        label,
        colour: colour::EIGHT[index % colour::EIGHT.len()],
        stroke: [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][index % 3],
        points,
    };
    let lines: Vec<Line> = picture.lines.into_iter().enumerate().map(of).collect();
    chart(picture.name, picture.title, picture.x_label, picture.y_label, lines, Vec::new())
}

/// All points over two measures, and those that no other beats.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn front(
    (name, title): (&str, &str),
    (x_label, y_label): (&str, &str),
    all: Vec<(f64, f64)>,
    front: &[(f64, f64)],
) -> Result<[Artifact; 2], ReportError> {
    // From one to the next the first measure buys nothing until it is reached: steps, not slopes.
    let mut steps = Vec::new();
    for (x, y) in front {
        if let Some((_, before)) = steps.last().copied() {
            steps.push((*x, before));
        }
        steps.push((*x, *y));
    }
    let line = Line {
        label: "no other is better in both".to_owned(),
        colour: colour::VERMILLION,
        stroke: Stroke::Solid,
        points: steps,
    };
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
    let logarithmic = least > 0.0 && most / least >= 12.0;
    let panel =
        Panel { title: title.to_owned(), x_label: x_label.to_owned(), y_label: y_label.to_owned(), lines, y_to: None };
    let chart = Chart { name: name.to_owned(), title: String::new(), panels: vec![panel] };
    chart.artifacts_with_points(points, logarithmic.then_some((least, most)))
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

/// Points with names, on axes that begin where the points do. Of those that lie on one another the first alone is named.
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

/// A figure over two axes.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn heat_map(
    (name, title): (&str, &str),
    (x_label, x_values): (&str, Vec<String>),
    (y_label, y_values): (&str, Vec<String>),
    rows: Vec<Vec<Option<f64>>>,
) -> Result<[Artifact; 2], ReportError> {
    HeatMap {
        name: name.to_owned(),
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        x_values,
        y_values,
        rows,
    }
    .artifacts()
}
