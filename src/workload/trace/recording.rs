//! A recorded trace, whatever its format: tells the format by the first bytes, and leaves the rest
//! to its reader.

use super::jsonl::JsonLinesReader;
use super::kvs::KvsReader;
use super::parquet::ParquetReader;
use super::source::{Input, Recorded};
use super::{ExpertsShape, SkipSource, StepSkips, TraceError, TraceHeader, TraceKind};
use crate::config;
use bytes::Bytes;
use std::io::{Read, Seek};
use std::path::Path;

/// A recorded trace, read step by step, whatever its format.
pub struct Recording {
    name: String,
    format: RecordingFormat,
    reader: Box<dyn Recorded + Send>,
    read: usize,
    /// Of routing: whether each layer has experts, known from step 0.
    routes: Vec<bool>,
    /// Where sets of KV heads are merged: the header of what comes out, and room for theirs.
    merged: Option<(TraceHeader, StepSkips)>,
}

/// The formats of recorded traces; `traces/README.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RecordingFormat {
    Parquet,
    Kvs,
    JsonLines,
}

impl RecordingFormat {
    /// By the ending of a file's name: `parquet`, `kvs` or `jsonl`.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "parquet" => Self::Parquet,
            "kvs" => Self::Kvs,
            "jsonl" => Self::JsonLines,
            _ => return None,
        })
    }
}

impl std::fmt::Display for RecordingFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Parquet => "Parquet",
            Self::Kvs => ".kvs",
            Self::JsonLines => "JSON Lines",
        })
    }
}

impl Recording {
    /// Opens the file at `path`, tells its format by its first bytes, and checks its header.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be read, is no trace, or is not what its header says.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::open_with(path, None)
    }

    /// As [`open`](Recording::open), with the tokens before step 0 for JSON Lines that do not say
    /// how many they are.
    ///
    /// # Errors
    /// As [`open`](Recording::open).
    pub fn open_with(path: &Path, prefill: Option<u32>) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let failed = |source| TraceError::Read { path: name.clone(), source };
        let (mut file, length) = config::open_regular(path).map_err(failed)?;
        let mut start = Vec::with_capacity(8);
        file.by_ref().take(8).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Self::new(name, &start, Input::File(file), length, prefill)
    }

    /// A trace that lies in memory, called `name` in messages.
    ///
    /// # Errors
    /// As [`open`](Recording::open).
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, TraceError> {
        Self::in_memory(name, Bytes::from_static(bytes))
    }

    /// As [`embedded`](Recording::embedded), for bytes that were made at run time.
    ///
    /// # Errors
    /// As [`open`](Recording::open).
    pub fn in_memory(name: &str, bytes: Bytes) -> Result<Self, TraceError> {
        let start = bytes.slice(..bytes.len().min(8));
        let length = bytes.len() as u64;
        Self::new(name.to_owned(), &start, Input::Memory(bytes), length, None)
    }

    fn new(name: String, start: &[u8], input: Input, length: u64, prefill: Option<u32>) -> Result<Self, TraceError> {
        let path = name.clone();
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        let (format, reader): (_, Box<dyn Recorded + Send>) = if start.starts_with(b"PAR1") {
            (RecordingFormat::Parquet, Box::new(ParquetReader::new(path, input, length)?))
        } else if start == b"KVSKIP01" {
            (RecordingFormat::Kvs, Box::new(KvsReader::new(path, input.stream(), length)?))
        } else if first == Some(&b'{') {
            (RecordingFormat::JsonLines, Box::new(JsonLinesReader::new(path, input.stream(), prefill)?))
        } else {
            let found = if length < 8 {
                format!("it is only {length} bytes long")
            } else {
                format!("it starts with {:?}", String::from_utf8_lossy(start))
            };
            return Err(TraceError::NotATrace { path, found });
        };
        Ok(Self { name, format, reader, read: 0, routes: Vec::new(), merged: None })
    }

    /// With one set for each layer: where the recording has one for each KV head, a token is
    /// skipped if all heads skip it, as any head that reads it reads its page. Before any step is
    /// read.
    #[must_use]
    pub fn by_layer(mut self) -> Self {
        if self.header().kv_heads > 1 {
            let header = TraceHeader { kv_heads: 1, skip_permille: None, ..self.header().clone() };
            // It grows with the context, not to what the header announces.
            self.merged = Some((header, StepSkips::none(self.reader.header().sets(), 0)));
        }
        self
    }

    /// Whether each row of routing has as many experts as the header says: in a layer without
    /// experts none in any step.
    fn check_routing(&mut self, shape: ExpertsShape, skips: &StepSkips) -> Result<(), TraceError> {
        if self.routes.is_empty() {
            self.routes = skips.counts.chunks(shape.tokens).map(|counts| counts[0] > 0).collect();
        }
        for (row, count) in skips.counts.iter().enumerate() {
            let layer = row / shape.tokens;
            let wanted = if self.routes[layer] { shape.active } else { 0 };
            if *count != wanted {
                let what = match (self.routes[layer], self.read) {
                    (true, _) => format!("{count} experts, but the header says that a token is routed to {wanted}"),
                    (false, 0) => format!("{count} experts, but the layer's first token has none"),
                    (false, _) => format!("{count} experts, but in step 0 this layer has none"),
                };
                let row = self.read as u64 * skips.counts.len() as u64 + row as u64;
                return Err(TraceError::Row { path: self.name.clone(), row, step: self.read, layer, what });
            }
        }
        Ok(())
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In which format it is stored.
    #[must_use]
    pub fn format(&self) -> RecordingFormat {
        self.format
    }

    /// How many steps were recorded.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.header().steps
    }

    /// How many layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.header().layers
    }

    /// How many tokens there were before step 0.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.header().prefill
    }

    /// Reads the next `steps` steps to see whether they make sense, and returns how many tokens
    /// they skip.
    ///
    /// # Errors
    /// [`TraceError`] naming the step and the layer.
    pub fn check_steps(&mut self, steps: usize) -> Result<u64, TraceError> {
        let mut skips = StepSkips::none(self.header().sets(), self.header().context(self.read + steps));
        let mut skipped = 0;
        for _ in 0..steps {
            self.next_step(self.header().context(self.read), &mut skips)?;
            skipped += skips.counts.iter().map(|count| *count as u64).sum::<u64>();
        }
        Ok(skipped)
    }
}

impl Recorded for Recording {
    fn header(&self) -> &TraceHeader {
        self.merged.as_ref().map_or_else(|| self.reader.header(), |(header, _)| header)
    }
}

impl SkipSource for Recording {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        debug_assert_eq!(context, self.header().context(self.read));
        match &mut self.merged {
            None => self.reader.next_step(context, skips)?,
            Some((_, heads)) => {
                heads.sets.iter_mut().for_each(|set| set.grow(context));
                self.reader.next_step(context, heads)?;
                let of_layer = self.reader.header().kv_heads;
                for (layer, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
                    let heads = &heads.sets[layer * of_layer..][..of_layer];
                    set.copy_words(&heads[0]);
                    heads[1..].iter().for_each(|head| set.keep(head));
                    *count = set.count();
                }
            }
        }
        if let TraceKind::Experts(shape) = self.header().kind {
            self.check_routing(shape, skips)?;
        }
        self.read += 1;
        Ok(())
    }
}
