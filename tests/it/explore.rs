//! The server of `tiersim explore`: its answers, how they are refined and cancelled, maps against
//! runs one by one, downloads, and hostile requests.

mod client;
mod hostile;
mod long;

use crate::common::program::tiersim;
use client::{Page, state};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};
use tiersim::metrics::{Recorder, Summary};
use tiersim::simulation::{Assignment, Fields, Scenario, ScenarioConfig, run};

/// A run of the study with these fields, by the library alone.
fn direct(assignments: &[(&str, Value)]) -> Summary {
    let assignment = |(path, value): &(&str, Value)| Assignment {
        path: (*path).to_owned(),
        value: value.clone(),
        asked: (*path).to_owned(),
    };
    let assignments: Vec<Assignment> = assignments.iter().map(assignment).collect();
    let fields = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    let scenario = Scenario::new(fields.apply(&assignments).unwrap()).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    recorder.finish(&scenario, &outcome).summary
}

#[test]
fn the_catalog_has_what_a_page_offers_and_a_state_to_start_from() {
    let page = Page::study();
    let catalog = page.get_json("api/catalog");
    for list in ["models", "memories", "runtimes", "strategies", "fields"] {
        assert!(catalog[list].as_array().unwrap().len() > 4, "{list}");
        assert!(catalog[list].as_array().unwrap().iter().all(|entry| entry["name"].is_string()), "{list}");
    }
    assert_eq!(catalog["defaults"], state());
    for field in catalog["fields"].as_array().unwrap() {
        let (min, max) = (field["min"].as_f64().unwrap(), field["max"].as_f64().unwrap());
        let default = field["default"].as_f64();
        assert!(min < max && default.is_none_or(|default| (min..=max).contains(&default)), "{field}");
    }
    for (name, part) in [("", "<title>"), ("page.css", "{"), ("plots.js", "tiersim"), ("explore.js", "import")] {
        let (status, text) = page.get(name);
        assert!(status == 200 && text.contains(part), "{name}: {status}");
    }
}

#[test]
fn a_run_is_refined_and_its_last_line_has_the_figures_of_a_direct_run() {
    let page = Page::study();
    let lines = page.run(&json!({ "session": "a", "number": 1, "state": state() }));
    let steps: Vec<u64> = lines.iter().map(|line| line["steps"].as_u64().unwrap()).collect();
    assert!(steps == [4, 16, 64] || steps == [4, 64], "{steps:?}");
    let refined: Vec<bool> = lines.iter().map(|line| line["refined"] == true).collect();
    assert_eq!(refined.iter().filter(|refined| **refined).count(), 1);
    assert_eq!(refined.last(), Some(&true));
    for line in &lines {
        for (run, strategy) in line["runs"].as_array().unwrap().iter().zip(["baseline", "balanced-online"]) {
            let direct = direct(&[("decode_tokens", line["steps"].clone()), ("strategy", json!(strategy))]);
            assert_eq!(run["strategy"], strategy);
            assert_eq!(run["tokens_per_s"].as_f64(), direct.tokens_per_s);
            assert_eq!(run["tpot_ns"].as_f64(), direct.token_latency_ns.map(|it| it.mean));
            assert_eq!(run["over_bound"].as_f64(), direct.bound.achieved_over_bound);
            let waits: f64 = run["waits"].as_array().unwrap().iter().map(|wait| wait["share"].as_f64().unwrap()).sum();
            assert!((waits - 1.0).abs() < 1e-9, "{run}");
            let bytes: u64 =
                run["layout"][0]["parts"].as_array().unwrap().iter().map(|it| it["bytes"].as_u64().unwrap()).sum();
            assert_eq!(bytes, direct.layout.unwrap().end.weights_bytes.0.iter().map(|(_, bytes)| bytes).sum::<u64>());
        }
    }
    // Remembered: at once, and the same.
    let again = page.run(&json!({ "session": "a", "number": 2, "state": state() }));
    assert_eq!(again, lines[lines.len() - 1..]);
}

#[test]
fn the_command_gives_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let changed = json!({
        "model": "llama-3.1-8b", "memory": "gh200", "runtime": "vllm", "prefill": 2048, "batch": 2, "skip": 0.25,
        "hbm_capacity": 12e9, "link_bandwidth": 123456789000u64, "hbm_bandwidth": 2e12, "page_tokens": 8,
        "prefill_chunk": 512, "steps": 5,
    });
    for (page, changed) in [
        (Page::study(), changed.clone()),
        // After flags of the command line a change is --set.
        (
            Page::of(&["study", "--page-tokens", "4", "--prefill-chunk", "512", "--skip", "40%"]),
            json!({ "prefill_chunk": 0, "skip": 0.0, "steps": 5 }),
        ),
        (Page::of(&["study", "--hbm-capacity", "2GiB"]), changed),
    ] {
        let mut state = page.get_json("api/catalog")["defaults"].clone();
        state.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        let lines = page.run(&json!({ "session": "a", "number": 1, "state": state }));
        let last = lines.last().unwrap();
        assert_eq!(last["refined"], true, "{last}");
        let command = last["command"].as_str().unwrap();
        assert!(command.starts_with("tiersim run study"), "{command}");
        let shell = format!("{command} --json --quiet --out x").replacen("tiersim", "\"$0\"", 1);
        let output = std::process::Command::new("sh")
            .args(["-c", &shell, &crate::common::program::binary().to_string_lossy()])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let printed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        for (shown, printed) in last["runs"].as_array().unwrap().iter().zip(&printed) {
            assert_eq!(shown["error"], Value::Null);
            for figure in ["tokens_per_s", "strategy", "knows"] {
                assert_eq!(shown[figure], printed[figure], "{command}");
            }
            assert_eq!(shown["over_bound"], printed["bound"]["achieved_over_bound"], "{command}");
            assert_eq!(shown["alpha"], printed["alpha"]["mean"], "{command}");
        }
        assert_eq!(printed.len(), last["runs"].as_array().unwrap().len());
    }
}

