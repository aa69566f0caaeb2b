//! Routing as other tools dump it: a row for each expert of each token.
//!
//! Parquet, JSON Lines or CSV with `step`, `layer`, `expert`, and `token` where a step has several;
//! other columns are passed over, and rows may come in any order. Nothing says how many experts
//! there are, so all of it is read first: the sizes are those that occur.

use super::header::{ExpertsFields, HeaderFields};
use super::parquet::read_integers;
use super::source::{Input, Recorded};
use super::{Provenance, SkipSource, StepSkips, TraceError, TraceHeader};
use crate::config;
use crate::workload::{LanguageModel, MAX_TOKENS};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Recorded routing from a dump, sorted.
pub struct LongRouting {
    header: TraceHeader,
    /// The place of a row (step, layer, token), and one of its experts.
    rows: Vec<(u64, u16)>,
    next: usize,
    step: usize,
}

/// A row of a dump.
#[derive(Clone, Copy, Deserialize)]
struct Row {
    step: i64,
    layer: i64,
    #[serde(default)]
    token: Option<i64>,
    expert: i64,
}

impl LongRouting {
    /// The most rows.
    pub const MAX_ROWS: usize = 1 << 27;

    /// Reads the dump at `path`; `None` if it is not one. `experts` says how many experts a layer
    /// has, where not all of them occur.
    ///
    /// # Errors
    /// [`TraceError`] if it cannot be read, or tokens have different numbers of experts.
    pub fn open(path: &Path, experts: Option<u32>) -> Result<Option<Self>, TraceError> {
        let name = path.display().to_string();
        let failed = |source| TraceError::Read { path: name.clone(), source };
        let (mut file, length) = config::open_regular(path).map_err(failed)?;
        let mut start = Vec::new();
        file.by_ref().take(4).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut rows = Vec::new();
        let mut take = |row: u64, found: Row| {
            rows.push(packed(&name, row, found)?);
            if rows.len() > Self::MAX_ROWS {
                let limit = format!("at most {} can be read", Self::MAX_ROWS);
                return Err(TraceError::TooLarge { field: "rows", value: rows.len(), limit });
            }
            Ok(())
        };
        let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if start == b"PAR1" {
            let columns = ["step", "layer", "expert", "token"];
            let found = read_integers(&name, Input::File(file), length, "expert", columns, |row, cells| {
                let [step, layer, expert, token] = cells;
                let needed = |column: &str, cell: Option<i64>| {
                    let what = format!("'{column}' is empty");
                    cell.ok_or_else(|| TraceError::Cell { path: name.clone(), row, what })
                };
                let (step, layer) = (needed("step", step)?, needed("layer", layer)?);
                take(row, Row { step, layer, token, expert: needed("expert", expert)? })
            })?;
            if !found {
                return Ok(None);
            }
        } else if is_csv {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
            let wrong = |error: csv::Error| {
                let line = error.position().map_or(1, csv::Position::line);
                TraceError::Json { path: name.clone(), line, message: error.to_string() }
            };
            for (row, found) in reader.deserialize::<Row>().enumerate() {
                take(row as u64, found.map_err(wrong)?)?;
            }
        } else if start.first() == Some(&b'{') {
            let mut first = true;
            for (index, line) in BufReader::new(file).lines().enumerate() {
                let line = line.map_err(failed)?;
                if line.trim().is_empty() {
                    continue;
                }
                if std::mem::take(&mut first)
                    && !serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line)
                        .is_ok_and(|object| object.contains_key("expert"))
                {
                    return Ok(None);
                }
                let found = serde_json::from_str::<Row>(&line).map_err(|error| TraceError::Json {
                    path: name.clone(),
                    line: index as u64 + 1,
                    message: error.to_string(),
                })?;
                take(index as u64, found)?;
            }
        } else {
            return Ok(None);
        }
        Self::new(&name, rows, experts).map(Some)
    }

    /// Sorts and checks the rows.
    fn new(path: &str, mut rows: Vec<(u64, u16)>, experts: Option<u32>) -> Result<Self, TraceError> {
        let wrong = |message: String| TraceError::Dump { path: path.to_owned(), message };
        rows.sort_unstable();
        let Some((first, last)) = rows.first().zip(rows.last()) else {
            return Err(wrong("it has no rows".to_owned()));
        };
        // Steps may start at any number.
        let (start, end) = (place(first.0).0, place(last.0).0);
        let layers = 1 + rows.iter().map(|row| place(row.0).1).max().unwrap_or(0);
        let tokens = 1 + rows.iter().map(|row| place(row.0).2).max().unwrap_or(0);
        let most = 1 + rows.iter().map(|row| u64::from(row.1)).max().unwrap_or(0);
        let active = rows.iter().take_while(|row| row.0 == first.0).count();
        // How many tokens each layer has.
        let mut found = vec![0u64; layers as usize];
        for group in rows.chunk_by(|a, b| a.0 == b.0) {
            let (step, layer, token) = place(group[0].0);
            let at = format!("step {step}, layer {layer}, token {token}");
            if let Some(twice) = group.windows(2).find(|pair| pair[0].1 == pair[1].1) {
                return Err(wrong(format!("{at}: expert {} comes twice", twice[0].1)));
            }
            if group.len() != active {
                let message = format!("{at}: {} experts, but the first token has {active}", group.len());
                return Err(wrong(message));
            }
            found[layer as usize] += 1;
        }
        let steps = end - start + 1;
        for (layer, found) in found.into_iter().enumerate().filter(|(_, found)| *found > 0) {
            if found != steps * tokens {
                return Err(wrong(format!(
                    "layer {layer} has rows for {found} tokens, but {steps} steps of {tokens} tokens have {}: each token of each step must \
                     be there",
                    steps * tokens
                )));
            }
        }
        rows.iter_mut().for_each(|row| row.0 -= start << STEP);
        let fields = HeaderFields {
            layers,
            prefill: 0,
            steps,
            skip_permille: None,
            kv_heads: 1,
            experts: Some(ExpertsFields { experts: experts.map_or(most, u64::from), active: active as u64, tokens }),
        };
        let header = TraceHeader::checked(path, fields, Provenance::default())?;
        if let Some(experts) = experts.filter(|experts| u64::from(*experts) < most) {
            return Err(wrong(format!("expert {} is used, but there are to be {experts}", most - 1)));
        }
        Ok(Self { header, rows, next: 0, step: 0 })
    }
}

