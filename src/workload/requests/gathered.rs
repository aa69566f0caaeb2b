//! Requests as a log or a generator gives them: in the order of arrival, with ids for the blocks of
//! prompts that begin alike.

use crate::units::{BlockId, SimTime};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// The most requests of a run: their table takes 400 MB.
pub(super) const MAX_REQUESTS: usize = 1 << 24;
/// The most prefix blocks of all prompts together: their table takes 512 MiB.
pub(super) const MAX_BLOCKS: usize = 1 << 27;
/// The latest arrival after the first: the clock's 213 days leave room to serve it.
pub(super) const LATEST: SimTime = SimTime::from_ps(100 * 86_400 * SimTime::PS_PER_SECOND);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it arrives; the first request of a run arrives at 0.
    pub arrival: SimTime,
    /// The tokens of its prompt, at least 1.
    pub prompt: u32,
    /// The tokens of its output, at least 1. The first comes out of the step that ends the prompt.
    pub output: u32,
    /// Its place in [`Requests::blocks`](super::Requests::blocks): the prefix blocks of its prompt,
    /// the first first. They cover the prompt's start, or all of it. All but the last are full;
    /// where the prompt ends within the last, that one is not shared.
    pub blocks: Range<u32>,
}

impl Request {
    /// The tokens whose KV it has when it ends: all but the last, which is never read.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        u64::from(self.prompt) + u64::from(self.output) - 1
    }
}

/// Which requests of a source are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Only those that arrive before this time.
    pub before: Option<SimTime>,
    /// Only the first ones.
    pub count: Option<u32>,
}

impl Taken {
    /// Whether a request is taken that follows `taken` others and arrives at `arrival`.
    pub fn takes(&self, taken: usize, arrival: SimTime) -> bool {
        self.before.is_none_or(|before| arrival < before) && self.count.is_none_or(|count| taken < count as usize)
    }
}

/// The requests of a source so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub requests: Vec<Request>,
    /// The prefix blocks of all prompts, one request after the other.
    pub blocks: Vec<BlockId>,
    /// The id of each block that has been met, by what it is known by in the source.
    ids: FxHashMap<Vec<u32>, BlockId>,
    /// How many blocks besides these nobody shares.
    own: u32,
}

impl Gathered {
    /// How many different blocks there are.
    pub fn distinct_blocks(&self) -> u32 {
        self.ids.len() as u32 + self.own
    }

    /// Gives every prompt blocks of its own for the full blocks that its source does not name: no
    /// other prompt shares them, and a tier that keeps prompts has to keep them. Returns whether
    /// there was room for them. O(blocks).
    pub fn add_own_blocks(&mut self, block_tokens: u32) -> bool {
        let named = std::mem::take(&mut self.blocks);
        let mut next = self.distinct_blocks();
        for request in &mut self.requests {
            let of_request = &named[request.blocks.start as usize..request.blocks.end as usize];
            let own = (request.prompt / block_tokens).saturating_sub(of_request.len() as u32);
            if self.blocks.len() + of_request.len() + own as usize > MAX_BLOCKS {
                return false;
            }
            let start = self.blocks.len() as u32;
            self.blocks.extend_from_slice(of_request);
            self.blocks.extend((next..next + own).map(|number| BlockId::new(number as usize)));
            next += own;
            request.blocks = start..self.blocks.len() as u32;
        }
        self.own = next - self.ids.len() as u32;
        true
    }

    /// Adds a request whose blocks are those that were [added](Self::add_block) since the last one.
    pub fn add(&mut self, arrival: SimTime, prompt: u32, output: u32) {
        let start = self.requests.last().map_or(0, |last| last.blocks.end);
        self.requests.push(Request { arrival, prompt, output, blocks: start..self.blocks.len() as u32 });
    }

    /// Adds the next block of the next request's prompt, which its source knows by `key`. Returns
    /// its id, or `None` if there are [`MAX_BLOCKS`] already. O(length of the key).
    pub fn add_block(&mut self, key: &[u32]) -> Option<BlockId> {
        if self.blocks.len() >= MAX_BLOCKS {
            return None;
        }
        let next = BlockId::new(self.ids.len());
        // No key is copied for a block that is known.
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None => *self.ids.entry(key.to_vec()).or_insert(next),
        };
        self.blocks.push(id);
        Some(id)
    }
}

