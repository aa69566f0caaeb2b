//! Bad input and bad moments: what an attacker, a full disk or a kill would do. Each test stands
//! for a kind of fault.
//!
//! `driver` makes thousands of such inputs at random. It is ignored unless asked for:
//! `TIERSIM_HOSTILE=3000 cargo test --release --test it hostile::driver -- --ignored --nocapture`.

mod driver;
mod inputs;

use crate::common::program::{binary, tiersim};
use crate::skip;
use assert_cmd::Command;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn quietly(folder: &Path, args: &[&str]) -> Command {
    let mut command = tiersim(folder, &["--quiet"]);
    command.args(args);
    command
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = quietly(folder, args).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// The message of a command that must end with exit code 2, soon.
fn refused(folder: &Path, args: &[&str]) -> String {
    let began = Instant::now();
    let output = quietly(folder, args).assert().code(2).get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!message.contains("panicked"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", began.elapsed());
    message
}

/// That `message` has all of `parts`.
fn has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing: {message}");
    }
}

fn small_run(folder: &Path, out: &str, bandwidth: &str) {
    let set = format!("memory.hbm.bandwidth={bandwidth}");
    succeeds(
        folder,
        &["run", "--decode", "4", "--prefill", "32", "--strategy", "baseline", "--set", &set, "--out", out],
    );
}

fn temporaries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".tiersim-")).collect()
}

#[test]
fn pages_too_large_to_count_are_refused() {
    let folder = folder();
    let scenario = |kv: &str, prefill: u32, decode: u32, page: u32, capacity: &str, strategy: &str| {
        let text = format!(
            r#"Scenario(name: "wrap", prefill_tokens: {prefill}, decode_tokens: {decode}, page_tokens: {page}, strategy: "{strategy}",
            model: LanguageModel(name: "m", layers: [(count: 1, attention: (stored: "1 B"), mlp: (stored: "1 B"), kv_bytes: "{kv}")]),
            memory: MemorySystem(name: "m", tiers: [
                (name: "hbm", capacity: "{capacity}", bandwidth: "100 PB/s"),
                (name: "external", capacity: "{capacity}", bandwidth: "100 PB/s"),
            ]))"#
        );
        fs::write(folder.path().join("s.ron"), text).unwrap();
    };
    for (kv, page, decode, capacity, strategy) in [
        ("64 PiB", 256, 1, "1 TiB", "baseline"),
        ("64 PiB", 65_536, 2, "64 PiB", "best-ratio"),
        // One page is 2^64 + 65536 bytes: what is left of it fits anywhere.
        ("281474976710657 B", 65_536, 1, "1 GiB", "baseline"),
    ] {
        scenario(kv, 0, decode, page, capacity, strategy);
        for command in [&["run", "s.ron"][..], &["check", "s.ron"]] {
            has(&refused(folder.path(), command), &["page_tokens", &page.to_string(), "fewer"]);
        }
    }
    // Pages count whole: 2 tokens of a page of 4096 take as much as 4096.
    scenario("16 TiB", 0, 2048, 4096, "64 PiB", "baseline");
    has(&refused(folder.path(), &["run", "s.ron"]), &["decode_tokens", "more than can be counted"]);
    // As much as fits is no error of counting.
    scenario("1 KiB", 0, 1, 65_536, "64 PiB", "baseline");
    succeeds(folder.path(), &["check", "s.ron"]);
}

