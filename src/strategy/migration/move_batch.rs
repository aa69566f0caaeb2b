//! Batches of pages that move together, as lists or as words of sets.

use crate::workload::tokens::{WORD_BITS, Word, count};
use multiversion::multiversion;
use std::ops::Range;

/// Pages that go the same way, in the order in which they are carried.
///
/// A few pages are kept as a list. Where there are many among those from which they were taken,
/// they are kept as words of a set: changing the sets of the residency then takes one operation per
/// word, several words at a time, instead of several per page.
#[derive(Clone, Debug, Default)]
pub struct MoveBatch {
    stretches: Vec<Stretch>,
    list: Vec<u32>,
    words: Vec<Word>,
    /// Scratch space: the words that have pages.
    inhabited: Vec<u32>,
}

/// Pages of a batch that follow each other.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    kind: Kind,
    pages: usize,
    /// Where it begins in the list or among the words; it ends where the next one of its kind
    /// begins.
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Listed,
    /// Words, the first of page 0 on.
    Words(Order),
}

/// Which of the pages of a set goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The lowest.
    Ascending,
    /// The highest.
    Descending,
}

/// Some pages of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// One by one.
    Listed(&'a [u32]),
    /// Those whose bits are set in these words of a [`TokenSet`](crate::workload::TokenSet), and
    /// the number of the first of the words.
    Words(usize, &'a [usize]),
    /// Those whose bits are set in one word, and its number.
    Word(usize, usize),
}

/// A set with at least one page in so many words is kept as words. With fewer pages that would take
/// more time or, where there are many words, too much memory.
fn words_a_page(words: usize) -> usize {
    if words <= FEW_WORDS { 8 } else { 2 }
}

/// The words of 32,768 pages: 4 KiB.
const FEW_WORDS: usize = 512;

impl MoveBatch {
    /// The most memory that a page takes in a batch of pages below `range`, in bytes: in a list of
    /// which half is room to grow, and for a moment beside its shorter predecessor, or in the
    /// smallest set that is kept as words.
    #[must_use]
    pub fn most_bytes_a_page(range: usize) -> u64 {
        let words = words_a_page(range.div_ceil(WORD_BITS)) * size_of::<Word>();
        (words.max(3 * size_of::<u32>())) as u64
    }

    /// Takes all pages out.
    pub fn clear(&mut self) {
        self.stretches.clear();
        self.list.clear();
        self.words.clear();
    }

    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.pages).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Adds a page at the end.
    pub fn push(&mut self, page: u32) {
        self.listed(self.list.len(), 1);
        self.list.push(page);
    }

    /// Becomes equal to `other`.
    pub fn copy_from(&mut self, other: &Self) {
        self.stretches.clone_from(&other.stretches);
        self.list.clone_from(&other.list);
        self.words.clone_from(&other.words);
    }

    /// So many pages more are listed from `start` on.
    fn listed(&mut self, start: usize, pages: usize) {
        match self.stretches.last_mut() {
            Some(last) if last.kind == Kind::Listed => last.pages += pages,
            _ => self.stretches.push(Stretch { kind: Kind::Listed, pages, start }),
        }
    }

    /// Adds the pages of a set, in `order`; at most `most`. Returns how many.
    pub(super) fn push_set(&mut self, set: &[Word], order: Order, most: usize) -> usize {
        let all = count(set);
        let pages = all.min(most);
        if pages == 0 {
            return 0;
        }
        if pages * words_a_page(set.len()) < set.len() {
            let start = self.list.len();
            self.list_set(set, order, pages);
            self.listed(start, pages);
            return pages;
        }
        let start = self.words.len();
        self.words.extend_from_slice(set);
        if pages < all {
            let words = &mut self.words[start..];
            let (last, before) = locate(words, order, pages - 1);
            words[last] = first_bits(words[last], order, pages - before);
            match order {
                Order::Ascending => words[last + 1..].fill(0),
                Order::Descending => words[..last].fill(0),
            }
        }
        self.stretches.push(Stretch { kind: Kind::Words(order), pages, start });
        pages
    }

    /// Lists the first `pages` pages of a set that has as many. Which words have pages is as good
    /// as random, so the loop that finds them has no branch on it: it would be mispredicted half
    /// the time.
    fn list_set(&mut self, set: &[Word], order: Order, pages: usize) {
        self.inhabited.resize(set.len(), 0);
        let mut inhabited = 0;
        for (index, word) in set.iter().enumerate() {
            self.inhabited[inhabited] = index as u32;
            inhabited += usize::from(*word != 0);
        }
        let end = self.list.len() + pages;
        let mut take = |index: &u32| {
            let index = *index as usize;
            let mut left = set[index];
            while left != 0 && self.list.len() < end {
                let bit = first_bit(left, order);
                self.list.push((index * WORD_BITS) as u32 + bit);
                left &= !(1 << bit);
            }
            self.list.len() < end
        };
        let inhabited = &self.inhabited[..inhabited];
        match order {
            Order::Ascending => inhabited.iter().all(&mut take),
            Order::Descending => inhabited.iter().rev().all(&mut take),
        };
    }

    /// All pages, in no order.
    pub fn all(&self, piece: impl FnMut(Piece<'_>)) {
        self.pieces(0..usize::MAX, piece);
    }

    /// The pages from the one at `range.start` to the one before `range.end`, in no order; where
    /// the range goes beyond the end, to the last.
    pub fn pieces(&self, range: Range<usize>, mut piece: impl FnMut(Piece<'_>)) {
        let mut before = 0;
        for (index, stretch) in self.stretches.iter().enumerate() {
            let part = range.start.saturating_sub(before).min(stretch.pages)
                ..range.end.saturating_sub(before).min(stretch.pages);
            before += stretch.pages;
            if part.is_empty() {
                continue;
            }
            match stretch.kind {
                Kind::Listed => piece(Piece::Listed(&self.list[stretch.start..][part])),
                Kind::Words(order) => {
                    let words = self.words_of(index);
                    if part.len() == stretch.pages {
                        piece(Piece::Words(0, words));
                    } else {
                        words_between(words, order, part, &mut piece);
                    }
                }
            }
        }
    }

    /// Adds the pages to `list`, in their order.
    pub fn list_in(&self, list: &mut Vec<u32>) {
        for (index, stretch) in self.stretches.iter().enumerate() {
            match stretch.kind {
                Kind::Listed => list.extend_from_slice(&self.list[stretch.start..][..stretch.pages]),
                Kind::Words(order) => {
                    let mut take = |(index, &word): (usize, &Word)| {
                        let mut left = word;
                        while left != 0 {
                            let bit = first_bit(left, order);
                            list.push((index * WORD_BITS) as u32 + bit);
                            left &= !(1 << bit);
                        }
                    };
                    let words = self.words_of(index).iter().enumerate();
                    match order {
                        Order::Ascending => words.for_each(&mut take),
                        Order::Descending => words.rev().for_each(&mut take),
                    }
                }
            }
        }
    }

    /// The words of that stretch.
    fn words_of(&self, index: usize) -> &[Word] {
        let next = self.stretches[index + 1..].iter().find(|next| next.kind != Kind::Listed);
        &self.words[self.stretches[index].start..next.map_or(self.words.len(), |next| next.start)]
    }
}

/// The words of those pages of `words` that are in `range`, which is not empty, when they are
/// counted in `order`.
fn words_between(words: &[Word], order: Order, range: Range<usize>, piece: &mut impl FnMut(Piece<'_>)) {
    let (first, before_first) = locate(words, order, range.start);
    let (last, before_last) = locate(words, order, range.end - 1);
    let until_end = first_bits(words[last], order, range.end - before_last);
    let before_start = first_bits(words[first], order, range.start - before_first);
    if first == last {
        piece(Piece::Word(first, until_end & !before_start));
        return;
    }
    piece(Piece::Word(first, words[first] & !before_start));
    piece(Piece::Word(last, until_end));
    let between = first.min(last) + 1..first.max(last);
    piece(Piece::Words(between.start, &words[between]));
}

/// In which word the page of that number is, from 0 on in `order`, and how many are in the words
/// before that one. There must be one.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+popcnt"))]
fn locate(words: &[Word], order: Order, number: usize) -> (usize, usize) {
    let mut before = 0;
    let mut at = 0;
    loop {
        let index = match order {
            Order::Ascending => at,
            Order::Descending => words.len() - 1 - at,
        };
        let here = words[index].count_ones() as usize;
        if before + here > number {
            return (index, before);
        }
        before += here;
        at += 1;
    }
}

fn first_bit(word: Word, order: Order) -> u32 {
    match order {
        Order::Ascending => word.trailing_zeros(),
        Order::Descending => Word::BITS - 1 - word.leading_zeros(),
    }
}

/// The first `count` bits of `word`, which has as many.
fn first_bits(word: Word, order: Order, count: usize) -> Word {
    if count == word.count_ones() as usize {
        return word;
    }
    let mut rest = word;
    for _ in 0..count {
        rest &= !(1 << first_bit(rest, order));
    }
    word & !rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::TokenSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_are_as_their_tokens_one_by_one(
            sets in prop::collection::vec(
                (prop::collection::vec((any::<Word>(), any::<Word>(), 0u8..5), 0..20), 0usize..300, any::<bool>()), 1..4),
            cuts in prop::collection::vec(0.0f64..1.0, 0..4),
        ) {
            let (mut batch, mut twin) = (MoveBatch::default(), Vec::new());
            for (words, most, ascending) in sets {
                // None, one and two bits, few and many.
                let words: Vec<Word> = words
                    .into_iter()
                    .map(|(one, other, kind)| match kind {
                        0 => 0,
                        1 => 1 << (one % WORD_BITS),
                        2 => 1 << (one % WORD_BITS) | 1 << (other % WORD_BITS),
                        3 => one & other,
                        _ => 0,
                    })
                    .collect();
                let has = |token: &usize| words[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1;
                let mut tokens: Vec<u32> =
                    (0..words.len() * WORD_BITS).filter(has).map(|token| token as u32).collect();
                if !ascending {
                    tokens.reverse();
                }
                tokens.truncate(most);
                let order = if ascending { Order::Ascending } else { Order::Descending };
                prop_assert_eq!(batch.push_set(&words, order, most), tokens.len());
                twin.extend(tokens);
                batch.push(7);
                twin.push(7);
            }
            prop_assert_eq!(batch.len(), twin.len());
            let mut listed = Vec::new();
            batch.list_in(&mut listed);
            prop_assert_eq!(&listed, &twin);
            // Stretch by stretch, whatever they are.
            let mut ends: Vec<usize> = cuts.iter().map(|cut| (cut * twin.len() as f64) as usize).collect();
            ends.extend([0, twin.len()]);
            ends.sort_unstable();
            for range in ends.windows(2).map(|ends| ends[0]..ends[1]) {
                let mut found = TokenSet::new(20 * WORD_BITS);
                let mut count = 0;
                let mut take = |tokens: &mut dyn Iterator<Item = usize>| {
                    tokens.for_each(|token| {
                        found.insert(token);
                        count += 1;
                    });
                };
                let bits = |index: usize, word: Word| {
                    (0..WORD_BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * WORD_BITS + bit)
                };
                batch.pieces(range.clone(), |piece| match piece {
                    Piece::Listed(list) => take(&mut list.iter().map(|token| *token as usize)),
                    Piece::Words(first, words) => {
                        take(&mut (first..).zip(words).flat_map(|(index, word)| bits(index, *word)));
                    }
                    Piece::Word(index, word) => take(&mut bits(index, word)),
                });
                let mut expected = TokenSet::new(20 * WORD_BITS);
                expected.extend(twin[range.clone()].iter().map(|token| *token as usize));
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(count, range.len());
            }
        }
    }
}
