//! `tiersim trace`: a file a subcommand.

mod convert;
mod fit;
mod generate;
mod info;
mod routing;
mod verify;

pub(super) use verify::describe;

use super::error::CliError;
use crate::report::{self, ReportError};
use crate::runs::Cancel;
use crate::workload::{
    Encoding, JsonLinesWriter, KvsWriter, ParquetWriter, Provenance, Recorded, RecordingFormat, SkipSource, StepSkips,
    TraceError, TraceHeader,
};
use clap::Subcommand;
use serde::Serialize;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Where a trace comes from that `trace generate` writes: a generator with these parameters.
fn synthetic(generator: &impl Serialize) -> Result<Provenance, CliError> {
    let parameters = serde_json::to_string(generator).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(Provenance {
        model: None,
        source: Some("synthetic".to_owned()),
        licence: None,
        made_by: Some(format!("tiersim {} trace generate, {parameters}", env!("CARGO_PKG_VERSION"))),
    })
}

/// `tiersim trace`.
#[derive(Subcommand)]
pub(super) enum TraceCommand {
    /// Turn a .kvs or JSON Lines trace, or a dump of routing, into Parquet, with its provenance
    Import(convert::ImportArgs),
    /// Turn a trace into .kvs or JSON Lines, by the ending of the output
    Export(convert::ExportArgs),
    /// Write the skip sets of a generator, or synthetic routing, to a file
    Generate(generate::GenerateArgs),
    /// Fit a generator to a trace, so that their skip sets are most alike, and write its settings
    Fit(fit::FitArgs),
    /// Print and draw the statistics of a trace, or of several side by side
    Info(info::InfoArgs),
    /// Read every row of a trace and check that all of it is valid
    Verify(verify::VerifyArgs),
}

pub(super) fn trace(command: &TraceCommand, cancel: &Cancel) -> Result<ExitCode, CliError> {
    match command {
        TraceCommand::Import(args) => convert::import(args, cancel),
        TraceCommand::Export(args) => convert::export(args, cancel),
        TraceCommand::Generate(args) => match args.experts {
            Some(experts) => routing::generate(args, experts, cancel),
            None => generate::generate(args, cancel),
        },
        TraceCommand::Fit(args) => fit::fit(args, cancel),
        TraceCommand::Info(args) => match args.routing()? {
            Some(traces) => routing::info(traces, cancel),
            None => info::info(args, cancel),
        },
        TraceCommand::Verify(args) => verify::verify(args, cancel),
    }
}

/// A stream of skip sets that ends when the user asks for it.
struct Watched<'a, S> {
    source: S,
    cancel: &'a Cancel,
}

impl<S: SkipSource> SkipSource for Watched<'_, S> {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(TraceError::Interrupted);
        }
        self.source.next_step(context, skips)
    }
}

impl<S: Recorded> Recorded for Watched<'_, S> {
    fn header(&self) -> &TraceHeader {
        self.source.header()
    }
}

/// How Parquet is written.
#[derive(Clone, Copy, clap::Args)]
struct ParquetArgs {
    /// What a row of a Parquet file holds: its set, or in what it differs from the one of the step
    /// before
    #[arg(long, value_enum, default_value_t = EncodingArg::Differences)]
    encoding: EncodingArg,
    /// How hard a Parquet file is compressed: zstd's level
    #[arg(long, value_name = "LEVEL", default_value_t = DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=MAX_LEVEL))]
    level: i32,
}

const DEFAULT_LEVEL: i32 = ParquetWriter::<Vec<u8>>::LEVEL;
const MAX_LEVEL: i64 = ParquetWriter::<Vec<u8>>::MAX_LEVEL as i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EncodingArg {
    Sets,
    Differences,
}

impl From<EncodingArg> for Encoding {
    fn from(arg: EncodingArg) -> Self {
        match arg {
            EncodingArg::Sets => Self::Sets,
            EncodingArg::Differences => Self::Differences,
        }
    }
}

/// A trace to be written, in the format that the file's name asks for.
struct Output<'a> {
    path: &'a Path,
    format: RecordingFormat,
    parquet: ParquetArgs,
}

impl<'a> Output<'a> {
    fn new(path: &'a Path, parquet: ParquetArgs) -> Result<Self, CliError> {
        let format = RecordingFormat::of_path(path).ok_or_else(|| {
            CliError::Usage(format!(
                "--out {}: the format is not clear from the name: end it with .parquet, .kvs or .jsonl",
                path.display()
            ))
        })?;
        Ok(Self { path, format, parquet })
    }

    /// Writes all steps of `source`; the file appears under its name when it is complete.
    fn write(&self, header: &TraceHeader, source: &mut dyn SkipSource) -> Result<(), CliError> {
        report::write_streamed(self.path, |file| {
            let file = BufWriter::with_capacity(1 << 18, file);
            let put = |error: std::io::Error| {
                CliError::from(ReportError::Write { path: self.path.display().to_string(), source: error })
            };
            // Errors of writing get the name of the file; all others name their file themselves.
            let named = |error: TraceError| match error {
                TraceError::Write(source) => put(source),
                other => other.into(),
            };
            match self.format {
                RecordingFormat::Parquet => {
                    let (encoding, level) = (self.parquet.encoding.into(), self.parquet.level);
                    let mut writer = ParquetWriter::new(file, header, encoding, level).map_err(named)?;
                    each_step(header, source, |skips| writer.write(skips)).map_err(named)?;
                    writer.finish().map_err(named)?.into_inner().map_err(|error| put(error.into_error()))?;
                }
                RecordingFormat::Kvs => {
                    let mut writer = KvsWriter::new(file, header.clone()).map_err(named)?;
                    each_step(header, source, |skips| writer.write(skips)).map_err(named)?;
                    writer.finish().map_err(named)?;
                }
                RecordingFormat::JsonLines => {
                    let mut writer = JsonLinesWriter::new(file, header.clone()).map_err(named)?;
                    each_step(header, source, |skips| writer.write(skips)).map_err(named)?;
                    writer.finish().map_err(named)?;
                }
            }
            Ok(())
        })
    }
}

fn each_step(
    header: &TraceHeader,
    source: &mut dyn SkipSource,
    mut put: impl FnMut(&StepSkips) -> Result<(), TraceError>,
) -> Result<(), TraceError> {
    let mut skips = header.room();
    for step in 0..header.steps {
        source.next_step(header.context(step), &mut skips)?;
        put(&skips)?;
    }
    Ok(())
}
