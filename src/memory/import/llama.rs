//! The tables of llama.cpp's benchmarks: `llama-bench` as Markdown, CSV, JSON and JSON Lines, and
//! `llama-batched-bench` as Markdown and JSON Lines.
//!
//! Each row of decoding becomes a measured rate. Rows of prompt processing alone say nothing of
//! decode steps and are left out, and so are rows with layers on the CPU: both are counted.

use super::error::{ImportError, figure};
use serde_json::Value;
use std::collections::BTreeMap;

/// A measured rate of decoding.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeRate {
    /// The line of the file, from 1.
    pub line: usize,
    /// What the benchmark calls the model; empty where it does not say.
    pub model: String,
    /// The machine, as far as the benchmark says.
    pub machine: String,
    /// Tokens before the first step.
    pub depth: u32,
    /// Tokens that each sequence decodes.
    pub tokens: u32,
    /// Sequences.
    pub batch: u32,
    /// Tokens per second over all sequences.
    pub rate: f64,
}

/// The rows of decoding of a table, and what was left out, in sentences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodeRates {
    /// The rows.
    pub rows: Vec<DecodeRate>,
    /// Rows that were left out.
    pub ignored: Vec<String>,
}

/// A row by the names of its columns, with its line.
type Row = (usize, BTreeMap<String, String>);

/// Reads the table in `text`.
///
/// # Errors
/// [`ImportError`] for a table without a row of decoding, and for rows that lack a column
/// or have a rate of 0 or NaN.
pub fn llama_bench(text: &str) -> Result<DecodeRates, ImportError> {
    let rows = match text.trim_start().chars().next() {
        Some('|') => markdown(text)?,
        Some('[' | '{') => json(text)?,
        _ if text.lines().any(|line| line.trim_start().starts_with('|')) => markdown(text)?,
        _ => csv(text)?,
    };
    let mut found = DecodeRates::default();
    let (mut prompts, mut partial) = (0, 0);
    for (line, row) in &rows {
        match decode(*line, row)? {
            Kept::Rates(rates) => found.rows.extend(rates),
            Kept::Prompt => prompts += 1,
            Kept::Partial => partial += 1,
        }
    }
    if prompts > 0 {
        found.ignored.push(format!("{prompts} rows of prompt processing: they say nothing of decode steps"));
    }
    if partial > 0 {
        found.ignored.push(format!("{partial} rows with layers on the CPU (ngl): such a machine is written by hand"));
    }
    if found.rows.is_empty() {
        let problem =
            "there is no row of decoding (tg) with all layers on the device: run llama-bench with -n and -ngl 99";
        return Err(ImportError::missing("test", problem));
    }
    Ok(found)
}

/// What becomes of a row.
enum Kept {
    Rates(Vec<DecodeRate>),
    Prompt,
    Partial,
}

fn decode(line: usize, row: &BTreeMap<String, String>) -> Result<Kept, ImportError> {
    let get = |name: &str| row.get(name).map(|text| text.trim());
    let count = |name: &str| -> Result<Option<u32>, ImportError> {
        let Some(text) = get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let count = text.parse::<u32>().ok().filter(|count| *count <= 1 << 24);
        count.map(Some).ok_or_else(|| ImportError::value(line, name, text, "is no number of tokens: correct it"))
    };
    let need = |name: &str, value: Option<u32>| {
        value.ok_or_else(|| {
            ImportError::missing(format!("line {line}: {name}"), "the row has no such column: give the whole table")
        })
    };
    // llama-batched-bench.
    if let Some(batch) = count("b")?.or(count("pl")?) {
        let (prompt, tokens) = (need("pp", count("pp")?)?, need("tg", count("tg")?)?);
        let rate = get("s_tg t/s").or_else(|| get("speed_tg")).unwrap_or_default();
        if tokens == 0 {
            return Ok(Kept::Prompt);
        }
        let rate = figure(line, "S_TG t/s", rate)?;
        let row = DecodeRate { line, model: String::new(), machine: String::new(), depth: prompt, tokens, batch, rate };
        return Ok(Kept::Rates(vec![row]));
    }
    let layers = get("ngl").or_else(|| get("n_gpu_layers"));
    // -1 stands for all; tables without the column are of machines without a choice.
    let all = layers.is_none_or(|layers| layers.parse::<i64>().is_ok_and(|layers| !(0..99).contains(&layers)));
    let (prompt, tokens, depth) = match get("test") {
        Some(test) => test_of(line, test)?,
        None => {
            let tokens = need("n_gen", count("n_gen")?)?;
            (need("n_prompt", count("n_prompt")?)?, tokens, count("n_depth")?.unwrap_or(0))
        }
    };
    if tokens == 0 || prompt > 0 {
        // pp alone, or a mean over prompt and decoding.
        return Ok(Kept::Prompt);
    }
    let cpu = |name: &str| get(name).is_some_and(|backend| backend.eq_ignore_ascii_case("cpu"));
    if !all && !cpu("backend") && !cpu("backends") {
        return Ok(Kept::Partial);
    }
    let rate = get("t/s").or_else(|| get("avg_ts")).unwrap_or_default();
    let rate = rate.split('±').next().unwrap_or_default();
    let machine = ["gpu_info", "backend", "backends", "cpu_info"];
    let machine = machine.iter().find_map(|name| get(name).filter(|text| !text.is_empty())).unwrap_or_default();
    let model = get("model").or_else(|| get("model_type")).unwrap_or_default();
    let rate = figure(line, "t/s", rate)?;
    Ok(Kept::Rates(vec![DecodeRate {
        line,
        model: model.to_owned(),
        machine: machine.to_owned(),
        depth,
        tokens,
        batch: 1,
        rate,
    }]))
}

