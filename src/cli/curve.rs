//! `tiersim curve`: the latency of a memory system's tiers under load.
//!
//! Transfers of one size arrive at random at rising loads, once for each share of reads; the mean
//! latency against the load is a curve, as data sheets of memory controllers show it.

use super::error::CliError;
use super::{arguments, print};
use crate::catalog;
use crate::memory::{Arbitration, MemorySystem};
use crate::replay::{Curve, CurveSettings, curves};
use crate::report::{self, Column, Table};
use crate::units::{Bytes, Ratio, SimTime};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// `tiersim curve`.
#[derive(Args)]
pub(super) struct CurveArgs {
    /// The memory system, by name or path
    #[arg(long, value_name = "MEMORY", default_value = "gh200", value_parser = arguments::memory(), hide_possible_values = true)]
    memory: String,
    /// How transfers share lanes, in place of the memory system's
    #[arg(long, value_parser = arguments::choice(&Arbitration::ALL), ignore_case = true)]
    arbitration: Option<Arbitration>,
    /// The size of each transfer
    #[arg(long, value_name = "SIZE", default_value = "4KiB", allow_hyphen_values = true)]
    bytes: Bytes,
    /// The shares of reads, a curve each
    #[arg(
        long,
        value_name = "RATIO,...",
        default_value = "1,0.67,0.5,0",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    reads: Vec<Ratio>,
    /// How many transfers are measured at each load
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    transfers: u32,
    /// The seed of the arrivals
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = arguments::seed, allow_negative_numbers = true)]
    seed: u64,
    /// The folder for curve.csv and the pictures [default: out/curves/MEMORY]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &CurveArgs) -> Result<ExitCode, CliError> {
    let twice = args.reads.iter().enumerate().find(|(index, share)| args.reads[..*index].contains(share));
    if let Some((_, share)) = twice {
        return Err(CliError::Usage(format!("--reads: {} % is there twice: leave one out", share.percent())));
    }
    if args.reads.len() > MOST_SHARES {
        return Err(CliError::Usage(format!(
            "--reads: {} shares are more curves than the {MOST_SHARES} that a picture can show: take fewer",
            args.reads.len()
        )));
    }
    let mut config = catalog::memory(&args.memory)?;
    config.arbitration = args.arbitration.unwrap_or(config.arbitration);
    let system = MemorySystem::new(&config).map_err(|error| CliError::Usage(format!("{}: {error}", args.memory)))?;
    if args.bytes == Bytes::ZERO || args.bytes > LARGEST {
        return Err(CliError::Usage(format!("--bytes {}: a transfer carries from 1 B to {LARGEST}", args.bytes)));
    }
    let folder = crate::simulation::file_name(system.name());
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("out/curves").join(folder));
    let _claim = report::claim(&out, &["curve.csv"])?;
    let settings = CurveSettings {
        bytes: args.bytes,
        read_shares: args.reads.clone(),
        transfers: args.transfers,
        seed: args.seed,
    };
    let measured =
        curves(&system, &settings).map_err(|source| CliError::Replay { file: args.memory.clone(), source })?;
    report::write(&out, &report::curve_files(&system, &measured)?)?;
    print(&table(&system, &measured).render(std::io::stdout().is_terminal()))?;
    note!(
        "mean latencies of transfers of {} that arrive at random; all loads and pictures are in {}",
        args.bytes,
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The largest transfer, so that the clock can represent any number of transfers that is allowed.
const LARGEST: Bytes = Bytes::new(1 << 30);
/// The most shares of reads: each tier has a curve of each.
const MOST_SHARES: usize = 16;
/// The loads that the table shows, in percent.
const SHOWN: [u32; 6] = [1, 50, 80, 90, 95, 98];

fn table(system: &MemorySystem, curves: &[Curve]) -> Table {
    let mut columns = vec![Column::text("tier"), Column::number("reads"), Column::number("carries at most")];
    columns.extend(SHOWN.map(|load| Column::number(&format!("at {load} %"))));
    columns.push(Column::number("p99 at 90 %"));
    let mut table = Table::new(columns);
    for curve in curves {
        let at = |load: u32| curve.points.iter().find(|point| point.load == load).map(|point| &point.latency);
        let mean = |load: u32| {
            at(load)
                .and_then(|latency| latency.distribution())
                .map_or_else(|| "-".to_owned(), |it| SimTime::from_ns(it.mean).rounded())
        };
        let mut row = vec![
            system.tiers()[curve.tier.index()].name.clone(),
            format!("{} %", curve.read_share.percent()),
            format!("{:.1} GB/s", curve.most / 1e9),
        ];
        row.extend(SHOWN.map(mean));
        row.push(at(90).map_or_else(|| "-".to_owned(), |latency| latency.at(0.99).rounded()));
        table.row(row);
    }
    table
}
