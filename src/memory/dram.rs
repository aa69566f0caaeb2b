//! What of its peak bandwidth a saturated DRAM channel achieves, from the timing of the part.
//!
//! Three things cost time, each a number that the timing figures give:
//!
//! * **Refresh**: a share of all time ([`Dram::refresh_share`]). It limits even one endless stream.
//! * **Activation**: a granule of G bytes that lies anywhere opens rows. How many may be opened in a time (`t_faw`), how many
//!   commands there is room for, and how long a bank is busy (`t_rc`) each set a least time for a granule, beside the time of
//!   its data. They are combined by a norm that is nearly their maximum.
//! * **Turnaround**: each change from reads to writes and back leaves the data bus idle for a time. How often it changes depends on
//!   how many bytes go one way at a stretch: a granule or, if that is more, what a controller drains of its write queue.
//!
//! The controller is the usual one: open rows, row hits first, refresh of all banks at once, writes drained from the high to
//! the low mark of their queue. Against a cycle-level simulation of such controllers over seven parts, the mean error is 0.01 of
//! the peak; where activation and data limits are equal, and in mixes of short bursts, it is up to 0.05.

use crate::units::{Bandwidth, Bytes, SimTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The timing of a DRAM part, as its data sheet or a simulator's preset gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DramConfig {
    /// The peak bandwidth of one channel, its pseudo channels together.
    pub channel: Bandwidth,
    /// How many pseudo channels share a channel's commands; 1 for DDR and LPDDR.
    #[serde(default = "one", deserialize_with = "crate::config::not_zero")]
    pub pseudo_channels: u32,
    /// Bank groups of a pseudo channel.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub bank_groups: u32,
    /// Banks of a bank group, over all ranks or stack ids.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub banks: u32,
    /// A row (page) of a bank of a pseudo channel.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub row: Bytes,
    /// The data of one column command.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub access: Bytes,
    /// Reads that the controller's queue holds.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub read_queue: u32,
    /// Writes that it holds.
    #[serde(deserialize_with = "crate::config::not_zero")]
    pub write_queue: u32,
    /// What opening and closing a row take of the bus for row commands.
    pub row_commands: SimTime,
    /// What reading or writing a column takes of that bus, where column commands have none of their own.
    #[serde(default)]
    pub column_command: SimTime,
    /// From a read command to its data.
    pub t_cl: SimTime,
    /// From a write command to its data.
    pub t_cwl: SimTime,
    /// The data of one column command on the bus.
    pub t_burst: SimTime,
    /// From opening a row to reading from it.
    pub t_rcd_read: SimTime,
    /// From opening a row to writing to it.
    pub t_rcd_write: SimTime,
    /// From closing a row to opening another.
    pub t_rp: SimTime,
    /// From opening a row to opening another in the same bank.
    pub t_rc: SimTime,
    /// From opening a row to opening one in another bank group.
    pub t_rrd: SimTime,
    /// At most four rows are opened in this time.
    pub t_faw: SimTime,
    /// From the last data written to closing the row.
    pub t_wr: SimTime,
    /// From the last read command to closing the row.
    pub t_rtp: SimTime,
    /// From the last data written to a read command in another bank group.
    pub t_wtr: SimTime,
    /// From a read command to a write command.
    pub t_rtw: SimTime,
    /// How long a refresh of all banks takes.
    pub t_rfc: SimTime,
    /// How often there is one.
    pub t_refi: SimTime,
}

fn one() -> u32 {
    1
}

/// What a DRAM part's timing cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum DramError {
    #[error("{field}: {value}, but it must be between {least} and {most}")]
    Range { field: &'static str, value: String, least: String, most: String },
    #[error(
        "t_refi: {refi} is less than twice what a refresh takes in all ({refresh}): most of the time would be lost"
    )]
    Refresh { refi: SimTime, refresh: SimTime },
    #[error("access: {access} is more than a row of {row}")]
    Access { access: Bytes, row: Bytes },
}

/// Which bytes follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Granules that lie anywhere.
    Random,
    /// One stream of reads and one of writes, each sequential, that take turns after so many bytes.
    Streams,
}

/// A DRAM part, checked. Times in picoseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Dram {
    /// Bytes a picosecond.
    peak: f64,
    pseudo_channels: f64,
    bank_groups: f64,
    banks: f64,
    row: f64,
    access: f64,
    read_queue: f64,
    write_queue: f64,
    row_commands: f64,
    column_command: f64,
    /// From opening one row to opening the next, of a channel.
    activation: f64,
    row_cycle: f64,
    read: Access,
    write: Access,
    /// How long the data bus is idle in a change from reads to writes and back, if nothing hides it.
    idle: f64,
}

