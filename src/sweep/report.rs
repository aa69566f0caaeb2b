//! What a sweep says, as tables, sentences and pictures.

use super::{Measure, Point, Results, Sensitivity, SweepError, Unit, front, sensitivities};
use crate::report::grids::{self, Lines, MOST_LINES};
use crate::report::html::{self, Document, Section};
use crate::report::{Artifact, Column, ReportError, Table};
use std::collections::BTreeMap;

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The figure that tables are sorted by and pictures show; less is better.
    pub figure: Measure,
    /// The axes of pictures: what is to the right, and what has a line each. Where they are not given, those that matter most.
    pub axes: Vec<usize>,
    /// The two measures of the front. Where they are not given, the capacity that varies and the figure.
    pub front: Option<(Measure, Measure)>,
    /// How many rows the table has.
    pub top: usize,
}

/// The most pictures of one kind, where other axes vary besides those that a picture shows.
const MOST_PICTURES: usize = 8;

/// What the names of pictures start with.
pub const KINDS: [&str; 3] = ["lines", "heat", "front"];

/// What runs of different lengths can be compared by.
const USUAL: &str = "token_latency_ns.mean";

/// The columns of a table of points, after the axes.
const FIGURES: [(&str, &str); 7] = [
    ("simulated time", "simulated_ns"),
    ("tokens/s", "tokens_per_s"),
    ("token p50", "token_latency_ns.p50"),
    ("token p99", "token_latency_ns.p99"),
    ("over bound", "bound.achieved_over_bound"),
    ("alpha", "alpha.mean"),
    ("migrated in", "migration.in_bytes"),
];

/// The figures that a report needs besides those that it is asked for.
#[must_use]
pub fn needed() -> Vec<&'static str> {
    FIGURES.iter().map(|(_, path)| *path).chain([USUAL]).collect()
}

/// A row for each of `points`: the axes, `first` and the usual figures.
#[must_use]
pub fn table<'a>(results: &Results, first: &Measure, points: impl IntoIterator<Item = &'a Point>) -> Table {
    let mut columns: Vec<Column> = results
        .axes()
        .map(|(_, axis)| if axis.is_numeric() { Column::number(&axis.name) } else { Column::text(&axis.name) })
        .collect();
    let mut measures: Vec<Measure> = Vec::new();
    let mut add = |name: &str, measure: Measure| {
        if !measures.contains(&measure) {
            columns.push(Column::number(name));
            measures.push(measure);
        }
    };
    if let Measure::Figure(path) = first
        && !FIGURES.iter().any(|(_, known)| known == path)
    {
        add(path, first.clone());
    }
    for (name, path) in FIGURES {
        if let Ok(measure) = results.measure(path) {
            add(name, measure);
        }
    }
    let repeated = results.points.iter().any(|point| point.repeats > 1);
    if repeated {
        columns.push(Column::text(&format!("{} from .. to", results.name(first))));
    }
    let mut table = Table::new(columns);
    for point in points {
        let label = |(place, axis): (usize, &super::Axis)| axis.shown(point.levels[place]);
        let mut cells: Vec<String> = results.axes().map(label).collect();
        for measure in &measures {
            let value = results.value(point, measure);
            cells.push(value.map_or_else(|| "-".to_owned(), |value| results.shown(measure, value)));
        }
        if repeated {
            let spread = results.spread(point, first);
            let shown = |(least, most)| format!("{} .. {}", results.shown(first, least), results.shown(first, most));
            cells.push(spread.map_or_else(|| "-".to_owned(), shown));
        }
        table.row(cells);
    }
    table
}

/// The points by `figure`, the least first.
#[must_use]
pub fn sorted<'a>(results: &'a Results, figure: &Measure) -> Vec<&'a Point> {
    super::ranked(results, &[], &[(figure.clone(), true)])
}

/// How much each axis matters.
#[must_use]
pub fn sensitivity_table(results: &Results, all: &[Sensitivity]) -> Table {
    let mut columns = vec![Column::text("axis"), Column::number("explains by itself")];
    if results.plan.is_grid() {
        columns.extend([Column::number("worst over best, mean"), Column::number("most")]);
    }
    let mut table = Table::new(columns);
    for found in all {
        let mut cells = vec![results.plan.axes()[found.axis].name.clone(), format!("{:.1} %", 100.0 * found.share)];
        if results.plan.is_grid() {
            let shown = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}x"));
            cells.extend([shown(found.ratio.map(|ratio| ratio.0)), shown(found.ratio.map(|ratio| ratio.1))]);
        }
        table.row(cells);
    }
    table
}

