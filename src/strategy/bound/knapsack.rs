use super::{BoundReads, hair, lower_bound};
use crate::memory::{MemorySystem, TierId};
use crate::units::{Bytes, SimTime};
use crate::workload::{LanguageModel, Roofline, Sublayer};
use ordered_float::OrderedFloat;
use std::cmp::Reverse;

/// The bound for two tiers, as a fractional knapsack, where external memory can hold all that HBM does not.
///
/// A sublayer that reads D bytes, h of them from HBM, takes `max(h / BW_hbm, (D - h) / BW_ext)`: each byte read from HBM
/// saves `1 / BW_ext`, up to the best ratio `h = D BW_hbm / (BW_hbm + BW_ext)`. A byte stored on HBM is worth the reads that
/// fall on it. So HBM is filled from the most read to the least, each sublayer up to its best ratio: a fractional
/// knapsack, whose greedy solution is the optimum. Where compute takes longer than the external reads would, there is
/// nothing to save below it.
///
/// Computed in floats of 53 bits, whose error is below 10^-12 of a step.
#[derive(Clone, Debug)]
pub(super) struct Knapsack {
    capacity: f64,
    hair: f64,
    hbm: f64,
    external: f64,
    roofline: Option<Roofline>,
    /// With `weight_prefetch`, the reads of a step may overlap: all of it counts as one sublayer.
    overlap: bool,
    sublayers: Vec<Reads>,
    /// The densities of stored bytes, the highest first: what one holds of, `(sublayer, density)`.
    order: Vec<(usize, Kind, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Weights,
    Kv,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    weights: f64,
    kv_bytes: f64,
    kv: f64,
    /// What may still usefully be read from HBM.
    useful: f64,
    /// What is read from HBM.
    on_hbm: f64,
    compute: f64,
}

/// What the floats may be wrong by, relative to the whole.
const GUARD: f64 = 1e-12;

impl Knapsack {
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        let bandwidth = |tier: usize| system.tiers()[tier].wire_bandwidth.as_f64() / SimTime::PS_PER_SECOND as f64;
        let density = |sublayer: Sublayer| match sublayer.stored {
            Bytes::ZERO => 0.0,
            stored => sublayer.read.as_f64() / stored.as_f64(),
        };
        let mut order = Vec::new();
        let mut sublayers = Vec::new();
        for (index, sublayer) in model.sublayers().enumerate() {
            let attention = index % 2 == 0;
            order.push((index, Kind::Weights, density(sublayer)));
            if attention {
                order.push((index, Kind::Kv, 1.0));
            }
            sublayers.push(Reads {
                weights: sublayer.read.as_f64(),
                kv_bytes: if attention { model.layers()[index / 2].kv_bytes.as_f64() } else { 0.0 },
                ..Reads::default()
            });
        }
        order.retain(|(_, _, density)| *density > 0.0);
        order.sort_by_key(|(_, _, density)| Reverse(OrderedFloat(*density)));
        Self {
            capacity: system.tiers()[TierId::HBM.index()].capacity.as_f64(),
            hair: hair(system, sublayers.len()),
            hbm: bandwidth(0),
            external: bandwidth(1),
            roofline,
            overlap,
            sublayers,
            order,
        }
    }

    pub fn step(&mut self, active: &[usize]) -> SimTime {
        let all = self.fill(active, |_, _, _| {});
        let time = |reads: &Reads| {
            let external = reads.weights + reads.kv - reads.on_hbm;
            (external / self.external).max(reads.on_hbm / self.hbm).max(reads.compute)
        };
        let total = if self.overlap { time(&all) } else { self.sublayers.iter().map(time).sum() };
        lower_bound(total, GUARD, self.hair)
    }

    /// What is read of everything from HBM, and the rest from external memory.
    pub fn reads(&mut self, active: &[usize]) -> BoundReads {
        let mut reads = BoundReads::nothing(self.sublayers.len(), 2);
        self.fill(active, |index, kind, taken| match kind {
            Kind::Weights => reads.weights[index][0] += taken,
            Kind::Kv => reads.kv[index / 2][0] += taken,
        });
        for (index, sublayer) in self.sublayers.iter().enumerate() {
            reads.weights[index][1] = sublayer.weights - reads.weights[index][0];
            if index % 2 == 0 {
                reads.kv[index / 2][1] = sublayer.kv - reads.kv[index / 2][0];
            }
        }
        reads
    }

    /// Fills HBM for a step, and calls `taken` with the bytes of each item that are read from
    /// there. Returns the reads of the step as a whole; those of each sublayer are in
    /// `self.sublayers`.
    fn fill(&mut self, active: &[usize], mut take: impl FnMut(usize, Kind, f64)) -> Reads {
        let ratio = self.hbm / (self.hbm + self.external);
        let mut all = Reads::default();
        for (index, reads) in self.sublayers.iter_mut().enumerate() {
            reads.kv = reads.kv_bytes * active[index / 2] as f64;
            reads.on_hbm = 0.0;
            reads.compute = self.roofline.map_or(0.0, |roofline| roofline.picoseconds(reads.weights, reads.kv));
            reads.useful = useful(reads, ratio, self.external);
            all.weights += reads.weights;
            all.kv += reads.kv;
            all.compute += reads.compute;
        }
        all.useful = useful(&all, ratio, self.external);

        let mut free = self.capacity;
        for &(index, kind, density) in &self.order {
            let reads = &mut self.sublayers[index];
            let there = match kind {
                Kind::Weights => reads.weights,
                Kind::Kv => reads.kv,
            };
            let useful = if self.overlap { &mut all.useful } else { &mut reads.useful };
            let taken = there.min(*useful).min(free * density);
            *useful -= taken;
            free -= taken / density;
            take(index, kind, taken);
            if self.overlap {
                all.on_hbm += taken;
            } else {
                reads.on_hbm += taken;
            }
        }
        all
    }
}

