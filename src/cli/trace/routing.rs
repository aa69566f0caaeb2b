//! Routing in `tiersim trace`: its statistics, side by side, and synthetic routing as a file.

use super::generate::GenerateArgs;
use super::{Output, Watched, info, synthetic};
use crate::catalog::open_recording;
use crate::cli::error::CliError;
use crate::cli::print;
use crate::report::{Column, Table};
use crate::runs::Cancel;
use crate::workload::{
    EXPERT_ROOMS, ExpertPolicy, ExpertSteps, ExpertsFields, HeaderFields, Popularity, Recorded, Routing,
    RoutingGenerator, RoutingGeneratorConfig, RoutingStatistics, TraceHeader,
};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints what the routing of each trace is like.
pub(super) fn info(traces: &[PathBuf], cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut compared: Vec<(String, RoutingStatistics)> = Vec::new();
    let mut described: Vec<String> = Vec::new();
    for path in traces {
        let recording = open_recording(path, None)?;
        described.push(info::describe(path, &recording, recording.header())?);
        let name = recording.name().to_owned();
        let steps = ExpertSteps::read(&name, &mut Watched { source: recording, cancel })?;
        let statistics = RoutingStatistics::measure(&steps)
            .ok_or_else(|| CliError::Usage(format!("{}: no layer has experts", path.display())))?;
        compared.push((info::label(path, &compared), statistics));
    }
    described.iter().try_for_each(|text| print(text))?;
    print(&table(&compared).render(std::io::stdout().is_terminal()))?;
    Ok(ExitCode::SUCCESS)
}

fn table(compared: &[(String, RoutingStatistics)]) -> Table {
    let mut columns = vec![Column::text("mean over steps and layers")];
    columns.extend(compared.iter().map(|(name, _)| Column::number(name)));
    let mut table = Table::new(columns);
    let mut row = |name: &str, cell: &dyn Fn(&RoutingStatistics) -> String| {
        let cells = compared.iter().map(|(_, statistics)| cell(statistics));
        table.row(std::iter::once(name.to_owned()).chain(cells));
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let maybe = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    row("different experts of a step", &|it| format!("{:.1}", it.union));
    row("popularity: exponent of Zipf", &|it| format!("{:.2}", it.exponent));
    row("shared by unrelated tokens", &|it| percent(it.chance));
    row("kept by a token from the step before", &|it| maybe(it.kept));
    row("... as the persistence of a generator", &|it| maybe(it.persistence()));
    row("of a step's, used in the step before", &|it| maybe(it.reused));
    row("predicted from the layer before", &|it| maybe(it.predicted.map(|predicted| predicted.0)));
    row("... from popularity alone", &|it| maybe(it.predicted.map(|predicted| predicted.1)));
    for (share, name) in [50, 90, 99].into_iter().enumerate() {
        row(&format!("experts that cover {name} % of uses"), &|it| percent(it.working_set[share]));
    }
    for (policy, (name, _)) in ExpertPolicy::ALL.iter().enumerate() {
        for (room, percent_of) in EXPERT_ROOMS.iter().enumerate() {
            let name = format!("hits of {name} with room for {percent_of} %");
            row(&name, &|it| percent(it.hits[policy][room]));
        }
    }
    table
}

/// The routing that the flags ask for, and its header.
pub(super) fn generate(args: &GenerateArgs, experts: u32, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let output = Output::new(&args.out, args.parquet)?;
    let active = args.active.unwrap_or(1);
    let config = RoutingGeneratorConfig {
        exponent: Some(args.exponent.unwrap_or(0.0)),
        persistence: args.persistence.unwrap_or_default(),
        correlation: args.correlation.unwrap_or_default(),
        seed: args.seed.unwrap_or(0),
    };
    let usage = |error: crate::workload::TraceError| CliError::Usage(error.to_string());
    config.check().map_err(usage)?;
    let tokens = args.tokens.unwrap_or(1);
    let provenance = synthetic(&config)?;
    let fields = HeaderFields {
        layers: args.layers.into(),
        prefill: 0,
        steps: args.decode.into(),
        skip_permille: None,
        kv_heads: 1,
        experts: Some(ExpertsFields { experts: experts.into(), active: active.into(), tokens: tokens.into() }),
    };
    let header = TraceHeader::checked(&args.out.display().to_string(), fields, provenance)?;
    if tokens as usize > RoutingGenerator::MAX_STREAMS {
        let most = RoutingGenerator::MAX_STREAMS;
        return Err(CliError::Usage(format!("--tokens {tokens}: a step may have at most {most}")));
    }
    // The header's checks hold for the routing as well.
    let routing = Routing::new(experts, active, Popularity::Uniform)
        .ok_or_else(|| CliError::Usage(format!("--experts {experts} --active {active}: no routing is like that")))?;
    let layers = vec![Some(routing); args.layers as usize];
    let source = RoutingGenerator::new(&config, &layers).by_token(tokens as usize);
    output.write(&header, &mut Watched { source, cancel })?;
    note!("{}: {}, as {}", args.out.display(), header.sizes(), output.format);
    Ok(ExitCode::SUCCESS)
}
