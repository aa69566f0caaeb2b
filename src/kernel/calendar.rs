//! The event calendar: pending events in the order of time and id, and the clock.
//!
//! It is small, because each owner keeps its own later events to itself: a group of a thousand
//! transfers has one event here, that of its next completion, which moves when rates change.

use crate::units::SimTime;
use priority_queue::PriorityQueue;
use rustc_hash::FxBuildHasher;
use std::cmp::Reverse;

/// The number of an event: of a lane, a sharing group, a timer. Its owner chooses the numbers,
/// which decide the order of events at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u32);

impl EventId {
    /// The event of the number `number`.
    #[inline]
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number: of two events at one time, the smaller comes first.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The pending events, at most one for each [`EventId`], and the clock.
///
/// With n pending events, each operation is O(log n), and O(1) while there are no more than eight;
/// none allocates once there is room for n.
///
/// ```
/// use tiersim::kernel::{Calendar, EventId};
/// use tiersim::units::SimTime;
/// let mut calendar = Calendar::with_capacity(2);
/// calendar.schedule(EventId::new(7), SimTime::from_ps(20));
/// calendar.schedule(EventId::new(3), SimTime::from_ps(20));
/// calendar.schedule(EventId::new(7), SimTime::from_ps(10)); // moved, not added
/// assert_eq!(calendar.pop(), Some((SimTime::from_ps(10), EventId::new(7))));
/// assert_eq!(calendar.now(), SimTime::from_ps(10));
/// ```
///
/// The first eight events are kept in an unsorted list, because a linear scan beats hashing at that
/// size, and most runs need no more. Events that find the list full go to a priority queue.
pub struct Calendar {
    few: Vec<Entry>,
    /// The place of the first of them.
    first: usize,
    pending: PriorityQueue<EventId, Reverse<(SimTime, EventId)>, FxBuildHasher>,
    now: SimTime,
    popped: u64,
}

/// How many events are kept in the list.
const FEW: usize = 8;

/// Time and id as one number, the id in the lowest 32 bits, so that one comparison orders both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(at: SimTime, id: EventId) -> Self {
        Self(u128::from(at.as_ps()) << 32 | u128::from(id.0))
    }

    fn at(self) -> SimTime {
        SimTime::from_ps((self.0 >> 32) as u64)
    }

    fn id(self) -> EventId {
        EventId(self.0 as u32)
    }
}

