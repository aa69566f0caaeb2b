use super::select::{all_out, is_filled};
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// Where HBM is filled to a threshold, the pages on HBM that the present step skipped go out.
pub struct SkippedTokens {
    /// The share of HBM in use from which on pages go out.
    pub threshold: Ratio,
}

impl Migration for SkippedTokens {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        if is_filled(view, self.threshold) {
            let skipped = view.skipped().pages;
            all_out(view, plan, |index| skipped.words()[index]);
        }
    }
}
