use super::residency::LayerTokens;
use crate::memory::{Interleaving, MemorySystem, PortId, RouteId, TierId};
use crate::units::Bytes;
use crate::workload::TokenSet;

/// Over which channels KV goes: all evenly where a tier is striped, those of its pages where it is hashed.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    /// By tier: how many pages of KV lie in one channel in a row, where channels are chosen by a hash.
    run: Vec<Option<usize>>,
    /// Scratch space: tokens by port.
    counts: Vec<usize>,
    parts: Vec<(RouteId, Bytes)>,
}

impl Paging {
    /// For KV that is kept in pages of `page_tokens` tokens. Where a tier hashes shorter ones, each of these lies in one channel.
    pub fn new(system: &MemorySystem, page_tokens: usize) -> Self {
        let run = system
            .tiers()
            .iter()
            .map(|tier| match tier.interleaving {
                Interleaving::Striped => None,
                Interleaving::Hashed { page_tokens: hashed } => Some((hashed as usize / page_tokens).max(1)),
            })
            .collect();
        Self { run, counts: Vec::new(), parts: Vec::new() }
    }

    pub fn is_hashed(&self, tier: TierId) -> bool {
        self.run[tier.index()].is_some()
    }

    /// What lies in a row on `tier` of KV of `page_bytes` a page.
    pub fn granule(&self, tier: TierId, page_bytes: Bytes) -> Bytes {
        page_bytes.times(self.run[tier.index()].unwrap_or(1) as u64)
    }

    /// The granule of a read of `bytes` of the pages of a layer that lie on `tier` and are not in
    /// `skipped`: the mean length of its runs. On a tier, pages lie in their order; one that is
    /// skipped parts a run, as does the end of what a hash keeps in one channel. So KV that is read
    /// without gaps is one long granule.
    pub fn read_granule(
        &self,
        system: &MemorySystem,
        tier: TierId,
        tokens: &LayerTokens,
        skipped: &TokenSet,
        (pages, bytes): (usize, Bytes),
    ) -> Bytes {
        if !system.tiers()[tier.index()].granule_matters {
            return self.granule(tier, tokens.kv_bytes);
        }
        let at = &tokens.at[tier.index()];
        let runs = match self.run[tier.index()] {
            None => at.runs_without_below(skipped, pages),
            // As many as there are pages.
            Some(1) => at.count_without_below(skipped, pages),
            Some(run) => {
                (0..pages).step_by(run).map(|page| at.runs_without_in(skipped, page..(page + run).min(pages))).sum()
            }
        };
        rounded(Bytes::new(bytes.get() / runs.max(1) as u64))
    }

    /// The port of a page, where channels are chosen by a hash.
    pub fn port(&self, system: &MemorySystem, tier: TierId, layer: usize, page: usize) -> Option<PortId> {
        self.run[tier.index()].map(|run| system.port_of_page(tier, layer, (page / run) as u64))
    }

    /// Where channels are chosen by a hash, the routes over which the pages of `layer` that lie on `tier` and are not in
    /// `skipped` are read, with the bytes of each. There are `pages`, the last of which lacks `missing` of its bytes.
    pub fn reads(
        &mut self,
        system: &MemorySystem,
        (tier, layer): (TierId, usize),
        tokens: &LayerTokens,
        skipped: &TokenSet,
        (pages, missing): (usize, Bytes),
    ) -> Option<&[(RouteId, Bytes)]> {
        let run = self.run[tier.index()]?;
        let ports = system.ports(tier);
        let first = system.ports(tier).next()?.index();
        self.counts.clear();
        self.counts.resize(ports.len(), 0);
        for group in 0..pages.div_ceil(run) {
            let range = group * run..((group + 1) * run).min(pages);
            let port = system.port_of_page(tier, layer, group as u64);
            self.counts[port.index() - first] += tokens.at[tier.index()].count_without_in(skipped, range);
        }
        self.parts.clear();
        let last = self.port(system, tier, layer, pages.saturating_sub(1));
        for (port, &count) in ports.zip(&self.counts) {
            if count > 0 {
                let bytes = tokens.kv_bytes.times(count as u64);
                let missing = if last == Some(port) { missing } else { Bytes::ZERO };
                self.parts.push((system.read_route(port), bytes - missing));
            }
        }
        Some(&self.parts)
    }
}

/// To the nearest of 16 to 31 times a power of 2. Granules that differ by less than 3 % cost the
/// same within a hundredth or two, and a run must not meet a new granule in each step: what a
/// granule costs is found once.
fn rounded(granule: Bytes) -> Bytes {
    const DIGITS: u32 = 5;
    let dropped = (u64::BITS - granule.get().leading_zeros()).saturating_sub(DIGITS);
    let half = (1u64 << dropped) >> 1;
    Bytes::new(granule.get().saturating_add(half) >> dropped << dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granule_keeps_five_binary_digits() {
        for (granule, expected) in [(1, 1), (31, 31), (33, 34), (4096, 4096), (6144, 6144), (4200, 4096), (4230, 4352)]
        {
            assert_eq!(rounded(Bytes::new(granule)).get(), expected, "{granule}");
        }
        for granule in 1..100_000u64 {
            assert!(rounded(Bytes::new(granule)).get().abs_diff(granule) * 32 <= granule, "{granule}");
        }
    }
}
