use super::config::{LinkConfig, MemoryConfig, TierConfig};
use super::presets;

/// What a memory system is made of, a line a tier, with the names of shipped parts:
/// `lpddr5x: 480 GB at 512 GB/s over nvlink-c2c`.
///
/// ```
/// let memory = tiersim::catalog::memory("gh200")?;
/// assert_eq!(tiersim::memory::parts(&memory)[0], "hbm: 96 GB at 4000 GB/s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn parts(memory: &MemoryConfig) -> Vec<String> {
    memory.tiers.iter().map(tier).collect()
}

fn tier(tier: &TierConfig) -> String {
    let mut text = format!("{}: {} at {}", tier.name, tier.capacity, tier.bandwidth);
    if let Some(name) = tier.efficiency.as_ref().and_then(presets::dram_name) {
        text += &format!(" ({name})");
    }
    if let Some(link) = &tier.link {
        text += &format!(" over {}", described(link));
    }
    text
}

/// A link by its name or, where it is not a shipped one, by its bandwidths.
fn described(link: &LinkConfig) -> String {
    match presets::link_name(link) {
        Some(name) => name.to_owned(),
        None if link.read == link.write => format!("a link of {}", link.read),
        None => format!("a link of {} (write {})", link.read, link.write),
    }
}
