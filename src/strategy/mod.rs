//! Where bytes lie at the start, where new KV goes, and what moves: the three independent parts of a strategy.
//!
//! * [`Initialization`] lays weights and prefill KV out before step 0.
//! * [`Placement`] chooses the tier of each new token's KV.
//! * [`Migration`] decides, when a layer has been computed, which tokens move before its next step.
//!
//! A part sees what a real system could see: its own state, capacities, bandwidths, and as many steps of the future as
//! it declares. It sees no clock and no lane. Each lives in a file of its own; a line in the list at the top of
//! [`initialization`], [`placement`] or [`migration`] gives it its name.
//!
//! [`StepBound`] is the least time that any of them could reach.

mod bound;
pub mod initialization;
mod knowledge;
pub mod migration;
pub mod placement;
mod registry;

pub use bound::StepBound;
pub use initialization::{Initialization, InitializationKind, Layout};
pub use knowledge::{Future, Knows, Past, Skips};
pub use migration::{AnyMigration, Carriage, Migration, MigrationKind, MigrationView, MovePlan};
pub use placement::{AnyPlacement, Placement, PlacementKind, PlacementView};
pub use registry::PartError;

use crate::config::Reference;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A strategy by its parts. Configurations may also give its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Strategy {
    /// What lies where before step 0.
    pub initialization: InitializationKind,
    /// Where new KV goes.
    pub placement: PlacementKind,
    /// What moves between steps.
    pub migration: MigrationKind,
}

/// A name that no strategy or part of one has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {what} named '{name}': use one of {known}")]
pub struct UnknownName {
    /// `strategy`, `initialization`, `placement` or `migration`.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// The strategies that have names of their own, with what they are.
pub const NAMED: [(&str, &str, Strategy); 4] = [
    (
        "baseline",
        "fill HBM first, then spill; move nothing",
        Strategy {
            initialization: InitializationKind::HbmFirst,
            placement: PlacementKind::PreferHbm,
            migration: MigrationKind::None,
        },
    ),
    (
        "best-ratio",
        "keep HBM's share of every read at the best ratio, looking one step ahead (the study's self-derived strategy)",
        Strategy {
            initialization: InitializationKind::BestRatio,
            placement: PlacementKind::BestRatio,
            migration: MigrationKind::LookAhead,
        },
    ),
    (
        "balanced",
        "move what gains more than it costs, looking some steps ahead: the densest bytes on HBM, up to its best ratio",
        Strategy {
            initialization: InitializationKind::ALL[2],
            placement: PlacementKind::Balance,
            migration: MigrationKind::ALL[2],
        },
    ),
    (
        "balanced-online",
        "as balanced, from the past alone: what a real system could do",
        Strategy {
            initialization: InitializationKind::ALL[2],
            placement: PlacementKind::Balance,
            migration: MigrationKind::ALL[3],
        },
    ),
];

impl Strategy {
    /// Its name, if it has one, or its parts' names: `HbmFirst/PreferHbm/LookAhead`.
    #[must_use]
    pub fn name(&self) -> String {
        NAMED.iter().find(|(_, _, strategy)| strategy == self).map_or_else(
            || format!("{}/{}/{}", self.initialization, self.placement, self.migration),
            |(name, _, _)| (*name).to_owned(),
        )
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Strategy", deny_unknown_fields)]
        struct Parts {
            initialization: InitializationKind,
            placement: PlacementKind,
            migration: MigrationKind,
        }
        match Reference::<Parts>::deserialize(deserializer)? {
            Reference::Name(name) => name.parse().map_err(serde::de::Error::custom),
            Reference::Inline(Parts { initialization, placement, migration }) => {
                Ok(Self { initialization, placement, migration })
            }
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl FromStr for Strategy {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        NAMED.iter().find(|(known, _, _)| *known == name).map(|(_, _, strategy)| *strategy).ok_or_else(|| UnknownName {
            what: "strategy",
            name: name.to_owned(),
            known: NAMED.map(|(known, _, _)| known).join(", "),
        })
    }
}
