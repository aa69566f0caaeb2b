//! Blocks that have been computed, and moves that are complete.

use super::Scheduler;
use super::flight::Flight;
use super::pool::State;
use super::room::Place;
use super::running::{Running, small};
use super::step::{MoveKind, WhenMoved};
use crate::units::MoveId;

impl Scheduler {
    /// Where `running` has computed its next full block, if that matters.
    pub(super) fn set_boundary(&self, running: &mut Running) {
        let matters = running.full_blocks < running.blocks || self.policy.stores_computed_private();
        let next = (running.computed / self.sizes.block + 1).saturating_mul(self.sizes.block);
        running.boundary = if matters { next } else { u32::MAX };
    }

    /// The running request at `index` has computed full blocks since it had `before` tokens: those
    /// of its prompt may be shared from now on, and are stored where they are written through.
    pub(super) fn fill_blocks(&mut self, index: usize, before: u32) {
        let mut running = self.running[index];
        let first = running.full_blocks;
        running.full_blocks = (running.computed / self.sizes.block).min(running.blocks);
        for block in first..running.full_blocks {
            self.share(&mut running, block);
        }
        if first < running.full_blocks {
            self.blocked = None;
        }
        if self.policy.stores_through {
            self.store(&running, first, before);
        }
        self.set_boundary(&mut running);
        self.running[index] = running;
    }

    /// A block of the request's own is to be shared, unless another request has computed or loaded
    /// the same one meanwhile: then it stays its own, as it does in vLLM.
    fn share(&mut self, running: &mut Running, block: u32) {
        let (id, place) = self.block_of(running.request, block);
        let pages = small(self.sizes.block_pages);
        if self.policy.direct && self.places[place] == Place::OwnExternal {
            if self.policy.caches_external && self.external.state(id) == State::Absent {
                self.external.insert(id, None);
                running.own_external -= pages;
                running.shared += 1;
                self.places[place] = Place::External;
            }
        } else if self.hbm.state(id) == State::Absent {
            self.hbm.insert(id, None);
            running.own -= pages;
            running.shared += 1;
            self.places[place] = Place::Hbm;
        } else {
            self.places[place] = Place::Own;
        }
    }

    /// Stores the full blocks that `running` has computed since it had `first` of its prompt and
    /// `before` tokens, as far as there is room in external memory. They stay in the first tier
    /// until they are stored.
    fn store(&mut self, running: &Running, first: u32, before: u32) {
        let id = self.next_move();
        let size = self.sizes.block;
        let mut stored = 0;
        for block in first..running.full_blocks {
            let (block, place) = self.block_of(running.request, block);
            if self.places[place] != Place::Hbm || self.external.state(block) != State::Absent {
                continue;
            }
            if !self.external.take_evicting(self.sizes.block_pages) {
                break;
            }
            self.external.insert(block, Some(id));
            self.hbm.hold(block);
            stored += 1;
        }
        let start = self.requests.all[running.request].blocks.start;
        let places = start + first..start + running.full_blocks;
        let mut flight = Flight { places, ..Flight::new(MoveKind::Store, running.request) };
        if self.policy.stores_private && running.own_external == 0 {
            let known = self.kept[running.request].peak;
            for block in running.blocks.max(before / size)..running.computed / size {
                if (block + 1) * size <= known {
                    continue;
                }
                if !self.external.take_evicting(self.sizes.block_pages) {
                    break;
                }
                flight.private = Some(self.external.insert_private(id, flight.private));
                let pages = |blocks: u32| self.sizes.pages((blocks - running.blocks) * size);
                flight.private_pages += pages(block + 1) - pages(block);
                stored += 1;
            }
        }
        if stored > 0 {
            self.issue(flight, stored * size, WhenMoved::Background);
        }
    }

    /// A move is complete: who waited for it goes on, and pages that it held are free.
    pub(super) fn land(&mut self, id: MoveId) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.blocked = None;
        for place in flight.places.clone().rev() {
            let block = self.requests.blocks[place as usize];
            let place = &mut self.places[place as usize];
            match flight.kind {
                MoveKind::Load | MoveKind::SwapIn => {
                    if *place == Place::Both && self.hbm.is_moved_by(block, id) {
                        *place = Place::Hbm;
                        self.hbm.arrive(block);
                        self.external.release(block);
                    }
                }
                MoveKind::Store => {
                    if self.external.is_moved_by(block, id) {
                        self.external.arrive(block);
                        self.external.release(block);
                        self.hbm.release(block);
                    }
                }
                MoveKind::SwapOut => {
                    if self.external.is_moved_by(block, id) {
                        self.external.arrive(block);
                    }
                    if *place == Place::Both {
                        *place = Place::External;
                        self.hbm.release(block);
                    }
                }
            }
        }
        for first in flight.evicted.map(|(first, _)| first).into_iter().chain(flight.private) {
            let mut stored = Some(first);
            while let Some(block) = stored {
                stored = self.external.next_moved(block);
                self.external.arrive(block);
                self.external.release(block);
            }
        }
        self.external.free += flight.external_pages;
        self.hbm.free += self.leaving.arrive(id) + if flight.is_orphan { flight.private_pages } else { 0 };
        if flight.kind.is_inward() {
            self.end_waits(id);
        }
    }

    fn end_waits(&mut self, id: MoveId) {
        let loading = &mut self.loading;
        let loaded = &mut self.loaded;
        self.waiting.retain(|(waited, request)| {
            if *waited != id {
                return true;
            }
            if let Some(it) = loading.iter_mut().find(|it| it.running.request == *request) {
                it.waits -= 1;
                *loaded += u32::from(it.waits == 0);
            }
            false
        });
    }
}
