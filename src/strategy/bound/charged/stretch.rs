//! A stretch of steps, and its tokens by the steps that read them.

use super::ChargedBound;
use crate::strategy::bound::KvLoad;
use crate::units::{RegionId, Table};
use crate::workload::{SkipSource, StepSkips, TraceError};
use std::ops::Range;

/// Tokens of stages of a kind that are read in the same steps of a stretch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub kind: usize,
    /// The steps in which they are there.
    pub steps: Range<usize>,
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
        sources: &mut [Box<dyn SkipSource + Send>],
        decode: usize,
        mut each: impl FnMut(&Self, usize, &Stretch),
    ) -> Result<(), TraceError> {
        let layers = self.windows.len();
        let none = |prompt: &usize| StepSkips::none(layers, prompt + decode);
        // By step, then sequence.
        let mut steps: Vec<Vec<StepSkips>> = vec![self.prompts.iter().map(none).collect(); self.stretch];
        let regions = self.kinds_of.len();
        let mut load = KvLoad { stored: Table::filled(regions, 0), read: Table::filled(regions, 0) };
        for (index, first) in (0..decode).step_by(self.stretch).enumerate() {
            let length = self.stretch.min(decode - first);
            let mut stretch = Stretch { steps: length, ..Stretch::default() };
            for (step, skips) in steps.iter_mut().take(length).enumerate() {
                for (sequence, (skips, source)) in skips.iter_mut().zip(&mut *sources).enumerate() {
                    let context = self.prompts[sequence] + first + step;
                    source.next_step(context, skips)?;
                    skips.pass_by(&self.windows, context);
                    for (layer, (window, skipped)) in self.windows.iter().zip(&skips.counts).enumerate() {
                        let region = RegionId::new(sequence * layers + layer);
                        (load.stored[region], load.read[region]) = (context.min(*window), context - skipped);
                    }
                }
                stretch.free += self.steps.step(&load).as_ps() as f64;
            }
            stretch.groups = self.groups(&steps[..length], first);
            each(self, index, &stretch);
        }
        Ok(())
    }

    /// The tokens of a stretch by the steps that read them; its first step is the run's `first`. A
    /// step skips the tokens that have left its attention window.
    fn groups(&self, steps: &[Vec<StepSkips>], first: usize) -> Vec<Group> {
        let patterns = 1usize << steps.len();
        let mut counts = vec![vec![0u64; patterns]; self.kinds.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (region, kinds) in self.kinds_of.entries() {
            let (sequence, layer) = (region.index() / self.windows.len(), region.index() % self.windows.len());
            let (window, context) = (self.windows[layer], self.prompts[sequence] + first);
            let of_step = |step: usize| &steps[step][sequence].sets[layer];
            let sets: Vec<&[usize]> = (0..steps.len()).map(|step| of_step(step).words()).collect();
            // Those that stay to the last step are counted by their patterns.
            let stay = (context + steps.len() - 1).saturating_sub(window).min(context);
            for &kind in kinds {
                let bits = usize::BITS as usize;
                for word in stay / bits..context.div_ceil(bits) {
                    let below = |end: usize| match end.saturating_sub(word * bits) {
                        there if there >= bits => usize::MAX,
                        there => (1 << there) - 1,
                    };
                    split(&sets, word, below(context) & !below(stay), 0, 0, &mut counts[kind]);
                }
                // Those that leave the window, and those that the stretch writes, which are there
                // from the step after.
                let written = context..context + steps.len().saturating_sub(1);
                for token in (context.saturating_sub(window)..stay).chain(written) {
                    let first = (token + 1).saturating_sub(context);
                    let end = token.saturating_add(window).saturating_add(1).min(context + steps.len()) - context;
                    let read = (first..end)
                        .filter(|step| !of_step(*step).contains(token))
                        .fold(0, |read, step| read | 1 << step);
                    let group = Group { kind, steps: first..end, read, count: 1.0 };
                    let is_same = |known: &&mut Group| Group { count: 1.0, ..(**known).clone() } == group;
                    match groups.iter_mut().find(is_same) {
                        Some(known) => known.count += 1.0,
                        None => groups.push(group),
                    }
                }
            }
        }
        for (kind, counts) in counts.iter().enumerate() {
            for (read, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                groups.push(Group { kind, steps: 0..steps.len(), read: read as u32, count: count as f64 });
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
