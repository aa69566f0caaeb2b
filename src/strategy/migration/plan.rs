use crate::memory::{Ledger, TierId};
use crate::units::Bytes;

/// How a token gets where it is to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Read at its source, written at its destination.
    Move,
    /// Written at its destination, as it is on the chip: the present step has read it.
    Promotion,
}

/// The moves of one decision: for each pair of tiers the tokens, in the order in which they are carried. All of a pair that go
/// the same way become one transfer.
#[derive(Clone, Debug)]
pub struct MovePlan {
    tiers: usize,
    /// What each tier has free for arrivals.
    free: Vec<Bytes>,
    /// What may be carried yet.
    budget: Bytes,
    kv_bytes: Bytes,
    /// By carriage, then source, then destination.
    tokens: Vec<Vec<u32>>,
}

impl MovePlan {
    /// An empty plan between so many tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self {
            tiers,
            free: vec![Bytes::ZERO; tiers],
            budget: Bytes::ZERO,
            kv_bytes: Bytes::ZERO,
            tokens: vec![Vec::new(); 2 * tiers * tiers],
        }
    }

    /// Empties the plan for a layer with tokens of `kv_bytes`, with the room that `ledger` has at this moment, and `budget` bytes
    /// to carry at most.
    pub fn reset(&mut self, kv_bytes: Bytes, ledger: &Ledger, budget: Bytes) {
        self.kv_bytes = kv_bytes;
        self.budget = budget;
        for (tier, free) in self.free.iter_mut().enumerate() {
            *free = ledger.room_for_moves(TierId(tier));
        }
        self.tokens.iter_mut().for_each(Vec::clear);
    }

    /// How many tokens more may be carried to `destination`: as many as fit and the budget allows.
    #[must_use]
    pub fn room(&self, destination: TierId) -> usize {
        let bytes = self.free[destination.0].min(self.budget);
        usize::try_from(bytes.whole_units(self.kv_bytes)).unwrap_or(usize::MAX)
    }

    /// Adds `token`, which must lie on `source` and not be in flight. False, and nothing added, if `destination` has no
    /// room for it or the budget is spent.
    pub fn add(&mut self, token: usize, source: TierId, destination: TierId) -> bool {
        self.carry(Carriage::Move, token, source, destination)
    }

    /// As [`add`](Self::add) for a token that the present step has read: it need not be read again. That is kept on the chip
    /// from a layer's reads to the end of the layer.
    pub fn promote(&mut self, token: usize, source: TierId, destination: TierId) -> bool {
        self.carry(Carriage::Promotion, token, source, destination)
    }

    fn carry(&mut self, carriage: Carriage, token: usize, source: TierId, destination: TierId) -> bool {
        if self.free[destination.0].min(self.budget) < self.kv_bytes {
            return false;
        }
        self.free[destination.0] -= self.kv_bytes;
        self.budget -= self.kv_bytes;
        let pair = source.0 * self.tiers + destination.0;
        self.tokens[carriage as usize * self.tiers * self.tiers + pair].push(token as u32);
        true
    }

    /// The moves, by carriage, then source, then destination; none is empty.
    pub fn moves(&self) -> impl Iterator<Item = (Carriage, TierId, TierId, &[u32])> {
        let pairs = self.tiers * self.tiers;
        self.tokens.iter().enumerate().filter(|(_, tokens)| !tokens.is_empty()).map(move |(index, tokens)| {
            let carriage = if index < pairs { Carriage::Move } else { Carriage::Promotion };
            let pair = index % pairs;
            (carriage, TierId(pair / self.tiers), TierId(pair % self.tiers), tokens.as_slice())
        })
    }
}
