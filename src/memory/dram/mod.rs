//! What of its peak bandwidth a saturated DRAM channel achieves, from the timing of the part.
//!
//! The time of a byte, in units of its time at the peak, has two terms, both stretched by refresh:
//!
//! ```text
//! time    = (data + turns * turn * peak) / (1 - refresh)
//! refresh = (t_rfc + closing the rows before + opening rows after) / t_refi
//! ```
//!
//! **Data.** A granule of G bytes that lies anywhere opens n rows: G / `interleave` of them, at
//! least one and at most one in every bank group, and one for each row's worth of bytes beyond
//! that. Four resources limit it; their times are combined by a norm of exponent `NORM`, which is
//! nearly their maximum:
//! * the data bus, with the stalls of granules that find their bank busy, with `t_rank_switch` once
//!   in `RANK_VISIT` x ranks lines, with columns `t_ccd_l` apart where the queue covers few bank
//!   groups, and with the idle time that a short queue leaves;
//! * activations: n x max(`t_faw` / 4, `t_rrd`) / (pseudo channels x ranks). Both timings limit a
//!   rank, not a channel;
//! * the command bus: n x `row_commands` + columns x `column_command`;
//! * bank cycles: n x `t_rc` / banks, times how unevenly the queued rows fall on banks.
//!
//! The data of a stream take their time on the bus.
//!
//! **Short queues.** The rows of the next granule, or of a stream's next set of rows (one in every
//! bank group), are opened while the queue in front of them is served. The bus is idle for
//! `t_rp` + `t_rcd` - queue / peak if that is positive: a queue of 64 reads limits HBM4's streams
//! to 0.82 of the peak, one of 128 does not limit them.
//!
//! **Turns** from reads to writes and back leave the bus idle for `t_rtw` + `t_cwl` + `t_wtr` less
//! a burst. The controller drains its write queue from the high to the low mark, so that one turn
//! writes
//! * of granules, each read or written at random with a read share r: whole granules until
//!   `DRAINED` of the queue is drained, and those that happen to follow at once, which are
//!   G x (ceil(`DRAINED` x queue / G) + (1 - r) / r) bytes;
//! * of two streams that take turns: whole bursts until `DRAINED` of the queue is drained.
//!
//! A turn between random granules also closes and opens rows for the other direction; `RESTART` of
//! both is not overlapped. The recovery of banks just written delays it by their closing time /
//! banks. Activations that are slower than data hide what they would take longer for `HIDDEN` of
//! the write queue, and while one rank turns around the others go on. Two streams of unequal rates
//! meet in a bank now and then and close each other's rows. In bursts of `interleave` bytes or less
//! both are taken for one stream, each piece of which is read or written.
//!
//! The controller is the usual one: open rows, row hits first, refresh of all banks at once, writes
//! drained from 0.8 to 0.2 of their queue. The constants are the same for all parts: they were
//! chosen with the cycle-level twin in `tests/it/common/dram_commands.rs`, of which the formulas
//! are 0.015 away on average. Figures of Ramulator 2.1 are met to 0.02. `tests/it/dram.rs` has
//! both.

mod timing;

pub use timing::{DramConfig, DramError};

use crate::units::{Bytes, SimTime};

/// Which bytes follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Granules that lie anywhere.
    Random,
    /// One stream of reads and one of writes, each sequential, that take turns after so many bytes.
    /// In bursts of the interleave (a line) they are one sequential stream, each line of which is
    /// read or written.
    Streams,
}

/// A DRAM part, checked. Times in picoseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Dram {
    /// Bytes a picosecond.
    peak: f64,
    pseudo_channels: f64,
    bank_groups: f64,
    /// Banks of a bank group, of all ranks.
    banks: f64,
    ranks: f64,
    interleave: f64,
    row: f64,
    access: f64,
    read_queue: f64,
    write_queue: f64,
    row_commands: f64,
    column_command: f64,
    /// From opening one row to opening the next, of a channel.
    activation: f64,
    row_cycle: f64,
    burst: f64,
    /// From a column to the next one in the same bank group.
    same_group: f64,
    /// How long the data bus is idle between two ranks; 0 if there is one.
    rank_switch: f64,
    precharge: f64,
    read: Access,
    write: Access,
    /// How long the data bus is idle in a change from reads to writes and back, if nothing hides
    /// it.
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

