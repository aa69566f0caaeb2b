//! The bound for two tiers, as a fractional knapsack, where external memory can hold all that HBM
//! does not.

use super::stage::{BoundStage, ExpertPiece, KvPiece, KvRead, kv_cost};
use super::{BoundReads, KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, PerTier, TierId};
use crate::units::{RegionId, SimTime};
use crate::workload::{Pipeline, Regions, Roofline, Runtime, Stage};
use ordered_float::OrderedFloat;
use std::cmp::Reverse;

/// A stage that reads D bytes, h of them from HBM, takes `max(h / BW_hbm, (D - h) / BW_ext)`: each
/// byte read from HBM saves `1 / BW_ext`, up to the best ratio `h = D BW_hbm / (BW_hbm + BW_ext)`.
/// A byte stored on HBM is worth the reads that fall on it. So HBM is filled from the most read to
/// the least, each stage up to its best ratio: a fractional knapsack, whose greedy solution is the
/// optimum (Dantzig 1957). Where compute takes longer than the external reads would, there is
/// nothing to save below it.
///
/// # Runtimes
/// Where kernels do not reach all of a tier's bandwidth, a byte takes more of it: c on HBM and e on
/// external memory, different for weights and KV. A stage whose work is E if all of it is external,
/// and which saves V of that by what is on HBM, takes at least
/// `max(V / (k BW_hbm), (E - V) / BW_ext)`, where k is the largest e / c of what it reads: exactly
/// that where e / c is the same for all. It is worth filling up to
/// `V = E k BW_hbm / (k BW_hbm + BW_ext)`, and a byte read saves e.
///
/// Where external memory is read after HBM ([`Order::InTurn`]), a byte on HBM saves
/// `e / BW_ext - c / BW_hbm`; where it is copied to HBM first ([`Order::Copied`]), all is read from
/// HBM and a byte that lies there saves `1 / BW_ext`. Both are exact, and counted in external work
/// as well.
///
/// Where copies go on ahead or chunk by chunk ([`Order::Piped`]), a stage, or with copies ahead the
/// step as a whole, takes no less than the copies take on the link, than all of it takes to be read
/// from HBM (each stage after its fixed time, and no faster than it computes), and, of a step as a
/// whole, than HBM's bus carries both if they share it. What is copied in the step before is not
/// more than the buffer holds, nor than the weights that the first stages read.
///
/// Computed in floats of 53 bits, whose error is below 10^-12 of a step. O(stages + KV regions) a
/// step.
#[derive(Clone, Debug)]
pub(super) struct Knapsack {
    capacity: f64,
    tolerance: f64,
    hbm: f64,
    external: f64,
    roofline: Option<Roofline>,
    /// With `weight_prefetch`, the reads of a step may overlap: all of it counts as one stage.
    overlap: bool,
    order: Order,
    pipe: Pipe,
    stages: Vec<BoundStage>,
    runtime: Runtime,
    /// By stage, the largest ratio of what a byte costs on external memory and on HBM.
    relief: Vec<f64>,
    /// The largest of all stages.
    most_relief: f64,
    /// Of the last step, by stage.
    reads: Vec<Reads>,
    /// What may be stored on HBM, the most read for its size first.
    items: Vec<Item>,
    /// Of the last step.
    read: KvRead,
}

/// What bounds copies that go on ahead or chunk by chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Pipe {
    /// The most that may have been copied for a step before it begins.
    carried: f64,
    /// Whether weights that lie on HBM may be read before their stage.
    reads_early: bool,
    /// What HBM's bus carries at most, if reads and writes share it; in bytes a picosecond.
    bus: Option<f64>,
}

impl Pipe {
    fn new(stages: &[BoundStage], system: &MemorySystem, runtime: &Runtime, reads_early: bool) -> Self {
        let carried = |pipeline: &Pipeline| {
            let first = stages.iter().take(pipeline.ahead as usize);
            first.map(BoundStage::fixed_read).sum::<f64>().min(pipeline.buffer.as_f64())
        };
        // Of stages one by one, the bus would make what a byte saves less and less, and the order
        // of items another: it is left out.
        let is_whole = reads_early || runtime.copies_ahead();
        let bus = is_whole.then(|| bus(system)).flatten();
        Self { carried: runtime.pipelines().iter().map(carried).sum(), reads_early, bus }
    }

