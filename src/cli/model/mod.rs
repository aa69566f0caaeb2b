//! `tiersim model`: a file a subcommand.

mod import;

use super::error::CliError;
use clap::Subcommand;
use std::process::ExitCode;

/// `tiersim model`.
#[derive(Subcommand)]
pub(super) enum ModelCommand {
    /// Turn a Hugging Face config.json into a model file with an architecture
    Import(import::ImportArgs),
}

pub(super) fn model(command: &ModelCommand) -> Result<ExitCode, CliError> {
    match command {
        ModelCommand::Import(args) => import::import(args),
    }
}
