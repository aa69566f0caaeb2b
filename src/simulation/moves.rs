//! The moves of pages of KV, or of experts, between tiers that are under way.
//!
//! A move is one transfer, but its pages arrive one by one, and each can be read at its destination
//! from then on. No event marks an arrival: [`Moves`] owns the [`Residency`] and, whenever it is
//! asked where pages lie, works out from the bytes delivered how many have arrived. So whoever sees
//! a residency sees it as it is at that moment.

use super::paging::Paging;
use super::residency::{PagedRegion, Residency};
use crate::memory::{
    Cancelled, Delivered, Fabric, Machine, MemorySystem, Meter, Path, Pattern, Reach, Request, RouteId, TierId,
    TransferClass, TransferId, Urgency,
};
use crate::strategy::{KvRegions, MoveBatch, MoveRoute};
use crate::units::{Bytes, Page, PageSize, RegionId, SimTime, Table};

/// Where all pages lie, and the moves that are not complete.
pub(super) struct Moves {
    residency: Residency,
    /// When arrivals were last given effect to.
    seen: Option<SimTime>,
    tiers: usize,
    slots: Vec<Move>,
    vacant: Vec<u32>,
    /// For each region the slots whose reads were not issued yet.
    undated: Table<RegionId, Vec<u32>>,
    /// The moves of each [`Way`].
    ways: Vec<OfWay>,
    /// The size of a page, where it is the same in all regions that have KV and tiers have one port
    /// each: then all moves of a way progress alike.
    alike: Option<Bytes>,
    scratch: Scratch,
}

/// Between which tiers pages move, and how they get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub route: MoveRoute,
    pub source: TierId,
    pub destination: TierId,
}

/// The moves of one way.
#[derive(Clone, Debug)]
struct OfWay {
    slots: Vec<u32>,
    tracking: Tracking,
    /// The fabric's progress before which no more pages can arrive, if that is known.
    next_arrival: Option<u128>,
}

/// How it is known how far the moves of a way have come.
#[derive(Clone, Copy, Debug)]
enum Tracking {
    /// Not asked for: there was no move yet.
    Unknown,
    /// Each move must be asked for.
    Unavailable,
    /// All of them have come as far as a meter of the fabric shows.
    Metered(Meter),
}

/// Buffers: pages; the same with their routes; the routes with their bytes; routes of equal parts.
#[derive(Default)]
struct Scratch {
    list: Vec<u32>,
    routed: Vec<(RouteId, u32)>,
    routes: Vec<(RouteId, Bytes)>,
    even: Vec<RouteId>,
}

struct Move {
    region: RegionId,
    way: Way,
    /// Those of a part together.
    pages: MoveBatch,
    parts: Vec<Part>,
    transfer: Option<TransferId>,
    /// When the reads that it was meant for were issued, if they have been.
    deadline: Option<SimTime>,
}

/// The pages of a move that go over one route.
struct Part {
    /// Where its pages begin, where those that have not arrived begin, and where its pages end.
    start: usize,
    next: usize,
    end: usize,
}

impl Moves {
    /// No moves yet of what lies as `residency` says.
    pub fn new(residency: Residency, system: &MemorySystem) -> Self {
        let tiers = system.tiers().len();
        let regions = residency.count();
        let mut sizes =
            RegionId::all(regions).map(|region| residency.kv(region).page_bytes).filter(|bytes| *bytes > Bytes::ZERO);
        let first = sizes.next();
        let same = sizes.all(|bytes| Some(bytes) == first);
        let one_port = system.tier_ids().all(|tier| system.ports(tier).len() == 1);
        let of_way = || OfWay { slots: Vec::with_capacity(64), tracking: Tracking::Unknown, next_arrival: None };
        Self {
            residency,
            seen: None,
            tiers,
            slots: Vec::new(),
            vacant: Vec::new(),
            undated: (0..regions).map(|_| Vec::with_capacity(4)).collect(),
            ways: (0..MoveRoute::COUNT * tiers * tiers).map(|_| of_way()).collect(),
            alike: first.filter(|_| same && one_port),
            scratch: Scratch::default(),
        }
    }

    /// Where everything lies at `now`, with the effect of all that has arrived. O(1) if asked again
    /// at the same time, O(ways) if nothing has arrived, else O(moves of the ways on which pages
    /// have arrived + pages).
    #[inline]
    pub fn residency_at<Tag: Copy>(&mut self, now: SimTime, fabric: &Fabric<Tag>) -> &mut Residency {
        // At one instant nothing more arrives but what completes, which is given effect to at once.
        if self.seen != Some(now) {
            self.seen = Some(now);
            self.see(now, fabric);
        }
        &mut self.residency
    }

