//! The threads that simulate: as many as cores, at least two.
//!
//! Runs of a page come before the cells of maps, and one thread is kept free of cells, so that a
//! slider is answered while a map fills in. A cell is a task of its own: a map that goes on puts
//! its next one at the end of the queue. A task that panics ends only itself.

use super::error::{ExploreError, Refused};
use super::sessions::Ticket;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Task = Box<dyn FnOnce() + Send>;

/// A run that waits, and whether it is still wanted.
type Waiting = (Arc<Ticket>, Task);

/// The most runs that wait.
const MAX_WAITING: usize = 16;

#[derive(Default)]
struct Queue {
    runs: VecDeque<Waiting>,
    cells: VecDeque<Task>,
    /// Threads that simulate a cell.
    busy_with_cells: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// The most threads that simulate cells.
    for_cells: usize,
}

/// Threads that take tasks.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// As many as cores, but at least two.
    ///
    /// # Errors
    /// [`ExploreError::Start`] if the system cannot start them.
    pub fn start() -> Result<Self, ExploreError> {
        let count = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), for_cells: count - 1 });
        let mut threads = Vec::new();
        for index in 0..count {
            let of_thread = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("explore-{index}"));
            let thread = builder.spawn(move || of_thread.work());
            threads.push(thread.map_err(|source| ExploreError::Start { what: "threads", source })?);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// How many cells are simulated at a time.
    pub fn for_cells(&self) -> usize {
        self.shared.for_cells
    }

    /// Takes a run. Those that are no longer wanted make room for it.
    ///
    /// # Errors
    /// [`Refused`] if too many wait.
    pub fn run(&self, ticket: Arc<Ticket>, task: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let mut queue = self.shared.lock();
        queue.runs.retain(|(ticket, _)| !ticket.is_over());
        if queue.runs.len() >= MAX_WAITING {
            return Err(Refused::busy(format!("{MAX_WAITING} requests wait already: try again in a moment")));
        }
        queue.runs.push_back((ticket, Box::new(task)));
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Takes a cell of a map, of which only so many are ever there.
    pub fn cell(&self, task: impl FnOnce() + Send + 'static) {
        self.shared.lock().cells.push_back(Box::new(task));
        self.shared.changed.notify_all();
    }

    /// Starts no more tasks, and waits for those that run.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let waiting = (std::mem::take(&mut queue.runs), std::mem::take(&mut queue.cells));
        drop(queue);
        drop(waiting);
        self.shared.changed.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task, and whether it is a cell; `None` at the end.
    fn next(&self) -> Option<(Task, bool)> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some((_, task)) = queue.runs.pop_front() {
                return Some((task, false));
            }
            if queue.busy_with_cells < self.for_cells
                && let Some(task) = queue.cells.pop_front()
            {
                queue.busy_with_cells += 1;
                return Some((task, true));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        while let Some((task, is_cell)) = self.next() {
            // What it sends to is dropped with it, which ends its answer; the hook has printed why.
            drop(catch_unwind(AssertUnwindSafe(task)));
            if is_cell {
                self.lock().busy_with_cells -= 1;
                self.changed.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::sessions::Sessions;
    use std::sync::mpsc::channel;

    #[test]
    fn tasks_that_panic_end_alone_and_unwanted_ones_make_room() {
        let workers = Workers::start().unwrap();
        let (wanted, threads) = (Sessions::alone(), workers.for_cells() + 1);
        // All threads wait, after a panic on each.
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let (begun, all_begun) = channel();
        for _ in 0..threads {
            workers.run(wanted.ticket(), || panic!("a test's panic")).unwrap();
        }
        for _ in 0..threads {
            let (released, begun) = (Arc::clone(&released), begun.clone());
            let wait = move || {
                begun.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            };
            while workers.run(wanted.ticket(), wait.clone()).is_err() {
                std::thread::yield_now();
            }
        }
        (0..threads).for_each(|_| all_begun.recv().unwrap());
        let unwanted = Sessions::alone();
        (0..MAX_WAITING).for_each(|_| workers.run(unwanted.ticket(), || ()).unwrap());
        assert!(workers.run(wanted.ticket(), || ()).is_err());
        drop(unwanted);
        let (done, is_done) = channel();
        workers.run(wanted.ticket(), move || done.send(()).unwrap()).unwrap();
        drop(release);
        is_done.recv().unwrap();
        workers.close();
    }
}
