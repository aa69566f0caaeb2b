//! Broadcasts one source to several readers in near lockstep.
//!
//! Runs that differ only in strategy or memory system read the same skip sets. A step is generated
//! once, when the first reader asks for it, and buffered until every reader has consumed it;
//! buffers are reused. The memory that this takes is set by how far the fastest reader is ahead of
//! the slowest.

use super::{SkipSource, StepSkips, TraceError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One of several readers of one source in near lockstep; a step is buffered until every reader has
/// consumed it.
pub struct Fan {
    shared: Arc<Mutex<Shared>>,
    next: usize,
}

struct Shared {
    source: Box<dyn SkipSource + Send>,
    layers: usize,
    range: usize,
    readers: usize,
    /// The number of the first buffered step.
    first: usize,
    kept: VecDeque<Kept>,
    /// Buffers that all readers have consumed, to be written over.
    spare: Vec<StepSkips>,
}

struct Kept {
    skips: StepSkips,
    /// How many readers have not consumed it.
    left: usize,
}

impl Fan {
    /// Makes `readers` readers of `source`, whose sets are of `layers` layers of up to `range`
    /// tokens.
    pub fn out(source: Box<dyn SkipSource + Send>, layers: usize, range: usize, readers: usize) -> Vec<Self> {
        let shared = Shared { source, layers, range, readers, first: 0, kept: VecDeque::new(), spare: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        (0..readers).map(|_| Self { shared: Arc::clone(&shared), next: 0 }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A source that panicked ends its run: no reader goes on.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SkipSource for Fan {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.next - shared.first;
        if index == shared.kept.len() {
            shared.make(context)?;
        }
        self.next += 1;
        let kept = &mut shared.kept[index];
        kept.left -= 1;
        if kept.left == 0 {
            std::mem::swap(&mut kept.skips, skips);
        } else {
            skips.counts.copy_from_slice(&kept.skips.counts);
            for (set, kept) in skips.sets.iter_mut().zip(&kept.skips.sets) {
                set.copy_from(kept);
            }
        }
        shared.give_up_taken();
        Ok(())
    }
}

impl Drop for Fan {
    fn drop(&mut self) {
        let from = self.next;
        let mut shared = self.lock();
        shared.readers -= 1;
        let skip = from - shared.first;
        shared.kept.iter_mut().skip(skip).for_each(|kept| kept.left -= 1);
        shared.give_up_taken();
    }
}

impl Shared {
    fn make(&mut self, context: usize) -> Result<(), TraceError> {
        let mut skips = self.spare.pop().unwrap_or_else(|| StepSkips::none(self.layers, self.range));
        self.source.next_step(context, &mut skips)?;
        self.kept.push_back(Kept { skips, left: self.readers });
        Ok(())
    }

    fn give_up_taken(&mut self) {
        while self.kept.front().is_some_and(|kept| kept.left == 0)
            && let Some(kept) = self.kept.pop_front()
        {
            self.spare.push(kept.skips);
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::{Generator, GeneratorConfig};
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    /// Readers take their steps in the order of `order`, a list of (reader, chance), and leave at a
    /// chance of 0.
    fn check(order: &[(usize, u8)], seed: u64, skip: u32) -> Result<(), TestCaseError> {
        let config = GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: "0.2".parse().unwrap(),
            seed,
            ..GeneratorConfig::default()
        };
        let (layers, prefill, range) = (2, 70, 70 + order.len());
        let source = || Generator::new(config.clone(), layers, range);
        let mut readers: Vec<Option<Fan>> =
            Fan::out(Box::new(source()), layers, range, 3).into_iter().map(Some).collect();
        let mut twins: Vec<Generator> = (0..3).map(|_| source()).collect();
        let mut steps = [0; 3];
        let (mut skips, mut expected) = (StepSkips::none(layers, range), StepSkips::none(layers, range));
        for &(reader, chance) in order {
            // Some leave early: what is kept for them is given up.
            if chance == 0 {
                readers[reader] = None;
            }
            let Some(fan) = &mut readers[reader] else { continue };
            fan.next_step(prefill + steps[reader], &mut skips).unwrap();
            twins[reader].next_step(prefill + steps[reader], &mut expected).unwrap();
            steps[reader] += 1;
            prop_assert_eq!(&skips.sets, &expected.sets);
            prop_assert_eq!(&skips.counts, &expected.counts);
            // Nothing is kept that all who are left have taken, and nothing given up that one has
            // not.
            let last = readers.iter().zip(steps).filter_map(|(reader, step)| reader.as_ref().map(|_| step)).min();
            let kept = readers.iter().flatten().next().unwrap().lock().kept.len();
            prop_assert_eq!(kept, steps.iter().max().unwrap() - last.unwrap());
        }
        Ok(())
    }

    /// The fastest reader leaves; the steps that it took are kept for the others.
    #[test]
    fn steps_stay_for_the_readers_behind_when_the_fastest_leaves() {
        let order = [(0, 1), (0, 1), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (1, 1)];
        check(&order, 0, 0).unwrap();
    }

    proptest! {
        #[test]
        fn each_reader_gets_what_the_source_generates(
            order in prop::collection::vec((0usize..3, 0u8..20), 1..80), seed: u64, skip in 0u32..=1000,
        ) {
            check(&order, seed, skip)?;
        }
    }
}
