//! Which resident of a cache goes first.

use super::{OfRegion, Order, Room, Turns, below, tokens};
use crate::memory::TierId;
use crate::strategy::migration::{KvPages, MigrationView};
use crate::units::{Bytes, RegionId, Table};
use crate::workload::tokens::WORD_BITS;

/// A page on HBM that may be evicted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Victim {
    pub rank: u64,
    pub region: RegionId,
    pub page: u32,
}

/// The residents that compete, as they are at this moment.
pub(super) struct Residents<'a, 'v, O: Order> {
    pub order: &'a O,
    pub regions: &'a Table<RegionId, OfRegion>,
    pub view: &'a MigrationView<'v, O::Knows>,
    /// How many victims a region with a room of its own needs at most.
    pub most: usize,
}

impl<O: Order> Residents<'_, '_, O> {
    fn has_several_sequences(&self) -> bool {
        self.view.regions.count() > self.view.layers
    }
}

/// Residents in the order in which they are evicted, sorted when a decision first asks for one.
pub(super) struct Victims {
    room: Room,
    /// One for each region; a single one that is filled anew for every decision where regions have
    /// rooms of their own.
    queues: Vec<Queue>,
    /// Regions whose queues lack pages that were in flight when they were filled.
    incomplete: Vec<RegionId>,
}

#[derive(Default)]
struct Queue {
    /// Rank and page, the least rank first; of equals the lowest page.
    pages: Vec<(u64, u32)>,
    next: usize,
    is_filled: bool,
}

impl Victims {
    pub fn new(room: Room) -> Self {
        Self { room, queues: Vec::new(), incomplete: Vec::new() }
    }

    /// The worth of the pages of `region`, or its residents, have changed.
    pub fn outdated(&mut self, region: RegionId) {
        let queue = self.queue_of(region);
        if queue >= self.queues.len() {
            self.queues.resize_with(queue + 1, Queue::default);
        }
        self.queues[queue].is_filled = false;
    }

    /// A decision begins: what was in flight may have arrived since.
    pub fn begin_decision(&mut self) {
        while let Some(region) = self.incomplete.pop() {
            self.outdated(region);
        }
    }

    /// The resident that is worth least; of equals that of the lowest region, then the lowest page.
    pub fn worst<O: Order>(&mut self, of: &Residents<'_, '_, O>) -> Option<Victim> {
        match self.room {
            Room::PerLayer => self.queues[0].front(of, of.view.region, of.most),
            Room::Shared => {
                let queues = of.regions.ids().zip(&mut self.queues);
                let with_kv = queues.filter(|(region, _)| of.view.regions.region(*region).page_bytes > Bytes::ZERO);
                let incomplete = &mut self.incomplete;
                let front = |(region, queue): (RegionId, &mut Queue)| {
                    let was_filled = queue.is_filled;
                    let front = queue.front(of, region, usize::MAX);
                    // Of one sequence, what a layer admits has arrived when the next one decides,
                    // as a rule; several decide at once.
                    let on_hbm = of.view.regions.region(region).count[TierId::HBM];
                    if !was_filled && of.has_several_sequences() && queue.pages.len() < on_hbm {
                        incomplete.push(region);
                    }
                    front
                };
                with_kv.filter_map(front).min()
            }
        }
    }

    /// The worst resident of `region` is evicted.
    pub fn take(&mut self, region: RegionId) {
        let queue = self.queue_of(region);
        self.queues[queue].next += 1;
    }

    fn queue_of(&self, region: RegionId) -> usize {
        if self.room == Room::Shared { region.index() } else { 0 }
    }
}

impl Queue {
    fn front<O: Order>(&mut self, of: &Residents<'_, '_, O>, region: RegionId, most: usize) -> Option<Victim> {
        let kv = of.view.regions.region(region);
        if !self.is_filled {
            self.fill(of, region, kv, most);
        }
        // What was evicted by a decision of another region was taken; what is in flight since the
        // queue was filled is not evicted.
        while let Some(&(rank, page)) = self.pages.get(self.next) {
            if kv.at[TierId::HBM].contains(page as usize) && !kv.in_flight.contains(page as usize) {
                return Some(Victim { rank, region, page });
            }
            self.next += 1;
        }
        None
    }

    fn fill<O: Order>(&mut self, of: &Residents<'_, '_, O>, region: RegionId, kv: KvPages<'_>, most: usize) {
        let OfRegion { worth, competing, .. } = &of.regions[region];
        let turns = Turns::of(of.view);
        self.pages.clear();
        (self.next, self.is_filled) = (0, true);
        // Of a sequence that has not decided yet.
        if worth.is_empty() {
            return;
        }
        for (index, (at, in_flight)) in kv.at[TierId::HBM].words().iter().zip(kv.in_flight.words()).enumerate() {
            self.pages.extend(tokens(&[at & !in_flight & below(*competing, index)]).map(|bit| {
                let page = index * WORD_BITS + bit;
                (of.order.rank(worth[page], region, turns), page as u32)
            }));
        }
        if most < self.pages.len() {
            self.pages.select_nth_unstable(most);
            self.pages.truncate(most);
        }
        self.pages.sort_unstable();
    }
}
