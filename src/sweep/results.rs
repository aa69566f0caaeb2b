//! The results of a sweep, read back for tables, queries and pictures.
//!
//! A sweep may have millions of cells with a hundred figures each, so only the figures that are
//! asked for are read. Cells that differ only in the seed are repeats: they become one [`Point`]
//! with mean, minimum and maximum. A [`Measure`] is anything that a query can name: an axis or a
//! figure.

use super::axis::REPEAT;
use super::{Axis, Folder, Plan, Row, SweepError, Unit};
use crate::metrics::{FigureUnit, figure_unit, full_name, stand_in};
use crate::units::SizeStyle;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most cells that do not fit of which the levels are kept.
const MOST_UNFIT: usize = 10_000;

/// The rows of a sweep, read back.
#[derive(Clone, Debug)]
pub struct Results {
    /// The plan of the sweep.
    pub plan: Plan,
    /// The folder that has the sweep, as it was named; `None` of cells that were run in memory.
    pub folder: Option<PathBuf>,
    /// By cell; repeats of a cell are one point.
    pub points: Vec<Point>,
    /// How many cells failed or ended incomplete, with the first such cell and its error.
    pub failed: u64,
    /// The first of them.
    pub first_failure: Option<(Vec<usize>, String)>,
    /// How many cells do not fit on their machine, with why the first does not.
    pub no_room: u64,
    /// The first of them.
    pub first_no_room: Option<(Vec<usize>, String)>,
    /// The levels of those cells, of a part of them where there are many.
    pub unfit: Vec<Vec<usize>>,
    /// Why cells have no figures, as their rows say, of a part of them where there are many.
    pub without: Vec<(Vec<usize>, String)>,
    /// How many cells are there, of how many.
    pub cells: (u64, u64),
    /// The figures that rows have.
    known: Vec<String>,
    /// Those of them that were read.
    loaded: Vec<String>,
}

/// A cell, with the means of its repeats.
#[derive(Clone, Debug)]
pub struct Point {
    /// The number of its first repeat.
    pub cell: u64,
    /// Its level on each axis; the level on the axis of repeats has no meaning.
    pub levels: Vec<usize>,
    /// How many repeats it has.
    pub repeats: u64,
    /// Mean, minimum and maximum over the repeats of each figure that was read; NaN for figures
    /// that it does not have.
    figures: Vec<[f64; 3]>,
}

/// The meaning of a name in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// An axis, by its place.
    Axis(usize),
    /// A figure, by its path.
    Figure(String),
}

impl Results {
    /// Reads the sweep in the folder `path`, finished or not, with only the figures that are
    /// `asked` for, by path or short name: a sweep has many cells, and a cell many figures.
    ///
    /// # Errors
    /// [`SweepError`] if there is none or it is damaged.
    pub fn read(path: &Path, asked: &[&str]) -> Result<Self, SweepError> {
        let (folder, plan) = Folder::open(path)?;
        let known = folder.figures(&plan)?;
        let mut loaded: Vec<String> = asked.iter().map(|name| full_name(name.trim()).to_owned()).collect();
        let instead: Vec<String> = loaded.iter().filter_map(|name| stand_in(name)).collect();
        loaded.extend(instead);
        loaded.retain(|name| known.contains(name));
        loaded.sort_unstable();
        loaded.dedup();
        let rows = folder.rows(&plan, |name| loaded.iter().any(|asked| asked == name))?;
        let total = (0..plan.cells().min(Plan::COUNTED))
            .filter(|cell| folder.shard().owns(*cell) && plan.levels(*cell).is_some());
        let total =
            if plan.cells() <= Plan::COUNTED { total.count() as u64 } else { plan.cells() / folder.shard().of() };
        Ok(Self { folder: Some(path.to_owned()), ..Self::new(plan, rows, total, known, loaded) })
    }

