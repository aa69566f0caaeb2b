//! Real configurations, which are not part of the project: `TIERSIM_CONFIGS=folder` names a folder
//! of `PUBLISHER--MODEL.json` files. Without it these tests say so and check nothing.

use super::{is_stated, parameters, read};
use std::path::{Path, PathBuf};
use tiersim::workload::ModelConfig;
use tiersim::workload::huggingface::ImportOptions;

/// The files in the folder that `TIERSIM_CONFIGS` names, by their names without the ending.
fn files() -> Vec<(String, String)> {
    let Some(folder) = std::env::var_os("TIERSIM_CONFIGS") else {
        eprintln!("skipped: set TIERSIM_CONFIGS to a folder of published config.json files");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// A file that cannot be imported is refused by name; what is imported is read back as it was
/// written.
#[test]
fn each_is_imported_or_refused_by_name() {
    for (name, text) in files() {
        match read(&text, ImportOptions { name: name.clone(), ..ImportOptions::default() }) {
            Ok(imported) => {
                let text = imported.text("config.json");
                assert_eq!(tiersim::config::parse::<ModelConfig>(&text, "written").unwrap(), imported.model, "{text}");
                let unknown: Vec<_> = imported.ignored.iter().filter(|note| note.contains("not known")).collect();
                assert!(unknown.is_empty(), "{name}: {unknown:?}");
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cannot be imported") && error.contains("by hand"), "{name}: {error}");
            }
        }
    }
}

/// Billions of parameters that publishers state, in all and active where they say so.
const STATED: &[(&str, f64, &str)] = &[
    ("MiniMax-M2.5", 229.0, "10"),
    ("Qwen3-235B-A22B", 235.0, "22"),
    ("Qwen3-30B-A3B-FP8", 30.5, "3.3"),
    ("Qwen3-32B", 32.8, ""),
    ("Qwen3-8B", 8.2, ""),
    ("Qwen3.5-27B", 27.0, ""),
    ("Qwen3.5-35B-A3B", 35.0, "3"),
    ("MiMo-V2-Flash", 309.0, "15"),
    ("DeepSeek-V3.2", 671.0, "37"),
    ("DeepSeek-V3", 671.0, "37"),
    ("gemma-4-26B-A4B", 25.2, "3.8"),
    ("Llama-4-Scout-17B-16E-Instruct", 109.0, "17"),
    ("Meta-Llama-3.1-70B", 70.6, ""),
    ("Meta-Llama-3.1-8B", 8.03, ""),
    ("Mixtral-8x7B-v0.1", 46.7, "12.9"),
    ("Kimi-K2-Instruct", 1040.0, "32"),
    ("Llama-3.1-70B-Instruct-FP8", 70.6, ""),
    ("Nemotron-H-56B-Base-8K", 56.0, ""),
    ("Qwen3.5-122B-A10B-NVFP4", 122.0, "10"),
    ("gpt-oss-120b", 117.0, "5.1"),
    ("gpt-oss-20b", 21.0, "3.6"),
    // 40 are stated: the indexer has 0.7 besides.
    ("GLM-5.1", 744.0, "41"),
];

#[test]
fn parameters_are_what_publishers_state() {
    for (name, text) in files() {
        let model = name.split("--").last().unwrap();
        let Some((_, total, active)) = STATED.iter().find(|(known, _, _)| *known == model) else { continue };
        let (all, read) = parameters(&text);
        let error = all / 1e9 / total - 1.0;
        assert!(error.abs() < 0.02, "{name}: {all}");
        let value: serde_json::Value = serde_json::from_str(&text.replace("Infinity", "null")).unwrap();
        let sizes = if value["text_config"].is_object() { &value["text_config"] } else { &value };
        let embedding = sizes["hidden_size"].as_f64().unwrap() * sizes["vocab_size"].as_f64().unwrap();
        if !active.is_empty() {
            let stated: serde_json::Number = active.parse().unwrap();
            let counts = [read / 1e9, (read + embedding) / 1e9];
            assert!(counts.iter().any(|count| is_stated(*count, &stated)), "{name}: {counts:?}");
        }
        println!("| {model} | {total} | {:.2} | {:+.2} % | {active} | {:.2} |", all / 1e9, 100.0 * error, read / 1e9);
    }
}
