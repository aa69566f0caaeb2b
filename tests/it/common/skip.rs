//! Tests that cannot run where a program that they need is missing.
//!
//! A test that returns early passes, and what it prints is captured with the output of the tests
//! that pass: nobody would see that it proved nothing. [`skip!`](crate::skip) writes to the
//! process's stderr, which is not captured. With `TIERSIM_NO_SKIPS=1` a skipped test fails.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ends the test: it is skipped, for a reason that is formatted as by `format!`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::common::skip::note(&format!($($reason)*));
        return;
    }};
}

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Writes a line `skipped N: TEST: REASON` to stderr; `N` counts the skipped tests of this process.
///
/// # Panics
///
/// With `TIERSIM_NO_SKIPS` set to anything but `0`.
pub fn note(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let forbidden = std::env::var("TIERSIM_NO_SKIPS").is_ok_and(|set| !set.is_empty() && set != "0");
    assert!(!forbidden, "{test} is skipped, and TIERSIM_NO_SKIPS forbids it: {reason}");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // In one write, as other threads write, too.
    let _ = std::io::stderr().write_all(format!("skipped {count}: {test}: {reason}\n").as_bytes());
}
