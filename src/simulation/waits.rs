use crate::memory::{Bottleneck, PerClass, TransferClass};
use crate::units::SimTime;

/// A demand read that the present stage lacks, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Distinguishes it from the stage's other reads, and from their other parts.
    pub read: (u32, u32),
    /// Weights or KV.
    pub class: TransferClass,
    /// When it was issued.
    pub issued: SimTime,
    /// Why it does not arrive faster.
    pub bottleneck: Bottleneck,
}

/// What the present stage lacks at a moment, and what lanes carry meanwhile. A stage that lacks
/// nothing has ended.
#[derive(Clone, Copy, Debug)]
pub struct Waits<'a> {
    /// Its reads that have not arrived, in the order in which they were issued; at one instant
    /// weights first, then the faster tier's.
    pub reads: &'a [Waiting],
    /// Whether it still computes, or its fixed time goes on.
    pub computing: bool,
    /// Whether its fixed time goes on, in which it neither reads nor computes.
    pub launching: bool,
    /// Where tiers compute parts of the stage: whether one of them computes, or is about to, and
    /// reads nothing.
    pub on_tiers: Option<bool>,
    /// What each lane carries of each class, in bytes a second.
    pub rates: &'a [PerClass<f64>],
}
