//! Links and DRAM parts that are shipped, by name: `link: "pcie5-x16"`, `efficiency: "hbm3-6400"`.

use crate::config::{self, ConfigError};
use crate::memory::{EfficiencyConfig, LinkConfig, payload};
use crate::units::Bandwidth;
use serde::de::DeserializeOwned;

/// A shipped part: its name, the file in the source tree, and its text.
type Part = (&'static str, &'static str, &'static str);

macro_rules! parts {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$((
            $name,
            concat!("models/", $folder, "/", $name, ".ron"),
            include_str!(concat!("../../models/", $folder, "/", $name, ".ron")),
        )),+]
    };
}

/// The links.
pub const LINKS: &[Part] = parts! {
    "links": "nvlink-c2c", "pcie4-x16", "pcie5-x16", "pcie6-x16", "cxl2-x8", "cxl2-x16", "cxl3-x8", "cxl3-x16",
    "ucie-x64", "ucie-x16",
};

/// The DRAM parts.
pub const DRAM: &[Part] = parts! {
    "dram": "hbm2-2000", "hbm2-2000-8gb", "hbm2e-3200", "hbm3-6400", "hbm3e-8000", "hbm4-8000", "lpddr5-6400", "lpddr5x-8533",
    "ddr4-3200", "ddr4-3200-2r", "ddr5-4800", "ddr5-6400", "gddr6-14000", "gddr6x-21000", "gddr7-28000",
};

/// The link of that name.
///
/// # Errors
/// [`ConfigError`] if there is none.
pub fn link(name: &str) -> Result<LinkConfig, ConfigError> {
    find("link", LINKS, name)
}

/// The efficiency of the DRAM part of that name.
///
/// # Errors
/// [`ConfigError`] if there is none.
pub fn efficiency(name: &str) -> Result<EfficiencyConfig, ConfigError> {
    find("efficiency", DRAM, name)
}

/// The name of the shipped link that is like this one.
#[must_use]
pub fn link_name(link: &LinkConfig) -> Option<&'static str> {
    LINKS.iter().map(|(name, ..)| *name).find(|name| self::link(name).is_ok_and(|shipped| shipped == *link))
}

/// The name of the shipped DRAM part that is like this one.
#[must_use]
pub fn dram_name(part: &EfficiencyConfig) -> Option<&'static str> {
    DRAM.iter().map(|(name, ..)| *name).find(|name| efficiency(name).is_ok_and(|shipped| shipped == *part))
}

/// What a link offers, in a line.
///
/// # Errors
/// [`ConfigError`] if there is none of that name.
pub fn about_link(name: &str) -> Result<String, ConfigError> {
    let link = link(name)?;
    let data = |bandwidth: Bandwidth| payload(bandwidth, link.packet).unwrap_or(bandwidth).as_f64() / 1e9;
    let (read, write) = (data(link.read), data(link.write));
    Ok(format!("{read:.1} GB/s of data read, {write:.1} written, {} there and back", link.latency))
}

/// Where the timing of a DRAM part is from, in a line.
///
/// # Errors
/// [`ConfigError`] if there is none of that name.
pub fn about_dram(name: &str) -> Result<String, ConfigError> {
    Ok(efficiency(name)?.source)
}

/// The part of that name among `parts`.
pub(super) fn find<T: DeserializeOwned>(what: &'static str, parts: &[Part], name: &str) -> Result<T, ConfigError> {
    match parts.iter().find(|(known, _, _)| *known == name) {
        Some((_, path, text)) => config::parse(text, path),
        None => Err(ConfigError::UnknownPart {
            what,
            name: name.to_owned(),
            known: parts.iter().map(|(known, _, _)| *known).collect::<Vec<_>>().join(", "),
            meant: config::did_you_mean(name, parts.iter().map(|(known, _, _)| *known)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_part_is_read() {
        assert!(LINKS.iter().all(|(name, _, _)| link(name).is_ok_and(|link| link_name(&link) == Some(name))));
        assert!(DRAM.iter().all(|(name, _, _)| efficiency(name).is_ok_and(|part| dram_name(&part) == Some(name))));
        let told = link("pcie5x16").unwrap_err().to_string();
        assert!(told.contains("no link named 'pcie5x16'") && told.contains("Did you mean 'pcie5-x16'?"), "{told}");
    }
}
