//! The axes of a search: numbers in ascending order, and the level at which the search starts.

use super::super::axis::{Axis, Range, expand};
use super::super::{AxisConfig, Quantity, SweepError, Unit};
use crate::simulation::{Fields, ScenarioConfig};

/// How many levels a range has that is written without a number of them.
const LEVELS: u32 = 33;

/// An axis of a search.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The path that varies.
    pub field: String,
    /// The unit of its levels.
    pub unit: Unit,
    /// Its values, which are numbers, in ascending order.
    pub levels: Vec<Quantity>,
}

/// The axes, and the level of each that the scenario has: the nearest to its value, or the last one
/// of a field without a value.
pub(super) fn searched(over: &[AxisConfig], base: &mut Fields) -> Result<(Vec<Searched>, Vec<usize>), SweepError> {
    let (mut axes, mut start): (Vec<Searched>, Vec<usize>) = (Vec::new(), Vec::new());
    for axis in over {
        let (axis, level) = one(axis, base)?;
        let both = |path: &String| axes.iter().any(|other| expand(&other.field).contains(path));
        if let Some(field) = expand(&axis.field).into_iter().find(both) {
            return Err(SweepError::Twice { field, axes: [axis.field.clone(), axis.field] });
        }
        axes.push(axis);
        start.push(level);
    }
    // Each end is tried, so that a value which no point could have is found at once.
    for (place, axis) in axes.iter().enumerate() {
        for end in [0, axis.levels.len() - 1] {
            let mut levels = start.clone();
            levels[place] = end;
            assigned(base, &axes, &levels)?;
        }
    }
    Ok((axes, start))
}

fn one(axis: &AxisConfig, base: &mut Fields) -> Result<(Searched, usize), SweepError> {
    let (field, ends, counted) = match axis {
        AxisConfig::Values { field, values } => (field, values.as_slice(), true),
        AxisConfig::Linear { field, from, points, .. } | AxisConfig::Geometric { field, from, points, .. } => {
            (field, std::slice::from_ref(from), points.is_some())
        }
        AxisConfig::Choices { name, .. } => {
            return Err(SweepError::Axis { axis: name.clone(), message: no_numbers("its choices have names") });
        }
    };
    let wrong = |message: String| SweepError::Axis { axis: field.clone(), message };
    let present = base.get(&expand(field)[0]).map_err(|error| wrong(error.to_string()))?.clone();
    let unit = Unit::of(&present, ends);
    let mut levels: Vec<Quantity> = match axis {
        AxisConfig::Linear { from, to, .. } | AxisConfig::Geometric { from, to, .. } if !counted => {
            let ends = (unit.read(from).map_err(wrong)?, unit.read(to).map_err(wrong)?);
            let mut range = Range { unit, ends, geometric: matches!(axis, AxisConfig::Geometric { .. }) };
            let (from, to) = range.check().map_err(wrong)?;
            range.geometric |= from.min(to) > 0.0 && (to / from).max(from / to) >= 8.0;
            let share = |index: u32| f64::from(index) / f64::from(LEVELS - 1);
            (0..LEVELS).map(|index| range.at(share(index))).collect::<Result<_, _>>().map_err(wrong)?
        }
        _ => {
            let values = |quantity: &super::super::Level| unit.read(&quantity.assignments[0].1);
            Axis::new(axis, base, None, 0)?.levels.iter().map(values).collect::<Result<_, _>>().map_err(wrong)?
        }
    };
    if levels.iter().any(|level| level.number.is_none()) {
        return Err(wrong(no_numbers("its values are names")));
    }
    let number = |quantity: &Quantity| quantity.number.unwrap_or(f64::NAN);
    levels.sort_by(|a, b| number(a).total_cmp(&number(b)));
    let written = unit.read(&present).ok().filter(|quantity| quantity.number.is_some() && !present.is_null());
    let within = |written: &Quantity| {
        number(&levels[0]) <= number(written) && number(written) <= number(&levels[levels.len() - 1])
    };
    if let Some(written) = written.clone().filter(within) {
        levels.push(written);
        levels.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    // Whole numbers close together may be the same.
    levels.dedup_by(|a, b| a.number == b.number);
    let distance = |level: &Quantity| written.as_ref().map(|written| (number(level) - number(written)).abs());
    let nearest = (0..levels.len()).min_by(|a, b| {
        let of = |level: &usize| distance(&levels[*level]).unwrap_or((levels.len() - level) as f64);
        of(a).total_cmp(&of(b))
    });
    Ok((Searched { field: field.clone(), unit, levels }, nearest.unwrap_or(0)))
}

fn no_numbers(what: &str) -> String {
    format!("{what}, but a search goes from number to number: use --vary, which runs every choice")
}

/// The scenario with the values of `levels`.
pub(super) fn assigned(base: &Fields, axes: &[Searched], levels: &[usize]) -> Result<ScenarioConfig, SweepError> {
    let mut fields = base.clone();
    let mut last = "";
    for (axis, level) in axes.iter().zip(levels) {
        last = &axis.field;
        for path in expand(&axis.field) {
            let set = fields.set(&path, axis.levels[*level].value.clone());
            set.map_err(|error| SweepError::Axis { axis: axis.field.clone(), message: error.to_string() })?;
        }
    }
    fields.config().map_err(|error| SweepError::Axis { axis: last.to_owned(), message: error.to_string() })
}
