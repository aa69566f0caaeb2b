//! The bound of section 5 of the model: the least time of a step under any placement, migration free, capacity the only limit.

mod knapsack;
mod program;

use crate::memory::MemorySystem;
use crate::units::SimTime;
use crate::workload::{LanguageModel, Roofline};
use knapsack::Knapsack;
use program::Program;

/// The bound of each step of a run: a fractional knapsack for two tiers, a linear program for more.
#[derive(Clone, Debug)]
pub struct StepBound(Method);

#[derive(Clone, Debug)]
enum Method {
    TwoTiers(Knapsack),
    ManyTiers(Program),
}

impl StepBound {
    /// For `model` on `system`; `overlap` where sublayers may overlap, so that the step as a whole takes the sublayer's
    /// place.
    #[must_use]
    pub fn new(model: &LanguageModel, system: &MemorySystem, roofline: Option<Roofline>, overlap: bool) -> Self {
        Self(if system.tiers().len() == 2 {
            Method::TwoTiers(Knapsack::new(model, system, roofline, overlap))
        } else {
            Method::ManyTiers(Program::new(model, system, roofline, overlap))
        })
    }

    /// The bound of a step with a context of `context` tokens that reads `active[l]` of them in layer l.
    pub fn step(&mut self, context: usize, active: &[usize]) -> SimTime {
        match &mut self.0 {
            Method::TwoTiers(knapsack) => knapsack.step(active),
            Method::ManyTiers(program) => program.step(context, active),
        }
    }
}

/// The least whole picosecond that a time may take which was computed to be `picoseconds`, right to a share of `guard`.
/// Steps take whole picoseconds, so rounding up keeps a lower bound one.
fn lower_bound(picoseconds: f64, guard: f64) -> SimTime {
    SimTime::from_ps((picoseconds * (1.0 - guard)).ceil() as u64)
}