/// The bytes that one request of a processor or of a GPU's memory pipeline is about.
const LINE: f64 = 64.0;
/// A controller begins to drain its write queue when it is 0.8 full and ends when it is 0.2 full.
const DRAINED: f64 = 0.6;
/// What of the idle time of a turn is not hidden by commands that overlap it, between long bursts
/// of streams. Nothing hides it where each line goes its own way.
const EXPOSED: f64 = 0.9;
/// The same between random granules, of the idle time and of closing and opening a row.
const RESTART: f64 = 0.8;
/// For what share of the write queue activations that are slower than data hide what a turn costs.
const HIDDEN: f64 = 0.4;
/// How many lines, times the number of ranks, a controller that serves what is ready reads from a
/// rank before it changes to another.
const RANK_VISIT: f64 = 2.5;
/// The exponent of the norm that combines limits: higher is nearer to their maximum.
const NORM: i32 = 10;
const PS_PER_SECOND: f64 = SimTime::PS_PER_SECOND as f64;

impl Dram {
    /// The read shares between which the engine takes the time of a byte as linear. It is, but for
    /// a kink that lies elsewhere for each granule.
    pub(super) const READ_SHARES: [f64; 21] = [
        0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
        1.0,
    ];

    /// Checks `config`.
    ///
    /// # Errors
    /// [`DramError`], naming the field, the value and its limits.
    pub fn new(config: &DramConfig) -> Result<Self, DramError> {
        timing::check(config)?;
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
            banks: count(config.banks) * count(config.ranks),
            ranks: count(config.ranks),
            interleave: config.interleave.as_f64(),
            row: config.row.as_f64(),
            access: config.access.as_f64(),
            read_queue: count(config.read_queue) * config.access.as_f64(),
            write_queue: count(config.write_queue) * config.access.as_f64(),
            row_commands: ps(config.row_commands),
            column_command: ps(config.column_command),
            activation: (ps(config.t_faw) / 4.0).max(ps(config.t_rrd)) / (pseudo_channels * count(config.ranks)),
            row_cycle: ps(config.t_rc),
            burst: ps(config.t_burst),
            same_group: ps(config.t_ccd_l),
            rank_switch: if config.ranks > 1 { ps(config.t_rank_switch) } else { 0.0 },
            precharge: ps(config.t_rp),
            read: access(ps(config.t_rtp), config.t_rcd_read),
            write: access(write_recovery, config.t_rcd_write),
            idle: ps(config.t_rtw) - ps(config.t_burst) + ps(config.t_cwl) + ps(config.t_wtr),
        })
    }

    /// The share of the time that refreshes take of reads: 1 less this is what one endless stream
    /// achieves.
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

    /// The granule from which on larger ones make no difference that matters: the least that one
    /// row of every bank holds.
    #[must_use]
    pub fn largest_granule(&self) -> Bytes {
        Bytes::new((256.0 * self.pseudo_channels * self.bank_groups * self.banks * self.row) as u64)
    }

    /// Achieved over peak, where `read_share` of the bytes are reads, in granules (or bursts, of
    /// streams) of `granule`.
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
            Pattern::Streams => {
                self.columns(pattern, self.row_set(), queue) + self.late(access, queue) * self.peak / self.row_set()
            }
        };
        let of_reads = 1.0 / (1.0 - self.read.refresh_share);
        let of_writes = 1.0 / (1.0 - self.write.refresh_share);
        let data = reads * of_reads * slowdown(self.read, self.read_queue)
            + writes * of_writes * slowdown(self.write, self.write_queue);
        let lost = match pattern {
            Pattern::Random => self.lost_of_granules(granule, read_share),
            Pattern::Streams => self.lost_of_streams(granule, read_share),
        };
        data + of_reads * lost * self.peak
    }

    /// What turns from reads to writes and back cost a byte of two streams.
    fn lost_of_streams(&self, burst: f64, read_share: f64) -> f64 {
        let write_share = 1.0 - read_share;
        // Whole bursts, until the queue is down to its low mark.
        let drained = burst * (DRAINED * self.write_queue / burst).ceil();
        let turns = (read_share / burst).min(write_share / drained);
        let turns = if drained < self.write_queue { turns.min(1.0 / self.write_queue) } else { turns };
        // Streams at unequal rates drift through each other's banks and meet there now and then.
        // A line is one stream's or the other's: what of a burst lies beside the same stream's.
        let apart = 1.0 - power((self.interleave / burst).min(1.0), 2);
        let meetings = apart * turns.min((read_share - write_share).abs() / drained) / self.banks;
        let exposed = 1.0 - (1.0 - EXPOSED) * apart;
        turns * exposed * self.idle + meetings * (self.write.close + self.read.open)
    }

    /// The same where both directions are granules that lie anywhere.
    fn lost_of_granules(&self, granule: f64, read_share: f64) -> f64 {
        let write_share = 1.0 - read_share;
        // Whole granules until the queue is down to its low mark, and the writes that happen to
        // follow at once.
        let drained = read_share * (DRAINED * self.write_queue / granule).ceil() + write_share;
        let turns = read_share * write_share / (granule * drained);
        let restart = RESTART * (self.idle + self.precharge + self.write.open) + self.write.close / self.banks;
        let slack = (self.activations(granule) * self.activation / granule - 1.0 / self.peak).max(0.0);
        // While one rank turns around, the others go on.
        turns / self.ranks * (restart - HIDDEN * self.write_queue * slack).max(0.0)
    }

    /// The bytes of one row in every bank group (and pseudo channel).
    fn row_set(&self) -> f64 {
        self.pseudo_channels * self.bank_groups * self.row
    }

    /// How many rows a granule opens.
    fn activations(&self, granule: f64) -> f64 {
        let across = self.pseudo_channels * self.bank_groups;
        if granule <= self.row_set() { (granule / self.interleave).clamp(1.0, across) } else { granule / self.row }
    }

    /// How long the data bus is idle because a row is not open yet when all that was in front of it
    /// in the queue is served.
    fn late(&self, access: Access, queue: f64) -> f64 {
        (self.precharge + access.open - queue / self.peak).max(0.0)
    }

    /// The time of columns in units of the time of their data: more than 1 where the pieces that
    /// the controller serves side by side lie in so few bank groups that t_ccd_l limits the bus.
    fn columns(&self, pattern: Pattern, granule: f64, queue: f64) -> f64 {
        let granule = granule.max(LINE);
        let across = (granule / self.interleave).clamp(1.0, self.pseudo_channels);
        // Of a pseudo channel: what is contiguous in a group, what the queue holds, and how many of
        // the ones are served at once. A queue of half a piece keeps two going: while the older
        // one's end is served, the next one's begin arrives.
        let piece = self.interleave.min(granule);
        let queued = queue / self.pseudo_channels / piece;
        let pieces = if queued < 0.5 { 1.0 / (1.0 - queued) } else { (1.0 + queued).max(2.0) };
        let groups = match pattern {
            Pattern::Streams => pieces.min(self.bank_groups),
            Pattern::Random => {
                let of_granule = (granule / across / piece).clamp(1.0, self.bank_groups);
                let granules = (pieces / of_granule).max(1.0) as i32;
                self.bank_groups * (1.0 - power(1.0 - of_granule / self.bank_groups, granules.min(1024)))
            }
        };
        (self.same_group / (groups * self.burst)).max(1.0)
    }

    /// The time of random granules in units of the time of their data.
    fn slowdown(&self, granule: f64, access: Access, queue: f64) -> f64 {
        let rows = self.activations(granule);
        let data = granule / self.peak;
        // A granule in a bank that is busy waits, once for all that the queue holds.
        let piece = self.interleave.min(granule.max(LINE));
        let others = (self.bank_groups - 1.0) * piece * self.pseudo_channels / self.peak;
        let stall = (access.close + access.open - others).max(0.0) / self.banks;
        let late = self.late(access, queue) / granule.min(self.row_set()).max(queue);
        let visits = (1.0 / (RANK_VISIT * self.ranks)).min(LINE / granule) / LINE;
        let with_stalls = self.columns(Pattern::Random, granule, queue)
            + stall * self.peak / granule.max(queue)
            + (late + visits * self.rank_switch) * self.peak;
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

/// `(a^NORM + b^NORM + ...)^(1/NORM)`. The root by Newton's method from above, with nothing but
/// additions, multiplications and divisions, so that it is the same on every machine.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    fn part(name: &str) -> Dram {
        Dram::new(&catalog::efficiency(name).unwrap().dram.unwrap()).unwrap()
    }

    /// What the engine relies on: more bytes, whether read or written, never take less time.
    #[test]
    fn time_grows_with_reads_and_with_writes() {
        for (name, _, _) in catalog::DRAM {
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
