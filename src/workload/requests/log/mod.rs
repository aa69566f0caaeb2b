//! Request logs: which formats there are, and how each becomes requests.
//!
//! | format | a row | arrival |
//! | --- | --- | --- |
//! | `Azure` | `TIMESTAMP,ContextTokens,GeneratedTokens` | `2023-11-16 18:17:03.9799600` |
//! | `Mooncake` | `{"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0]}` | ms |
//! | `Csv` | `arrival_s,prompt_tokens,output_tokens[,prefix]` | seconds |
//!
//! A log is read row by row, so that it needs no more memory than its requests, and no further than
//! the last request that is taken. Arrivals count from that of the first row. Rows must be sorted
//! by arrival; rows that arrive at once keep their order.
//!
//! `hash_ids` are the ids of the prompt's blocks of 512 tokens, the first first: two prompts with
//! the same id have the same tokens up to the end of that block. `prefix` is our way to say the
//! same without hashes: the parts that the prompt begins with, each `NAME:TOKENS`, separated by
//! blanks.
//!
//! ```text
//! arrival_s,prompt_tokens,output_tokens,prefix
//! 0,1200,200,system:1024
//! 0.8,1400,150,system:1024 chat-7:300
//! 9.5,1900,90,system:1024 chat-7:700
//! 12,300,20,
//! ```
//!
//! Two prompts share their tokens as far as they begin with the same parts; of the last part that
//! they share, as far as the shorter one goes. So the third request shares 1024 + 300 tokens with
//! the second. Only whole blocks are shared.

mod lines;
mod mooncake;
mod number;
mod table;

use super::error::RequestsError;
use super::gathered::{Gathered, LATEST, MAX_BLOCKS, MAX_REQUESTS, Taken};
use crate::config::shortened;
use crate::units::SimTime;
use crate::workload::MAX_TOKENS;
pub(super) use lines::Lines;
use mooncake::Mooncake;
use serde::{Deserialize, Serialize};
use table::Table;

/// The format of a request log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// `TIMESTAMP,ContextTokens,GeneratedTokens`: Azure's LLM inference traces.
    #[serde(alias = "azure")]
    Azure,
    /// JSON Lines with `timestamp` (ms), `input_length`, `output_length`, `hash_ids`: Mooncake's.
    #[serde(alias = "mooncake")]
    Mooncake,
    /// `arrival_s,prompt_tokens,output_tokens[,prefix]`: ours.
    #[serde(alias = "csv")]
    Csv,
}

impl LogFormat {
    /// The formats as they are typed, and what each is.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("azure", "TIMESTAMP,ContextTokens,GeneratedTokens: Azure's LLM inference traces", Self::Azure),
        ("mooncake", "JSON Lines with timestamp, input_length, output_length, hash_ids: Mooncake's", Self::Mooncake),
        ("csv", "arrival_s,prompt_tokens,output_tokens[,prefix]: tiersim's", Self::Csv),
    ];

    /// The default tokens of a prefix block: 512 in Mooncake's published traces;
    /// the 16 of a page in vLLM otherwise.
    #[must_use]
    pub fn block_tokens(self) -> u32 {
        match self {
            Self::Mooncake => 512,
            Self::Azure | Self::Csv => DEFAULT_BLOCK_TOKENS,
        }
    }

    /// The format of a log that begins with the line `first`.
    fn of(first: &str) -> Option<Self> {
        if first.starts_with('{') {
            return Some(Self::Mooncake);
        }
        let has = |name: &str| table::cells(first).any(|cell| cell == name);
        match () {
            () if has(table::AZURE.arrival) => Some(Self::Azure),
            () if has(table::CSV.arrival) => Some(Self::Csv),
            () => None,
        }
    }
}

/// How many tokens a prefix block has where neither a person nor the source says so: a page of
/// vLLM.
pub(super) const DEFAULT_BLOCK_TOKENS: u32 = 16;

/// What a row says.
struct Row {
    /// Picoseconds since any start.
    arrival: u128,
    prompt: u32,
    output: u32,
}

