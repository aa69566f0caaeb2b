//! What a run allocates. A counting allocator sees the whole process, whose threads would count for
//! each other, so these checks are a program of their own and follow one another in one test.

#![allow(unsafe_code)] // An allocator is unsafe to implement.

mod allocation;
mod footprint;
mod schedule;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, with counters.
struct Counting;

/// How many allocations there were.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// The bytes that are allocated now.
static HELD: AtomicU64 = AtomicU64::new(0);
/// The most bytes that were allocated at once since the last [`most_held`] began.
static MOST_HELD: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let size = layout.size() as u64;
        MOST_HELD.fetch_max(HELD.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, that is, from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations there were so far.
fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// The bytes that are allocated now.
fn held() -> u64 {
    HELD.load(Ordering::Relaxed)
}

/// The most bytes that are held at once while `work` runs, beyond those held before.
fn most_held(work: impl FnOnce()) -> u64 {
    let before = held();
    MOST_HELD.store(before, Ordering::Relaxed);
    work();
    MOST_HELD.load(Ordering::Relaxed) - before
}

#[test]
fn runs_allocate_what_they_should() {
    allocation::steps_do_not_allocate();
    allocation::memory_is_sets_of_tokens();
    footprint::a_run_stays_below_what_it_said();
    schedule::schedules_do_not_allocate();
}
