//! The report of a sweep: tables, sentences and pictures.
//!
//! The sentences name the best and the worst point and the axis that matters most; the table of
//! sensitivities ranks all axes. Lines, bars and heat maps are drawn over the axes that matter
//! most, unless others are asked for.

pub use super::asked::Asked;
use super::asked::{FIGURES, OF_REQUESTS, USUAL};
use super::batch::{self, Curves};
use super::grid::{self, Grid};
use super::points;
use super::{Measure, Point, Results, Sensitivity, SweepError, sensitivities};
use crate::report::grids::{self, Lines, LinesPanel, MOST_LINES};
use crate::report::html::{self, Cloud, Document, Facets, Part, Section};
use crate::report::{Artifact, Column, ReportError, Table, batch_curves};
use std::collections::BTreeSet;

/// The most heat maps, where other axes vary besides those that one shows.
const MOST_PICTURES: usize = 8;

/// The beginnings of the names of pictures.
pub const KINDS: [&str; 4] = ["lines", "heat", "front", "batch"];

/// The figures that every report needs.
#[must_use]
pub fn needed() -> Vec<&'static str> {
    FIGURES.iter().map(|(_, path)| *path).chain([USUAL, OF_REQUESTS]).chain(batch::FIGURES).collect()
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

/// The first `top` points by the figure that is asked for, then the cells that do not fit.
#[must_use]
pub fn cells_table(results: &Results, asked: &Asked) -> Table {
    let points = sorted(results, &asked.figure);
    let mut shown = table(results, &asked.figure, points.iter().copied().take(asked.top));
    let left = asked.top.saturating_sub(points.len());
    for levels in results.unfit.iter().take(left) {
        let mut cells: Vec<String> = results.axes().map(|(place, axis)| axis.shown(levels[place])).collect();
        cells.push("does not fit".to_owned());
        cells.resize(shown.width(), "-".to_owned());
        shown.row(cells);
    }
    shown
}

/// The points by `figure`, the least first.
#[must_use]
pub fn sorted<'a>(results: &'a Results, figure: &Measure) -> Vec<&'a Point> {
    super::ranked(results, &[], &[(figure.clone(), true)])
}

