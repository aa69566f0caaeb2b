use super::Rules;
use super::resolved::{bytes, divided, parts};
use crate::memory::{Shortage, TierId};
use crate::strategy::initialization::spread::Spread;
use crate::strategy::{Initialization, Layout};
use crate::units::{Page, RegionId};

/// Each part to the byte, experts as whole ones, prefill pages spread evenly over the tiers that
/// rules give them.
impl Initialization for Rules {
    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let regions = layout.regions();
        for (region, _) in layout.divisible() {
            let layer = regions.layer_of(region);
            for part in parts(regions, region).into_iter().flatten() {
                for (take, bytes) in bytes(self.takes(part.part, layer), part) {
                    layout.put_weights(region, take.tier, bytes)?;
                }
            }
        }
        let takes_of = |region| regions.kv_group_of(region).map_or(&[][..], |(layer, group)| self.of_kv(layer, group));
        // Regions of which the rules take the same are filled at once.
        let alike: Vec<usize> = RegionId::all(regions.per_sequence())
            .map(|region| {
                let first = RegionId::all(region.index()).find(|other| takes_of(*other) == takes_of(region));
                first.unwrap_or(region).index()
            })
            .collect();
        layout.spill_pages(
            |region| alike[region.index() % regions.per_sequence()],
            |region, live, pattern| {
                let takes = takes_of(region);
                let Some((last, others)) = takes.split_last() else {
                    // A layer without KV of its own: its pages take no room.
                    return pattern.put_all(live, TierId::HBM);
                };
                if others.is_empty() {
                    return pattern.put_all(live, last.tier);
                }
                let pages = live.len() as u64;
                let counts: Vec<(TierId, u64)> =
                    divided(others, pages).map(|(take, count)| (take.tier, count)).collect();
                let spread =
                    Spread::new(pages, counts.into_iter().map(|(tier, count)| (tier, move |_| count)), last.tier);
                for (place, page) in live.enumerate() {
                    pattern.put(Page::new(page), spread.tier_of(place as u64));
                }
            },
        )
    }
}
