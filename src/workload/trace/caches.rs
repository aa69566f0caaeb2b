//! How often a cache of KV misses: what a layer's attention reads of tokens that are not in a cache
//! in the fast memory, by the cache's size and by what it evicts.
//!
//! Each layer has a cache of its own. A step reads its tokens; those that the cache lacks are its
//! misses, and enter it. The KV of the step's new token is written into the cache as well. If there
//! is then more in it than it has room for, it evicts: the tokens that entered first
//! ([`Policy::Fifo`]), that were last read longest ago ([`Policy::Lru`]), or that are read again
//! last ([`Policy::Belady`], which knows the future: no cache misses less).
//!
//! A trace costs O(reads) for each policy and size, and 8 bytes of memory for each token that a
//! step reads in a layer.

use super::{SkipSource, StepSkips, TraceError};
use crate::workload::tokens::WORD_BITS;
use std::collections::VecDeque;

/// The sizes of caches: so many times what the first step reads, the k of top-k attention.
pub const CACHE_ROOMS: [usize; 3] = [1, 2, 4];

/// What a cache evicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// What entered first.
    Fifo,
    /// What was last read longest ago.
    Lru,
    /// What is read again last.
    Belady,
}

impl Policy {
    /// Each with its name.
    pub const ALL: [(&str, Self); 3] = [("FIFO", Self::Fifo), ("LRU", Self::Lru), ("Belady", Self::Belady)];
}

/// How often the caches of one layer miss.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMisses {
    /// How many tokens the first step reads.
    pub reads: usize,
    /// The share of the tokens read that were not read in the step before.
    pub new: f64,
    /// The share of the tokens read that are not in the cache, by [`Policy::ALL`], then
    /// [`CACHE_ROOMS`].
    pub misses: [[f64; CACHE_ROOMS.len()]; Policy::ALL.len()],
}

/// How often caches of KV miss, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheMisses {
    /// Of each layer.
    pub layers: Vec<LayerMisses>,
    /// The steps before this one fill the caches and do not count.
    pub warm: usize,
}

impl CacheMisses {
    /// So many steps do not count, if the trace has twice as many.
    pub const WARM_UP: usize = 64;
    /// The most tokens read, over all steps and layers, of a trace that is measured.
    pub const MAX_READS: u64 = 1 << 28;

    /// Measures `steps` steps of `source`. `None` if they read more tokens than are looked at, or
    /// more than half of the context, where caches of several times that say nothing.
    ///
    /// # Errors
    /// [`TraceError`] where the trace cannot be read.
    pub fn measure(
        source: &mut dyn SkipSource,
        layers: usize,
        prefill: usize,
        steps: usize,
    ) -> Result<Option<Self>, TraceError> {
        let mut reads = vec![LayerReads { prefill, tokens: Vec::new(), ends: Vec::with_capacity(steps) }; layers];
        let mut skips = StepSkips::none(layers, prefill + steps);
        let (mut read, mut all) = (0u64, 0u64);
        if steps == 0 {
            return Ok(None);
        }
        for step in 0..steps {
            let context = prefill + step;
            source.next_step(context, &mut skips)?;
            read += skips.counts.iter().map(|count| (context - count) as u64).sum::<u64>();
            all += (context * layers) as u64;
            if read > Self::MAX_READS || (step == 0 && 2 * read > all) {
                return Ok(None);
            }
            for (reads, set) in reads.iter_mut().zip(&skips.sets) {
                for (index, word) in set.words()[..context.div_ceil(WORD_BITS)].iter().enumerate() {
                    let mut read = !word;
                    while read != 0 {
                        let token = index * WORD_BITS + read.trailing_zeros() as usize;
                        if token < context {
                            reads.tokens.push(token as u32);
                        }
                        read &= read - 1;
                    }
                }
                reads.ends.push(reads.tokens.len());
            }
        }
        if 2 * read > all {
            return Ok(None);
        }
        let warm = if steps >= 2 * Self::WARM_UP { Self::WARM_UP } else { steps / 2 };
        Ok(Some(Self { layers: reads.iter().map(|reads| reads.measured(warm)).collect(), warm }))
    }

    /// The mean of a figure over the layers.
    #[must_use]
    pub fn mean(&self, figure: impl Fn(&LayerMisses) -> f64) -> f64 {
        self.layers.iter().map(figure).sum::<f64>() / self.layers.len().max(1) as f64
    }
}

