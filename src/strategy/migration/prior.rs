use super::select::{is_filled, out_while};
use super::{Migration, MigrationView, MovePlan};
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// Where HBM is filled to a threshold, each layer's oldest tokens on HBM go out, so many at a time:
/// in whole pages, rounded up.
pub struct Prior {
    /// The share of HBM in use from which on tokens go out.
    pub threshold: Ratio,
    /// How many tokens go out in one decision.
    pub tokens: u32,
}

impl Migration for Prior {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, plan: &mut MovePlan) {
        if is_filled(view, self.threshold) {
            out_while(view, plan, view.page_size.pages(self.tokens as usize), |_| usize::MAX);
        }
    }
}
