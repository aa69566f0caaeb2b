use super::paging::Paging;
use super::residency::Residency;
use crate::memory::{
    Cancelled, Delivered, Fabric, MemorySystem, Meter, Path, RouteId, TierId, TransferClass, TransferId,
};
use crate::strategy::{Carriage, Convoy};
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
    /// The slots of each pair of tiers, by carriage, then source, then destination.
    by_route: Vec<Vec<u32>>,
    /// The size of a token, where it is the same in all layers that have KV and tiers have one port
    /// each: then all moves of a pair of tiers progress alike.
    alike: Option<Bytes>,
    /// For each pair of tiers what tells how far its moves have come, where they all progress alike; not asked for before there are any.
    meters: Vec<Option<Option<Meter>>>,
    /// For each pair of tiers the fabric's progress before which no more tokens can arrive, if that is known.
    next_arrival: Vec<Option<u128>>,
    /// Scratch space: tokens; the same with their routes; the routes with their bytes.
    list: Vec<u32>,
    routed: Vec<(RouteId, u32)>,
    routes: Vec<(RouteId, Bytes)>,
    even: Vec<RouteId>,
}

struct Move {
    layer: usize,
    carriage: Carriage,
    source: TierId,
    destination: TierId,
    /// Those of a part together.
    tokens: Convoy,
    parts: Vec<Part>,
    transfer: Option<TransferId>,
    /// When the reads that it was meant for were issued, if they have been.
    deadline: Option<SimTime>,
}

/// The tokens of a move that go over one route.
struct Part {
    /// Where those that have not arrived begin, and where its tokens end.
    next: usize,
    end: usize,
    /// Where its tokens begin.
    start: usize,
}

impl Moves {
    pub fn new(kv_bytes: impl Iterator<Item = Bytes>, system: &MemorySystem) -> Self {
        let tiers = system.tiers().len();
        let kv_bytes: Vec<Bytes> = kv_bytes.collect();
        let mut sizes = kv_bytes.iter().copied().filter(|bytes| *bytes > Bytes::ZERO);
        let first = sizes.next();
        let same = sizes.all(|bytes| Some(bytes) == first);
        let one_port = system.tier_ids().all(|tier| system.ports(tier).len() == 1);
        Self {
            tiers,
            slots: Vec::new(),
            vacant: Vec::new(),
            undated: vec![Vec::with_capacity(4); kv_bytes.len()],
            by_route: vec![Vec::with_capacity(64); 2 * tiers * tiers],
            alike: first.filter(|_| same && one_port),
            meters: vec![None; 2 * tiers * tiers],
            next_arrival: vec![None; 2 * tiers * tiers],
            list: Vec::new(),
            routed: Vec::new(),
            routes: Vec::new(),
            even: Vec::new(),
        }
    }

