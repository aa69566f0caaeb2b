//! Shards: a sweep divided among processes that do not communicate.
//!
//! Every shard finds its own cells by their numbers, so N processes on N machines need only the
//! same sweep and their own index. Consecutive cells go to different shards, in an order that
//! rotates, so that an expensive end of an axis is spread over all of them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of several parts of a sweep, which run without communication: `2/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// The index, from 0.
    index: u64,
    of: u64,
}

impl Shard {
    /// The whole sweep.
    pub const ALL: Self = Self { index: 0, of: 1 };

    /// How many shards there are.
    #[must_use]
    pub fn of(self) -> u64 {
        self.of
    }

    /// Whether `cell` is one of this shard's.
    ///
    /// Of each sequence of as many cells as there are shards, every shard owns one. Which one
    /// rotates from sequence to sequence, and again over sequences of sequences, so that no shard
    /// always gets the slow end of an axis.
    #[must_use]
    pub fn owns(self, cell: u64) -> bool {
        if self.of == 1 {
            return true;
        }
        let (mut sum, mut rest) = (0, cell);
        while rest > 0 {
            sum = (sum + rest % self.of) % self.of;
            rest /= self.of;
        }
        sum == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse::<u64>().ok()?, of.parse::<u64>().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index: index - 1, of }),
            _ => Err(format!("'{text}' is not a shard: write I/N with I from 1 to N, such as 1/8")),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_one_owner_and_shards_are_even() {
        for of in 1..=9 {
            let shards: Vec<Shard> = (1..=of).map(|index| format!("{index}/{of}").parse().unwrap()).collect();
            let mut counts = vec![0u64; shards.len()];
            for cell in 0..1000 {
                let owners: Vec<usize> = (0..shards.len()).filter(|index| shards[*index].owns(cell)).collect();
                assert_eq!(owners.len(), 1);
                counts[owners[0]] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
            // Two cells at a distance of a multiple of the shards are not always in the same shard.
            assert!(of == 1 || (0..of).any(|run| !shards[0].owns(run * of)));
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "0/4", "5/4", "a/b", "-1/4", "1/0"] {
            assert!(text.parse::<Shard>().unwrap_err().contains("1/8"), "{text}");
        }
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
    }
}
