//! A DRAM channel, command by command: the slow, obvious twin of the formulas in `src/memory/dram`.
//!
//! One channel with its pseudo channels, ranks, bank groups and banks; a controller with row hits
//! first, open rows, a read and a write queue, writes drained between 0.8 and 0.2 of theirs, and
//! refresh of all banks at once. The source offers the next access whenever a queue has room for
//! it, in order. Each cycle issues at most one command (with separate buses, one for a row and one
//! for a column): a column of a row that was just opened, else a refresh, else whichever command of
//! the oldest request is allowed. It is written after the description of Ramulator 2.1, whose
//! figures it meets to 0.04 of the peak.

use std::collections::VecDeque;
use tiersim::memory::DramConfig;

/// Timings that the formulas do not need, all in picoseconds but the flag.
#[derive(Clone, Copy, Debug)]
pub struct Extras {
    /// Rounded up so that a burst is a whole number of clocks.
    pub clock: i64,
    /// Precharges may also be issued at half a clock, as on HBM3 and HBM4.
    pub half_clocks: bool,
    pub t_rrd_l: i64,
    pub t_wtr_l: i64,
    pub t_ccd_l_write: i64,
}

/// Every shipped part with its extras, from the same presets as the part.
#[rustfmt::skip]
pub const PARTS: [(&str, Extras); 15] = [
    ("hbm2-2000", extras(1_000, false, 4_000, 8_000, 4_000)),
    ("hbm2-2000-8gb", extras(1_000, false, 4_000, 8_000, 4_000)),
    ("hbm2e-3200", extras(625, false, 4_375, 8_125, 2_500)),
    ("hbm3-6400", extras(626, true, 3_750, 6_875, 2_500)),
    ("hbm3e-8000", extras(500, true, 3_500, 6_500, 2_000)),
    ("hbm4-8000", extras(500, true, 3_500, 6_500, 2_000)),
    ("lpddr5-6400", extras(1_250, false, 5_000, 12_500, 5_000)),
    ("lpddr5x-8533", extras(938, false, 3_750, 12_188, 3_750)),
    ("ddr4-3200", extras(625, false, 5_000, 7_500, 5_000)),
    ("ddr4-3200-2r", extras(625, false, 5_000, 7_500, 5_000)),
    ("ddr5-4800", extras(417, false, 5_000, 10_000, 20_000)),
    ("ddr5-6400", extras(313, false, 5_000, 10_000, 20_000)),
    ("gddr6-14000", extras(572, false, 4_000, 6_286, 1_714)),
    ("gddr6x-21000", extras(381, false, 4_000, 6_286, 1_143)),
    ("gddr7-28000", extras(572, false, 2_286, 6_286, 2_286)),
];

const fn extras(clock: i64, half_clocks: bool, t_rrd_l: i64, t_wtr_l: i64, t_ccd_l_write: i64) -> Extras {
    Extras { clock, half_clocks, t_rrd_l, t_wtr_l, t_ccd_l_write }
}

/// The timing of the shipped part of that name.
pub fn timing(name: &str) -> DramConfig {
    tiersim::catalog::efficiency(name).unwrap().dram.unwrap()
}

/// What is asked of the channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic {
    /// Granules of so many bytes anywhere, each read or written at random.
    Random(i64),
    /// Two sequential streams, of reads and of writes, that take turns after so many bytes.
    Streams(i64),
    /// One sequential stream, each line of which is read or written at random.
    Mixed,
}

/// Achieved over peak over at least so many microseconds of simulated time: whole refresh
/// intervals, after a first one.
pub fn achieved(config: &DramConfig, extras: Extras, traffic: Traffic, read_share: f64, micros: i64) -> f64 {
    let intervals = (micros * 1_000_000 + ps(config.t_refi) - 1) / ps(config.t_refi);
    Channel::new(config, extras).run(&mut Source::new(config, traffic, read_share), intervals)
}

const NEVER: i64 = -1_000_000_000;
const LINE: i64 = 64;

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 53) as f64
    }
}

/// Gives addresses in order.
struct Source {
    traffic: Traffic,
    read_share: f64,
    access: i64,
    span: i64,
    random: Random,
    left: i64,
    at: i64,
    /// Of the stream of reads and of that of writes.
    heads: [i64; 2],
    write: bool,
    credit: f64,
}

impl Source {
    fn new(config: &DramConfig, traffic: Traffic, read_share: f64) -> Self {
        let banks = config.pseudo_channels * config.ranks * config.bank_groups * config.banks;
        let rows = i64::from(banks) * config.row.get() as i64;
        let access = config.access.get() as i64;
        Self {
            traffic,
            read_share,
            access,
            span: rows * 4096,
            random: Random(20_264),
            left: 0,
            at: 0,
            heads: [0, rows * 2048 + rows / 2 / 4096 * 4096],
            write: false,
            credit: 0.0,
        }
    }

