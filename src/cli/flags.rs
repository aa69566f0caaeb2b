//! The flags that set a field of a scenario.
//!
//! Each is a row of [`FLAGS`]: `--NAME VALUE` is `--set PATH=VALUE` with a value that is checked as
//! it is typed, and with a line of help. To add a flag, add a row. The flags of a command line
//! become [`Assignment`]s in the order of the rows, and those of `--set` follow; all of them are
//! made at once by [`Fields::apply`](crate::simulation::Fields::apply).
//!
//! Two things are more than an assignment. A recorded trace brings its length along, as
//! `prefill_tokens` and `decode_tokens`, which flags for these two may change again. And some flags
//! are only for one kind of trace, which gets a better message than that a field does not exist.

use super::arguments::{self, Offering};
use super::error::CliError;
use crate::catalog::{self, open_trace};
use crate::memory::{Arbitration, MemoryConfig};
use crate::simulation::{Assignment, ScenarioConfig, expand};
use crate::strategy::{
    Budget, ExpertChoice, InitializationKind, Late, LayoutRules, MigrationKind, On, PlacementKind, PrefetchKind,
};
use crate::units::{Bandwidth, Bytes, Ratio};
use crate::workload::{ExpertTraceConfig, Extend, KvGroups, LayerMap, PrefillOrder, TraceConfig};
use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// Every flag that sets a field of a scenario, in the order in which `--help` lists them and in
/// which they are applied.
const FLAGS: &[Flag] = &[
    flag("model", "MODEL", "model", Names(arguments::models), "The language model, by name or path"),
    flag("memory", "MEMORY", "memory", Names(arguments::memories), "The memory system, by name or path"),
    flag(
        "runtime",
        "RUNTIME",
        "runtime",
        Names(arguments::runtimes),
        "The software that runs the model, by name (that of the memory system), with a machine (llama.cpp/any) or path",
    ),
    flag(
        "trace",
        "TRACE",
        "trace",
        Names(arguments::traces),
        "A recorded trace (Parquet, .kvs) or a generator (RON), by name or path; a trace's length and prefill hold unless given",
    ),
    flag(
        "layer-map",
        "MAP",
        "trace.layer_map",
        Word(read::<LayerMap>),
        "Which recorded layer stands for which layer of the model: Same, Scale (by depth) or Repeat",
    )
    .of(Trace::Recorded),
    flag(
        "extend",
        "HOW",
        "trace.extend",
        Word(read::<Extend>),
        "What follows the last recorded step: No, Repeat (the steps again) or Statistics (a generator like it)",
    )
    .of(Trace::Recorded),
    flag(
        "first-step",
        "N",
        "trace.first_step",
        Count(count),
        "Leave out this many recorded steps at the start; their tokens count as prefill",
    )
    .of(Trace::Recorded),
    flag(
        "prefill-offset",
        "N",
        "trace.prefill_offset",
        Count(count),
        "This many tokens before the recorded ones, never skipped",
    )
    .of(Trace::Recorded),
    flag("prefill", "N", "prefill_tokens", Count(count), "Tokens before step 0: 131072, 131_072 or 128k"),
    flag("decode", "N", "decode_tokens", Count(count), "Tokens that each sequence decodes: the steps of one"),
    flag(
        "batch",
        "N",
        "batch",
        Count(count_from_1),
        "Decode this many equal sequences at once, each with its own KV and skip sets",
    ),
    flag(
        "prefill-chunk",
        "N",
        "prefill.chunk_tokens",
        Count(count_from_1),
        "Prompts take time: a step computes up to this many tokens of them (2048 where only the order is given)",
    ),
    flag(
        "prefill-order",
        "ORDER",
        "prefill.order",
        Choice(|| choices(&PrefillOrder::ALL)),
        "Which steps compute chunks of prompts",
    ),
    flag(
        "warmup",
        "STEPS",
        "warmup_steps",
        Count(count),
        "Leave the first steps out of histograms, means and tokens/s; the simulated time is of all steps",
    ),
    flag(
        "page-tokens",
        "N",
        "page_tokens",
        Count(count_from_1),
        "How many tokens of a layer make a page: KV is placed, moved and read in whole pages",
    ),
    flag(
        "kv-groups",
        "GROUPS",
        "kv_groups",
        Choice(|| choices(&KvGroups::ALL)),
        "Into which regions the KV of a layer is divided, each with its own tiers, moves and skip sets",
    ),
    flag("skip", "RATIO", "trace.skip", Amount(read::<Ratio>), "The share of tokens that attention skips: 0.4 or 40%")
        .of(Trace::Synthetic),
    flag(
        "churn",
        "RATIO",
        "trace.churn",
        Amount(read::<Ratio>),
        "The share of the skipped tokens that is exchanged from a step to the next",
    )
    .of(Trace::Generated),
    flag(
        "routing",
        "ROUTING",
        "routing",
        Word(read::<ExpertTraceConfig>),
        "Experts are units, placed, cached and moved one by one: tokens are routed as the model says (generated), evenly (uniform), \
         by popularity (zipf:1.2) or as recorded (FILE.parquet, FILE.jsonl); with --set routing.Generated.persistence=50% a token keeps half of its experts",
    ),
    flag("seed", "N", "trace.seed", Count(seed), "The seed of generated skip sets").of(Trace::Synthetic),
    flag(
        "layout",
        "RULES",
        "layout",
        Word(read::<LayoutRules>),
        "Which pieces lie on which tier, the first match wins: 'experts=external, layers 0..20=hbm, kv=60% hbm, *=external'",
    ),
    flag(
        "initialization",
        "NAME",
        "strategy.initialization",
        Word(read::<InitializationKind>),
        "The layout at the start, in place of the strategy's",
    ),
    flag(
        "placement",
        "NAME",
        "strategy.placement",
        Word(read::<PlacementKind>),
        "Where new KV goes, in place of the strategy's",
    ),
    flag(
        "migration",
        "NAME",
        "strategy.migration",
        Word(read::<MigrationKind>),
        "What moves between steps, in place of the strategy's",
    ),
    flag(
        "migration-budget",
        "BUDGET",
        "strategy.budget",
        Amount(read::<Budget>),
        "The most that migration may carry in a step: 64MiB, or 25% of what the slowest tier could be read at",
    ),
    flag(
        "prefetch",
        "NAME",
        "strategy.prefetch",
        Word(read::<PrefetchKind>),
        "What comes into HBM within a step for its later layers, beside a cache with a budget: 'Prefetch(ahead: 1, hit_rate: 90%)'",
    ),
    flag(
        "migration-late",
        "RULE",
        "strategy.late",
        Choice(|| choices(&Late::ALL)),
        "What becomes of moves that are not complete when the read that they were meant for is issued",
    ),
    flag(
        "migration-on",
        "WHAT",
        "strategy.on",
        Choice(|| choices(&On::ALL)),
        "What migration decides for, where experts are units (--routing)",
    ),
    flag(
        "experts",
        "WHICH",
        "strategy.experts",
        Choice(|| choices(&ExpertChoice::ALL)),
        "Which experts of a layer lie on the faster tiers at the start, where experts are units (--routing)",
    ),
    flag(
        "arbitration",
        "ARBITRATION",
        "memory.arbitration",
        Choice(|| choices(&Arbitration::ALL)),
        "How transfers share lanes",
    ),
    flag(
        "hbm-capacity",
        "SIZE",
        "memory.tiers.0.capacity",
        Amount(read::<Bytes>),
        "The capacity of the first tier: 8GiB",
    ),
    flag(
        "hbm-bandwidth",
        "BANDWIDTH",
        "memory.tiers.0.bandwidth",
        Amount(read::<Bandwidth>),
        "The bandwidth of the first tier: \"4915 GB/s\"",
    ),
    flag(
        "link-bandwidth",
        "BANDWIDTH",
        "memory.tiers.LINKED.link.read+write",
        Amount(read::<Bandwidth>),
        "The bandwidth of the first tier that has a link, each direction: \"900 GB/s\"",
    ),
];

