use super::{StepBound, hair, lower_bound};
use crate::memory::{MemorySystem, ResidencyKind, RouteId, TierId};
use crate::units::SimTime;
use crate::workload::{LanguageModel, Roofline, Shape, SkipSource, StepSkips, TraceError};
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable};

/// A bound on a whole run that pays for the bytes that must move.
///
/// The bound of a step lets everything lie where that step would have it. Here a token that lies on another tier in the next step
/// has been carried there, over the lanes that demand reads use too. A run of T takes at least what each of its lanes carried over what that lane
/// can carry, so for any weights w of lanes that sum to 1 or less
///
/// > T >= (1 - sum of w) T + sum over lanes of w * bytes carried / bandwidth.
///
/// The right side falls apart into stretches of steps. Each is a linear program, whose least value is taken: where weights and tokens
/// lie in each step (weights where they lay all along), what is carried between two steps, within capacity; a sublayer takes as long
/// as its slowest tier and no less than its compute. Tokens of a stretch that are read in the same steps of it are one quantity, and
/// so are layers that are alike. At the start of a stretch everything lies where it is best, free of charge; so the longer
/// stretches are, the higher the bound. The weights are those that give the highest bound of a few stretches.
///
/// What is left out, so that it stays a lower bound: KV writes, latencies, losses beyond those of long reads, which moves are
/// ready in time.
#[derive(Clone, Debug)]
pub struct ChargedBound {
    stretch: usize,
    steps: StepBound,
    /// By tier, bytes.
    capacity: Vec<f64>,
    /// By tier, what it can be read at, in bytes a picosecond.
    bandwidth: Vec<f64>,
    roofline: Option<Roofline>,
    overlap: bool,
    /// For each layer its kind.
    kind_of: Vec<usize>,
    kinds: Vec<LayerKind>,
    lanes: Vec<LaneUse>,
    hair: f64,
}

/// Layers that store and read the same.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LayerKind {
    /// How many.
    count: f64,
    /// Of attention, then mlp: bytes of weights stored and read.
    weights: [(f64, f64); 2],
    kv_bytes: f64,
}

/// What a lane carries.
#[derive(Clone, Debug)]
struct LaneUse {
    /// Bytes a picosecond.
    bandwidth: f64,
    /// Whether reads from each tier.
    reads: Vec<bool>,
    /// Whether moves, by source, then destination.
    moves: Vec<Vec<bool>>,
    /// Whether promotions, by destination: what a step has read is on the chip, and need not be read again.
    promotions: Vec<bool>,
}

/// Tokens of layers of a kind that are read in the same steps of a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Group {
    kind: usize,
    /// The first step in which they are there.
    first: usize,
    /// Bit k: whether step k of the stretch reads them.
    read: u32,
    /// How many, over all layers of the kind.
    count: f64,
}

/// What a stretch reads.
#[derive(Clone, Debug, Default)]
struct Stretch {
    steps: usize,
    groups: Vec<Group>,
    /// The sum of its steps' bounds, in picoseconds.
    free: f64,
}

/// What the solver may be wrong by, relative to the whole.
const GUARD: f64 = 1e-6;
/// How many stretches the weights of lanes are chosen by.
const SAMPLES: usize = 6;
/// The shares that are tried.
const SHARES: [f64; 4] = [0.1, 0.3, 0.6, 1.0];
/// How often a share is given at most.
const MOST_ROUNDS: usize = 4;

/// Which bounds a run is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum BoundKind {
    /// That of each step, which lets migration be free.
    #[default]
    Free,
    /// That of the run as a whole besides, which pays for what must move.
    Charged,
}

/// What has no charged bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChargedError {
    #[error(
        "bound: Charged is for exclusive residency, as under inclusive residency moving out costs nothing: use Free"
    )]
    Inclusive,
    #[error("bound: Charged is for tokens that are kept one by one, but page_tokens is {0}: use 1, or bound: Free")]
    Pages(usize),
}

impl ChargedBound {
    /// How many steps a stretch has: the programs grow with two to this power.
    const STRETCH: usize = 4;