/// What a sweep says, a sentence each.
#[must_use]
pub fn sentences(results: &Results, asked: &Asked) -> Vec<String> {
    let mut lines = Vec::new();
    let (there, all) = results.cells;
    if there < all {
        lines.push(format!("Only {there} of {all} cells are finished; this is what they say."));
    }
    if let Some(strategy) = results.plan.strategy() {
        lines.push(format!("All cells run {}.", strategy.label()));
    }
    let name = results.name(&asked.figure);
    let sorted = sorted(results, &asked.figure);
    if let (Some(best), Some(worst)) = (sorted.first(), sorted.last()) {
        let value = |point: &Point| results.value(point, &asked.figure).unwrap_or(f64::NAN);
        let shown = |point: &Point| results.shown(&asked.figure, value(point));
        lines.push(format!("{name} is least, {}, with {}.", shown(best), results.described(best)));
        if value(best) > 0.0 && value(worst) > value(best) {
            lines.push(format!(
                "It is most, {}, {:.2} times that, with {}.",
                shown(worst),
                value(worst) / value(best),
                results.described(worst)
            ));
        }
    } else {
        lines.push("No cell got to its end.".to_owned());
    }
    let all = sensitivities(results, &asked.figure);
    if let (Some(first), true) = (all.first(), all.len() > 1) {
        let axis = &results.plan.axes()[first.axis].name;
        let mut line =
            format!("{axis} matters most: by itself it explains {:.0} % of how {name} differs", 100.0 * first.share);
        if let Some((mean, most)) = first.ratio {
            line += &format!(
                "; from its best value to its worst it grows {mean:.2} times, the others being the same (at most {most:.2})"
            );
        }
        lines.push(line + ".");
    }
    if results.failed > 0 {
        let mut line = format!("{} cells failed or ended incomplete", results.failed);
        if let Some((levels, error)) = &results.first_failure {
            line += &format!("; the first ({}): {error}", results.plan.described(levels));
        }
        lines.push(line);
    }
    lines
}

/// A picture with what it shows.
struct Picture {
    kind: Kind,
    files: [Artifact; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    HeatMap,
    Front,
}

/// `report.html` and its pictures, as SVG and PNG.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn files(results: &Results, asked: &Asked) -> Result<Vec<Artifact>, ReportError> {
    let pictures = pictures(results, asked)?;
    let points = sorted(results, &asked.figure);
    let shown = table(results, &asked.figure, points.iter().copied().take(asked.top));
    let sensitivities = sensitivities(results, &asked.figure);
    let sensitivity_table = sensitivity_table(results, &sensitivities);
    let name = results.name(&asked.figure);
    let of = |kind: Kind| {
        pictures.iter().filter(move |picture| picture.kind == kind).map(|picture| &picture.files[0]).collect::<Vec<_>>()
    };
    let cells_note = format!("{} of {} points, by {name}, the least first.", points.len().min(asked.top), points.len());
    let mut sections = vec![
        Section { title: "Cells", note: &cells_note, table: Some(&shown), pictures: Vec::new() },
        Section {
            title: "Which axis matters",
            note: "What an axis explains by itself is the variance of the means over its values, of the logarithm of the figure. Worst over best \
                   compares points that differ in that axis alone.",
            table: Some(&sensitivity_table),
            pictures: Vec::new(),
        },
    ];
    for (kind, title, note) in [
        (Kind::Lines, "Lines", "One axis to the right, a line for each value of another."),
        (Kind::HeatMap, "Heat maps", "Two axes; less is better."),
        (Kind::Front, "Front", "All points over two measures; on the line are those that none is better than in both."),
    ] {
        let pictures = of(kind);
        if !pictures.is_empty() {
            sections.push(Section { title, note, table: None, pictures });
        }
    }
    let answer = sentences(results, asked);
    let config = results.plan.config();
    let page = html::document(&Document {
        title: &config.name,
        question: &config.about,
        answer: &answer,
        sections: &sections,
    })?;
    drop(sections);
    Ok(std::iter::once(page).chain(pictures.into_iter().flat_map(|picture| picture.files)).collect())
}

