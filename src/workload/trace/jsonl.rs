//! Recorded traces as JSON Lines: an object a line, which any script can write.
//!
//! Each line has `step`, `layer` and the list `skipped` (of routing `experts`); a first line
//! without a step is the header. `traces/README.md` describes the format.

use super::header::{HeaderFields, RowOrder};
use super::source::{ReadSeek, Recorded};
use super::{ExpertsFields, Provenance, SkipSource, StepSkips, TraceError, TraceHeader, TraceKind};
use crate::workload::MAX_TOKENS;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read, Write};

/// The longest line that is read: every token of the longest context, with its comma.
const MAX_LINE: u64 = 10 * MAX_TOKENS;

/// The first line, where there is one without a step.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    layers: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kv_heads: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experts: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefill_tokens: Option<u64>,
    steps: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip_permille: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
}

impl HeaderLine {
    /// The sizes of routing, if it is of that.
    fn experts_fields(&self, path: &str) -> Result<Option<ExpertsFields>, TraceError> {
        match self.kind.as_deref() {
            None | Some("skips") => Ok(None),
            Some("experts") => {
                let needed = |field, value: Option<u64>| {
                    let remedy = "write it in the first line, beside \"kind\":\"experts\"";
                    value.ok_or_else(|| TraceError::NoField { path: path.to_owned(), field, remedy })
                };
                Ok(Some(ExpertsFields {
                    experts: needed("experts", self.experts)?,
                    active: needed("active", self.active)?,
                    tokens: self.tokens.unwrap_or(1),
                }))
            }
            Some(other) => Err(TraceError::Header {
                path: path.to_owned(),
                field: "kind",
                value: format!("'{other}'"),
                limit: super::parquet::KINDS.to_owned(),
            }),
        }
    }
}

/// A line of a row: of skip sets with `skipped`, of routing with `experts`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de>"))]
struct RowLine<T> {
    step: i64,
    layer: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kv_head: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skipped: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experts: Option<T>,
}

/// Reads JSON Lines: `{"step":0,"layer":0,"skipped":[3,4]}`, sorted by step, then layer. A first
/// line may hold what is in the metadata of a Parquet trace; what it does not say is counted.
pub(super) struct JsonLinesReader {
    path: String,
    input: Box<dyn ReadSeek + Send>,
    header: TraceHeader,
    order: RowOrder,
    lines: u64,
    line: String,
}

impl JsonLinesReader {
    pub fn new(path: String, mut input: Box<dyn ReadSeek + Send>, prefill: Option<u32>) -> Result<Self, TraceError> {
        let mut line = String::new();
        let mut lines = 0;
        let failed = |source| TraceError::Read { path: path.clone(), source };
        next_line(&mut input, &mut line, &mut lines, &path)?;
        // A row has a step; a header must not be mistaken for one, nor the reverse.
        let first_is_row = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line)
            .map_err(|error| json(&path, lines, &error))?
            .contains_key("step");
        let given = if first_is_row {
            HeaderLine::default()
        } else {
            serde_json::from_str(&line).map_err(|error| json(&path, lines, &error))?
        };
        let experts = given.experts_fields(&path)?;
        let parts = experts.map_or(given.kv_heads, |experts| Some(experts.tokens)).unwrap_or(1);
        let (layers, steps) = match (given.layers, given.steps) {
            (Some(layers), Some(steps)) => (layers, steps),
            _ => {
                let (rows, of_step) = count(&path, &mut input, &mut line, &mut lines, first_is_row)?;
                let layers = given.layers.unwrap_or(of_step / parts.max(1));
                (layers, given.steps.unwrap_or(rows / of_step.max(1)))
            }
        };
        let before = if experts.is_some() { Some(0) } else { given.prefill_tokens };
        let prefill = before.or(prefill.map(u64::from)).ok_or_else(|| TraceError::NoField {
            path: path.clone(),
            field: "prefill_tokens",
            remedy: "import it with --prefill, or start it with a line {\"prefill_tokens\": N}",
        })?;
        let kv_heads = given.kv_heads.unwrap_or(1);
        let fields = HeaderFields { layers, prefill, steps, skip_permille: given.skip_permille, kv_heads, experts };
        let provenance =
            Provenance { model: given.model, source: given.source, licence: given.licence, made_by: given.made_by };
        let header = TraceHeader::checked(&path, fields, provenance)?;
        input.rewind().map_err(failed)?;
        lines = 0;
        if !first_is_row {
            next_line(&mut input, &mut line, &mut lines, &path)?;
        }
        let order = RowOrder::new(&header);
        Ok(Self { path, input, header, order, lines, line })
    }

    fn row(&mut self, context: usize, set: &mut crate::workload::TokenSet) -> Result<usize, TraceError> {
        let (step, layer) = self.order.wanted();
        if !next_line(&mut self.input, &mut self.line, &mut self.lines, &self.path)? {
            return Err(TraceError::RowCount {
                path: self.path.clone(),
                actual: self.order.row,
                expected: self.header.rows(),
                steps: self.header.steps,
                layers: self.header.layers,
            });
        }
        let row: RowLine<Vec<u32>> =
            serde_json::from_str(&self.line).map_err(|error| json(&self.path, self.lines, &error))?;
        let kind = self.header.kind;
        let (part, other_part, members, others) = match kind {
            TraceKind::Skips => (row.kv_head, row.token, row.skipped, row.experts),
            TraceKind::Experts(_) => (row.token, row.kv_head, row.experts, row.skipped),
        };
        self.order.check(&self.path, row.step, row.layer, part)?;
        let wrong = |what| TraceError::Row { path: self.path.clone(), row: self.order.row - 1, step, layer, what };
        let (column, name) = (kind.column(), kind.name());
        let Some(members) = members.filter(|_| other_part.is_none() && others.is_none()) else {
            let message = format!("a row of {name} has '{column}' beside step, layer and '{}'", kind.part_column());
            return Err(TraceError::Json { path: self.path.clone(), line: self.lines, message });
        };
        set.clear();
        for member in members.iter().map(|member| *member as usize) {
            if member >= context {
                return Err(wrong(kind.stray(member, context)));
            }
            if set.contains(member) {
                return Err(wrong(match kind {
                    TraceKind::Skips => format!("token {member} is skipped twice"),
                    TraceKind::Experts(_) => format!("expert {member} comes twice"),
                }));
            }
            set.insert(member);
        }
        Ok(members.len())
    }
}

