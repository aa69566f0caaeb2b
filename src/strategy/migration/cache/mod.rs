//! HBM as a cache of KV: `Lru`, `Lfu`, `Fifo`, and the oracle `Belady`.
//!
//! A miss is a token that a step reads from a slower tier. The step's own demand read fetches it,
//! so it is on the chip when the layer ends, and admitting it costs a write to HBM and no second
//! read. Admission and eviction are one decision per layer and step: each missed token takes a free
//! place or the place of a token that is worth less. The best misses meet the worst residents
//! first, and the decision ends where the resident is worth at least as much as the miss.
//!
//! | cache | what a token is worth | which misses it admits |
//! | --- | --- | --- |
//! | `Lru` | the step that used it last | all, unless the step alone reads more than the cache holds |
//! | `Lfu` | first whether the last step used it, then how many steps have | as `Lru` |
//! | `Fifo` | the step that brought it into HBM | all |
//! | `Belady` | how soon it is read next | those that are read again sooner than what they replace |
//!
//! Where pages hold several tokens, read *page* for *token* below. A step uses the tokens that it
//! reads and the token that it writes. Between tokens of equal worth the one with the higher index
//! stays. A token whose write or move is in flight can neither be admitted nor evicted.
//!
//! # The room
//! `room: PerLayer` (default): every layer has an equal share, in bytes, of what HBM has for KV
//! (its capacity less the weights stored there), rounded down to whole tokens. A layer that the
//! initialization or the placement has given more than its share evicts down to it. `room: Shared`:
//! one cache over all layers, whose victims may belong to other layers; uses are ordered by step,
//! then by layer.
//!
//! `budget: TOKENS` makes the cache a *hot buffer*: a region's room is that many tokens, in whole
//! pages rounded down (of experts, that many experts), whatever else HBM has free. With `room:
//! Shared` the one room is the sum of the budgets of the regions that decode. Where HBM has less
//! than all budgets together, each gets the same share of its own.
//!
//! # Several sequences
//! A region is the KV of one sequence in one layer, and `PerLayer` gives an equal share to each
//! region of the sequences that decode in the present step: it shrinks when a sequence begins, and
//! grows when one ends. Uses are ordered by step of the run, then by layer, then by sequence. The
//! pages of a prompt that is being computed stay where they were written until it has decoded its
//! first token; those of a sequence that begins later compete from its first decision on.
//!
//! # New KV
//! The placement decides where the KV of a new token is written. `writes: Around` (default): the
//! cache keeps no place free for it. With `PreferHbm` it is written to HBM while there is space
//! and, once the cache is full, to external memory, from where its first read misses. `writes:
//! Allocate`: the cache keeps one place per layer free, so that `PreferHbm` writes every new token
//! into the cache. The place counts as part of the room. A cache with a budget leaves HBM free, so
//! `PreferHbm` writes all new KV to HBM either way; with `writes: Around` it is over the budget
//! until the layer decides.
//!
//! # Residency
//! * **Inclusive**: external memory has a copy of every token, so an eviction carries nothing and
//!   its place is free at once, for the miss of the same decision. Every admitted miss is on HBM as
//!   soon as its write has completed.
//! * **Exclusive**: a victim must be carried to external memory first, and its place is free only
//!   when it has arrived there. So the cache evicts ahead. Misses are admitted into the places that
//!   are free now; then, for each miss of this step, admitted or not, the cache evicts a token that
//!   is worth less until as many places are free, or becoming free, as this step missed tokens. The
//!   next step's misses take them. In steady state every miss is admitted, and the cache works with
//!   its room less the misses of one step. After a step without misses nothing is evicted.
//!
//! Where a tier's reads are staged, a hot buffer keeps the copy that was made in HBM for the stage
//! to read: admitting a miss carries nothing.
//!
//! A hot buffer is meant for inclusive residency: its misses are then those of a cache of that many
//! tokens. Under exclusive residency every victim is written back, and every miss costs two moves.
//!
//! # Prefetches
//! Pages that a [`Prefetch`](super::Prefetch) has brought in are in the cache beyond its room until
//! the layer decides: those that it has read are the most recent uses, and what is over the room
//! leaves by the cache's own order. To `Fifo` they have arrived in the step that fetched them.
//!
//! Under inclusive residency, with moves and writes that complete within a step, `Belady` that sees
//! the whole run has the least misses of all caches that have the same places free for new tokens:
//! it keeps the tokens whose next reads are soonest (Belady 1966), and leaves a miss where it is if
//! it would be the first to go. Under exclusive residency no such claim is made.
//!
//! # Cost
//! Per layer and step, with n tokens of context, r tokens read, c resident and v victims:
//! `O(n / 64 + r + c + v log v)` time for one layer's room, `O(n / 64 + r + c log c + v L)` for
//! room that L layers share. `Belady` adds O(n) amortized, as the distances between successive
//! reads of a token add up to the steps of the run. Memory: 4 bytes per token and layer and, for
//! shared room, 16 bytes per resident.

