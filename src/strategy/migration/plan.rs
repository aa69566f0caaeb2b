//! The moves that one decision asks for.
//!
//! A migration adds pages to a [`MovePlan`], which knows what each tier has room for and how much
//! may still be moved: it refuses what does not fit, so no decision can overfill a tier. Pages that
//! go the same way become one transfer, in the order in which they were added.

use super::move_batch::{MoveBatch, Order};
use crate::memory::{Ledger, PerTier, TierId};
use crate::units::{Bytes, Page, RegionId};
use crate::workload::tokens::Word;

/// How a page gets to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRoute {
    /// Read at its source, written at its destination.
    Direct,
    /// Written at its destination from the chip, as the present step has read it.
    ViaChip,
}

impl MoveRoute {
    /// How many routes there are.
    pub const COUNT: usize = 2;
}

/// The moves of one decision: for each route and pair of tiers the pages, in the order in which
/// they are carried.
#[derive(Clone, Debug)]
pub struct MovePlan {
    tiers: usize,
    /// What each tier has free for arrivals.
    free: PerTier<Bytes>,
    /// What may still be moved.
    budget: Bytes,
    page_bytes: Bytes,
    /// Whether the last tier has a copy of every page, so that an eviction to it carries nothing
    /// and frees its place at once.
    copied: bool,
    /// By route, then source, then destination.
    batches: Vec<MoveBatch>,
    /// Evictions from other regions.
    elsewhere: Vec<(RegionId, TierId, Page)>,
}

