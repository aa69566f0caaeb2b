//! Reading what people typed: RON files with errors that name file, line, column and field.

mod count;
mod nearest;
mod not_zero;
mod printable;
mod reference;
mod typed;

pub use count::{Counting, count, count_from_1, optional_count, optional_count_from_1};
pub use nearest::{did_you_mean, nearest};
pub use not_zero::not_zero;
pub use printable::{is_control, printable, printable_lines, shortened};
pub use reference::Reference;
pub use typed::typed;

use ron::extensions::Extensions;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("cannot read '{path}': {message}")]
    Read { path: String, message: String },
    #[error("{0}")]
    Invalid(Box<Invalid>),
    #[error("{origin}: {message}")]
    Meaning { origin: String, message: String },
    #[error(
        "there is no {what} named '{name}', and no file of that path: use one of {known}, or the path of a RON file.{meant}"
    )]
    Unknown { what: &'static str, name: String, known: String, meant: String },
    #[error("there is no {what} named '{name}': use one of {known}, or spell it out in parentheses.{meant}")]
    UnknownPart { what: &'static str, name: String, known: String, meant: String },
}

/// A place in a configuration that is not right.
#[derive(Clone, Debug, Error)]
#[error("{origin}:{line}:{column}: {}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Invalid {
    /// The file's path, or what else it is called.
    pub origin: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The path of the field, such as `tiers[0].capacity`; empty where it is not known.
    pub field: String,
    /// What is wrong, with the value and the remedy.
    pub message: String,
    /// The whole text, to show the place.
    pub text: Arc<str>,
    /// The place, in bytes of the text.
    pub span: Range<usize>,
}

/// The largest configuration file that is read.
const MAX_FILE: u64 = 16 << 20;

/// Opens a regular file and returns it with its length in bytes. A pipe is refused, as opening it
/// would wait for its writer, and so is a device, which may never end.
///
/// # Errors
/// Those of the system, and one for what is no regular file.
pub fn open_regular(path: &Path) -> std::io::Result<(File, u64)> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    Ok((File::open(path)?, meta.len()))
}

/// What a name in a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum NameError {
    #[error("'{shown}' has a control character, which no page and no picture can show: leave it out", shown = name.escape_debug())]
    Control { name: String },
    #[error("'{start}...' has {length} bytes, but files are named after it: write at most {MAX_NAME}")]
    TooLong { start: String, length: usize },
}

/// The longest name, in bytes: file systems allow 255, and endings are added.
const MAX_NAME: usize = 128;

/// Whether reports can show `name` and files can be named after it.
///
/// # Errors
/// [`NameError`] if it has control characters or is too long.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_NAME {
        let start: String = name.chars().take(24).flat_map(char::escape_debug).collect();
        return Err(NameError::TooLong { start, length: name.len() });
    }
    check_shown(name)
}

/// Whether reports can show `text`.
///
/// # Errors
/// [`NameError::Control`].
pub fn check_shown(text: &str) -> Result<(), NameError> {
    // Pictures and pages are XML, which has no place for the last two either.
    let hidden = |c: char| c.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&c);
    if text.chars().any(hidden) {
        Err(NameError::Control { name: text.chars().take(MAX_NAME).collect() })
    } else {
        Ok(())
    }
}

/// The text of a configuration file.
///
/// # Errors
/// [`ConfigError::Read`] if it cannot be read, is not UTF-8 or is absurdly long.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let error = |message: String| ConfigError::Read { path: path.display().to_string(), message };
    let failed = |source: std::io::Error| error(source.to_string());
    let (file, _) = open_regular(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(error(format!("more than {MAX_FILE} bytes are too many for a configuration")));
    }
    utf8(bytes).map_err(error)
}

/// What serde says of a value, where JSON stands between the text and the value: it has no NaN and
/// no infinity, so that these arrive as null.
#[must_use]
pub fn not_finite(message: String) -> String {
    match message.strip_prefix("invalid type: null, ") {
        Some(rest) if rest.contains("f64") || rest.contains("number") || rest.contains("ratio") => {
            format!("it is no finite number (NaN and inf are none), {rest}")
        }
        _ => message,
    }
}

