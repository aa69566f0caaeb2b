//! The flags of `tiersim requests` that set a field of a scenario's `requests`.
//!
//! Each is a row of [`FLAGS`], as those of a run are rows of the table in `flags.rs`.

use super::flags::{Amount, Choice, Count, Flag, Given, Word, augmented, choices, count_from_1, flag, read};
use crate::simulation::Assignment;
use crate::units::{Bytes, FlopRate, Ratio, SimTime, parse_count};
use crate::workload::{
    CacheConfig, ExternalKv, GoalsConfig, LogFormat, MAX_TOKENS, MovePriority, Preemption, QueueOrder, RateConfig,
    StoredBlocks, WriteBack,
};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value};

/// Every flag that sets a field of requests, in the order in which `--help` lists them.
const FLAGS: &[Flag] = &[
    flag(
        "format",
        "FORMAT",
        "requests.source.format",
        Choice(|| choices(&LogFormat::ALL)),
        "The format of the log, where its first line does not tell",
    ),
    flag(
        "rate",
        "RATE",
        "requests.rate",
        Amount(read::<RateConfig>),
        "How fast requests arrive: x2 is twice as fast as in the log, 4/s four a second on average",
    ),
    flag(
        "first",
        "TIME",
        "requests.first",
        Amount(read::<SimTime>),
        "Only what arrives in the first part of the log, before --rate changes it: 1h, 30min, 10s",
    ),
    flag("count", "N", "requests.count", Count(count_from_1), "Only the first so many requests"),
    flag(
        "block-tokens",
        "N",
        "requests.block_tokens",
        Count(count_from_1),
        "How many tokens a block has that prompts may share: 512 in Mooncake's logs, 16 elsewhere where not given",
    ),
    flag(
        "limits",
        "LIMITS",
        LIMITS,
        Word(limits),
        "What the engine may hold, as the flags of vLLM: 'sequences=256,tokens=2048,context=32768,kv=41408,memory=0.9': running requests, \
         tokens of a step, tokens of a request, tokens of KV (instead of what memory leaves), the share of the first tier",
    ),
    flag(
        "policy",
        "POLICY",
        "requests.order",
        Choice(|| choices(&QueueOrder::ALL)),
        "Which waiting request is admitted first",
    ),
    flag(
        "preemption",
        "HOW",
        "requests.preemption",
        Choice(|| choices(&Preemption::ALL)),
        "What becomes of the KV of the request that was admitted last, where room runs out",
    ),
    flag(
        "cache",
        "TIERS",
        "requests.kv.cache",
        Choice(|| choices(&CacheConfig::ALL)),
        "Which tiers keep blocks of prompts for later requests",
    ),
    flag(
        "external",
        "HOW",
        "requests.kv.external",
        Choice(|| choices(&ExternalKv::ALL)),
        "How KV in external memory is read",
    ),
    flag(
        "write",
        "WHEN",
        "requests.kv.write",
        Choice(|| choices(&WriteBack::ALL)),
        "When blocks are written to external memory",
    ),
    flag(
        "blocks",
        "WHICH",
        "requests.kv.blocks",
        Choice(|| choices(&StoredBlocks::ALL)),
        "Which blocks are written to external memory",
    ),
    flag(
        "moves",
        "ORDER",
        "requests.kv.moves",
        Choice(|| choices(&MovePriority::ALL)),
        "Whether loads and stores contend alike",
    ),
    flag(
        "kv-capacity",
        "SIZE",
        "requests.kv.capacity",
        Amount(read::<Bytes>),
        "How much external memory is for KV: 64GiB; what weights leave where not given",
    ),
    flag(
        "compute",
        "RATE",
        "compute",
        Word(compute),
        "How fast the chip computes, of which prompts take most: \"400 TFLOP/s\"",
    ),
    flag(
        "slo",
        "GOALS",
        "requests.goals",
        Word(read::<GoalsConfig>),
        "What a request must meet to count as goodput: 'ttft<2s,tpot<50ms,e2e<30s'",
    ),
];

/// Reads the rate of a chip as the scenario's `compute`.
fn compute(text: &str) -> Result<Value, String> {
    Ok(serde_json::json!({ "rate": read::<FlopRate>(text)? }))
}

