//! Sets of tokens or pages as bit sets, and the loops over them that runs spend their time in.

use fixedbitset::FixedBitSet;
use multiversion::multiversion;
use std::ops::Range;

/// One word of a [`TokenSet`].
pub(crate) type Word = usize;
/// How many tokens a word holds.
pub(crate) const WORD_BITS: usize = Word::BITS as usize;

/// A set of tokens, or of pages, of one layer, by index from 0; one bit each, within a fixed range.
///
/// The hot paths of a run go over [`words`](TokenSet::words) of several sets at once.
///
/// ```
/// use tiersim::workload::TokenSet;
/// let mut on_hbm = TokenSet::new(100);
/// on_hbm.extend([3, 64, 99]);
/// let mut skipped = TokenSet::new(100);
/// skipped.insert(64);
/// assert_eq!(on_hbm.count_without(&skipped), 2);
/// assert_eq!(on_hbm.iter().collect::<Vec<_>>(), [3, 64, 99]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet(FixedBitSet);

impl TokenSet {
    /// The empty set over the tokens `0..range`.
    #[must_use]
    pub fn new(range: usize) -> Self {
        Self(FixedBitSet::with_capacity(range))
    }

    /// The tokens that may be in it are those below.
    #[must_use]
    pub fn range(&self) -> usize {
        self.0.len()
    }

    /// Whether `token` is in the set.
    #[must_use]
    pub fn contains(&self, token: usize) -> bool {
        self.0.contains(token)
    }

    /// Adds `token`, which must be within the range.
    pub fn insert(&mut self, token: usize) {
        self.0.insert(token);
    }

    /// Takes `token` out.
    pub fn remove(&mut self, token: usize) {
        self.0.remove(token);
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many tokens are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count_ones(..)
    }

    /// How many tokens are in it and not in `other`, of the same range. O(range / 64).
    #[must_use]
    pub fn count_without(&self, other: &Self) -> usize {
        count_without(self.words(), other.words())
    }

    /// As [`count_without`](Self::count_without), where all tokens that count lie in `range`:
    /// neither set has a token after it, and of those before it, `other` has all that are in this
    /// one. O(range / 64), whatever comes before it.
    pub(crate) fn count_without_between(&self, other: &Self, range: Range<usize>) -> usize {
        let words = self.words_between(other, &range);
        count_without(&self.words()[words.clone()], &other.words()[words])
    }

    /// The words that hold the tokens of `range`, outside of which no token counts.
    fn words_between(&self, other: &Self, range: &Range<usize>) -> Range<usize> {
        let words = range.start / WORD_BITS..range.end.div_ceil(WORD_BITS);
        debug_assert!([self, other].iter().all(|set| set.words()[words.end..].iter().all(|word| *word == 0)));
        let mut before = self.words()[..words.start].iter().zip(other.words());
        debug_assert!(before.all(|(mine, theirs)| mine & !theirs == 0));
        words
    }

    /// As [`count_without`](Self::count_without), of the tokens in `range` alone, which must be
    /// within the range of both.
    #[must_use]
    pub fn count_without_in(&self, other: &Self, range: Range<usize>) -> usize {
        let here = |(word, mask): (usize, Word)| self.words()[word] & !other.words()[word] & mask;
        masks(range).map(|place| here(place).count_ones() as usize).sum()
    }

    /// In how many contiguous runs the tokens lie that are in it and not in `other`, if all tokens
    /// in it are stored one after the other: tokens that are in both sets separate runs, tokens in
    /// neither do not. All tokens that count lie in `range`, as for
    /// [`count_without_between`](Self::count_without_between).
    pub(crate) fn runs_without_between(&self, other: &Self, range: Range<usize>) -> usize {
        let words = self.words_between(other, &range);
        let pairs = self.words()[words.clone()].iter().zip(&other.words()[words]);
        runs(pairs.map(|(mine, theirs)| (*mine, mine & !theirs)))
    }

    /// The same of the tokens in `range` alone, which must be within the range of both.
    pub(crate) fn runs_without_in(&self, other: &Self, range: Range<usize>) -> usize {
        runs(masks(range).map(|(word, mask)| {
            let mine = self.words()[word] & mask;
            (mine, mine & !other.words()[word])
        }))
    }

    /// Whether all tokens in `range`, which must be within the set's, are in it.
    #[must_use]
    pub fn contains_all(&self, range: Range<usize>) -> bool {
        masks(range).all(|(word, mask)| self.words()[word] & mask == mask)
    }

