//! Descriptions of the command line for other programs: completions, manual pages, and the schemas
//! of its results.

use super::error::CliError;
use super::{Cli, arguments, print};
use crate::report::{self, Artifact};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;

/// `tiersim completions`.
#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `tiersim man`.
#[derive(Args)]
pub(super) struct ManArgs {
    /// The folder for the pages, one a command
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tiersim", &mut script);
    let script = with_files(args.shell, String::from_utf8_lossy(&script).into_owned());
    print(script.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// `script` with files beside the names of shipped ones: clap completes names or files, not both.
fn with_files(shell: Shell, mut script: String) -> String {
    for names in arguments::offered_beside_paths() {
        let (names, first) = (names.join(" "), names.first().copied().unwrap_or_default());
        let (only, beside) = match shell {
            Shell::Bash => (format!("compgen -W \"{names}\""), format!("compgen -f -W \"{names}\"")),
            Shell::Zsh => {
                (format!(":({names})'"), format!(":{{_alternative \"names:name:({names})\" \"files:file:_files\"}}'"))
            }
            Shell::Fish => (format!("-r -f -a \"{first}\\t"), format!("-r -F -a \"{first}\\t")),
            // The others complete files in any case, or nothing but flags.
            _ => return script,
        };
        script = script.replace(&only, &beside);
    }
    script
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, "tiersim", &mut pages)?;
    match &args.out {
        Some(folder) => {
            report::write(folder, &pages)?;
            note!("{} pages are in {}: man -l {}", pages.len(), folder.display(), folder.join("tiersim.1").display());
        }
        None => print(String::from_utf8_lossy(&pages[0].bytes).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of `command`, and those of its commands.
fn collect(command: &clap::Command, name: &str, pages: &mut Vec<Artifact>) -> Result<(), CliError> {
    let mut page = Vec::new();
    // The names of subcommands' pages are those of their commands: tiersim-run.
    let named = command.clone().name(name.to_owned()).bin_name(name.replace('-', " "));
    clap_mangen::Man::new(named).render(&mut page).map_err(CliError::Stdout)?;
    pages.push(Artifact::new(format!("{name}.1"), page));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        collect(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

/// `tiersim schema`.
#[derive(Args)]
pub(super) struct SchemaArgs {
    /// The file whose schema is printed
    #[arg(value_enum, default_value_t = Documented::Summary)]
    file: Documented,
}

/// The results that have a schema.
#[derive(Clone, Copy, ValueEnum)]
enum Documented {
    /// summary.json
    Summary,
    /// explain.json
    Explain,
}

pub(super) fn schema(args: &SchemaArgs) -> Result<ExitCode, CliError> {
    let text = match args.file {
        Documented::Summary => report::summary_schema()?,
        Documented::Explain => report::explain_schema()?,
    };
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
