//! How much memory runs may take: an estimate is checked before a run, so that too large a one is
//! an error and no abort.

use super::Scenario;
use crate::units::Bytes;
use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// A run needs more memory than it may take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{} may take up to {needed} of memory, but {limit} may be used: {}, free memory or raise --memory-limit",
    self.what(), if requests.is_some() { "serve fewer requests" } else { "decode fewer tokens, let the strategy see fewer steps ahead" },
    needed = needed.rounded(), limit = limit.rounded()
)]
pub struct NoRoom {
    /// How many it serves, of a run that serves requests.
    pub requests: Option<usize>,
    /// Of the run.
    pub steps: usize,
    /// Of the run.
    pub prefill: usize,
    /// Of the run.
    pub layers: usize,
    /// Of the run.
    pub strategy: String,
    /// The estimate.
    pub needed: Bytes,
    /// What runs may take together.
    pub limit: Bytes,
}

impl NoRoom {
    /// What takes the memory, in words.
    fn what(&self) -> String {
        let Self { requests, steps, prefill, layers, strategy, .. } = self;
        match requests {
            Some(requests) => format!("{requests} requests served with {strategy}"),
            None => format!("{steps} steps after {prefill} tokens in {layers} layers with {strategy}"),
        }
    }
}

/// The memory that runs may take together.
#[derive(Debug)]
pub struct Room {
    limit: Bytes,
    held: Mutex<Bytes>,
    freed: Condvar,
}

/// A part of a [`Room`], given back when it is dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a Room, Bytes);

impl Room {
    /// Of that size.
    #[must_use]
    pub fn new(limit: Bytes) -> Self {
        Self { limit, held: Mutex::new(Bytes::ZERO), freed: Condvar::new() }
    }

    /// Its size.
    #[must_use]
    pub fn limit(&self) -> Bytes {
        self.limit
    }

    /// What a run of `scenario` may take, with `more` for its results.
    ///
    /// # Errors
    /// [`NoRoom`] if that is more than the room.
    pub fn check(&self, scenario: &Scenario, more: Bytes) -> Result<Bytes, NoRoom> {
        let needed = Bytes::new(scenario.memory_needed().get().saturating_add(more.get()));
        if needed <= self.limit {
            return Ok(needed);
        }
        Err(NoRoom {
            requests: scenario.requests().map(|requests| requests.all.len()),
            steps: scenario.steps(),
            prefill: scenario.prefill(),
            layers: scenario.model().layers(),
            strategy: scenario.strategy_name(),
            needed,
            limit: self.limit,
        })
    }

