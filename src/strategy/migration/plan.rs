use crate::memory::{Ledger, TierId};
use crate::units::Bytes;

/// The moves of one decision: for each pair of tiers the tokens, in the order in which they are carried. All of a pair
/// become one transfer.
#[derive(Clone, Debug)]
pub struct MovePlan {
    tiers: usize,
    /// What each tier has free for arrivals.
    free: Vec<Bytes>,
    kv_bytes: Bytes,
    /// By source, then destination.
    tokens: Vec<Vec<u32>>,
}

impl MovePlan {
    /// An empty plan between so many tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self { tiers, free: vec![Bytes::ZERO; tiers], kv_bytes: Bytes::ZERO, tokens: vec![Vec::new(); tiers * tiers] }
    }

    /// Empties the plan for a layer with tokens of `kv_bytes`, with the room that `ledger` has at this moment.
    pub fn reset(&mut self, kv_bytes: Bytes, ledger: &Ledger) {
        self.kv_bytes = kv_bytes;
        for (tier, free) in self.free.iter_mut().enumerate() {
            *free = ledger.room_for_moves(TierId(tier));
        }
        self.tokens.iter_mut().for_each(Vec::clear);
    }

    /// How many tokens more `destination` has room for.
    #[must_use]
    pub fn room(&self, destination: TierId) -> usize {
        usize::try_from(self.free[destination.0].whole_units(self.kv_bytes)).unwrap_or(usize::MAX)
    }

    /// Adds `token`, which must lie on `source` and not be in flight. False, and nothing added, if `destination` has no
    /// room for it.
    pub fn add(&mut self, token: usize, source: TierId, destination: TierId) -> bool {
        if self.free[destination.0] < self.kv_bytes {
            return false;
        }
        self.free[destination.0] -= self.kv_bytes;
        self.tokens[source.0 * self.tiers + destination.0].push(token as u32);
        true
    }

    /// The moves, by source, then destination; none is empty.
    pub fn moves(&self) -> impl Iterator<Item = (TierId, TierId, &[u32])> {
        self.tokens
            .iter()
            .enumerate()
            .filter(|(_, tokens)| !tokens.is_empty())
            .map(|(pair, tokens)| (TierId(pair / self.tiers), TierId(pair % self.tiers), tokens.as_slice()))
    }
}
