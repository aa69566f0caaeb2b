//! Where every byte lies and is going.
//!
//! Weights and state lie in shares: so many bytes of each on each tier. KV lies in pages: for each
//! region and tier a set of the pages that *are* there and a set of those that are *at home* there.
//! The two differ for pages that move: such a page is at its source, where it is read from, and at
//! home at its destination, where its room is reserved. Under inclusive residency the last tier has
//! a copy of every page besides.
//!
//! Experts that are units lie in pages as KV does: a page is an expert. They count as weights.
//!
//! The [`Ledger`] accounts for all of it, so no tier ever holds more than its capacity.

use crate::memory::{Ledger, PerTier, Shortage, TierId};
use crate::strategy::{KvPages, KvRegions, LaidOut, MoveBatch, Piece};
use crate::units::{Bytes, Page, PageSize, RegionId, Table, Token};
use crate::workload::tokens::{WORD_BITS, Word, move_words};
use crate::workload::{Lengths, Regions, Skipped, TokenSet};
use std::ops::Range;

/// Where all regions of a run lie.
pub(super) struct Residency {
    kv: Table<RegionId, PagedRegion>,
    /// How many of them hold KV: the first ones. The others hold experts.
    of_kv: usize,
    /// Of what can be divided at any byte, weights and state, whose ids follow those of the regions
    /// in pages.
    divided: Vec<Divided>,
    /// What of HBM weights and state take.
    fixed_on_hbm: Bytes,
    /// What of HBM is held by pages that are moving away.
    leaving_hbm: Bytes,
    /// The regions in pages that migration decides for.
    decided: Range<usize>,
    pub ledger: Ledger,
}

/// A region that can be divided at any byte.
struct Divided {
    /// What is stored on each tier.
    on: PerTier<Bytes>,
    /// Whether it is state, which counts as KV.
    is_state: bool,
}

/// The pages of one region of KV, or of experts.
pub(super) struct PagedRegion {
    /// How many tokens make a page.
    pub size: PageSize,
    pub token_bytes: Bytes,
    pub page_bytes: Bytes,
    /// Whether its pages are experts: read as weights are, and never open for more tokens.
    pub is_experts: bool,
    /// How many tokens have had KV: the context.
    pub tokens: usize,
    /// How many tokens of the context keep it, the last ones; [`usize::MAX`] for all.
    pub window: usize,
    /// A page whose move is not complete is at its source.
    pub at: PerTier<TokenSet>,
    /// A page whose move is not complete is at its destination.
    pub home: PerTier<TokenSet>,
    /// The sizes of `home`.
    pub count: PerTier<usize>,
    /// The sizes of `at`.
    pub here: PerTier<usize>,
    /// Pages that are being written or whose move is not complete.
    pub in_flight: TokenSet,
    /// The size of `in_flight`.
    pub in_flight_count: usize,
    /// Those of them that are being written: a page is, until it is full.
    pub being_written: Vec<Page>,
    /// The first page that was not given up: those before it are freed, or will be when they have
    /// arrived where they are going.
    first: Page,
    /// Pages that were in flight when they were given up.
    leaving: Vec<Page>,
}

