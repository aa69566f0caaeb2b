//! Conditions on figures: the gate of `compare --fail-if` and the queries on sweeps.
//!
//! A condition is a figure, an operator and a limit. The limit is a number in the figure's unit (`<
//! 9ms`), a factor of the first run's value (`> 1.05x`), or a change against it (`> +5%`). What a
//! reader might misread is refused: a number without a unit on a figure that has one, or a
//! percentage without a sign.

use super::figures::{begins_as_a_figure, figure_in, figure_meant};
use crate::config::did_you_mean;
use crate::metrics::{FigureUnit, figure_unit, full_name, known_figures, short_names};
use crate::units::{Bytes, SimTime};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A condition on a figure: `token_latency_ns.p99 > 1.05x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As it was written.
    text: String,
    path: String,
    operator: Operator,
    limit: Limit,
}

/// Why a condition cannot be read, or cannot be evaluated for a run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ConditionError {
    #[error(
        "'{text}' is not a condition: write FIGURE OPERATOR LIMIT with <, <=, >, >=, == or !=, such as 'token_latency_ns.p99 > 1.05x'"
    )]
    Form { text: String },
    #[error(
        "'{text}': '{limit}' is not a limit: write a number with its unit, 1.05x (times the first run's), +5% (more than the first run's){more}"
    )]
    Limit { text: String, limit: String, more: &'static str },
    #[error("'{text}': '{limit}' has no unit: write {limit} and one of {units}")]
    Unit { text: String, limit: String, units: &'static str },
    #[error("'{text}': '{limit}' of what? Write +{limit} or {factor}x to compare with the first run")]
    Percent { text: String, limit: String, factor: String },
    #[error("'{text}': there is no figure '{name}'.{meant} Figures are {known}")]
    NoFigure { text: String, name: String, meant: String, known: String },
    #[error("'{text}': {run} has no figure '{path}': {instead}")]
    Unknown { text: String, run: String, path: String, instead: String },
    #[error("'{text}': '{path}' is not a number in {run}: it is {found}")]
    NoNumber { text: String, run: String, path: String, found: String },
}

/// A condition that holds for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Holds {
    /// The condition.
    pub condition: String,
    /// The run.
    pub run: String,
    /// The value of the figure, and the limit.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

/// The longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Operator {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::Greater => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
            Self::NotEqual => value != limit,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Absolute(f64),
    /// Times the first run's value.
    OfFirst(f64),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ConditionError::Form { text: text.to_owned() };
        let at = text.find(['<', '>', '=', '!']).ok_or_else(form)?;
        let (path, rest) = text.split_at(at);
        let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(form)?;
        let (path, limit) = (path.trim(), rest[sign.len()..].trim());
        if path.is_empty() || limit.is_empty() {
            return Err(form());
        }
        let path = full_name(path).to_owned();
        if !begins_as_a_figure(&path) {
            return Err(no_figure(text, &path));
        }
        let limit = parse_limit(text, limit, figure_unit(&path))?;
        Ok(Self { text: text.to_owned(), path, operator, limit })
    }
}

fn no_figure(text: &str, name: &str) -> ConditionError {
    let mut known: Vec<&str> = short_names().collect();
    let groups = known_figures().iter().filter_map(|path| path.split('.').next());
    groups.for_each(|group| {
        if !known.contains(&group) {
            known.push(group);
        }
    });
    let meant = figure_meant(name).map_or_else(String::new, |meant| format!(" Did you mean '{meant}'?"));
    ConditionError::NoFigure { text: text.to_owned(), name: name.to_owned(), meant, known: known.join(", ") }
}

fn parse_limit(text: &str, limit: &str, unit: FigureUnit) -> Result<Limit, ConditionError> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(factor) = limit.strip_suffix(['x', 'X']).and_then(number) {
        return Ok(Limit::OfFirst(factor));
    }
    if let Some(percent) = limit.strip_suffix('%').and_then(number) {
        if limit.starts_with(['+', '-']) {
            return Ok(Limit::OfFirst(1.0 + percent / 100.0));
        }
        if unit == FigureUnit::Share {
            return Ok(Limit::Absolute(percent / 100.0));
        }
        let factor = (1.0 + percent / 100.0).to_string();
        return Err(ConditionError::Percent { text: text.to_owned(), limit: limit.to_owned(), factor });
    }
    let (read, more) = match unit {
        FigureUnit::Time => (limit.parse::<SimTime>().ok().map(SimTime::as_ns), " or a time: 400us"),
        FigureUnit::Bytes => (limit.parse::<Bytes>().ok().map(Bytes::as_f64), " or a size: 2GiB"),
        FigureUnit::Share => (number(limit), " or a share: 90%"),
        FigureUnit::Number | FigureUnit::Rate | FigureUnit::Requests => (number(limit), ""),
    };
    let (text, limit) = (text.to_owned(), limit.to_owned());
    match read {
        Some(limit) => Ok(Limit::Absolute(limit)),
        None if number(&limit).is_some() => {
            let units = if unit == FigureUnit::Time { "ns, us, ms or s" } else { "B, KiB, MiB, GiB, kB, MB or GB" };
            Err(ConditionError::Unit { text, limit, units })
        }
        None => Err(ConditionError::Limit { text, limit, more }),
    }
}

impl Condition {
    /// A condition on something called `name`, such as an axis of a sweep: `<`, `<=`, `>`, `>=`,
    /// `==` or `!=` a number.
    ///
    /// # Errors
    /// [`ConditionError::Form`] for another operator.
    pub fn on_number(name: &str, operator: &str, limit: f64) -> Result<Self, ConditionError> {
        let text = format!("{name} {operator} {limit}");
        match OPERATORS.into_iter().find(|(sign, _)| *sign == operator) {
            Some((_, operator)) => Ok(Self { text, path: name.to_owned(), operator, limit: Limit::Absolute(limit) }),
            None => Err(ConditionError::Form { text }),
        }
    }

    /// The figure that it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it holds for a figure of that value; `None` if its limit is relative to another run.
    #[must_use]
    pub fn holds(&self, value: f64) -> Option<bool> {
        match self.limit {
            Limit::Absolute(limit) => Some(self.operator.holds(value, limit)),
            Limit::OfFirst(_) => None,
        }
    }

    /// Whether it holds for a figure of that value where it is `first` in the first run.
    #[must_use]
    pub fn holds_against(&self, value: f64, first: f64) -> bool {
        match self.limit {
            Limit::Absolute(limit) => self.operator.holds(value, limit),
            Limit::OfFirst(factor) => self.operator.holds(value, first * factor),
        }
    }

    /// The runs after the first, given by label and `summary.json`, for which it holds. Relative
    /// limits refer to the first run.
    ///
    /// # Errors
    /// [`ConditionError`] if a run does not have the figure.
    pub fn check(&self, runs: &[(&str, &Value)]) -> Result<Vec<Holds>, ConditionError> {
        let Some(((name, summary), others)) = runs.split_first() else { return Ok(Vec::new()) };
        let unit = figure_unit(&self.path);
        let (limit, against) = match self.limit {
            Limit::Absolute(limit) => (limit, unit.shown(limit)),
            Limit::OfFirst(factor) => {
                let first = self.value(name, summary)?;
                (first * factor, format!("{factor} times the {} of {name}", unit.shown(first)))
            }
        };
        let mut holds = Vec::new();
        for (run, summary) in others {
            let value = self.value(run, summary)?;
            if self.operator.holds(value, limit) {
                let detail = format!("{} is {}, held against {against}", self.path, unit.shown(value));
                holds.push(Holds { condition: self.text.clone(), run: (*run).to_owned(), detail });
            }
        }
        Ok(holds)
    }

    fn value(&self, run: &str, summary: &Value) -> Result<f64, ConditionError> {
        let found = figure_in(summary, &self.path).map_err(|known| ConditionError::Unknown {
            text: self.text.clone(),
            run: run.to_owned(),
            path: self.path.clone(),
            instead: if known.is_empty() {
                "it has no parts there".to_owned()
            } else {
                let last = self.path.rsplit('.').next().unwrap_or_default();
                format!("there is {} there.{}", known.join(", "), did_you_mean(last, known.iter().map(String::as_str)))
            },
        })?;
        found.as_f64().ok_or_else(|| ConditionError::NoNumber {
            text: self.text.clone(),
            run: run.to_owned(),
            path: self.path.clone(),
            found: match found {
                Value::Object(fields) => format!("{{{}}}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
                other => other.to_string(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(condition: &str) -> bool {
        let first = json!({"token_latency_ns": {"p99": 100.0}, "steps": 4, "lanes": {"a.b": {"utilization": 0.5}}});
        let other = json!({"token_latency_ns": {"p99": 105.5}, "steps": 4, "lanes": {"a.b": {"utilization": 0.95}}});
        let condition: Condition = condition.parse().unwrap();
        !condition.check(&[("A", &first), ("B", &other)]).unwrap().is_empty()
    }

    #[test]
    fn limits_are_absolute_or_against_the_first() {
        for yes in ["token_latency_ns.p99 > 1.05x", "p99>+5%", "p99 > 105ns", "p99 >= 105.5ns", "p99 < 1us", "p99 > 0"]
        {
            assert!(holds(yes), "{yes}");
        }
        for no in ["p99 > 1.06x", "p99 > +6%", "p99 < -1%", "p99 <= 105ns", "steps != 4", "steps > 1x"] {
            assert!(!holds(no), "{no}");
        }
        assert!(holds("lanes.a.b.utilization > 90%") && !holds("lanes.a.b.utilization > 0.96"));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_to_write() {
        let refused = |text: &str| text.parse::<Condition>().unwrap_err().to_string();
        for text in ["", "p99", "> 3", "p99 >", "p99 = 3"] {
            assert!(refused(text).contains("FIGURE OPERATOR LIMIT"), "{text}");
        }
        for text in ["p99 > much", "p99 > NaN", "p99 > infx", "steps > 4us", "p99 > > 3"] {
            assert!(refused(text).contains("is not a limit"), "{text}: {}", refused(text));
        }
        // A path in nanoseconds has its unit in its name; who types 'p99 < 1' hardly means
        // nanoseconds.
        for text in ["p99 < 1", "time > 1e9", "peak_bytes.hbm < 4", "simulated_ns == 1.5"] {
            assert!(refused(text).contains("has no unit"), "{text}: {}", refused(text));
        }
        assert!(refused("p99 > 5%").contains("+5% or 1.05x"), "{}", refused("p99 > 5%"));
        let misspelt = refused("latency < 1ms");
        assert!(misspelt.contains("no figure 'latency'. Did you mean '") && misspelt.contains("p99"), "{misspelt}");
        let summary = json!({"token_latency_ns": {"p50": 1.0}, "alpha": true});
        let error_of = |text: &str| {
            let condition: Condition = text.parse().unwrap();
            condition.check(&[("A", &summary), ("B", &summary)]).unwrap_err().to_string()
        };
        assert!(error_of("p99 > 3ns").contains("there is p50 there"), "{}", error_of("p99 > 3ns"));
        assert!(error_of("token_latency_ns > 3ns").contains("{p50}"));
        assert!(error_of("alpha == 1").contains("true") || error_of("alpha == 1").contains("no figure"));
    }
}
