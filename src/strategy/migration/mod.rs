//! What moves between steps.
//!
//! When the last stage that uses a KV region has ended, a [`Migration`] sees the region
//! ([`MigrationView`]) and adds the pages that are to move before the next step reads them to a
//! [`MovePlan`]. Each migration lives in a file of its own; a line in the list below gives it its
//! name and its parameters.

mod balanced;
mod cache;
mod history;
mod look_ahead;
mod look_ahead_batch;
mod look_ahead_share;
mod move_batch;
mod none;
mod past_window;
mod plan;
mod predictive;
mod prefetch;
mod prior;
mod promote_on_read;
mod select;
mod skipped_tokens;

pub use cache::{Horizon, Places, Room, Writes};
pub use move_batch::{MoveBatch, Piece};
pub use plan::{MovePlan, MoveRoute};
pub use prefetch::{After, Prefetch, PrefetchKind, PrefetchView};

use crate::memory::{MemorySystem, PerTier, TierId};
use crate::strategy::knowledge::{Future, Knows, Skips};
use crate::strategy::registry::registry;
use crate::units::{Bytes, PageSize, Ratio, RegionId, SimTime, Step};
use crate::workload::{Shape, Skipped, TokenSet};
use history::History;
use std::num::NonZeroU32;
use std::ops::Range;

registry! {
    /// The migrations, by name.
    MigrationKind, "migration", AnyMigration:
    None => none::None, "nothing moves";
    LookAhead => look_ahead::LookAhead::default(), "sees the next step: what it skips goes out; active tokens move until each tier serves its best ratio";
    Balanced { steps: NonZeroU32 = STEPS } => balanced::Balanced::new(balanced::Ahead { steps }), "sees some steps: moves what gains more over them than it costs; what was read from external stays in HBM where it is worth it";
    BalancedOnline { window: NonZeroU32 = WINDOW } => balanced::Balanced::new(balanced::Behind::new(History::new(window))), "as Balanced, but sees the past alone: assumes that the next steps are like the last ones";
    LookAheadBatch { steps: NonZeroU32 = nonzero(8) } => look_ahead_batch::LookAheadBatch { steps }, "sees some steps: what all of them skip goes out; what all of them read comes in";
    LookAheadShare { steps: NonZeroU32 = nonzero(8), share: Ratio = Ratio::from_permille(1000).unwrap() } => look_ahead_share::LookAheadShare::new(steps, share), "sees some steps: the pages they read most come in for those they read least; a share of these moves is carried out";
    Prior { threshold: Ratio = Ratio::from_permille(900).unwrap(), tokens: u32 = 64 } => prior::Prior { threshold, tokens }, "where HBM is filled to a threshold, each layer's oldest tokens go out, so many at a time";
    SkippedTokens { threshold: Ratio = Ratio::from_permille(900).unwrap() } => skipped_tokens::SkippedTokens { threshold }, "where HBM is filled to a threshold, what the present step skipped goes out";
    PastWindow { window: NonZeroU32 = nonzero(8) } => past_window::PastWindow(History::new(window)), "what all of the last steps skipped goes out; what all of them read comes in";
    PromoteOnRead => promote_on_read::PromoteOnRead, "fills free HBM with tokens that were read from a slower tier, without a second read; evicts nothing, so it is no cache";
    Lru {
        room: Room = Room::PerLayer, writes: Writes = Writes::Around,
        #[serde(skip_serializing_if = "Option::is_none")] budget: Option<NonZeroU32> = Option::None
    } => cache::Cache::new(cache::Lru, cache::Places { room, writes, budget }), "HBM as a cache: every miss comes in, in place of the token that was used longest ago";
    Lfu {
        room: Room = Room::PerLayer, writes: Writes = Writes::Around,
        #[serde(skip_serializing_if = "Option::is_none")] budget: Option<NonZeroU32> = Option::None
    } => cache::Cache::new(cache::Lfu, cache::Places { room, writes, budget }), "HBM as a cache: every miss comes in, in place of the token that was used least often, the last step's tokens excepted";
    Fifo {
        room: Room = Room::PerLayer, writes: Writes = Writes::Around,
        #[serde(skip_serializing_if = "Option::is_none")] budget: Option<NonZeroU32> = Option::None
    } => cache::Cache::new(cache::Fifo, cache::Places { room, writes, budget }), "HBM as a cache: every miss comes in, in place of the token that has been in HBM longest";
    Belady {
        steps: Horizon = Horizon::All, room: Room = Room::PerLayer, writes: Writes = Writes::Around,
        #[serde(skip_serializing_if = "Option::is_none")] budget: Option<NonZeroU32> = Option::None
    } => cache::Cache::new(cache::Belady::new(steps), cache::Places { room, writes, budget }), "sees the whole run, or some steps: HBM as a cache that evicts the token whose next read is furthest away, the least misses possible";
    Predictive => predictive::Predictive(History::new(nonzero(3))), "as LookAhead with a guess for what it knows: the next step skips what most of the last three did";
}

