//! What the program writes of one sequence and of several.

use super::*;
use crate::common::program::tiersim;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The files below `folder`, by their paths.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let content = fs::read(&path).unwrap();
            all.insert(path, content);
        }
    }
    all
}

/// What a command writes into a folder, by paths below that.
fn written(args: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let place = TempDir::new().unwrap();
    tiersim(place.path(), &[args, &["--out", "here"]].concat()).assert().success();
    let below = |(path, content): (PathBuf, Vec<u8>)| (path.strip_prefix(place.path()).unwrap().to_owned(), content);
    files(place.path()).into_iter().map(below).collect()
}

const RUN: [&str; 6] = ["run", "study", "--decode", "24", "--skip", "0.4"];

#[test]
fn a_batch_of_one_is_no_batch_to_the_byte() {
    let one = written(&RUN);
    assert!(one.keys().any(|path| path.ends_with("baseline/summary.json")), "{:?}", one.keys());
    for batch in [&["--set", "batch=1"][..], &["--batch", "1"]] {
        let other = written(&[&RUN[..], batch].concat());
        assert!(one.keys().eq(other.keys()));
        for (path, content) in &one {
            assert!(other[path] == *content, "{} differs", path.display());
        }
    }
}

#[test]
fn a_list_of_one_sequence_has_the_figures_of_one() {
    let one = written(&RUN);
    let listed = written(&[&RUN[..], &["--set", "sequences=[(count: 1)]"]].concat());
    assert!(one.keys().eq(listed.keys()));
    let mut compared = 0;
    for (path, content) in &one {
        match path.file_name().unwrap().to_str().unwrap() {
            "summary.json" => {
                // Only the scenario that it was run from says how it was said.
                let [mut one, mut other] =
                    [content, &listed[path]].map(|text| serde_json::from_slice::<Value>(text).unwrap());
                let [this, that] = [&mut one, &mut other].map(|summary| summary["scenario"].take());
                assert_eq!(one, other, "{}", path.display());
                assert_ne!(this, that);
                compared += 1;
            }
            "report.html" | "report.runs.json" => {}
            _ => assert!(listed[path] == *content, "{} differs", path.display()),
        }
    }
    assert!(compared > 0);
}

const SWEEP: &str = r#"Sweep(name: "few", about: "Sequences that come and go.", base: "study", set: {
    "sequences": "[(count: 2, prefill_tokens: 40, decode_tokens: 6), (prefill_tokens: 100, decode_tokens: 3, start_step: 2)]",
    "prefill": "Timed(chunk_tokens: 30)",
}, axes: [
    Values(field: "trace.skip", values: ["0%", "40%"]),
    Values(field: "strategy", values: ["baseline", "best-ratio"]),
])"#;

#[test]
fn sequences_give_the_same_bytes_for_any_number_of_jobs() {
    let place = TempDir::new().unwrap();
    let sweep = place.path().join("few.ron");
    fs::write(&sweep, SWEEP).unwrap();
    let with = |jobs: &'static str| written(&["sweep", sweep.to_str().unwrap(), "--jobs", jobs]);
    let (one, four) = (with("1"), with("4"));
    assert!(one.len() > 1 && one.keys().eq(four.keys()));
    for (path, content) in &one {
        assert!(four[path] == *content, "{} differs", path.display());
    }
}

#[test]
fn ttft_by_hand() {
    // As in `prefill`: three chunks, then two tokens.
    let mut config = small(1, (1000, 2000), 10, 1 << 30, 10, 2);
    config.prefill = timed(4, PrefillOrder::Mixed);
    let scenario = Scenario::new(config).unwrap();
    let mut recorder = tiersim::metrics::Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    let report = recorder.finish(&scenario, &outcome);
    let summary = serde_json::to_value(&report.summary).unwrap();
    let near = |field: &str, expected: f64| {
        let found = summary[field]["mean"].as_f64().unwrap_or_else(|| panic!("no {field} in {summary}"));
        assert!((found / expected - 1.0).abs() < 0.002, "{field}: {found} against {expected}");
    };
    near("ttft_ns", 9.220);
    near("tpot_ns", (3.110 + 3.120) / 2.0);
}
