//! Over which channels KV goes: evenly over all where a tier is striped, those of its pages where
//! channels are chosen by a hash.

use super::residency::PagedRegion;
use crate::memory::{Interleaving, MemorySystem, PerTier, PortId, RouteId, TierId};
use crate::units::{Bytes, Page, PageSize, RegionId};
use crate::workload::{Skipped, TokenSet};
use std::ops::Range;

/// The routes and granules of KV reads and writes.
pub(super) struct Paging {
    /// By tier: how many pages of KV are contiguous in one channel, where channels are chosen by a
    /// hash.
    run: PerTier<Option<usize>>,
    /// By tier, then port: the bytes of the read that is being gathered.
    gathered: PerTier<Vec<Bytes>>,
    /// Scratch space: pages by port, and the parts of a read.
    counts: Vec<usize>,
    parts: Vec<(RouteId, Bytes)>,
}

impl Paging {
    /// For KV in pages of `size`. Where a tier hashes shorter ones, each page lies in one channel.
    pub fn new(system: &MemorySystem, size: PageSize) -> Self {
        let run = system.tiers().iter().map(|tier| match tier.interleaving {
            Interleaving::Striped => None,
            Interleaving::Hashed { page_tokens: hashed } => Some((hashed as usize / size.tokens()).max(1)),
        });
        let run: PerTier<Option<usize>> = run.collect();
        let ports = |tier: TierId| if run[tier].is_some() { system.ports(tier).len() } else { 0 };
        let gathered = PerTier::from_fn(run.len(), |tier| vec![Bytes::ZERO; ports(tier)]);
        Self { run, gathered, counts: Vec::new(), parts: Vec::new() }
    }

    /// Whether the channels of `tier` are chosen by a hash.
    pub fn is_hashed(&self, tier: TierId) -> bool {
        self.run[tier].is_some()
    }

    /// How many bytes are contiguous on `tier`, of KV in pages of `page_bytes`.
    pub fn granule(&self, tier: TierId, page_bytes: Bytes) -> Bytes {
        page_bytes.times(self.run[tier].unwrap_or(1) as u64)
    }

    /// In how many contiguous runs the pages of a region lie that are on `tier` and not in
    /// `skipped`; 1 where granules make no difference. On a tier, pages lie in their order: a
    /// skipped one ends a run, as does the end of what a hash keeps in one channel.
    pub fn runs(&self, system: &MemorySystem, tier: TierId, pages: &PagedRegion, skipped: Skipped<'_>) -> usize {
        // Where nothing is skipped, all that lies on the tier is contiguous.
        let is_one = skipped.count == 0 && self.run[tier].is_none();
        if is_one || !system.tiers()[tier.index()].granule_matters {
            return 1;
        }
        let (at, live, skipped) = (&pages.at[tier], pages.live(), skipped.pages);
        match self.run[tier] {
            None => at.runs_without_between(skipped, live),
            // As many as there are pages.
            Some(1) => at.count_without_between(skipped, live),
            Some(run) => {
                let first = live.start / run * run;
                let group = |page: usize| at.runs_without_in(skipped, page..(page + run).min(live.end));
                (first..live.end).step_by(run).map(group).sum()
            }
        }
    }

    /// The granule of a read of so many bytes in so many runs: their mean length. So KV that is
    /// read without gaps is one long granule.
    pub fn granule_of(
        &self,
        system: &MemorySystem,
        tier: TierId,
        page_bytes: Bytes,
        (bytes, runs): (Bytes, usize),
    ) -> Bytes {
        if !system.tiers()[tier.index()].granule_matters {
            return self.granule(tier, page_bytes);
        }
        rounded(Bytes::new(bytes.get() / runs.max(1) as u64))
    }

    /// The port of a page, where channels are chosen by a hash.
    pub fn port(&self, system: &MemorySystem, tier: TierId, region: RegionId, page: Page) -> Option<PortId> {
        self.run[tier].map(|run| system.port_of_page(tier, region, (page.index() / run) as u64))
    }

