//! The points of a sweep as its pictures and its page show them: lines over an axis, tables over
//! two, bars over one, and the Pareto front.
//!
//! Points that differ in axes which are not shown go into different panels, one for each
//! combination; all panels share axes and scale.

use super::asked::Asked;
use super::{Measure, Point, Results, Unit, front, sensitivities};
use crate::report::grids::LinesPanel;
use crate::report::html::{BarTable, Cloud, Facets, HeatTable};
use std::collections::{BTreeMap, BTreeSet};

/// The most panels that are shown: a reader cannot compare more.
const MOST_PANELS: usize = 24;
/// The most cells of all panels together, so that a page opens quickly.
const MOST_CELLS: usize = 20_000;
/// The most points of a cloud, for the same reason.
const MOST_POINTS: usize = 4_000;

/// A sweep's points with the figure that is asked for.
pub(super) struct Grid<'a> {
    results: &'a Results,
    asked: &'a Asked,
    /// The axes, those that matter most first.
    order: Vec<usize>,
    /// The divisor of the figure's values, and its name with the unit.
    factor: f64,
    pub label: String,
}

/// A figure over an axis of numbers.
pub(super) struct Lines {
    /// The names of the axes that are shown.
    pub axes: Vec<String>,
    pub x_label: String,
    pub panels: Vec<LinesPanel>,
    /// Whether each line is a value that has no order, so that some may stand for all.
    pub is_ordered: bool,
}

/// A figure over two axes.
pub(super) struct Heat {
    /// The names of the axes to the right and upwards.
    pub axes: [String; 2],
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// For each panel its title, and the values of each row.
    pub panels: Vec<(String, Vec<Vec<Option<f64>>>)>,
    /// The least and the most of all panels.
    pub ends: (f64, f64),
}

/// The title of each panel with its points.
type Panels<'a> = Vec<(String, Vec<&'a Point>)>;

impl<'a> Grid<'a> {
    pub fn new(results: &'a Results, asked: &'a Asked) -> Self {
        let values = results.points.iter().filter_map(|point| results.value(point, &asked.figure));
        let (factor, unit) = results.scale(&asked.figure, values.fold(0.0, f64::max));
        let order = sensitivities(results, &asked.figure).into_iter().map(|found| found.axis).collect();
        Self { results, asked, order, factor, label: labelled(results.name(&asked.figure), unit) }
    }

    fn is_numeric(&self, place: usize) -> bool {
        self.results.plan.axes()[place].is_numeric()
    }

    fn axis(&self, place: usize) -> String {
        self.results.plan.axes()[place].name.clone()
    }

    fn level(&self, place: usize, level: usize) -> String {
        self.results.plan.axes()[place].shown(level)
    }

    fn value(&self, point: &Point) -> Option<f64> {
        Some(self.results.value(point, &self.asked.figure)? / self.factor)
    }

    /// The levels of an axis, numbers in their order.
    fn levels(&self, place: usize) -> Vec<usize> {
        let axis = &self.results.plan.axes()[place];
        let mut levels: Vec<usize> = (0..axis.levels.len()).collect();
        if axis.is_numeric() {
            let number = |level: &usize| axis.levels[*level].number.unwrap_or(0.0);
            levels.sort_by(|a, b| number(a).total_cmp(&number(b)));
        }
        levels
    }

    /// The divisor of an axis's numbers, and its label with the unit.
    fn scaled(&self, place: usize) -> (f64, String) {
        let axis = &self.results.plan.axes()[place];
        let most = axis.levels.iter().filter_map(|level| level.number).fold(0.0, f64::max);
        let (factor, unit) = self.results.scale(&Measure::Axis(place), most);
        (factor, labelled(&axis.name, unit))
    }

    /// How many combinations there are of the axes that are not `shown`; the first of them have
    /// panels.
    pub fn combinations(&self, shown: &[String]) -> usize {
        let others: Vec<usize> =
            self.results.axes().filter(|(_, axis)| !shown.contains(&axis.name)).map(|(place, _)| place).collect();
        let of = |point: &Point| others.iter().map(|place| point.levels[*place]).collect::<Vec<_>>();
        self.results.points.iter().map(of).collect::<BTreeSet<_>>().len()
    }

