//! The pool: tasks on several threads, with memory held for each run, progress and cancellation.
//!
//! Its threads are those of a rayon pool, so that what a task does in parallel (the files of a run
//! are made on several threads) stays within the number of threads that was asked for. Each thread
//! takes one task after the other from a shared queue; a task never starts another one.

use crate::simulation::{Held, NoRoom, Outcome, Probe, Room, RunError, Scenario, Watch, run, usable_memory};
use crate::units::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Set to end all runs at their next step.
pub type Cancel = AtomicBool;

/// Receives progress reports, from any thread.
pub trait Progress: Sync {
    /// `steps` more steps were simulated.
    fn advance(&self, _steps: u64) {}

    /// One more run has ended.
    fn ended(&self) {}
}

/// No progress is reported.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}

/// The threads and the memory that runs may use.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// How many runs are simulated at a time; 0: one a core.
    pub threads: usize,
    /// The memory that they may take together.
    pub memory: Bytes,
}

impl Resources {
    /// `None` is the default: a run for each core, in the memory that is usable now.
    #[must_use]
    pub fn new(threads: Option<u16>, memory: Option<Bytes>) -> Self {
        Self { threads: threads.map_or(0, usize::from), memory: memory.unwrap_or_else(usable_memory) }
    }
}

/// Threads cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot start {jobs} threads: {message}. Ask for fewer with --jobs")]
pub struct NoThreads {
    /// How many threads were asked for.
    pub jobs: usize,
    /// The system's error.
    pub message: String,
}

/// Threads that take tasks, and the memory that the runs on them share.
pub struct Pool<'a> {
    threads: rayon::ThreadPool,
    room: Room,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    /// Set when results are no longer needed.
    stopped: AtomicBool,
}

impl<'a> Pool<'a> {
    /// A pool of as many threads as `resources` has, but no more than the greater of 1 and `most`.
    ///
    /// # Errors
    /// [`NoThreads`] if the system cannot start them.
    pub fn new(
        resources: Resources,
        most: usize,
        cancel: &'a Cancel,
        progress: &'a dyn Progress,
    ) -> Result<Self, NoThreads> {
        let jobs = if resources.threads == 0 { cores() } else { resources.threads }.min(most.max(1));
        let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs).thread_name(|index| format!("run-{index}"));
        let threads = threads.build().map_err(|error| NoThreads { jobs, message: error.to_string() })?;
        Ok(Self { threads, room: Room::new(resources.memory), cancel, progress, stopped: AtomicBool::new(false) })
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// The memory that its runs may take together.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        self.room.limit()
    }

    /// Whether it was cancelled or stopped: no task should start, and runs end at their next step.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed)
    }

    /// Ends all runs at their next step, as their results are no longer needed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.room.wake();
    }

    /// The memory that a run of `scenario` may take, with `more` for its results.
    ///
    /// # Errors
    /// [`NoRoom`] if that is more than all runs may take together.
    pub fn check(&self, scenario: &Scenario, more: Bytes) -> Result<Bytes, NoRoom> {
        self.room.check(scenario, more)
    }

    /// Holds memory until the result is dropped; waits until so much is free.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] if the pool is over before that.
    pub fn hold(&self, bytes: Bytes) -> Result<Held<'_>, RunError> {
        self.room.hold(bytes, || self.is_over()).ok_or(RunError::Interrupted)
    }

    /// Runs `scenario` on this thread until it ends or the pool is over. The caller holds memory.
    ///
    /// # Errors
    /// As [`run()`].
    pub fn run<P: Probe>(&self, scenario: &Scenario, probe: P) -> Result<(P, Outcome), RunError> {
        let (is_over, advance) = (|| self.is_over(), |steps| self.progress.advance(steps));
        let mut watched = (probe, Watch::new(&is_over, &advance));
        let outcome = run(scenario, &mut watched)?;
        let (probe, watch) = watched;
        watch.finish();
        self.progress.ended();
        Ok((probe, outcome))
    }

    /// The receiver of progress reports.
    pub(super) fn progress(&self) -> &dyn Progress {
        self.progress
    }

    /// Does `task` for each of `items`, which start in their order. The results are in the order of
    /// the items, whichever thread was first.
    ///
    /// # Errors
    /// The error of the first item that has one; no item starts after an error.
    pub fn map<T, R, E>(&self, items: Vec<T>, task: impl Fn(T) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
    where
        T: Send,
        R: Send,
        E: Send,
    {
        let next = Mutex::new(items.into_iter().enumerate());
        let ended = Mutex::new(Vec::new());
        let failed = AtomicBool::new(false);
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let Some((index, item)) = lock(&next).next() else { return };
                let result = task(item);
                if result.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                lock(&ended).push((index, result));
            }
        };
        self.beside(work, || ());
        let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        ended.sort_by_key(|(index, _)| *index);
        ended.into_iter().map(|(_, result)| result).collect()
    }

    /// Does `work` once on each thread of the pool and, at the same time, `here` on the calling
    /// thread; returns when all are done.
    pub fn beside<R>(&self, work: impl Fn() + Sync, here: impl FnOnce() -> R) -> R {
        let work = &work;
        self.threads.in_place_scope(|scope| {
            scope.spawn_broadcast(move |_, _| work());
            here()
        })
    }
}

/// The threads that run at a time unless someone asks for another number.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Locks what no panic can leave half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn pool<'a>(threads: usize, most: usize, cancel: &'a Cancel) -> Pool<'a> {
        Pool::new(Resources { threads, memory: Bytes::new(100) }, most, cancel, &Silent).unwrap()
    }

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let cancel = Cancel::new(false);
        for threads in [1, 3] {
            let pool = pool(threads, 50, &cancel);
            let doubled = pool.map((0..50).collect(), |item: u32| Ok::<_, ()>(2 * item)).unwrap();
            assert_eq!(doubled, (0..50).map(|item| 2 * item).collect::<Vec<_>>());
        }
        assert_eq!(pool(8, 2, &cancel).threads(), 2);
        assert_eq!(pool(8, 0, &cancel).threads(), 1);
    }

    #[test]
    fn nothing_starts_after_an_error() {
        let cancel = Cancel::new(false);
        let started = AtomicUsize::new(0);
        let result = pool(1, 50, &cancel).map((0..50).collect(), |item: u32| {
            started.fetch_add(1, Ordering::Relaxed);
            if item < 3 { Ok(item) } else { Err(item) }
        });
        assert_eq!((result, started.into_inner()), (Err(3), 4));
    }

    #[test]
    fn who_waits_for_memory_ends_with_the_pool() {
        let cancel = Cancel::new(false);
        let pool = pool(2, 2, &cancel);
        let held = pool.hold(Bytes::new(70)).unwrap();
        let waits = || pool.hold(Bytes::new(70)).map(drop);
        pool.beside(|| assert!(matches!(waits(), Err(RunError::Interrupted))), || pool.stop());
        drop(held);
        assert!(pool.is_over() && pool.hold(Bytes::new(100)).is_ok());
    }
}
