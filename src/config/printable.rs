//! Text from files, made fit for a terminal, a picture and an error message.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character does something to a terminal, or to the order of what it shows, instead of
/// being shown. Line ends do as well.
#[must_use]
pub fn is_control(c: char) -> bool {
    // Besides control characters: marks of direction, which make a text read as another one.
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` with control characters written out, such as `\u{1b}`, so that a name in a file cannot
/// steer a terminal.
///
/// ```
/// use tiersim::config::printable;
/// assert_eq!(printable("hbm"), "hbm");
/// assert_eq!(printable("\u{1b}[31mred"), "\\u{1b}[31mred");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// The same for text of several lines: line ends and tabs stay.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_control(c) && c != '\n' && c != '\t')
}

fn escaped(text: &str, replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&replaced) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if replaced(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// `text` if it is short; otherwise its start and its end, with how much was left out between them.
#[must_use]
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (front, back) = (boundary(most / 2), boundary(text.len() - most / 2));
    format!("{}... ({} characters left out) ...{}", &text[..front], text[front..back].chars().count(), &text[back..])
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}\nb\u{202e}"), "a\\u{1b}]0;x\\u{7}\\u{a}b\\u{202e}");
        assert_eq!(printable_lines("a\n\tb\r"), "a\n\tb\\u{d}");
        assert!(matches!(printable("µ é 中"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_keeps_its_ends() {
        let long = format!("'{}' is no size", "é".repeat(10_000));
        let shown = shortened(&long, 100);
        assert!(shown.len() < 150 && shown.starts_with("'é") && shown.ends_with("is no size"), "{shown}");
        assert!(shown.contains("characters left out"));
        assert_eq!(shortened("short", 100), "short");
    }
}
