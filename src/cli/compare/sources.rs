//! The entries of `tiersim compare`: folders of finished runs, and scenarios to run first, each
//! with a label.

use super::CompareArgs;
use crate::cli::error::CliError;
use crate::cli::scenario_args::{RunArgs, configure, scenarios};
use crate::cli::{hist, paths};
use crate::simulation::{Scenario, ScenarioConfig, file_name, labels};
use clap::Parser;
use std::path::{Path, PathBuf};

/// The most runs: more lines in one picture look alike.
const MOST_RUNS: usize = 8;
/// The longest entry, in characters, that is its own label.
const LEGEND_ROOM: usize = 24;

/// An entry that is to be run first, as `tiersim run` would take it.
#[derive(Parser)]
#[command(name = "tiersim run", disable_help_flag = true)]
struct Entry {
    #[command(flatten)]
    run: RunArgs,
}

/// A run to compare, by where it comes from.
pub(super) enum Source {
    Folder(PathBuf),
    Scenario(Box<Scenario>),
}

/// The most characters of a folder's name.
const LONGEST: usize = 120;

/// `out/compare/A-vs-B`, by what is run or by the folders that are read; a strategy that all have
/// comes last. Where that is long, with a checksum of all.
pub(super) fn default_folder(labels: &[String], sources: &[Source]) -> PathBuf {
    let strategy = |source: &Source| match source {
        Source::Folder(_) => None,
        Source::Scenario(scenario) => Some(file_name(&scenario.strategy().name())),
    };
    let strategies: Vec<Option<String>> = sources.iter().map(strategy).collect();
    let common = strategies[0].clone().filter(|_| strategies.iter().all(|strategy| *strategy == strategies[0]));
    let one = |((label, source), strategy): ((&String, &Source), &Option<String>)| match (source, strategy) {
        (Source::Scenario(scenario), _) if common.is_some() => paths::identity(scenario).folder(),
        (Source::Scenario(scenario), Some(strategy)) => format!("{},{strategy}", paths::identity(scenario).folder()),
        _ => file_name(label),
    };
    let mut name = labels.iter().zip(sources).zip(&strategies).map(one).collect::<Vec<_>>().join("-vs-");
    name += &common.as_ref().map_or_else(String::new, |strategy| format!(",{strategy}"));
    let name = match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}-{:08x}", &name[..end], crc32fast::hash(name.as_bytes())),
        None => name,
    };
    Path::new("out/compare").join(name)
}

