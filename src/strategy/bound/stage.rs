//! A stage as the bounds see it: what it reads, in floats, and how long it computes.

use super::KvLoad;
use crate::units::RegionId;
use crate::workload::{Regions, Roofline, Stage, StageFlop};

/// The reads and the compute of one stage, the same in every step but for the KV.
#[derive(Clone, Debug)]
pub(super) struct BoundStage {
    pub weights: Vec<Piece>,
    /// The KV regions, with the bytes of a token.
    pub kv: Vec<(RegionId, f64)>,
    flop: StageFlop,
    /// In picoseconds.
    pub fixed: f64,
}

/// A piece of the weights: bytes stored, and bytes read in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub region: RegionId,
    pub stored: f64,
    pub read: f64,
}

impl BoundStage {
    /// What `stages` read of `regions`.
    pub fn all(stages: &[Stage], regions: &Regions) -> Vec<Self> {
        let of_stage = |stage: &Stage| {
            let reads = stage.reads_of(regions);
            let pieces = reads.weights.iter().map(|(region, weights)| Piece {
                region: *region,
                stored: weights.stored.as_f64(),
                read: weights.read.as_f64(),
            });
            Self {
                weights: pieces.collect(),
                kv: reads.kv.iter().map(|(region, bytes)| (*region, bytes.as_f64())).collect(),
                flop: stage.flop,
                fixed: stage.fixed.as_ps() as f64,
            }
        };
        stages.iter().map(of_stage).collect()
    }

    /// The bytes of weights that it reads.
    pub fn weights_read(&self) -> f64 {
        self.weights.iter().map(|piece| piece.read).sum()
    }

    /// The bytes of KV that it reads.
    pub fn kv_read(&self, load: &KvLoad) -> f64 {
        self.kv.iter().map(|(region, bytes)| bytes * load.read[*region] as f64).sum()
    }

    /// How long it computes if it reads so many bytes of KV, in picoseconds.
    pub fn compute(&self, roofline: Option<Roofline>, kv: f64) -> f64 {
        roofline.map_or(0.0, |roofline| roofline.picoseconds(self.weights_read(), kv, self.flop))
    }
}
