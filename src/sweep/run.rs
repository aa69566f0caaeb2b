//! Running the cells of a sweep: workers simulate, one writer records.
//!
//! Each worker takes the next cell from a shared queue, which opens one block of cells after the
//! other, and sends its row to the writer. The writer appends rows to the journals, syncs them, and
//! writes the Parquet file of each block that is complete. Within a block the cells with the most
//! work start first, so that no worker is left with a long one at the end. Results do not depend on
//! the number of workers or on interruptions.

use super::axis::{Axis, REPEAT};
use super::folder::{BLOCK, Folder};
use super::journal::Journal;
use super::shared::Shared;
use super::{Plan, Row, SweepError};
use crate::runs::{Cancel, Pool, Resources, Silent};
use crate::simulation::{Scenario, ScenarioConfig};
use crate::units::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The progress of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cells of the sweep, including those that were run before. For a sweep of more than 10
    /// million combinations with exclusions, the combinations.
    pub cells: u64,
    /// Cells that are finished and synced to disk.
    pub done: u64,
    /// Finished cells of an earlier process.
    pub before: u64,
    /// Cells of this process that failed.
    pub failed: u64,
}

/// Receives the progress of a sweep.
pub trait Watcher: Sync {
    /// Called with the progress so far.
    fn tally(&self, tally: Tally);
}

/// Runs the missing cells of `plan` that belong to `folder`, within a block those with the most
/// work first. Each row is on disk before it counts as done, and the files do not depend on threads
/// or interruptions.
///
/// # Errors
/// [`SweepError`] if results cannot be written, or the sweep was interrupted. Finished cells are
/// kept, so that the sweep can be resumed.
pub fn execute(
    plan: &Plan,
    folder: &Folder,
    resources: Resources,
    cancel: &Cancel,
    watcher: &dyn Watcher,
) -> Result<Tally, SweepError> {
    let mut tally = Tally { cells: count(plan, folder), ..Tally::default() };
    // A quarter of the memory is for skip sets that cells share.
    let room = Bytes::new(resources.memory.get() / 4).min(MOST_SHARED);
    let resources = Resources { memory: resources.memory.saturating_sub(room), ..resources };
    let most = usize::try_from(tally.cells).unwrap_or(usize::MAX);
    let workers = Workers {
        plan,
        costs: Costs::new(plan),
        shared: shares_skips(plan).then(|| Shared::new(room)),
        fits: Shared::new(Bytes::ZERO),
        pool: Pool::new(resources, most, cancel, &Silent)?,
    };
    let queue = Mutex::new(Queue { next_block: 0, ready: VecDeque::new(), opened: Vec::new(), error: None });
    let (sender, receiver) = mpsc::channel();
    // One sender for each thread: when all are dropped, there are no more rows.
    let senders = Mutex::new(vec![sender; workers.pool.threads()]);
    workers.pool.beside(
        || {
            if let Some(sender) = lock(&senders).pop() {
                workers.work(folder, &queue, &sender);
            }
        },
        || {
            let result = write_rows(&workers, folder, &queue, &receiver, &mut tally, watcher);
            workers.pool.stop();
            result
        },
    )?;
    if cancel.load(Ordering::Relaxed) && tally.done < tally.cells {
        return Err(SweepError::Interrupted { done: tally.done, cells: tally.cells });
    }
    folder.finish();
    Ok(tally)
}

/// The most that skip sets for several cells may take.
const MOST_SHARED: Bytes = Bytes::new(2 << 30);

/// How many cells of `plan` belong to `folder`.
fn count(plan: &Plan, folder: &Folder) -> u64 {
    if plan.cells() <= Plan::COUNTED {
        return (0..plan.cells()).filter(|cell| folder.shard().owns(*cell) && plan.levels(*cell).is_some()).count()
            as u64;
    }
    // Each shard has one of every `of` consecutive cells.
    plan.cells() / folder.shard().of()
}

/// Whether several cells have the same skip sets: an axis changes nothing of them.
fn shares_skips(plan: &Plan) -> bool {
    plan.axes().iter().any(|axis| axis.levels.len() > 1 && !axis.paths.iter().any(|path| shapes_skips(path)))
}

fn shapes_skips(path: &str) -> bool {
    let whole = path.split('.').next().unwrap_or(path);
    ["trace", "model", "prefill_tokens", "decode_tokens", "batch", "sequences", "prefill"].contains(&whole)
}

/// Estimated work of cells, to sort them: steps × tokens × layers, without a unit.
struct Costs {
    /// Whether an axis changes the work; where none does, all cells have the same.
    differ: bool,
    known: Mutex<HashMap<Vec<usize>, u64>>,
}

