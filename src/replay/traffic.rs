//! Traffic to replay: a CSV file of transfers, read and checked, and written back with its times.
//!
//! Each row says when a transfer is issued, its class, its two ends (tiers or `chip`), its size
//! and, if wanted, its address. Reading resolves the ends to routes over the lanes of a memory
//! system and finds out which rows continue a stream, as open DRAM rows make those cheaper. All
//! checks happen here and name line and column, so that replaying cannot fail on the input.

use crate::memory::{Interleaving, MemorySystem, Pattern, PortId, RouteId, TierId, TransferClass};
use crate::units::{Bytes, QuantityError, RegionId, SimTime};
use rustc_hash::FxHashMap;
use std::io::Write;
use thiserror::Error;

/// When one transfer was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When its lanes first gave it bandwidth.
    pub start: SimTime,
    /// When its last byte arrived.
    pub finish: SimTime,
    /// Queueing delay: latency from issue to the last byte, minus the unloaded service time.
    pub queueing: SimTime,
}

/// Why a list of transfers cannot be replayed.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum TrafficError {
    #[error("{origin}: {message}")]
    Csv { origin: String, message: String },
    #[error(
        "{origin}:1: the columns are {found}, but must be {COLUMNS:?}, in this order, and may end with \"address\""
    )]
    Columns { origin: String, found: String },
    #[error("{origin}:{line}: {column} is '{value}': {remedy}")]
    Value { origin: String, line: u64, column: &'static str, value: String, remedy: String },
    #[error("{origin}: all transfers together exceed {max}, more than can be counted", max = Bytes::MAX_INPUT)]
    TooMuch { origin: String },
}

const COLUMNS: [&str; 5] = ["issue_ns", "class", "source", "destination", "bytes"];
const ADDRESS: &str = "address";
/// The name of the chip, as the end of a transfer that is not a tier.
const CHIP: &str = "chip";

/// One transfer to be carried.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// When it is issued.
    pub issue: SimTime,
    /// Its class.
    pub class: TransferClass,
    /// Over which lanes: see [`Traffic::routes`].
    way: u32,
    /// Whether it continues at the address where the one before it ended.
    pub pattern: Pattern,
    /// The tier read from, or written or moved to.
    pub tier: TierId,
    /// How much.
    pub bytes: Bytes,
}

/// A list of transfers: CSV with the columns `issue_ns,class,source,destination,bytes` and, if
/// wanted, `address`. `source` and `destination` are tiers or `chip`.
///
/// On a tier whose pages are hashed, a transfer with an address uses one channel, chosen by a hash
/// of the address: transfers of the same address share it. A transfer without an address uses all
/// channels evenly, as every transfer does on a striped tier.
///
/// A transfer whose address is where the last one of its class and tiers ended continues a stream,
/// whose DRAM rows are open.
pub struct Traffic {
    text: Vec<u8>,
    origin: String,
    rows: Vec<Row>,
    ways: Vec<Box<[RouteId]>>,
}

/// The ports between which a transfer goes; `None` for the chip.
type Ends = (Option<Vec<PortId>>, Option<Vec<PortId>>);

/// Where the last transfer of each class between each pair of tiers ended.
#[derive(Default)]
struct Streams(FxHashMap<(TransferClass, Option<TierId>, Option<TierId>), u64>);

impl Streams {
    /// Notes a transfer, and returns whether it continues where the one before it ended.
    fn note(&mut self, kind: (TransferClass, Option<TierId>, Option<TierId>), address: u64, bytes: Bytes) -> Pattern {
        let before = self.0.insert(kind, address.wrapping_add(bytes.get()));
        if before == Some(address) { Pattern::Streams } else { Pattern::Random }
    }
}

/// The routes between ends, each pair of ends once.
#[derive(Default)]
struct Ways {
    known: FxHashMap<Ends, u32>,
    all: Vec<Box<[RouteId]>>,
}

impl Ways {
    fn find(&mut self, system: &MemorySystem, ends: Ends) -> u32 {
        if let Some(&way) = self.known.get(&ends) {
            return way;
        }
        let routes: Box<[RouteId]> = match &ends {
            (Some(source), None) => source.iter().map(|&port| system.read_route(port)).collect(),
            (None, Some(destination)) => destination.iter().map(|&port| system.write_route(port)).collect(),
            (source, destination) => {
                let (from, to) = (source.as_deref().unwrap_or(&[]), destination.as_deref().unwrap_or(&[]));
                from.iter().flat_map(|&from| to.iter().map(move |&to| system.move_route(from, to))).collect()
            }
        };
        self.all.push(routes);
        let way = self.all.len() as u32 - 1;
        self.known.insert(ends, way);
        way
    }
}

impl Traffic {
    /// Reads and checks `text`, which is called `origin` in messages, for `system`.
    ///
    /// # Errors
    /// [`TrafficError`] naming the line and the column.
    pub fn read(text: Vec<u8>, origin: &str, system: &MemorySystem) -> Result<Self, TrafficError> {
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let unreadable =
            |error: csv::Error| TrafficError::Csv { origin: origin.to_owned(), message: error.to_string() };
        let heading = reader.headers().map_err(unreadable)?;
        let columns: Vec<&str> = heading.iter().map(str::trim).collect();
        let expected = columns.strip_suffix(&[ADDRESS]).unwrap_or(&columns) == COLUMNS;
        if !expected {
            return Err(TrafficError::Columns { origin: origin.to_owned(), found: format!("{columns:?}") });
        }
        let mut rows = Vec::new();
        let mut ways = Ways::default();
        let mut streams = Streams::default();
        let mut total = 0u128;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(unreadable)? {
            let line = record.position().map_or(0, csv::Position::line);
            let row =
                row(&record, system, &mut ways, &mut streams).map_err(|(column, remedy)| TrafficError::Value {
                    origin: origin.to_owned(),
                    line,
                    column: COLUMNS.get(column).copied().unwrap_or(ADDRESS),
                    value: record.get(column).unwrap_or("").to_owned(),
                    remedy,
                })?;
            total += u128::from(row.bytes.get());
            rows.push(row);
        }
        if total > u128::from(Bytes::MAX_INPUT.get()) {
            return Err(TrafficError::TooMuch { origin: origin.to_owned() });
        }
        Ok(Self { text, origin: origin.to_owned(), rows, ways: ways.all })
    }

