use super::Watched;
use crate::catalog::open_trace;
use crate::cli::error::CliError;
use crate::cli::print;
use crate::report::{self, ReportError};
use crate::runs::Cancel;
use crate::workload::{Fit, LifelikeConfig};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// `tiersim trace fit`.
#[derive(Args)]
pub(in crate::cli) struct FitArgs {
    /// A recorded trace, by name or path
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// The RON file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn fit(args: &FitArgs, cancel: &Cancel) -> Result<ExitCode, CliError> {
    let recording = open_trace(&args.trace)?;
    let name = recording.name().to_owned();
    let fit = Fit::of(&name, &mut Watched { source: recording, cancel })?;
    let text = text(&fit, &args.trace.display().to_string());
    match &args.out {
        Some(out) => {
            report::write_streamed(out, |file| {
                std::io::Write::write_all(file, text.as_bytes())
                    .map_err(|source| ReportError::Write { path: out.display().to_string(), source })
            })?;
            note!("{}: compare it: tiersim trace info {} {}", out.display(), args.trace.display(), out.display());
        }
        None => print(text.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The generator as a person would write it.
fn text(fit: &Fit, origin: &str) -> String {
    let LifelikeConfig {
        skip,
        read: _,
        seed,
        sinks,
        exchange,
        drift,
        drift_steps,
        layer_independence,
        patches,
        patch_tokens,
        recency,
    } = &fit.config;
    let origin = origin.replace(char::is_control, " ");
    let mut text =
        format!("// Like {origin}: fitted by tiersim {} to {} steps.\n", env!("CARGO_PKG_VERSION"), fit.steps);
    let recency: Vec<String> = recency.iter().map(f64::to_string).collect();
    let _ = write!(
        text,
        "Lifelike(\n    skip: {skip},\n    seed: {seed},\n    sinks: {sinks},\n    exchange: {exchange},\n    drift: {drift},\n    \
         drift_steps: {drift_steps},\n    layer_independence: {layer_independence},\n    patches: {patches},\n    \
         patch_tokens: {patch_tokens},\n    recency: [{}],\n)\n",
        recency.join(", ")
    );
    text
}