impl Residency {
    /// From what an initialization has laid out, for which `ledger` has accounted.
    pub fn new(regions: &Regions, laid_out: LaidOut, size: PageSize, ledger: Ledger) -> Self {
        let LaidOut { divided, pages } = laid_out;
        let of_regions = regions.paged().zip(regions.token_bytes()).zip(regions.windows());
        let of_regions = of_regions.zip(regions.lengths()).zip(regions.page_sizes(size)).zip(pages);
        let paged =
            of_regions.map(|(((((region, token_bytes), window), Lengths { at_start, most, .. }), size), at)| {
                PagedRegion {
                    size,
                    token_bytes,
                    is_experts: regions.is_experts(region),
                    page_bytes: token_bytes.times(size.tokens() as u64),
                    tokens: at_start,
                    window,
                    count: at.map(TokenSet::count),
                    here: at.map(TokenSet::count),
                    home: at.clone(),
                    at,
                    in_flight: TokenSet::new(size.pages(most)),
                    in_flight_count: 0,
                    being_written: Vec::with_capacity(2),
                    first: size.page_of(Token::new(at_start.saturating_sub(window))),
                    leaving: Vec::new(),
                }
            });
        let is_state = regions.divisible().map(|(region, _)| regions.is_state(region));
        let divided = divided.into_iter().zip(is_state).map(|(on, is_state)| Divided { on, is_state });
        let divided: Vec<Divided> = divided.collect();
        let fixed_on_hbm = divided.iter().map(|of| of.on[TierId::HBM]).sum();
        let (of_kv, decided) = (regions.kv_len(), 0..regions.paged_len());
        let kv = paged.collect();
        let mut residency = Self { kv, of_kv, divided, fixed_on_hbm, leaving_hbm: Bytes::ZERO, decided, ledger };
        for (region, Lengths { at_start, .. }) in regions.kv().zip(regions.lengths()) {
            let next = Token::new(at_start);
            if !size.starts_page(next) {
                // The last page of the prompt has room for more tokens.
                residency.keep_open(region, size.page_of(next));
            }
        }
        residency
    }

    /// The same where migration decides for those regions alone.
    pub fn deciding(self, decided: Range<usize>) -> Self {
        Self { decided, ..self }
    }

    /// What of `tier` the experts take that are units and lie or go there.
    pub fn experts_on(&self, tier: TierId) -> Bytes {
        self.paged_on(tier, self.of_kv..self.kv.len())
    }

    /// What pages of these regions take that lie or go to `tier`.
    fn paged_on(&self, tier: TierId, regions: Range<usize>) -> Bytes {
        let of = |region: RegionId| self.kv[region].page_bytes.times(self.kv[region].count[tier] as u64);
        regions.map(RegionId::new).map(of).sum()
    }

    /// The pages of a region of KV, or of experts.
    #[inline]
    pub fn kv(&self, region: RegionId) -> &PagedRegion {
        &self.kv[region]
    }

    /// The stored bytes of weights or state on each tier.
    pub fn divided(&self, region: RegionId) -> &PerTier<Bytes> {
        &self.divided[region.index() - self.kv.len()].on
    }

    /// The bytes of all weights, and of all KV and state, on `tier`: a moving page at its
    /// destination.
    pub fn stored_on(&self, tier: TierId) -> (Bytes, Bytes) {
        let divided = |is_state: bool| -> Bytes {
            self.divided.iter().filter(|of| of.is_state == is_state).map(|of| of.on[tier]).sum()
        };
        (divided(false) + self.experts_on(tier), self.paged_on(tier, 0..self.of_kv) + divided(true))
    }

    /// What on `tier` cannot move: weights and state.
    pub fn fixed_on(&self, tier: TierId) -> Bytes {
        self.divided.iter().map(|of| of.on[tier]).sum()
    }

    /// Writes what each tier has free for new pages to `free`.
    pub fn note_free(&self, free: &mut PerTier<Bytes>) {
        for (tier, free) in free.iter_mut() {
            *free = self.ledger.room(tier);
        }
    }

    /// The pages of `region` that have left its attention window when one token more has KV are
    /// freed.
    #[inline]
    pub fn slide(&mut self, region: RegionId) {
        let pages = &self.kv[region];
        let gone = (pages.tokens + 1).saturating_sub(pages.window);
        if gone > 0 {
            self.free_before(region, Token::new(gone));
        }
    }

    /// The pages of `region` that have left its attention window when so many tokens have KV are
    /// freed. Returns the first token that stays in the window.
    pub fn slide_to(&mut self, region: RegionId, tokens: usize) -> usize {
        let gone = tokens.saturating_sub(self.kv[region].window);
        if gone > 0 {
            self.free_before(region, Token::new(gone));
        }
        gone
    }

    /// So many tokens more of `region` have KV.
    #[inline]
    pub fn grow(&mut self, region: RegionId, tokens: usize) {
        self.kv[region].tokens += tokens;
    }

