//! The link between the chip and a tier, as a person writes it.

use crate::units::{Bandwidth, Bytes, SimTime};
use serde::{Deserialize, Serialize};

/// The lanes between the chip and a tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Link", deny_unknown_fields)]
pub struct LinkConfig {
    /// Towards the chip, headers included.
    pub read: Bandwidth,
    /// Away from the chip, headers included.
    pub write: Bandwidth,
    /// A limit on both directions together, where there is one.
    #[serde(default)]
    pub combined: Option<Bandwidth>,
    /// The part of the bandwidth that packet headers take.
    #[serde(default)]
    pub packet: Option<Packet>,
    /// What the link adds to the tier's latency, there and back.
    #[serde(default)]
    pub latency: SimTime,
    /// The most that one transfer gets of the link, however idle it is.
    #[serde(default)]
    pub transfer_cap: Option<Bandwidth>,
    /// How many transfers each direction carries at once, each from its request to its last byte;
    /// the others wait in line.
    #[serde(default)]
    pub max_transfers: Option<u32>,
    /// How many bytes may be in flight in each direction at once, each from its request to its
    /// arrival, so the tier's and the link's latency included. See
    /// [`Lane::window`](super::Lane::window).
    #[serde(default)]
    pub outstanding: Option<Bytes>,
}

impl LinkConfig {
    /// A link without packets, latency or limits.
    #[must_use]
    pub fn new(read: Bandwidth, write: Bandwidth) -> Self {
        Self {
            read,
            write,
            combined: None,
            packet: None,
            latency: SimTime::ZERO,
            transfer_cap: None,
            max_transfers: None,
            outstanding: None,
        }
    }
}

/// What a packet carries, and what it carries besides: header, check sum, framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// Bytes of data in a packet.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub payload: Bytes,
    /// Bytes of everything else.
    pub overhead: Bytes,
}

/// The bandwidth that packet headers leave for data, rounded down; `None` where that is less than 1
/// B/s.
pub(crate) fn payload(bandwidth: Bandwidth, packet: Option<Packet>) -> Option<Bandwidth> {
    let Some(packet) = packet else { return Some(bandwidth) };
    let (payload, overhead) = (u128::from(packet.payload.get()), u128::from(packet.overhead.get()));
    let rate = u128::from(bandwidth.get()) * payload / (payload + overhead).max(1);
    u64::try_from(rate).ok().and_then(Bandwidth::new)
}
