//! What was run, in a few words: which scenario, and what of it was changed.
//!
//! Titles, default folders and lists of results all call a run by its [`Identity`], so that two
//! runs of one name are two runs of one configuration. It is made from the configuration itself,
//! not from the flags that led to it: the scenario of a `summary.json` has the identity of the run
//! that wrote it.

use super::config::ScenarioConfig;
use super::differences::{Difference, differences};
use crate::catalog::{self, open_trace};
use crate::config::Reference;
use crate::workload::{RuntimeConfig, SequencesConfig, TraceConfig};
use serde_json::Value;
use std::path::Path;

/// A scenario against what its file says; the strategy is not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The scenario's name.
    pub scenario: String,
    /// The model, the memory system and the trace, where they are not the scenario's own.
    pub instead: Vec<String>,
    /// Fields that were changed besides, by short names, with their values.
    pub changes: Vec<(String, String)>,
    /// A checksum of all that was changed; where the scenario's file is not known, of the whole
    /// configuration. `None` where nothing was changed.
    pub checksum: Option<u32>,
    /// What the scenario asks, if nothing was changed.
    pub about: String,
}

/// The most changes that a folder's name lists in full.
const NAMED: usize = 4;
/// The number of changes that it lists where there are more.
const NAMED_OF_MANY: usize = 3;
/// The most characters of changes in a folder's name.
const LONGEST: usize = 96;
/// The most changes in a title.
const TITLED: usize = 6;

impl Identity {
    /// The identity of `config`, which was made from `written`. A scenario that is called as a
    /// shipped one is compared with that one.
    #[must_use]
    pub fn of(config: &ScenarioConfig, written: Option<&ScenarioConfig>) -> Self {
        let shipped = catalog::SCENARIOS.iter().any(|file| file.name == config.name);
        let shipped = shipped.then(|| ScenarioConfig::load(&config.name).ok()).flatten();
        let mut identity = Self { scenario: config.name.clone(), ..Self::default() };
        let config = spelled_out(config.clone());
        let Some(base) = shipped.or_else(|| written.cloned()) else {
            identity.checksum = Some(checksum(&without_names(&config)));
            return identity;
        };
        let mut base = spelled_out(base);
        identity.about = base.about.clone();
        identity.replace_parts(&mut base, &config);
        let trees = trees(&[&base, &config]);
        let mut changed = differences(&[&trees[0], &trees[1]]);
        changed.retain(|field| !field.is_name() && !field.path.starts_with("strategy"));
        if !changed.is_empty() || !identity.instead.is_empty() {
            identity.about.clear();
        }
        if !changed.is_empty() {
            let values: Vec<(&str, String)> =
                changed.iter().map(|field| (field.path.as_str(), field.shown(1))).collect();
            identity.checksum = Some(checksum(&values));
        }
        identity.changes = in_short(&changed, 1);
        identity
    }