    /// For `model` on `system`; `overlap` as for [`StepBound::new`].
    ///
    /// # Errors
    /// [`ChargedError`] for inclusive residency, and pages of several tokens.
    pub fn new(
        model: &LanguageModel,
        system: &MemorySystem,
        roofline: Option<Roofline>,
        overlap: bool,
        page_tokens: usize,
    ) -> Result<Self, ChargedError> {
        if page_tokens > 1 {
            return Err(ChargedError::Pages(page_tokens));
        }
        if system.residency() == ResidencyKind::Inclusive {
            return Err(ChargedError::Inclusive);
        }
        let sublayers: Vec<_> = model.sublayers().collect();
        let (mut kind_of, mut kinds) = (Vec::new(), Vec::<LayerKind>::new());
        for (layer, pair) in model.layers().iter().zip(sublayers.chunks_exact(2)) {
            let weights = [0, 1].map(|part| (pair[part].stored.as_f64(), pair[part].read.as_f64()));
            let kind = LayerKind { count: 1.0, weights, kv_bytes: layer.kv_bytes.as_f64() };
            let known = kinds.iter().position(|known| LayerKind { count: 1.0, ..*known } == kind);
            let place = known.unwrap_or_else(|| {
                kinds.push(LayerKind { count: 0.0, ..kind });
                kinds.len() - 1
            });
            kinds[place].count += 1.0;
            kind_of.push(place);
        }
        let per_second = SimTime::PS_PER_SECOND as f64;
        Ok(Self {
            stretch: Self::STRETCH,
            steps: StepBound::new(model, system, roofline, overlap),
            capacity: system.tiers().iter().map(|tier| tier.capacity.as_f64()).collect(),
            bandwidth: system.tiers().iter().map(|tier| tier.wire_bandwidth.as_f64() / per_second).collect(),
            roofline,
            overlap,
            kind_of,
            lanes: lanes(system),
            kinds,
            hair: hair(system, 2 * model.layers().len()),
        })
    }

    /// The least time of a run over the skip sets of `source`, and the sum of the bounds of its steps, which let migration be free.
    ///
    /// # Errors
    /// [`TraceError`] if the trace cannot be read.
    pub fn of(
        &mut self,
        mut source: impl FnMut() -> Result<Box<dyn SkipSource + Send>, TraceError>,
        shape: Shape,
    ) -> Result<(SimTime, SimTime), TraceError> {
        let count = shape.decode.div_ceil(self.stretch);
        let every = count.div_ceil(SAMPLES).max(1);
        let mut samples = Vec::new();
        self.stretches(&mut *source()?, shape, |_, index, stretch| {
            // From the middle of each part, so that the first steps do not stand for all.
            if index % every == every / 2 || count == 1 {
                samples.push(stretch.clone());
            }
        })?;
        let weights = self.best_weights(&samples);
        let (mut total, mut free) = (0.0, 0.0);
        self.stretches(&mut *source()?, shape, |bound, _, stretch| {
            free += stretch.free;
            // Without a solution, what holds whatever the weights: the time of the steps, which are there in full or in part.
            total += bound.least(stretch, &weights).unwrap_or((1.0 - weights.iter().sum::<f64>()) * stretch.free);
        })?;
        let charged = lower_bound(total, GUARD, self.hair * shape.decode as f64);
        let free = SimTime::from_ps(free as u64);
        Ok((charged.max(free), free))
    }

    /// Calls `each` with every stretch of the run.
    fn stretches(
        &mut self,
        source: &mut dyn SkipSource,
        shape: Shape,
        mut each: impl FnMut(&Self, usize, &Stretch),
    ) -> Result<(), TraceError> {
        let mut steps = vec![StepSkips::none(shape.layers, shape.prefill + shape.decode); self.stretch];
        let mut active = vec![0; shape.layers];
        for (index, first) in (0..shape.decode).step_by(self.stretch).enumerate() {
            let length = self.stretch.min(shape.decode - first);
            let mut stretch = Stretch { steps: length, ..Stretch::default() };
            for (step, skips) in steps.iter_mut().take(length).enumerate() {
                let context = shape.prefill + first + step;
                source.next_step(context, skips)?;
                for (active, skipped) in active.iter_mut().zip(&skips.counts) {
                    *active = context - skipped;
                }
                stretch.free += self.steps.step(context, &active).as_ps() as f64;
            }
            stretch.groups = self.groups(&steps[..length], shape.prefill + first);
            each(self, index, &stretch);
        }
        Ok(())
    }

