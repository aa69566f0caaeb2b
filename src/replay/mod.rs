//! The memory system without a language model: it carries traffic of other origin over its lanes.
//!
//! [`replay()`] carries a list of transfers: for checking against other simulators, and for traffic
//! of one's own. [`Traffic::read`] takes it from a CSV file, and [`Traffic::write`] writes the same
//! rows with their times. [`curves`] measures loaded latency: the latency of transfers as the load
//! on a tier approaches its bandwidth. Both use [`carry()`], which issues transfers at their times
//! and reports each that is complete.

mod arrivals;
mod carry;
mod curve;
mod listed;
mod traffic;

pub use carry::{Carried, ReplayError, carry};
pub use curve::{Curve, CurveSettings, LOADS, Point, curves};
pub use listed::{ReplaySummary, Replayed, replay};
pub use traffic::{Row, Times, Traffic, TrafficError};
