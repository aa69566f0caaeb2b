//! Search over several axes of numbers: simulated annealing, with the simulator as the judge.
//!
//! A sweep runs every combination, [`solve`](super::solve()) follows one axis. Here a few hundred
//! runs look for the combination with the best figure, such as the window and the share of moves
//! with which a migration is fastest. Every value is a level of its axis, so that a point is
//! simulated once however often the search comes back to it.
//!
//! * A range without a number of values has 33 levels, at equal ratios where its ends differ by a
//!   factor of 8 or more, else at equal distances. The scenario's own value is a level where it is
//!   within the range.
//! * Four chains walk from level to level: one starts at the scenario as it is written, three at
//!   random points. `walk.rs` has the rules.
//! * Where all combinations are no more than the evaluations that are allowed, all are run.
//!
//! The result depends on the seed and not on the number of threads.

mod axis;
mod walk;

pub use axis::Searched;
pub use walk::Step;

use super::{AxisConfig, Quantity, Row, SweepError};
use crate::metrics::{figure_unit, full_name};
use crate::runs::{Cancel, Pool, Progress, Resources};
use crate::simulation::{Fields, ScenarioConfig};
use walk::{Walk, walk};

/// A search for the point with the best figure.
#[derive(Clone, Debug)]
pub struct Annealing {
    /// The scenario; its values are the start.
    pub base: ScenarioConfig,
    /// What varies: lists and ranges of numbers. A range needs no number of points.
    pub over: Vec<AxisConfig>,
    /// The figure, by its path or a short name: the least is best, of rates the most.
    pub by: String,
    /// How many points are simulated at most.
    pub evaluations: u32,
    /// Same seed, same points.
    pub seed: u64,
}

/// A point that was simulated.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Its levels, by axis.
    pub levels: Vec<usize>,
    /// Its values, by axis.
    pub values: Vec<Quantity>,
    /// The figure; `None` where the run failed or ended incomplete.
    pub figure: Option<f64>,
    /// Its time over its bound, where it has both.
    pub over_bound: Option<f64>,
    /// The error of that run.
    pub error: Option<String>,
    /// Which chain asked for it first, at which temperature, and whether it moved there.
    pub step: Step,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Annealed {
    /// The axes with their levels.
    pub axes: Vec<Searched>,
    /// The full path of the figure.
    pub by: String,
    /// Whether the most is best.
    pub most: bool,
    /// All points that were simulated, in their order; the first is the start.
    pub points: Vec<Evaluated>,
    /// The place of the best among the points; of equals the first. `None` where no run has the
    /// figure.
    pub best: Option<usize>,
    /// How many combinations of levels there are.
    pub combinations: u64,
}

impl Annealed {
    /// How many times as good as the start the best is: 1.25 is a quarter more of a rate, or a time
    /// that the start takes 1.25 times.
    #[must_use]
    pub fn gain(&self) -> Option<f64> {
        let (start, best) = (self.points.first()?.figure?, self.points[self.best?].figure?);
        let gain = if self.most { best / start } else { start / best };
        gain.is_finite().then_some(gain)
    }

    /// The scenario of a point.
    ///
    /// # Errors
    /// [`SweepError::Axis`] if the scenario does not take its values.
    pub fn config(&self, base: &ScenarioConfig, point: &Evaluated) -> Result<ScenarioConfig, SweepError> {
        let fields = Fields::new(base).map_err(|error| SweepError::Base(error.to_string()))?;
        axis::assigned(&fields, &self.axes, &point.levels)
    }
}