#[test]
fn a_folder_with_files_of_two_runs_is_refused() {
    let folder = folder();
    let path = folder.path();
    small_run(path, "a", "1000GB/s");
    small_run(path, "b", "4000GB/s");
    succeeds(path, &["compare", "a", "b"]);
    for file in ["steps.csv", "histograms.hlog"] {
        small_run(path, "c", "1000GB/s");
        fs::copy(path.join("b").join(file), path.join("c").join(file)).unwrap();
        has(&refused(path, &["compare", "a", "c"]), &["'c'", file, "Run it again"]);
    }
    // One flipped bit.
    small_run(path, "c", "1000GB/s");
    let steps = path.join("c/steps.csv");
    let mut bytes = fs::read(&steps).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&steps, bytes).unwrap();
    has(&refused(path, &["compare", "a", "c"]), &["steps.csv"]);
    // Without checksums, as earlier versions wrote them, times are compared.
    small_run(path, "c", "1000GB/s");
    let summary = fs::read_to_string(path.join("c/summary.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(value["files"].as_object().unwrap().len(), 2);
    value.as_object_mut().unwrap().remove("files");
    fs::write(path.join("c/summary.json"), value.to_string()).unwrap();
    fs::copy(path.join("b/steps.csv"), path.join("c/steps.csv")).unwrap();
    has(&refused(path, &["compare", "a", "c"]), &["'c'", "ns"]);
}

/// A process that is killed at any of its renames leaves the old run, the new one, or a folder
/// without a summary.
#[cfg(target_os = "linux")]
#[test]
fn a_kill_between_renames_leaves_no_mixture() {
    let strace = |folder: &Path, inject: &str| {
        std::process::Command::new("strace")
            .current_dir(folder)
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=/rename", "-e", inject])
            .arg(binary())
            .args(["--quiet", "run", "--decode", "4", "--prefill", "32", "--strategy", "baseline"])
            .args(["--set", "memory.hbm.bandwidth=4000GB/s", "--out", "k"])
            .status()
    };
    let folder = folder();
    let path = folder.path();
    if strace(path, "inject=/rename:signal=SIGKILL:when=1").is_err() {
        skip!("strace is not installed");
    }
    small_run(path, "other", "1000GB/s");
    for when in [1, 2, 3, 9, 20] {
        small_run(path, "k", "1000GB/s");
        let status = strace(path, &format!("inject=/rename:signal=SIGKILL:when={when}")).unwrap();
        assert!(!status.success(), "rename {when}");
        has(&refused(path, &["compare", "other", "k"]), &["'k'", "run it again"]);
        assert!(!temporaries(&path.join("k")).is_empty(), "the kill came before the last rename");
        // The next run removes what is left and is whole.
        small_run(path, "k", "1000GB/s");
        assert_eq!(temporaries(&path.join("k")), [""; 0]);
        assert_eq!(temporaries(&path.join("k/histograms")), [""; 0]);
        succeeds(path, &["compare", "other", "k"]);
    }
}

#[test]
fn a_folder_has_one_writer() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("o")).unwrap();
    let lock = File::open(path.join("o")).unwrap();
    lock.lock().unwrap();
    for command in [
        &["run", "--decode", "2", "--out", "o"][..],
        &["explain", "--decode", "2", "--out", "o"],
        &["curve", "--transfers", "100", "--out", "o"],
        &["compare", "study --decode 2", "study --decode 3", "--out", "o"],
    ] {
        has(&refused(path, command), &["'o'", "another process", "--out"]);
    }
    assert_eq!(fs::read_dir(path.join("o")).unwrap().count(), 0);
    drop(lock);
    succeeds(path, &["run", "--decode", "2", "--out", "o"]);
}

#[test]
fn leftovers_of_killed_processes_are_removed() {
    let folder = folder();
    let path = folder.path();
    let leave = |within: &str| {
        fs::create_dir_all(path.join(within)).unwrap();
        fs::write(path.join(within).join(".tiersim-abc.tmp"), "half").unwrap();
    };
    leave("o");
    leave("o/histograms");
    small_run(path, "o", "1000GB/s");
    assert_eq!((temporaries(&path.join("o")), temporaries(&path.join("o/histograms"))), (vec![], vec![]));
    leave("t");
    succeeds(path, &["trace", "generate", "--decode", "2", "--prefill", "8", "--layers", "1", "-o", "t/a.jsonl"]);
    assert_eq!(temporaries(&path.join("t")), [""; 0]);
    // What a process is writing stays.
    leave("t");
    let writing = File::open(path.join("t/.tiersim-abc.tmp")).unwrap();
    writing.lock().unwrap();
    succeeds(path, &["trace", "generate", "--decode", "2", "--prefill", "8", "--layers", "1", "-o", "t/b.jsonl"]);
    assert_eq!(temporaries(&path.join("t")).len(), 1);
}