    /// The points of each combination of the axes that are not `shown`, as many as are
    /// [`MOST_PANELS`] and [`MOST_CELLS`].
    fn panels(&self, shown: &[usize]) -> Panels<'a> {
        let others: Vec<usize> =
            self.results.axes().map(|(place, _)| place).filter(|place| !shown.contains(place)).collect();
        let mut panels: BTreeMap<Vec<usize>, Vec<&Point>> = BTreeMap::new();
        for point in &self.results.points {
            panels.entry(others.iter().map(|place| point.levels[*place]).collect()).or_default().push(point);
        }
        let titled = |(levels, points): (Vec<usize>, Vec<&'a Point>)| {
            let pairs = others.iter().zip(&levels);
            let parts = pairs.map(|(place, level)| format!("{} {}", self.axis(*place), self.level(*place, *level)));
            (parts.collect::<Vec<_>>().join(", "), points)
        };
        let largest = panels.values().map(Vec::len).max().unwrap_or(1).max(1);
        panels.into_iter().take((MOST_CELLS / largest).clamp(1, MOST_PANELS)).map(titled).collect()
    }

    /// The axis to the right and the one that has a line for each value, where there are any.
    pub fn shown(&self) -> (Option<usize>, Option<usize>) {
        let x = self.x_axis().or_else(|| self.asked.axes.first().copied()).or_else(|| self.order.first().copied());
        (x, self.series(x))
    }

    /// The axis of numbers that lines are drawn over.
    fn x_axis(&self) -> Option<usize> {
        let numeric = || self.order.iter().copied().filter(|place| self.is_numeric(*place));
        // Two values make no curve.
        let of_several = || numeric().find(|place| self.results.plan.axes()[*place].levels.len() > 2);
        let usual = || of_several().or_else(|| numeric().next());
        self.asked.axes.first().copied().or_else(usual).filter(|place| self.is_numeric(*place))
    }

    /// The axis that has a line for each value.
    fn series(&self, x: Option<usize>) -> Option<usize> {
        let other = || self.order.iter().copied().find(|place| Some(*place) != x);
        self.asked.axes.get(1).copied().or_else(other)
    }

    /// The figure over an axis of numbers, a line for each value of another; `None` where no axis
    /// has numbers.
    pub fn lines(&self) -> Option<Lines> {
        let x = self.x_axis()?;
        let series = self.series(Some(x));
        let shown: Vec<usize> = [Some(x), series].into_iter().flatten().collect();
        let (x_factor, x_label) = self.scaled(x);
        let panel = |(title, points): (String, Vec<&Point>)| {
            let mut by_series: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
            for point in points {
                if let (Some(at), Some(value)) = (self.results.value(point, &Measure::Axis(x)), self.value(point)) {
                    by_series
                        .entry(series.map_or(0, |place| point.levels[place]))
                        .or_default()
                        .push((at / x_factor, value));
                }
            }
            let order = series.map_or_else(|| vec![0], |place| self.levels(place));
            let line = |level: &usize| {
                let mut points = by_series.remove(level)?;
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let name = || self.results.name(&self.asked.figure).to_owned();
                Some((series.map_or_else(name, |place| self.level(place, *level)), points))
            };
            LinesPanel { title, lines: order.iter().filter_map(line).collect() }
        };
        Some(Lines {
            axes: shown.iter().map(|place| self.axis(*place)).collect(),
            x_label,
            panels: self.panels(&shown).into_iter().map(panel).collect(),
            is_ordered: series.is_some_and(|place| self.is_numeric(place)),
        })
    }

    /// The figure over the two axes that matter most; `None` where there are not two.
    pub fn heat(&self) -> Option<Heat> {
        let pair = if self.asked.axes.len() == 2 { &self.asked.axes } else { &self.order };
        let [first, second, ..] = pair[..] else { return None };
        // Numbers to the right, if one of the two has any.
        let (x, y) = if self.is_numeric(first) || !self.is_numeric(second) { (first, second) } else { (second, first) };
        let (columns, rows) = (self.levels(x), self.levels(y));
        let mut ends = (f64::MAX, f64::MIN);
        let panel = |(title, points): (String, Vec<&Point>)| {
            let mut values = vec![vec![None; columns.len()]; rows.len()];
            for point in points {
                let place =
                    |levels: &[usize], axis: usize| levels.iter().position(|level| *level == point.levels[axis]);
                if let (Some(column), Some(row), Some(value)) = (place(&columns, x), place(&rows, y), self.value(point))
                {
                    ends = (ends.0.min(value), ends.1.max(value));
                    values[row][column] = Some(value);
                }
            }
            (title, values)
        };
        let panels = self.panels(&[x, y]).into_iter().map(panel).collect();
        let heads = |axis: usize, levels: &[usize]| levels.iter().map(|level| self.level(axis, *level)).collect();
        Some(Heat {
            axes: [self.axis(x), self.axis(y)],
            columns: heads(x, &columns),
            rows: heads(y, &rows),
            panels,
            ends,
        })
    }

    /// The figure over the axis that matters most of those without numbers, as choices between
    /// machines or strategies are: a bar each, the least first; `None` where all axes have numbers.
    pub fn bars(&self) -> Option<(String, Vec<BarTable>)> {
        let place = self.order.iter().copied().find(|place| !self.is_numeric(*place))?;
        let panels = self.panels(&[place]);
        let all = panels.iter().flat_map(|(_, points)| points).filter_map(|point| self.value(point));
        let most = all.fold(0.0, f64::max);
        let table = |(title, points): (String, Vec<&Point>)| {
            let mut rows: Vec<(f64, String)> = points
                .iter()
                .filter_map(|point| Some((self.value(point)?, self.level(place, point.levels[place]))))
                .collect();
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            let shown = |value: f64| self.results.shown(&self.asked.figure, value * self.factor);
            let rows =
                rows.into_iter().map(|(value, head)| (head, shown(value), if most > 0.0 { value / most } else { 0.0 }));
            BarTable { caption: title, rows: rows.collect() }
        };
        Some((self.axis(place), panels.into_iter().map(table).collect()))
    }

    /// All points over the two measures of the front; `None` where there are none.
    pub fn front(&self) -> Option<(String, Cloud)> {
        let (x, y) = self.asked.front.clone().or_else(|| Some((self.capacity()?, self.asked.figure.clone())))?;
        let most = |measure: &Measure| {
            self.results.points.iter().filter_map(|point| self.results.value(point, measure)).fold(0.0, f64::max)
        };
        let scaled = |measure: &Measure| match measure {
            Measure::Axis(place) => self.scaled(*place),
            Measure::Figure(path) => {
                let (factor, unit) = self.results.scale(measure, most(measure));
                (factor, labelled(path, unit))
            }
        };
        let ((x_factor, x_label), (y_factor, y_label)) = (scaled(&x), scaled(&y));
        let place = |point: &'a Point| {
            let (at, value) = (self.results.value(point, &x)? / x_factor, self.results.value(point, &y)? / y_factor);
            Some((self.results.described(point), at, value))
        };
        let best = front(self.results, &x, &y).into_iter().map(|(_, a, b)| (a / x_factor, b / y_factor));
        let cloud = Cloud {
            x_label,
            y_label,
            points: self.results.points.iter().step_by(self.every()).filter_map(place).collect(),
            front: best.collect(),
        };
        let names = file_name("front", &[self.results.name(&x).to_owned(), self.results.name(&y).to_owned()]);
        (!cloud.front.is_empty()).then_some((names, cloud))
    }

    /// For a sample, in which no two points share a value: the figure over each of the two axes of
    /// numbers that matter most.
    pub fn clouds(&self) -> Vec<(String, Cloud)> {
        let axes = self.order.iter().copied().filter(|place| self.is_numeric(*place)).take(2);
        let cloud = |place: usize| {
            let (x_factor, x_label) = self.scaled(place);
            let at = |point: &'a Point| {
                let x = self.results.value(point, &Measure::Axis(place))?;
                Some((self.results.described(point), x / x_factor, self.value(point)?))
            };
            let points = self.results.points.iter().step_by(self.every()).filter_map(at).collect();
            let cloud = Cloud { x_label, y_label: self.label.clone(), points, front: Vec::new() };
            (file_name("lines", &[self.axis(place)]), cloud)
        };
        axes.map(cloud).collect()
    }

    /// The stride of points in a cloud, which shows at most [`MOST_POINTS`].
    pub fn every(&self) -> usize {
        self.results.points.len().div_ceil(MOST_POINTS).max(1)
    }

    /// The capacity that varies, which is the usual measure of cost.
    fn capacity(&self) -> Option<Measure> {
        let is_capacity = |axis: &super::Axis| matches!(axis.unit, Unit::Bytes(_)) && axis.is_numeric();
        self.results.axes().find(|(_, axis)| is_capacity(axis)).map(|(place, _)| Measure::Axis(place))
    }
}