mod belady;
mod order;
mod victims;

pub use belady::{Belady, Horizon};
use order::Turns;
pub use order::{Fifo, Lfu, Lru, Order};

use super::select::tokens;
use super::{KvPages, Migration, MigrationView, MovePlan};
use crate::memory::{ResidencyKind, TierId};
use crate::units::{Bytes, Page, RegionId, Step, Table};
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{Shape, TokenSet};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::num::NonZeroU32;
use victims::{Residents, Victims};

/// Which tokens compete for the same places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Room {
    /// Every layer of every sequence that decodes has an equal share, in bytes, of what HBM has for
    /// KV. Where experts are units, every layer's experts have an equal share of what HBM has for
    /// experts: of as much as was laid out there before the first step. KV has the rest.
    #[default]
    PerLayer,
    /// All layers of all sequences together have all of it, and so have experts and KV if the
    /// migration decides for both.
    Shared,
}

/// Whether a cache keeps a place free for the token that each layer writes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Writes {
    /// No: new KV goes to HBM only while the cache is not full.
    #[default]
    Around,
    /// Yes, one per layer: a placement that prefers HBM writes all new KV into the cache.
    Allocate,
}

/// The places that a cache has.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Which tokens compete for them.
    pub room: Room,
    /// Whether one is kept free for the token that is written next.
    pub writes: Writes,
    /// How many tokens of a region they hold at most; as many as HBM has room for where not given.
    pub budget: Option<NonZeroU32>,
}

/// HBM as a cache that keeps the tokens that `order` values most.
pub struct Cache<O> {
    order: O,
    places: Places,
    regions: Table<RegionId, OfRegion>,
    /// The regions of KV that have some of their own, and those of experts.
    with_kv: OfKind,
    with_experts: OfKind,
    victims: Victims,
    /// Scratch space: the present step's misses, by rank.
    misses: Vec<Miss>,
}

/// What is known of a region's pages.
#[derive(Default)]
pub(super) struct OfRegion {
    /// By page, as [`Order`] defines it; empty before the sequence begins, and when it has ended.
    worth: Vec<u32>,
    /// How many pages had KV after the last decision, if there was one.
    pages: Option<usize>,
    /// How many pages may be evicted: what the present step has written of a sequence that has not
    /// decided in it is not known to be of little use.
    competing: usize,
}

impl OfRegion {
    /// How many pages of the region that `view` is of had KV before the present step wrote any:
    /// experts are all there from the start.
    fn known<K>(&self, view: &MigrationView<'_, K>) -> usize {
        let pages = view.pages;
        let at_first = if view.is_experts { pages } else { pages.saturating_sub(1) };
        self.pages.unwrap_or(at_first).min(pages)
    }
}

/// The regions of KV, or of experts, that a cache decides for.
#[derive(Clone, Copy, Default)]
struct OfKind {
    regions: usize,
    /// What a page of each of them takes in all.
    bytes: i128,
    /// How many tokens make a page.
    page_tokens: i128,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Miss {
    rank: u64,
    page: u32,
    tier: TierId,
}

/// Bytes of HBM that a decision may still fill; negative where the cache exceeds its room.
#[derive(Clone, Copy)]
struct Space {
    /// At this moment.
    now: i128,
    /// When all evicted pages have left.
    later: i128,
}

impl<O: Order> Cache<O> {
    /// A cache that knows of no uses yet.
    pub fn new(order: O, places: Places) -> Self {
        let (regions, with_kv, victims) = (Table::new(), OfKind::default(), Victims::new(places.room));
        Self { order, places, regions, with_kv, with_experts: OfKind::default(), victims, misses: Vec::new() }
    }