    /// How long a stage or a step takes that copies so much, in picoseconds.
    fn time(self, copied: f64, reads: &Reads, external: f64) -> f64 {
        let copied = (copied - self.carried).max(0.0);
        let on_bus = self.bus.map_or(0.0, |bus| (reads.read + copied) / bus);
        (copied / external).max(reads.from_hbm).max(on_bus)
    }

    /// How much may be copied for free, as other things take longer.
    fn hidden(self, reads: &Reads, external: f64) -> f64 {
        let least = reads.from_hbm.max(reads.compute);
        let on_bus = self.bus.map_or(f64::INFINITY, |bus| least * bus - reads.read);
        self.carried + (least * external).min(on_bus).max(0.0)
    }
}

/// What the bus of HBM carries at most, in bytes a picosecond, if reads and writes share one.
fn bus(system: &MemorySystem) -> Option<f64> {
    let port = system.ports(HBM).next()?;
    let (read, write) = (system.route(system.read_route(port)), system.route(system.write_route(port)));
    let shared = read.iter().find(|hold| write.iter().any(|other| other.lane == hold.lane))?;
    Some(system.lanes()[shared.lane.index()].peak.as_f64() / SimTime::PS_PER_SECOND as f64)
}

/// When a stage reads external memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// At the same time as HBM.
    AtOnce,
    /// After HBM.
    InTurn,
    /// Before HBM, to which it is copied.
    Copied,
    /// While it is copied to HBM: ahead, or chunk by chunk.
    Piped,
}

/// A region of weights or state that a stage reads, or KV regions that are alike.
#[derive(Clone, Copy, Debug)]
struct Item {
    stage: usize,
    kind: Kind,
    /// Reads per stored byte.
    density: f64,
    /// What a byte takes of HBM's bandwidth, and of that of external memory.
    costs: [f64; 2],
    /// The external work that a byte read from HBM saves.
    gain: f64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Weights of which so much is read.
    Weights(RegionId, f64),
    /// State of that size.
    State(RegionId, f64),
    /// That piece of the stage's KV.
    Kv(usize),
    /// That piece of the stage's experts.
    Experts(usize),
}

impl Item {
    /// What the step reads of it.
    fn read(&self, stages: &[BoundStage], read: &KvRead) -> f64 {
        match self.kind {
            Kind::Weights(_, bytes) | Kind::State(_, bytes) => bytes,
            Kind::Kv(piece) => read.of(&stages[self.stage].kv[piece]),
            Kind::Experts(piece) => read.of_experts(&stages[self.stage].experts[piece]),
        }
    }

    /// What is read of each of its regions.
    fn regions(&self, stages: &[BoundStage], load: &KvLoad) -> Vec<(RegionId, f64)> {
        match self.kind {
            Kind::Weights(region, bytes) | Kind::State(region, bytes) => vec![(region, bytes)],
            Kind::Kv(piece) => {
                let KvPiece { regions, token_bytes, .. } = &stages[self.stage].kv[piece];
                regions.iter().map(|region| (*region, token_bytes * load.read[*region] as f64)).collect()
            }
            Kind::Experts(piece) => {
                let ExpertPiece { region, expert_bytes, .. } = stages[self.stage].experts[piece];
                vec![(region, expert_bytes * load.read[region] as f64)]
            }
        }
    }

    /// By how many stages it is read: as one item each.
    fn readers(&self) -> f64 {
        match self.kind {
            Kind::Weights(..) | Kind::State(..) | Kind::Experts(_) => 1.0,
            // Each reads a stored byte once.
            Kind::Kv(_) => self.density,
        }
    }
}

