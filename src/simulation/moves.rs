use super::residency::Residency;
use crate::memory::{Fabric, MemorySystem, TierId, TransferClass, TransferId};
use crate::units::{Bytes, SimTime};

/// The migrations that are not complete.
///
/// A transfer's tokens arrive one by one. No event marks each: whoever needs to know where tokens lie or what is free
/// calls [`sync`](Moves::sync) first, which works out from the bytes delivered how many have arrived.
pub(super) struct Moves {
    tiers: usize,
    slots: Vec<Move>,
    vacant: Vec<u32>,
    /// For each layer the slots whose reads were not issued yet.
    undated: Vec<Vec<u32>>,
    /// The slots of each pair of tiers, by source, then destination.
    by_route: Vec<Vec<u32>>,
    /// For each pair of tiers the fabric's progress before which no more tokens can arrive, if that is known.
    next_arrival: Vec<Option<u128>>,
}

struct Move {
    layer: usize,
    source: TierId,
    destination: TierId,
    /// In the order in which they are carried.
    tokens: Vec<u32>,
    arrived: usize,
    transfer: Option<TransferId>,
    /// When the reads that it was meant for were issued, if they have been.
    deadline: Option<SimTime>,
}

impl Moves {
    pub fn new(layers: usize, tiers: usize) -> Self {
        Self {
            tiers,
            slots: Vec::new(),
            vacant: Vec::new(),
            undated: vec![Vec::with_capacity(4); layers],
            by_route: vec![Vec::with_capacity(64); tiers * tiers],
            next_arrival: vec![None; tiers * tiers],
        }
    }

    /// A slot for a migration that is about to be issued.
    pub fn begin(&mut self, layer: usize, tokens: &[u32], source: TierId, destination: TierId) -> u32 {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Move {
                layer,
                source,
                destination,
                tokens: Vec::new(),
                arrived: 0,
                transfer: None,
                deadline: None,
            });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        (entry.layer, entry.source, entry.destination) = (layer, source, destination);
        entry.tokens.clear();
        entry.tokens.extend_from_slice(tokens);
        entry.arrived = 0;
        entry.deadline = None;
        self.undated[layer].push(slot);
        let route = self.route(source, destination);
        self.by_route[route].push(slot);
        self.next_arrival[route] = None;
        slot
    }

    pub fn issued(&mut self, slot: u32, transfer: TransferId) {
        self.slots[slot as usize].transfer = Some(transfer);
    }

    /// Gives effect to all that has arrived by `now`.
    pub fn sync<Tag: Copy>(
        &mut self,
        now: SimTime,
        system: &MemorySystem,
        fabric: &Fabric<Tag>,
        residency: &mut Residency,
    ) {
        for route in 0..self.by_route.len() {
            if self.by_route[route].is_empty() {
                continue;
            }
            let (source, destination) = (TierId(route / self.tiers), TierId(route % self.tiers));
            let progress = fabric.progress(now, system.move_route(source, destination), class(source, destination));
            if let (Some(progress), Some(next)) = (progress, self.next_arrival[route])
                && progress < next
            {
                continue;
            }
            let mut soonest = Bytes::new(u64::MAX);
            for &slot in &self.by_route[route] {
                let entry = &mut self.slots[slot as usize];
                let Some(transfer) = entry.transfer else { continue };
                let kv_bytes = residency.layer(entry.layer).kv_bytes;
                let delivered = fabric.delivered(now, transfer);
                let arrived = delivered.whole_units(kv_bytes);
                soonest = soonest.min(kv_bytes.times(arrived + 1) - delivered);
                entry.arrive(arrived as usize, residency);
            }
            self.next_arrival[route] = progress.map(|progress| Fabric::<Tag>::progress_after(progress, soonest));
        }
    }

    /// The reads for which `layer`'s last migrations were meant are being issued at `now`: what is not complete is late.
    pub fn reads_issued(&mut self, now: SimTime, layer: usize) {
        for slot in self.undated[layer].drain(..) {
            self.slots[slot as usize].deadline = Some(now);
        }
    }

    /// The migration in `slot` is complete at `now`: where it moved to, and how late it was.
    pub fn complete(&mut self, now: SimTime, slot: u32, residency: &mut Residency) -> (TierId, SimTime) {
        let entry = &mut self.slots[slot as usize];
        entry.arrive(entry.tokens.len(), residency);
        entry.transfer = None;
        let late = entry.deadline.map_or(SimTime::ZERO, |deadline| now.saturating_sub(deadline));
        let (layer, source, destination) = (entry.layer, entry.source, entry.destination);
        let route = self.route(source, destination);
        self.undated[layer].retain(|other| *other != slot);
        self.by_route[route].retain(|other| *other != slot);
        self.vacant.push(slot);
        (destination, late)
    }

    fn route(&self, source: TierId, destination: TierId) -> usize {
        source.0 * self.tiers + destination.0
    }
}

impl Move {
    fn arrive(&mut self, arrived: usize, residency: &mut Residency) {
        if arrived > self.arrived {
            let tokens = &self.tokens[self.arrived..arrived];
            residency.end_move(self.layer, tokens, self.source, self.destination);
            self.arrived = arrived;
        }
    }
}

/// Towards a faster tier is in.
pub(super) fn class(source: TierId, destination: TierId) -> TransferClass {
    if destination < source { TransferClass::MigrateIn } else { TransferClass::MigrateOut }
}