/// The text that `bytes` are in UTF-8, without a byte order mark.
///
/// # Errors
/// The line that is not UTF-8, in words.
pub fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8: save the file as UTF-8 text")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a `T` from RON text that is called `origin` in messages.
///
/// # Errors
/// [`ConfigError::Invalid`] with the place and the field.
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let invalid = |field: String, error: ron::error::SpannedError| {
        let (start, end) = (error.span.start, error.span.end);
        let from = offset(text, start.line, start.col);
        let to = offset(text, end.line, end.col).max(from);
        ConfigError::Invalid(Box::new(Invalid {
            origin: origin.to_owned(),
            line: start.line,
            column: start.col,
            field,
            message: error.code.to_string(),
            text: text.into(),
            span: from..to,
        }))
    };
    let options = ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_default_extension(Extensions::UNWRAP_NEWTYPES)
        .with_default_extension(Extensions::UNWRAP_VARIANT_NEWTYPES);
    let mut deserializer =
        ron::Deserializer::from_str_with_options(text, &options).map_err(|error| invalid(String::new(), error))?;
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { field };
        invalid(field, deserializer.span_error(error.into_inner()))
    })?;
    deserializer.end().map_err(|error| invalid(String::new(), deserializer.span_error(error)))?;
    Ok(value)
}

/// Reads a `T` from JSON text that is called `origin` in messages.
///
/// # Errors
/// [`ConfigError::Invalid`] with the place and the field.
pub fn parse_json<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let invalid = |field: String, error: serde_json::Error| {
        let at = offset(text, error.line(), error.column());
        ConfigError::Invalid(Box::new(Invalid {
            origin: origin.to_owned(),
            line: error.line(),
            column: error.column(),
            field: if field == "." { String::new() } else { field },
            message: error.to_string(),
            text: text.into(),
            span: at..at,
        }))
    };
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| invalid(error.path().to_string(), error.into_inner()))?;
    deserializer.end().map_err(|error| invalid(String::new(), error))?;
    Ok(value)
}

/// The error of a value that is well-formed but wrong, with its place in `text`: the first
/// `key: "value"`, which `typed` has.
pub(crate) fn invalid_value(
    text: &str,
    origin: &str,
    typed: (&str, &str),
    field: String,
    message: String,
) -> ConfigError {
    let (key, value) = (typed.0, format!("{:?}", typed.1));
    let is_value_of_key = |at: &usize| {
        let before = text[..*at].trim_end().strip_suffix(':').map(str::trim_end);
        before.is_some_and(|before| before.ends_with(key))
    };
    match text.match_indices(&value).map(|(at, _)| at).find(is_value_of_key) {
        Some(at) => {
            let line = text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
            let column = text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at].chars().count() + 1;
            let (origin, text) = (origin.to_owned(), text.into());
            ConfigError::Invalid(Box::new(Invalid {
                origin,
                line,
                column,
                field,
                message,
                text,
                span: at..at + value.len(),
            }))
        }
        None => ConfigError::Meaning { origin: origin.to_owned(), message: format!("{field}: {message}") },
    }
}

/// The byte at which a place, counted in lines and characters from 1, starts.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    start + within
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryConfig;

    fn error(text: &str) -> Invalid {
        match parse::<MemoryConfig>(text, "test.ron") {
            Err(ConfigError::Invalid(invalid)) => *invalid,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_line_field_and_value() {
        let found =
            error("(\n  name: \"x\",\n  tiers: [(name: \"hbm\", capacity: \"4 gigs\", bandwidth: \"1 GB/s\")],\n)");
        assert_eq!((found.line, found.field.as_str()), (3, "tiers[0].capacity"));
        assert!(found.message.contains("'gigs'"), "{found}");
        let found = error("(\n  name: \"x\",\n  teirs: [],\n)");
        assert_eq!(found.line, 3);
        assert!(found.message.contains("teirs") && found.message.contains("tiers"), "{found}");
        let found = error("(\n  name: \"x\",\n  tiers: [\n");
        assert!(found.line >= 3, "{found}");
    }

    #[test]
    fn refuses_what_follows_the_end() {
        assert_eq!(error("(name: \"x\", tiers: []) 7").line, 1);
    }
}
