//! Rates that were found before.
//!
//! The rates of all groups follow from how many transfers each has, and a run comes back to the same numbers again and
//! again. So what [`fill`](super::filling::fill) has found is kept for as many sets of numbers as there is room for, each in the place
//! that a hash of the numbers says.

use super::division::Divisor;

/// The rates of every group, by the number of transfers in each.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    /// By group: how many transfers it has.
    counts: Vec<u32>,
    /// The sum over all transfers of a number that is their group's.
    hash: u64,
    /// By place: the hash, the counts and the rates that it stands for, where there are any.
    hashes: Vec<Option<u64>>,
    known_counts: Vec<u32>,
    known_rates: Vec<Known>,
}

/// What was found for a group: its rate, and the lane that keeps it from more, if it is not its cap.
pub(super) type Known = (Divisor, Option<usize>);

/// How many sets of numbers are kept.
const PLACES: usize = 256;

/// With more groups than these, comparing their numbers takes longer than finding their rates.
const MOST_GROUPS: usize = 48;

impl Memo {
    /// There is one group more.
    pub fn add_group(&mut self) {
        self.counts.push(0);
        self.hashes.clear();
        if self.is_used() {
            self.hashes.resize(PLACES, None);
            self.known_counts.resize(PLACES * self.counts.len(), 0);
            self.known_rates.resize(PLACES * self.counts.len(), (Divisor::ZERO, None));
        } else {
            (self.known_counts, self.known_rates) = (Vec::new(), Vec::new());
        }
    }

    fn is_used(&self) -> bool {
        self.counts.len() <= MOST_GROUPS
    }

    /// `group` has a transfer more.
    pub fn join(&mut self, group: usize) {
        self.counts[group] += 1;
        self.hash = self.hash.wrapping_add(number_of(group));
    }

    /// `group` has so many transfers less.
    pub fn leave(&mut self, group: usize, transfers: u32) {
        self.counts[group] -= transfers;
        self.hash = self.hash.wrapping_sub(number_of(group).wrapping_mul(u64::from(transfers)));
    }

    /// The rates at the present numbers, if they are known.
    pub fn rates(&self) -> Option<&[Known]> {
        let (place, groups) = (self.place(), self.counts.len());
        let range = place * groups..(place + 1) * groups;
        // Few are compared: a call to compare them in one go takes longer.
        let known = *self.hashes.get(place)? == Some(self.hash)
            && self.known_counts[range.clone()].iter().zip(&self.counts).all(|(known, count)| known == count);
        known.then(|| &self.known_rates[range])
    }

    /// Keeps the rates at the present numbers.
    pub fn keep(&mut self, rates: impl Iterator<Item = Known>) {
        if self.is_used() {
            let (place, groups) = (self.place(), self.counts.len());
            let range = place * groups..(place + 1) * groups;
            self.hashes[place] = Some(self.hash);
            self.known_counts[range.clone()].copy_from_slice(&self.counts);
            self.known_rates[range].iter_mut().zip(rates).for_each(|(known, rate)| *known = rate);
        }
    }

    fn place(&self) -> usize {
        (self.hash >> 56) as usize % PLACES
    }
}

/// A large odd number for each group, without a pattern: that of the golden ratio, times the group's.
fn number_of(group: usize) -> u64 {
    (2 * group as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
