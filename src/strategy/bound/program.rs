//! The bound for any number of tiers, as a linear program.

use super::linear::{Linear, Solved};
use super::stage::{BoundStage, KvRead, kv_cost};
use super::{BoundReads, KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, PerTier, ResidencyKind, TierId};
use crate::units::{Bytes, RegionId, SimTime};
use crate::workload::{Regions, Roofline, Runtime, Stage};
use good_lp::{Expression, Variable};

/// Stages that read and store the same are one *kind*; as the problem is convex, each of a kind may
/// as well be placed alike. For each kind, what is read of its weights and of its KV is split over
/// the tiers; what is stored for it on a tier is what is read there over the reads per stored byte.
/// KV that is not read needs room too, on whichever tier. No tier holds more than its capacity. A
/// kind takes as long as its slowest tier and no less than its compute; the sum over all stages is
/// the least possible.
#[derive(Clone, Debug)]
pub(super) struct Program {
    capacity: Vec<f64>,
    /// Bytes a picosecond.
    bandwidth: Vec<f64>,
    roofline: Option<Roofline>,
    overlap: bool,
    tolerance: f64,
    stages: Vec<BoundStage>,
    runtime: Runtime,
    /// Of the last step.
    kinds: Vec<Kind>,
    read: KvRead,
}

/// Stages that read and store the same in a step.
#[derive(Clone, Debug)]
struct Kind {
    count: f64,
    /// Of each piece of the weights, what is stored and read, and what a byte costs on each tier.
    weights: Vec<(f64, f64, PerTier<f64>)>,
    /// The size of each state.
    state: Vec<f64>,
    /// What is read of KV, and what takes room for that.
    kv: f64,
    kv_stored: f64,
    /// In picoseconds.
    compute: f64,
    fixed: f64,
}

/// A solution of a step's program.
struct Solution {
    /// The least time of the step, in units of the program.
    time: f64,
    /// By kind, the bytes that one of the kind reads of each piece of its weights, then of each
    /// state, from each tier.
    constant: Vec<Vec<PerTier<f64>>>,
    /// The same of its KV.
    kv: Vec<PerTier<f64>>,
}

/// The solver's error, relative to the whole.
const SOLVER_ERROR: f64 = 1e-7;

impl Kind {
    /// Whether `stage` is of this kind in a step in which it reads and computes so much.
    fn is_of(&self, stage: &BoundStage, (kv, kv_stored): (f64, f64), compute: f64) -> bool {
        let weights = stage.weights.iter().map(|piece| (piece.stored, piece.read, &piece.costs));
        let same_times = self.compute == compute && self.fixed == stage.fixed;
        (self.kv, self.kv_stored) == (kv, kv_stored)
            && same_times
            && weights.eq(self.weights.iter().map(|(stored, read, costs)| (*stored, *read, costs)))
            && stage.state.iter().map(|(_, bytes)| bytes).eq(&self.state)
    }
}

