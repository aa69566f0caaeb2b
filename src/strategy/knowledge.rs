//! What a part of a strategy may know of the skip sets: in its type, and no more than that in what
//! it sees.

use crate::units::{Ratio, RegionId};
use crate::workload::{SkipWindows, Skipped};
use std::fmt;
use std::marker::PhantomData;

/// What a strategy must know of the skip sets: the past alone, as a real system does, or steps to
/// come.
///
/// Every table, legend and sentence that names a strategy shows it, because a time that was reached
/// with knowledge of the future is a bound on what can be built, not a design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knowledge {
    /// Decides from the past alone: a real system could do the same.
    Realizable,
    /// Decides from the past and from a predictor of that hit rate, which is assumed.
    Predictor(Ratio),
    /// Sees so many steps that are still to come; `usize::MAX` for all of them.
    Oracle(usize),
}

impl Knowledge {
    /// That of a strategy that sees `steps` steps of the future.
    #[must_use]
    pub const fn of(steps: usize) -> Self {
        if steps == 0 { Self::Realizable } else { Self::Oracle(steps) }
    }

    /// The same with a predictor of that hit rate, if there is one. An oracle remains one.
    #[must_use]
    pub fn assuming(self, hit_rate: Option<Ratio>) -> Self {
        match (self, hit_rate) {
            (Self::Realizable, Some(hit_rate)) => Self::Predictor(hit_rate),
            _ => self,
        }
    }

    /// The inverse of its text, as in `knows` of a `summary.json`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let sees = text.strip_prefix("oracle: sees ");
        if let Some(percent) = text.strip_prefix("assumes a predictor of hit rate ") {
            return percent.parse().ok().map(Self::Predictor);
        }
        match (text, sees) {
            ("realizable", _) => Some(Self::Realizable),
            (_, Some("all steps")) => Some(Self::Oracle(usize::MAX)),
            (_, Some(sees)) => sees.split(' ').next()?.parse().ok().map(Self::Oracle),
            _ => None,
        }
    }

    /// `name` as tables, legends and sentences show it: an oracle's with what it sees, `best-ratio
    /// (oracle: sees 1 step)`.
    #[must_use]
    pub fn label(self, name: &str) -> String {
        match self {
            Self::Realizable => name.to_owned(),
            Self::Predictor(_) | Self::Oracle(_) => format!("{name} ({self})"),
        }
    }
}

impl fmt::Display for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realizable => f.pad("realizable"),
            Self::Predictor(hit_rate) => f.pad(&format!("assumes a predictor of hit rate {} %", hit_rate.percent())),
            Self::Oracle(1) => f.pad("oracle: sees 1 step"),
            Self::Oracle(usize::MAX) => f.pad("oracle: sees all steps"),
            Self::Oracle(steps) => f.pad(&format!("oracle: sees {steps} steps")),
        }
    }
}

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
    window: &'a SkipWindows,
    ahead: usize,
    knows: PhantomData<K>,
}

impl<'a> Skips<'a, Future> {
    /// All that `window` shows.
    #[must_use]
    pub fn all(window: &'a SkipWindows) -> Self {
        Self { window, ahead: usize::MAX, knows: PhantomData }
    }

    /// The sets that may be seen by one who knows no more than `K`, and of the future no more than
    /// `ahead` steps.
    #[must_use]
    pub fn restricted<K: Knows>(self, ahead: usize) -> Skips<'a, K> {
        let ahead = if K::FUTURE { ahead.min(self.ahead) } else { 0 };
        Skips { window: self.window, ahead, knows: PhantomData }
    }

    /// What the step `ahead` of the present one skips of a region; `None` past what was declared,
    /// and past the last step.
    #[must_use]
    pub fn ahead(&self, ahead: usize, region: RegionId) -> Option<Skipped<'a>> {
        if ahead <= self.ahead { self.window.skipped(ahead, region) } else { None }
    }
}

impl<'a, K> Skips<'a, K> {
    /// What the present step skips of a region: past for those who decide, as its reads needed it.
    #[must_use]
    pub fn present(&self, region: RegionId) -> Skipped<'a> {
        self.window.skipped(0, region).expect("the window shows the present step")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let predictor = Knowledge::Predictor(Ratio::from_permille(905).unwrap());
        assert_eq!(predictor.label("lru"), "lru (assumes a predictor of hit rate 90.5 %)");
        for knowledge in [
            predictor,
            Knowledge::Realizable,
            Knowledge::Oracle(1),
            Knowledge::Oracle(8),
            Knowledge::Oracle(usize::MAX),
        ] {
            assert_eq!(Knowledge::from_text(&knowledge.to_string()), Some(knowledge));
        }
        assert_eq!(Knowledge::from_text("oracle: sees the end"), None);
        assert_eq!(Knowledge::of(0).label("lru"), "lru");
        assert_eq!(Knowledge::of(1).label("best-ratio"), "best-ratio (oracle: sees 1 step)");
    }
}