impl Costs {
    fn new(plan: &Plan) -> Self {
        Self {
            differ: plan.axes().iter().any(|axis| axis.name != REPEAT && Self::counts(axis)),
            known: Mutex::default(),
        }
    }

    fn counts(axis: &Axis) -> bool {
        axis.paths.iter().any(|path| shapes_skips(path) || path.starts_with("strategy"))
    }

    fn of(&self, plan: &Plan, levels: &[usize]) -> u64 {
        if !self.differ {
            return 0;
        }
        let axes = plan.axes().iter().zip(levels);
        let key: Vec<usize> = axes.map(|(axis, level)| if Self::counts(axis) { *level } else { 0 }).collect();
        let mut known = lock(&self.known);
        *known.entry(key).or_insert_with_key(|levels| {
            let Ok(mut fields) = plan.fields(levels, |path| shapes_skips(path) || path.starts_with("strategy")) else {
                return 0;
            };
            let mut number = |path: &str| fields.get(path).ok().and_then(Value::as_u64).unwrap_or(1);
            let (prefill, decode, layers) = (number("prefill_tokens"), number("decode_tokens"), number("model.layers"));
            let moves = fields.get("strategy").is_ok_and(|strategy| strategy["migration"] != "None");
            let work = decode.saturating_mul(prefill + decode).saturating_mul(layers);
            if moves { work.saturating_mul(4) } else { work }
        })
    }
}

/// The cells to be run next.
struct Queue {
    next_block: u64,
    /// The cells of the last block that was opened, the longest first.
    ready: VecDeque<(u64, Vec<usize>)>,
    /// Blocks that the writer does not know yet.
    opened: Vec<Opened>,
    error: Option<SweepError>,
}

/// A block with cells to run.
struct Opened {
    block: u64,
    /// How many rows it has when it is complete.
    wanted: usize,
    journal: Journal,
    /// The finished rows, by cell.
    rows: BTreeMap<u64, Row>,
}

/// What workers report to the writer: a finished row, a cell that needs more memory than there is,
/// or a block that has so many rows already.
enum Message {
    Row(Row),
    TooLarge(Bytes),
    Block { rows: u64 },
}

struct Workers<'a> {
    plan: &'a Plan,
    costs: Costs,
    /// Skip sets in memory, where several cells have the same.
    shared: Option<Shared>,
    fits: Shared,
    pool: Pool<'a>,
}

impl Workers<'_> {
    fn work(&self, folder: &Folder, queue: &Mutex<Queue>, messages: &Sender<Message>) {
        while !self.pool.is_over() {
            let next = {
                let mut queue = lock(queue);
                self.next(folder, &mut queue, messages)
            };
            let Some((cell, levels)) = next else { return };
            let row = catch_unwind(AssertUnwindSafe(|| self.cell(cell, &levels))).unwrap_or_else(|panic| {
                let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Some(Message::Row(Row::failed(cell, format!("tiersim panicked, which is a bug in it: {what}"))))
            });
            if let Some(row) = row
                && messages.send(row).is_err()
            {
                return;
            }
        }
    }

    /// The next cell to run, from the next block if need be.
    fn next(&self, folder: &Folder, queue: &mut Queue, messages: &Sender<Message>) -> Option<(u64, Vec<usize>)> {
        loop {
            if let Some(next) = queue.ready.pop_front() {
                return Some(next);
            }
            if self.pool.is_over() || queue.error.is_some() || queue.next_block >= self.plan.cells().div_ceil(BLOCK) {
                return None;
            }
            let block = queue.next_block;
            queue.next_block += 1;
            if let Err(error) = self.open(folder, block, queue, messages) {
                queue.error = Some(error);
            }
        }
    }

    fn open(
        &self,
        folder: &Folder,
        block: u64,
        queue: &mut Queue,
        messages: &Sender<Message>,
    ) -> Result<(), SweepError> {
        if folder.has(block) {
            let rows = folder.count(self.plan, block)?;
            let _ = messages.send(Message::Block { rows });
            return Ok(());
        }
        let cells = folder.cells_of(self.plan, block);
        if cells.is_empty() {
            return Ok(());
        }
        let (journal, rows) = folder.journal(block)?;
        let rows: BTreeMap<u64, Row> = rows.into_iter().map(|row| (row.cell, row)).collect();
        let wanted = cells.len();
        let missing = cells.into_iter().filter(|cell| !rows.contains_key(cell));
        let mut ready: Vec<(u64, Vec<usize>)> =
            missing.filter_map(|cell| Some((cell, self.plan.levels(cell)?))).collect();
        // Cells with the same skip sets run one after the other.
        let traces = |levels: &[usize]| -> Vec<usize> {
            let axes = self.plan.axes().iter().zip(levels);
            axes.filter(|(axis, _)| axis.paths.iter().any(|path| shapes_skips(path))).map(|(_, level)| *level).collect()
        };
        ready.sort_by_cached_key(|(cell, levels)| {
            (std::cmp::Reverse(self.costs.of(self.plan, levels)), traces(levels), *cell)
        });
        queue.ready = ready.into();
        queue.opened.push(Opened { block, wanted, journal, rows });
        // Wakes the writer, as the block may already have all its rows.
        let _ = messages.send(Message::Block { rows: 0 });
        Ok(())
    }

    /// Runs a cell; `None` if it was interrupted.
    fn cell(&self, cell: u64, levels: &[usize]) -> Option<Message> {
        let scenario = match self.scenario(cell, levels) {
            Ok(scenario) => scenario,
            Err(refused) => return Some(Message::Row(refused)),
        };
        let needed = scenario.memory_needed();
        if needed > self.pool.memory() {
            return Some(Message::TooLarge(needed));
        }
        let _held = self.pool.hold(needed).ok()?;
        let scenario = match &self.shared {
            Some(shared) => shared.with_skips(scenario),
            None => scenario,
        };
        Row::simulated(cell, &scenario, &self.pool).map(Message::Row)
    }

    /// The scenario of a cell, or the row of a cell that has none.
    fn scenario(&self, cell: u64, levels: &[usize]) -> Result<Scenario, Row> {
        let config = self.plan.scenario(levels).map_err(|error| Row::failed(cell, error.to_string()))?;
        let new = |config: ScenarioConfig| Scenario::new(config).map_err(|error| Row::refused(cell, &error));
        let Some(place) = self.fits.fitted(&config) else { return new(config) };
        if let Some(trace) = place.get() {
            return new(ScenarioConfig { trace: trace.clone(), ..config });
        }
        let mut first = None;
        let trace = place.get_or_init(|| match new(config.clone()) {
            Ok(scenario) => {
                let trace = scenario.resolved().trace.clone();
                first = Some(Ok(scenario));
                trace
            }
            Err(error) => {
                first = Some(Err(error));
                config.trace.clone()
            }
        });
        first.unwrap_or_else(|| new(ScenarioConfig { trace: trace.clone(), ..config }))
    }
}