    /// The tier where a page of `region` is, if it is anywhere; that of a moving page is its
    /// source.
    #[inline]
    pub fn tier_of(&self, region: RegionId, page: Page) -> Option<TierId> {
        self.kv[region].at.iter().find(|(_, pages)| pages.contains(page.index())).map(|(tier, _)| tier)
    }

    /// A page is to be written to `tier`.
    ///
    /// # Errors
    /// [`Shortage`] if it has no room there.
    pub fn begin_write(&mut self, region: RegionId, page: Page, tier: TierId) -> Result<(), Shortage> {
        let pages = &mut self.kv[region];
        self.ledger.store(tier, pages.page_bytes)?;
        pages.at[tier].insert(page.index());
        pages.home[tier].insert(page.index());
        pages.count[tier] += 1;
        pages.here[tier] += 1;
        self.keep_open(region, page);
        Ok(())
    }

    /// There is more to write of a page: it is left alone until [`end_write`](Self::end_write).
    fn keep_open(&mut self, region: RegionId, page: Page) {
        let pages = &mut self.kv[region];
        pages.in_flight.insert(page.index());
        pages.in_flight_count += 1;
        pages.being_written.push(page);
    }

    /// All of these pages is written.
    pub fn end_writes(&mut self, region: RegionId, written: impl Iterator<Item = Page>) {
        let pages = &mut self.kv[region];
        for page in written {
            pages.in_flight.remove(page.index());
            pages.in_flight_count -= 1;
        }
        let in_flight = &pages.in_flight;
        pages.being_written.retain(|page| in_flight.contains(page.index()));
        self.free_leaving(region);
    }

    /// All of a page is written.
    pub fn end_write(&mut self, region: RegionId, page: Page) {
        let pages = &mut self.kv[region];
        pages.in_flight.remove(page.index());
        pages.in_flight_count -= 1;
        pages.being_written.retain(|other| *other != page);
        self.free_leaving(region);
    }

    /// Pages set out from `source`; room at `destination` is reserved for them.
    ///
    /// # Errors
    /// [`Shortage`] if there is not enough.
    pub fn begin_move(
        &mut self,
        region: RegionId,
        batch: &MoveBatch,
        source: TierId,
        destination: TierId,
    ) -> Result<Bytes, Shortage> {
        let pages = &mut self.kv[region];
        let count = batch.len();
        let bytes = pages.page_bytes.times(count as u64);
        self.ledger.reserve(destination, bytes)?;
        debug_assert!(pages.lie_still(batch, source), "what moves lies at its source, and is not in flight");
        let [from, to] = words_of(&mut pages.home, source, destination);
        let mut sets = [from, to, pages.in_flight.words_mut()];
        batch.all(|piece| change(&mut sets, piece, true));
        pages.in_flight_count += count;
        pages.count[source] -= count;
        pages.count[destination] += count;
        if source == TierId::HBM {
            self.leaving_hbm += bytes;
        }
        Ok(bytes)
    }

    /// Those pages of a batch that had set out from `source` stay there; their room at
    /// `destination` is free again.
    pub fn cancel_move(
        &mut self,
        region: RegionId,
        (batch, range): (&MoveBatch, Range<usize>),
        source: TierId,
        destination: TierId,
    ) {
        let pages = &mut self.kv[region];
        let count = range.len();
        let [from, to] = words_of(&mut pages.home, source, destination);
        let mut sets = [to, from, pages.in_flight.words_mut()];
        batch.pieces(range, |piece| change(&mut sets, piece, false));
        pages.in_flight_count -= count;
        pages.count[source] += count;
        pages.count[destination] -= count;
        let bytes = pages.page_bytes.times(count as u64);
        self.ledger.release(destination, bytes);
        if source == TierId::HBM {
            self.leaving_hbm -= bytes;
        }
        self.free_leaving(region);
    }

    /// Whether `tier` has a copy of every page, so that moving there is forgetting.
    pub fn has_copy(&self, tier: TierId) -> bool {
        self.ledger.has_copy(tier)
    }

