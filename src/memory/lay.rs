//! Lays the lanes and ports of a memory system.
//!
//! A tier has a lane for its bus, or one for each direction (full duplex): for each channel, where
//! pages are hashed over channels or every channel is asked for, and otherwise for all of them
//! together. Behind these come the lanes that all ports of the tier share: its link's directions,
//! and limits on the bytes in flight ([`Lane::window`]).

use super::check::{MemoryError, check_system, check_tier, latency};
use super::config::{Duplex, Interleaving, MemoryConfig, TierConfig};
use super::efficiency::Efficiency;
use super::ids::{LaneId, TierId};
use super::link::{LinkConfig, payload};
use super::parts::{Lane, Port, Tier};
use crate::units::{Bandwidth, Bytes, SimTime};
use std::ops::Range;
use std::sync::Arc;

/// What is laid so far.
#[derive(Default)]
pub(super) struct Laid {
    pub tiers: Vec<Tier>,
    pub lanes: Vec<Lane>,
    pub ports: Vec<Port>,
    /// By tier, the places of its ports among `ports`.
    pub tier_ports: Vec<Range<usize>>,
}

/// Checks `config` and lays its lanes and ports; with a lane for every channel, where
/// `every_channel` says so. O(lanes).
///
/// # Errors
/// The first thing that is wrong with `config`: what concerns all tiers, then tier by tier.
pub(super) fn lay(config: &MemoryConfig, every_channel: bool) -> Result<Laid, MemoryError> {
    check_system(config)?;
    let mut laid = Laid::default();
    for (index, tier) in config.tiers.iter().enumerate() {
        check_tier(index, tier, &config.tiers[..index])?;
        laid.lay_tier(index, tier, every_channel)?;
    }
    Ok(laid)
}

impl Laid {
    fn lay_tier(&mut self, index: usize, tier: &TierConfig, every_channel: bool) -> Result<(), MemoryError> {
        let efficiency = tier.efficiency().map(Efficiency::new).transpose();
        let efficiency = efficiency
            .map_err(|source| MemoryError::Efficiency { index, name: tier.name.clone(), source })?
            .map(Arc::new);
        let one_by_one = every_channel || matches!(tier.interleaving, Interleaving::Hashed { .. });
        let first = self.ports.len();
        self.lay_ports(index, tier, efficiency.as_ref(), one_by_one)?;
        self.tier_ports.push(first..self.ports.len());
        let (read_bandwidth, wire_bandwidth) = (self.slowest(first, true), self.slowest(first, false));
        let own = self.ports[first].local;
        let before = self.tiers.last().map(|tier| tier.wire_bandwidth);
        if let Some(before) = before.filter(|before| wire_bandwidth > *before) {
            return Err(MemoryError::Order { index, name: tier.name.clone(), read: wire_bandwidth, before });
        }
        self.tiers.push(Tier {
            name: tier.name.clone(),
            capacity: tier.capacity,
            channels: tier.channels,
            interleaving: tier.interleaving,
            stripe: tier.stripe,
            granule_matters: efficiency.as_ref().is_some_and(|efficiency| efficiency.depends_on_granule()),
            read_bandwidth,
            wire_bandwidth,
            write_bandwidth: read_bandwidth,
            mixed_bandwidth: read_bandwidth,
            latency: latency(tier),
            local_bandwidth: self.lanes[own.index()].whole,
            local_latency: tier.latency,
        });
        Ok(())
    }

    /// Lays the lanes and ports of a tier: the lanes of its channels, then those that all its ports
    /// share.
    fn lay_ports(
        &mut self,
        index: usize,
        tier: &TierConfig,
        efficiency: Option<&Arc<Efficiency>>,
        one_by_one: bool,
    ) -> Result<(), MemoryError> {
        let channels: Vec<ChannelLanes> = (0..if one_by_one { tier.channels } else { 1 })
            .map(|channel| lay_channel(tier, efficiency, one_by_one.then_some(channel), &mut self.lanes))
            .collect();
        let mut shared = lay_link(index, tier, &mut self.lanes)?;
        lay_windows(index, tier, &mut shared, &mut self.lanes)?;
        let with_shared = |own: LaneId, shared: &[LaneId]| [&[own], shared].concat();
        self.ports.extend(channels.into_iter().map(|of_port| Port {
            tier: TierId::new(index),
            local: of_port.read,
            read: with_shared(of_port.read, &shared.read),
            write: with_shared(of_port.write, &shared.write),
        }));
        Ok(())
    }

    /// What the slowest lane that reads of `port` cross carries; with or without those that stand
    /// for windows.
    fn slowest(&self, port: usize, windows: bool) -> Bandwidth {
        let held = self.ports[port].read.iter().map(|lane| &self.lanes[lane.index()]);
        let held = held.filter(|lane| windows || lane.window.is_none());
        held.map(|lane| lane.whole).min().expect("a port holds a lane")
    }
}

