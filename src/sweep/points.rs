//! The points of a sweep as the data of its interactive page.
//!
//! A sweep may have a million cells, and a page that opens at once has room for some ten thousand.
//! Of a grid that is larger, every second value of its longest axis is left out, the ends
//! excepted, until the rest has room: what is left is a grid, so that lines and rows stay complete.
//! Of a sample, every n-th point stays.

use super::asked::{Asked, FIGURES, USUAL};
use super::grid::Grid;
use super::{Measure, Point, Results};
use crate::report::html::{CellAxis, CellFigure, CellNumber, Cells, First};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The most bytes of the points on a page, which with its other parts stays below 5 MB.
const MOST_BYTES: usize = 3_000_000;
/// The most points to begin with.
const MOST_POINTS: usize = 60_000;
/// The most cells that do not fit which are shown as such.
const MOST_UNFIT: usize = 2_000;
/// The folder of the runs of single cells, in a sweep's folder.
pub const RUNS: &str = "runs";

/// The points that have room on a page; `None` if there is none, or no axis.
pub(super) fn cells(results: &Results, asked: &Asked, grid: &Grid<'_>) -> Option<Cells> {
    let mut most = MOST_POINTS;
    loop {
        let cells = Kept::new(results, most).cells(results, asked, grid)?;
        if cells.bytes() <= MOST_BYTES || most < 2 {
            return Some(cells);
        }
        most /= 2;
    }
}

/// What a page shows of a sweep.
struct Kept<'a> {
    points: Vec<&'a Point>,
    /// For each axis that varies its place, and the levels that are kept, in the order of their
    /// numbers.
    axes: Vec<(usize, Vec<usize>)>,
    left_out: String,
}

impl<'a> Kept<'a> {
    fn new(results: &'a Results, most: usize) -> Self {
        let mut axes: Vec<(usize, Vec<usize>)> =
            results.axes().map(|(place, _)| (place, used_levels(results, place))).collect();
        let all: Vec<&Point> = results.points.iter().collect();
        if all.len() <= most {
            return Self { points: all, axes, left_out: String::new() };
        }
        if !results.plan.is_grid() {
            let every = all.len().div_ceil(most);
            let points: Vec<&Point> = all.iter().copied().step_by(every).collect();
            for (place, levels) in &mut axes {
                let kept: BTreeSet<usize> = points.iter().map(|point| point.levels[*place]).collect();
                levels.retain(|level| kept.contains(level));
            }
            let left_out = format!("One of every {every} points is on this page, {} in all.", points.len());
            return Self { points, axes, left_out };
        }
        let before: Vec<usize> = axes.iter().map(|(_, levels)| levels.len()).collect();
        thin(&mut axes, most);
        let kept: Vec<(usize, BTreeSet<usize>)> =
            axes.iter().map(|(place, levels)| (*place, levels.iter().copied().collect())).collect();
        let is_kept = |point: &&Point| kept.iter().all(|(place, levels)| levels.contains(&point.levels[*place]));
        let points: Vec<&Point> = all.iter().copied().filter(is_kept).collect();
        let thinned = axes.iter().zip(before).filter(|((_, levels), before)| levels.len() < *before);
        let of: Vec<String> = thinned
            .map(|((place, levels), before)| {
                format!("{} of {before} values of {}", levels.len(), results.plan.axes()[*place].name)
            })
            .collect();
        let left_out = format!("This page has {} of {} points: {}.", points.len(), all.len(), of.join(", "));
        Self { points, axes, left_out }
    }

    fn cells(&self, results: &Results, asked: &Asked, grid: &Grid<'_>) -> Option<Cells> {
        if self.points.is_empty() || self.axes.is_empty() {
            return None;
        }
        let figures = self.figures(results, asked);
        let wanted = results.name(&asked.figure);
        let (x, rows) = grid.shown();
        let place = |wanted: usize| self.axes.iter().position(|(place, _)| *place == wanted);
        let x = x.and_then(place).unwrap_or(0);
        let first = First {
            figure: figures.iter().position(|figure| figure.path == wanted).unwrap_or(0),
            x,
            rows: rows.and_then(place).filter(|rows| *rows != x),
        };
        let shown = |cell: &u64| self.points.binary_search_by_key(cell, |point| point.cell).is_ok();
        Some(Cells {
            axes: self.axes.iter().map(|(place, levels)| self.axis(results, *place, levels)).collect(),
            figures,
            cells: self.points.iter().map(|point| point.cell).collect(),
            unfit: self.unfit(results),
            repeats: results.plan.config().repeats,
            sampled: !results.plan.is_grid(),
            command: results.folder.as_deref().map(|folder| format!("tiersim sweep cell {}", quoted(folder))),
            runs: results.folder.as_deref().map(runs).unwrap_or_default().into_iter().filter(shown).collect(),
            first,
            left_out: self.left_out.clone(),
        })
    }