    /// The tokens of a stretch by when they are read; `context` of them are there from its first step on.
    fn groups(&self, steps: &[StepSkips], context: usize) -> Vec<Group> {
        let patterns = 1usize << steps.len();
        let mut counts = vec![vec![0u64; patterns]; self.kinds.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (layer, &kind) in self.kind_of.iter().enumerate() {
            let sets: Vec<&[usize]> = steps.iter().map(|step| step.sets[layer].words()).collect();
            let bits = usize::BITS as usize;
            for word in 0..context.div_ceil(bits) {
                let there = context - word * bits;
                let whole = if there >= bits { usize::MAX } else { (1 << there) - 1 };
                split(&sets, word, whole, 0, 0, &mut counts[kind]);
            }
            // Those that the stretch writes are there from the step after.
            for written in 0..steps.len().saturating_sub(1) {
                let token = context + written;
                let read = (written + 1..steps.len())
                    .filter(|step| !steps[*step].sets[layer].contains(token))
                    .fold(0, |read, step| read | 1 << step);
                let group = Group { kind, first: written + 1, read, count: 1.0 };
                match groups.iter_mut().find(|known| Group { count: 1.0, ..**known } == group) {
                    Some(known) => known.count += 1.0,
                    None => groups.push(group),
                }
            }
        }
        for (kind, counts) in counts.iter().enumerate() {
            for (read, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                groups.push(Group { kind, first: 0, read: read as u32, count: count as f64 });
            }
        }
        groups
    }

    /// Weights of lanes whose bound over `samples` is high: from none on, a share of all is given to the one lane, or to none, that
    /// gains most by it, until nothing gains.
    fn best_weights(&self, samples: &[Stretch]) -> Vec<f64> {
        let value = |weights: &[f64]| -> f64 {
            samples.iter().map(|stretch| self.least(stretch, weights).unwrap_or(0.0)).sum()
        };
        let mut weights = vec![0.0; self.lanes.len()];
        let mut best = value(&weights);
        for _ in 0..MOST_ROUNDS {
            let given = |lane: Option<usize>, share: f64| -> Vec<f64> {
                let of = |(place, weight): (usize, &f64)| {
                    weight * (1.0 - share) + if lane == Some(place) { share } else { 0.0 }
                };
                weights.iter().enumerate().map(of).collect()
            };
            let lanes = (0..self.lanes.len()).map(Some).chain([None]);
            let tried =
                lanes.flat_map(|lane| SHARES.map(|share| given(lane, share))).map(|weights| (value(&weights), weights));
            let Some((found, next)) = tried.max_by(|a, b| a.0.total_cmp(&b.0)) else { break };
            if found <= best * (1.0 + 1e-6) {
                break;
            }
            (best, weights) = (found, next);
        }
        weights
    }

    /// The least that a stretch adds to the bound, in picoseconds.
    fn least(&self, stretch: &Stretch, weights: &[f64]) -> Option<f64> {
        let tiers = self.bandwidth.len();
        let kv_read: f64 = stretch
            .groups
            .iter()
            .map(|group| f64::from(group.read.count_ones()) * group.count * self.kinds[group.kind].kv_bytes)
            .sum();
        let weights_read: f64 =
            self.kinds.iter().map(|kind| kind.count * (kind.weights[0].1 + kind.weights[1].1)).sum::<f64>();
        // In shares of all bytes read, and of the time that they take at all bandwidths together: numbers near 1.
        let all = kv_read + weights_read * stretch.steps as f64;
        if all == 0.0 {
            return Some(0.0);
        }
        let together: f64 = self.bandwidth.iter().sum();
        let mut program = Program { variables: ProblemVariables::new(), constraints: Vec::new(), tiers };
        // By kind and part, what is stored of the weights on each tier.
        let stored: Vec<[Vec<Variable>; 2]> = self
            .kinds
            .iter()
            .map(|kind| [0, 1].map(|part| program.split(kind.count * kind.weights[part].0 / all)))
            .collect();
        // By group, then step from its first on: how much lies on each tier.
        let lie: Vec<Vec<Vec<Variable>>> = stretch
            .groups
            .iter()
            .map(|group| {
                let bytes = group.count * self.kinds[group.kind].kv_bytes / all;
                (group.first..stretch.steps).map(|_| program.split(bytes)).collect()
            })
            .collect();
        // By source, then destination, all that moves and all that is promoted: what the step before has read.
        let none = || vec![vec![Expression::from(0.0); tiers]; tiers];
        let (mut moved, mut promoted) = (none(), none());
        for (group, lie) in stretch.groups.iter().zip(&lie) {
            for (step, pair) in (group.first..).zip(lie.windows(2)) {
                let carried = if group.read >> step & 1 == 1 { &mut promoted } else { &mut moved };
                program.carry(&pair[0], &pair[1], carried);
            }
        }
        let mut time = Expression::from(0.0);
        let mut read_all = vec![Expression::from(0.0); tiers];
        for step in 0..stretch.steps {
            let mut used = vec![Expression::from(0.0); tiers];
            let mut read_step = vec![Expression::from(0.0); tiers];
            let mut compute_step = 0.0;
            for (place, kind) in self.kinds.iter().enumerate() {
                for (part, (stored, &(stores, reads))) in stored[place].iter().zip(&kind.weights).enumerate() {
                    let mut read = vec![Expression::from(0.0); tiers];
                    for (tier, &variable) in stored.iter().enumerate() {
                        used[tier] += variable;
                        if stores > 0.0 {
                            read[tier] += (reads / stores) * variable;
                        }
                    }
                    let mut kv = 0.0;
                    let of_kind = stretch
                        .groups
                        .iter()
                        .zip(&lie)
                        .filter(|(group, _)| part == 0 && group.kind == place && group.first <= step);
                    for (group, lie) in of_kind {
                        for (tier, &variable) in lie[step - group.first].iter().enumerate() {
                            used[tier] += variable;
                            if group.read >> step & 1 == 1 {
                                read[tier] += variable;
                            }
                        }
                        if group.read >> step & 1 == 1 {
                            kv += group.count * kind.kv_bytes;
                        }
                    }
                    // All layers of a kind are computed one after the other; compute is linear, so their sum is that of the sum.
                    let compute =
                        self.roofline.map_or(0.0, |roofline| kind.count * roofline.picoseconds(reads, kv / kind.count));
                    compute_step += compute * together / all;
                    if !self.overlap {
                        time += program.slowest(&read, &self.bandwidth, compute * together / all);
                    }
                    for (total, read) in read_step.iter_mut().zip(read) {
                        *total += read;
                    }
                }
            }
            if self.overlap {
                time += program.slowest(&read_step, &self.bandwidth, compute_step);
            }
            for (tier, used) in used.into_iter().enumerate() {
                program.constraints.push(constraint!(used <= self.capacity[tier] / all));
            }
            for (total, read) in read_all.iter_mut().zip(read_step) {
                *total += read;
            }
        }
        let free: f64 = weights.iter().sum();
        let mut objective = (1.0 - free) * time;
        for (lane, &weight) in self.lanes.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            let mut bytes = Expression::from(0.0);
            for (_, read) in read_all.iter().enumerate().filter(|(tier, _)| lane.reads[*tier]) {
                bytes += read.clone();
            }
            for source in 0..tiers {
                for destination in 0..tiers {
                    if lane.moves[source][destination] {
                        bytes += moved[source][destination].clone();
                    }
                    if lane.promotions[destination] {
                        bytes += promoted[source][destination].clone();
                    }
                }
            }
            objective += (weight * together / lane.bandwidth) * bytes;
        }
        let unit = all / together;
        program.solve(objective).map(|least| least * unit)
    }
}

