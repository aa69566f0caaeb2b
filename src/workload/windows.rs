//! The skip sets of all sequences of a run, each with a window of its own over its steps.

use super::trace::{Skipped, StepSkips, TraceError, TraceWindow};
use crate::units::{LayerId, PageSize, RegionId, SequenceId};
use crate::workload::{RoutingWindow, TokenSet};
use std::sync::Arc;

/// What a run sees of the skip sets of its sequences: for each those of the present step and of as
/// many later ones as a strategy may see, by KV region (layer by layer of each sequence); and where
/// experts are units, those that these steps leave unread, by layer, as if they were of one
/// sequence more.
///
/// A sequence whose prompt is being computed skips nothing; the step after the present one is then
/// the first that it decodes.
pub struct SkipWindows {
    /// How many KV regions a sequence has.
    layers: usize,
    sequences: Vec<SequenceWindow>,
    experts: Option<RoutingWindow>,
    /// The first region of experts; none where they are no units.
    first_expert: usize,
}

/// The window of one sequence.
struct SequenceWindow {
    /// Its decoding steps; `None` where nothing is ever skipped, nor leaves a window.
    trace: Option<TraceWindow>,
    /// Its prompt, while that is computed.
    prompt: Option<Prompt>,
    /// No page of its regions; one set for all sequences of that length.
    nothing: Arc<TokenSet>,
    /// How many steps it decodes, and how many of them are over.
    decode: usize,
    decoded: usize,
}

/// A prompt that is being computed.
struct Prompt {
    /// The pages that have left attention windows, where layers have any.
    gone: Option<StepSkips>,
    /// How many tokens have left them, and how many pages, by layer.
    tokens: Vec<usize>,
    pages: Vec<usize>,
}

impl SkipWindows {
    /// Windows over the steps of no sequence yet, each of so many layers.
    #[must_use]
    pub fn new(layers: usize) -> Self {
        Self { layers, sequences: Vec::new(), experts: None, first_expert: usize::MAX }
    }

    /// The window of a run whose KV regions are all in `trace`.
    #[must_use]
    pub fn of_one(trace: TraceWindow) -> Self {
        let mut windows = Self::new(usize::MAX);
        windows.push(Some(trace), 0, 0);
        windows
    }

    /// Adds the next sequence, of up to `range` pages, which decodes so many steps: `trace` is the
    /// window over them, or `None` where nothing is ever skipped.
    pub fn push(&mut self, trace: Option<TraceWindow>, range: usize, decode: usize) {
        let is_as_long = |nothing: &&Arc<TokenSet>| nothing.range() == range;
        let known = self.sequences.last().map(|last| &last.nothing).filter(is_as_long);
        let nothing = known.map_or_else(|| Arc::new(TokenSet::new(range)), Arc::clone);
        self.sequences.push(SequenceWindow { trace, prompt: None, nothing, decode, decoded: 0 });
    }

    /// Adds the window over the experts of each layer, when all sequences are there.
    pub fn set_experts(&mut self, experts: RoutingWindow) {
        self.first_expert = self.sequences.len() * self.layers;
        self.experts = Some(experts);
    }

    /// The present step is over, whatever it computed.
    ///
    /// # Errors
    /// [`TraceError`] if the step whose experts come into view cannot be had.
    pub fn end_step(&mut self) -> Result<(), TraceError> {
        self.experts.as_mut().map_or(Ok(()), RoutingWindow::advance)
    }

    /// The window of a region's sequence, and the region's place in it.
    #[inline]
    fn of(&self, region: RegionId) -> (&SequenceWindow, RegionId) {
        if let [only] = &self.sequences[..] {
            return (only, region);
        }
        let (sequence, layer) = (region.index() / self.layers, region.index() % self.layers);
        (&self.sequences[sequence], RegionId::new(layer))
    }