/// A state whose simulation takes many seconds.
fn long_state() -> Value {
    let mut long = state();
    long["prefill"] = json!(262_144);
    long["skip"] = json!(0.4);
    long["steps"] = json!(1024);
    long["memory"] = json!("gh200");
    long
}

#[test]
fn a_newer_number_and_a_closed_connection_end_a_simulation() {
    let page = Page::study();
    for closed in [false, true] {
        let long = json!({ "session": "a", "number": if closed { 3 } else { 1 }, "state": long_state() });
        let mut older = page.post("api/run", &long);
        let mut first = [0; 1];
        older.read_exact(&mut first).unwrap();
        let begun = Instant::now();
        if closed {
            drop(older);
        } else {
            let lines = page.run(&json!({ "session": "a", "number": 2, "state": state() }));
            assert_eq!(lines.last().unwrap()["refined"], true);
            let mut rest = String::new();
            older.read_to_string(&mut rest).unwrap();
            assert!(rest.lines().all(|line| !line.contains("\"refined\":true")), "{rest}");
            assert!(rest.lines().last().unwrap().contains("newer request"), "{rest}");
        }
        // Both threads are free again.
        for session in ["b", "c"] {
            let mut changed = state();
            changed["batch"] = json!(if closed { 2 } else { 3 });
            let number = if closed { 2 } else { 1 };
            page.run(&json!({ "session": session, "number": number, "state": changed }));
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    let stale = page.post_text("api/run", &json!({ "session": "a", "number": 2, "state": state() }).to_string());
    assert_eq!(stale.0, 409);
}

#[test]
fn what_cannot_run_is_an_error_of_its_run() {
    let page = Page::study();
    let mut small = state();
    small["hbm_capacity"] = json!(1e8);
    small["memory"] = json!("rtx4090");
    small["model"] = json!("llama-3.1-405b");
    let lines = page.run(&json!({ "session": "a", "number": 1, "state": small }));
    let runs = lines.last().unwrap()["runs"].as_array().unwrap();
    assert!(runs.iter().all(|run| run["error"].is_string() && run["tokens_per_s"].is_null()), "{runs:?}");
}

/// Every cell by runs one by one.
#[test]
fn a_map_has_the_winners_of_direct_runs_and_its_corners_first() {
    let page = Page::study();
    let mut small = state();
    small["steps"] = json!(3);
    let (contexts, pages) = ([512.0, 1024.0, 2048.0], [1.0, 16.0]);
    for by in ["tpot", "tokens_per_s"] {
        let lines = page.map(&json!({
            "session": by, "number": 1, "state": small, "choose": "strategy", "by": by,
            "x": { "field": "prefill", "values": contexts }, "y": { "field": "page_tokens", "values": pages },
        }));
        assert_eq!(lines[0]["cells"], 6);
        assert_eq!(
            lines[0]["order"].as_array().unwrap()[..4],
            [json!([0, 0]), json!([2, 0]), json!([0, 1]), json!([2, 1])]
        );
        assert_eq!(lines.last().unwrap(), &json!({ "done": true }));
        let cells: BTreeMap<(u64, u64), &Value> = lines[1..lines.len() - 1]
            .iter()
            .map(|cell| ((cell["x"].as_u64().unwrap(), cell["y"].as_u64().unwrap()), cell))
            .collect();
        assert_eq!(cells.len(), 6);
        for ((x, y), cell) in cells {
            let figure = |strategy: &str| {
                let (context, page) = (json!(contexts[x as usize] as u32), json!(pages[y as usize] as u32));
                let set = [
                    ("prefill_tokens", context),
                    ("page_tokens", page),
                    ("decode_tokens", json!(3)),
                    ("strategy", json!(strategy)),
                ];
                let summary = direct(&set);
                if by == "tpot" { summary.token_latency_ns.unwrap().mean } else { summary.tokens_per_s.unwrap() }
            };
            let values = ["baseline", "balanced-online"].map(figure);
            assert_eq!(cell["values"], json!(values));
            let first_wins = if by == "tpot" { values[0] <= values[1] } else { values[0] >= values[1] };
            assert_eq!(cell["winner"], json!(usize::from(!first_wins)));
            let margin = values[0].max(values[1]) / values[0].min(values[1]) - 1.0;
            assert_eq!(cell["margin"].as_f64(), Some(margin));
        }
    }
}

#[test]
fn a_map_of_machines_shows_what_does_not_fit() {
    let page = Page::study();
    let mut small = state();
    small["steps"] = json!(2);
    small["model"] = json!("llama-3.1-70b");
    let lines = page.map(&json!({
        "session": "m", "number": 1, "state": small, "choose": "memory", "memories": ["rtx4090", "gh200"], "by": "tpot",
        "x": { "field": "prefill", "values": [1024] }, "y": { "field": "batch", "values": [1] },
    }));
    let cell = &lines[1];
    assert!(cell["values"][1].is_f64() && cell["winner"].is_u64(), "{cell}");
    for (wrong, field) in [
        (json!({ "x": { "field": "batch", "values": [1] } }), "batch"),
        (json!({ "x": { "field": "prefill", "values": vec![1024; 401] } }), "prefill"),
    ] {
        let mut asked = json!({
            "session": "m", "number": 2, "state": small, "choose": "strategy", "by": "tpot",
            "y": { "field": "batch", "values": [1] },
        });
        asked.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let (status, body) = page.post_text("api/map", &asked.to_string());
        assert_eq!((status, &serde_json::from_str::<Value>(&body).unwrap()["field"]), (422, &json!(field)), "{body}");
    }
}

#[test]
fn a_download_has_the_files_of_a_run_and_the_same_bytes_again() {
    let page = Page::study();
    let mut small = state();
    small["steps"] = json!(3);
    let query = format!("api/run.zip?state={}", client::escaped(&small.to_string()));
    let bytes = page.get_bytes(&query);
    assert_eq!(bytes, page.get_bytes(&query));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["run", "study", "--decode", "3", "--strategy", "baseline", "--strategy", "balanced-online", "--out", "out"];
    tiersim(folder.path(), &args).assert().success();
    let mut names = 0;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let name = file.name().unwrap().into_owned();
        let written = std::fs::read(folder.path().join("out").join(&name)).unwrap();
        let mut packed = Vec::new();
        file.read_to_end(&mut packed).unwrap();
        assert!(packed == written, "{name} differs");
        names += 1;
    }
    let written = |strategy: &str| {
        let files = walk(&folder.path().join("out").join(strategy));
        files.into_iter().filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).count()
    };
    assert_eq!(names, written("baseline") + written("balanced-online"));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn values_out_of_bounds_are_refused_with_their_field() {
    let page = Page::study();
    for (field, value) in [
        ("prefill", json!(2_000_000)),
        ("prefill", json!(0)),
        ("batch", json!(257)),
        ("batch", json!(0)),
        ("skip", json!(1.5)),
        ("skip", json!(-0.1)),
        ("hbm_capacity", json!(1e18)),
        ("hbm_bandwidth", json!(1.0)),
        ("link_bandwidth", json!(-1e12)),
        ("page_tokens", json!(0)),
        ("prefill_chunk", json!(1_000_000)),
        ("steps", json!(0)),
        ("steps", json!(1025)),
        ("strategies", json!([])),
        ("strategies", json!(["baseline", "baseline"])),
        ("strategies", json!(vec!["x"; 5])),
        ("strategies", json!(["no-such"])),
        ("model", json!("/etc/passwd")),
        ("memory", json!("../gh200.ron")),
        ("runtime", json!("./x.ron")),
    ] {
        let mut wrong = state();
        wrong[field] = value.clone();
        let (status, body) =
            page.post_text("api/run", &json!({ "session": "a", "number": 1, "state": wrong }).to_string());
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["field"]), (422, &json!(field)), "{field} {value}: {body}");
        assert!(body["error"].as_str().unwrap().len() > 10);
    }
    // Each is right, together they are too much.
    let mut large = state();
    (large["prefill"], large["batch"]) = (json!(1_000_000), json!(256));
    let (status, body) = page.post_text("api/run", &json!({ "session": "a", "number": 1, "state": large }).to_string());
    assert!(status == 422 && body.contains("batch"), "{body}");
}

#[test]
fn the_command_prints_an_address_and_ends_cleanly_and_a_port_in_use_is_named() {
    let page = Page::of(&["study"]);
    let folder = tempfile::tempdir().unwrap();
    let port = page.address.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let output = tiersim(folder.path(), &["explore", "study", "--no-open", "--port", &port]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains(&format!("port {port} is in use")) && message.contains("--port"), "{message}");
    assert_eq!(page.end().code(), Some(0));
    for (args, part) in
        [(&["recorded"][..], "recorded"), (&["chat"], "groups"), (&["study", "--vary", "batch=1,2"], "--vary")]
    {
        let args = [&["explore", "--no-open"], args].concat();
        let output = tiersim(folder.path(), &args).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && message.contains(part), "{args:?}: {message}");
    }
}
