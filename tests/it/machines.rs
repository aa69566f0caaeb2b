//! The shipped machines: every file is listed, and those that were measured achieve what was
//! measured.

use std::collections::BTreeSet;
use std::fs;
use tiersim::catalog;
use tiersim::memory::{Efficiency, MemorySystem};

#[test]
fn every_memory_system_in_the_source_tree_is_listed_and_valid() {
    let files: BTreeSet<String> = fs::read_dir("models/memory")
        .expect("tests run in the source tree")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = catalog::MEMORY_SYSTEMS.iter().map(|shipped| shipped.name.to_owned()).collect();
    assert_eq!(files, listed);
    for name in listed {
        let config = catalog::memory(&name).expect("a shipped file is right");
        assert_eq!(config.name, name);
        MemorySystem::new(&config).expect("a shipped file is right");
        let sources = config.tiers.iter().filter_map(|tier| tier.efficiency());
        assert!(sources.map(|it| &it.source).all(|source| source.len() > 10), "{name}");
    }
}

#[test]
fn machines_with_one_memory_have_one_tier() {
    for name in ["dgx-spark", "m1-pro", "m3-pro", "m2-ultra", "m4-max"] {
        assert_eq!(catalog::memory(name).expect("a shipped file").tiers.len(), 1, "{name}");
    }
}

/// What long reads, writes, and mixes achieve in GB/s of a tier, behind its link if it has one,
/// against what was measured.
#[test]
fn measured_machines_achieve_what_was_measured() {
    for (name, tier, reads, writes) in [
        // Kernels' reads of host memory over NVLink-C2C 328 to 339, copies out 297.
        ("gh200", 1, 328.0..339.0, 296.0..298.0),
        ("gh200", 0, 3600.0..3630.0, 3690.0..3720.0),
        // Half of the 348 that STREAM gets of a Grace with 480 GB.
        ("gb200", 1, 173.0..175.0, 173.0..175.0),
        ("rtx4090", 0, 958.0..965.0, 905.0..925.0),
        ("rtx3090", 0, 860.0..880.0, 830.0..840.0),
        ("h100-sxm", 0, 3080.0..3090.0, 2890.0..2910.0),
        ("h200-sxm", 0, 4585.0..4600.0, 4000.0..4015.0),
        ("rtx5090", 1, 56.0..56.5, 57.0..57.5),
    ] {
        let system = MemorySystem::new(&catalog::memory(name).expect("a shipped file")).expect("it is right");
        let tier = &system.tiers()[tier];
        let (read, write) = (tier.read_bandwidth.as_f64() / 1e9, tier.write_bandwidth.as_f64() / 1e9);
        assert!(reads.contains(&read) && writes.contains(&write), "{name} {}: {read:.1}, {write:.1}", tier.name);
    }
    let gh200 = catalog::memory("gh200").expect("a shipped file");
    let lpddr = &gh200.tiers[1];
    let efficiency = Efficiency::new(lpddr.efficiency().expect("it was measured")).expect("it is right");
    let stream = lpddr.bandwidth.as_f64() / 1e9 * efficiency.streaming(2.0 / 3.0);
    assert!((stream - 348.0).abs() < 1.0, "STREAM of the LPDDR5X: {stream:.1}");
    // Both directions at once 179 and 181.
    let combined = lpddr.link().expect("NVLink-C2C").combined.expect("it was measured").as_f64() / 1e9;
    assert!((combined - 360.0).abs() < 2.0, "{combined}");
}