    fn axis(&self, results: &Results, place: usize, levels: &[usize]) -> CellAxis {
        let axis = &results.plan.axes()[place];
        let numbers: Vec<f64> = levels.iter().filter_map(|level| axis.levels[*level].number).collect();
        let (factor, unit) = results.scale(&Measure::Axis(place), numbers.iter().copied().fold(0.0, f64::max));
        let mut places = vec![0; axis.levels.len()];
        levels.iter().enumerate().for_each(|(index, level)| places[*level] = index);
        CellAxis {
            name: axis.name.clone(),
            label: if unit.is_empty() { axis.name.clone() } else { format!("{} [{unit}]", axis.name) },
            levels: levels.iter().map(|level| axis.shown(*level)).collect(),
            numbers: if axis.is_numeric() {
                numbers.iter().map(|number| CellNumber(number / factor)).collect()
            } else {
                Vec::new()
            },
            of: self.points.iter().map(|point| places[point.levels[place]]).collect(),
        }
    }

    /// The figure that is asked for and the usual ones, of which any point has a value.
    fn figures(&self, results: &Results, asked: &Asked) -> Vec<CellFigure> {
        let own = results.name(&asked.figure);
        let mut named: Vec<(&str, &str)> = FIGURES.to_vec();
        if matches!(asked.figure, Measure::Figure(_)) && !FIGURES.iter().any(|(_, path)| *path == own) {
            named.push((if own == USUAL { "token mean" } else { own }, own));
        }
        let figure = |(name, path): (&str, &str)| {
            let measure = Measure::Figure(path.to_owned());
            let values: Vec<Option<f64>> = self
                .points
                .iter()
                .map(|point| results.value(point, &measure).filter(|value| value.is_finite()))
                .collect();
            let most = values.iter().flatten().copied().reduce(f64::max)?;
            let (factor, unit) = results.scale(&measure, most);
            Some(CellFigure {
                path: path.to_owned(),
                name: name.to_owned(),
                unit: unit.to_owned(),
                values: values.iter().map(|value| value.map(|value| CellNumber(value / factor))).collect(),
            })
        };
        named.into_iter().filter_map(figure).collect()
    }

    /// The places of the levels of cells that do not fit.
    fn unfit(&self, results: &Results) -> Vec<Vec<usize>> {
        let of = |levels: &Vec<usize>| {
            let place = |(place, kept): &(usize, Vec<usize>)| kept.iter().position(|level| *level == levels[*place]);
            self.axes.iter().map(place).collect::<Option<Vec<usize>>>()
        };
        let distinct: BTreeSet<Vec<usize>> = results.unfit.iter().filter_map(of).take(MOST_UNFIT).collect();
        distinct.into_iter().collect()
    }
}