    /// How many tokens of `range`, which must be within the set's, are in it.
    pub(crate) fn count_in(&self, range: Range<usize>) -> usize {
        masks(range).map(|(word, mask)| (self.words()[word] & mask).count_ones() as usize).sum()
    }

    /// Adds all tokens in `range`, which must be within the set's.
    pub(crate) fn insert_all(&mut self, range: Range<usize>) {
        let words = self.words_mut();
        masks(range).for_each(|(word, mask)| words[word] |= mask);
    }

    /// Adds the tokens of `other` that are in `range`, which must be within the range of both.
    pub(crate) fn insert_from(&mut self, other: &Self, range: Range<usize>) {
        let (words, others) = (self.words_mut(), other.words());
        masks(range).for_each(|(word, mask)| words[word] |= others[word] & mask);
    }

    /// The tokens, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.ones()
    }

    /// Bit `i % 64` of word `i / 64` (on a 64-bit machine) is token `i`.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        self.0.as_slice()
    }

    /// As [`words`](TokenSet::words). Bits beyond the range must stay 0.
    pub(crate) fn words_mut(&mut self) -> &mut [Word] {
        self.0.as_mut_slice()
    }

    /// Adds all tokens below `end`, which must be within the range, and returns how many tokens the
    /// set has from `end` to `all`, below which all its tokens lie. O(all / 64).
    pub(crate) fn fill_below(&mut self, end: usize, all: usize) -> usize {
        let (word, bit) = (end / WORD_BITS, end % WORD_BITS);
        self.words_mut()[..word].fill(Word::MAX);
        let words = all.div_ceil(WORD_BITS).max(word);
        let mut above = count(&self.words()[word..words]);
        if bit > 0 {
            let below = (1 << bit) - 1;
            let last = &mut self.words_mut()[word];
            above -= (*last & below).count_ones() as usize;
            *last |= below;
        }
        above
    }

    /// Takes over the tokens of `other`, of the same range, below `end`; those above are
    /// unspecified.
    pub(crate) fn copy_below(&mut self, other: &Self, end: usize) {
        let words = end.div_ceil(WORD_BITS);
        self.words_mut()[..words].copy_from_slice(&other.words()[..words]);
    }

    /// Makes room for tokens up to `range`.
    pub(crate) fn grow(&mut self, range: usize) {
        self.0.grow(range);
    }

    /// Takes over the tokens of `other`, whose range may be another one, as far as there is room;
    /// it has none beyond.
    pub(crate) fn copy_words(&mut self, other: &Self) {
        let shared = self.words().len().min(other.words().len());
        self.words_mut()[..shared].copy_from_slice(&other.words()[..shared]);
        self.words_mut()[shared..].fill(0);
    }

    /// Takes out the tokens that are not in `other`, whose range may be another one.
    pub(crate) fn keep(&mut self, other: &Self) {
        let words = self.words_mut().iter_mut();
        words.zip(other.words().iter().chain(std::iter::repeat(&0))).for_each(|(mine, theirs)| *mine &= theirs);
    }

    /// Becomes equal to `other`, of the same range, without allocating.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.words_mut().copy_from_slice(other.words());
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512vpopcntdq", "x86_64+avx2+bmi1+bmi2+popcnt"))]
fn count_without(mine: &[Word], theirs: &[Word]) -> usize {
    mine.iter().zip(theirs).map(|(mine, theirs)| (mine & !theirs).count_ones() as usize).sum()
}

/// The number of runs of the second bits of the words, where the first mark the bits that count:
/// the others are passed over.
///
/// A run goes on at a bit if the last bit before it that counts is in it. That is the carry of an
/// addition: a bit of a run makes one, a bit that does not count passes it on, any other ends it.
fn runs(words: impl Iterator<Item = (Word, Word)>) -> usize {
    let (mut carry, mut runs) = (false, 0);
    for (counts, inside) in words {
        let passes = inside | !counts;
        let (sum, first) = inside.overflowing_add(passes);
        let (sum, second) = sum.overflowing_add(Word::from(carry));
        let goes_on = sum ^ inside ^ passes;
        runs += (inside & !goes_on).count_ones() as usize;
        carry = first || second;
    }
    runs
}

