//! `tiersim decide`: which choice wins in which circumstances, and where the winner changes.
//!
//! The runs are in memory: they are short, and only their figures are needed. `--from` ranks the
//! cells of a sweep that has been run instead.

use super::axis::axis_of;
use super::error::{CliError, INCOMPLETE};
use super::flags::field_of;
use super::scenario_args::{RunArgs, check_goals, configure};
use super::{paths, print, terminal};
use crate::catalog;
use crate::config::{Reference, typed};
use crate::decision::report::table;
use crate::decision::{
    self, Asked, Asking, By, Decision, Looked, Question, STEPS, WARMUP, as_json, condition, crossovers, decide,
    from_results, holds, sentences,
};
use crate::memory::MemoryConfig;
use crate::planner;
use crate::report::{self, Artifact};
use crate::runs::{Cancel, Progress, Resources};
use crate::simulation::{Assignment, Fields, ScenarioConfig, file_name};
use crate::sweep::{AxisConfig, DOES_NOT_FIT, Results};
use crate::units::Ratio;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim decide`: the arguments of `tiersim run`, except those for grids.
#[derive(Args)]
#[command(mut_arg("timeline", |it| it.hide(true)))]
#[command(mut_arg("vary", |it| it.hide(true)))]
#[command(mut_arg("strategy", |it| it.help("The strategy of all choices, unless strategies are chosen [default: the scenario's, or balanced-online]")))]
#[command(mut_arg("decode", |it| it.help("Tokens that each sequence decodes [default: 8, of which 3 warm up]")))]
#[command(mut_arg("out", |it| it.help("The folder for the decision, its page and its picture [default: out/decisions/NAME]")))]
#[command(mut_arg("json", |it| it.help("Print the decision as JSON on stdout, and nothing else there")))]
pub(super) struct DecideArgs {
    #[command(flatten)]
    run: RunArgs,
    /// A choice: FIELD=VALUE,VALUE,... with a path as for --set or the name of a flag, such as
    /// memory=a.ron,b.ron; repeat the flag for several. Several fields at a time:
    /// KV='dense{skip=0;strategy=baseline},sparse{skip=40%}'. With --from, the name of an axis
    #[arg(long, value_name = "FIELD=VALUES")]
    choose: Vec<String>,
    /// A circumstance, as for --choose: prefill=32k,128k,256k. Ranges as for --vary
    #[arg(long, value_name = "FIELD=VALUES")]
    given: Vec<String>,
    /// A choice that is decided first, within each combination of the others: strategy (all
    /// realizable ones, unless some are chosen)
    #[arg(long, value_name = "FIELD")]
    best: Vec<String>,
    /// The figure that decides: tpot, p99, tokens_per_s, ttft, cost, or a path in summary.json
    #[arg(long, value_name = "FIGURE", default_value = "tpot")]
    by: String,
    /// Choices closer than this count as equally good
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    within: Ratio,
    /// The greatest distance between the two values between which the winner changes, as a share of
    /// the value [default: 2%]. With --from, crossovers are narrowed down only if it is given
    #[arg(long, value_name = "SHARE")]
    tolerance: Option<Ratio>,
    /// Decide from a finished sweep: the folder of its results
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// End with exit code 1 where this holds: 'tpot > 50ms' of the winner of a circumstance, 'tpot
    /// > 1.05x' of the first choice held against the winner, 'margin > 20%'
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    fail_if: Vec<String>,
}

pub(super) fn run(args: &DecideArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    if args.run.timeline.is_some() || !args.run.vary.is_empty() {
        return Err(CliError::Usage(
            "decide takes --choose and --given in the place of --vary, and writes no timeline: leave out --vary and --timeline".to_owned(),
        ));
    }
    let by = By::named(&args.by)?;
    args.fail_if.iter().try_for_each(|text| condition(&by, text).map(drop))?;
    let bar = Ended::new();
    // Requests are all served, whatever their steps.
    let mut counts_steps = false;
    let decision = match &args.from {
        Some(folder) => from_sweep(args, folder, cancel, &bar),
        None => {
            let question = question(args)?;
            counts_steps = question.base.requests.is_none();
            let varied = args.choose.iter().chain(&args.given).any(|text| text.contains("requests.goals"));
            check_goals(&question.base, &by.path, varied)?;
            decide(&question, resources(args), cancel, &bar).map_err(CliError::from)
        }
    };
    bar.0.finish_and_clear();
    let decision = decision?;
    let held = args.fail_if.iter().map(|text| holds(&decision, text)).collect::<Result<Vec<_>, _>>()?.concat();
    let out = args.out(&decision);
    let json = format!("{:#}", as_json(&decision));
    let text = |styled: bool| format!("{}\n\n{}", decision.answer.join("\n"), table(&decision).render(styled));
    let mut files =
        vec![Artifact::new("decision.json", json.clone() + "\n"), Artifact::new("decision.md", text(false) + "\n")];
    files.extend(decision::report::files(&decision, &command())?);
    let names: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let _claim = report::claim(&out, &names)?;
    report::write(&out, &files)?;
    paths::refresh_index(&out);
    print(&if args.run.json { json } else { text(std::io::stdout().is_terminal()) })?;
    if counts_steps && !args.sets("decode_tokens") {
        note!("each run is {STEPS} steps, of which {WARMUP} warm up; ask for more with --decode");
    }
    note!("the decision is in {}", out.display());
    let mut code = ExitCode::SUCCESS;
    if let Some(why) = failure(&decision) {
        tell!("a run failed: {why}");
        code = ExitCode::from(INCOMPLETE);
    }
    for it in &held {
        let given = if it.given.is_empty() { String::new() } else { format!(" at {}", it.given) };
        tell!("--fail-if '{}' holds{given}: {}", it.condition, it.detail);
        code = ExitCode::from(INCOMPLETE);
    }
    Ok(code)
}

impl DecideArgs {
    /// Whether a flag, `--set` or an axis gives the field of that path.
    fn sets(&self, path: &str) -> bool {
        let axes = self.choose.iter().chain(&self.given).filter_map(|text| text.split_once('='));
        let named = |name: &str| {
            name == path
                || (path == "decode_tokens" && name == "decode")
                || (path == "warmup_steps" && name == "warmup")
        };
        self.run.sets(path) || axes.into_iter().any(|(name, _)| named(name.trim()))
    }

    /// The folder for the decision: by what is chosen and given, and a checksum of all of it.
    fn out(&self, decision: &Decision) -> PathBuf {
        if let Some(out) = &self.run.out {
            return out.clone();
        }
        let names = |axes: &[crate::decision::DecisionAxis]| {
            axes.iter().map(|axis| axis.name.clone()).collect::<Vec<_>>().join("+")
        };
        let (choices, given) = (names(&decision.choices), names(&decision.given));
        let by = if given.is_empty() { String::new() } else { format!("-by-{given}") };
        let asked = [
            &self.choose[..],
            &self.given,
            &self.best,
            &self.run.typed_fields(),
            &[self.run.scenario.clone(), self.by.clone()],
        ]
        .concat();
        let sum = crc32fast::hash(format!("{asked:?} {:?}", self.from).as_bytes());
        Path::new("out/decisions").join(format!("{}-{sum:08x}", file_name(&format!("{choices}{by}"))))
    }
}

fn resources(args: &DecideArgs) -> Resources {
    Resources::new(args.run.jobs, args.run.memory_limit)
}

/// The command line that this process was started with.
fn command() -> String {
    let quoted = |word: String| {
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:%".contains(c));
        if is_plain && !word.is_empty() { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("tiersim".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Why a run failed, of the first that did; one that does not fit has not.
fn failure(decision: &Decision) -> Option<&str> {
    let all = decision.circumstances.iter().flat_map(|it| &it.without).map(|(_, why)| why.as_str());
    all.into_iter().find(|why| !why.starts_with(DOES_NOT_FIT))
}

/// The question that flags ask.
fn question(args: &DecideArgs) -> Result<Question, CliError> {
    if args.run.strategy.len() > 1 {
        return Err(CliError::Usage(
            "decide takes one --strategy, the same for all: to choose between strategies, write --choose strategy=A,B"
                .to_owned(),
        ));
    }
    let mut base = configure(&args.run)?;
    let parts = args.run.parts_of_strategy();
    base.strategy = args.run.strategy.first().copied().unwrap_or(base.strategy);
    if !parts.is_empty() {
        base.strategy = Fields::new(&base)?.apply(&parts)?.strategy;
    }
    let prompts_are_there = base.prefill.is_given() && base.sequences.is_empty();
    if !args.sets("decode_tokens") && base.requests.is_none() {
        base.decode_tokens = STEPS;
        if !args.sets("warmup_steps") && prompts_are_there {
            base.warmup_steps = WARMUP;
        }
    }
    let memory = first_memory(args, &base)?;
    let mut choose = args.choose.iter().map(|text| asked("--choose", text, &memory)).collect::<Result<Vec<_>, _>>()?;
    let given = args.given.iter().map(|text| asked("--given", text, &memory)).collect::<Result<Vec<_>, _>>()?;
    if args.best.iter().any(|name| name == "strategy") && !choose.iter().any(|asked| asked.name == "strategy") {
        let realizable = planner::Question::realizable();
        choose.push(Asked::list("strategy", realizable.iter().map(|strategy| strategy.name())));
    }
    let set = kept(args, parts, &choose, &given)?;
    let by = By::named(&args.by)?;
    let tolerance = args.tolerance.map_or(0.02, Ratio::as_f64);
    let within = args.within.as_f64();
    Ok(Question { set, choose, given, best: args.best.clone(), by, within, tolerance, base })
}

/// The values that flags give to fields of parts that are chosen: they hold for every part.
fn kept(
    args: &DecideArgs,
    parts: Vec<Assignment>,
    choose: &[Asked],
    given: &[Asked],
) -> Result<Vec<Assignment>, CliError> {
    let whole = |asked: &Asked| match &asked.axis {
        AxisConfig::Values { field, .. } if !field.contains('.') => Some(field.clone()),
        _ => None,
    };
    let wholes: Vec<String> = choose.iter().chain(given).filter_map(whole).collect();
    let is_below =
        |it: &Assignment| it.path.split_once('.').is_some_and(|(part, _)| wholes.iter().any(|whole| whole == part));
    let written = ScenarioConfig::load(&args.run.scenario)?;
    Ok(args.run.assignments(&written)?.into_iter().chain(parts).filter(is_below).collect())
}

/// The memory system in which fields are looked up: the first one of an axis, or that of the base.
fn first_memory(args: &DecideArgs, base: &ScenarioConfig) -> Result<MemoryConfig, CliError> {
    let named = args.choose.iter().chain(&args.given).find_map(|text| text.trim_start().strip_prefix("memory="));
    if let Some(AxisConfig::Values { values, .. }) =
        named.map(|values| axis_of(&format!("memory={values}"))).transpose()?
        && let Some(Value::String(name)) = values.first()
    {
        return Ok(catalog::memory(name)?);
    }
    match &base.memory {
        Reference::Inline(memory) => Ok(memory.clone()),
        Reference::Name(name) => Ok(catalog::memory(name)?),
    }
}

/// An axis as it is typed after `flag`.
fn asked(flag: &str, text: &str, memory: &MemoryConfig) -> Result<Asked, CliError> {
    let name = text.split_once('=').map_or(text, |(name, _)| name).trim();
    let mut axis = axis_of(text).map_err(|error| match error {
        CliError::Usage(message) => CliError::Usage(message.replacen("--vary", flag, 1)),
        error => error,
    })?;
    if let Some(axis) = several(flag, name, &axis, memory)? {
        return Ok(Asked { name: name.to_owned(), axis });
    }
    if let AxisConfig::Values { field, .. } | AxisConfig::Linear { field, .. } | AxisConfig::Geometric { field, .. } =
        &mut axis
    {
        *field = field_of(name, memory)?;
    }
    Ok(Asked { name: name.to_owned(), axis })
}

/// Choices that set several fields each, as they are typed:
/// `KV=dense{skip=0;strategy=baseline},sparse{skip=40%}`; `None` where no value has that form.
fn several(flag: &str, name: &str, axis: &AxisConfig, memory: &MemoryConfig) -> Result<Option<AxisConfig>, CliError> {
    let AxisConfig::Values { values, .. } = axis else { return Ok(None) };
    let form = |value: &Value| -> Option<(String, String)> {
        let (label, fields) = value.as_str()?.strip_suffix('}')?.split_once('{')?;
        (!label.trim().is_empty()).then(|| (label.trim().to_owned(), fields.to_owned()))
    };
    let forms: Vec<(String, String)> = values.iter().filter_map(form).collect();
    if forms.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str| {
        CliError::Usage(format!("{flag} {name}: '{what}': write each choice as LABEL{{FIELD=VALUE;FIELD=VALUE}}"))
    };
    if let Some(other) = values.iter().find(|value| form(value).is_none()) {
        return Err(wrong(&other.to_string()));
    }
    let mut choices = Vec::new();
    for (label, fields) in forms {
        let mut set = BTreeMap::new();
        for field in fields.split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (path, value) = field.split_once('=').ok_or_else(|| wrong(field))?;
            set.insert(field_of(path.trim(), memory)?, typed(value.trim()));
        }
        choices.push((label, set));
    }
    Ok(Some(AxisConfig::Choices { name: name.to_owned(), choices }))
}

/// The decision that the results of a sweep hold.
fn from_sweep(args: &DecideArgs, folder: &Path, cancel: &Cancel, progress: &Ended) -> Result<Decision, CliError> {
    if !args.run.typed_fields().is_empty() || !args.run.strategy.is_empty() {
        return Err(CliError::Usage(
            "--from: the sweep has its scenarios already: leave out the flags that set fields".to_owned(),
        ));
    }
    let by = By::named(&args.by)?;
    let results = Results::read(folder, &[&by.path, "tokens_per_s"])?;
    let asking = Asking::of(&results, &args.choose, &args.given, by)?;
    let asking = Asking { best: args.best.clone(), within: args.within.as_f64(), ..asking };
    let mut decision = from_results(&results, &asking)?;
    if let Some(tolerance) = args.tolerance {
        let looked = Looked { tolerance: tolerance.as_f64(), resources: resources(args), cancel, progress };
        decision.crossovers = crossovers(&decision, &results.plan, &asking, &looked)?;
        decision.answer = sentences(&decision);
    }
    Ok(decision)
}

/// Counts the runs that have ended.
struct Ended(ProgressBar);

impl Ended {
    fn new() -> Self {
        let bar = if terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let style = ProgressStyle::with_template("{spinner} {pos} runs, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self(bar)
    }
}

impl Progress for Ended {
    fn ended(&self) {
        self.0.inc(1);
    }
}