    /// What is known before the first decision of the run.
    fn begin(&mut self, view: &MigrationView<'_, O::Knows>) {
        for region in RegionId::all(view.regions.count()) {
            self.regions.push(OfRegion::default());
            let KvPages { page_bytes, page_size, is_experts, at, .. } = view.regions.region(region);
            let is_there = at.values().any(|pages| pages.words().iter().any(|word| *word != 0));
            let is_decided = view.regions.decided().contains(&region.index());
            if page_bytes > Bytes::ZERO && is_decided {
                let kind = if is_experts { &mut self.with_experts } else { &mut self.with_kv };
                kind.regions += 1;
                kind.bytes += wide(page_bytes);
                kind.page_tokens = page_size.tokens() as i128;
            }
            if is_there && is_decided {
                self.begin_region(view, region);
            }
        }
    }

    /// What is known of a region before its first decision.
    fn begin_region(&mut self, view: &MigrationView<'_, O::Knows>, region: RegionId) {
        let KvPages { at, is_experts, .. } = view.regions.region(region);
        let range = at[TierId::HBM].words().len() * WORD_BITS;
        let last = |pages: &TokenSet| pages.words().iter().rposition(|word| *word != 0);
        let words = at.values().filter_map(last).max().map_or(0, |word| word + 1);
        let highest = at.values().filter_map(|pages| pages.words().get(words.checked_sub(1)?)).copied().max();
        let end = words * WORD_BITS - highest.map_or(0, |word| word.leading_zeros() as usize);
        // Sequences of a layer write at the same time.
        let layer = |region: RegionId| region.index() % view.layers / view.groups;
        let has_written = region != view.region && layer(region) == layer(view.region);
        self.regions[region].competing = end.saturating_sub(usize::from(has_written && !is_experts));
        let mut worth = vec![self.order.initial(); range];
        self.order.begin(view, region, words * WORD_BITS, &mut worth);
        self.regions[region].worth = worth;
        self.victims.outdated(region);
    }

    /// Brings the worth of the region's pages up to date with the present step.
    fn note(&mut self, view: &MigrationView<'_, O::Knows>) {
        if self.regions.is_empty() {
            self.begin(view);
        }
        if self.regions[view.region].worth.is_empty() {
            self.begin_region(view, view.region);
        }
        let region = &mut self.regions[view.region];
        let known = region.known(view);
        self.order.note(view, &mut region.worth, view.step.index() as u32 + 1, known);
        self.victims.outdated(view.region);
    }

    /// Collects the pages that the present step has read from slower tiers.
    fn find_misses(&mut self, view: &MigrationView<'_, O::Knows>) {
        let turns = Turns::of(view);
        let region = &mut self.regions[view.region];
        // The page written in this step was not read: its write to HBM would be a second one.
        let known = region.known(view);
        (region.pages, region.competing) = (Some(view.pages), view.pages);
        let present = view.skipped().pages.words();
        let order = &self.order;
        self.misses.clear();
        for tier in view.system.tier_ids().skip(1) {
            for (index, at) in view.at[tier].words()[..known.div_ceil(WORD_BITS)].iter().enumerate() {
                let here = [at & !view.in_flight.words()[index] & !present[index] & below(known, index)];
                self.misses.extend(tokens(&here).filter_map(|bit| {
                    let page = index * WORD_BITS + bit;
                    let rank = order.rank(region.worth[page], view.region, turns);
                    order.admits(rank).then_some(Miss { rank, page: page as u32, tier })
                }));
            }
        }
    }

