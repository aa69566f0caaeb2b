//! Rates that were found before, by the number of transfers in each group.
//!
//! The rates of all groups follow from how many transfers each has, and a run comes back to the
//! same numbers again and again. So what [`fill`](super::filling::fill) has found is kept in a
//! direct-mapped table of 256 places, by a hash of these numbers that is updated with each arrival
//! and departure. A look-up is O(groups / 2): it compares all numbers.

use super::division::Divisor;

/// The rates of every group, by the number of transfers in each.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    /// How many groups there are.
    groups: usize,
    /// How many transfers each has, of two groups in a word. They are compared at the width at
    /// which they were stored: a wider load right after a narrower store defeats store-to-load
    /// forwarding.
    counts: Vec<u64>,
    /// The sum over all transfers of a number that is their group's.
    hash: u64,
    /// By place: the hash, the counts and the rates that it stands for, where there are any.
    hashes: Vec<Option<u64>>,
    known_counts: Vec<u64>,
    known_rates: Vec<Known>,
}

/// The rate of a group, and the lane that keeps it from more; none where that is its cap.
pub(super) type Known = (Divisor, Option<usize>);

/// How many sets of numbers are kept.
const PLACES: usize = 256;

impl Memo {
    /// With more groups than these, comparing their numbers takes longer than finding their rates.
    pub const MOST_GROUPS: usize = 48;

    /// Adds a group. All rates that were kept are lost.
    pub fn add_group(&mut self) {
        self.groups += 1;
        self.counts.resize(self.groups.div_ceil(2), 0);
        self.hashes.clear();
        if self.is_used() {
            self.hashes.resize(PLACES, None);
            self.known_counts.resize(PLACES * self.counts.len(), 0);
            self.known_rates.resize(PLACES * self.groups, (Divisor::ZERO, None));
        } else {
            (self.known_counts, self.known_rates) = (Vec::new(), Vec::new());
        }
    }

    /// Whether there are few enough groups for rates to be kept.
    pub fn is_used(&self) -> bool {
        self.groups <= Self::MOST_GROUPS
    }

    /// Adds a transfer to `group`.
    #[inline]
    pub fn join(&mut self, group: usize) {
        self.counts[group / 2] += one_of(group);
        self.hash = self.hash.wrapping_add(number_of(group));
    }

    /// Takes so many transfers out of `group`.
    #[inline]
    pub fn leave(&mut self, group: usize, transfers: u32) {
        self.counts[group / 2] -= one_of(group) * u64::from(transfers);
        self.hash = self.hash.wrapping_sub(number_of(group).wrapping_mul(u64::from(transfers)));
    }

    /// The rates at the present numbers, if they are known.
    #[inline]
    pub fn rates(&self) -> Option<&[Known]> {
        let place = self.place();
        if *self.hashes.get(place)? != Some(self.hash) {
            return None;
        }
        let mut known = self.known_counts[place * self.counts.len()..].iter().zip(&self.counts);
        known.all(|(known, counts)| known == counts).then(|| &self.known_rates[place * self.groups..][..self.groups])
    }

    /// Keeps the rates at the present numbers.
    pub fn keep(&mut self, rates: impl Iterator<Item = Known>) {
        if self.is_used() {
            let place = self.place();
            self.hashes[place] = Some(self.hash);
            self.known_counts[place * self.counts.len()..][..self.counts.len()].copy_from_slice(&self.counts);
            let known = &mut self.known_rates[place * self.groups..][..self.groups];
            known.iter_mut().zip(rates).for_each(|(known, rate)| *known = rate);
        }
    }

    fn place(&self) -> usize {
        (self.hash >> 56) as usize % PLACES
    }
}

/// One transfer of `group`, in the word that counts its transfers.
fn one_of(group: usize) -> u64 {
    1 << (32 * (group % 2))
}

/// A large odd number for each group, without a pattern: that of the golden ratio, times the
/// group's.
fn number_of(group: usize) -> u64 {
    (2 * group as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
