//! `tiersim model import`: a published configuration becomes a model file.

use crate::cli::error::CliError;
use crate::cli::print;
use crate::config;
use crate::report::{self, ReportError};
use crate::workload::huggingface::{self, ImportOptions, Imported};
use crate::workload::{Format, LanguageModel};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tiersim model import`.
#[derive(Args)]
pub(in crate::cli) struct ImportArgs {
    /// A configuration as published with a model on Hugging Face
    #[arg(value_name = "CONFIG.JSON")]
    config: PathBuf,
    /// Store all weights in this format, whatever the configuration says: bf16, fp8, int4-g128,
    /// q4_k_m, ...
    #[arg(long, value_name = "FORMAT")]
    weights: Option<Format>,
    /// Keep keys and values in this format
    #[arg(long, value_name = "FORMAT")]
    kv: Option<Format>,
    /// How reports call the model [default: the file's name, or its folder's where it is
    /// config.json]
    #[arg(long)]
    name: Option<String>,
    /// The RON file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Beside the configuration of some checkpoints that NVIDIA quantized.
const QUANTIZATION: &str = "hf_quant_config.json";

pub(super) fn import(args: &ImportArgs) -> Result<ExitCode, CliError> {
    let text = config::read(&args.config)?;
    let origin = args.config.display().to_string();
    let beside = args.config.with_file_name(QUANTIZATION);
    let quantization = if beside != args.config && beside.is_file() {
        Some((beside.display().to_string(), config::read(&beside)?))
    } else {
        None
    };
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.config));
    let options = ImportOptions { name, weights: args.weights, kv: args.kv, quantization };
    let imported = huggingface::import(&text, &origin, &options)?;
    let model = LanguageModel::new(&imported.model).map_err(|error| CliError::Usage(format!("{origin}: {error}")))?;
    notes(&imported, &model);
    let file = imported.text(&args.config.file_name().unwrap_or_default().to_string_lossy());
    match &args.out {
        Some(out) => {
            report::write_streamed(out, |written| {
                std::io::Write::write_all(written, file.as_bytes())
                    .map_err(|source| ReportError::Write { path: out.display().to_string(), source })
            })?;
            note!("{}: describe it: tiersim model info {}", out.display(), out.display());
        }
        None => print(file.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what was understood, assumed and ignored.
fn notes(imported: &Imported, model: &LanguageModel) {
    let lists = [("understood", &imported.understood), ("assumed", &imported.assumed), ("ignored", &imported.ignored)];
    for (what, sentences) in lists {
        for sentence in sentences {
            note!("{what}: {sentence}");
        }
    }
    let billions = |count: Option<u64>| count.map_or("-".to_owned(), |count| format!("{:.2} B", count as f64 / 1e9));
    let counted = format!(
        "{} parameters, {} of them active, ",
        billions(model.parameters()),
        billions(model.active_parameters())
    );
    note!(
        "{}: {counted}{} of weights, of which a step of one sequence reads {}; KV of a token {}",
        model.name(),
        model.stored_weights().rounded(),
        model.weights().map(|weights| weights.read).sum::<crate::units::Bytes>().rounded(),
        model.token_bytes().rounded()
    );
}

/// The file's name without its ending; its folder's where the file is called as all are.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if stem != "config" {
        return stem;
    }
    let folder = std::path::absolute(path).ok();
    let folder = folder.as_deref().and_then(Path::parent).and_then(Path::file_name);
    folder.map_or(stem, |name| name.to_string_lossy().into_owned())
}
