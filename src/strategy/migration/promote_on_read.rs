use super::select::promote_while;
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;

/// What a step has read from elsewhere stays on HBM, while that has room: there is no second read. Nothing goes out.
pub struct PromoteOnRead;

impl Migration for PromoteOnRead {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        promote_while(view, plan, usize::MAX, |_| usize::MAX);
    }
}
