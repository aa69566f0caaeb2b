//! Names for the pieces of a memory system, and a table with one value for each tier.
//!
//! An id is a place in a list of the [`MemorySystem`](super::MemorySystem) that gave it out. Lanes,
//! ports and routes are only given out by a system, so an id that a caller holds is known to exist
//! there; a tier can also be named by its place ([`TierId::new`]), because configurations, results
//! and traffic files speak of tiers by their order.

use std::ops::{Index, IndexMut};

/// A tier's place in [`MemorySystem::tiers`](super::MemorySystem::tiers); 0 is HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierId(usize);

impl TierId {
    /// The fastest tier.
    pub const HBM: Self = Self(0);

    /// The tier at place `index`, the fastest first. Whatever it indexes panics if its system has
    /// fewer tiers.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// Its place, the fastest tier's being 0.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Defines places in lists of a [`MemorySystem`](super::MemorySystem), which alone gives them out.
macro_rules! places {
    ($($(#[$doc:meta])* $name:ident, $place:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(usize);

        impl $name {
            pub(crate) const fn new(index: usize) -> Self {
                Self(index)
            }

            #[doc = $place]
            #[inline]
            #[must_use]
            pub const fn index(self) -> usize {
                self.0
            }
        }
    )+};
}

places! {
    /// A lane's place in [`MemorySystem::lanes`](super::MemorySystem::lanes).
    LaneId, "Its place among the lanes of its system.";
    /// What a transfer reads from or writes to: one channel of a tier whose pages are hashed, or all
    /// of a tier that is striped.
    PortId, "Its place among the ports of its system, tier by tier.";
    /// The lanes that a transfer holds at the same time, as a number: see
    /// [`MemorySystem::route`](super::MemorySystem::route).
    RouteId, "Its place among [`MemorySystem::routes`](super::MemorySystem::routes).";
}

/// One value for each tier of a memory system, indexed by [`TierId`].
///
/// ```
/// use tiersim::memory::{PerTier, TierId};
///
/// let mut used = PerTier::filled(2, 0_u64);
/// used[TierId::HBM] += 7;
/// let listed: Vec<_> = used.iter().map(|(tier, used)| (tier.index(), *used)).collect();
/// assert_eq!(listed, [(0, 7), (1, 0)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PerTier<T>(Vec<T>);

impl<T> PerTier<T> {
    /// `value` for each of `tiers` tiers.
    #[must_use]
    pub fn filled(tiers: usize, value: T) -> Self
    where
        T: Clone,
    {
        Self(vec![value; tiers])
    }

    /// What `value` returns for each of `tiers` tiers, the fastest first.
    #[must_use]
    pub fn from_fn(tiers: usize, value: impl FnMut(TierId) -> T) -> Self {
        Self((0..tiers).map(TierId).map(value).collect())
    }

    /// The number of tiers.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // No system is without tiers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The tiers, the fastest first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = TierId> + ExactSizeIterator + use<T> {
        (0..self.0.len()).map(TierId)
    }

    /// The slowest tier.
    #[must_use]
    pub fn last(&self) -> TierId {
        TierId(self.0.len() - 1)
    }

    /// Each tier with its value, the fastest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (TierId, &T)> + ExactSizeIterator {
        self.0.iter().enumerate().map(|(index, value)| (TierId(index), value))
    }

    /// Each tier with its value, to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (TierId, &mut T)> + ExactSizeIterator {
        self.0.iter_mut().enumerate().map(|(index, value)| (TierId(index), value))
    }

    /// The values, the fastest tier's first.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// The values as a slice, the fastest tier's first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Each value put through `change`.
    #[must_use]
    pub fn map<U>(&self, change: impl FnMut(&T) -> U) -> PerTier<U> {
        PerTier(self.0.iter().map(change).collect())
    }

    /// The values of two different tiers, to be changed.
    ///
    /// # Panics
    /// If the tiers are the same.
    pub fn pair_mut(&mut self, one: TierId, other: TierId) -> [&mut T; 2] {
        self.0.get_disjoint_mut([one.0, other.0]).expect("two different tiers of the system")
    }

    /// Takes over the values of `other`, which has as many tiers.
    pub fn copy_from(&mut self, other: &Self)
    where
        T: Copy,
    {
        self.0.copy_from_slice(&other.0);
    }

    /// Sets every tier's value to `value`.
    pub fn fill(&mut self, value: T)
    where
        T: Clone,
    {
        self.0.fill(value);
    }
}

impl<T> Index<TierId> for PerTier<T> {
    type Output = T;

    #[inline]
    fn index(&self, tier: TierId) -> &T {
        &self.0[tier.0]
    }
}

impl<T> IndexMut<TierId> for PerTier<T> {
    #[inline]
    fn index_mut(&mut self, tier: TierId) -> &mut T {
        &mut self.0[tier.0]
    }
}

/// The values of all tiers, the fastest first.
impl<T> FromIterator<T> for PerTier<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> IntoIterator for PerTier<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_indexes_its_own_value() {
        let mut squares = PerTier::from_fn(3, |tier| tier.index() * tier.index());
        assert_eq!(squares.as_slice(), [0, 1, 4]);
        squares[TierId::new(2)] = 9;
        assert_eq!(squares[squares.last()], 9);
        for (tier, value) in squares.iter_mut().rev() {
            *value += tier.index();
        }
        assert_eq!(squares.ids().map(|tier| squares[tier]).collect::<Vec<_>>(), [0, 2, 11]);
        assert_eq!(squares.map(|value| value % 2).into_iter().collect::<Vec<_>>(), [0, 0, 1]);
        squares.fill(5);
        assert_eq!(squares, PerTier::filled(3, 5));
        assert_eq!(squares, squares.values().copied().collect());
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_tier_of_a_larger_system_is_refused() {
        let _: u8 = PerTier::filled(2, 0)[TierId::new(2)];
    }
}
