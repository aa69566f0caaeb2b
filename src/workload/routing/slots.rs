//! How one token draws its experts: distinct ones, each with its own probability exactly, from one
//! random number for each of them.
//!
//! The probabilities of a layer's experts sum to the number of experts that a token uses, so they
//! fill as many *slots* of probability 1. A token draws one expert from each slot. Slots are drawn
//! independently of each other, so one can be kept from a step to the next, or be taken over from
//! the layer before, without any effect on how often each expert is drawn.
//!
//! An expert whose probability crosses the end of a slot lies in two slots or more, yet may be
//! drawn once: a later slot draws it with the probability `b / (1 - A)` if no earlier slot has,
//! else from the slot's other experts, where b is its probability in this slot and A that in the
//! earlier ones (Deville's systematic sampling). The most popular experts stand at the starts of
//! slots, so that only less popular ones cross.

use crate::workload::union::Routing;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

/// The probability 1 in whole units.
const ONE: u64 = 1 << 32;

/// The slots of a layer: experts by rank, 0 the most popular.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Each rank's probability in units of 1 / [`ONE`].
    probabilities: Vec<u64>,
}

/// One slot: what a token draws one expert from.
struct Slot {
    /// The expert that lies partly in earlier slots, and of 2^32 draws those that it gets if no
    /// earlier slot drew it.
    left: Option<(u32, u64)>,
    /// Where each other expert's part of the slot ends.
    ends: Vec<u64>,
    /// Those experts.
    ranks: Vec<u32>,
}

impl Slots {
    /// Those of `routing`; `random` decides which unpopular experts share a slot.
    pub fn new(routing: &Routing, random: &mut Xoshiro256PlusPlus) -> Self {
        let active = routing.active() as usize;
        let probabilities = whole(&routing.probabilities(), active as u64 * ONE);
        let mut others: Vec<u32> = (active as u32..routing.count()).collect();
        shuffle(&mut others, random);
        let mut others = others.into_iter().filter(|rank| probabilities[*rank as usize] > 0);
        let mut slots: Vec<Slot> = Vec::with_capacity(active);
        // The expert that crosses into the next slot: what it has had, and what it has still to
        // get.
        let mut crossing: Option<(u32, u64, u64)> = None;
        for first in 0..active {
            let mut slot = Slot { left: None, ends: Vec::new(), ranks: Vec::new() };
            let mut end = 0;
            let mut put = |slot: &mut Slot, rank: u32, part: u64| {
                if part > 0 {
                    end += part;
                    slot.ends.push(end);
                    slot.ranks.push(rank);
                }
            };
            let mut room = ONE - probabilities[first];
            put(&mut slot, first as u32, probabilities[first]);
            if let Some((rank, had, left)) = crossing.take() {
                let part = left.min(room);
                slot.left = Some((rank, (u128::from(part) * u128::from(ONE) / u128::from(ONE - had)) as u64));
                room -= part;
                if part < left {
                    crossing = Some((rank, had + part, left - part));
                }
            }
            while room > 0 {
                // The probabilities sum to that of all slots, so there is always one more.
                let Some(rank) = others.next() else { break };
                let probability = probabilities[rank as usize];
                let part = probability.min(room);
                put(&mut slot, rank, part);
                room -= part;
                if part < probability {
                    crossing = Some((rank, part, probability - part));
                }
            }
            slots.push(slot);
        }
        Self { slots, probabilities }
    }

    /// How many slots there are: the experts that a token uses.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Each rank's probability.
    pub fn probabilities(&self) -> impl Iterator<Item = f64> + '_ {
        self.probabilities.iter().map(|probability| *probability as f64 / ONE as f64)
    }

    /// Calls `drawn` with the experts of a token, by rank: one for each slot, by the slot's random
    /// number. O(log experts) for each.
    pub fn draw(&self, numbers: impl Iterator<Item = u64>, mut drawn: impl FnMut(u32)) {
        // Whether an earlier slot has drawn the one that crosses into this slot.
        let mut taken = false;
        let mut slots = self.slots.iter().peekable();
        for number in numbers {
            let Some(slot) = slots.next() else { break };
            let rank = slot.draw(number, taken);
            drawn(rank);
            let next = slots.peek().and_then(|next| next.left).map(|(rank, _)| rank);
            let goes_on = slot.left.map(|(rank, _)| rank) == next;
            taken = next == Some(rank) || (goes_on && taken);
        }
    }
}

