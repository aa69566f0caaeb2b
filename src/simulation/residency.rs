use crate::memory::{Ledger, Shortage, TierId};
use crate::strategy::{Convoy, LayerKv, Layers, Piece};
use crate::units::Bytes;
use crate::workload::TokenSet;
use crate::workload::tokens::{WORD_BITS, Word, move_words};
use std::ops::Range;

/// Where every token's KV lies and is going: for each layer and tier a set of the tokens that lie there and one of those
/// that lie there or are moving there. A token is read from one tier and is at home on one; under inclusive residency the last tier
/// has a copy of it besides. Where tokens are kept in pages of several, a token here is a page.
pub(super) struct Residency {
    layers: Vec<LayerTokens>,
    pub ledger: Ledger,
}

/// The tokens of one layer.
pub(super) struct LayerTokens {
    pub kv_bytes: Bytes,
    /// By tier. A token whose move is not complete is at its source.
    pub at: Vec<TokenSet>,
    /// By tier. A token whose move is not complete is at its destination.
    pub home: Vec<TokenSet>,
    /// The sizes of `home`.
    pub count: Vec<usize>,
    /// Tokens that are being written or whose move is not complete.
    pub in_flight: TokenSet,
    /// The size of `in_flight`.
    pub in_flight_count: usize,
    /// Those of them that are being written; a page, until it is full.
    pub being_written: Vec<usize>,
}

impl Residency {
    /// From the tokens that lie on each tier in each layer, for which `ledger` has accounted.
    pub fn new(
        tokens: Vec<Vec<TokenSet>>,
        kv_bytes: impl Iterator<Item = Bytes>,
        range: usize,
        ledger: Ledger,
    ) -> Self {
        let layers = tokens
            .into_iter()
            .zip(kv_bytes)
            .map(|(at, kv_bytes)| LayerTokens {
                kv_bytes,
                count: at.iter().map(TokenSet::count).collect(),
                home: at.clone(),
                at,
                in_flight: TokenSet::new(range),
                in_flight_count: 0,
                being_written: Vec::with_capacity(2),
            })
            .collect();
        Self { layers, ledger }
    }

    pub fn layer(&self, layer: usize) -> &LayerTokens {
        &self.layers[layer]
    }

    /// A token is to be written to `tier`.
    pub fn begin_write(&mut self, layer: usize, token: usize, tier: TierId) -> Result<(), Shortage> {
        let tokens = &mut self.layers[layer];
        self.ledger.store(tier, tokens.kv_bytes)?;
        tokens.at[tier.index()].insert(token);
        tokens.home[tier.index()].insert(token);
        tokens.count[tier.index()] += 1;
        self.keep_open(layer, token);
        Ok(())
    }

    /// There is more to write of a token: it is left alone until [`end_write`](Self::end_write).
    pub fn keep_open(&mut self, layer: usize, token: usize) {
        let tokens = &mut self.layers[layer];
        tokens.in_flight.insert(token);
        tokens.in_flight_count += 1;
        tokens.being_written.push(token);
    }

    /// All of a token is written.
    pub fn end_write(&mut self, layer: usize, token: usize) {
        let tokens = &mut self.layers[layer];
        tokens.in_flight.remove(token);
        tokens.in_flight_count -= 1;
        tokens.being_written.retain(|other| *other != token);
    }

    /// Tokens set out from `source`; room at `destination` is reserved for them.
    pub fn begin_move(
        &mut self,
        layer: usize,
        tokens: &Convoy,
        source: TierId,
        destination: TierId,
    ) -> Result<Bytes, Shortage> {
        let layer = &mut self.layers[layer];
        let count = tokens.len();
        let bytes = layer.kv_bytes.times(count as u64);
        self.ledger.reserve(destination, bytes)?;
        debug_assert!(layer.lie_still(tokens, source), "what moves lies at its source, and is not in flight");
        let [from, to] = pair(&mut layer.home, source, destination);
        let mut sets = [from, to, layer.in_flight.words_mut()];
        tokens.all(|piece| change(&mut sets, piece, true));
        layer.in_flight_count += count;
        layer.count[source.index()] -= count;
        layer.count[destination.index()] += count;
        Ok(bytes)
    }

