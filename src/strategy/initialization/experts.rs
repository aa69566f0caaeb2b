//! Which experts lie on the faster tiers.

use crate::units::{LayerId, Table};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which experts of a layer an initialization puts on the faster tiers, where experts are units: it
/// says itself how many.
///
/// ktransformers' `uniform` is `Front` with an initialization that gives every layer the same share
/// (`Static`, `BestRatio`), its `front-loading` is `Front` with one that fills the first layers
/// (`HbmFirst`, `WeightsFirst`), and its `frequency` is `Popular`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExpertChoice {
    /// The first ones.
    #[default]
    #[serde(alias = "front")]
    Front,
    /// Those that most tokens are expected to be routed to; of equals the first ones.
    #[serde(alias = "popular")]
    Popular,
    /// Others in each layer, by chance; the same in all runs.
    #[serde(alias = "random")]
    Random,
}

impl ExpertChoice {
    /// Each with its name and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("front", "The first experts of each layer", Self::Front),
        ("popular", "The experts that most tokens are expected to be routed to", Self::Popular),
        ("random", "Experts by chance, others in each layer, the same in all runs", Self::Random),
    ];

    /// Whether it is the default, which configurations need not spell out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ExpertChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Front => "Front",
            Self::Popular => "Popular",
            Self::Random => "Random",
        })
    }
}

/// For each layer, its experts in the order in which they go to the faster tiers; by index where
/// nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpertOrder(Table<LayerId, Vec<usize>>);

impl ExpertOrder {
    /// As `choice` says, of layers whose experts are as popular as `popularity` says.
    pub fn new(choice: ExpertChoice, popularity: impl Iterator<Item = Vec<f64>>) -> Self {
        if let ExpertChoice::Front = choice {
            return Self::default();
        }
        let order = |(layer, popularity): (usize, Vec<f64>)| {
            let mut order: Vec<usize> = (0..popularity.len()).collect();
            match choice {
                ExpertChoice::Front => {}
                ExpertChoice::Popular => order.sort_by(|a, b| popularity[*b].total_cmp(&popularity[*a])),
                ExpertChoice::Random => {
                    let mut random = Xoshiro256PlusPlus::seed_from_u64(layer as u64);
                    for end in (2..=order.len()).rev() {
                        // Below 2^16 experts, the bias of the remainder is below 2^-48.
                        order.swap(end - 1, (random.next_u64() % end as u64) as usize);
                    }
                }
            }
            order
        };
        Self(popularity.enumerate().map(order).collect())
    }

    /// That of the `count` experts of a layer.
    pub(super) fn of(&self, layer: LayerId, count: usize) -> Vec<usize> {
        self.0.get(layer).cloned().unwrap_or_else(|| (0..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_experts_come_first_and_random_ones_are_all_there() {
        let popularity = || [vec![0.1, 0.7, 0.2, 0.7], vec![]].into_iter();
        let first = |choice| ExpertOrder::new(choice, popularity()).of(LayerId::new(0), 4);
        assert_eq!(first(ExpertChoice::Front), [0, 1, 2, 3]);
        assert_eq!(first(ExpertChoice::Popular), [1, 3, 2, 0]);
        let order = ExpertOrder::new(ExpertChoice::Random, std::iter::repeat_n(vec![0.5; 64], 2));
        let [one, other] = [0, 1].map(|layer| order.of(LayerId::new(layer), 64));
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..64).collect::<Vec<_>>());
        assert!(one != other && one != sorted);
    }
}