/// Other names of fields that flags set, as axes of decisions have them.
const ALIASES: [(&str, &str); 1] = [("context", "prefill")];

/// The path of the field that an axis means by `name`: that of the flag of that name, written with
/// `-` or `_`, or `name` itself, which is a path. The first tier that has a link is that of
/// `memory`.
pub(super) fn field_of(name: &str, memory: &MemoryConfig) -> Result<String, CliError> {
    let typed = name.replace('_', "-");
    let typed = ALIASES.iter().find(|(alias, _)| *alias == typed).map_or(typed.as_str(), |(_, flag)| flag);
    let Some(flag) = FLAGS.iter().find(|flag| flag.name == typed) else { return Ok(name.to_owned()) };
    if !flag.path.contains(LINKED) {
        return Ok(flag.path.to_owned());
    }
    Ok(flag.path.replace(LINKED, &linked(flag, memory)?.to_string()))
}

/// The first tier of a memory system that has a link.
fn linked(flag: &Flag, memory: &MemoryConfig) -> Result<usize, CliError> {
    memory.tiers.iter().position(|tier| tier.link.is_some()).ok_or_else(|| {
        CliError::Usage(format!("--{}: no tier of the memory system '{}' has a link", flag.name, memory.name))
    })
}

/// In a path, the index of the first tier that has a link.
const LINKED: &str = "LINKED";

