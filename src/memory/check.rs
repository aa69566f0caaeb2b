//! What a memory configuration must be, and what is said where it is not.

use super::TransferClass;
use super::config::{ClassWeights, Interleaving, MemoryConfig, TierConfig};
use super::efficiency::EfficiencyError;
use crate::config::{NameError, Reference, check_name};
use crate::units::{Bandwidth, Bytes, SimTime};
use thiserror::Error;

/// The most tiers of a memory system.
pub(super) const MAX_TIERS: usize = 8;
/// The most channels of a tier.
pub(super) const MAX_CHANNELS: u32 = 1024;
/// The longest latency of a tier, its link's included: 1 s.
pub(super) const MAX_LATENCY: SimTime = SimTime::from_ps(SimTime::PS_PER_SECOND);

/// Why a configuration is no memory system: the field, its value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum MemoryError {
    /// Too few or too many tiers.
    #[error("tiers: {0} of them, but a memory system has from 1 to {max}, the fastest first", max = MAX_TIERS)]
    TierCount(usize),
    /// The system's own name.
    #[error("name: {0}")]
    SystemName(NameError),
    /// A name that cannot stand in a path, a CSV heading or a flag.
    #[error("tiers[{index}].name: '{name}' is no name: use 1 to 32 of a-z, 0-9, '_' and '-'")]
    Name { index: usize, name: String },
    /// The name of the transfers' other end.
    #[error(
        "tiers[{index}].name: 'chip' is what transfers between a tier and the chip call the chip: use another name"
    )]
    Chip { index: usize },
    /// Two tiers of one name.
    #[error("tiers[{index}].name: '{name}' is taken by another tier: names must differ")]
    SameName { index: usize, name: String },
    /// A tier that holds nothing.
    #[error("tiers[{index}].capacity: '{name}' holds 0 bytes: write a size such as \"4GiB\"")]
    NoCapacity { index: usize, name: String },
    /// No channels, or too many.
    #[error("tiers[{index}].channels: '{name}' has {channels}, but it must have from 1 to {max}", max = MAX_CHANNELS)]
    Channels { index: usize, name: String, channels: u32 },
    /// Pages of no tokens, or absurdly long.
    #[error(
        "tiers[{index}].interleaving: '{name}' has pages of {page_tokens} tokens, but they must hold from 1 to {max}",
        max = Interleaving::MAX_PAGE_TOKENS
    )]
    PageTokens { index: usize, name: String, page_tokens: u32 },
    /// A stripe of nothing.
    #[error("tiers[{index}].stripe: '{name}' has 0 B: write a size such as \"256 B\"")]
    Stripe { index: usize, name: String },
    /// Fewer than one transfer at once.
    #[error("tiers[{index}].{field}: '{name}' carries 0 transfers at once: write at least 1, or leave it out")]
    NoTransfers { index: usize, name: String, field: &'static str },
    /// No bytes in flight.
    #[error(
        "tiers[{index}].{field}: '{name}' may have 0 B in flight: write a size such as \"64 KiB\", or leave it out"
    )]
    NoOutstanding { index: usize, name: String, field: &'static str },
    /// So few bytes in flight that less than the least bandwidth is left.
    #[error(
        "tiers[{index}].{field}: {outstanding} in flight at a latency of {latency} leave '{name}' less than 1 MB/s: \
         enlarge {field} or lower the latency"
    )]
    Outstanding { index: usize, name: String, field: &'static str, outstanding: Bytes, latency: SimTime },
    /// Packets that leave less than the least bandwidth.
    #[error("tiers[{index}].link.packet: '{name}' is left less than 1 MB/s: lower the overhead or enlarge the payload")]
    Packet { index: usize, name: String },
    /// An efficiency that makes no sense.
    #[error("tiers[{index}].efficiency of '{name}': {source}")]
    Efficiency { index: usize, name: String, source: EfficiencyError },
    /// A name that was not looked up.
    #[error(
        "tiers[{index}].{field}: '{name}' is a name, and names are looked up in the catalog: resolve the configuration first"
    )]
    Unresolved { index: usize, field: &'static str, name: String },
    /// A class weight of 0 or beyond reason.
    #[error("class_weights: the weight of {class} is {weight}, but it must be between 1 and {max}", max = ClassWeights::MAX)]
    Weight { class: TransferClass, weight: u32 },
    /// A latency beyond reason.
    #[error("tiers[{index}].latency: '{name}' answers after {latency}, link included, but at most {max} is accepted", max = MAX_LATENCY)]
    Latency { index: usize, name: String, latency: SimTime },
    /// The later tier is faster than the earlier one.
    #[error(
        "tiers[{index}].bandwidth: '{name}' can be read at {read}, faster than the tier before it ({before}): list the fastest tier first"
    )]
    Order { index: usize, name: String, read: Bandwidth, before: Bandwidth },
}

