//! What direct reads of a tier leave of the first tier's bandwidth to kernels.
//!
//! All kernels that read the first tier share a lane. While a group of direct reads of a tier that
//! interferes has transfers, that lane has so much less capacity. Rates follow from the number of
//! transfers in each group as before, so they are found, and kept, at the same events: where such a
//! read starts or ends, the lane counts as one of those that it holds.

use super::filling::{Demand, Rate};
use super::profile::Profile;
use crate::memory::MemorySystem;

/// The lane of the first tier's kernels, and the groups that take from it.
#[derive(Clone, Debug)]
pub(super) struct Interference {
    lane: usize,
    capacity: Rate,
    /// By tier that interferes, what is left of the capacity.
    left: Vec<Rate>,
    /// By group, which of these tiers it reads.
    of_group: Vec<Option<usize>>,
}

impl Interference {
    /// That of `system`, whose lanes have these capacities, if it has any.
    pub fn new(system: &MemorySystem, capacity: impl Fn(usize) -> Rate) -> Option<Self> {
        let of_system = system.interference()?;
        let lane = of_system.lane.index();
        let capacity = capacity(lane);
        let left = of_system.tiers.iter().map(|(_, left)| (capacity as f64 * left) as Rate).collect();
        Some(Self { lane, capacity, left, of_group: Vec::new() })
    }

    /// A group of transfers of `profile` was made: the next in order.
    pub fn add_group(&mut self, profile: &Profile) {
        self.of_group.push(profile.interferes);
    }

    /// The lane from which `group` takes, if it does.
    pub fn lane_of(&self, group: usize) -> Option<usize> {
        self.of_group[group].map(|_| self.lane)
    }

    /// The lane, and what is left of it now.
    pub fn capacity(&self, demands: &[Demand]) -> (usize, Rate) {
        let active = self.of_group.iter().zip(demands).filter(|(_, demand)| demand.count > 0);
        let left = active.filter_map(|(tier, _)| tier.map(|tier| self.left[tier])).min();
        (self.lane, left.unwrap_or(self.capacity))
    }
}
