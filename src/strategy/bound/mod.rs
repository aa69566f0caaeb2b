//! The bound of section 5 of the model: the least time of a step under any placement, migration
//! free, capacity the only limit. It counts no access latency, so with latencies it is as low as
//! without.
//!
//! | file | question |
//! | --- | --- |
//! | `single.rs` | what is it with one tier, where there is nothing to place? |
//! | `knapsack.rs` | with two tiers, where HBM is the only limit? |
//! | `program.rs` | with any number of tiers? |
//! | `charged/` | what is it for a run as a whole, which pays for what must move? |
//! | `tiers.rs` | what do tiers that compute take for their parts? |
//! | `index.rs` | what do steps take at least that read an index from the first tier? |
//! | `stage.rs` | what does a stage read, and how long does it compute? |
//! | `linear.rs` | how is a linear program over tiers written down? |

mod charged;
mod index;
mod knapsack;
mod linear;
mod program;
mod single;
mod stage;
mod tiers;

pub use charged::{BoundKind, ChargedBound, ChargedError};
pub use tiers::TierBound;

use crate::memory::{Fabric, MemorySystem, PerTier, ResidencyKind, Tier, TierId};
use crate::units::{Bytes, RegionId, SimTime, Table};
use crate::workload::{KvIndex, Regions, Roofline, Runtime, Stage};
use index::IndexBound;
use knapsack::Knapsack;
use program::Program;
use single::SingleTier;
use stage::BoundStage;

/// The bound of each step of a run: with one tier what it takes to read all of it, with two tiers a
/// fractional knapsack where HBM is their only limit, none computes, and direct reads leave HBM as
/// it is, else a linear program.
#[derive(Clone, Debug)]
pub struct StepBound {
    single: Option<SingleTier>,
    knapsack: Option<Knapsack>,
    program: Program,
    index: Option<IndexBound>,
    /// What the slowest tier holds, what all weights and state occupy, and what a token's KV, or an
    /// expert, does by region.
    slowest: Bytes,
    weights: Bytes,
    token_bytes: Table<RegionId, Bytes>,
}

/// The KV of a step, tokens of each KV region, and its experts where they are units.
#[derive(Clone, Debug)]
pub struct KvLoad {
    /// How many are stored: what has left the attention window is not.
    pub stored: Table<RegionId, usize>,
    /// How many the step reads.
    pub read: Table<RegionId, usize>,
}

impl StepBound {
    /// For steps of `stages`, which read `regions`, on `system` with the reaches of `runtime` (its
    /// fixed times are those of the stages); `overlap` where stages may overlap, so that the step
    /// as a whole takes the stage's place.
    #[must_use]
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
    ) -> Self {
        let tiers = system.tiers().len();
        Self {
            single: (tiers == 1).then(|| SingleTier::new(stages, regions, system, runtime, roofline, overlap)),
            // With interference, the best split of a stage is no ratio of bandwidths.
            knapsack: (tiers == 2 && runtime.computes().is_empty() && runtime.interference().is_empty())
                .then(|| Knapsack::new(stages, regions, system, runtime, roofline, overlap)),
            program: Program::new(stages, regions, system, runtime, roofline, overlap),
            index: None,
            // With a copy of all on the slowest tier, what is read from it is not limited by what
            // it holds.
            slowest: match system.residency() {
                ResidencyKind::Exclusive => system.tiers()[system.last_tier().index()].capacity,
                ResidencyKind::Inclusive => Bytes::new(u64::MAX),
            },
            weights: regions.divisible().map(|(_, weights)| weights.stored).sum(),
            token_bytes: regions.token_bytes().collect(),
        }
    }

    /// The same on a system of which these tiers compute: those of the runtime.
    #[must_use]
    pub fn with_tiers(mut self, tiers: Vec<TierBound>) -> Self {
        self.program.compute_on(tiers);
        self
    }

    /// The same for steps that read `index` besides, in `stages` of `regions`.
    #[must_use]
    pub fn with_index(
        mut self,
        index: Option<&KvIndex>,
        (stages, regions): (&[Stage], &Regions),
        system: &MemorySystem,
        runtime: &Runtime,
        overlap: bool,
    ) -> Self {
        self.index = index.map(|index| IndexBound::new(index.clone(), stages, regions, system, runtime, overlap));
        self
    }

    /// The bound of a step with that KV. O(stages + KV regions) with one or two tiers; with more,
    /// or where external memory is short, a linear program over the kinds of stages. The KV of all
    /// sequences that a stage reads counts as one.
    pub fn step(&mut self, load: &KvLoad) -> SimTime {
        let with_index = self.index.as_mut().map_or(SimTime::ZERO, |index| index.step(load));
        self.step_without_index(load).max(with_index)
    }

    fn step_without_index(&mut self, load: &KvLoad) -> SimTime {
        if let Some(single) = &mut self.single {
            return single.step(load);
        }
        let kv = self.kv_stored(load);
        match &mut self.knapsack {
            Some(knapsack) if self.weights + kv <= self.slowest => knapsack.step(load),
            _ => self.program.step(kv, load),
        }
    }

    /// What the bound of that step reads from each tier. Of several layouts that reach the bound,
    /// one.
    pub fn reads(&mut self, load: &KvLoad) -> BoundReads {
        let kv = self.kv_stored(load);
        match &mut self.knapsack {
            Some(knapsack) if self.weights + kv <= self.slowest => knapsack.reads(load),
            _ => self.program.reads(kv, load),
        }
    }

    fn kv_stored(&self, load: &KvLoad) -> Bytes {
        self.token_bytes.iter().zip(&load.stored).map(|(bytes, tokens)| bytes.times(*tokens as u64)).sum()
    }
}

