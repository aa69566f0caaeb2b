use super::{BoundReads, hair, lower_bound};
use crate::memory::{MemorySystem, ResidencyKind};
use crate::units::SimTime;
use crate::workload::{LanguageModel, Roofline};
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable};

/// The bound for any number of tiers, as a linear program.
///
/// Sublayers that read and store the same are one *kind*; as the problem is convex, each of a kind may as well be placed
/// alike. For each kind, what is read of its weights and of its KV is split over the tiers; what is stored for it on a
/// tier is what is read there over the reads a stored byte. KV that is not read needs room too, on whichever tier. No tier
/// holds more than its capacity. A kind takes as long as its slowest tier and no less than its compute; the sum over
/// all sublayers is the least possible.
#[derive(Clone, Debug)]
pub(super) struct Program {
    capacity: Vec<f64>,
    /// Bytes a picosecond.
    bandwidth: Vec<f64>,
    roofline: Option<Roofline>,
    overlap: bool,
    hair: f64,
    /// For each sublayer: weights stored, weights read, KV bytes a token (0 for an mlp).
    sublayers: Vec<[f64; 3]>,
    kinds: Vec<Kind>,
}

/// Sublayers that read and store the same in a step.
#[derive(Clone, Copy, Debug)]
struct Kind {
    count: f64,
    shape: [f64; 3],
    active: usize,
    compute: f64,
}

/// A solution of the program.
struct Solved {
    /// The least time of the step, in units of the program.
    time: f64,
    /// By kind, the bytes that one of the kind reads of its weights and of its KV from each tier.
    split: Vec<[Vec<f64>; 2]>,
}

/// What the solver may be wrong by, relative to the whole.
const GUARD: f64 = 1e-7;

