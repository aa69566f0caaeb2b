//! Conditions on a decision: `tiersim decide --fail-if`.

use super::words::choice;
use super::{By, Decision, DecisionError};
use crate::metrics::figure_unit;
use crate::results::{Condition, ConditionError};

/// A condition that holds in a circumstance.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The condition, as it was written.
    pub condition: String,
    /// The circumstance, in words.
    pub given: String,
    /// The value, and what it was held against.
    pub detail: String,
}

/// The name of the figure that is how far the winner is ahead.
pub const MARGIN: &str = "margin";

/// A condition, read: on the figure of the decision, or on its margin.
///
/// # Errors
/// [`DecisionError::Condition`] if it is none, or is on another figure.
pub fn condition(by: &By, text: &str) -> Result<Condition, DecisionError> {
    if let Some(rest) = text.trim().strip_prefix(MARGIN) {
        return margin_condition(text, rest.trim()).map_err(Into::into);
    }
    let replaced = short(by, text);
    let condition: Condition = replaced.parse()?;
    if condition.path() == by.path {
        return Ok(condition);
    }
    let (run, path) = ("the decision".to_owned(), condition.path().to_owned());
    let instead = format!("it ranks by {}; ask for another with --by, or limit {MARGIN}", by.path);
    Err(ConditionError::Unknown { text: text.to_owned(), run, path, instead }.into())
}

/// A condition with the name of the decision's figure spelled out, as `tpot` and `p99` mean other
/// paths here than in a run.
fn short(by: &By, text: &str) -> String {
    match text.trim().strip_prefix(by.name.as_str()) {
        Some(rest) if rest.trim_start().starts_with(['<', '>', '=', '!']) => format!("{}{rest}", by.path),
        _ => text.to_owned(),
    }
}

fn margin_condition(text: &str, rest: &str) -> Result<Condition, ConditionError> {
    let end = rest.find(|c: char| !"<>=!".contains(c)).unwrap_or(rest.len());
    let (operator, limit) = rest.split_at(end);
    let limit = limit.trim();
    let number = match limit.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
        None => limit.parse().ok(),
    };
    let wrong = || ConditionError::Limit { text: text.to_owned(), limit: limit.to_owned(), more: " or a share: 5%" };
    let number = number.filter(|number| number.is_finite()).ok_or_else(wrong)?;
    Condition::on_number(MARGIN, operator, number).map_err(|_| ConditionError::Form { text: text.to_owned() })
}

/// The circumstances in which a condition holds. An absolute limit is held against the winner of
/// each; a relative one holds the first choice that was listed, what one has now, against the
/// winner; a limit on the margin is held against that. A circumstance without the figure that is
/// needed is left out.
///
/// # Errors
/// [`DecisionError::Condition`] if it is no condition on the figure of the decision.
pub fn holds(decision: &Decision, text: &str) -> Result<Vec<Held>, DecisionError> {
    let condition = condition(&decision.by, text)?;
    let first: Vec<usize> = decision.choices.iter().map(|_| 0).collect();
    let mut held = Vec::new();
    for it in &decision.circumstances {
        let Some(winner) = it.ranking.first() else { continue };
        let given = decision
            .given
            .iter()
            .zip(&it.given)
            .map(|(axis, level)| format!("{} {}", axis.name, axis.levels[*level].0));
        let given = given.collect::<Vec<_>>().join(", ");
        let show = |value: f64| figure_unit(&decision.by.path).shown(value);
        let found = if condition.path() == MARGIN {
            let margin = it.margin(&decision.by).filter(|margin| condition.holds(*margin) == Some(true));
            margin.map(|margin| {
                format!("{} is ahead by {}", choice(decision, &winner.choice), super::words::margin(margin))
            })
        } else if let Some(holds) = condition.holds(winner.value) {
            holds.then(|| format!("the best, {}, has {}", choice(decision, &winner.choice), show(winner.value)))
        } else {
            let now = it.ranking.iter().find(|ranked| decision.outer(&ranked.choice) == decision.outer(&first));
            now.filter(|now| condition.holds_against(now.value, winner.value)).map(|now| {
                let (now_is, best) = (choice(decision, &now.choice), choice(decision, &winner.choice));
                format!("{now_is} has {}, held against the {} of {best}", show(now.value), show(winner.value))
            })
        };
        held.extend(found.map(|detail| Held { condition: text.to_owned(), given, detail }));
    }
    Ok(held)
}
