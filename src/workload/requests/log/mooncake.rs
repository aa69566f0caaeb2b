//! Mooncake's logs: a JSON object a line.

use super::super::gathered::Gathered;
use super::number::{self, MILLISECONDS};
use super::{Format, Row, Wrong};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Number;

/// A line. Fields that are not known are refused: other logs have the same names with another unit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    timestamp: Number,
    input_length: Number,
    output_length: Number,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

const FIELDS: [&str; 4] = ["timestamp", "input_length", "output_length", "hash_ids"];

/// Reads lines.
pub(super) struct Mooncake {
    block_tokens: u32,
    /// The ids of the last line's blocks.
    hashes: Vec<u64>,
    /// The last line in which each hash was met, to find those that come twice in one.
    met: FxHashMap<u64, u32>,
    lines: u32,
}

impl Mooncake {
    /// For blocks of so many tokens.
    pub fn new(block_tokens: u32) -> Self {
        Self { block_tokens, hashes: Vec::new(), met: FxHashMap::default(), lines: 0 }
    }
}

impl Format for Mooncake {
    fn arrival(&self) -> &'static str {
        FIELDS[0]
    }

    fn row(&mut self, line: &str) -> Result<Row, Wrong> {
        let read: Line = serde_json::from_str(line).map_err(|_| field_of(line))?;
        let of = |column: usize| move |message: String| (FIELDS[column], message);
        let row = Row {
            arrival: number::time(&read.timestamp.to_string(), MILLISECONDS).map_err(of(0))?,
            prompt: number::tokens(&read.input_length.to_string()).map_err(of(1))?,
            output: number::tokens(&read.output_length.to_string()).map_err(of(2))?,
        };
        self.hashes = read.hash_ids;
        self.lines += 1;
        let blocks = row.prompt.div_ceil(self.block_tokens) as usize;
        if self.hashes.len() > blocks {
            return Err(of(3)(format!(
                "{} ids, but a prompt of {} tokens has {blocks} blocks of {} tokens: say how many tokens a block has, with --block-tokens",
                self.hashes.len(),
                row.prompt,
                self.block_tokens
            )));
        }
        if !self.hashes.is_empty() && self.hashes.len() + 1 < blocks {
            return Err(of(3)(format!(
                "{} ids, but a prompt of {} tokens has {blocks} blocks of {} tokens: an id stands for more tokens; say how many, with --block-tokens",
                self.hashes.len(),
                row.prompt,
                self.block_tokens
            )));
        }
        for hash in &self.hashes {
            if self.met.insert(*hash, self.lines) == Some(self.lines) {
                return Err(of(3)(format!(
                    "{hash} comes twice in one prompt: an id stands for a block and all before it"
                )));
            }
        }
        Ok(row)
    }

    fn add_blocks(&mut self, gathered: &mut Gathered) -> bool {
        self.hashes.iter().all(|hash| gathered.add_block(&[*hash as u32, (hash >> 32) as u32]).is_some())
    }
}

/// What is wrong with a line that is no [`Line`], and in which field. Read again: keeping track of
/// fields takes longer.
fn field_of(line: &str) -> Wrong {
    let remedy = r#"write {"timestamp": 0, "input_length": 512, "output_length": 100, "hash_ids": [0]}"#;
    let mut deserializer = serde_json::Deserializer::from_str(line);
    match serde_path_to_error::deserialize::<_, Line>(&mut deserializer) {
        Ok(_) => ("line", format!("something follows the object: {remedy}")),
        Err(error) => {
            let path = error.path().to_string();
            let field = FIELDS.into_iter().find(|field| path.starts_with(field)).unwrap_or("line");
            let message = error.into_inner().to_string().replace(" at line 1 column ", " at character ");
            (field, format!("{message}: {remedy}"))
        }
    }
}
