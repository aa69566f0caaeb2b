//! `tiersim trace convert`: a trace in another format, checked as it is read.

use super::{Output, ParquetArgs, Watched};
use crate::catalog::open_recording;
use crate::cli::arguments;
use crate::cli::error::CliError;
use crate::runs::Cancel;
use crate::workload::{Provenance, Recorded, RecordingFormat};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim trace import`.
#[derive(Args)]
pub(in crate::cli) struct ImportArgs {
    /// A .kvs or JSON Lines file, or any other trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Parquet file [default: FILE with the ending .parquet]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Tokens before step 0, for JSON Lines without that number
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    prefill: Option<u32>,
    /// The model whose attention was recorded
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
    convert(&args.file, args.prefill, &Output::new(&out, args.parquet)?, given, cancel)
}

pub(super) fn export(args: &ExportArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    convert(&args.trace, None, &Output::new(&args.out, args.parquet)?, Provenance::default(), cancel)
}

fn convert(
    input: &Path,
    prefill: Option<u32>,
    out: &Output<'_>,
    given: Provenance,
    cancel: &Cancel,
) -> Result<ExitCode, CliError> {
    let recording = open_recording(input, prefill)?;
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(input, out.path) {
        return Err(CliError::Usage(format!(
            "--out {}: that is the trace itself: write to another file",
            out.path.display()
        )));
    }
    let mut header = recording.header().clone();
    header.provenance = header.provenance.updated(given);
    out.write(&header, &mut Watched { source: recording, cancel })?;
    note!("{}: {}, as {}", out.path.display(), header.sizes(), out.format);
    Ok(ExitCode::SUCCESS)
}
