//! Admitting requests: finding prefix blocks, and loading those that are in external memory.

use super::Scheduler;
use super::flight::Flight;
use super::pool::State;
use super::room::Place;
use super::running::{Running, small};
use super::step::{MoveKind, WhenMoved};
use crate::units::{BlockId, MoveId, RequestId, SimTime};

/// A request that waits for moves before its first step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading {
    pub(super) running: Running,
    /// How many moves it waits for.
    pub(super) waits: u32,
}

/// The outcome for the first request of the queue.
enum Admission {
    /// It runs, or loads.
    Admitted,
    /// There is no room for it, until something is given up or a move is complete.
    NoRoom,
    /// There would be room, but for stores that have to be complete first.
    Later,
}

/// The prefix blocks that a request finds.
#[derive(Clone, Copy, Debug, Default)]
struct Hits {
    blocks: u32,
    /// Of these, those in external memory only.
    external: u32,
    /// Of these, those on each tier that nobody refers to so far.
    cached_hbm: u32,
    cached_external: u32,
    /// Whether some arrive in the first tier with moves that this step does not wait for.
    arriving: bool,
}

impl Scheduler {
    /// Admits waiting requests while the limits and the room allow: those whose loads are complete,
    /// then those that were preempted, then the others.
    pub(super) fn admit(&mut self, now: SimTime, budget: &mut u32) {
        let most = self.requests.limits.sequences as usize;
        let mut index = 0;
        while self.loaded > 0 && *budget > 0 && self.running.len() < most {
            if self.loading[index].waits == 0 {
                let Loading { running, .. } = self.loading.remove(index);
                self.loaded -= 1;
                self.start(now, running, 0, budget);
            } else {
                index += 1;
            }
        }
        while *budget > 0 && self.running.len() < most {
            let Some(request) = self.queue.front() else { break };
            if self.blocked == Some(request) {
                break;
            }
            let is_swapped = self.kept[request].swapped > 0;
            let admitted =
                if is_swapped { self.swap_in(now, request, budget) } else { self.admit_new(now, request, budget) };
            match admitted {
                Admission::Admitted => self.queue.pop_front(),
                Admission::NoRoom => {
                    self.blocked = Some(request);
                    break;
                }
                Admission::Later => break,
            }
        }
    }

    /// A request runs from now on: it has pages for its part of the step, of which `in_external`
    /// tokens are in external memory.
    fn start(&mut self, now: SimTime, mut running: Running, in_external: u32, budget: &mut u32) {
        self.records[running.request].scheduled.get_or_insert(now);
        self.set_boundary(&mut running);
        self.running.push(running);
        self.push_part(&running, in_external, budget);
    }

    /// A request that has no KV of its own is admitted, or begins to load, if there is room.
    fn admit_new(&mut self, now: SimTime, request: RequestId, budget: &mut u32) -> Admission {
        let of = &self.requests.all[request];
        let tokens = of.prompt + self.records[request].tokens_out;
        let left = of.output - self.records[request].tokens_out;
        let blocks = self.kept[request].blocks;
        let hits = self.find(request, blocks.min((tokens - 1) / self.sizes.block));
        let direct = self.policy.direct;
        // Blocks that are read in place take no new pages, nor do those of the first tier.
        let shared = if direct { hits.blocks } else { hits.blocks - hits.external };
        let needed = self.sizes.pages_for(tokens, blocks) - u64::from(shared) * self.sizes.block_pages;
        let hbm = self.hbm.available(hits.cached_hbm);
        let external = if direct { self.external.available(hits.cached_external) } else { 0 };
        if needed > hbm + external {
            return Admission::NoRoom;
        }
        self.hold_hits(request, hits.blocks);
        let computed = hits.blocks * self.sizes.block;
        let mut running = Running {
            request,
            computed,
            tokens,
            room: computed,
            boundary: 0,
            prompt_end: tokens,
            left,
            blocks,
            full_blocks: hits.blocks,
            shared,
            own: 0,
            own_external: 0,
            external: if direct { hits.external * self.sizes.block } else { 0 },
            ends_external: false,
        };
        let loads = !direct && hits.external > 0;
        let waits = hits.arriving || loads && !self.policy.by_layer;
        // A request that waits has pages for all its tokens: else two that wait could block each
        // other, and never run.
        let part = if waits { tokens - computed } else { (tokens - computed).min(*budget) };
        let Some(in_external) = self.grow(&mut running, part, false) else {
            self.release_hits(request, hits.blocks);
            return Admission::Later;
        };
        self.note_hits(request, hits.blocks);
        if loads {
            let when = if waits { WhenMoved::Awaited } else { WhenMoved::ByLayer };
            let load = Flight::new(MoveKind::Load, request);
            let id = self.fetch(&mut running, load, 0, when);
            if waits {
                self.waiting.push((id, request));
            } else {
                self.step.by_layer.push(id);
            }
        }
        if waits {
            self.wait(running);
        } else {
            self.start(now, running, in_external, budget);
        }
        Admission::Admitted
    }

