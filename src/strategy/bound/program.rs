//! The bound for any number of tiers, as a linear program.

use super::linear::{Linear, OnTiers, Solved};
use super::stage::{BoundStage, KvRead, Piece, kv_cost};
use super::tiers::TierBound;
use super::{BoundReads, KvLoad, lower_bound, tolerance};
use crate::memory::{MemorySystem, PerTier, ResidencyKind, TierId};
use crate::units::{Bytes, RegionId, SimTime};
use crate::workload::{Merge, Regions, Roofline, Runtime, Stage};
use good_lp::{Expression, Variable};

/// Stages that read and store the same are one *kind*; as the problem is convex, each of a kind may
/// as well be placed alike. For each kind, what is read of its weights and of its KV is split over
/// the tiers; what is stored for it on a tier is what is read there over the reads per stored byte.
/// KV that is not read needs room too, on whichever tier. No tier holds more than its capacity. A
/// kind takes as long as its slowest tier and no less than its compute; the sum over all stages is
/// the least possible.
///
/// What a tier computes itself is read by its cores and not by the chip, which computes that much
/// less. Such a part is done beside the chip's, or after it ([`TierBound`]).
#[derive(Clone, Debug)]
pub(super) struct Program {
    capacity: Vec<f64>,
    /// Bytes a picosecond.
    bandwidth: Vec<f64>,
    roofline: Option<Roofline>,
    overlap: bool,
    /// Of each tier that is copied to HBM ahead or chunk by chunk, the most that may have been
    /// copied for a step before it begins.
    carried: PerTier<Option<f64>>,
    tolerance: f64,
    stages: Vec<BoundStage>,
    runtime: Runtime,
    /// The tiers that compute.
    tiers: Vec<TierBound>,
    /// Of the last step.
    kinds: Vec<Kind>,
    read: KvRead,
}

/// Stages that read and store the same in a step.
#[derive(Clone, Debug)]
struct Kind {
    count: f64,
    /// Of each piece of the weights, what is stored and read, what a byte costs on each tier, and
    /// which of them compute it.
    weights: Vec<(f64, f64, PerTier<f64>, Vec<bool>)>,
    /// The size of each state.
    state: Vec<f64>,
    /// What is read of KV, and what takes room for that.
    kv: f64,
    kv_stored: f64,
    /// In picoseconds.
    compute: f64,
    fixed: f64,
    /// Of how many tokens.
    tokens: usize,
    /// What the chip, then each tier that computes, would compute of weights and of KV if it
    /// computed all of them.
    of_parts: Vec<(f64, f64)>,
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
    fn is_of(&self, stage: &BoundStage, read: &KvRead, (kv, kv_stored): (f64, f64), compute: f64) -> bool {
        let weights = pieces(stage, read).map(|(_, stored, read, costs, computed)| (stored, read, costs, computed));
        let same_times = self.compute == compute && self.fixed == stage.fixed && self.tokens == stage.tokens;
        (self.kv, self.kv_stored) == (kv, kv_stored)
            && same_times
            && weights.eq(self.weights.iter().map(|(stored, read, costs, computed)| (*stored, *read, costs, computed)))
            && stage.state.iter().map(|(_, bytes)| bytes).eq(&self.state)
    }
}

/// A piece of the weights: what is stored and read of it, what a byte costs, and where it is
/// computed.
type PieceOf<'a> = (RegionId, f64, f64, &'a PerTier<f64>, &'a Vec<bool>);