/// Counts, for each way in which tokens of a word are read over the steps, how many there are: `here` are those that the steps
/// so far read as `read` says.
fn split(sets: &[&[usize]], word: usize, here: usize, step: usize, read: usize, counts: &mut [u64]) {
    if here == 0 {
        return;
    }
    let Some(set) = sets.get(step) else {
        counts[read] += u64::from(here.count_ones());
        return;
    };
    split(sets, word, here & set[word], step + 1, read, counts);
    split(sets, word, here & !set[word], step + 1, read | 1 << step, counts);
}

/// The lanes of tiers that have one port each, and what each carries; of a tier with several ports, which carry different
/// tokens, its reads all together.
fn lanes(system: &MemorySystem) -> Vec<LaneUse> {
    let tiers = system.tiers().len();
    let per_second = SimTime::PS_PER_SECOND as f64;
    let of = |bandwidth: f64| LaneUse {
        bandwidth,
        reads: vec![false; tiers],
        moves: vec![vec![false; tiers]; tiers],
        promotions: vec![false; tiers],
    };
    let mut uses: Vec<LaneUse> = system.lanes().iter().map(|lane| of(lane.bandwidth().as_f64() / per_second)).collect();
    let single = |tier: TierId| (system.ports(tier).len() == 1).then(|| system.ports(tier).next()).flatten();
    for tier in system.tier_ids() {
        // What leaves a tier is read from it, at no more than it can be read at.
        let mut reads = of(system.tiers()[tier.index()].wire_bandwidth.as_f64() / per_second);
        reads.reads[tier.index()] = true;
        reads.moves[tier.index()] = (0..tiers).map(|destination| destination != tier.index()).collect();
        uses.push(reads);
        let Some(port) = single(tier) else { continue };
        // A bound is a bound whatever may be in flight.
        let wires = |route: RouteId| {
            system.route(route).into_iter().filter(|hold| system.lanes()[hold.lane.index()].window.is_none())
        };
        for hold in wires(system.read_route(port)) {
            uses[hold.lane.index()].reads[tier.index()] = true;
        }
        for hold in wires(system.write_route(port)) {
            uses[hold.lane.index()].promotions[tier.index()] = true;
        }
        for destination in system.tier_ids().filter(|destination| *destination != tier) {
            let Some(to) = single(destination) else { continue };
            for hold in wires(system.move_route(port, to)) {
                uses[hold.lane.index()].moves[tier.index()][destination.index()] = true;
            }
        }
    }
    uses.retain(|lane| lane.reads.contains(&true) || lane.moves.iter().flatten().any(|carries| *carries));
    uses
}

