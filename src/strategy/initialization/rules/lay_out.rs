use super::Rules;
use super::resolved::{bytes, divided, parts};
use crate::memory::{Shortage, TierId};
use crate::strategy::initialization::spread::Spread;
use crate::strategy::{Initialization, Layout};
use crate::units::{LayerId, Page};

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
        let layer_of = |region| regions.layer_of(region).expect("KV belongs to a layer");
        // Layers of which the rules take the same are filled at once.
        let alike: Vec<usize> = LayerId::all(regions.layers())
            .map(|layer| {
                let first = LayerId::all(layer.index()).find(|other| self.of_kv(*other) == self.of_kv(layer));
                first.unwrap_or(layer).index()
            })
            .collect();
        layout.spill_pages(
            |region| alike[layer_of(region).index()],
            |region, live, pattern| {
                let takes = self.of_kv(layer_of(region));
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
