//! What transfers are for, and a table with one value for each such class.

use serde::Serialize;
use std::fmt;
use std::ops::{Index, IndexMut};

/// What a transfer is for. The order is the order of every report and, but for `Stage` and
/// `Activation`, which come with demand reads, the order of precedence under `Priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TransferClass {
    /// A sublayer's weights, read by the sublayer that needs them.
    WeightRead,
    /// A layer's KV of the tokens that attention does not skip.
    KvRead,
    /// The KV of the token just computed; posted.
    KvWrite,
    /// Tokens' KV moved to a faster tier in the background.
    MigrateIn,
    /// Tokens' KV moved to a slower tier in the background.
    MigrateOut,
    /// Weights or KV copied into a buffer on the first tier, from where the stage that waits for
    /// them reads them. Only where a runtime reads a tier so; elsewhere reports leave the class
    /// out.
    Stage,
    /// Activations on their way to a tier that computes, or back. Only where a tier computes.
    Activation,
}

impl TransferClass {
    /// How many classes there are.
    pub const COUNT: usize = 7;
    /// Every class, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::WeightRead,
        Self::KvRead,
        Self::KvWrite,
        Self::MigrateIn,
        Self::MigrateOut,
        Self::Stage,
        Self::Activation,
    ];

    /// The place of this class in [`TransferClass::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether reports show it where it is `used` or not: copies into a buffer and activations only
    /// where there are any.
    #[must_use]
    pub fn is_shown(self, used: bool) -> bool {
        used || !matches!(self, Self::Stage | Self::Activation)
    }

    /// The name used in every report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WeightRead => "WeightRead",
            Self::KvRead => "KvRead",
            Self::KvWrite => "KvWrite",
            Self::MigrateIn => "MigrateIn",
            Self::MigrateOut => "MigrateOut",
            Self::Stage => "Stage",
            Self::Activation => "Activation",
        }
    }
}

impl fmt::Display for TransferClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One value for each [`TransferClass`], indexed by it.
///
/// ```
/// use tiersim::memory::{PerClass, TransferClass};
///
/// let mut bytes = PerClass::from_fn(|_| 0_u64);
/// bytes[TransferClass::KvRead] += 7;
/// assert_eq!(bytes.values().sum::<u64>(), 7);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerClass<T>([T; TransferClass::COUNT]);

impl<T> PerClass<T> {
    /// `value` for every class.
    #[must_use]
    pub fn filled(value: T) -> Self
    where
        T: Copy,
    {
        Self([value; TransferClass::COUNT])
    }

    /// What `value` returns for each class, called in the order of [`TransferClass::ALL`].
    #[must_use]
    pub fn from_fn(value: impl FnMut(TransferClass) -> T) -> Self {
        Self(TransferClass::ALL.map(value))
    }

    /// Each class with its value, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (TransferClass, &T)> + ExactSizeIterator {
        TransferClass::ALL.into_iter().zip(&self.0)
    }

    /// The values, in the order of [`TransferClass::ALL`].
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// Each value put through `change`, in order.
    #[must_use]
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> PerClass<U> {
        PerClass(self.0.map(change))
    }
}

impl<T> Index<TransferClass> for PerClass<T> {
    type Output = T;

    #[inline]
    fn index(&self, class: TransferClass) -> &T {
        &self.0[class as usize]
    }
}

impl<T> IndexMut<TransferClass> for PerClass<T> {
    #[inline]
    fn index_mut(&mut self, class: TransferClass) -> &mut T {
        &mut self.0[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_indexes_its_own_value() {
        let mut names = PerClass::from_fn(TransferClass::name);
        assert!(names.iter().all(|(class, name)| class.name() == *name));
        names[TransferClass::KvWrite] = "written";
        let lengths = names.map(str::len);
        assert_eq!(lengths.values().copied().collect::<Vec<_>>(), [10, 6, 7, 9, 10, 5, 10]);
        assert_eq!(PerClass::<usize>::default(), PerClass::filled(0));
    }
}
