//! What a runtime cannot be.

use super::config::{BySize, ReachClass, ReachConfig, ReadsConfig, RuntimeConfig};
use crate::config::{NameError, check_name, did_you_mean};
use crate::memory::{MemorySystem, Reach, TierId};
use crate::units::{Bytes, SimTime};
use thiserror::Error;

/// The longest of a runtime's times.
pub(super) const MAX_TIME: SimTime = SimTime::from_ps(SimTime::PS_PER_SECOND);
/// The most rules of `reaches`, and the most points of one.
const MAX_REACHES: usize = 256;

/// The most chips that a model is spread over.
const MAX_RANKS: u32 = 1024;

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
    #[error("reads: '{name}' is the first tier, which is always read in place, at once: leave it out")]
    FirstTier { name: String },
    #[error("reads.{name}.ahead: {ahead}: only copies of the present stage can be simulated: write 0")]
    Ahead { name: String, ahead: u32 },
    #[error(
        "reads.{name}.buffer: {} of buffers leave no room on '{first}', which holds {}: write less",
        buffer.rounded(),
        capacity.rounded()
    )]
    Buffer { name: String, buffer: Bytes, first: String, capacity: Bytes },
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
                && ahead > 0
            {
                return Err(RuntimeError::Ahead { name: name.clone(), ahead });
            }
        }
        self.computes.iter().try_for_each(|(name, of)| of.check(name))?;
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
    let field = format!("reaches[{index}].reach");
    let share = |field: String, value: f64| match Reach::new(value) {
        Some(_) => Ok(()),
        None => Err(RuntimeError::Reach { field, value }),
    };
    let points = match &rule.reach {
        BySize::Constant(value) => return share(field, *value),
        BySize::Points(points) => points,
    };
    check_count(&field, points.len())?;
    if points.is_empty() {
        return Err(RuntimeError::NoPoints { field });
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
