//! From a configuration to a plan: checked axes and numbered cells.
//!
//! A cell is never stored: its levels and its scenario are computed from its number, as the digits
//! of the number in a mixed radix are its levels. So a sweep of billions of combinations takes no
//! more memory than its axes. Everything that can be checked without running is checked here, once,
//! and every error names the axis and the value.

use super::SweepError;
use super::axis::{Axis, REPEAT};
use super::config::SweepConfig;
use super::sample;
use crate::config::{self, Reference};
use crate::simulation::{FieldError, Fields, ScenarioConfig};
use crate::strategy::Strategy;
use serde_json::Value;
use std::collections::BTreeSet;

/// A checked sweep: its axes and its numbered cells, each of which is a scenario.
///
/// A cell's number is its place among all combinations, the last axis fastest. Excluded
/// combinations keep their numbers, so that a number means the same cell whatever is excluded.
#[derive(Clone, Debug)]
pub struct Plan {
    config: SweepConfig,
    base: Fields,
    axes: Vec<Axis>,
    /// Fields that are the same in all cells, of parts that an axis chooses: set once the part is
    /// chosen.
    kept: Vec<(String, Value)>,
    /// How many points a sampled sweep has; `None` for all combinations.
    points: Option<u64>,
    repeats: u64,
    excluded: Vec<Exclusion>,
    cells: u64,
}

/// For each axis of a combination to leave out, its place and which of its levels are meant.
type Exclusion = Vec<(usize, Vec<bool>)>;

impl Plan {
    /// Checks that the axes of `config` name fields of its base, and that these take the values.
    ///
    /// # Errors
    /// [`SweepError`], naming the axis, the value and what to write instead.
    pub fn new(mut config: SweepConfig) -> Result<Self, SweepError> {
        let base = match config.base {
            Reference::Name(name) => ScenarioConfig::load(&name)?,
            Reference::Inline(base) => base,
        };
        let of_base = |error: FieldError| SweepError::Base(error.to_string());
        // The model and the memory system are written out, as the files that it names may change.
        let spelled = Fields::new(&base).and_then(|fields| fields.config()).map_err(of_base)?;
        let mut fields = Fields::new(&spelled).map_err(of_base)?;
        // Whole parts first: a field of the memory system is a field of the system that was chosen.
        let mut set: Vec<(&String, &Value)> = config.set.iter().collect();
        set.sort_by_key(|(path, _)| path.matches('.').count());
        for (path, value) in set {
            let wrong = |error: FieldError| SweepError::Set { path: path.clone(), message: error.to_string() };
            for path in super::axis::expand(path) {
                fields.set(&path, value.clone()).map_err(wrong)?;
            }
            fields.config().map_err(wrong)?;
        }
        config::check_name(&config.name).map_err(|error| SweepError::Name(error.to_string()))?;
        if config.axes.is_empty() {
            return Err(SweepError::NoAxes);
        }
        if let Some(super::SampleConfig::Sobol { points, .. }) = config.sample {
            let (most_points, most_axes) = sample::SOBOL_LIMITS;
            if points > most_points || config.axes.len() > most_axes as usize {
                return Err(SweepError::Sobol { points, axes: config.axes.len(), most_points, most_axes });
            }
        }
        config.base = Reference::Inline(spelled);
        let axes = all_axes(&config, &fields)?;
        let kept = kept(&config, &axes, &fields)?;
        let repeats = u64::from(config.repeats);
        let points = config.sample.map(|sample| u64::from(sample.points()));
        let cells = match points {
            Some(points) => u128::from(points) * u128::from(repeats),
            None => {
                axes.iter().try_fold(1u128, |all, axis| all.checked_mul(axis.levels.len() as u128)).unwrap_or(u128::MAX)
            }
        };
        let cells = u64::try_from(cells)
            .ok()
            .filter(|cells| *cells <= Self::MOST_CELLS)
            .ok_or(SweepError::TooMany { cells, most: Self::MOST_CELLS })?;
        let excluded = config.exclude.iter().map(|rule| exclusion(rule, &axes)).collect::<Result<_, _>>()?;
        let plan = Self { config, base: fields, axes, kept, points, repeats, excluded, cells };
        let left = || (0..cells).any(|cell| plan.levels(cell).is_some());
        if cells <= Self::COUNTED && !plan.excluded.is_empty() && !left() {
            return Err(SweepError::Exclude(format!(
                "the rules leave out all {cells} combinations, so there is nothing to run: leave out fewer"
            )));
        }
        Ok(plan)
    }

