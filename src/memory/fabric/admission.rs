//! Limits on how many transfers a lane carries at once.
//!
//! A transfer is requested when it is first in line on each limited lane of its path and each has a
//! slot free. It takes these slots then, before its latency, and gives them back with its last
//! byte: a lane with n slots completes at most n transfers in each latency (Little's law). All
//! lines have the same order (precedence, then arrival), so the first of all is first everywhere,
//! and there is no deadlock.

use std::collections::BTreeSet;

/// A place in line: precedence, arrival, and the transfer.
pub(super) type Place = (u8, u64, u32);

#[derive(Clone, Debug)]
pub(super) struct Admission {
    lanes: Vec<Line>,
    any: bool,
}

#[derive(Clone, Debug)]
struct Line {
    limit: Option<u32>,
    active: u32,
    waiting: BTreeSet<Place>,
}

impl Admission {
    pub fn new(limits: impl Iterator<Item = Option<u32>>) -> Self {
        let lanes: Vec<Line> = limits.map(|limit| Line { limit, active: 0, waiting: BTreeSet::new() }).collect();
        Self { any: lanes.iter().any(|line| line.limit.is_some()), lanes }
    }

    /// Whether any of `lanes` is limited.
    pub fn limits(&self, lanes: &[usize]) -> bool {
        self.any && lanes.iter().any(|&lane| self.lanes[lane].limit.is_some())
    }

    /// `place` is in line on `lanes`.
    pub fn wait(&mut self, place: Place, lanes: &[usize]) {
        for &lane in lanes {
            if self.lanes[lane].limit.is_some() {
                self.lanes[lane].waiting.insert(place);
            }
        }
    }

    /// `place` is in line no more.
    pub fn leave_line(&mut self, place: Place, lanes: &[usize]) {
        for &lane in lanes {
            self.lanes[lane].waiting.remove(&place);
        }
    }

    /// Takes a slot on each of `lanes` for `place`, if its turn has come on all of them.
    pub fn try_take(&mut self, place: Place, lanes: &[usize]) -> bool {
        let limited = |lane: &&usize| self.lanes[**lane].limit.is_some();
        let turn = lanes.iter().filter(limited).all(|&lane| {
            let line = &self.lanes[lane];
            line.waiting.first() == Some(&place) && line.limit.is_some_and(|limit| line.active < limit)
        });
        if turn {
            self.leave_line(place, lanes);
            self.lanes_with_limits(lanes, |line| line.active += 1);
        }
        turn
    }

    fn lanes_with_limits(&mut self, lanes: &[usize], mut change: impl FnMut(&mut Line)) {
        lanes.iter().for_each(|&lane| {
            let line = &mut self.lanes[lane];
            if line.limit.is_some() {
                change(line);
            }
        });
    }

    /// Gives back what [`try_take`](Self::try_take) took.
    pub fn give_back(&mut self, lanes: &[usize]) {
        self.lanes_with_limits(lanes, |line| line.active -= 1);
    }

    /// The first of `lanes` that has no slot for `place` yet.
    pub fn in_the_way(&self, place: Place, lanes: &[usize]) -> Option<usize> {
        lanes.iter().copied().find(|&lane| {
            let line = &self.lanes[lane];
            line.limit.is_some_and(|limit| line.waiting.first() != Some(&place) || line.active >= limit)
        })
    }

    /// Who is first in line on `lane`.
    pub fn first(&self, lane: usize) -> Option<Place> {
        self.lanes[lane].waiting.first().copied()
    }
}
