//! What a memory system consists of: tiers, lanes, ports, and the holds that make up a route.
//!
//! Plain data. [`lay`](super::lay) makes it from a configuration, and a
//! [`MemorySystem`](super::MemorySystem) owns it, numbers the routes over it and answers questions
//! about it.

use super::config::Interleaving;
use super::efficiency::Efficiency;
use super::ids::{LaneId, TierId};
use crate::units::{Bandwidth, Bytes, SimTime};
use std::sync::Arc;

/// Whether a lane is read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the chip.
    Read,
    /// Away from it.
    Write,
}

/// A lane of a route, and the direction in which it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// The lane.
    pub lane: LaneId,
    /// Reads or writes.
    pub direction: Direction,
}

/// One tier, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The name in reports.
    pub name: String,
    /// How many bytes it holds.
    pub capacity: Bytes,
    /// How many channels it has.
    pub channels: u32,
    /// How bytes are spread over them.
    pub interleaving: Interleaving,
    /// The least that is contiguous on one channel, where bytes are spread over all of them.
    pub stripe: Bytes,
    /// Whether what its channels achieve depends on how many bytes are contiguous.
    pub granule_matters: bool,
    /// What it can be read at, in long granules: the least of its channels, its link, and what may
    /// be in flight on it ([`Lane::window`]); losses subtracted.
    pub read_bandwidth: Bandwidth,
    /// The same, whatever may be in flight: what bounds are computed from.
    pub wire_bandwidth: Bandwidth,
    /// What it can be written at, in long granules.
    pub write_bandwidth: Bandwidth,
    /// What it can be read and written at together, half and half, in long granules.
    pub mixed_bandwidth: Bandwidth,
    /// From a request to its first byte, the link's latency included.
    pub latency: SimTime,
    /// What what computes beside it reads it at, not over its link, in long granules; losses
    /// subtracted.
    pub local_bandwidth: Bandwidth,
    /// From a request of that to its first byte.
    pub local_latency: SimTime,
}

impl Tier {
    /// The contiguous bytes on one channel of a run of `granule` bytes.
    #[must_use]
    pub fn contiguous_bytes(&self, granule: Bytes) -> Bytes {
        match self.interleaving {
            Interleaving::Striped => {
                let share = Bytes::new(granule.get() / u64::from(self.channels));
                share.max(self.stripe).min(granule)
            }
            Interleaving::Hashed { .. } => granule,
        }
    }
}

/// Something that carries bytes at a bandwidth, shared by the transfers whose routes hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// `hbm.bus`, `external.link.read`; `hbm.bus.7` where channels are simulated one by one.
    pub name: String,
    /// What it carries in long granules, losses subtracted: of reads, where it carries both
    /// directions. Where it is one of [`shared_by`](Self::shared_by) equal channels, what all of
    /// them carry together.
    pub whole: Bandwidth,
    /// How many lanes like this one share `whole`.
    pub shared_by: u32,
    /// What it would carry without losses, all of those together.
    pub peak: Bandwidth,
    /// Whether it carries only writes.
    pub write_only: bool,
    /// Why it carries less than its peak, where that depends on what it carries.
    pub efficiency: Option<Arc<Efficiency>>,
    /// The most that one transfer gets of `whole`.
    pub transfer_cap: Option<Bandwidth>,
    /// How many transfers it carries at once, each from its request to its last byte.
    pub max_transfers: Option<u32>,
    /// How many bytes of the transfers that cross it may be in flight at once, where the lane
    /// stands for such a limit and not for wires: `external.outstanding`,
    /// `external.link.read.outstanding`.
    ///
    /// A byte is in flight from its request to its arrival: at least the tier's latency. By
    /// Little's law (J. D. C. Little, "A Proof for the Queuing Formula L = λW", Operations Research
    /// 9(3), 1961) no more than window / latency arrive in the long run, which is the lane's
    /// [`whole`](Self::whole).
    /// * A transfer that fits beside all that is in flight when it is requested asks for all its
    ///   bytes at once. It does not hold this lane.
    /// * Any other transfer asks for bytes as earlier ones arrive: it holds this lane along with
    ///   the others of its route, and all that do share its bandwidth as they share any lane. So
    ///   one that is larger than the window never gets more than window / latency, even alone; and
    ///   never more than its `transfer_cap`, if that is less.
    ///
    /// From an idle start, at most `time * window / latency` bytes have arrived after any `time`.
    pub window: Option<Bytes>,
    /// Whether it stands for the kernels that read from a tier, one after another, and not for
    /// wires: `hbm.kernels`. Demand reads by the chip alone hold it, and a byte costs 1 / reach on
    /// it (see [`Reach`](super::Reach)). Likewise `dram.cores`, which stands for what computes on
    /// the tier.
    pub is_kernels: bool,
}

impl Lane {
    /// What this lane alone carries, rounded down to a whole byte a second.
    #[must_use]
    pub fn bandwidth(&self) -> Bandwidth {
        Bandwidth::new(self.whole.get() / u64::from(self.shared_by)).unwrap_or(self.whole)
    }
}

/// A port's tier and its lanes: its own, and those of its two directions.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub tier: TierId,
    /// The lane over which what computes on the tier reads it.
    pub local: LaneId,
    pub read: Vec<LaneId>,
    pub write: Vec<LaneId>,
}
