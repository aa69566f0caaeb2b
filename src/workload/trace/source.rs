//! What the readers of all formats of recorded traces have in common: what they read from, and what
//! they are.

use super::{SkipSource, TraceHeader};
use bytes::Bytes;
use std::fs::File;
use std::io::{Cursor, Seek};

/// A stream of skip sets that knows what it is.
pub trait Recorded: SkipSource {
    /// What the trace says of itself.
    fn header(&self) -> &TraceHeader;
}

/// What a recorded trace is read from.
pub(super) enum Input {
    File(File),
    Memory(Bytes),
}

impl Input {
    /// For formats that are read from the start to the end.
    pub fn stream(self) -> Box<dyn ReadSeek + Send> {
        match self {
            Self::File(file) => Box::new(std::io::BufReader::with_capacity(1 << 18, file)),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
        }
    }
}

/// A stream that can go back.
pub(super) trait ReadSeek: std::io::BufRead + Seek {}

impl<T: std::io::BufRead + Seek> ReadSeek for T {}

/// A source with a header, as a recording: for tests.
#[cfg(test)]
pub(crate) struct Made<S>(pub S, pub TraceHeader);

#[cfg(test)]
impl<S: SkipSource> SkipSource for Made<S> {
    fn next_step(&mut self, context: usize, skips: &mut super::StepSkips) -> Result<(), super::TraceError> {
        self.0.next_step(context, skips)
    }
}

#[cfg(test)]
impl<S: SkipSource> Recorded for Made<S> {
    fn header(&self) -> &TraceHeader {
        &self.1
    }
}