    fn next(&mut self) -> (i64, bool) {
        if self.left <= 0 {
            match self.traffic {
                Traffic::Random(granule) => {
                    self.left = granule;
                    self.at = (self.random.next() % (self.span / granule) as u64) as i64 * granule;
                    self.write = self.random.share() >= self.read_share;
                }
                Traffic::Mixed => {
                    self.left = LINE;
                    self.write = self.random.share() >= self.read_share;
                }
                Traffic::Streams(burst) => {
                    self.left = burst;
                    self.credit += self.read_share;
                    self.write = self.credit < 1.0 - 1e-9;
                    self.credit -= f64::from(u8::from(!self.write));
                }
            }
        }
        self.left -= self.access;
        let head = match self.traffic {
            Traffic::Streams(_) => &mut self.heads[usize::from(self.write)],
            Traffic::Random(_) | Traffic::Mixed => &mut self.at,
        };
        *head += self.access;
        (*head - self.access, self.write)
    }
}

#[derive(Clone, Copy)]
struct Request {
    arrived: u64,
    write: bool,
    /// The first rank of its pseudo channel, its own, its bank: places in [`Channel`]'s lists.
    first_rank: usize,
    rank: usize,
    group: usize,
    bank: usize,
    row: i64,
}

/// When what was last issued to a bank.
#[derive(Clone)]
struct Bank {
    row: Option<i64>,
    opened: i64,
    closed: i64,
    read: i64,
    written: i64,
    /// A request waits for the row that was opened for it.
    promised: bool,
}

/// The same for a rank of a pseudo channel.
#[derive(Clone)]
struct Rank {
    /// The last four, the oldest first.
    opened: [i64; 4],
    opened_in: Vec<i64>,
    read_in: Vec<i64>,
    written_in: Vec<i64>,
    read: i64,
    written: i64,
    closed: i64,
    refreshed: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Slot {
    Both,
    Column,
    Row,
}

struct Channel<'a> {
    config: &'a DramConfig,
    extras: Extras,
    now: i64,
    half: bool,
    /// When the bus for columns and the one for rows are free.
    free: [i64; 2],
    banks: Vec<Bank>,
    ranks: Vec<Rank>,
    reads: Vec<Request>,
    writes: Vec<Request>,
    opening: Vec<Request>,
    draining: bool,
    /// Ranks that wait for a refresh, and whether their rows are closed.
    refreshes: VecDeque<(usize, bool)>,
    columns: i64,
    /// For each bank the oldest request that finds its row open.
    hits: Vec<u64>,
}

impl<'a> Channel<'a> {
    fn new(config: &'a DramConfig, extras: Extras) -> Self {
        let count = |number: u32| number as usize;
        let ranks = count(config.pseudo_channels) * count(config.ranks);
        let groups = vec![NEVER; count(config.bank_groups)];
        let banks = ranks * count(config.bank_groups) * count(config.banks);
        let bank = Bank { row: None, opened: NEVER, closed: NEVER, read: NEVER, written: NEVER, promised: false };
        let rank = Rank {
            opened: [NEVER; 4],
            opened_in: groups.clone(),
            read_in: groups.clone(),
            written_in: groups,
            read: NEVER,
            written: NEVER,
            closed: NEVER,
            refreshed: NEVER,
        };
        Self {
            config,
            extras,
            now: 0,
            half: false,
            free: [0; 2],
            banks: vec![bank; banks],
            ranks: vec![rank; ranks],
            reads: Vec::new(),
            writes: Vec::new(),
            opening: Vec::new(),
            draining: false,
            refreshes: VecDeque::new(),
            columns: 0,
            hits: vec![u64::MAX; banks],
        }
    }

    fn run(&mut self, source: &mut Source, intervals: i64) -> f64 {
        let config = self.config;
        let tick = if self.extras.half_clocks { self.extras.clock / 2 } else { self.extras.clock };
        let warm = ps(config.t_refi);
        let end = warm * (1 + intervals);
        let (mut arrived, mut waiting, mut refresh) = (0, None, warm);
        let one_bus = ps(config.column_command) > 0;
        while self.now < end {
            self.now += tick;
            self.half = self.extras.half_clocks && !self.half;
            loop {
                let mut request = waiting.take().unwrap_or_else(|| self.request(source.next()));
                let (queue, room) = if request.write {
                    (&mut self.writes, config.write_queue)
                } else {
                    (&mut self.reads, config.read_queue)
                };
                if queue.len() >= room as usize {
                    waiting = Some(request);
                    break;
                }
                arrived += 1;
                request.arrived = arrived;
                queue.push(request);
            }
            if self.now >= refresh {
                refresh += ps(config.t_refi);
                self.refreshes.extend((0..config.ranks as usize).map(|rank| (rank, false)));
            }
            if self.now - tick <= warm {
                self.columns = 0;
            }
            if one_bus {
                self.issue(Slot::Both);
            } else {
                if !self.half {
                    self.issue(Slot::Column);
                }
                self.issue(Slot::Row);
            }
        }
        let bytes = self.columns as f64 * config.access.as_f64();
        bytes / (config.channel.as_f64() * 1e-12 * (end - warm) as f64)
    }

