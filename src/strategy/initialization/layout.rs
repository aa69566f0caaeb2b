use crate::memory::{Ledger, MemorySystem, ResidencyKind, Shortage, TierId};
use crate::units::Bytes;
use crate::workload::{LanguageModel, Shape, Sublayer, TokenSet};

/// Where weights and prefill KV lie: empty at first, filled by an [`Initialization`](super::Initialization). Where tokens are kept
/// in pages of several, a token here is a page.
pub struct Layout<'a> {
    model: &'a LanguageModel,
    system: &'a MemorySystem,
    ledger: &'a mut Ledger,
    prefill: usize,
    read_share: f64,
    /// Of a token, by layer.
    kv_bytes: Vec<Bytes>,
    /// For each sublayer, in the order of a step, its stored bytes on each tier.
    weights: Vec<Vec<Bytes>>,
    /// For each layer, the tokens on each tier.
    tokens: Vec<Vec<TokenSet>>,
}

impl<'a> Layout<'a> {
    /// Nothing laid out yet of what `shape` asks for.
    #[must_use]
    pub fn new(model: &'a LanguageModel, system: &'a MemorySystem, ledger: &'a mut Ledger, shape: Shape) -> Self {
        let (prefill, range) = (shape.pages(shape.prefill), shape.range());
        let (layers, tiers) = (model.layers().len(), system.tiers().len());
        Self {
            model,
            system,
            ledger,
            prefill,
            read_share: 1.0,
            kv_bytes: model.layers().iter().map(|layer| layer.kv_bytes.times(shape.page_tokens as u64)).collect(),
            weights: vec![vec![Bytes::ZERO; tiers]; 2 * layers],
            tokens: vec![vec![TokenSet::new(range); tiers]; layers],
        }
    }

    /// The memory system.
    #[must_use]
    pub fn system(&self) -> &'a MemorySystem {
        self.system
    }

    /// The model's sublayers, in the order of a step.
    #[must_use]
    pub fn sublayers(&self) -> Vec<Sublayer> {
        self.model.sublayers().collect()
    }

    /// K and V of one token in `layer`.
    #[must_use]
    pub fn kv_bytes(&self, layer: usize) -> Bytes {
        self.kv_bytes[layer]
    }

    /// How many layers there are.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.tokens.len()
    }

    /// How many tokens each layer has before step 0.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.prefill
    }

    /// The same where the trace's first steps read that share of the tokens, or of the pages.
    #[must_use]
    pub fn with_read_share(self, share: f64) -> Self {
        Self { read_share: share, ..self }
    }

    /// The share of the tokens (or of the pages) that the trace reads in its first steps, between 0
    /// and 1. An initialization that asks for it says so with
    /// [`uses_read_share`](super::Initialization::uses_read_share); to others it is 1.
    #[must_use]
    pub fn read_share(&self) -> f64 {
        self.read_share
    }

    /// What still fits on `tier`.
    #[must_use]
    pub fn free(&self, tier: TierId) -> Bytes {
        self.ledger.room(tier)
    }

    /// Puts `bytes` of the stored weights of `sublayer` on `tier`.
    ///
    /// # Errors
    /// [`Shortage`] if they do not fit.
    pub fn put_weights(&mut self, sublayer: usize, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        self.ledger.store(tier, bytes)?;
        self.weights[sublayer][tier.index()] += bytes;
        Ok(())
    }

    /// Puts `bytes` of the stored weights of `sublayer` on the tiers from `tier` on, each while it has room; what fits on
    /// none of them, on faster ones.
    ///
    /// # Errors
    /// [`Shortage`] if they do not all fit.
    pub fn spill_weights(&mut self, sublayer: usize, tier: TierId, bytes: Bytes) -> Result<(), Shortage> {
        let mut left = bytes;
        for tier in self.tiers_from(tier) {
            let part = left.min(self.free(tier));
            self.put_weights(sublayer, tier, part)?;
            left -= part;
        }
        // Told as a shortage of the last tier, the one meant to be large.
        self.put_weights(sublayer, self.last(), left)
    }

    /// Puts `token` of `layer` on the first tier from `tier` on that has room, or else on a faster one.
    ///
    /// # Errors
    /// [`Shortage`] if none has.
    pub fn spill_token(&mut self, layer: usize, token: usize, tier: TierId) -> Result<(), Shortage> {
        let bytes = self.kv_bytes(layer);
        let tier = self.tiers_from(tier).find(|&tier| self.free(tier) >= bytes).unwrap_or(self.last());
        self.ledger.store(tier, bytes)?;
        self.tokens[layer][tier.index()].insert(token);
        Ok(())
    }

    /// As [`spill_token`](Self::spill_token) for `token` of each layer in turn, which goes to the tier that `tier` says.
    ///
    /// # Errors
    /// [`Shortage`] if no tier has room for one of them.
    pub fn spill_token_of_layers(&mut self, token: usize, tier: impl Fn(usize) -> TierId) -> Result<(), Shortage> {
        let mut wanted = [Bytes::ZERO; MemorySystem::MAX_TIERS];
        for (layer, bytes) in self.kv_bytes.iter().enumerate() {
            wanted[tier(layer).index()] += *bytes;
        }
        // Where all fit where they are to go, none has to look for room.
        let fits = |id: TierId| wanted[id.index()] <= self.free(id);
        if self.system.residency() == ResidencyKind::Exclusive && self.system.tier_ids().all(fits) {
            for id in self.system.tier_ids() {
                self.ledger.store(id, wanted[id.index()])?;
            }
            for (layer, tokens) in self.tokens.iter_mut().enumerate() {
                tokens[tier(layer).index()].insert(token);
            }
            return Ok(());
        }
        (0..self.layers()).try_for_each(|layer| self.spill_token(layer, token, tier(layer)))
    }

    fn last(&self) -> TierId {
        TierId::new(self.system.tiers().len() - 1)
    }

    /// The tiers from `tier` on, then the faster ones.
    fn tiers_from(&self, tier: TierId) -> impl Iterator<Item = TierId> + use<> {
        (tier.index()..self.system.tiers().len()).chain(0..tier.index()).map(TierId::new)
    }

    /// What was laid out: for each sublayer its stored bytes on each tier, and for each layer the tokens on each tier.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Vec<Bytes>>, Vec<Vec<TokenSet>>) {
        (self.weights, self.tokens)
    }
}