/// The tokens that a layer reads, step by step, in order.
#[derive(Clone)]
struct LayerReads {
    prefill: usize,
    tokens: Vec<u32>,
    ends: Vec<usize>,
}

impl LayerReads {
    fn steps(&self) -> usize {
        self.ends.len()
    }

    fn of_step(&self, step: usize) -> std::ops::Range<usize> {
        let start = if step == 0 { 0 } else { self.ends[step - 1] };
        start..self.ends[step]
    }

    /// Of at least one step.
    fn measured(&self, warm: usize) -> LayerMisses {
        let reads = self.of_step(0).len();
        let next = self.next_reads();
        let misses = Policy::ALL.map(|(_, policy)| {
            CACHE_ROOMS.map(|room| {
                let room = reads * room;
                let missed = match policy {
                    Policy::Fifo => self.queued(room, false),
                    Policy::Lru => self.queued(room, true),
                    Policy::Belady => self.foreseen(room, &next),
                };
                self.share(&missed, warm)
            })
        });
        LayerMisses { reads, new: self.share(&self.newly_read(), 1), misses }
    }

    /// The mean share of the reads that miss, from a step on.
    fn share(&self, missed: &[u32], from: usize) -> f64 {
        let steps = (from..self.steps()).map(|step| (missed[step], self.of_step(step).len()));
        let shares = steps.map(|(missed, reads)| f64::from(missed) / (reads as f64).max(1.0));
        shares.sum::<f64>() / (self.steps().saturating_sub(from)).max(1) as f64
    }

    /// How many tokens each step reads that the step before did not.
    fn newly_read(&self) -> Vec<u32> {
        let mut last = vec![usize::MAX; self.prefill + self.steps()];
        let of_step = |step: usize| {
            let mut new = 0;
            for token in &self.tokens[self.of_step(step)] {
                let last = &mut last[*token as usize];
                new += u32::from(step == 0 || *last != step - 1);
                *last = step;
            }
            new
        };
        (0..self.steps()).map(of_step).collect()
    }

    /// The misses of each step where what entered, or was read, first leaves first: a queue in that
    /// order. Of the tokens of one step the lowest leave first.
    fn queued(&self, room: usize, by_reads: bool) -> Vec<u32> {
        let mut queue: VecDeque<(u32, u32)> = VecDeque::new();
        // When a token was queued last: the entries before are stale.
        let mut queued = vec![0u32; self.prefill + self.steps()];
        let mut held = vec![false; self.prefill + self.steps()];
        let mut count = 0;
        let of_step = |step: usize| {
            let mut missed = 0;
            let written = (self.prefill + step) as u32;
            for token in self.tokens[self.of_step(step)].iter().copied().chain([written]) {
                let enters = !std::mem::replace(&mut held[token as usize], true);
                count += usize::from(enters);
                missed += u32::from(enters && token != written);
                if enters || by_reads {
                    queued[token as usize] = step as u32;
                    queue.push_back((token, step as u32));
                }
            }
            while count > room {
                let Some((token, at)) = queue.pop_front() else { break };
                if queued[token as usize] == at && held[token as usize] {
                    held[token as usize] = false;
                    count -= 1;
                }
            }
            missed
        };
        (0..self.steps()).map(of_step).collect()
    }

    /// The step in which each read's token is read next, and the one in which the token that each
    /// step writes is read first; the number of steps where never.
    fn next_reads(&self) -> (Vec<u32>, Vec<u32>) {
        let never = self.steps() as u32;
        let mut next = vec![never; self.prefill + self.steps()];
        let mut reads = vec![0; self.tokens.len()];
        let mut written = vec![never; self.steps()];
        for step in (0..self.steps()).rev() {
            written[step] = next[self.prefill + step];
            for at in self.of_step(step) {
                let next = &mut next[self.tokens[at] as usize];
                reads[at] = *next;
                *next = step as u32;
            }
        }
        (reads, written)
    }