    /// Up to so many combinations, the excluded ones are counted one by one; above that, their
    /// number is unknown.
    pub const COUNTED: u64 = 10_000_000;

    /// More cells than this cannot be numbered in a dataset.
    pub const MOST_CELLS: u64 = 1 << 53;

    /// The configuration as a person typed it, with the base scenario written out.
    #[must_use]
    pub fn config(&self) -> &SweepConfig {
        &self.config
    }

    /// What varies; the last is the repeats, if there are any.
    #[must_use]
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// How many combinations there are, with those that are left out.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.cells
    }

    /// Whether every combination is a cell, unless excluded.
    #[must_use]
    pub fn is_grid(&self) -> bool {
        self.points.is_none()
    }

    /// For each axis the level that a cell has; `None` for a cell that is left out.
    #[must_use]
    pub fn levels(&self, cell: u64) -> Option<Vec<usize>> {
        let mut levels = vec![0; self.axes.len()];
        if self.points.is_some() {
            for (axis, level) in self.axes.iter().zip(&mut levels) {
                let place = if axis.name == REPEAT { cell % self.repeats } else { cell / self.repeats };
                *level = place as usize;
            }
        } else {
            let mut rest = cell;
            for (axis, level) in self.axes.iter().zip(&mut levels).rev() {
                *level = (rest % axis.levels.len() as u64) as usize;
                rest /= axis.levels.len() as u64;
            }
        }
        let left_out = |rule: &Exclusion| rule.iter().all(|(axis, which)| which[levels[*axis]]);
        (!self.excluded.iter().any(left_out)).then_some(levels)
    }

    /// The scenario of the cell with those levels, as a person would write it.
    ///
    /// # Errors
    /// [`FieldError`] if a field does not exist with the choices of the other axes, or a value is
    /// not valid.
    pub fn scenario(&self, levels: &[usize]) -> Result<ScenarioConfig, FieldError> {
        self.fields(levels, |_| true)?.config()
    }

    /// The fields of that cell, limited to the `wanted` ones.
    pub(super) fn fields(&self, levels: &[usize], wanted: impl Fn(&str) -> bool) -> Result<Fields, FieldError> {
        let mut fields = self.base.clone();
        let assignments = || {
            let chosen = self.axes.iter().zip(levels).map(|(axis, level)| &axis.levels[*level]);
            chosen.flat_map(|level| &level.assignments).filter(|(path, _)| wanted(path))
        };
        let is_whole = |path: &str| !path.contains('.');
        let kept = self.kept.iter().filter(|(path, _)| wanted(path));
        let parts = assignments().filter(|(path, _)| is_whole(path)).chain(kept);
        for (path, value) in parts.chain(assignments().filter(|(path, _)| !is_whole(path))) {
            fields.set(path, value.clone())?;
        }
        Ok(fields)
    }

    /// The strategy of all cells; `None` where an axis varies it.
    #[must_use]
    pub fn strategy(&self) -> Option<Strategy> {
        let varies = self.axes.iter().any(Axis::varies_strategy);
        if varies { None } else { self.base.config().ok().map(|config| config.strategy) }
    }

    /// A cell in words: `memory.hbm.capacity 2 GiB, strategy baseline`.
    #[must_use]
    pub fn described(&self, levels: &[usize]) -> String {
        let pairs = self.axes.iter().zip(levels);
        pairs.map(|(axis, level)| format!("{} {}", axis.name, axis.shown(*level))).collect::<Vec<_>>().join(", ")
    }
}

/// The most levels of an axis that are all tried.
const CHECKED_LEVELS: usize = 1_000;

/// Checks that the base takes each level, and notes what the strategies that levels set must know.
/// Whether the levels of several axes go together is found when their cell is run.
fn check_levels(axis: &mut Axis, base: &Fields) -> Result<(), SweepError> {
    let varies_strategy = axis.varies_strategy();
    // A long axis is a range or a sample of one, so checking its ends is enough.
    let name = axis.name.clone();
    let every = if axis.levels.len() > CHECKED_LEVELS { axis.levels.len() - 1 } else { 1 };
    for level in axis.levels.iter_mut().step_by(every) {
        let wrong =
            |error: FieldError| SweepError::Axis { axis: name.clone(), message: format!("{}: {error}", level.label) };
        let mut fields = base.clone();
        for (path, value) in &level.assignments {
            fields.set(path, value.clone()).map_err(wrong)?;
        }
        let config = fields.config().map_err(wrong)?;
        config::check_name(&config.name).map_err(|error| SweepError::Name(format!("of a scenario: {error}")))?;
        level.knowledge = varies_strategy.then(|| config.strategy.knowledge());
    }
    Ok(())
}

