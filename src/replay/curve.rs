//! Loaded latency: the latency of transfers as the load on a tier approaches its bandwidth.
//!
//! For each tier, share of reads and load, transfers of one size arrive at random (a Poisson
//! process, each a read or a write at random) until a fixed number is complete. The load is a share
//! of the highest throughput that the tier reaches with such transfers.

use super::arrivals::Arrivals;
use super::carry::{ReplayError, carry};
use crate::memory::{MemorySystem, PortId, RouteId, TierId};
use crate::metrics::Timings;
use crate::units::{Bytes, Ratio, SimTime};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

/// What to measure.
#[derive(Clone, Debug)]
pub struct CurveSettings {
    /// The size of each transfer; its bytes are contiguous.
    pub bytes: Bytes,
    /// The shares of reads: a curve for each.
    pub read_shares: Vec<Ratio>,
    /// How many transfers are measured at each load, after a tenth as many that are not.
    pub transfers: u32,
    /// Same seed, same arrivals.
    pub seed: u64,
}

/// The loads, in percent of a tier's highest throughput.
pub const LOADS: [u32; 19] = [1, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92, 94, 95, 96, 97, 98];

/// The latencies of one tier at one share of reads.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The tier.
    pub tier: TierId,
    /// The share of reads.
    pub read_share: Ratio,
    /// The tier's highest throughput with such transfers, in bytes a second.
    pub most: f64,
    /// By load.
    pub points: Vec<Point>,
}

/// What was measured at one load.
#[derive(Clone, Debug)]
pub struct Point {
    /// In percent of the tier's highest throughput.
    pub load: u32,
    /// The rate of arrivals, in bytes a second.
    pub offered: f64,
    /// The throughput from the first measured transfer's issue to the last one's completion, in
    /// bytes a second.
    pub achieved: f64,
    /// The latencies.
    pub latency: Timings,
}

/// Measures a curve for each tier and share of reads, on all cores.
///
/// # Errors
/// [`ReplayError`] if the transfers end after the last time that the clock can represent.
pub fn curves(system: &MemorySystem, settings: &CurveSettings) -> Result<Vec<Curve>, ReplayError> {
    let mut wanted = Vec::new();
    for tier in system.tier_ids() {
        for &read_share in &settings.read_shares {
            wanted.push((tier, read_share));
        }
    }
    wanted
        .par_iter()
        .map(|&(tier, read_share)| {
            let most = system.saturation(tier, settings.bytes, read_share.as_f64());
            let points = LOADS.map(|load| measure(system, settings, (tier, read_share), load, most));
            Ok(Curve { tier, read_share, most, points: points.into_iter().collect::<Result<_, _>>()? })
        })
        .collect()
}

/// The routes of a tier's transfers: its channels one by one where its pages are hashed.
struct Routes {
    reads: Vec<Vec<RouteId>>,
    writes: Vec<Vec<RouteId>>,
}

impl Routes {
    fn new(system: &MemorySystem, tier: TierId) -> Self {
        let ports: Vec<PortId> = system.ports(tier).collect();
        Self {
            reads: ports.iter().map(|&port| vec![system.read_route(port)]).collect(),
            writes: ports.iter().map(|&port| vec![system.write_route(port)]).collect(),
        }
    }
}

fn measure(
    system: &MemorySystem,
    settings: &CurveSettings,
    (tier, read_share): (TierId, Ratio),
    load: u32,
    most: f64,
) -> Result<Point, ReplayError> {
    let offered = most * f64::from(load) / 100.0;
    let mean_gap = settings.bytes.as_f64() / offered * SimTime::PS_PER_SECOND as f64;
    let routes = Routes::new(system, tier);
    let warm_up = settings.transfers / 10;
    let count = warm_up + settings.transfers;
    // The same random numbers at every load, scaled to its rate, so that chance does not make the
    // curve ragged.
    let arrivals = Arrivals::new(settings.seed, mean_gap, read_share, settings.bytes, &routes.reads, &routes.writes);
    let mut latency = Timings::default();
    let (mut from, mut to) = (SimTime::MAX, SimTime::ZERO);
    carry(system, arrivals.take(count as usize), |transfer| {
        if transfer.tag >= warm_up {
            latency.record(transfer.latency());
            from = from.min(transfer.issued);
            to = to.max(transfer.finished);
        }
    })?;
    let seconds = to.saturating_sub(from).as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
    // A curve keeps a distribution for each of its 19 loads.
    latency.shrink();
    let carried = settings.bytes.as_f64() * f64::from(settings.transfers);
    Ok(Point { load, offered, achieved: carried / seconds, latency })
}
