//! `Fair` and `Priority`: transfers share lanes, at rates that are constant between arrivals and departures.
//!
//! Transfers that hold the same lanes with the same weight and precedence form a group, and at any moment all of a
//! group get the same rate. So a group needs only one number, its *progress*: the bytes that a member which was
//! there from the start would have received. A transfer completes when the progress reaches what it was at its
//! arrival plus its size; that mark never changes, whatever the rates do. A heap holds the marks; only the first is
//! in the calendar. An arrival or departure among n transfers costs O(log n), plus the filling over the few groups.
//!
//! # Precision
//! Progress and rates are fixed-point with 64 fractional bits. Rates are rounded down, so a transfer lags the exact solution
//! by at most its weight times 2^-64 byte for each picosecond that it is active. To make up for it, a transfer is complete at the
//! first whole picosecond at which it lacks less than [`SLACK`], 2^-20 byte: more than the lag of 17 simulated seconds at
//! weight 1, and what a lane of 1 GB/s carries in a thousandth of a picosecond. So completions are those of the exact
//! solution, rounded up, but where that lies within this hair after a whole picosecond. The clock is in whole picoseconds, so what
//! a departing transfer had of its lanes is given to the others at the next one.

use super::max_min::{Demand, Filling, Rate};
use crate::kernel::{Calendar, EventId};
use crate::units::{Bytes, SimTime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A byte in the fixed-point format of progress.
pub(super) const BYTE: u128 = 1 << 64;
/// What a complete transfer may lack: 2^-20 byte.
const SLACK: u128 = 1 << 44;

/// The least progress at which one more transfer of a group that is at `progress` can have received `bytes` more whole
/// bytes: it may be anywhere within a byte now, and the last of them may lack [`SLACK`].
pub(super) fn progress_after(progress: u128, bytes: Bytes) -> u128 {
    progress.saturating_add((u128::from(bytes.get()).saturating_sub(1) * BYTE).saturating_sub(SLACK))
}

/// A transfer's mark in its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub group: usize,
    /// The group's progress at which the transfer is complete.
    mark: u128,
}

#[derive(Clone, Debug)]
struct Group {
    progress: u128,
    rate: Rate,
    since: SimTime,
    /// Marks in the order of completion; equal marks in the order of issue. An entry whose transfer has moved to
    /// another group is stale and is dropped when it comes up.
    marks: BinaryHeap<Reverse<(u128, u64, u32)>>,
    /// Those that have not received anything since they joined: (order, slot).
    waiting: Vec<(u64, u32)>,
    scheduled: SimTime,
}

impl Group {
    fn advance(&mut self, now: SimTime) {
        if now > self.since {
            self.progress += self.rate * u128::from((now - self.since).as_ps());
            self.since = now;
        }
    }

    fn progress_at(&self, now: SimTime) -> u128 {
        self.progress + self.rate * u128::from(now.saturating_sub(self.since).as_ps())
    }