#[test]
fn a_folder_in_the_place_of_a_file_is_found_before_the_run() {
    let folder = folder();
    let path = folder.path();
    for name in ["report.html", "steps.csv", "steps.parquet", "histograms.hlog", "alpha.png", "summary.json"] {
        fs::create_dir_all(path.join("o").join(name)).unwrap();
        // A run of an hour, if it began.
        let message = refused(path, &["run", "--decode", "1000000", "--strategy", "baseline", "--out", "o"]);
        has(&message, &[name, "folder", "--out"]);
        assert_eq!(fs::read_dir(path.join("o")).unwrap().count(), 1, "nothing was written");
        fs::remove_dir(path.join("o").join(name)).unwrap();
    }
    // A histogram's name is known at the end, and nothing is written then.
    small_run(path, "o", "1000GB/s");
    let before = fs::read(path.join("o/summary.json")).unwrap();
    fs::remove_file(path.join("o/histograms/token_latency.hgrm")).unwrap();
    fs::create_dir(path.join("o/histograms/token_latency.hgrm")).unwrap();
    has(
        &refused(path, &["run", "--decode", "2", "--strategy", "baseline", "--out", "o"]),
        &["token_latency.hgrm", "folder"],
    );
    assert_eq!(fs::read(path.join("o/summary.json")).unwrap(), before);
}

#[test]
fn memory_is_estimated_before_it_is_taken() {
    let folder = folder();
    let path = folder.path();
    let large =
        ["--prefill", "400000", "--decode", "3000", "--skip", "40%", "--placement", "LookAheadBatch(steps: 3000)"];
    for command in ["run", "explain", "strategies"] {
        let mut args = vec![command, "--memory-limit", "300MiB", "--strategy", "best-ratio"];
        args.extend(large);
        has(&refused(path, &args), &["3000 steps", "300 MiB", "--memory-limit"]);
    }
    let entry = format!("study {}", large.map(|part| format!("'{part}'")).join(" "));
    has(&refused(path, &["compare", "study --decode 2", &entry, "--memory-limit", "300MiB"]), &["3000 steps"]);
    let search =
        ["solve", "--vary", "memory.hbm.capacity=8GiB..16GiB", "--until", "p99 < 9ms", "--memory-limit", "16MiB"];
    has(&refused(path, &search), &["memory", "--memory-limit"]);
    has(
        &refused(path, &["trace", "generate", "--layers", "4096", "--prefill", "8388608", "-o", "t.parquet"]),
        &["t.parquet", "layers"],
    );
    has(&refused(path, &["run", "--decode", "3000", "--timeline", "0..3000"]), &["--timeline 0..3000", "at most"]);
    let shares: Vec<String> = (0..17).map(|share| format!("0.{share:02}")).collect();
    has(&refused(path, &["curve", "--reads", &shares.join(",")]), &["--reads", "16"]);
    has(&refused(path, &["curve", "--reads", "0.5,50%"]), &["--reads", "twice"]);
    // What fits runs, whatever runs beside it.
    succeeds(
        path,
        &["run", "--decode", "8", "--memory-limit", "120MiB", "--strategy", "baseline", "--strategy", "best-ratio"],
    );
}

