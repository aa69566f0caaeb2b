//! `tiersim trace convert`: a trace in another format, checked as it is read.

use super::{Output, ParquetArgs, Watched};
use crate::catalog::open_recording;
use crate::cli::arguments;
use crate::cli::error::CliError;
use crate::runs::Cancel;
use crate::workload::{Cut, LongRouting, Provenance, Recorded, RecordingFormat, SkipSource};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim trace import`.
#[derive(Args)]
pub(in crate::cli) struct ImportArgs {
    /// A .kvs or JSON Lines file, or any other trace; or a dump of routing in Parquet, JSON Lines
    /// or CSV, with the columns step, layer, expert, and token if a step has several
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Parquet file [default: FILE with the ending .parquet]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Tokens before step 0, for JSON Lines without that number
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    prefill: Option<u32>,
    /// Of a dump of routing: how many experts a layer has, where not all of them occur
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true)]
    experts: Option<u32>,
    /// Only the first so many steps
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true)]
    steps: Option<u32>,
    /// Only every so manieth layer, from layer 0 on
    #[arg(long, value_name = "N", value_parser = arguments::count_from_1, allow_negative_numbers = true)]
    every_layer: Option<u32>,
    /// The model whose attention or routing was recorded
    #[arg(long, value_name = "TEXT")]
    model: Option<String>,
    /// The text that it read or wrote
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The licence of the trace
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// How it was made
    #[arg(long, value_name = "TEXT")]
    made_by: Option<String>,
    #[command(flatten)]
    parquet: ParquetArgs,
}

/// `tiersim trace export`.
#[derive(Args)]
pub(in crate::cli) struct ExportArgs {
    /// A trace, by name or path
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// The file to write, in the format of its ending: .kvs or .jsonl
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    parquet: ParquetArgs,
}

pub(super) fn import(args: &ImportArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let out = args.out.clone().unwrap_or_else(|| args.file.with_extension("parquet"));
    if RecordingFormat::of_path(&out) != Some(RecordingFormat::Parquet) {
        return Err(CliError::Usage(format!(
            "--out {}: import writes Parquet: end the name with .parquet, or use `tiersim trace export`",
            out.display()
        )));
    }
    let given = Provenance {
        model: args.model.clone(),
        source: args.source.clone(),
        licence: args.licence.clone(),
        made_by: args.made_by.clone(),
    };
    let output = Output::new(&out, args.parquet)?;
    let dump = if args.file.is_file() { LongRouting::open(&args.file, args.experts)? } else { None };
    let cut = (args.steps.map(|steps| steps as usize), args.every_layer.map_or(1, |every| every as usize));
    match dump {
        Some(dump) => write(&args.file, dump, &output, given, cut, cancel),
        None if args.experts.is_some() => Err(CliError::Usage(format!(
            "--experts: {} is no dump of routing, which has a column 'expert': a trace says itself how many experts there are",
            args.file.display()
        ))),
        None => write(&args.file, open_recording(&args.file, args.prefill)?, &output, given, cut, cancel),
    }
}

pub(super) fn export(args: &ExportArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let recording = open_recording(&args.trace, None)?;
    write(&args.trace, recording, &Output::new(&args.out, args.parquet)?, Provenance::default(), (None, 1), cancel)
}

fn write(
    input: &Path,
    recording: impl Recorded + 'static,
    out: &Output<'_>,
    given: Provenance,
    (steps, every): (Option<usize>, usize),
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(input, out.path) {
        return Err(CliError::Usage(format!(
            "--out {}: that is the trace itself: write to another file",
            out.path.display()
        )));
    }
    let mut header = recording.header().clone();
    let source: Box<dyn SkipSource> = if steps.is_none() && every == 1 {
        Box::new(recording)
    } else {
        let cut = Cut::new(recording, steps, every)?;
        header = cut.header().clone();
        Box::new(cut)
    };
    header.provenance = header.provenance.updated(given);
    out.write(&header, &mut Watched { source, cancel })?;
    note!("{}: {}, as {}", out.path.display(), header.sizes(), out.format);
    Ok(ExitCode::SUCCESS)
}
