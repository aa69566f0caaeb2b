//! What a memory system assumes, and what keeps its tiers below their bandwidths: shown wherever
//! one is described.

use super::config::{MemoryConfig, TierConfig};
use super::link::LinkConfig;
use super::{MemorySystem, Tier};
use crate::units::{Bandwidth, Bytes, SimTime};
use std::fmt;

/// A line about a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The tier's name.
    pub tier: String,
    /// What is assumed, or limited.
    pub text: String,
    /// Whether it keeps the tier below its bandwidth, or has no effect.
    pub is_warning: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = if self.is_warning { "warning: " } else { "" };
        write!(f, "{warning}{}: {}", self.tier, self.text)
    }
}

impl MemorySystem {
    /// What `config`, from which this system was made, assumes and limits, tier by tier: missing
    /// efficiencies, caps, limits on what is in flight, packet overheads.
    #[must_use]
    pub fn notes(&self, config: &MemoryConfig) -> Vec<Note> {
        let mut notes = Vec::new();
        for (given, tier) in config.tiers.iter().zip(self.tiers()) {
            let mut add = |is_warning: bool, text: String| {
                notes.push(Note { tier: tier.name.clone(), text, is_warning });
            };
            efficiency(given, &mut add);
            let of_link = given.link();
            if let Some(link) = of_link {
                packets(link, &mut add);
            }
            for (field, cap) in [
                ("transfer_cap", given.transfer_cap),
                ("link.transfer_cap", of_link.and_then(|link| link.transfer_cap)),
            ] {
                if let Some(cap) = cap {
                    transfer_cap(field, cap, tier, &mut add);
                }
            }
            for (field, limit) in [
                ("max_transfers", given.max_transfers),
                ("link.max_transfers", of_link.and_then(|link| link.max_transfers)),
            ] {
                if let Some(limit) = limit {
                    add(false, max_transfers(field, limit, tier));
                }
            }
            for (field, window) in
                [("outstanding", given.outstanding), ("link.outstanding", of_link.and_then(|link| link.outstanding))]
            {
                if let Some(window) = window {
                    outstanding(field, window, tier, &mut add);
                }
            }
        }
        notes
    }
}

fn efficiency(given: &TierConfig, add: &mut impl FnMut(bool, String)) {
    let Some(efficiency) = given.efficiency() else {
        add(false, "100 % of peak assumed (no efficiency is given)".to_owned());
        return;
    };
    if let Some(table) = &efficiency.table
        && let [only] = table.granules.as_slice()
    {
        add(false, format!("efficiency is known for granules of {only} only; others are assumed to achieve the same"));
    }
}

fn packets(link: &LinkConfig, add: &mut impl FnMut(bool, String)) {
    let Some(packet) = link.packet else { return };
    let (payload, overhead) = (packet.payload.as_f64(), packet.overhead.as_f64());
    let data = 100.0 * payload / (payload + overhead);
    add(
        false,
        format!(
            "link packets carry {} of data and {} of overhead: {data:.1} % of its bandwidth is data",
            packet.payload, packet.overhead
        ),
    );
}

fn transfer_cap(field: &str, cap: Bandwidth, tier: &Tier, add: &mut impl FnMut(bool, String)) {
    let keeps_below = cap < tier.wire_bandwidth;
    let against = if keeps_below { ", less than" } else { "; it can be read at" };
    add(keeps_below, format!("{field}: one transfer gets at most {cap}{against} {}", gigabytes(tier.wire_bandwidth)));
}

/// A transfer of `bytes` is in flight for latency + bytes / bandwidth. `limit` of them at a time
/// reach half of the bandwidth where their bytes together take as long as the latency.
fn max_transfers(field: &str, limit: u32, tier: &Tier) -> String {
    let at_once = if limit == 1 { "1 transfer" } else { &format!("{limit} transfers") };
    let counted = format!("{field}: {at_once} at once, each from its request to its last byte");
    if tier.latency == SimTime::ZERO {
        return counted;
    }
    let seconds = tier.latency.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
    let half = Bytes::new((tier.wire_bandwidth.as_f64() * seconds / f64::from(limit)).ceil() as u64);
    format!(
        "{counted}; at a latency of {}, transfers of less than {} reach less than half of {}",
        tier.latency,
        size(half),
        gigabytes(tier.wire_bandwidth)
    )
}

