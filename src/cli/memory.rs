//! `tiersim memory`: measured machines become memory systems, and measured runs become cases.

use super::error::CliError;
use super::print;
use crate::catalog;
use crate::config;
use crate::memory::MemorySystem;
use crate::memory::import::{self, Benchmark, DecodeRate, DecodeRates, ImportError, Measured};
use crate::report::{self, ReportError};
use crate::units::Bytes;
use crate::validation::COLUMNS;
use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim memory`.
#[derive(Subcommand)]
pub(super) enum MemoryCommand {
    /// Turn the output of nvbandwidth and STREAM into a memory system, or tables of llama-bench
    /// into cases for `tiersim validate`
    Import(Box<ImportArgs>),
}

/// `tiersim memory import`.
#[derive(Args)]
pub(super) struct ImportArgs {
    /// Outputs of nvbandwidth (text or JSON) and STREAM, the machine's own memory first, a further
    /// one for each remote memory; or of llama-bench and llama-batched-bench (Markdown, CSV, JSON)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The capacity of a tier: one for each, the fastest first
    #[arg(long, value_name = "SIZE")]
    capacity: Vec<Bytes>,
    /// Which GPU's column of nvbandwidth is read
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// How reports call the memory system, and the group of cases [default: the first file's name]
    #[arg(long)]
    name: Option<String>,
    /// The memory system that the cases ran on, by name or path
    #[arg(long, value_name = "NAME")]
    memory: Option<String>,
    /// The model of the cases, by name or path; where a table has several, one for each: 'TABLE
    /// NAME=NAME'
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// The runtime of the cases, by name or path
    #[arg(long, value_name = "NAME", default_value = "llama.cpp")]
    runtime: String,
    /// The file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn memory(command: &MemoryCommand) -> Result<ExitCode, CliError> {
    let MemoryCommand::Import(args) = command;
    let mut memories = Vec::new();
    let mut tables = Vec::new();
    for path in &args.files {
        let (text, origin) = (config::read(path)?, path.display().to_string());
        match Benchmark::of(&text) {
            Some(Benchmark::Nvbandwidth) => {
                let found = import::nvbandwidth(&text, args.device).map_err(|error| named(&origin, &error))?;
                memories.push(Measured::Gpu(origin, found));
            }
            Some(Benchmark::Stream) => {
                let found = import::stream(&text).map_err(|error| named(&origin, &error))?;
                memories.push(Measured::Cpu(origin, found));
            }
            Some(Benchmark::LlamaBench) => {
                let found = import::llama_bench(&text).map_err(|error| named(&origin, &error))?;
                tables.push((origin, found));
            }
            None => {
                return Err(CliError::Usage(format!(
                    "{origin}: no output of nvbandwidth, STREAM, llama-bench or llama-batched-bench: give what they print"
                )));
            }
        }
    }
    if !memories.is_empty() && !tables.is_empty() {
        let message =
            "memory import: some files describe a memory and others are tables of llama.cpp: import them apart";
        return Err(CliError::Usage(message.to_owned()));
    }
    let text = if tables.is_empty() { system(args, &memories)? } else { cases(args, &tables)? };
    match &args.out {
        Some(out) => {
            report::write_streamed(out, |file| {
                std::io::Write::write_all(file, text.as_bytes())
                    .map_err(|source| ReportError::Write { path: out.display().to_string(), source })
            })?;
            let next = if tables.is_empty() { "check" } else { "validate" };
            note!("{}: try it: tiersim {next} {}", out.display(), out.display());
        }
        None => print(text.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn named(origin: &str, error: &ImportError) -> CliError {
    CliError::Usage(format!("{origin}: {error}"))
}

/// The file of a memory system, which is checked as any other.
fn system(args: &ImportArgs, memories: &[Measured]) -> Result<String, CliError> {
    let file = import::memory_file(&name(args), memories, &args.capacity)
        .map_err(|error| CliError::Usage(format!("memory import: {error}")))?;
    let origin = args.files[0].display().to_string();
    let config = catalog::memory_of(&file.text, &origin)?;
    MemorySystem::new(&config).map_err(|error| {
        CliError::Usage(format!("{origin}: {error} (of what was measured: write the memory system by hand)"))
    })?;
    for (what, sentences) in [("read", &file.read), ("assumed", &file.assumed), ("ignored", &file.ignored)] {
        for sentence in sentences {
            note!("{what}: {sentence}");
        }
    }
    Ok(file.text)
}

/// The name that was given, or that of the first file.
fn name(args: &ImportArgs) -> String {
    let stem = || args.files[0].file_stem().unwrap_or_default().to_string_lossy().into_owned();
    args.name.clone().unwrap_or_else(stem)
}

/// A file of cases: a row for each measured rate of decoding.
fn cases(args: &ImportArgs, tables: &[(String, DecodeRates)]) -> Result<String, CliError> {
    let Some(memory) = &args.memory else {
        let message = "--memory: a table does not say which memory system it was measured on: name it, or its file";
        return Err(CliError::Usage(message.to_owned()));
    };
    let models = models(args, tables)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| CliError::Usage(format!("memory import: the cases cannot be written: {error}"));
    writer.write_record(COLUMNS).map_err(failed)?;
    let mut names = BTreeSet::new();
    for (origin, table) in tables {
        for row in &table.rows {
            let model = models(row);
            let name = unique(&mut names, &format!("{}-{}-d{}-b{}", name(args), stem(&model), row.depth, row.batch));
            // llama-bench decodes behind one token where it has no depth.
            let prefill = row.depth.max(1).to_string();
            let source = format!("{origin} line {}: {} {}", row.line, row.machine, row.model);
            let fields = [
                name.as_str(),
                &self::name(args),
                memory,
                &args.runtime,
                &model,
                "",
                &prefill,
                &row.tokens.to_string(),
                &row.batch.to_string(),
                "tokens_per_s",
                &row.rate.to_string(),
                "tokens/s",
                source.trim(),
                "check",
            ];
            writer.write_record(fields).map_err(failed)?;
        }
        note!("read: {origin}: {} rows of decoding", table.rows.len());
        table.ignored.iter().for_each(|sentence| note!("ignored: {origin}: {sentence}"));
    }
    note!("assumed: the runtime is {}; cases are only compared with (use: check)", args.runtime);
    note!("assumed: the model is stored as the table says: see that the format of its file is the same");
    let bytes = writer.into_inner().map_err(|error| CliError::Usage(format!("memory import: {error}")))?;
    String::from_utf8(bytes).map_err(|error| CliError::Usage(format!("memory import: {error}")))
}

/// The model of each row, by what its table calls it.
fn models<'a>(
    args: &'a ImportArgs,
    tables: &[(String, DecodeRates)],
) -> Result<impl Fn(&DecodeRate) -> String + use<'a>, CliError> {
    let known: BTreeSet<&str> =
        tables.iter().flat_map(|(_, table)| &table.rows).map(|row| row.model.as_str()).collect();
    let of = move |name: &str| match args.model.as_slice() {
        [one] if !one.contains('=') => Some(one.clone()),
        several => several.iter().find_map(|model| {
            let (table, model) = model.split_once('=')?;
            (table.trim() == name).then(|| model.trim().to_owned())
        }),
    };
    if known.len() > 1 && args.model.len() < 2 {
        let list: Vec<String> = known.iter().map(|name| format!("--model '{name}=NAME'")).collect();
        return Err(CliError::Usage(format!(
            "--model: the tables have several models: say what each is: {}",
            list.join(" ")
        )));
    }
    match known.iter().find(|name| of(name).is_none()) {
        Some(name) => Err(CliError::Usage(format!(
            "--model: nothing says which model '{name}' is: name it, or its file: --model NAME, or --model '{name}=NAME'"
        ))),
        None => Ok(move |row: &DecodeRate| of(&row.model).unwrap_or_default()),
    }
}

/// A name or path as part of a case's name.
fn stem(model: &str) -> String {
    Path::new(model).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `name`, with a number where there is one of that name already.
fn unique(names: &mut BTreeSet<String>, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(free.clone());
    free
}