    /// Where an address lies: pieces go to pseudo channels, then to bank groups, along their rows,
    /// then to ranks and banks.
    fn request(&self, (address, write): (i64, bool)) -> Request {
        let config = self.config;
        let mut rest = address / config.interleave.get() as i64;
        let mut digit = |base: i64| {
            let digit = rest % base;
            rest /= base;
            digit as usize
        };
        let pseudo_channel = digit(config.pseudo_channels.into());
        let group = digit(config.bank_groups.into());
        digit(config.row.get() as i64 / config.interleave.get() as i64);
        let rank = digit(config.ranks.into());
        let bank = digit(config.banks.into());
        let first_rank = pseudo_channel * config.ranks as usize;
        let rank = first_rank + rank;
        let bank = (rank * config.bank_groups as usize + group) * config.banks as usize + bank;
        Request { arrived: 0, write, first_rank, rank, group, bank, row: rest }
    }

    /// Issues at most one command.
    fn issue(&mut self, slot: Slot) {
        if slot != Slot::Row {
            let ready = (0..self.opening.len()).filter(|&index| self.column_allowed(&self.opening[index]));
            if let Some(index) = ready.min_by_key(|&index| self.opening[index].arrived) {
                let request = self.opening.swap_remove(index);
                self.banks[request.bank].promised = false;
                return self.column(&request);
            }
        }
        if slot != Slot::Column && self.refresh() || !self.refreshes.is_empty() {
            return;
        }
        self.turn();
        let queue = if self.draining { &self.writes } else { &self.reads };
        let mut hits = std::mem::take(&mut self.hits);
        hits.fill(u64::MAX);
        for request in queue {
            if self.banks[request.bank].row == Some(request.row) {
                hits[request.bank] = hits[request.bank].min(request.arrived);
            }
        }
        let allowed = |request: &Request| match self.banks[request.bank].row {
            Some(row) if row == request.row => slot != Slot::Row && self.column_allowed(request),
            _ if slot == Slot::Column => false,
            None => self.open_allowed(request),
            Some(_) => hits[request.bank] > request.arrived && self.close_allowed(request),
        };
        // In the order of arrival: the first is the oldest.
        let oldest = queue.iter().position(allowed);
        self.hits = hits;
        if let Some(index) = oldest {
            self.serve(index);
        }
    }

    /// Changes the direction at the marks of the write queue.
    fn turn(&mut self) {
        let filled = self.writes.len() as f64 / f64::from(self.config.write_queue);
        if !self.draining && (filled > 0.8 || self.reads.is_empty()) {
            self.draining = true;
        } else if self.draining && filled < 0.2 && !self.reads.is_empty() {
            self.draining = false;
        }
    }

    /// Issues the next command of a request of the queue being served.
    fn serve(&mut self, index: usize) {
        let queue = if self.draining { &mut self.writes } else { &mut self.reads };
        let request = queue[index];
        let (bank, rank) = (request.bank, request.rank);
        let close = if self.extras.half_clocks { self.extras.clock / 2 } else { self.extras.clock };
        match self.banks[bank].row {
            Some(row) if row == request.row => {
                (if self.draining { &mut self.writes } else { &mut self.reads }).remove(index);
                self.column(&request);
            }
            Some(_) => {
                self.banks[bank].row = None;
                self.banks[bank].closed = self.now;
                self.take_row_bus(close);
            }
            None => {
                (if self.draining { &mut self.writes } else { &mut self.reads }).remove(index);
                self.banks[bank].row = Some(request.row);
                self.banks[bank].opened = self.now;
                self.banks[bank].promised = true;
                self.ranks[rank].opened.rotate_left(1);
                self.ranks[rank].opened[3] = self.now;
                self.ranks[rank].opened_in[request.group] = self.now;
                self.take_row_bus(ps(self.config.row_commands) - close);
                self.opening.push(request);
            }
        }
    }

    fn take_row_bus(&mut self, time: i64) {
        self.free[1] = self.now + time;
        if ps(self.config.column_command) > 0 {
            self.free[0] = self.free[1];
        }
    }