impl Lines {
    pub fn facets(&self, y_label: &str) -> Facets {
        Facets { x_label: self.x_label.clone(), y_label: y_label.to_owned(), panels: self.panels.clone() }
    }
}

impl Heat {
    pub fn tables(&self) -> Vec<HeatTable> {
        let (least, most) = self.ends;
        let cell = |value: &Option<f64>| {
            value.map(|value| (digits(value), if most > least { (value - least) / (most - least) } else { 0.0 }))
        };
        let table = |(title, values): &(String, Vec<Vec<Option<f64>>>)| HeatTable {
            caption: title.clone(),
            axes: (self.axes[1].clone(), self.axes[0].clone()),
            columns: self.columns.clone(),
            rows: self.rows.iter().cloned().zip(values.iter().map(|row| row.iter().map(cell).collect())).collect(),
        };
        self.panels.iter().map(table).collect()
    }
}

/// A value to four significant digits.
fn digits(value: f64) -> String {
    let whole = if value == 0.0 { 1.0 } else { value.abs().log10().floor() + 1.0 };
    let decimals = (4.0 - whole).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

fn labelled(name: &str, unit: &str) -> String {
    let name = name.strip_suffix("_ns").unwrap_or(name).replace("_ns.", " ");
    if unit.is_empty() { name } else { format!("{name} [{unit}]") }
}

/// `lines_memory.hbm.capacity_strategy`.
pub(super) fn file_name(kind: &str, names: &[String]) -> String {
    let usable = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let names: Vec<String> = names.iter().map(|name| name.chars().map(usable).collect()).collect();
    format!("{kind}_{}", names.join("_"))
}