/// Checks what concerns all tiers: the system's name, how many there are, and the class weights.
pub(super) fn check_system(config: &MemoryConfig) -> Result<(), MemoryError> {
    check_name(&config.name).map_err(MemoryError::SystemName)?;
    if !(1..=MAX_TIERS).contains(&config.tiers.len()) {
        return Err(MemoryError::TierCount(config.tiers.len()));
    }
    for class in TransferClass::ALL {
        let weight = config.class_weights.of(class);
        if weight == 0 || weight > ClassWeights::MAX {
            return Err(MemoryError::Weight { class, weight });
        }
    }
    Ok(())
}

/// Checks a tier by itself, and its name against those `before` it.
pub(super) fn check_tier(index: usize, tier: &TierConfig, before: &[TierConfig]) -> Result<(), MemoryError> {
    let name = tier.name.clone();
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(usable) {
        return Err(MemoryError::Name { index, name });
    }
    if name == "chip" {
        return Err(MemoryError::Chip { index });
    }
    if before.iter().any(|other| other.name == name) {
        return Err(MemoryError::SameName { index, name });
    }
    if latency(tier) > MAX_LATENCY {
        return Err(MemoryError::Latency { index, name, latency: latency(tier) });
    }
    if let Some(Reference::Name(name)) = &tier.link {
        return Err(MemoryError::Unresolved { index, field: "link", name: name.clone() });
    }
    if let Some(Reference::Name(name)) = &tier.efficiency {
        return Err(MemoryError::Unresolved { index, field: "efficiency", name: name.clone() });
    }
    if tier.capacity == Bytes::ZERO {
        return Err(MemoryError::NoCapacity { index, name });
    }
    if !(1..=MAX_CHANNELS).contains(&tier.channels) {
        return Err(MemoryError::Channels { index, name, channels: tier.channels });
    }
    if let Interleaving::Hashed { page_tokens } = tier.interleaving
        && !(1..=Interleaving::MAX_PAGE_TOKENS).contains(&page_tokens)
    {
        return Err(MemoryError::PageTokens { index, name, page_tokens });
    }
    if tier.stripe == Bytes::ZERO {
        return Err(MemoryError::Stripe { index, name });
    }
    let of_link = tier.link().and_then(|link| link.max_transfers);
    for (field, limit) in [("max_transfers", tier.max_transfers), ("link.max_transfers", of_link)] {
        if limit == Some(0) {
            return Err(MemoryError::NoTransfers { index, name, field });
        }
    }
    let of_link = tier.link().and_then(|link| link.outstanding);
    for (field, outstanding) in [("outstanding", tier.outstanding), ("link.outstanding", of_link)] {
        if outstanding == Some(Bytes::ZERO) {
            return Err(MemoryError::NoOutstanding { index, name, field });
        }
    }
    Ok(())
}

/// A tier's latency, its link's included.
pub(super) fn latency(tier: &TierConfig) -> SimTime {
    tier.latency + tier.link().map_or(SimTime::ZERO, |link| link.latency)
}