    fn see<Tag: Copy>(&mut self, now: SimTime, fabric: &Fabric<Tag>) {
        for place in 0..self.ways.len() {
            if !self.ways[place].slots.is_empty() {
                self.take_arrivals(now, fabric, place);
            }
        }
    }

    /// Gives effect to the pages that have arrived over one way.
    fn take_arrivals<Tag: Copy>(&mut self, now: SimTime, fabric: &Fabric<Tag>, place: usize) {
        let way = &mut self.ways[place];
        let progress = way.tracking.progress(now, fabric);
        if let (Some(progress), Some(next)) = (progress, way.next_arrival)
            && progress < next
        {
            return;
        }
        let mut soonest = Bytes::new(u64::MAX);
        for &slot in &way.slots {
            let entry = &mut self.slots[slot as usize];
            let Some(transfer) = entry.transfer else { continue };
            let page_bytes = self.residency.kv(entry.region).page_bytes;
            for part in 0..entry.parts.len() {
                let Part { start, next, end } = entry.parts[part];
                if next == end {
                    continue;
                }
                let (arrived, missing) = match fabric.delivered(now, transfer, part) {
                    Delivered::All => ((end - start) as u64, Bytes::ZERO),
                    Delivered::Part(bytes) => {
                        let arrived = bytes.whole_units(page_bytes).min((end - start) as u64);
                        (arrived, page_bytes.times(arrived + 1).saturating_sub(bytes))
                    }
                };
                soonest = soonest.min(missing);
                entry.arrive(part, start + arrived as usize, &mut self.residency);
            }
        }
        way.next_arrival = progress.map(|progress| Fabric::<Tag>::progress_after(progress, soonest));
    }

    /// How many tokens of `region` have had KV, of how many of them, the first ones, it was given
    /// up, and how many make a page.
    pub fn tokens(&self, region: RegionId) -> (usize, usize, PageSize) {
        let pages = self.residency.kv(region);
        (pages.tokens, pages.live().start * pages.size.tokens(), pages.size)
    }

    /// A page's write is complete: it may move, if it is full. Of the writes of a page the last one
    /// is issued when the page is full.
    pub fn end_write(&mut self, region: RegionId, page: Page) {
        let pages = self.residency.kv(region);
        if pages.tokens >= pages.size.first_token(page.next()).index() {
            self.residency.end_write(region, page);
        }
    }

    /// Where the destination has a copy of all: gives up the pages' places at the source and
    /// returns true, as nothing has to be carried.
    pub fn drop_copies(&mut self, region: RegionId, pages: &MoveBatch, way: Way) -> bool {
        let copied = self.residency.has_copy(way.destination);
        if copied {
            self.residency.drop_copies(region, pages, way.source, way.destination);
        }
        copied
    }

    /// Pages set out on their way, as a plan of this instant says. Returns their bytes.
    pub fn set_out(&mut self, region: RegionId, pages: &MoveBatch, way: Way) -> Bytes {
        self.residency
            .begin_move(region, pages, way.source, way.destination)
            .expect("a plan counts the room of each destination")
    }

    /// Pages that have set out arrive without a transfer.
    pub fn arrive_at_once(&mut self, region: RegionId, pages: &MoveBatch, way: Way) {
        self.residency.end_move(region, (pages, 0..pages.len()), way.source, way.destination);
    }