/// The pieces of a stage's weights. Of experts those that the step reads; the others are stored as
/// KV is that is not read.
fn pieces<'a>(stage: &'a BoundStage, read: &'a KvRead) -> impl Iterator<Item = PieceOf<'a>> {
    let of = |piece: &'a Piece| (piece.region, piece.stored, piece.read, &piece.costs, &piece.computed);
    stage.weights.iter().map(of).chain(stage.experts.iter().map(|piece| {
        let bytes = read.of_experts(piece);
        (piece.region, bytes, bytes, &piece.costs, &piece.computed)
    }))
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
        let carried = |tier: TierId| {
            let pipeline = runtime.pipelines().iter().find(|pipeline| pipeline.tier == tier)?;
            let first = stages.iter().take(pipeline.ahead as usize).map(BoundStage::fixed_read);
            Some(first.sum::<f64>().min(pipeline.buffer.as_f64()))
        };
        Self {
            carried: PerTier::from_fn(system.tiers().len(), carried),
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
            overlap: overlap || runtime.copies_ahead(),
            tolerance: tolerance(system, runtime, &stages),
            stages,
            runtime: runtime.clone(),
            tiers: Vec::new(),
            kinds: Vec::new(),
            read: KvRead::default(),
        }
    }

    /// These tiers compute.
    pub fn compute_on(&mut self, tiers: Vec<TierBound>) {
        if !tiers.is_empty() {
            // Four transfers more of each part may lack a little.
            self.tolerance *= 5.0;
        }
        self.tiers = tiers;
    }

    /// The bound of a step in which `stored` bytes of KV are stored.
    pub fn step(&mut self, stored: Bytes, load: &KvLoad) -> SimTime {
        let (unit, solved) = self.solution(stored, load);
        // Without a solution, what holds without capacities: all tiers at full bandwidth.
        let cores: f64 = self.tiers.iter().map(|of| of.cores).sum();
        let together: f64 = self.bandwidth.iter().sum();
        let at_all = together / (together + cores);
        let lower = solved.map_or(at_all, |solved| solved.time) * unit;
        lower_bound(lower, SOLVER_ERROR, self.tolerance + self.compute_of_bytes())
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
            let kind = self.kinds.iter().position(|kind| kind.is_of(stage, &self.read, of_kv, compute));
            let split = solved.as_ref().zip(kind);
            let weights = pieces(stage, &self.read).map(|(region, _, read, ..)| (region, read));
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
            kind.count * (kind.weights.iter().map(|(_, read, ..)| read).sum::<f64>() + kind.state.iter().sum::<f64>())
        };
        let all: f64 = self.kinds.iter().map(of_kind).sum::<f64>() + kv_read;
        let together: f64 = self.bandwidth.iter().sum();
        // In shares of all bytes read, and of the time that they take at all bandwidths together:
        // numbers near 1.
        let unit = all / together;
        let kv_stored: f64 = self.kinds.iter().map(|kind| kind.count * kind.kv_stored).sum();
        let experts = self.stages.iter().flat_map(|stage| &stage.experts);
        let kv_stored = experts.fold(kv_stored, |all, piece| all + self.read.of_experts(piece));
        (unit, self.solve(all, unit, stored.as_f64() - kv_stored))
    }

    fn sort_into_kinds(&mut self, load: &KvLoad) {
        self.read.note(&self.stages, load);
        let mut kinds: Vec<Kind> = std::mem::take(&mut self.kinds);
        kinds.clear();
        for stage in &self.stages {
            let (kv, kv_stored) = (stage.paged_read(&self.read), stage.paged_stored(&self.read));
            let compute = stage.compute(self.roofline, &self.read);
            match kinds.iter_mut().find(|kind| kind.is_of(stage, &self.read, (kv, kv_stored), compute)) {
                Some(kind) => kind.count += 1.0,
                None => {
                    let of_piece = |(_, stored, read, costs, computed): PieceOf<'_>| {
                        (stored, read, costs.clone(), computed.to_vec())
                    };
                    let weights = pieces(stage, &self.read).map(of_piece).collect();
                    let state = stage.state.iter().map(|(_, bytes)| *bytes).collect();
                    let (fixed, tokens) = (stage.fixed, stage.tokens);
                    let of_parts = match self.tiers.as_slice() {
                        [] => Vec::new(),
                        tiers => std::iter::once(self.roofline)
                            .chain(tiers.iter().map(|of| of.roofline))
                            .map(|roofline| stage.compute_of_parts(roofline, &self.read))
                            .collect(),
                    };
                    kinds.push(Kind { count: 1.0, weights, state, kv, kv_stored, compute, fixed, tokens, of_parts });
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
        let mut reads: Vec<StageReads> = Vec::new();
        let mut of_constant: Vec<Vec<Vec<Variable>>> = Vec::new();
        let mut of_kv: Vec<Vec<Variable>> = Vec::new();
        for kind in &self.kinds {
            let tiers = self.bandwidth.len();
            let mut read = StageReads::new(&program, !self.tiers.is_empty());
            // What one of the kind reads of a quantity, and what is stored for it.
            let mut split = |total: f64, stored_per_read: f64, costs: &PerTier<f64>, computed: &[bool], is_kv| {
                if total <= 0.0 {
                    return Vec::new();
                }
                let parts = program.split(total / all);
                for (tier, &part) in parts.iter().enumerate() {
                    if computed.get(tier) == Some(&true) {
                        let local = if is_kv { &mut read.local_kv } else { &mut read.local_weights };
                        local[tier] += part;
                        read.most_local[tier] += total / all;
                    } else {
                        read.chip[tier] += costs[TierId::new(tier)] * part;
                        if let Some(in_place) = read.in_place.get_mut(tier) {
                            *in_place += part;
                        }
                        if self.carried[TierId::new(tier)].is_some() {
                            // It is read from the buffer.
                            read.chip[0] += costs[TierId::HBM] * part;
                        }
                    }
                    stored[tier] += kind.count * stored_per_read * part;
                }
                parts
            };
            let kv_computed: Vec<bool> = match self.tiers.as_slice() {
                [] => Vec::new(),
                of => (0..tiers).map(|tier| of.iter().any(|of| of.tier.index() == tier && of.computes_kv)).collect(),
            };
            let kv = kind.kv + kind.state.iter().sum::<f64>();
            let kv_costs = PerTier::from_fn(tiers, |tier| kv_cost(&self.runtime, tier, kv, tiers));
            let piece = |of: &(f64, f64, PerTier<f64>, Vec<bool>)| {
                let (stored, read, costs, computed) = of;
                split(*read, stored / read, costs, computed, false)
            };
            let mut constant: Vec<Vec<Variable>> = kind.weights.iter().map(piece).collect();
            constant.extend(kind.state.iter().map(|bytes| split(*bytes, 1.0, &kv_costs, &kv_computed, true)));
            of_constant.push(constant);
            of_kv.push(split(kind.kv, kind.kv_stored / kind.kv, &kv_costs, &kv_computed, true));
            reads.push(read);
        }
        program.limit(stored, |tier| self.capacity[tier] / all);
        let objective = match self.tiers.as_slice() {
            [] => self.time(reads.into_iter().map(|read| read.chip).collect(), (all, unit), &mut program),
            _ => self.time_with_tiers(&reads, (all, unit), &mut program),
        };
        let (time, solved) = program.minimize(&objective)?;
        let bytes = |parts: &Vec<Variable>, solved: &Solved| solved.parts(parts, all);
        Some(Solution {
            time,
            constant: of_constant.iter().map(|of| of.iter().map(|parts| bytes(parts, &solved)).collect()).collect(),
            kv: of_kv.iter().map(|parts| bytes(parts, &solved)).collect(),
        })
    }

    /// The time of the step, of which one stage of each kind reads `reads`.
    fn time(&self, reads: Vec<Vec<Expression>>, (all, unit): (f64, f64), program: &mut Linear) -> Expression {
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
            self.before_step(&mut read_all, all);
            let interference = self.interfered(&read_all);
            let of_step = program.slowest(read_all, &self.bandwidth, compute);
            interference.into_iter().for_each(|least| program.at_least(of_step, least));
            time += of_step;
        } else {
            for (kind, reads) in self.kinds.iter().zip(reads) {
                let interference = self.interfered(&reads);
                let of_kind = program.slowest(reads, &self.bandwidth, kind.compute / unit);
                interference.into_iter().for_each(|least| program.at_least(of_kind, least));
                time += kind.count * of_kind;
                if kind.fixed > 0.0 {
                    time += kind.count * kind.fixed / unit;
                }
            }
        }
        time
    }

    /// The same where tiers compute, of a program in which bytes are shares of `all`.
    fn time_with_tiers(&self, reads: &[StageReads], (all, unit): (f64, f64), program: &mut Linear) -> Expression {
        let together: f64 = self.bandwidth.iter().sum();
        // Where stages overlap: what all of them take of each tier's reads, of the chip's compute
        // and of each tier that computes, whose parts follow one another.
        let (mut read_all, mut chip_all) = (program.nothing(), Expression::from(0.0));
        let mut beside_all = vec![Expression::from(0.0); self.tiers.len()];
        let mut time = Expression::from(0.0);
        for (kind, reads) in self.kinds.iter().zip(reads) {
            let fixed = kind.fixed / unit;
            let (mut chip_computes, mut beside, mut after) =
                (Expression::from(kind.compute / unit), Vec::new(), Expression::from(0.0));
            let weights: f64 = kind.weights.iter().map(|(_, read, ..)| read).sum();
            let kv = kind.kv + kind.state.iter().sum::<f64>();
            // Picoseconds of all of something, for a share of `all` of it.
            let for_share = |ps: f64, of: f64| if of > 0.0 { ps / unit * (all / of) } else { 0.0 };
            let of_chip = kind.of_parts[0];
            for ((of, computes), of_all) in self.tiers.iter().zip(&kind.of_parts[1..]).zip(&mut beside_all) {
                let tier = of.tier.index();
                if reads.most_local[tier] <= 0.0 {
                    continue;
                }
                let (of_weights, of_kv) = (&reads.local_weights[tier], &reads.local_kv[tier]);
                chip_computes -= for_share(of_chip.0, weights) * of_weights.clone();
                chip_computes -= for_share(of_chip.1, kv) * of_kv.clone();
                let local = of_weights.clone() + of_kv.clone();
                let begins = (of.per_part + of.per_token * kind.tokens as f64) / unit / reads.most_local[tier];
                let part = program.time(0.0);
                program.at_least(part, (together / of.cores + begins) * local.clone());
                let computed =
                    for_share(computes.0, weights) * of_weights.clone() + for_share(computes.1, kv) * of_kv.clone();
                program.at_least(part, computed + begins * local.clone());
                *of_all += kind.count * part + kind.count * fixed;
                match of.merge {
                    Merge::Parallel => {
                        beside.push((part, (together / of.bus) * (local + reads.in_place[tier].clone())));
                    }
                    Merge::Serial => after += part,
                }
            }
            if self.overlap {
                for (all, read) in read_all.iter_mut().zip(&reads.chip) {
                    *all += kind.count * read.clone();
                }
                chip_all += kind.count * chip_computes + kind.count * fixed;
                continue;
            }
            let chip = program.slowest(reads.chip.clone(), &self.bandwidth, 0.0);
            program.at_least(chip, chip_computes);
            self.interfered(&reads.chip).into_iter().for_each(|least| program.at_least(chip, least));
            for (part, bus) in beside {
                program.at_least(chip, part);
                program.at_least(chip, bus);
            }
            time += kind.count * (Expression::from(chip) + after);
            if fixed > 0.0 {
                time += kind.count * fixed;
            }
        }
        if self.overlap {
            let interference = self.interfered(&read_all);
            self.before_step(&mut read_all, all);
            let whole = program.slowest(read_all, &self.bandwidth, 0.0);
            interference.into_iter().for_each(|least| program.at_least(whole, least));
            program.at_least(whole, chip_all);
            beside_all.into_iter().for_each(|beside| program.at_least(whole, beside));
            time += whole;
        }
        time
    }

    /// Takes from what a step reads what may have been copied before it.
    fn before_step(&self, read_all: &mut OnTiers, all: f64) {
        for (read, carried) in read_all.iter_mut().zip(self.carried.values()) {
            *read -= carried.unwrap_or(0.0) / all;
        }
    }

    /// For each tier whose direct reads leave less of HBM's bandwidth to kernels, the least time of
    /// such reads: what HBM does not carry while the tier is read, it carries before or after.
    fn interfered(&self, reads: &[Expression]) -> Vec<Expression> {
        let together: f64 = self.bandwidth.iter().sum();
        let of_tier = |&(tier, left): &(TierId, f64)| {
            let time = |tier: usize| reads[tier].clone() * (together / self.bandwidth[tier]);
            time(0) + time(tier.index()) * (1.0 - left)
        };
        self.runtime.interference().iter().map(of_tier).collect()
    }

    /// What two bytes of each stage take to compute at most: reads take whole bytes.
    fn compute_of_bytes(&self) -> f64 {
        let of_kind = |kind: &Kind| {
            let weights: f64 = kind.weights.iter().map(|(_, read, ..)| read).sum();
            let kv = kind.kv + kind.state.iter().sum::<f64>();
            let a_byte = |ps: f64, of: f64| if of > 0.0 { ps / of } else { 0.0 };
            let most = |of: &(f64, f64)| a_byte(of.0, weights).max(a_byte(of.1, kv));
            2.0 * kind.count * kind.of_parts.iter().map(most).fold(0.0, f64::max)
        };
        self.kinds.iter().map(of_kind).sum()
    }
}

/// What one stage of a kind reads, in shares of all bytes, by tier.
struct StageReads {
    /// By the chip, in what it takes of the bandwidth.
    chip: OnTiers,
    /// By the chip, in bytes.
    in_place: OnTiers,
    /// By what computes on the tier.
    local_weights: OnTiers,
    local_kv: OnTiers,
    /// The most that there is to read so.
    most_local: Vec<f64>,
}

impl StageReads {
    /// Nothing; `with_tiers` where tiers compute.
    fn new(program: &Linear, with_tiers: bool) -> Self {
        let chip = program.nothing();
        let nothing = || if with_tiers { program.nothing() } else { Vec::new() };
        Self {
            most_local: vec![0.0; chip.len()],
            chip,
            in_place: nothing(),
            local_weights: nothing(),
            local_kv: nothing(),
        }
    }
}
