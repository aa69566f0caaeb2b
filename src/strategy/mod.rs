//! Strategies: the layout at the start, where new KV goes, and what moves.
//!
//! A strategy has three independent parts:
//!
//! * [`Initialization`] lays weights and prefill KV out before step 0.
//! * [`Placement`] chooses the tier of each new page of KV.
//! * [`Migration`] decides, when a layer has been computed, which pages move before its next step.
//!
//! A [`Prefetch`] besides decides within a step, for a layer that the step has yet to come to.
//!
//! Parts know regions and pages, and nothing else about a model. A part sees what a real system
//! could see: its own state, capacities, bandwidths, what a stage has read and how long it waited
//! for that; and of the skip sets what it *declares* in its type: [`Past`] alone, or some steps of
//! the [`Future`]. It sees no more than that, and every report shows how far it sees. It has no
//! clock and sees no lane. Each part lives in a file of its own; a line in the list at the top of
//! [`initialization`], [`placement`] or [`migration`] gives it its name and its parameters.
//!
//! [`StepBound`] is the least time that any strategy could reach.
//!
//! # One of your own
//! A placement that writes to external memory where the present step skips most of the region, and
//! a migration that retains in HBM what was read from elsewhere, a few pages at a time. Neither
//! knows the future, so neither has a way to ask for it.
//!
//! ```
//! use tiersim::memory::TierId;
//! use tiersim::simulation::{Scenario, ScenarioConfig, run_with};
//! use tiersim::strategy::{
//!     InitializationKind, Late, Migration, MigrationView, MovePlan, Parts, Past, Placement, PlacementView,
//! };
//! use tiersim::units::Page;
//!
//! struct WhereLittleIsSkipped;
//!
//! impl Placement for WhereLittleIsSkipped {
//!     type Knows = Past;
//!
//!     fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
//!         let skipped = view.skips.present(view.region).count;
//!         view.hbm_if(2 * skipped < view.page.index())
//!     }
//! }
//!
//! struct AFew(usize);
//!
//! impl Migration for AFew {
//!     type Knows = Past;
//!
//!     fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
//!         let (external, skipped) = (view.system.last_tier(), view.skipped().pages);
//!         let read = view.at[external].iter().filter(|page| !skipped.contains(*page));
//!         for page in read.filter(|page| !view.in_flight.contains(*page)).take(self.0) {
//!             // Read in this step, so it is on the chip. `plan.add` would read it once more.
//!             plan.retain(Page::new(page), external, TierId::HBM);
//!         }
//!     }
//! }
//!
//! let scenario = Scenario::new(ScenarioConfig { decode_tokens: 8, ..ScenarioConfig::load("study")? })?;
//! let parts = Parts {
//!     initialization: InitializationKind::BestRatio.build(),
//!     placement: Box::new(WhereLittleIsSkipped),
//!     migration: Box::new(AFew(2)),
//!     budget: None,
//!     prefetch: None,
//!     late: Late::Finish,
//! };
//! assert_eq!(parts.look_ahead(), 0);
//! let outcome = run_with(&scenario, parts, &mut ())?;
//! assert_eq!(outcome.steps, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To give it a name, put the migration into `migration/a_few.rs` and one line into the list of
//! `migration/mod.rs` (and `mod a_few;`):
//!
//! ```text
//! AFew { pages: u32 = 2 } => a_few::AFew(pages as usize), "retains a few of the pages read";
//! ```
//!
//! `--migration AFew` and `--migration 'AFew(pages: 8)'` work from then on, `tiersim list` and
//! `tiersim strategies` show it, and the tests that every part must pass take it in.
//!
#![doc = include_str!("README.md")]

mod bound;
mod budget;
pub mod initialization;
mod knowledge;
mod late;
pub mod migration;
mod on;
pub mod placement;
mod registry;

pub use bound::{BoundKind, BoundReads, ChargedBound, ChargedError, KvLoad, StepBound, TierBound};
pub use budget::Budget;
pub use initialization::{
    Active, AsBound, ExpertChoice, ExpertOrder, Initialization, InitializationKind, LaidOut, Layout, LayoutError,
    LayoutRules, Pattern, Rules, ShortTier,
};
pub use knowledge::{Future, Knowledge, Knows, Past, Skips};
pub use late::Late;
pub use migration::{
    After, AnyMigration, Horizon, KvPages, KvRegions, Migration, MigrationKind, MigrationView, MoveBatch, MovePlan,
    MoveRoute, Piece, Places, Prefetch, PrefetchKind, PrefetchView, Room, Writes,
};
pub use on::On;
pub use placement::{AnyPlacement, ByRules, Placement, PlacementKind, PlacementView};
pub use registry::PartError;

