//! What runs write for other programs: the schema of `summary.json`, timelines, completions, manual pages.

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn tiersim(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tiersim").expect("the binary is built for its tests");
    command.current_dir(folder).args(args);
    command
}

fn stdout(folder: &Path, args: &[&str]) -> String {
    String::from_utf8(tiersim(folder, args).assert().success().get_output().stdout.clone()).expect("text")
}

fn json(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).expect("a file")).expect("JSON")
}

#[test]
fn summaries_are_as_their_schema_says() {
    let place = TempDir::new().unwrap();
    let schema: Value = serde_json::from_str(&stdout(place.path(), &["schema"])).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let runs: [&[&str]; 4] = [
        &["run", "--decode", "20", "--skip", "40%", "--out", "a"],
        &["run", "--decode", "20", "--memory", "hbm-lpddr-cxl", "--strategy", "baseline", "--out", "b"],
        &["run", "recorded", "--decode", "20", "--page-tokens", "16", "--out", "c"],
        // Ends for want of memory.
        &[
            "run",
            "--decode",
            "999",
            "--set",
            "memory.external.capacity=1 MiB",
            "--hbm-capacity",
            "2500MiB",
            "--out",
            "d",
        ],
    ];
    for args in runs {
        let code = tiersim(place.path(), args).output().unwrap().status.code();
        assert_eq!(code, Some(i32::from(args.contains(&"999"))), "{args:?}");
        let summary = json(place.path(), &format!("{}/summary.json", args[args.len() - 1]));
        let errors: Vec<String> = validator.iter_errors(&summary).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{args:?}: {errors:?}");
        let mut wrong = summary.clone();
        wrong["simulated_ns"] = "soon".into();
        assert!(!validator.is_valid(&wrong), "a schema that accepts anything");
    }
}

/// A timeline of a whole run has all its transfers, on the lanes that carried them, in rows that do not overlap.
#[test]
fn a_timeline_says_what_the_run_did() {
    let place = TempDir::new().unwrap();
    let args = ["run", "--decode", "12", "--skip", "40%", "--timeline", "0..12", "--out", "run"];
    tiersim(place.path(), &args).assert().success();
    let summary = json(place.path(), "run/summary.json");
    let timeline = json(place.path(), "run/timeline.json");
    let events = timeline["traceEvents"].as_array().unwrap();
    let of = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
    let mut names: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    for event in of("M").filter(|event| event["name"] == "thread_name") {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        assert!(names.insert(track, event["args"]["name"].as_str().unwrap()).is_none(), "two names of {track:?}");
    }
    // Picoseconds, so that sums are exact.
    let ps = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as u64;
    let mut rows: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for event in of("X") {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = names[&track].split(" (").next().unwrap();
        rows.entry(track).or_default().push((ps(&event["ts"]), ps(&event["ts"]) + ps(&event["dur"])));
        if let Some(size) = event["args"]["bytes"].as_u64() {
            *bytes.entry(name.to_owned()).or_default() += size;
        }
    }
    for (track, slices) in &mut rows {
        slices.sort_unstable();
        for pair in slices.windows(2) {
            assert!(pair[1].0 >= pair[0].1, "{}: {pair:?} overlap", names[track]);
        }
    }
    for class in ["WeightRead", "KvRead", "KvWrite", "MigrateIn", "MigrateOut"] {
        let carried: u64 =
            summary["transfers"][class]["bytes"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
        assert!(carried > 0);
        assert_eq!(bytes[class], carried, "{class}");
    }
    for (lane, figures) in summary["lanes"].as_object().unwrap() {
        assert_eq!(bytes[lane], figures["bytes"].as_u64().unwrap(), "{lane}");
    }
    // What a lane carries, integrated over the run, is what it has carried; the last transfers end after the last step.
    let end = ps(&of("X").filter(|event| event["pid"] == 1).map(|event| event["ts"].clone()).next_back().unwrap());
    assert!(end > 0);
    let rate = |lane: &str| {
        let name = format!("{lane} (GB/s)");
        let points: Vec<(u64, f64)> = of("C")
            .filter(|it| it["name"] == *name)
            .map(|it| (ps(&it["ts"]), it["args"]["value"].as_f64().unwrap()))
            .collect();
        points.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64 * pair[0].1 / 1e3).sum::<f64>()
    };
    let (carried, all) = (rate("hbm.bus"), summary["lanes"]["hbm.bus"]["bytes"].as_f64().unwrap());
    assert!(carried <= all * 1.000_001 && carried > all * 0.99, "{carried} of {all}");
    // A later run without one leaves none behind.
    tiersim(place.path(), &["run", "--decode", "2", "--out", "run"]).assert().success();
    assert!(!place.path().join("run/timeline.json").exists());
}

/// The picture in the README is what its command draws.
#[test]
fn the_readme_shows_a_timeline_of_today() {
    let place = TempDir::new().unwrap();
    let args =
        ["run", "--decode", "600", "--skip", "40%", "--strategy", "best-ratio", "--timeline", "500", "--out", "run"];
    tiersim(place.path(), &args).assert().success();
    let drawn = fs::read_to_string(place.path().join("run/timeline.svg")).unwrap();
    let shown = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/timeline.svg")).unwrap();
    assert!(drawn == shown, "if the change is meant, copy the new one to tests/golden/timeline.svg");
}

#[test]
fn timelines_are_of_steps_that_there_are() {
    let place = TempDir::new().unwrap();
    for (steps, part) in [("5..9", "0..6"), ("3..3", "no steps"), ("x", "write 100"), ("-1", "write 100")] {
        let refused = tiersim(place.path(), &["run", "--decode", "6", &format!("--timeline={steps}")]).assert().code(2);
        let message = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(message.contains(part), "{steps}: {message}");
    }
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    let place = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(place.path(), &["completions", shell]);
        for word in ["curve", "replay", "page-tokens"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    assert!(stdout(place.path(), &["man"]).starts_with(".ie"), "a page for man");
    tiersim(place.path(), &["man", "--out", "pages"]).assert().success();
    let page = fs::read_to_string(place.path().join("pages/tiersim-trace-info.1")).unwrap();
    assert!(page.contains("tiersim trace info"), "{page}");
}

#[test]
fn quiet_tells_nothing_but_results_and_errors() {
    let place = TempDir::new().unwrap();
    let quiet = tiersim(place.path(), &["run", "--decode", "3", "--quiet", "--out", "a"]).assert().success();
    assert!(quiet.get_output().stderr.is_empty());
    assert!(!quiet.get_output().stdout.is_empty());
    let refused = tiersim(place.path(), &["run", "--decode", "0", "-q"]).assert().code(2);
    assert!(!refused.get_output().stderr.is_empty());
}
