//! Quantities that carry their unit, and indices that carry their kind.
//!
//! * [`Bytes`], [`Bandwidth`], [`SimTime`], [`Ratio`], [`FlopRate`], [`Price`]: read from text with
//!   a unit, printed so that they read back as the same value.
//! * [`LayerId`], [`StageId`], [`SequenceId`], [`Token`], [`Page`], [`Step`], [`RegionId`],
//!   [`RequestId`] and others: numbers from 0 that cannot be taken for each other. A [`Table`] has
//!   a value for each id of a kind.
//!
//! Quantities are integers inside, so sums are exact and the same on every machine. Where a
//! division cannot be exact, the method documents how it rounds: times are rounded up (a transfer
//! is not over before its last byte has arrived), shares of bytes to the nearest byte.

mod bandwidth;
mod bytes;
mod count;
mod flops;
mod ids;
mod price;
mod quantity;
mod ratio;
mod time;

pub use bandwidth::Bandwidth;
pub use bytes::{Bytes, SizeStyle};
pub use count::parse_count;
pub use flops::FlopRate;
pub use ids::{
    BlockId, GroupId, Id, LayerId, MoveId, Page, PageSize, RegionId, RequestId, SequenceId, StageId, Step, Table, Token,
};
pub use price::Price;
pub use quantity::QuantityError;
pub(crate) use quantity::{deserialize_from_text, serialize_as_text};
pub use ratio::Ratio;
pub use time::SimTime;
