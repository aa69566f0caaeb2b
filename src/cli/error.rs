use crate::config::{ConfigError, Invalid};
use crate::explain::ExplainError;
use crate::replay::{ReplayError, TrafficError};
use crate::report::ReportError;
use crate::results::{ConditionError, ResultsError};
use crate::simulation::{RunError, ScenarioError};
use crate::study::StudyError;
use crate::sweep::SweepError;
use crate::workload::TraceError;
use miette::{Diagnostic, GraphicalReportHandler, LabeledSpan, SourceCode};
use std::fmt;
use std::process::ExitCode;
use thiserror::Error;

/// Bad input or usage.
pub(super) const BAD_INPUT: u8 = 2;
/// A run that ended incomplete, or a condition of a gate that holds.
pub(super) const INCOMPLETE: u8 = 1;
/// Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command ends without its result.
#[derive(Debug, Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("scenario '{name}': {source}")]
    Scenario { name: String, source: Box<ScenarioError> },
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Study(#[from] StudyError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Explain(#[from] ExplainError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("--fail-if {0}")]
    Condition(#[from] ConditionError),
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
}

impl CliError {
    /// For `map_err`: what is wrong with the scenario that was called `name`.
    pub fn of_scenario(name: &str) -> impl FnOnce(ScenarioError) -> Self {
        let name = name.to_owned();
        move |source| Self::Scenario { name, source: Box::new(source) }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Study(StudyError::Run(RunError::Interrupted))
            | Self::Explain(ExplainError::Run(RunError::Interrupted))
            | Self::Trace(TraceError::Interrupted) => INTERRUPTED,
            Self::Explain(ExplainError::NoSteps(_)) => INCOMPLETE,
            Self::Sweep(SweepError::Interrupted { .. } | SweepError::Stopped) => INTERRUPTED,
            _ => BAD_INPUT,
        }
    }

    fn invalid(&self) -> Option<&Invalid> {
        match self {
            Self::Config(ConfigError::Invalid(invalid))
            | Self::Sweep(SweepError::Config(ConfigError::Invalid(invalid))) => Some(invalid),
            Self::Scenario { source, .. } => match source.as_ref() {
                ScenarioError::Config(ConfigError::Invalid(invalid)) => Some(invalid),
                _ => None,
            },
            _ => None,
        }
    }

    /// Tells the user on stderr, with the place in the file where there is one.
    pub fn report(&self) -> ExitCode {
        match self.invalid() {
            Some(invalid) => {
                let mut text = String::new();
                let shown = GraphicalReportHandler::new().render_report(&mut text, &Located(invalid));
                tell!("error: {invalid}");
                if shown.is_ok() {
                    // The first line repeats the message.
                    tell!("{}", text.split_once('\n').map_or("", |(_, rest)| rest.trim_end()));
                }
            }
            None => tell!("error: {self}"),
        }
        ExitCode::from(self.code())
    }
}

/// An [`Invalid`] as miette shows it: the lines around the place, underlined.
#[derive(Debug)]
struct Located<'a>(&'a Invalid);

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration")
    }
}

impl std::error::Error for Located<'_> {}

impl Diagnostic for Located<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new(Some("here".to_owned()), self.0.span.start, self.0.span.len());
        Some(Box::new(std::iter::once(label)))
    }
}

impl SourceCode for Located<'_> {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.0.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.0.origin.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}