impl Program {
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        let sublayers = model.sublayers().enumerate().map(|(index, sublayer)| {
            let kv = if index % 2 == 0 { model.layers()[index / 2].kv_bytes.as_f64() } else { 0.0 };
            [sublayer.stored.as_f64(), sublayer.read.as_f64(), kv]
        });
        let per_second = SimTime::PS_PER_SECOND as f64;
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
            hair: hair(system, 2 * model.layers().len()),
            sublayers: sublayers.collect(),
            kinds: Vec::new(),
        }
    }

    pub fn step(&mut self, context: usize, active: &[usize]) -> SimTime {
        let (unit, solved) = self.solution(context, active);
        // Without a solution, what holds without capacities: all tiers at full bandwidth.
        lower_bound(solved.map_or(1.0, |solved| solved.time) * unit, GUARD, self.hair)
    }

    /// What is read of everything from each tier; without a solution, in proportion to the
    /// bandwidths.
    pub fn reads(&mut self, context: usize, active: &[usize]) -> BoundReads {
        let (_, solved) = self.solution(context, active);
        let mut reads = BoundReads::nothing(self.sublayers.len(), self.bandwidth.len());
        let together: f64 = self.bandwidth.iter().sum();
        let even = |bytes: f64| self.bandwidth.iter().map(|bandwidth| bytes * bandwidth / together).collect();
        for (index, shape) in self.sublayers.iter().enumerate() {
            let active = if shape[2] > 0.0 { active[index / 2] } else { 0 };
            let kind = self.kinds.iter().position(|kind| kind.shape == *shape && kind.active == active);
            let split = solved.as_ref().zip(kind).map(|(solved, kind)| solved.split[kind].clone());
            let [weights, kv] = split.unwrap_or_else(|| [even(shape[1]), even(shape[2] * active as f64)]);
            reads.weights[index] = weights;
            if index % 2 == 0 {
                reads.kv[index / 2] = kv;
            }
        }
        reads
    }

    /// The unit of time of a step's program, and its solution in that unit.
    fn solution(&mut self, context: usize, active: &[usize]) -> (f64, Option<Solved>) {
        self.sort_into_kinds(active);
        let kv_stored: f64 = self.sublayers.iter().map(|shape| shape[2] * context as f64).sum();
        let kv_read: f64 = self.kinds.iter().map(|kind| kind.count * kind.shape[2] * kind.active as f64).sum();
        let all: f64 = self.kinds.iter().map(|kind| kind.count * kind.shape[1]).sum::<f64>() + kv_read;
        let together: f64 = self.bandwidth.iter().sum();
        // In shares of all bytes read, and of the time that they take at all bandwidths together: numbers near 1.
        let unit = all / together;
        (unit, self.solve(all, unit, kv_stored - kv_read))
    }

    fn sort_into_kinds(&mut self, active: &[usize]) {
        self.kinds.clear();
        for (index, shape) in self.sublayers.iter().enumerate() {
            // An mlp reads no KV: the tokens of its layer make no difference.
            let active = if shape[2] > 0.0 { active[index / 2] } else { 0 };
            match self.kinds.iter_mut().find(|kind| kind.shape == *shape && kind.active == active) {
                Some(kind) => kind.count += 1.0,
                None => {
                    let kv = shape[2] * active as f64;
                    let compute = self.roofline.map_or(0.0, |roofline| roofline.picoseconds(shape[1], kv));
                    self.kinds.push(Kind { count: 1.0, shape: *shape, active, compute });
                }
            }
        }
    }

    /// The least time in units of `unit`, with bytes in shares of `all`.
    fn solve(&self, all: f64, unit: f64, unread: f64) -> Option<Solved> {
        let mut variables = ProblemVariables::new();
        let tiers = self.bandwidth.len();
        let mut split = |total: f64, constraints: &mut Vec<_>| -> Vec<Variable> {
            let parts: Vec<Variable> = (0..tiers).map(|_| variables.add(variable().min(0.0))).collect();
            let sum: Expression = parts.iter().copied().sum();
            constraints.push(constraint!(sum == total));
            parts
        };
        let mut constraints = Vec::new();
        let mut stored: Vec<Expression> = vec![Expression::from(0.0); tiers];
        for (tier, part) in split(unread / all, &mut constraints).into_iter().enumerate() {
            stored[tier] += part;
        }
        // By kind and tier, what one of the kind reads.
        let mut reads: Vec<Vec<Expression>> = Vec::new();
        let mut parts_of_kinds: Vec<[Vec<Variable>; 2]> = Vec::new();
        for kind in &self.kinds {
            let [weights_stored, weights_read, kv] = kind.shape;
            let mut read = vec![Expression::from(0.0); tiers];
            let mut parts_of_kind = [Vec::new(), Vec::new()];
            for (parts, total, stored_per_read) in [
                (0, weights_read, if weights_read > 0.0 { weights_stored / weights_read } else { 0.0 }),
                (1, kv * kind.active as f64, 1.0),
            ] {
                if total > 0.0 {
                    parts_of_kind[parts] = split(total / all, &mut constraints);
                    for (tier, &part) in parts_of_kind[parts].iter().enumerate() {
                        read[tier] += part;
                        stored[tier] += kind.count * stored_per_read * part;
                    }
                }
            }
            parts_of_kinds.push(parts_of_kind);
            reads.push(read);
        }
        for (tier, stored) in stored.into_iter().enumerate() {
            if self.capacity[tier].is_finite() {
                constraints.push(constraint!(stored <= self.capacity[tier] / all));
            }
        }
        let together: f64 = self.bandwidth.iter().sum();
        let mut objective = Expression::from(0.0);
        if self.overlap {
            let time = variables
                .add(variable().min(self.kinds.iter().map(|kind| kind.count * kind.compute).sum::<f64>() / unit));
            for tier in 0..tiers {
                let mut read = Expression::from(0.0);
                for (kind, reads) in self.kinds.iter().zip(&reads) {
                    read += kind.count * reads[tier].clone();
                }
                constraints.push(constraint!(read * (together / self.bandwidth[tier]) <= time));
            }
            objective += time;
        } else {
            for (kind, reads) in self.kinds.iter().zip(reads) {
                let time = variables.add(variable().min(kind.compute / unit));
                for (tier, read) in reads.into_iter().enumerate() {
                    constraints.push(constraint!(read * (together / self.bandwidth[tier]) <= time));
                }
                objective += kind.count * time;
            }
        }
        let mut problem = variables.minimise(objective.clone()).using(microlp);
        for constraint in constraints {
            problem = problem.with(constraint);
        }
        let solution = problem.solve().ok()?;
        let bytes = |parts: &Vec<Variable>| match parts.as_slice() {
            [] => vec![0.0; tiers],
            parts => parts.iter().map(|part| solution.value(*part).max(0.0) * all).collect(),
        };
        let split = parts_of_kinds.iter().map(|[weights, kv]| [bytes(weights), bytes(kv)]).collect();
        Some(Solved { time: solution.eval(objective), split })
    }
}
