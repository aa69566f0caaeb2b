//! What a step computes, added up over its parts.
//!
//! A stage reads the KV of all parts of the step in one transfer for each tier, so of the parts it
//! needs the sums alone: tokens, outputs, and for each attention window the tokens that are read,
//! attended to and written.

use crate::units::PageSize;
use crate::workload::{ServingStep, StepPart, attended_more};

/// Tokens by where their KV lies: in the first tier, and in external memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub hbm: u64,
    pub external: u64,
}

/// What the layers of one attention window read and write.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WindowShape {
    /// The tokens whose KV is read.
    pub read: Tokens,
    /// Of how many parts there is something to read.
    pub runs: Tokens,
    /// The tokens that are read, once for each token that attends to them.
    pub attended: u64,
    /// The tokens that are attended to on the chip, as they are of the same part.
    pub on_chip: f64,
    /// The tokens whose KV is written.
    pub written: Tokens,
}

/// What a step computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StepShape {
    /// How many tokens.
    pub tokens: u32,
    /// How many of them come out.
    pub outputs: u32,
    /// Of how many requests.
    pub parts: u64,
    /// The most tokens of one part.
    pub largest: u32,
    /// By attention window.
    pub windows: Vec<WindowShape>,
}

impl StepShape {
    /// That of `step`, in pages of `size`, with these attention windows. O(parts x windows).
    pub fn set(&mut self, step: &ServingStep, windows: &[u64], size: PageSize) {
        (self.tokens, self.outputs, self.largest) = (0, 0, 0);
        self.parts = step.parts.len() as u64;
        for part in &step.parts {
            self.tokens += part.tokens;
            self.outputs += u32::from(part.outputs);
            self.largest = self.largest.max(part.tokens);
        }
        self.windows.clear();
        self.windows.resize(windows.len(), WindowShape::default());
        for (shape, &window) in self.windows.iter_mut().zip(windows) {
            step.parts.iter().for_each(|part| shape.add(part, window, size));
        }
    }
}

impl WindowShape {
    #[inline]
    fn add(&mut self, part: &StepPart, window: u64, size: PageSize) {
        let (context, external) = (u64::from(part.context), u64::from(part.context_external));
        let page = size.tokens() as u64;
        // Whole pages have left the window.
        let first = if context > window { (context - window) / page * page } else { 0 };
        let far = external.saturating_sub(first);
        let near = context - first - far;
        self.read.hbm += near;
        self.read.external += far;
        self.runs.hbm += u64::from(near > 0);
        self.runs.external += u64::from(far > 0);
        self.attended += (near + far) * u64::from(part.tokens);
        if part.tokens > 1 {
            self.on_chip += attended_more(context, u64::from(part.tokens), window);
        }
        let written = written(part, window);
        self.written.hbm += written.hbm;
        self.written.external += written.external;
    }
}

/// The tokens of `part` whose KV is written: those that later ones of the same part push out of the
/// window are not.
#[inline]
pub(super) fn written(part: &StepPart, window: u64) -> Tokens {
    let end = u64::from(part.context) + u64::from(part.tokens);
    let first = u64::from(part.context).max(end.saturating_sub(window));
    let external = u64::from(part.tokens_external).min(end - first);
    Tokens { hbm: end - first - external, external }
}
