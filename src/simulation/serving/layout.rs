//! Where the weights of a model that serves requests lie, and what that leaves to KV.
//!
//! The strategy's initialization, or the layout by piece, lays the weights out as for a run whose
//! one sequence has no tokens. KV has what is left: on the first tier of `limits.memory` of its
//! capacity, less the recurrent state of as many requests as may run at once; on the tier behind it
//! `kv.capacity`, or all that the weights leave.
//!
//! KV is counted in pages of all layers. A layer with an attention window counts as one without:
//! an engine that gives up the KV that has left the window holds more requests at once than this,
//! which `limits.kv_tokens` can say.

use super::kinds::Kinds;
use crate::memory::{PerTier, ResidencyKind, TierId};
use crate::simulation::engine::lay_out_regions;
use crate::simulation::outcome::RunError;
use crate::simulation::scenario::Scenario;
use crate::simulation::unserved::ServingError;
use crate::units::{Bytes, RegionId, SequenceId};
use crate::workload::{CacheConfig, ExternalKv, KvRoom, Lengths, Regions, Requests, StepBatch, charged_stages};

/// Where everything lies.
pub(super) struct ServingLayout {
    pub kinds: Kinds,
    /// The stored weights on each tier.
    pub weights: PerTier<Bytes>,
    /// Room for KV, in pages of all layers.
    pub room: KvRoom,
    /// What a page takes in all layers.
    pub page_bytes: Bytes,
    /// The tier behind the first that keeps KV.
    pub external: Option<TierId>,
}

impl ServingLayout {
    /// That of `scenario`, which serves `requests`.
    ///
    /// # Errors
    /// [`RunError`] for weights that do not fit, and for what cannot be served.
    pub fn new(scenario: &Scenario, requests: &Requests) -> Result<Self, RunError> {
        check(scenario)?;
        let (model, system) = (scenario.model(), scenario.memory());
        let regions = Regions::new(model, &[Lengths::default()]);
        let batch = StepBatch::decoding(&[SequenceId::new(0)]);
        let stages = charged_stages(model, scenario.runtime(), &regions, &batch);
        let initialization = scenario.parts().initialization;
        let (laid_out, ledger) = lay_out_regions(scenario, (&regions, &stages), initialization)?;
        let kinds = Kinds::new(model, &regions, &laid_out.divided);
        let mut weights = PerTier::from_fn(system.tiers().len(), |tier| ledger.used(tier));
        let of_state = regions.divisible().map(|(region, _)| region).filter(|region| regions.is_state(*region));
        for region in of_state.map(RegionId::index) {
            laid_out.divided[region - regions.paged_len()].iter().for_each(|(tier, bytes)| weights[tier] -= *bytes);
        }
        let external = external(scenario, requests)?;
        let page_bytes = kinds.token_bytes.times(u64::from(scenario.resolved().page_tokens));
        let limits = &requests.limits;
        let first = &system.tiers()[TierId::HBM.index()];
        let usable = Bytes::new((first.capacity.as_f64() * limits.memory.as_f64()) as u64);
        let free = usable.saturating_sub(weights[TierId::HBM]);
        let at_once = u64::from(limits.sequences).min(requests.all.len() as u64);
        let state = kinds.state.get().saturating_mul(at_once);
        if state > free.get() {
            let most = free.get() / kinds.state.get().max(1);
            let (sequences, state, tier) = (limits.sequences, kinds.state, first.name.clone());
            return Err(ServingError::State { sequences, state, free, tier, most }.into());
        }
        let state = Bytes::new(state);
        let pages =
            |free: Bytes| if page_bytes == Bytes::ZERO { u64::from(u32::MAX) } else { free.whole_units(page_bytes) };
        let given = limits.kv_tokens.map_or(u64::MAX, |tokens| u64::from(tokens / scenario.resolved().page_tokens));
        let behind = external.map_or(Bytes::ZERO, |tier| {
            let left = system.tiers()[tier.index()].capacity.saturating_sub(weights[tier]);
            requests.kv.capacity.map_or(left, |capacity| capacity.min(left))
        });
        let room = KvRoom {
            hbm: pages(free.saturating_sub(state)).min(given),
            external: external.map_or(0, |_| pages(behind)),
        };
        if room.hbm == 0 && requests.kv.external != ExternalKv::Direct {
            let (tier, weights) = (first.name.clone(), weights[TierId::HBM]);
            return Err(ServingError::NoKv { tier, usable, weights, page: page_bytes }.into());
        }
        let (block, page) = (requests.block_tokens, scenario.resolved().page_tokens);
        if requests.kv.cache != CacheConfig::Off && !requests.blocks.is_empty() && !block.is_multiple_of(page) {
            return Err(ServingError::Blocks { block, page }.into());
        }
        Ok(Self { kinds, weights, room, page_bytes, external })
    }
}

/// What of a scenario cannot be served.
fn check(scenario: &Scenario) -> Result<(), ServingError> {
    let (runtime, system) = (scenario.runtime(), scenario.memory());
    if let Some(tier) = runtime.staged_tiers().next() {
        return Err(ServingError::Staged { tier: system.tiers()[tier.index()].name.clone() });
    }
    if !runtime.computes().is_empty() {
        return Err(ServingError::Computes);
    }
    if scenario.weight_prefetch() > 0 {
        return Err(ServingError::Prefetch(scenario.resolved().weight_prefetch));
    }
    if scenario.index().is_some() {
        return Err(ServingError::Index);
    }
    if scenario.experts().is_some() {
        return Err(ServingError::Routing);
    }
    if system.residency() == ResidencyKind::Inclusive {
        return Err(ServingError::Inclusive);
    }
    Ok(())
}

/// The tier of external memory that keeps KV, if one does.
fn external(scenario: &Scenario, requests: &Requests) -> Result<Option<TierId>, ServingError> {
    let kv = &requests.kv;
    let is_used = kv.uses_external(requests.preemption);
    let tiers = || scenario.memory().tiers().iter().enumerate().skip(1);
    let found = match &kv.tier {
        Some(name) => tiers().find(|(_, tier)| tier.name == *name),
        None => tiers().next(),
    };
    let unknown = || {
        let name = kv.tier.clone().unwrap_or_default();
        let known: Vec<&str> = tiers().map(|(_, tier)| tier.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        ServingError::Tier { name, known }
    };
    if !is_used && kv.tier.is_none() {
        return Ok(None);
    }
    let found = found.map(|(index, _)| TierId::new(index)).ok_or_else(unknown)?;
    Ok(is_used.then_some(found))
}