/// The most values of all axes together, each counted once more for every rule of exclusion: what
/// takes 400 MB.
const MOST_VALUES: usize = 2_000_000;

/// Checks that all values fit in memory.
fn check_room(axes: &[Axis], rules: usize) -> Result<(), SweepError> {
    let values: usize = axes.iter().map(|axis| axis.levels.len()).sum();
    if values.saturating_mul(1 + rules / 64) > MOST_VALUES {
        return Err(SweepError::TooManyValues { values, rules, most: MOST_VALUES });
    }
    Ok(())
}

/// The fields below `set` of parts that an axis chooses, each with its value, checked with every
/// choice of that axis.
fn kept(config: &SweepConfig, axes: &[Axis], base: &Fields) -> Result<Vec<(String, Value)>, SweepError> {
    let mut kept: Vec<(String, Value)> = Vec::new();
    for (path, value) in &config.set {
        let part = path.split('.').next().unwrap_or(path);
        let Some(axis) = axes.iter().find(|axis| part != path && axis.paths.iter().any(|set| set == part)) else {
            continue;
        };
        for path in super::axis::expand(path).into_iter().filter(|path| !axis.paths.contains(path)) {
            for level in axis.levels.iter().take(CHECKED_LEVELS) {
                let wrong = |error: FieldError| SweepError::Set {
                    path: path.clone(),
                    message: format!("with {} {}: {error}", axis.name, level.label),
                };
                let mut fields = base.clone();
                for (path, value) in &level.assignments {
                    fields.set(path, value.clone()).map_err(wrong)?;
                }
                fields.set(&path, value.clone()).map_err(wrong)?;
                fields.config().map_err(wrong)?;
            }
            kept.push((path, value.clone()));
        }
    }
    kept.sort_by_key(|(path, _)| path.matches('.').count());
    Ok(kept)
}

/// Checks that no field is set by two axes, and that no name is used twice.
fn check_distinct(axes: &[Axis]) -> Result<(), SweepError> {
    for (index, axis) in axes.iter().enumerate() {
        for other in &axes[..index] {
            let both = |path: &&String| other.paths.contains(path);
            let field = axis.paths.iter().find(both).or((other.name == axis.name).then_some(&axis.name));
            if let Some(field) = field {
                return Err(SweepError::Twice { field: field.clone(), axes: [other.name.clone(), axis.name.clone()] });
            }
        }
    }
    Ok(())
}

