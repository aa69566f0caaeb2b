//! Axes: what varies in a sweep, as checked levels.
//!
//! A [`SweepConfig`](super::SweepConfig) describes axes as lists, ranges or choices, by field. Here
//! each becomes an [`Axis`] with its levels written out: a level has the text for tables, the
//! number for plots, and the assignments of fields that it makes. Ranges and samples are computed
//! here too, and errors name the axis and the value.

use super::config::{AxisConfig, SampleConfig};
use super::quantity::{Quantity, Unit};
use super::{SweepError, sample};
use crate::catalog::open_trace;
use crate::config;
pub(super) use crate::simulation::expand;
use crate::simulation::{Fields, spelled_out};
use crate::strategy::Knowledge;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// An axis of a sweep, checked.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The path that it varies, or its name.
    pub name: String,
    /// The unit of its levels.
    pub unit: Unit,
    /// Its values, in their order; of a sampled sweep a value for each point.
    pub levels: Vec<Level>,
    /// The paths that its levels set.
    pub paths: Vec<String>,
}

/// A value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// As a person reads it.
    pub label: String,
    /// In the base of the axis's unit, where it is a number.
    pub number: Option<f64>,
    /// The fields that it sets.
    pub assignments: Vec<(String, Value)>,
    /// The knowledge that the strategy which it sets, in whole or in part, needs; `None` where it
    /// sets none.
    pub knowledge: Option<Knowledge>,
}

/// The most levels of an axis; more are a mistake.
const MOST_LEVELS: usize = 100_000;

impl Axis {
    /// The axis that `axis` means for a scenario with the fields of `base`. `place` is its number,
    /// for samples.
    pub(super) fn new(
        axis: &AxisConfig,
        base: &mut Fields,
        sample: Option<SampleConfig>,
        place: u32,
    ) -> Result<Self, SweepError> {
        let name = named(axis);
        let wrong = |message: String| SweepError::Axis { axis: name.clone(), message };
        check_length(axis, sample).map_err(&wrong)?;
        let (unit, paths, mut levels) = match axis {
            AxisConfig::Choices { choices, .. } => {
                config::check_name(name).map_err(|error| SweepError::Name(format!("of an axis: {error}")))?;
                chosen(choices).map_err(&wrong)?
            }
            AxisConfig::Values { field, values } => {
                let (unit, paths) = unit_of(field, base, values).map_err(&wrong)?;
                let levels = listed(unit, &paths, values).map_err(&wrong)?;
                (unit, paths, levels)
            }
            AxisConfig::Linear { field, from, to, points } | AxisConfig::Geometric { field, from, to, points } => {
                let (unit, paths) = unit_of(field, base, std::slice::from_ref(from)).map_err(&wrong)?;
                let ends = (unit.read(from).map_err(&wrong)?, unit.read(to).map_err(&wrong)?);
                let range = Range { unit, ends, geometric: matches!(axis, AxisConfig::Geometric { .. }) };
                let levels = between(&range, &paths, *points, sample.map(|sample| (sample, place)));
                (unit, paths, levels.map_err(&wrong)?)
            }
        };
        check_levels(&levels).map_err(&wrong)?;
        let listed = matches!(axis, AxisConfig::Values { .. } | AxisConfig::Choices { .. });
        if let (true, Some(sample)) = (listed, sample) {
            let last = levels.len() - 1;
            let of = |share: f64| levels[((share * levels.len() as f64) as usize).min(last)].clone();
            levels = sample::shares(sample, place).into_iter().map(of).collect();
        } else if sample.is_none() {
            let mut known = HashSet::new();
            if let Some(again) = levels.iter().find(|level| !known.insert(level.label.as_str())) {
                return Err(wrong(format!("it has the value {} twice: leave one out", again.label)));
            }
        }
        Ok(Self { name: name.clone(), unit, levels, paths })
    }