impl Program {
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
    ) -> Self {
        let per_second = SimTime::PS_PER_SECOND as f64;
        let stages = BoundStage::all(stages, regions, system.tiers().len(), runtime);
        Self {
            capacity: system
                .tier_ids()
                .zip(system.tiers())
                .map(|(id, tier)| {
                    // A copy of all on the last tier is no limit to what is read from it.
                    let unlimited = system.residency() == ResidencyKind::Inclusive && id == system.last_tier();
                    if unlimited { f64::INFINITY } else { tier.capacity.as_f64() }
                })
                .collect(),
            bandwidth: system.tiers().iter().map(|tier| tier.wire_bandwidth.as_f64() / per_second).collect(),
            roofline,
            overlap,
            tolerance: tolerance(system, runtime, &stages),
            stages,
            runtime: runtime.clone(),
            kinds: Vec::new(),
            read: KvRead::default(),
        }
    }

    /// The bound of a step in which `stored` bytes of KV are stored.
    pub fn step(&mut self, stored: Bytes, load: &KvLoad) -> SimTime {
        let (unit, solved) = self.solution(stored, load);
        // Without a solution, what holds without capacities: all tiers at full bandwidth.
        lower_bound(solved.map_or(1.0, |solved| solved.time) * unit, SOLVER_ERROR, self.tolerance)
    }

    /// What is read of everything from each tier, on average of the stages that read it; without a
    /// solution, in proportion to the bandwidths.
    pub fn reads(&mut self, stored: Bytes, load: &KvLoad) -> BoundReads {
        let (_, solved) = self.solution(stored, load);
        let tiers = self.bandwidth.len();
        let together: f64 = self.bandwidth.iter().sum();
        let even = |bytes: f64| -> PerTier<f64> {
            self.bandwidth.iter().map(|bandwidth| bytes * bandwidth / together).collect()
        };
        let mut reads = BoundReads::new();
        let mut put = |region: RegionId, split: PerTier<f64>| {
            let of_region = reads.or_insert_with(region, || PerTier::filled(tiers, 0.0));
            split.iter().for_each(|(tier, bytes)| of_region[tier] += bytes);
        };
        for stage in &self.stages {
            let kv = stage.paged_read(&self.read);
            let compute = stage.compute(self.roofline, &self.read);
            let of_kv = (kv, stage.paged_stored(&self.read));
            let kind = self.kinds.iter().position(|kind| kind.is_of(stage, of_kv, compute));
            let split = solved.as_ref().zip(kind);
            let weights = stage.weights.iter().map(|piece| (piece.region, piece.read));
            for (index, (region, read)) in weights.chain(stage.state.iter().copied()).enumerate() {
                let of_piece = split.map(|(solved, kind)| solved.constant[kind][index].clone());
                put(region, of_piece.unwrap_or_else(|| even(read)));
            }
            let of_kv = split.map_or_else(|| even(kv), |(solved, kind)| solved.kv[kind].clone());
            // Of several sequences, each region has its part of what the stage reads from a tier.
            for (of, region) in stage.kv.iter().flat_map(|of| of.regions.iter().map(move |region| (of, *region))) {
                let part = if kv > 0.0 { of.token_bytes * load.read[region] as f64 / kv } else { 0.0 };
                put(region, of_kv.map(|bytes| bytes * part / of.readers));
            }
        }
        reads
    }

    /// The unit of time of a step's program, and its solution in that unit.
    fn solution(&mut self, stored: Bytes, load: &KvLoad) -> (f64, Option<Solution>) {
        self.sort_into_kinds(load);
        let kv_read: f64 = self.kinds.iter().map(|kind| kind.count * kind.kv).sum();
        let of_kind = |kind: &Kind| {
            kind.count * (kind.weights.iter().map(|(_, read, _)| read).sum::<f64>() + kind.state.iter().sum::<f64>())
        };
        let all: f64 = self.kinds.iter().map(of_kind).sum::<f64>() + kv_read;
        let together: f64 = self.bandwidth.iter().sum();
        // In shares of all bytes read, and of the time that they take at all bandwidths together:
        // numbers near 1.
        let unit = all / together;
        let kv_stored: f64 = self.kinds.iter().map(|kind| kind.count * kind.kv_stored).sum();
        (unit, self.solve(all, unit, stored.as_f64() - kv_stored))
    }

    fn sort_into_kinds(&mut self, load: &KvLoad) {
        self.read.note(&self.stages, load);
        let mut kinds: Vec<Kind> = std::mem::take(&mut self.kinds);
        kinds.clear();
        for stage in &self.stages {
            let (kv, kv_stored) = (stage.paged_read(&self.read), stage.paged_stored(&self.read));
            let compute = stage.compute(self.roofline, &self.read);
            match kinds.iter_mut().find(|kind| kind.is_of(stage, (kv, kv_stored), compute)) {
                Some(kind) => kind.count += 1.0,
                None => {
                    let weights =
                        stage.weights.iter().map(|piece| (piece.stored, piece.read, piece.costs.clone())).collect();
                    let state = stage.state.iter().map(|(_, bytes)| *bytes).collect();
                    kinds.push(Kind { count: 1.0, weights, state, kv, kv_stored, compute, fixed: stage.fixed });
                }
            }
        }
        self.kinds = kinds;
    }

    /// The least time in units of `unit`, with bytes in shares of `all`; `unread` bytes of KV are
    /// stored and not read.
    fn solve(&self, all: f64, unit: f64, unread: f64) -> Option<Solution> {
        let mut program = Linear::new(self.bandwidth.len());
        let mut stored = program.nothing();
        for (tier, part) in program.split(unread / all).into_iter().enumerate() {
            stored[tier] += part;
        }
        let mut reads: Vec<Vec<Expression>> = Vec::new();
        let mut of_constant: Vec<Vec<Vec<Variable>>> = Vec::new();
        let mut of_kv: Vec<Vec<Variable>> = Vec::new();
        for kind in &self.kinds {
            let mut read = program.nothing();
            // What one of the kind reads of a quantity, and what is stored for it.
            let mut split = |total: f64, stored_per_read: f64, costs: &PerTier<f64>| -> Vec<Variable> {
                if total <= 0.0 {
                    return Vec::new();
                }
                let parts = program.split(total / all);
                for (tier, &part) in parts.iter().enumerate() {
                    read[tier] += costs[TierId::new(tier)] * part;
                    stored[tier] += kind.count * stored_per_read * part;
                }
                parts
            };
            let tiers = self.bandwidth.len();
            let kv = kind.kv + kind.state.iter().sum::<f64>();
            let kv_costs = PerTier::from_fn(tiers, |tier| kv_cost(&self.runtime, tier, kv, tiers));
            let pieces = kind.weights.iter().map(|(stored, read, costs)| (*read, stored / read, costs));
            let states = kind.state.iter().map(|bytes| (*bytes, 1.0, &kv_costs));
            let constant = pieces.chain(states).map(|(read, stored, costs)| split(read, stored, costs));
            of_constant.push(constant.collect());
            of_kv.push(split(kind.kv, kind.kv_stored / kind.kv, &kv_costs));
            reads.push(read);
        }
        program.limit(stored, |tier| self.capacity[tier] / all);
        let objective = self.time(reads, unit, &mut program);
        let (time, solved) = program.minimize(&objective)?;
        let bytes = |parts: &Vec<Variable>, solved: &Solved| solved.parts(parts, all);
        Some(Solution {
            time,
            constant: of_constant.iter().map(|of| of.iter().map(|parts| bytes(parts, &solved)).collect()).collect(),
            kv: of_kv.iter().map(|parts| bytes(parts, &solved)).collect(),
        })
    }

    /// The time of the step, of which one stage of each kind reads `reads`.
    fn time(&self, reads: Vec<Vec<Expression>>, unit: f64, program: &mut Linear) -> Expression {
        let mut time = Expression::from(0.0);
        if self.overlap {
            let compute = |kind: &Kind| kind.count * (kind.compute + kind.fixed);
            let compute = self.kinds.iter().map(compute).sum::<f64>() / unit;
            let mut read_all = program.nothing();
            for (kind, reads) in self.kinds.iter().zip(&reads) {
                for (all, read) in read_all.iter_mut().zip(reads) {
                    *all += kind.count * read.clone();
                }
            }
            time += program.slowest(read_all, &self.bandwidth, compute);
        } else {
            for (kind, reads) in self.kinds.iter().zip(reads) {
                let of_kind = program.slowest(reads, &self.bandwidth, kind.compute / unit);
                time += kind.count * of_kind;
                if kind.fixed > 0.0 {
                    time += kind.count * kind.fixed / unit;
                }
            }
        }
        time
    }
}