/// Searches. As many points are simulated at a time as `resources` allow, of those that the chains
/// propose in a round.
///
/// # Errors
/// [`SweepError`] if an axis is not right or not of numbers, there is no such figure, nothing may
/// be evaluated, or it was interrupted.
pub fn anneal(
    annealing: &Annealing,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Annealed, SweepError> {
    if annealing.evaluations == 0 {
        return Err(SweepError::NoEvaluations);
    }
    if annealing.over.is_empty() {
        return Err(SweepError::NoSearchAxes);
    }
    let mut base = Fields::new(&annealing.base).map_err(|error| SweepError::Base(error.to_string()))?;
    let (axes, start) = axis::searched(&annealing.over, &mut base)?;
    let by = full_name(&annealing.by).to_owned();
    let most = figure_unit(&by).is_rate();
    let pool = Pool::new(resources, usize::MAX, cancel, progress)?;
    let run = |levels: Vec<usize>| {
        let row = match axis::assigned(&base, &axes, &levels) {
            Ok(config) => Row::of_config(config, &pool)?,
            Err(error) => Row::failed(0, error.to_string()),
        };
        if row.error.is_none() && row.figure(&by).is_none() {
            let known = row.figures.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(SweepError::Measure { name: annealing.by.clone(), known });
        }
        Ok((levels, row))
    };
    let sign = if most { -1.0 } else { 1.0 };
    let mut points: Vec<Evaluated> = Vec::new();
    let evaluate = |asked: Vec<(Vec<usize>, Step)>| {
        let (levels, steps): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let rows = pool.map(levels, run)?;
        let first = points.len();
        points.extend(rows.into_iter().zip(steps).map(|((levels, row), step)| Evaluated {
            values: axes.iter().zip(&levels).map(|(axis, level)| axis.levels[*level].clone()).collect(),
            levels,
            figure: row.figure(&by),
            over_bound: row.figure("bound.achieved_over_bound"),
            error: row.error,
            step,
        }));
        Ok::<_, SweepError>(points[first..].iter().map(|point| point.figure.map(|figure| sign * figure)).collect())
    };
    let counts: Vec<usize> = axes.iter().map(|axis| axis.levels.len()).collect();
    let combinations = counts.iter().fold(1u64, |all, count| all.saturating_mul(*count as u64));
    let setting = Walk { counts: &counts, start, evaluations: annealing.evaluations, seed: annealing.seed };
    let moved = walk(&setting, evaluate)?;
    for (point, moved) in points.iter_mut().zip(moved) {
        point.step.accepted = moved;
    }
    let figures = points.iter().enumerate().filter_map(|(place, point)| Some((place, sign * point.figure?)));
    let best = figures.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place);
    Ok(Annealed { axes, by, most, points, best, combinations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Silent;
    use crate::units::Bytes;
    use serde_json::{Value, json};

    fn range(field: &str, from: Value, to: Value, points: Option<u32>) -> AxisConfig {
        AxisConfig::Linear { field: field.to_owned(), from, to, points }
    }

    fn annealing(over: Vec<AxisConfig>, evaluations: u32) -> Annealing {
        let mut base = ScenarioConfig::load("study").unwrap();
        (base.prefill_tokens, base.decode_tokens) = (64, 6);
        base.strategy = serde_json::from_value(json!({
            "initialization": "BestRatio", "placement": "BestRatio", "migration": {"LookAheadShare": {"steps": 2}}
        }))
        .unwrap();
        let trace = json!({"Generated": {"skip": 0.5, "churn": 0.2, "seed": 1}});
        base.trace = serde_json::from_value(trace).unwrap();
        Annealing { base, over, by: "time".to_owned(), evaluations, seed: 7 }
    }

    fn found(annealing: &Annealing, threads: usize) -> Annealed {
        let resources = Resources { threads, memory: Bytes::new(1 << 30) };
        anneal(annealing, resources, &Cancel::new(false), &Silent).unwrap()
    }

    fn refused(annealing: &Annealing) -> String {
        let resources = Resources { threads: 1, memory: Bytes::new(1 << 30) };
        anneal(annealing, resources, &Cancel::new(false), &Silent).unwrap_err().to_string()
    }

    fn window_and_share() -> Vec<AxisConfig> {
        vec![
            range("strategy.migration.steps", json!(1), json!(4), Some(4)),
            range("strategy.migration.share", json!("25%"), json!("100%"), Some(4)),
        ]
    }

    /// With as many evaluations as points all are run, so that what the search finds with fewer can
    /// be held against the best there is.
    #[test]
    fn a_small_grid_is_run_as_a_whole() {
        let all = found(&annealing(window_and_share(), 16), 2);
        assert_eq!((all.points.len(), all.combinations), (16, 16));
        let mut levels: Vec<&Vec<usize>> = all.points.iter().map(|point| &point.levels).collect();
        levels.sort();
        levels.dedup();
        assert_eq!(levels.len(), 16, "no point is simulated twice");
        // The start is the scenario as it is written: 2 steps, all moves.
        assert_eq!((all.points[0].levels.as_slice(), all.points[0].values[1].number), (&[1, 3][..], Some(1.0)));
        let best = &all.points[all.best.unwrap()];
        assert!(all.points.iter().all(|point| point.figure.unwrap() >= best.figure.unwrap()));
        assert!(all.gain().unwrap() >= 1.0 && best.over_bound.unwrap() >= 1.0);
        let config = all.config(&annealing(vec![], 1).base, best).unwrap();
        let (migration, steps) = (config.strategy.migration, best.values[0].label.clone());
        assert!(migration.parameters().contains(&("steps".to_owned(), steps)));
    }

    #[test]
    fn the_points_do_not_depend_on_the_number_of_threads() {
        let annealing = annealing(window_and_share(), 9);
        let as_text = |annealed: Annealed| format!("{:?} {:?}", annealed.points, annealed.best);
        let one = found(&annealing, 1);
        assert_eq!(one.points.len(), 9);
        assert_eq!(as_text(one), as_text(found(&annealing, 3)));
        let other = Annealing { seed: 8, ..annealing.clone() };
        assert_ne!(as_text(found(&annealing, 2)), as_text(found(&other, 2)));
    }

    /// Of rates the most is best, and runs that do not fit are not.
    #[test]
    fn what_does_not_fit_is_not_the_best() {
        let mut annealing = annealing(vec![range("prefill_tokens", json!(16), json!(65536), None)], 12);
        annealing.by = "tokens/s".to_owned();
        annealing.base.strategy = "baseline".parse().unwrap();
        let mut fields = Fields::new(&annealing.base).unwrap();
        fields.set("memory.hbm.capacity", json!("1.02 GiB")).unwrap();
        fields.set("memory.external.capacity", json!("1 GiB")).unwrap();
        annealing.base = fields.config().unwrap();
        let annealed = found(&annealing, 2);
        assert!(annealed.most && annealed.points.iter().any(|point| point.error.is_some()));
        let best = &annealed.points[annealed.best.unwrap()];
        assert!(annealed.points.iter().all(|point| point.figure.is_none_or(|figure| figure <= best.figure.unwrap())));
    }

    #[test]
    fn a_field_without_a_value_starts_at_the_end_of_its_range() {
        let annealed = found(&annealing(vec![range("strategy.budget", json!("1%"), json!("100%"), None)], 1), 1);
        let [start] = &annealed.points[..] else { panic!("{:?}", annealed.points) };
        assert_eq!((annealed.axes[0].levels.len(), start.levels[0], start.values[0].number), (33, 32, Some(1.0)));
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let of = |axis: AxisConfig| refused(&annealing(vec![axis], 4));
        let field = "strategy.migration.steps";
        assert!(of(range(field, json!(3), json!(3), None)).contains("empty"));
        assert!(of(range("strategy.migration.stepps", json!(1), json!(3), None)).contains("steps"));
        assert!(of(range(field, json!(0), json!(3), None)).contains("steps"), "0 steps are none");
        assert!(of(range("strategy.migration.share", json!("1%"), json!("200%"), None)).contains("share"));
        let names =
            AxisConfig::Values { field: "strategy".to_owned(), values: vec![json!("baseline"), json!("balanced")] };
        assert!(of(names).contains("number to number"));
        assert!(of(AxisConfig::Choices { name: "a".to_owned(), choices: vec![] }).contains("number to number"));
        let twice = || range(field, json!(1), json!(3), None);
        assert!(refused(&annealing(vec![twice(), twice()], 4)).contains(field));
        assert!(refused(&annealing(vec![twice()], 0)).contains("evaluations"));
        assert!(refused(&annealing(vec![], 4)).contains("--over"));
        let nothing = Annealing { by: "p98".to_owned(), ..annealing(vec![twice()], 4) };
        assert!(refused(&nothing).contains("p98"));
    }
}
