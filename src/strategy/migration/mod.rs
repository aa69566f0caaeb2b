//! What moves between steps.

mod balanced;
mod look_ahead;
mod none;
mod plan;
mod select;

pub use plan::{Carriage, MovePlan};

use crate::memory::MemorySystem;
use crate::strategy::knowledge::{Future, Knows, Skips};
use crate::strategy::registry::registry;
use crate::units::{Bytes, SimTime};
use crate::workload::{Shape, StepSkips, TokenSet};
use std::num::NonZeroU32;

registry! {
    /// The migrations, by name.
    MigrationKind, "migration", AnyMigration:
    None => none::None, "nothing moves";
    LookAhead => look_ahead::LookAhead::default(), "sees the next step: what it skips goes out; active tokens move until each tier serves its best ratio";
    Balanced { steps: NonZeroU32 = NonZeroU32::new(8).unwrap() } => balanced::Balanced::new(balanced::Ahead { steps }), "sees some steps: moves what gains more over them than it costs; what was read from external stays in HBM where it is worth it";
    BalancedOnline { window: NonZeroU32 = NonZeroU32::new(16).unwrap() } => balanced::Balanced::new(balanced::Behind::new(window)), "as Balanced, but sees the past alone: assumes that the next steps are like the last ones";
}

/// What a migration sees when a layer of step k has been computed.
#[derive(Clone, Copy)]
pub struct MigrationView<'a, K = Future> {
    /// The layer.
    pub layer: usize,
    /// How many tokens have KV in this layer, the one just written included: the context of step k+1.
    pub context: usize,
    /// The size of one token's KV in this layer.
    pub kv_bytes: Bytes,
    /// For each tier the tokens that lie there, a moving one at its source.
    pub at: &'a [TokenSet],
    /// For each tier the tokens that lie there or are moving there.
    pub home: &'a [TokenSet],
    /// The tokens whose write or move is in flight: they are left alone.
    pub in_flight: &'a TokenSet,
    /// What the layer's attention sublayer reads of its weights on each tier in a step.
    pub weights_read: &'a [Bytes],
    /// What it read from each tier in the present step.
    pub read: &'a [Bytes],
    /// How long it waited for each tier in the present step: measured, with all that was in the way.
    pub waited: &'a [SimTime],
    /// The skip sets: of the present step k, and of those to come that were declared.
    pub skips: Skips<'a, K>,
    /// Bandwidths and capacities.
    pub system: &'a MemorySystem,
}

impl<'a> MigrationView<'a, Future> {
    /// What step k+1 skips, for a migration that declared to see it.
    #[must_use]
    pub fn next_step(&self) -> Option<&'a StepSkips> {
        self.skips.ahead(1)
    }

    /// What one sees who knows no more than `K`, and of the future no more than `ahead` steps.
    fn restricted<K: Knows>(&self, ahead: usize) -> MigrationView<'a, K> {
        let Self { layer, context, kv_bytes, at, home, in_flight, weights_read, read, waited, skips, system } = *self;
        let skips = skips.restricted(ahead);
        MigrationView { layer, context, kv_bytes, at, home, in_flight, weights_read, read, waited, skips, system }
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

    /// The most memory that it takes in a run of that shape, beyond a little.
    fn memory(&self, _shape: Shape) -> Bytes {
        Bytes::ZERO
    }

    /// Adds to `plan` the tokens of `view.layer` that are to move before step k+1 reads them. Not asked after the last step.
    fn decide(&mut self, view: &MigrationView<'_, Self::Knows>, plan: &mut MovePlan);
}

/// A [`Migration`], whatever it knows: it is shown no more than that.
pub trait AnyMigration {
    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize;
    /// As [`Migration::memory`].
    fn memory(&self, shape: Shape) -> Bytes;
    /// As [`Migration::decide`], with all that is known of `view` but what it did not declare.
    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan);
}

impl<M: Migration> AnyMigration for M {
    fn look_ahead(&self) -> usize {
        if M::Knows::FUTURE { Migration::look_ahead(self) } else { 0 }
    }

    fn memory(&self, shape: Shape) -> Bytes {
        Migration::memory(self, shape)
    }

    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan) {
        let ahead = AnyMigration::look_ahead(self);
        Migration::decide(self, &view.restricted(ahead), plan);
    }
}