/// Where step and layer start in the place of a row.
const STEP: u32 = 28;
const LAYER: u32 = 16;

/// Step, layer and token of a place.
fn place(place: u64) -> (u64, u64, u64) {
    (place >> STEP, (place >> LAYER) & ((1 << (STEP - LAYER)) - 1), place & ((1 << LAYER) - 1))
}

fn packed(path: &str, row: u64, found: Row) -> Result<(u64, u16), TraceError> {
    let check = |column: &str, value: i64, end: u64| {
        let what = format!("'{column}' is {value}: it must be from 0 to {}", end - 1);
        let right = u64::try_from(value).ok().filter(|value| *value < end);
        right.ok_or_else(|| TraceError::Cell { path: path.to_owned(), row, what })
    };
    let step = check("step", found.step, MAX_TOKENS)?;
    let layer = check("layer", found.layer, LanguageModel::MAX_LAYERS)?;
    let token = check("token", found.token.unwrap_or(0), 1 << LAYER)?;
    let expert = check("expert", found.expert, 1 << 16)?;
    Ok((step << STEP | layer << LAYER | token, expert as u16))
}

impl Recorded for LongRouting {
    fn header(&self) -> &TraceHeader {
        &self.header
    }
}

impl SkipSource for LongRouting {
    fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        let parts = self.header.parts();
        for (row, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
            set.clear();
            *count = 0;
            let (layer, token) = ((row / parts) as u64, (row % parts) as u64);
            let wanted = (self.step as u64) << STEP | layer << LAYER | token;
            while let Some((_, expert)) = self.rows.get(self.next).filter(|row| row.0 == wanted) {
                set.insert(usize::from(*expert));
                *count += 1;
                self.next += 1;
            }
        }
        self.step += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(i64, i64, i64, i64)], experts: Option<u32>) -> Result<LongRouting, TraceError> {
        let packed = rows.iter().enumerate().map(|(row, (step, layer, token, expert))| {
            packed("dump", row as u64, Row { step: *step, layer: *layer, token: Some(*token), expert: *expert })
        });
        LongRouting::new("dump", packed.collect::<Result<_, _>>()?, experts)
    }

    #[test]
    fn rows_in_any_order_are_sets() {
        // Two steps from 5 on, layers 1 and 2, of which the first has no experts: layer 0.
        let mut rows: Vec<_> = (5..7)
            .flat_map(|step| (1..3).flat_map(move |layer| [(step, layer, 0, layer + step), (step, layer, 0, 0)]))
            .collect();
        rows.reverse();
        let mut found = of(&rows, Some(16)).unwrap();
        assert_eq!(found.header().sizes(), "2 steps, 3 layers, 2 of 16 experts for a token");
        let mut sets = found.header().room();
        for step in 0..2 {
            found.next_step(16, &mut sets).unwrap();
            let members = Vec::from_iter(sets.sets.iter().map(|set| set.iter().collect::<Vec<_>>()));
            assert_eq!(members, [vec![], vec![0, 6 + step], vec![0, 7 + step]]);
            assert_eq!(sets.counts, [0, 2, 2]);
        }
        assert!(of(&rows, None).unwrap().header().sizes().contains("2 of 9 experts"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_refused() {
        let refused = |rows: &[(i64, i64, i64, i64)], experts, parts: &[&str]| {
            let message = of(rows, experts).err().expect("it is wrong").to_string();
            for part in parts {
                assert!(message.contains(part), "no '{part}' in: {message}");
            }
        };
        refused(&[], None, &["no rows"]);
        refused(&[(0, 0, 0, 3), (0, 0, 0, 3)], None, &["step 0, layer 0, token 0", "expert 3 comes twice"]);
        refused(&[(0, 0, 0, 1), (0, 0, 0, 3), (1, 0, 0, 1)], None, &["step 1", "1 experts", "the first token has 2"]);
        refused(&[(0, 0, 0, 1), (2, 0, 0, 1)], None, &["layer 0", "2 tokens", "3 steps of 1 tokens"]);
        refused(&[(0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 0, 1)], None, &["layer 1", "rows for 1 tokens", "have 2"]);
        refused(&[(0, 0, 0, 70_000)], None, &["row 0", "'expert' is 70000"]);
        refused(&[(-1, 0, 0, 0)], None, &["row 0", "'step' is -1"]);
        refused(&[(0, 0, 0, 8)], Some(8), &["expert 8 is used"]);
    }
}
