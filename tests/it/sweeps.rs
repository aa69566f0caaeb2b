//! Sweeps as a user meets them.
//!
//! The dataset on disk is the same whatever happened on the way: threads, shards, a kill, a full
//! disk, a limit on cells. Queries and searches over it, and the messages for invalid sweeps,
//! follow.

use crate::common::program::{binary, tiersim};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// The output of a command that completes: with exit code 0, or 1 where cells failed.
fn printed(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().code(&[0, 1] as &'static [i32]).get_output().clone();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// The message of a command that must end with exit code 2.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().code(2).get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// What a sweep's folder holds, but for its report.
fn dataset(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().chain(fs::read_dir(folder.join("cells")).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_file() {
            found.push((path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    assert!(!folder.join("journal").exists(), "a finished sweep has no journal");
    found.sort();
    found
}

/// 24 cells, of which the two with too little memory for the prefill fail, and those with little
/// more end incomplete.
const SWEEP: &str = r#"Sweep(
    name: "test",
    about: "What is it worth?",
    base: "study",
    set: { "decode_tokens": 96, "memory.external.capacity": "1GiB" },
    axes: [
        Values(field: "memory.hbm.capacity", values: ["512MiB", "1.05GiB", "2GiB", "4GiB"]),
        Values(field: "trace.skip", values: [0.0, "20%", 0.4]),
        Values(field: "strategy", values: ["baseline", "best-ratio"]),
    ],
)"#;

fn with_sweep(text: &str) -> TempDir {
    let place = folder();
    fs::write(place.path().join("test.ron"), text).unwrap();
    place
}

#[test]
fn the_dataset_is_the_same_whatever_the_jobs_and_the_shards() {
    let place = with_sweep(SWEEP);
    let place = place.path();
    let text = printed(place, &["sweep", "test.ron", "--jobs", "1", "--out", "one"]);
    assert!(text.contains("matters most") && text.contains("failed or ended incomplete"), "{text}");
    printed(place, &["sweep", "test.ron", "--jobs", "3", "--out", "three"]);
    let whole = dataset(&place.join("one"));
    assert_eq!(whole, dataset(&place.join("three")));
    for shard in ["2/3", "1/3", "3/3"] {
        let out = format!("shards/{}", &shard[..1]);
        printed(place, &["sweep", "test.ron", "--shard", shard, "--out", &out]);
    }
    let unfinished = refused(place, &["sweep", "merge", "shards/1", "shards/3", "--out", "merged"]);
    assert!(unfinished.contains("in none of the shards 1/3, 3/3"), "{unfinished}");
    printed(place, &["sweep", "merge", "shards/3", "shards/1", "shards/2", "--out", "merged"]);
    assert_eq!(whole, dataset(&place.join("merged")));
    // What is there is not run again.
    let text = printed(place, &["sweep", "test.ron", "--out", "merged"]);
    assert!(text.contains("all 24 cells were there already"), "{text}");
    assert!(place.join("merged/report/report.html").is_file());
    // A file of the dataset that is gone is made again, to the byte.
    fs::remove_file(place.join("merged/cells/part-00000000.parquet")).unwrap();
    printed(place, &["sweep", "test.ron", "--out", "merged", "--resume"]);
    assert_eq!(whole, dataset(&place.join("merged")));
}

fn spawn(place: &Path, args: &[&str]) -> Child {
    std::process::Command::new(binary())
        .current_dir(place)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Rows in the journals of a sweep.
fn journaled(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("journal")).into_iter().flatten().flatten();
    files.map(|file| fs::read(file.path()).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()).sum()
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let place = with_sweep(&SWEEP.replace("96", "700").replace("1GiB\"", "64GiB\""));
    let place = place.path();
    printed(place, &["sweep", "test.ron", "--out", "whole"]);
    let whole = dataset(&place.join("whole"));
    let mut before = 0;
    let mut kills = 0;
    // Killed again and again, each time when some cells more are done.
    while kills < 4 {
        let mut child = spawn(place, &["sweep", "test.ron", "--out", "killed", "--resume", "--jobs", "2"]);
        let begun = Instant::now();
        while journaled(&place.join("killed")) < before + 3 && begun.elapsed() < Duration::from_secs(60) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let now = journaled(&place.join("killed"));
        if now == 0 && before > 0 {
            break; // It came to its end.
        }
        assert!(now >= before, "rows are lost: {before}, then {now}");
        before = now;
    }
    assert!(before >= 9, "{before} rows after {kills} kills");
    let unfinished = refused(place, &["sweep", "test.ron", "--out", "killed"]);
    assert!(unfinished.contains("--resume"), "{unfinished}");
    // What is there can be read meanwhile.
    let text = printed(place, &["sweep", "report", "killed"]);
    assert!(text.contains(&format!("Only {before} of 24 cells are finished")), "{text}");
    let text = printed(place, &["sweep", "test.ron", "--out", "killed", "--resume"]);
    assert!(text.contains(&format!("{before} of 24 cells were there already")), "{text}");
    assert_eq!(whole, dataset(&place.join("killed")));
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_that_was_done() {
    let place = with_sweep(SWEEP);
    let place = place.path();
    printed(place, &["sweep", "test.ron", "--out", "whole"]);
    // Files of at most 16 KiB: the journal is full after some rows, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f 32; exec {} sweep test.ron --out full --jobs 1", binary().display());
    let output = std::process::Command::new("sh").current_dir(place).args(["-c", &script]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("full/journal") && message.contains("--resume"), "{message}");
    let before = journaled(&place.join("full"));
    assert!(before > 0, "{message}");
    let text = printed(place, &["sweep", "test.ron", "--out", "full", "--resume"]);
    assert!(text.contains(&format!("{before} of 24 cells were there already")), "{text}");
    assert_eq!(dataset(&place.join("whole")), dataset(&place.join("full")));
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_says_how_to_go_on() {
    let place = with_sweep(&SWEEP.replace("96", "6000").replace("1GiB\"", "64GiB\""));
    let place = place.path();
    let child = spawn(place, &["sweep", "test.ron", "--out", "out"]);
    let begun = Instant::now();
    while !place.join("out/journal/00000000").exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Another process keeps out meanwhile.
    let locked = refused(place, &["sweep", "test.ron", "--out", "out", "--resume"]);
    assert!(locked.contains("another process"), "{locked}");
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(refused(place, &["sweep", "test.ron", "--out", "out"]).contains("unfinished"));
}

#[test]
fn a_folder_of_another_sweep_is_left_alone() {
    let place = with_sweep(SWEEP);
    let place = place.path();
    printed(place, &["sweep", "test.ron", "--out", "out"]);
    let whole = dataset(&place.join("out"));
    for (other, part) in [
        (SWEEP.replace("\"test\"", "\"other\""), "it holds the sweep 'test'"),
        (SWEEP.replace("2GiB", "3GiB"), "other axes"),
        (SWEEP.replace("96", "97"), "other set"),
    ] {
        fs::write(place.join("other.ron"), other).unwrap();
        for resume in [&["--resume"][..], &[]] {
            let args = [&["sweep", "other.ron", "--out", "out"], resume].concat();
            let message = refused(place, &args);
            assert!(message.contains(part) && message.contains("--out"), "{message}");
        }
    }
    assert!(refused(place, &["sweep", "test.ron", "--shard", "1/2", "--out", "out"]).contains("shard 1/2"));
    assert_eq!(whole, dataset(&place.join("out")));
    fs::create_dir_all(place.join("mine/cells")).unwrap();
    fs::write(place.join("mine/cells/part-00000000.parquet"), "mine").unwrap();
    assert!(refused(place, &["sweep", "test.ron", "--out", "mine"]).contains("no sweep.json"));
    assert!(refused(place, &["sweep", "report", "mine"]).contains("no sweep.json"));
    fs::write(place.join("file"), "").unwrap();
    assert!(refused(place, &["sweep", "test.ron", "--out", "file"]).contains("file"));
}

#[test]
fn bad_sweeps_are_refused_with_what_to_do() {
    let place = with_sweep(SWEEP);
    let place = place.path();
    let with = |old: &str, new: &str| {
        assert!(SWEEP.contains(old));
        fs::write(place.join("bad.ron"), SWEEP.replace(old, new)).unwrap();
        refused(place, &["sweep", "bad.ron"])
    };
    assert!(with("memory.hbm.capacity", "memory.hbm.capasity").contains("use one of"));
    assert!(with("[0.0, \"20%\", 0.4]", "[]").contains("no values"));
    assert!(with("\"best-ratio\"]", "\"worst-ratio\"]").contains("worst-ratio"));
    assert!(with("axes:", "axis:").contains("bad.ron:6"));
    assert!(with("\"study\"", "\"stduy\"").contains("stduy"));
    let vary = |axis: &str| refused(place, &["sweep", "test.ron", "--vary", axis]);
    assert!(vary("prefill_tokens=1..1000").contains("number of values"));
    assert!(vary("prefill_tokens=5..5/3").contains("empty"));
    assert!(vary("prefill_tokens=1000..1/0").contains("at least 2"));
    assert!(vary("nothing=1,2").contains("use one of"));
    let large = refused(
        place,
        &[
            "sweep",
            "test.ron",
            "--vary",
            "prefill_tokens=1..1000000/100000",
            "--vary",
            "decode_tokens=1..1000000/100000",
        ],
    );
    assert!(large.contains("240000000000 combinations") && large.contains("--yes"), "{large}");
    assert!(refused(place, &["sweep", "test.ron", "--shard", "3/2"]).contains("1/8"));
    assert!(refused(place, &["sweep", "nowhere.ron"]).contains("nowhere.ron"));
    let text = printed(
        place,
        &["sweep", "test.ron", "--dry-run", "--vary", "memory.external.link.read+write=225GB/s..900GB/sx3"],
    );
    assert!(text.contains("72 combinations") && text.contains("450 GB/s"), "{text}");
    assert!(!place.join("out").exists(), "nothing was run");
    assert!(printed(place, &["check", "test.ron"]).contains("24 combinations"));
}

#[test]
fn cells_that_need_more_memory_than_there_is_wait_for_more() {
    let place = with_sweep(&SWEEP.replace("96", "8").replace("1GiB\"", "64TiB\""));
    let place = place.path();
    let args = ["sweep", "test.ron", "--vary", "prefill_tokens=64,400000", "--resume", "--out", "out"];
    let message = refused(place, &[&args[..], &["--memory-limit", "24MiB"]].concat());
    assert!(message.contains("24 of the cells were not run") && message.contains("--memory-limit"), "{message}");
    let best = printed(place, &["sweep", "best", "out", "--max", "prefill_tokens"]);
    assert!(best.contains("64") && !best.contains("400000"), "{best}");
    // With more, only those are run; and the dataset is that of a sweep without a limit.
    let text = printed(place, &args);
    assert!(text.contains("24 of 48 cells were there already"), "{text}");
    printed(place, &["sweep", "test.ron", "--vary", "prefill_tokens=64,400000", "--out", "at-once"]);
    assert_eq!(dataset(&place.join("out")), dataset(&place.join("at-once")));
}

/// A process may be killed before it has written what its folder is of, or in mid-write.
#[test]
fn a_folder_of_a_kill_at_the_start_can_be_used() {
    let place = with_sweep(&SWEEP.replace("96", "4"));
    let place = place.path();
    fs::create_dir_all(place.join("out/cells")).unwrap();
    fs::write(place.join("out/.tiersim-abc.tmp"), "{").unwrap();
    fs::write(place.join("out/cells/.tiersim-def.tmp"), "PAR1").unwrap();
    assert!(refused(place, &["sweep", "test.ron", "--out", "out"]).contains("no sweep.json"));
    fs::remove_file(place.join("out/cells/.tiersim-def.tmp")).unwrap();
    printed(place, &["sweep", "test.ron", "--out", "out"]);
    fs::write(place.join("out/cells/.tiersim-def.tmp"), "PAR1").unwrap();
    printed(place, &["sweep", "test.ron", "--out", "out"]);
    printed(place, &["sweep", "test.ron", "--out", "clean"]);
    assert_eq!(dataset(&place.join("out")), dataset(&place.join("clean")));
}

#[test]
fn the_cheapest_cell_that_is_fast_enough_is_found() {
    let place = with_sweep(SWEEP);
    let place = place.path();
    printed(place, &["sweep", "test.ron", "--out", "out"]);
    let best = |args: &[&str]| printed(place, &[&["sweep", "best", "out"], args].concat());
    let text = best(&[
        "--where",
        "token_latency_ns.p99 < 700us",
        "--where",
        "trace.skip == 40%",
        "--min",
        "memory.hbm.capacity",
    ]);
    assert!(text.contains("| ") && text.contains("0.4"), "{text}");
    let fast = best(&["--where", "strategy == baseline", "--min", "simulated_ns"]);
    assert!(fast.contains("baseline") && !fast.contains("best-ratio"), "{fast}");
    tiersim(place, &["sweep", "best", "out", "--where", "p99 < 1ns"]).assert().code(1);
    assert!(
        refused(place, &["sweep", "best", "out", "--where", "p98 < 1ns"]).contains("there is no axis or figure 'p98'")
    );
    assert!(refused(place, &["sweep", "best", "out", "--min", "speed"]).contains("memory.hbm.capacity"));
    let text = printed(
        place,
        &[
            "sweep",
            "report",
            "out",
            "--sort",
            "alpha.mean",
            "--axes",
            "trace.skip,strategy",
            "--front",
            "memory.hbm.capacity,p99",
            "--top",
            "3",
            "--out",
            "elsewhere",
        ],
    );
    assert!(text.contains("the first 3 of"), "{text}");
    assert!(place.join("elsewhere/lines_trace.skip_strategy.png").is_file());
    assert!(place.join("elsewhere/front_memory.hbm.capacity_token_latency_ns.p99.svg").is_file());
}

#[test]
fn a_grid_may_come_from_the_command_line() {
    let place = folder();
    let place = place.path();
    let args = [
        "run",
        "study",
        "--decode",
        "32",
        "--vary",
        "memory.hbm.capacity=2GiB,4GiB",
        "--strategy",
        "baseline",
        "--strategy",
        "best-ratio",
    ];
    let text = printed(place, &args);
    assert!(text.contains("memory.hbm.capacity") && text.contains("best-ratio"), "{text}");
    assert!(printed(place, &args).contains("all 4 cells were there already"));
    assert!(refused(place, &["run", "--vary", "memory.hbm.capacity=2GiB", "--json"]).contains("--json"));
    assert!(refused(place, &["run", "--vary", "memory.hbm.capacity"]).contains("FIELD="));
}

/// A cell's figures are those of the run itself.
#[test]
fn a_cell_is_the_run_that_it_says() {
    let place = folder();
    let place = place.path();
    printed(
        place,
        &[
            "run",
            "recorded",
            "--decode",
            "400",
            "--vary",
            "memory.hbm.capacity=1.25GiB,1.5GiB",
            "--vary",
            "strategy=baseline,best-ratio",
            "--out",
            "grid",
        ],
    );
    let output = tiersim(
        place,
        &["run", "recorded", "--decode", "400", "--hbm-capacity", "1.5GiB", "--strategy", "best-ratio", "--json", "-q"],
    )
    .assert()
    .success()
    .get_output()
    .clone();
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let time = summary["simulated_ns"].as_f64().unwrap();
    let wanted = format!("simulated_ns == {time}ns");
    let text = printed(place, &["sweep", "best", "grid", "--where", &wanted]);
    assert!(text.contains("1.5 GiB") && text.contains("best-ratio"), "{text}");
}

#[test]
fn breaking_points_are_searched_for() {
    let place = folder();
    let place = place.path();
    let args = [
        "solve",
        "study",
        "--decode",
        "64",
        "--strategy",
        "baseline",
        "--vary",
        "memory.hbm.capacity=1GiB..4GiB",
        "--until",
        "alpha > 0.99",
    ];
    let text = printed(place, &args);
    assert!(
        text.contains("begins to hold between memory.hbm.capacity") && text.contains("is monotonic over"),
        "{text}"
    );
    let json: serde_json::Value = {
        let output = tiersim(place, &[&args[..], &["--json", "-q"]].concat()).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let [below, above] = ["below", "above"].map(|side| json["crossings"][0][side]["number"].as_f64().unwrap());
    // 1 GiB of weights and 1024 to 1087 tokens of 1 MiB, of which HBM has what it holds; but for
    // the KV being written.
    let alpha = |capacity: f64| (0..64).map(|step| (capacity / f64::from(2048 + step)).min(1.0)).sum::<f64>() / 64.0;
    let exact = (1900..2200).map(f64::from).find(|capacity| alpha(*capacity) > 0.99).unwrap() * 1048576.0;
    assert!(below < exact * 1.002 && above > exact * 0.998 && above / below < 1.011, "{below} {above}");
    tiersim(
        place,
        &["solve", "study", "--decode", "8", "--vary", "memory.hbm.capacity=3GiB..4GiB", "--until", "time < 1ns"],
    )
    .assert()
    .code(1);
    assert!(refused(place, &["solve", "study", "--until", "time < 1ns"]).contains("--vary"));
    assert!(
        refused(place, &["solve", "study", "--vary", "memory.hbm.capacity=1GiB,2GiB", "--until", "time < 1ns"])
            .contains("FROM..TO")
    );
    assert!(
        refused(
            place,
            &["solve", "study", "--decode", "8", "--vary", "memory.hbm.capacity=1GiB..2GiB", "--until", "quick"]
        )
        .contains("FIGURE OPERATOR LIMIT")
    );
}
