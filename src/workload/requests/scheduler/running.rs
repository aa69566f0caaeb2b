//! A request that runs, and what a step computes of it.

use super::sizes::Sizes;
use super::step::StepPart;
use crate::units::RequestId;

/// A request that runs, or that waits for its loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) request: RequestId,
    /// The tokens whose KV it has.
    pub(super) computed: u32,
    /// The tokens whose KV it needs for its next token: its prompt, and its output so far.
    pub(super) tokens: u32,
    /// The tokens that its pages hold.
    pub(super) room: u32,
    /// The number of tokens at which it has a full block more, if that matters.
    pub(super) boundary: u32,
    /// The end of its prompt, of which tokens that are computed again are a part.
    pub(super) prompt_end: u32,
    /// How many tokens of output are still to come.
    pub(super) left: u32,
    /// How many blocks of its prompt may be shared, and of these how many it has.
    pub(super) blocks: u32,
    pub(super) full_blocks: u32,
    /// How many shared blocks it refers to, on either tier.
    pub(super) shared: u32,
    /// Pages of its own in the first tier, and in external memory.
    pub(super) own: u32,
    pub(super) own_external: u32,
    /// The tokens whose KV is in external memory, and whether its last private page is there.
    pub(super) external: u32,
    pub(super) ends_external: bool,
}

impl Running {
    /// What it computes in a step with room for `budget` tokens.
    #[inline]
    pub(super) fn part(&self, budget: u32) -> StepPart {
        let rest = self.tokens - self.computed;
        let tokens = rest.min(budget);
        StepPart {
            request: self.request,
            context: self.computed,
            context_external: self.external,
            tokens,
            tokens_external: 0,
            outputs: tokens == rest,
            is_chunk: self.computed < self.prompt_end,
        }
    }

    /// All its pages, on either tier.
    pub(super) fn pages(&self, sizes: &Sizes) -> u64 {
        u64::from(self.own) + u64::from(self.own_external) + u64::from(self.shared) * sizes.block_pages
    }

    /// Its tokens up to `tokens` that are in no shareable block.
    pub(super) fn private(&self, tokens: u32, sizes: &Sizes) -> u32 {
        tokens.saturating_sub(self.blocks * sizes.block)
    }

    /// Takes over pages of its own.
    pub(super) fn take(&mut self, hbm: u64, external: u64, sizes: &Sizes) {
        self.own += small(hbm);
        self.own_external += small(external);
        self.room = sizes.capacity(self.pages(sizes), self.blocks);
    }
}

/// The pages of one request: they fit 32 bits, as its tokens do.
pub(super) fn small(pages: u64) -> u32 {
    pages as u32
}