/// The levels, by axis, that an exclusion rule matches.
fn exclusion(rule: &std::collections::BTreeMap<String, Value>, axes: &[Axis]) -> Result<Exclusion, SweepError> {
    if rule.is_empty() {
        return Err(SweepError::Exclude("a rule without axes would leave out every cell".to_owned()));
    }
    rule.iter()
        .map(|(name, values)| {
            let place = axes.iter().position(|axis| axis.name == *name).ok_or_else(|| {
                let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
                SweepError::Exclude(format!("no axis is called '{name}': use one of {}", known.join(", ")))
            })?;
            let axis = &axes[place];
            let values = match values {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            let mut which = vec![false; axis.levels.len()];
            for value in values {
                let meant = meant(axis, value).map_err(|message| SweepError::Exclude(format!("{name}: {message}")))?;
                if !meant.contains(&true) {
                    return Err(SweepError::Exclude(format!("{name}: no value of that axis is {value}")));
                }
                which.iter_mut().zip(meant).for_each(|(which, meant)| *which |= meant);
            }
            Ok((place, which))
        })
        .collect()
}

/// For each level of `axis` whether it is `value`, or within the limit that `value` is.
fn meant(axis: &Axis, value: &Value) -> Result<Vec<bool>, String> {
    type Compare = fn(&f64, &f64) -> bool;
    const LIMITS: [(&str, Compare); 4] = [("<=", f64::le), (">=", f64::ge), ("<", f64::lt), (">", f64::gt)];
    if let Value::String(text) = value
        && let Some((sign, compare)) = LIMITS.iter().find(|(sign, _)| text.starts_with(sign))
    {
        let limit = text[sign.len()..].trim();
        let limit = axis.unit.read(&config::typed(limit))?;
        let limit =
            limit.number.ok_or_else(|| format!("'{text}' is a limit, but the values of the axis are not numbers"))?;
        return Ok(axis
            .levels
            .iter()
            .map(|level| level.number.is_some_and(|number| compare(&number, &limit)))
            .collect());
    }
    let label = axis.unit.read(value)?.label;
    Ok(axis.levels.iter().map(|level| level.label == label).collect())
}

/// The axes of a sweep over a scenario with these fields, that of the repeats last.
fn all_axes(config: &SweepConfig, fields: &Fields) -> Result<Vec<Axis>, SweepError> {
    let mut axes = Vec::new();
    for (place, axis) in config.axes.iter().enumerate() {
        // A field of a part that another axis chooses is looked up in the first choice.
        let mut seen = fields.clone();
        for other in axes.iter().flat_map(|other: &Axis| other.levels.first()) {
            for (path, value) in other.assignments.iter().filter(|(path, _)| !path.contains('.')) {
                seen.set(path, value.clone()).map_err(|error| SweepError::Base(error.to_string()))?;
            }
        }
        let mut axis = Axis::new(axis, &mut seen, config.sample, place as u32)?;
        // Lengths that are set for all cells or have an axis of their own are not taken from a
        // trace.
        let own: BTreeSet<&String> = config.set.keys().collect();
        for level in &mut axis.levels {
            level.assignments.retain(|(path, _)| axis.paths.contains(path) || !own.contains(path));
        }
        check_levels(&mut axis, &seen)?;
        axes.push(axis);
        check_distinct(&axes)?;
        check_room(&axes, config.exclude.len())?;
    }
    if config.repeats > 1 {
        axes.push(Axis::repeats(config.repeats, &config.seed, &mut fields.clone())?);
        check_distinct(&axes)?;
        check_room(&axes, config.exclude.len())?;
    }
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use super::super::{AxisConfig, SampleConfig};
    use super::*;
    use serde_json::json;

    fn values(field: &str, values: Value) -> AxisConfig {
        AxisConfig::Values { field: field.to_owned(), values: values.as_array().unwrap().clone() }
    }

    fn sweep(axes: Vec<AxisConfig>) -> SweepConfig {
        SweepConfig::of("test".to_owned(), ScenarioConfig::load("study").unwrap(), axes)
    }

    #[test]
    fn cells_are_counted_with_the_last_axis_fastest() {
        let range = AxisConfig::Geometric {
            field: "memory.hbm.capacity".into(),
            from: json!("1GiB"),
            to: json!("4GiB"),
            points: Some(3),
        };
        let mut config = sweep(vec![range, values("strategy", json!(["baseline", "best-ratio"]))]);
        config.repeats = 2;
        config.exclude = vec![
            [("memory.hbm.capacity".to_owned(), json!("> 2GiB")), ("strategy".to_owned(), json!("baseline"))].into(),
        ];
        let plan = Plan::new(config).unwrap();
        assert_eq!(plan.cells(), 12);
        assert_eq!(plan.levels(0).unwrap(), [0, 0, 0]);
        assert_eq!(plan.levels(7).unwrap(), [1, 1, 1]);
        assert_eq!((8..12).filter_map(|cell| plan.levels(cell)).collect::<Vec<_>>(), [[2, 1, 0], [2, 1, 1]]);
        let scenario = plan.scenario(&[1, 0, 1]).unwrap();
        let mut fields = Fields::new(&scenario).unwrap();
        assert_eq!(fields.get("memory.hbm.capacity").unwrap(), "2 GiB");
        assert_eq!(scenario.strategy.name(), "baseline");
        let seed = |repeat: usize| {
            Fields::new(&plan.scenario(&[0, 0, repeat]).unwrap()).unwrap().get("trace.seed").unwrap().as_u64()
        };
        assert_eq!(seed(1), seed(0).map(|seed| seed + 1));
        assert_eq!(plan.described(&[1, 0, 1]), "memory.hbm.capacity 2 GiB, strategy baseline, repeat 1");
    }

    #[test]
    fn a_field_set_for_all_cells_holds_for_every_chosen_part() {
        let mut config = sweep(vec![
            values("memory", json!(["study", "gh200"])),
            values("memory.hbm.bandwidth", json!(["2000 GB/s", "3000 GB/s"])),
        ]);
        config.set =
            [("memory.hbm.capacity".to_owned(), json!("8 GiB")), ("memory.hbm.bandwidth".to_owned(), json!("1 TB/s"))]
                .into();
        let plan = Plan::new(config.clone()).unwrap();
        for cell in 0..4 {
            let scenario = plan.scenario(&plan.levels(cell).unwrap()).unwrap();
            let mut fields = Fields::new(&scenario).unwrap();
            assert_eq!(fields.get("memory.hbm.capacity").unwrap(), "8 GiB", "cell {cell}");
            let bandwidth = ["2000 GB/s", "3000 GB/s"][cell as usize % 2];
            assert_eq!(fields.get("memory.hbm.bandwidth").unwrap(), bandwidth, "cell {cell}");
        }
        config.set.insert("memory.external.capacity".to_owned(), json!("1 TB"));
        let text = Plan::new(config).unwrap_err().to_string();
        assert!(text.contains("memory gh200") && text.contains("external"), "{text}");
    }

    #[test]
    fn samples_have_a_cell_a_point() {
        let range = AxisConfig::Linear { field: "trace.skip".into(), from: json!(0), to: json!("90%"), points: None };
        let mut config = sweep(vec![range, values("memory", json!(["study", "gh200", "h100-pcie"]))]);
        config.sample = Some(SampleConfig::LatinHypercube { points: 9, seed: 1 });
        config.repeats = 2;
        let plan = Plan::new(config).unwrap();
        assert_eq!((plan.cells(), plan.is_grid()), (18, false));
        assert_eq!(plan.levels(5).unwrap(), [2, 2, 1]);
        let memories = plan.axes()[1].levels.iter().filter(|level| level.label == "gh200").count();
        assert_eq!(memories, 3);
        assert!(plan.axes()[0].levels.iter().all(|level| (0.0..0.9).contains(&level.number.unwrap())));
    }

    #[test]
    fn what_makes_no_sweep_is_refused() {
        let error_of = |config: SweepConfig| Plan::new(config).unwrap_err().to_string();
        let text = error_of(sweep(vec![values("memory.hbm.capasity", json!(["2GiB"]))]));
        assert!(text.contains("capasity") && text.contains("capacity"), "{text}");
        assert!(error_of(sweep(vec![values("memory.hbm.capacity", json!([]))])).contains("no values"));
        assert!(error_of(sweep(vec![values("memory.hbm.capacity", json!(["2GiB", "2048MiB"]))])).contains("twice"));
        assert!(error_of(sweep(vec![values("strategy", json!(["bets-ratio"]))])).contains("bets-ratio"));
        assert!(error_of(sweep(vec![values("model", json!(["bert"]))])).contains("bert"));
        assert!(error_of(sweep(vec![])).contains("axes"));
        let again = || values("memory.hbm.capacity", json!(["2GiB"]));
        assert!(error_of(sweep(vec![again(), again()])).contains("memory.hbm.capacity"));
        let range = |from: Value, to: Value, points| AxisConfig::Geometric {
            field: "memory.hbm.capacity".into(),
            from,
            to,
            points,
        };
        assert!(error_of(sweep(vec![range(json!("1GiB"), json!("1GiB"), Some(3))])).contains("empty"));
        assert!(error_of(sweep(vec![range(json!("0B"), json!("1GiB"), Some(3))])).contains("geometric"));
        assert!(error_of(sweep(vec![range(json!("1GiB"), json!("2GiB"), None)])).contains("points"));
        assert!(error_of(sweep(vec![range(json!("1GiB"), json!("2GiB"), Some(1))])).contains("at least 2"));
        let mut excluded = sweep(vec![again()]);
        excluded.exclude = vec![[("strategy".to_owned(), json!("baseline"))].into()];
        assert!(error_of(excluded.clone()).contains("no axis"));
        excluded.exclude = vec![[("memory.hbm.capacity".to_owned(), json!("3GiB"))].into()];
        assert!(error_of(excluded).contains("no value"));
        let mut set = sweep(vec![again()]);
        set.set = [("trace.skpi".to_owned(), json!(0.4))].into();
        assert!(error_of(set).contains("skpi"));
    }
}