impl Recorded for JsonLinesReader {
    fn header(&self) -> &TraceHeader {
        &self.header
    }
}

impl SkipSource for JsonLinesReader {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        for row in 0..self.header.sets() {
            skips.counts[row] = self.row(context, &mut skips.sets[row])?;
        }
        if self.order.row == self.header.rows()
            && next_line(&mut self.input, &mut self.line, &mut self.lines, &self.path)?
        {
            return Err(TraceError::Json {
                path: self.path.clone(),
                line: self.lines,
                message: format!("a row too many: the trace has {} rows", self.header.rows()),
            });
        }
        Ok(())
    }
}

/// Reads a line that is not blank; false at the end.
fn next_line(
    input: &mut Box<dyn ReadSeek + Send>,
    line: &mut String,
    lines: &mut u64,
    path: &str,
) -> Result<bool, TraceError> {
    loop {
        line.clear();
        let read = input
            .take(MAX_LINE)
            .read_line(line)
            .map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
        if read == 0 {
            return Ok(false);
        }
        *lines += 1;
        if read as u64 == MAX_LINE {
            let message = format!("it is longer than {MAX_LINE} bytes");
            return Err(TraceError::Json { path: path.to_owned(), line: *lines, message });
        }
        if !line.trim().is_empty() {
            return Ok(true);
        }
    }
}

/// How many rows there are, and how many of them are of step 0, from the one that `line` holds or
/// the next on.
fn count(
    path: &str,
    input: &mut Box<dyn ReadSeek + Send>,
    line: &mut String,
    lines: &mut u64,
    mut held: bool,
) -> Result<(u64, u64), TraceError> {
    let (mut rows, mut layers) = (0u64, 0u64);
    while held || next_line(input, line, lines, path)? {
        held = false;
        let row: RowLine<IgnoredAny> = serde_json::from_str(line).map_err(|error| json(path, *lines, &error))?;
        rows += 1;
        layers += u64::from(row.step == 0);
    }
    Ok((rows, layers))
}

fn json(path: &str, line: u64, error: &serde_json::Error) -> TraceError {
    let message = error.to_string();
    // Every line is a text of its own to the parser, so its count of lines says nothing.
    let message = message.replace(" at line 1 column", " at column");
    TraceError::Json { path: path.to_owned(), line, message }
}

/// Writes JSON Lines, step by step, with a first line of metadata.
pub struct JsonLinesWriter<W: Write> {
    output: W,
    kind: TraceKind,
    parts: usize,
    written: usize,
}

impl<W: Write> JsonLinesWriter<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn new(mut output: W, header: TraceHeader) -> Result<Self, TraceError> {
        let (kind, parts) = (header.kind, header.parts());
        let shape = match kind {
            TraceKind::Skips => None,
            TraceKind::Experts(shape) => Some(shape),
        };
        let line = HeaderLine {
            kind: shape.map(|_| kind.name().to_owned()),
            layers: Some(header.layers as u64),
            kv_heads: (header.kv_heads > 1).then_some(header.kv_heads as u64),
            experts: shape.map(|shape| shape.experts as u64),
            active: shape.map(|shape| shape.active as u64),
            tokens: shape.map(|shape| shape.tokens as u64).filter(|tokens| *tokens > 1),
            prefill_tokens: (kind == TraceKind::Skips).then_some(header.prefill as u64),
            steps: Some(header.steps as u64),
            skip_permille: header.skip_permille.map(u64::from),
            model: header.provenance.model,
            source: header.provenance.source,
            licence: header.provenance.licence,
            made_by: header.provenance.made_by,
        };
        serde_json::to_writer(&mut output, &line).map_err(std::io::Error::from)?;
        output.write_all(b"\n")?;
        Ok(Self { output, kind, parts, written: 0 })
    }

    /// Writes the next step.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn write(&mut self, skips: &StepSkips) -> Result<(), TraceError> {
        for (row, set) in skips.sets.iter().enumerate() {
            let members = set.iter().collect::<Vec<_>>();
            let part = (self.parts > 1).then_some((row % self.parts) as i64);
            let ((kv_head, token), (skipped, experts)) = match self.kind {
                TraceKind::Skips => ((part, None), (Some(members), None)),
                TraceKind::Experts(_) => ((None, part), (None, Some(members))),
            };
            let (step, layer) = (self.written as i64, (row / self.parts) as i64);
            let row = RowLine { step, layer, kv_head, token, skipped, experts };
            serde_json::to_writer(&mut self.output, &row).map_err(std::io::Error::from)?;
            self.output.write_all(b"\n")?;
        }
        self.written += 1;
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn finish(mut self) -> Result<W, TraceError> {
        self.output.flush()?;
        Ok(self.output)
    }
}
