//! Logs that are tables of comma-separated values: Azure's and ours.

use super::super::gathered::{Gathered, PartBlocks};
use super::number::{self, SECONDS};
use super::{Format, Row, Wrong};
use crate::config::shortened;
use rustc_hash::FxHashMap;

/// The columns of a kind of table.
pub(super) struct Columns {
    pub arrival: &'static str,
    prompt: &'static str,
    output: &'static str,
    /// The column of the parts that prompts begin with; it may be absent.
    prefix: Option<&'static str>,
    /// Reads an arrival in picoseconds.
    time: fn(&str) -> Result<u128, String>,
}

/// Azure's LLM inference traces.
pub(super) const AZURE: Columns = Columns {
    arrival: "TIMESTAMP",
    prompt: "ContextTokens",
    output: "GeneratedTokens",
    prefix: None,
    time: number::timestamp,
};

/// Ours.
pub(super) const CSV: Columns = Columns {
    arrival: "arrival_s",
    prompt: "prompt_tokens",
    output: "output_tokens",
    prefix: Some("prefix"),
    time: |text| number::time(text, SECONDS),
};

impl Columns {
    /// The columns that a table must have, as its header has them.
    pub fn header(&self) -> String {
        [self.arrival, self.prompt, self.output].join(",")
    }

    fn all(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.arrival, self.prompt, self.output].into_iter().chain(self.prefix)
    }
}

/// The cells of a line, without blanks and quotes around them. No column has commas in it.
pub(super) fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|cell| {
        let cell = cell.trim();
        cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
    })
}

/// Reads the rows of a table.
pub(super) struct Table {
    columns: &'static Columns,
    /// The place of each of [`Columns::all`].
    places: Vec<Option<usize>>,
    /// How many columns the header has.
    width: usize,
    names: FxHashMap<String, u32>,
    /// The parts that the last row's prompt begins with: each name's number and its tokens.
    parts: Vec<(u32, u32)>,
    blocks: PartBlocks,
}

impl Table {
    /// Reads the header. Columns may have any order; unknown ones are refused, as they might be
    /// misspelled.
    pub fn new(columns: &'static Columns, header: &str, block_tokens: u32) -> Result<Self, Wrong> {
        let known: Vec<&'static str> = columns.all().collect();
        let mut places = vec![None; known.len()];
        let mut width = 0;
        for (place, cell) in cells(header).enumerate() {
            let wrong = |what: &str| {
                let remedy = format!("the columns are {}", known.join(", "));
                Err((columns.arrival, format!("the header has {what} '{}': {remedy}", shortened(cell, 40))))
            };
            match known.iter().position(|name| *name == cell) {
                None => return wrong("the unknown column"),
                Some(column) if places[column].is_some() => return wrong("twice the column"),
                Some(column) => places[column] = Some(place),
            }
            width = place + 1;
        }
        for (column, name) in known.iter().enumerate() {
            if places[column].is_none() && columns.prefix != Some(*name) {
                return Err((name, format!("the header lacks this column: write '{}'", columns.header())));
            }
        }
        let (names, parts) = (FxHashMap::default(), Vec::new());
        Ok(Self { columns, places, width, names, parts, blocks: PartBlocks::new(block_tokens) })
    }

    /// Reads `NAME:TOKENS NAME:TOKENS ...`, of a prompt of so many tokens.
    fn read_parts(&mut self, text: &str, prompt: u32) -> Result<(), String> {
        self.parts.clear();
        let mut left = prompt;
        for part in text.split_whitespace() {
            let (name, tokens) = part.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                format!("'{}' is no part of a prompt: write NAME:TOKENS, such as system:1024", shortened(part, 40))
            })?;
            let tokens = number::tokens(tokens).map_err(|message| format!("{}: {message}", shortened(part, 40)))?;
            left = left.checked_sub(tokens).ok_or_else(|| {
                format!("'{}' has more tokens than the prompt, which has {prompt}", shortened(text, 80))
            })?;
            let next = self.names.len() as u32;
            let number = match self.names.get(name) {
                Some(number) => *number,
                None => *self.names.entry(name.to_owned()).or_insert(next),
            };
            self.parts.push((number, tokens));
        }
        Ok(())
    }
}

impl Format for Table {
    fn arrival(&self) -> &'static str {
        self.columns.arrival
    }

    fn row(&mut self, line: &str) -> Result<Row, Wrong> {
        let columns = self.columns;
        let mut found = [""; 4];
        let mut width = 0;
        for (place, cell) in cells(line).enumerate() {
            width = place + 1;
            if let Some(column) = self.places.iter().position(|known| *known == Some(place)) {
                found[column] = cell;
            }
        }
        if width != self.width {
            // The first column that is not there, or the last one.
            let at = width.min(self.width - 1);
            let column = self.places.iter().position(|place| *place == Some(at));
            let column = column.and_then(|column| columns.all().nth(column)).unwrap_or(columns.arrival);
            return Err((column, format!("the row has {width} columns, but the header has {}", self.width)));
        }
        let [arrival, prompt, output, prefix] = found;
        let of = |column: &'static str| move |message: String| (column, message);
        let row = Row {
            arrival: (columns.time)(arrival).map_err(of(columns.arrival))?,
            prompt: number::tokens(prompt).map_err(of(columns.prompt))?,
            output: number::tokens(output).map_err(of(columns.output))?,
        };
        if let Some(column) = columns.prefix {
            self.read_parts(prefix, row.prompt).map_err(of(column))?;
        }
        Ok(row)
    }

    fn add_blocks(&mut self, gathered: &mut Gathered) -> bool {
        self.blocks.add(&self.parts, gathered)
    }
}