/// The writer: receives rows, syncs them to disk, and writes each block that is complete.
fn write_rows(
    workers: &Workers<'_>,
    folder: &Folder,
    queue: &Mutex<Queue>,
    messages: &Receiver<Message>,
    tally: &mut Tally,
    watcher: &dyn Watcher,
) -> Result<(), SweepError> {
    let mut open: Vec<Opened> = Vec::new();
    let mut too_large: Option<(u64, Bytes)> = None;
    watcher.tally(*tally);
    while let Ok(first) = messages.recv() {
        let mut added = 0;
        let batch: Vec<Message> = std::iter::once(first).chain(messages.try_iter()).collect();
        {
            let mut queue = lock(queue);
            for opened in queue.opened.drain(..) {
                tally.before += opened.rows.len() as u64;
                tally.done += opened.rows.len() as u64;
                open.push(opened);
            }
        }
        for message in batch {
            match message {
                Message::Block { rows } => {
                    tally.before += rows;
                    tally.done += rows;
                }
                Message::TooLarge(needed) => {
                    let (cells, most) = too_large.unwrap_or((0, needed));
                    too_large = Some((cells + 1, most.max(needed)));
                }
                Message::Row(row) => {
                    added += 1;
                    tally.failed += u64::from(row.error.is_some() && row.no_room().is_none());
                    add(&mut open, row);
                }
            }
        }
        for opened in &mut open {
            opened.journal.sync()?;
        }
        tally.done += added;
        publish_complete(workers.plan, folder, &mut open)?;
        watcher.tally(*tally);
    }
    if let Some(error) = lock(queue).error.take() {
        return Err(error);
    }
    match too_large {
        Some((cells, needed)) => Err(SweepError::MemoryLimit { cells, needed, limit: workers.pool.memory() }),
        None => Ok(()),
    }
}

/// Adds a row to its block and to the block's journal.
fn add(open: &mut [Opened], row: Row) {
    let block = row.cell / BLOCK;
    if let Some(opened) = open.iter_mut().find(|opened| opened.block == block) {
        opened.journal.add(&row);
        opened.rows.insert(row.cell, row);
    }
}

/// Writes the files of the blocks that have all their rows, and takes them out of `open`.
fn publish_complete(plan: &Plan, folder: &Folder, open: &mut Vec<Opened>) -> Result<(), SweepError> {
    for opened in open.extract_if(.., |opened| opened.rows.len() == opened.wanted) {
        let rows: Vec<Row> = opened.rows.into_values().collect();
        folder.publish(plan, opened.block, &rows)?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
