//! `tiersim check`: checks whether files are valid, and shows errors with their place.
//!
//! The kind of a file is recognized by its beginning ([`FileKind`]); recorded traces are recognized
//! by their endings, and are read to their end. All files are checked, even if an earlier one is
//! refused.

use super::error::{BAD_INPUT, CliError};
use super::print;
use super::trace::describe;
use crate::catalog::{self, FileKind};
use crate::config::{self, Reference};
use crate::memory::{MemoryConfig, MemorySystem};
use crate::runs::Cancel;
use crate::simulation::{Scenario, ScenarioConfig};
use crate::sweep::{Plan, SweepConfig};
use crate::units::SimTime;
use crate::workload::{
    LanguageModel, ModelConfig, RecordingFormat, Request, Requests, RequestsConfig, Runtime, RuntimeConfig,
    SourceConfig,
};
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim check`.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// Language models, memory systems, runtimes, scenarios and sweeps (RON), recorded traces
    /// (.parquet, .kvs, .jsonl), and logs of requests (.csv, .jsonl)
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
    if is_log(path) {
        return log(path);
    }
    if RecordingFormat::of_path(path).is_some() {
        return describe(path, cancel);
    }
    let text = config::read(path)?;
    if text.trim_start().starts_with('{') {
        return scenario(path, &name);
    }
    match FileKind::of(&text) {
        Some(FileKind::Model) => {
            let model: ModelConfig = config::parse(&text, &name)?;
            let checked = LanguageModel::new(&model).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
            Ok(format!(
                "the language model '{}': {} layers, {} of weights stored, {} of KV a token",
                checked.name(),
                checked.layers(),
                checked.stored_weights().rounded(),
                checked.token_bytes().rounded()
            ))
        }
        Some(FileKind::Memory) => {
            let memory = catalog::memory_of(&text, &name)?;
            let checked = MemorySystem::new(&memory).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
            let tiers: Vec<String> = checked
                .tiers()
                .iter()
                .map(|tier| {
                    format!("{} of {} read at {}", tier.name, tier.capacity.rounded(), tier.read_bandwidth.rounded())
                })
                .collect();
            Ok(format!("the memory system '{}': {}{}", checked.name(), tiers.join(", "), notes(&checked, &memory)))
        }
        Some(FileKind::Scenario) => scenario(path, &name),
        Some(FileKind::Runtime) => {
            let runtime: RuntimeConfig = config::parse(&text, &name)?;
            let wrong = |error| CliError::Usage(format!("{name}: {error}"));
            runtime.check().map_err(wrong)?;
            // Names of tiers can be checked where its memory system is known.
            if let Some(memory) = runtime.machine.as_deref().and_then(|machine| catalog::memory(machine).ok()) {
                let memory = MemorySystem::new(&memory).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
                Runtime::new(&runtime, &memory).map_err(wrong)?;
            }
            Ok(format!("the runtime '{}': {}", runtime.name, runtime.described()))
        }
        Some(FileKind::Generator) => {
            let generator = catalog::generator(&in_folder(path))?;
            // A few steps are enough to check that its values are within their limits.
            let source = generator.as_ref().map(|it| it.synthetic(1, 1024, 1)).transpose();
            let source = source.map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
            source.map_or_else(|| Err(unknown(&name)), |_| Ok("a generator of skip sets".to_owned()))
        }
        Some(FileKind::Sweep) => {
            let plan = Plan::new(SweepConfig::load(&in_folder(path))?).map_err(CliError::of_sweep(&name))?;
            let axes: Vec<String> =
                plan.axes().iter().map(|axis| format!("{} ({})", axis.name, axis.levels.len())).collect();
            Ok(format!("the sweep '{}': {} combinations of {}", plan.config().name, plan.cells(), axes.join(", ")))
        }
        None => Err(unknown(&name)),
    }
}

/// Whether a file is a log of requests: a table, or JSON Lines of which the first is no trace's.
fn is_log(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    if ending != "jsonl" {
        return ending == "csv";
    }
    let mut start = Vec::new();
    let read = config::open_regular(path).and_then(|(file, _)| file.take(MOST_OF_START).read_to_end(&mut start));
    read.is_ok() && String::from_utf8_lossy(&start).lines().next().is_some_and(|line| line.contains("\"input_length\""))
}

/// So much of a file is read to find out what it is.
const MOST_OF_START: u64 = 4096;

/// A log of requests.
fn log(path: &Path) -> Result<String, CliError> {
    let source = SourceConfig::Log { file: path.to_owned(), format: None };
    let requests = Requests::new(&RequestsConfig::of(source)).map_err(|error| CliError::Usage(error.to_string()))?;
    let tokens = |of: fn(&Request) -> u32| requests.all.iter().map(|request| u64::from(of(request))).sum::<u64>();
    let last = requests.all.iter().last().map_or(SimTime::ZERO, |request| request.arrival);
    let shared = match requests.distinct_blocks {
        0 => String::new(),
        blocks => format!(", {blocks} different prefix blocks of {} tokens", requests.block_tokens),
    };
    Ok(format!(
        "a log of {} requests in {}: {} tokens of prompts and {} of outputs{shared}",
        requests.all.len(),
        last.rounded(),
        tokens(|request| request.prompt),
        tokens(|request| request.output)
    ))
}

/// The assumptions and limits of the memory system, a line each.
fn notes(system: &MemorySystem, config: &MemoryConfig) -> String {
    system.notes(config).iter().map(|note| format!("\n  {note}")).collect()
}

fn unknown(name: &str) -> CliError {
    CliError::Usage(format!(
        "{name}: the kind of this file is unknown: start it with LanguageModel(, MemorySystem(, Runtime(, Scenario(, Sweep(, Generated( or Lifelike("
    ))
}

/// A scenario's file, or the summary of a run that holds one.
fn scenario(path: &Path, name: &str) -> Result<String, CliError> {
    let scenario = Scenario::new(ScenarioConfig::load(&in_folder(path))?).map_err(CliError::of_scenario(name))?;
    let notes = match &scenario.resolved().memory {
        Reference::Inline(memory) => notes(scenario.memory(), memory),
        Reference::Name(_) => String::new(),
    };
    let runtime = scenario.resolved().runtime.inline().filter(|runtime| !runtime.is_ideal());
    let of_runtime = runtime.map_or_else(Vec::new, |runtime| runtime.notes(scenario.memory().name()));
    let notes = of_runtime.iter().map(|line| format!("\n  {line}")).collect::<String>() + &notes;
    let work = match scenario.requests() {
        None => format!("{} + {} tokens", scenario.prefill(), scenario.decode()),
        Some(requests) => {
            let prompts: u64 = requests.all.iter().map(|request| u64::from(request.prompt)).sum();
            format!("{} requests of {prompts} + {} tokens", requests.all.len(), scenario.progress_units())
        }
    };
    Ok(format!(
        "the scenario '{}': {} on {}, {work}, {}{notes}",
        scenario.resolved().name,
        scenario.model().name(),
        scenario.memory().name(),
        scenario.strategy_name()
    ))
}

/// The path, so written that it is not taken for a shipped name.
fn in_folder(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some() { path.display().to_string() } else { format!("./{}", path.display()) }
}
