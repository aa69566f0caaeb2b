use super::{dram_name, link_name};
use crate::config::Reference;
use crate::memory::{LinkConfig, MemoryConfig, TierConfig};

/// What a memory system is made of, a line a tier, with the names of shipped parts:
/// `lpddr5x: 480 GB at 512 GB/s over nvlink-c2c`.
///
/// ```
/// let memory = tiersim::catalog::memory("gh200")?;
/// assert_eq!(tiersim::catalog::parts(&memory)[0], "hbm: 96 GB at 4000 GB/s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn parts(memory: &MemoryConfig) -> Vec<String> {
    memory.tiers.iter().map(tier).collect()
}

fn tier(tier: &TierConfig) -> String {
    let mut text = format!("{}: {} at {}", tier.name, tier.capacity, tier.bandwidth);
    let part = tier.efficiency.as_ref().and_then(|part| match part {
        Reference::Name(name) => Some(name.as_str()),
        Reference::Inline(part) => dram_name(part),
    });
    if let Some(name) = part {
        text += &format!(" ({name})");
    }
    match &tier.link {
        Some(Reference::Name(name)) => text += &format!(" over {name}"),
        Some(Reference::Inline(link)) => text += &format!(" over {}", described(link)),
        None => {}
    }
    text
}

/// A link by its name or, where it is not a shipped one, by its bandwidths.
fn described(link: &LinkConfig) -> String {
    match link_name(link) {
        Some(name) => name.to_owned(),
        None if link.read == link.write => format!("a link of {}", link.read),
        None => format!("a link of {} (write {})", link.read, link.write),
    }
}
