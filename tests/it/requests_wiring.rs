//! A scenario that serves requests is a scenario like any other: it is run, swept, searched,
//! decided on, explained and compared, with the same bytes for any number of threads.

use crate::common::program::{refused, stdout, tiersim};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::simulation::ScenarioConfig;

/// A small model that serves thirty requests, on a machine with external memory.
const SMALL: &str = r#"Scenario(
    name: "small",
    model: (name: "tiny", layers: [(count: 4, attention: (stored: "64 MiB"), mlp: (stored: "128 MiB"), kv_bytes: "8 KiB")]),
    memory: (name: "machine", tiers: [
        (name: "hbm", capacity: "1 GiB", bandwidth: "400 GB/s"),
        (name: "ddr", capacity: "8 GiB", bandwidth: "50 GB/s", link: (read: "20 GB/s", write: "20 GB/s")),
    ]),
    requests: (
        source: Generated(per_second: 20, prompt: Uniform(from: 100, to: 900), output: Fixed(40)),
        count: 30,
        limits: (sequences: 8, tokens: 512),
        goals: "ttft<500ms,tpot<40ms",
    ),
)
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.ron"), SMALL).unwrap();
    folder
}

/// Every file below `folder`, by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_is_repeated_from_its_summary() {
    let folder = folder();
    let summary = stdout(folder.path(), &["run", "small.ron", "--json", "--out", "once"]);
    let requests = &json(&summary)["requests"];
    assert_eq!((requests["arrived"].as_u64(), requests["finished"].as_u64()), (Some(30), Some(30)));
    assert_eq!(requests["output_tokens"].as_u64(), Some(30 * 40));
    let scenario = &json(&summary)["scenario"];
    assert_eq!(scenario["page_tokens"], 16);
    for absent in ["prefill_tokens", "decode_tokens"] {
        assert!(scenario.get(absent).is_none(), "{absent}");
    }
    let again = stdout(folder.path(), &["run", "once/summary.json", "--json", "--out", "again"]);
    assert_eq!(summary, again);
    assert_eq!(files(&folder.path().join("once")), files(&folder.path().join("again")));
}

#[test]
fn a_log_is_found_beside_its_scenario() {
    let folder = folder();
    fs::create_dir(folder.path().join("inner")).unwrap();
    let source = "source: Generated(per_second: 20, prompt: Uniform(from: 100, to: 900), output: Fixed(40))";
    let log = SMALL.replace(source, "source: Log(file: \"log.csv\")");
    assert_ne!(log, SMALL);
    fs::write(folder.path().join("inner/log.ron"), log).unwrap();
    fs::write(folder.path().join("inner/log.csv"), "arrival_s,prompt_tokens,output_tokens\n0,100,3\n0.5,200,4\n")
        .unwrap();
    let summary = json(&stdout(folder.path(), &["run", "inner/log.ron", "--json"]));
    assert_eq!(summary["requests"]["output_tokens"], 7);
    // Nothing of the log is in the summary but its path.
    assert_eq!(summary["scenario"]["requests"]["source"]["Log"]["file"], "inner/log.csv");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let folder = folder();
    for (arguments, field, remedy) in [
        (["--prefill", "100"], "prefill_tokens", "prompt of its own"),
        (["--decode", "100"], "decode_tokens", "output of its own"),
        (["--batch", "2"], "batch", "requests.limits.sequences"),
        (["--prefill-chunk", "64"], "prefill", "requests.limits.tokens"),
        (["--skip", "0.4"], "trace", "leave it out"),
        (["--warmup", "1"], "warmup_steps", "leave it out"),
        (["--strategy", "best-ratio"], "strategy.migration", "requests.kv"),
        (["--placement", "BestRatio"], "strategy.placement", "requests.kv"),
        (["--set", "weight_prefetch=2"], "weight_prefetch", "write 0"),
        (["--set", "bound=Charged"], "bound", "leave it out"),
        (["--set", "requests.limits.tokens=0"], "requests.limits.tokens", "more than 0"),
        (["--set", "requests.kv.cach=Off"], "requests.kv.cach", "cache"),
        (["--timeline", "0..2"], "--timeline", "leave it out"),
    ] {
        let message = refused(folder.path(), &[&["run", "small.ron"], &arguments[..]].concat());
        assert!(message.contains(field) && message.contains(remedy), "{arguments:?}\n{message}");
    }
    for (command, remedy) in [("strategies", "requests.kv"), ("plan", "decide"), ("explore", "--vary")] {
        let message = refused(folder.path(), &[command, "small.ron"]);
        assert!(message.contains("serves requests") && message.contains(remedy), "{command}\n{message}");
    }
}

#[test]
fn a_scenario_without_requests_needs_its_lengths() {
    let folder = folder();
    for missing in ["prefill_tokens", "decode_tokens"] {
        let both = "    prefill_tokens: 8,\n    decode_tokens: 8,\n";
        let line = format!("    {missing}: 8,\n");
        let text =
            format!("Scenario(\n    name: \"x\", model: \"study\", memory: \"study\",\n{})\n", both.replace(&line, ""));
        fs::write(folder.path().join("missing.ron"), text).unwrap();
        let message = refused(folder.path(), &["run", "missing.ron"]);
        let expected = format!("missing.ron:4:1: Unexpected missing field named `{missing}` in `Scenario`");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn weights_without_room_are_said_without_a_prompt() {
    let folder = folder();
    let arguments = ["run", "small.ron", "--set", "memory.hbm.capacity=64MiB", "--set", "memory.ddr.capacity=64MiB"];
    let message = refused(folder.path(), &arguments);
    assert!(message.contains("the weights") && !message.contains("prefill"), "{message}");
}

#[test]
fn a_scenario_of_requests_is_checked() {
    let folder = folder();
    let printed = stdout(folder.path(), &["check", "small.ron"]);
    assert!(printed.contains("30 requests of") && printed.contains("+ 1200 tokens"), "{printed}");
    let config = ScenarioConfig::load(folder.path().join("small.ron").to_str().unwrap()).unwrap();
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ScenarioConfig>(&written).unwrap(), config);
}

#[test]
fn several_runs_are_the_same_with_any_number_of_threads() {
    let run = |jobs: &str| {
        let folder = folder();
        let axes = ["requests.limits.sequences=1..8/4", "requests.rate=x1,x4"];
        let arguments = ["run", "small.ron", "--vary", axes[0], "--vary", axes[1], "--jobs", jobs, "--out", "grid"];
        tiersim(folder.path(), &arguments).assert().success();
        files(&folder.path().join("grid"))
    };
    let (one, four) = (run("1"), run("4"));
    assert!(one.keys().any(|name| name.ends_with("sweep.json")), "{:?}", one.keys());
    for (name, bytes) in &one {
        assert!(four.get(name) == Some(bytes), "{name} differs");
    }
    assert_eq!(one.len(), four.len());
}
