//! Whether each tier has room for what rules put there, before anything is laid out.

use super::error::ShortTier;
use super::resolved::{bytes, divided, parts};
use super::{LayoutError, Part, Rules};
use crate::memory::{MemorySystem, PerTier, ResidencyKind, TierId};
use crate::units::{Bytes, PageSize, Ratio, RegionId};
use crate::workload::{Contents, Lengths, Regions};
use std::collections::BTreeMap;

impl Rules {
    /// Whether each tier has room for what the rules put there: all weights, and the KV of the
    /// prompts that are there or computed when the run begins; where `with_growth`, that of all
    /// tokens of all sequences. O(regions x rules).
    ///
    /// # Errors
    /// [`LayoutError::NoRoom`], naming the first rule whose tier is too small, by how much, and a
    /// share that would fit.
    pub fn check_room(
        &self,
        regions: &Regions,
        system: &MemorySystem,
        size: PageSize,
        with_growth: bool,
    ) -> Result<(), LayoutError> {
        let mut wanted: Vec<BTreeMap<(TierId, Part), u128>> = vec![BTreeMap::new(); self.count()];
        let mut add = |rule: usize, tier, part, bytes: u128| *wanted[rule].entry((tier, part)).or_default() += bytes;
        for region in RegionId::all(regions.len()) {
            let layer = regions.layer_of(region);
            for part in parts(regions, region).into_iter().flatten() {
                for (take, bytes) in bytes(self.takes(part.part, layer), part) {
                    add(take.rule, take.tier, part.part, bytes.get().into());
                }
            }
        }
        for ((region, lengths), window) in regions.kv().zip(regions.lengths()).zip(regions.windows()) {
            let Contents::Kv { token_bytes, group, .. } = regions.region(region).contents else { continue };
            let page = u128::from(token_bytes.get()) * size.tokens() as u128;
            let pages = pages(lengths, window, size, with_growth) as u64;
            let takes = regions.layer_of(region).map_or(&[][..], |layer| self.of_kv(layer, group));
            for (take, count) in divided(takes, pages) {
                add(take.rule, take.tier, Part::of_group(group), page * u128::from(count));
            }
        }
        let last = system.last_tier();
        let mut used: PerTier<u128> = PerTier::filled(system.tiers().len(), 0);
        for (rule, parts) in wanted.iter().enumerate() {
            let Some(((tier, _), _)) = parts.first_key_value() else { continue };
            let all: u128 = parts.values().sum();
            let has_copy = system.residency() == ResidencyKind::Inclusive && *tier != last;
            for tier in std::iter::once(*tier).chain(has_copy.then_some(last)) {
                let capacity = u128::from(system.tiers()[tier.index()].capacity.get());
                if used[tier] + all > capacity {
                    return Err(self.no_room(rule, parts, system, tier, capacity - used[tier].min(capacity)));
                }
                used[tier] += all;
            }
        }
        Ok(())
    }

    fn no_room(
        &self,
        rule: usize,
        parts: &BTreeMap<(TierId, Part), u128>,
        system: &MemorySystem,
        tier: TierId,
        free: u128,
    ) -> LayoutError {
        let narrow = |bytes: u128| Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX));
        let wanted: u128 = parts.values().sum();
        let of = self.rule(rule);
        // What would fit, in whole percent of each piece.
        let percent = 100.0 * of.share.unwrap_or(Ratio::ONE).as_f64() * free as f64 / wanted as f64;
        let spec = &system.tiers()[tier.index()];
        let fitting = match percent.floor() as u32 {
            0 => None,
            percent => format!("{percent}%").parse().ok(),
        };
        let example = match fitting {
            Some(share) => super::Rule { share: Some(share), ..of.clone() }.to_string(),
            None => {
                let other = system.tier_ids().find(|other| *other != tier).unwrap_or(tier);
                super::Rule { tier: system.tiers()[other.index()].name.clone(), ..of.clone() }.to_string()
            }
        };
        LayoutError::NoRoom(Box::new(ShortTier {
            rule: of.to_string(),
            parts: parts
                .iter()
                .map(|((_, part), bytes)| format!("{part} {}", narrow(*bytes).rounded()))
                .collect::<Vec<_>>()
                .join(", "),
            tier: spec.name.clone(),
            capacity: spec.capacity,
            free: narrow(free),
            wanted: narrow(wanted),
            missing: narrow(wanted - free),
            example,
        }))
    }
}

/// How many pages a KV region needs: at the start, or at its longest.
fn pages(lengths: Lengths, window: usize, size: PageSize, with_growth: bool) -> usize {
    let of = |tokens: usize| (tokens.saturating_sub(window) / size.tokens()..size.pages(tokens)).len();
    if with_growth { of(lengths.expected).max(of(lengths.most)) } else { of(lengths.expected) }
}
