//! Room for KV: evicting blocks, and growing a request on the tiers that may hold it.

use super::Scheduler;
use super::flight::Flight;
use super::pool::State;
use super::running::{Running, small};
use super::step::{KvMove, MoveKind, WhenMoved};
use crate::units::{BlockId, MoveId, RequestId};

/// On which tier the KV of a shareable block of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In pages of the request's own in the first tier, or nowhere yet.
    Own,
    /// In pages of its own in external memory.
    OwnExternal,
    /// A shared block of the first tier.
    Hbm,
    /// A shared block of external memory.
    External,
    /// Shared blocks of both, while a move is in flight.
    Both,
}

/// Where new KV goes.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    /// New shareable blocks, the first ones in the first tier.
    blocks_hbm: u32,
    blocks_external: u32,
    /// New private pages, the first ones in the first tier.
    pages_hbm: u32,
    pages_external: u32,
}

impl Scheduler {
    /// Asks for a move, which is in flight from then on.
    pub(super) fn issue(&mut self, flight: Flight, tokens: u32, when: WhenMoved) -> MoveId {
        let id = self.next_move();
        self.moves.push(KvMove { id, kind: flight.kind, request: flight.request, tokens, when });
        self.flights.insert(id, flight);
        self.last_move += 1;
        id
    }

    /// The id of the next move that is [issued](Self::issue).
    pub(super) fn next_move(&self) -> MoveId {
        MoveId::new(self.last_move)
    }

    /// Whether the first tier must store `block` before it gives it up.
    fn is_unsaved(&self, block: BlockId) -> bool {
        self.policy.stores_evicted && self.external.state(block) == State::Absent
    }

    /// The first tier gives up the block that was used least recently. If it has to be stored, its
    /// pages leave with the store; if external memory has no room for it, it is dropped. Blocks of
    /// one request that are evicted one after the other are one move.
    pub(super) fn evict(&mut self) {
        let Some(block) = self.hbm.evict() else { return };
        let pages = self.sizes.block_pages;
        if !self.is_unsaved(block) || !self.external.take_evicting(pages) {
            self.hbm.free += pages;
            return;
        }
        let request = self.users[block.index()];
        let last = self.moves.last_mut().filter(|last| last.request == request);
        let open = last.and_then(|last| Some((self.flights.get_mut(&last.id)?.evicted.as_mut()?, last)));
        let id = if let Some(((_, end), last)) = open {
            last.tokens += self.sizes.block;
            let before = std::mem::replace(end, block);
            let id = last.id;
            self.external.insert(block, Some(id));
            self.external.follow(before, block);
            id
        } else {
            let flight = Flight { evicted: Some((block, block)), ..Flight::new(MoveKind::Store, request) };
            let id = self.issue(flight, self.sizes.block, WhenMoved::Background);
            self.external.insert(block, Some(id));
            id
        };
        self.leaving.push(id, pages);
    }

    /// Takes `pages` of the first tier. Blocks are evicted for it in the order of their last use.
    /// Where a block has to be stored first, or pages of a swap are leaving, the step `waits` for
    /// these moves; where it must not wait, nothing is taken yet.
    fn obtain(&mut self, pages: u64, waits: bool) -> bool {
        let leaving = if waits { self.leaving.pages } else { 0 };
        if self.hbm.free + self.hbm.cached_pages() + leaving < pages {
            return false;
        }
        while self.hbm.free < pages {
            let promised = self.hbm.free + self.leaving.pages;
            match self.hbm.oldest() {
                Some(block) if promised < pages || !self.is_unsaved(block) => self.evict(),
                _ if !waits => return false,
                _ => {
                    let missing = pages - self.hbm.free;
                    self.leaving.take(missing, &mut self.step.after);
                    self.hbm.free += missing;
                }
            }
        }
        self.hbm.free -= pages;
        true
    }

    /// Makes room for `tokens` more tokens of `running`: how many of them are in external memory,
    /// or `None` where there is no room.
    pub(super) fn grow(&mut self, running: &mut Running, tokens: u32, waits: bool) -> Option<u32> {
        if self.policy.direct {
            return self.grow_direct(running, tokens, waits);
        }
        let needed = self.sizes.pages_for(running.computed + tokens, running.blocks);
        let pages = needed.saturating_sub(running.pages(&self.sizes));
        if pages > 0 {
            self.obtain(pages, waits).then(|| running.take(pages, 0, &self.sizes))?;
        }
        Some(0)
    }

