//! A memory system of measured figures: a tier for the GPU's memory and for each host memory, or
//! for the memory of a CPU and of its neighbours.
//!
//! Measured bandwidths stand for peaks: nothing is lost on top of them. A host memory's own
//! bandwidth is that of STREAM where it was measured too; otherwise it is assumed to be no
//! bottleneck behind its link.

use super::error::ImportError;
use super::nvbandwidth::{GpuBandwidths, HostBandwidths};
use super::stream::StreamBandwidths;
use crate::units::Bytes;
use std::fmt::Write;

/// A benchmark's output that describes memory, with the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// nvbandwidth.
    Gpu(String, GpuBandwidths),
    /// STREAM.
    Cpu(String, StreamBandwidths),
}

impl Measured {
    /// The name of its file.
    #[must_use]
    pub fn origin(&self) -> &str {
        match self {
            Self::Gpu(origin, _) | Self::Cpu(origin, _) => origin,
        }
    }
}

/// A memory system's file, and how it came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryFile {
    /// The RON file.
    pub text: String,
    /// What was read, in sentences.
    pub read: Vec<String>,
    /// What the measurements do not say.
    pub assumed: Vec<String>,
    /// What has no place in a memory system.
    pub ignored: Vec<String>,
}

/// A tier on its way.
struct Tier {
    name: String,
    comment: String,
    /// In GB/s.
    bandwidth: f64,
    /// Achieved of the bandwidth with as many reads as writes, and with two reads a write.
    achieved: Option<([f64; 2], String)>,
    link: Option<Link>,
}

struct Link {
    read: f64,
    write: f64,
    combined: Option<f64>,
    latency_ns: Option<f64>,
}

/// Both directions together below this share of their sum are a limit of their own; measured
/// figures differ by a per cent or two.
const LIMITED: f64 = 0.98;

/// The memory system called `name` of these measurements, the chip's own memory first, with a
/// capacity for each tier.
///
/// # Errors
/// [`ImportError`] where a figure is missing that a tier needs, and where capacities are
/// missing or too many.
pub fn memory_file(name: &str, measured: &[Measured], capacities: &[Bytes]) -> Result<MemoryFile, ImportError> {
    let mut file = MemoryFile::default();
    let tiers = match measured.iter().any(|one| matches!(one, Measured::Gpu(..))) {
        true => of_gpu(measured, &mut file)?,
        false => of_cpus(measured, &mut file),
    };
    if capacities.len() != tiers.len() {
        let names: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
        let problem = format!(
            "{} given, but benchmarks do not report capacities: give one for each tier, in the order {}: {}",
            capacities.len(),
            names.join(", "),
            names.iter().map(|_| "--capacity SIZE").collect::<Vec<_>>().join(" ")
        );
        return Err(ImportError::missing("--capacity", problem));
    }
    file.assumed.push("measured bandwidths are taken as peaks: no further losses".to_owned());
    let sources: Vec<&str> = measured.iter().map(Measured::origin).collect();
    file.text = text(name, &sources.join(", "), &tiers, capacities, &file.assumed);
    Ok(file)
}

/// The GPU's own memory, and each host memory behind its link.
fn of_gpu(measured: &[Measured], file: &mut MemoryFile) -> Result<Vec<Tier>, ImportError> {
    let mut cpus = measured.iter().filter_map(|one| match one {
        Measured::Cpu(origin, stream) => Some((origin, stream)),
        Measured::Gpu(..) => None,
    });
    let mut tiers: Vec<Tier> = Vec::new();
    for one in measured {
        let Measured::Gpu(origin, gpu) = one else { continue };
        file.read.push(format!("{origin}: {} of nvbandwidth, {}", gpu.read.join(", "), shown(&gpu.device)));
        if !gpu.ignored.is_empty() {
            file.ignored.push(format!("{origin}: {}", gpu.ignored.join(", ")));
        }
        match (gpu.local_copy, tiers.is_empty()) {
            (Some(copy), true) => {
                file.assumed.push(format!(
                    "a copy of {copy} GB/s in the GPU's own memory reads and writes each byte: the memory has {} GB/s",
                    number(2.0 * copy)
                ));
                tiers.push(Tier {
                    name: "hbm".to_owned(),
                    comment: format!("Twice device_local_copy, {copy} GB/s: each byte is read and written."),
                    bandwidth: 2.0 * copy,
                    achieved: None,
                    link: None,
                });
            }
            (None, true) => {
                let problem = "the GPU's own memory is not measured: run nvbandwidth -t device_local_copy too";
                return Err(ImportError::missing(format!("{origin}: device_local_copy"), problem));
            }
            (Some(_), false) => file.ignored.push(format!("{origin}: device_local_copy, which the first file has")),
            (None, false) => {}
        }
        for host in &gpu.hosts {
            let number = tiers.len();
            let name = if number == 1 { "host".to_owned() } else { format!("host{number}") };
            let link = link(origin, host, file)?;
            let stream = cpus.next();
            let (bandwidth, achieved, comment) = match stream {
                Some((source, stream)) => own(source, stream, file),
                None => {
                    let most = link.read.max(link.write).max(link.combined.unwrap_or(link.read + link.write));
                    file.assumed.push(format!(
                        "the memory of {name} is no bottleneck behind its link: it was not measured itself"
                    ));
                    (most, None, "As much as its link carries: not measured itself.".to_owned())
                }
            };
            tiers.push(Tier { name, comment, bandwidth, achieved, link: Some(link) });
        }
    }
    for (source, _) in cpus {
        file.ignored.push(format!("{source}: there is no host memory left that it could describe"));
    }
    Ok(tiers)
}

