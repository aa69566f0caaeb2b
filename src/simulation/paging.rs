use super::residency::LayerTokens;
use crate::memory::{Interleaving, MemorySystem, PortId, RouteId, TierId};
use crate::units::Bytes;
use crate::workload::TokenSet;

/// Over which channels KV goes: all evenly where a tier is striped, those of its pages where it is hashed.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    /// By tier: the tokens of a page, where pages are hashed.
    page_tokens: Vec<Option<usize>>,
    /// By tier, what lies in memory in a row of KV of one byte a token: 1, or the tokens of a page.
    run: Vec<u64>,
    /// Scratch space: tokens by port.
    counts: Vec<usize>,
    parts: Vec<(RouteId, Bytes)>,
}

impl Paging {
    pub fn new(system: &MemorySystem) -> Self {
        let page_tokens: Vec<Option<usize>> = system
            .tiers()
            .iter()
            .map(|tier| match tier.interleaving {
                Interleaving::Striped => None,
                Interleaving::Hashed { page_tokens } => Some(page_tokens as usize),
            })
            .collect();
        Self {
            run: page_tokens.iter().map(|tokens| tokens.map_or(1, |tokens| tokens as u64)).collect(),
            page_tokens,
            counts: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub fn is_hashed(&self, tier: TierId) -> bool {
        self.page_tokens[tier.0].is_some()
    }

    /// What lies in a row on `tier` of KV of `kv_bytes` a token.
    pub fn granule(&self, tier: TierId, kv_bytes: Bytes) -> Bytes {
        kv_bytes.times(self.run[tier.0])
    }

    /// The port of a token's page, where pages are hashed.
    pub fn port(&self, system: &MemorySystem, tier: TierId, layer: usize, token: usize) -> Option<PortId> {
        self.page_tokens[tier.0].map(|page_tokens| system.port_of_page(tier, layer, (token / page_tokens) as u64))
    }

    /// Where pages are hashed, the routes over which the tokens of `layer` that lie on `tier` and are not in `skipped` are
    /// read, with the bytes of each.
    pub fn reads(
        &mut self,
        system: &MemorySystem,
        (tier, layer): (TierId, usize),
        tokens: &LayerTokens,
        skipped: &TokenSet,
        context: usize,
    ) -> Option<&[(RouteId, Bytes)]> {
        let page_tokens = self.page_tokens[tier.0]?;
        let ports = system.ports(tier);
        let first = system.ports(tier).next()?.0;
        self.counts.clear();
        self.counts.resize(ports.len(), 0);
        for page in 0..context.div_ceil(page_tokens) {
            let range = page * page_tokens..((page + 1) * page_tokens).min(context);
            let port = system.port_of_page(tier, layer, page as u64);
            self.counts[port.0 - first] += tokens.at[tier.0].count_without_in(skipped, range);
        }
        self.parts.clear();
        for (port, &count) in ports.zip(&self.counts) {
            if count > 0 {
                self.parts.push((system.read_route(port), tokens.kv_bytes.times(count as u64)));
            }
        }
        Some(&self.parts)
    }
}
