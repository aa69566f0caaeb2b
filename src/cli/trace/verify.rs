use super::Watched;
use crate::catalog::open_recording;
use crate::cli::error::{BAD_INPUT, CliError};
use crate::cli::print;
use crate::runs::Cancel;
use crate::workload::{Recorded, SkipSource, TraceError, TraceKind};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim trace verify`.
#[derive(Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Traces, by name or path
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
}

pub(super) fn verify(args: &VerifyArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    for trace in &args.traces {
        match describe(trace, cancel) {
            Ok(what) => print(&format!("{}: valid: {what}", trace.display()))?,
            Err(error @ CliError::Trace(TraceError::Interrupted)) => return Err(error),
            Err(error) => {
                error.report();
                code = ExitCode::from(BAD_INPUT);
            }
        }
    }
    Ok(code)
}

/// A trace's format and sizes, after every row of it was read.
pub(in crate::cli) fn describe(path: &Path, cancel: &Cancel) -> Result<String, CliError> {
    let mut recording = Watched { source: open_recording(path, None)?, cancel };
    let header = recording.header().clone();
    let mut skips = header.room();
    let (mut skipped, mut tokens, mut off) = (0u64, 0u64, 0u64);
    for step in 0..header.steps {
        let context = header.context(step);
        recording.next_step(context, &mut skips)?;
        for count in skips.counts.iter().map(|count| *count as u64) {
            skipped += count;
            tokens += context as u64;
            let nominal = header.skip_permille.map(|permille| u64::from(permille) * context as u64 / 1000);
            off += u64::from(nominal.is_some_and(|nominal| nominal != count));
        }
    }
    let share = 100.0 * skipped as f64 / tokens.max(1) as f64;
    let (what, held) = match header.kind {
        TraceKind::Skips => ("a recorded trace", format!("{share:.2} % skipped")),
        TraceKind::Experts(_) => ("recorded routing", format!("{share:.2} % of the experts of a layer for each token")),
    };
    let mut text = format!("{what} ({}): {}, {held}", recording.source.format(), header.sizes());
    if off > 0 {
        let permille = header.skip_permille.unwrap_or(0);
        text += &format!("; {off} of {} sets have another size than {permille} permille of the context", header.rows());
    }
    Ok(text)
}