/// A linear program in the making.
struct Program {
    variables: ProblemVariables,
    constraints: Vec<good_lp::Constraint>,
    tiers: usize,
}

impl Program {
    /// A quantity split over the tiers.
    fn split(&mut self, total: f64) -> Vec<Variable> {
        let parts: Vec<Variable> = (0..self.tiers).map(|_| self.variables.add(variable().min(0.0))).collect();
        let sum: Expression = parts.iter().copied().sum();
        self.constraints.push(constraint!(sum == total));
        parts
    }

    /// What goes from where it lies `before` to where it lies `after`, added to what is `carried`.
    fn carry(&mut self, before: &[Variable], after: &[Variable], carried: &mut [Vec<Expression>]) {
        let mut arrives: Vec<Expression> = before.iter().map(|&variable| variable.into()).collect();
        for source in 0..self.tiers {
            for destination in (0..self.tiers).filter(|destination| *destination != source) {
                let moved = self.variables.add(variable().min(0.0));
                arrives[source] -= moved;
                arrives[destination] += moved;
                carried[source][destination] += moved;
            }
        }
        for (arrives, &after) in arrives.into_iter().zip(after) {
            self.constraints.push(constraint!(arrives == after));
        }
    }

    /// A time that is no less than `read` takes on any tier, nor than `least`.
    fn slowest(&mut self, read: &[Expression], bandwidth: &[f64], least: f64) -> Variable {
        let together: f64 = bandwidth.iter().sum();
        let time = self.variables.add(variable().min(least));
        for (read, bandwidth) in read.iter().zip(bandwidth) {
            self.constraints.push(constraint!(read.clone() * (together / bandwidth) <= time));
        }
        time
    }

    fn solve(self, objective: Expression) -> Option<f64> {
        let mut problem = self.variables.minimise(objective.clone()).using(microlp);
        for constraint in self.constraints {
            problem = problem.with(constraint);
        }
        problem.solve().ok().map(|solution| solution.eval(objective))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::memory::MemoryConfig;
    use crate::workload::ModelConfig;
    use proptest::prelude::*;

    /// Skip sets by step, of one layer.
    struct Listed {
        steps: Vec<Vec<usize>>,
        next: usize,
    }

    impl SkipSource for Listed {
        fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
            let skipped = &self.steps[self.next];
            skips.sets[0].clear();
            skips.sets[0].extend(skipped.iter().copied());
            skips.counts[0] = skipped.len();
            self.next += 1;
            Ok(())
        }
    }

    const PREFILL: usize = 3;
    const STEPS: usize = 4;

