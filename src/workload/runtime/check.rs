//! What a runtime cannot be.

use super::config::{AmplificationConfig, BySize, ReachClass, ReachConfig, ReadsConfig, RuntimeConfig};
use crate::config::{NameError, check_name, did_you_mean};
use crate::memory::{MemorySystem, Reach, TierId};
use crate::units::{Bytes, SimTime};
use thiserror::Error;

/// The longest of a runtime's times.
pub(super) const MAX_TIME: SimTime = SimTime::from_ps(SimTime::PS_PER_SECOND);
/// The most rules of `reaches`, and the most points of one.
const MAX_REACHES: usize = 256;

/// The most that bytes are amplified by.
const MAX_FACTOR: f64 = 1000.0;
/// The most stages that copies may be ahead: of any model, all stages of a step.
const MAX_AHEAD: u32 = 1 << 16;

/// The most chips that a model is spread over.
const MAX_RANKS: u32 = 1024;

/// The most copies of one step.
pub(super) const MOST_COPIES: u64 = 1 << 20;

/// What a runtime cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum RuntimeError {
    #[error("name: {0}")]
    Name(NameError),
    #[error("{field}: {time} is too long: write at most {MAX_TIME}, as \"5 us\"")]
    Time { field: &'static str, time: SimTime },
    #[error("{field}: {count} of them, but at most {MAX_REACHES} are read: leave some out")]
    TooMany { field: String, count: usize },
    #[error(
        "{field}: {value}: it is the share of the bandwidth that a kernel reaches: write a number from {least} to 1",
        least = Reach::LEAST
    )]
    Reach { field: String, value: f64 },
    #[error("{field}: a curve needs a point: write [(\"64 KiB\", 0.3), (\"16 MiB\", 0.8)], or one number")]
    NoPoints { field: String },
    #[error("{field}: {size} follows {before}: write each size once, the smallest first")]
    Order { field: String, size: Bytes, before: Bytes },
    #[error("{field}: '{name}' is the first tier, not one behind a link: leave the rule out, or name another tier")]
    DirectFirst { field: String, name: String },
    #[error("{field}: under arbitration Fifo a lane carries one transfer at a time: use Fair or Priority")]
    Fifo { field: String },
    #[error("{field}: '{name}' has hashed pages, of which one is read as it is: use interleaving: Striped")]
    AmplifiedPages { field: String, name: String },
    #[error("{field}: {value}: by how much more bytes cross: write a number from 1 to {MAX_FACTOR}")]
    Factor { field: String, value: f64 },
    #[error("{field}: needs a point: write [(1, 1.0), (16, 2.5)], tokens and factor")]
    NoFactors { field: String },
    #[error("{field}: {tokens} tokens follow {before}: write each number once, the smallest first, from 1")]
    Tokens { field: String, tokens: u32, before: u32 },
    #[error("reads: '{name}' is the first tier, which is always read in place, at once: leave it out")]
    FirstTier { name: String },
    #[error("reads.{name}.ahead: {ahead} stages: write at most {MAX_AHEAD}")]
    Ahead { name: String, ahead: u32 },
    #[error(
        "reads.{name}.chunk: {chunk}: a chunk fits the buffer, which is {buffer}, and is at least 1/4096 of it: write from {} to {buffer}, or leave it out",
        Bytes::new(buffer.get().div_ceil(4096))
    )]
    Chunk { name: String, chunk: Bytes, buffer: Bytes },
    #[error(
        "reads.{name}.buffer: {} of buffers leave no room on '{first}', which holds {}: write less",
        buffer.rounded(),
        capacity.rounded()
    )]
    Buffer { name: String, buffer: Bytes, first: String, capacity: Bytes },
    #[error(
        "reads.{name}: in copies of {most} a step may take {copies} copies for the {} that are stored, but at most {MOST_COPIES}: write a larger buffer or chunk",
        stored.rounded()
    )]
    Copies { name: String, copies: u64, most: Bytes, stored: Bytes },
    #[error(
        "reads.{name}: '{hashed}' has hashed pages, but copies are spread evenly over channels: use interleaving: Striped"
    )]
    Hashed { name: String, hashed: String },
    #[error(
        "{field}: '{name}' is copied into a buffer (reads), not read by kernels: leave the rule out, or name the first tier"
    )]
    Copied { field: String, name: String },
    #[error("computes: '{name}' is the first tier, which the chip reads and computes: leave it out")]
    FirstComputes { name: String },
    #[error(
        "computes.{name}: its pages are hashed over channels, which its cores cannot read: use interleaving: Striped"
    )]
    HashedComputes { name: String },
    #[error(
        "computes.{name}.pieces: there are none: write [Experts], [Weights, Kv] or the like, or leave the tier out"
    )]
    NoPieces { name: String },
    #[error("computes.{name}.per_stage: {time} is too long: write at most {MAX_TIME}, as \"30 us\"")]
    TierTime { name: String, time: SimTime },
    #[error(
        "computes.{name}.activations: the model gives its layers in bytes, so the size of a token's activations is not known: write it, as \"16 KiB\""
    )]
    Activations { name: String },
    #[error("ranks.count: {0} chips: write from 1 to {MAX_RANKS}")]
    Ranks(u32),
    #[error("{field}: the KV has no format in a runtime: leave it out, or write class: Weights")]
    KvFormat { field: String },
    #[error(
        "{field}: the memory system '{memory}' has no tier '{name}': use one of {known}.{}",
        did_you_mean(name, known.split(", "))
    )]
    Tier { field: String, name: String, memory: String, known: String },
}