/// What accesses in one direction cost a bank.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Access {
    /// From opening a row to the first column command.
    open: f64,
    /// From the last column command to opening another row.
    close: f64,
    /// The share of time that refreshes take, with what they close and open again.
    refresh_share: f64,
}

/// How many bytes the controller has one bank group (and pseudo channel) serve before the next: a cache line.
const INTERLEAVE: f64 = 64.0;
/// A controller begins to drain its write queue when it is 0.8 full and ends when it is 0.2 full.
const DRAINED: f64 = 0.6;
/// What of the idle time of a turnaround is not hidden by commands that overlap it: 0.9 fits HBM3, LPDDR5 and DDR5.
const EXPOSED: f64 = 0.9;
/// The granule at which half of a write's recovery shows in a turnaround of random granules.
const HALF_RECOVERY: f64 = 1600.0;
/// The exponent of the norm that combines limits: higher is nearer to their maximum.
const NORM: i32 = 10;
const PS_PER_SECOND: f64 = SimTime::PS_PER_SECOND as f64;

impl Dram {
    /// The read shares between which the engine takes the time of a byte as linear. It is, but for a kink that lies elsewhere
    /// for each granule.
    pub(super) const READ_SHARES: [f64; 21] = [
        0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
        1.0,
    ];

    /// Checks `config`.
    ///
    /// # Errors
    /// [`DramError`], naming the field, the value and its limits.
    pub fn new(config: &DramConfig) -> Result<Self, DramError> {
        check(config)?;
        let ps = |time: SimTime| time.as_ps() as f64;
        let count = f64::from;
        let pseudo_channels = count(config.pseudo_channels);
        let write_recovery = ps(config.t_cwl) + ps(config.t_burst) + ps(config.t_wr);
        let access = |last: f64, open: SimTime| {
            let close = last + ps(config.t_rp);
            Access { open: ps(open), close, refresh_share: (ps(config.t_rfc) + close + ps(open)) / ps(config.t_refi) }
        };
        Ok(Self {
            peak: config.channel.as_f64() / PS_PER_SECOND,
            pseudo_channels,
            bank_groups: count(config.bank_groups),
            banks: count(config.banks),
            row: config.row.as_f64(),
            access: config.access.as_f64(),
            read_queue: count(config.read_queue) * config.access.as_f64(),
            write_queue: count(config.write_queue) * config.access.as_f64(),
            row_commands: ps(config.row_commands),
            column_command: ps(config.column_command),
            activation: (ps(config.t_faw) / 4.0).max(ps(config.t_rrd)) / pseudo_channels,
            row_cycle: ps(config.t_rc),
            read: access(ps(config.t_rtp), config.t_rcd_read),
            write: access(write_recovery, config.t_rcd_write),
            idle: ps(config.t_rtw) - ps(config.t_burst) + ps(config.t_cwl) + ps(config.t_wtr),
        })
    }

    /// The share of the time that refreshes take of reads: 1 less this is what one endless stream achieves.
    #[must_use]
    pub fn refresh_share(&self) -> f64 {
        self.read.refresh_share
    }

    /// The bytes that a row must give each time it is opened so that opening rows is no limit.
    #[must_use]
    pub fn bytes_per_activation(&self) -> Bytes {
        Bytes::new((self.activation * self.peak).ceil() as u64)
    }

    /// What a change of direction costs the data bus: half of what one there and back does.
    #[must_use]
    pub fn turnaround(&self) -> SimTime {
        SimTime::from_ps((EXPOSED * self.idle / 2.0).max(0.0).ceil() as u64)
    }

    /// The granule from which on larger ones make no difference that matters: the least that one row of every bank holds.
    #[must_use]
    pub fn largest_granule(&self) -> Bytes {
        Bytes::new((256.0 * self.pseudo_channels * self.bank_groups * self.banks * self.row) as u64)
    }

    /// Achieved over peak, where `read_share` of the bytes are reads, in granules (or bursts, of streams) of `granule`.
    #[must_use]
    pub fn achieved(&self, pattern: Pattern, granule: Bytes, read_share: f64) -> f64 {
        1.0 / self.time_of(pattern, granule.as_f64().max(1.0), read_share)
    }

    /// The time of a byte, in units of its time at peak.
    pub(super) fn time(&self, pattern: Pattern, granule: Bytes, read_share: f64) -> f64 {
        self.time_of(pattern, granule.as_f64().max(1.0), read_share)
    }

