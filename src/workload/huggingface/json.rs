//! A `config.json` as text and as values, with the place of each field.
//!
//! Published configurations are written by Python, whose `json` module writes `Infinity`,
//! `-Infinity` and `NaN`, which JSON does not have. They are read as a number out of every range
//! and as null, so that a file which has them in a field that changes no bytes can be imported.

use super::refusal::Refusal;
use crate::config::{ConfigError, Invalid, parse_json};
use serde_json::{Map, Value};
use std::ops::Range;
use std::sync::Arc;

/// A configuration's text and what it holds.
pub(super) struct Document<'a> {
    text: &'a str,
    origin: &'a str,
    root: Map<String, Value>,
}

impl<'a> Document<'a> {
    /// Reads `text`, which is called `origin` in messages.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the place, for what is no JSON object.
    pub fn new(text: &'a str, origin: &'a str) -> Result<Self, ConfigError> {
        let value: Value = parse_json(&strict(text), origin).map_err(|error| match error {
            ConfigError::Invalid(mut invalid) => {
                if invalid.field == "?" {
                    invalid.field.clear();
                }
                if invalid.message.starts_with("EOF") {
                    invalid.message.push_str(": the file ends too early: fetch it again, in full");
                }
                ConfigError::Invalid(invalid)
            }
            other => other,
        })?;
        match value {
            Value::Object(root) => Ok(Self { text, origin, root }),
            _ => Err(ConfigError::Meaning {
                origin: origin.to_owned(),
                message: "it is no JSON object: give the config.json that is published with a model".to_owned(),
            }),
        }
    }

    pub fn root(&self) -> &Map<String, Value> {
        &self.root
    }

    /// A refusal as the error of this file, with the place of the field where the file has it.
    pub fn error(&self, refusal: &Refusal) -> ConfigError {
        let field = refusal.field().to_owned();
        match find(self.text, &field.split('.').collect::<Vec<_>>()) {
            Some(span) if !field.is_empty() => {
                let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
                ConfigError::Invalid(Box::new(Invalid {
                    origin: self.origin.to_owned(),
                    line: self.text[..span.start].bytes().filter(|byte| *byte == b'\n').count() + 1,
                    column: self.text[start..span.start].chars().count() + 1,
                    field,
                    message: refusal.message(),
                    text: Arc::from(self.text),
                    span,
                }))
            }
            _ => ConfigError::Meaning { origin: self.origin.to_owned(), message: refusal.to_string() },
        }
    }
}

/// `text` with what Python writes for numbers that JSON does not have in words that it has, of the
/// same length where there is one, so that places stay what they are.
fn strict(text: &str) -> String {
    const WORDS: [(&str, &str); 3] = [("-Infinity", "-1e308   "), ("Infinity", "1e308   "), ("NaN", "null")];
    let mut strict = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with('"') {
            let end = string_end(rest.as_bytes(), 0);
            strict.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if let Some((word, instead)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
            strict.push_str(instead);
            rest = &rest[word.len()..];
            continue;
        }
        let next = rest.chars().next().map_or(1, char::len_utf8);
        strict.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    strict
}

/// The byte after the string that begins at `start`; the end of the text where it is not closed.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The place of the key at the end of `path`, in the objects that the keys before it name. O(text).
fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // How many enclosing objects and arrays, and how many of them are on the path.
    let (mut depth, mut matched, mut at) = (0_usize, 0_usize, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                matched = matched.min(depth.saturating_sub(1));
            }
            b'"' => {
                let end = string_end(bytes, at);
                let is_key = text[end..].trim_start().starts_with(':');
                if is_key && depth == matched + 1 && text.get(at + 1..end - 1) == Some(path[matched]) {
                    if matched + 1 == path.len() {
                        return Some(at..end);
                    }
                    if text[end..].trim_start()[1..].trim_start().starts_with('{') {
                        matched += 1;
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_are_read_outside_of_strings_only() {
        let text = "{\"limit\": [0.0, Infinity, -Infinity], \"not\": NaN, \"name\": \"Infinity NaN\"}";
        let document = Document::new(text, "config.json").unwrap();
        assert_eq!(document.root()["name"], "Infinity NaN");
        assert_eq!(document.root()["limit"][1], 1e308);
        assert!(document.root()["not"].is_null());
    }

    #[test]
    fn a_field_is_found_in_its_own_object() {
        let text = "{\n \"other\": {\"size\": 1},\n \"text\": {\n  \"list\": [{\"size\": 2}],\n  \"size\": 3}}";
        let at = |path: &[&str]| find(text, path).map(|span| text[..span.start].lines().count());
        assert_eq!(at(&["text", "size"]), Some(5));
        assert_eq!(at(&["other", "size"]), Some(2));
        assert_eq!(at(&["size"]), None);
        assert_eq!(at(&["text"]), Some(3));
    }

    #[test]
    fn a_truncated_file_is_named_with_its_line() {
        let Err(error) = Document::new("{\n \"hidden_size\": 4096,\n \"vocab", "cut.json") else { panic!() };
        let message = error.to_string();
        assert!(message.starts_with("cut.json:3:") && message.contains("ends too early"), "{message}");
        assert!(Document::new("[1]", "x.json").is_err_and(|error| error.to_string().contains("no JSON object")));
    }
}