#[test]
fn sweeps_without_bounds_are_refused() {
    let folder = folder();
    let path = folder.path();
    let sweep = |rest: &str| {
        let text =
            format!(r#"Sweep(name: "s", base: "study", set: {{"decode_tokens": 2, "prefill_tokens": 8}}, {rest})"#);
        fs::write(path.join("s.ron"), text).unwrap();
    };
    sweep(r#"axes: [Values(field: "trace.skip", values: [0.1])], repeats: 4294967295"#);
    for args in [&["sweep", "s.ron", "--dry-run"][..], &["sweep", "s.ron", "--yes"]] {
        has(&refused(path, args), &["repeat", "4294967295", "100000"]);
    }
    sweep(r#"axes: [Values(field: "trace.skip", values: [0.1, 0.2])], exclude: [{"trace.skip": "< 1"}]"#);
    for args in [&["sweep", "s.ron", "--dry-run"][..], &["sweep", "s.ron", "--out", "o"]] {
        has(&refused(path, args), &["exclude", "all 2"]);
    }
    assert!(!path.join("o").exists(), "nothing is written");
}

#[test]
fn names_that_no_file_or_picture_can_have_are_refused() {
    let folder = folder();
    let path = folder.path();
    let long = "x".repeat(300);
    for (name, remedy) in [(r"a\u{1b}[31m", "control character"), (long.as_str(), "128")] {
        let choices = format!(
            r#"Sweep(name: "s", base: "study", axes: [Choices(name: "c", choices: [("{name}", {{"decode_tokens": 2}})])])"#
        );
        let named =
            format!(r#"Sweep(name: "{name}", base: "study", axes: [Values(field: "decode_tokens", values: [2])])"#);
        let axis = format!(
            r#"Sweep(name: "s", base: "study", axes: [Choices(name: "{name}", choices: [("a", {{"decode_tokens": 2}})])])"#
        );
        let of_base = format!(r#"Sweep(name: "s", base: "study", axes: [Values(field: "name", values: ["{name}"])])"#);
        let control = remedy.starts_with("control");
        for (text, applies) in [(choices, control), (named, true), (axis, true), (of_base, true)] {
            if applies {
                fs::write(path.join("s.ron"), text).unwrap();
                let message = refused(path, &["sweep", "s.ron", "--dry-run"]);
                assert!(message.contains(remedy) && !message.contains('\u{1b}'), "{message}");
            }
        }
    }
    let memory = format!(
        r#"MemorySystem(name: "{long}", tiers: [(name: "a", capacity: "1GiB", bandwidth: "2GB/s"), (name: "b", capacity: "1GiB", bandwidth: "1GB/s")])"#
    );
    fs::write(path.join("m.ron"), memory).unwrap();
    has(&refused(path, &["curve", "--memory", "m.ron", "--transfers", "100"]), &["name", "300", "128"]);
}

/// A sweep of 8 cells in `o`.
fn swept(path: &Path) {
    let text = r#"Sweep(name: "s", base: "study", set: {"decode_tokens": 4, "prefill_tokens": 32}, axes: [
        Values(field: "trace.skip", values: [0.0, 0.1, 0.2, 0.3]),
        Values(field: "strategy", values: ["baseline", "best-ratio"]),
    ])"#;
    fs::write(path.join("s.ron"), text).unwrap();
    succeeds(path, &["sweep", "s.ron", "--out", "o"]);
}

#[test]
fn damaged_parts_of_a_sweep_are_refused() {
    let folder = folder();
    let path = folder.path();
    swept(path);
    let part = path.join("o/cells/part-00000000.parquet");
    let whole = fs::read(&part).unwrap();
    for place in (0..16).map(|place| place * (whole.len() - 1) / 15) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (place % 8);
        fs::write(&part, damaged).unwrap();
        for args in [&["sweep", "report", "o"][..], &["sweep", "s.ron", "--out", "o", "--resume"]] {
            has(&refused(path, args), &["part-00000000.parquet", "damaged", "--resume"]);
        }
    }
    // The remedy of the message.
    fs::remove_file(&part).unwrap();
    succeeds(path, &["sweep", "s.ron", "--out", "o", "--resume"]);
    assert_eq!(fs::read(&part).unwrap(), whole);
    // sweep.json as well.
    let manifest = path.join("o/sweep.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("0.3", "0.4", 1)).unwrap();
    has(&refused(path, &["sweep", "report", "o"]), &["sweep.json", "damaged"]);
}

#[test]
fn a_part_with_too_few_rows_is_refused() {
    let folder = folder();
    let path = folder.path();
    swept(path);
    fs::rename(path.join("o"), path.join("all")).unwrap();
    // A valid file with the rows of one shard of two, in a folder without checksums.
    succeeds(path, &["sweep", "s.ron", "--out", "half", "--shard", "1/2"]);
    let part = "cells/part-00000000.parquet";
    fs::copy(path.join("half").join(part), path.join("all").join(part)).unwrap();
    fs::remove_file(path.join("all/checksums.json")).unwrap();
    for args in [&["sweep", "report", "all"][..], &["sweep", "s.ron", "--out", "all", "--resume"]] {
        has(&refused(path, args), &["part-00000000.parquet", "4 cells", "8", "--resume"]);
    }
}
