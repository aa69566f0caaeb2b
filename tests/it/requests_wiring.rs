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

#[test]
fn a_sweep_of_requests_is_sorted_by_what_a_person_waits_for() {
    let folder = folder();
    let arguments = ["run", "small.ron", "--vary", "requests.rate=x1,x4", "--out", "grid"];
    let printed = stdout(folder.path(), &arguments);
    assert!(printed.contains("requests.e2e_ns.mean is lowest"), "{printed}");
    let report = |sort: &[&str]| stdout(folder.path(), &[&["sweep", "report", "grid"], sort].concat());
    assert!(report(&[]).contains("requests.e2e_ns.mean is lowest"));
    // The hit rate of requests is that of prefix caches.
    assert!(report(&["--sort", "hit_rate"]).contains("requests.prompt_tokens.hit_rate"));
}

#[test]
fn a_rate_is_searched_and_shown_as_it_is_typed() {
    let folder = folder();
    let solve = |field: &str, until: &str| {
        stdout(folder.path(), &["solve", "small.ron", "--vary", field, "--until", until, "--samples", "3", "--json"])
    };
    let found = json(&solve("requests.rate=x1..x64", "ttft_p99 < 50ms"));
    let [crossing] = &found["crossings"].as_array().unwrap()[..] else { panic!("{found}") };
    let rate = |end: &str| crossing[end]["number"].as_f64().unwrap();
    assert!(crossing["below"]["holds"] == true && rate("below") > 1.0 && rate("above") < 64.0, "{found}");
    assert!(rate("above") / rate("below") < 1.011, "{found}");
    assert!(crossing["below"]["value"].as_str().unwrap().starts_with('x'), "{found}");
    let found = json(&solve("requests.rate=10/s..1000/s", "queueing < 1ms"));
    assert!(found["crossings"][0]["below"]["value"].as_str().unwrap().ends_with("/s"), "{found}");
    // The same condition in a run at that rate.
    let below = format!("requests.rate={}", found["crossings"][0]["below"]["value"].as_str().unwrap());
    let run = json(&stdout(folder.path(), &["run", "small.ron", "--set", &below, "--json"]));
    assert!(run["requests"]["queueing_ns"]["mean"].as_f64().unwrap() < 1e6);
    let mixed =
        refused(folder.path(), &["solve", "small.ron", "--vary", "requests.rate=x1..4/s", "--until", "e2e < 1s"]);
    assert!(mixed.contains("x2") && mixed.contains("4/s"), "{mixed}");
}

#[test]
fn a_choice_of_where_kv_lies_is_decided_by_goodput() {
    let choose = "kv=hbm{requests.kv.cache=Hbm},swap{requests.preemption=Swap}";
    let small = ["--set", "requests.limits.kv_tokens=1600", "--set", "requests.goals=ttft<200ms"];
    let decide = |jobs: &str| {
        let folder = folder();
        let question = ["decide", "small.ron", "--choose", choose, "--given", "requests.rate=x1,x4", "--by", "goodput"];
        let rest = ["--out", "decision", "--jobs", jobs];
        let printed = stdout(folder.path(), &[&question[..], &small, &rest].concat());
        (printed, files(&folder.path().join("decision")))
    };
    let (one, four) = (decide("1"), decide("4"));
    assert!(one.0.contains("requests/s") && !one.0.contains("No choice"), "{}", one.0);
    // The command on the page has its number of threads.
    let same = |name: &str| assert!(one.1[name] == four.1[name], "{name} differs");
    assert_eq!(one.0, four.0);
    ["decision.json", "decision.md", "decision.svg"].into_iter().for_each(same);
    let decision = json(std::str::from_utf8(&one.1["decision.json"]).unwrap());
    assert_eq!(decision["circumstances"].as_array().unwrap().len(), 2);
    let folder = folder();
    let message = refused(
        folder.path(),
        &["decide", "small.ron", "--choose", choose, "--by", "goodput", "--set", "requests.goals=none"],
    );
    assert!(message.contains("requests.goals"), "{message}");
}

#[test]
fn requests_that_arrive_over_months_are_explained() {
    // A thousand times as far apart, the last one would arrive after the clock's end.
    let folder = folder();
    let slow = ["explain", "small.ron", "--set", "requests.rate=x0.0001", "--json", "--out", "why"];
    let explained = json(&stdout(folder.path(), &slow));
    let costs = explained["costs"].as_array().unwrap();
    let sum: i64 = costs.iter().map(|cost| cost["cost_ps"].as_i64().unwrap()).sum();
    assert_eq!(Some(sum), explained["e2e_ps"].as_i64());
    // Files of an explanation that is no longer there do not stay.
    fs::write(folder.path().join("why/explain.html"), "old").unwrap();
    stdout(folder.path(), &slow);
    assert!(!folder.path().join("why/explain.html").exists());
}

#[test]
fn times_of_requests_are_explained_to_the_picosecond() {
    let folder = folder();
    let arguments = ["explain", "small.ron", "--set", "requests.rate=x8", "--set", "requests.preemption=Swap"];
    let scarce = ["--set", "requests.limits.kv_tokens=1600", "--set", "requests.limits.sequences=4", "--out", "why"];
    let explain = |more: &[&str]| stdout(folder.path(), &[&arguments[..], &scarce, more].concat());
    let text = explain(&[]);
    for part in ["room for KV in HBM", "other requests", "reads of weights and KV", "serves 30 requests"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let explained = json(&explain(&["--json", "--jobs", "1"]));
    let whole = explained["e2e_ps"].as_i64().unwrap();
    let costs = explained["costs"].as_array().unwrap();
    assert_eq!(costs.iter().map(|cost| cost["cost_ps"].as_i64().unwrap()).sum::<i64>(), whole);
    assert_eq!(costs.last().unwrap()["name"], "Work");
    let cost = |name: &str| costs.iter().find(|cost| cost["name"] == name).unwrap()["cost_ps"].as_i64().unwrap();
    assert!(cost("AmpleHbm") > 0 && cost("NoSequenceLimit") > 0 && cost("Unloaded") > 0, "{explained}");
    // What the run says of its requests is what is explained.
    let run = [&["run", "small.ron", "--json"], &arguments[2..], &scarce[..4]].concat();
    let mean = json(&stdout(folder.path(), &run))["requests"]["e2e_ns"]["mean"].as_f64().unwrap();
    assert!((costs[0]["with"]["e2e_ns"].as_f64().unwrap() / mean - 1.0).abs() < 1e-12);
    let four = json(&explain(&["--json", "--jobs", "4"]));
    assert_eq!(explained, four);
    assert!(folder.path().join("why/explain_ladder.svg").is_file());
}

#[test]
fn runs_are_compared_by_the_times_of_requests() {
    let folder = folder();
    tiersim(folder.path(), &["run", "small.ron", "--out", "slow"]).assert().success();
    let set = ["--set", "requests.rate=x8", "--set", "requests.limits.sequences=4", "--out", "fast"];
    tiersim(folder.path(), &[&["run", "small.ron"], &set[..]].concat()).assert().success();
    let text = stdout(folder.path(), &["compare", "slow", "fast"]);
    for part in ["for a request than slow", "from arrival to the last token", "requests.e2e_ns.mean", "requests.rate"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let named = stdout(
        folder.path(),
        &["run", "small.ron", "--set", "requests.rate=x8", "--set", "requests.preemption=Swap", "--json"],
    );
    assert_eq!(json(&named)["scenario"]["requests"]["preemption"], "Swap");
    assert!(folder.path().join("out/runs/small,rate=x8,preemption=Swap").is_dir());
}