    fn bound(capacity: usize, read: &[Vec<bool>]) -> SimTime {
        let memory: MemoryConfig = config::parse(
            &format!(
                "(name: \"m\", tiers: [(name: \"hbm\", capacity: \"{capacity} MB\", bandwidth: \"10 TB/s\"), \
                 (name: \"external\", capacity: \"1 GB\", bandwidth: \"10 TB/s\", link: (read: \"1 GB/s\", write: \"10 TB/s\"))])"
            ),
            "memory",
        )
        .unwrap();
        let model: ModelConfig = config::parse(
            "(name: \"l\", layers: [(count: 1, attention: (stored: \"1 B\"), mlp: (stored: \"0 B\"), kv_bytes: \"1 MB\")])",
            "model",
        )
        .unwrap();
        let (memory, model) = (MemorySystem::new(&memory).unwrap(), LanguageModel::new(&model).unwrap());
        let mut bound = ChargedBound::new(&model, &memory, None, false, 1).unwrap();
        let skipped = |step: usize| (0..PREFILL + step).filter(|token| !read[step][*token]).collect();
        let steps: Vec<Vec<usize>> = (0..STEPS).map(skipped).collect();
        let source = || -> Result<Box<dyn SkipSource + Send>, TraceError> {
            Ok(Box::new(Listed { steps: steps.clone(), next: 0 }))
        };
        let shape = Shape { layers: 1, prefill: PREFILL, decode: STEPS, page_tokens: 1 };
        bound.of(source, shape).unwrap().0
    }

    /// The fewest tokens that are read from external memory or carried from there, over all ways to keep up to `capacity` of them on
    /// HBM: where HBM and the way out take no time to speak of, what a run takes at least, in milliseconds.
    fn exhaustive(capacity: usize, read: &[Vec<bool>]) -> u32 {
        // By the set of tokens on HBM, what it took so far. At first, and when it is written, a token may lie anywhere.
        let fits = |set: &usize, tokens: usize| set.count_ones() as usize <= capacity && *set < 1 << tokens;
        let reads = |set: usize, step: usize| {
            (0..PREFILL + step).filter(|token| read[step][*token] && set >> token & 1 == 0).count() as u32
        };
        let all = 1usize << (PREFILL + STEPS);
        let mut least: Vec<Option<u32>> = (0..all).map(|set| fits(&set, PREFILL).then(|| reads(set, 0))).collect();
        for step in 1..STEPS {
            let mut next = vec![None; all];
            for (set, place) in next.iter_mut().enumerate().filter(|(set, _)| fits(set, PREFILL + step)) {
                // What the step before has read is on the chip.
                let read_before = (0..PREFILL + step - 1).filter(|token| read[step - 1][*token]);
                let on_chip: usize = read_before.map(|token| 1 << token).sum();
                let moved = |before: usize| (set & !before & !on_chip & ((1 << (PREFILL + step - 1)) - 1)).count_ones();
                let ways = least.iter().enumerate().filter_map(|(before, cost)| Some((*cost)? + moved(before)));
                *place = ways.min().map(|least| least + reads(set, step));
            }
            least = next;
        }
        least.into_iter().flatten().min().unwrap()
    }

    proptest! {
        #[test]
        fn it_is_the_exhaustive_optimum_of_small_runs(
            capacity in 1usize..5,
            read in proptest::collection::vec(proptest::collection::vec(any::<bool>(), PREFILL + STEPS), STEPS),
        ) {
            let least = f64::from(exhaustive(capacity, &read));
            let bound = bound(capacity, &read).as_ns() / 1e6;
            // HBM's own time is at most 7 MB a step at 10 TB/s.
            prop_assert!(bound >= least * (1.0 - 1e-5) && bound <= least + 4.0 * 7.0 * 1e-4 + 1e-5, "{} against {}", bound, least);
        }
    }

    #[test]
    fn what_must_move_is_paid_for() {
        // Two tokens take turns; HBM holds one. Free of charge each is on HBM when it is read; but carrying it there takes as long as
        // reading it where it is.
        let turns: Vec<Vec<bool>> =
            (0..STEPS).map(|step| (0..PREFILL + STEPS).map(|token| token == step % 2).collect()).collect();
        assert_eq!(exhaustive(1, &turns), 2);
        let bound = bound(1, &turns).as_ns() / 1e6;
        assert!((bound - 2.0).abs() < 0.01, "{bound} ms");
    }
}
