//! `tiersim list`: everything that has a name, or one named thing in detail.
//!
//! Names are those of the [`catalog`] and of the parts of strategies. With `--ron` the file behind
//! a name is printed as it is, to start one's own from.

use super::error::CliError;
use super::{arguments, print, show};
use crate::catalog::{self, FileKind};
use crate::memory::{Efficiency, MemorySystem, Pattern};
use crate::report::{Column, Table};
use crate::simulation::ScenarioConfig;
use crate::strategy::{InitializationKind, Knowledge, MigrationKind, NAMED, PlacementKind, PrefetchKind};
use crate::sweep::SweepConfig;
use crate::units::{Bandwidth, Bytes};
use clap::Args;
use std::io::IsTerminal;
use std::process::ExitCode;

/// `tiersim list`.
#[derive(Args)]
pub(super) struct ListArgs {
    /// Show the tiers of this memory system, by name or path: peak and effective bandwidths,
    /// latencies, best shares
    #[arg(long, value_name = "MEMORY", group = "kind", value_parser = arguments::memory(), hide_possible_values = true)]
    memory: Option<String>,
    /// Show the share of its peak that this DRAM part achieves, by granule and read share
    #[arg(long, value_name = "PART", group = "kind", value_parser = arguments::dram(), hide_possible_values = true)]
    dram: Option<String>,
    /// Show what this runtime costs, by name, with a machine (llama.cpp/any) or path
    #[arg(long, value_name = "RUNTIME", group = "kind", value_parser = arguments::runtime(), hide_possible_values = true)]
    runtime: Option<String>,
    /// Show this language model: layers, weights, KV
    #[arg(long, value_name = "MODEL", group = "kind", value_parser = arguments::model(), hide_possible_values = true)]
    model: Option<String>,
    /// Show the bandwidth of this link
    #[arg(long, value_name = "LINK", group = "kind", value_parser = arguments::link(), hide_possible_values = true)]
    link: Option<String>,
    /// Show the parts of this strategy
    #[arg(long, value_name = "STRATEGY", group = "kind", value_parser = arguments::strategy(), hide_possible_values = true)]
    strategy: Option<String>,
    /// Show the file of this scenario
    #[arg(long, value_name = "SCENARIO", group = "kind", value_parser = arguments::scenario(), hide_possible_values = true)]
    scenario: Option<String>,
    /// Show the file of this sweep
    #[arg(long, value_name = "SWEEP", group = "kind", value_parser = arguments::sweep(), hide_possible_values = true)]
    sweep: Option<String>,
    /// Show the file of this generator of skip sets
    #[arg(long, value_name = "GENERATOR", group = "kind", value_parser = arguments::generator(), hide_possible_values = true)]
    generator: Option<String>,
    /// Print the RON that it is written in, to start one's own file from
    #[arg(long, requires = "kind")]
    ron: bool,
}

pub(super) fn run(args: &ListArgs) -> Result<ExitCode, CliError> {
    let ListArgs { memory, dram: part, runtime, model, link, strategy, scenario, sweep, generator, ron } = args;
    let files = [
        (FileKind::Memory, memory.as_ref().filter(|_| *ron)),
        (FileKind::Model, model.as_ref().filter(|_| *ron)),
        (FileKind::Runtime, runtime.as_ref().filter(|_| *ron)),
        (FileKind::Scenario, scenario.as_ref()),
        (FileKind::Sweep, sweep.as_ref()),
        (FileKind::Generator, generator.as_ref()),
    ];
    if let Some((kind, name)) = files.into_iter().find_map(|(kind, name)| Some((kind, name?))) {
        return show::file(kind, name);
    }
    if let Some(name) = runtime {
        return show::runtime(name);
    }
    match (memory, part, model, link, strategy) {
        (Some(name), ..) => memory_system(name),
        (_, Some(name), ..) if *ron => show::part(catalog::DRAM, name),
        (_, Some(name), ..) => dram(name),
        (_, _, Some(name), ..) => show::model(name),
        (_, _, _, Some(name), _) if *ron => show::part(catalog::LINKS, name),
        (_, _, _, Some(name), _) => show::link(name),
        (.., Some(name)) => show::strategy(name, *ron),
        _ => all(),
    }
}