/// A flag that sets a field of a scenario.
pub(super) struct Flag {
    /// As it is typed, without the dashes.
    pub name: &'static str,
    /// The name of its value in help.
    value: &'static str,
    /// The path of the field, as `--set` takes it; [`LINKED`] is the first tier that has a link.
    pub path: &'static str,
    /// How its value is read.
    reader: Reader,
    help: &'static str,
    /// The traces that it is for.
    trace: Trace,
}

/// How a value is read, and the arguments that may be one.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// A whole number.
    Count(fn(&str) -> Result<Value, String>),
    /// A number that may have a unit. What starts with a dash is a wrong value, not another flag.
    Amount(fn(&str) -> Result<Value, String>),
    /// A name, which may have parameters in parentheses.
    Word(fn(&str) -> Result<Value, String>),
    /// A name or path; a shell offers these names.
    Names(fn() -> Vec<&'static str>),
    /// One of these names, each with what it means, in upper or lower case.
    Choice(fn() -> Vec<(&'static str, &'static str)>),
}
pub(super) use Reader::{Amount, Choice, Count, Names, Word};

/// The traces that a flag is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    Any,
    Recorded,
    /// `Generated(...)` or `Lifelike(...)`.
    Synthetic,
    /// Only `Generated(...)`.
    Generated,
}

pub(super) const fn flag(
    name: &'static str,
    value: &'static str,
    path: &'static str,
    reader: Reader,
    help: &'static str,
) -> Flag {
    Flag { name, value, path, reader, help, trace: Trace::Any }
}

/// Reads a `T`, as JSON has it.
pub(super) fn read<T: FromStr<Err: Display> + Serialize>(text: &str) -> Result<Value, String> {
    let value: T = text.parse().map_err(|error: T::Err| error.to_string())?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn count(text: &str) -> Result<Value, String> {
    arguments::count(text).map(Value::from)
}

pub(super) fn count_from_1(text: &str) -> Result<Value, String> {
    arguments::count_from_1(text).map(Value::from)
}

fn seed(text: &str) -> Result<Value, String> {
    arguments::seed(text).map(Value::from)
}

pub(super) fn choices<T>(all: &[(&'static str, &'static str, T)]) -> Vec<(&'static str, &'static str)> {
    all.iter().map(|(name, about, _)| (*name, *about)).collect()
}

impl Flag {
    const fn of(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).value_name(self.value).help(self.help);
        match self.reader {
            Count(read) => arg.value_parser(read).allow_negative_numbers(true),
            Amount(read) => arg.value_parser(read).allow_hyphen_values(true),
            Word(read) => arg.value_parser(read),
            Names(names) => {
                let parser = StringValueParser::new().map(Value::String);
                arg.value_parser(Offering::new(parser, names())).hide_possible_values(true)
            }
            Choice(choices) => {
                let names = choices().into_iter().map(|(name, about)| PossibleValue::new(name).help(about));
                let parser = PossibleValuesParser::new(names).map(|name| Value::String(name.to_lowercase()));
                arg.value_parser(parser).ignore_case(true)
            }
        }
    }

    /// Whether it is a part of the strategy, and so applied to every strategy that is asked for.
    fn is_of_strategy(&self) -> bool {
        self.path.starts_with("strategy.")
    }

    /// Refuses a trace that the flag is not for.
    fn check(&self, trace: &TraceConfig) -> Result<(), CliError> {
        let usage = |message: String| Err(CliError::Usage(message));
        match (self.trace, trace) {
            (Trace::Any, _)
            | (Trace::Recorded, TraceConfig::Recorded(_))
            | (Trace::Synthetic | Trace::Generated, TraceConfig::Generated(_))
            | (Trace::Synthetic, TraceConfig::Lifelike(_)) => Ok(()),
            (Trace::Recorded, _) => usage(format!(
                "--{}: it is for recorded traces, but the scenario's skip sets are synthetic: name a recorded trace with --trace",
                self.name
            )),
            (_, TraceConfig::Recorded(recorded)) => usage(format!(
                "--{}: it is for synthetic skip sets, but the scenario's come from the trace '{}'",
                self.name,
                recorded.file.display()
            )),
            (Trace::Generated, TraceConfig::Lifelike(_)) => usage(format!(
                "--{}: it is for skip sets of a Generated(...); those of a Lifelike(...) have --set trace.exchange=0.3",
                self.name
            )),
        }
    }
}

