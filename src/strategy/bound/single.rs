//! The bound of a memory system of one tier, where there is nothing to place.

use super::stage::{BoundStage, KvRead, kv_cost};
use super::{KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, TierId};
use crate::units::SimTime;
use crate::workload::{Regions, Roofline, Runtime, Stage};

/// All reads of a stage at the tier's bandwidth, of which kernels reach what the runtime says, one
/// after another; or its compute where that takes longer.
#[derive(Clone, Debug)]
pub(super) struct SingleTier {
    /// Bytes a picosecond.
    bandwidth: f64,
    roofline: Option<Roofline>,
    overlap: bool,
    tolerance: f64,
    stages: Vec<BoundStage>,
    runtime: Runtime,
    /// Of the last step.
    read: KvRead,
}

/// The error of the floats, relative to the whole.
const FLOAT_ERROR: f64 = 1e-12;

impl SingleTier {
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
    ) -> Self {
        let stages = BoundStage::all(stages, regions, 1, runtime);
        let wire = system.tiers()[TierId::HBM.index()].wire_bandwidth;
        Self {
            bandwidth: wire.as_f64() / SimTime::PS_PER_SECOND as f64,
            roofline,
            overlap,
            tolerance: tolerance(system, runtime, &stages),
            stages,
            runtime: runtime.clone(),
            read: KvRead::default(),
        }
    }

    /// The bound of a step. O(stages + KV regions).
    pub fn step(&mut self, load: &KvLoad) -> SimTime {
        self.read.note(&self.stages, load);
        let (mut read_all, mut compute_all, mut one_by_one) = (0.0, 0.0, 0.0);
        for stage in &self.stages {
            let kv = stage.kv_read(&self.read);
            let kv_work = kv * kv_cost(&self.runtime, TierId::HBM, kv, 1);
            let read = (stage.weights_work(TierId::HBM, &self.read) + kv_work) / self.bandwidth;
            let compute = stage.compute(self.roofline, &self.read);
            read_all += read;
            compute_all += compute + stage.fixed;
            one_by_one += f64::max(read, compute) + stage.fixed;
        }
        let total = if self.overlap { f64::max(read_all, compute_all) } else { one_by_one };
        lower_bound(total, FLOAT_ERROR, self.tolerance)
    }
}
