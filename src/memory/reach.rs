//! How much of a tier's bandwidth a kernel reaches.
//!
//! A kernel that reads memory keeps only so many requests in flight, starts up and drains, and so
//! gets less than the tier offers; other transfers may use the rest. Kernels of one stage run one
//! after another: while one that reaches half of the bandwidth runs, no other kernel has the other
//! half.
//!
//! Both follow from one more lane: `TIER.kernels` has the tier's read bandwidth, demand reads by
//! the chip alone hold it, and a byte costs 1 / reach on it. A stage that reads W bytes at reach
//! r and K bytes at reach s from a tier of bandwidth B takes (W / r + K / s) / B, in whichever
//! order, and migration meanwhile has what the tier's own lanes have left.

use std::fmt;

/// The share of a tier's effective bandwidth that a demand read reaches, from
/// [`LEAST`](Self::LEAST) to 1.
///
/// Kept as what a byte costs on the tier's kernel lane, 1 / reach, as a fixed-point number with 32
/// fractional bits, rounded up: a read is never faster than its reach says, and slower by less than
/// 2^-32 of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    cost: u64,
}

impl Reach {
    /// All of the bandwidth.
    pub const FULL: Self = Self { cost: 1 << 32 };
    /// The least reach that is accepted.
    pub const LEAST: f64 = 0.001;

    /// That share of the bandwidth; `None` below [`LEAST`](Self::LEAST), above 1 and for what is
    /// not a number.
    ///
    /// ```
    /// use tiersim::memory::Reach;
    /// assert_eq!(Reach::new(1.0), Some(Reach::FULL));
    /// assert_eq!(Reach::new(0.5).map(Reach::share), Some(0.5));
    /// assert!([0.0, 1.01, f64::NAN].into_iter().all(|share| Reach::new(share).is_none()));
    /// ```
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        let cost = || (Self::FULL.cost as f64 / share).ceil() as u64;
        (Self::LEAST..=1.0).contains(&share).then(|| Self { cost: cost() })
    }

    /// The share of the bandwidth.
    #[must_use]
    pub fn share(self) -> f64 {
        Self::FULL.cost as f64 / self.cost as f64
    }

    /// What a byte costs, as a fixed-point number with 32 fractional bits.
    pub(in crate::memory) fn cost(self) -> u64 {
        self.cost
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self::FULL
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.3}", self.share()))
    }
}
