//! What moves between steps.

mod look_ahead;
mod none;
mod plan;

pub use plan::MovePlan;

use crate::memory::MemorySystem;
use crate::strategy::registry::registry;
use crate::units::Bytes;
use crate::workload::{StepSkips, TokenSet, TraceWindow};

registry! {
    /// The migrations, by name.
    MigrationKind, "migration", Migration:
    None => none::None, "nothing moves";
    LookAhead => look_ahead::LookAhead::default(), "sees the next step: what it skips goes out; active tokens move until each tier serves its best ratio";
}

/// What a migration sees when a layer of step k has been computed.
pub struct MigrationView<'a> {
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
    /// The present step k and the steps after it: as many as the migration declared, fewer near the end.
    pub trace: &'a TraceWindow,
    /// Bandwidths and capacities.
    pub system: &'a MemorySystem,
}

impl MigrationView<'_> {
    /// What step k+1 skips, for a migration that declared to see it.
    #[must_use]
    pub fn next_step(&self) -> Option<&StepSkips> {
        self.trace.step(1)
    }
}

/// Decides what moves.
pub trait Migration {
    /// How many steps of the future it must see; 0 if it knows only the past.
    fn look_ahead(&self) -> usize;

    /// Adds to `plan` the tokens of `view.layer` that are to move before step k+1 reads them. Not asked after the last step.
    fn decide(&mut self, view: &MigrationView<'_>, plan: &mut MovePlan);
}
