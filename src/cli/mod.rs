//! The command line: a file for each command.
//!
//! Results go to stdout; progress, notes and errors go to stderr. Exit codes: 0 done, 1
//! a run that ended incomplete or a condition of `compare --fail-if` that holds, 2 bad input or
//! usage, 130 interrupted.

/// Prints a note on stderr, unless --quiet was given.
macro_rules! note {
    ($($part:tt)+) => {{
        if !$crate::cli::terminal::is_quiet() {
            tell!($($part)+);
        }
    }};
}

/// Prints a line on stderr, with control characters escaped. A closed stderr is not an error.
macro_rules! tell {
    ($($part:tt)+) => {{
        use std::io::Write;
        let line = format!($($part)+);
        let _ = writeln!(std::io::stderr(), "{}", $crate::config::printable_lines(&line));
    }};
}

mod arguments;
mod axis;
mod calibrate;
mod check;
mod compare;
mod curve;
mod decide;
mod error;
mod explain;
mod explore;
mod flags;
mod hist;
mod list;
mod memory;
mod model;
mod paths;
mod plan;
mod progress;
mod replay;
mod request_flags;
mod requests;
mod run;
mod scenario_args;
mod search;
mod served;
mod shell;
mod show;
mod solve;
mod strategies;
mod study;
mod sweep;
mod sweep_cell;
mod sweep_report;
mod sweep_run;
mod tables;
mod terminal;
mod trace;
mod validate;

use clap::{Parser, Subcommand};
use error::CliError;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where should the bytes lie, what should move, and what will it cost, in time?
///
/// tiersim simulates the decode steps of a language model whose weights and KV cache do not fit in
/// HBM. Without a command it runs the study: two strategies, four decode lengths, nothing or 40 %
/// of the tokens skipped.
#[derive(Parser)]
#[command(name = "tiersim", version, about)]
struct Cli {
    /// Print only results and errors: no progress, no hints
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the study: its 16 runs and 6 at the churn of recorded attention, their tables, figures
    /// and pictures
    Study(study::StudyArgs),
    /// Run one scenario, with one strategy or several to compare
    Run(Box<scenario_args::RunArgs>),
    /// Serve requests that arrive over time, from a log or a generator: TTFT, TPOT, throughput and
    /// goodput of an engine that batches continuously and moves KV between the tiers
    Requests(Box<requests::RequestsArgs>),
    /// Run every strategy on one scenario and compare them: the fastest first, with the knowledge
    /// that each needs
    Strategies(Box<strategies::StrategiesArgs>),
    /// Run a grid of scenarios, with axes from a file or the command line; on one machine or in
    /// shards on several
    Sweep(Box<sweep::SweepArgs>),
    /// Find where along one axis a condition begins to hold: how much HBM is enough, how fast a
    /// link
    Solve(Box<solve::SolveArgs>),
    /// Search for the best values of several fields by simulated annealing: the look-ahead and the
    /// budget of a migration, say
    Search(Box<search::SearchArgs>),
    /// Plan where a model's pieces should lie, how external memory is read and what moves: the
    /// fastest first, with the flags of other programs that say so
    Plan(Box<plan::PlanArgs>),
    /// Decide: which machine, layout or strategy wins in which circumstances, by how much, and
    /// where the winner changes
    Decide(Box<decide::DecideArgs>),
    /// Compare results: the differences in configuration, time, latency, alpha and utilization; as
    /// a gate with --fail-if
    Compare(compare::CompareArgs),
    /// Explain why a run is as slow as it is: the costs from its bound to its time, step by step,
    /// and the bottlenecks that it waits for
    Explain(Box<explain::ExplainArgs>),
    /// Open a page in the browser that answers while you play: pick a model and a machine, move
    /// sliders, and see where the bytes lie and what they cost
    Explore(Box<explore::ExploreArgs>),
    /// Print and draw the percentiles of histograms (.hlog, .hgrm), merge them, or subtract one
    /// from another
    Hist(hist::HistArgs),
    /// Run a list of transfers on a memory system, without a model
    Replay(replay::ReplayArgs),
    /// Measure the latency of a memory system's tiers under load, by share of reads
    Curve(curve::CurveArgs),
    /// Compare measured runs of real machines with simulated ones: the error of each case, and of
    /// each group
    Validate(validate::ValidateArgs),
    /// Fit the costs of a runtime to measured runs of one machine: the time per stage, and the
    /// share of the bandwidth that reads reach
    Calibrate(calibrate::CalibrateArgs),
    /// Recorded traces: import, export, describe, verify and generate them
    #[command(subcommand)]
    Trace(trace::TraceCommand),
    /// Language models: what they store, read and keep of each token, and import of published
    /// configurations
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Memory systems: import what benchmarks measured
    #[command(subcommand)]
    Memory(memory::MemoryCommand),
    /// List the models, memory systems, scenarios, traces, strategies and their parts, or show one
    /// memory system or DRAM part
    List(list::ListArgs),
    /// Print a script that completes this command line in a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(shell::ManArgs),
    /// Print the JSON Schema of summary.json, or of another result
    Schema(shell::SchemaArgs),
    /// Check configuration files and traces: whether they are valid, or what is wrong and where
    Check(check::CheckArgs),
}