    /// A request whose KV is in external memory is admitted, or begins to load, if there is room.
    fn swap_in(&mut self, now: SimTime, request: RequestId, budget: &mut u32) -> Admission {
        let kept = self.kept[request];
        let full_blocks = (kept.swapped / self.sizes.block).min(kept.blocks);
        let tail = kept.swapped - full_blocks * self.sizes.block;
        if kept.swap.is_some_and(|id| self.flights.contains_key(&id)) {
            return Admission::NoRoom;
        }
        let (mut shared, mut cached) = (0, 0);
        for block in 0..full_blocks {
            let (id, _) = self.block_of(request, block);
            if self.external.state(id) != State::Ready {
                return Admission::NoRoom;
            }
            if self.hbm.state(id) != State::Absent {
                shared += 1;
                cached += u32::from(self.hbm.references(id) == 0);
            }
        }
        let of = &self.requests.all[request];
        let tokens = of.prompt + self.records[request].tokens_out;
        let left = of.output - self.records[request].tokens_out;
        let needed = self.sizes.pages_for(tokens, kept.blocks) - u64::from(shared) * self.sizes.block_pages;
        if needed > self.hbm.available(cached) {
            return Admission::NoRoom;
        }
        for block in 0..full_blocks {
            let (id, place) = self.block_of(request, block);
            if self.hbm.state(id) != State::Absent {
                self.hbm.hold(id);
                self.places[place] = Place::Hbm;
            }
        }
        let mut running = Running {
            request,
            computed: kept.swapped,
            tokens,
            room: 0,
            boundary: 0,
            prompt_end: kept.prompt_end,
            left,
            blocks: kept.blocks,
            full_blocks,
            shared,
            own: 0,
            own_external: 0,
            external: 0,
            ends_external: false,
        };
        if self.grow(&mut running, tokens - kept.swapped, false).is_none() {
            for block in (0..full_blocks).rev() {
                let (id, place) = self.block_of(request, block);
                if self.places[place] == Place::Hbm {
                    self.hbm.release(id);
                    self.places[place] = Place::External;
                }
            }
            return Admission::Later;
        }
        // What is in the first tier already is not moved.
        for block in (0..full_blocks).rev() {
            let (id, place) = self.block_of(request, block);
            if self.places[place] == Place::Hbm {
                self.external.release(id);
            }
        }
        self.kept[request].swapped = 0;
        let is_moved = tail > 0 || shared < full_blocks;
        if is_moved {
            let external_pages = self.sizes.pages(tail);
            let flight = Flight { external_pages, ..Flight::new(MoveKind::SwapIn, request) };
            let id = self.fetch(&mut running, flight, tail, WhenMoved::Awaited);
            self.waiting.push((id, request));
        }
        let waits = is_moved || (0..full_blocks).any(|block| self.is_arriving(self.block_of(request, block).0));
        if waits {
            self.wait(running);
        } else {
            self.start(now, running, 0, budget);
        }
        Admission::Admitted
    }