    /// Issues the transfer of pages that have set out.
    pub fn issue<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        system: &MemorySystem,
        paging: &Paging,
        (region, pages): (RegionId, &MoveBatch),
        way: Way,
        tag: impl FnOnce(u32) -> Tag,
    ) {
        let slot = self.take_slot(region, way);
        let PagedRegion { page_bytes, is_experts, .. } = *self.residency.kv(region);
        self.lay_route(system, paging, slot, (page_bytes, pages));
        self.undated[region].push(slot);
        let place = self.place(way);
        self.ways[place].slots.push(slot);
        let granule_on = |tier: TierId| if is_experts { page_bytes } else { paging.granule(tier, page_bytes) };
        let granule = granule_on(way.destination);
        let scratch = &self.scratch;
        let path = if scratch.routes.is_empty() { Path::Even(&scratch.even) } else { Path::Parts(&scratch.routes) };
        let transfer = machine.issue(Request {
            class: class(way.source, way.destination),
            path,
            bytes: page_bytes.times(pages.len() as u64),
            granule: match way.route {
                MoveRoute::Direct => granule.min(granule_on(way.source)),
                MoveRoute::ViaChip => granule,
            },
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: tag(slot),
        });
        self.slots[slot as usize].transfer = Some(transfer);
        self.expect_arrivals(machine, system, place, way);
    }

    /// A slot for a new move.
    fn take_slot(&mut self, region: RegionId, way: Way) -> u32 {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            let pages = MoveBatch::default();
            self.slots.push(Move { region, way, pages, parts: Vec::new(), transfer: None, deadline: None });
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        (entry.region, entry.way, entry.deadline) = (region, way, None);
        entry.pages.clear();
        entry.parts.clear();
        slot
    }

    /// Finds the routes of a move, and the pages that go over each.
    fn lay_route(
        &mut self,
        system: &MemorySystem,
        paging: &Paging,
        slot: u32,
        (page_bytes, pages): (Bytes, &MoveBatch),
    ) {
        let (entry, scratch) = (&mut self.slots[slot as usize], &mut self.scratch);
        let (region, Way { route, source, destination }) = (entry.region, entry.way);
        scratch.routes.clear();
        let is_read = route == MoveRoute::Direct;
        // An expert is spread over all channels, as weights are.
        let is_hashed = (is_read && paging.is_hashed(source)) || paging.is_hashed(destination);
        if !is_hashed || self.residency.kv(region).is_experts {
            entry.pages.copy_from(pages);
            entry.parts.push(Part { start: 0, next: 0, end: pages.len() });
            scratch.even.clear();
            if !is_read {
                scratch.even.extend_from_slice(system.even_writes(destination));
            }
            let pairs = system.ports(source).flat_map(|from| system.ports(destination).map(move |to| (from, to)));
            scratch.even.extend(pairs.filter(|_| is_read).map(|(from, to)| system.move_route(from, to)));
            return;
        }
        // Each page between its channels; a striped end has one port.
        let port = |tier: TierId, page: u32| {
            let hashed = paging.port(system, tier, region, Page::new(page as usize));
            hashed.or_else(|| system.ports(tier).next()).expect("a tier has a port")
        };
        let route_of = |page: u32| {
            let to = port(destination, page);
            if is_read { system.move_route(port(source, page), to) } else { system.write_route(to) }
        };
        scratch.list.clear();
        pages.list_in(&mut scratch.list);
        scratch.routed.clear();
        scratch.routed.extend(scratch.list.iter().map(|&page| (route_of(page), page)));
        scratch.routed.sort_by_key(|(route, _)| *route);
        for of_route in scratch.routed.chunk_by(|a, b| a.0 == b.0) {
            let start = entry.pages.len();
            of_route.iter().for_each(|(_, page)| entry.pages.push(*page));
            entry.parts.push(Part { start, next: start, end: start + of_route.len() });
            scratch.routes.push((of_route[0].0, page_bytes.times(of_route.len() as u64)));
        }
    }

    /// Notes when the first page of a move that has just been issued can arrive.
    fn expect_arrivals<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        system: &MemorySystem,
        place: usize,
        way: Way,
    ) {
        if matches!(self.ways[place].tracking, Tracking::Unknown) {
            self.ways[place].tracking = self.track(machine, system, way);
        }
        // Its first page arrives no sooner than this; those of other moves as before. Where moves
        // pile up, looking at each of them for every new one would take a time that grows with the
        // square of their number.
        let of_way = &mut self.ways[place];
        let first = self.alike.zip(of_way.tracking.progress(machine.now(), machine.fabric()));
        let first = first.map(|(page_bytes, progress)| Fabric::<Tag>::progress_after(progress, page_bytes));
        let is_only_one = of_way.slots.len() == 1;
        of_way.next_arrival = match (of_way.next_arrival, first) {
            (Some(next), Some(first)) => Some(next.min(first)),
            (None, first) if is_only_one => first,
            _ => None,
        };
    }

    /// How the moves of a way can be tracked.
    fn track<Tag: Copy>(&self, machine: &mut Machine<Tag>, system: &MemorySystem, way: Way) -> Tracking {
        let mut meter = || {
            let page_bytes = self.alike.filter(|_| way.route == MoveRoute::Direct)?;
            let (from, to) = (system.ports(way.source).next()?, system.ports(way.destination).next()?);
            let class = class(way.source, way.destination);
            machine.fabric_mut().meter(system.move_route(from, to), class, page_bytes)
        };
        meter().map_or(Tracking::Unavailable, Tracking::Metered)
    }

    /// The reads for which the last moves of `region` were meant are being issued at `now`: what is
    /// not complete is late.
    pub fn reads_issued(&mut self, now: SimTime, region: RegionId) {
        for slot in self.undated[region].drain(..) {
            self.slots[slot as usize].deadline = Some(now);
        }
    }

    /// As [`reads_issued`](Self::reads_issued), and what is late is dropped: pages that have not
    /// arrived stay where they were, and their transfers end. Calls `dropped` with each cancelled
    /// transfer, its source (`None` if it was written from the chip) and its destination.
    pub fn drop_late<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        region: RegionId,
        mut dropped: impl FnMut(Cancelled<Tag>, Option<TierId>, TierId),
    ) {
        let now = machine.now();
        self.residency_at(now, machine.fabric());
        let mut slots = std::mem::take(&mut self.undated[region]);
        for slot in slots.drain(..) {
            let entry = &mut self.slots[slot as usize];
            if entry.parts.iter().all(|part| part.next == part.end) {
                // The last byte has arrived at this very instant.
                entry.deadline = Some(now);
                continue;
            }
            self.cancel(machine, slot, &mut dropped);
        }
        self.undated[region] = slots;
    }

    /// Frees all of `region`: moves that are under way are cancelled, and `dropped` is called as by
    /// [`drop_late`](Self::drop_late).
    pub fn free<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        region: RegionId,
        mut dropped: impl FnMut(Cancelled<Tag>, Option<TierId>, TierId),
    ) {
        self.residency_at(machine.now(), machine.fabric());
        for slot in 0..self.slots.len() as u32 {
            let entry = &self.slots[slot as usize];
            if entry.region == region && entry.transfer.is_some() {
                self.cancel(machine, slot, &mut dropped);
            }
        }
        self.undated[region].clear();
        self.residency.free(region);
    }

    /// Ends the transfer of a move; its pages that have not arrived stay at their source.
    fn cancel<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        slot: u32,
        dropped: &mut impl FnMut(Cancelled<Tag>, Option<TierId>, TierId),
    ) {
        let entry = &mut self.slots[slot as usize];
        let transfer = entry.transfer.take().expect("what has not arrived is under way");
        let way = entry.way;
        for part in &entry.parts {
            let pages = (&entry.pages, part.next..part.end);
            self.residency.cancel_move(entry.region, pages, way.source, way.destination);
        }
        self.vacate(slot, way);
        dropped(machine.cancel(transfer), way.read_from(), way.destination);
    }

    /// The move in `slot` is complete at `now`. Returns its source (`None` if it was written from
    /// the chip), its destination, and how late it was.
    pub fn complete(&mut self, now: SimTime, slot: u32) -> (Option<TierId>, TierId, SimTime) {
        let entry = &mut self.slots[slot as usize];
        for part in 0..entry.parts.len() {
            entry.arrive(part, entry.parts[part].end, &mut self.residency);
        }
        entry.transfer = None;
        let late = entry.deadline.map_or(SimTime::ZERO, |deadline| now.saturating_sub(deadline));
        let (region, way) = (entry.region, entry.way);
        self.undated[region].retain(|other| *other != slot);
        self.vacate(slot, way);
        (way.read_from(), way.destination, late)
    }

    fn vacate(&mut self, slot: u32, way: Way) {
        let place = self.place(way);
        self.ways[place].slots.retain(|other| *other != slot);
        self.vacant.push(slot);
    }

    /// The place of a way in `ways`.
    fn place(&self, Way { route, source, destination }: Way) -> usize {
        (route as usize * self.tiers + source.index()) * self.tiers + destination.index()
    }
}

impl Way {
    /// The tier that the pages are read from; `None` if they are on the chip already.
    fn read_from(self) -> Option<TierId> {
        (self.route == MoveRoute::Direct).then_some(self.source)
    }
}

impl Tracking {
    /// How far the moves of the way have come, where that is known.
    fn progress<Tag: Copy>(self, now: SimTime, fabric: &Fabric<Tag>) -> Option<u128> {
        if let Self::Metered(meter) = self { fabric.progress(now, meter) } else { None }
    }
}

impl Move {
    /// The pages of `part` before the one at `end` have arrived.
    fn arrive(&mut self, part: usize, end: usize, residency: &mut Residency) {
        let next = self.parts[part].next;
        if end > next {
            residency.end_move(self.region, (&self.pages, next..end), self.way.source, self.way.destination);
            self.parts[part].next = end;
        }
    }
}

/// Towards a faster tier is in.
pub(super) fn class(source: TierId, destination: TierId) -> TransferClass {
    if destination < source { TransferClass::MigrateIn } else { TransferClass::MigrateOut }
}
