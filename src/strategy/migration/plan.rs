use crate::memory::{Ledger, TierId};
use crate::units::Bytes;
use crate::workload::tokens::{WORD_BITS, Word};

/// How a token gets where it is to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Read at its source, written at its destination.
    Move,
    /// Written at its destination, as it is on the chip: the present step has read it.
    Promotion,
}

/// The moves of one decision: for each pair of tiers the tokens, in the order in which they are carried. All of a pair that go
/// the same way become one transfer.
#[derive(Clone, Debug)]
pub struct MovePlan {
    tiers: usize,
    /// What each tier has free for arrivals.
    free: Vec<Bytes>,
    /// What may be carried yet.
    budget: Bytes,
    kv_bytes: Bytes,
    /// By carriage, then source, then destination.
    tokens: Vec<Vec<u32>>,
    /// Scratch space: the words that have tokens.
    inhabited: Vec<u32>,
}

impl MovePlan {
    /// An empty plan between so many tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self {
            tiers,
            free: vec![Bytes::ZERO; tiers],
            budget: Bytes::ZERO,
            kv_bytes: Bytes::ZERO,
            tokens: vec![Vec::new(); 2 * tiers * tiers],
            inhabited: Vec::new(),
        }
    }

    /// Empties the plan for a layer with tokens of `kv_bytes`, with the room that `ledger` has at this moment, and `budget` bytes
    /// to carry at most.
    pub fn reset(&mut self, kv_bytes: Bytes, ledger: &Ledger, budget: Bytes) {
        self.kv_bytes = kv_bytes;
        self.budget = budget;
        for (tier, free) in self.free.iter_mut().enumerate() {
            *free = ledger.room_for_moves(TierId(tier));
        }
        self.tokens.iter_mut().for_each(Vec::clear);
    }

    /// How many tokens more may be carried to `destination`: as many as fit and the budget allows.
    #[must_use]
    pub fn room(&self, destination: TierId) -> usize {
        let bytes = self.free[destination.0].min(self.budget);
        usize::try_from(bytes.whole_units(self.kv_bytes)).unwrap_or(usize::MAX)
    }

    /// Adds `token`, which must lie on `source` and not be in flight. False, and nothing added, if `destination` has no
    /// room for it or the budget is spent.
    pub fn add(&mut self, token: usize, source: TierId, destination: TierId) -> bool {
        self.carry(Carriage::Move, token, source, destination)
    }

    /// As [`add`](Self::add) for a token that the present step has read: it need not be read again. That is kept on the chip
    /// from a layer's reads to the end of the layer.
    pub fn promote(&mut self, token: usize, source: TierId, destination: TierId) -> bool {
        self.carry(Carriage::Promotion, token, source, destination)
    }

    fn carry(&mut self, carriage: Carriage, token: usize, source: TierId, destination: TierId) -> bool {
        if self.free[destination.0].min(self.budget) < self.kv_bytes {
            return false;
        }
        self.free[destination.0] -= self.kv_bytes;
        self.budget -= self.kv_bytes;
        let pair = source.0 * self.tiers + destination.0;
        self.tokens[carriage as usize * self.tiers * self.tiers + pair].push(token as u32);
        true
    }

    /// Adds tokens as [`add`](MovePlan::add) does: those whose bits `words` has, the lowest first; at most `most`, and no more
    /// than `destination` has room for. Returns how many.
    pub(super) fn add_ascending(&mut self, words: &[Word], source: TierId, destination: TierId, most: usize) -> usize {
        let inhabited = self.find_inhabited(words);
        let token = |index: u32, bit: u32| index * WORD_BITS as u32 + bit;
        self.add_words((source, destination), most, 0..inhabited, |index| words[index as usize], token)
    }

    /// As [`add_ascending`](MovePlan::add_ascending), the highest first.
    pub(super) fn add_descending(&mut self, words: &[Word], source: TierId, destination: TierId, most: usize) -> usize {
        let inhabited = self.find_inhabited(words);
        // Reversed, as the lowest bit of a word is taken out faster than the highest.
        let token = |index: u32, bit: u32| (index + 1) * WORD_BITS as u32 - 1 - bit;
        let word = |index: u32| words[index as usize].reverse_bits();
        self.add_words((source, destination), most, (0..inhabited).rev(), word, token)
    }

    /// Lists the words that have tokens, and returns how many there are. Which do is as good as random, so a branch on it
    /// would be mispredicted as often as not: there is none.
    fn find_inhabited(&mut self, words: &[Word]) -> usize {
        self.inhabited.resize(words.len(), 0);
        let mut inhabited = 0;
        for (index, word) in words.iter().enumerate() {
            self.inhabited[inhabited] = index as u32;
            inhabited += usize::from(*word != 0);
        }
        inhabited
    }

    /// Adds the tokens of the `inhabited` words of that order, of each from the lowest bit of what `word` says up; `token` is the
    /// token of a word's bit.
    fn add_words(
        &mut self,
        (source, destination): (TierId, TierId),
        most: usize,
        inhabited: impl Iterator<Item = usize>,
        word: impl Fn(u32) -> Word,
        token: impl Fn(u32, u32) -> u32,
    ) -> usize {
        let most = most.min(self.room(destination));
        let list = &mut self.tokens[source.0 * self.tiers + destination.0];
        let before = list.len();
        let mut end = before;
        for index in inhabited {
            if end - before >= most {
                break;
            }
            let index = self.inhabited[index];
            let to = space(list, end);
            let mut left = word(index);
            // How many a word has is as good as random, too: a second token is written whether there is one or not. What is past
            // the end is written over, or cut off below.
            to[0] = token(index, left.trailing_zeros());
            left &= left.wrapping_sub(1);
            to[1] = token(index, left.trailing_zeros() % WORD_BITS as u32);
            let mut count = 1 + usize::from(left != 0);
            left &= left.wrapping_sub(1);
            while left != 0 {
                to[count % WORD_BITS] = token(index, left.trailing_zeros());
                count += 1;
                left &= left - 1;
            }
            end += count;
        }
        let added = (end - before).min(most);
        list.truncate(before + added);
        self.free[destination.0] -= self.kv_bytes.times(added as u64);
        self.budget -= self.kv_bytes.times(added as u64);
        added
    }

    /// The tokens that move from `source` to `destination`, in order.
    pub(super) fn tokens(&self, source: TierId, destination: TierId) -> &[u32] {
        &self.tokens[source.0 * self.tiers + destination.0]
    }

    /// The moves, by carriage, then source, then destination; none is empty.
    pub fn moves(&self) -> impl Iterator<Item = (Carriage, TierId, TierId, &[u32])> {
        let pairs = self.tiers * self.tiers;
        self.tokens.iter().enumerate().filter(|(_, tokens)| !tokens.is_empty()).map(move |(index, tokens)| {
            let carriage = if index < pairs { Carriage::Move } else { Carriage::Promotion };
            let pair = index % pairs;
            (carriage, TierId(pair / self.tiers), TierId(pair % self.tiers), tokens.as_slice())
        })
    }
}

