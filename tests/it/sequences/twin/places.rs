//! Where weights and pages lie, and where new ones go.

use super::fluid::Tier;
use tiersim::strategy::{InitializationKind, PlacementKind};

/// A page of KV; one that moves is at its source and has its home at its destination.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub at: usize,
    pub home: usize,
    /// It has room for more tokens, or a write of it is not complete.
    pub is_open: bool,
}

impl Page {
    pub fn moves(&self) -> bool {
        self.at != self.home
    }
}

/// The KV of one sequence in one layer.
#[derive(Clone, Debug, Default)]
pub struct Region {
    pub tokens: usize,
    pub pages: Vec<Page>,
}

#[derive(Debug)]
pub struct Places {
    pub tiers: Vec<Tier>,
    /// By stage and tier.
    pub weights: Vec<Vec<u64>>,
    pub regions: Vec<Region>,
    /// The bytes and the tokens of a page.
    pub page_bytes: u64,
    pub size: usize,
}

/// round(count * part / whole), halves up.
pub fn share(count: u64, part: u64, whole: u64) -> u64 {
    ((2 * u128::from(count) * u128::from(part) + u128::from(whole)) / (2 * u128::from(whole))) as u64
}

impl Places {
    pub fn used(&self) -> Vec<u64> {
        let mut used: Vec<u64> =
            (0..self.tiers.len()).map(|tier| self.weights.iter().map(|stage| stage[tier]).sum()).collect();
        for page in self.regions.iter().flat_map(|region| &region.pages) {
            used[page.at] += self.page_bytes;
            if page.moves() {
                used[page.home] += self.page_bytes;
            }
        }
        used
    }

    pub fn free(&self, tier: usize) -> u64 {
        self.tiers[tier].capacity - self.used()[tier]
    }

    fn bandwidth_from(&self, tier: usize) -> u64 {
        self.tiers[tier..].iter().map(|tier| tier.bandwidth).sum()
    }

    /// The tiers from `tier` on, then the faster ones.
    fn spill(&self, tier: usize) -> Vec<usize> {
        (tier..self.tiers.len()).chain(0..tier).collect()
    }

    pub fn lay_out(&mut self, kind: InitializationKind, stages: &[u64], prompts: &[usize]) {
        let tiers = self.tiers.len();
        for &stored in stages {
            self.weights.push(vec![0; tiers]);
            let mut left = stored;
            let mut put = |places: &mut Self, tier: usize, most: u64| {
                let part = most.min(left).min(places.free(tier));
                places.weights.last_mut().unwrap()[tier] += part;
                left -= part;
                left
            };
            let mut of = stored;
            if kind == InitializationKind::BestRatio {
                for tier in 0..tiers - 1 {
                    let part = share(of, self.tiers[tier].bandwidth, self.bandwidth_from(tier));
                    of = put(self, tier, part);
                }
            }
            for tier in self.spill(if kind == InitializationKind::BestRatio { tiers - 1 } else { 0 }) {
                put(self, tier, u64::MAX);
            }
        }
        let wanted: Vec<Vec<usize>> =
            prompts.iter().map(|tokens| self.wanted(kind, tokens.div_ceil(self.size))).collect();
        for page in 0..wanted.iter().map(Vec::len).max().unwrap_or(0) {
            for (region, wanted) in wanted.iter().enumerate().filter(|(_, wanted)| page < wanted.len()) {
                let fitting = self.spill(wanted[page]).into_iter().find(|tier| self.free(*tier) >= self.page_bytes);
                let is_open = (page + 1) * self.size > prompts[region];
                let at = fitting.expect("it fits");
                self.regions[region].pages.push(Page { at, home: at, is_open });
                self.regions[region].tokens = prompts[region];
            }
        }
    }

    /// The tier that each of so many pages of a prompt should go to.
    fn wanted(&self, kind: InitializationKind, pages: usize) -> Vec<usize> {
        let mut wanted = vec![0; pages];
        if kind == InitializationKind::BestRatio {
            let mut left: Vec<usize> = (0..pages).collect();
            for tier in 0..self.tiers.len() {
                let taken = share(left.len() as u64, self.tiers[tier].bandwidth, self.bandwidth_from(tier)) as usize;
                let (all, mut place) = (left.len(), 0);
                left.retain(|&page| {
                    let takes = (place + 1) * taken / all > place * taken / all;
                    place += 1;
                    if takes {
                        wanted[page] = tier;
                    }
                    !takes
                });
            }
        }
        wanted
    }

    /// The tier of a new page of `region`, beside whose stage so much is read from each tier.
    pub fn place(&mut self, kind: PlacementKind, region: usize, read: &mut [u64]) {
        let fits = |tier: &usize| self.free(*tier) >= self.page_bytes;
        let fitting = || (0..self.tiers.len()).filter(fits);
        let home = |tier: usize| self.regions[region].pages.iter().filter(|page| page.home == tier).count() as u64;
        let tier = match kind {
            PlacementKind::PreferHbm => fitting().next(),
            PlacementKind::BestRatio => {
                let exceeds = |tier: usize| {
                    let of: u64 = (tier..self.tiers.len()).map(home).sum();
                    home(tier) * self.bandwidth_from(tier) > self.tiers[tier].bandwidth * of
                };
                fitting().find(|tier| !exceeds(*tier)).or_else(|| fitting().next())
            }
            PlacementKind::Balance => {
                // Of equals the fastest: the first of several minima.
                let exact = |a: &usize, b: &usize| {
                    (read[*a] * self.tiers[*b].bandwidth).cmp(&(read[*b] * self.tiers[*a].bandwidth))
                };
                fitting().min_by(exact)
            }
            other => panic!("the twin knows no {other}"),
        };
        let at = tier.expect("it fits");
        self.regions[region].pages.push(Page { at, home: at, is_open: true });
        read[at] += self.page_bytes;
    }
}