/// What the bound reads of each region from each tier in one step, in bytes: a layout that reaches
/// the bound, in fractions of bytes. Of KV that several stages read, what they read on average.
pub type BoundReads = Table<RegionId, PerTier<f64>>;

/// The least whole picosecond that a time may take which was computed to be `picoseconds`, with a
/// relative and an absolute error. Steps take whole picoseconds, so rounding up keeps a lower bound
/// one.
fn lower_bound(picoseconds: f64, relative: f64, absolute: f64) -> SimTime {
    SimTime::from_ps((picoseconds * (1.0 - relative) - absolute).max(0.0).ceil() as u64)
}

/// By how many picoseconds a step of these stages may end before what the bounds compute with
/// fractions of bytes.
///
/// * A transfer is complete when it lacks less than
///   [`Fabric::TOLERANCE`](crate::memory::Fabric::TOLERANCE) bytes: of each stage, the weights and
///   the KV on the slowest tier, in as many parts as that has ports, at the least reach.
/// * A piece of the weights that is read in part (rows of an embedding, some experts) is read in
///   whole bytes of each tier: half a byte too few at each of the two borders of a tier's part.
fn tolerance(system: &MemorySystem, runtime: &Runtime, stages: &[BoundStage]) -> f64 {
    let a_byte = |tier: &Tier| SimTime::PS_PER_SECOND as f64 / tier.wire_bandwidth.as_f64();
    let on_ports = |(id, tier): (TierId, &Tier)| system.ports(id).len() as f64 * a_byte(tier);
    let on_ports = system.tier_ids().zip(system.tiers()).map(on_ports).fold(0.0, f64::max);
    let copied: f64 = stages.iter().map(BoundStage::fixed_read).sum();
    let chunks: f64 = runtime.pipelines().iter().map(|pipeline| copied / pipeline.most().as_f64()).sum();
    // Experts are read by themselves where the other weights were read early.
    let experts = stages.iter().map(|stage| stage.experts.len()).sum::<usize>() as f64;
    let lacking = (2.0 * (stages.len() as f64 + chunks) + experts) * Fabric::<()>::TOLERANCE * on_ports;
    let in_part = stages.iter().flat_map(|stage| &stage.weights).filter(|piece| piece.read < piece.stored).count();
    let rounded = if system.tiers().len() == 1 { 0 } else { in_part };
    let slowest = system.tiers().iter().map(a_byte).fold(0.0, f64::max);
    (lacking + rounded as f64 * slowest) / runtime.least_share()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryConfig;
    use crate::units::SequenceId;
    use crate::workload::{LanguageModel, Lengths, ModelConfig, stages};

    #[test]
    fn what_external_cannot_hold_must_be_read_from_hbm() {
        let memory: MemoryConfig = crate::config::parse(
            "(name: \"m\", tiers: [(name: \"hbm\", capacity: \"1 MB\", bandwidth: \"1000 GB/s\"), \
             (name: \"external\", capacity: \"10 kB\", bandwidth: \"1000 GB/s\")])",
            "memory",
        )
        .unwrap();
        let model: ModelConfig = crate::config::parse(
            "(name: \"l\", layers: [(count: 1, attention: (stored: \"100 kB\"), mlp: (stored: \"0 B\"), kv_bytes: \"1 B\")])",
            "model",
        )
        .unwrap();
        let (memory, model) = (MemorySystem::new(&memory).unwrap(), LanguageModel::new(&model).unwrap());
        // Half and half would take 50 ns; 90 kB must come from HBM.
        let regions = Regions::new(&model, &[Lengths::default()]);
        let stages = stages(&model, &regions, &[SequenceId::default()]);
        let nothing = KvLoad { stored: Table::filled(1, 0), read: Table::filled(1, 0) };
        assert_eq!(
            StepBound::new(&stages, &regions, &memory, &Runtime::ideal(2), None, false).step(&nothing).as_ps(),
            90_000
        );
    }
}
