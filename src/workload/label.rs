//! What stages compute: their labels, by which results are told apart.

use std::fmt;
use std::ops::{Index, IndexMut};

/// What a stage computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageLabel {
    /// The embedding: reads a row for each token.
    Embedding,
    /// Attention of a layer: reads its weights and KV, appends KV.
    Attention,
    /// The feed-forward part of a layer: reads its weights.
    Mlp,
    /// The head: reads the matrix that turns the last hidden state into tokens.
    Head,
}

impl StageLabel {
    /// All labels, in the order in which a step runs them first.
    pub const ALL: [Self; 4] = [Self::Embedding, Self::Attention, Self::Mlp, Self::Head];
}

impl fmt::Display for StageLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Head => "head",
        })
    }
}

/// A value for each [`StageLabel`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerLabel<T>([T; StageLabel::ALL.len()]);

impl<T> PerLabel<T> {
    /// What `of` makes for each label.
    pub fn from_fn(of: impl FnMut(StageLabel) -> T) -> Self {
        Self(StageLabel::ALL.map(of))
    }

    /// Each label with its value.
    pub fn iter(&self) -> impl Iterator<Item = (StageLabel, &T)> {
        StageLabel::ALL.into_iter().zip(&self.0)
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> Index<StageLabel> for PerLabel<T> {
    type Output = T;

    fn index(&self, label: StageLabel) -> &T {
        &self.0[label as usize]
    }
}

impl<T> IndexMut<StageLabel> for PerLabel<T> {
    fn index_mut(&mut self, label: StageLabel) -> &mut T {
        &mut self.0[label as usize]
    }
}
