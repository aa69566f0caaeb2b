//! Running the cells of a sweep: workers simulate, one writer records.
//!
//! Each worker takes the next cell from a shared queue, which opens one block of cells after the
//! other, and sends its row to the writer. The writer appends rows to the journals, syncs them, and
//! writes the Parquet file of each block that is complete. Within a block the cells with the most
//! work start first, so that no worker is left with a long one at the end. Results do not depend on
//! the number of workers or on interruptions.

use super::cells::Cells;
use super::folder::{BLOCK, Folder};
use super::journal::Journal;
use super::{Plan, Row, SweepError};
use crate::runs::{Cancel, Resources};
use crate::units::Bytes;
use std::collections::{BTreeMap, VecDeque};
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
    let most = usize::try_from(tally.cells).unwrap_or(usize::MAX);
    let workers = Workers { plan, cells: Cells::new(plan, resources, most, cancel)? };
    let queue = Mutex::new(Queue { next_block: 0, ready: VecDeque::new(), opened: Vec::new(), error: None });
    let (sender, receiver) = mpsc::channel();
    // One sender for each thread: when all are dropped, there are no more rows.
    let senders = Mutex::new(vec![sender; workers.cells.pool.threads()]);
    workers.cells.pool.beside(
        || {
            if let Some(sender) = lock(&senders).pop() {
                workers.work(folder, &queue, &sender);
            }
        },
        || {
            let result = write_rows(&workers, folder, &queue, &receiver, &mut tally, watcher);
            workers.cells.pool.stop();
            result
        },
    )?;
    if cancel.load(Ordering::Relaxed) && tally.done < tally.cells {
        return Err(SweepError::Interrupted { done: tally.done, cells: tally.cells });
    }
    folder.finish();
    Ok(tally)
}

/// How many cells of `plan` belong to `folder`.
fn count(plan: &Plan, folder: &Folder) -> u64 {
    if plan.cells() <= Plan::COUNTED {
        return (0..plan.cells()).filter(|cell| folder.shard().owns(*cell) && plan.levels(*cell).is_some()).count()
            as u64;
    }
    // Each shard has one of every `of` consecutive cells.
    plan.cells() / folder.shard().of()
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
    cells: Cells<'a>,
}

impl Workers<'_> {
    fn work(&self, folder: &Folder, queue: &Mutex<Queue>, messages: &Sender<Message>) {
        while !self.cells.pool.is_over() {
            let next = {
                let mut queue = lock(queue);
                self.next(folder, &mut queue, messages)
            };
            let Some((cell, levels)) = next else { return };
            let message = self.cells.run(cell, &levels).map(|ended| match ended {
                Ok(row) => Message::Row(row),
                Err(needed) => Message::TooLarge(needed),
            });
            if let Some(message) = message
                && messages.send(message).is_err()
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
            if self.cells.pool.is_over()
                || queue.error.is_some()
                || queue.next_block >= self.plan.cells().div_ceil(BLOCK)
            {
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
        self.cells.sort(&mut ready);
        queue.ready = ready.into();
        queue.opened.push(Opened { block, wanted, journal, rows });
        // Wakes the writer, as the block may already have all its rows.
        let _ = messages.send(Message::Block { rows: 0 });
        Ok(())
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
        Some((cells, needed)) => Err(SweepError::MemoryLimit { cells, needed, limit: workers.cells.pool.memory() }),
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