    fn time_of(&self, pattern: Pattern, granule: f64, read_share: f64) -> f64 {
        let (reads, writes) = (read_share, 1.0 - read_share);
        let slowdown = |access: Access, queue: f64| match pattern {
            Pattern::Random => self.slowdown(granule, access, queue),
            Pattern::Streams => 1.0,
        };
        let of_reads = 1.0 / (1.0 - self.read.refresh_share);
        let of_writes = 1.0 / (1.0 - self.write.refresh_share);
        let data = reads * of_reads * slowdown(self.read, self.read_queue)
            + writes * of_writes * slowdown(self.write, self.write_queue);
        let (turns, drained) = self.turns(granule, read_share);
        let lost = match pattern {
            Pattern::Random => turns * self.turn_of_granules(granule),
            Pattern::Streams => {
                // Streams at unequal rates drift through each other's banks and meet there now and then.
                let meetings = turns.min((reads - writes).abs() / drained) / self.banks;
                turns * EXPOSED * self.idle + meetings * (self.write.close + self.read.open)
            }
        };
        data + of_reads * lost * self.peak
    }

    /// How often the bus turns to writes and back for a byte, and how many bytes are written each time.
    fn turns(&self, burst: f64, read_share: f64) -> (f64, f64) {
        // Whole bursts, until the queue is down to its low mark.
        let drained = burst * (DRAINED * self.write_queue / burst).ceil();
        let turns = (read_share / burst).min((1.0 - read_share) / drained);
        (if drained < self.write_queue { turns.min(1.0 / self.write_queue) } else { turns }, drained)
    }

    /// What one turn to writes and back takes where both directions are random granules: also the recovery of the written
    /// banks, less what activations hide.
    fn turn_of_granules(&self, granule: f64) -> f64 {
        let recovery = self.write.close / (1.0 + granule / HALF_RECOVERY);
        let slack = (self.activations(granule) * self.activation / granule - 1.0 / self.peak).max(0.0);
        (EXPOSED * self.idle + recovery - 2.0 * DRAINED * self.write_queue * slack).max(0.0)
    }

    /// How many rows a granule opens.
    fn activations(&self, granule: f64) -> f64 {
        let across = self.pseudo_channels * self.bank_groups;
        if granule <= across * self.row { (granule / INTERLEAVE).clamp(1.0, across) } else { granule / self.row }
    }

    /// The time of random granules in units of the time of their data.
    fn slowdown(&self, granule: f64, access: Access, queue: f64) -> f64 {
        let rows = self.activations(granule);
        let data = granule / self.peak;
        // A granule in a bank that is busy waits, once for all that the queue holds.
        let others = (self.bank_groups - 1.0) * INTERLEAVE * self.pseudo_channels / self.peak;
        let stall = (access.close + access.open - others).max(0.0) / self.banks;
        let with_stalls = 1.0 + stall * self.peak / granule.max(queue);
        let activations = rows * self.activation / data;
        let columns = granule.max(self.access) / self.access;
        let commands = (rows * self.row_commands + columns * self.column_command) / data;
        // The rows that the queue holds fall on banks unevenly.
        let all_banks = self.bank_groups * self.banks;
        let queued = queue * rows / (granule * self.pseudo_channels);
        let uneven = (queued + (all_banks - 1.0) / 2.0) / queued;
        let cycle = self.row_cycle.max(access.open + access.close);
        let bank_cycles = rows * cycle / (all_banks * self.pseudo_channels) * uneven / data;
        norm([with_stalls, activations, commands, bank_cycles])
    }
}

/// `(a^NORM + b^NORM + ...)^(1/NORM)`. The root by Newton's method from above, with nothing but additions, multiplications and divisions,
/// so that it is the same on every machine.
fn norm(limits: [f64; 4]) -> f64 {
    let greatest = limits.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let sum: f64 = limits.iter().map(|limit| power(limit / greatest, NORM)).sum();
    // sum is from 1 to 4, and its root at most 4.
    let mut root = 1.5;
    for _ in 0..40 {
        root -= (power(root, NORM) - sum) / (f64::from(NORM) * power(root, NORM - 1));
    }
    greatest * root
}

fn power(base: f64, exponent: i32) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}

