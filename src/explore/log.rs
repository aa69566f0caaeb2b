use std::sync::atomic::{AtomicU64, Ordering};

/// The most lines of a server's life: whoever floods it does not flood the terminal.
const MAX_LINES: u64 = 200;

/// Where refused requests are noted.
pub struct Log {
    print: Box<dyn Fn(&str) + Send + Sync>,
    lines: AtomicU64,
}

impl Log {
    /// A log that hands its lines to `print`.
    pub fn new(print: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { print, lines: AtomicU64::new(0) }
    }

    /// Notes a line, unless there were too many.
    pub fn line(&self, line: &str) {
        match self.lines.fetch_add(1, Ordering::Relaxed) {
            before if before < MAX_LINES => (self.print)(line),
            MAX_LINES => (self.print)("further refused requests are not noted"),
            _ => {}
        }
    }
}