    /// A slot for a migration that is about to be issued, and the path that it takes.
    pub fn begin(
        &mut self,
        system: &MemorySystem,
        paging: &Paging,
        (layer, kv_bytes): (usize, Bytes),
        tokens: &Convoy,
        (carriage, source, destination): (Carriage, TierId, TierId),
    ) -> (u32, Path<'_>) {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Move {
                layer,
                carriage,
                source,
                destination,
                tokens: Convoy::default(),
                parts: Vec::new(),
                transfer: None,
                deadline: None,
            });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        (entry.layer, entry.carriage, entry.source, entry.destination) = (layer, carriage, source, destination);
        entry.deadline = None;
        entry.tokens.clear();
        entry.parts.clear();
        self.routes.clear();
        let read_again = carriage == Carriage::Move;
        if (read_again && paging.is_hashed(source)) || paging.is_hashed(destination) {
            // Each token between its pages' channels; a striped end has one port.
            let port = |tier: TierId, token: u32| {
                let hashed = paging.port(system, tier, layer, token as usize);
                hashed.or_else(|| system.ports(tier).next()).expect("a tier has a port")
            };
            self.routed.clear();
            let route = |token| {
                let to = port(destination, token);
                if read_again { system.move_route(port(source, token), to) } else { system.write_route(to) }
            };
            self.list.clear();
            tokens.list_in(&mut self.list);
            self.routed.extend(self.list.iter().map(|&token| (route(token), token)));
            self.routed.sort_by_key(|(route, _)| *route);
            for of_route in self.routed.chunk_by(|a, b| a.0 == b.0) {
                let start = entry.tokens.len();
                of_route.iter().for_each(|(_, token)| entry.tokens.push(*token));
                entry.parts.push(Part { start, next: start, end: start + of_route.len() });
                self.routes.push((of_route[0].0, kv_bytes.times(of_route.len() as u64)));
            }
        } else {
            entry.tokens.copy_from(tokens);
            entry.parts.push(Part { start: 0, next: 0, end: tokens.len() });
            self.even.clear();
            if !read_again {
                self.even.extend_from_slice(system.even_writes(destination));
            }
            let pairs = system.ports(source).flat_map(|from| system.ports(destination).map(move |to| (from, to)));
            self.even.extend(pairs.filter(|_| read_again).map(|(from, to)| system.move_route(from, to)));
        }
        self.undated[layer].push(slot);
        let pair = self.pair(carriage, source, destination);
        self.by_route[pair].push(slot);
        (slot, if self.routes.is_empty() { Path::Even(&self.even) } else { Path::Parts(&self.routes) })
    }

    /// The migration in `slot` has been issued at `now`.
    pub fn issued<Tag: Copy>(
        &mut self,
        now: SimTime,
        system: &MemorySystem,
        fabric: &mut Fabric<Tag>,
        slot: u32,
        transfer: TransferId,
    ) {
        let entry = &mut self.slots[slot as usize];
        entry.transfer = Some(transfer);
        let (carriage, source, destination) = (entry.carriage, entry.source, entry.destination);
        let pair = self.pair(carriage, source, destination);
        if self.meters[pair].is_none() {
            self.meters[pair] = Some(self.meter(system, fabric, pair));
        }
        // Its first token arrives no sooner than this; the others' as before. Where migrations pile up, looking at each of them
        // for every new one would take a time that grows with the square of their number.
        let first = self.alike.zip(self.progress(now, fabric, pair));
        let first = first.map(|(kv_bytes, progress)| Fabric::<Tag>::progress_after(progress, kv_bytes));
        let alone = self.by_route[pair].len() == 1;
        self.next_arrival[pair] = match (self.next_arrival[pair], first) {
            (Some(next), Some(first)) => Some(next.min(first)),
            (None, first) if alone => first,
            _ => None,
        };
    }

    /// What tells how far the moves between a pair of tiers have come; `None` of promotions.
    fn meter<Tag: Copy>(&self, system: &MemorySystem, fabric: &mut Fabric<Tag>, pair: usize) -> Option<Meter> {
        let kv_bytes = self.alike.filter(|_| pair < self.tiers.pow(2))?;
        let (source, destination) = (TierId::new(pair / self.tiers), TierId::new(pair % self.tiers));
        let route = system.move_route(system.ports(source).next()?, system.ports(destination).next()?);
        fabric.meter(route, class(source, destination), kv_bytes)
    }

    /// How far the moves between a pair of tiers have come, where that is known.
    fn progress<Tag: Copy>(&self, now: SimTime, fabric: &Fabric<Tag>, pair: usize) -> Option<u128> {
        fabric.progress(now, self.meters[pair]??)
    }

    /// Gives effect to all that has arrived by `now`.
    pub fn sync<Tag: Copy>(&mut self, now: SimTime, fabric: &Fabric<Tag>, residency: &mut Residency) {
        for pair in 0..self.by_route.len() {
            if self.by_route[pair].is_empty() {
                continue;
            }
            let progress = self.progress(now, fabric, pair);
            if let (Some(progress), Some(next)) = (progress, self.next_arrival[pair])
                && progress < next
            {
                continue;
            }
            let mut soonest = Bytes::new(u64::MAX);
            for &slot in &self.by_route[pair] {
                let entry = &mut self.slots[slot as usize];
                let Some(transfer) = entry.transfer else { continue };
                let kv_bytes = residency.layer(entry.layer).kv_bytes;
                for part in 0..entry.parts.len() {
                    let Part { start, next, end } = entry.parts[part];
                    if next == end {
                        continue;
                    }
                    let (arrived, missing) = match fabric.delivered(now, transfer, part) {
                        Delivered::All => ((end - start) as u64, Bytes::ZERO),
                        Delivered::Part(bytes) => {
                            let arrived = bytes.whole_units(kv_bytes).min((end - start) as u64);
                            (arrived, kv_bytes.times(arrived + 1).saturating_sub(bytes))
                        }
                    };
                    soonest = soonest.min(missing);
                    entry.arrive(part, start + arrived as usize, residency);
                }
            }
            self.next_arrival[pair] = progress.map(|progress| Fabric::<Tag>::progress_after(progress, soonest));
        }
    }

    /// The reads for which `layer`'s last migrations were meant are being issued at `now`: what is not complete is late.
    pub fn reads_issued(&mut self, now: SimTime, layer: usize) {
        for slot in self.undated[layer].drain(..) {
            self.slots[slot as usize].deadline = Some(now);
        }
    }

    /// As [`reads_issued`](Self::reads_issued), and what is late is dropped: tokens that have not arrived stay where they were, and
    /// the transfers that carried them end. Tells `dropped` of each of these, and whence and whither it went. To be called after
    /// [`sync`](Self::sync).
    pub fn drop_late<Tag: Copy>(
        &mut self,
        now: SimTime,
        layer: usize,
        fabric: &mut Fabric<Tag>,
        residency: &mut Residency,
        mut dropped: impl FnMut(Cancelled<Tag>, Option<TierId>, TierId),
    ) {
        let mut slots = std::mem::take(&mut self.undated[layer]);
        for slot in slots.drain(..) {
            let entry = &mut self.slots[slot as usize];
            if entry.parts.iter().all(|part| part.next == part.end) {
                // The last byte has arrived at this very instant.
                entry.deadline = Some(now);
                continue;
            }
            let transfer = entry.transfer.take().expect("what has not arrived is under way");
            for part in &entry.parts {
                residency.cancel_move(layer, (&entry.tokens, part.next..part.end), entry.source, entry.destination);
            }
            let (carriage, source, destination) = (entry.carriage, entry.source, entry.destination);
            let pair = self.pair(carriage, source, destination);
            self.by_route[pair].retain(|other| *other != slot);
            self.vacant.push(slot);
            dropped(fabric.cancel(now, transfer), (carriage == Carriage::Move).then_some(source), destination);
        }
        self.undated[layer] = slots;
    }

    /// The migration in `slot` is complete at `now`: whence and whither it went, and how late it was. What was promoted was read
    /// nowhere.
    pub fn complete(
        &mut self,
        now: SimTime,
        slot: u32,
        residency: &mut Residency,
    ) -> (Option<TierId>, TierId, SimTime) {
        let entry = &mut self.slots[slot as usize];
        for part in 0..entry.parts.len() {
            entry.arrive(part, entry.parts[part].end, residency);
        }
        entry.transfer = None;
        let late = entry.deadline.map_or(SimTime::ZERO, |deadline| now.saturating_sub(deadline));
        let (layer, source, destination) = (entry.layer, entry.source, entry.destination);
        let carriage = entry.carriage;
        let pair = self.pair(carriage, source, destination);
        self.undated[layer].retain(|other| *other != slot);
        self.by_route[pair].retain(|other| *other != slot);
        self.vacant.push(slot);
        ((carriage == Carriage::Move).then_some(source), destination, late)
    }

    fn pair(&self, carriage: Carriage, source: TierId, destination: TierId) -> usize {
        carriage as usize * self.tiers.pow(2) + source.index() * self.tiers + destination.index()
    }
}

impl Move {
    /// The tokens of `part` before the one at `end` have arrived.
    fn arrive(&mut self, part: usize, end: usize, residency: &mut Residency) {
        let next = self.parts[part].next;
        if end > next {
            residency.end_move(self.layer, (&self.tokens, next..end), self.source, self.destination);
            self.parts[part].next = end;
        }
    }
}

/// Towards a faster tier is in.
pub(super) fn class(source: TierId, destination: TierId) -> TransferClass {
    if destination < source { TransferClass::MigrateIn } else { TransferClass::MigrateOut }
}