    /// The axis of repeats: `seed` counts up from its value in `base`.
    pub(super) fn repeats(count: u32, seed: &str, base: &mut Fields) -> Result<Self, SweepError> {
        let wrong = |message: String| SweepError::Axis { axis: REPEAT.to_owned(), message };
        let hint = |message: String| wrong(format!("seed: {message}. Name the field that repeats count up with seed"));
        if count as usize > MOST_LEVELS {
            return Err(wrong(too_many(count as usize) + ": write fewer repeats"));
        }
        let first = base.get(seed).map_err(|error| hint(error.to_string()))?;
        let first = first.as_u64().ok_or_else(|| hint(format!("'{seed}' is {first}, which does not count")))?;
        let level = |repeat: u32| {
            let value = first.checked_add(repeat.into()).ok_or_else(|| wrong("the seeds run out".to_owned()))?;
            let assignments = vec![(seed.to_owned(), value.into())];
            let (label, number) = (repeat.to_string(), Some(repeat.into()));
            Ok::<_, SweepError>(Level { label, number, assignments, knowledge: None })
        };
        let levels = (0..count).map(level).collect::<Result<_, _>>()?;
        Ok(Self { name: REPEAT.to_owned(), unit: Unit::Whole, levels, paths: vec![seed.to_owned()] })
    }

    /// A level as a person reads it: rounded where that is shorter, as for computed points of a
    /// range; an oracle's label includes how many steps it sees.
    #[must_use]
    pub fn shown(&self, level: usize) -> String {
        let level = &self.levels[level];
        let rounded = level.number.map(|number| self.unit.shown(number));
        let label = rounded.filter(|rounded| rounded.len() < level.label.len()).unwrap_or_else(|| level.label.clone());
        level.knowledge.map_or_else(|| label.clone(), |knowledge| knowledge.label(&label))
    }

    /// Whether it varies the strategy or a part of it.
    #[must_use]
    pub fn varies_strategy(&self) -> bool {
        self.paths.iter().any(|path| path == "strategy" || path.starts_with("strategy."))
    }

    /// Whether its levels are numbers.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.levels.iter().all(|level| level.number.is_some())
    }
}

/// The name of an axis.
fn named(axis: &AxisConfig) -> &String {
    match axis {
        AxisConfig::Values { field, .. } | AxisConfig::Linear { field, .. } | AxisConfig::Geometric { field, .. } => {
            field
        }
        AxisConfig::Choices { name, .. } => name,
    }
}

/// Checks, before any level is created, that an axis does not ask for more levels than it may have.
fn check_length(axis: &AxisConfig, sample: Option<SampleConfig>) -> Result<(), String> {
    let asked = match axis {
        AxisConfig::Linear { points: Some(points), .. } | AxisConfig::Geometric { points: Some(points), .. } => *points,
        _ => sample.map_or(0, SampleConfig::points),
    };
    if asked as usize > MOST_LEVELS { Err(too_many(asked as usize)) } else { Ok(()) }
}

/// Checks that there are levels, that they are not too many, and that they can be shown.
fn check_levels(levels: &[Level]) -> Result<(), String> {
    if levels.is_empty() {
        return Err("it has no values".to_owned());
    }
    if levels.len() > MOST_LEVELS {
        return Err(too_many(levels.len()));
    }
    levels.iter().try_for_each(|level| config::check_shown(&level.label)).map_err(|error| error.to_string())
}

