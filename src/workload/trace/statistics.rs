//! What skip sets are like: the figures in which real attention and a generator differ, by step and
//! on average.
//!
//! `tiersim trace info` prints them, and [`Fit`](super::Fit) moves a generator towards them. A step
//! costs O(context / 64) words for each layer and lag.

use super::{SkipSource, StepSkips, TraceError};
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word};
use std::collections::VecDeque;

/// How many tokens a page has in [`StepStatistics::skipped_pages`].
pub const PAGE_TOKENS: usize = 16;
/// At which distances in steps sets are compared.
pub const LAGS: [usize; 3] = [1, 8, 64];
/// How many classes of age [`TraceStatistics::skipped_by_age`] may have: enough for the longest
/// context.
const AGES: usize = 26;

/// What skip sets are like: what differs between real attention and a generator. All are means over
/// layers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepStatistics {
    /// Skipped tokens over the context.
    pub skip: f64,
    /// The share of the tokens skipped in the step before that are read in this one.
    pub churn: Option<f64>,
    /// The share of the tokens before the last step that change from read to skipped or the
    /// reverse.
    pub changed: Option<f64>,
    /// Jaccard index with the set of the same layer so many steps before, for each of [`LAGS`].
    pub jaccard: [Option<f64>; LAGS.len()],
    /// Jaccard index of the sets of adjacent layers.
    pub layer_jaccard: Option<f64>,
    /// The mean length of a run of skipped tokens.
    pub skipped_run: Option<f64>,
    /// The mean length of a run of read tokens.
    pub read_run: Option<f64>,
    /// The share of whole aligned pages of [`PAGE_TOKENS`] that are skipped altogether.
    pub skipped_pages: Option<f64>,
}

/// The statistics of a whole trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceStatistics {
    /// How many layers.
    pub layers: usize,
    /// The tokens before step 0.
    pub prefill: usize,
    /// Of each step.
    pub steps: Vec<StepStatistics>,
    /// Each statistic's mean over the steps that have it.
    pub mean: StepStatistics,
    /// The share of tokens skipped by age, over all steps and layers: entry i is of the ages from
    /// 2^i - 1 to 2^(i+1) - 2, where the newest token's age is 0. Only ages that occur.
    pub skipped_by_age: Vec<f64>,
    /// The share of steps and layers in which each of the first tokens is skipped, of those of the
    /// first 16 that are there from step 0 on.
    pub skipped_first: Vec<f64>,
}

impl TraceStatistics {
    /// Measures `steps` steps of `source`. Holds no more sets than the longest lag has steps.
    ///
    /// # Errors
    /// [`TraceError`] where the trace cannot be read.
    pub fn measure(
        source: &mut dyn SkipSource,
        layers: usize,
        prefill: usize,
        steps: usize,
    ) -> Result<Self, TraceError> {
        let range = prefill + steps;
        let longest = LAGS[LAGS.len() - 1];
        // The newest first.
        let mut history: VecDeque<StepSkips> = VecDeque::with_capacity(longest + 1);
        let mut of_steps = Vec::with_capacity(steps);
        let (mut skipped_at, mut tokens_at) = ([0u64; AGES], [0u64; AGES]);
        let mut skipped_first = vec![0u64; prefill.min(16)];
        for step in 0..steps {
            let context = prefill + step;
            let recycled = if history.len() > longest { history.pop_back() } else { None };
            let mut now = recycled.unwrap_or_else(|| StepSkips::none(layers, range));
            source.next_step(context, &mut now)?;
            of_steps.push(of_step(&now, &history, context));
            for set in &now.sets {
                for (age, (skipped, tokens)) in skipped_at.iter_mut().zip(&mut tokens_at).enumerate() {
                    let newest = context.saturating_sub((1 << age) - 1);
                    let oldest = context.saturating_sub((1 << (age + 1)) - 1);
                    *skipped += count_between(set.words(), oldest, newest) as u64;
                    *tokens += (newest - oldest) as u64;
                }
                for (token, skipped) in skipped_first.iter_mut().enumerate() {
                    *skipped += u64::from(set.contains(token));
                }
            }
            history.push_front(now);
        }
        let rows = (steps * layers) as f64;
        let ages = skipped_at.iter().zip(&tokens_at).take_while(|(_, tokens)| **tokens > 0);
        Ok(Self {
            layers,
            prefill,
            mean: mean(&of_steps),
            steps: of_steps,
            skipped_by_age: ages.map(|(skipped, tokens)| *skipped as f64 / *tokens as f64).collect(),
            skipped_first: skipped_first.into_iter().map(|skipped| skipped as f64 / rows).collect(),
        })
    }
}