    /// The results of rows that were run in memory, with all of their figures.
    #[must_use]
    pub fn of(plan: Plan, rows: Vec<Row>) -> Self {
        let mut known: Vec<String> = Vec::new();
        for (name, _) in rows.iter().flat_map(|row| &row.figures.0) {
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
        let total = rows.len() as u64;
        Self::new(plan, rows, total, known.clone(), known)
    }

    fn new(plan: Plan, rows: Vec<Row>, total: u64, known: Vec<String>, loaded: Vec<String>) -> Self {
        let cells = (rows.len() as u64, total);
        let (mut failed, mut first_failure) = (0, None);
        let (mut no_room, mut first_no_room, mut unfit) = (0, None, Vec::new());
        let repeats = plan.axes().iter().position(|axis| axis.name == REPEAT);
        let mut points: BTreeMap<(Vec<usize>, u64), Point> = BTreeMap::new();
        let mut without = Vec::new();
        for row in rows {
            let Some(mut levels) = plan.levels(row.cell) else { continue };
            if let Some(error) = row.error.as_ref().filter(|_| without.len() < MOST_UNFIT) {
                without.push((levels.clone(), error.clone()));
            }
            if let Some(why) = row.no_room() {
                no_room += 1;
                if unfit.len() < MOST_UNFIT {
                    unfit.push(levels.clone());
                }
                first_no_room.get_or_insert_with(|| (levels, why.to_owned()));
                continue;
            }
            if let Some(error) = row.error {
                failed += 1;
                first_failure.get_or_insert((levels, error));
                continue;
            }
            if let Some(place) = repeats {
                levels[place] = 0;
            }
            // In a sample, points that happen to be equal stay separate.
            let apart = if plan.is_grid() { 0 } else { row.cell / plan.config().repeats as u64 };
            let point = points.entry((levels.clone(), apart)).or_insert_with(|| Point {
                cell: row.cell,
                levels,
                repeats: 0,
                figures: vec![[f64::NAN; 3]; loaded.len()],
            });
            point.repeats += 1;
            for (name, figure) in row.figures.0 {
                let value = figure.as_f64();
                let Some(place) = loaded.iter().position(|known| *known == name) else { continue };
                let [mean, least, most] = &mut point.figures[place];
                *mean = if mean.is_nan() { value } else { *mean + (value - *mean) / point.repeats as f64 };
                *least = least.min(value);
                *most = most.max(value);
            }
        }
        let mut points: Vec<Point> = points.into_values().collect();
        points.sort_by_key(|point| point.cell);
        Self {
            plan,
            folder: None,
            points,
            failed,
            first_failure,
            no_room,
            first_no_room,
            unfit,
            without,
            cells,
            known,
            loaded,
        }
    }

    /// The axes that have several levels, with their places; repeats are none.
    pub fn axes(&self) -> impl Iterator<Item = (usize, &Axis)> {
        let several =
            |axis: &Axis| axis.name != REPEAT && axis.levels.iter().any(|level| level.label != axis.levels[0].label);
        self.plan.axes().iter().enumerate().filter(move |(_, axis)| several(axis))
    }

    /// What `name` is: an axis, or a figure by its path or a short name of it.
    ///
    /// # Errors
    /// [`SweepError::Measure`], listing the known names.
    pub fn measure(&self, name: &str) -> Result<Measure, SweepError> {
        let name = name.trim();
        if let Some(place) = self.plan.axes().iter().position(|axis| axis.name == name) {
            return Ok(Measure::Axis(place));
        }
        let path = full_name(name);
        if self.known.iter().any(|known| known == path) {
            return Ok(Measure::Figure(path.to_owned()));
        }
        if let Some(instead) = stand_in(path).filter(|instead| self.known.contains(instead)) {
            return Ok(Measure::Figure(instead));
        }
        let stem = path.split('.').next().unwrap_or(path);
        let mut near: Vec<&str> =
            self.known.iter().map(String::as_str).filter(|known| known.split('.').next() == Some(stem)).collect();
        if near.is_empty() {
            near = self.plan.axes().iter().map(|axis| axis.name.as_str()).collect();
            near.extend(self.known.iter().map(String::as_str).filter(|known| known.split('.').count() <= 2).take(24));
        }
        Err(SweepError::Measure { name: name.to_owned(), known: near.join(", ") })
    }

    fn figure(&self, point: &Point, path: &str) -> Option<[f64; 3]> {
        let of = |path: &str| {
            let place = self.loaded.iter().position(|known| known == path)?;
            Some(point.figures[place]).filter(|[mean, ..]| !mean.is_nan())
        };
        of(path).or_else(|| of(&stand_in(path)?))
    }

    /// The value of a measure at a point; of repeats, the mean.
    #[must_use]
    pub fn value(&self, point: &Point, measure: &Measure) -> Option<f64> {
        match measure {
            Measure::Axis(place) => self.plan.axes()[*place].levels[point.levels[*place]].number,
            Measure::Figure(path) => self.figure(point, path).map(|[mean, ..]| mean),
        }
    }

    /// The least and the most of a figure over a point's repeats.
    #[must_use]
    pub fn spread(&self, point: &Point, measure: &Measure) -> Option<(f64, f64)> {
        match measure {
            Measure::Axis(_) => None,
            Measure::Figure(path) => self.figure(point, path).map(|[_, least, most]| (least, most)),
        }
    }

    /// A measure's name.
    #[must_use]
    pub fn name<'a>(&'a self, measure: &'a Measure) -> &'a str {
        match measure {
            Measure::Axis(place) => &self.plan.axes()[*place].name,
            Measure::Figure(path) => path,
        }
    }

    /// A value of a measure as a person reads it.
    #[must_use]
    pub fn shown(&self, measure: &Measure, value: f64) -> String {
        match measure {
            Measure::Axis(place) => self.plan.axes()[*place].unit.shown(value),
            Measure::Figure(path) => figure_unit(path).shown(value),
        }
    }

    /// The divisor of a measure's values in a picture, and the unit's name.
    #[must_use]
    pub fn scale(&self, measure: &Measure, most: f64) -> (f64, &'static str) {
        let unit = match measure {
            Measure::Axis(place) => self.plan.axes()[*place].unit,
            Measure::Figure(path) => match figure_unit(path) {
                FigureUnit::Time => Unit::Time,
                FigureUnit::Bytes => Unit::Bytes(SizeStyle::Binary),
                _ => Unit::Real,
            },
        };
        unit.scale(most)
    }

    /// A point's levels in words.
    #[must_use]
    pub fn described(&self, point: &Point) -> String {
        let axes = self.axes().map(|(place, axis)| format!("{} {}", axis.name, axis.shown(point.levels[place])));
        axes.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{AxisConfig, SweepConfig};
    use super::*;
    use crate::metrics::{FigureValue, Named};
    use crate::simulation::ScenarioConfig;
    use serde_json::json;

    /// A sweep over capacity (3), skip (2) and repeats (2), whose time is `time(capacity in GiB,
    /// skip, repeat)`.
    pub fn synthetic(time: impl Fn(f64, f64, u64) -> Option<f64>) -> Results {
        let values = |field: &str, values: serde_json::Value| AxisConfig::Values {
            field: field.to_owned(),
            values: values.as_array().unwrap().clone(),
        };
        let axes = vec![
            values("memory.hbm.capacity", json!(["2GiB", "4GiB", "8GiB"])),
            values("trace.skip", json!([0.0, 0.4])),
        ];
        let mut config = SweepConfig::of("test".to_owned(), ScenarioConfig::load("study").unwrap(), axes);
        config.repeats = 2;
        let plan = Plan::new(config).unwrap();
        let row = |cell: u64| {
            let levels = plan.levels(cell).unwrap();
            let number = |axis: usize| plan.axes()[axis].levels[levels[axis]].number.unwrap();
            match time(number(0) / 1073741824.0, number(1), levels[2] as u64) {
                Some(time) => Row {
                    cell,
                    error: None,
                    figures: Named(vec![("simulated_ns".to_owned(), FigureValue::Real(time))]),
                },
                None => Row::failed(cell, "no".to_owned()),
            }
        };
        let rows = (0..plan.cells()).map(row).collect();
        let names = vec!["simulated_ns".to_owned()];
        Results::new(plan, rows, 12, names.clone(), names)
    }

    /// The results of these rows, of which all figures are read.
    pub fn of_rows(plan: Plan, rows: Vec<Row>) -> Results {
        let mut names: Vec<String> = rows.iter().flat_map(|row| &row.figures.0).map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        let total = rows.len() as u64;
        Results::new(plan, rows, total, names.clone(), names)
    }

    #[test]
    fn repeats_become_one_point() {
        let results = synthetic(|capacity, skip, repeat| {
            (skip == 0.0 || capacity > 2.0).then_some(capacity * 10.0 + repeat as f64)
        });
        assert_eq!((results.points.len(), results.failed, results.cells), (5, 2, (12, 12)));
        let time = results.measure("time").unwrap();
        let point = &results.points[0];
        assert_eq!((results.value(point, &time), results.spread(point, &time)), (Some(20.5), Some((20.0, 21.0))));
        let capacity = results.measure("memory.hbm.capacity").unwrap();
        assert_eq!(results.shown(&capacity, results.value(point, &capacity).unwrap()), "2 GiB");
        assert_eq!(results.described(point), "memory.hbm.capacity 2 GiB, trace.skip 0");
        let text = results.measure("simulated").unwrap_err().to_string();
        assert!(text.contains("memory.hbm.capacity") && text.contains("simulated_ns"), "{text}");
    }
}
