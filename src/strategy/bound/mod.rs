//! The bound of section 5 of the model: the least time of a step under any placement, migration free, capacity the only limit.
//! It counts no access latency, so with latencies it is as low as without.

mod charged;
mod knapsack;
mod program;
mod single;

pub use charged::{BoundKind, ChargedBound, ChargedError};

use crate::memory::{Fabric, MemorySystem, ResidencyKind, Tier, TierId};
use crate::units::{Bytes, SimTime};
use crate::workload::{LanguageModel, Roofline};
use knapsack::Knapsack;
use program::Program;
use single::SingleTier;

/// The bound of each step of a run: with one tier what it takes to read all of it, with two tiers a
/// fractional knapsack where HBM is their only limit, else a linear program.
#[derive(Clone, Debug)]
pub struct StepBound {
    single: Option<SingleTier>,
    knapsack: Option<Knapsack>,
    program: Program,
    /// What the slowest tier holds, what all weights occupy, and what one token's KV does.
    slowest: Bytes,
    weights: Bytes,
    token: Bytes,
}

impl StepBound {
    /// For `model` on `system`; `overlap` where sublayers may overlap, so that the step as a whole takes the sublayer's
    /// place.
    #[must_use]
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        let tiers = system.tiers().len();
        Self {
            single: (tiers == 1).then(|| SingleTier::new(model, system, roofline, overlap)),
            knapsack: (tiers == 2).then(|| Knapsack::new(model, system, roofline, overlap)),
            program: Program::new(model, system, roofline, overlap),
            // With a copy of all on the slowest tier, what is read from it is not limited by what it holds.
            slowest: match system.residency() {
                ResidencyKind::Exclusive => system.tiers()[system.last_tier().index()].capacity,
                ResidencyKind::Inclusive => Bytes::new(u64::MAX),
            },
            weights: model.stored_weights(),
            token: model.token_bytes(),
        }
    }

    /// The bound of a step with a context of `context` tokens that reads `active[l]` of them in layer l.
    pub fn step(&mut self, context: usize, active: &[usize]) -> SimTime {
        if let Some(single) = &self.single {
            return single.step(active);
        }
        let all_fits_on_slowest = self.weights + self.token.times(context as u64) <= self.slowest;
        match &mut self.knapsack {
            Some(knapsack) if all_fits_on_slowest => knapsack.step(active),
            _ => self.program.step(context, active),
        }
    }

    /// What the bound of that step reads from each tier. Of several layouts that reach the bound,
    /// one.
    pub fn reads(&mut self, context: usize, active: &[usize]) -> BoundReads {
        let all_fits_on_slowest = self.weights + self.token.times(context as u64) <= self.slowest;
        match &mut self.knapsack {
            Some(knapsack) if all_fits_on_slowest => knapsack.reads(active),
            _ => self.program.reads(context, active),
        }
    }
}

/// What the bound reads of everything from each tier in one step: a layout that reaches the bound,
/// in fractions of bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundReads {
    /// By sublayer, in the order of a step, the bytes of its weights that are read from each tier.
    pub weights: Vec<Vec<f64>>,
    /// By layer, the bytes of its KV that are read from each tier.
    pub kv: Vec<Vec<f64>>,
}

impl BoundReads {
    fn nothing(sublayers: usize, tiers: usize) -> Self {
        Self { weights: vec![vec![0.0; tiers]; sublayers], kv: vec![vec![0.0; tiers]; sublayers / 2] }
    }
}

/// The least whole picosecond that a time may take which was computed to be `picoseconds`, right to a share of `guard` and to
/// `hair`. Steps take whole picoseconds, so rounding up keeps a lower bound one.
fn lower_bound(picoseconds: f64, guard: f64, hair: f64) -> SimTime {
    SimTime::from_ps((picoseconds * (1.0 - guard) - hair).max(0.0).ceil() as u64)
}

/// How many picoseconds less than it should a step of so many sublayers may take, as a transfer is complete when it lacks less
/// than [`Fabric::TOLERANCE`](crate::memory::Fabric::SLACK) bytes: of each sublayer, the weights and the KV on the slowest tier, in
/// as many parts as that has ports.
fn hair(system: &MemorySystem, sublayers: usize) -> f64 {
    let of_tier = |(id, tier): (TierId, &Tier)| {
        system.ports(id).len() as f64 * SimTime::PS_PER_SECOND as f64 / tier.wire_bandwidth.as_f64()
    };
    let a_byte = system.tier_ids().zip(system.tiers()).map(of_tier).fold(0.0, f64::max);
    2.0 * sublayers as f64 * Fabric::<()>::TOLERANCE * a_byte
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryConfig;
    use crate::workload::ModelConfig;

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
        assert_eq!(StepBound::new(&model, &memory, None, false).step(0, &[0]).as_ps(), 90_000);
    }
}