fn of_step(now: &StepSkips, history: &VecDeque<StepSkips>, context: usize) -> StepStatistics {
    let over_layers = |of_layer: &dyn Fn(usize) -> Option<f64>| average((0..now.sets.len()).filter_map(of_layer));
    let before = history.front();
    StepStatistics {
        skip: over_layers(&|layer| share(now.counts[layer], context)).unwrap_or(0.0),
        churn: before.and_then(|before| {
            over_layers(&|layer| share(before.sets[layer].count_without(&now.sets[layer]), before.counts[layer]))
        }),
        changed: before.and_then(|before| {
            over_layers(&|layer| {
                let left = before.sets[layer].count_without(&now.sets[layer]);
                let came = now.sets[layer].count_without(&before.sets[layer]);
                // The newest token was not there before, so it has not changed.
                let new = usize::from(now.sets[layer].contains(context - 1));
                share(left + came - new, context - 1)
            })
        }),
        jaccard: LAGS.map(|lag| {
            history.get(lag - 1).and_then(|before| {
                over_layers(&|layer| {
                    let (before_set, set) = (&before.sets[layer], &now.sets[layer]);
                    jaccard(before_set, before.counts[layer], set, now.counts[layer])
                })
            })
        }),
        layer_jaccard: average((1..now.sets.len()).filter_map(|layer| {
            jaccard(&now.sets[layer - 1], now.counts[layer - 1], &now.sets[layer], now.counts[layer])
        })),
        skipped_run: over_layers(&|layer| share(now.counts[layer], runs(now.sets[layer].words(), context).skipped)),
        read_run: over_layers(&|layer| share(context - now.counts[layer], runs(now.sets[layer].words(), context).read)),
        skipped_pages: over_layers(&|layer| share(full_pages(now.sets[layer].words()), context / PAGE_TOKENS)),
    }
}

