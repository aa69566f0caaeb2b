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
    /// How each of `staged` is copied; empty where every stage copies all that it needs itself, at
    /// once, before it reads.
    pub pipelines: Vec<Pipeline>,
}

/// How a tier is copied into its buffer, ahead of the stages that read it or chunk by chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Which tier.
    pub tier: TierId,
    /// The room of its buffer on the first tier.
    pub buffer: Bytes,
    /// How many stages early its copies may begin.
    pub ahead: u32,
    /// The most of one copy, where a stage reads each as soon as it has arrived.
    pub chunk: Option<Bytes>,
}

impl Pipeline {
    /// The most that one copy carries.
    #[must_use]
    pub fn most(&self) -> Bytes {
        self.chunk.unwrap_or(self.buffer)
    }
}

/// A buffer has no more chunks than these: each is a transfer.
const MOST_CHUNKS: u64 = 4096;

impl Reads {
    /// How `config` reads the tiers of `system`.
    ///
    /// # Errors
    /// [`RuntimeError`] for a tier that does not exist, the first tier, a buffer that leaves no
    /// room on it, chunks that do not fit it or are too small, channels that copies cannot be
    /// spread over, and a reach on a tier that is copied.
    pub fn new(config: &RuntimeConfig, system: &MemorySystem) -> Result<Self, RuntimeError> {
        let mut reads = Self::default();
        for (name, way) in &config.reads {
            let tier = tier_named(name, system, || "reads".to_owned())?;
            match *way {
                ReadsConfig::Direct => {}
                _ if tier == TierId::HBM => return Err(RuntimeError::FirstTier { name: name.clone() }),
                ReadsConfig::Serial => reads.serial.push(tier),
                ReadsConfig::Staged { buffer, ahead, chunk } => {
                    // Capacities are below 2^63, and so is what passed the check before.
                    reads.buffers = Bytes::new(reads.buffers.get().saturating_add(buffer.get()));
                    check_staged(name, tier, reads.buffers, system)?;
                    if let Some(chunk) = chunk
                        .filter(|chunk| !(buffer.get().div_ceil(MOST_CHUNKS)..=buffer.get()).contains(&chunk.get()))
                    {
                        return Err(RuntimeError::Chunk { name: name.clone(), chunk, buffer });
                    }
                    reads.staged.push(tier);
                    reads.pipelines.push(Pipeline { tier, buffer, ahead, chunk });
                }
            }
        }
        reads.serial.sort_unstable();
        reads.staged.sort_unstable();
        reads.pipelines.sort_unstable_by_key(|pipeline| pipeline.tier);
        if reads.pipelines.iter().all(|pipeline| pipeline.ahead == 0 && pipeline.chunk.is_none()) {
            reads.pipelines.clear();
        }
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
