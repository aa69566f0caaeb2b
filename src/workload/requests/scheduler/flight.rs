//! Moves that are in flight, and the pages that they give up when they are complete.

use crate::units::{BlockId, MoveId, RequestId};
use crate::workload::requests::MoveKind;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::ops::Range;

/// What a move in flight reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) kind: MoveKind,
    pub(super) request: RequestId,
    /// Places in [`Requests::blocks`](crate::workload::requests::Requests::blocks) among which are
    /// those of its shared blocks.
    pub(super) places: Range<u32>,
    /// The first and the last of the blocks that the first tier evicted.
    pub(super) evicted: Option<(BlockId, BlockId)>,
    /// The first of its private blocks in external memory.
    pub(super) private: Option<BlockId>,
    /// The first tier's pages of its private blocks, which its request has, or
    /// [nobody](Self::is_orphan).
    pub(super) private_pages: u64,
    /// Whether its request has given up its pages.
    pub(super) is_orphan: bool,
    /// Private pages of external memory that are free when it is complete.
    pub(super) external_pages: u64,
}

impl Flight {
    /// A move for `request` that so far moves nothing.
    pub(super) fn new(kind: MoveKind, request: RequestId) -> Self {
        let (places, is_orphan) = (0..0, false);
        Self { kind, request, places, evicted: None, private: None, private_pages: 0, is_orphan, external_pages: 0 }
    }
}

/// Moves in flight by id.
pub(super) type Flights = FxHashMap<MoveId, Flight>;

/// Pages of the first tier that are free when a move is complete, and may be used before by a step
/// that waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaving {
    by_move: VecDeque<(MoveId, u64)>,
    /// All of them.
    pub(super) pages: u64,
}

impl Leaving {
    /// So many pages leave with a move.
    pub(super) fn push(&mut self, moving: MoveId, pages: u64) {
        self.pages += pages;
        match self.by_move.back_mut() {
            Some((last, more)) if *last == moving => *more += pages,
            _ if pages > 0 => self.by_move.push_back((moving, pages)),
            _ => {}
        }
    }

    /// Takes `pages`, those of the earliest moves, and adds these moves to `after`.
    pub(super) fn take(&mut self, mut pages: u64, after: &mut Vec<MoveId>) {
        self.pages -= pages;
        while let Some((moving, left)) = self.by_move.front_mut() {
            if pages == 0 {
                break;
            }
            if !after.contains(moving) {
                after.push(*moving);
            }
            let taken = pages.min(*left);
            (*left, pages) = (*left - taken, pages - taken);
            if *left == 0 {
                self.by_move.pop_front();
            }
        }
    }

    /// A move is complete: its pages, as far as they were not taken.
    pub(super) fn arrive(&mut self, moving: MoveId) -> u64 {
        let Some(index) = self.by_move.iter().position(|(id, _)| *id == moving) else { return 0 };
        let pages = self.by_move.remove(index).map_or(0, |(_, pages)| pages);
        self.pages -= pages;
        pages
    }
}
