//! Quantities that carry their unit: [`Bytes`], [`Bandwidth`], [`SimTime`], [`Ratio`], [`FlopRate`].
//!
//! All are integers inside, so sums are exact and the same on every machine. Where a division cannot be exact, the
//! method says how it rounds: times are rounded up (a transfer is not over before its last byte has arrived), shares
//! of bytes to the nearest byte.

mod bandwidth;
mod bytes;
mod count;
mod flops;
mod ids;
mod quantity;
mod ratio;
mod time;

pub use bandwidth::Bandwidth;
pub use bytes::{Bytes, SizeStyle};
pub use count::parse_count;
pub use flops::FlopRate;
pub use ids::{Id, LayerId, Page, PageSize, RegionId, SequenceId, StageId, Step, Table, Token};
pub use quantity::QuantityError;
pub use ratio::Ratio;
pub use time::SimTime;
