//! Where new KV goes.
//!
//! Before the first token of a page is written, a [`Placement`] chooses the tier of the page. Each
//! placement lives in a file of its own; a line in the list below gives it its name and its
//! parameters. Parameters that count tokens count tokens, whatever a page holds.

mod balance;
mod batch_ratio;
mod best_ratio;
mod layer_importance;
mod look_ahead_batch;
mod prefer_hbm;
mod rules;
mod split_layers;
mod weighted_interleave;

pub use rules::ByRules;

use crate::memory::{MemorySystem, PerTier, TierId};
use crate::strategy::knowledge::{Future, Knows, Skips};
use crate::strategy::registry::registry;
use crate::units::{Bytes, LayerId, Page, PageSize, Ratio, RegionId};
use std::num::NonZeroU32;

registry! {
    /// The placements, by name.
    PlacementKind, "placement", AnyPlacement:
    PreferHbm => prefer_hbm::PreferHbm, "HBM while there is room, else the next tier";
    BestRatio => best_ratio::BestRatio, "the fastest tier whose share of the layer's tokens does not exceed its best ratio";
    Balance => balance::Balance, "the tier that the layer's reads waited for least in the present step, by bytes over bandwidth";
    WeightedInterleave { hbm: NonZeroU32 = NonZeroU32::new(5).unwrap(), beyond: NonZeroU32 = NonZeroU32::new(1).unwrap() } => weighted_interleave::WeightedInterleave { hbm, beyond }, "round the tiers, so many pages in turn on each, as Linux's weighted interleave";
    SplitLayers { on_hbm: Ratio = Ratio::from_permille(850).unwrap() } => split_layers::SplitLayers { on_hbm }, "a share of the layers on HBM, the others elsewhere";
    BatchRatio { window: NonZeroU32 = NonZeroU32::new(64).unwrap(), on_hbm: Ratio = Ratio::from_permille(850).unwrap() } => batch_ratio::BatchRatio { window, on_hbm }, "of each window of tokens a share on HBM";
    LookAheadBatch { steps: NonZeroU32 = NonZeroU32::new(8).unwrap() } => look_ahead_batch::LookAheadBatch { steps }, "sees some steps: what any of them skips goes elsewhere, the rest to HBM";
    LayerImportance => layer_importance::LayerImportance::default(), "layers that have skipped least on HBM, up to its best ratio of the layers";
}

/// What a placement sees of the page that is to be written.
#[derive(Clone, Copy)]
pub struct PlacementView<'a, K = Future> {
    /// The region that it belongs to: the KV of one sequence in one layer.
    pub region: RegionId,
    /// The layer of the region.
    pub layer: LayerId,
    /// How many layers there are.
    pub layers: usize,
    /// Which page of the region.
    pub page: Page,
    /// How many tokens make a page.
    pub page_size: PageSize,
    /// The size of a page.
    pub page_bytes: Bytes,
    /// How many pages of the region each tier has, a moving one counted at its destination.
    pub pages: &'a PerTier<usize>,
    /// What is free on each tier.
    pub free: &'a PerTier<Bytes>,
    /// What the stage that reads the region read from each tier in the present step, of all
    /// sequences, and the pages that were placed in the same stage since.
    pub read: &'a PerTier<Bytes>,
    /// The skip sets: of the present step, and of those to come that were declared.
    pub skips: Skips<'a, K>,
    /// Bandwidths and capacities.
    pub system: &'a MemorySystem,
}

impl PlacementView<'_, Future> {
    /// The view of one who knows no more than `K`, and of the future no more than `ahead` steps.
    fn restricted<K: Knows>(&self, ahead: usize) -> PlacementView<'_, K> {
        let Self { region, layer, layers, page, page_size, page_bytes, pages, free, read, skips, system } = *self;
        let skips = skips.restricted(ahead);
        PlacementView { region, layer, layers, page, page_size, page_bytes, pages, free, read, skips, system }
    }
}

impl<K> PlacementView<'_, K> {
    /// Whether the page fits on `tier`.
    #[must_use]
    pub fn fits(&self, tier: TierId) -> bool {
        self.free[tier] >= self.page_bytes
    }

    /// The fastest tier on which it fits.
    #[must_use]
    pub fn fastest_that_fits(&self) -> Option<TierId> {
        self.system.tier_ids().find(|tier| self.fits(*tier))
    }

    /// HBM if `on_hbm`, else the fastest other tier; where it does not fit there, the fastest on
    /// which it fits.
    #[must_use]
    pub fn hbm_if(&self, on_hbm: bool) -> Option<TierId> {
        let first = self.system.tier_ids().find(|tier| (*tier == TierId::HBM) == on_hbm && self.fits(*tier));
        first.or_else(|| self.fastest_that_fits())
    }
}

/// Chooses the tier of each new page of KV.
pub trait Placement {
    /// [`Past`](crate::strategy::Past), or [`Future`] for one that sees steps to come.
    type Knows: Knows;

    /// How many steps of the future it must see; only asked where it knows the future.
    fn look_ahead(&self) -> usize {
        usize::from(Self::Knows::FUTURE)
    }

    /// The tier, or `None` where it fits nowhere. A tier without room for it ends the run as well.
    fn place(&mut self, view: &PlacementView<'_, Self::Knows>) -> Option<TierId>;
}

/// A [`Placement`], whatever it knows: it sees no more than that.
pub trait AnyPlacement {
    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize;
    /// As [`Placement::place`], with all of `view` but what it did not declare.
    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId>;
}

impl<P: Placement> AnyPlacement for P {
    fn look_ahead(&self) -> usize {
        if P::Knows::FUTURE { Placement::look_ahead(self) } else { 0 }
    }

    fn place(&mut self, view: &PlacementView<'_>) -> Option<TierId> {
        let ahead = AnyPlacement::look_ahead(self);
        Placement::place(self, &view.restricted(ahead))
    }
}