/// `peak` less what is lost, rounded down.
fn achieved(peak: Bandwidth, share: f64) -> Bandwidth {
    // At least 1 MB/s times the least efficiency.
    Bandwidth::new((peak.as_f64() * share) as u64).unwrap_or(peak)
}

/// The lanes of a link, and of limits on the bytes in flight, by direction: all ports of a tier
/// share them.
#[derive(Default)]
struct SharedLanes {
    read: Vec<LaneId>,
    write: Vec<LaneId>,
}

fn lay_link(index: usize, tier: &TierConfig, lanes: &mut Vec<Lane>) -> Result<SharedLanes, MemoryError> {
    let Some(link) = tier.link() else { return Ok(SharedLanes::default()) };
    let LinkConfig { read, write, combined, packet, transfer_cap, max_transfers, .. } = *link;
    let mut lay = |part: &str, peak: Bandwidth| {
        let whole = payload(peak, packet)
            .filter(|whole| whole.get() >= Bandwidth::MIN_INPUT)
            .ok_or_else(|| MemoryError::Packet { index, name: tier.name.clone() })?;
        let name = format!("{}.link.{part}", tier.name);
        lanes.push(Lane {
            name,
            whole,
            shared_by: 1,
            peak,
            write_only: false,
            efficiency: None,
            transfer_cap,
            max_transfers,
            window: None,
            is_kernels: false,
        });
        Ok(LaneId::new(lanes.len() - 1))
    };
    let mut of_link = SharedLanes { read: vec![lay("read", read)?], write: vec![lay("write", write)?] };
    if let Some(combined) = combined {
        let both = lay("both", combined)?;
        of_link.read.push(both);
        of_link.write.push(both);
    }
    Ok(of_link)
}

/// Adds the lanes that stand for limits on the bytes in flight. Where there is no latency, nothing
/// is in flight.
fn lay_windows(
    index: usize,
    tier: &TierConfig,
    shared: &mut SharedLanes,
    lanes: &mut Vec<Lane>,
) -> Result<(), MemoryError> {
    let latency = latency(tier);
    if latency == SimTime::ZERO {
        return Ok(());
    }
    let mut lay = |part: &str, field: &'static str, outstanding: Bytes| {
        let rate = u128::from(outstanding.get()) * u128::from(SimTime::PS_PER_SECOND) / u128::from(latency.as_ps());
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).min(Bandwidth::MAX_INPUT);
        let whole = Bandwidth::new(rate)
            .filter(|rate| rate.get() >= Bandwidth::MIN_INPUT)
            .ok_or_else(|| MemoryError::Outstanding { index, name: tier.name.clone(), field, outstanding, latency })?;
        lanes.push(Lane {
            name: format!("{}.{part}", tier.name),
            whole,
            shared_by: 1,
            peak: whole,
            write_only: false,
            efficiency: None,
            transfer_cap: None,
            max_transfers: None,
            window: Some(outstanding),
            is_kernels: false,
        });
        Ok(LaneId::new(lanes.len() - 1))
    };
    if let Some(outstanding) = tier.link().and_then(|link| link.outstanding) {
        shared.read.push(lay("link.read.outstanding", "link.outstanding", outstanding)?);
        shared.write.push(lay("link.write.outstanding", "link.outstanding", outstanding)?);
    }
    if let Some(outstanding) = tier.outstanding {
        let both = lay("outstanding", "outstanding", outstanding)?;
        shared.read.push(both);
        shared.write.push(both);
    }
    Ok(())
}

/// The lanes of a channel, or of all channels of a tier together.
struct ChannelLanes {
    read: LaneId,
    write: LaneId,
}

fn lay_channel(
    tier: &TierConfig,
    efficiency: Option<&Arc<Efficiency>>,
    channel: Option<u32>,
    lanes: &mut Vec<Lane>,
) -> ChannelLanes {
    let at = |read_share| efficiency.map_or(tier.bandwidth, |it| achieved(tier.bandwidth, it.streaming(read_share)));
    let (read, written) = (at(1.0), at(0.0));
    let mut lay = |part: &str, whole: Bandwidth, write_only: bool| {
        lanes.push(Lane {
            name: match channel {
                None => format!("{}.{part}", tier.name),
                Some(channel) => format!("{}.{part}.{channel}", tier.name),
            },
            whole,
            shared_by: if channel.is_some() { tier.channels } else { 1 },
            peak: tier.bandwidth,
            write_only,
            efficiency: efficiency.cloned(),
            transfer_cap: tier.transfer_cap,
            max_transfers: tier.max_transfers,
            window: None,
            is_kernels: false,
        });
        LaneId::new(lanes.len() - 1)
    };
    match tier.duplex {
        Duplex::Half => {
            let bus = lay("bus", read, false);
            ChannelLanes { read: bus, write: bus }
        }
        Duplex::Full => ChannelLanes { read: lay("read", read, false), write: lay("write", written, true) },
    }
}