/// The path of the limits, of which a flag gives some.
const LIMITS: &str = "requests.limits";

/// The names of limits as they are typed, and their fields.
const LIMIT_FIELDS: [(&str, &str); 5] = [
    ("sequences", "sequences"),
    ("tokens", "tokens"),
    ("context", "context"),
    ("kv", "kv_tokens"),
    ("memory", "memory"),
];

/// Reads `sequences=256,tokens=2048` as an object of the fields that are given.
fn limits(text: &str) -> Result<Value, String> {
    let example = "write limits such as sequences=256,tokens=2048,kv=41408,context=32768,memory=0.9";
    let mut fields = Map::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("'{part}' is no limit: {example}"))?;
        let (name, value) = (name.trim(), value.trim());
        let field = LIMIT_FIELDS.iter().find(|(typed, _)| *typed == name).map(|(_, field)| *field);
        let field = field.ok_or_else(|| format!("there is no limit '{name}': {example}"))?;
        let value = match field {
            "memory" => read::<Ratio>(value).map_err(|error| format!("memory: {error}"))?,
            "kv_tokens" => count(name, value, u32::MAX.into())?,
            _ => count(name, value, MAX_TOKENS)?,
        };
        if fields.insert(field.to_owned(), value).is_some() {
            return Err(format!("'{name}' comes twice: {example}"));
        }
    }
    if fields.is_empty() {
        return Err(format!("there is no limit in it: {example}"));
    }
    Ok(Value::Object(fields))
}

fn count(name: &str, text: &str, most: u64) -> Result<Value, String> {
    match parse_count(text, most).map_err(|error| format!("{name}: {error}"))? {
        0 => Err(format!("{name}: '0' is too little: it must be more than 0")),
        count => Ok(count.into()),
    }
}

/// The flags of [`FLAGS`] that were given.
#[derive(Clone, Default)]
pub(super) struct RequestFlags {
    given: Vec<Given>,
}

impl RequestFlags {
    /// What they set in a scenario that has requests.
    pub fn assignments(&self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for given in &self.given {
            match given.value() {
                Value::Object(fields) if given.path() == LIMITS => {
                    for (field, value) in fields {
                        assignments.push(given.assignment(&format!("{LIMITS}.{field}"), value.clone()));
                    }
                }
                value => assignments.push(given.assignment(given.path(), value.clone())),
            }
        }
        assignments
    }

    /// Whether the flag for the field of that path was given.
    pub fn gives(&self, path: &str) -> bool {
        self.given.iter().any(|given| given.path() == path)
    }
}

impl Args for RequestFlags {
    fn augment_args(command: Command) -> Command {
        augmented(command, FLAGS)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RequestFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { given: Given::all(FLAGS, matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Fields, ScenarioConfig};
    use crate::workload::{RequestsConfig, SourceConfig};

    /// A row with a path that is no field would be found only by those who use the flag.
    #[test]
    fn every_flag_leads_to_a_field() {
        let mut config = ScenarioConfig::load("study").unwrap();
        config.requests = Some(RequestsConfig::of(SourceConfig::Log { file: "x.csv".into(), format: None }));
        let mut fields = Fields::new(&config).unwrap();
        for flag in FLAGS {
            assert!(fields.get(flag.path).is_ok(), "--{}", flag.name);
        }
        for (_, field) in LIMIT_FIELDS {
            assert!(fields.get(&format!("{LIMITS}.{field}")).is_ok(), "{field}");
        }
    }

    #[test]
    fn limits_are_typed_as_vllm_is_told() {
        let found = limits("sequences=256, tokens=2k,kv=41408,context=32_768,memory=90%").unwrap();
        let expected = serde_json::json!(
            {"sequences": 256, "tokens": 2048, "kv_tokens": 41408, "context": 32768, "memory": 0.9}
        );
        assert_eq!(found, expected);
        for (text, reason) in [
            ("", "no limit in it"),
            ("256", "no limit: write"),
            ("batch=3", "no limit 'batch'"),
            ("tokens=0", "tokens: '0' is too little"),
            ("tokens=-1", "negative"),
            ("tokens=99999999", "tokens"),
            ("memory=1.1", "memory"),
            ("kv=1,kv=2", "twice"),
        ] {
            let error = limits(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
