//! `tiersim requests`: a log of requests, or generated ones, served on a machine.
//!
//! The command is `tiersim run` of a scenario that has requests. A log takes the place of those of
//! the shipped scenario `serving`; so does a generator.

use super::arguments;
use super::error::CliError;
use super::request_flags::RequestFlags;
use super::run;
use super::scenario_args::RunArgs;
use crate::catalog;
use crate::config;
use crate::runs::Cancel;
use crate::simulation::ScenarioConfig;
use crate::workload::{GeneratedConfig, RequestsConfig, SourceConfig};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The scenario whose requests a log or a generator replaces.
const SERVING: &str = "serving";

/// The flags of a run that have no meaning where requests are served.
const WITHOUT_MEANING: [&str; 23] = [
    "trace",
    "layer-map",
    "extend",
    "first-step",
    "prefill-offset",
    "prefill",
    "decode",
    "batch",
    "prefill-chunk",
    "prefill-order",
    "warmup",
    "kv-groups",
    "skip",
    "churn",
    "routing",
    "seed",
    "placement",
    "migration",
    "migration-budget",
    "prefetch",
    "migration-late",
    "migration-on",
    "experts",
];

/// `tiersim requests`: the arguments of `tiersim run`, and those of requests.
#[derive(Args)]
#[command(mut_args(|arg| if WITHOUT_MEANING.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }))]
#[command(mut_arg("scenario", |it| it.value_name("LOG").default_value(SERVING).value_parser(arguments::requests()).help(
    "The requests: a log (CSV or JSON Lines) by name or path, or a scenario that has requests")))]
#[command(mut_arg("strategy", |it| it.help(
    "Where the weights lie, by a strategy that moves nothing, several times to compare [default: in HBM first]")))]
#[command(mut_arg("vary", |it| it.help(
    "Run a grid: FIELD=VALUE,VALUE,... or FIELD=FROM..TO/POINTS, such as requests.rate=x1,x2,x4; several times for several axes")))]
pub(super) struct RequestsArgs {
    #[command(flatten)]
    fields: RequestFlags,
    /// Generate requests instead of reading a log: '(per_second: 4, prompt: LogNormal(median: 1000,
    /// sigma: 1), output: Fixed(200))'; --count or --first ends it [default: a minute]
    #[arg(long, value_name = "GENERATOR")]
    generate: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: &RequestsArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut run = args.run.clone();
    let mut base = base(&run.scenario, args)?;
    // The chip of the shipped scenario is not that of another machine.
    if run.sets("memory") && (is_log(&run.scenario) || run.scenario == SERVING) {
        base.compute = None;
    }
    if let Some(text) = &args.generate {
        let generated = generated(text)?;
        if let Some(requests) = &mut base.requests {
            requests.source = SourceConfig::Generated(generated);
        }
    }
    run.more = args.fields.assignments();
    run.base = Some(Arc::new(base));
    run::run(&run, cancel)
}

/// The scenario before flags change it, whose source a generator is to replace.
fn base(log: &str, args: &RequestsArgs) -> Result<ScenarioConfig, CliError> {
    let is_generated = args.generate.is_some();
    if is_log(log) {
        if is_generated {
            return Err(CliError::Usage(format!("--generate: the requests come from {log}: leave out one of them")));
        }
        let source = SourceConfig::Log { file: log.into(), format: None };
        let name =
            Path::new(log).file_stem().map_or_else(|| log.to_owned(), |stem| stem.to_string_lossy().into_owned());
        let requests = Some(RequestsConfig::of(source));
        return Ok(ScenarioConfig { name, about: String::new(), requests, ..ScenarioConfig::load(SERVING)? });
    }
    let mut scenario = ScenarioConfig::load(log)?;
    let Some(requests) = &mut scenario.requests else {
        return Err(CliError::Usage(format!(
            "{log}: the scenario has no requests: name a log or a scenario that has `requests`, such as {SERVING}"
        )));
    };
    if is_generated {
        // Either of these ends a generator: that of the scenario holds only where neither is given.
        let ends = ["requests.count", "requests.first"];
        if ends.iter().any(|end| args.fields.gives(end)) {
            (requests.count, requests.first) = (None, None);
        }
        scenario.about.clear();
    }
    Ok(scenario)
}

/// Whether `log` names a log, and not a scenario.
fn is_log(log: &str) -> bool {
    let is_scenario = catalog::SCENARIOS.iter().any(|file| file.name == log)
        || Path::new(log).extension().is_some_and(|ending| ending == "ron" || ending == "json");
    !is_scenario
}

/// A generator as it is typed: its fields, with or without parentheses around them.
fn generated(text: &str) -> Result<GeneratedConfig, CliError> {
    let text = text.trim();
    let text =
        if text.starts_with('(') || text.starts_with("Generated") { text.to_owned() } else { format!("({text})") };
    Ok(config::parse(&text, "--generate")?)
}
