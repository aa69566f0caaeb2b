//! `tiersim explore`: a page in the browser that answers while its reader plays.

use super::error::CliError;
use super::scenario_args::{RunArgs, configure, with_parts, with_reference};
use super::{paths, print};
use crate::config::Reference;
use crate::explore::{Base, Options, serve};
use crate::runs::Cancel;
use crate::simulation::usable_memory;
use crate::workload::RuntimeConfig;
use clap::Args;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// `tiersim explore`.
#[derive(Args)]
#[command(mut_arg("scenario", |it| it.default_value("gh200").help("The scenario to start from, by name or path")))]
#[command(mut_arg("strategy", |it| it.help("The strategies that are shown first, up to four")))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("out", |it| it.hide(true)))]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("json", |it| it.hide(true)))]
#[command(mut_arg("jobs", |it| it.hide(true)))]
pub(super) struct ExploreArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The port of the page [default: a free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: Option<u16>,
    /// Print the address, and open no browser
    #[arg(long)]
    no_open: bool,
}

pub(super) fn run(args: &ExploreArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let run = &args.run;
    if !run.vary.is_empty() || run.out.is_some() || run.timeline.is_some() || run.json || run.jobs.is_some() {
        return Err(CliError::Usage(
            "explore shows runs on a page: leave out --vary, --out, --timeline, --json and --jobs, which are for tiersim run"
                .to_owned(),
        ));
    }
    let options = Options {
        base: base(run)?,
        port: args.port.unwrap_or(0),
        memory: run.memory_limit.unwrap_or_else(usable_memory),
        log: Box::new(|line| note!("explore: {line}")),
    };
    let started = |address: &str| {
        // A closed stdout is no reason to end: the browser opens all the same.
        let _ = print(address);
        note!("Ctrl-C ends it");
        if !args.no_open
            && let Err(error) = open::that_detached(address)
        {
            note!("no browser could be opened ({error}): open the address above");
        }
    };
    serve(options, started, &|| cancel.load(Ordering::Relaxed))?;
    Ok(ExitCode::SUCCESS)
}

/// What the page starts from.
fn base(args: &RunArgs) -> Result<Base, CliError> {
    let config = configure(args)?;
    let strategies = with_parts(args, &config, with_reference(args, &config))?;
    let runtime = match &config.runtime {
        Reference::Name(name) => name.clone(),
        Reference::Inline(runtime) => runtime.name.clone(),
    };
    Ok(Base {
        model: config.model.inline().map(|model| model.name.clone()).unwrap_or_default(),
        memory: config.memory.inline().map(|memory| memory.name.clone()).unwrap_or_default(),
        runtime: Some(runtime).filter(|name| name != RuntimeConfig::IDEAL),
        words: std::iter::once(args.scenario.clone()).chain(args.typed_fields_of_scenario()).collect(),
        written: paths::written(&args.scenario),
        config,
        strategies,
    })
}
