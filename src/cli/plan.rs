//! `tiersim plan`: which pieces should lie where, read how and moved by what, the fastest first.

use super::error::CliError;
use super::scenario_args::{RunArgs, configure, refuse_requests, scenarios};
use super::{print, terminal};
use crate::files::{Durability, Existing, write_atomically};
use crate::planner::{Plan, Plans, Question, WAYS, plan};
use crate::report::{Column, Table};
use crate::runs::{Cancel, Progress, Resources};
use crate::simulation::ScenarioConfig;
use crate::strategy::NAMED;
use crate::units::SimTime;
use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::process::ExitCode;

/// `tiersim plan`: the arguments of `tiersim run`, except those for grids.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("prefill", |it| it.visible_alias("context")))]
#[command(mut_arg("decode", |it| it.help("How many steps judge a plan [default: 4]")))]
#[command(mut_arg("strategy", |it| it.help("A strategy that lays out itself, several times for several [default: those with names that a real system could run]")))]
#[command(mut_arg("layout", |it| it.help("Keep this layout: only ways of reading and strategies are tried")))]
#[command(mut_arg("out", |it| it.help("Write plan.json to this folder")))]
#[command(mut_arg("jobs", |it| it.help("How many runs at a time; the plans do not depend on it [default: one a core]")))]
#[command(mut_arg("json", |it| it.help("Print the plans as JSON on stdout, and nothing else there")))]
pub(super) struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// How many plans are shown
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000), allow_negative_numbers = true)]
    top: u16,
    /// How external memory is read, several times for several [default: all ways]
    #[arg(long, value_name = "WAY", value_parser = PossibleValuesParser::new(WAYS.map(|(name, _)| name)))]
    reads: Vec<String>,
    /// Try strategies that see the future as well: what is possible, and no real system can run
    #[arg(long)]
    oracles: bool,
}

pub(super) fn run(args: &PlanArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    if args.run.timeline.is_some() || !args.run.vary.is_empty() {
        return Err(CliError::Usage(
            "plan tries layouts, ways of reading and strategies: leave out --timeline and --vary, which are for tiersim run"
                .to_owned(),
        ));
    }
    let mut config = configure(&args.run)?;
    refuse_requests(
        &config,
        "`tiersim plan`",
        "it judges plans by a few steps; ask `tiersim decide --choose ... --by goodput`",
    )?;
    if !args.run.sets("decode_tokens") {
        config.decode_tokens = Question::STEPS;
        config.warmup_steps = 0;
    }
    let own = scenarios(&args.run, &config)?;
    let question = question(args, &own, config);
    let bar = if terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} runs").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let bar = Ended(bar);
    let plans = plan(&question, Resources::new(args.run.jobs, args.run.memory_limit), cancel, &bar);
    bar.0.finish_and_clear();
    let plans = plans?;
    let json = serde_json::to_string_pretty(&plans).map_err(|error| CliError::Usage(error.to_string()))?;
    if let Some(folder) = &args.run.out {
        let file = folder.join("plan.json");
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| write_atomically(&file, json.as_bytes(), Durability::Process, Existing::Replace));
        written.map_err(|source| {
            CliError::Usage(format!("cannot write '{}': {source}. Choose another folder with --out", file.display()))
        })?;
    }
    if args.run.json {
        print(&json)?;
    } else {
        print(&table(&plans).render(std::io::stdout().is_terminal()))?;
        print(&format!("\n{}", sentences(args, &plans).join("\n")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The scenario with the strategies that are asked for, or those that go without asking.
fn question(args: &PlanArgs, own: &[crate::simulation::Scenario], scenario: ScenarioConfig) -> Question {
    let strategies = match (args.run.strategy.is_empty(), args.oracles) {
        (false, _) => own.iter().map(crate::simulation::Scenario::strategy).collect(),
        (true, true) => NAMED.iter().map(|(_, _, strategy)| *strategy).collect(),
        (true, false) => Question::realizable(),
    };
    Question { scenario, strategies, ways: args.reads.clone(), top: args.top.into() }
}

/// Counts the runs that have ended.
struct Ended(ProgressBar);

impl Progress for Ended {
    fn ended(&self) {
        self.0.inc(1);
    }
}

fn time(nanoseconds: f64) -> String {
    SimTime::from_ps((nanoseconds * 1000.0).round() as u64).rounded()
}

fn table(plans: &Plans) -> Table {
    let mut columns: Vec<Column> = ["layout", "reads", "strategy"].map(Column::text).into();
    columns.extend(["TPOT", "tokens/s", "over bound", "alpha"].map(Column::number));
    columns.extend(plans.tiers.iter().map(|tier| Column::number(&format!("{tier} used"))));
    let has_flags = plans.plans.iter().any(|plan| !plan.flags.is_empty());
    if has_flags {
        columns.push(Column::text("flags"));
    }
    let mut table = Table::new(columns);
    for plan in &plans.plans {
        let layout = plan.rules.as_ref().map_or_else(|| plan.layout.clone(), ToString::to_string);
        let mut row = vec![layout, plan.reads.clone(), plan.strategy.clone()];
        row.push(time(plan.tpot_ns));
        row.push(format!("{:.2}", plan.tokens_per_s));
        row.push(format!("{:.3}", plan.tpot_ns / plan.bound_ns));
        row.push(format!("{:.3}", plan.alpha));
        row.extend(plan.used.iter().map(|bytes| format!("{:.1} GB", bytes.as_f64() / 1e9)));
        if has_flags {
            row.push(plan.flags.to_string());
        }
        table.row(row);
    }
    table
}

/// What to do, and how to see more of it.
fn sentences(args: &PlanArgs, plans: &Plans) -> Vec<String> {
    let Some(best) = plans.plans.first() else { return Vec::new() };
    let how = |plan: &Plan| WAYS.iter().find(|(name, _)| *name == plan.reads).map_or("", |(_, about)| about);
    let external =
        if plans.tiers.len() > 1 { format!("; external memory {}", reading(how(best))) } else { String::new() };
    let sequences = if plans.batch == 1 { "one sequence".to_owned() } else { format!("{} sequences", plans.batch) };
    let mut lines = vec![format!(
        "{} on {} ({}), {sequences} with {} tokens of context: fastest is {} ({}){external}. TPOT {}, {:.2} tokens/s, {:.3} times the bound.",
        plans.model,
        plans.memory,
        plans.runtime,
        plans.context,
        best.layout,
        best.strategy,
        time(best.tpot_ns),
        best.tokens_per_s,
        best.tpot_ns / best.bound_ns
    )];
    if !best.flags.is_empty() {
        lines.push(format!("Flags: {}.", best.flags));
    }
    lines.push(format!(
        "Judged over {} steps each; {} of {} candidates were simulated, no other can be faster than those shown.",
        plans.steps, plans.simulated, plans.candidates
    ));
    let quoted = |word: &String| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if plain { word.clone() } else { format!("'{word}'") }
    };
    let arguments: Vec<String> = best.arguments.iter().map(quoted).collect();
    let own = own_arguments(args);
    lines.push(format!("To see it run: tiersim run {}", [own, arguments].concat().join(" ")));
    lines
}

fn reading(how: &str) -> String {
    match how {
        "as the runtime says" => "is read as the runtime says".to_owned(),
        how => format!("is {how}"),
    }
}

/// The arguments that were typed, but for those of `plan` alone.
fn own_arguments(args: &PlanArgs) -> Vec<String> {
    let mut arguments = if args.run.scenario == "study" { Vec::new() } else { vec![args.run.scenario.clone()] };
    arguments.extend(args.run.typed_fields());
    arguments
}