/// The levels of an axis of named choices, with all paths that they set.
fn chosen(choices: &[(String, BTreeMap<String, Value>)]) -> Result<(Unit, Vec<String>, Vec<Level>), String> {
    let level = |(label, fields): &(String, BTreeMap<String, Value>)| {
        let mut assignments = Vec::new();
        for (path, value) in fields {
            for path in expand(path) {
                assignments.push((path.clone(), resolved(&path, value)?));
            }
        }
        Ok(Level { label: label.clone(), number: None, assignments, knowledge: None })
    };
    let levels: Vec<Level> = choices.iter().map(level).collect::<Result<_, String>>()?;
    let mut paths: Vec<String> = Vec::new();
    for (path, _) in levels.iter().flat_map(|level| &level.assignments) {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    Ok((Unit::Text, paths, levels))
}

/// The unit of a field in a scenario with the fields of `base`, and the paths that it stands for.
fn unit_of(field: &str, base: &mut Fields, values: &[Value]) -> Result<(Unit, Vec<String>), String> {
    let paths = expand(field);
    let present = base.get(&paths[0]).map_err(|error| error.to_string())?;
    Ok((Unit::of(present, values), paths))
}

/// The levels of an axis whose values are written one by one.
fn listed(unit: Unit, paths: &[String], values: &[Value]) -> Result<Vec<Level>, String> {
    let quantities = values.iter().map(|value| unit.read(value)).collect::<Result<Vec<_>, _>>()?;
    quantities.into_iter().map(|quantity| of_fields(paths, quantity)).collect()
}

/// The levels of a range: so many points of it, or those of a sample and the axis's number in it.
fn between(
    range: &Range,
    paths: &[String],
    points: Option<u32>,
    sample: Option<(SampleConfig, u32)>,
) -> Result<Vec<Level>, String> {
    range.check()?;
    let shares: Vec<f64> = match (sample, points) {
        (Some((sample, place)), None) => sample::shares(sample, place),
        (None, Some(points @ 2..)) => {
            let last = f64::from(points - 1);
            (0..points).map(|point| f64::from(point) / last).collect()
        }
        (None, Some(_)) => return Err("a range has at least 2 points: its ends".to_owned()),
        (Some(_), Some(_)) => return Err("the sample sets the number of points: leave out points".to_owned()),
        (None, None) => return Err("the range has no number of values: write points: 5".to_owned()),
    };
    let quantities = shares.into_iter().map(|share| range.at(share)).collect::<Result<Vec<_>, _>>()?;
    quantities.into_iter().map(|quantity| of_fields(paths, quantity)).collect()
}

fn too_many(levels: usize) -> String {
    format!("{levels} values are more than the {MOST_LEVELS} that an axis may have")
}

/// The name of the axis of repeats.
pub const REPEAT: &str = "repeat";

/// A level that sets all of `paths` to a value. A recorded trace brings its own prefill and length.
fn of_fields(paths: &[String], quantity: Quantity) -> Result<Level, String> {
    let mut assignments = Vec::new();
    for path in paths {
        assignments.push((path.clone(), resolved(path, &quantity.value)?));
        if let ("trace", Value::String(file)) = (path.as_str(), &quantity.value)
            && assignments.iter().any(|(_, value)| value.get("Recorded").is_some())
        {
            let recording = open_trace(Path::new(file)).map_err(|error| error.to_string())?;
            assignments.push(("prefill_tokens".to_owned(), recording.prefill().into()));
            assignments.push(("decode_tokens".to_owned(), recording.steps().into()));
        }
    }
    Ok(Level { label: quantity.label, number: quantity.number, assignments, knowledge: None })
}

fn resolved(path: &str, value: &Value) -> Result<Value, String> {
    spelled_out(path, value.clone()).map_err(|error| error.to_string())
}

/// A stretch of values between two ends.
pub(super) struct Range {
    pub unit: Unit,
    pub ends: (Quantity, Quantity),
    pub geometric: bool,
}

impl Range {
    pub fn check(&self) -> Result<(f64, f64), String> {
        let (Some(from), Some(to)) = (self.ends.0.number, self.ends.1.number) else {
            return Err(format!(
                "'{}' is not a number: a range needs numbers, sizes, bandwidths or times",
                self.ends.0.label
            ));
        };
        if from == to {
            return Err(format!("the range is empty: it goes from {} to {}", self.ends.0.label, self.ends.1.label));
        }
        if self.geometric && (from <= 0.0 || to <= 0.0) {
            return Err("a geometric range cannot start or end at 0 or below: use a linear one".to_owned());
        }
        Ok((from, to))
    }

    /// The value at that share of the way.
    pub fn at(&self, share: f64) -> Result<Quantity, String> {
        let (from, to) = self.check()?;
        // The ends as they were written.
        if share == 0.0 {
            return Ok(self.ends.0.clone());
        }
        if share == 1.0 {
            return Ok(self.ends.1.clone());
        }
        let number = if self.geometric { from * (to / from).powf(share) } else { from + (to - from) * share };
        self.unit.nearest(number).ok_or_else(|| format!("there is no value near {number}"))
    }
}