/// How many bits `words` has.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512vpopcntdq", "x86_64+avx2+bmi1+bmi2+popcnt"))]
pub(crate) fn count(words: &[Word]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// Moves the bits of `moved` from `from` to `to`, and adds them to `flight` if `flying`, else takes
/// them out of it. All are at least as long as `moved`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn move_words(from: &mut [Word], to: &mut [Word], flight: &mut [Word], moved: &[Word], flying: bool) {
    let flying = if flying { Word::MAX } else { 0 };
    for (((moved, from), to), flight) in moved.iter().zip(from).zip(to).zip(flight) {
        *from &= !moved;
        *to |= moved;
        *flight = (*flight & !moved) | (moved & flying);
    }
}

/// Sets `found` to the bits of `these` that are not in `those` and are in `kept` or, if `others`,
/// not in `kept`. All have the same length.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn select(found: &mut [Word], these: &[Word], those: &[Word], kept: &[Word], others: bool) {
    let flip = if others { Word::MAX } else { 0 };
    for (((found, these), those), kept) in found.iter_mut().zip(these).zip(those).zip(kept) {
        *found = these & !those & (kept ^ flip);
    }
}

/// The words that hold the tokens of `range`, each with a mask of their bits.
fn masks(range: Range<usize>) -> impl Iterator<Item = (usize, Word)> {
    let mut token = range.start;
    std::iter::from_fn(move || {
        (token < range.end).then(|| {
            let (word, bit) = (token / WORD_BITS, token % WORD_BITS);
            let here = (WORD_BITS - bit).min(range.end - token);
            token += here;
            (word, (Word::MAX >> (WORD_BITS - here)) << bit)
        })
    })
}

impl Extend<usize> for TokenSet {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, tokens: I) {
        self.0.extend(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_as_counted_one_by_one(
            tokens in prop::collection::vec((prop::bool::weighted(0.7), prop::bool::weighted(0.3)), 1..400),
            from in 0usize..400, to in 0usize..400,
        ) {
            let set = |pick: fn(&(bool, bool)) -> bool| {
                let mut set = TokenSet::new(tokens.len());
                set.extend(tokens.iter().enumerate().filter(|(_, it)| pick(it)).map(|(token, _)| token));
                set
            };
            let (mine, skipped) = (set(|it| it.0), set(|it| it.1));
            let by_hand = |tokens: &[(bool, bool)]| {
                let read: Vec<bool> = tokens.iter().filter(|it| it.0).map(|it| !it.1).collect();
                read.chunk_by(|a, b| a == b).filter(|run| run[0]).count()
            };
            prop_assert_eq!(mine.runs_without_between(&skipped, 0..tokens.len()), by_hand(&tokens));
            let range = from.min(to).min(tokens.len())..from.max(to).min(tokens.len());
            prop_assert_eq!(mine.runs_without_in(&skipped, range.clone()), by_hand(&tokens[range]));
        }

        #[test]
        fn whole_words_are_as_token_by_token(
            words in prop::collection::vec((any::<Word>(), any::<Word>(), any::<Word>()), 0..70), others: bool,
        ) {
            let of = |pick: fn(&(Word, Word, Word)) -> Word| words.iter().map(pick).collect::<Vec<_>>();
            let (these, those, kept) = (of(|it| it.0), of(|it| it.1), of(|it| it.2));
            let has = |set: &[Word], token: usize| set[token / WORD_BITS] >> (token % WORD_BITS) & 1 == 1;
            let tokens = || 0..words.len() * WORD_BITS;
            prop_assert_eq!(
                count_without(&these, &those),
                tokens().filter(|token| has(&these, *token) && !has(&those, *token)).count()
            );
            prop_assert_eq!(count(&these), tokens().filter(|token| has(&these, *token)).count());
            let (mut from, mut to, mut flight) = (these.clone(), those.clone(), kept.clone());
            let moved = &these[..these.len().saturating_sub(3)];
            move_words(&mut from, &mut to, &mut flight, moved, others);
            for token in tokens() {
                let goes = token / WORD_BITS < moved.len() && has(moved, token);
                prop_assert_eq!(has(&from, token), has(&these, token) && !goes);
                prop_assert_eq!(has(&to, token), has(&those, token) || goes);
                prop_assert_eq!(has(&flight, token), if goes { others } else { has(&kept, token) });
            }
            let mut found = vec![0; words.len()];
            select(&mut found, &these, &those, &kept, others);
            for token in tokens() {
                let expected = has(&these, token) && !has(&those, token) && has(&kept, token) != others;
                prop_assert_eq!(has(&found, token), expected);
            }
        }
    }
}