/// What is wrong with a row, and in which column.
type Wrong = (&'static str, String);

/// A format, ready for the rows after its header.
trait Format {
    /// The name of the column with the arrival.
    fn arrival(&self) -> &'static str;

    /// Reads a line.
    fn row(&mut self, line: &str) -> Result<Row, Wrong>;

    /// Adds the prefix blocks of the row that was read last. False if there is no room for them.
    fn add_blocks(&mut self, gathered: &mut Gathered) -> bool;
}

/// The requests that are taken of a log, and how many tokens a prefix block has: `block_tokens`, or
/// what the format has.
///
/// # Errors
/// [`RequestsError`] naming the file, row and column, with the value and what to write.
pub(super) fn read(
    mut lines: Lines,
    format: Option<LogFormat>,
    block_tokens: Option<u32>,
    taken: Taken,
) -> Result<(Gathered, u32), RequestsError> {
    let file = lines.file().to_owned();
    let empty = |filter: &str| RequestsError::Empty { file: file.clone(), filter: filter.to_owned() };
    let Some((row, first)) = lines.next()? else { return Err(empty("")) };
    let format = format.or_else(|| LogFormat::of(first)).ok_or_else(|| RequestsError::Line {
        file: file.clone(),
        row,
        message: format!(
            "'{}' is the start of no log: start with the line '{}' or '{}', or write JSON objects as Mooncake's logs have them",
            shortened(first, 80),
            table::CSV.header(),
            table::AZURE.header()
        ),
    })?;
    let block_tokens = block_tokens.unwrap_or_else(|| format.block_tokens());
    let at = |row: usize, (column, message): Wrong| RequestsError::Row {
        file: file.clone(),
        row,
        column: column.to_owned(),
        message,
    };
    let mut reader: Box<dyn Format> = match format {
        LogFormat::Mooncake => Box::new(Mooncake::new(block_tokens)),
        LogFormat::Azure => Box::new(Table::new(&table::AZURE, first, block_tokens).map_err(|wrong| at(row, wrong))?),
        LogFormat::Csv => Box::new(Table::new(&table::CSV, first, block_tokens).map_err(|wrong| at(row, wrong))?),
    };
    let mut gathered = Gathered::default();
    let mut arrivals = Arrivals::default();
    let mut next = match format {
        LogFormat::Mooncake => Some((row, first)),
        LogFormat::Azure | LogFormat::Csv => lines.next()?,
    };
    let has_rows = next.is_some();
    while let Some((row, line)) = next {
        let read = reader.row(line).map_err(|wrong| at(row, wrong))?;
        let arrival = arrivals.next(row, read.arrival).map_err(|message| at(row, (reader.arrival(), message)))?;
        if !taken.takes(gathered.requests.len(), arrival) {
            break;
        }
        let most = |message: String| RequestsError::Line { file: file.clone(), row, message };
        if u64::from(read.prompt) + u64::from(read.output) > MAX_TOKENS {
            let tokens = u64::from(read.prompt) + u64::from(read.output);
            return Err(most(format!(
                "prompt and output have {tokens} tokens together, but a request at most {MAX_TOKENS}"
            )));
        }
        if gathered.requests.len() == MAX_REQUESTS {
            return Err(most(format!(
                "a run has at most {MAX_REQUESTS} requests: take only the first ones, with --first 1h or --count N"
            )));
        }
        if !reader.add_blocks(&mut gathered) {
            return Err(most(format!(
                "the prompts up to here have more than {MAX_BLOCKS} prefix blocks: take fewer of them, with --first 1h or --count N, or larger blocks, with --block-tokens"
            )));
        }
        gathered.add(arrival, read.prompt, read.output);
        next = lines.next()?;
    }
    if gathered.requests.is_empty() {
        return Err(empty(if has_rows { " arrives in the time that is taken" } else { " after the header" }));
    }
    Ok((gathered, block_tokens))
}

/// Arrivals, counted from the first.
#[derive(Default)]
struct Arrivals {
    first: Option<u128>,
    /// The one before: its row and its time.
    last: (usize, SimTime),
}

impl Arrivals {
    fn next(&mut self, row: usize, arrival: u128) -> Result<SimTime, String> {
        let first = *self.first.get_or_insert(arrival);
        let (last_row, last) = self.last;
        let span = arrival.checked_sub(first).map(|span| u64::try_from(span).map_or(SimTime::MAX, SimTime::from_ps));
        match span {
            Some(span) if span > LATEST => {
                Err(format!("it is more than {} days after the first arrival, longer than a run can be", days(LATEST)))
            }
            Some(span) if span >= last => {
                self.last = (row, span);
                Ok(span)
            }
            _ => Err(format!("it is before that of row {last_row}: sort the rows by their arrival")),
        }
    }
}

fn days(time: SimTime) -> u64 {
    time.as_ps() / (86_400 * SimTime::PS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_bytes(bytes: &[u8], taken: Taken) -> Result<(Gathered, u32), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let name = file.path().display().to_string();
        let lines = Lines::open(file.path()).unwrap();
        read(lines, None, None, taken).map_err(|error| error.to_string().replace(&name, "log"))
    }

    fn read_text(text: &str) -> Result<(Gathered, u32), String> {
        read_bytes(text.as_bytes(), Taken::default())
    }

    /// Arrival in milliseconds, prompt, output and blocks of each request.
    fn rows(text: &str) -> Vec<(u64, u32, u32, Vec<usize>)> {
        let (gathered, _) = read_text(text).unwrap();
        let row = |request: &super::super::gathered::Request| {
            let range = request.blocks.start as usize..request.blocks.end as usize;
            let blocks = gathered.blocks[range].iter().map(|id| id.index()).collect();
            (request.arrival.as_ps() / 1_000_000_000, request.prompt, request.output, blocks)
        };
        gathered.requests.iter().map(row).collect()
    }

    const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
    const CSV: &str = "arrival_s,prompt_tokens,output_tokens";

    #[test]
    fn azure() {
        let text = format!("{AZURE}\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n");
        assert_eq!(rows(&text), [(0, 4808, 10, vec![]), (52, 3180, 8, vec![])]);
        // Any order of columns, CR LF, a byte order mark, quotes, blank lines.
        let text = "\u{feff}ContextTokens, GeneratedTokens,TIMESTAMP\r\n7,8,\"2023-11-16 18:17:03\"\r\n\r\n";
        assert_eq!(rows(text), [(0, 7, 8, vec![])]);
    }

    #[test]
    fn mooncake() {
        let text = r#"{"timestamp": 27, "input_length": 700, "output_length": 5, "hash_ids": [46, 47]}
{"timestamp": 27, "input_length": 513, "output_length": 1, "hash_ids": [46, 900]}
{"timestamp": 3027.5, "input_length": 9, "output_length": 1}
"#;
        assert_eq!(rows(text), [(0, 700, 5, vec![0, 1]), (0, 513, 1, vec![0, 2]), (3000, 9, 1, vec![])]);
        let (gathered, block_tokens) = read_text(text).unwrap();
        assert_eq!((gathered.distinct_blocks(), block_tokens), (3, 512));
    }

    #[test]
    fn ours() {
        let text = format!("{CSV},prefix\n1.5,40,5,system:32\n1.5,50,1,system:32 chat:16\n2.75,9,1,\n");
        assert_eq!(rows(&text), [(0, 40, 5, vec![0, 1]), (0, 50, 1, vec![0, 1, 2]), (1250, 9, 1, vec![])]);
        assert_eq!(rows(&format!("{CSV}\n0,40,5")), [(0, 40, 5, vec![])]);
    }

    #[test]
    fn only_what_is_taken_is_read() {
        let text = format!("{CSV}\n10,1,1\n11,1,1\n12,1,1\ndamaged\n");
        let second = SimTime::from_ps(SimTime::PS_PER_SECOND);
        let taken = |before, count| {
            read_bytes(text.as_bytes(), Taken { before, count }).map(|(gathered, _)| gathered.requests.len())
        };
        assert_eq!(taken(Some(second.times(2)), None), Ok(2));
        assert_eq!(taken(Some(second), Some(9)), Ok(1));
        assert!(taken(None, None).unwrap_err().contains("row 5"));
        assert!(taken(None, Some(9)).is_err());
    }

    #[test]
    fn damaged_logs_are_refused_with_their_place() {
        let csv = |rows: &str| format!("{CSV}\n0,1,1\n{rows}\n");
        let azure = |rows: &str| format!("{AZURE}\n{rows}\n");
        let json = |rows: &str| format!("{{\"timestamp\":5,\"input_length\":1,\"output_length\":1}}\n{rows}\n");
        for (text, place, reason) in [
            (csv("x,1,1"), "row 3, arrival_s", "'x' is no time"),
            (csv(",1,1"), "row 3, arrival_s", "empty"),
            (csv("nan,1,1"), "row 3, arrival_s", "no time"),
            (csv("-2,1,1"), "row 3, arrival_s", "negative"),
            (csv("1e300,1,1"), "row 3, arrival_s", "too large"),
            (csv("9e6,1,1"), "row 3, arrival_s", "more than 100 days"),
            (csv("4,1,1\n3,1,1"), "row 4, arrival_s", "before that of row 3: sort"),
            (csv("1,0,1"), "row 3, prompt_tokens", "0 tokens"),
            (csv("1,1,0"), "row 3, output_tokens", "0 tokens"),
            (csv("1,1.5,1"), "row 3, prompt_tokens", "no whole number"),
            (csv("1,1,99999999"), "row 3, output_tokens", "too many"),
            (csv("1,16777216,1"), "row 3", "16777217 tokens together"),
            (csv("1,1"), "row 3, output_tokens", "2 columns, but the header has 3"),
            (csv("1,1,1,1"), "row 3, output_tokens", "4 columns, but the header has 3"),
            (format!("{CSV},prefix\n0,9,1,system"), "row 2, prefix", "write NAME:TOKENS"),
            (format!("{CSV},prefix\n0,9,1,:3"), "row 2, prefix", "write NAME:TOKENS"),
            (format!("{CSV},prefix\n0,9,1,a:x"), "row 2, prefix", "no whole number"),
            (format!("{CSV},prefix\n0,9,1,a:5 b:5"), "row 2, prefix", "more tokens than the prompt, which has 9"),
            (format!("{CSV},user\n0,9,1,a"), "row 1, arrival_s", "unknown column 'user'"),
            (format!("{CSV},arrival_s\n0,9,1,1"), "row 1, arrival_s", "twice the column"),
            ("arrival_s,prompt_tokens\n0,9".to_owned(), "row 1, output_tokens", "lacks this column"),
            ("time,in,out\n0,9,1".to_owned(), "row 1", "start of no log"),
            (azure("2023-11-31 00:00:00,1,1"), "row 2, TIMESTAMP", "write it as 2023-11-16"),
            (azure("2023-11-16 00:00:00,1,x"), "row 2, GeneratedTokens", "no whole number"),
            (azure("2023-11-16 00:00:01,1,1\n2023-11-16 00:00:00,1,1"), "row 3, TIMESTAMP", "before that of row 2"),
            (json("{"), "row 2, line", "EOF"),
            (json("[]"), "row 2, line", "write {"),
            (json("{\"timestamp\":6,\"input_length\":1}"), "row 2", "output_length"),
            (json("{\"timestamp\":\"6\",\"input_length\":1,\"output_length\":1}"), "row 2, timestamp", "string"),
            (json("{\"timestamp\":4,\"input_length\":1,\"output_length\":1}"), "row 2, timestamp", "before"),
            (json("{\"timestamp\":-4,\"input_length\":1,\"output_length\":1}"), "row 2, timestamp", "negative"),
            (json("{\"timestamp\":6,\"input_length\":0,\"output_length\":1}"), "row 2, input_length", "0 tokens"),
            (json("{\"timestamp\":6,\"input_length\":1,\"output_length\":1e99}"), "row 2, output_length", "1e+99"),
            (json("{\"timestamp\":6,\"input_length\":1,\"output_length\":1,\"turn\":2}"), "row 2, line", "turn"),
            (
                json("{\"timestamp\":6,\"input_length\":512,\"output_length\":1,\"hash_ids\":[1,2]}"),
                "row 2, hash_ids",
                "2 ids, but a prompt of 512 tokens has 1 blocks",
            ),
            (
                json("{\"timestamp\":6,\"input_length\":5000,\"output_length\":1,\"hash_ids\":[1,2]}"),
                "row 2, hash_ids",
                "2 ids, but a prompt of 5000 tokens has 10 blocks",
            ),
            (
                json("{\"timestamp\":6,\"input_length\":999,\"output_length\":1,\"hash_ids\":[1,1]}"),
                "row 2, hash_ids",
                "1 comes twice",
            ),
            (
                json("{\"timestamp\":6,\"input_length\":9,\"output_length\":1,\"hash_ids\":[-1]}"),
                "row 2, hash_ids",
                "integer",
            ),
            (String::new(), "log: no request", "at least one"),
            ("\n\n".to_owned(), "log: no request", "at least one"),
            (format!("{CSV}\n"), "log: no request after the header", "at least one"),
        ] {
            let error = read_text(&text).map(|_| ()).unwrap_err();
            assert!(error.contains(place) && error.contains(reason), "{text}\n{error}");
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let read = |bytes: &[u8]| read_bytes(bytes, Taken::default()).map(|_| ()).unwrap_err();
        let error = read(&[CSV.as_bytes(), b"\n0,1,1\n\xff,1,1\n"].concat());
        assert!(error.contains("row 3: it is not UTF-8"), "{error}");
        let utf16: Vec<u8> = CSV.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(read(&[b"\xff\xfe".as_slice(), &utf16].concat()).contains("row 1: it is not UTF-8"));
        let error = read(&vec![b'1'; 2 << 20]);
        assert!(error.contains("row 1: it has more than 1048576 bytes"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        assert!(Lines::open(folder.path()).is_err());
        assert!(Lines::open(&folder.path().join("none.csv")).is_err());
    }
}
