//! The pages of one tier, and the blocks that it caches.
//!
//! Pages are counted, not numbered: one is as good as another. A block that is present has
//! references: of requests that read it, and of moves that read or write it. Blocks without any are
//! in a list by their last use, from which they are evicted. The list is linked through the
//! entries, so that each operation is O(1).

use crate::units::{BlockId, Id, MoveId};

/// No entry, and no move.
const NONE: u32 = u32::MAX;

/// What a tier has of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Absent,
    /// Its pages; a move or a step is to fill them.
    Arriving,
    /// All of it.
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    references: u32,
    /// The move that fills it, if one does.
    moving: u32,
    /// Its neighbours in the list of unreferenced blocks; of private or evicted blocks that move,
    /// `newer` is the next one of the same move.
    older: u32,
    newer: u32,
    state: State,
}

const ABSENT: Entry = Entry { references: 0, moving: NONE, older: NONE, newer: NONE, state: State::Absent };

/// The pages and blocks of one tier.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// How many pages there are.
    pub(super) room: u64,
    /// How many of them are free.
    pub(super) free: u64,
    block_pages: u64,
    /// Whether blocks stay when nobody refers to them.
    keeps: bool,
    /// Those of shared blocks, by id, then those of private ones.
    entries: Vec<Entry>,
    shared: usize,
    /// Entries of private blocks that are not in use.
    spare: Vec<BlockId>,
    /// Unreferenced blocks by their last use.
    oldest: u32,
    newest: u32,
    cached: u64,
}

impl Pool {
    /// A tier with `room` pages, for so many different shared `blocks` of `block_pages` each.
    pub(super) fn new(room: u64, blocks: usize, block_pages: u64, keeps: bool) -> Self {
        let entries = vec![ABSENT; blocks];
        let (shared, spare) = (blocks, Vec::new());
        Self { room, free: room, block_pages, keeps, entries, shared, spare, oldest: NONE, newest: NONE, cached: 0 }
    }

    /// What it has of `block`.
    pub(super) fn state(&self, block: BlockId) -> State {
        self.entries[block.index()].state
    }

    /// How often `block` is referred to.
    pub(super) fn references(&self, block: BlockId) -> u32 {
        self.entries[block.index()].references
    }

    /// Whether `moving` fills `block`.
    pub(super) fn is_moved_by(&self, block: BlockId, moving: MoveId) -> bool {
        self.entries[block.index()].moving == number(moving)
    }

    /// The move that fills `block`, if one does.
    pub(super) fn moving(&self, block: BlockId) -> Option<MoveId> {
        let moving = self.entries[block.index()].moving;
        (moving != NONE).then(|| MoveId::new(moving as usize))
    }

    /// The pages of blocks that nobody refers to.
    pub(super) fn cached_pages(&self) -> u64 {
        self.cached * self.block_pages
    }

    /// The pages that are free or could be, if so many unreferenced blocks were in use.
    pub(super) fn available(&self, used: u32) -> u64 {
        self.free + (self.cached - u64::from(used)) * self.block_pages
    }

    /// Adds `block`, in pages that were taken before, with one reference.
    pub(super) fn insert(&mut self, block: BlockId, moving: Option<MoveId>) {
        let state = if moving.is_some() { State::Arriving } else { State::Ready };
        let entry = &mut self.entries[block.index()];
        debug_assert_eq!(entry.state, State::Absent);
        *entry = Entry { references: 1, moving: moving.map_or(NONE, number), state, ..ABSENT };
    }

    /// Adds a private block that `moving` fills, before `next` of the same move.
    pub(super) fn insert_private(&mut self, moving: MoveId, next: Option<BlockId>) -> BlockId {
        let block = self.spare.pop().unwrap_or_else(|| {
            self.entries.push(ABSENT);
            BlockId::new(self.entries.len() - 1)
        });
        self.insert(block, Some(moving));
        self.entries[block.index()].newer = next.map_or(NONE, number);
        block
    }

    /// `next` is moved with `block`, and comes after it.
    pub(super) fn follow(&mut self, block: BlockId, next: BlockId) {
        self.entries[block.index()].newer = number(next);
    }

    /// The private or evicted block after `block` of the same move.
    pub(super) fn next_moved(&self, block: BlockId) -> Option<BlockId> {
        let next = self.entries[block.index()].newer;
        (next != NONE).then(|| BlockId::new(next as usize))
    }

    /// `block` has arrived.
    pub(super) fn arrive(&mut self, block: BlockId) {
        let entry = &mut self.entries[block.index()];
        debug_assert_eq!(entry.state, State::Arriving);
        (entry.state, entry.moving) = (State::Ready, NONE);
    }

    /// Refers to `block` once more.
    pub(super) fn hold(&mut self, block: BlockId) {
        if self.entries[block.index()].references == 0 {
            self.unlink(block);
        }
        self.entries[block.index()].references += 1;
    }

    /// Refers to `block` once less. Without references it is kept as the one used last, or its
    /// pages are free.
    pub(super) fn release(&mut self, block: BlockId) {
        let entry = &mut self.entries[block.index()];
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        debug_assert_eq!(entry.state, State::Ready);
        if self.keeps {
            self.link(block);
        } else {
            self.free += self.block_pages;
            self.forget(block);
        }
    }

    /// `block` is used, if it is there: it will be evicted later.
    pub(super) fn touch(&mut self, block: BlockId) {
        let entry = self.entries[block.index()];
        if entry.state == State::Ready && entry.references == 0 {
            self.unlink(block);
            self.link(block);
        }
    }

    /// Takes `block` out, whose only reference is the caller's; the caller has its pages then.
    pub(super) fn take_out(&mut self, block: BlockId) {
        debug_assert_eq!(self.references(block), 1);
        self.forget(block);
    }

    /// The unreferenced block that was used least recently.
    pub(super) fn oldest(&self) -> Option<BlockId> {
        (self.oldest != NONE).then(|| BlockId::new(self.oldest as usize))
    }

    /// Takes the [oldest](Self::oldest) block out; the caller has its pages then.
    pub(super) fn evict(&mut self) -> Option<BlockId> {
        let block = self.oldest()?;
        self.unlink(block);
        self.forget(block);
        Some(block)
    }

    /// Takes `pages`, evicting as many blocks as that needs; or none where there is no room.
    pub(super) fn take_evicting(&mut self, pages: u64) -> bool {
        if self.free + self.cached_pages() < pages {
            return false;
        }
        while self.free < pages && self.evict().is_some() {
            self.free += self.block_pages;
        }
        self.free -= pages;
        true
    }

    fn forget(&mut self, block: BlockId) {
        self.entries[block.index()] = ABSENT;
        if block.index() >= self.shared {
            self.spare.push(block);
        }
    }

    fn link(&mut self, block: BlockId) {
        let id = number(block);
        let older = self.newest;
        (self.entries[block.index()].older, self.entries[block.index()].newer) = (older, NONE);
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
        self.cached += 1;
    }

    fn unlink(&mut self, block: BlockId) {
        let Entry { older, newer, .. } = self.entries[block.index()];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        self.cached -= 1;
    }
}

/// Ids fit 32 bits.
fn number(id: impl Id) -> u32 {
    id.index() as u32
}
