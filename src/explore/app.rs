use super::base::Base;
use super::error::Refused;
use super::lines::{Lines, Writer, lines};
use super::remembered::Remembered;
use super::sessions::{Sessions, Wanted};
use super::workers::Workers;
use crate::simulation::Room;
use std::sync::Arc;

/// What all requests share.
pub struct App {
    /// What states start from.
    pub base: Base,
    /// The threads that simulate.
    pub workers: Workers,
    /// The requests that are answered.
    pub sessions: Sessions,
    /// The memory that runs may take together.
    pub room: Room,
    /// The last answers.
    pub remembered: Remembered,
}

impl App {
    /// Starts `work` on a thread; its answer has at most `parts` parts.
    pub fn run(
        self: &Arc<Self>,
        wanted: Wanted,
        parts: usize,
        work: impl FnOnce(&Self, &Writer) + Send + 'static,
    ) -> Result<Lines, Refused> {
        let ticket = wanted.ticket();
        let (writer, lines) = lines(wanted, parts);
        let app = Arc::clone(self);
        self.workers.run(ticket, move || {
            if writer.is_over() {
                writer.end();
            } else {
                work(&app, &writer);
            }
        })?;
        Ok(lines)
    }
}
