//! Typed indices: which layer, stage, sequence, token, page, step or region a number means.
//!
//! All of them are dense numbers from 0, so that tables of them are plain vectors ([`Table`]). They
//! are types of their own because they are easily taken for each other: with pages of 16 tokens,
//! *token 64* is *page 4*, and a parameter that counts tokens must not be handed a page.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut, Range};

/// A dense index of some kind: a number from 0 that is no plain number.
pub trait Id: Copy + Eq {
    /// The id with that number.
    fn from_index(index: usize) -> Self;
    /// Its number, from 0.
    fn index(self) -> usize;
}

/// Defines indices: for each a name, what it counts, and how it is printed.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            #[doc = concat!("The ", $what, " with that number, from 0.")]
            ///
            /// # Panics
            /// If `index` does not fit 32 bits.
            #[must_use]
            #[inline]
            pub const fn new(index: usize) -> Self {
                assert!(index <= u32::MAX as usize, "an index fits 32 bits");
                Self(index as u32)
            }

            /// Its number, from 0.
            #[must_use]
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            #[doc = concat!("The ", $what, " after it.")]
            #[must_use]
            #[inline]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }

            #[doc = concat!("Every ", $what, " of that many, the first first.")]
            pub fn all(count: usize) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator + Clone {
                (0..count).map(Self::new)
            }
        }

        impl Id for $name {
            #[inline]
            fn from_index(index: usize) -> Self {
                Self::new(index)
            }

            #[inline]
            fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// A layer of the language model.
    LayerId, "layer";
    /// A stage of a step, in the order in which they run.
    StageId, "stage";
    /// A sequence that is being decoded.
    SequenceId, "sequence";
    /// A group of sequences that are alike.
    GroupId, "group";
    /// A token of a sequence, by its position.
    Token, "token";
    /// A page of a KV region: [`PageSize::tokens`] tokens that lie and move together.
    Page, "page";
    /// A step of a run.
    Step, "step";
    /// A region of memory: a piece of the weights, or the KV of one sequence in one layer.
    RegionId, "region";
    /// A request to a serving engine, in the order of arrival.
    RequestId, "request";
    /// A prefix block: so many tokens of prompts that begin alike.
    BlockId, "block";
    /// A move of KV between tiers that a serving engine asks for.
    MoveId, "move";
}

/// How many tokens a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// Pages of one token.
    pub const TOKEN: Self = Self(1);

    /// Pages of `tokens` tokens; `None` for none.
    #[must_use]
    pub const fn new(tokens: u32) -> Option<Self> {
        if tokens == 0 { None } else { Some(Self(tokens)) }
    }

    /// How many tokens a page holds.
    #[must_use]
    #[inline]
    pub const fn tokens(self) -> usize {
        self.0 as usize
    }

    /// How many pages hold so many tokens, the last of them perhaps in part.
    #[must_use]
    #[inline]
    pub const fn pages(self, tokens: usize) -> usize {
        tokens.div_ceil(self.tokens())
    }

    /// The page that holds `token`.
    #[must_use]
    #[inline]
    pub const fn page_of(self, token: Token) -> Page {
        Page::new(token.index() / self.tokens())
    }

    /// The first token of `page`.
    #[must_use]
    #[inline]
    pub const fn first_token(self, page: Page) -> Token {
        Token::new(page.index() * self.tokens())
    }

    /// Whether `token` is the first of its page.
    #[must_use]
    #[inline]
    pub const fn starts_page(self, token: Token) -> bool {
        token.index().is_multiple_of(self.tokens())
    }

    /// The tokens of `page`, of `context` tokens in all.
    #[must_use]
    pub fn tokens_of(self, page: Page, context: usize) -> Range<usize> {
        let first = self.first_token(page).index();
        first..(first + self.tokens()).min(context)
    }
}

/// A value for each id of a kind: a vector that only that kind of id can index.
#[derive(Clone, PartialEq, Eq)]
pub struct Table<I, T> {
    values: Vec<T>,
    ids: PhantomData<fn(I) -> I>,
}

impl<I: Id, T> Table<I, T> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { values: Vec::new(), ids: PhantomData }
    }

    /// `value` for each of `count` ids.
    #[must_use]
    pub fn filled(count: usize, value: T) -> Self
    where
        T: Clone,
    {
        Self::from(vec![value; count])
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of `id`, if the table goes that far.
    #[must_use]
    pub fn get(&self, id: I) -> Option<&T> {
        self.values.get(id.index())
    }

    /// Adds the value of the next id, and returns that id.
    pub fn push(&mut self, value: T) -> I {
        self.values.push(value);
        I::from_index(self.values.len() - 1)
    }

    /// The ids, the first first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.values.len()).map(I::from_index)
    }

    /// The values, in the order of their ids.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The values, in the order of their ids, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.values.iter_mut()
    }

    /// Each id with its value, in the order of the ids.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        self.values.iter().enumerate().map(|(index, value)| (I::from_index(index), value))
    }

    /// The values as a slice, by the ids' numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The value of `id`, after adding what `missing` makes for the ids up to it. O(1) amortized.
    pub fn or_insert_with(&mut self, id: I, missing: impl FnMut() -> T) -> &mut T {
        if self.values.len() <= id.index() {
            self.values.resize_with(id.index() + 1, missing);
        }
        &mut self.values[id.index()]
    }
}

impl<I: Id, T> Default for Table<I, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, T> From<Vec<T>> for Table<I, T> {
    fn from(values: Vec<T>) -> Self {
        Self { values, ids: PhantomData }
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<V: IntoIterator<Item = T>>(values: V) -> Self {
        Self::from(Vec::from_iter(values))
    }
}

impl<'a, I: Id, T> IntoIterator for &'a Table<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.iter()
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    #[inline]
    fn index(&self, id: I) -> &T {
        &self.values[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    #[inline]
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.values[id.index()]
    }
}

impl<I, T: fmt::Debug> fmt::Debug for Table<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_tokens() {
        let size = PageSize::new(16).unwrap();
        assert_eq!(PageSize::new(0), None);
        assert_eq!((size.pages(0), size.pages(1), size.pages(16), size.pages(17)), (0, 1, 1, 2));
        assert_eq!((size.page_of(Token::new(15)), size.page_of(Token::new(16))), (Page::new(0), Page::new(1)));
        assert_eq!(size.first_token(Page::new(2)), Token::new(32));
        assert!(size.starts_page(Token::new(32)) && !size.starts_page(Token::new(33)));
        assert_eq!((size.tokens_of(Page::new(0), 20), size.tokens_of(Page::new(1), 20)), (0..16, 16..20));
    }

    #[test]
    fn tables_are_indexed_by_their_ids() {
        let mut table: Table<LayerId, u32> = Table::filled(2, 7);
        table[LayerId::new(1)] = 8;
        assert_eq!(table.push(9), LayerId::new(2));
        assert_eq!(
            table.entries().map(|(id, value)| (id.index(), *value)).collect::<Vec<_>>(),
            [(0, 7), (1, 8), (2, 9)]
        );
        *table.or_insert_with(LayerId::new(4), || 1) += 1;
        assert_eq!(table.as_slice(), [7, 8, 9, 1, 2]);
        assert_eq!(table.get(LayerId::new(5)), None);
        assert_eq!(LayerId::all(3).map(LayerId::index).sum::<usize>(), 3);
    }
}