fn outstanding(field: &str, window: Bytes, tier: &Tier, add: &mut impl FnMut(bool, String)) {
    if tier.latency == SimTime::ZERO {
        add(true, format!("{field}: {window} in flight is no limit, as the tier has no latency"));
        return;
    }
    let seconds = tier.latency.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
    let rate = window.as_f64() / seconds;
    let keeps_below = rate < tier.wire_bandwidth.as_f64();
    let against = if keeps_below { ", less than" } else { "; it can be read at" };
    let wire = gigabytes(tier.wire_bandwidth);
    add(
        keeps_below,
        format!(
            "{field}: {window} in flight at a latency of {} is {:.1} GB/s{against} {wire}",
            tier.latency,
            rate / 1e9
        ),
    );
}

fn gigabytes(bandwidth: Bandwidth) -> String {
    format!("{:.1} GB/s", bandwidth.as_f64() / 1e9)
}

/// To three digits: it is a scale, not an amount.
fn size(bytes: Bytes) -> String {
    let (mut value, mut unit) = (bytes.as_f64(), "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    let decimals = if value >= 100.0 || unit == "B" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(tiers: &str) -> Vec<String> {
        let config = crate::catalog::memory_of(&format!("(name: \"m\", tiers: [{tiers}])"), "memory").unwrap();
        MemorySystem::new(&config).unwrap().notes(&config).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plain_tier_assumes_its_peak() {
        assert_eq!(
            notes("(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"1000 GB/s\")"),
            ["hbm: 100 % of peak assumed (no efficiency is given)"]
        );
    }

    #[test]
    fn limits_are_shown_and_those_that_keep_a_tier_below_its_bandwidth_warn() {
        let link = "read: \"400 GB/s\", write: \"400 GB/s\", packet: (payload: \"96 B\", overhead: \"32 B\"), \
                    latency: \"1 us\", transfer_cap: \"350 GB/s\", max_transfers: 3";
        let tier = format!(
            "(name: \"ext\", capacity: \"1 GB\", bandwidth: \"1000 GB/s\", efficiency: \"hbm3-6400\", latency: \"1 us\", \
             transfer_cap: \"200 GB/s\", outstanding: \"100 kB\", link: ({link}))"
        );
        assert_eq!(
            notes(&tier),
            [
                "ext: link packets carry 96 B of data and 32 B of overhead: 75.0 % of its bandwidth is data",
                "warning: ext: transfer_cap: one transfer gets at most 200 GB/s, less than 300.0 GB/s",
                "ext: link.transfer_cap: one transfer gets at most 350 GB/s; it can be read at 300.0 GB/s",
                "ext: link.max_transfers: 3 transfers at once, each from its request to its last byte; at a latency of 2 us, \
                 transfers of less than 200 kB reach less than half of 300.0 GB/s",
                "warning: ext: outstanding: 100 kB in flight at a latency of 2 us is 50.0 GB/s, less than 300.0 GB/s",
            ]
        );
    }

    #[test]
    fn what_is_not_known_and_what_has_no_effect_is_said() {
        let table = "(source: \"s\", table: (granules: [\"4 KiB\"], read_shares: [1.0], achieved: [[0.5]]))";
        let tier = format!(
            "(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"100 GB/s\", efficiency: {table}, outstanding: \"1 kB\")"
        );
        assert_eq!(
            notes(&tier),
            [
                "hbm: efficiency is known for granules of 4 KiB only; others are assumed to achieve the same",
                "warning: hbm: outstanding: 1 kB in flight is no limit, as the tier has no latency",
            ]
        );
    }
}