fn pictures(results: &Results, asked: &Asked) -> Result<Vec<Picture>, ReportError> {
    let mut pictures = Vec::new();
    let most = results.points.iter().filter_map(|point| results.value(point, &asked.figure)).fold(0.0, f64::max);
    let (factor, unit) = results.scale(&asked.figure, most);
    let y_label = labelled(results.name(&asked.figure), unit);
    let order: Vec<usize> = sensitivities(results, &asked.figure).into_iter().map(|found| found.axis).collect();
    let numeric = |place: &usize| results.plan.axes()[*place].is_numeric();
    if !results.plan.is_grid() {
        for place in order.iter().copied().filter(numeric).take(2) {
            let (x_factor, x_label) = scaled(results, place);
            let point = |point: &Point| {
                let x = results.value(point, &Measure::Axis(place))?;
                Some((x / x_factor, results.value(point, &asked.figure)? / factor))
            };
            let all = results.points.iter().filter_map(point).collect();
            let axis = &results.plan.axes()[place].name;
            let files = grids::points((&file_name("lines", &[axis]), ""), (&x_label, &y_label), all)?;
            pictures.push(Picture { kind: Kind::Lines, files });
        }
        return with_front(results, asked, pictures);
    }
    let x = asked.axes.first().copied().or_else(|| order.iter().copied().find(numeric));
    if let Some(x) = x.filter(numeric) {
        let series = asked.axes.get(1).copied().or_else(|| order.iter().copied().find(|place| *place != x));
        let shown: Vec<usize> = [Some(x), series].into_iter().flatten().collect();
        for (title, name, points) in facets(results, &shown, "lines").into_iter().take(MOST_PICTURES) {
            let (x_factor, x_label) = scaled(results, x);
            let mut by_series: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
            for point in points {
                let value = (results.value(point, &Measure::Axis(x)), results.value(point, &asked.figure));
                if let (Some(at), Some(value)) = value {
                    by_series
                        .entry(series.map_or(0, |place| point.levels[place]))
                        .or_default()
                        .push((at / x_factor, value / factor));
                }
            }
            let every = by_series.len().div_ceil(MOST_LINES).max(1);
            let lines = by_series.into_iter().step_by(every).map(|(level, mut points)| {
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let label = series
                    .map_or_else(|| results.name(&asked.figure).to_owned(), |place| level_label(results, place, level));
                (label, points)
            });
            let lines = lines.collect();
            let lines_of = series.map(|place| format!("a line each {}", results.plan.axes()[place].name));
            let title = [title, lines_of.unwrap_or_default()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ");
            let picture = Lines { name: &name, title: &title, x_label: &x_label, y_label: &y_label, lines };
            pictures.push(Picture { kind: Kind::Lines, files: grids::lines(picture)? });
        }
    }
    let pair = if asked.axes.len() == 2 { asked.axes.clone() } else { order.iter().copied().take(2).collect() };
    if let [first, second] = pair[..] {
        // Numbers to the right, if one of the two has any.
        let (x, y) = if numeric(&first) || !numeric(&second) { (first, second) } else { (second, first) };
        for (title, name, points) in facets(results, &[x, y], "heat").into_iter().take(MOST_PICTURES) {
            let (columns, rows) = (sorted_levels(results, x), sorted_levels(results, y));
            let mut values = vec![vec![None; columns.len()]; rows.len()];
            for point in points {
                let place =
                    |levels: &[usize], axis: usize| levels.iter().position(|level| *level == point.levels[axis]);
                if let (Some(column), Some(row)) = (place(&columns, x), place(&rows, y)) {
                    values[row][column] = results.value(point, &asked.figure).map(|value| value / factor);
                }
            }
            let labels =
                |axis: usize, levels: &[usize]| levels.iter().map(|level| level_label(results, axis, *level)).collect();
            let title = if title.is_empty() { y_label.clone() } else { format!("{y_label}, {title}") };
            let axis = |place: usize| results.plan.axes()[place].name.as_str();
            let files =
                grids::heat_map((&name, &title), (axis(x), labels(x, &columns)), (axis(y), labels(y, &rows)), values)?;
            pictures.push(Picture { kind: Kind::HeatMap, files });
        }
    }
    with_front(results, asked, pictures)
}

fn with_front(results: &Results, asked: &Asked, mut pictures: Vec<Picture>) -> Result<Vec<Picture>, ReportError> {
    let pair = asked.front.clone().or_else(|| Some((capacity(results)?, asked.figure.clone())));
    let Some((x, y)) = pair else { return Ok(pictures) };
    let most =
        |measure: &Measure| results.points.iter().filter_map(|point| results.value(point, measure)).fold(0.0, f64::max);
    let ((x_factor, x_unit), (y_factor, y_unit)) = (results.scale(&x, most(&x)), results.scale(&y, most(&y)));
    let all = results
        .points
        .iter()
        .filter_map(|point| Some((results.value(point, &x)? / x_factor, results.value(point, &y)? / y_factor)))
        .collect();
    let best: Vec<(f64, f64)> =
        front(results, &x, &y).into_iter().map(|(_, a, b)| (a / x_factor, b / y_factor)).collect();
    let labels = (labelled(results.name(&x), x_unit), labelled(results.name(&y), y_unit));
    if !best.is_empty() {
        let files = grids::front(
            (&file_name("front", &[results.name(&x), results.name(&y)]), ""),
            (&labels.0, &labels.1),
            all,
            &best,
        )?;
        pictures.push(Picture { kind: Kind::Front, files });
    }
    Ok(pictures)
}

/// The capacity that varies: what people save on.
fn capacity(results: &Results) -> Option<Measure> {
    results
        .axes()
        .find(|(_, axis)| matches!(axis.unit, Unit::Bytes(_)) && axis.is_numeric())
        .map(|(place, _)| Measure::Axis(place))
}

/// The points of each combination of the axes that are not `shown`, with a title and a file name.
fn facets<'a>(results: &'a Results, shown: &[usize], kind: &str) -> Vec<(String, String, Vec<&'a Point>)> {
    let others: Vec<usize> = results.axes().map(|(place, _)| place).filter(|place| !shown.contains(place)).collect();
    let mut facets: BTreeMap<Vec<usize>, Vec<&Point>> = BTreeMap::new();
    for point in &results.points {
        facets.entry(others.iter().map(|place| point.levels[*place]).collect()).or_default().push(point);
    }
    let names: Vec<&str> = shown.iter().map(|place| results.plan.axes()[*place].name.as_str()).collect();
    let several = facets.len() > 1;
    let named = |(index, (levels, points)): (usize, (Vec<usize>, Vec<&'a Point>))| {
        let pairs = others.iter().zip(&levels);
        let parts = pairs.map(|(place, level)| {
            format!("{} {}", results.plan.axes()[*place].name, level_label(results, *place, *level))
        });
        let file = file_name(kind, &names);
        (parts.collect::<Vec<_>>().join(", "), if several { format!("{file}_{}", index + 1) } else { file }, points)
    };
    facets.into_iter().enumerate().map(named).collect()
}

/// The levels of an axis, numbers in their order.
fn sorted_levels(results: &Results, place: usize) -> Vec<usize> {
    let axis = &results.plan.axes()[place];
    let mut levels: Vec<usize> = (0..axis.levels.len()).collect();
    if axis.is_numeric() {
        levels.sort_by(|a, b| axis.levels[*a].number.unwrap_or(0.0).total_cmp(&axis.levels[*b].number.unwrap_or(0.0)));
    }
    levels
}

fn level_label(results: &Results, place: usize, level: usize) -> String {
    results.plan.axes()[place].shown(level)
}

/// What an axis's numbers are divided by for a picture, and its label.
fn scaled(results: &Results, place: usize) -> (f64, String) {
    let axis = &results.plan.axes()[place];
    let most = axis.levels.iter().filter_map(|level| level.number).fold(0.0, f64::max);
    let (factor, unit) = results.scale(&Measure::Axis(place), most);
    (factor, labelled(&axis.name, unit))
}

fn labelled(name: &str, unit: &str) -> String {
    let name = name.strip_suffix("_ns").unwrap_or(name).replace("_ns.", " ");
    if unit.is_empty() { name } else { format!("{name} [{unit}]") }
}

/// `lines_memory.hbm.capacity_strategy`.
fn file_name(kind: &str, names: &[&str]) -> String {
    let usable = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let names: Vec<String> = names.iter().map(|name| name.chars().map(usable).collect()).collect();
    format!("{kind}_{}", names.join("_"))
}

/// The figure that a sweep's report is about unless asked otherwise: the mean token latency, which runs of different lengths
/// can be compared by.
///
/// # Errors
/// [`SweepError::Measure`] where no cell has it, as none got to its end.
pub fn usual_figure(results: &Results) -> Result<Measure, SweepError> {
    results.measure(USUAL)
}
