//! `tiersim list --KIND NAME`: one thing that has a name, or the RON that it is written in, to
//! start one's own from.

use super::error::CliError;
use super::print;
use crate::catalog::{self, FileKind};
use crate::strategy::{NAMED, Strategy};
use crate::workload::LanguageModel;
use std::process::ExitCode;

/// The file of that kind and name or path, as it is.
pub(super) fn file(kind: FileKind, name: &str) -> Result<ExitCode, CliError> {
    let what = match kind {
        FileKind::Model => "model",
        FileKind::Memory => "memory system",
        FileKind::Runtime => "runtime",
        FileKind::Scenario => "scenario",
        FileKind::Sweep => "sweep",
        FileKind::Generator => "generator",
    };
    let name = if kind == FileKind::Runtime { catalog::runtime_file(name, "") } else { name };
    let (text, origin) = catalog::text(what, kind.shipped(), name)?;
    catalog::check_kind(&text, &origin, kind)?;
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The file of a link or a DRAM part.
pub(super) fn part(parts: &[(&str, &str, &'static str)], name: &str) -> Result<ExitCode, CliError> {
    let text = parts.iter().find(|(known, _, _)| *known == name).map(|(_, _, text)| *text);
    let text = text.ok_or_else(|| {
        let known: Vec<&str> = parts.iter().map(|(known, _, _)| *known).collect();
        let meant = crate::config::did_you_mean(name, known.iter().copied());
        CliError::Usage(format!("there is no part named '{name}': use one of {}.{meant}", known.join(", ")))
    })?;
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn model(name: &str) -> Result<ExitCode, CliError> {
    let config = catalog::model(name)?;
    let model = LanguageModel::new(&config).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
    print(&format!(
        "{}: {}\n\n{} layers, {} of weights stored, {} of KV a token.\nIts file, to start from: tiersim list --model {name} --ron",
        model.name(),
        config.about,
        model.layers(),
        model.stored_weights().rounded(),
        model.token_bytes().rounded()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What a runtime costs, and where its figures are from.
pub(super) fn runtime(name: &str) -> Result<ExitCode, CliError> {
    let runtime = catalog::runtime(name, "")?;
    let machine = match &runtime.machine {
        Some(machine) => format!("Measured on {machine}."),
        None if runtime.is_ideal() => String::new(),
        None => "Typical values: not fitted on one machine.".to_owned(),
    };
    let mut text = format!("{}: {}\n\n{}. {machine}", runtime.name, runtime.about, capital(&runtime.described()));
    if !runtime.source.is_empty() {
        text += &format!("\nSource: {}", runtime.source);
    }
    print(&format!("{}\nIts file, to start from: tiersim list --runtime {name} --ron", text.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn link(name: &str) -> Result<ExitCode, CliError> {
    print(&format!("{name}: {}", catalog::about_link(name)?))?;
    Ok(ExitCode::SUCCESS)
}

/// A strategy's parts with all their parameters; as RON, a value of a scenario's `strategy`.
pub(super) fn strategy(name: &str, ron: bool) -> Result<ExitCode, CliError> {
    let strategy: Strategy = name.parse().map_err(|error| CliError::Usage(format!("--strategy: {error}")))?;
    let whole = |name: &str, parameters: Vec<(String, String)>| {
        let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        if parameters.is_empty() { name.to_owned() } else { format!("{name}({})", parameters.join(", ")) }
    };
    let Strategy { initialization, placement, migration, .. } = strategy;
    let parts = [
        ("initialization", whole(initialization.name(), initialization.parameters())),
        ("placement", whole(placement.name(), placement.parameters())),
        ("migration", whole(migration.name(), migration.parameters())),
        ("late", strategy.late.to_string()),
    ];
    if ron {
        let quoted = |(part, value): &(&str, String)| {
            if *part == "late" { format!("    {part}: {value},") } else { format!("    {part}: {value:?},") }
        };
        let fields: Vec<String> = parts.iter().map(quoted).collect();
        print(&format!("strategy: (\n{}\n),", fields.join("\n")))?;
    } else {
        let about = NAMED.iter().find(|(known, _, _)| *known == name).map_or("", |(_, about, _)| about);
        let fields: Vec<String> = parts.iter().map(|(part, value)| format!("  {part:<14}  {value}")).collect();
        print(&format!("{name}: {about}\n\n{}", fields.join("\n")))?;
    }
    Ok(ExitCode::SUCCESS)
}
