//! `tiersim trace info`: the statistics of a recorded trace or a generator.
//!
//! Of routing, see `routing.rs`. Of skip sets: its header, and the statistics by which two traces
//! are compared: the share that is skipped, how it changes from a step to a later one and from a
//! layer to the next, and how long runs of read tokens are.

use super::Watched;
use crate::catalog;
use crate::catalog::{open_recording, open_trace, open_trace_by_head};
use crate::cli::error::CliError;
use crate::cli::print;
use crate::config::printable;
use crate::report::trace_pictures::{self, Compared};
use crate::report::{self, Column, Table};
use crate::runs::Cancel;
use crate::workload::{
    CACHE_ROOMS, CacheMisses, LAGS, LayerMisses, PAGE_TOKENS, Policy, Recorded, Recording, StepStatistics, TraceHeader,
    TraceKind, TraceStatistics,
};
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim trace info`.
#[derive(Args)]
pub(in crate::cli) struct InfoArgs {
    /// A trace, and other traces or generators (RON) to compare with it, by name or path; a
    /// generator generates sets of the first trace's size
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// The folder for the pictures [default: out/traces/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The first trace's size, which generators take over.
#[derive(Clone, Copy)]
struct Size {
    layers: usize,
    prefill: usize,
    steps: usize,
}

impl InfoArgs {
    fn first(&self) -> PathBuf {
        self.traces.first().map_or_else(PathBuf::new, Clone::clone)
    }

    /// The traces, if the first one is of routing.
    pub(super) fn routing(&self) -> Result<Option<&[PathBuf]>, CliError> {
        let first = self.first();
        let is_routing = catalog::generator(&first.to_string_lossy())?.is_none()
            && matches!(open_recording(&first, None)?.header().kind, TraceKind::Experts(_));
        Ok(is_routing.then_some(&self.traces[..]))
    }
}

pub(super) fn info(args: &InfoArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let first = args.first();
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("out/traces").join(stem(&first)));
    let _claim = report::claim(&folder, &[] as &[&str])?;
    let mut size: Option<Size> = None;
    let mut compared: Vec<(String, TraceStatistics)> = Vec::new();
    let mut caches: Vec<(String, CacheMisses)> = Vec::new();
    // Printed when all traces have been read, so that nothing is printed of a damaged one.
    let mut described: Vec<String> = Vec::new();
    for path in &args.traces {
        let name = label(path, &compared);
        let generator = catalog::generator(&path.to_string_lossy())?;
        let statistics = match (generator, size) {
            (Some(generator), Some(Size { layers, prefill, steps })) => {
                let open = || generator.synthetic(layers, prefill, steps)?.ok_or_else(|| not_first(path));
                let misses = CacheMisses::measure(&mut Watched { source: open()?, cancel }, layers, prefill, steps)?;
                caches.extend(misses.map(|misses| (name.clone(), misses)));
                TraceStatistics::measure(&mut Watched { source: open()?, cancel }, layers, prefill, steps)?
            }
            (Some(_), None) => return Err(not_first(path)),
            (None, _) => {
                let recording = open_trace_by_head(path)?;
                described.push(describe(path, &recording, recording.header())?);
                let recording = recording.by_layer();
                let header = recording.header().clone();
                let of = Size { layers: header.layers, prefill: header.prefill, steps: header.steps };
                size = size.or(Some(of));
                let mut source = Watched { source: open_trace(path)?, cancel };
                let misses = CacheMisses::measure(&mut source, of.layers, of.prefill, of.steps)?;
                caches.extend(misses.map(|misses| (name.clone(), misses)));
                let mut source = Watched { source: recording, cancel };
                TraceStatistics::measure(&mut source, of.layers, of.prefill, of.steps)?
            }
        };
        compared.push((name, statistics));
    }
    described.iter().try_for_each(|text| print(text))?;
    print(&table(&compared).render(std::io::stdout().is_terminal()))?;
    if !caches.is_empty() {
        print(&cache_table(&caches).render(std::io::stdout().is_terminal()))?;
    }
    let drawn: Vec<Compared<'_>> = compared.iter().map(|(label, statistics)| Compared { label, statistics }).collect();
    report::write(&folder, &trace_pictures::draw(&drawn)?)?;
    note!("pictures are in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn not_first(path: &Path) -> CliError {
    CliError::Usage(format!(
        "{}: a generator has no size of its own: name the trace to compare it with first",
        path.display()
    ))
}

/// What a trace is called in tables: its name, or its path where another has that name.
pub(super) fn label<T>(path: &Path, others: &[(String, T)]) -> String {
    let name = stem(path);
    if others.iter().any(|(other, _)| *other == name) { path.display().to_string() } else { name }
}

/// How often a cache of KV in each layer misses: the mean over layers, the least and the most.
fn cache_table(caches: &[(String, CacheMisses)]) -> Table {
    let warm = caches.first().map_or(0, |(_, misses)| misses.warm);
    let mut columns = vec![Column::text(&format!("share of reads (after {warm} steps; least and most of a layer)"))];
    columns.extend(caches.iter().map(|(name, _)| Column::number(name)));
    let mut table = Table::new(columns);
    let mut row = |name: String, figure: &dyn Fn(&LayerMisses) -> f64| {
        let cell = |misses: &CacheMisses| {
            let of_layers = || misses.layers.iter().map(figure);
            let (least, most) = (of_layers().fold(f64::INFINITY, f64::min), of_layers().fold(0.0, f64::max));
            format!("{:.1} % ({:.1} to {:.1})", 100.0 * misses.mean(figure), 100.0 * least, 100.0 * most)
        };
        table.row(std::iter::once(name).chain(caches.iter().map(|(_, misses)| cell(misses))));
    };
    row("not read in the step before".to_owned(), &|layer| layer.new);
    for (policy, (name, _)) in Policy::ALL.iter().enumerate() {
        for (room, times) in CACHE_ROOMS.iter().enumerate() {
            row(format!("missed by {name}, room for {times} x the reads of a step"), &|layer| {
                layer.misses[policy][room]
            });
        }
    }
    table
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "trace".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Provenance and sizes, a line each.
pub(super) fn describe(path: &Path, recording: &Recording, header: &TraceHeader) -> Result<String, CliError> {
    let mut lines = vec![format!("{}: {}", path.display(), recording.format())];
    for (name, value) in header.provenance.fields() {
        lines.push(format!("  {:<9} {}", name.replace('_', " "), printable(value.unwrap_or("not said"))));
    }
    let size = std::fs::metadata(path).map_or_else(|_| "shipped".to_owned(), |meta| format!("{} B", meta.len()));
    lines.push(format!("  size      {}: {} sets; {size}", header.sizes(), header.rows()));
    Ok(lines.join("\n") + "\n")
}

type Pick = fn(&StepStatistics) -> Option<f64>;

/// A statistic a row, a trace a column; with two, how far the second is from the first.
fn table(compared: &[(String, TraceStatistics)]) -> Table {
    let mut columns = vec![Column::text("mean over steps and layers")];
    columns.extend(compared.iter().map(|(name, _)| Column::number(name)));
    let pair = compared.len() == 2;
    if pair {
        columns.push(Column::number("difference"));
    }
    let mut table = Table::new(columns);
    let mut row = |name: String, values: Vec<Option<f64>>| {
        let mut cells = vec![name];
        cells.extend(values.iter().map(|value| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))));
        if let (true, [Some(first), Some(second)]) = (pair, values.as_slice()) {
            cells.push(if *first == 0.0 {
                "-".to_owned()
            } else {
                format!("{:+.1} %", 100.0 * (second / first - 1.0))
            });
        } else if pair {
            cells.push("-".to_owned());
        }
        table.row(cells);
    };
    let rows: [(String, Pick); 10] = [
        ("skipped, of the context".to_owned(), |step| Some(step.skip)),
        ("churn: skipped that are read in the next step".to_owned(), |step| step.churn),
        ("tokens that change state each step".to_owned(), |step| step.changed),
        (format!("Jaccard with the step {} before", LAGS[0]), |step| step.jaccard[0]),
        (format!("Jaccard with the step {} before", LAGS[1]), |step| step.jaccard[1]),
        (format!("Jaccard with the step {} before", LAGS[2]), |step| step.jaccard[2]),
        ("Jaccard of adjacent layers".to_owned(), |step| step.layer_jaccard),
        ("run of read tokens".to_owned(), |step| step.read_run),
        ("run of skipped tokens".to_owned(), |step| step.skipped_run),
        (format!("aligned pages of {PAGE_TOKENS} wholly skipped"), |step| step.skipped_pages),
    ];
    for (name, pick) in rows {
        row(name, compared.iter().map(|(_, statistics)| pick(&statistics.mean)).collect());
    }
    row(
        "token 0 skipped".to_owned(),
        compared.iter().map(|(_, statistics)| statistics.skipped_first.first().copied()).collect(),
    );
    let oldest = compared.iter().map(|(_, statistics)| statistics.skipped_by_age.len()).max().unwrap_or(0);
    for class in 0..oldest {
        let (from, to) = ((1u64 << class) - 1, (2u64 << class) - 2);
        let name =
            if from == to { format!("skipped at age {from}") } else { format!("skipped at ages {from} to {to}") };
        row(name, compared.iter().map(|(_, statistics)| statistics.skipped_by_age.get(class).copied()).collect());
    }
    table
}