/// The link to a host memory.
fn link(origin: &str, host: &HostBandwidths, file: &mut MemoryFile) -> Result<Link, ImportError> {
    let missing = |test: &str| {
        ImportError::missing(
            format!("{origin}: {test}"),
            format!("one direction of the link is not measured: run nvbandwidth -t {test} too"),
        )
    };
    let read = host.read.ok_or_else(|| missing("host_to_device_memcpy_sm"))?;
    let write = host.write.ok_or_else(|| missing("device_to_host_memcpy_sm"))?;
    let combined = match host.both {
        None => {
            file.assumed.push("both directions of a link run at full rate at once: not measured".to_owned());
            None
        }
        Some(both) => Some(both).filter(|both| *both < LIMITED * (read + write)),
    };
    if host.latency_ns.is_none() {
        file.assumed.push("a link adds no latency: not measured (nvbandwidth -t host_device_latency_sm)".to_owned());
    } else {
        file.assumed.push(
            "all of a load's latency is the link's: it was measured from the GPU, the memory's included".to_owned(),
        );
    }
    Ok(Link { read, write, combined, latency_ns: host.latency_ns })
}

/// Memories of CPUs: the first one's own, then those reached over its links.
fn of_cpus(measured: &[Measured], file: &mut MemoryFile) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = Vec::new();
    for one in measured {
        let Measured::Cpu(origin, stream) = one else { continue };
        let (bandwidth, achieved, comment) = own(origin, stream, file);
        match tiers.first().map(|first| first.bandwidth) {
            None => tiers.push(Tier { name: "ram".to_owned(), comment, bandwidth, achieved, link: None }),
            Some(near) => {
                let number = tiers.len();
                let name = if number == 1 { "remote".to_owned() } else { format!("remote{number}") };
                file.assumed.push(format!(
                    "{name} has the memory of the first file ({} GB/s) behind a link, which carries what was measured in either \
                     direction and in both together",
                    self::number(near)
                ));
                tiers.push(Tier {
                    name,
                    comment: "As the memory of the first file; its link is what was measured.".to_owned(),
                    bandwidth: near.max(bandwidth),
                    achieved: None,
                    link: Some(Link { read: bandwidth, write: bandwidth, combined: Some(bandwidth), latency_ns: None }),
                });
            }
        }
    }
    tiers
}

/// A memory's bandwidth by STREAM, with what mixes of reads and writes achieve of it.
fn own(origin: &str, stream: &StreamBandwidths, file: &mut MemoryFile) -> (f64, Option<([f64; 2], String)>, String) {
    let most = stream.even().max(stream.two_reads());
    file.read.push(format!(
        "{origin}: STREAM, {} GB/s with as many reads as writes and {} with two reads a write{}",
        number(stream.even()),
        number(stream.two_reads()),
        if stream.threads > 0 { format!(", {} threads", stream.threads) } else { String::new() }
    ));
    file.assumed
        .push("reads alone are no faster than the best of STREAM's mixes; writes fetch no line first".to_owned());
    let achieved = [stream.even() / most, stream.two_reads() / most];
    (most, Some((achieved, format!("STREAM: {origin}"))), "The best of STREAM's kernels.".to_owned())
}

fn shown(device: &str) -> &str {
    if device.is_empty() { "a GPU that it does not name" } else { device }
}

/// With at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(name: &str, sources: &str, tiers: &[Tier], capacities: &[Bytes], assumed: &[String]) -> String {
    let line = |text: &str| text.replace(char::is_control, " ");
    let mut out = format!("// From {} by `tiersim memory import`.\n", line(sources));
    for sentence in assumed {
        let _ = writeln!(out, "// Assumed: {}", line(sentence));
    }
    let _ = writeln!(
        out,
        "MemorySystem(\n    name: {name:?},\n    about: {:?},\n    tiers: [",
        format!("Measured: {}.", line(sources))
    );
    for (tier, capacity) in tiers.iter().zip(capacities) {
        let _ = writeln!(out, "        (\n            name: {:?},\n            capacity: \"{capacity}\",", tier.name);
        let _ = writeln!(
            out,
            "            // {}\n            bandwidth: \"{} GB/s\",",
            tier.comment,
            number(tier.bandwidth)
        );
        if let Some(([even, two], source)) = &tier.achieved {
            let _ = writeln!(
                out,
                "            efficiency: (\n                source: {:?},\n                table: (granules: [\"4 KiB\"], \
                 read_shares: [0.5, 0.667], achieved: [[{even:.4}, {two:.4}]]),\n            ),",
                line(source)
            );
        }
        if let Some(link) = &tier.link {
            let mut parts = format!("read: \"{} GB/s\", write: \"{} GB/s\"", number(link.read), number(link.write));
            if let Some(combined) = link.combined {
                let _ = write!(parts, ", combined: \"{} GB/s\"", number(combined));
            }
            if let Some(latency) = link.latency_ns {
                let _ = write!(parts, ", latency: \"{} ns\"", number(latency));
            }
            let _ = writeln!(out, "            link: ({parts}),");
        }
        out.push_str("        ),\n");
    }
    out.push_str("    ],\n)\n");
    out
}
