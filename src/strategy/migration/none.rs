use super::{Migration, MigrationView, MovePlan};

/// Nothing moves.
pub struct None;

impl Migration for None {
    fn look_ahead(&self) -> usize {
        0
    }

    fn decide(&mut self, _view: &MigrationView<'_>, _plan: &mut MovePlan) {}
}
