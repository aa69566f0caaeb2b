use super::select::retain_while;
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;

/// Fills free HBM: pages that a step has read from a slower tier are written to HBM while it has
/// room, without a second read.
///
/// It is no cache, as it evicts nothing: once HBM is full, nothing moves any more, whatever later
/// steps read. Until then, layers that decide earlier take the room first. `Lru`, `Lfu` and `Fifo`
/// evict.
pub struct PromoteOnRead;

impl Migration for PromoteOnRead {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        retain_while(view, plan, usize::MAX, |_| usize::MAX);
    }
}