    fn column(&mut self, request: &Request) {
        let (bank, rank) = (request.bank, request.rank);
        let (bank, rank) = (&mut self.banks[bank], &mut self.ranks[rank]);
        if request.write {
            (bank.written, rank.written, rank.written_in[request.group]) = (self.now, self.now, self.now);
        } else {
            (bank.read, rank.read, rank.read_in[request.group]) = (self.now, self.now, self.now);
        }
        let shared = ps(self.config.column_command);
        self.free[0] = self.now + shared.max(self.extras.clock);
        if shared > 0 {
            self.free[1] = self.free[0];
        }
        self.columns += 1;
    }

    fn column_allowed(&self, request: &Request) -> bool {
        let config = self.config;
        let (bank, rank) = (&self.banks[request.bank], &self.ranks[request.rank]);
        let (burst, cl, cwl) = (ps(config.t_burst), ps(config.t_cl), ps(config.t_cwl));
        let opened = if request.write { config.t_rcd_write } else { config.t_rcd_read };
        let since = |then: i64| self.now - then;
        let mut allowed =
            self.now >= self.free[0].max(rank.refreshed) && since(bank.opened) >= ps(opened) && since(rank.read) >= 0;
        if request.write {
            allowed &= since(rank.written) >= burst
                && since(rank.written_in[request.group]) >= self.extras.t_ccd_l_write
                && since(rank.read) >= ps(config.t_rtw);
        } else {
            allowed &= since(rank.read) >= burst
                && since(rank.read_in[request.group]) >= ps(config.t_ccd_l)
                && since(rank.written) >= cwl + burst + ps(config.t_wtr)
                && since(rank.written_in[request.group]) >= cwl + burst + self.extras.t_wtr_l;
        }
        let switch = ps(config.t_rank_switch);
        let others = (request.first_rank..request.first_rank + config.ranks as usize).filter(|&it| it != request.rank);
        allowed
            && others.map(|other| &self.ranks[other]).all(|other| {
                let written = if request.write { burst } else { cwl + burst + switch - cl };
                since(other.read) >= burst + switch && since(other.written) >= written
            })
    }

    fn open_allowed(&self, request: &Request) -> bool {
        let config = self.config;
        let (bank, rank) = (&self.banks[request.bank], &self.ranks[request.rank]);
        !self.half
            && self.now >= self.free[1].max(rank.refreshed)
            && self.now >= (rank.closed.max(bank.closed) + ps(config.t_rp)).max(bank.opened + ps(config.t_rc))
            && self.now >= (rank.opened[3] + ps(config.t_rrd)).max(rank.opened[0] + ps(config.t_faw))
            && self.now >= rank.opened_in[request.group] + self.extras.t_rrd_l
    }

    fn close_allowed(&self, request: &Request) -> bool {
        let bank = &self.banks[request.bank];
        !bank.promised && self.now >= self.free[1].max(self.ranks[request.rank].refreshed) && self.may_close(bank)
    }

    fn may_close(&self, bank: &Bank) -> bool {
        let config = self.config;
        let written = bank.written + ps(config.t_cwl) + ps(config.t_burst) + ps(config.t_wr);
        let opened = bank.opened + ps(config.t_rc) - ps(config.t_rp);
        self.now >= written.max(opened).max(bank.read + ps(config.t_rtp))
    }

    /// Closes the rows of the rank whose refresh is due, or refreshes it; whether it did.
    fn refresh(&mut self) -> bool {
        let Some(&(rank, closed)) = self.refreshes.front() else { return false };
        let ranks: Vec<usize> =
            (0..self.config.pseudo_channels as usize).map(|it| it * self.config.ranks as usize + rank).collect();
        let banks = self.banks.len() / self.ranks.len();
        let of_rank = |rank: usize| rank * banks..(rank + 1) * banks;
        let mut all = ranks.iter().flat_map(|&rank| self.banks[of_rank(rank)].iter());
        let allowed = self.now >= self.free[1]
            && if closed {
                let last = ps(self.config.t_rp);
                ranks.iter().all(|&rank| self.now >= self.ranks[rank].closed + last)
                    && all.all(|bank| self.now >= bank.opened + ps(self.config.t_rc))
            } else {
                all.all(|bank| !bank.promised && self.may_close(bank))
            };
        if !allowed {
            return false;
        }
        for &rank in &ranks {
            if closed {
                self.ranks[rank].refreshed = self.now + ps(self.config.t_rfc);
            } else {
                self.banks[of_rank(rank)].iter_mut().for_each(|bank| bank.row = None);
                self.ranks[rank].closed = self.now;
            }
        }
        if closed {
            self.refreshes.pop_front();
        } else {
            self.refreshes[0].1 = true;
        }
        self.take_row_bus(self.extras.clock);
        true
    }
}

fn ps(time: tiersim::units::SimTime) -> i64 {
    time.as_ps() as i64
}