    /// Those tokens of a convoy that had set out from `source` stay there; their room at `destination` is free again.
    pub fn cancel_move(
        &mut self,
        layer: usize,
        (tokens, range): (&Convoy, Range<usize>),
        source: TierId,
        destination: TierId,
    ) {
        let layer = &mut self.layers[layer];
        let count = range.len();
        let [from, to] = pair(&mut layer.home, source, destination);
        let mut sets = [to, from, layer.in_flight.words_mut()];
        tokens.pieces(range, |piece| change(&mut sets, piece, false));
        layer.in_flight_count -= count;
        layer.count[source.index()] += count;
        layer.count[destination.index()] -= count;
        self.ledger.release(destination, layer.kv_bytes.times(count as u64));
    }

    /// Whether `tier` has a copy of every token, so that moving there is forgetting.
    pub fn has_copy(&self, tier: TierId) -> bool {
        self.ledger.has_copy(tier)
    }

    /// Tokens on `source` are given up, for their copies on `last`.
    pub fn drop_copies(&mut self, layer: usize, tokens: &Convoy, source: TierId, last: TierId) {
        let layer = &mut self.layers[layer];
        let count = tokens.len();
        for sets in [&mut layer.at, &mut layer.home] {
            let [from, to] = pair(sets, source, last);
            // None of them is in flight.
            let mut sets = [from, to, layer.in_flight.words_mut()];
            tokens.all(|piece| change(&mut sets, piece, false));
        }
        layer.count[source.index()] -= count;
        layer.count[last.index()] += count;
        self.ledger.release(source, layer.kv_bytes.times(count as u64));
    }

    /// Those tokens of a convoy have arrived at `destination`; their room at `source` is free again, unless that keeps a copy.
    pub fn end_move(
        &mut self,
        layer: usize,
        (tokens, range): (&Convoy, Range<usize>),
        source: TierId,
        destination: TierId,
    ) {
        let layer = &mut self.layers[layer];
        let count = range.len();
        let [from, to] = pair(&mut layer.at, source, destination);
        let mut sets = [from, to, layer.in_flight.words_mut()];
        tokens.pieces(range, |piece| change(&mut sets, piece, false));
        layer.in_flight_count -= count;
        if self.ledger.has_copy(source) {
            return;
        }
        self.ledger.release(source, layer.kv_bytes.times(count as u64));
    }
}

impl Layers for Residency {
    fn count(&self) -> usize {
        self.layers.len()
    }

    fn layer(&self, layer: usize) -> LayerKv<'_> {
        let LayerTokens { kv_bytes, at, count, in_flight, .. } = &self.layers[layer];
        LayerKv { kv_bytes: *kv_bytes, at, count, in_flight }
    }
}

impl LayerTokens {
    /// Whether all of `tokens` are on `tier` and not in flight.
    fn lie_still(&self, tokens: &Convoy, tier: TierId) -> bool {
        let still = |word: usize, bits: Word| {
            bits & !(self.at[tier.index()].words()[word] & !self.in_flight.words()[word]) == 0
        };
        let mut all = true;
        tokens.all(|piece| {
            all &= match piece {
                Piece::Listed(list) => {
                    list.iter().all(|token| still(*token as usize / WORD_BITS, 1 << (*token as usize % WORD_BITS)))
                }
                Piece::Words(first, words) => (first..).zip(words).all(|(word, bits)| still(word, *bits)),
                Piece::Word(word, bits) => still(word, bits),
            }
        });
        all
    }
}

/// The words of two tiers' sets.
fn pair(sets: &mut [TokenSet], source: TierId, destination: TierId) -> [&mut [Word]; 2] {
    sets.get_disjoint_mut([source.index(), destination.index()])
        .expect("a move is between two tiers")
        .map(TokenSet::words_mut)
}

/// The tokens of `piece` leave the first set for the second, and are in the third from now on or, unless `flying`, no more.
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
        Piece::Listed(tokens) => {
            tokens.iter().for_each(|token| one(*token as usize / WORD_BITS, 1 << (*token as usize % WORD_BITS)));
        }
        Piece::Words(first, words) => {
            move_words(&mut from[first..], &mut to[first..], &mut flight[first..], words, flying);
        }
        Piece::Word(index, word) => one(index, word),
    }
}