use crate::config::{Reference, did_you_mean};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A strategy by its parts. Configurations may also give its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Strategy {
    /// The layout before step 0.
    pub initialization: InitializationKind,
    /// Where new KV goes.
    pub placement: PlacementKind,
    /// What moves between steps.
    pub migration: MigrationKind,
    /// The most that may move in a step; all that the migration wants where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What is fetched within a step for its later layers; nothing where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<PrefetchKind>,
    /// What happens to moves that are late.
    #[serde(default, skip_serializing_if = "Late::is_default")]
    pub late: Late,
    /// What the migration decides for, where experts are units.
    #[serde(default, skip_serializing_if = "On::is_default")]
    pub on: On,
    /// Which experts of a layer lie on the faster tiers, where experts are units.
    #[serde(default, skip_serializing_if = "ExpertChoice::is_default")]
    pub experts: ExpertChoice,
}

/// The parts of a strategy, for one run.
pub struct Parts {
    /// The layout before step 0.
    pub initialization: Box<dyn Initialization>,
    /// Where new KV goes.
    pub placement: Box<dyn AnyPlacement>,
    /// What moves between steps.
    pub migration: Box<dyn AnyMigration>,
    /// The most that may move in a step.
    pub budget: Option<Budget>,
    /// What is fetched within a step for its later layers.
    pub prefetch: Option<Box<dyn Prefetch>>,
    /// What happens to moves that are late.
    pub late: Late,
}

impl Parts {
    /// How many steps of the future they see.
    #[must_use]
    pub fn look_ahead(&self) -> usize {
        self.placement.look_ahead().max(self.migration.look_ahead())
    }
}

/// A name that no strategy or part of one has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no {what} named '{name}': use one of {known}.{}", did_you_mean(name, known.split(", ")))]
pub struct UnknownName {
    /// `strategy`, `initialization`, `placement` or `migration`.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// [`NAMED`]'s `baseline`.
const BASELINE: Strategy = Strategy {
    initialization: InitializationKind::HbmFirst,
    placement: PlacementKind::PreferHbm,
    migration: MigrationKind::None,
    budget: None,
    prefetch: None,
    late: Late::Finish,
    on: On::Both,
    experts: ExpertChoice::Front,
};

/// [`NAMED`]'s `best-ratio`.
const BEST_RATIO: Strategy = Strategy {
    initialization: InitializationKind::BestRatio,
    placement: PlacementKind::BestRatio,
    migration: MigrationKind::LookAhead,
    budget: None,
    prefetch: None,
    late: Late::Finish,
    on: On::Both,
    experts: ExpertChoice::Front,
};

/// [`NAMED`]'s `balanced-online`.
const BALANCED_ONLINE: Strategy = Strategy {
    initialization: InitializationKind::BY_ROOM,
    placement: PlacementKind::Balance,
    migration: MigrationKind::BALANCED_ONLINE,
    budget: None,
    prefetch: None,
    late: Late::Finish,
    on: On::Both,
    experts: ExpertChoice::Front,
};

/// The strategies that have names of their own, with what they are.
pub const NAMED: [(&str, &str, Strategy); 5] = [
    ("baseline", "fill HBM first, then spill; move nothing", BASELINE),
    (
        "best-ratio",
        "keep HBM's share of every read at the best ratio, looking one step ahead (the study's self-derived strategy)",
        BEST_RATIO,
    ),
    (
        "balanced",
        "move what gains more than it costs, looking some steps ahead: the densest bytes on HBM, up to its best ratio",
        Strategy { migration: MigrationKind::BALANCED, ..BALANCED_ONLINE },
    ),
    ("balanced-online", "as balanced, from the past alone: what a real system could do", BALANCED_ONLINE),
    (
        "best-ratio-drop",
        "as best-ratio, but what has not arrived when it is read stays where it was",
        Strategy { late: Late::Drop, ..BEST_RATIO },
    ),
];

impl Default for Strategy {
    /// What runs where no strategy is asked for: `balanced-online`, the fastest named strategy that
    /// a real system could run.
    fn default() -> Self {
        BALANCED_ONLINE
    }
}

impl Strategy {
    /// What others are held against: `baseline`, which fills HBM first and moves nothing.
    pub const REFERENCE: Self = BASELINE;

