//! Search along one axis: where does a condition begin or cease to hold?
//!
//! Some evenly placed values are run first, then every stretch whose ends disagree is divided until
//! it is short enough. This is bisection without the assumption that the condition changes only
//! once; a condition that changes twice between two neighbouring first values is still missed.
//! Values of a round run in parallel, one for each thread.

use super::axis::{Range, expand};
use super::{Quantity, Row, SweepError, Unit};
use crate::results::Condition;
use crate::runs::{Cancel, Pool, Progress, Resources};
use crate::simulation::{Fields, ScenarioConfig};
use crate::strategy::Strategy;
use serde_json::Value;

/// Where along one axis a condition begins or ceases to hold.
#[derive(Clone, Debug)]
pub struct Search {
    /// The scenario.
    pub base: ScenarioConfig,
    /// The strategy whose run at each value is the first, for conditions such as `tokens/s >
    /// 1.1x`.
    pub reference: Option<Strategy>,
    /// The path that varies.
    pub field: String,
    /// The first value.
    pub from: Value,
    /// The last value.
    pub to: Value,
    /// The condition.
    pub until: Condition,
    /// How many values, including the ends, are run before any stretch is halved. A condition that
    /// changes twice between two of them is missed.
    pub samples: u32,
    /// A stretch is halved until its ends differ by at most this share of the upper one.
    pub tolerance: f64,
}

/// A value that was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The value.
    pub value: Quantity,
    /// The figure; `None` where the run failed or ended incomplete.
    pub figure: Option<f64>,
    /// The error of that run.
    pub error: Option<String>,
    /// Whether the condition holds. Of a run that failed it does not.
    pub holds: bool,
}

/// A place where the condition changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The last value below it that was run.
    pub below: Probed,
    /// The first above it.
    pub above: Probed,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The unit of the values.
    pub unit: Unit,
    /// All values that were run, in ascending order.
    pub probed: Vec<Probed>,
    /// Every place where the condition changes, in the order of values.
    pub crossings: Vec<Crossing>,
    /// Where the figure goes against its trend, which is from its first to its last value: pairs of
    /// neighbours.
    pub against_trend: Vec<(Probed, Probed)>,
}

/// The most values of the first round.
pub const MOST_SAMPLES: u32 = 10_000;

/// Runs evenly placed values, then halves every stretch between whose ends the condition changes.
/// Ranges over a factor of 8 or more are divided at equal ratios. As many values run at a time as
/// `resources` allow. `progress` receives each run that has ended. O(log(1/tolerance)) rounds.
///
/// # Errors
/// [`SweepError`] if the axis or its ends make no sense, the figure is none, or it was interrupted.
pub fn solve(
    search: &Search,
    resources: Resources,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Solution, SweepError> {
    let wrong = |message: String| SweepError::Axis { axis: search.field.clone(), message };
    let paths = expand(&search.field);
    let mut base = Fields::new(&search.base).map_err(|error| SweepError::Base(error.to_string()))?;
    let present = base.get(&paths[0]).map_err(|error| wrong(error.to_string()))?;
    let unit = Unit::of(present, std::slice::from_ref(&search.from));
    let mut ends = (unit.read(&search.from).map_err(wrong)?, unit.read(&search.to).map_err(wrong)?);
    if ends.0.number > ends.1.number {
        std::mem::swap(&mut ends.0, &mut ends.1);
    }
    let mut range = Range { unit, ends, geometric: false };
    let (from, to) = range.check().map_err(wrong)?;
    range.geometric = from > 0.0 && to / from >= 8.0;
    let look = Look { search, base, paths, pool: Pool::new(resources, usize::MAX, cancel, progress)? };

    let samples = search.samples.clamp(2, MOST_SAMPLES);
    let share = |index: u32| f64::from(index) / f64::from(samples - 1);
    let mut first: Vec<Quantity> =
        (0..samples).map(|index| range.at(share(index)).map_err(wrong)).collect::<Result<_, _>>()?;
    // Whole numbers close together may be the same.
    first.dedup_by(|a, b| a.number == b.number);
    let mut probed = look.at(first)?;
    loop {
        let open: Vec<(f64, f64)> = probed
            .windows(2)
            .filter(|pair| pair[0].holds != pair[1].holds)
            .filter_map(|pair| Some((pair[0].value.number?, pair[1].value.number?)))
            .filter(|(below, above)| (above - below) / above.abs().max(below.abs()) > search.tolerance)
            .collect();
        // On several cores a stretch is cut into more than two at a time.
        let cuts = (look.pool.threads() / open.len().max(1)).max(1);
        let between = |(below, above): (f64, f64)| {
            let part = move |cut: usize| (cut + 1) as f64 / (cuts + 1) as f64;
            let geometric = range.geometric;
            (0..cuts).filter_map(move |cut| {
                let number = if geometric {
                    below * (above / below).powf(part(cut))
                } else {
                    below + (above - below) * part(cut)
                };
                unit.nearest(number).filter(|value| value.number.is_some_and(|number| number > below && number < above))
            })
        };
        let mut next: Vec<Quantity> = open.into_iter().flat_map(between).collect();
        next.dedup_by(|a, b| a.number == b.number);
        if next.is_empty() {
            break;
        }
        probed.extend(look.at(next)?);
        probed.sort_by(|a, b| a.value.number.partial_cmp(&b.value.number).unwrap_or(std::cmp::Ordering::Equal));
    }
    let crossing = |pair: &[Probed]| Crossing { below: pair[0].clone(), above: pair[1].clone() };
    let crossings = probed.windows(2).filter(|pair| pair[0].holds != pair[1].holds).map(crossing).collect();
    Ok(Solution { unit, against_trend: against_trend(&probed), crossings, probed })
}

/// Neighbours between which the figure moves the other way than from its first to its last value.
fn against_trend(probed: &[Probed]) -> Vec<(Probed, Probed)> {
    let known: Vec<(&Probed, f64)> = probed.iter().filter_map(|probed| Some((probed, probed.figure?))).collect();
    let (Some((_, first)), Some((_, last))) = (known.first(), known.last()) else { return Vec::new() };
    let rises = last > first;
    // Rounding in the last digit of a float is not a trend.
    let against = |a: f64, b: f64| if rises { b < a - a.abs() * 1e-9 } else { b > a + a.abs() * 1e-9 };
    known
        .windows(2)
        .filter(|pair| against(pair[0].1, pair[1].1))
        .map(|pair| (pair[0].0.clone(), pair[1].0.clone()))
        .collect()
}

struct Look<'a> {
    search: &'a Search,
    base: Fields,
    paths: Vec<String>,
    pool: Pool<'a>,
}

