//! Families by the sizes of their published models: the parameters of `sizes.jsonl`, in billions,
//! are what their publishers state. The configurations there have the published shapes and are our
//! own.

use super::{is_stated, parameters};
use serde_json::Value;

#[test]
fn parameters_are_what_publishers_state() {
    let mut families = std::collections::BTreeSet::new();
    for line in include_str!("sizes.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (name, config) = (&row["name"], row["config"].to_string());
        families.insert(row["config"]["model_type"].to_string());
        let (total, active) = parameters(&config);
        let stated = row["total"].as_f64().unwrap();
        assert!((total / 1e9 / stated - 1.0).abs() < 0.02, "{name}: {total} parameters, {stated} B stated");
        if let Value::Number(stated) = &row["active"] {
            // Some publishers count the embedding, some not even the head.
            let sizes =
                if row["config"]["text_config"].is_object() { &row["config"]["text_config"] } else { &row["config"] };
            let size = |names: [&str; 2]| names.iter().find_map(|name| sizes[*name].as_f64()).unwrap();
            let matrix = size(["hidden_size", "d_model"]) * size(["vocab_size", "padded_vocab_size"]);
            let counts = [active, active + matrix, active - matrix];
            assert!(
                counts.iter().any(|count| is_stated(count / 1e9, stated)),
                "{name}: {counts:?} active, {stated} B stated"
            );
        }
    }
    assert!(families.len() >= 55, "{} families", families.len());
}
