use crate::units::SimTime;

/// What an event belongs to: a lane, a sharing group, a timer. Small and dense in each quarter of the numbers; its owner chooses
/// the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u32);

/// The pending events, at most one for each [`EventId`], and the clock.
///
/// A calendar stays small: where a thousand transfers share a lane, only the first to complete has an entry, which is
/// moved when rates change. Moving costs O(log n) and allocates nothing.
///
/// ```
/// use tiersim::kernel::{Calendar, EventId};
/// use tiersim::units::SimTime;
/// let mut calendar = Calendar::with_capacity(2);
/// calendar.schedule(EventId(7), SimTime::from_ps(20));
/// calendar.schedule(EventId(3), SimTime::from_ps(20));
/// calendar.schedule(EventId(7), SimTime::from_ps(10)); // moved, not added
/// assert_eq!(calendar.pop(), Some((SimTime::from_ps(10), EventId(7))));
/// assert_eq!(calendar.now(), SimTime::from_ps(10));
/// ```
pub struct Calendar {
    /// A binary heap, the first event on top.
    pending: Vec<Entry>,
    /// For each quarter of the ids, the place in `pending` of each.
    places: [Vec<u32>; 4],
    now: SimTime,
    popped: u64,
}

/// An event's time, then its id, as one number: both are compared at once.
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

/// The place of an event that is not pending.
const NOWHERE: u32 = u32::MAX;

impl Calendar {
    /// An empty calendar at time 0 with room for `events` pending ones.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        Self { pending: Vec::with_capacity(events), places: Default::default(), now: SimTime::ZERO, popped: 0 }
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

    /// Sets or moves the pending event of `id`. `SimTime::MAX` is never: it takes the event out.
    pub fn schedule(&mut self, id: EventId, at: SimTime) {
        debug_assert!(at >= self.now, "an event before the present: {at:?} < {:?}", self.now);
        if at == SimTime::MAX {
            self.cancel(id);
            return;
        }
        let entry = Entry::new(at, id);
        let place = *self.place(id);
        if place == NOWHERE {
            self.pending.push(entry);
            self.rise(self.pending.len() - 1, entry);
        } else if entry <= self.pending[place as usize] {
            self.rise(place as usize, entry);
        } else {
            self.sink(place as usize, entry);
        }
    }

    /// Takes the pending event of `id` out, if there is one.
    pub fn cancel(&mut self, id: EventId) {
        let place = std::mem::replace(self.place(id), NOWHERE);
        if place != NOWHERE {
            self.fill(place as usize);
        }
    }

    /// When the next event is due.
    #[must_use]
    pub fn next_time(&self) -> Option<SimTime> {
        self.pending.first().map(|first| first.at())
    }

    /// Takes the next event and sets the clock to its time.
    pub fn pop(&mut self) -> Option<(SimTime, EventId)> {
        let first = *self.pending.first()?;
        let (at, id) = (first.at(), first.id());
        debug_assert!(at >= self.now, "time ran back");
        *self.place(id) = NOWHERE;
        self.fill(0);
        self.now = at;
        self.popped += 1;
        Some((at, id))
    }

    /// Sets the clock to `to` without an event, for an arrival from outside.
    ///
    /// # Panics
    /// In debug builds, if an event is due before `to` or `to` is past.
    pub fn advance(&mut self, to: SimTime) {
        debug_assert!(to >= self.now && self.next_time().is_none_or(|next| next >= to));
        self.now = to;
    }

    /// Where `id` is in `pending`.
    fn place(&mut self, id: EventId) -> &mut u32 {
        let places = &mut self.places[id.0 as usize >> 30];
        let index = (id.0 & (u32::MAX >> 2)) as usize;
        if index >= places.len() {
            places.resize(index + 1, NOWHERE);
        }
        &mut places[index]
    }

    /// Fills the place that an event has left with the last one.
    fn fill(&mut self, place: usize) {
        let Some(last) = self.pending.pop().filter(|_| place < self.pending.len()) else { return };
        if place > 0 && last < self.pending[(place - 1) / 2] {
            self.rise(place, last);
        } else {
            self.sink(place, last);
        }
    }

    /// Puts `entry`, which is not later than what was at `place`, where it belongs.
    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.pending[above] < entry {
                break;
            }
            self.put(place, self.pending[above]);
            place = above;
        }
        self.put(place, entry);
    }

    /// Puts `entry`, which is not earlier than what was at `place`, where it belongs.
    fn sink(&mut self, mut place: usize, entry: Entry) {
        loop {
            let mut below = 2 * place + 1;
            if below >= self.pending.len() {
                break;
            }
            if below + 1 < self.pending.len() {
                below += usize::from(self.pending[below + 1] < self.pending[below]);
            }
            if entry < self.pending[below] {
                break;
            }
            self.put(place, self.pending[below]);
            place = below;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.pending[place] = entry;
        *self.place(entry.id()) = place as u32;
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
        fn equals_a_list_searched_for_its_least(ops in prop::collection::vec((0u32..24, 0u64..40, 0u8..6), 1..400)) {
            let mut calendar = Calendar::with_capacity(6);
            let mut list: Vec<(u32, u64)> = Vec::new();
            for (id, delay, op) in ops {
                // Of each quarter of the ids.
                let id = ((id % 4) << 30) | (id / 4);
                match op {
                    0 => {
                        let expected = first(&list).map(|i| list.remove(i));
                        let taken = calendar.pop().map(|(at, id)| (id.0, at.as_ps()));
                        prop_assert_eq!(taken, expected);
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
