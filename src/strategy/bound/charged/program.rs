//! What a stretch of steps costs at least, as a linear program.

use super::stretch::Stretch;
use super::{ChargedBound, StageKind};
use crate::strategy::bound::linear::{Linear, OnTiers};
use good_lp::{Expression, Variable};

/// The quantities of a stretch's program, in shares of all bytes that it reads.
struct Quantities {
    /// By kind, then piece: what is stored of the weights on each tier.
    weights: Vec<Vec<Vec<Variable>>>,
    /// By group, then step from its first on: how much is on each tier, over the readers.
    tokens: Vec<Vec<Vec<Variable>>>,
    /// By source, then destination: what moves.
    moved: Vec<OnTiers>,
    /// The same of what the step before has read, and so is on the chip.
    retained: Vec<OnTiers>,
}

/// What the steps of a stretch take and read.
struct Steps {
    time: Expression,
    read: OnTiers,
}

impl ChargedBound {
    /// The least that a stretch adds to the bound, in picoseconds. A solution takes time that grows
    /// with the groups of the stretch, of which there are at most 2^steps for each kind of stage,
    /// besides the tokens that it writes.
    pub(super) fn least(&self, stretch: &Stretch, weights: &[f64]) -> Option<f64> {
        // In shares of all bytes read, and of the time that they take at all bandwidths together:
        // numbers near 1.
        let all = self.bytes_read(stretch);
        if all == 0.0 {
            return Some(0.0);
        }
        let mut program = Linear::new(self.bandwidth.len());
        let quantities = self.place(stretch, all, &mut program);
        let steps = self.steps(stretch, all, &quantities, &mut program);
        let objective = self.objective(weights, steps, &quantities);
        let together: f64 = self.bandwidth.iter().sum();
        program.minimize(&objective).map(|(least, _)| least * (all / together))
    }

    /// All bytes that the stretch reads.
    fn bytes_read(&self, stretch: &Stretch) -> f64 {
        let kv_read: f64 = stretch
            .groups
            .iter()
            .map(|group| f64::from(group.read.count_ones()) * group.count * self.kinds[group.kind].kv_bytes)
            .sum();
        let of_stage = |kind: &StageKind| kind.count * kind.weights.iter().map(|(_, read)| read).sum::<f64>();
        kv_read + self.kinds.iter().map(of_stage).sum::<f64>() * stretch.steps as f64
    }

    /// Where weights and tokens are, and what moves between steps.
    fn place(&self, stretch: &Stretch, all: f64, program: &mut Linear) -> Quantities {
        let weights = self
            .kinds
            .iter()
            .map(|kind| kind.weights.iter().map(|(stored, _)| program.split(kind.count * stored / all)).collect())
            .collect();
        let tokens: Vec<Vec<Vec<Variable>>> = stretch
            .groups
            .iter()
            .map(|group| {
                let kind = &self.kinds[group.kind];
                let bytes = group.count * kind.kv_bytes / kind.readers / all;
                group.steps.clone().map(|_| program.split(bytes)).collect()
            })
            .collect();
        let none = || vec![program.nothing(); self.bandwidth.len()];
        let (mut moved, mut retained) = (none(), none());
        for (group, on) in stretch.groups.iter().zip(&tokens) {
            for (step, pair) in (group.steps.start..).zip(on.windows(2)) {
                let carried = if group.read >> step & 1 == 1 { &mut retained } else { &mut moved };
                program.carry(&pair[0], &pair[1], carried);
            }
        }
        Quantities { weights, tokens, moved, retained }
    }

    /// The time of the steps, within the capacity of each tier.
    fn steps(&self, stretch: &Stretch, all: f64, quantities: &Quantities, program: &mut Linear) -> Steps {
        let together: f64 = self.bandwidth.iter().sum();
        let mut steps = Steps { time: Expression::from(0.0), read: program.nothing() };
        for step in 0..stretch.steps {
            let (mut used, mut read_step, mut compute_step) = (program.nothing(), program.nothing(), 0.0);
            for (place, kind) in self.kinds.iter().enumerate() {
                let mut read = program.nothing();
                for (on, &(stores, reads)) in quantities.weights[place].iter().zip(&kind.weights) {
                    for (tier, &variable) in on.iter().enumerate() {
                        used[tier] += variable;
                        if stores > 0.0 {
                            read[tier] += (reads / stores) * variable;
                        }
                    }
                }
                let mut kv = 0.0;
                let groups = stretch.groups.iter().zip(&quantities.tokens);
                for (group, on) in groups.filter(|(group, _)| group.kind == place && group.steps.contains(&step)) {
                    let is_read = group.read >> step & 1 == 1;
                    for (tier, &variable) in on[step - group.steps.start].iter().enumerate() {
                        used[tier] += variable;
                        if is_read {
                            read[tier] += kind.readers * variable;
                        }
                    }
                    kv += if is_read { group.count * kind.kv_bytes } else { 0.0 };
                }
                let compute = self.compute(kind, kv) * together / all;
                let fixed = kind.count * kind.fixed * together / all;
                compute_step += compute + fixed;
                for (total, read) in read_step.iter_mut().zip(&read) {
                    *total += read.clone();
                }
                if !self.overlap {
                    steps.time += program.slowest(read, &self.bandwidth, compute);
                    if fixed > 0.0 {
                        steps.time += fixed;
                    }
                }
            }
            if self.overlap {
                steps.time += program.slowest(read_step.clone(), &self.bandwidth, compute_step);
            }
            program.limit(used, |tier| self.capacity[tier] / all);
            for (total, read) in steps.read.iter_mut().zip(read_step) {
                *total += read;
            }
        }
        steps
    }

    /// The compute of all stages of a kind, which read `kv` bytes of KV together, in picoseconds.
    /// They compute one after the other; compute is linear, so their sum is that of the sum.
    fn compute(&self, kind: &StageKind, kv: f64) -> f64 {
        let reads: f64 = kind.weights.iter().map(|(_, read)| read).sum();
        let kv = kv / kind.count + kind.state;
        let of_one =
            self.roofline.map_or(0.0, |roofline| roofline.picoseconds(kind.tokens, reads - kind.state, kv, kind.flop));
        kind.count * of_one
    }

    /// The right side of the bound: time and what lanes carry, weighted.
    fn objective(&self, weights: &[f64], steps: Steps, quantities: &Quantities) -> Expression {
        let tiers = self.bandwidth.len();
        let together: f64 = self.bandwidth.iter().sum();
        let free: f64 = weights.iter().sum();
        let mut objective = (1.0 - free) * steps.time;
        for (lane, &weight) in self.lanes.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            let mut bytes = Expression::from(0.0);
            for (_, read) in steps.read.iter().enumerate().filter(|(tier, _)| lane.reads[*tier]) {
                bytes += read.clone();
            }
            for source in 0..tiers {
                for destination in 0..tiers {
                    if lane.moves[source][destination] {
                        bytes += quantities.moved[source][destination].clone();
                    }
                    if lane.retained[destination] {
                        bytes += quantities.retained[source][destination].clone();
                    }
                }
            }
            objective += (weight * together / lane.bandwidth) * bytes;
        }
        objective
    }
}