impl Look<'_> {
    fn at(&self, values: Vec<Quantity>) -> Result<Vec<Probed>, SweepError> {
        self.pool.map(values, |value| self.one(value))
    }

    fn one(&self, value: Quantity) -> Result<Probed, SweepError> {
        let row = self.row(&value, None)?;
        let figure = row.figure(self.search.until.path());
        if row.error.is_none() && figure.is_none() {
            let known = row.figures.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(SweepError::Measure { name: self.search.until.path().to_owned(), known });
        }
        let holds = match figure.map(|figure| (figure, self.search.until.holds(figure))) {
            Some((figure, None)) if self.search.reference.is_some() => {
                // Where the reference has no figure, there is nothing to be held against.
                let first = self.row(&value, self.search.reference)?.figure(self.search.until.path());
                first.is_some_and(|first| self.search.until.holds_against(figure, first))
            }
            Some((_, None)) => {
                let message = "there is no first run to compare with: write a number, or name the strategy to compare with first \
                               (--strategy A --strategy B)";
                return Err(SweepError::Query { text: self.search.until.to_string(), message: message.to_owned() });
            }
            Some((_, Some(holds))) => holds,
            None => false,
        };
        Ok(Probed { value, figure, error: row.error, holds })
    }

    /// The run at `value`, of another strategy if one is given.
    fn row(&self, value: &Quantity, strategy: Option<Strategy>) -> Result<Row, SweepError> {
        let failed = |error: &dyn std::fmt::Display| Ok(Row::failed(0, error.to_string()));
        let mut fields = self.base.clone();
        for path in &self.paths {
            let set = fields.set(path, value.value.clone());
            set.map_err(|error| SweepError::Axis { axis: self.search.field.clone(), message: error.to_string() })?;
        }
        let config = match fields.config() {
            Ok(config) => ScenarioConfig { strategy: strategy.unwrap_or(config.strategy), ..config },
            Err(error) => return failed(&error),
        };
        Row::of_config(config, &self.pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Silent;
    use crate::simulation::Scenario;
    use crate::units::Bytes;
    use serde_json::json;

    fn search(field: &str, from: Value, to: Value, until: &str) -> Search {
        let mut base = ScenarioConfig::load("study").unwrap();
        base.decode_tokens = 8;
        Search {
            base,
            reference: None,
            field: field.to_owned(),
            from,
            to,
            until: until.parse().unwrap(),
            samples: 5,
            tolerance: 1e-4,
        }
    }

    fn resources(threads: usize) -> Resources {
        Resources { threads, memory: Bytes::new(1 << 30) }
    }

    fn found(search: &Search) -> Solution {
        solve(search, resources(2), &Cancel::new(false), &Silent).unwrap()
    }

    /// The baseline reads all from HBM, so a token takes the bytes over its bandwidth, which can be
    /// solved by hand.
    #[test]
    fn finds_where_a_bandwidth_is_enough() {
        let mut search = search("memory.hbm.bandwidth", json!("1 TB/s"), json!("16 TB/s"), "simulated_ns < 4ms");
        search.base.strategy = "baseline".parse().unwrap();
        let solution = found(&search);
        // 8 steps of 1 GiB of weights and 1024 to 1031 tokens of 1 MiB.
        let bytes: f64 = (0..8).map(|step| f64::from(1024 + 1024 + step) * 1048576.0).sum();
        let exact = bytes / 4e-3;
        let [crossing] = &solution.crossings[..] else { panic!("{:?}", solution.crossings) };
        let (below, above) = (crossing.below.value.number.unwrap(), crossing.above.value.number.unwrap());
        // KV writes, a two-thousandth of the bytes, use the bus as well.
        assert!(below <= exact * 1.001 && exact * 0.999 <= above, "{below} {exact} {above}");
        assert!(above / below < 1.0002);
        assert!(!crossing.below.holds && crossing.above.holds && solution.against_trend.is_empty());
    }

    #[test]
    fn every_crossing_is_found_and_the_trend_is_checked() {
        let solution = found(&search("decode_tokens", json!(1), json!(40), "steps >= 17"));
        let [crossing] = &solution.crossings[..] else { panic!("{:?}", solution.crossings) };
        assert_eq!((crossing.below.value.label.as_str(), crossing.above.value.label.as_str()), ("16", "17"));
        // A figure that rises and falls again.
        let probed = |number: f64, figure: f64| Probed {
            value: Unit::Real.nearest(number).unwrap(),
            figure: Some(figure),
            error: None,
            holds: figure > 2.0,
        };
        let hill = [probed(1.0, 1.0), probed(2.0, 3.0), probed(3.0, 1.5)];
        assert_eq!(against_trend(&hill), [(hill[1].clone(), hill[2].clone())]);
    }

    /// Of two strategies, the condition holds where the second gains on the first.
    #[test]
    fn a_strategy_is_held_against_another() {
        let mut search =
            search("memory.external.link.read+write", json!("50 GB/s"), json!("900 GB/s"), "tokens/s > 1.05x");
        search.base.strategy = "best-ratio".parse().unwrap();
        let error = solve(&search, resources(1), &Cancel::new(false), &Silent).unwrap_err().to_string();
        assert!(error.contains("--strategy"), "{error}");
        search.reference = Some("baseline".parse().unwrap());
        let solution = found(&search);
        // Near the crossing the gain is not monotone, so that there may be several.
        assert!(!solution.crossings.is_empty() && solution.crossings.len() % 2 == 1, "{:?}", solution.crossings);
        let gain = |probed: &Probed| {
            let mut fields = Fields::new(&search.base).unwrap();
            for path in expand(&search.field) {
                fields.set(&path, probed.value.value.clone()).unwrap();
            }
            let rate = |strategy: &str| {
                let config = ScenarioConfig { strategy: strategy.parse().unwrap(), ..fields.config().unwrap() };
                let (cancel, scenario) = (Cancel::new(false), Scenario::new(config).unwrap());
                let pool = Pool::new(resources(1), 1, &cancel, &Silent).unwrap();
                Row::simulated(0, &scenario, &pool).unwrap().figure("tokens_per_s").unwrap()
            };
            rate("best-ratio") / rate("baseline")
        };
        for probed in solution.crossings.iter().flat_map(|crossing| [&crossing.below, &crossing.above]) {
            assert_eq!(gain(probed) > 1.05, probed.holds, "{probed:?}");
        }
    }

    #[test]
    fn runs_that_fail_do_not_meet_it() {
        // Below some 2 GiB in all, nothing fits.
        let mut search = search("memory.external.capacity", json!("1MiB"), json!("4GiB"), "time < 1s");
        search.base.strategy = "baseline".parse().unwrap();
        search.base.prefill_tokens = 4096;
        let solution = found(&search);
        let [crossing] = &solution.crossings[..] else { panic!("{:?}", solution.crossings) };
        assert!(crossing.below.error.is_some() && crossing.above.holds);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let error_of =
            |search: Search| solve(&search, resources(1), &Cancel::new(false), &Silent).unwrap_err().to_string();
        assert!(
            error_of(search("memory.hbm.capasity", json!("1GiB"), json!("2GiB"), "time < 1s")).contains("capacity")
        );
        assert!(error_of(search("memory.hbm.capacity", json!("2GiB"), json!("2GiB"), "time < 1s")).contains("empty"));
        assert!(
            error_of(search("strategy", json!("baseline"), json!("best-ratio"), "time < 1s")).contains("not a number")
        );
        assert!(
            error_of(search("memory.hbm.capacity", json!("2GiB"), json!("4GiB"), "steps.x < 1"))
                .contains("simulated_ns")
        );
        assert!(
            error_of(search("memory.hbm.capacity", json!("2GiB"), json!("4GiB"), "time < 1x")).contains("no first run")
        );
    }
}
