use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;

/// Nothing moves.
pub struct None;

impl Migration for None {
    type Knows = Past;

    fn decide(&mut self, _view: &MigrationView<'_, Past>, _plan: &mut MovePlan) {}
}
