//! How many bytes are in use on each tier.
//!
//! Capacity is reserved before data moves and released after it has gone, so a tier is never fuller
//! than it can be. Under inclusive residency the last tier holds a copy of all data, so storing on
//! a faster tier takes room there as well, and moves towards the last tier take none.

use super::{MemorySystem, PerTier, ResidencyKind, TierId};
use crate::units::Bytes;
use thiserror::Error;

/// A tier has not the room that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{tier}' has {} free of {}, {} too little for {}", free.rounded(), capacity.rounded(), missing.rounded(), needed.rounded())]
pub struct Shortage {
    /// The tier's name.
    pub tier: String,
    /// What it holds in all.
    pub capacity: Bytes,
    /// What of it was free.
    pub free: Bytes,
    /// What was to go there.
    pub needed: Bytes,
    /// `needed` less `free`.
    pub missing: Bytes,
}

/// The bytes in use on each tier: what lies there and what is reserved for data on its way. Never
/// above capacity.
#[derive(Clone, Debug)]
pub struct Ledger {
    tiers: PerTier<Account>,
    residency: ResidencyKind,
}

#[derive(Clone, Debug)]
struct Account {
    name: String,
    capacity: Bytes,
    used: Bytes,
    peak: Bytes,
}

impl Ledger {
    /// All tiers of `system`, empty.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        let tiers = system.tiers().iter().map(|tier| Account {
            name: tier.name.clone(),
            capacity: tier.capacity,
            used: Bytes::ZERO,
            peak: Bytes::ZERO,
        });
        Self { tiers: tiers.collect(), residency: system.residency() }
    }

    /// Takes `bytes` on `tier` for as long as they are not released.
    ///
    /// # Errors
    /// [`Shortage`] if they do not fit; nothing is taken then.
    pub fn reserve(&mut self, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        let free = self.free(tier);
        let account = &mut self.tiers[tier];
        if bytes > free {
            return Err(Shortage {
                tier: account.name.clone(),
                capacity: account.capacity,
                free,
                needed: bytes,
                missing: bytes - free,
            });
        }
        account.used += bytes;
        account.peak = account.peak.max(account.used);
        Ok(())
    }

    /// Gives back `bytes` that were reserved on `tier`.
    pub fn release(&mut self, tier: TierId, bytes: Bytes) {
        debug_assert!(self.tiers[tier].used >= bytes, "more released than was held");
        self.tiers[tier].used -= bytes;
    }

    /// What may still be reserved on `tier`.
    #[must_use]
    pub fn free(&self, tier: TierId) -> Bytes {
        self.tiers[tier].capacity - self.tiers[tier].used
    }

    /// Takes `bytes` for data that is to lie on `tier`: there and, under inclusive residency, on
    /// the last tier as well.
    ///
    /// # Errors
    /// [`Shortage`] if they do not fit; nothing is taken then.
    pub fn store(&mut self, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        let last = self.tiers.last();
        let copied = self.residency == ResidencyKind::Inclusive && tier != last;
        if copied && bytes <= self.free(tier) {
            self.reserve(last, bytes)?;
        }
        self.reserve(tier, bytes)
    }

    /// Gives back `bytes` that were [stored](Self::store) on `tier`: there and, under inclusive
    /// residency, their copy on the last tier as well.
    pub fn discard(&mut self, tier: TierId, bytes: Bytes) {
        let last = self.tiers.last();
        if self.residency == ResidencyKind::Inclusive && tier != last {
            self.release(last, bytes);
        }
        self.release(tier, bytes);
    }

    /// What may still be stored on `tier`: under inclusive residency no more than the last tier has
    /// free for the copy.
    #[must_use]
    pub fn room(&self, tier: TierId) -> Bytes {
        let last = self.tiers.last();
        match self.residency {
            ResidencyKind::Exclusive => self.free(tier),
            ResidencyKind::Inclusive => self.free(tier).min(self.free(last)),
        }
    }

    /// What may still move to `tier`: where it has a copy of all, anything.
    #[must_use]
    pub fn room_for_moves(&self, tier: TierId) -> Bytes {
        if self.has_copy(tier) { Bytes::new(u64::MAX) } else { self.free(tier) }
    }

    /// Whether `tier` holds a copy of all.
    #[must_use]
    pub fn has_copy(&self, tier: TierId) -> bool {
        self.residency == ResidencyKind::Inclusive && tier == self.tiers.last()
    }

    /// What is in use on `tier`.
    #[must_use]
    pub fn used(&self, tier: TierId) -> Bytes {
        self.tiers[tier].used
    }

    /// The most that was in use on `tier` at any moment.
    #[must_use]
    pub fn peak(&self, tier: TierId) -> Bytes {
        self.tiers[tier].peak
    }
}
