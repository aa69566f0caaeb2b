use super::error::{BAD_INPUT, CliError};
use super::print;
use super::trace::describe;
use crate::config::{self, Reference};
use crate::memory::{MemoryConfig, MemorySystem};
use crate::simulation::{Scenario, ScenarioConfig};
use crate::study::Cancel;
use crate::sweep::{Plan, SweepConfig};
use crate::workload::{LanguageModel, ModelConfig, RecordingFormat};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim check`.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// Language models, memory systems, scenarios and sweeps (RON), and recorded traces (.parquet, .kvs, .jsonl)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn check(args: &CheckArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        match check_one(file, cancel) {
            Ok(what) => print(&format!("{}: valid: {what}", file.display()))?,
            Err(error) => {
                error.report();
                code = ExitCode::from(BAD_INPUT);
            }
        }
    }
    Ok(code)
}

fn check_one(path: &Path, cancel: &Cancel) -> Result<String, CliError> {
    let name = path.display().to_string();
    if RecordingFormat::of_path(path).is_some() {
        return describe(path, cancel);
    }
    let text = config::read(path)?;
    match kind(&text) {
        Some("LanguageModel") => {
            let model: ModelConfig = config::parse(&text, &name)?;
            let checked = LanguageModel::new(&model).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
            Ok(format!(
                "the language model '{}': {} layers, {} of weights stored, {} of KV a token",
                checked.name(),
                checked.layers().len(),
                checked.stored_weights(),
                checked.token_bytes()
            ))
        }
        Some("MemorySystem") => {
            let memory: MemoryConfig = config::parse(&text, &name)?;
            let checked = MemorySystem::new(&memory).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
            let tiers: Vec<String> = checked
                .tiers()
                .iter()
                .map(|tier| format!("{} of {} read at {}", tier.name, tier.capacity, tier.read_bandwidth))
                .collect();
            Ok(format!("the memory system '{}': {}{}", checked.name(), tiers.join(", "), notes(&checked, &memory)))
        }
        Some("Scenario") => {
            let scenario =
                Scenario::new(ScenarioConfig::load(&in_folder(path))?).map_err(CliError::of_scenario(&name))?;
            let notes = match &scenario.resolved().memory {
                Reference::Inline(memory) => notes(scenario.memory(), memory),
                Reference::Name(_) => String::new(),
            };
            Ok(format!(
                "the scenario '{}': {} on {}, {} + {} tokens, {}{notes}",
                scenario.resolved().name,
                scenario.model().name(),
                scenario.memory().name(),
                scenario.prefill(),
                scenario.decode(),
                scenario.strategy()
            ))
        }
        Some("Sweep") => {
            let plan = Plan::new(SweepConfig::load(&in_folder(path))?)?;
            let axes: Vec<String> =
                plan.axes().iter().map(|axis| format!("{} ({})", axis.name, axis.levels.len())).collect();
            Ok(format!("the sweep '{}': {} combinations of {}", plan.config().name, plan.cells(), axes.join(", ")))
        }
        _ => Err(CliError::Usage(format!(
            "{name}: cannot tell what it is: start it with LanguageModel(, MemorySystem(, Scenario( or Sweep("
        ))),
    }
}

/// What the memory system assumes and limits, a line each.
fn notes(system: &MemorySystem, config: &MemoryConfig) -> String {
    system.notes(config).iter().map(|note| format!("\n  {note}")).collect()
}

/// The path, so written that it is not taken for a shipped name.
fn in_folder(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some() { path.display().to_string() } else { format!("./{}", path.display()) }
}

/// What a file is: the name that it starts with or, failing that, the one whose fields it has.
fn kind(text: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 4] =
        [("Sweep", "axes"), ("LanguageModel", "kv_bytes"), ("Scenario", "decode_tokens"), ("MemorySystem", "tiers")];
    let code = || text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
    let first = code().find(|line| !line.is_empty() && !line.starts_with("#!"))?;
    KINDS
        .iter()
        .find(|(kind, _)| first.starts_with(kind))
        .or_else(|| {
            let named = first.starts_with(|c: char| c.is_alphabetic());
            KINDS.iter().find(|(_, field)| !named && code().any(|line| line.contains(&format!("{field}:"))))
        })
        .map(|(kind, _)| *kind)
}