    /// The misses of each step where what is read again last leaves first. A token that is held is
    /// in the list of the step that reads it next.
    fn foreseen(&self, room: usize, (next, written): &(Vec<u32>, Vec<u32>)) -> Vec<u32> {
        let mut due: Vec<Vec<u32>> = vec![Vec::new(); self.steps() + 1];
        let mut held = vec![false; self.prefill + self.steps()];
        let (mut count, mut last) = (0, 0);
        let of_step = |step: usize| {
            let mut missed = 0;
            for at in self.of_step(step) {
                let token = self.tokens[at];
                let enters = !std::mem::replace(&mut held[token as usize], true);
                count += usize::from(enters);
                missed += u32::from(enters);
                due[next[at] as usize].push(token);
                last = last.max(next[at] as usize);
            }
            held[self.prefill + step] = true;
            count += 1;
            due[written[step] as usize].push((self.prefill + step) as u32);
            last = last.max(written[step] as usize);
            while count > room && last > step {
                match due[last].pop() {
                    Some(token) => {
                        held[token as usize] = false;
                        count -= 1;
                    }
                    None => last -= 1,
                }
            }
            missed
        };
        (0..self.steps()).map(of_step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The twin: a set of tokens, of which the ones with the least keys are evicted by sorting.
    fn twin(reads: &LayerReads, room: usize, policy: Policy) -> Vec<u32> {
        let sets: Vec<BTreeSet<u32>> =
            (0..reads.steps()).map(|step| reads.tokens[reads.of_step(step)].iter().copied().collect()).collect();
        let mut cache: BTreeSet<u32> = BTreeSet::new();
        let (mut last, mut born) = (BTreeMap::new(), BTreeMap::new());
        let mut missed = Vec::new();
        for (step, set) in sets.iter().enumerate() {
            let misses: Vec<u32> = set.difference(&cache).copied().collect();
            missed.push(misses.len() as u32);
            let written = (reads.prefill + step) as u32;
            born.extend(misses.iter().chain([&written]).map(|token| (*token, step)));
            last.extend(set.iter().chain([&written]).map(|token| (*token, step)));
            cache.extend(set.iter().chain([&written]));
            let next = |token: u32| {
                (step + 1..sets.len()).find(|later| sets[*later].contains(&token)).map_or(0, |later| sets.len() - later)
            };
            let mut order: Vec<(usize, u32)> = cache
                .iter()
                .map(|token| match policy {
                    Policy::Fifo => (born[token], *token),
                    Policy::Lru => (last[token], *token),
                    Policy::Belady => (next(*token), *token),
                })
                .collect();
            order.sort_unstable();
            let evicted: BTreeSet<u32> = order.iter().take(cache.len().saturating_sub(room)).map(|it| it.1).collect();
            cache.retain(|token| !evicted.contains(token));
        }
        missed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn misses_are_those_counted_token_by_token(
            prefill in 0usize..20, rows in prop::collection::vec(prop::collection::vec(0u32..1000, 0..12), 1..30),
            room in 0usize..20,
        ) {
            let mut reads = LayerReads { prefill, tokens: Vec::new(), ends: Vec::new() };
            for (step, row) in rows.iter().enumerate() {
                let context = (prefill + step) as u32;
                let set: BTreeSet<u32> = row.iter().filter(|_| context > 0).map(|it| it % context.max(1)).collect();
                reads.tokens.extend(set);
                reads.ends.push(reads.tokens.len());
            }
            let next = reads.next_reads();
            let fifo = reads.queued(room, false);
            let lru = reads.queued(room, true);
            let belady = reads.foreseen(room, &next);
            prop_assert_eq!(&fifo, &twin(&reads, room, Policy::Fifo));
            prop_assert_eq!(&lru, &twin(&reads, room, Policy::Lru));
            prop_assert_eq!(&belady, &twin(&reads, room, Policy::Belady));
            let all = |missed: &[u32]| missed.iter().sum::<u32>();
            prop_assert!(all(&belady) <= all(&fifo) && all(&belady) <= all(&lru));
        }
    }

    /// By hand: three tokens in turn in a cache of two. LRU and FIFO never hold the one that comes
    /// next; Belady keeps one of the two.
    #[test]
    fn three_tokens_in_turn_never_hit_in_two_places() {
        // Each step writes a token too: 3, 4, ..., which is never read.
        let tokens: Vec<u32> = (0..12).map(|step| step % 3).collect();
        let reads = LayerReads { prefill: 3, tokens, ends: (1..=12).collect() };
        assert_eq!(reads.queued(2, true).iter().sum::<u32>(), 12);
        assert_eq!(reads.queued(2, false).iter().sum::<u32>(), 12);
        let missed = reads.foreseen(2, &reads.next_reads());
        assert_eq!(missed[..4], [1, 1, 1, 0]);
        assert_eq!(missed.iter().sum::<u32>(), 6);
    }
}