/// The most that is worth reading from HBM: the best ratio, or what leaves as much external as compute hides.
fn useful(reads: &Reads, ratio: f64, external: f64) -> f64 {
    let all = reads.weights + reads.kv;
    (all * ratio).min(all - reads.compute * external).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use super::*;
    use crate::catalog;
    use crate::memory::MemoryConfig;
    use crate::workload::{LayersConfig, ModelConfig, WeightsConfig};
    use proptest::prelude::*;

    fn system(capacity: u64) -> MemorySystem {
        let mut config: MemoryConfig = catalog::memory("study").unwrap();
        config.tiers[0].capacity = Bytes::new(capacity);
        MemorySystem::new(&config).unwrap()
    }

    fn model(layers: &[(u64, u64, u64, u64, u64)]) -> LanguageModel {
        let weights = |stored, read| WeightsConfig { stored: Bytes::new(stored), read: Some(Bytes::new(read)) };
        let layers = layers.iter().map(|&(stored, read, mlp_stored, mlp_read, kv)| LayersConfig {
            count: 1,
            attention: weights(stored, read),
            mlp: weights(mlp_stored, mlp_read),
            kv_bytes: Bytes::new(kv),
        });
        let config = ModelConfig { name: "test".to_owned(), about: String::new(), layers: layers.collect() };
        LanguageModel::new(&config).unwrap()
    }

    /// The twin, by another road: the Lagrangian dual. Capacity has a price a byte; each sublayer then minimizes its time
    /// plus the price of what it stores, at one of few corners; the best price gives the bound (the problem is convex).
    fn by_prices(model: &LanguageModel, system: &MemorySystem, active: &[usize]) -> f64 {
        let (hbm, external) =
            (system.tiers()[0].wire_bandwidth.as_f64() / 1e12, system.tiers()[1].wire_bandwidth.as_f64() / 1e12);
        let capacity = system.tiers()[0].capacity.as_f64();
        let at_price = |price: f64| -> f64 {
            let mut total = -price * capacity;
            for (index, sublayer) in model.sublayers().enumerate() {
                let weights = sublayer.read.as_f64();
                let cost = if weights > 0.0 { sublayer.stored.as_f64() / weights } else { 0.0 };
                let layer = &model.layers()[index / 2];
                let kv = if index % 2 == 0 { layer.kv_bytes.as_f64() * active[index / 2] as f64 } else { 0.0 };
                let best = (weights + kv) * hbm / (hbm + external);
                let mut corners = vec![];
                for w in [0.0, weights, best, best - kv] {
                    for k in [0.0, kv, best, best - weights] {
                        if (0.0..=weights).contains(&w) && (0.0..=kv).contains(&k) {
                            corners.push((w, k));
                        }
                    }
                }
                let value = |(w, k): (f64, f64)| {
                    ((w + k) / hbm).max((weights + kv - w - k) / external) + price * (w * cost + k)
                };
                total += corners.into_iter().map(value).fold(f64::MAX, f64::min);
            }
            total
        };
        // No byte is worth more than the external reads that the densest one saves.
        let densest = model
            .sublayers()
            .filter(|sublayer| sublayer.stored > Bytes::ZERO)
            .map(|sublayer| sublayer.read.as_f64() / sublayer.stored.as_f64())
            .fold(1.0, f64::max);
        // Concave in the price: ternary search.
        let (mut low, mut high) = (0.0, 1.1 * densest / external);
        for _ in 0..300 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if at_price(a) < at_price(b) { low = a } else { high = b }
        }
        at_price(low)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn equals_the_dual(
            layers in prop::collection::vec(
                (1u64..2000, 0u64..40_000, 1u64..2000, 1u64..40_000, 1u64..50, 0usize..60), 1..5),
            capacity in 1u64..20_000,
        ) {
            let shapes: Vec<_> = layers.iter().map(|l| (l.0, l.1, l.2, l.3, l.4)).collect();
            let active: Vec<usize> = layers.iter().map(|l| l.5).collect();
            let (model, system) = (model(&shapes), system(capacity));
            let bound = Knapsack::new(&model, &system, None, false).step(&active).as_ps() as f64;
            let twin = by_prices(&model, &system, &active);
            prop_assert!((bound - twin).abs() <= 1.0 + 1e-6 * twin, "{} against {}", bound, twin);
            // And by a third road, the linear program that serves any number of tiers.
            let program = Program::new(&model, &system, None, false).step(100, &active).as_ps() as f64;
            prop_assert!((bound - program).abs() <= 1.0 + 1e-6 * twin, "{} against {}", bound, program);
            let whole = Knapsack::new(&model, &system, None, true).step(&active).as_ps() as f64;
            let program = Program::new(&model, &system, None, true).step(100, &active).as_ps() as f64;
            prop_assert!((whole - program).abs() <= 1.0 + 1e-6 * twin, "{} against {}", whole, program);
        }
    }

    #[test]
    fn by_hand() {
        // 1000 B a sublayer, all fits: the best ratio of each, so everything at the sum of the bandwidths.
        let fits = model(&[(1000, 1000, 1000, 1000, 100)]);
        let mut bound = Knapsack::new(&fits, &system(1 << 30), None, false);
        assert_eq!(bound.step(&[5]).as_ps(), (2_500_000u64).div_ceil(5815));
        // Room for 10 B on HBM: it saves 10 B of external reads.
        let mut bound = Knapsack::new(&fits, &system(10), None, false);
        assert_eq!(bound.step(&[5]).as_ps(), (2_490_000u64).div_ceil(900));
    }
}
