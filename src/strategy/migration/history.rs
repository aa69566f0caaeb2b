use crate::workload::TokenSet;
use std::num::NonZeroU32;

/// What the last steps skipped, the present one included.
pub struct History {
    window: usize,
    layers: Vec<OfLayer>,
}

#[derive(Default)]
struct OfLayer {
    sets: Vec<TokenSet>,
    /// How many tokens each of them read.
    read: Vec<usize>,
    /// Where the present step is.
    newest: usize,
}

impl History {
    /// Of so many steps.
    pub fn new(window: NonZeroU32) -> Self {
        Self { window: window.get() as usize, layers: Vec::new() }
    }

    /// How many steps are kept.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The memory that a layer of so many words takes in a run of so many steps.
    pub fn memory(&self, words: usize, steps: usize) -> u64 {
        (self.window.min(steps) as u64).saturating_mul((words * 8 + 64) as u64)
    }

    /// The present step has skipped `skipped` in `layer`, and read `read` tokens. `forget` is told what leaves the window for it.
    pub fn note(&mut self, layer: usize, skipped: &TokenSet, read: usize, forget: impl FnOnce(&TokenSet)) {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, OfLayer::default);
        }
        let of_layer = &mut self.layers[layer];
        if of_layer.sets.len() < self.window {
            of_layer.newest = of_layer.sets.len();
            of_layer.sets.push(skipped.clone());
            of_layer.read.push(read);
        } else {
            of_layer.newest = (of_layer.newest + 1) % self.window;
            let oldest = &mut of_layer.sets[of_layer.newest];
            forget(oldest);
            oldest.copy_from(skipped);
            of_layer.read[of_layer.newest] = read;
        }
    }

    /// What was skipped in `layer` so many steps ago, and how many tokens were read.
    pub fn step(&self, layer: usize, ago: usize) -> Option<(&TokenSet, usize)> {
        let OfLayer { sets, read, newest } = self.layers.get(layer)?;
        let index = (newest + self.window - ago.min(self.window)) % self.window;
        (ago < sets.len()).then(|| (&sets[index], read[index]))
    }
}
