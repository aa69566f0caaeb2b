//! The examples of the READMEs: every command in a `console` block runs, in order and in one folder
//! a file, and prints what the block shows, to the digit. A line `...` stands for any number of
//! lines, and `[..]` within a line for any text. A `ron` block whose first line is a comment with a
//! name, `// mine.ron`, is a file of that name for the commands, and so is a block of another
//! language that has a name beside it: ```` ```json config.json ````.

use crate::common::program::tiersim;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A command and what it must print.
struct Example {
    command: String,
    shown: Vec<String>,
}

/// The examples of a file, from its `console` blocks.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => {
                examples.push(Example { command: command.to_owned(), shown: Vec::new() });
            }
            _ if inside => examples.last_mut().expect("a block begins with a command").shown.push(line.to_owned()),
            _ => {}
        }
    }
    examples
}

/// As a shell splits it: at blanks outside of quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether `line` matches `shown`, with `[..]` for any text.
fn line_matches(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once("[..]") else { return shown == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    (0..=line.len()).filter(|at| line.is_char_boundary(*at)).any(|at| line_matches(rest, &line[at..]))
}

/// Whether `lines` match `shown`, with `...` for any number of them.
fn matches(shown: &[String], lines: &[&str]) -> bool {
    match shown {
        [] => lines.is_empty(),
        [any, rest @ ..] if any == "..." => (0..=lines.len()).any(|at| matches(rest, &lines[at..])),
        [first, rest @ ..] => lines
            .split_first()
            .is_some_and(|(line, lines)| line_matches(first, line.trim_end()) && matches(rest, lines)),
    }
}

/// The contents of the `ron` blocks of a file.
fn ron_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```ron\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(""))
}

/// The blocks that have a name beside their language, and their contents.
fn named_blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let blocks = text.split("\n```").filter_map(|block| block.split_once('\n'));
    blocks.filter_map(|(opening, block)| Some((opening.split_once(' ')?.1, block)))
}

fn check(path: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let place = TempDir::new().unwrap();
    let examples = examples(&text);
    assert!(!examples.is_empty(), "{path} has no examples");
    for block in ron_blocks(&text) {
        if let Some(name) = block.lines().next().and_then(|line| line.strip_prefix("// ")?.split_whitespace().next()) {
            fs::write(place.path().join(name), block).unwrap();
        }
    }
    for (name, block) in named_blocks(&text) {
        fs::write(place.path().join(name), block).unwrap();
    }
    for Example { command, shown } in examples {
        let words = words(&command);
        assert_eq!(words[0], "tiersim", "{path}: {command}");
        let output = tiersim(place.path(), &[]).args(&words[1..]).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{path}: {command}\n{stderr}");
        let lines: Vec<&str> = stdout.trim_end().lines().collect();
        let shown: Vec<String> = shown.iter().map(|line| line.trim_end().to_owned()).collect();
        let end = shown.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        assert!(matches(&shown[..end], &lines), "{path}: {command} prints\n{stdout}\n{stderr}");
    }
}

#[test]
fn readme() {
    check("README.md");
}

#[test]
fn strategies() {
    check("src/strategy/README.md");
}

#[test]
fn planner() {
    check("src/planner/README.md");
}

#[test]
fn validation() {
    check("src/validation/README.md");
}

#[test]
fn reports() {
    check("src/report/README.md");
}

#[test]
fn published_models() {
    check("src/workload/huggingface/README.md");
}

#[test]
fn measured_machines() {
    check("src/memory/import/README.md");
}

#[test]
fn sweeps() {
    check("src/sweep/README.md");
}

/// The commands of `models/README.md` print what it shows; its `ron` blocks that are whole files
/// are valid, and its sweep runs.
#[test]
fn models() {
    check("models/README.md");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/README.md")).unwrap();
    let place = TempDir::new().unwrap();
    let whole = |block: &&str| {
        ["MemorySystem(", "LanguageModel(", "Scenario(", "Sweep("].iter().any(|kind| block.starts_with(kind))
    };
    let mut sweeps = 0;
    for block in ron_blocks(&text).filter(whole) {
        fs::write(place.path().join("example.ron"), block).unwrap();
        let command = if block.starts_with("Sweep(") { "sweep" } else { "check" };
        sweeps += usize::from(command == "sweep");
        let output = tiersim(place.path(), &[command, "example.ron"]).output().unwrap();
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(sweeps, 1);
}

#[test]
fn a_line_may_leave_text_out() {
    assert!(line_matches("a [..] c[..]", "a b c"));
    assert!(!line_matches("a [..] c", "a b c d"));
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(matches(&shown(&["...", "b", "..."]), &["a", "b", "c"]));
    assert!(!matches(&shown(&["...", "d"]), &["a", "b", "c"]));
    assert_eq!(words("run 'a b' --set x=\"y z\""), ["run", "a b", "--set", "x=y z"]);
}