    /// Takes `bytes`, at most the room's size, and waits until so much is free; `None` if `is_over`
    /// before that.
    pub fn hold(&self, bytes: Bytes, is_over: impl Fn() -> bool) -> Option<Held<'_>> {
        let bytes = bytes.min(self.limit);
        let mut held = self.lock();
        while *held + bytes > self.limit {
            if is_over() {
                return None;
            }
            held = self.freed.wait_timeout(held, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        *held += bytes;
        Some(Held(self, bytes))
    }

    /// Wakes those who wait, to see whether all is over.
    pub fn wake(&self) {
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often those who wait look whether all is over.
const POLL: Duration = Duration::from_millis(100);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= self.1;
        self.0.freed.notify_all();
    }
}

/// What runs may take if nobody says how much: three quarters of the memory that this process can
/// have. That is the least of what the machine has free, what the limits of its control groups
/// leave, and what its resource limits leave (`ulimit -v`, `ulimit -d`). Where the system does not
/// say, 16 GiB count as free.
#[must_use]
pub fn usable_memory() -> Bytes {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = field(&read("/proc/meminfo"), "MemAvailable:").map_or(UNKNOWN, |kib| kib.saturating_mul(1024));
    let limits = resource_limits(&read("/proc/self/limits"), &read("/proc/self/status"));
    let groups = control_groups(&read("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    Bytes::new(machine.min(limits).min(groups) / 4 * 3)
}

/// What counts as free where the system does not say.
const UNKNOWN: u64 = 16 << 30;

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// What the limits of address space and data leave of `/proc/self/limits`, given
/// `/proc/self/status`.
fn resource_limits(limits: &str, status: &str) -> u64 {
    let left = |limit: &str, used: &str| -> Option<u64> {
        Some(field(limits, limit)?.saturating_sub(field(status, used).unwrap_or(0).saturating_mul(1024)))
    };
    let space = left("Max address space", "VmSize:").map(|left| left.saturating_sub(ARENAS));
    let data = left("Max data size", "VmData:");
    space.unwrap_or(u64::MAX).min(data.unwrap_or(u64::MAX))
}

/// Address space that threads reserve for their stacks and heaps and never use.
const ARENAS: u64 = 512 << 20;

/// What the control groups of `/proc/self/cgroup` and those above them leave, version 2 and version
/// 1.
fn control_groups(membership: &str, mount: &Path) -> u64 {
    let mut least = u64::MAX;
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, [limit, used]) = match controllers {
            "" => (mount.to_owned(), ["memory.max", "memory.current"]),
            names if names.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes"])
            }
            _ => continue,
        };
        // Inside a container the path may be that of the host: its own group is the mount then.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let folder = mount.join(group);
            let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            let Some(limit) = number(limit) else { continue };
            // Cached files are given up when memory is short.
            let cached = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
            let cached = field(&cached, "inactive_file ").unwrap_or(0);
            let used = number(used).unwrap_or(0).saturating_sub(cached);
            least = least.min(limit.saturating_sub(used));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::ScenarioConfig;

    #[test]
    fn limits_of_the_process_count() {
        let status = "Name:\tx\nVmSize:\t  1048576 kB\nVmData:\t 1024 kB\n";
        let limits = "Max data size             unlimited            unlimited            bytes     \n\
                      Max address space         4294967296           4294967296           bytes     \n";
        assert_eq!(resource_limits(limits, status), (4 << 30) - (1 << 30) - ARENAS);
        assert_eq!(resource_limits("", ""), u64::MAX);
        let data = "Max data size             2097152              unlimited            bytes     \n";
        assert_eq!(resource_limits(data, status), 1 << 20);
    }

    #[test]
    fn limits_of_control_groups_and_those_above_count() {
        let mount = tempfile::tempdir().unwrap();
        let group = mount.path().join("user/session");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(control_groups("0::/user/session\n", mount.path()), u64::MAX);
        fs::write(mount.path().join("user/memory.max"), "1000\n").unwrap();
        fs::write(mount.path().join("user/memory.current"), "700\n").unwrap();
        fs::write(mount.path().join("user/memory.stat"), "anon 1\ninactive_file 200\n").unwrap();
        assert_eq!(control_groups("0::/user/session\n", mount.path()), 500);
        let old = mount.path().join("memory/a");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("memory.limit_in_bytes"), "300\n").unwrap();
        assert_eq!(control_groups("7:memory:/a\n3:cpu,cpuacct:/\n", mount.path()), 300);
    }

    #[test]
    fn too_large_a_run_is_told_with_its_figures() {
        let config = ScenarioConfig { decode_tokens: 100, ..ScenarioConfig::load("study").unwrap() };
        let scenario = Scenario::new(config).unwrap();
        let room = Room::new(Bytes::new(1 << 20));
        let message = room.check(&scenario, Bytes::ZERO).unwrap_err().to_string();
        for part in ["100 steps", "32 layers", "balanced-online", "1 MiB", "--memory-limit"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(Room::new(Bytes::new(1 << 30)).check(&scenario, Bytes::ZERO).is_ok());
    }

    #[test]
    fn room_is_shared() {
        let room = Room::new(Bytes::new(100));
        let first = room.hold(Bytes::new(70), || false).unwrap();
        assert!(room.hold(Bytes::new(40), || true).is_none());
        drop(first);
        // More than there is waits for all of it.
        drop(room.hold(Bytes::new(1000), || false).unwrap());
        assert!(room.hold(Bytes::new(100), || true).is_some());
    }
}
