//! `index.html`: all results below a folder, by their pages.
//!
//! A page has its question and answer in its head, so that a list of thousands of pages reads only
//! a few kilobytes of each. Other files and unreadable pages are left out: the list is written
//! after a command has finished its work, and must not make it fail.

use super::artifact::{Artifact, ReportError};
use super::html::{STYLE, failed};
use super::output::write;
use askama::Template;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the file.
const NAME: &str = "index.html";
/// The pages that results have.
const PAGES: [&str; 2] = ["report.html", "explain.html"];
/// Folders in which there are no pages, but many files.
const WITHOUT_PAGES: [&str; 3] = ["histograms", "cells", "journal"];
/// The greatest depth below the folder at which results are searched.
const DEPTH: usize = 6;
/// The bytes that are read of a page.
const HEAD: u64 = 32 << 10;
/// The most results that are listed.
const MOST: usize = 5_000;
/// The most characters of an answer that are shown.
const ANSWER: usize = 400;

/// A result in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The page, relative to the folder, with `/` between its parts.
    pub path: String,
    /// The page's title.
    pub title: String,
    /// Its question.
    pub question: String,
    /// Its answer, cut after a sentence where it is long.
    pub answer: String,
    /// When it was written.
    pub date: String,
}

impl Entry {
    /// The first folder on the way to the page: the kind of result.
    pub fn kind(&self) -> &str {
        self.path.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// The address of the page, relative to the list.
    pub fn address(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~=,+".contains(&byte);
        let shown = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
        self.path.bytes().map(shown).collect()
    }
}

/// Writes the `index.html` of `folder`.
///
/// # Errors
/// [`ReportError`] if it cannot be written.
pub fn write_index(folder: &Path) -> Result<(), ReportError> {
    let mut pages = Vec::new();
    find(folder, &mut PathBuf::new(), 0, &mut pages);
    pages.sort();
    let left_out = pages.len().saturating_sub(MOST);
    let entries: Vec<Entry> = pages.iter().take(MOST).filter_map(|page| entry(folder, page)).collect();
    write(folder, &[Artifact::new(NAME, list(&entries, left_out)?)])
}

#[derive(Template)]
#[template(path = "list.html", config = "src/report/html/askama.toml")]
struct ListView<'a> {
    style: &'static str,
    count: usize,
    kinds: Vec<(&'a str, Vec<&'a Entry>)>,
    left_out: usize,
}

/// A page with a row for each of `entries`, which are in the order of their paths; so many more are
/// left out.
///
/// # Errors
/// [`ReportError::Format`] if the template fails, which valid input never causes.
fn list(entries: &[Entry], left_out: usize) -> Result<String, ReportError> {
    let mut kinds: Vec<(&str, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        match kinds.last_mut() {
            Some((kind, rows)) if *kind == entry.kind() => rows.push(entry),
            _ => kinds.push((entry.kind(), vec![entry])),
        }
    }
    ListView { style: STYLE, count: entries.len(), kinds, left_out }.render().map_err(failed)
}

/// The pages below `folder`. Links are not followed: they may lead anywhere, or back.
fn find(folder: &Path, below: &mut PathBuf, depth: usize, pages: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder.join(&*below)) else { return };
    for entry in entries.flatten() {
        let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
        let Some(name) = name.to_str() else { continue };
        if kind.is_file() && depth > 0 && PAGES.contains(&name) {
            pages.push(below.join(name));
        } else if kind.is_dir() && depth < DEPTH && !name.starts_with('.') && !WITHOUT_PAGES.contains(&name) {
            below.push(name);
            find(folder, below, depth + 1, pages);
            below.pop();
        }
    }
}

/// The title, question and answer in a page's head; `None` if it is not a page of tiersim.
fn entry(folder: &Path, page: &Path) -> Option<Entry> {
    let file = File::open(folder.join(page)).ok()?;
    let modified = file.metadata().ok()?.modified().ok();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let title = between(&head, "<title>", "</title>")?.strip_suffix(" · tiersim")?;
    let meta = |name: &str| {
        between(&head, &format!("<meta name=\"{name}\" content=\""), "\">").map(unescaped).unwrap_or_default()
    };
    let parts: Vec<&str> = page.iter().filter_map(|part| part.to_str()).collect();
    Some(Entry {
        path: parts.join("/"),
        title: unescaped(title),
        question: meta("question"),
        answer: shortened(&meta("answer")),
        date: modified.map(date).unwrap_or_default(),
    })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// Reverts askama's escapes.
fn unescaped(text: &str) -> String {
    let pairs = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The first sentences of a long answer.
fn shortened(answer: &str) -> String {
    let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = answer.char_indices().nth(ANSWER) else { return answer };
    let part = &answer[..end];
    match part.rfind(". ") {
        Some(stop) => format!("{} …", &part[..=stop]),
        None => format!("{part} …"),
    }
}

/// Year, month, day and time in UTC: `2026-11-26 18:02`.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    // Days to a date of the Gregorian calendar, in years that begin in March (H. Hinnant,
    // "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |seconds: u64| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(of(0), "1970-01-01 00:00");
        assert_eq!(of(951_782_399), "2000-02-28 23:59");
        assert_eq!(of(951_782_400), "2000-02-29 00:00");
        assert_eq!(of(1_795_716_120), "2026-11-26 18:02");
        assert_eq!(of(4_102_444_799), "2099-12-31 23:59");
    }

    #[test]
    fn answers_end_with_a_sentence() {
        assert_eq!(shortened("One. Two."), "One. Two.");
        let long = format!("First sentence. {}", "word ".repeat(100));
        assert_eq!(shortened(&long), "First sentence. …");
    }

    #[test]
    fn addresses_hold_what_folders_are_called() {
        let entry = |path: &str| Entry {
            path: path.to_owned(),
            title: String::new(),
            question: String::new(),
            answer: String::new(),
            date: String::new(),
        };
        let found = entry("runs/gh200+h200-pcie,skip=40%/a b#c/report.html");
        assert_eq!(found.address(), "runs/gh200+h200-pcie,skip=40%25/a%20b%23c/report.html");
        assert_eq!(found.kind(), "runs");
    }
}
