use super::convoy::{Convoy, Order};
use crate::memory::{Ledger, TierId};
use crate::units::Bytes;
use crate::workload::tokens::Word;

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
    /// Whether the last tier has a copy of every token, so that an eviction to it carries nothing
    /// and frees its place at once.
    copied: bool,
    /// By carriage, then source, then destination.
    convoys: Vec<Convoy>,
    /// Evictions from other layers: layer, destination, token.
    elsewhere: Vec<(usize, TierId, u32)>,
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
            copied: false,
            convoys: vec![Convoy::default(); 2 * tiers * tiers],
            elsewhere: Vec::new(),
        }
    }

    /// Empties the plan for a layer with tokens of `kv_bytes`, with the room that `ledger` has at this moment, and `budget` bytes
    /// to carry at most.
    pub fn reset(&mut self, kv_bytes: Bytes, ledger: &Ledger, budget: Bytes) {
        self.kv_bytes = kv_bytes;
        self.budget = budget;
        self.copied = ledger.has_copy(TierId::new(self.tiers - 1));
        for (tier, free) in self.free.iter_mut().enumerate() {
            *free = ledger.room_for_moves(TierId::new(tier));
        }
        self.convoys.iter_mut().for_each(Convoy::clear);
        self.elsewhere.clear();
    }

    /// How many tokens more may be carried to `destination`: as many as fit and the budget allows.
    #[must_use]
    pub fn room(&self, destination: TierId) -> usize {
        let bytes = self.free[destination.index()].min(self.budget);
        usize::try_from(bytes.whole_units(self.kv_bytes)).unwrap_or(usize::MAX)
    }

    /// How many tokens more the budget allows to carry.
    #[must_use]
    pub fn allowed(&self) -> usize {
        let tokens = self.budget.get().checked_div(self.kv_bytes.get());
        tokens.and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(usize::MAX)
    }

    /// Evicts `token` from HBM, where it must lie and not be in flight, to the slowest tier that
    /// has room. Where the last tier has a copy of it, nothing is carried, and its place is free at
    /// once for a token of the same plan; elsewhere when it has arrived. False, and nothing
    /// evicted, if no tier has room for it or the budget is spent.
    pub fn evict(&mut self, token: usize) -> bool {
        let last = TierId::new(self.tiers - 1);
        if self.copied && last != TierId::HBM {
            self.convoys[last.index()].push(token as u32);
            self.free[0] += self.kv_bytes;
            return true;
        }
        (1..self.tiers).rev().any(|tier| self.add(token, TierId::HBM, TierId::new(tier)))
    }

    /// As [`evict`](Self::evict), of a token of another layer, whose tokens take `kv_bytes` each.
    pub fn evict_elsewhere(&mut self, layer: usize, token: usize, kv_bytes: Bytes) -> bool {
        let last = TierId::new(self.tiers - 1);
        let destination = if self.copied {
            self.free[0] += kv_bytes;
            Some(last)
        } else {
            let fits = |tier: &TierId| self.free[tier.index()].min(self.budget) >= kv_bytes;
            let destination = (1..self.tiers).rev().map(TierId::new).find(fits);
            if let Some(tier) = destination {
                self.free[tier.index()] -= kv_bytes;
                self.budget -= kv_bytes;
            }
            destination
        };
        self.elsewhere.extend(destination.map(|destination| (layer, destination, token as u32)));
        destination.is_some()
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
        if self.free[destination.index()].min(self.budget) < self.kv_bytes {
            return false;
        }
        self.free[destination.index()] -= self.kv_bytes;
        self.budget -= self.kv_bytes;
        let pair = source.index() * self.tiers + destination.index();
        self.convoys[carriage as usize * self.tiers * self.tiers + pair].push(token as u32);
        true
    }

    /// Adds tokens as [`add`](MovePlan::add) does: those whose bits `set` has, in `order`; at most `most`, and no more than
    /// `destination` has room for. Returns how many.
    pub(super) fn add_set(
        &mut self,
        set: &[Word],
        order: Order,
        source: TierId,
        destination: TierId,
        most: usize,
    ) -> usize {
        let most = most.min(self.room(destination));
        let added = self.convoys[source.index() * self.tiers + destination.index()].push_set(set, order, most);
        self.free[destination.index()] -= self.kv_bytes.times(added as u64);
        self.budget -= self.kv_bytes.times(added as u64);
        added
    }

    /// The tokens that move from `source` to `destination`.
    pub(super) fn convoy(&self, source: TierId, destination: TierId) -> &Convoy {
        &self.convoys[source.index() * self.tiers + destination.index()]
    }

    /// The evictions from other layers by layer, then destination: calls `evicted` with each of
    /// these, and the tokens in `convoy`, which is used for them. They are to be carried out before
    /// the [`moves`](Self::moves), which may need their places.
    pub fn evictions_elsewhere(&mut self, convoy: &mut Convoy, mut evicted: impl FnMut(usize, TierId, &Convoy)) {
        self.elsewhere.sort_unstable();
        for group in self.elsewhere.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            convoy.clear();
            group.iter().for_each(|(_, _, token)| convoy.push(*token));
            evicted(group[0].0, group[0].1, convoy);
        }
    }

    /// The moves, by carriage, then source, then destination; none is empty. So evictions come
    /// first.
    pub fn moves(&self) -> impl Iterator<Item = (Carriage, TierId, TierId, &Convoy)> {
        let pairs = self.tiers * self.tiers;
        self.convoys.iter().enumerate().filter(|(_, convoy)| !convoy.is_empty()).map(move |(index, convoy)| {
            let carriage = if index < pairs { Carriage::Move } else { Carriage::Promotion };
            let pair = index % pairs;
            (carriage, TierId::new(pair / self.tiers), TierId::new(pair % self.tiers), convoy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySystem;
    use crate::workload::tokens::WORD_BITS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_are_added_as_token_by_token(
            lists in prop::collection::vec(
                (prop::collection::vec((any::<Word>(), any::<Word>()), 0..20), 0usize..300, any::<bool>()), 1..4),
            room in 0u64..400, budget in 0u64..400,
        ) {
            let mut memory = crate::catalog::memory("study").unwrap();
            memory.tiers[1].capacity = Bytes::new(room.max(1));
            let ledger = Ledger::new(&MemorySystem::new(&memory).unwrap());
            let (source, destination) = (TierId::new(0), TierId::new(1));
            let mut fast = MovePlan::new(2);
            fast.reset(Bytes::new(1), &ledger, Bytes::new(budget));
            let mut twin = fast.clone();
            for (words, most, ascending) in lists {
                let words: Vec<Word> = words.into_iter().map(|(one, other)| one & other).collect();
                let mut tokens: Vec<usize> =
                    (0..words.len() * WORD_BITS).filter(|token| words[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1).collect();
                let order = if ascending { Order::Ascending } else { Order::Descending };
                if !ascending {
                    tokens.reverse();
                }
                let added = tokens.into_iter().take(most).filter(|token| twin.add(*token, source, destination)).count();
                prop_assert_eq!(fast.add_set(&words, order, source, destination, most), added);
                let listed = |plan: &MovePlan| {
                    let mut list = Vec::new();
                    plan.convoy(source, destination).list_in(&mut list);
                    list
                };
                prop_assert_eq!(listed(&fast), listed(&twin));
                prop_assert_eq!(fast.room(destination), twin.room(destination));
            }
        }
    }
}