    /// The longest prefix of at most so many blocks that is on the tiers.
    fn find(&self, request: RequestId, most: u32) -> Hits {
        let mut hits = Hits::default();
        let blocks = &self.requests.blocks_of(&self.requests.all[request])[..most as usize];
        for &block in blocks {
            if self.hbm.state(block) != State::Absent {
                hits.cached_hbm += u32::from(self.hbm.references(block) == 0);
                hits.arriving |= self.is_arriving(block);
            } else if self.policy.caches_external && self.external.state(block) == State::Ready {
                hits.external += 1;
                hits.cached_external += u32::from(self.external.references(block) == 0);
            } else {
                break;
            }
            hits.blocks += 1;
        }
        hits
    }

    /// Whether `block` arrives in the first tier with a move that this step does not wait for.
    fn is_arriving(&self, block: BlockId) -> bool {
        self.hbm.moving(block).is_some_and(|id| !self.step.by_layer.contains(&id))
    }

    /// A request refers to the blocks that it has found, so that they are not evicted.
    fn hold_hits(&mut self, request: RequestId, hits: u32) {
        for block in 0..hits {
            let (id, place) = self.block_of(request, block);
            if self.hbm.state(id) == State::Absent {
                self.external.hold(id);
                self.places[place] = Place::External;
            } else {
                self.hbm.hold(id);
                self.places[place] = Place::Hbm;
            }
        }
    }

    /// It does not: there is no room for it. They count as used.
    fn release_hits(&mut self, request: RequestId, hits: u32) {
        for block in (0..hits).rev() {
            let (id, place) = self.block_of(request, block);
            match self.places[place] {
                Place::External => self.external.release(id),
                _ => self.hbm.release(id),
            }
        }
    }

    /// Counts hits, and notes that copies in external memory of what was found are used.
    fn note_hits(&mut self, request: RequestId, hits: u32) {
        let (size, known) = (self.sizes.block, self.kept[request].peak);
        for block in (0..hits).rev() {
            let (id, place) = self.block_of(request, block);
            let new = ((block + 1) * size).saturating_sub(known.max(block * size));
            let record = &mut self.records[request];
            if self.places[place] == Place::External {
                record.hit_external += new;
            } else {
                record.hit_hbm += new;
                self.external.touch(id);
            }
        }
    }

    /// Blocks of `running` that are in external memory come to the first tier, and `tail` private
    /// tokens besides. It has the pages for them.
    fn fetch(&mut self, running: &mut Running, flight: Flight, tail: u32, when: WhenMoved) -> MoveId {
        let id = self.next_move();
        let mut fetched = 0;
        for block in 0..running.full_blocks {
            let (block, place) = self.block_of(running.request, block);
            if self.places[place] == Place::External {
                self.hbm.insert(block, Some(id));
                self.places[place] = Place::Both;
                fetched += 1;
            }
        }
        running.own -= fetched * small(self.sizes.block_pages);
        running.shared += fetched;
        let start = self.requests.all[running.request].blocks.start;
        let places = start..start + running.full_blocks;
        self.issue(Flight { places, ..flight }, fetched * self.sizes.block + tail, when)
    }

    /// A request waits for the moves of its blocks, those that others have asked for included.
    fn wait(&mut self, running: Running) {
        for block in 0..running.full_blocks {
            let (block, _) = self.block_of(running.request, block);
            if let Some(id) = self.hbm.moving(block)
                && self.is_arriving(block)
                && !self.waiting.contains(&(id, running.request))
            {
                self.waiting.push((id, running.request));
            }
        }
        let waits = self.waiting.iter().filter(|(_, request)| *request == running.request).count();
        self.loading.push(Loading { running, waits: small(waits as u64) });
    }
}