    /// Pages on `source` are given up, for their copies on `last`.
    pub fn drop_copies(&mut self, region: RegionId, batch: &MoveBatch, source: TierId, last: TierId) {
        let pages = &mut self.kv[region];
        let count = batch.len();
        pages.leave(source, last, count);
        for sets in [&mut pages.at, &mut pages.home] {
            let [from, to] = words_of(sets, source, last);
            // None of them is in flight.
            let mut sets = [from, to, pages.in_flight.words_mut()];
            batch.all(|piece| change(&mut sets, piece, false));
        }
        pages.count[source] -= count;
        pages.count[last] += count;
        self.ledger.release(source, pages.page_bytes.times(count as u64));
    }

    /// Those pages of a batch have arrived at `destination`; their room at `source` is free again,
    /// unless that keeps a copy.
    pub fn end_move(
        &mut self,
        region: RegionId,
        (batch, range): (&MoveBatch, Range<usize>),
        source: TierId,
        destination: TierId,
    ) {
        let pages = &mut self.kv[region];
        let count = range.len();
        pages.leave(source, destination, count);
        let [from, to] = words_of(&mut pages.at, source, destination);
        let mut sets = [from, to, pages.in_flight.words_mut()];
        batch.pieces(range, |piece| change(&mut sets, piece, false));
        pages.in_flight_count -= count;
        let bytes = pages.page_bytes.times(count as u64);
        if !self.ledger.has_copy(source) {
            self.ledger.release(source, bytes);
        }
        if source == TierId::HBM {
            self.leaving_hbm -= bytes;
        }
        self.free_leaving(region);
    }

    /// Frees the pages of `region` whose tokens all come before `token`; those in flight when they
    /// are so no more. O(pages freed).
    pub fn free_before(&mut self, region: RegionId, token: Token) {
        let pages = &mut self.kv[region];
        let end = pages.size.page_of(token);
        for page in pages.first.index()..end.index() {
            pages.leaving.push(Page::new(page));
        }
        pages.first = pages.first.max(end);
        self.free_leaving(region);
    }

    /// Frees the pages that were given up and are in flight no more.
    #[inline]
    fn free_leaving(&mut self, region: RegionId) {
        if self.kv[region].leaving.is_empty() {
            return;
        }
        let mut leaving = std::mem::take(&mut self.kv[region].leaving);
        leaving.retain(|page| !self.free_page(region, *page));
        self.kv[region].leaving = leaving;
    }

    /// Frees all of `region`, of which nothing may be in flight but pages with room for more
    /// tokens: it is as if it had never been used.
    pub fn free(&mut self, region: RegionId) {
        while let Some(&page) = self.kv[region].being_written.first() {
            self.end_write(region, page);
        }
        let pages = &mut self.kv[region];
        debug_assert_eq!(pages.in_flight_count, 0, "what is freed is not on its way");
        pages.leaving.clear();
        for (tier, home) in pages.home.iter_mut() {
            let bytes = pages.page_bytes.times(pages.count[tier] as u64);
            self.ledger.discard(tier, bytes);
            home.clear();
            pages.at[tier].clear();
            (pages.count[tier], pages.here[tier]) = (0, 0);
        }
        (pages.tokens, pages.first) = (0, Page::new(0));
    }

    /// Frees one page, unless it is in flight.
    fn free_page(&mut self, region: RegionId, page: Page) -> bool {
        let pages = &mut self.kv[region];
        if pages.in_flight.contains(page.index()) {
            return false;
        }
        for (tier, home) in pages.home.iter_mut() {
            if home.contains(page.index()) {
                home.remove(page.index());
                pages.at[tier].remove(page.index());
                pages.count[tier] -= 1;
                pages.here[tier] -= 1;
                self.ledger.discard(tier, pages.page_bytes);
            }
        }
        true
    }
}

impl KvRegions for Residency {
    fn count(&self) -> usize {
        self.kv.len()
    }

    fn decided(&self) -> Range<usize> {
        self.decided.clone()
    }

