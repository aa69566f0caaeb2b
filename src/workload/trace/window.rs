//! The skip sets that a run sees at a time: those of the present step and of as many later ones as
//! its strategy may look ahead.
//!
//! Two things keep a token's KV from being read: sparse attention skips it, or it has left the
//! window of its layer's attention. Whoever reads the sets asks only whether a page is read, so the
//! sets hold both; what has left the window is counted besides ([`Skipped::gone`]), for those who
//! ask how much of the KV that is still there is skipped.

use super::{SkipSource, StepSkips, TraceError};
use crate::units::{Page, PageSize, RegionId};
use crate::workload::TokenSet;
use std::collections::VecDeque;

/// The skip sets of the present step and of the next few: all of a trace that is in memory at a
/// time. They are by KV region: layer by layer of each sequence.
///
/// The sets are of pages. A page is skipped if all its tokens are; where a page holds one token, a
/// page is a token. Tokens that have left a region's attention window count as skipped, whatever
/// the source says of them.
pub struct TraceWindow {
    source: Box<dyn SkipSource + Send>,
    /// How many tokens the attention of each region sees; empty where all see all.
    sliding: Vec<usize>,
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
    /// How many tokens are skipped in it, by region.
    skipped_tokens: Vec<usize>,
    /// How many of the skipped pages have left the attention window, by region.
    gone: Vec<usize>,
}

/// What a step skips of one KV region.
#[derive(Clone, Copy, Debug)]
pub struct Skipped<'a> {
    /// The skipped pages.
    pub pages: &'a TokenSet,
    /// How many they are.
    pub count: usize,
    /// How many of them have left the attention window: the pages before this one.
    pub gone: usize,
}

impl<'a> Skipped<'a> {
    /// The skipped pages, if there are any.
    #[must_use]
    pub fn set(&self) -> Option<&'a TokenSet> {
        (self.count > 0).then_some(self.pages)
    }

    /// How many of the pages that the attention window overlaps are skipped.
    #[must_use]
    pub fn live(&self) -> usize {
        self.count - self.gone
    }
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
        Self::sliding(source, shape, Vec::new(), look_ahead)
    }

    /// As [`new`](Self::new), where the attention of region r sees only the last `sliding[r]`
    /// tokens of the context; of regions past its end, all.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps cannot be had.
    pub fn sliding(
        source: Box<dyn SkipSource + Send>,
        shape: Shape,
        mut sliding: Vec<usize>,
        look_ahead: usize,
    ) -> Result<Self, TraceError> {
        let Shape { layers, prefill, decode, page_size } = shape;
        if sliding.iter().all(|tokens| *tokens >= prefill + decode) {
            sliding.clear();
        }
        let shown = look_ahead.saturating_add(1).min(decode);
        let empty = || Shown {
            skips: StepSkips::none(layers, shape.range()),
            skipped_tokens: vec![0; layers],
            gone: vec![0; layers],
        };
        let mut window = Self {
            source,
            sliding,
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
        let (shown, region) = (self.steps.get(ahead)?, region.index());
        let StepSkips { sets, counts } = &shown.skips;
        Some(Skipped { pages: &sets[region], count: counts[region], gone: shown.gone[region] })
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
                shown.skips.pass_by(&self.sliding, context);
                shown.skipped_tokens.copy_from_slice(&shown.skips.counts);
            }
            Some(tokens) => {
                self.source.next_step(context, tokens)?;
                tokens.pass_by(&self.sliding, context);
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
        for (gone, tokens) in shown.gone.iter_mut().zip(&self.sliding) {
            *gone = context.saturating_sub(*tokens) / self.page_size.tokens();
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
            look_ahead in 0usize..3, sliding in prop::collection::vec(1usize..250, 0..3),
        ) {
            let config = GeneratorConfig {
                skip: crate::units::Ratio::from_permille(skip).unwrap(),
                churn: "0.1".parse().unwrap(),
                seed,
                ..GeneratorConfig::default()
            };
            let shape = Shape { layers: 2, prefill, decode, page_size: PageSize::new(page_tokens as u32).unwrap() };
            let source = || Generator::new(config.clone(), 2, prefill + decode);
            let mut window = TraceWindow::sliding(Box::new(source()), shape, sliding.clone(), look_ahead).unwrap();
            let mut tokens = StepSkips::none(2, prefill + decode);
            let mut twin = source();
            for step in 0..decode {
                let context = prefill + step;
                twin.next_step(context, &mut tokens).unwrap();
                let pages = window.step(0).unwrap();
                for layer in 0..2 {
                    // Token by token: what has left the window is not read, nor what is skipped.
                    let is_gone = |token: usize| sliding.get(layer).is_some_and(|window| token + window < context);
                    let is_skipped = |token: &usize| is_gone(*token) || tokens.sets[layer].contains(*token);
                    let of_page = |page: usize| (0..context).filter(move |token| token / page_tokens == page);
                    let skipped: Vec<usize> =
                        (0..shape.pages(context)).filter(|page| of_page(*page).all(|token| is_skipped(&token))).collect();
                    prop_assert_eq!(pages.sets[layer].iter().collect::<Vec<_>>(), &skipped[..]);
                    prop_assert_eq!(pages.counts[layer], skipped.len());
                    let region = RegionId::new(layer);
                    prop_assert_eq!(window.skipped_tokens(region), (0..context).filter(is_skipped).count());
                    let gone = (0..shape.pages(context)).take_while(|page| of_page(*page).all(is_gone)).count();
                    prop_assert_eq!(window.skipped(0, region).unwrap().gone, gone);
                }
                window.advance().unwrap();
            }
            prop_assert!(window.step(0).is_none());
        }
    }
}