impl RuntimeConfig {
    /// Checks all that can be checked without a memory system.
    ///
    /// # Errors
    /// [`RuntimeError`], naming the field, the value and what to write instead.
    pub fn check(&self) -> Result<(), RuntimeError> {
        check_name(&self.name).map_err(RuntimeError::Name)?;
        for (field, time) in
            [("per_stage", self.per_stage), ("per_sequence", self.per_sequence), ("per_step", self.per_step)]
                .into_iter()
                .chain(self.ranks.map(|ranks| ("ranks.all_reduce", ranks.all_reduce)))
        {
            if time > MAX_TIME {
                return Err(RuntimeError::Time { field, time });
            }
        }
        if let Some(count) = self.ranks.map(|ranks| ranks.count).filter(|count| !(1..=MAX_RANKS).contains(count)) {
            return Err(RuntimeError::Ranks(count));
        }
        for (name, way) in &self.reads {
            if let ReadsConfig::Staged { ahead, .. } = *way
                && ahead > MAX_AHEAD
            {
                return Err(RuntimeError::Ahead { name: name.clone(), ahead });
            }
        }
        self.computes.iter().try_for_each(|(name, of)| of.check(name))?;
        check_count("interference", self.interference.len())?;
        for (index, rule) in self.interference.iter().enumerate() {
            check_shares(&format!("interference[{index}].left"), &rule.left)?;
        }
        check_count("amplification", self.amplification.len())?;
        for (index, rule) in self.amplification.iter().enumerate() {
            check_factors(&format!("amplification[{index}].factors"), rule)?;
        }
        check_count("reaches", self.reaches.len())?;
        self.reaches.iter().enumerate().try_for_each(|(index, rule)| check_rule(index, rule))
    }
}

fn check_count(field: &str, count: usize) -> Result<(), RuntimeError> {
    if count > MAX_REACHES { Err(RuntimeError::TooMany { field: field.to_owned(), count }) } else { Ok(()) }
}

fn check_rule(index: usize, rule: &ReachConfig) -> Result<(), RuntimeError> {
    if rule.class == ReachClass::Kv && rule.format.is_some() {
        return Err(RuntimeError::KvFormat { field: format!("reaches[{index}].format") });
    }
    check_shares(&format!("reaches[{index}].reach"), &rule.reach)
}

fn check_factors(field: &str, rule: &AmplificationConfig) -> Result<(), RuntimeError> {
    check_count(field, rule.factors.len())?;
    if rule.factors.is_empty() {
        return Err(RuntimeError::NoFactors { field: field.to_owned() });
    }
    let mut before = 0;
    for (at, &(tokens, value)) in rule.factors.iter().enumerate() {
        let field = format!("{field}[{at}]");
        if !(1.0..=MAX_FACTOR).contains(&value) {
            return Err(RuntimeError::Factor { field, value });
        }
        if tokens <= before {
            return Err(RuntimeError::Tokens { field, tokens, before });
        }
        before = tokens;
    }
    Ok(())
}

/// Checks shares of a bandwidth, by size.
fn check_shares(field: &str, shares: &BySize) -> Result<(), RuntimeError> {
    let share = |field: String, value: f64| match Reach::new(value) {
        Some(_) => Ok(()),
        None => Err(RuntimeError::Reach { field, value }),
    };
    let points = match shares {
        BySize::Constant(value) => return share(field.to_owned(), *value),
        BySize::Points(points) => points,
    };
    check_count(field, points.len())?;
    if points.is_empty() {
        return Err(RuntimeError::NoPoints { field: field.to_owned() });
    }
    for (at, &(size, value)) in points.iter().enumerate() {
        share(format!("{field}[{at}]"), value)?;
        let before = at.checked_sub(1).map_or(Bytes::ZERO, |before| points[before].0);
        if size <= before {
            return Err(RuntimeError::Order { field: format!("{field}[{at}]"), size, before });
        }
    }
    Ok(())
}

/// The tier of that name; `field` is where it is named.
pub(super) fn tier_named(
    name: &str,
    system: &MemorySystem,
    field: impl Fn() -> String,
) -> Result<TierId, RuntimeError> {
    system.tier_ids().zip(system.tiers()).find(|(_, tier)| tier.name == name).map(|(id, _)| id).ok_or_else(|| {
        RuntimeError::Tier {
            field: field(),
            name: name.to_owned(),
            memory: system.name().to_owned(),
            known: system.tiers().iter().map(|tier| tier.name.as_str()).collect::<Vec<_>>().join(", "),
        }
    })
}
