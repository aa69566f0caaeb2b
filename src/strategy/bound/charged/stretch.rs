//! A stretch of steps, and its tokens by the steps that read them.

use super::ChargedBound;
use crate::strategy::bound::KvLoad;
use crate::units::Table;
use crate::workload::{Shape, SkipSource, StepSkips, TraceError};

/// Tokens of stages of a kind that are read in the same steps of a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Group {
    pub kind: usize,
    /// The first step in which they are there.
    pub first: usize,
    /// Bit k: whether step k of the stretch reads them.
    pub read: u32,
    /// How many, over all stages of the kind.
    pub count: f64,
}

/// What a stretch reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub steps: usize,
    pub groups: Vec<Group>,
    /// The sum of its steps' bounds, in picoseconds.
    pub free: f64,
}

impl ChargedBound {
    /// Calls `each` with every stretch of the run.
    pub(super) fn stretches(
        &mut self,
        source: &mut dyn SkipSource,
        shape: Shape,
        mut each: impl FnMut(&Self, usize, &Stretch),
    ) -> Result<(), TraceError> {
        let mut steps = vec![StepSkips::none(shape.layers, shape.prefill + shape.decode); self.stretch];
        let regions = self.token_bytes.len();
        let mut load = KvLoad { stored: Table::filled(regions, 0), read: Table::filled(regions, 0) };
        for (index, first) in (0..shape.decode).step_by(self.stretch).enumerate() {
            let length = self.stretch.min(shape.decode - first);
            let mut stretch = Stretch { steps: length, ..Stretch::default() };
            for (step, skips) in steps.iter_mut().take(length).enumerate() {
                let context = shape.prefill + first + step;
                source.next_step(context, skips)?;
                load.stored.iter_mut().for_each(|stored| *stored = context);
                for (read, skipped) in load.read.iter_mut().zip(&skips.counts) {
                    *read = context - skipped;
                }
                stretch.free += self.steps.step(&load).as_ps() as f64;
            }
            stretch.groups = self.groups(&steps[..length], shape.prefill + first);
            each(self, index, &stretch);
        }
        Ok(())
    }

    /// The tokens of a stretch by the steps that read them; `context` of them are there from its
    /// first step on.
    fn groups(&self, steps: &[StepSkips], context: usize) -> Vec<Group> {
        let patterns = 1usize << steps.len();
        let mut counts = vec![vec![0u64; patterns]; self.kinds.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (region, &kind) in self.kind_of.entries() {
            let Some(kind) = kind else { continue };
            let sets: Vec<&[usize]> = steps.iter().map(|step| step.sets[region.index()].words()).collect();
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
                    .filter(|step| !steps[*step].sets[region.index()].contains(token))
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
}

/// Counts how many tokens of a word are read in each pattern of steps: `here` are those that the
/// steps so far read in the pattern `read`.
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
