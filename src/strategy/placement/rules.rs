use super::{Placement, PlacementView};
use crate::memory::TierId;
use crate::strategy::initialization::{Rules, Take};
use crate::strategy::knowledge::Past;
use crate::units::Ratio;

/// The tier of a layout's rules that has least of its share of the region: pages that migration has
/// moved elsewhere count where they are, so that the shares are kept. A tier that is full ends the
/// run: a rule is a promise.
pub struct ByRules {
    /// By layer and group of its KV, each tier with its share in billionths.
    shares: Vec<Vec<(TierId, i128)>>,
}

impl ByRules {
    /// Places the KV of new tokens so that each layer keeps the shares of `rules`.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let shares = |takes: &Vec<Take>| {
            let mut shares: Vec<(TierId, i128)> = Vec::new();
            let mut before = Ratio::default();
            for take in takes {
                let share = i128::from(take.upto.saturating_sub(before).billionths());
                before = take.upto;
                match shares.iter_mut().find(|(tier, _)| *tier == take.tier) {
                    Some((_, known)) => *known += share,
                    None => shares.push((take.tier, share)),
                }
            }
            shares
        };
        Self { shares: rules.kv_takes().iter().map(shares).collect() }
    }
}

impl Placement for ByRules {
    type Knows = Past;

    fn place(&mut self, view: &PlacementView<'_, Past>) -> Option<TierId> {
        let all = view.pages.values().sum::<usize>() as i128 + 1;
        let whole = i128::from(Ratio::ONE.billionths());
        let lacks = |(tier, share): &(TierId, i128)| share * all - view.pages[*tier] as i128 * whole;
        let shares = &self.shares[view.region.index() % self.shares.len()];
        // The first of equals.
        let most = shares.iter().reduce(|most, one| if lacks(one) > lacks(most) { one } else { most });
        // A layer without KV of its own has pages of no size.
        most.map_or_else(|| view.fastest_that_fits(), |(tier, _)| Some(*tier))
    }
}
