//! Queries on the points of a sweep: conditions and rankings, as `sweep best` takes them.
//!
//! A condition is a limit on a figure or on an axis of numbers, or the value of an axis. Points
//! that meet all conditions are sorted by several measures, later ones breaking the ties of earlier
//! ones.

use super::{Measure, Point, Results, SweepError};
use crate::config::typed;
use crate::results::Condition;

/// A condition on a point of a sweep: a limit on a figure or on an axis of numbers, or the value of
/// an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Query(Test);

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Number(Measure, Condition),
    /// By level of the axis.
    Level(usize, Vec<bool>),
}

impl Query {
    /// Reads `token_latency_ns.p99 < 9ms`, `memory.hbm.capacity <= 4GiB` or `strategy == baseline`.
    ///
    /// # Errors
    /// [`SweepError::Query`] if it is not a condition, [`SweepError::Measure`] if there is no such
    /// axis or figure.
    pub fn read(results: &Results, text: &str) -> Result<Self, SweepError> {
        let wrong = |message: String| SweepError::Query { text: text.to_owned(), message };
        let name = subject(text);
        let Measure::Axis(place) = results.measure(name)? else {
            let condition: Condition =
                text.parse().map_err(|error: crate::results::ConditionError| wrong(error.to_string()))?;
            if condition.holds(0.0).is_none() {
                return Err(wrong("there is no first run to compare with: write a number".to_owned()));
            }
            return Ok(Self(Test::Number(results.measure(name)?, condition)));
        };
        let axis = &results.plan.axes()[place];
        let rest = text[text.find(name).unwrap_or(0) + name.len()..].trim();
        let value = rest.trim_start_matches(['<', '>', '=', '!']).trim();
        let sign = rest[..rest.len() - value.len()].trim();
        let quantity = axis.unit.read(&typed(value)).map_err(wrong)?;
        if let Some(number) = quantity.number.filter(|_| axis.is_numeric()) {
            let condition = Condition::on_number(name, sign, number).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self(Test::Number(Measure::Axis(place), condition)));
        }
        let equal = match sign {
            "==" => true,
            "!=" => false,
            _ => return Err(wrong(format!("the values of '{name}' have no order: use == or !="))),
        };
        let which: Vec<bool> = axis.levels.iter().map(|level| (level.label == quantity.label) == equal).collect();
        if !axis.levels.iter().any(|level| level.label == quantity.label) {
            let mut labels: Vec<&str> = axis.levels.iter().map(|level| level.label.as_str()).collect();
            labels.dedup();
            return Err(wrong(format!("'{name}' has no value '{value}': it has {}", labels.join(", "))));
        }
        Ok(Self(Test::Level(place, which)))
    }

    /// Whether a point meets it. One without the figure does not.
    #[must_use]
    pub fn holds(&self, results: &Results, point: &Point) -> bool {
        match &self.0 {
            Test::Number(measure, condition) => {
                results.value(point, measure).and_then(|value| condition.holds(value)).unwrap_or(false)
            }
            Test::Level(axis, which) => which[point.levels[*axis]],
        }
    }
}

/// The name of the measure that a condition is about, for [`Results::read`].
#[must_use]
pub fn subject(text: &str) -> &str {
    text.split(['<', '>', '=', '!']).next().unwrap_or(text).trim()
}

/// The points that meet all of `queries`, in the order of `measures`, the least first where
/// `ascending`.
#[must_use]
pub fn ranked<'a>(results: &'a Results, queries: &[Query], measures: &[(Measure, bool)]) -> Vec<&'a Point> {
    let meets = |point: &&Point| queries.iter().all(|query| query.holds(results, point));
    let known = |point: &&Point| measures.iter().all(|(measure, _)| results.value(point, measure).is_some());
    let mut points: Vec<&Point> = results.points.iter().filter(meets).filter(known).collect();
    points.sort_by(|a, b| {
        let by = measures.iter().map(|(measure, ascending)| {
            let value = |point: &Point| results.value(point, measure).unwrap_or(f64::NAN);
            let order = value(a).total_cmp(&value(b));
            if *ascending { order } else { order.reverse() }
        });
        by.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    points
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::synthetic;
    use super::*;

    #[test]
    fn points_are_chosen_by_figures_and_axes() {
        let results = synthetic(|capacity, skip, _| Some(1e6 / capacity * if skip > 0.0 { 0.5 } else { 1.0 }));
        let chosen = |texts: &[&str]| {
            let queries: Vec<Query> = texts.iter().map(|text| Query::read(&results, text).unwrap()).collect();
            let by =
                [(results.measure("memory.hbm.capacity").unwrap(), true), (results.measure("time").unwrap(), true)];
            ranked(&results, &queries, &by).iter().map(|point| results.described(point)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&["time < 200us"])[0], "memory.hbm.capacity 4 GiB, trace.skip 0.4");
        assert_eq!(chosen(&["time < 200us", "trace.skip == 0"]), ["memory.hbm.capacity 8 GiB, trace.skip 0"]);
        assert_eq!(chosen(&["memory.hbm.capacity <= 2GiB"]).len(), 2);
        assert_eq!(chosen(&["trace.skip>=40%"]).len(), 3);
        let error_of = |text: &str| Query::read(&results, text).unwrap_err().to_string();
        assert!(error_of("tmie < 3").contains("simulated_ns"));
        assert!(error_of("time < 1x").contains("no first run"));
        assert!(error_of("memory.hbm.capacity < much").contains("much"));
    }
}