    /// As [`grow`](Self::grow), where external memory takes what the first tier has no room for.
    fn grow_direct(&mut self, running: &mut Running, tokens: u32, waits: bool) -> Option<u32> {
        if running.computed + tokens <= running.room {
            let in_external = self.place(running, tokens, Growth::default());
            running.external += in_external;
            return Some(in_external);
        }
        let growth = self.plan(running, running.computed + tokens, waits)?;
        let pages = |blocks: u32, pages: u32| u64::from(blocks) * self.sizes.block_pages + u64::from(pages);
        let hbm = pages(growth.blocks_hbm, growth.pages_hbm);
        let external = pages(growth.blocks_external, growth.pages_external);
        // First those of external memory: evicting a block of the first tier may take some of them.
        if !self.external.take_evicting(external) {
            return None;
        }
        if !self.obtain(hbm, waits) {
            self.external.free += external;
            return None;
        }
        let in_external = self.place(running, tokens, growth);
        running.take(hbm, external, &self.sizes);
        running.external += in_external;
        Some(in_external)
    }

    /// Where the KV of `running` up to `tokens` goes, the first tier first.
    fn plan(&self, running: &Running, tokens: u32, waits: bool) -> Option<Growth> {
        let sizes = &self.sizes;
        let blocks = |tokens: u32| tokens.div_ceil(sizes.block).min(running.blocks);
        let blocks = blocks(tokens) - blocks(running.computed);
        let pages = |tokens: u32| sizes.pages(running.private(tokens, sizes));
        let pages = small(pages(tokens) - pages(running.computed));
        let leaving = if waits { self.leaving.pages } else { 0 };
        let fit = |pages: u64| small((pages / sizes.block_pages).min(u64::from(u32::MAX)));
        let mut hbm = self.hbm.free + self.hbm.cached_pages() + leaving;
        let mut external = self.external.free + self.external.cached_pages();
        let blocks_hbm = blocks.min(fit(hbm));
        let blocks_external = blocks - blocks_hbm;
        if blocks_external > fit(external) {
            return None;
        }
        hbm -= u64::from(blocks_hbm) * sizes.block_pages;
        external -= u64::from(blocks_external) * sizes.block_pages;
        let pages_hbm = small(u64::from(pages).min(hbm));
        let pages_external = pages - pages_hbm;
        let fits = u64::from(pages_external) <= external;
        fits.then_some(Growth { blocks_hbm, blocks_external, pages_hbm, pages_external })
    }

    /// Notes where the blocks of the next `tokens` tokens are. Returns how many of these tokens are
    /// in external memory.
    fn place(&mut self, running: &mut Running, tokens: u32, growth: Growth) -> u32 {
        let size = self.sizes.block;
        let (first, end) = (running.computed, running.computed + tokens);
        let mut external = 0;
        let mut blocks_hbm = growth.blocks_hbm;
        for block in first / size..end.div_ceil(size).min(running.blocks) {
            let start = block * size;
            let index = self.place_of(running.request, block);
            if start >= first {
                self.places[index] = if blocks_hbm > 0 { Place::Own } else { Place::OwnExternal };
                blocks_hbm = blocks_hbm.saturating_sub(1);
            }
            if self.places[index] == Place::OwnExternal {
                external += end.min(start + size) - first.max(start);
            }
        }
        let before = running.private(first, &self.sizes);
        let mut private = running.private(end, &self.sizes) - before;
        if private > 0 {
            let left = private.min(self.sizes.left_in_page(before));
            external += if running.ends_external { left } else { 0 };
            private -= left;
            let hbm = private.min(growth.pages_hbm.saturating_mul(self.sizes.page_tokens()));
            external += private - hbm;
            if private > 0 {
                running.ends_external = private > hbm;
            }
        }
        external
    }

    /// The place of a block in [`Requests::blocks`](crate::workload::requests::Requests::blocks).
    pub(super) fn place_of(&self, request: RequestId, block: u32) -> usize {
        (self.requests.all[request].blocks.start + block) as usize
    }

    /// A block of a request, and its place.
    pub(super) fn block_of(&self, request: RequestId, block: u32) -> (BlockId, usize) {
        let place = self.place_of(request, block);
        (self.requests.blocks[place], place)
    }

    /// Evicts ahead of need, where evicted blocks have to be stored: so many pages are free, or are
    /// leaving, that a step can take its pages without waiting.
    pub(super) fn evict_ahead(&mut self) {
        if self.policy.stores_evicted {
            while self.hbm.free + self.leaving.pages < self.policy.ahead && self.hbm.oldest().is_some() {
                self.evict();
            }
        }
    }
}