    /// What the step `ahead` of the present one (0: the present) skips of a region of KV, or leaves
    /// unread of one of experts, or `None` past the last step of its sequence, or of the run.
    #[must_use]
    #[inline]
    pub fn skipped(&self, ahead: usize, region: RegionId) -> Option<Skipped<'_>> {
        if region.index() >= self.first_expert {
            let layer = LayerId::new(region.index() - self.first_expert);
            return self.experts.as_ref()?.skipped(ahead, layer);
        }
        // With one sequence, regions are layers.
        if let [SequenceWindow { trace: Some(trace), prompt: None, .. }] = &self.sequences[..] {
            return trace.skipped(ahead, region);
        }
        self.skipped_of_several(ahead, region)
    }

    fn skipped_of_several(&self, ahead: usize, region: RegionId) -> Option<Skipped<'_>> {
        let (window, place) = self.of(region);
        let ahead = match &window.prompt {
            None => ahead,
            Some(prompt) if ahead == 0 => return Some(prompt.skipped(place, &window.nothing)),
            Some(_) => ahead - 1,
        };
        match &window.trace {
            Some(trace) => trace.skipped(ahead, place),
            None if ahead < window.decode - window.decoded => {
                Some(Skipped { pages: &window.nothing, count: 0, gone: 0 })
            }
            None => None,
        }
    }

    /// How many tokens of a KV region the present step skips, whatever their pages are.
    #[must_use]
    #[inline]
    pub fn skipped_tokens(&self, region: RegionId) -> usize {
        let (window, place) = self.of(region);
        match (&window.prompt, &window.trace) {
            (Some(prompt), _) => prompt.tokens.get(place.index()).copied().unwrap_or(0),
            (None, Some(trace)) => trace.skipped_tokens(place),
            (None, None) => 0,
        }
    }

    /// How many steps a sequence has decoded.
    #[must_use]
    pub fn decoded(&self, sequence: SequenceId) -> usize {
        self.sequences[sequence.index()].decoded
    }

    /// A sequence has decoded the present step.
    ///
    /// # Errors
    /// [`TraceError`] if the step that comes into view cannot be had.
    pub fn advance(&mut self, sequence: SequenceId) -> Result<(), TraceError> {
        let window = &mut self.sequences[sequence.index()];
        window.decoded += 1;
        window.trace.as_mut().map_or(Ok(()), TraceWindow::advance)
    }

    /// So many tokens of the prompt of a sequence are computed, of which layer l sees the last
    /// `sliding[l]`, in pages of `size`.
    pub fn set_prompt(&mut self, sequence: SequenceId, context: usize, sliding: &[usize], size: PageSize) {
        let window = &mut self.sequences[sequence.index()];
        let range = window.nothing.range();
        let prompt = window.prompt.get_or_insert_with(|| Prompt {
            gone: sliding.iter().any(|window| *window != usize::MAX).then(|| StepSkips::none(sliding.len(), range)),
            tokens: vec![0; sliding.len()],
            pages: vec![0; sliding.len()],
        });
        for (layer, seen) in sliding.iter().enumerate() {
            let tokens = context.saturating_sub(*seen);
            let pages = tokens / size.tokens();
            (prompt.tokens[layer], prompt.pages[layer]) = (tokens, pages);
            if let Some(gone) = prompt.gone.as_mut().filter(|_| pages > 0) {
                gone.sets[layer].fill_below(pages, pages);
                gone.counts[layer] = pages;
            }
        }
    }

    /// The prompt of a sequence is computed: the next step is the first that it decodes.
    pub fn end_prompt(&mut self, sequence: SequenceId) {
        self.sequences[sequence.index()].prompt = None;
    }
}

impl Prompt {
    fn skipped<'a>(&'a self, layer: RegionId, nothing: &'a TokenSet) -> Skipped<'a> {
        let gone = self.pages.get(layer.index()).copied().unwrap_or(0);
        let pages = self.gone.as_ref().map_or(nothing, |gone| &gone.sets[layer.index()]);
        Skipped { pages, count: gone, gone }
    }
}