/// The runs to compare, with a label each.
pub(super) fn sources(args: &CompareArgs) -> Result<(Vec<String>, Vec<Source>), CliError> {
    let (mut given, mut sources, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &args.entries {
        let (label, entry) = split_label(entry);
        for (path, source) in resolve(entry, args)? {
            given.push(label.map(str::to_owned));
            paths.push(path);
            sources.push(source);
        }
    }
    if !(2..=MOST_RUNS).contains(&sources.len()) {
        return Err(CliError::Usage(format!(
            "{} to compare: name from 2 to {MOST_RUNS} folders or scenarios",
            match sources.len() {
                1 => "there is only one run".to_owned(),
                count => format!("there are {count} runs"),
            }
        )));
    }
    // Scenarios are called by what differs between them; folders, and what does not differ, by
    // their paths.
    let mut own = hist::labels(&paths);
    let scenarios: Vec<(usize, &ScenarioConfig)> = sources
        .iter()
        .enumerate()
        .filter_map(|(index, source)| match source {
            Source::Folder(_) => None,
            Source::Scenario(scenario) => Some((index, scenario.resolved())),
        })
        .collect();
    let told_apart = labels(&scenarios.iter().map(|(_, config)| *config).collect::<Vec<_>>());
    for ((index, _), label) in scenarios.iter().zip(told_apart) {
        if !label.is_empty() {
            own[*index] = label;
        }
    }
    // A label that was given for an entry of several strategies is each one's beginning.
    for (index, label) in given.iter().enumerate() {
        if let Some(label) = label {
            let single = given.iter().filter(|other| other.as_ref() == Some(label)).count() == 1;
            own[index] = if single { label.clone() } else { format!("{label}: {}", own[index]) };
        }
    }
    if let Some(twice) = own.iter().enumerate().find(|(index, label)| own[..*index].contains(label)) {
        return Err(CliError::Usage(format!("two runs are called '{}': write LABEL=ENTRY to name them", twice.1)));
    }
    Ok((own, sources))
}

/// `before=out/a` is `out/a`, to be called `before`.
fn split_label(entry: &str) -> (Option<&str>, &str) {
    match entry.split_once('=') {
        Some((label, rest)) if !label.is_empty() && !Path::new(entry).exists() => {
            let usable = |c: char| c.is_alphanumeric() || "._-".contains(c);
            if label.chars().all(usable) && !label.starts_with('-') { (Some(label), rest) } else { (None, entry) }
        }
        _ => (None, entry),
    }
}

/// The runs of an entry, each with the path that it is called by.
fn resolve(entry: &str, args: &CompareArgs) -> Result<Vec<(PathBuf, Source)>, CliError> {
    let path = Path::new(entry);
    let folder = if path.ends_with("summary.json") { path.parent().unwrap_or(path) } else { path };
    let shipped = crate::catalog::SCENARIOS.iter().any(|file| file.name == entry);
    if folder.is_dir() && (!shipped || folder.join("summary.json").is_file()) {
        return Ok(vec![(folder.to_owned(), Source::Folder(folder.to_owned()))]);
    }
    if entry.contains(std::path::MAIN_SEPARATOR) && !entry.contains(char::is_whitespace) && !path.exists() {
        return Err(CliError::Usage(format!("'{entry}': there is no such folder, and no scenario of that path")));
    }
    let usage = |message: &str| CliError::Usage(format!("'{entry}': {message}"));
    let words = words(entry).ok_or_else(|| usage("a quote is not closed"))?;
    let parsed = Entry::try_parse_from(std::iter::once("tiersim run".to_owned()).chain(words)).map_err(|error| {
        let text = error.to_string();
        usage(text.lines().next().unwrap_or("").trim_start_matches("error: "))
    })?;
    let mut run = parsed.run;
    if run.out.is_some() || run.json || run.jobs.is_some() || run.memory_limit.is_some() {
        return Err(usage(
            "--out, --json, --jobs and --memory-limit are for the comparison as a whole: write them outside the quotes",
        ));
    }
    run.set.extend(args.set.iter().cloned());
    let scenarios = scenarios(&run, &configure(&run)?)?;
    // The text that was typed is the best label, unless it is long or stands for several runs.
    let typed = scenarios.len() == 1 && entry.chars().count() <= LEGEND_ROOM;
    let named = |scenario: Scenario| {
        let name = if typed { entry.to_owned() } else { scenario.strategy().name() };
        // A name is no path, even if it has slashes in it.
        (PathBuf::from(name.replace('/', "-")), Source::Scenario(Box::new(scenario)))
    };
    Ok(scenarios.into_iter().map(named).collect())
}

/// As a shell would split it: at blanks that are not in quotes. `None` where a quote has no end.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_as_by_a_shell() {
        let split = |text: &str| words(text).unwrap();
        assert_eq!(split("study  --set a='b c' \"\""), ["study", "--set", "a=b c", ""]);
        assert_eq!(words("study 'open"), None);
    }

    #[test]
    fn labels_are_told_from_assignments() {
        assert_eq!(split_label("before=out/a"), (Some("before"), "out/a"));
        assert_eq!(split_label("study --set a=b"), (None, "study --set a=b"));
        assert_eq!(split_label("b=study --set a=b"), (Some("b"), "study --set a=b"));
        assert_eq!(split_label("out/a"), (None, "out/a"));
    }
}
