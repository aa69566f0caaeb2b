//! What tiers that compute take at least for their parts of a stage.
//!
//! A tier reads its part at no more than its own bandwidth times its cores' reach, and computes it
//! at its own rate. Besides, activations cross the link and its cores begin: that is paid in full
//! for any part, however small; here in proportion to the part, which is no more and keeps the
//! problem convex. It is exact for a stage of which all that a tier may compute lies there.

use crate::memory::{MemorySystem, PortId, RouteId, TierId};
use crate::units::{Bytes, SimTime};
use crate::workload::{Merge, Roofline, TierCompute};

/// A tier that computes, as the bounds see it.
#[derive(Clone, Debug)]
pub struct TierBound {
    pub(super) tier: TierId,
    pub(super) merge: Merge,
    /// What its cores read at, in bytes a picosecond.
    pub(super) cores: f64,
    /// What all can read of it together.
    pub(super) bus: f64,
    /// Picoseconds for each part, and for each token of one.
    pub(super) per_part: f64,
    pub(super) per_token: f64,
    pub(super) roofline: Option<Roofline>,
    pub(super) computes_kv: bool,
}

impl TierBound {
    /// For the tier of `of` on `system`, where so many bytes of activations go in, and come back,
    /// for each token.
    #[must_use]
    pub fn new(of: &TierCompute, system: &MemorySystem, activations: Bytes, roofline: Option<Roofline>) -> Self {
        let per_second = SimTime::PS_PER_SECOND as f64;
        // Without losses, and whatever may be in flight: what no transfer beats.
        let most = |route: fn(&MemorySystem, PortId) -> RouteId| {
            let port = system.ports(of.tier).next();
            let holds = port.map_or_else(Vec::new, |port| system.route(route(system, port)));
            let lanes = holds.iter().map(|hold| &system.lanes()[hold.lane.index()]);
            let wires = lanes.filter(|lane| lane.window.is_none());
            wires.map(|lane| lane.peak.as_f64() / per_second).fold(f64::INFINITY, f64::min)
        };
        let (write, read) = (most(MemorySystem::write_route), most(MemorySystem::read_route));
        let bus = system.tiers()[of.tier.index()].local_bandwidth.as_f64() / per_second;
        Self {
            tier: of.tier,
            merge: of.merge,
            cores: bus * of.reach.share(),
            bus,
            per_part: of.per_stage.as_ps() as f64,
            per_token: activations.as_f64() / write + activations.as_f64() / read,
            roofline,
            computes_kv: of.computes_kv(),
        }
    }
}
