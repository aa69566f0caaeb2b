//! What a part of a strategy may know of the skip sets: in its type, and no more than that in what it sees.

use crate::workload::{StepSkips, TraceWindow};
use std::marker::PhantomData;

/// [`Past`] or [`Future`].
pub trait Knows: Copy + Default + sealed::Sealed + 'static {
    /// Whether steps to come may be seen.
    const FUTURE: bool;
}

/// Knows the steps that have been computed, as a real system does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past;

/// Knows some steps that are still to come: what no real system knows exactly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Future;

impl Knows for Past {
    const FUTURE: bool = false;
}

impl Knows for Future {
    const FUTURE: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Past {}
    impl Sealed for super::Future {}
}

/// The skip sets that may be seen.
#[derive(Clone, Copy)]
pub struct Skips<'a, K> {
    window: &'a TraceWindow,
    ahead: usize,
    knows: PhantomData<K>,
}

impl<'a> Skips<'a, Future> {
    /// All that `window` shows.
    #[must_use]
    pub fn all(window: &'a TraceWindow) -> Self {
        Self { window, ahead: usize::MAX, knows: PhantomData }
    }

    /// What one sees who knows no more than `K`, and of the future no more than `ahead` steps.
    #[must_use]
    pub fn restricted<K: Knows>(self, ahead: usize) -> Skips<'a, K> {
        let ahead = if K::FUTURE { ahead.min(self.ahead) } else { 0 };
        Skips { window: self.window, ahead, knows: PhantomData }
    }

    /// What the step `ahead` of the present one skips; `None` past what was declared, and past the last step.
    #[must_use]
    pub fn ahead(&self, ahead: usize) -> Option<&'a StepSkips> {
        if ahead <= self.ahead { self.window.step(ahead) } else { None }
    }
}

impl<'a, K> Skips<'a, K> {
    /// What the present step skips: past for those who decide, as it was needed for its reads.
    #[must_use]
    pub fn present(&self) -> &'a StepSkips {
        self.window.step(0).expect("the window shows the present step")
    }
}
