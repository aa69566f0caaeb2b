use super::error::CliError;
use super::print;
use crate::catalog;
use crate::simulation::ScenarioConfig;
use crate::strategy::{InitializationKind, MigrationKind, NAMED, PlacementKind};
use std::process::ExitCode;

/// `tiersim list`: a line for everything that has a name.
pub(super) fn list() -> Result<ExitCode, CliError> {
    let mut sections: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    let mut models = Vec::new();
    for file in catalog::MODELS {
        models.push((file.name.to_owned(), catalog::model(file.name)?.about));
    }
    sections.push(("Language models (--model)", models));
    let mut systems = Vec::new();
    for file in catalog::MEMORY_SYSTEMS {
        systems.push((file.name.to_owned(), catalog::memory(file.name)?.about));
    }
    sections.push(("Memory systems (--memory)", systems));
    let mut scenarios = Vec::new();
    for file in catalog::SCENARIOS {
        scenarios.push((file.name.to_owned(), ScenarioConfig::load(file.name)?.about));
    }
    sections.push(("Scenarios (tiersim run SCENARIO)", scenarios));
    let pairs = |name: &str, about: &str| (name.to_owned(), about.to_owned());
    sections.push(("Traces (--trace)", catalog::TRACES.iter().map(|(name, about, _)| pairs(name, about)).collect()));
    let generators = catalog::GENERATORS.iter().map(|file| pairs(file.name, first_comment(file.text)));
    sections.push(("Generators of skip sets (--trace, tiersim trace generate)", generators.collect()));
    sections.push(("Strategies (--strategy)", NAMED.iter().map(|(name, about, _)| pairs(name, about)).collect()));
    let parts = InitializationKind::ALL.iter().map(|kind| pairs(kind.name(), kind.about()));
    sections.push(("Initializations (--initialization)", parts.collect()));
    let parts = PlacementKind::ALL.iter().map(|kind| pairs(kind.name(), kind.about()));
    sections.push(("Placements (--placement)", parts.collect()));
    let parts = MigrationKind::ALL.iter().map(|kind| pairs(kind.name(), kind.about()));
    sections.push(("Migrations (--migration)", parts.collect()));

    let width = sections.iter().flat_map(|(_, entries)| entries).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = Vec::new();
    for (heading, entries) in sections {
        text.push(heading.to_owned());
        text.extend(entries.into_iter().map(|(name, about)| format!("  {name:width$}  {about}")));
        text.push(String::new());
    }
    print(text.join("\n").trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The first line of a RON file, which says what it is.
fn first_comment(text: &'static str) -> &'static str {
    text.lines().next().unwrap_or("").trim_start_matches('/').trim()
}
