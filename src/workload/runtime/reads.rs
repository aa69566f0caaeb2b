//! How each tier but the first is read, checked against a memory system.

use super::check::{RuntimeError, tier_named};
use super::config::{ReadsConfig, RuntimeConfig};
use crate::memory::{Interleaving, MemorySystem, TierId};
use crate::units::Bytes;

/// The tiers that are not read in place at the same time as the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reads {
    /// Those that are read when all faster ones have been, the fastest first.
    pub serial: Vec<TierId>,
    /// Those that are copied into a buffer on the first tier.
    pub staged: Vec<TierId>,
    /// The room that all buffers take there.
    pub buffers: Bytes,
}

impl Reads {
    /// How `config` reads the tiers of `system`.
    ///
    /// # Errors
    /// [`RuntimeError`] for a tier that does not exist, the first tier, a buffer that leaves no
    /// room on it, channels that copies cannot be spread over, and a reach on a tier that is
    /// copied.
    pub fn new(config: &RuntimeConfig, system: &MemorySystem) -> Result<Self, RuntimeError> {
        let mut reads = Self::default();
        for (name, way) in &config.reads {
            let tier = tier_named(name, system, || "reads".to_owned())?;
            match *way {
                ReadsConfig::Direct => {}
                _ if tier == TierId::HBM => return Err(RuntimeError::FirstTier { name: name.clone() }),
                ReadsConfig::Serial => reads.serial.push(tier),
                ReadsConfig::Staged { buffer, .. } => {
                    reads.buffers += buffer;
                    check_staged(name, tier, reads.buffers, system)?;
                    reads.staged.push(tier);
                }
            }
        }
        reads.serial.sort_unstable();
        reads.staged.sort_unstable();
        let is_copied = |name: &str| reads.staged.iter().any(|tier| system.tiers()[tier.index()].name == name);
        for (index, rule) in config.reaches.iter().enumerate() {
            if let Some(name) = rule.tier.as_ref().filter(|name| is_copied(name)) {
                return Err(RuntimeError::Copied { field: format!("reaches[{index}].tier"), name: name.clone() });
            }
        }
        Ok(reads)
    }
}

/// Whether data of `tier` can be copied into buffers that take so much in all.
fn check_staged(name: &str, tier: TierId, buffer: Bytes, system: &MemorySystem) -> Result<(), RuntimeError> {
    let first = &system.tiers()[TierId::HBM.index()];
    if buffer >= first.capacity {
        let (first, capacity) = (first.name.clone(), first.capacity);
        return Err(RuntimeError::Buffer { name: name.to_owned(), buffer, first, capacity });
    }
    for tier in [TierId::HBM, tier] {
        let spec = &system.tiers()[tier.index()];
        if spec.interleaving != Interleaving::Striped {
            return Err(RuntimeError::Hashed { name: name.to_owned(), hashed: spec.name.clone() });
        }
    }
    Ok(())
}