    /// The transfers, in the order of the rows.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The routes over which a transfer goes, as much over each.
    #[must_use]
    pub fn routes(&self, row: &Row) -> &[RouteId] {
        &self.ways[row.way as usize]
    }

    /// Writes the same rows in the same order, with `start_ns`, `finish_ns` and `queueing_ns` after
    /// them.
    ///
    /// # Errors
    /// [`TrafficError::Csv`] if `output` cannot be written to.
    pub fn write(&self, times: &[Times], output: impl Write) -> Result<(), TrafficError> {
        let failed = |error: csv::Error| TrafficError::Csv { origin: self.origin.clone(), message: error.to_string() };
        let mut reader = csv::Reader::from_reader(self.text.as_slice());
        let mut writer = csv::Writer::from_writer(output);
        let mut record = reader.headers().map_err(failed)?.clone();
        for name in ["start_ns", "finish_ns", "queueing_ns"] {
            record.push_field(name);
        }
        writer.write_record(&record).map_err(failed)?;
        for times in times {
            reader.read_record(&mut record).map_err(failed)?;
            for time in [times.start, times.finish, times.queueing] {
                record.push_field(&time.exact_ns());
            }
            writer.write_record(&record).map_err(failed)?;
        }
        writer.flush().map_err(|error| failed(error.into()))
    }
}

/// The transfer that `record` describes, or the column that is wrong and what to write there.
fn row(
    record: &csv::StringRecord,
    system: &MemorySystem,
    ways: &mut Ways,
    streams: &mut Streams,
) -> Result<Row, (usize, String)> {
    let field = |column: usize| record.get(column).unwrap_or("").trim();
    let issue: SimTime =
        format!("{} ns", field(0)).parse().map_err(|_| (0, "write nanoseconds from 0 on, such as 12.5".to_owned()))?;
    let classes = || TransferClass::ALL.into_iter().filter(|class| class.is_shown(false));
    let names = || classes().map(TransferClass::name).collect::<Vec<_>>().join(", ");
    let class =
        classes().find(|class| class.name() == field(1)).ok_or_else(|| (1, format!("use one of {}", names())))?;
    let end = |column: usize| -> Result<Option<TierId>, (usize, String)> {
        let name = field(column);
        if name == CHIP {
            return Ok(None);
        }
        let found = system.tiers().iter().position(|tier| tier.name == name).map(TierId::new);
        let names = || system.tiers().iter().map(|tier| tier.name.as_str()).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| (column, format!("use one of {}, {CHIP}", names())))
    };
    let (source, destination) = (end(2)?, end(3)?);
    let needs = |what: &str| (3, format!("a {class} goes {what}"));
    let tier = match (class, source, destination) {
        (TransferClass::WeightRead | TransferClass::KvRead, Some(tier), None) => tier,
        (TransferClass::WeightRead | TransferClass::KvRead, ..) => return Err(needs("from a tier to the chip")),
        (TransferClass::KvWrite, None, Some(tier)) => tier,
        (TransferClass::KvWrite, ..) => return Err(needs("from the chip to a tier")),
        (TransferClass::MigrateIn, Some(from), Some(to)) if to < from => to,
        (TransferClass::MigrateIn, ..) => return Err(needs("from a tier to a faster one")),
        (TransferClass::MigrateOut, Some(from), Some(to)) if from < to => to,
        (TransferClass::MigrateOut | TransferClass::Stage | TransferClass::Activation, ..) => {
            return Err(needs("from a tier to a slower one"));
        }
    };
    let address = match field(COLUMNS.len()) {
        "" => None,
        text => Some(address(text).ok_or_else(|| {
            (COLUMNS.len(), "write a whole number below 2^64, such as 4096 or 0x1000, or nothing".to_owned())
        })?),
    };
    let ports = |tier: TierId| -> Vec<PortId> {
        match (system.tiers()[tier.index()].interleaving, address) {
            (Interleaving::Hashed { .. }, Some(address)) => {
                vec![system.port_of_page(tier, RegionId::default(), address)]
            }
            _ => system.ports(tier).collect(),
        }
    };
    let way = ways.find(system, (source.map(ports), destination.map(ports)));
    let bytes = size(field(4)).map_err(|error| (4, error.to_string()))?;
    if bytes == Bytes::ZERO {
        return Err((4, "a transfer carries at least 1 byte".to_owned()));
    }
    let pattern = address.map_or(Pattern::Random, |address| streams.note((class, source, destination), address, bytes));
    Ok(Row { issue, class, way, pattern, tier, bytes })
}

/// A size: the column's name is the unit of a bare number.
fn size(text: &str) -> Result<Bytes, QuantityError> {
    let bare = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if bare { format!("{text} B").parse() } else { text.parse() }
}

/// A whole number, decimal or, after `0x`, hexadecimal.
fn address(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten(),
    }
}
