//! All skip sets of a trace in memory, a bit a token, for several runs over the same trace.

use super::{SkipSource, StepSkips, TraceError};
use crate::units::Bytes;
use crate::workload::tokens::{WORD_BITS, Word};
use std::sync::Arc;

/// All skip sets of a trace in memory, for several runs of it: generated or read once, streamed any
/// number of times.
#[derive(Clone, Debug)]
pub struct StoredSkips {
    /// By step and layer: the words of the context, without what lies beyond.
    words: Vec<Word>,
    /// By step and layer.
    counts: Vec<u32>,
    layers: usize,
    prefill: usize,
    decode: usize,
}

impl StoredSkips {
    /// The memory that the skip sets of so many layers and steps take.
    #[must_use]
    pub fn bytes(layers: usize, prefill: usize, decode: usize) -> Bytes {
        let a_word = (WORD_BITS / 8) as u64;
        let words: u64 = (0..decode).map(|step| words_of(prefill + step) as u64).sum();
        Bytes::new(layers as u64 * (words * a_word + decode as u64 * 4))
    }

    /// Takes `decode` steps from `source`.
    ///
    /// # Errors
    /// [`TraceError`] of the source.
    pub fn of(source: &mut dyn SkipSource, layers: usize, prefill: usize, decode: usize) -> Result<Self, TraceError> {
        let words = layers * (prefill..prefill + decode).map(words_of).sum::<usize>();
        let mut stored = Self {
            words: Vec::with_capacity(words),
            counts: Vec::with_capacity(layers * decode),
            layers,
            prefill,
            decode,
        };
        let mut step = StepSkips::none(layers, prefill + decode);
        for context in prefill..prefill + decode {
            source.next_step(context, &mut step)?;
            for (set, &count) in step.sets.iter().zip(&step.counts) {
                stored.words.extend_from_slice(&set.words()[..words_of(context)]);
                stored.counts.push(count as u32);
            }
        }
        Ok(stored)
    }

    /// The steps from the first on.
    #[must_use]
    pub fn stream(self: &Arc<Self>) -> Box<dyn SkipSource + Send> {
        Box::new(Stream { stored: Arc::clone(self), step: 0, word: 0 })
    }
}

fn words_of(context: usize) -> usize {
    context.div_ceil(WORD_BITS)
}

struct Stream {
    stored: Arc<StoredSkips>,
    step: usize,
    /// The first word of the step.
    word: usize,
}

impl SkipSource for Stream {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let stored = &*self.stored;
        assert!(self.step < stored.decode && context == stored.prefill + self.step, "runs take the steps in order");
        let words = words_of(context);
        let counts = &stored.counts[self.step * stored.layers..];
        for ((set, count), stored_count) in skips.sets.iter_mut().zip(&mut skips.counts).zip(counts) {
            let (here, beyond) = set.words_mut().split_at_mut(words);
            here.copy_from_slice(&stored.words[self.word..self.word + words]);
            beyond.fill(0);
            *count = *stored_count as usize;
            self.word += words;
        }
        self.step += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::{Generator, GeneratorConfig};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_what_its_source_made_up(
            layers in 1usize..4, prefill in 0usize..200, decode in 1usize..40, skip in 0u32..=1000, seed: u64,
        ) {
            let config = GeneratorConfig { skip: Ratio::from_permille(skip).unwrap(), seed, ..GeneratorConfig::default() };
            let source = || Generator::new(config.clone(), layers, prefill + decode);
            let stored = StoredSkips::of(&mut source(), layers, prefill, decode).unwrap();
            let bytes = stored.words.capacity() * (WORD_BITS / 8) + stored.counts.capacity() * 4;
            prop_assert_eq!(bytes as u64, StoredSkips::bytes(layers, prefill, decode).get());
            let stored = Arc::new(stored);
            for _ in 0..2 {
                let (mut stream, mut twin) = (stored.stream(), source());
                let mut streamed = StepSkips::none(layers, prefill + decode);
                // What was there before is no matter.
                streamed.sets[0].extend(0..prefill + decode);
                let mut expected = StepSkips::none(layers, prefill + decode);
                for context in prefill..prefill + decode {
                    stream.next_step(context, &mut streamed).unwrap();
                    twin.next_step(context, &mut expected).unwrap();
                    prop_assert_eq!(&streamed.sets, &expected.sets);
                    prop_assert_eq!(&streamed.counts, &expected.counts);
                }
            }
        }
    }
}
