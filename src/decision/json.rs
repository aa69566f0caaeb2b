//! A decision as JSON: `decision.json` and `tiersim decide --json`.

use super::{Circumstance, Crossover, Decision, DecisionAxis, Ranked};
use serde_json::{Map, Value, json};

/// The decision as JSON. A value of a numeric axis is a number in the base of its unit, any other
/// its name; `value` is in the unit that `unit` names.
#[must_use]
pub fn as_json(decision: &Decision) -> Value {
    let circumstance = |it: &Circumstance| {
        let without =
            it.without.iter().map(|(choice, why)| json!({"choice": named(&decision.choices, choice), "why": why}));
        json!({
            "given": named(&decision.given, &it.given),
            "ranking": it.ranking.iter().map(|ranked| ranked_as_json(decision, ranked)).collect::<Vec<_>>(),
            "margin": it.margin(&decision.by),
            "without": without.collect::<Vec<_>>(),
        })
    };
    let crossover = |it: &Crossover| {
        let mut given = named(&decision.given, &it.given);
        let along = &decision.given[it.along].name;
        given.remove(along);
        json!({
            "between": [it.between.0, it.between.1],
            "from": named(&decision.choices, &it.from),
            "to": named(&decision.choices, &it.to),
            "along": along,
            "given": given,
        })
    };
    json!({
        "by": decision.by.name,
        "figure": decision.by.path,
        "answer": decision.answer.first(),
        "details": decision.answer.get(1..).unwrap_or_default(),
        "within": decision.within,
        "circumstances": decision.circumstances.iter().map(circumstance).collect::<Vec<_>>(),
        "crossovers": decision.crossovers.iter().map(crossover).collect::<Vec<_>>(),
    })
}

fn ranked_as_json(decision: &Decision, ranked: &Ranked) -> Value {
    let currency = decision.currency.as_deref();
    let mut tree = json!({
        "choice": named(&decision.choices, &ranked.choice),
        "value": ranked.value,
        "unit": decision.by.unit(currency),
        "knows": ranked.knows.to_string(),
    });
    if let (Some(cost), Some(currency)) = (ranked.cost, currency) {
        tree["cost"] = json!({"value": cost, "unit": format!("{currency} per million tokens")});
    }
    tree
}

/// Values by the names of their axes.
fn named(axes: &[DecisionAxis], levels: &[usize]) -> Map<String, Value> {
    let value = |axis: &DecisionAxis, level: usize| match &axis.levels[level] {
        (_, Some(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        (_, Some(number)) => Value::from(*number),
        (name, None) => Value::from(name.clone()),
    };
    axes.iter().zip(levels).map(|(axis, level)| (axis.name.clone(), value(axis, *level))).collect()
}
