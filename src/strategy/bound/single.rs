use super::{hair, lower_bound};
use crate::memory::{MemorySystem, TierId};
use crate::units::SimTime;
use crate::workload::{LanguageModel, Roofline};

/// The bound of a memory system of one tier, where there is nothing to place: all reads of a
/// sublayer at the tier's bandwidth, or its compute where that takes longer.
#[derive(Clone, Debug)]
pub(super) struct SingleTier {
    /// Bytes a picosecond.
    bandwidth: f64,
    roofline: Option<Roofline>,
    overlap: bool,
    hair: f64,
    /// For each sublayer: weights read, KV bytes a token (0 for an mlp).
    sublayers: Vec<[f64; 2]>,
}

/// What the floats may be wrong by, relative to the whole.
const GUARD: f64 = 1e-12;

impl SingleTier {
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        let sublayers = model.sublayers().enumerate().map(|(index, sublayer)| {
            let kv = if index % 2 == 0 { model.layers()[index / 2].kv_bytes.as_f64() } else { 0.0 };
            [sublayer.read.as_f64(), kv]
        });
        Self {
            bandwidth: system.tiers()[TierId::HBM.index()].wire_bandwidth.as_f64() / SimTime::PS_PER_SECOND as f64,
            roofline,
            overlap,
            hair: hair(system, 2 * model.layers().len()),
            sublayers: sublayers.collect(),
        }
    }

    pub fn step(&self, active: &[usize]) -> SimTime {
        let (mut read_all, mut compute_all, mut one_by_one) = (0.0, 0.0, 0.0);
        for (index, [weights, kv_bytes]) in self.sublayers.iter().enumerate() {
            let kv = kv_bytes * active[index / 2] as f64;
            let read = (weights + kv) / self.bandwidth;
            let compute = self.roofline.map_or(0.0, |roofline| roofline.picoseconds(*weights, kv));
            read_all += read;
            compute_all += compute;
            one_by_one += f64::max(read, compute);
        }
        let total = if self.overlap { f64::max(read_all, compute_all) } else { one_by_one };
        lower_bound(total, GUARD, self.hair)
    }
}
