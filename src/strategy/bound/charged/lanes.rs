//! The lanes of a memory system, and what each carries.

use crate::memory::{MemorySystem, RouteId, TierId};
use crate::units::SimTime;

/// What a lane carries.
#[derive(Clone, Debug)]
pub(super) struct LaneUse {
    /// Bytes a picosecond.
    pub bandwidth: f64,
    /// Whether reads from each tier.
    pub reads: Vec<bool>,
    /// Whether moves, by source, then destination.
    pub moves: Vec<Vec<bool>>,
    /// Whether retained copies, by destination: what a step has read is on the chip, and is not
    /// read again.
    pub retained: Vec<bool>,
}

/// The lanes of tiers that have one port each, and what each carries; of a tier with several ports,
/// which carry different tokens, its reads all together.
pub(super) fn lanes(system: &MemorySystem) -> Vec<LaneUse> {
    let tiers = system.tiers().len();
    let per_second = SimTime::PS_PER_SECOND as f64;
    let of = |bandwidth: f64| LaneUse {
        bandwidth,
        reads: vec![false; tiers],
        moves: vec![vec![false; tiers]; tiers],
        retained: vec![false; tiers],
    };
    let mut uses: Vec<LaneUse> = system.lanes().iter().map(|lane| of(lane.bandwidth().as_f64() / per_second)).collect();
    let single = |tier: TierId| (system.ports(tier).len() == 1).then(|| system.ports(tier).next()).flatten();
    for tier in system.tier_ids() {
        // What leaves a tier is read from it, at no more than it can be read at.
        let mut reads = of(system.tiers()[tier.index()].wire_bandwidth.as_f64() / per_second);
        reads.reads[tier.index()] = true;
        reads.moves[tier.index()] = (0..tiers).map(|destination| destination != tier.index()).collect();
        uses.push(reads);
        let Some(port) = single(tier) else { continue };
        // A bound is a bound whatever may be in flight.
        let wires = |route: RouteId| {
            system.route(route).into_iter().filter(|hold| system.lanes()[hold.lane.index()].window.is_none())
        };
        for hold in wires(system.read_route(port)) {
            uses[hold.lane.index()].reads[tier.index()] = true;
        }
        for hold in wires(system.write_route(port)) {
            uses[hold.lane.index()].retained[tier.index()] = true;
        }
        for destination in system.tier_ids().filter(|destination| *destination != tier) {
            let Some(to) = single(destination) else { continue };
            for hold in wires(system.move_route(port, to)) {
                uses[hold.lane.index()].moves[tier.index()][destination.index()] = true;
            }
        }
    }
    uses.retain(|lane| lane.reads.contains(&true) || lane.moves.iter().flatten().any(|carries| *carries));
    uses
}