impl Slot {
    fn draw(&self, number: u64, taken: bool) -> u32 {
        if let Some((rank, share)) = self.left
            && !taken
            && number >> 32 < share
        {
            return rank;
        }
        let all = self.ends.last().copied().unwrap_or(0);
        let at = ((number & (ONE - 1)) * all) >> 32;
        self.ranks[self.ends.partition_point(|end| *end <= at)]
    }
}

/// `probabilities`, each at most 1, in units of 1 / [`ONE`], with a sum of exactly `sum`.
fn whole(probabilities: &[f64], sum: u64) -> Vec<u64> {
    let mut units = Vec::from_iter(probabilities.iter().map(|p| ((p * ONE as f64).round() as u64).min(ONE)));
    let mut excess = units.iter().sum::<u64>() as i64 - sum as i64;
    // Rounding leaves less than a unit for each expert.
    while excess != 0 {
        for unit in &mut units {
            if excess > 0 && *unit > 0 {
                *unit -= 1;
                excess -= 1;
            } else if excess < 0 && *unit < ONE {
                *unit += 1;
                excess += 1;
            }
        }
    }
    units
}

/// Puts `items` in a random order.
pub(super) fn shuffle<T>(items: &mut [T], random: &mut Xoshiro256PlusPlus) {
    for end in (1..items.len()).rev() {
        let other = (u128::from(random.next_u64()) * (end as u128 + 1)) >> 64;
        items.swap(end, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Popularity;
    use proptest::prelude::*;
    use rand_xoshiro::rand_core::SeedableRng;

    /// How probable each rank is, by going through all slots and both states of the crossing
    /// expert.
    fn marginals(slots: &Slots) -> Vec<f64> {
        let mut found = vec![0.0; slots.probabilities.len()];
        // The probability that the crossing expert has been drawn.
        let mut taken = 0.0;
        for (at, slot) in slots.slots.iter().enumerate() {
            let next = slots.slots.get(at + 1).and_then(|next| next.left).map(|(rank, _)| rank);
            let left = slot.left.map_or(0.0, |(_, share)| (1.0 - taken) * share as f64 / ONE as f64);
            let all = slot.ends.last().copied().unwrap_or(0) as f64;
            let mut takes = 0.0;
            if let Some((rank, _)) = slot.left {
                found[rank as usize] += left;
                if next == Some(rank) {
                    takes = taken + left;
                }
            }
            let mut start = 0;
            for (end, rank) in slot.ends.iter().zip(&slot.ranks) {
                let part = (1.0 - left) * (end - start) as f64 / all;
                found[*rank as usize] += part;
                if next == Some(*rank) {
                    takes = part;
                }
                start = *end;
            }
            taken = takes;
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn each_expert_has_its_probability_and_all_of_a_token_differ(
            count in 1u32..200, active in 1u32..20, exponent in prop_oneof![Just(0.0), 0.0f64..8.0], seed: u64,
        ) {
            let routing = Routing::new(count, active.min(count), Popularity::Zipf(exponent)).unwrap();
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let slots = Slots::new(&routing, &mut random);
            prop_assert_eq!(slots.len(), routing.active() as usize);
            for (rank, (found, wanted)) in marginals(&slots).into_iter().zip(routing.probabilities()).enumerate() {
                prop_assert!((found - wanted).abs() < 1e-7, "rank {}: {} for {}", rank, found, wanted);
            }
            for _ in 0..50 {
                let mut drawn = Vec::new();
                slots.draw((0..slots.len()).map(|_| random.next_u64()), |rank| drawn.push(rank));
                prop_assert_eq!(drawn.len(), slots.len());
                drawn.sort_unstable();
                drawn.dedup();
                prop_assert_eq!(drawn.len(), slots.len(), "an expert twice");
            }
        }
    }
}