    fn next_completion(&self) -> SimTime {
        let Some(Reverse((mark, _, _))) = self.marks.peek() else {
            return SimTime::MAX;
        };
        let missing = mark.saturating_sub(self.progress).saturating_sub(SLACK);
        if missing == 0 {
            return self.since;
        }
        if self.rate == 0 {
            return SimTime::MAX;
        }
        let wait = u64::try_from(missing.div_ceil(self.rate)).unwrap_or(u64::MAX);
        self.since + SimTime::from_ps(wait)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Sharing {
    demands: Vec<Demand>,
    groups: Vec<Group>,
    rates: Vec<Rate>,
    filling: Filling,
    changed: bool,
}

impl Sharing {
    pub fn new(demands: Vec<Demand>, capacity: Vec<Rate>, levels: u8) -> Self {
        let group = Group {
            progress: 0,
            rate: 0,
            since: SimTime::ZERO,
            marks: BinaryHeap::with_capacity(64),
            waiting: Vec::with_capacity(64),
            scheduled: SimTime::MAX,
        };
        Self {
            groups: vec![group; demands.len()],
            rates: vec![0; demands.len()],
            filling: Filling::new(capacity, demands.len(), levels),
            demands,
            changed: false,
        }
    }

    /// How many calendar entries there can be.
    pub fn events(&self) -> usize {
        self.groups.len()
    }

    pub fn join(&mut self, now: SimTime, group: usize, bytes: Bytes, order: u64, slot: u32) -> Membership {
        self.join_with(now, group, u128::from(bytes.get()) * BYTE, order, slot)
    }

    fn join_with(&mut self, now: SimTime, group: usize, missing: u128, order: u64, slot: u32) -> Membership {
        let target = &mut self.groups[group];
        if self.demands[group].count == 0 {
            // What is left of those that were here is stale.
            target.marks.clear();
            target.waiting.clear();
        }
        target.advance(now);
        let mark = target.progress + missing;
        target.marks.push(Reverse((mark, order, slot)));
        target.waiting.push((order, slot));
        self.demands[group].count += 1;
        self.changed = true;
        Membership { group, mark }
    }

    /// Moves a transfer to another group, with what it has received so far.
    pub fn regroup(&mut self, now: SimTime, from: Membership, group: usize, order: u64, slot: u32) -> Membership {
        let missing = from.mark.saturating_sub(self.groups[from.group].progress_at(now));
        self.groups[from.group].advance(now);
        self.demands[from.group].count -= 1;
        self.join_with(now, group, missing, order, slot)
    }

    pub fn progress(&self, now: SimTime, group: usize) -> u128 {
        self.groups[group].progress_at(now)
    }

    /// The whole bytes that a transfer of `bytes` has received by `now`.
    pub fn delivered(&self, now: SimTime, member: Membership, bytes: Bytes) -> Bytes {
        let missing = member.mark.saturating_sub(self.groups[member.group].progress_at(now));
        let size = u128::from(bytes.get()) * BYTE;
        let received = (size.saturating_sub(missing) + SLACK) / BYTE;
        Bytes::new(u64::try_from(received).unwrap_or(u64::MAX).min(bytes.get()))
    }

    /// Takes the next transfer of `group` that is complete at `now`. `is_current` tells whether an entry (slot, order)
    /// still belongs to the group.
    pub fn take_complete(&mut self, now: SimTime, group: usize, is_current: impl Fn(u32, u64) -> bool) -> Option<u32> {
        let target = &mut self.groups[group];
        target.advance(now);
        while let Some(&Reverse((mark, order, slot))) = target.marks.peek() {
            let stale = !is_current(slot, order);
            if !stale && mark > target.progress + SLACK {
                break;
            }
            target.marks.pop();
            if !stale {
                self.demands[group].count -= 1;
                self.changed = true;
                return Some(slot);
            }
        }
        // The event that led here is spent, whatever it found.
        target.scheduled = SimTime::MAX;
        self.changed = true;
        None
    }

    /// After arrivals and departures at `now`: sets every rate anew, moves the pending completions, and adds to `started`
    /// the (order, slot) of every entry that receives something from now on for the first time since it joined its group.
    pub fn settle(
        &mut self,
        now: SimTime,
        calendar: &mut Calendar,
        started: &mut Vec<(u64, u32)>,
        is_current: impl Fn(usize, u32, u64) -> bool,
    ) {
        if !self.changed {
            return;
        }
        self.changed = false;
        self.filling.fill(&self.demands, &mut self.rates);
        for (index, group) in self.groups.iter_mut().enumerate() {
            let next = if self.demands[index].count == 0 {
                group.rate = 0;
                SimTime::MAX
            } else {
                group.advance(now);
                group.rate = self.rates[index];
                if group.rate > 0 {
                    started.append(&mut group.waiting);
                }
                while let Some(&Reverse((_, order, slot))) = group.marks.peek() {
                    if is_current(index, slot, order) {
                        break;
                    }
                    group.marks.pop();
                }
                group.next_completion()
            };
            if next != group.scheduled {
                group.scheduled = next;
                calendar.schedule(EventId(index as u32), next);
            }
        }
    }
}