    /// Takes the model, the memory system, the runtime and the trace of `config` for those of
    /// `base`, and their names for the scenario's own, where they are others: only what differs
    /// from these besides is a change.
    fn replace_parts(&mut self, base: &mut ScenarioConfig, config: &ScenarioConfig) {
        if let (Reference::Inline(own), Reference::Inline(other)) = (&base.model, &config.model)
            && own.name != other.name
        {
            self.instead.push(other.name.clone());
            let shipped = catalog::MODELS.iter().any(|file| file.name == other.name);
            let shipped = shipped.then(|| catalog::model(&other.name).ok()).flatten();
            base.model = Reference::Inline(shipped.unwrap_or_else(|| other.clone()));
        }
        if let (Reference::Inline(own), Reference::Inline(other)) = (&base.memory, &config.memory)
            && own.name != other.name
        {
            self.instead.push(other.name.clone());
            let shipped = catalog::MEMORY_SYSTEMS.iter().any(|file| file.name == other.name);
            let shipped = shipped.then(|| catalog::memory(&other.name).ok()).flatten();
            base.memory = Reference::Inline(shipped.unwrap_or_else(|| other.clone()));
        }
        if let (Reference::Inline(own), Reference::Inline(other)) = (&base.runtime, &config.runtime)
            && own.name != other.name
        {
            self.instead.push(other.name.clone());
            base.runtime = Reference::Inline(shipped_like(other).unwrap_or_else(|| other.clone()));
        }
        match (&base.trace, &config.trace) {
            (TraceConfig::Generated(_), TraceConfig::Generated(_))
            | (TraceConfig::Lifelike(_), TraceConfig::Lifelike(_)) => {}
            (TraceConfig::Recorded(own), TraceConfig::Recorded(other)) if own.file == other.file => {}
            (_, TraceConfig::Recorded(recorded)) => {
                self.instead.push(stem(&recorded.file));
                base.trace = TraceConfig::Recorded(recorded.file.clone().into());
                // Its own length holds where nothing else was asked for.
                if let Ok(recording) = open_trace(&recorded.file) {
                    base.prefill_tokens = recording.prefill() as u32;
                    base.decode_tokens = recording.steps() as u32;
                }
            }
            (_, made_up) => {
                let (name, trace) = generator(made_up);
                self.instead.push(name);
                base.trace = trace;
            }
        }
    }

    /// As a part of a path: `gh200+h200-pcie,prefill=32768`. With many changes, the first of them
    /// and a checksum of all.
    #[must_use]
    pub fn folder(&self) -> String {
        let parts = std::iter::once(&self.scenario).chain(&self.instead).map(|part| file_name(part));
        let mut name = parts.collect::<Vec<_>>().join("+");
        let named = |count: usize| -> String {
            self.changes.iter().take(count).map(|(field, value)| format!(",{field}={}", file_name(value))).collect()
        };
        let all = named(self.changes.len());
        if self.changes.len() <= NAMED && all.len() <= LONGEST && (self.changes.is_empty() == self.checksum.is_none()) {
            return name + &all;
        }
        let first = named(NAMED_OF_MANY);
        if first.len() <= LONGEST {
            name += &first;
        }
        name + &self.checksum.map_or_else(String::new, |checksum| format!(",{checksum:08x}"))
    }

    /// For people: `gh200 + h200-pcie, prefill 32768`.
    #[must_use]
    pub fn title(&self) -> String {
        let parts = std::iter::once(&self.scenario).chain(&self.instead).map(String::as_str);
        let mut title = parts.collect::<Vec<_>>().join(" + ");
        for (field, value) in self.changes.iter().take(TITLED) {
            title += &format!(", {field} {value}");
        }
        match self.changes.len().saturating_sub(TITLED) {
            0 => title,
            more => format!("{title} and {more} changes more"),
        }
    }
}

/// A name as one part of a path, which no shell takes apart.
#[must_use]
pub fn file_name(name: &str) -> String {
    let name = name.replace("B/s", "Bps").replace("FLOP/s", "FLOPps").replace(": ", "=").replace(", ", ",");
    let usable = |c: char| if c.is_alphanumeric() || "._-%=,+@".contains(c) { c } else { '-' };
    let name: String = name.chars().filter(|c| *c != ' ').map(usable).collect();
    let name = name.trim_end_matches('-').to_owned();
    if name.trim_matches('.').is_empty() { "run".to_owned() } else { name }
}

/// With the model and the memory system that it names, as far as they can be read.
fn spelled_out(mut config: ScenarioConfig) -> ScenarioConfig {
    if let Reference::Name(name) = &config.model
        && let Ok(model) = catalog::model(name)
    {
        config.model = Reference::Inline(model);
    }
    if let Ok(memory) = catalog::resolved(config.memory.clone()) {
        config.memory = Reference::Inline(memory);
    }
    if let (Reference::Name(name), Reference::Inline(memory)) = (&config.runtime, &config.memory)
        && let Ok(runtime) = catalog::runtime(name, &memory.name)
    {
        config.runtime = Reference::Inline(runtime);
    }
    config
}

