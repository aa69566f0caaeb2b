//! Memory systems of tiers that a test describes in one line each.

use tiersim::memory::{Arbitration, ClassWeights, MemoryConfig, MemorySystem, ResidencyKind, TierConfig};
use tiersim::units::{Bandwidth, Bytes};

pub const GIGA: u64 = 1_000_000_000;

pub fn bandwidth(bytes_per_second: u64) -> Bandwidth {
    Bandwidth::new(bytes_per_second).expect("a bandwidth is not 0")
}

pub fn giga(gigabytes: u64) -> Bandwidth {
    bandwidth(gigabytes * GIGA)
}

pub fn config(arbitration: Arbitration, class_weights: ClassWeights, tiers: Vec<TierConfig>) -> MemoryConfig {
    MemoryConfig {
        price: None,
        name: "test".to_owned(),
        about: String::new(),
        arbitration,
        class_weights,
        residency: ResidencyKind::Exclusive,
        tiers,
    }
}

pub fn tier(name: &str, bandwidth: Bandwidth) -> TierConfig {
    TierConfig::new(name, Bytes::new(1 << 40), bandwidth)
}

/// The system of `config` with its tiers named and put in order.
pub fn lay(config: &MemoryConfig) -> MemorySystem {
    MemorySystem::new(&in_order(config)).expect("the tiers are in order")
}

/// `config` with its tiers named and ordered by read bandwidth.
pub fn in_order(config: &MemoryConfig) -> MemoryConfig {
    let mut config = config.clone();
    let names = ["hbm", "external", "third", "fourth"];
    let read_bandwidth = |tier: &TierConfig| {
        let second = TierConfig { name: "other".to_owned(), ..TierConfig::new("other", Bytes::new(1), bandwidth(1)) };
        let tiers = vec![TierConfig { name: "one".to_owned(), ..tier.clone() }, second];
        let system = MemorySystem::new(&MemoryConfig { tiers, ..config.clone() }).expect("a tier is right");
        system.tiers()[0].wire_bandwidth
    };
    let mut tiers: Vec<(Bandwidth, TierConfig)> =
        config.tiers.iter().map(|tier| (read_bandwidth(tier), tier.clone())).collect();
    tiers.sort_by_key(|(read, _)| std::cmp::Reverse(*read));
    config.tiers =
        tiers.into_iter().zip(names).map(|((_, tier), name)| TierConfig { name: name.to_owned(), ..tier }).collect();
    config
}