    /// The bytes of HBM that are free for this decision.
    fn space(&self, view: &MigrationView<'_, O::Knows>) -> Space {
        let (hbm, page) = (TierId::HBM, wide(view.page_bytes));
        let (for_kind, shared) = (wide(view.kv_room[hbm]), wide(view.shared_room[hbm]));
        let decides_for_all = view.regions.decided().len() == view.regions.count();
        let (taken, taken_later) = match self.places.room {
            Room::PerLayer => {
                let held = view.at[hbm].words().iter().zip(view.home[hbm].words());
                let held: u32 = held.map(|(at, home)| (at | home).count_ones()).sum();
                (i128::from(held) * page, view.regions.region(view.region).on_hbm())
            }
            Room::Shared if decides_for_all => (shared - wide(view.free[hbm]), wide(view.regions.on_hbm())),
            Room::Shared => {
                let on_hbm = wide(view.regions.on_hbm());
                (on_hbm + wide(view.regions.leaving_hbm()), on_hbm)
            }
        };
        let kept_free = match (self.places.writes, self.places.room) {
            (Writes::Around, _) => 0,
            (Writes::Allocate, Room::PerLayer) if view.is_experts => 0,
            (Writes::Allocate, Room::PerLayer) => page,
            // Of each sequence that decodes, all regions.
            (Writes::Allocate, Room::Shared) => self.page_of_each(view).0,
        };
        let room = match self.places.room {
            Room::PerLayer => self.room_of_region(view, for_kind),
            Room::Shared => self.shared_room(view, shared),
        };
        let room = (room - kept_free).max(0);
        Space { now: room - taken, later: room - taken_later }
    }

    /// The bytes of HBM that all regions together may have, of `shared` in all.
    fn shared_room(&self, view: &MigrationView<'_, O::Knows>, shared: i128) -> i128 {
        let Some(budget) = self.places.budget else { return shared };
        let (budget, (kv, experts)) = (i128::from(budget.get()), self.page_of_each(view));
        (kv * (budget / self.with_kv.page_tokens.max(1)) + experts * budget).min(shared)
    }

    /// The bytes of HBM that the region may have, of `all` that HBM has for its kind.
    fn room_of_region(&self, view: &MigrationView<'_, O::Knows>, all: i128) -> i128 {
        let page = wide(view.page_bytes);
        let room = match self.places.budget {
            None => all / view.deciding.max(1) as i128,
            Some(budget) => {
                let pages = i128::from(budget.get()) / view.page_size.tokens() as i128;
                let (kv, experts) = self.page_of_each(view);
                let wanted = pages * if view.is_experts { experts } else { kv };
                if wanted <= all { pages * page } else { page * pages * all / wanted }
            }
        };
        room - room % page
    }

    /// The size of a page of each KV region of the sequences that decode, added up, and of an
    /// expert of each layer.
    fn page_of_each(&self, view: &MigrationView<'_, O::Knows>) -> (i128, i128) {
        let OfKind { regions, bytes, .. } = self.with_kv;
        // While experts decide, it is not known how many sequences do.
        let deciding = if view.is_experts { regions } else { view.deciding };
        (bytes * deciding as i128 / regions.max(1) as i128, self.with_experts.bytes)
    }
}

impl<O: Order> Migration for Cache<O> {
    type Knows = O::Knows;

    fn look_ahead(&self) -> usize {
        self.order.look_ahead()
    }

    fn memory(&self, shape: Shape, _skips: bool) -> Bytes {
        let range = shape.range().next_multiple_of(WORD_BITS) as u64;
        // Lists grow by doubling, and for a moment the shorter one is there as well.
        let list = 3 * size_of::<Miss>() as u64 * range;
        let queues = if self.places.room == Room::Shared { shape.layers as u64 } else { 1 };
        Bytes::new(shape.layers as u64 * (range * 4 + 128) + (queues + 2) * list)
    }

    fn forget(&mut self, region: RegionId) {
        if self.regions.get(region).is_some() {
            self.regions[region] = OfRegion::default();
            self.victims.outdated(region);
        }
    }

    fn prefetched(&mut self, step: Step, region: RegionId, pages: &[u32]) {
        // A region that has decided nothing yet is looked at as a whole when it does.
        if self.regions.get(region).is_some_and(|of| !of.worth.is_empty()) {
            self.order.prefetched(&mut self.regions[region].worth, step.index() as u32 + 1, pages);
            self.victims.outdated(region);
        }
    }

