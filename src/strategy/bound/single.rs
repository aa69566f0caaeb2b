//! The bound of a memory system of one tier, where there is nothing to place.

use super::{KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, TierId};
use crate::units::{RegionId, SimTime};
use crate::workload::{Regions, Roofline, Stage};

/// All reads of a stage at the tier's bandwidth, or its compute where that takes longer.
#[derive(Clone, Debug)]
pub(super) struct SingleTier {
    /// Bytes a picosecond.
    bandwidth: f64,
    roofline: Option<Roofline>,
    overlap: bool,
    tolerance: f64,
    stages: Vec<Reads>,
}

#[derive(Clone, Debug)]
struct Reads {
    weights: f64,
    /// The KV regions, with the bytes of a token.
    kv: Vec<(RegionId, f64)>,
    flop: f64,
    /// In picoseconds.
    fixed: f64,
}

/// The error of the floats, relative to the whole.
const FLOAT_ERROR: f64 = 1e-12;

impl SingleTier {
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        roofline: Option<Roofline>,
        overlap: bool,
    ) -> Self {
        let reads = |stage: &Stage| {
            let of = stage.reads_of(regions);
            Reads {
                weights: of.weights.iter().map(|(_, weights)| weights.read.as_f64()).sum(),
                kv: of.kv.iter().map(|(region, bytes)| (*region, bytes.as_f64())).collect(),
                flop: stage.flop,
                fixed: stage.fixed.as_ps() as f64,
            }
        };
        let wire = system.tiers()[TierId::HBM.index()].wire_bandwidth;
        Self {
            bandwidth: wire.as_f64() / SimTime::PS_PER_SECOND as f64,
            roofline,
            overlap,
            tolerance: tolerance(system, stages.len()),
            stages: stages.iter().map(reads).collect(),
        }
    }

    /// The bound of a step. O(stages + KV regions).
    pub fn step(&self, load: &KvLoad) -> SimTime {
        let (mut read_all, mut compute_all, mut one_by_one) = (0.0, 0.0, 0.0);
        for stage in &self.stages {
            let kv: f64 = stage.kv.iter().map(|(region, bytes)| bytes * load.read[*region] as f64).sum();
            let read = (stage.weights + kv) / self.bandwidth;
            let compute = self.roofline.map_or(0.0, |roofline| roofline.picoseconds(stage.weights, kv, stage.flop));
            read_all += read;
            compute_all += compute + stage.fixed;
            one_by_one += f64::max(read, compute) + stage.fixed;
        }
        let total = if self.overlap { f64::max(read_all, compute_all) } else { one_by_one };
        lower_bound(total, FLOAT_ERROR, self.tolerance)
    }
}