impl MovePlan {
    /// An empty plan between so many tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self {
            tiers,
            free: PerTier::filled(tiers, Bytes::ZERO),
            budget: Bytes::ZERO,
            page_bytes: Bytes::ZERO,
            copied: false,
            batches: vec![MoveBatch::default(); MoveRoute::COUNT * tiers * tiers],
            elsewhere: Vec::new(),
        }
    }

    /// Empties the plan for a region with pages of `page_bytes`, with the room that `ledger` has at
    /// this moment, and `budget` bytes to move at most.
    pub fn reset(&mut self, page_bytes: Bytes, ledger: &Ledger, budget: Bytes) {
        self.page_bytes = page_bytes;
        self.budget = budget;
        self.copied = ledger.has_copy(self.last());
        for (tier, free) in self.free.iter_mut() {
            *free = ledger.room_for_moves(tier);
        }
        self.batches.iter_mut().for_each(MoveBatch::clear);
        self.elsewhere.clear();
    }

    fn last(&self) -> TierId {
        TierId::new(self.tiers - 1)
    }

    /// How many pages more may move to `destination`: as many whole pages as fit and the budget
    /// allows.
    #[must_use]
    pub fn room(&self, destination: TierId) -> usize {
        let bytes = self.free[destination].min(self.budget);
        usize::try_from(bytes.whole_units(self.page_bytes)).unwrap_or(usize::MAX)
    }

    /// How many pages more the budget allows to move.
    #[must_use]
    pub fn allowed(&self) -> usize {
        let pages = self.budget.get().checked_div(self.page_bytes.get());
        pages.and_then(|pages| usize::try_from(pages).ok()).unwrap_or(usize::MAX)
    }

    /// Evicts `page` from HBM, where it must lie and not be in flight, to the slowest tier that has
    /// room. Where the last tier has a copy of it, nothing is carried, and its place is free at
    /// once for a page of the same plan; elsewhere when it has arrived. False, and nothing evicted,
    /// if no tier has room for it or the budget is spent.
    pub fn evict(&mut self, page: Page) -> bool {
        let last = self.last();
        if self.copied && last != TierId::HBM {
            self.batches[last.index()].push(page.index() as u32);
            self.free[TierId::HBM] += self.page_bytes;
            return true;
        }
        (1..self.tiers).rev().any(|tier| self.add(page, TierId::HBM, TierId::new(tier)))
    }

    /// As [`evict`](Self::evict), of a page of another region, whose pages take `page_bytes` each.
    pub fn evict_elsewhere(&mut self, region: RegionId, page: Page, page_bytes: Bytes) -> bool {
        let destination = if self.copied {
            self.free[TierId::HBM] += page_bytes;
            Some(self.last())
        } else {
            let fits = |tier: &TierId| self.free[*tier].min(self.budget) >= page_bytes;
            let destination = (1..self.tiers).rev().map(TierId::new).find(fits);
            if let Some(tier) = destination {
                self.free[tier] -= page_bytes;
                self.budget -= page_bytes;
            }
            destination
        };
        self.elsewhere.extend(destination.map(|destination| (region, destination, page)));
        destination.is_some()
    }

    /// Adds `page`, which must lie on `source` and not be in flight. False, and nothing added, if
    /// `destination` has no room for it or the budget is spent.
    pub fn add(&mut self, page: Page, source: TierId, destination: TierId) -> bool {
        self.add_by(MoveRoute::Direct, page, source, destination)
    }

    /// As [`add`](Self::add) for a page that the present step has read: a copy of it is retained in
    /// `destination`, without a second read. The chip keeps what a layer reads until the layer
    /// ends.
    pub fn retain(&mut self, page: Page, source: TierId, destination: TierId) -> bool {
        self.add_by(MoveRoute::ViaChip, page, source, destination)
    }

    fn add_by(&mut self, route: MoveRoute, page: Page, source: TierId, destination: TierId) -> bool {
        if self.free[destination].min(self.budget) < self.page_bytes {
            return false;
        }
        self.free[destination] -= self.page_bytes;
        self.budget -= self.page_bytes;
        let place = self.place(route, source, destination);
        self.batches[place].push(page.index() as u32);
        true
    }

    /// Adds pages as [`add`](MovePlan::add) does: those whose bits `set` has, in `order`; at most
    /// `most`, and no more than `destination` has room for. Returns how many.
    pub(super) fn add_set(
        &mut self,
        set: &[Word],
        order: Order,
        source: TierId,
        destination: TierId,
        most: usize,
    ) -> usize {
        let most = most.min(self.room(destination));
        let place = self.place(MoveRoute::Direct, source, destination);
        let added = self.batches[place].push_set(set, order, most);
        self.free[destination] -= self.page_bytes.times(added as u64);
        self.budget -= self.page_bytes.times(added as u64);
        added
    }

    /// The pages that move directly from `source` to `destination`.
    pub(super) fn batch(&self, source: TierId, destination: TierId) -> &MoveBatch {
        &self.batches[self.place(MoveRoute::Direct, source, destination)]
    }

    /// Calls `evicted` with the evictions from other regions, by region and destination, the pages
    /// in ascending order in `batch`, which is scratch space. They are to be carried out before the
    /// [`moves`](Self::moves), which may need their places.
    pub fn evictions_elsewhere(
        &mut self,
        batch: &mut MoveBatch,
        mut evicted: impl FnMut(RegionId, TierId, &MoveBatch),
    ) {
        self.elsewhere.sort_unstable();
        for group in self.elsewhere.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            batch.clear();
            group.iter().for_each(|(_, _, page)| batch.push(page.index() as u32));
            evicted(group[0].0, group[0].1, batch);
        }
    }

    /// The moves, by route, then source, then destination; none is empty. So evictions come first.
    pub fn moves(&self) -> impl Iterator<Item = (MoveRoute, TierId, TierId, &MoveBatch)> {
        let pairs = self.tiers * self.tiers;
        self.batches.iter().enumerate().filter(|(_, batch)| !batch.is_empty()).map(move |(index, batch)| {
            let route = if index < pairs { MoveRoute::Direct } else { MoveRoute::ViaChip };
            let pair = index % pairs;
            (route, TierId::new(pair / self.tiers), TierId::new(pair % self.tiers), batch)
        })
    }

    fn place(&self, route: MoveRoute, source: TierId, destination: TierId) -> usize {
        (route as usize * self.tiers + source.index()) * self.tiers + destination.index()
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
        fn words_are_added_as_page_by_page(
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
                let bit = |page: &usize| words[page / WORD_BITS] >> (page % WORD_BITS) & 1 == 1;
                let mut pages: Vec<usize> = (0..words.len() * WORD_BITS).filter(bit).collect();
                let order = if ascending { Order::Ascending } else { Order::Descending };
                if !ascending {
                    pages.reverse();
                }
                let one_by_one = pages.into_iter().take(most).map(Page::new);
                let added = one_by_one.filter(|page| twin.add(*page, source, destination)).count();
                prop_assert_eq!(fast.add_set(&words, order, source, destination, most), added);
                let listed = |plan: &MovePlan| {
                    let mut list = Vec::new();
                    plan.batch(source, destination).list_in(&mut list);
                    list
                };
                prop_assert_eq!(listed(&fast), listed(&twin));
                prop_assert_eq!(fast.room(destination), twin.room(destination));
            }
        }
    }
}