/// How much each axis matters.
#[must_use]
pub fn sensitivity_table(results: &Results, all: &[Sensitivity]) -> Table {
    let mut columns = vec![Column::text("axis"), Column::number("share of variance")];
    if results.plan.is_grid() {
        columns.extend([Column::number("worst over best, mean"), Column::number("worst over best, max")]);
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

/// The findings of a sweep, a sentence each.
#[must_use]
pub fn sentences(results: &Results, asked: &Asked) -> Vec<String> {
    let mut lines = Vec::new();
    let (there, all) = results.cells;
    if there < all {
        lines.push(format!("Only {there} of {all} cells are finished; the results below are of these cells."));
    }
    if let Some(strategy) = results.plan.strategy() {
        lines.push(format!("All cells run {}.", strategy.label()));
    }
    if let Some(curves) = batch::curves(results) {
        lines.extend(curves.sentences(results));
    }
    let name = results.name(&asked.figure);
    let sorted = sorted(results, &asked.figure);
    if let (Some(best), Some(worst)) = (sorted.first(), sorted.last()) {
        let value = |point: &Point| results.value(point, &asked.figure).unwrap_or(f64::NAN);
        let shown = |point: &Point| results.shown(&asked.figure, value(point));
        lines.push(format!("{name} is lowest, {}, with {}.", shown(best), results.described(best)));
        if value(best) > 0.0 && value(worst) > value(best) {
            lines.push(format!(
                "It is highest, {}, {:.2} times that, with {}.",
                shown(worst),
                value(worst) / value(best),
                results.described(worst)
            ));
        }
    } else {
        lines.push("No cell completed its run.".to_owned());
    }
    let all = sensitivities(results, &asked.figure);
    if let (Some(first), true) = (all.first(), all.len() > 1) {
        let axis = &results.plan.axes()[first.axis].name;
        let mut line =
            format!("{axis} matters most: it alone explains {:.0} % of the variance of {name}", 100.0 * first.share);
        if let Some((mean, most)) = first.ratio {
            line += &format!(
                "; with the other axes fixed, {name} at its worst value is {mean:.2} times that at its best on average (at most {most:.2} times)"
            );
        }
        lines.push(line + ".");
    }
    if let Some((levels, why)) = &results.first_no_room {
        let cells = if results.no_room == 1 { "cell does" } else { "cells do" };
        lines.push(format!(
            "{} {cells} not fit; the first ({}): {why}",
            results.no_room,
            results.plan.described(levels)
        ));
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

/// What stands first on a sweep's page: conclusions from the same results that are drawn elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Lead {
    /// The first sentences of the answer.
    pub sentences: Vec<String>,
    /// The first sections.
    pub sections: Vec<TitledPart<'static>>,
}

/// `report.html` and the pictures, as SVG and PNG. The page begins with `lead`.
///
/// # Errors
/// [`ReportError`] if one cannot be made.
pub fn files(results: &Results, asked: &Asked, lead: &Lead) -> Result<Vec<Artifact>, ReportError> {
    let grid = Grid::new(results, asked);
    let mut files = vec![page(results, asked, lead, &grid)?];
    if let Some(curves) = batch::curves(results) {
        files.extend(batch_picture(&curves)?);
    }
    if results.plan.is_grid() {
        if let Some(lines) = grid.lines() {
            files.extend(line_pictures(&lines, &grid.label)?);
        }
        if let Some(heat) = grid.heat() {
            files.extend(heat_pictures(&heat, &grid.label)?);
        }
    }
    let clouds = if results.plan.is_grid() { Vec::new() } else { grid.clouds() };
    for (name, Cloud { x_label, y_label, points, front }) in clouds.into_iter().chain(grid.front()) {
        let points = points.into_iter().map(|(_, x, y)| (x, y)).collect();
        let labels = (x_label.as_str(), y_label.as_str());
        files.extend(if front.is_empty() {
            grids::points((&name, ""), labels, points)?
        } else {
            grids::front((&name, ""), labels, points, &front)?
        });
    }
    Ok(files)
}

fn page(results: &Results, asked: &Asked, lead: &Lead, grid: &Grid<'_>) -> Result<Artifact, ReportError> {
    let points = sorted(results, &asked.figure);
    let shown = cells_table(results, asked);
    let sensitivity_table = sensitivity_table(results, &sensitivities(results, &asked.figure));
    let name = results.name(&asked.figure);
    let cells_note =
        format!("{} of {} points, by {name}, the lowest first.", points.len().min(asked.top), points.len());
    let mut sections = interactive(results, asked, grid);
    sections.extend(picture_sections(results, grid, name));
    sections.push(("Cells".to_owned(), cells_note, Part::Table(&shown)));
    let note = "The share of variance is that of the figure's logarithm which the axis alone explains: the variance of the means over its values. Worst over best \
                compares points that differ only in that axis.";
    sections.push(("Which axis matters".to_owned(), note.to_owned(), Part::Table(&sensitivity_table)));
    let sections: Vec<Section<'_>> = lead
        .sections
        .iter()
        .chain(&sections)
        .map(|(title, note, part)| Section { title, note, part: part.clone() })
        .collect();
    let config = results.plan.config();
    html::document(&Document {
        title: &config.name,
        question: &config.about,
        answer: &[lead.sentences.clone(), sentences(results, asked)].concat(),
        sections: &sections,
    })
}

/// The section in which a reader chooses what is shown.
fn interactive(results: &Results, asked: &Asked, grid: &Grid<'_>) -> Vec<TitledPart<'static>> {
    let Some(cells) = points::cells(results, asked, grid) else { return Vec::new() };
    let note = "Choose the figure and the axes; point at a place or go there with the arrow keys for its figures, and \
                click it or press Enter for its run. The address keeps the choice.";
    vec![(
        "Explore".to_owned(),
        format!("{note} {}", cells.left_out).trim_end().to_owned(),
        Part::Cells(Box::new(cells)),
    )]
}

/// Tokens/s and TPOT against batch, `batch.svg`.
fn batch_picture(curves: &Curves) -> Result<[Artifact; 2], ReportError> {
    let curve = |curve: &batch::Curve| {
        let points = curve.points.iter().map(|at| (at.batch, at.tokens_per_s, at.tpot)).collect();
        (curve.label.clone(), points)
    };
    batch_curves("batch", &curves.lines.iter().map(curve).collect::<Vec<_>>())
}

/// The same on a page.
fn batch_sections(curves: &Curves) -> [TitledPart<'static>; 2] {
    let facets = |y_label: &str, of: fn(&batch::At) -> f64| {
        let line = |curve: &batch::Curve| {
            let label = if curve.label.is_empty() { y_label.to_owned() } else { curve.label.clone() };
            (label, curve.points.iter().map(|at| (at.batch, of(at))).collect())
        };
        let panel = LinesPanel { title: String::new(), lines: curves.lines.iter().map(line).collect() };
        Part::Lines(Facets { x_label: "batch".to_owned(), y_label: y_label.to_owned(), panels: vec![panel] })
    };
    let shown = match curves.lines.len() {
        shown if shown < curves.all => {
            format!(" Shown are the {shown} of {} choices with the most tokens/s.", curves.all)
        }
        _ => String::new(),
    };
    [
        (
            "Tokens/s against batch".to_owned(),
            format!("Of all sequences together.{shown}"),
            facets("tokens/s", |at| at.tokens_per_s),
        ),
        (
            "TPOT against batch".to_owned(),
            "The mean time between two tokens of a sequence.".to_owned(),
            facets("TPOT [ms]", |at| at.tpot / 1e6),
        ),
    ]
}

/// A title, a note and the content of a section.
pub type TitledPart<'a> = (String, String, Part<'a>);

/// The sections with plots: lines, bars and heat maps of a grid, or clouds of a sample; then the
/// Pareto front. `name` is that of the figure.
fn picture_sections(results: &Results, grid: &Grid<'_>, name: &str) -> Vec<TitledPart<'static>> {
    let mut sections: Vec<TitledPart<'static>> = Vec::new();
    sections.extend(batch::curves(results).iter().flat_map(batch_sections));
    if results.plan.is_grid() {
        if let Some(lines) = grid.lines() {
            let of = lines.axes.get(1).map_or_else(String::new, |axis| format!(", a line for each {axis}"));
            let note = format!(
                "{} over {}{of}. {}",
                grid.label,
                lines.x_label,
                same_scale(lines.panels.len(), grid.combinations(&lines.axes))
            );
            sections.push(("Lines".to_owned(), note, Part::Lines(lines.facets(&grid.label))));
        }
        if let Some((axis, tables)) = grid.bars() {
            let note = format!(
                "{name}, a bar for each {axis}, the lowest first. {}",
                same_scale(tables.len(), grid.combinations(std::slice::from_ref(&axis)))
            );
            sections.push((format!("Choices of {axis}"), note, Part::Bars(tables)));
        }
        if let Some(heat) = grid.heat() {
            let note = format!(
                "{}: less is better, and paler. {}",
                grid.label,
                same_scale(heat.panels.len(), grid.combinations(&heat.axes))
            );
            sections.push(("Heat maps".to_owned(), note, Part::Heat(heat.tables())));
        }
    } else {
        for (_, cloud) in grid.clouds() {
            sections.push((cloud.x_label.clone(), String::new(), Part::Cloud(cloud)));
        }
    }
    if let Some((_, cloud)) = grid.front() {
        let which = match grid.every() {
            1 => "All points".to_owned(),
            every => format!("One of every {every} points"),
        };
        let note = format!(
            "{which} over two measures; the line is the Pareto front, whose points no other point beats in both."
        );
        sections.push(("Front".to_owned(), note, Part::Cloud(cloud)));
    }
    sections
}

/// A note on the scale of `panels` panels, and on the combinations of other axes that are not
/// shown.
fn same_scale(panels: usize, combinations: usize) -> String {
    match (panels, combinations) {
        (0 | 1, 0 | 1) => String::new(),
        _ if panels == combinations => "All have the same scale.".to_owned(),
        _ => format!(
            "All have the same scale. Shown are the first {panels} of {combinations} combinations of the other axes; \
             “tiersim sweep report --axes” chooses which axes are shown."
        ),
    }
}

/// The most panels of a picture; further panels go into further pictures.
const PANELS_OF_A_PICTURE: usize = 9;

/// The figure over an axis in panels, `lines_X_SERIES.svg`, in several pictures where there are
/// many.
fn line_pictures(lines: &grid::Lines, y_label: &str) -> Result<Vec<Artifact>, ReportError> {
    let name = grid::file_name("lines", &lines.axes);
    let chosen = chosen_lines(lines);
    let all = lines.panels.iter().flat_map(|panel| &panel.lines).map(|(label, _)| label).collect::<BTreeSet<_>>().len();
    let mut title = lines.axes.get(1).map_or_else(String::new, |axis| format!("a line for each {axis}"));
    if chosen.len() < all {
        title += &format!(", {} of {all}", chosen.len());
    }
    let pictures = lines.panels.chunks(PANELS_OF_A_PICTURE);
    let several = pictures.len() > 1;
    let mut files = Vec::new();
    for (index, panels) in pictures.enumerate() {
        let panel = |panel: &LinesPanel| LinesPanel {
            title: panel.title.clone(),
            lines: panel.lines.iter().filter(|(label, _)| chosen.contains(label)).cloned().collect(),
        };
        files.extend(grids::lines(Lines {
            name: &if several { format!("{name}_{}", index + 1) } else { name.clone() },
            title: &title,
            x_label: &lines.x_label,
            y_label,
            panels: panels.iter().map(panel).collect(),
        })?);
    }
    Ok(files)
}

/// The lines of a picture, which has room for [`MOST_LINES`]: evenly chosen ones where the values
/// have an order, else those that reach the lowest values.
fn chosen_lines(lines: &grid::Lines) -> BTreeSet<String> {
    let mut least: Vec<(String, f64)> = Vec::new();
    for (label, points) in lines.panels.iter().flat_map(|panel| &panel.lines) {
        let lowest = points.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min);
        match least.iter_mut().find(|(known, _)| known == label) {
            Some((_, known)) => *known = known.min(lowest),
            None => least.push((label.clone(), lowest)),
        }
    }
    if lines.is_ordered {
        let every = least.len().div_ceil(MOST_LINES).max(1);
        return least.into_iter().step_by(every).map(|(label, _)| label).collect();
    }
    least.sort_by(|a, b| a.1.total_cmp(&b.1));
    least.into_iter().take(MOST_LINES).map(|(label, _)| label).collect()
}

/// A picture for each panel, `heat_X_Y.svg`; all have the same colours for the same values.
fn heat_pictures(heat: &grid::Heat, label: &str) -> Result<Vec<Artifact>, ReportError> {
    let name = grid::file_name("heat", &heat.axes);
    let several = heat.panels.len() > 1;
    let mut files = Vec::new();
    for (index, (title, values)) in heat.panels.iter().enumerate().take(MOST_PICTURES) {
        let [x, y] = &heat.axes;
        let title = if title.is_empty() { label.to_owned() } else { format!("{label}, {title}") };
        let name = if several { format!("{name}_{}", index + 1) } else { name.clone() };
        let (columns, rows) = ((x.as_str(), heat.columns.clone()), (y.as_str(), heat.rows.clone()));
        files.extend(grids::heat_map((&name, &title), columns, rows, values.clone(), heat.ends)?);
    }
    Ok(files)
}

/// The figure of a report that is asked for by no name: the mean token latency; of requests the
/// mean time from arrival to the last token.
///
/// # Errors
/// As [`usual_figure`].
pub fn default_figure(results: &Results) -> Result<Measure, SweepError> {
    results.measure(OF_REQUESTS).or_else(|_| results.measure(USUAL))
}

/// The default figure at the end of a sweep: the mean token latency, which runs of different
/// lengths can be compared by; where the batch varies, the mean TPOT, and where chunks of prompts
/// do, TTFT. Of requests the mean time from arrival to the last token.
///
/// # Errors
/// [`SweepError::Measure`] where no cell has it, as none completed its run.
pub fn usual_figure(results: &Results) -> Result<Measure, SweepError> {
    if let Ok(of_requests) = results.measure(OF_REQUESTS) {
        return Ok(of_requests);
    }
    // Chunks of prompts are for the first token.
    let of_prompts = |axis: &super::Axis| axis.paths.iter().any(|path| path.starts_with("prefill."));
    if results.axes().any(|(_, axis)| of_prompts(axis))
        && let Ok(ttft) = results.measure("ttft_ns.mean")
    {
        return Ok(ttft);
    }
    // Steps of other batches are no tokens of a person who waits for one.
    let of_batches = batch::axis(results).and_then(|_| results.measure("tpot_ns.mean").ok());
    of_batches.map_or_else(|| results.measure(USUAL), Ok)
}
