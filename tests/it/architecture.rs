//! The modules of the crate use each other in one direction only.
//!
//! Every `use` line and every path that starts with `crate::`, `super::` or `self::` is resolved to
//! the file that defines what it names, through re-exports. Two rules hold:
//!
//! * **No circles**, at any level of the tree: among the files and folders of one folder, none
//!   reaches itself again over what it uses. A folder stands for all files in it. A folder's own
//!   `mod.rs` may use the files of the folder and they it: it is their front door.
//! * **Rooms use what stands before them**: the modules of the crate's root are in the order of the
//!   table in `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by its path: `["report", "html", "plots"]`; the root is empty.
type Module = Vec<String>;

/// A module's text without comments, strings and tests, and what it imports by name.
#[derive(Default)]
struct File {
    text: String,
    imports: BTreeMap<String, Module>,
}

#[test]
fn no_file_or_folder_uses_itself_over_others() {
    let graph = Graph::new(&sources());
    let found: Vec<String> = graph.circles().iter().map(|circle| graph.described(circle)).collect();
    assert!(found.is_empty(), "import circles:\n{}", found.concat());
}

#[test]
fn rooms_use_what_stands_before_them() {
    let sources = sources();
    let order = rooms(&fs::read_to_string("src/lib.rs").unwrap());
    let declared: BTreeSet<&str> = sources
        .keys()
        .filter(|module| module.len() == 1)
        .map(|module| module[0].as_str())
        .filter(|it| *it != "main")
        .collect();
    assert_eq!(order.iter().map(String::as_str).collect::<BTreeSet<_>>(), declared, "the table of rooms in src/lib.rs");
    let rank = |room: &str| order.iter().position(|known| known == room).unwrap();
    let mut wrong = Vec::new();
    for (folder, from, to, tie) in &Graph::new(&sources).edges {
        if folder.is_empty() && from != "main" && rank(to) >= rank(from) {
            wrong.push(format!("{from} uses {to}, which stands after it: {tie}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rooms in the order of the table in the crate's documentation, which has other tables too.
fn rooms(text: &str) -> Vec<String> {
    let table = text.lines().skip_while(|line| !line.starts_with("//! | module |"));
    let rows = table.map_while(|line| line.strip_prefix("//! | ")?.split_once(" | ")).skip(2);
    rows.map(|(room, _)| room.trim_matches(|c| "[]`".contains(c)).to_owned()).collect()
}

/// The text of every module under `src`.
fn sources() -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    read(Path::new("src"), &Vec::new(), &mut found);
    found
}

fn read(folder: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let inner = |name: &str| [&module[..], &[name.to_owned()]].concat();
        if path.is_dir() {
            read(&path, &inner(&stem), found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let module = if ["mod", "lib"].contains(&stem.as_str()) { module.clone() } else { inner(&stem) };
            found.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// What uses what: the folder in which both are, who uses, what is used, and one line that does.
struct Graph {
    edges: BTreeSet<(Module, String, String, String)>,
}

/// A circle: the folder and the members in it.
type Circle = (Module, BTreeSet<String>);

impl Graph {
    fn new(sources: &BTreeMap<Module, String>) -> Self {
        let mut files: BTreeMap<&Module, File> = BTreeMap::new();
        for (module, text) in sources {
            files.insert(module, File { text: bare(text), imports: BTreeMap::new() });
        }
        for module in sources.keys() {
            let imports = uses(&files[module].text)
                .into_iter()
                .filter_map(|(path, name)| Some((name?, absolute(module, &path, sources)?)));
            let imports = imports.collect();
            files.get_mut(module).unwrap().imports = imports;
        }
        let mut edges = BTreeSet::new();
        for module in sources.keys() {
            let uses = uses(&files[module].text).into_iter().map(|(path, _)| path);
            for path in uses.chain(paths(&files[module].text)) {
                let Some(target) = absolute(module, &path, sources) else { continue };
                let target = resolve(&target, &files, 0);
                let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                // A folder's own file is no member of it.
                if common < module.len() && common < target.len() {
                    let (from, to) = (module[common].clone(), target[common].clone());
                    let tie = format!("{} uses {}", module.join("/"), target.join("/"));
                    edges.insert((module[..common].to_vec(), from, to, tie));
                }
            }
        }
        Self { edges }
    }

    /// Sets of members of a folder that reach each other and themselves.
    fn circles(&self) -> Vec<Circle> {
        let mut used: BTreeMap<(&Module, &str), BTreeSet<&str>> = BTreeMap::new();
        for (folder, from, to, _) in &self.edges {
            used.entry((folder, from)).or_default().insert(to);
        }
        let reached = |folder: &Module, from: &str| {
            let (mut known, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(member) = open.pop() {
                for next in used.get(&(folder, member.as_str())).into_iter().flatten() {
                    if known.insert((*next).to_owned()) {
                        open.push((*next).to_owned());
                    }
                }
            }
            known
        };
        let mut circles: BTreeSet<Circle> = BTreeSet::new();
        for (folder, member) in used.keys() {
            let from_here = reached(folder, member);
            if from_here.contains(*member) {
                let back = from_here.into_iter().filter(|other| reached(folder, other).contains(*member));
                circles.insert(((*folder).clone(), back.collect()));
            }
        }
        circles.into_iter().collect()
    }

    /// A circle in words: its members, and a line that ties each pair of them.
    fn described(&self, (folder, members): &Circle) -> String {
        let ties = self
            .edges
            .iter()
            .filter(|(within, from, to, _)| within == folder && members.contains(from) && members.contains(to));
        let ties = ties.map(|(_, from, to, tie)| format!("  {from} -> {to}: {tie}\n")).collect::<String>();
        format!("{}\n{ties}", heading(&folder.join("/"), members.iter().map(String::as_str)))
    }
}

fn heading<'a>(folder: &str, members: impl Iterator<Item = &'a str>) -> String {
    format!("in src/{folder}: {}", members.collect::<Vec<_>>().join(", "))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The text without comments, strings, and items only for tests.
fn bare(text: &str) -> String {
    let text = without_strings(text);
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        // To the end of the item: its last brace, or a semicolon before any.
        let (mut depth, mut end) = (0, rest.len());
        for (index, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => end = index + 1,
                '}' => depth -= 1,
                ';' if depth == 0 => end = index + 1,
                _ => {}
            }
            if end < rest.len() {
                break;
            }
        }
        rest = &rest[end..];
    }
    kept + rest
}

fn without_strings(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let raw =
            rest.strip_prefix('r').map(|after| after.trim_start_matches('#')).filter(|after| after.starts_with('"'));
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(after) = raw.filter(|_| !kept.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
            let hashes = "#".repeat(rest.len() - after.len() - 1);
            let close = format!("\"{hashes}");
            rest.len() - after.len() + 1 + after[1..].find(&close).map_or(after.len() - 1, |end| end + close.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].char_indices().find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |(end, _)| end + 2)
        } else if let Some(quoted) = ["'\"'", "'{'", "'}'", "'\\''", "';'"].into_iter().find(|it| rest.starts_with(it))
        {
            quoted.len()
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.push(' ');
        rest = &rest[skipped..];
    }
    kept
}

/// What the `use` lines of a text name: whole paths, and the name that each has in this module.
fn uses(text: &str) -> Vec<(Vec<String>, Option<String>)> {
    let mut found = Vec::new();
    let starts =
        text.match_indices("use ").filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    for (at, _) in starts {
        let end = text[at..].find(';').map_or(text.len(), |end| at + end);
        tree(&text[at + 4..end], &[], &mut found);
    }
    found
}

fn tree(text: &str, before: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) {
    let text = text.trim();
    if let Some((stem, group)) = text.split_once('{') {
        let stem = segments(stem);
        let before = [before, &stem].concat();
        let (mut depth, mut start) = (0, 0);
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    tree(&group[start..index], &before, found);
                    start = index + 1;
                }
                _ => {}
            }
        }
        return tree(&group[start..], &before, found);
    }
    let (path, alias) = text.split_once(" as ").map_or((text, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [before, &segments(path)].concat();
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if !path.is_empty() && !text.is_empty() {
        let name = alias.map(str::to_owned).or_else(|| path.last().cloned()).filter(|name| name != "*");
        found.push((path, name));
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The paths in a text that start at the root or at the module around it.
fn paths(text: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            if text[..at].ends_with(|c: char| is_name(c) || c == ':') {
                continue;
            }
            let end = text[at..].find(|c: char| !is_name(c) && c != ':').map_or(text.len(), |end| at + end);
            found.push(segments(&text[at..end]));
        }
    }
    found
}

/// A path from the root, of one that is written in `module`; `None` for one into another crate.
fn absolute(module: &Module, path: &[String], sources: &BTreeMap<Module, String>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let mut base = module.clone();
            let ups = path.iter().take_while(|part| *part == "super").count();
            base.truncate(module.len().checked_sub(ups)?);
            Some([&base[..], &path[ups..]].concat())
        }
        _ => {
            let inner = [&module[..], std::slice::from_ref(first)].concat();
            sources.contains_key(&inner).then(|| [module, path].concat())
        }
    }
}

/// The module that defines what `path` names, through what modules import by name.
fn resolve(path: &Module, files: &BTreeMap<&Module, File>, depth: usize) -> Module {
    let most = (0..=path.len()).rev().find(|most| files.contains_key(&path[..*most].to_vec())).unwrap_or(0);
    let module = path[..most].to_vec();
    let imported = path.get(most).and_then(|name| files.get(&module)?.imports.get(name));
    match imported {
        Some(target) if depth < 8 && *target != *path => {
            resolve(&[target, &path[most + 1..]].concat(), files, depth + 1)
        }
        _ => module,
    }
}

/// The finder finds what it is to find, and nothing else.
#[test]
fn a_planted_circle_is_found() {
    let graph = |texts: &[(&str, &str)]| {
        let module = |path: &str| segments(&path.replace('/', "::"));
        Graph::new(&texts.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect())
    };
    let found = |texts: &[(&str, &str)]| {
        let graph = graph(texts);
        graph.circles().iter().map(|circle| first_line(&graph.described(circle)).to_owned()).collect::<Vec<_>>()
    };
    let facade = "mod x; mod y; pub use x::X; use crate::b::B; pub struct Own;";
    // Over a re-export, within braces, and in an expression.
    let circle = [
        ("", "mod a; mod b;"),
        ("a", facade),
        ("a/x", "use super::{y::{Y, Z}, Own};"),
        ("a/y", "fn f() { let it: super::X = g(); }"),
        ("b", "pub struct B;"),
    ];
    assert_eq!(found(&circle), ["in src/a: x, y"]);
    let rooms = [("", ""), ("a", facade), ("a/x", ""), ("a/y", ""), ("b", "use crate::a::X as It;")];
    assert_eq!(found(&rooms), ["in src/: a, b"]);
    // A name that the parent imports for its children is the other module's.
    let imported = [("", ""), ("a", facade), ("a/x", "use super::B;"), ("a/y", ""), ("b", "use crate::a::Own;")];
    assert_eq!(found(&imported), ["in src/: a, b"]);
    // Comments, strings, tests and the front door are no circles.
    let none = [
        ("", ""),
        ("a", facade),
        (
            "a/x",
            "//! [`super::y`]\nuse super::Own; const T: &str = \"super::y::Y\"; #[cfg(test)]\nmod tests { use super::super::y::Y; }",
        ),
        ("a/y", "use super::x::X; /* crate::b */ const R: &str = r#\"\"crate::b\"#;"),
        ("b", "#[cfg(test)]\nuse crate::a::X;\npub struct B;"),
    ];
    assert_eq!(found(&none), Vec::<String>::new());
}
