//! The memory system: tiers, their lanes and links, and how transfers share them.
//!
//! * [`MemoryConfig`] is what a person typed; [`MemorySystem`] is what the engine trusts: tiers,
//!   lanes and routes.
//! * A *lane* carries bytes at a bandwidth: a channel's bus (or all channels' that are in the same
//!   state), one direction of a link. What it achieves of its peak is its [`Efficiency`], from a
//!   table or from the timing of a [`Dram`] part.
//! * A *route* is the set of lanes that a transfer holds at the same time: reading the external
//!   tier takes its DRAM bus and its link's read lane.
//! * [`Fabric`] runs transfers over routes, in time, under the system's [`Arbitration`].
//! * [`Ledger`] counts the bytes in use on each tier and refuses what does not fit.

mod assumptions;
mod check;
mod config;
mod dram;
mod efficiency;
mod fabric;
mod ids;
pub mod import;
mod lay;
mod ledger;
mod link;
mod machine;
mod parts;
mod reach;
mod system;
mod transfer;

pub use assumptions::Note;
pub use check::MemoryError;
pub use config::{Arbitration, ClassWeights, Duplex, Interleaving, MemoryConfig, ResidencyKind, TierConfig};
pub use dram::{Dram, DramConfig, DramError, Pattern};
pub use efficiency::{Efficiency, EfficiencyConfig, EfficiencyError, EfficiencyTable};
pub use fabric::{
    Bottleneck, Cancelled, Completed, Delivered, Fabric, InProgress, LaneLoad, Meter, Path, Request, TransferId,
    Urgency,
};
pub use ids::{LaneId, PerTier, PortId, RouteId, TierId};
pub use ledger::{Ledger, Shortage};
pub(crate) use link::payload;
pub use link::{LinkConfig, Packet};
pub use machine::{Machine, Owner, Span, Timer};
pub use parts::{Direction, Hold, Lane, Tier};
pub use reach::Reach;
pub use system::MemorySystem;
pub use transfer::{PerClass, TransferClass};