impl Command {
    /// Whether it ends by itself after Ctrl-C, so that finished work is kept.
    fn looks_at_the_flag(&self) -> bool {
        match self {
            Self::Sweep(args) => args.runs_cells(),
            Self::Study(_)
            | Self::Run(_)
            | Self::Requests(_)
            | Self::Strategies(_)
            | Self::Solve(_)
            | Self::Search(_)
            | Self::Plan(_)
            | Self::Decide(_)
            | Self::Compare(_) => true,
            Self::Explain(_)
            | Self::Explore(_)
            | Self::Trace(_)
            | Self::Check(_)
            | Self::Validate(_)
            | Self::Calibrate(_) => true,
            Self::Hist(_) | Self::Replay(_) | Self::Curve(_) | Self::List(_) => false,
            Self::Model(_) | Self::Memory(_) => false,
            Self::Completions(_) | Self::Man(_) | Self::Schema(_) => false,
        }
    }
}

/// Runs the command that `std::env::args` asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.quiet {
        terminal::be_quiet();
    }
    let cancel = Arc::new(AtomicBool::new(false));
    let command = cli.command.unwrap_or_else(|| Command::Study(study::StudyArgs::default()));
    interruptible(&cancel, command.looks_at_the_flag());
    let result = match command {
        Command::Study(args) => study::study(&args, &cancel),
        Command::Run(args) => run::run(&args, &cancel),
        Command::Requests(args) => requests::run(&args, &cancel),
        Command::Strategies(args) => strategies::run(&args, &cancel),
        Command::Sweep(args) => sweep::run(&args, &cancel),
        Command::Solve(args) => solve::run(&args, &cancel),
        Command::Search(args) => search::run(&args, &cancel),
        Command::Plan(args) => plan::run(&args, &cancel),
        Command::Decide(args) => decide::run(&args, &cancel),
        Command::Compare(args) => compare::run(&args, &cancel),
        Command::Explain(args) => explain::run(&args, &cancel),
        Command::Explore(args) => explore::run(&args, &cancel),
        Command::Hist(args) => hist::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Curve(args) => curve::run(&args),
        Command::Validate(args) => validate::run(&args, &cancel),
        Command::Calibrate(args) => calibrate::run(&args, &cancel),
        Command::Trace(command) => trace::trace(&command, &cancel),
        Command::Model(command) => model::model(&command),
        Command::Memory(command) => memory::memory(&command),
        Command::List(args) => list::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Schema(args) => shell::schema(&args),
        Command::Check(args) => check::check(&args, &cancel),
    };
    match result {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

/// Ctrl-C ends runs at their next step, so that no file stays half-written; a second one ends the
/// process at once, as the first one does of a command that does not look at the flag.
fn interruptible(cancel: &Arc<AtomicBool>, looks_at_the_flag: bool) {
    let cancel = Arc::clone(cancel);
    let installed = ctrlc::set_handler(move || {
        if cancel.swap(true, Ordering::Relaxed) || !looks_at_the_flag {
            std::process::exit(error::INTERRUPTED.into());
        }
    });
    if let Err(error) = installed {
        tell!("tiersim: Ctrl-C will end the process at once: {error}");
    }
}

/// The escape codes around the heading of a table on a terminal.
const STYLES: [&str; 2] = ["\u{1b}[1m", "\u{1b}[0m"];

/// Prints results to stdout, with control characters of names escaped. A closed stdout is not an
/// error: `tiersim list | head`.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write;
    // Only tiersim's own styles stay; other control characters come from files.
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, style)) = STYLES.iter().filter_map(|style| Some((rest.find(style)?, style))).min() {
        shown.push_str(&crate::config::printable_lines(&rest[..at]));
        shown.push_str(style);
        rest = &rest[at + style.len()..];
    }
    shown.push_str(&crate::config::printable_lines(rest));
    match writeln!(std::io::stdout(), "{shown}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}
