//! Requests that give up their KV: those that end, and those that are preempted.

use super::Scheduler;
use super::flight::Flight;
use super::pool::State;
use super::room::Place;
use super::running::Running;
use super::step::{MoveKind, WhenMoved};
use crate::units::{BlockId, RequestId};

impl Scheduler {
    /// The request that was admitted last gives up its KV, and waits in front of all others.
    pub(super) fn preempt_last(&mut self) {
        let Some(last) = self.running.pop() else { return };
        let request = last.request;
        self.records[request].preemptions += 1;
        let kept = &mut self.kept[request];
        kept.peak = kept.peak.max(last.computed);
        if !self.policy.swaps || !self.swap_out(&last) {
            self.give_up(&last);
        }
        self.queue.push_front(request);
        self.blocked = None;
    }

    /// A request has ended.
    pub(super) fn finish(&mut self, running: &Running) {
        self.unfinished -= 1;
        self.blocked = None;
        if self.policy.stores_evicted && self.policy.stores_private {
            self.store_rest(running);
        } else {
            self.give_up(running);
        }
    }

    /// A request gives up all its pages. Its shared blocks stay, the last ones to be evicted first.
    fn give_up(&mut self, running: &Running) {
        self.release_blocks(running);
        self.hbm.free += u64::from(running.own) - self.orphan(running.request);
        self.external.free += u64::from(running.own_external);
    }

    fn release_blocks(&mut self, running: &Running) {
        for block in (0..running.full_blocks).rev() {
            let (id, place) = self.block_of(running.request, block);
            match self.places[place] {
                Place::Hbm => {
                    self.note_user(id, running.request);
                    self.hbm.release(id);
                }
                Place::External => self.external.release(id),
                Place::Own | Place::OwnExternal | Place::Both => {}
            }
        }
    }

    /// Notes who gave up `block` last.
    fn note_user(&mut self, block: BlockId, request: RequestId) {
        if let Some(user) = self.users.get_mut(block.index()) {
            *user = request;
        }
    }

    /// Private pages of `request` that stores in flight still read: they are free when these are
    /// complete. Returns how many.
    fn orphan(&mut self, request: RequestId) -> u64 {
        if !self.policy.stores_private {
            return 0;
        }
        let mine = self.flights.values_mut().filter(|flight| flight.request == request && !flight.is_orphan);
        let pages = mine.map(|flight| {
            flight.is_orphan = true;
            flight.private_pages
        });
        pages.sum()
    }

    /// A request that has ended gives up its pages; its full private blocks are stored first.
    fn store_rest(&mut self, running: &Running) {
        let id = self.next_move();
        let (mut private, mut stored) = (None, 0);
        let full = if running.own_external > 0 { 0 } else { running.computed / self.sizes.block };
        for _ in running.blocks..full {
            if !self.external.take_evicting(self.sizes.block_pages) {
                break;
            }
            private = Some(self.external.insert_private(id, private));
            stored += 1;
        }
        if stored == 0 {
            return self.give_up(running);
        }
        self.release_blocks(running);
        let flight = Flight { private, ..Flight::new(MoveKind::Store, running.request) };
        self.issue(flight, stored * self.sizes.block, WhenMoved::Background);
        self.leaving.push(id, u64::from(running.own));
    }

    /// Moves the KV of a request that is preempted to external memory, if there is room for it.
    ///
    /// Prefix blocks that are there already are not moved, and not evicted while it waits. Blocks
    /// that only this request refers to leave the first tier, as its private pages do; those that
    /// others refer to are copied.
    fn swap_out(&mut self, running: &Running) -> bool {
        let Running { request, computed, full_blocks, .. } = *running;
        let (block_pages, size) = (self.sizes.block_pages, self.sizes.block);
        let tail = computed - full_blocks * size;
        let mut copied = 0;
        for block in 0..full_blocks {
            let (id, _) = self.block_of(request, block);
            if self.external.state(id) == State::Absent {
                copied += 1;
            } else {
                self.external.hold(id);
            }
        }
        let tokens = copied * size + tail;
        let needed = u64::from(copied) * block_pages + self.sizes.pages(tail);
        if tokens == 0 && full_blocks == 0 || !self.external.take_evicting(needed) {
            for block in (0..full_blocks).rev() {
                let (id, _) = self.block_of(request, block);
                if self.external.state(id) != State::Absent {
                    self.external.release(id);
                }
            }
            return false;
        }
        let id = self.next_move();
        let mut leaving = u64::from(running.own) - self.orphan(request);
        for block in (0..full_blocks).rev() {
            let (block, place) = self.block_of(request, block);
            let is_shared = self.places[place] == Place::Hbm;
            self.places[place] = Place::External;
            if self.external.state(block) != State::Absent {
                if is_shared {
                    self.note_user(block, request);
                    self.hbm.release(block);
                }
                continue;
            }
            self.external.insert(block, Some(id));
            if is_shared && self.hbm.references(block) == 1 {
                self.hbm.take_out(block);
                leaving += block_pages;
            } else if is_shared {
                self.places[place] = Place::Both;
            }
        }
        let kept = &mut self.kept[request];
        (kept.swapped, kept.prompt_end, kept.swap) = (computed, running.prompt_end, None);
        if tokens == 0 {
            self.hbm.free += leaving;
            return true;
        }
        kept.swap = Some(id);
        let start = self.requests.all[request].blocks.start;
        let flight = Flight { places: start..start + full_blocks, ..Flight::new(MoveKind::SwapOut, request) };
        self.issue(flight, tokens, WhenMoved::Awaited);
        self.leaving.push(id, leaving);
        true
    }
}
