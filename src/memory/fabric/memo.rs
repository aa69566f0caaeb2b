//! Rates that were found before.
//!
//! The rates of all groups follow from how many transfers each has, and a run comes back to the same numbers again and
//! again. So what [`fill`](super::filling::fill) has found is kept for as many sets of numbers as there is room for, each in the place
//! that a hash of the numbers says.

use super::division::Divisor;

/// The rates of every group, by the number of transfers in each.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    /// How many groups there are.
    groups: usize,
    /// How many transfers each has, of two groups in a word. Words are compared one by one, each as it was written: a processor waits for what
    /// was just written if it is read in other pieces.
    counts: Vec<u64>,
    /// The sum over all transfers of a number that is their group's.
    hash: u64,
    /// By place: the hash, the counts and the rates that it stands for, where there are any.
    hashes: Vec<Option<u64>>,
    known_counts: Vec<u64>,
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
        self.groups <= MOST_GROUPS
    }

    /// `group` has a transfer more.
    #[inline]
    pub fn join(&mut self, group: usize) {
        self.counts[group / 2] += one_of(group);
        self.hash = self.hash.wrapping_add(number_of(group));
    }

    /// `group` has so many transfers less.
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

/// A transfer of `group`, in the word that counts its transfers.
fn one_of(group: usize) -> u64 {
    1 << (32 * (group % 2))
}

/// A large odd number for each group, without a pattern: that of the golden ratio, times the group's.
fn number_of(group: usize) -> u64 {
    (2 * group as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