    fn on_hbm(&self) -> Bytes {
        if self.decided.len() < self.kv.len() {
            return self.paged_on(TierId::HBM, self.decided.clone());
        }
        let on_hbm = self.ledger.used(TierId::HBM) - self.fixed_on_hbm - self.leaving_hbm;
        debug_assert_eq!(on_hbm, self.paged_on(TierId::HBM, self.decided.clone()));
        on_hbm
    }

    fn leaving_hbm(&self) -> Bytes {
        self.leaving_hbm
    }

    fn region(&self, region: RegionId) -> KvPages<'_> {
        let PagedRegion { page_bytes, size, is_experts, at, count, in_flight, .. } = &self.kv[region];
        KvPages { page_bytes: *page_bytes, page_size: *size, is_experts: *is_experts, at, count, in_flight }
    }
}

impl PagedRegion {
    /// The pages of a region that a step reads at the source of a move that is not complete: those
    /// in flight that are not being written.
    pub fn late_pages(&self, skipped: Skipped<'_>) -> u64 {
        if self.in_flight_count == self.being_written.len() {
            return 0;
        }
        if skipped.count == 0 {
            return (self.in_flight_count - self.being_written.len()) as u64;
        }
        let read_in_flight = self.in_flight.count_without_between(skipped.pages, self.live());
        let is_read = |page: &&crate::units::Page| !skipped.pages.contains(page.index());
        let being_written = self.being_written.iter().filter(is_read).count();
        (read_in_flight - being_written) as u64
    }

    /// The pages that hold KV which was not given up. Others that are here were in flight when they
    /// were.
    pub fn live(&self) -> Range<usize> {
        self.first.index()..self.size.pages(self.tokens)
    }

    /// So many pages are at `destination` from now on, where they were at `source`.
    fn leave(&mut self, source: TierId, destination: TierId, count: usize) {
        self.here[source] -= count;
        self.here[destination] += count;
    }

    /// How many of the pages on `tier` a step reads that skips `skipped`. O(1) where that is
    /// nothing, else O(pages / 64).
    #[inline]
    pub fn read_on(&self, tier: TierId, skipped: Skipped<'_>, live: Range<usize>) -> usize {
        if skipped.count == 0 { self.here[tier] } else { self.at[tier].count_without_between(skipped.pages, live) }
    }

    /// Whether all of a batch is on `tier` and not in flight.
    fn lie_still(&self, batch: &MoveBatch, tier: TierId) -> bool {
        let still =
            |word: usize, bits: Word| bits & !(self.at[tier].words()[word] & !self.in_flight.words()[word]) == 0;
        let mut all = true;
        batch.all(|piece| {
            all &= match piece {
                Piece::Listed(list) => {
                    list.iter().all(|page| still(*page as usize / WORD_BITS, 1 << (*page as usize % WORD_BITS)))
                }
                Piece::Words(first, words) => (first..).zip(words).all(|(word, bits)| still(word, *bits)),
                Piece::Word(word, bits) => still(word, bits),
            }
        });
        all
    }
}

/// The words of two tiers' sets.
fn words_of(sets: &mut PerTier<TokenSet>, source: TierId, destination: TierId) -> [&mut [Word]; 2] {
    sets.pair_mut(source, destination).map(TokenSet::words_mut)
}

/// The pages of `piece` leave the first set for the second, and are in the third from now on or,
/// unless `flying`, no more.
#[inline]
fn change([from, to, flight]: &mut [&mut [Word]; 3], piece: Piece<'_>, flying: bool) {
    let mut one = |word: usize, bits: Word| {
        from[word] &= !bits;
        to[word] |= bits;
        if flying {
            flight[word] |= bits;
        } else {
            flight[word] &= !bits;
        }
    };
    match piece {
        Piece::Listed(pages) => {
            pages.iter().for_each(|page| one(*page as usize / WORD_BITS, 1 << (*page as usize % WORD_BITS)));
        }
        Piece::Words(first, words) => {
            move_words(&mut from[first..], &mut to[first..], &mut flight[first..], words, flying);
        }
        Piece::Word(index, word) => one(index, word),
    }
}