/// Finds the blocks of prompts that begin with named parts: `system` of 1024 tokens, then `chat-7`
/// of 300.
///
/// Two prompts share their tokens as far as both have the same parts, of the same names and in the
/// same order; the last shared part may be longer in one of them. A block is shared if all its
/// tokens and all tokens before it are, so that its key is the id of the block before it and, for
/// each part in it, the part's name and the place in it.
#[derive(Debug)]
pub(super) struct PartBlocks {
    block_tokens: u32,
    key: Vec<u32>,
}

impl PartBlocks {
    /// For blocks of so many tokens.
    pub fn new(block_tokens: u32) -> Self {
        Self { block_tokens, key: Vec::new() }
    }

    /// Adds the full blocks of a prompt that begins with `parts`, each a name's number and a count
    /// of tokens from 1. Returns whether there was room for them. O(blocks + parts).
    pub fn add(&mut self, parts: &[(u32, u32)], gathered: &mut Gathered) -> bool {
        // The block before, plus 1: 0 is none.
        let mut before = 0;
        let mut room = self.block_tokens;
        self.start_key(before);
        for &(name, tokens) in parts {
            let mut at = 0;
            while at < tokens {
                let taken = room.min(tokens - at);
                self.key.extend([name, at, taken]);
                at += taken;
                room -= taken;
                if room == 0 {
                    let Some(id) = gathered.add_block(&self.key) else { return false };
                    before = id.index() as u32 + 1;
                    room = self.block_tokens;
                    self.start_key(before);
                }
            }
        }
        true
    }

    fn start_key(&mut self, before: u32) {
        self.key.clear();
        self.key.push(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tokens of a prompt by part name and place, in full blocks: two blocks are equal if all
    /// tokens up to their end are.
    fn slow(prompts: &[Vec<(u32, u32)>], block_tokens: usize) -> Vec<Vec<usize>> {
        let mut known: Vec<Vec<(u32, u32)>> = Vec::new();
        let mut ids = Vec::new();
        for parts in prompts {
            let tokens: Vec<(u32, u32)> =
                parts.iter().flat_map(|&(name, count)| (0..count).map(move |at| (name, at))).collect();
            let ends = (1..=tokens.len() / block_tokens).map(|block| &tokens[..block * block_tokens]);
            let of_prompt = ends.map(|start| {
                known.iter().position(|other| other == start).unwrap_or_else(|| {
                    known.push(start.to_vec());
                    known.len() - 1
                })
            });
            ids.push(of_prompt.collect());
        }
        ids
    }

    /// Adjacent parts of one name are one part to the slow way, which counts on: names differ here.
    fn parts() -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec((0u32..3, 1u32..9), 0..4).prop_map(|mut parts| {
            parts.dedup_by_key(|part| part.0);
            parts
        })
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_equal_starts(prompts in prop::collection::vec(parts(), 1..12), block_tokens in 1u32..6) {
            let mut gathered = Gathered::default();
            let mut blocks = PartBlocks::new(block_tokens);
            for parts in &prompts {
                prop_assert!(blocks.add(parts, &mut gathered));
                gathered.add(SimTime::ZERO, 64, 1);
            }
            let found: Vec<Vec<usize>> = gathered.requests.iter().map(|request| {
                let range = request.blocks.start as usize..request.blocks.end as usize;
                gathered.blocks[range].iter().map(|id| id.index()).collect()
            }).collect();
            prop_assert_eq!(found, slow(&prompts, block_tokens as usize));
        }
    }

    #[test]
    fn a_longer_part_shares_what_the_shorter_one_has() {
        let mut gathered = Gathered::default();
        let mut blocks = PartBlocks::new(4);
        for parts in [&[(0, 8), (1, 4)][..], &[(0, 8), (1, 9)], &[(0, 10), (1, 4)]] {
            assert!(blocks.add(parts, &mut gathered));
        }
        let ids: Vec<usize> = gathered.blocks.iter().map(|id| id.index()).collect();
        assert_eq!(ids, [0, 1, 2, 0, 1, 2, 3, 0, 1, 4]);
        assert_eq!(gathered.distinct_blocks(), 5);
    }
}