fn mean(steps: &[StepStatistics]) -> StepStatistics {
    let over = |of_step: &dyn Fn(&StepStatistics) -> Option<f64>| average(steps.iter().filter_map(of_step));
    StepStatistics {
        skip: over(&|step| Some(step.skip)).unwrap_or(0.0),
        churn: over(&|step| step.churn),
        changed: over(&|step| step.changed),
        jaccard: std::array::from_fn(|lag| over(&|step| step.jaccard[lag])),
        layer_jaccard: over(&|step| step.layer_jaccard),
        skipped_run: over(&|step| step.skipped_run),
        read_run: over(&|step| step.read_run),
        skipped_pages: over(&|step| step.skipped_pages),
    }
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn share(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// Shared tokens over all tokens of two sets; `None` where both are empty.
fn jaccard(a: &TokenSet, count_a: usize, b: &TokenSet, count_b: usize) -> Option<f64> {
    let shared = count_a - a.count_without(b);
    share(shared, count_a + count_b - shared)
}

/// How many runs of skipped and of read tokens there are.
struct Runs {
    skipped: usize,
    read: usize,
}

fn runs(words: &[Word], context: usize) -> Runs {
    let mut skipped = 0;
    let mut carried = 0;
    for word in words {
        skipped += (word & !(word << 1 | carried)).count_ones() as usize;
        carried = word >> (WORD_BITS - 1);
    }
    let contains = |token: usize| words[token / WORD_BITS] >> (token % WORD_BITS) & 1 != 0;
    // Runs take turns, so there is one more or one less of read ones where both ends are alike.
    let read = match (context > 0 && contains(0), context > 0 && contains(context - 1)) {
        _ if context == 0 => 0,
        (true, true) => skipped - 1,
        (false, false) => skipped + 1,
        _ => skipped,
    };
    Runs { skipped, read }
}

/// How many aligned pages are wholly in the set.
fn full_pages(words: &[Word]) -> usize {
    const FIRST_OF_PAGE: Word = (0x0001_0001_0001_0001_u64) as Word;
    let mut pages = 0;
    for word in words {
        let mut full = word & word >> 8;
        full &= full >> 4;
        full &= full >> 2;
        full &= full >> 1;
        pages += (full & FIRST_OF_PAGE).count_ones() as usize;
    }
    pages
}

/// How many of the tokens from `from` to `to - 1` are in the set.
fn count_between(words: &[Word], from: usize, to: usize) -> usize {
    let below = |end: usize| (1 << (end % WORD_BITS)) - 1;
    if from >= to {
        return 0;
    }
    let (first, last) = (from / WORD_BITS, (to - 1) / WORD_BITS);
    let mut count = 0;
    for (index, word) in words[first..=last].iter().enumerate() {
        let mut word = *word;
        if index == 0 {
            word &= !below(from);
        }
        if first + index == last && !to.is_multiple_of(WORD_BITS) {
            word &= below(to);
        }
        count += word.count_ones() as usize;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays back sets.
    struct Steps(std::vec::IntoIter<StepSkips>);

    impl SkipSource for Steps {
        fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
            *skips = self.0.next().expect("as many steps as were made");
            Ok(())
        }
    }

    fn near(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a == b,
        }
    }

    /// The mean over layers, token by token.
    fn slow(rows: &[Vec<Vec<bool>>], step: usize) -> StepStatistics {
        let now = &rows[step];
        let layers = now.len();
        let context = now[0].len();
        let over = |f: &dyn Fn(usize) -> Option<f64>| average((0..layers).filter_map(f));
        let jaccard = |a: &[bool], b: &[bool]| {
            let has = |list: &[bool], token: usize| list.get(token).copied().unwrap_or(false);
            let both = (0..context).filter(|token| has(a, *token) && has(b, *token)).count();
            let any = (0..context).filter(|token| has(a, *token) || has(b, *token)).count();
            share(both, any)
        };
        let run = |wanted: bool| {
            over(&|layer| {
                let mut lengths = Vec::new();
                let mut length = 0;
                for state in now[layer].iter().copied().chain([!wanted]) {
                    if state == wanted {
                        length += 1;
                    } else if length > 0 {
                        lengths.push(length);
                        length = 0;
                    }
                }
                share(lengths.iter().sum(), lengths.len())
            })
        };
        let before = step.checked_sub(1).map(|step| &rows[step]);
        StepStatistics {
            skip: over(&|layer| share(now[layer].iter().filter(|skip| **skip).count(), context)).unwrap_or(0.0),
            churn: before.and_then(|before| {
                over(&|layer| {
                    let had: Vec<usize> = (0..context - 1).filter(|token| before[layer][*token]).collect();
                    share(had.iter().filter(|token| !now[layer][**token]).count(), had.len())
                })
            }),
            changed: before.and_then(|before| {
                over(&|layer| {
                    let pairs = before[layer].iter().zip(&now[layer]);
                    share(pairs.filter(|(a, b)| a != b).count(), context - 1)
                })
            }),
            jaccard: LAGS.map(|lag| {
                step.checked_sub(lag).and_then(|step| over(&|layer| jaccard(&rows[step][layer], &now[layer])))
            }),
            layer_jaccard: average((1..layers).filter_map(|layer| jaccard(&now[layer - 1], &now[layer]))),
            skipped_run: run(true),
            read_run: run(false),
            skipped_pages: over(&|layer| {
                let pages = now[layer].chunks_exact(PAGE_TOKENS);
                share(pages.clone().filter(|page| page.iter().all(|skip| *skip)).count(), pages.len())
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn statistics_are_those_counted_token_by_token(
            layers in 1usize..4, prefill in 0usize..150, steps in 1usize..80, density in 0u64..=16, seed: u64,
        ) {
            use rand_xoshiro::Xoshiro256PlusPlus;
            use rand_xoshiro::rand_core::{Rng, SeedableRng};
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let rows: Vec<Vec<Vec<bool>>> = (0..steps)
                .map(|step| {
                    (0..layers).map(|_| (0..prefill + step).map(|_| random.next_u64() % 16 < density).collect()).collect()
                })
                .collect();
            let made: Vec<StepSkips> = rows
                .iter()
                .map(|step| {
                    let mut skips = StepSkips::none(layers, prefill + steps);
                    for (layer, row) in step.iter().enumerate() {
                        skips.sets[layer].extend(row.iter().enumerate().filter(|(_, skip)| **skip).map(|(token, _)| token));
                        skips.counts[layer] = skips.sets[layer].count();
                    }
                    skips
                })
                .collect();
            let found = TraceStatistics::measure(&mut Steps(made.into_iter()), layers, prefill, steps).unwrap();
            for (step, found) in found.steps.iter().enumerate() {
                let wanted = slow(&rows, step);
                prop_assert!(near(Some(found.skip), Some(wanted.skip)));
                for (a, b) in [
                    (found.churn, wanted.churn), (found.changed, wanted.changed),
                    (found.jaccard[0], wanted.jaccard[0]), (found.jaccard[1], wanted.jaccard[1]),
                    (found.jaccard[2], wanted.jaccard[2]), (found.layer_jaccard, wanted.layer_jaccard),
                    (found.skipped_run, wanted.skipped_run), (found.read_run, wanted.read_run),
                    (found.skipped_pages, wanted.skipped_pages),
                ] {
                    prop_assert!(near(a, b), "step {}: {:?} against {:?}", step, found, wanted);
                }
            }
            for (class, share) in found.skipped_by_age.iter().enumerate() {
                let mut counted = (0u64, 0u64);
                for row in rows.iter().flatten() {
                    for (token, skip) in row.iter().enumerate() {
                        let age = row.len() - 1 - token;
                        if (age + 1).ilog2() as usize == class {
                            counted = (counted.0 + u64::from(*skip), counted.1 + 1);
                        }
                    }
                }
                prop_assert!((counted.0 as f64 / counted.1 as f64 - share).abs() < 1e-12);
            }
        }
    }
}