/// A line for everything that has a name.
fn all() -> Result<ExitCode, CliError> {
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
    let mut runtimes = Vec::new();
    for file in catalog::RUNTIMES {
        runtimes.push((file.name.to_owned(), catalog::runtime(file.name, "")?.about));
    }
    sections.push(("Runtimes (--runtime)", runtimes));
    let links = catalog::LINKS.iter().map(|(name, _, _)| Ok((name.to_string(), catalog::about_link(name)?)));
    sections.push(("Links (link: \"NAME\" in a tier)", links.collect::<Result<_, CliError>>()?));
    let parts = catalog::DRAM.iter().map(|(name, _, _)| Ok((name.to_string(), catalog::about_dram(name)?)));
    sections.push(("DRAM parts (efficiency: \"NAME\" in a tier; --dram)", parts.collect::<Result<_, CliError>>()?));
    let mut scenarios = Vec::new();
    for file in catalog::SCENARIOS {
        scenarios.push((file.name.to_owned(), ScenarioConfig::load(file.name)?.about));
    }
    sections.push(("Scenarios (tiersim run SCENARIO)", scenarios));
    let mut sweeps = Vec::new();
    for file in catalog::SWEEPS {
        sweeps.push((file.name.to_owned(), SweepConfig::load(file.name)?.about));
    }
    sections.push(("Sweeps (tiersim sweep SWEEP)", sweeps));
    let pairs = |name: &str, about: &str| (name.to_owned(), about.to_owned());
    sections.push(("Traces (--trace)", catalog::TRACES.iter().map(|(name, about, _)| pairs(name, about)).collect()));
    let logs = catalog::REQUEST_LOGS.iter().map(|(name, about, _)| pairs(name, about));
    sections.push(("Logs of requests (tiersim requests LOG)", logs.collect()));
    let generators = catalog::GENERATORS.iter().map(|file| pairs(file.name, first_comment(file.text)));
    sections.push(("Generators of skip sets (--trace, tiersim trace generate)", generators.collect()));
    sections.push((
        "Strategies (--strategy)",
        NAMED.iter().map(|(name, about, strategy)| (name.to_string(), strategy.knowledge().label(about))).collect(),
    ));
    sections.extend(strategy_parts());

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

/// The parts of strategies by kind, each with its parameters as they are written and their
/// defaults.
fn strategy_parts() -> [(&'static str, Vec<(String, String)>); 4] {
    let part = |name: &str, parameters: Vec<(String, String)>, knows: Knowledge, about: &str| {
        let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let shown = if parameters.is_empty() { name.to_owned() } else { format!("{name}({})", parameters.join(", ")) };
        (shown, knows.label(about))
    };
    let initializations = InitializationKind::ALL
        .iter()
        .map(|kind| part(kind.name(), kind.parameters(), Knowledge::Realizable, kind.about()));
    let placements = PlacementKind::ALL
        .iter()
        .map(|kind| part(kind.name(), kind.parameters(), Knowledge::of(kind.build().look_ahead()), kind.about()));
    let migrations = MigrationKind::ALL
        .iter()
        .map(|kind| part(kind.name(), kind.parameters(), Knowledge::of(kind.build().look_ahead()), kind.about()));
    let prefetches = PrefetchKind::ALL
        .iter()
        .map(|kind| part(kind.name(), kind.parameters(), Knowledge::Predictor(kind.hit_rate()), kind.about()));
    [
        ("Initializations (--initialization)", initializations.collect()),
        ("Placements (--placement)", placements.collect()),
        ("Migrations (--migration)", migrations.collect()),
        ("Prefetches (--prefetch)", prefetches.collect()),
    ]
}

/// The tiers of a memory system: their figures on data sheets, and the bandwidths achieved.
fn memory_system(name: &str) -> Result<ExitCode, CliError> {
    let config = catalog::memory(name)?;
    let system = MemorySystem::new(&config).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
    let columns = [
        "capacity",
        "channels",
        "peak",
        "link peak",
        "effective read",
        "effective write",
        "half and half",
        "latency",
        "best share",
    ];
    let mut table = Table::new([vec![Column::text("tier")], columns.map(Column::number).to_vec()].concat());
    let total = system.total_read_bandwidth() as f64;
    for (tier, given) in system.tiers().iter().zip(&config.tiers) {
        table.row(vec![
            tier.name.clone(),
            tier.capacity.to_string(),
            tier.channels.to_string(),
            given.bandwidth.to_string(),
            given.link().map_or_else(
                || "-".to_owned(),
                |link| {
                    if link.read == link.write {
                        link.read.to_string()
                    } else {
                        format!("{}, {}", link.read, link.write)
                    }
                },
            ),
            Bandwidth::shown(tier.read_bandwidth.as_f64()),
            Bandwidth::shown(tier.write_bandwidth.as_f64()),
            Bandwidth::shown(tier.mixed_bandwidth.as_f64()),
            tier.latency.to_string(),
            format!("{:.4}", tier.read_bandwidth.as_f64() / total),
        ]);
    }
    let mut text = format!("{}: {}\n\n{}\n", config.name, config.about, table.render(std::io::stdout().is_terminal()));
    text.push_str(
        "\nEffective: the bandwidth of long reads, of long writes, and of as many of each, behind the link where there is one.",
    );
    for note in system.notes(&config) {
        text.push_str(&format!("\n{note}"));
    }
    for tier in &config.tiers {
        if let Some(efficiency) = tier.efficiency() {
            text.push_str(&format!("\n{}: {}", tier.name, efficiency.source));
        }
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The share of its peak that a DRAM part achieves.
fn dram(name: &str) -> Result<ExitCode, CliError> {
    let efficiency =
        Efficiency::new(&catalog::efficiency(name)?).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
    let part = efficiency.dram().ok_or_else(|| CliError::Usage(format!("--dram {name}: it has no timing")))?;
    let shares = [1.0, 0.9, 0.75, 0.67, 0.5, 0.25, 0.1, 0.0];
    let heading = |what: &str| {
        let columns = shares.map(|share| Column::number(&format!("{:.0} % reads", 100.0 * share)));
        Table::new([vec![Column::text(what)], columns.to_vec()].concat())
    };
    let mut text = format!(
        "{name}: {}\nRefreshes take {:.1} % of the time; opening rows limits nothing from {} a row on; a change of direction costs {}.\n",
        catalog::about_dram(name)?,
        100.0 * part.refresh_share(),
        part.bytes_per_activation(),
        part.turnaround()
    );
    let patterns = [("granules anywhere", Pattern::Random), ("two streams in bursts of", Pattern::Streams)];
    for (what, pattern) in patterns {
        let mut table = heading(what);
        for granule in [64, 128, 256, 512, 1024, 2048, 4096, 16_384, 65_536, 1 << 20].map(Bytes::new) {
            let cells = shares.map(|share| format!("{:.3}", part.achieved(pattern, granule, share)));
            table.row([vec![granule.to_string()], cells.to_vec()].concat());
        }
        text.push_str(&format!("\n{}\n", table.render(std::io::stdout().is_terminal())));
        if pattern == Pattern::Streams {
            text.push_str("64 B: one stream, each 64 B of which are read or written at random.\n");
        }
    }
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The first line of a RON file, which describes it.
fn first_comment(text: &'static str) -> &'static str {
    text.lines().next().unwrap_or("").trim_start_matches('/').trim()
}
