//! JSON documents against the JSON Schemas that tiersim publishes.
//!
//! A validator of the whole standard would bring two dozen crates. The schemas use a small part of
//! it, which is checked here: types, ranges of integers, properties and required ones, maps, lists
//! and tuples, alternatives and references to definitions. A keyword outside that part panics, so
//! that a schema cannot demand what nobody checks. One rule is stricter than the standard: where a
//! schema lists properties and says nothing of others, others are violations, as a key that
//! tiersim writes and does not document is a mistake.

use serde_json::Value;

/// What is wrong with `document`, each with its place; nothing if it is as `schema` demands.
pub fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root: schema, found: &mut found }.value(schema, document, "$");
    found
}

struct Check<'a> {
    root: &'a Value,
    found: &'a mut Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, value: &Value, place: &str) {
        let keywords = match schema {
            Value::Bool(true) => return,
            Value::Object(keywords) => keywords,
            other => panic!("{place}: {other} is no schema"),
        };
        for (keyword, operand) in keywords {
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" => {}
                "type" => self.demand(is_of(operand, value), place, || format!("{value} is not of type {operand}")),
                "format" => self.demand(fits(operand, value), place, || format!("{value} is no {operand}")),
                "minimum" => {
                    let enough = value.as_f64().is_none_or(|value| value >= number(operand));
                    self.demand(enough, place, || format!("{value} is below {operand}"));
                }
                "$ref" => {
                    let name = operand.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a definition");
                    self.value(&self.root["$defs"][name], value, place);
                }
                "anyOf" => {
                    let accepts = |schema: &Value| {
                        let mut found = Vec::new();
                        Check { root: self.root, found: &mut found }.value(schema, value, place);
                        found.is_empty()
                    };
                    let any = operand.as_array().expect("alternatives").iter().any(accepts);
                    self.demand(any, place, || format!("{value} is none of {operand}"));
                }
                "required" => {
                    for name in operand.as_array().expect("names") {
                        let missing = value.is_object() && value.get(name.as_str().expect("a name")).is_none();
                        self.demand(!missing, place, || format!("{name} is missing"));
                    }
                }
                "minItems" | "maxItems" => {
                    let bound = number(operand) as usize;
                    let right = value.as_array().is_none_or(|items| {
                        if keyword == "minItems" { items.len() >= bound } else { items.len() <= bound }
                    });
                    self.demand(right, place, || format!("{keyword} is {operand}: {value}"));
                }
                // Below, together.
                "properties" | "additionalProperties" | "items" | "prefixItems" => {}
                other => panic!("{place}: the keyword '{other}' is not checked"),
            }
        }
        self.members(schema, value, place);
    }

    fn demand(&mut self, right: bool, place: &str, wrong: impl FnOnce() -> String) {
        if !right {
            self.found.push(format!("{place}: {}", wrong()));
        }
    }

    /// What a value holds: each member against its own schema.
    fn members(&mut self, schema: &Value, value: &Value, place: &str) {
        let closed = Value::Bool(schema.get("properties").is_none());
        for (name, member) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(schema) => self.value(schema, member, &place),
                None => match schema.get("additionalProperties").unwrap_or(&closed) {
                    Value::Bool(allowed) => self.demand(*allowed, &place, || "is not in the schema".to_owned()),
                    schema => self.value(schema, member, &place),
                },
            }
        }
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(schema) = first.get(index).or(schema.get("items")) {
                self.value(schema, item, &format!("{place}[{index}]"));
            }
        }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Whether `value` is of the type, or of one of the types, named.
fn is_of(types: &Value, value: &Value) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|name| is_of(name, value)),
        Value::String(name) => match name.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("'{other}' is no type"),
        },
        other => panic!("{other} is no type"),
    }
}

/// Whether a number is one of the Rust type that `format` names.
fn fits(format: &Value, value: &Value) -> bool {
    match format.as_str().expect("a name") {
        "double" => true,
        "uint64" | "uint" => !value.is_number() || value.is_u64(),
        "uint32" => !value.is_number() || value.as_u64().is_some_and(|value| u32::try_from(value).is_ok()),
        "int64" => !value.is_number() || value.is_i64(),
        other => panic!("the format '{other}' is not checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_documents_are_refused_at_their_place() {
        let schema = json!({
            "$defs": {"Time": {"type": ["integer", "null"], "format": "uint32", "minimum": 3}},
            "type": "object",
            "properties": {
                "time": {"$ref": "#/$defs/Time"},
                "either": {"anyOf": [{"type": "string"}, {"type": "boolean"}]},
                "pair": {
                    "type": "array",
                    "prefixItems": [{"type": "string"}, {"type": "number"}],
                    "minItems": 2,
                    "maxItems": 2,
                },
                "list": {"type": "array", "items": {"type": "boolean"}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "open": {"type": "object", "properties": {}, "additionalProperties": true},
            },
            "required": ["time"],
        });
        let right = json!({
            "time": 3, "either": true, "pair": ["a", 1.5], "list": [true], "map": {"a": "b"}, "open": {"a": 1},
        });
        assert_eq!(violations(&schema, &right), [""; 0]);
        assert_eq!(violations(&schema, &json!({"time": null})), [""; 0]);
        for (key, value, place) in [
            ("time", json!("3"), "$.time"),
            ("time", json!(2), "$.time"),
            ("time", json!(-1), "$.time"),
            ("time", json!(1u64 << 32), "$.time"),
            ("time", json!(3.5), "$.time"),
            ("either", json!(1), "$.either"),
            ("pair", json!(["a"]), "$.pair"),
            ("pair", json!(["a", "b"]), "$.pair[1]"),
            ("pair", json!(["a", 1, 2]), "$.pair"),
            ("list", json!([true, 1]), "$.list[1]"),
            ("map", json!({"a": 1}), "$.map.a"),
            ("map", json!([]), "$.map"),
            ("other", json!(1), "$.other"),
        ] {
            let mut wrong = right.clone();
            wrong[key] = value;
            let found = violations(&schema, &wrong);
            assert!(!found.is_empty() && found[0].starts_with(&format!("{place}: ")), "{wrong}: {found:?}");
        }
        assert_eq!(violations(&schema, &json!({})), ["$: \"time\" is missing"]);
        assert_eq!(violations(&schema, &json!([])), ["$: [] is not of type \"object\""]);
    }

    #[test]
    #[should_panic(expected = "'maximum' is not checked")]
    fn a_keyword_that_is_not_checked_is_not_passed_over() {
        violations(&json!({"maximum": 3}), &json!(2));
    }
}
