//! The `tiersim run` command that gives what a page shows.

use crate::simulation::{Assignment, expand};
use serde_json::Value;

/// A field that differs from the scenario that a page starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The flag for it, without dashes; of what has none `None`.
    pub flag: Option<&'static str>,
    /// Its path; `a.b+c` are two.
    pub path: String,
    /// Its value as it is typed.
    pub typed: String,
    /// The same as the scenario takes it.
    pub value: Value,
}

impl Change {
    /// What it assigns.
    pub fn assignments(&self) -> Vec<Assignment> {
        let asked =
            self.flag.map_or_else(|| format!("{}={}", self.path, self.typed), |flag| format!("{flag} {}", self.typed));
        let assignment = |path| Assignment { path, value: self.value.clone(), asked: asked.clone() };
        expand(&self.path).into_iter().map(assignment).collect()
    }
}

/// `tiersim run` with the words of the command line, of which the first is the scenario and the
/// others are quoted, and the changes to it.
///
/// Flags are applied before `--set`, in an order of their own. Where the command line has flags, a
/// change follows them as `--set`, so that it holds whatever they say.
pub fn command(words: &[String], changes: &[Change], strategies: &[String]) -> String {
    let mut line: Vec<String> = ["tiersim", "run"].map(str::to_owned).into();
    line.extend(words.iter().take(1).map(|scenario| quoted(scenario)).chain(words.iter().skip(1).cloned()));
    for change in changes {
        match change.flag.filter(|_| words.len() == 1) {
            Some(flag) => line.extend([format!("--{flag}"), quoted(&change.typed)]),
            None => {
                let set = |path| ["--set".to_owned(), quoted(&format!("{path}={}", change.typed))];
                line.extend(expand(&change.path).into_iter().flat_map(set));
            }
        }
    }
    line.extend(strategies.iter().flat_map(|name| ["--strategy".to_owned(), quoted(name)]));
    line.join(" ")
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(flag: Option<&'static str>, path: &str, typed: &str) -> Change {
        Change { flag, path: path.to_owned(), typed: typed.to_owned(), value: typed.into() }
    }

    #[test]
    fn changes_are_flags_but_after_other_flags_they_are_set() {
        let changes = [
            change(Some("batch"), "batch", "8"),
            change(Some("link-bandwidth"), "memory.tiers.1.link.read+write", "450 GB/s"),
        ];
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            command(&words(&["gh200"]), &changes, &words(&["HbmFirst/Balance/Lru(keep: 1)"])),
            "tiersim run gh200 --batch 8 --link-bandwidth '450 GB/s' --strategy 'HbmFirst/Balance/Lru(keep: 1)'"
        );
        assert_eq!(
            command(&words(&["gh200", "--batch 2"]), &changes, &[]),
            "tiersim run gh200 --batch 2 --set batch=8 --set 'memory.tiers.1.link.read=450 GB/s' --set 'memory.tiers.1.link.write=450 GB/s'"
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
