//! Axes as they are typed after `--vary`: `FIELD=A,B,C`, `FIELD=A..B/N` or `FIELD=A..BxN`.

use super::error::CliError;
use crate::config::typed;
use crate::sweep::AxisConfig;
use serde_json::Value;

/// An axis as it is typed: `FIELD=A,B,C`, `FIELD=A..B/N` or `FIELD=A..BxN`.
pub(super) fn axis_of(text: &str) -> Result<AxisConfig, CliError> {
    let wrong = |message: &str| CliError::Usage(format!("--vary {text}: {message}"));
    let form = "write it as FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS, such as memory.hbm.capacity=2GiB,4GiB,8GiB";
    let (field, values) = text.split_once('=').ok_or_else(|| wrong(form))?;
    let field = field.trim().to_owned();
    if field.is_empty() || values.trim().is_empty() {
        return Err(wrong(form));
    }
    // A layout has ranges of its own: `layers 0..20=hbm`.
    if let Some((from, rest)) = values.split_once("..").filter(|_| !values.contains('=')) {
        let (to, points, geometric) = match (rest.rsplit_once('/'), rest.rsplit_once('x')) {
            (_, Some((to, points))) if points.parse::<u32>().is_ok() => (to, points, true),
            (Some((to, points)), _) if points.parse::<u32>().is_ok() => (to, points, false),
            _ => {
                return Err(wrong(
                    "write the number of values of the range: 1GiB..64GiB/5 at equal distances, 1GiB..64GiBx7 at equal ratios",
                ));
            }
        };
        let (from, to, points) = (typed(from.trim()), typed(to.trim()), points.parse().ok());
        return Ok(if geometric {
            AxisConfig::Geometric { field, from, to, points }
        } else {
            AxisConfig::Linear { field, from, to, points }
        });
    }
    Ok(AxisConfig::Values { field, values: list(values) })
}

/// An axis of a search as it is typed after `--over`: as [`axis_of`] reads it, or `FIELD=A..B`. A
/// part of the strategy may be named without it: `migration.steps`.
pub(super) fn searched_axis_of(text: &str) -> Result<AxisConfig, CliError> {
    let form = "write it as FIELD=FROM..TO, such as migration.steps=1..64";
    let (field, values) = text.split_once('=').ok_or_else(|| CliError::Usage(format!("--over {text}: {form}")))?;
    let field = field.trim();
    let part = field.split('.').next().unwrap_or(field);
    let of_strategy = ["initialization", "placement", "migration", "budget"].contains(&part);
    let field = if of_strategy { format!("strategy.{field}") } else { field.to_owned() };
    if field.is_empty() || values.trim().is_empty() {
        return Err(CliError::Usage(format!("--over {text}: {form}")));
    }
    if let Ok(axis) = axis_of(&format!("{field}={values}")) {
        return Ok(axis);
    }
    let (from, to) = values.split_once("..").ok_or_else(|| CliError::Usage(format!("--over {text}: {form}")))?;
    Ok(AxisConfig::Linear { field, from: typed(from.trim()), to: typed(to.trim()), points: None })
}

/// Values between commas; those within braces, brackets and quotes are part of a value.
fn list(text: &str) -> Vec<Value> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0i32, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn axes_are_typed_as_lists_or_ranges() {
        let read = |text: &str| axis_of(text).unwrap();
        let values = |field: &str, values: Value| AxisConfig::Values {
            field: field.to_owned(),
            values: values.as_array().unwrap().clone(),
        };
        assert_eq!(read("memory.hbm.capacity=2GiB, 4GiB"), values("memory.hbm.capacity", json!(["2GiB", "4GiB"])));
        assert_eq!(
            read("trace={\"Generated\":{\"skip\":0.1,\"churn\":0.2}},like-recorded-40"),
            values("trace", json!([{"Generated": {"skip": 0.1, "churn": 0.2}}, "like-recorded-40"]))
        );
        assert_eq!(
            read("trace.skip=0..0.9/4"),
            AxisConfig::Linear { field: "trace.skip".into(), from: json!(0), to: json!(0.9), points: Some(4) }
        );
        assert_eq!(
            read("memory.hbm.capacity=1GiB..64GiBx7"),
            AxisConfig::Geometric {
                field: "memory.hbm.capacity".into(),
                from: json!("1GiB"),
                to: json!("64GiB"),
                points: Some(7)
            }
        );
        assert_eq!(
            read("memory.external.link.read+write=450GB/s..900GB/s/3"),
            AxisConfig::Linear {
                field: "memory.external.link.read+write".into(),
                from: json!("450GB/s"),
                to: json!("900GB/s"),
                points: Some(3)
            }
        );
        let over = |text: &str| searched_axis_of(text).unwrap();
        let range =
            |field: &str, from: Value, to: Value, points| AxisConfig::Linear { field: field.into(), from, to, points };
        assert_eq!(over("migration.steps=1..64"), range("strategy.migration.steps", json!(1), json!(64), None));
        assert_eq!(over("budget=1%..100%"), range("strategy.budget", json!("1%"), json!("100%"), None));
        assert_eq!(over("trace.skip=0..0.9/4"), range("trace.skip", json!(0), json!(0.9), Some(4)));
        assert_eq!(over("batch=1,2"), values("batch", json!([1, 2])));
        for text in ["migration.steps", "=1..2", "a="] {
            assert!(searched_axis_of(text).is_err(), "{text}");
        }
        for text in ["memory.hbm.capacity", "=1", "a=", "a=1GiB..2GiB", "a=1GB/s..2GB/s"] {
            assert!(axis_of(text).is_err(), "{text}");
        }
    }
}
