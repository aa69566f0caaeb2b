//! `tiersim model`: a file a subcommand.

mod import;
mod info;

use super::error::CliError;
use clap::Subcommand;
use std::process::ExitCode;

/// `tiersim model`.
#[derive(Subcommand)]
pub(super) enum ModelCommand {
    /// Turn a Hugging Face config.json into a model file with an architecture
    Import(import::ImportArgs),
    /// Print what a model stores, reads, keeps of each token and computes, stage by stage
    Info(info::InfoArgs),
}

pub(super) fn model(command: &ModelCommand) -> Result<ExitCode, CliError> {
    match command {
        ModelCommand::Import(args) => import::import(args),
        ModelCommand::Info(args) => info::info(args),
    }
}