/// The levels of an axis that occur, numbers in their order.
fn used_levels(results: &Results, place: usize) -> Vec<usize> {
    let axis = &results.plan.axes()[place];
    let levels = results.points.iter().map(|point| &point.levels).chain(&results.unfit).map(|levels| levels[place]);
    let mut used: Vec<usize> = levels.collect::<BTreeSet<_>>().into_iter().collect();
    if axis.is_numeric() {
        let number = |level: &usize| axis.levels[*level].number.unwrap_or(0.0);
        used.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    used
}

/// Takes every second level, except the ends, from the axis that has most, until there are at most
/// `most` combinations.
fn thin(axes: &mut [(usize, Vec<usize>)], most: usize) {
    let combinations =
        |axes: &[(usize, Vec<usize>)]| axes.iter().fold(1usize, |all, (_, levels)| all.saturating_mul(levels.len()));
    while combinations(axes) > most.max(1) {
        let Some((_, levels)) = axes.iter_mut().max_by_key(|(_, levels)| levels.len()) else { return };
        let last = levels.last().copied();
        let two = levels.len() <= 2;
        *levels = levels.iter().copied().step_by(2).collect();
        if !two && levels.last().copied() != last {
            levels.extend(last);
        }
    }
}

/// The cells of which the folder has the run, in their order.
fn runs(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder.join(RUNS)).into_iter().flatten().flatten();
    let numbered = entries.filter(|entry| entry.path().join("report.html").is_file());
    let mut cells: Vec<u64> = numbered.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    cells.sort_unstable();
    cells
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=,@%:".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::synthetic;
    use super::super::{AxisConfig, Plan, Row, SweepConfig};
    use super::*;
    use crate::metrics::FigureValue;
    use crate::simulation::ScenarioConfig;
    use proptest::prelude::*;
    use serde_json::json;

    /// A grid of 40 x 50 x 60 cells: too many for a page, which gets some of them and says so.
    #[test]
    fn a_page_of_many_cells_is_bounded() {
        let levels = |count: u64, scale: u64| (1..=count).map(|level| json!(level * scale)).collect();
        let axis = |field: &str, values: Vec<serde_json::Value>| AxisConfig::Values { field: field.to_owned(), values };
        let axes = vec![
            axis("prefill_tokens", levels(40, 64)),
            axis("decode_tokens", levels(50, 1)),
            axis("page_tokens", levels(60, 1)),
        ];
        let plan = Plan::new(SweepConfig::of("many".to_owned(), ScenarioConfig::load("study").unwrap(), axes)).unwrap();
        let row = |cell: u64| Row {
            cell,
            error: None,
            figures: FIGURES
                .iter()
                .map(|(_, path)| ((*path).to_owned(), FigureValue::Real(cell as f64 / 7.0)))
                .collect(),
        };
        let rows = (0..plan.cells()).map(row).collect();
        let results = Results::of(plan, rows);
        let asked = Asked { figure: results.measure("simulated_ns").unwrap(), axes: Vec::new(), front: None, top: 20 };
        let cells = cells(&results, &asked, &Grid::new(&results, &asked)).unwrap();
        assert!(cells.bytes() <= MOST_BYTES && cells.bytes() > MOST_BYTES / 8, "{}", cells.bytes());
        assert!(cells.left_out.starts_with("This page has ") && cells.left_out.contains(" of 120000 points: "));
        // What is left is a grid with the ends of each axis.
        let sizes: Vec<usize> = cells.axes.iter().map(|axis| axis.levels.len()).collect();
        assert_eq!(sizes.iter().product::<usize>(), cells.cells.len());
        assert_eq!((cells.axes[0].levels[0].as_str(), cells.axes[0].levels[sizes[0] - 1].as_str()), ("64", "2560"));
    }

    #[test]
    fn without_points_there_is_nothing_to_explore() {
        let results = synthetic(|_, _, _| None);
        let asked =
            Asked { figure: Measure::Figure("simulated_ns".to_owned()), axes: Vec::new(), front: None, top: 20 };
        assert!(cells(&results, &asked, &Grid::new(&results, &asked)).is_none());
    }

    /// Of repeats a page has the mean, under the number of the first.
    #[test]
    fn repeats_are_one_point_of_a_page() {
        let results = synthetic(|capacity, skip, repeat| (skip == 0.0).then_some(1e6 * capacity + repeat as f64));
        let asked = Asked { figure: results.measure("simulated_ns").unwrap(), axes: Vec::new(), front: None, top: 20 };
        let cells = cells(&results, &asked, &Grid::new(&results, &asked)).unwrap();
        assert_eq!((cells.repeats, &cells.cells[..]), (2, &[0, 4, 8][..]));
        assert_eq!(cells.figures[0].values[1], Some(CellNumber((4e6 + 0.5) / 1e6)));
        assert_eq!(cells.command, None);
    }

    proptest! {
        #[test]
        fn thinned_axes_have_room_and_keep_a_level_each(sizes in proptest::collection::vec(1usize..40, 1..5), most in 1usize..500) {
            let mut axes: Vec<(usize, Vec<usize>)> = sizes.iter().enumerate().map(|(place, size)| (place, (0..*size).collect())).collect();
            thin(&mut axes, most);
            prop_assert!(axes.iter().map(|(_, levels)| levels.len()).product::<usize>() <= most);
            for ((_, levels), size) in axes.iter().zip(sizes) {
                prop_assert!(!levels.is_empty() && levels.is_sorted());
                // The ends stay, unless a single level does.
                prop_assert!(levels.len() == 1 || (levels[0] == 0 && levels[levels.len() - 1] == size - 1));
            }
        }
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("out/sweeps/a-b,c=1")), "out/sweeps/a-b,c=1");
        assert_eq!(quoted(Path::new("it's a sweep")), r"'it'\''s a sweep'");
    }
}
