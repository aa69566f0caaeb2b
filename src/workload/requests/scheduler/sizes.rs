//! How many pages KV takes.

use crate::units::PageSize;

/// The sizes of pages and of prefix blocks.
///
/// A request's KV is its prefix blocks that may be shared, then a private rest. Each block begins
/// a page, so that it can be handed on: a block takes the pages of its tokens, rounded up where
/// the page size does not divide it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    page: PageSize,
    /// Tokens of a block.
    pub(super) block: u32,
    /// Pages of a block.
    pub(super) block_pages: u64,
    /// Whether the pages of a block are taken together, so that a block lies on one tier.
    whole_blocks: bool,
}

impl Sizes {
    /// Pages of `page` tokens and blocks of `block` tokens.
    pub(super) fn new(page: PageSize, block: u32, whole_blocks: bool) -> Self {
        let block = block.max(1);
        Self { page, block, block_pages: page.pages(block as usize) as u64, whole_blocks }
    }

    /// The pages of so many private tokens.
    pub(super) fn pages(&self, tokens: u32) -> u64 {
        self.page.pages(tokens as usize) as u64
    }

    /// The pages of the first `tokens` tokens of a request with so many shareable `blocks`.
    pub(super) fn pages_for(&self, tokens: u32, blocks: u32) -> u64 {
        let full = (tokens / self.block).min(blocks);
        let rest = tokens - full * self.block;
        let whole = self.whole_blocks && full < blocks && rest > 0;
        u64::from(full) * self.block_pages + if whole { self.block_pages } else { self.pages(rest) }
    }

    /// How many tokens so many pages hold of a request with so many shareable `blocks`.
    pub(super) fn capacity(&self, pages: u64, blocks: u32) -> u32 {
        let full = (pages / self.block_pages).min(u64::from(blocks));
        let rest = (pages - full * self.block_pages).saturating_mul(self.page.tokens() as u64);
        let rest = if full < u64::from(blocks) { rest.min(u64::from(self.block)) } else { rest };
        u32::try_from(full * u64::from(self.block) + rest).unwrap_or(u32::MAX)
    }

    /// How many more tokens the last page of so many private tokens holds.
    pub(super) fn left_in_page(&self, tokens: u32) -> u32 {
        let page = self.page_tokens();
        tokens.div_ceil(page) * page - tokens
    }

    /// Tokens of a page.
    pub(super) fn page_tokens(&self) -> u32 {
        self.page.tokens() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_pages() {
        let sizes = Sizes::new(PageSize::new(4).unwrap(), 6, false);
        let pages: Vec<u64> = [0, 1, 5, 6, 7, 12, 13, 17].map(|tokens| sizes.pages_for(tokens, 2)).into();
        assert_eq!(pages, [0, 1, 2, 2, 3, 4, 5, 6]);
        let capacity: Vec<u32> = (0..=6).map(|pages| sizes.capacity(pages, 2)).collect();
        assert_eq!(capacity, [0, 4, 6, 10, 12, 16, 20]);
        let whole = Sizes::new(PageSize::new(4).unwrap(), 6, true);
        assert_eq!([1, 6, 7, 13].map(|tokens| whole.pages_for(tokens, 2)), [2, 2, 4, 5]);
        assert_eq!([0, 1, 4, 5].map(|tokens| sizes.left_in_page(tokens)), [0, 3, 0, 3]);
    }
}
