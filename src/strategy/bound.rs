use crate::memory::{MemorySystem, TierId};
use crate::units::{Bytes, SimTime};
use crate::workload::{LanguageModel, Roofline, Sublayer};

/// The bound of section 5 of the model for two tiers: the least time of a step under any placement, migration free, capacity
/// the only limit.
///
/// A sublayer that reads D bytes, h of them from HBM, takes `max(h / BW_hbm, (D - h) / BW_ext)`: each byte read from HBM
/// saves `1 / BW_ext`, up to the best ratio `h = D BW_hbm / (BW_hbm + BW_ext)`. A byte stored on HBM is worth the reads that
/// fall on it. So HBM is filled from the most read to the least, each sublayer up to its best ratio: a fractional
/// knapsack, whose greedy solution is the optimum. Where compute takes longer than the external reads would, there is
/// nothing to save below it.
///
/// Computed in floats of 53 bits, whose error is below 10^-12 of a step, then lowered by that much and rounded down to a
/// picosecond: it stays a lower bound.
#[derive(Clone, Debug)]
pub struct StepBound {
    capacity: f64,
    hbm: f64,
    external: f64,
    roofline: Option<Roofline>,
    /// With `weight_prefetch`, the reads of a step may overlap: all of it counts as one sublayer.
    whole: bool,
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

impl StepBound {
    /// For `model` on `system`; `overlap` where sublayers may overlap.
    #[must_use]
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        let bandwidth = |tier: usize| system.tiers()[tier].read_bandwidth.as_f64() / SimTime::PS_PER_SECOND as f64;
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
        order.sort_by(|a, b| b.2.total_cmp(&a.2));
        Self {
            capacity: system.tiers()[TierId::HBM.0].capacity.as_f64(),
            hbm: bandwidth(0),
            external: bandwidth(1),
            roofline,
            whole: overlap,
            sublayers,
            order,
        }
    }

    /// The bound of a step that reads `active[l]` tokens in layer l.
    pub fn step(&mut self, active: &[usize]) -> SimTime {
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
            let useful = if self.whole { &mut all.useful } else { &mut reads.useful };
            let taken = there.min(*useful).min(free * density);
            *useful -= taken;
            free -= taken / density;
            if self.whole {
                all.on_hbm += taken;
            } else {
                reads.on_hbm += taken;
            }
        }
        let time = |reads: &Reads| {
            let external = reads.weights + reads.kv - reads.on_hbm;
            (external / self.external).max(reads.on_hbm / self.hbm).max(reads.compute)
        };
        let total = if self.whole { time(&all) } else { self.sublayers.iter().map(time).sum() };
        SimTime::from_ps((total * (1.0 - GUARD)).floor() as u64)
    }
}

/// The most that is worth reading from HBM: the best ratio, or what leaves as much external as compute hides.
fn useful(reads: &Reads, ratio: f64, external: f64) -> f64 {
    let all = reads.weights + reads.kv;
    (all * ratio).min(all - reads.compute * external).max(0.0)
}