    fn decide(&mut self, view: &MigrationView<'_, O::Knows>, plan: &mut MovePlan) {
        self.victims.begin_decision();
        self.note(view);
        self.find_misses(view);
        let kv = wide(view.page_bytes);
        let space = self.space(view);
        let missed = self.misses.len() as i128;
        let places = match view.system.residency() {
            ResidencyKind::Inclusive => missed,
            ResidencyKind::Exclusive => 2 * missed,
        };
        if space.later < kv * places {
            self.misses.sort_unstable_by_key(|miss| Reverse((miss.rank, miss.page)));
        }
        let excess = (-space.later).max(0) as u128;
        let most = usize::try_from(excess.div_ceil(kv as u128)).unwrap_or(usize::MAX);
        let of = Residents {
            order: &self.order,
            regions: &self.regions,
            view,
            most: most.saturating_add(self.misses.len()),
        };
        let mut eviction = Eviction { of, victims: &mut self.victims, plan, later: space.later };
        // Pages beyond the cache's room are evicted first, whatever they are worth.
        while eviction.later < 0 {
            if !eviction.evict(u64::MAX) {
                return;
            }
        }
        match view.system.residency() {
            ResidencyKind::Inclusive => exchange(&self.misses, kv, &mut eviction),
            ResidencyKind::Exclusive => admit_and_evict_ahead(&self.misses, kv, space.now, &mut eviction),
        }
        if self.places.room == Room::Shared {
            // What this decision admits can be evicted by the next one.
            self.victims.outdated(view.region);
        }
    }
}

/// Evictions of one decision.
struct Eviction<'a, 'v, O: Order> {
    of: Residents<'a, 'v, O>,
    victims: &'a mut Victims,
    plan: &'a mut MovePlan,
    /// The bytes that are free when all evicted pages have left.
    later: i128,
}

impl<O: Order> Eviction<'_, '_, O> {
    /// Evicts the resident that is worth least, if its rank is below `rank`. False, and nothing
    /// evicted, if there is none or the plan does not allow it.
    fn evict(&mut self, rank: u64) -> bool {
        let Some(victim) = self.victims.worst(&self.of).filter(|victim| victim.rank < rank) else { return false };
        let (view, page) = (self.of.view, Page::new(victim.page as usize));
        let page_bytes = view.regions.region(victim.region).page_bytes;
        let evicted = if victim.region == view.region {
            self.plan.evict(page)
        } else {
            self.plan.evict_elsewhere(victim.region, page, page_bytes)
        };
        if evicted {
            self.victims.take(victim.region);
            self.later += wide(page_bytes);
        }
        evicted
    }

    /// Admits `miss`. False if HBM has no room for it at this moment or the budget is spent.
    fn admit(&mut self, miss: &Miss, kv: i128) -> bool {
        let admitted = self.plan.retain(Page::new(miss.page as usize), miss.tier, TierId::HBM);
        self.later -= if admitted { kv } else { 0 };
        admitted
    }
}

/// Where an eviction frees its place at once: every miss takes a free place or that of a resident
/// that is worth less.
fn exchange<O: Order>(misses: &[Miss], kv: i128, eviction: &mut Eviction<'_, '_, O>) {
    for miss in misses {
        if eviction.plan.allowed() == 0 {
            return;
        }
        while eviction.later < kv || eviction.plan.room(TierId::HBM) == 0 {
            if !eviction.evict(miss.rank) {
                return;
            }
        }
        eviction.admit(miss, kv);
    }
}

/// Where a victim holds its place until it has arrived elsewhere: misses take the places that are
/// free, `now` bytes; then as many places are made free as there are misses, for those of the next
/// step.
fn admit_and_evict_ahead<O: Order>(misses: &[Miss], kv: i128, now: i128, eviction: &mut Eviction<'_, '_, O>) {
    let places = usize::try_from(now.max(0) / kv).unwrap_or(usize::MAX);
    let _ = misses.iter().take(places).all(|miss| eviction.admit(miss, kv));
    let mut wanted = 0;
    for miss in misses {
        wanted += kv;
        while eviction.later < wanted {
            if !eviction.evict(miss.rank) {
                return;
            }
        }
    }
}

/// The bits of word `index` that stand for pages below `end`.
fn below(end: usize, index: usize) -> Word {
    match end.saturating_sub(index * WORD_BITS) {
        0 => 0,
        tokens if tokens >= WORD_BITS => Word::MAX,
        tokens => (1 << tokens) - 1,
    }
}

fn wide(bytes: Bytes) -> i128 {
    i128::from(bytes.get())
}
