//! Errors as the command line shows them, and exit codes.
//!
//! An error is one line: what is wrong, where, and what to do. Where a file is to blame, the lines
//! around the place follow, drawn by miette. Numbers of hundreds of digits and files of megabytes
//! are cut short, and control characters are written out, so that no file can steer a terminal.

use crate::config::{ConfigError, Invalid, is_control, printable, shortened};
use crate::decision::DecisionError;
use crate::explain::ExplainError;
use crate::explore::ExploreError;
use crate::planner::PlanError;
use crate::replay::{ReplayError, TrafficError};
use crate::report::ReportError;
use crate::results::{ConditionError, ResultsError};
use crate::runs::RunsError;
use crate::simulation::{FieldError, RunError, ScenarioError};
use crate::sweep::SweepError;
use crate::validation::{CalibrationError, InvalidCase};
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
    Field(#[from] FieldError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    #[error("{file}: {source}")]
    Replay { file: String, source: ReplayError },
    #[error(transparent)]
    Runs(#[from] RunsError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error("{file}: {source}")]
    SweepFile { file: String, source: Box<SweepError> },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Decision(#[from] DecisionError),
    #[error(transparent)]
    Explain(#[from] ExplainError),
    #[error(transparent)]
    Explore(#[from] ExploreError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("--fail-if {0}")]
    Condition(#[from] ConditionError),
    #[error(transparent)]
    Case(#[from] InvalidCase),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
}

impl CliError {
    /// For `map_err`: an error in the scenario called `name`.
    pub fn of_scenario(name: &str) -> impl FnOnce(ScenarioError) -> Self {
        let name = name.to_owned();
        move |source| Self::Scenario { name, source: Box::new(source) }
    }

    /// For `map_err`: an error in the sweep called `file`, unless the error names the file itself.
    pub fn of_sweep(file: &str) -> impl FnOnce(SweepError) -> Self {
        let file = file.to_owned();
        move |source| match source {
            SweepError::Config(_) | SweepError::Trace { .. } => Self::Sweep(source),
            source => Self::SweepFile { file, source: Box::new(source) },
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Runs(RunsError::Run(RunError::Interrupted)) | Self::Trace(TraceError::Interrupted) => INTERRUPTED,
            Self::Plan(PlanError::Run(RunError::Interrupted)) => INTERRUPTED,
            Self::Calibration(CalibrationError::Runs(RunsError::Run(RunError::Interrupted))) => INTERRUPTED,
            Self::Runs(RunsError::Explain(ExplainError::NoSteps(_))) | Self::Explain(ExplainError::NoSteps(_)) => {
                INCOMPLETE
            }
            Self::Sweep(SweepError::Interrupted { .. } | SweepError::Stopped)
            | Self::Decision(DecisionError::Sweep(SweepError::Stopped)) => INTERRUPTED,
            _ => BAD_INPUT,
        }
    }

    fn invalid(&self) -> Option<&Invalid> {
        match self {
            Self::Config(ConfigError::Invalid(invalid))
            | Self::Case(InvalidCase::File(ConfigError::Invalid(invalid)))
            | Self::Calibration(CalibrationError::Case(InvalidCase::File(ConfigError::Invalid(invalid))))
            | Self::Sweep(SweepError::Config(ConfigError::Invalid(invalid)))
            | Self::Decision(DecisionError::Sweep(SweepError::Config(ConfigError::Invalid(invalid)))) => Some(invalid),
            Self::Field(error) => match error.cause() {
                FieldError::Config(ConfigError::Invalid(invalid)) => Some(invalid),
                _ => None,
            },
            Self::Scenario { source, .. } => match source.as_ref() {
                ScenarioError::Config(ConfigError::Invalid(invalid)) => Some(invalid),
                _ => None,
            },
            _ => None,
        }
    }

    /// Prints the error on stderr, with the place in the file where there is one.
    pub fn report(&self) -> ExitCode {
        let message = match (self, self.invalid()) {
            // This error names the flag that names the file.
            (Self::Field(_), _) | (_, None) => self.to_string(),
            (_, Some(invalid)) => invalid.to_string(),
        };
        tell!("error: {}", shortened(&without_long_numbers(&message), MOST_MESSAGE));
        if let Some(place) = self.invalid().and_then(place) {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{place}");
        }
        ExitCode::from(self.code())
    }
}

/// The longest message: longer ones repeat what is wrong in full, which may be a file of 20 MB.
const MOST_MESSAGE: usize = 2_000;
/// The longest number that is shown digit by digit.
const MOST_DIGITS: usize = 40;
/// The longest line that is shown around a place.
const MOST_SHOWN: usize = 400;

/// `message` with numbers of hundreds of digits shortened to their first ones and their power of
/// ten.
fn without_long_numbers(message: &str) -> String {
    let mut short = String::with_capacity(message.len().min(1 << 16));
    let mut rest = message;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        let number = &rest[start..start + digits];
        short.push_str(&rest[..start]);
        if digits > MOST_DIGITS && !number.starts_with('0') {
            short.push_str(&format!("{}.{}e{}", &number[..1], &number[1..4], digits - 1));
        } else {
            short.push_str(number);
        }
        rest = &rest[start + digits..];
    }
    short.push_str(rest);
    short
}

/// The lines around the place of an error, or of long lines the part around it.
fn place(invalid: &Invalid) -> Option<String> {
    let start = invalid.span.start.min(invalid.text.len());
    let first = invalid.text[..start].rfind('\n').map_or(0, |at| at + 1);
    // miette shows the line before and the one after as well, each in full.
    let from = invalid.text[..first.saturating_sub(1)].rfind('\n').map_or(0, |at| at + 1);
    let shown = invalid.text[from..].lines().take(invalid.text[first..start].lines().count().max(1) + 3);
    if shown.into_iter().any(|line| line.len() > MOST_SHOWN) {
        return Some(part_of_line(invalid, first, start));
    }
    let mut text = String::new();
    GraphicalReportHandler::new().render_report(&mut text, &Located::new(invalid)).ok()?;
    // The first line repeats the message.
    text.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned())
}

/// The part of a long line around a place, with a mark below it.
fn part_of_line(invalid: &Invalid, line: usize, at: usize) -> String {
    const AROUND: usize = 60;
    let end = invalid.text[at..].find('\n').map_or(invalid.text.len(), |end| at + end);
    let before: Vec<char> = invalid.text[line..at].chars().rev().take(AROUND).collect();
    let before: String = printable(&before.into_iter().rev().collect::<String>()).into_owned();
    let after: String = printable(&invalid.text[at..end].chars().take(AROUND).collect::<String>()).into_owned();
    let dots = |cut: bool| if cut { "..." } else { "" };
    let front = dots(invalid.text[line..at].chars().nth(AROUND).is_some());
    let back = dots(invalid.text[at..end].chars().nth(AROUND).is_some());
    let origin = printable(&invalid.origin);
    let indent = " ".repeat(front.len() + before.chars().count());
    format!("  {origin}:{}:{}\n  {front}{before}{after}{back}\n  {indent}^ here", invalid.line, invalid.column)
}

/// An [`Invalid`] as miette shows it: the lines around the place, underlined.
#[derive(Debug)]
struct Located<'a> {
    invalid: &'a Invalid,
    /// The file, with a mark in the place of each control character: as long, so that places stay
    /// what they are.
    text: String,
}

impl<'a> Located<'a> {
    fn new(invalid: &'a Invalid) -> Self {
        let mark = |c: char| match c.len_utf8() {
            _ if !is_control(c) || c == '\n' || c == '\t' || c == '\r' => c,
            1 => '?',
            2 => '\u{bf}',
            _ => '\u{fffd}',
        };
        Self { invalid, text: invalid.text.chars().map(mark).collect() }
    }
}

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
        let label = LabeledSpan::new(Some("here".to_owned()), self.invalid.span.start, self.invalid.span.len());
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
        let contents = self.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            printable(&self.invalid.origin).into_owned(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn long_numbers_are_shortened() {
        assert_eq!(without_long_numbers("4096 of 12"), "4096 of 12");
        let long = format!("'1{}' is too much", "0".repeat(308));
        assert_eq!(without_long_numbers(&long), "'1.000e308' is too much");
    }

    /// miette cannot show columns above 65535.
    #[test]
    fn places_in_long_lines_are_shown_in_part() {
        let text: Arc<str> = format!("Scenario({}x:1)", " ".repeat(70_000)).into();
        let at = text.find('x').unwrap();
        let invalid = Invalid {
            origin: "f\u{1b}.ron".to_owned(),
            line: 1,
            column: at + 1,
            field: String::new(),
            message: String::new(),
            text: Arc::clone(&text),
            span: at..at + 1,
        };
        let shown = place(&invalid).unwrap();
        assert!(shown.len() < 400 && shown.contains("x:1)") && !shown.contains('\u{1b}'), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find("x:1"), lines[2].find('^'), "{shown}");
        let short = Invalid { text: "(\n  a: \u{1b}[31m,\n)".into(), span: 4..5, line: 2, column: 3, ..invalid };
        assert!(place(&short).unwrap().contains("a: ?[31m"));
    }
}