/// The default `steps` of `Balanced`, and the default `window` of `BalancedOnline`.
const STEPS: NonZeroU32 = nonzero(8);
const WINDOW: NonZeroU32 = nonzero(16);

impl MigrationKind {
    /// `Balanced` with the default of its parameter.
    pub(super) const BALANCED: Self = Self::Balanced { steps: STEPS };
    /// `BalancedOnline` with the default of its parameter.
    pub(super) const BALANCED_ONLINE: Self = Self::BalancedOnline { window: WINDOW };

    /// The places of a cache; `None` for a migration of another kind.
    #[must_use]
    pub fn places(self) -> Option<Places> {
        match self {
            Self::Lru { room, writes, budget }
            | Self::Lfu { room, writes, budget }
            | Self::Fifo { room, writes, budget }
            | Self::Belady { room, writes, budget, .. } => Some(Places { room, writes, budget }),
            _ => None,
        }
    }
}

const fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// What a migration sees of one region of KV, or of experts, when the last stage that uses it in
/// step k has ended.
///
/// Where experts are units, a region of experts is seen as one of KV is: a page is an expert, and
/// what a step skips are the experts that none of its tokens is routed to.
#[derive(Clone, Copy)]
pub struct MigrationView<'a, K = Future> {
    /// The step k of the run.
    pub step: Step,
    /// Which region: the KV of one sequence in one layer, or the experts of one layer.
    pub region: RegionId,
    /// Whether it is one of experts, to which nothing is ever written.
    pub is_experts: bool,
    /// How many KV regions a sequence has: the KV regions are those of the first sequence, layer by
    /// layer, then those of the second, and so on; regions of experts follow as if they were of one
    /// sequence more.
    pub layers: usize,
    /// How many of them are of the same layer: one, unless keys and values, or heads, are kept
    /// apart.
    pub groups: usize,
    /// How many regions of the kind of this one, KV or experts, decide in this step: those of the
    /// sequences that decode in it, or of the layers that have experts.
    pub deciding: usize,
    /// The part of the KV, or of the experts, that the stage which reads the region read in the
    /// present step and that is of this region, from 0 to 1: of several sequences, each region has
    /// its part in what the stage waited for.
    pub part: f64,
    /// How many pages hold its KV, that of the token just written included: what step k+1 finds.
    /// Those that have left the attention window count, as skipped.
    pub pages: usize,
    /// How many of them have left the attention window of step k+1: the first ones.
    pub first: usize,
    /// How many tokens make a page.
    pub page_size: PageSize,
    /// The size of a page.
    pub page_bytes: Bytes,
    /// For each tier the pages that are there, a moving one at its source.
    pub at: &'a PerTier<TokenSet>,
    /// For each tier the pages that are there to stay or are moving there.
    pub home: &'a PerTier<TokenSet>,
    /// The pages whose write or move is in flight: they are left alone.
    pub in_flight: &'a TokenSet,
    /// What is free on each tier.
    pub free: &'a PerTier<Bytes>,
    /// What each tier has in all for the kind of this region. For experts that is what they had
    /// there before the first step: the layout says how much. For KV it is all else: its capacity
    /// less the weights, the state and the room of the experts.
    pub kv_room: &'a PerTier<Bytes>,
    /// What each tier has in all for everything that the migration decides for.
    pub shared_room: &'a PerTier<Bytes>,
    /// All regions of KV and of experts, this one included.
    pub regions: &'a dyn KvRegions,
    /// What the stage that reads the region reads of its weights, and its state if it has any, from
    /// each tier in a step.
    pub weights_read: &'a PerTier<Bytes>,
    /// What that stage read from each tier in the present step, weights and KV.
    pub read: &'a PerTier<Bytes>,
    /// How long it waited for each tier in the present step: measured, contention included.
    pub waited: &'a PerTier<SimTime>,
    /// The skip sets: of the present step k, and of those to come that were declared.
    pub skips: Skips<'a, K>,
    /// Bandwidths and capacities.
    pub system: &'a MemorySystem,
}

/// The pages of one region of KV, or of experts, at this moment.
#[derive(Clone, Copy)]
pub struct KvPages<'a> {
    /// The size of a page.
    pub page_bytes: Bytes,
    /// How many tokens make a page.
    pub page_size: PageSize,
    /// Whether a page is an expert.
    pub is_experts: bool,
    /// For each tier the pages that are there, a moving one at its source.
    pub at: &'a PerTier<TokenSet>,
    /// For each tier how many pages are there to stay or are moving there.
    pub count: &'a PerTier<usize>,
    /// The pages whose write or move is in flight.
    pub in_flight: &'a TokenSet,
}

