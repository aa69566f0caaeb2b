//! Hugging Face configurations become models.

mod hostile;
mod published;
mod quantized;
mod refused;
mod sizes;
mod small;

use tiersim::config::ConfigError;
use tiersim::workload::huggingface::{ImportOptions, Imported, import};
use tiersim::workload::{ArchitectureConfig, Format, LanguageModel};

fn read(text: &str, options: ImportOptions) -> Result<Imported, ConfigError> {
    import(text, "config.json", &options)
}

/// The import of `text` under a name, with nothing set by hand.
fn plain(text: &str) -> Imported {
    read(text, ImportOptions { name: "it".to_owned(), ..ImportOptions::default() })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn architecture(imported: &Imported) -> &ArchitectureConfig {
    imported.model.architecture.as_ref().unwrap()
}

/// How many parameters a model has, and how many of them a step of one sequence reads: without the
/// embedding, of which it reads a row.
fn parameters(text: &str) -> (f64, f64) {
    let options = ImportOptions { name: "it".to_owned(), weights: Some(Format::Bf16), ..ImportOptions::default() };
    let imported = read(text, options).unwrap_or_else(|error| panic!("{error}"));
    let model = LanguageModel::new(&imported.model).unwrap();
    let read: u64 = model.weights().map(|weights| weights.read.get()).sum();
    (model.parameters().unwrap() as f64, read as f64 / 2.0)
}

/// Whether `ours` is what is stated: within 2 %, or within the last digit of the figure.
fn is_stated(ours: f64, stated: &serde_json::Number) -> bool {
    let digits = stated.to_string();
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let stated = stated.as_f64().unwrap();
    (ours - stated).abs() <= f64::max(0.02 * stated, 0.5 * 0.1_f64.powi(decimals as i32))
}