/// `pp512`, `tg128`, `tg128 @ d4096`, `pp512+tg128`, `tg 128`: prompt, decoded tokens, depth.
fn test_of(line: usize, test: &str) -> Result<(u32, u32, u32), ImportError> {
    let bad = || ImportError::value(line, "test", test, "is no test of llama-bench, such as tg128 or tg128 @ d4096");
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|count| *count <= 1 << 24).ok_or_else(bad);
    let (what, depth) = match test.split_once('@') {
        Some((what, depth)) => (what, number(depth.trim().strip_prefix('d').ok_or_else(bad)?)?),
        None => (test, 0),
    };
    let (mut prompt, mut tokens) = (0, 0);
    for part in what.split('+') {
        match part.trim().split_at_checked(2) {
            Some(("pp", count)) => prompt = number(count)?,
            Some(("tg", count)) => tokens = number(count)?,
            _ => return Err(bad()),
        }
    }
    Ok((prompt, tokens, depth))
}

/// Tables between bars; a line of dashes follows the names.
fn markdown(text: &str) -> Result<Vec<Row>, ImportError> {
    let mut names: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(line) = line.trim().strip_prefix('|') else {
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':' || c == ' ')) {
            continue;
        }
        let is_header = cells.contains(&"t/s") || cells.contains(&"S_TG t/s");
        match &names {
            _ if is_header => names = Some(cells.iter().map(|cell| cell.to_lowercase()).collect()),
            Some(names) if names.len() == cells.len() => {
                rows.push((number, names.iter().cloned().zip(cells.iter().map(|cell| (*cell).to_owned())).collect()));
            }
            Some(names) => {
                let problem = format!(
                    "has {} columns where the table has {}: give the table as it was printed",
                    cells.len(),
                    names.len()
                );
                return Err(ImportError::value(number, "row", line, problem));
            }
            None => {
                return Err(ImportError::value(
                    number,
                    "row",
                    line,
                    "comes before the names of the columns: give the whole table",
                ));
            }
        }
    }
    Ok(rows)
}

