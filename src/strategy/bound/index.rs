//! The bound of steps that read an index from the first tier: whatever the layout, its bytes come
//! from there.
//!
//! A stage that reads I bytes of index and R bytes of all else takes at least I over the bandwidth
//! of the first tier, and I + R over that of all tiers together. Without a limit of capacity the
//! greater of the two is what the best layout takes. Where capacity is short, the bound without the
//! index may be higher; both are lower bounds.

use super::stage::{BoundStage, KvRead};
use super::{KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, TierId};
use crate::units::SimTime;
use crate::workload::{KvIndex, Regions, Runtime, Stage};

/// What an index adds to the bound of a step.
#[derive(Clone, Debug)]
pub(super) struct IndexBound {
    index: KvIndex,
    stages: Vec<BoundStage>,
    /// Bytes a picosecond: of the first tier, and of all together; that is without limit where a
    /// tier computes what lies there.
    hbm: f64,
    all: f64,
    overlap: bool,
    tolerance: f64,
    /// Of the last step.
    read: KvRead,
}

/// The error of the floats, relative to the whole.
const FLOAT_ERROR: f64 = 1e-9;

impl IndexBound {
    pub fn new(
        index: KvIndex,
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        overlap: bool,
    ) -> Self {
        let tiers = system.tiers();
        let stages = BoundStage::all(stages, regions, tiers.len(), runtime);
        let per_ps = |bandwidth: u64| bandwidth as f64 / SimTime::PS_PER_SECOND as f64;
        let all: u64 = tiers.iter().map(|tier| tier.wire_bandwidth.get()).sum();
        Self {
            index,
            hbm: per_ps(tiers[TierId::HBM.index()].wire_bandwidth.get()),
            all: if runtime.computes().is_empty() { per_ps(all) } else { f64::INFINITY },
            overlap,
            tolerance: tolerance(system, runtime, &stages),
            stages,
            read: KvRead::default(),
        }
    }

    /// The bound of a step. O(stages + KV regions).
    pub fn step(&mut self, load: &KvLoad) -> SimTime {
        self.read.note(&self.stages, load);
        let (mut indexes, mut reads, mut one_by_one) = (0.0, 0.0, 0.0);
        for stage in &self.stages {
            let regions = stage.kv.iter().flat_map(|piece| &piece.regions);
            let index = regions.map(|region| self.index.of_tokens(*region, load.stored[*region]).as_f64()).sum::<f64>();
            let read = index + stage.weights_read(&self.read) + stage.kv_read(&self.read);
            indexes += index;
            reads += read;
            one_by_one += f64::max(index / self.hbm, read / self.all) + stage.fixed;
        }
        let total = if self.overlap { f64::max(indexes / self.hbm, reads / self.all) } else { one_by_one };
        lower_bound(total, FLOAT_ERROR, self.tolerance)
    }
}