/// What a stage, or the step as a whole, reads and computes in the last step, in external work
/// (bytes at full reach): of weights and KV if all of it is external, and what HBM saves of that.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    weights: f64,
    /// And state.
    kv: f64,
    /// The most external work that a unit of work on HBM saves.
    relief: f64,
    /// What HBM may still usefully save, and what it does.
    useful: f64,
    on_hbm: f64,
    /// In picoseconds: reading all of it from HBM, where it is copied there.
    from_hbm: f64,
    /// In bytes: all of it.
    read: f64,
    compute: f64,
    fixed: f64,
}

/// The error of the floats, relative to the whole.
const FLOAT_ERROR: f64 = 1e-12;

const HBM: TierId = TierId::HBM;
const EXTERNAL: TierId = TierId::new(1);

impl Knapsack {
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
    ) -> Self {
        let bandwidth = |tier: usize| system.tiers()[tier].wire_bandwidth.as_f64() / SimTime::PS_PER_SECOND as f64;
        let stages = BoundStage::all(stages, regions, 2, runtime);
        let mut items = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let mut item = |kind, density, costs| {
                items.push(Item { stage: index, kind, density, costs, gain: 1.0 });
            };
            for piece in &stage.weights {
                let density = if piece.stored > 0.0 { piece.read / piece.stored } else { 0.0 };
                item(Kind::Weights(piece.region, piece.read), density, [piece.costs[HBM], piece.costs[EXTERNAL]]);
            }
            // Those that a step reads, all of each.
            for (piece, experts) in stage.experts.iter().enumerate() {
                item(Kind::Experts(piece), 1.0, [experts.costs[HBM], experts.costs[EXTERNAL]]);
            }
            stage.state.iter().for_each(|(region, bytes)| item(Kind::State(*region, *bytes), 1.0, [1.0, 1.0]));
            stage.kv.iter().enumerate().for_each(|(piece, kv)| item(Kind::Kv(piece), kv.readers, [1.0, 1.0]));
        }
        items.retain(|item| item.density > 0.0);
        let mut knapsack = Self {
            capacity: system.tiers()[TierId::HBM.index()].capacity.as_f64(),
            tolerance: tolerance(system, runtime, &stages),
            hbm: bandwidth(0),
            external: bandwidth(1),
            roofline,
            overlap: overlap || runtime.copies_ahead(),
            pipe: Pipe::new(&stages, system, runtime, overlap),
            order: match (overlap, runtime.is_serial(EXTERNAL), runtime.is_staged(EXTERNAL)) {
                _ if !runtime.pipelines().is_empty() => Order::Piped,
                (false, true, _) => Order::InTurn,
                (false, _, true) => Order::Copied,
                // Reads of one stage may overlap those of others, so that sums are no bound.
                _ => Order::AtOnce,
            },
            reads: vec![Reads::default(); stages.len()],
            relief: vec![1.0; stages.len()],
            most_relief: 1.0,
            runtime: runtime.clone(),
            stages,
            items,
            read: KvRead::default(),
        };
        knapsack.sort();
        knapsack
    }

    /// Sets what KV and state cost in a step, and the order of items that follows from it.
    fn price(&mut self) {
        if !self.runtime.has_kv_reaches() {
            return;
        }
        for item in self.items.iter_mut().filter(|item| matches!(item.kind, Kind::Kv(_) | Kind::State(..))) {
            let kv = self.stages[item.stage].kv_read(&self.read);
            item.costs = [HBM, EXTERNAL].map(|tier| kv_cost(&self.runtime, tier, kv, 2));
        }
        self.sort();
    }

    /// Puts what is worth most for its size first.
    fn sort(&mut self) {
        self.relief.fill(0.0);
        let of_hbm = self.external / self.hbm;
        for item in &mut self.items {
            let [hbm, external] = item.costs;
            let relief = &mut self.relief[item.stage];
            *relief = relief.max(external / hbm);
            item.gain = match self.order {
                Order::AtOnce | Order::Copied | Order::Piped => external,
                Order::InTurn => external - hbm * of_hbm,
            };
        }
        self.most_relief = self.relief.iter().copied().fold(0.0, f64::max);
        self.items.sort_by_key(|item| Reverse(OrderedFloat(item.density * item.gain)));
    }

    /// The bound of a step.
    pub fn step(&mut self, load: &KvLoad) -> SimTime {
        let all = self.fill(load, |_, _| {});
        let time = |reads: &Reads| {
            let external = (reads.weights + reads.kv - reads.on_hbm) / self.external;
            let read = match self.order {
                Order::AtOnce if reads.on_hbm > 0.0 => external.max(reads.on_hbm / (reads.relief * self.hbm)),
                Order::AtOnce | Order::InTurn => external,
                Order::Copied => external + reads.from_hbm,
                Order::Piped => self.pipe.time(external * self.external, reads, self.external),
            };
            read.max(reads.compute) + reads.fixed
        };
        let total = if self.overlap { time(&all) } else { self.reads.iter().map(time).sum() };
        lower_bound(total, FLOAT_ERROR, self.tolerance)
    }

    /// What is read of everything from HBM, and the rest from external memory: of KV that several
    /// stages read, what they read on average.
    pub fn reads(&mut self, load: &KvLoad) -> BoundReads {
        let mut reads = BoundReads::new();
        let nothing = || PerTier::filled(2, 0.0);
        for (region, read) in self.items.iter().flat_map(|item| item.regions(&self.stages, load)) {
            reads.or_insert_with(region, nothing)[EXTERNAL] = read;
        }
        let mut taken_of: Vec<(Item, f64)> = Vec::new();
        self.fill(load, |item, taken| taken_of.push((*item, taken)));
        for (item, taken) in taken_of.into_iter().filter(|(_, taken)| *taken > 0.0) {
            // Of several sequences, each region has its part.
            let all = item.read(&self.stages, &self.read);
            for (region, read) in item.regions(&self.stages, load) {
                let taken = taken / item.readers() * (read / all);
                let of_region = reads.or_insert_with(region, nothing);
                of_region[HBM] += taken;
                of_region[EXTERNAL] -= taken;
            }
        }
        reads
    }

    /// Fills HBM for a step, and calls `take` with the bytes of each item that are read from there.
    /// Returns the reads of the step as a whole; those of each stage are in `self.reads`.
    fn fill(&mut self, load: &KvLoad, mut take: impl FnMut(&Item, f64)) -> Reads {
        self.read.note(&self.stages, load);
        self.price();
        let mut all = Reads::default();
        for ((stage, reads), relief) in self.stages.iter().zip(&mut self.reads).zip(&self.relief) {
            let kv = stage.kv_read(&self.read);
            let (compute, fixed) = (stage.compute(self.roofline, &self.read), stage.fixed);
            let from_hbm = match self.order {
                Order::Copied | Order::Piped => {
                    (stage.weights_work(HBM, &self.read) + kv * kv_cost(&self.runtime, HBM, kv, 2)) / self.hbm
                }
                Order::AtOnce | Order::InTurn => 0.0,
            };
            let read = if self.order == Order::Piped { stage.weights_read(&self.read) + kv } else { 0.0 };
            let (weights, kv) =
                (stage.weights_work(EXTERNAL, &self.read), kv * kv_cost(&self.runtime, EXTERNAL, kv, 2));
            *reads = Reads { weights, kv, relief: *relief, from_hbm, read, compute, fixed, ..Reads::default() };
            reads.useful = useful(reads, self.order, self.pipe, [self.hbm, self.external]);
            all.weights += reads.weights;
            all.kv += reads.kv;
            // Reads of other stages may overlap what a stage must wait for.
            all.compute += reads.compute + reads.fixed;
            all.read += reads.read;
            // Only copies go on before their stage, where nothing else is read early.
            let in_stage = reads.from_hbm.max(reads.compute) + reads.fixed;
            all.from_hbm += if self.pipe.reads_early { reads.from_hbm } else { in_stage };
        }
        all.relief = self.most_relief;
        all.useful = useful(&all, self.order, self.pipe, [self.hbm, self.external]);

        let mut free = self.capacity;
        for item in &self.items {
            let reads = &mut self.reads[item.stage];
            let useful = if self.overlap { &mut all.useful } else { &mut reads.useful };
            if item.gain <= 0.0 {
                break;
            }
            let taken =
                (item.read(&self.stages, &self.read) * item.gain).min(*useful).min(free * item.density * item.gain);
            *useful -= taken;
            free -= taken / (item.density * item.gain);
            take(item, taken / item.gain);
            if self.overlap {
                all.on_hbm += taken;
            } else {
                reads.on_hbm += taken;
            }
        }
        all
    }
}

