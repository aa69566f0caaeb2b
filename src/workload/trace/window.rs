//! The skip sets that a run sees at a time: those of the present step and of as many later ones as
//! its strategy may look ahead.

use super::{SkipSource, StepSkips, TraceError};
use crate::units::{Page, PageSize, RegionId};
use crate::workload::TokenSet;
use std::collections::VecDeque;

/// The skip sets of the present step and of the next few: all of a trace that is in memory at a
/// time. They are by KV region: layer by layer of each sequence.
///
/// The sets are of pages. A page is skipped if all its tokens are; where a page holds one token, a
/// page is a token.
pub struct TraceWindow {
    source: Box<dyn SkipSource + Send>,
    /// The present step first.
    steps: VecDeque<Shown>,
    prefill: usize,
    decode: usize,
    page_size: PageSize,
    /// Scratch space: a step in tokens, where pages hold several.
    tokens: Option<StepSkips>,
    /// How many steps were taken from the source.
    read: usize,
}

/// A step in the window.
struct Shown {
    skips: StepSkips,
    /// How many tokens the source skips in it, by layer.
    skipped_tokens: Vec<usize>,
}

/// What a step skips of one KV region.
#[derive(Clone, Copy, Debug)]
pub struct Skipped<'a> {
    /// The skipped pages.
    pub pages: &'a TokenSet,
    /// How many they are.
    pub count: usize,
}

/// What a window shows.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many layers there are.
    pub layers: usize,
    /// The tokens before step 0.
    pub prefill: usize,
    /// The steps.
    pub decode: usize,
    /// How many tokens make a page.
    pub page_size: PageSize,
}

impl Shape {
    /// How many pages hold `tokens` tokens.
    #[must_use]
    pub fn pages(&self, tokens: usize) -> usize {
        self.page_size.pages(tokens)
    }

    /// How many pages there can be.
    #[must_use]
    pub fn range(&self) -> usize {
        self.pages(self.prefill + self.decode)
    }
}

impl TraceWindow {
    /// A window over the steps of `source` that shows the present step and `look_ahead` more.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps cannot be had.
    pub fn new(source: Box<dyn SkipSource + Send>, shape: Shape, look_ahead: usize) -> Result<Self, TraceError> {
        let Shape { layers, prefill, decode, page_size } = shape;
        let shown = look_ahead.saturating_add(1).min(decode);
        let empty = || Shown { skips: StepSkips::none(layers, shape.range()), skipped_tokens: vec![0; layers] };
        let mut window = Self {
            source,
            steps: VecDeque::with_capacity(shown),
            prefill,
            decode,
            page_size,
            tokens: (page_size != PageSize::TOKEN).then(|| StepSkips::none(layers, prefill + decode)),
            read: 0,
        };
        for _ in 0..shown {
            window.show_next(empty())?;
        }
        Ok(window)
    }

    /// The skip sets of the step `ahead` of the present one (0: the present), or `None` past the
    /// last step.
    #[must_use]
    pub fn step(&self, ahead: usize) -> Option<&StepSkips> {
        self.steps.get(ahead).map(|shown| &shown.skips)
    }

    /// What the step `ahead` of the present one skips of a KV region, or `None` past the last step.
    #[must_use]
    pub fn skipped(&self, ahead: usize, region: RegionId) -> Option<Skipped<'_>> {
        self.step(ahead).map(|step| Skipped { pages: &step.sets[region.index()], count: step.counts[region.index()] })
    }

    /// How many tokens of a KV region the present step skips, whatever their pages are.
    ///
    /// # Panics
    /// After the last step.
    #[must_use]
    pub fn skipped_tokens(&self, region: RegionId) -> usize {
        self.steps.front().expect("the window shows the present step").skipped_tokens[region.index()]
    }

    /// Moves on by one step.
    ///
    /// # Errors
    /// [`TraceError`] if the step that comes into view cannot be had.
    pub fn advance(&mut self) -> Result<(), TraceError> {
        let Some(gone) = self.steps.pop_front() else {
            return Ok(());
        };
        if self.read < self.decode { self.show_next(gone) } else { Ok(()) }
    }

    /// Takes the next step from the source into `shown`, at the end of the window.
    fn show_next(&mut self, mut shown: Shown) -> Result<(), TraceError> {
        let context = self.prefill + self.read;
        match &mut self.tokens {
            None => {
                self.source.next_step(context, &mut shown.skips)?;
                shown.skipped_tokens.copy_from_slice(&shown.skips.counts);
            }
            Some(tokens) => {
                self.source.next_step(context, tokens)?;
                shown.skipped_tokens.copy_from_slice(&tokens.counts);
                for (layer, set) in tokens.sets.iter().enumerate() {
                    let pages = &mut shown.skips.sets[layer];
                    pages.clear();
                    let all = Page::all(self.page_size.pages(context));
                    let skipped = all.filter(|page| set.contains_all(self.page_size.tokens_of(*page, context)));
                    pages.extend(skipped.map(Page::index));
                    shown.skips.counts[layer] = pages.count();
                }
            }
        }
        self.read += 1;
        self.steps.push_back(shown);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Generator, GeneratorConfig};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_page_is_skipped_if_all_its_tokens_are(
            prefill in 0usize..200, decode in 1usize..40, page_tokens in 1usize..70, skip in 0u32..=1000, seed: u64,
            look_ahead in 0usize..3,
        ) {
            let config = GeneratorConfig {
                skip: crate::units::Ratio::from_permille(skip).unwrap(),
                churn: "0.1".parse().unwrap(),
                seed,
                ..GeneratorConfig::default()
            };
            let shape = Shape { layers: 2, prefill, decode, page_size: PageSize::new(page_tokens as u32).unwrap() };
            let source = || Generator::new(config.clone(), 2, prefill + decode);
            let mut window = TraceWindow::new(Box::new(source()), shape, look_ahead).unwrap();
            let mut tokens = StepSkips::none(2, prefill + decode);
            let mut twin = source();
            for step in 0..decode {
                let context = prefill + step;
                twin.next_step(context, &mut tokens).unwrap();
                let pages = window.step(0).unwrap();
                for layer in 0..2 {
                    let skipped: Vec<usize> = (0..shape.pages(context))
                        .filter(|page| (0..context).filter(|token| token / page_tokens == *page).all(|token| tokens.sets[layer].contains(token)))
                        .collect();
                    prop_assert_eq!(pages.sets[layer].iter().collect::<Vec<_>>(), &skipped[..]);
                    prop_assert_eq!(pages.counts[layer], skipped.len());
                    prop_assert_eq!(window.skipped_tokens(RegionId::new(layer)), tokens.counts[layer]);
                }
                window.advance().unwrap();
            }
            prop_assert!(window.step(0).is_none());
        }
    }
}
