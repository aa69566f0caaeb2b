//! No value in a configuration makes an import panic, and none is imported that a model cannot be.

use super::read;
use serde_json::{Value, json};
use tiersim::workload::LanguageModel;
use tiersim::workload::huggingface::ImportOptions;

/// Each number and list of each of the published sizes, replaced by several absurd ones.
#[test]
fn absurd_values_are_refused_or_read() {
    let absurd = [
        json!(0),
        json!(1),
        json!(3),
        json!(1 << 30),
        json!(u64::MAX),
        json!(-1),
        json!(0.5),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let (mut refused, mut imported) = (0, 0);
    for (row, line) in include_str!("sizes.jsonl").lines().enumerate() {
        let config = serde_json::from_str::<Value>(line).unwrap()["config"].clone();
        let inner = config["text_config"].is_object();
        let fields = if inner { &config["text_config"] } else { &config };
        let names: Vec<String> = fields.as_object().unwrap().keys().cloned().collect();
        for (index, name) in names.iter().enumerate() {
            // Three of the values for each field, all of them over a few rows.
            for step in 0..3 {
                let mut changed = config.clone();
                let place = if inner { &mut changed["text_config"] } else { &mut changed };
                place[name.as_str()] = absurd[(row + index + 4 * step) % absurd.len()].clone();
                match read(&changed.to_string(), ImportOptions { name: "it".to_owned(), ..ImportOptions::default() }) {
                    Ok(found) => match LanguageModel::new(&found.model) {
                        Ok(_) => imported += 1,
                        Err(error) => assert!(error.to_string().contains(": "), "{name}: {error}"),
                    },
                    Err(error) => {
                        assert!(error.to_string().contains("config.json"), "{name}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 1000 && imported > 500, "{refused} refused, {imported} imported");
}