/// The most external work that is worth saving: what the best ratio saves, or what leaves as much
/// to read as compute hides.
fn useful(reads: &Reads, order: Order, pipe: Pipe, [hbm, external]: [f64; 2]) -> f64 {
    let all = reads.weights + reads.kv;
    if order == Order::Piped {
        return (all - pipe.hidden(reads, external)).max(0.0);
    }
    let unhidden = all - (reads.compute - reads.from_hbm) * external;
    let balanced = match order {
        Order::AtOnce if reads.relief > 0.0 => all * (reads.relief * hbm / (reads.relief * hbm + external)),
        _ => all,
    };
    balanced.min(unhidden).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use super::*;
    use crate::catalog;
    use crate::memory::MemoryConfig;
    use crate::units::{Bytes, SequenceId, Table};
    use crate::workload::{
        Chunk, LanguageModel, LayersConfig, Lengths, ModelConfig, StepBatch, WeightsConfig, batch_stages, stages,
    };
    use proptest::prelude::*;

    fn load(active: &[usize], stored: usize) -> KvLoad {
        KvLoad { stored: Table::filled(active.len(), stored), read: Table::from(active.to_vec()) }
    }

    fn system(capacity: u64) -> MemorySystem {
        let mut config: MemoryConfig = catalog::memory("study").unwrap();
        config.tiers[0].capacity = Bytes::new(capacity);
        MemorySystem::new(&config).unwrap()
    }

    fn model(layers: &[(u64, u64, u64, u64, u64)]) -> LanguageModel {
        let weights =
            |stored, read| WeightsConfig { stored: Bytes::new(stored), read: Some(Bytes::new(read)), format: None };
        let layers = layers.iter().map(|&(stored, read, mlp_stored, mlp_read, kv)| LayersConfig {
            count: 1,
            attention: weights(stored, read),
            mlp: weights(mlp_stored, mlp_read),
            kv_bytes: Bytes::new(kv),
            window: None,
        });
        let config = ModelConfig { name: "test".to_owned(), layers: layers.collect(), ..Default::default() };
        LanguageModel::new(&config).unwrap()
    }

    /// The twin, by another road: the Lagrangian dual. Capacity has a price a byte; each stage then
    /// minimizes its time plus the price of what it stores, at one of few corners; the best price
    /// gives the bound (the problem is convex).
    fn by_prices(model: &LanguageModel, system: &MemorySystem, active: &[usize]) -> f64 {
        let (hbm, external) =
            (system.tiers()[0].wire_bandwidth.as_f64() / 1e12, system.tiers()[1].wire_bandwidth.as_f64() / 1e12);
        let capacity = system.tiers()[0].capacity.as_f64();
        let at_price = |price: f64| -> f64 {
            let mut total = -price * capacity;
            for stage in model.stages() {
                let weights = stage.weights[0].read.as_f64();
                let cost = if weights > 0.0 { stage.weights[0].stored.as_f64() / weights } else { 0.0 };
                let layer = stage.layer.unwrap();
                let of_sequences = active.iter().skip(layer.index()).step_by(model.layers());
                let of_kv: f64 = of_sequences.map(|tokens| model.kv_bytes()[layer].as_f64() * *tokens as f64).sum();
                let kv = if stage.attends { of_kv } else { 0.0 };
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
            .weights()
            .filter(|weights| weights.stored > Bytes::ZERO)
            .map(|weights| weights.read.as_f64() / weights.stored.as_f64())
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
                (1u64..2000, 0u64..40_000, 1u64..2000, 1u64..40_000, 1u64..50, prop::array::uniform4(0usize..60)), 1..5),
            capacity in 1u64..20_000, sequences in 1usize..5,
        ) {
            let shapes: Vec<_> = layers.iter().map(|l| (l.0, l.1, l.2, l.3, l.4)).collect();
            // By sequence, then layer.
            let active: Vec<usize> = (0..sequences).flat_map(|of| layers.iter().map(move |l| l.5[of])).collect();
            let (model, system) = (model(&shapes), system(capacity));
            let regions = Regions::new(&model, &vec![Lengths::default(); sequences]);
            let stages = stages(&model, &regions, &SequenceId::all(sequences).collect::<Vec<_>>());
            let load = load(&active, 100);
            let kv = model.token_bytes().times(100 * sequences as u64);
            let knapsack =
                |overlap: bool| Knapsack::new(&stages, &regions, &system, &Runtime::ideal(2), None, overlap).step(&load).as_ps() as f64;
            let program =
                |overlap: bool| Program::new(&stages, &regions, &system, &Runtime::ideal(2), None, overlap).step(kv, &load).as_ps() as f64;
            let bound = knapsack(false);
            let twin = by_prices(&model, &system, &active);
            // The bound allows for what transfers lack and for parts of bytes.
            let allowed = Knapsack::new(&stages, &regions, &system, &Runtime::ideal(2), None, false).tolerance;
            prop_assert!(bound <= twin * (1.0 + 1e-6) + 1.0, "{} against {}", bound, twin);
            prop_assert!(bound + allowed + 1.0 >= twin * (1.0 - 1e-6), "{} against {}", bound, twin);
            // And by a third road, the linear program that serves any number of tiers.
            prop_assert!((bound - program(false)).abs() <= 1.0 + 1e-6 * twin, "{} against {}", bound, program(false));
            let whole = knapsack(true);
            prop_assert!((whole - program(true)).abs() <= 1.0 + 1e-6 * twin, "{} against {}", whole, program(true));
        }
    }

    /// Layers of which the second reads the KV of the first, and the third only the last tokens.
    const SHARING: &str = "(name: \"s\", architecture: (hidden: 16, vocabulary: 40, tied: true, \
        formats: (weights: \"bf16\", kv: \"bf16\"), blocks: [(count: 1, layers: [\
        (attention: Full(heads: 2, kv_heads: 1, head_size: 8), mlp: Dense(intermediate: 24)), \
        (attention: Full(heads: 2, kv_heads: 1, head_size: 8, shares_kv: true), mlp: Dense(intermediate: 8)), \
        (attention: Sliding(window: 20, of: (heads: 2, kv_heads: 2, head_size: 8)), mlp: Dense(intermediate: 24))])]))";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Sequences that decode beside parts of prompts, with KV that layers share, windows and
        /// compute: the linear program, and the pieces one by one.
        #[test]
        fn steps_of_several_sequences_are_bounded_by_the_linear_program(
            sequences in prop::collection::vec((0usize..200, 0usize..=100, prop::option::of(1usize..30)), 1..6),
            capacity in 1u64..30_000, flops in prop::option::of(1u64..2_000), overlap: bool,
        ) {
            let model = LanguageModel::new(&crate::config::parse(SHARING, "model").unwrap()).unwrap();
            let system = system(capacity);
            let regions = Regions::new(&model, &vec![Lengths::default(); sequences.len()]);
            let ids = || SequenceId::all(sequences.len()).zip(&sequences);
            let chunk = |(sequence, of): (SequenceId, &(usize, usize, Option<usize>))| {
                Some(Chunk { sequence, first: of.0, tokens: of.2?, is_last: true })
            };
            let batch = StepBatch {
                decoding: ids().filter(|(_, of)| of.2.is_none()).map(|(id, _)| id).collect(),
                chunks: ids().filter_map(chunk).collect(),
                sequences: sequences.len(),
                ..StepBatch::default()
            };
            let stages = batch_stages(&model, &regions, &batch);
            let mut load = KvLoad { stored: Table::new(), read: Table::new() };
            for (context, percent, chunk) in &sequences {
                for window in regions.windows().take(model.layers()) {
                    let stored = window.min(*context);
                    load.stored.push(stored);
                    load.read.push(if chunk.is_some() { stored } else { stored * percent / 100 });
                }
            }
            let stored: Bytes =
                regions.token_bytes().zip(&load.stored).map(|(bytes, tokens)| bytes.times(*tokens as u64)).sum();
            let rate = |giga: u64| crate::config::parse(&format!("(rate: \"{giga} GFLOP/s\")"), "compute").unwrap();
            let roofline = flops.map(|giga| Roofline::new(&rate(giga), &model).unwrap());
            let runtime = Runtime::ideal(2);
            let fast = Knapsack::new(&stages, &regions, &system, &runtime, roofline, overlap).step(&load).as_ps() as f64;
            let twin =
                Program::new(&stages, &regions, &system, &runtime, roofline, overlap).step(stored, &load).as_ps() as f64;
            prop_assert!((fast - twin).abs() <= 1.0 + 2e-6 * twin, "{} against {}", fast, twin);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// With reaches the linear program is exact; the knapsack is no higher, and the same where
        /// weights and KV reach the same. It is no lower than without reaches where they do on
        /// external memory.
        #[test]
        fn reaches_only_add(
            layers in prop::collection::vec((1u64..2000, 1u64..40_000, 1u64..50, 0usize..60), 1..4),
            capacity in 1u64..20_000,
            weights in prop::array::uniform2(0.1f64..1.0),
            kv in prop::array::uniform2(0.1f64..1.0),
            alike: bool,
            one_external: bool,
        ) {
            let shapes: Vec<_> = layers.iter().map(|l| (l.0, l.1, l.0, l.1, l.2)).collect();
            let active: Vec<usize> = layers.iter().map(|l| l.3).collect();
            let (model, system) = (model(&shapes), system(capacity));
            let kv = if alike { weights } else if one_external { [kv[0], weights[1]] } else { kv };
            let rule = |class: &str, tier: &str, reach: f64| format!("(class: {class}, tier: \"{tier}\", reach: {reach})");
            let text = format!(
                "Runtime(name: \"r\", reaches: [{}, {}, {}, {}])",
                rule("Weights", "hbm", weights[0]), rule("Weights", "external", weights[1]),
                rule("Kv", "hbm", kv[0]), rule("Kv", "external", kv[1])
            );
            let runtime = Runtime::new(&crate::config::parse(&text, "r").unwrap(), &system).unwrap();
            let regions = Regions::new(&model, &[Lengths::default()]);
            let stages = stages(&model, &regions, &[SequenceId::default()]);
            let load = load(&active, 100);
            let stored = model.token_bytes().times(100);
            for overlap in [false, true] {
                let knapsack = |runtime: &Runtime| {
                    Knapsack::new(&stages, &regions, &system, runtime, None, overlap).step(&load).as_ps() as f64
                };
                let program = Program::new(&stages, &regions, &system, &runtime, None, overlap).step(stored, &load);
                let (found, program) = (knapsack(&runtime), program.as_ps() as f64);
                let tolerance = 1.0 + 1e-6 * program;
                prop_assert!(found <= program + tolerance, "{} above {}", found, program);
                if alike || one_external {
                    prop_assert!(found + tolerance >= knapsack(&Runtime::ideal(2)), "{} below ideal", found);
                }
                if alike {
                    prop_assert!((found - program).abs() <= tolerance, "{} against {}", found, program);
                }
            }
        }
    }

    #[test]
    fn by_hand() {
        // 1000 B a stage, all fits: the best ratio of each, so everything at the sum of the
        // bandwidths.
        let fits = model(&[(1000, 1000, 1000, 1000, 100)]);
        let regions = Regions::new(&fits, &[Lengths::default()]);
        let stages = stages(&fits, &regions, &[SequenceId::default()]);
        let knapsack =
            |system: &MemorySystem| Knapsack::new(&stages, &regions, system, &Runtime::ideal(2), None, false);
        let bound = |capacity: u64| knapsack(&system(capacity)).step(&load(&[5], 5)).as_ps();
        assert_eq!(bound(1 << 30), (2_500_000u64).div_ceil(5815));
        // Room for 10 B on HBM: it saves 10 B of external reads.
        assert_eq!(bound(10), (2_490_000u64).div_ceil(900));
    }
}