/// The shipped runtime of which `runtime` has the name and the machine.
fn shipped_like(runtime: &RuntimeConfig) -> Option<RuntimeConfig> {
    let file =
        runtime.machine.as_ref().map_or_else(|| runtime.name.clone(), |machine| format!("{}/{machine}", runtime.name));
    if catalog::is_runtime(&file) { catalog::runtime(&file, "").ok() } else { None }
}

/// The configurations as trees of values; each with its runtime if any has one that is not `ideal`,
/// and with its sequences in a few words if they have not all as many groups.
fn trees(configs: &[&ScenarioConfig]) -> Vec<Value> {
    let tree = |config: &&ScenarioConfig| serde_json::to_value(config).unwrap_or_default();
    let mut trees: Vec<Value> = configs.iter().map(tree).collect();
    if trees.iter().any(|tree| tree.get("runtime").is_some()) {
        for (tree, config) in trees.iter_mut().zip(configs) {
            tree["runtime"] = serde_json::to_value(&config.runtime).unwrap_or_default();
        }
    }
    if configs.iter().any(|config| config.sequences.len() != configs[0].sequences.len()) {
        for (tree, config) in trees.iter_mut().zip(configs) {
            tree["sequences"] = if config.sequences.is_empty() {
                // A batch of equal ones has a field of its own.
                "equal".into()
            } else {
                groups(config).into()
            };
        }
    }
    trees
}

