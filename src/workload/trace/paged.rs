//! Skip sets of whole pages: the unit of selection is an aligned page of tokens.
//!
//! Sparse attention that selects pages by a digest of each reads all tokens of a page or none. A
//! source of single tokens does not behave like that: at 87.5 % skipped tokens, a page of 16 has a
//! token that is read in 88 % of all cases. [`Paged`] lets a source choose among pages, as if each
//! were a token, and writes out the tokens of those that it skips. The newest page is read while it
//! is not full.

use super::{SkipSource, StepSkips, TraceError};
use crate::workload::TokenSet;

/// A source whose tokens are pages of `page` tokens.
pub(super) struct Paged<S> {
    of_pages: S,
    page: usize,
    pages: StepSkips,
}

impl<S: SkipSource> Paged<S> {
    /// The pages that `of_pages` skips, for `layers` layers of up to `range` tokens.
    pub fn new(of_pages: S, page: usize, layers: usize, range: usize) -> Self {
        Self { of_pages, page, pages: StepSkips::none(layers, (range / page).max(1)) }
    }
}

impl<S: SkipSource> SkipSource for Paged<S> {
    /// O(context / 64) words and a write for each run of skipped pages, in each layer.
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        self.of_pages.next_step(context / self.page, &mut self.pages)?;
        let pages = self.pages.sets.iter().zip(&self.pages.counts);
        for ((set, count), (pages, skipped)) in skips.sets.iter_mut().zip(&mut skips.counts).zip(pages) {
            set.clear();
            for_each_run(pages, |start, end| set.insert_all(start * self.page..end * self.page));
            *count = skipped * self.page;
        }
        Ok(())
    }
}

/// Calls `run` with the first index of each run of the set's elements, and the one past its last.
fn for_each_run(set: &TokenSet, mut run: impl FnMut(usize, usize)) {
    let mut open: Option<(usize, usize)> = None;
    for index in set.iter() {
        open = match open {
            Some((start, end)) if end == index => Some((start, index + 1)),
            _ => {
                if let Some((start, end)) = open {
                    run(start, end);
                }
                Some((index, index + 1))
            }
        };
    }
    if let Some((start, end)) = open {
        run(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GeneratorConfig, TraceConfig};
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    proptest! {
        #[test]
        fn tokens_are_skipped_page_by_page(
            prefill in 1usize..300, decode in 1usize..60, page in 1u32..20, seed: u64, skip in 0u32..1000, sinks in 0u32..20,
            recent in 0u32..20,
        ) {
            let config = GeneratorConfig {
                skip: crate::units::Ratio::from_permille(skip).unwrap(),
                churn: "0.3".parse().unwrap(),
                seed,
                sinks,
                recent,
                page_tokens: NonZeroU32::new(page),
                ..GeneratorConfig::default()
            };
            let source = TraceConfig::Generated(config.clone()).synthetic(2, prefill, decode);
            prop_assume!(source.is_ok());
            let (mut source, mut skips) = (source.unwrap().unwrap(), StepSkips::none(2, prefill + decode));
            let page = page as usize;
            for context in prefill..prefill + decode {
                source.next_step(context, &mut skips).unwrap();
                let pages = context / page;
                for (set, count) in skips.sets.iter().zip(&skips.counts) {
                    let skipped = |page_index: usize| (0..page).filter(|at| set.contains(page_index * page + at)).count();
                    prop_assert!((0..pages).all(|index| [0, page].contains(&skipped(index))));
                    prop_assert_eq!(*count, config.skip.floor_of(pages as u64) as usize * page);
                    prop_assert_eq!(set.count(), *count);
                    // What is not a whole page is read, and so are the sinks and the newest tokens.
                    prop_assert!((pages * page..context).all(|token| !set.contains(token)));
                    let kept = (0..sinks as usize).chain(context.saturating_sub(recent as usize)..context);
                    prop_assert!(kept.filter(|token| *token < context).all(|token| !set.contains(token)));
                }
            }
        }
    }

    /// Pages of one token are tokens.
    #[test]
    fn pages_of_one_token_are_the_tokens_of_the_generator() {
        let config =
            GeneratorConfig { skip: "0.5".parse().unwrap(), churn: "0.2".parse().unwrap(), ..Default::default() };
        let paged = GeneratorConfig { page_tokens: NonZeroU32::new(1), ..config.clone() };
        let steps = |config: GeneratorConfig| {
            let mut source = TraceConfig::Generated(config).synthetic(2, 100, 20).unwrap().unwrap();
            let mut skips = StepSkips::none(2, 120);
            let step = |context| {
                source.next_step(context, &mut skips).unwrap();
                skips.sets.iter().map(|set| set.iter().collect()).collect::<Vec<Vec<usize>>>()
            };
            (100..120).map(step).collect::<Vec<_>>()
        };
        assert_eq!(steps(config), steps(paged));
    }
}