/// One object a line, or a list of objects.
fn json(text: &str) -> Result<Vec<Row>, ImportError> {
    let cut = |line: usize, error: serde_json::Error| {
        ImportError::missing(format!("line {line}"), format!("{error}: give the output in full"))
    };
    let mut rows = Vec::new();
    if text.trim_start().starts_with('[') {
        let list: Vec<Value> = serde_json::from_str(text).map_err(|error| cut(error.line(), error))?;
        rows.extend(list.into_iter().map(|value| (0, value)));
        // The line of an object: that of its n-th "avg_ts".
        let lines = (1..).zip(text.lines()).filter(|(_, line)| line.contains("\"avg_ts\"")).map(|(number, _)| number);
        rows.iter_mut().zip(lines).for_each(|(row, line): (&mut (usize, Value), usize)| row.0 = line);
    } else {
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            rows.push((number, serde_json::from_str(line).map_err(|error| cut(number, error))?));
        }
    }
    let cell = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    rows.into_iter()
        .map(|(line, value)| match value {
            Value::Object(object) => {
                Ok((line, object.into_iter().map(|(name, value)| (name.to_lowercase(), cell(value))).collect()))
            }
            other => Err(ImportError::value(
                line,
                "row",
                &other.to_string(),
                "is no object: give the output as it was printed",
            )),
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<Row>, ImportError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        ImportError::missing(format!("line {line}"), format!("{error}: give the output of llama-bench -o csv in full"))
    };
    let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_lowercase).collect();
    for name in ["n_gen", "avg_ts"] {
        if !names.iter().any(|known| known == name) {
            let problem = "the table has no such column: this is no output of llama-bench, llama-batched-bench, nvbandwidth or STREAM";
            return Err(ImportError::missing(name, problem));
        }
    }
    reader
        .records()
        .map(|record| {
            let record = record.map_err(broken)?;
            let line = record.position().map_or(0, csv::Position::line) as usize;
            Ok((line, names.iter().cloned().zip(record.iter().map(str::to_owned)).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "ggml_cuda_init: found 1 CUDA devices:\n\
        | model                  |       size |     params | backend    | ngl |          test |              t/s |\n\
        | ---------------------- | ---------: | ---------: | ---------- | --: | ------------: | ---------------: |\n\
        | llama 8B Q4_K - Medium |   4.58 GiB |     8.03 B | CUDA       |  99 |         pp512 |   7100.10 ± 1.00 |\n\
        | llama 8B Q4_K - Medium |   4.58 GiB |     8.03 B | CUDA       |  99 |         tg128 |    120.50 ± 0.30 |\n\
        | llama 8B Q4_K - Medium |   4.58 GiB |     8.03 B | CUDA       |  99 | tg128 @ d4096 |    100.25 ± 0.30 |\n\
        | llama 8B Q4_K - Medium |   4.58 GiB |     8.03 B | CUDA       |  20 |         tg128 |     30.00 ± 0.30 |\n\n\
        build: abc (1234)\n";

    #[test]
    fn decoding_is_read_and_the_rest_counted() {
        let found = llama_bench(TABLE).unwrap();
        let read: Vec<_> =
            found.rows.iter().map(|row| (row.line, row.depth, row.tokens, row.batch, row.rate)).collect();
        assert_eq!(read, [(5, 0, 128, 1, 120.5), (6, 4096, 128, 1, 100.25)]);
        assert_eq!(found.rows[0].model, "llama 8B Q4_K - Medium");
        assert_eq!(found.ignored.len(), 2, "{:?}", found.ignored);
    }

    #[test]
    fn every_form_says_the_same() {
        let csv = "build_commit,gpu_info,backends,model_type,n_gpu_layers,n_prompt,n_gen,n_depth,avg_ts\n\
            \"abc\",\"GPU A\",\"CUDA\",\"llama 8B Q4_0\",\"99\",\"0\",\"128\",\"4096\",\"100.250000\"\n";
        let object = "{\"gpu_info\": \"GPU A\", \"backends\": \"CUDA\", \"model_type\": \"llama 8B Q4_0\", \
            \"n_gpu_layers\": 99, \"n_prompt\": 0, \"n_gen\": 128, \"n_depth\": 4096, \"avg_ts\": 100.25}";
        let wanted = DecodeRate {
            line: 2,
            model: "llama 8B Q4_0".to_owned(),
            machine: "GPU A".to_owned(),
            depth: 4096,
            tokens: 128,
            batch: 1,
            rate: 100.25,
        };
        for text in [csv.to_owned(), format!("\n{object}\n"), format!("[\n{object}\n]")] {
            assert_eq!(llama_bench(&text).unwrap().rows, std::slice::from_ref(&wanted), "{text}");
        }
    }

    #[test]
    fn batches_are_rates_of_all_sequences() {
        let table = "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n\
            |-------|--------|------|--------|----------|----------|----------|----------|----------|----------|\n\
            |   512 |    128 |    4 |   2560 |    0.400 |  5120.00 |    2.000 |   256.00 |    2.400 |  1066.67 |\n";
        let row = &llama_bench(table).unwrap().rows[0];
        assert_eq!((row.depth, row.tokens, row.batch, row.rate), (512, 128, 4, 256.0));
        let line = "{\"n_kv_max\": 4096, \"pp\": 512, \"tg\": 128, \"pl\": 4, \"n_kv\": 2560, \"speed_tg\": 256.0}";
        assert_eq!(llama_bench(line).unwrap().rows[0].rate, 256.0);
    }

    #[test]
    fn bad_rows_are_refused_with_their_line() {
        for (from, to, words) in [
            ("120.50 ± 0.30", "0.00 ± 0.30", ["line 5", "'0.00'"]),
            ("120.50 ± 0.30", "NaN ± 0.30", ["line 5", "'NaN'"]),
            ("tg128 @ d4096", "tg128 @ 4096", ["line 6", "'tg128 @ 4096'"]),
            (" |    120.50 ± 0.30", "", ["line 5", "columns"]),
        ] {
            let message = llama_bench(&TABLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{to}: {message}");
        }
        assert!(llama_bench("a,b\n1,2\n").unwrap_err().to_string().starts_with("n_gen: "));
        assert!(llama_bench(&TABLE.replace("tg128", "pp512")).unwrap_err().to_string().contains("no row of decoding"));
    }
}