/// A command with these flags.
pub(super) fn augmented(command: Command, flags: &[Flag]) -> Command {
    flags.iter().fold(command, |command, flag| command.arg(flag.arg()))
}

/// The flags of [`FLAGS`] that were given.
#[derive(Clone, Default)]
pub(super) struct FieldFlags {
    given: Vec<Given>,
}

/// A flag and its value, as it was read and as it was typed.
#[derive(Clone)]
pub(super) struct Given {
    flag: &'static Flag,
    value: Value,
    asked: String,
}

impl Args for FieldFlags {
    fn augment_args(command: Command) -> Command {
        augmented(command, FLAGS)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { given: Given::all(FLAGS, matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FieldFlags {
    /// What the flags set in a scenario of which `written` is the file, but for parts of the
    /// strategy.
    ///
    /// # Errors
    /// [`CliError`] if a flag is not for the scenario's trace, or a trace or a link is not there.
    pub fn assignments(&self, written: &ScenarioConfig) -> Result<Vec<Assignment>, CliError> {
        let trace = self.trace(written)?;
        self.given.iter().try_for_each(|given| given.flag.check(&trace))?;
        let of_scenario = self.given.iter().filter(|given| !given.flag.is_of_strategy());
        let (of_recording, others): (Vec<&Given>, Vec<&Given>) = of_scenario.partition(|given| given.is_of_recording());
        let mut assignments = Vec::new();
        for given in of_recording {
            let value = match given.flag.path {
                "trace" => serde_json::to_value(&trace).map_err(|error| CliError::Usage(error.to_string()))?,
                _ => given.value.clone(),
            };
            assignments.push(given.assignment(given.flag.path, value));
        }
        assignments.extend(self.length(&trace)?);
        for given in others {
            let linked = || self.linked(given.flag, written).map(|tier| tier.to_string());
            let path = match given.flag.path {
                path if path.contains(LINKED) => path.replace(LINKED, &linked()?),
                path => path.to_owned(),
            };
            assignments.extend(expand(&path).iter().map(|path| given.assignment(path, given.value.clone())));
        }
        Ok(assignments)
    }

    /// The flags for parts of the strategy, which hold whatever the strategy is.
    pub fn parts_of_strategy(&self) -> Vec<Assignment> {
        let parts = self.given.iter().filter(|given| given.flag.is_of_strategy());
        parts.map(|given| given.assignment(given.flag.path, given.value.clone())).collect()
    }

    /// Whether the flag for the field of that path was given.
    pub fn gives(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    /// The flags that are no parts of the strategy.
    pub fn of_scenario(&self) -> Self {
        let given = self.given.iter().filter(|given| !given.flag.is_of_strategy());
        Self { given: given.cloned().collect() }
    }

    /// The flags as they were typed.
    pub fn typed(&self) -> impl Iterator<Item = String> + '_ {
        let quoted = |value: &str| {
            let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            if is_plain { value.to_owned() } else { format!("'{value}'") }
        };
        let typed = move |given: &Given| {
            given
                .asked
                .split_once(' ')
                .map_or_else(|| given.asked.clone(), |(flag, value)| format!("{flag} {}", quoted(value)))
        };
        self.given.iter().map(typed)
    }

    /// The value of the flag for the field of that path.
    fn value(&self, path: &str) -> Option<&Value> {
        self.given.iter().find(|given| given.flag.path == path).map(|given| &given.value)
    }

    /// The trace that is asked for, or the scenario's own.
    fn trace(&self, written: &ScenarioConfig) -> Result<TraceConfig, CliError> {
        let Some(name) = self.value("trace").and_then(Value::as_str) else { return Ok(written.trace.clone()) };
        let generator = catalog::generator(name)?;
        Ok(generator.unwrap_or_else(|| TraceConfig::Recorded(PathBuf::from(name).into())))
    }

    /// The prefill that a recorded trace of which flags speak brings along and, where it is asked
    /// for, its length.
    fn length(&self, trace: &TraceConfig) -> Result<Vec<Assignment>, CliError> {
        let asked: Vec<&str> =
            self.given.iter().filter(|given| given.is_of_recording()).map(|given| given.asked.as_str()).collect();
        let TraceConfig::Recorded(recorded) = trace else { return Ok(Vec::new()) };
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let flag = |path: &str, own: u32| self.value(path).and_then(Value::as_u64).unwrap_or(own.into());
        let first_step = flag("trace.first_step", recorded.first_step);
        let offset = flag("trace.prefill_offset", recorded.prefill_offset);
        let recording = open_trace(&recorded.file)?;
        let prefill = (recording.prefill() as u64 + first_step + offset).min(u32::MAX.into());
        let assign =
            |path: &str, value: u64| Assignment { path: path.to_owned(), value: value.into(), asked: asked.join(" ") };
        let mut length = vec![assign("prefill_tokens", prefill)];
        if self.value("trace").is_some() {
            length.push(assign("decode_tokens", (recording.steps() as u64).saturating_sub(first_step).max(1)));
        }
        Ok(length)
    }

    /// The first tier that has a link.
    fn linked(&self, flag: &Flag, written: &ScenarioConfig) -> Result<usize, CliError> {
        let memory = match self.value("memory").and_then(Value::as_str) {
            Some(name) => catalog::memory(name)?,
            None => catalog::resolved(written.memory.clone())?,
        };
        linked(flag, &memory)
    }
}

impl Given {
    /// Those of `flags` that were given.
    pub fn all(flags: &'static [Flag], matches: &ArgMatches) -> Vec<Self> {
        let given = flags.iter().filter_map(|flag| {
            let value = matches.get_one::<Value>(flag.name)?.clone();
            let typed = matches.get_raw(flag.name).and_then(|mut typed| typed.next()).unwrap_or_default();
            Some(Self { flag, value, asked: format!("--{} {}", flag.name, typed.to_string_lossy()) })
        });
        given.collect()
    }

    /// The path of its field.
    pub fn path(&self) -> &'static str {
        self.flag.path
    }

    /// Its value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether the flag sets the recording or the part of it that is used, from which the length
    /// follows.
    fn is_of_recording(&self) -> bool {
        self.flag.path == "trace" || self.flag.trace == Trace::Recorded
    }

    /// That which sets the field of that path to `value`.
    pub fn assignment(&self, path: &str, value: Value) -> Assignment {
        Assignment { path: path.to_owned(), value, asked: self.asked.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Fields;

    /// A row with a path that is no field would be found only by those who use the flag.
    #[test]
    fn every_flag_leads_to_a_field() {
        let study = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
        let recorded = Fields::new(&ScenarioConfig::load("recorded").unwrap()).unwrap();
        for flag in FLAGS {
            let mut fields = if flag.trace == Trace::Recorded { recorded.clone() } else { study.clone() };
            for path in expand(&flag.path.replace(LINKED, "1")) {
                assert!(fields.get(&path).is_ok(), "--{}: {path}", flag.name);
            }
        }
    }
}
