use crate::memory::TierId;

/// Some pages, of which each tier takes a number, spread evenly over those that the tiers before it
/// leave.
pub(super) struct Spread {
    /// By tier, how many pages it takes of how many.
    takes: Vec<(TierId, u64, u64)>,
    /// The tier of what none of them takes.
    rest: TierId,
}

impl Spread {
    /// Of `pages`, each tier takes what `taken` says of so many that are left to it; what remains
    /// goes to `rest`.
    pub fn new(pages: u64, taken: impl IntoIterator<Item = (TierId, impl FnOnce(u64) -> u64)>, rest: TierId) -> Self {
        let mut left = pages;
        let takes = taken.into_iter().map(|(tier, taken)| {
            let of = left;
            let taken = taken(of);
            left -= taken;
            (tier, taken, of)
        });
        Self { takes: takes.collect(), rest }
    }

    /// The tier of page `j`: of a tier that takes n of m pages, those where
    /// `floor((j+1) n / m) > floor(j n / m)`.
    pub fn tier_of(&self, mut j: u64) -> TierId {
        for &(tier, taken, of) in &self.takes {
            let before = j * taken / of;
            if (j + 1) * taken / of > before {
                return tier;
            }
            // Of those that this tier leaves, it is the one after so many.
            j -= before;
        }
        self.rest
    }
}