    /// A read begins: nothing of it is gathered yet.
    pub fn begin_read(&mut self) {
        self.gathered.values_mut().for_each(|ports| ports.fill(Bytes::ZERO));
    }

    /// Where channels are chosen by a hash, adds the pages of `region` that lie on `tier` and are
    /// not in `skipped` to the read that is being gathered. `missing` bytes of its last page are
    /// not there yet.
    pub fn gather(
        &mut self,
        system: &MemorySystem,
        (tier, region): (TierId, RegionId),
        pages: &PagedRegion,
        skipped: &TokenSet,
        missing: Bytes,
    ) {
        let Some(run) = self.run[tier] else { return };
        let Range { start, end: all } = pages.live();
        let mut ports = system.ports(tier);
        self.counts.clear();
        self.counts.resize(ports.len(), 0);
        let Some(first) = ports.next() else { return };
        let place = |port: PortId| port.index() - first.index();
        for group in start / run..all.div_ceil(run) {
            let range = group * run..((group + 1) * run).min(all);
            let port = system.port_of_page(tier, region, group as u64);
            self.counts[place(port)] += pages.at[tier].count_without_in(skipped, range);
        }
        let gathered = &mut self.gathered[tier];
        for (bytes, &count) in gathered.iter_mut().zip(&self.counts) {
            *bytes += pages.page_bytes.times(count as u64);
        }
        if missing > Bytes::ZERO {
            let last = system.port_of_page(tier, region, (all.saturating_sub(1) / run) as u64);
            gathered[place(last)] -= missing;
        }
    }

    /// Where channels are chosen by a hash, adds `bytes` that are spread evenly over all of them to
    /// the read that is being gathered.
    pub fn gather_evenly(&mut self, tier: TierId, bytes: Bytes) {
        if self.run[tier].is_none() {
            return;
        }
        let ports = self.gathered[tier].len() as u128;
        let mut before = Bytes::ZERO;
        for (port, gathered) in (1..).zip(&mut self.gathered[tier]) {
            let until = bytes.share(port, ports);
            *gathered += until - before;
            before = until;
        }
    }

    /// The routes of a write of `bytes` on `pages` of a region, in equal parts a page, with the
    /// bytes of each, where channels are chosen by a hash.
    pub fn write_parts(
        &self,
        system: &MemorySystem,
        (tier, region): (TierId, RegionId),
        pages: &[Page],
        bytes: Bytes,
    ) -> Option<Vec<(RouteId, Bytes)>> {
        self.run[tier]?;
        let mut parts: Vec<(RouteId, Bytes)> = Vec::new();
        let (all, mut before) = (pages.len() as u128, Bytes::ZERO);
        for (number, page) in (1..).zip(pages) {
            let until = bytes.share(number, all);
            let route = system.write_route(self.port(system, tier, region, *page)?);
            match parts.iter_mut().find(|(known, _)| *known == route) {
                Some((_, of_route)) => *of_route += until - before,
                None => parts.push((route, until - before)),
            }
            before = until;
        }
        parts.retain(|(_, bytes)| *bytes > Bytes::ZERO);
        Some(parts)
    }

    /// The routes of the read that was gathered from `tier` with the bytes of each, where channels
    /// are chosen by a hash.
    pub fn parts(&mut self, system: &MemorySystem, tier: TierId) -> Option<&[(RouteId, Bytes)]> {
        self.run[tier]?;
        let of_ports = system.ports(tier).zip(&self.gathered[tier]).filter(|(_, bytes)| **bytes > Bytes::ZERO);
        self.parts.clear();
        self.parts.extend(of_ports.map(|(port, bytes)| (system.read_route(port), *bytes)));
        Some(&self.parts)
    }
}

/// To the nearest of 16 to 31 times a power of 2. Granules that differ by less than 3 % cost the
/// same within a hundredth or two, and a run must not meet a new granule in each step: what a
/// granule costs is found once.
pub(super) fn rounded(granule: Bytes) -> Bytes {
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
