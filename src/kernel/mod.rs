//! The event kernel: a calendar that holds the next thing to happen on each lane, sharing group or
//! timer, and the clock that jumps from one to the next.
//!
//! # The order of equal times
//! Events are ordered by time, then by [`EventId`], the smaller first. An id has at most one
//! pending event, so the order is total and a run repeats exactly. The engine adds two rules of its
//! own on top (see [`simulation`](crate::simulation)): all events of an instant are handled before
//! anything is decided or issued at that instant, and what is issued at one instant shares the
//! lanes from that instant on, whatever the order of issue.

mod calendar;

pub use calendar::{Calendar, EventId};
