//! Watching a serving engine: a [`RequestsRecorder`] watches the run of a scenario that has
//! requests, and becomes a [`RunReport`](super::RunReport), as a [`Recorder`](super::Recorder)
//! does.

mod recorder;
mod report;
#[cfg(test)]
pub(crate) mod synthetic;

pub use recorder::RequestsRecorder;