/// The groups of sequences of a configuration in a few words: how many, their prompt and output,
/// and the step with which they begin, as `4x32768+64, 2x8192+64@16`; a trace of their own by its
/// name.
fn groups(config: &ScenarioConfig) -> String {
    let group = |of: &SequencesConfig| {
        let prefill = of.prefill_tokens.unwrap_or(config.prefill_tokens);
        let decode = of.decode_tokens.unwrap_or(config.decode_tokens);
        let start = if of.start_step > 0 { format!("@{}", of.start_step) } else { String::new() };
        let trace = match &of.trace {
            None => String::new(),
            Some(TraceConfig::Recorded(recorded)) => format!(" {}", stem(&recorded.file)),
            Some(made_up) => format!(" {} {:08x}", generator(made_up).0, checksum(made_up)),
        };
        format!("{}x{prefill}+{decode}{start}{trace}", of.count)
    };
    config.sequences.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// The shipped generator that `made_up` was made from, which may have another skip and seed.
fn generator(made_up: &TraceConfig) -> (String, TraceConfig) {
    let alike = |shipped: &TraceConfig| match (shipped, made_up) {
        (TraceConfig::Generated(own), TraceConfig::Generated(other)) => {
            let mut own = own.clone();
            (own.skip, own.seed, own.churn) = (other.skip, other.seed, other.churn);
            own == *other
        }
        (TraceConfig::Lifelike(own), TraceConfig::Lifelike(other)) => {
            let mut own = own.clone();
            (own.skip, own.seed) = (other.skip, other.seed);
            own == *other
        }
        _ => false,
    };
    let shipped = catalog::GENERATORS.iter().filter_map(|file| Some((file.name, catalog::generator(file.name).ok()??)));
    let found = shipped.into_iter().find(|(_, trace)| alike(trace));
    found.map_or_else(|| ("generated".to_owned(), TraceConfig::default()), |(name, trace)| (name.to_owned(), trace))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "trace".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// All of a configuration but names, descriptions and the strategy.
fn without_names(config: &ScenarioConfig) -> Value {
    let mut tree = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(fields) = &mut tree {
        ["name", "about", "strategy"].iter().for_each(|field| drop(fields.remove(*field)));
    }
    tree
}

fn checksum(of: &impl serde::Serialize) -> u32 {
    crc32fast::hash(serde_json::to_string(of).unwrap_or_default().as_bytes())
}

/// The differences between `configs`, in a few words each: the name of the scenario, the model, the
/// memory system, the runtime and the strategy where these are others, then single fields.
/// Configurations that are alike have empty labels.
#[must_use]
pub fn labels(configs: &[&ScenarioConfig]) -> Vec<String> {
    let spelled: Vec<ScenarioConfig> = configs.iter().map(|config| spelled_out((*config).clone())).collect();
    let mut words: Vec<Vec<String>> = vec![Vec::new(); configs.len()];
    let parts: [fn(&ScenarioConfig) -> String; 5] = [
        |config| config.name.clone(),
        |config| match &config.model {
            Reference::Inline(model) => model.name.clone(),
            Reference::Name(name) => name.clone(),
        },
        |config| match &config.memory {
            Reference::Inline(memory) => memory.name.clone(),
            Reference::Name(name) => name.clone(),
        },
        |config| match &config.runtime {
            Reference::Inline(runtime) => runtime.name.clone(),
            Reference::Name(name) => name.clone(),
        },
        |config| config.strategy.label(),
    ];
    let mut differs = [false; 5];
    for (part, differs) in parts.iter().zip(&mut differs) {
        let names: Vec<String> = spelled.iter().map(part).collect();
        *differs = names.iter().any(|name| *name != names[0]);
        if *differs {
            words
                .iter_mut()
                .zip(names)
                .filter(|(words, name)| !words.contains(name))
                .for_each(|(words, name)| words.push(name));
        }
    }
    let trees = trees(&spelled.iter().collect::<Vec<_>>());
    let mut changed = differences(&trees.iter().collect::<Vec<_>>());
    // What has a name is called by it.
    changed.retain(|field| {
        let of = |part: &str| field.path.starts_with(part);
        let of_named = of("model.") && differs[1] || of("memory.") && differs[2] || of("runtime.") && differs[3];
        !(field.is_name() || of("strategy") || of_named)
    });
    // Other scenarios differ in too much to list all of it.
    if !differs[0] {
        for (index, words) in words.iter_mut().enumerate() {
            let short = in_short(&changed, index);
            words.extend(short.into_iter().take(NAMED).map(|(field, value)| format!("{field} {value}")));
        }
    }
    words.into_iter().map(|words| words.join(", ")).collect()
}

/// Changes under short names with the values of one configuration, those that people change most
/// first.
fn in_short(changed: &[Difference], index: usize) -> Vec<(String, String)> {
    const FIRST: [&str; 13] = [
        "prefill_tokens",
        "decode_tokens",
        "batch",
        "sequences",
        "requests.rate",
        "requests.count",
        "prefill.chunk_tokens",
        "prefill.order",
        "trace.skip",
        "trace.churn",
        "trace.seed",
        "page_tokens",
        "warmup_steps",
    ];
    let place = |path: &str| FIRST.iter().position(|known| *known == path).unwrap_or(FIRST.len());
    let has_chunks = changed.iter().any(|field| field.path == "prefill.chunk_tokens");
    // That prompts take time is said by the size of their chunks, and the usual order by nothing.
    let is_said = |field: &Difference| match field.path.as_str() {
        "prefill" => has_chunks,
        "prefill.order" => field.values.iter().flatten().all(|order| order == "Mixed"),
        _ => false,
    };
    let mut sorted: Vec<&Difference> = changed.iter().filter(|field| !is_said(field)).collect();
    sorted.sort_by_key(|field| place(&field.path));
    let mut short: Vec<(String, String)> = Vec::new();
    for field in sorted {
        // Both directions of a link are one change, where they are the same.
        let (name, value) = match field.path.as_str() {
            "prefill.chunk_tokens" if field.values[index].is_none() => ("prompts".to_owned(), "given".to_owned()),
            path => (short_name(path), field.shown(index)),
        };
        if let Some(link) = name.strip_suffix("-write")
            && let Some(read) =
                short.iter_mut().find(|(known, shown)| *known == format!("{link}-read") && *shown == value)
        {
            read.0 = link.to_owned();
            continue;
        }
        let grown = ["trace-extend", "efficiency"].iter().find_map(|part| {
            let at = name.find(part)?;
            Some(name[..at + part.len()].trim_start_matches("trace-").to_owned())
        });
        match grown {
            // A generator or a table that was spelled out: its name says enough.
            Some(part) if short.iter().any(|(known, _)| *known == part) => {}
            Some(part) => short.push((part, value)),
            None => short.push((name, value)),
        }
    }
    short
}

/// `prefill_tokens` is `prefill`, `memory.hbm.capacity` is `hbm-capacity`.
fn short_name(path: &str) -> String {
    let path = match path {
        "prefill_tokens" => "prefill",
        "decode_tokens" => "decode",
        "warmup_steps" => "warmup",
        "prefill" => "prompts",
        "prefill.chunk_tokens" => "chunk",
        "prefill.order" => "order",
        "trace.skip" => "skip",
        "trace.churn" => "churn",
        "trace.seed" => "seed",
        "trace.sinks" => "sinks",
        path => ["memory.", "requests."].iter().find_map(|part| path.strip_prefix(part)).unwrap_or(path),
    };
    path.replace(['.', '_'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Fields;
    use serde_json::json;

    fn changed(scenario: &str, assignments: &[(&str, Value)]) -> ScenarioConfig {
        let mut fields = Fields::new(&ScenarioConfig::load(scenario).unwrap()).unwrap();
        assignments.iter().for_each(|(path, value)| fields.set(path, value.clone()).unwrap());
        fields.config().unwrap()
    }

    fn identity(scenario: &str, assignments: &[(&str, Value)]) -> Identity {
        Identity::of(&changed(scenario, assignments), None)
    }

    #[test]
    fn a_shipped_scenario_is_called_by_its_name_and_asks_its_question() {
        let found = identity("study", &[("strategy", json!("baseline"))]);
        assert_eq!((found.folder().as_str(), found.title().as_str()), ("study", "study"));
        assert!(found.about.starts_with("The study's setting"), "{found:?}");
    }

    #[test]
    fn changes_are_in_the_name_and_take_the_question_away() {
        let of = |assignments: &[(&str, Value)]| identity("gh200", assignments).folder();
        assert_eq!(
            of(&[("memory", json!("h200-pcie")), ("prefill_tokens", json!(32768))]),
            "gh200+h200-pcie,prefill=32768"
        );
        assert_eq!(of(&[("model", json!("study"))]), "gh200+study");
        let link = [("memory.lpddr5x.link.read", json!("400 GB/s")), ("memory.lpddr5x.link.write", json!("400 GB/s"))];
        assert_eq!(of(&link), "gh200,lpddr5x-link=400GBps");
        assert_eq!(of(&[("trace.skip", json!(0.3)), ("decode_tokens", json!(8))]), "gh200,decode=8,skip=0.3");
        assert_eq!(of(&[("batch", json!(8)), ("warmup_steps", json!(2))]), "gh200,batch=8,warmup=2");
        let chunks = [("prefill.chunk_tokens", json!(512)), ("prefill_tokens", json!("32k"))];
        assert_eq!(of(&chunks), "gh200,prefill=32768,chunk=512");
        assert_eq!(of(&[("prefill.order", json!("first"))]), "gh200,chunk=2048,order=First");
        let groups = [
            ("decode_tokens", json!(64)),
            ("sequences", json!("[(count: 4), (count: 2, prefill_tokens: \"8k\", start_step: 16)]")),
        ];
        let found = identity("study", &groups);
        assert_eq!(found.title(), "study, decode 64, sequences 4x1024+64, 2x8192+64@16");
        assert_eq!(found.folder(), "study,decode=64,sequences=4x1024+64,2x8192+64@16");
        let found = identity("study", &[("prefill_tokens", json!(8))]);
        assert_eq!((found.about.as_str(), found.title().as_str()), ("", "study, prefill 8"));
        let trace = of(&[("model", json!("smollm2-135m")), ("trace", json!("python_heapq_skip40"))]);
        assert!(trace.starts_with("gh200+smollm2-135m+python_heapq_skip40,prefill=131072,decode=256"), "{trace}");
        assert_eq!(of(&[("trace", json!("like-recorded-40"))]), "gh200+like-recorded-40");
    }

    #[test]
    fn many_changes_end_in_a_checksum_of_all() {
        let with = |sinks: u32| {
            let set = [("decode_tokens", json!(8)), ("trace.skip", json!(0.3)), ("trace.churn", json!(0.1))];
            let more = [("trace.seed", json!(2)), ("trace.sinks", json!(sinks))];
            identity("study", &[&set[..], &more].concat()).folder()
        };
        let (one, other) = (with(4), with(5));
        assert!(one.starts_with("study,decode=8,skip=0.3,churn=0.1,") && one != other, "{one} {other}");
        assert_eq!(one.len(), "study,decode=8,skip=0.3,churn=0.1,".len() + 8);
        assert_eq!(one, with(4));
    }

    #[test]
    fn a_scenario_of_ones_own_is_held_against_its_file() {
        let mut mine = ScenarioConfig { name: "mine".into(), about: "Mine?".into(), ..changed("study", &[]) };
        let written = mine.clone();
        let of = |config: &ScenarioConfig, written| Identity::of(config, written);
        assert_eq!(
            (of(&mine, Some(&written)).folder(), of(&mine, Some(&written)).about),
            ("mine".into(), "Mine?".into())
        );
        // Where the file is not known, no other configuration has the folder.
        let unknown = of(&mine, None);
        mine.decode_tokens = 7;
        assert_eq!(of(&mine, Some(&written)).folder(), "mine,decode=7");
        assert!(unknown.folder().starts_with("mine,") && unknown.folder() != of(&mine, None).folder());
    }

    #[test]
    fn labels_say_what_differs() {
        let of = |sides: [&[(&str, Value)]; 2]| {
            let [one, other] = sides.map(|assignments| changed("gh200", assignments));
            labels(&[&one, &other])
        };
        assert_eq!(of([&[], &[("memory", json!("h200-pcie"))]]), ["gh200", "h200-pcie"]);
        assert_eq!(
            of([&[("strategy", json!("baseline"))], &[("strategy", json!("balanced"))]]),
            ["baseline", "balanced (oracle: sees 8 steps)"]
        );
        let narrow =
            [("memory.external.link.read", json!("450 GB/s")), ("memory.external.link.write", json!("450 GB/s"))];
        let narrow = labels(&[&changed("study", &[]), &changed("study", &narrow)]);
        assert_eq!(narrow, ["external-link 900 GB/s", "external-link 450 GB/s"]);
        let both = [("memory", json!("h200-pcie")), ("decode_tokens", json!(8))];
        assert_eq!(of([&[], &both]), ["gh200, decode 256", "h200-pcie, decode 8"]);
        assert_eq!(of([&[], &[("batch", json!(8))]]), ["batch 1", "batch 8"]);
        assert_eq!(of([&[], &[("prefill.chunk_tokens", json!(512))]]), ["prompts given", "chunk 512"]);
        assert_eq!(of([&[], &[]]), ["", ""]);
        assert_eq!(labels(&[&changed("gh200", &[]), &changed("study", &[])]), ["gh200, llama-3.1-70b-fp8", "study"]);
    }

    #[test]
    fn names_of_files_hold_what_tells_them_apart() {
        assert_eq!(file_name("ByRoom(growth: 2, active: 5%)/Balance/None"), "ByRoom-growth=2,active=5%--Balance-None");
        assert_eq!(file_name("../.."), "..-..");
        assert_eq!(file_name(".."), "run");
        assert_eq!(file_name("450 GB/s"), "450GBps");
    }
}
