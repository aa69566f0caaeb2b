//! A scenario that serves requests, free of causes of delay: what explanations run.

use super::config::ScenarioConfig;
use super::refused::ScenarioError;
use super::scenario::Scenario;
use super::size::KvSizes;
use crate::config::Reference;
use crate::memory::{MemoryConfig, TierConfig};
use crate::units::{Bandwidth, Bytes, Ratio, SimTime};
use crate::workload::{RateConfig, Requests, RequestsConfig, RuntimeConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A cause of delay of requests that a run can be free of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServingIdeal {
    /// Tiers behind the first that are as fast as it, and behind no link.
    FastExternal,
    /// Room in the first tier for the KV of all requests.
    AmpleHbm,
    /// As many requests at once as there are.
    NoSequenceLimit,
    /// No fixed times of the runtime.
    NoFixedTimes,
    /// Kernels that reach the full bandwidth of each tier, whose lanes lose nothing to granules,
    /// turnaround, latencies and caps.
    FullBandwidth,
    /// Compute that takes no time.
    FreeCompute,
    /// Each request alone: a thousand times as long after the one before it. Only requests that
    /// arrive at the same moment, or nearly so, still meet.
    Unloaded,
}

impl ServingIdeal {
    /// All of them, in the order in which explanations idealize them: what the engine and its
    /// memory add, then the losses of the machine, then other requests.
    pub const ALL: [Self; 7] = [
        Self::FastExternal,
        Self::AmpleHbm,
        Self::NoSequenceLimit,
        Self::NoFixedTimes,
        Self::FullBandwidth,
        Self::FreeCompute,
        Self::Unloaded,
    ];
}

/// Faster than any memory: 100 PB/s.
const FASTEST: u64 = Bandwidth::MAX_INPUT;
/// The most requests at once that may be asked for.
const MOST_SEQUENCES: u32 = 1 << 16;
/// By how much requests that are alone are further apart than they were: enough for a mean gap of
/// milliseconds, and within the clock for a log of hours.
const APART: f64 = 1000.0;

/// By how much the times between arrivals can grow: [`APART`], but less where the last request
/// would arrive later than the clock allows, or more slowly than a rate may be.
fn apart(requests: &Requests, rate: RateConfig) -> f64 {
    const LAST: f64 = 90.0 * 86_400.0 * SimTime::PS_PER_SECOND as f64;
    const SLOWEST: f64 = 2e-6;
    let last = requests.all.iter().next_back().map_or(0, |request| request.arrival.as_ps());
    let rate = match rate {
        RateConfig::Recorded => 1.0,
        RateConfig::Times(rate) | RateConfig::PerSecond(rate) => rate,
    };
    APART.min(LAST / last.max(1) as f64).min(rate / SLOWEST).max(1.0)
}

impl Scenario {
    /// The same scenario free of all of `ideals`; `None` where it serves no requests.
    ///
    /// # Errors
    /// [`ScenarioError`], as [`new`](Self::new).
    pub fn served_without(&self, ideals: &[ServingIdeal]) -> Result<Option<Self>, ScenarioError> {
        let (mut config, Some(requests)) = (self.resolved().clone(), self.requests()) else { return Ok(None) };
        for ideal in ideals {
            self.idealize_serving(&mut config, requests, *ideal);
        }
        let mut scenario = Self::new(config)?;
        if ideals.contains(&ServingIdeal::FullBandwidth) {
            scenario.memory = scenario.memory.without_losses();
        }
        Ok(Some(scenario))
    }

    fn idealize_serving(&self, config: &mut ScenarioConfig, requests: &Requests, ideal: ServingIdeal) {
        let ScenarioConfig { memory, runtime, requests: served, .. } = config;
        let (Reference::Inline(memory), Reference::Inline(runtime), Some(served)) = (memory, runtime, served) else {
            return;
        };
        match ideal {
            ServingIdeal::FastExternal => fast_external(memory, runtime),
            ServingIdeal::AmpleHbm => {
                (served.limits.memory, served.limits.kv_tokens) = (Ratio::ONE, None);
                let tier = &mut memory.tiers[0];
                let ranks = if tier.shared_by_ranks { runtime.rank_count() } else { 1 };
                tier.capacity = tier.capacity.max(self.weights_and_kv(requests).times(ranks.into()));
            }
            ServingIdeal::NoSequenceLimit => served.limits.sequences = MOST_SEQUENCES,
            ServingIdeal::NoFixedTimes => *runtime = runtime.without_fixed_times(),
            ServingIdeal::FullBandwidth => {
                runtime.reaches.clear();
                runtime.interference.clear();
                runtime.amplification.clear();
                memory.tiers.iter_mut().for_each(|tier| {
                    (tier.transfer_cap, tier.max_transfers, tier.outstanding) = (None, None, None);
                    tier.latency = SimTime::ZERO;
                    if let Some(link) = tier.link_mut() {
                        (link.transfer_cap, link.max_transfers, link.outstanding) = (None, None, None);
                        link.latency = SimTime::ZERO;
                    }
                });
            }
            ServingIdeal::FreeCompute => (config.compute, runtime.compute) = (None, None),
            ServingIdeal::Unloaded => {
                let apart = apart(requests, served.rate);
                served.rate = match served.rate {
                    RateConfig::Recorded => RateConfig::Times(1.0 / apart),
                    RateConfig::Times(rate) => RateConfig::Times(rate / apart),
                    RateConfig::PerSecond(rate) => RateConfig::PerSecond(rate / apart),
                };
            }
        }
    }

    /// What weights and the KV of all requests occupy, each in whole pages, with as much again for
    /// copies on their way.
    fn weights_and_kv(&self, requests: &Requests) -> Bytes {
        let sizes = KvSizes::new(self.model(), self.resolved().page_tokens);
        let kv: u128 = requests.all.iter().map(|request| sizes.of(request.most_tokens())).sum();
        let kv = Bytes::new(u64::try_from(kv).unwrap_or(u64::MAX).min(Bytes::MAX_INPUT.get() / 8));
        (self.model().stored_weights() + kv).times(2)
    }

    /// Whether serving without `ideal` can make a difference.
    #[must_use]
    pub fn is_served_slower_by(&self, ideal: ServingIdeal) -> bool {
        let Some(requests) = &self.resolved().requests else { return false };
        match ideal {
            ServingIdeal::FastExternal => self.memory().tiers().len() > 1 && self.uses_external(requests),
            ServingIdeal::AmpleHbm => true,
            ServingIdeal::Unloaded => self.requests().is_some_and(|all| apart(all, requests.rate) > 1.0),
            ServingIdeal::NoSequenceLimit => {
                self.requests().is_some_and(|all| all.all.len() > requests.limits.sequences as usize)
            }
            ServingIdeal::NoFixedTimes => self.runtime().has_fixed_times(),
            ServingIdeal::FullBandwidth => true,
            ServingIdeal::FreeCompute => self.roofline().is_some(),
        }
    }

    /// Whether KV or weights may lie behind the first tier.
    fn uses_external(&self, requests: &RequestsConfig) -> bool {
        requests.kv.uses_external(requests.preemption)
            || self.resolved().layout.is_some()
            || self.strategy().initialization != crate::strategy::Strategy::REFERENCE.initialization
            || self.model().stored_weights() > self.memory().tiers()[0].capacity
    }
}

/// Tiers behind the first that are as fast as it, over links that carry everything at once.
fn fast_external(memory: &mut MemoryConfig, runtime: &mut RuntimeConfig) {
    let fastest = Bandwidth::new(FASTEST);
    let Some((first, others)) = memory.tiers.split_first_mut() else { return };
    for tier in others {
        let TierConfig { bandwidth, channels, interleaving, stripe, duplex, latency, .. } = *first;
        (tier.bandwidth, tier.channels, tier.interleaving, tier.stripe) = (bandwidth, channels, interleaving, stripe);
        (tier.duplex, tier.latency, tier.efficiency) = (duplex, latency, first.efficiency.clone());
        (tier.transfer_cap, tier.max_transfers, tier.outstanding) =
            (first.transfer_cap, first.max_transfers, first.outstanding);
        if let Some(link) = tier.link_mut() {
            (link.read, link.write) = (fastest.unwrap_or(link.read), fastest.unwrap_or(link.write));
            link.latency = SimTime::ZERO;
            (link.transfer_cap, link.max_transfers, link.outstanding) = (None, None, None);
        }
    }
    let external = |tier: &Option<String>| tier.as_ref().is_some_and(|name| *name != memory.tiers[0].name);
    runtime.reaches.retain(|reach| !external(&reach.tier));
    *runtime = runtime.with_all_at_once();
}
