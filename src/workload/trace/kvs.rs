use super::{SkipSource, StepSkips, TraceError};
use crate::config;
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{LanguageModel, MAX_TOKENS};
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

/// A recorded trace in the `.kvs` format, read step by step.
///
/// The format, little-endian: 8 bytes `KVSKIP01`; `u32` steps, layers, tokens before step 0, and skip ratio in permille;
/// then, for each step and in it for each layer, `ceil((tokens before step 0 + step) / 8)` bytes in which bit j (byte j/8, the least
/// significant first) is 1 where the KV of token j is not read.
pub struct Recording {
    path: String,
    input: Box<dyn Read + Send>,
    steps: u32,
    layers: u32,
    prefill: u32,
    read: usize,
    buffer: Vec<u8>,
}

const MAGIC: &[u8; 8] = b"KVSKIP01";
const HEADER: u64 = 24;

impl Recording {
    /// Opens the file at `path` and checks its header and length.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be read, is no `.kvs` file, or is longer or shorter than its header says.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let read = |source| TraceError::Read { path: name.clone(), source };
        let (file, length) = config::open_regular(path).map_err(read)?;
        Self::new(name.clone(), Box::new(BufReader::with_capacity(1 << 18, file)), length)
    }

    /// A trace that lies in memory, called `name` in messages.
    ///
    /// # Errors
    /// As [`open`](Recording::open).
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, TraceError> {
        Self::new(name.to_owned(), Box::new(Cursor::new(bytes)), bytes.len() as u64)
    }

    fn new(path: String, mut input: Box<dyn Read + Send>, length: u64) -> Result<Self, TraceError> {
        if length < HEADER {
            return Err(TraceError::NotKvs { path, found: format!("it is only {length} bytes long") });
        }
        let mut header = [0u8; HEADER as usize];
        input.read_exact(&mut header).map_err(|source| TraceError::Read { path: path.clone(), source })?;
        if &header[..8] != MAGIC {
            return Err(TraceError::NotKvs {
                path,
                found: format!("it starts with {:?}", String::from_utf8_lossy(&header[..8])),
            });
        }
        let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (steps, layers, prefill, permille) = (field(8), field(12), field(16), field(20));
        let check = |field: &'static str, value: u32, least: u64, most: u64| {
            let value = u64::from(value);
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(TraceError::Header {
                path: path.clone(),
                field,
                value,
                limit: format!("it must be between {least} and {most}"),
            })
        };
        check("steps", steps, 1, MAX_TOKENS)?;
        check("layers", layers, 1, LanguageModel::MAX_LAYERS)?;
        check("tokens before step 0", prefill, 0, MAX_TOKENS)?;
        check("skip ratio in permille", permille, 0, 1000)?;
        let a_layer: u64 = (0..u64::from(steps)).map(|step| (u64::from(prefill) + step).div_ceil(8)).sum();
        let expected = HEADER + u64::from(layers) * a_layer;
        if length != expected {
            return Err(TraceError::Length {
                path,
                actual: length,
                expected,
                steps,
                layers,
                prefill,
                what: if length < expected { "cut short" } else { "too long" },
            });
        }
        Ok(Self { path, input, steps, layers, prefill, read: 0, buffer: Vec::new() })
    }

    /// How many steps were recorded.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps as usize
    }

    /// How many layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers as usize
    }

    /// How many tokens there were before step 0.
    #[must_use]
    pub fn prefill(&self) -> usize {
        self.prefill as usize
    }

    /// Whether the trace fits `model` and so many tokens.
    ///
    /// # Errors
    /// [`TraceError`] saying what differs.
    pub fn check_fits(&self, model: &LanguageModel, prefill: usize, decode: usize) -> Result<(), TraceError> {
        let path = || self.path.clone();
        if model.layers().len() != self.layers() {
            return Err(TraceError::Layers {
                path: path(),
                recorded: self.layers(),
                model: model.name().to_owned(),
                layers: model.layers().len(),
            });
        }
        if prefill != self.prefill() {
            return Err(TraceError::Prefill { path: path(), recorded: self.prefill(), wanted: prefill });
        }
        if decode > self.steps() {
            return Err(TraceError::TooShort { path: path(), recorded: self.steps(), wanted: decode });
        }
        Ok(())
    }

    /// Reads the next `steps` steps to see whether they make sense, and returns how many tokens they skip.
    ///
    /// # Errors
    /// [`TraceError`] naming the step and the layer.
    pub fn check_steps(&mut self, steps: usize) -> Result<usize, TraceError> {
        let mut skips = StepSkips::none(self.layers(), self.prefill() + self.read + steps);
        let mut skipped = 0;
        for _ in 0..steps {
            self.next_step(self.prefill() + self.read, &mut skips)?;
            skipped += skips.counts.iter().sum::<usize>();
        }
        Ok(skipped)
    }
}

impl SkipSource for Recording {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        debug_assert_eq!(context, self.prefill() + self.read);
        self.buffer.resize(context.div_ceil(8), 0);
        for (layer, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
            self.input
                .read_exact(&mut self.buffer)
                .map_err(|source| TraceError::Read { path: self.path.clone(), source })?;
            let stray = match self.buffer.last() {
                Some(last) if !context.is_multiple_of(8) => last >> (context % 8) != 0,
                _ => false,
            };
            if stray {
                return Err(TraceError::StrayBit { path: self.path.clone(), step: self.read, layer, context });
            }
            set.clear();
            for (word, bytes) in set.words_mut().iter_mut().zip(self.buffer.chunks(WORD_BITS / 8)) {
                *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | Word::from(*byte));
            }
            *count = set.count();
        }
        self.read += 1;
        Ok(())
    }
}
