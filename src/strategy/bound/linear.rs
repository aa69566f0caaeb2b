//! A linear program over quantities that are split over tiers, in the making.

use crate::memory::PerTier;
use good_lp::{
    Constraint, Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable,
};

/// The variables and constraints so far.
///
/// The solver finds one of several equal optima by their order, so the order of calls is part of
/// the result.
pub(super) struct Linear {
    variables: ProblemVariables,
    constraints: Vec<Constraint>,
    tiers: usize,
}

/// An expression for each tier.
pub(super) type OnTiers = Vec<Expression>;

impl Linear {
    /// No variables yet, over so many tiers.
    pub fn new(tiers: usize) -> Self {
        Self { variables: ProblemVariables::new(), constraints: Vec::new(), tiers }
    }

    /// 0 on each tier.
    pub fn nothing(&self) -> OnTiers {
        vec![Expression::from(0.0); self.tiers]
    }

    /// A quantity that is split over the tiers.
    pub fn split(&mut self, total: f64) -> Vec<Variable> {
        let parts: Vec<Variable> = (0..self.tiers).map(|_| self.variables.add(variable().min(0.0))).collect();
        let sum: Expression = parts.iter().copied().sum();
        self.constraints.push(constraint!(sum == total));
        parts
    }

    /// What moves between `before` and `after`, added to what is `carried` by source, then
    /// destination.
    pub fn carry(&mut self, before: &[Variable], after: &[Variable], carried: &mut [OnTiers]) {
        let mut arrives: OnTiers = before.iter().map(|&variable| variable.into()).collect();
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

    /// A time that is no less than `read` takes on any tier at `bandwidth`, nor than `least`; in
    /// units in which all that is read takes 1 at all bandwidths together.
    pub fn slowest(&mut self, read: OnTiers, bandwidth: &[f64], least: f64) -> Variable {
        let together: f64 = bandwidth.iter().sum();
        let time = self.variables.add(variable().min(least));
        for (read, bandwidth) in read.into_iter().zip(bandwidth) {
            self.constraints.push(constraint!(read * (together / bandwidth) <= time));
        }
        time
    }

    /// A time of at least that.
    pub fn time(&mut self, least: f64) -> Variable {
        self.variables.add(variable().min(least))
    }

    /// `time` is at least `least`.
    pub fn at_least(&mut self, time: impl Into<Expression>, least: impl Into<Expression>) {
        let (time, least): (Expression, Expression) = (time.into(), least.into());
        self.constraints.push(constraint!(least <= time));
    }

    /// No tier holds more of `stored` than `capacity`.
    pub fn limit(&mut self, stored: OnTiers, capacity: impl Fn(usize) -> f64) {
        for (tier, stored) in stored.into_iter().enumerate() {
            let capacity = capacity(tier);
            if capacity.is_finite() {
                self.constraints.push(constraint!(stored <= capacity));
            }
        }
    }

    /// The solution that makes `objective` least, and its value; `None` if there is none, or the
    /// solver finds none.
    pub fn minimize(self, objective: &Expression) -> Option<(f64, Solved)> {
        let mut problem = self.variables.minimise(objective.clone()).using(microlp);
        for constraint in self.constraints {
            problem = problem.with(constraint);
        }
        let solution = problem.solve().ok()?;
        Some((
            solution.eval(objective),
            Solved { values: Box::new(move |variable| solution.value(variable)), tiers: self.tiers },
        ))
    }
}

/// A solution.
pub(super) struct Solved {
    values: Box<dyn Fn(Variable) -> f64>,
    tiers: usize,
}

impl Solved {
    /// How much of a split quantity is on each tier, times `unit`; nothing of one that is not
    /// there.
    pub fn parts(&self, parts: &[Variable], unit: f64) -> PerTier<f64> {
        match parts {
            [] => PerTier::filled(self.tiers, 0.0),
            parts => parts.iter().map(|part| (self.values)(*part).max(0.0) * unit).collect(),
        }
    }
}