impl Calendar {
    /// An empty calendar at time 0 with room for `events` pending ones.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        Self {
            few: Vec::with_capacity(FEW),
            first: 0,
            pending: PriorityQueue::with_capacity_and_hasher(events, FxBuildHasher),
            now: SimTime::ZERO,
            popped: 0,
        }
    }

    /// The time of the last event taken.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// How many events have been taken.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.popped
    }

    /// Sets or moves the pending event of `id`. `SimTime::MAX` means never: it removes the event.
    pub fn schedule(&mut self, id: EventId, at: SimTime) {
        debug_assert!(at >= self.now, "an event before the present: {at:?} < {:?}", self.now);
        if at == SimTime::MAX {
            self.cancel(id);
        } else if let Some(place) = self.place_in_few(id) {
            let (before, entry) = (self.few[place], Entry::new(at, id));
            self.few[place] = entry;
            if place == self.first {
                if entry > before {
                    self.find_first();
                }
            } else if entry < self.few[self.first] {
                self.first = place;
            }
        } else if self.pending.is_empty() || self.pending.change_priority(&id, Reverse((at, id))).is_none() {
            if self.few.len() < FEW {
                let entry = Entry::new(at, id);
                if self.few.get(self.first).is_none_or(|first| entry < *first) {
                    self.first = self.few.len();
                }
                self.few.push(entry);
            } else {
                self.pending.push(id, Reverse((at, id)));
            }
        }
    }

    /// Removes the pending event of `id`, if there is one.
    pub fn cancel(&mut self, id: EventId) {
        match self.place_in_few(id) {
            Some(place) => self.take_from_few(place),
            None => {
                self.pending.remove(&id);
            }
        }
    }

    fn place_in_few(&self, id: EventId) -> Option<usize> {
        self.few.iter().position(|entry| entry.id() == id)
    }

    fn take_from_few(&mut self, place: usize) {
        self.few.swap_remove(place);
        if place == self.first {
            self.find_first();
        } else if self.first == self.few.len() {
            // It was the last, which has taken that place.
            self.first = place;
        }
    }

    fn find_first(&mut self) {
        self.first = (0..self.few.len()).reduce(|a, b| if self.few[b] < self.few[a] { b } else { a }).unwrap_or(0);
    }

    /// When the next event is due.
    #[must_use]
    #[inline]
    pub fn next_time(&self) -> Option<SimTime> {
        let listed = self.few.get(self.first).copied();
        let next = match self.first_queued() {
            None => listed,
            queued => listed.into_iter().chain(queued).min(),
        };
        next.map(Entry::at)
    }

    /// The first event of the queue. As a rule the queue is empty, which is checked first because
    /// that is cheaper than a look at its first entry.
    #[inline]
    fn first_queued(&self) -> Option<Entry> {
        if self.pending.is_empty() {
            return None;
        }
        self.pending.peek().map(|(_, Reverse((at, id)))| Entry::new(*at, *id))
    }

    /// Takes the next event if it is due now.
    #[inline]
    pub fn pop_due(&mut self) -> Option<EventId> {
        let due = self.next_time() == Some(self.now);
        if due { self.pop().map(|(_, event)| event) } else { None }
    }

    /// Takes the next event and sets the clock to its time.
    #[inline]
    pub fn pop(&mut self) -> Option<(SimTime, EventId)> {
        let next = match (self.few.get(self.first), self.first_queued()) {
            (Some(&listed), queued) if queued.is_none_or(|queued| listed < queued) => {
                self.take_from_few(self.first);
                listed
            }
            (_, queued) => {
                self.pending.pop();
                queued?
            }
        };
        debug_assert!(next.at() >= self.now, "time ran back");
        self.now = next.at();
        self.popped += 1;
        Some((next.at(), next.id()))
    }

    /// Sets the clock to `to` without an event, for an arrival from outside.
    ///
    /// # Panics
    /// In debug builds, if an event is due before `to` or `to` is past.
    pub fn advance(&mut self, to: SimTime) {
        debug_assert!(to >= self.now && self.next_time().is_none_or(|next| next >= to));
        self.now = to;
    }

    /// Counts so many more events as taken: those of a time that is passed over, as it is like one
    /// before.
    pub fn count(&mut self, events: u64) {
        self.popped += events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious twin: a map searched from end to end.
    fn first(pending: &[(u32, u64)]) -> Option<usize> {
        (0..pending.len()).min_by_key(|&i| (pending[i].1, pending[i].0))
    }

    proptest! {
        #[test]
        fn equals_a_list_searched_for_its_least(ops in prop::collection::vec((0u32..2 * FEW as u32, 0u64..40, 0u8..4), 1..200)) {
            let mut calendar = Calendar::with_capacity(6);
            let mut list: Vec<(u32, u64)> = Vec::new();
            for (id, delay, op) in ops {
                match op {
                    0 => {
                        prop_assert_eq!(calendar.next_time().map(SimTime::as_ps), first(&list).map(|i| list[i].1));
                        let expected = first(&list).map(|i| list.remove(i));
                        let taken = calendar.pop().map(|(at, id)| (id.0, at.as_ps()));
                        prop_assert_eq!(taken, expected);
                        let due = first(&list).filter(|i| expected.is_some_and(|(_, now)| list[*i].1 == now));
                        prop_assert_eq!(calendar.pop_due().map(|id| id.0), due.map(|i| list.remove(i).0));
                    }
                    1 => {
                        calendar.cancel(EventId(id));
                        list.retain(|(other, _)| *other != id);
                    }
                    _ => {
                        let at = calendar.now().as_ps() + delay;
                        calendar.schedule(EventId(id), SimTime::from_ps(at));
                        list.retain(|(other, _)| *other != id);
                        list.push((id, at));
                    }
                }
            }
        }
    }
}
