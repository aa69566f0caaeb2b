//! `Fifo`: each lane serves transfers in the order of their arrival, one at a time.
//!
//! A transfer holds all its lanes at once: it starts when it is the first in line on each of them, and then runs at
//! the bandwidth of the slowest. The one that arrived first of all is always first in line everywhere, so there is no
//! deadlock; a lane whose first in line still waits for another lane is idle. The parts of a transfer are in line one by one where
//! they have no lane in common; otherwise (behind a link) the transfer is in line as one and holds the lanes of all its parts. A bus that carried the other direction before
//! turns around first.

use crate::memory::Direction;
use crate::units::SimTime;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(super) struct Fifo {
    /// For each lane the waiting slots, the running one first.
    queues: Vec<VecDeque<u32>>,
    /// Slots that may have become first in line since they were last looked at.
    candidates: Vec<u32>,
    buses: Vec<Bus>,
}

/// What a lane was last used for, and what it costs to turn it around.
#[derive(Clone, Debug)]
struct Bus {
    turnaround: SimTime,
    last: Option<Direction>,
}

impl Fifo {
    /// With the turnaround of each lane.
    pub fn new(turnarounds: impl Iterator<Item = SimTime>) -> Self {
        let buses: Vec<Bus> = turnarounds.map(|turnaround| Bus { turnaround, last: None }).collect();
        Self { queues: vec![VecDeque::with_capacity(64); buses.len()], candidates: Vec::with_capacity(64), buses }
    }

    /// How long it takes until `holds`, which are about to be used, all have the right direction.
    pub fn turn(&mut self, holds: impl Iterator<Item = (usize, Direction)>) -> SimTime {
        holds
            .map(|(lane, direction)| {
                let bus = &mut self.buses[lane];
                let turned = bus.last.replace(direction).is_some_and(|last| last != direction);
                if turned { bus.turnaround } else { SimTime::ZERO }
            })
            .max()
            .unwrap_or_default()
    }

    pub fn arrive(&mut self, slot: u32, lanes: &[usize]) {
        for &lane in lanes {
            self.queues[lane].push_back(slot);
        }
        self.candidates.push(slot);
    }

    /// The first in line on `lane`, running or not.
    pub fn first(&self, lane: usize) -> Option<u32> {
        self.queues[lane].front().copied()
    }

    /// The transfer at the head of `lanes` has completed.
    pub fn leave(&mut self, lanes: &[usize]) {
        for &lane in lanes {
            self.queues[lane].pop_front();
            self.candidates.extend(self.queues[lane].front());
        }
    }

    /// The transfer, which waits in line on `lanes`, is in line no more.
    pub fn withdraw(&mut self, slot: u32, lanes: &[usize]) {
        for &lane in lanes {
            self.queues[lane].retain(|other| *other != slot);
            self.candidates.extend(self.queues[lane].front());
        }
    }

    /// A transfer that may have become first in line; each is named once for each time that it may have.
    pub fn next_candidate(&mut self) -> Option<u32> {
        self.candidates.pop()
    }

    /// Whether `slot` is the first in line on all of `lanes`.
    pub fn is_first(&self, slot: u32, lanes: &[usize]) -> bool {
        lanes.iter().all(|&lane| self.first(lane) == Some(slot))
    }
}