/// Room for the tokens of a word at `end` of `list`.
fn space(list: &mut Vec<u32>, end: usize) -> &mut [u32; WORD_BITS] {
    if list.len() < end + WORD_BITS {
        list.resize(end + 4 * WORD_BITS, 0);
    }
    list[end..].first_chunk_mut().expect("there is room")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySystem;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_are_added_as_token_by_token(
            lists in prop::collection::vec(
                (prop::collection::vec((any::<Word>(), any::<Word>(), 0u8..4), 0..20), 0usize..300, any::<bool>()), 1..4),
            room in 0u64..400, budget in 0u64..400,
        ) {
            let mut memory = crate::catalog::memory("study").unwrap();
            memory.tiers[1].capacity = Bytes::new(room.max(1));
            let ledger = Ledger::new(&MemorySystem::new(&memory).unwrap());
            let (source, destination) = (TierId(0), TierId(1));
            let mut fast = MovePlan::new(2);
            fast.reset(Bytes::new(1), &ledger, Bytes::new(budget));
            let mut twin = fast.clone();
            for (words, most, ascending) in lists {
                // Few bits, as a rule: words of one, two and many, and empty ones.
                let words: Vec<Word> = words
                    .into_iter()
                    .map(|(one, other, kind)| match kind {
                        0 => 0,
                        1 => 1 << (one % WORD_BITS),
                        2 => 1 << (one % WORD_BITS) | 1 << (other % WORD_BITS),
                        _ => one & other,
                    })
                    .collect();
                let mut tokens: Vec<usize> =
                    (0..words.len() * WORD_BITS).filter(|token| words[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1).collect();
                if !ascending {
                    tokens.reverse();
                }
                let added = tokens.into_iter().take(most).filter(|token| twin.add(*token, source, destination)).count();
                let add = if ascending { MovePlan::add_ascending } else { MovePlan::add_descending };
                prop_assert_eq!(add(&mut fast, &words, source, destination, most), added);
                prop_assert_eq!(fast.tokens(source, destination), twin.tokens(source, destination));
                prop_assert_eq!(fast.room(destination), twin.room(destination));
            }
        }
    }
}