    /// Its name, if it has one, or its parts' names: `HbmFirst/PreferHbm/LookAhead`.
    #[must_use]
    pub fn name(&self) -> String {
        NAMED.iter().find(|(_, _, strategy)| strategy == self).map_or_else(
            || format!("{}/{}/{}", self.initialization, self.placement, self.moves()),
            |(name, _, _)| (*name).to_owned(),
        )
    }

    /// The name of its migration, with its budget and what becomes of late moves where these are
    /// given: `LookAhead/64 MiB/drop`.
    #[must_use]
    pub fn moves(&self) -> String {
        let mut name = self.migration.to_string();
        name += &self.budget.map_or(String::new(), |budget| format!("/{budget}"));
        name += &self.prefetch.map_or(String::new(), |prefetch| format!("/{prefetch}"));
        if !self.late.is_default() {
            name += &format!("/{}", self.late);
        }
        if !self.on.is_default() {
            name += &format!("/on {}", self.on);
        }
        if !self.experts.is_default() {
            name += &format!("/{} experts", self.experts);
        }
        name
    }

    /// Whether anything moves, by a migration or a prefetch.
    #[must_use]
    pub fn moves_anything(&self) -> bool {
        self.migration != MigrationKind::None || self.prefetch.is_some()
    }

    /// Its parts, for one run.
    #[must_use]
    pub fn build(&self) -> Parts {
        Parts {
            initialization: self.initialization.build(),
            placement: self.placement.build(),
            migration: self.migration.build(),
            budget: self.budget,
            prefetch: self.prefetch.map(PrefetchKind::build),
            late: self.late,
        }
    }

    /// What it must know of the skip sets: whether a real system could run it, or how far into the
    /// future it sees.
    #[must_use]
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::of(self.look_ahead()).assuming(self.prefetch.map(PrefetchKind::hit_rate))
    }

    /// Whether HBM is a cache: whether hits and misses say how good it is.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.migration.places().is_some()
    }

    /// How many steps of the future it sees: 0 for one that a real system could run.
    #[must_use]
    pub fn look_ahead(&self) -> usize {
        self.build().look_ahead()
    }

    /// Its name as tables, legends and sentences show it: that of an oracle says what it sees.
    #[must_use]
    pub fn label(&self) -> String {
        self.knowledge().label(&self.name())
    }

    /// Everything that people try: the strategies with names; each migration on the layout and
    /// placement of best-ratio; each placement, and each initialization, with nothing that moves.
    #[must_use]
    pub fn everything() -> Vec<Self> {
        let [_, best_ratio, ..] = NAMED.map(|(_, _, strategy)| strategy);
        let still = Self { migration: MigrationKind::None, ..best_ratio };
        let spilling = Self { placement: PlacementKind::PreferHbm, ..still };
        let mut all: Vec<Self> = NAMED.map(|(_, _, strategy)| strategy).to_vec();
        let migrations = MigrationKind::ALL.iter().map(|&migration| Self { migration, ..best_ratio });
        let placements = PlacementKind::ALL.iter().map(|&placement| Self { placement, ..still });
        let initializations = InitializationKind::ALL.iter().map(|&initialization| Self { initialization, ..spilling });
        for strategy in migrations.chain(placements).chain(initializations) {
            if !all.contains(&strategy) {
                all.push(strategy);
            }
        }
        all
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Strategy", deny_unknown_fields)]
        struct Written {
            initialization: InitializationKind,
            placement: PlacementKind,
            migration: MigrationKind,
            #[serde(default)]
            budget: Option<Budget>,
            #[serde(default)]
            prefetch: Option<PrefetchKind>,
            #[serde(default)]
            late: Late,
            #[serde(default)]
            on: On,
            #[serde(default)]
            experts: ExpertChoice,
        }
        match Reference::<Written>::deserialize(deserializer)? {
            Reference::Name(name) => name.parse().map_err(serde::de::Error::custom),
            Reference::Inline(Written {
                initialization,
                placement,
                migration,
                budget,
                prefetch,
                late,
                on,
                experts,
            }) => Ok(Self { initialization, placement, migration, budget, prefetch, late, on, experts }),
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
