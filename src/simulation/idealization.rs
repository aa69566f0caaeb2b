//! Idealizations: the causes of loss that a run can be free of.
//!
//! `explain` simulates a run again and again, each time without one more of them, and attributes to
//! a cause the time by which the run is shorter without it.

use std::fmt;

/// A cause of loss, which makes a run slower than its bound and which a run can be idealized by.
///
/// The order is that of [`explain`](crate::explain): first the traffic that a strategy adds, then
/// what the machine and the runtime lose, then the room that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ideal {
    /// What migration moves arrives at the instant at which it is issued, over no lane.
    FreeMigration,
    /// KV is written at the instant at which it is computed, over no lane; no read waits for it.
    FreeWrites,
    /// Every lane carries what it carries of long reads, or long writes where it carries only
    /// these, whatever the granules and the mix: no row is opened, no bus turns around.
    NoLosses,
    /// No transfer is capped, none waits in line because a tier or a link carries only so many at
    /// once, and any number of bytes may be in flight.
    NoLimits,
    /// Every transfer is spread evenly over all channels of its tier, also where pages are hashed.
    EvenChannels,
    /// Tiers and links answer at once.
    NoLatencies,
    /// The runtime takes no fixed times.
    NoFixedTimes,
    /// Every kernel reaches all of its tier's bandwidth.
    FullReach,
    /// Tiers that compute take no more than reading their parts at all of their bandwidth.
    TiersAtOnce,
    /// The run starts from the layout that the bound of its first step uses. What scarce room costs
    /// from there on is what no layout can mend.
    BoundLayout,
    /// Every tier is read at the same time as the others, and computes at the same time as the
    /// chip.
    DirectReads,
    /// The first tier has room for all.
    AmpleHbm,
    /// KV is placed, moved and read token by token.
    SingleTokens,
}

impl Ideal {
    /// How many there are.
    pub const COUNT: usize = 13;
    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::FreeMigration,
        Self::FreeWrites,
        Self::NoLosses,
        Self::NoLimits,
        Self::EvenChannels,
        Self::NoLatencies,
        Self::NoFixedTimes,
        Self::FullReach,
        Self::TiersAtOnce,
        Self::BoundLayout,
        Self::DirectReads,
        Self::AmpleHbm,
        Self::SingleTokens,
    ];

    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FreeMigration => "FreeMigration",
            Self::FreeWrites => "FreeWrites",
            Self::NoLosses => "NoLosses",
            Self::NoLimits => "NoLimits",
            Self::EvenChannels => "EvenChannels",
            Self::NoLatencies => "NoLatencies",
            Self::NoFixedTimes => "NoFixedTimes",
            Self::FullReach => "FullReach",
            Self::TiersAtOnce => "TiersAtOnce",
            Self::DirectReads => "DirectReads",
            Self::BoundLayout => "BoundLayout",
            Self::AmpleHbm => "AmpleHbm",
            Self::SingleTokens => "SingleTokens",
        }
    }
}

impl fmt::Display for Ideal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The causes of loss that a run is free of; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idealization(u16);

impl Idealization {
    /// Nothing: a run as it is.
    pub const NONE: Self = Self(0);

    /// This, and `ideal` as well.
    #[must_use]
    pub const fn with(self, ideal: Ideal) -> Self {
        Self(self.0 | (1 << ideal as u16))
    }

    /// Whether `ideal` is among it.
    #[must_use]
    pub const fn has(self, ideal: Ideal) -> bool {
        self.0 & (1 << ideal as u16) != 0
    }
}

impl FromIterator<Ideal> for Idealization {
    fn from_iter<I: IntoIterator<Item = Ideal>>(ideals: I) -> Self {
        ideals.into_iter().fold(Self::NONE, Self::with)
    }
}
