//! The fabric's calendar events.
//!
//! The calendar orders events of one instant by the number of their [`EventId`], so the numbers are
//! part of the model: what lanes complete comes first, then what reaches its lanes after a latency,
//! then what the fabric's owner schedules.

use crate::kernel::EventId;

/// An event of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The next completion of a sharing group or, under `Fifo`, on a lane; by the group's or lane's
    /// number.
    Completion(u32),
    /// Transfers reach their lanes after a latency; by the latency's number.
    Arrival(u32),
}

/// The number of the first arrival.
const ARRIVALS: u32 = 1 << 30;

impl Event {
    /// From this number on, ids are the owner's.
    pub const END: u32 = 1 << 31;

    /// Its id. Completions come before arrivals, each kind in the order of its numbers.
    #[inline]
    pub fn pack(self) -> EventId {
        match self {
            Self::Completion(number) => {
                debug_assert!(number < ARRIVALS);
                EventId::new(number)
            }
            Self::Arrival(number) => {
                debug_assert!(number < Self::END - ARRIVALS);
                EventId::new(ARRIVALS + number)
            }
        }
    }

    /// The event of `id`, which [`pack`](Self::pack) made.
    #[inline]
    pub fn unpack(id: EventId) -> Self {
        let number = id.number();
        debug_assert!(number < Self::END, "an event of the owner's");
        number.checked_sub(ARRIVALS).map_or(Self::Completion(number), Self::Arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_come_before_arrivals_and_these_before_the_owners_events() {
        let events =
            [Event::Completion(0), Event::Completion(ARRIVALS - 1), Event::Arrival(0), Event::Arrival(ARRIVALS - 1)];
        assert!(events.map(Event::pack).is_sorted());
        assert!(events.iter().all(|event| Event::unpack(event.pack()) == *event && event.pack().number() < Event::END));
    }
}