fn check(config: &DramConfig) -> Result<(), DramError> {
    let range = |field, value: String, least: String, most: String| DramError::Range { field, value, least, most };
    for (field, count, most) in [
        ("pseudo_channels", config.pseudo_channels, 16),
        ("bank_groups", config.bank_groups, 64),
        ("banks", config.banks, 1024),
        ("read_queue", config.read_queue, 65_536),
        ("write_queue", config.write_queue, 65_536),
    ] {
        if !(1..=most).contains(&count) {
            return Err(range(field, count.to_string(), "1".to_owned(), most.to_string()));
        }
    }
    let longest_row = Bytes::new(1 << 20);
    for (field, bytes) in [("row", config.row), ("access", config.access)] {
        if bytes == Bytes::ZERO || bytes > longest_row {
            return Err(range(field, bytes.to_string(), "1 B".to_owned(), longest_row.to_string()));
        }
    }
    if config.access > config.row {
        return Err(DramError::Access { access: config.access, row: config.row });
    }
    let longest = SimTime::from_ps(1_000_000_000);
    for (field, time, least) in [
        ("row_commands", config.row_commands, 0),
        ("column_command", config.column_command, 0),
        ("t_cl", config.t_cl, 0),
        ("t_cwl", config.t_cwl, 0),
        ("t_burst", config.t_burst, 1),
        ("t_rcd_read", config.t_rcd_read, 0),
        ("t_rcd_write", config.t_rcd_write, 0),
        ("t_rp", config.t_rp, 0),
        ("t_rc", config.t_rc, 1),
        ("t_rrd", config.t_rrd, 0),
        ("t_faw", config.t_faw, 0),
        ("t_wr", config.t_wr, 0),
        ("t_rtp", config.t_rtp, 0),
        ("t_wtr", config.t_wtr, 0),
        ("t_rtw", config.t_rtw, config.t_burst.as_ps()),
        ("t_rfc", config.t_rfc, 0),
        ("t_refi", config.t_refi, 1),
    ] {
        if time.as_ps() < least || time > longest {
            return Err(range(field, time.to_string(), SimTime::from_ps(least).to_string(), longest.to_string()));
        }
    }
    let reopened =
        config.t_cwl + config.t_burst + config.t_wr + config.t_rp + config.t_rcd_write.max(config.t_rcd_read);
    let refresh = config.t_rfc + reopened + config.t_rtp;
    if config.t_refi < refresh + refresh {
        return Err(DramError::Refresh { refi: config.t_refi, refresh });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::presets;
    use super::*;

    fn part(name: &str) -> Dram {
        Dram::new(&presets::efficiency(name).unwrap().dram.unwrap()).unwrap()
    }

    /// Ramulator 2.1 with row hits first, open rows, refresh of all banks, and writes drained between 0.8 and 0.2 of their
    /// queue: simulator output, not hardware. Columns: sequential reads, sequential writes, two streams with half reads in bursts
    /// of 4096 B, random reads of 64 B and of 4096 B, and what refresh alone would leave.
    const SIMULATED: [(&str, [f64; 6]); 3] = [
        ("hbm3-6400", [0.898, 0.897, 0.811, 0.590, 0.846, 0.900]),
        ("lpddr5-6400", [0.917, 0.907, 0.873, 0.710, 0.891, 0.916]),
        ("ddr5-4800", [0.917, 0.906, 0.875, 0.611, 0.907, 0.915]),
    ];

    #[test]
    fn every_calibrated_row_is_met_to_two_points() {
        for (name, simulated) in SIMULATED {
            let dram = part(name);
            let (long, page, line) = (Bytes::new(1 << 30), Bytes::new(4096), Bytes::new(64));
            let model = [
                dram.achieved(Pattern::Streams, long, 1.0),
                dram.achieved(Pattern::Streams, long, 0.0),
                dram.achieved(Pattern::Streams, page, 0.5),
                dram.achieved(Pattern::Random, line, 1.0),
                dram.achieved(Pattern::Random, page, 1.0),
                1.0 - dram.refresh_share(),
            ];
            for (row, (model, simulated)) in model.into_iter().zip(simulated).enumerate() {
                assert!((model - simulated).abs() < 0.02, "{name}, row {row}: {model:.4} against {simulated}");
            }
        }
    }

    /// A cycle-level simulator of our own (banks, bank groups, pseudo channels, command buses, row hits first), which agrees with
    /// the rows above to 0.01, ran what they do not contain. (part, pattern, granule, read share, achieved, how near the model is)
    #[rustfmt::skip]
    const BEYOND: [(&str, Pattern, u64, f64, f64, f64); 26] = [
        ("hbm3-6400", Pattern::Random, 256, 1.0, 0.592, 0.02),
        ("hbm3-6400", Pattern::Random, 1024, 1.0, 0.855, 0.02),
        ("hbm3-6400", Pattern::Random, 16384, 1.0, 0.893, 0.02),
        ("hbm3-6400", Pattern::Random, 64, 0.5, 0.406, 0.02),
        ("hbm3-6400", Pattern::Random, 4096, 0.75, 0.756, 0.025),
        ("hbm3-6400", Pattern::Streams, 1024, 0.25, 0.659, 0.02),
        ("hbm3-6400", Pattern::Streams, 16384, 0.5, 0.853, 0.02),
        ("lpddr5-6400", Pattern::Random, 512, 1.0, 0.880, 0.025),
        ("lpddr5-6400", Pattern::Random, 64, 0.25, 0.470, 0.02),
        ("lpddr5-6400", Pattern::Random, 1024, 0.5, 0.716, 0.02),
        ("lpddr5-6400", Pattern::Streams, 256, 0.67, 0.776, 0.02),
        ("ddr5-4800", Pattern::Random, 512, 1.0, 0.610, 0.02),
        ("ddr5-4800", Pattern::Random, 64, 0.5, 0.603, 0.02),
        ("ddr5-4800", Pattern::Random, 4096, 0.5, 0.815, 0.02),
        ("ddr5-4800", Pattern::Streams, 1024, 0.5, 0.859, 0.02),
        ("hbm2-2000", Pattern::Random, 64, 1.0, 0.614, 0.02),
        ("hbm2-2000", Pattern::Random, 4096, 1.0, 0.879, 0.02),
        ("hbm2-2000", Pattern::Streams, 4096, 0.5, 0.839, 0.02),
        ("hbm4-8000", Pattern::Random, 64, 1.0, 0.455, 0.02),
        ("hbm4-8000", Pattern::Random, 4096, 1.0, 0.838, 0.02),
        ("hbm4-8000", Pattern::Streams, 16384, 0.5, 0.818, 0.025),
        ("ddr4-3200", Pattern::Random, 64, 1.0, 0.434, 0.02),
        ("ddr4-3200", Pattern::Random, 4096, 1.0, 0.912, 0.02),
        ("ddr4-3200", Pattern::Streams, 4096, 0.67, 0.891, 0.02),
        ("lpddr5x-8533", Pattern::Random, 64, 1.0, 0.679, 0.02),
        ("lpddr5x-8533", Pattern::Streams, 1024, 0.75, 0.815, 0.02),
    ];

    #[test]
    fn other_granules_mixes_and_parts_are_met_as_well() {
        for (name, pattern, granule, read_share, simulated, near) in BEYOND {
            let model = part(name).achieved(pattern, Bytes::new(granule), read_share);
            let what = format!("{name} {pattern:?} {granule} {read_share}");
            assert!((model - simulated).abs() < near, "{what}: {model:.4} against {simulated}");
        }
    }

    /// What the engine relies on: more bytes, whether read or written, never take less time.
    #[test]
    fn time_grows_with_reads_and_with_writes() {
        for (name, _, _) in presets::DRAM {
            let dram = part(name);
            let granules = [1, 64, 100, 256, 1000, 4096, 65_536, 1 << 30];
            let patterns = [Pattern::Random, Pattern::Streams];
            for (granule, pattern) in granules.into_iter().flat_map(|granule| patterns.map(|it| (granule, it))) {
                for shares in Dram::READ_SHARES.windows(2) {
                    let (before, after) = (
                        dram.time(pattern, Bytes::new(granule), shares[0]),
                        dram.time(pattern, Bytes::new(granule), shares[1]),
                    );
                    let slope = (after - before) / (shares[1] - shares[0]);
                    let for_writes = before - slope * shares[0];
                    assert!(for_writes >= 0.0 && for_writes + slope >= 0.0, "{name} {pattern:?} {granule} {shares:?}");
                    assert!(before >= 1.0 && before.is_finite());
                }
            }
        }
    }

    #[test]
    fn the_norm_is_what_it_says() {
        for limits in [[1.0, 0.0, 0.0, 0.0], [1.0; 4], [2.0, 0.5, 1.9, 0.1], [1e6, 1.0, 1e6, 2.0]] {
            let exact = limits.iter().map(|limit: &f64| limit.powi(NORM)).sum::<f64>().powf(1.0 / f64::from(NORM));
            assert!((norm(limits) / exact - 1.0).abs() < 1e-12, "{limits:?}");
        }
    }
}