impl KvPages<'_> {
    /// The bytes that are on HBM to stay or are moving there.
    pub(super) fn on_hbm(&self) -> i128 {
        i128::from(self.page_bytes.get()) * self.count[TierId::HBM] as i128
    }
}

/// All regions of KV, and of experts that are units, at this moment.
pub trait KvRegions {
    /// How many there are.
    fn count(&self) -> usize;
    /// Those that the migration decides for.
    fn decided(&self) -> Range<usize>;
    /// The bytes of all that it decides for that are on HBM to stay or are moving there.
    fn on_hbm(&self) -> Bytes;
    /// The bytes of HBM that pages hold which are moving away.
    fn leaving_hbm(&self) -> Bytes;
    /// The pages of one of them.
    fn region(&self, region: RegionId) -> KvPages<'_>;
}

impl<'a> MigrationView<'a, Future> {
    /// What step k+1 skips of the region, for a migration that declared to see it.
    #[must_use]
    pub fn next_step(&self) -> Option<Skipped<'a>> {
        self.skips.ahead(1, self.region)
    }

    /// The view of one who knows no more than `K`, and of the future no more than `ahead` steps.
    fn restricted<K: Knows>(&self, ahead: usize) -> MigrationView<'a, K> {
        MigrationView {
            step: self.step,
            region: self.region,
            is_experts: self.is_experts,
            layers: self.layers,
            groups: self.groups,
            deciding: self.deciding,
            part: self.part,
            pages: self.pages,
            first: self.first,
            page_size: self.page_size,
            page_bytes: self.page_bytes,
            at: self.at,
            home: self.home,
            in_flight: self.in_flight,
            free: self.free,
            kv_room: self.kv_room,
            shared_room: self.shared_room,
            regions: self.regions,
            weights_read: self.weights_read,
            read: self.read,
            waited: self.waited,
            skips: self.skips.restricted(ahead),
            system: self.system,
        }
    }
}

impl<'a, K> MigrationView<'a, K> {
    /// The pages that step k+1 may read.
    #[must_use]
    pub fn live(&self) -> Range<usize> {
        self.first..self.pages
    }

    /// What the present step skips of the region.
    #[must_use]
    pub fn skipped(&self) -> Skipped<'a> {
        self.skips.present(self.region)
    }
}

/// Decides what moves.
pub trait Migration {
    /// [`Past`](crate::strategy::Past), or [`Future`] for one that sees steps to come.
    type Knows: Knows;

    /// How many steps of the future it must see; only asked where it knows the future.
    fn look_ahead(&self) -> usize {
        usize::from(Self::Knows::FUTURE)
    }

    /// The most memory that it takes for a sequence of that shape, a few kilobytes aside; `skips`
    /// says whether any step leaves out some of it.
    fn memory(&self, _shape: Shape, _skips: bool) -> Bytes {
        Bytes::ZERO
    }

    /// A region was freed: what is known of its pages is of another sequence.
    fn forget(&mut self, _region: RegionId) {}

    /// These pages of `region` have set out for HBM in `step`, before it reads the region: a
    /// [`Prefetch`] has asked for them.
    fn prefetched(&mut self, _step: Step, _region: RegionId, _pages: &[u32]) {}

    /// Adds to `plan` the pages of `view.region` that are to move before step k+1 reads them. Not
    /// called after the last step.
    fn decide(&mut self, view: &MigrationView<'_, Self::Knows>, plan: &mut MovePlan);
}

/// A [`Migration`], whatever it knows: it sees no more than that.
pub trait AnyMigration {
    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize;
    /// As [`Migration::memory`].
    fn memory(&self, shape: Shape, skips: bool) -> Bytes;
    /// As [`Migration::forget`].
    fn forget(&mut self, region: RegionId);
    /// As [`Migration::prefetched`].
    fn prefetched(&mut self, step: Step, region: RegionId, pages: &[u32]);
    /// As [`Migration::decide`], with all of `view` but what it did not declare.
    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan);
}

impl<M: Migration> AnyMigration for M {
    fn look_ahead(&self) -> usize {
        if M::Knows::FUTURE { Migration::look_ahead(self) } else { 0 }
    }

    fn memory(&self, shape: Shape, skips: bool) -> Bytes {
        Migration::memory(self, shape, skips)
    }

    fn forget(&mut self, region: RegionId) {
        Migration::forget(self, region);
    }

    fn prefetched(&mut self, step: Step, region: RegionId, pages: &[u32]) {
        Migration::prefetched(self, step, region, pages);
    }

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let ahead = AnyMigration::look_ahead(self);
        Migration::decide(self, &view.restricted(ahead), plan);
    }
}
