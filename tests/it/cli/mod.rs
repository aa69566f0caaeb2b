//! The command line as a user meets it: what each command writes and prints, and its exit code.
//!
//! `refusals` has the commands that are refused, with their messages. Commands with a module of
//! their own (`sweeps`, `explain`, `traces`, `results`) are tested there.

mod refusals;

use crate::common::program::{binary, tiersim};
use crate::common::study::STUDY;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = tiersim(folder, args).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).expect("stdout is JSON and nothing else")
}

/// The message of a command that must end with exit code 2.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().code(2).get_output().clone();
    assert!(output.stdout.is_empty(), "results of a refused command: {:?}", String::from_utf8_lossy(&output.stdout));
    let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn refused_with(args: &[&str], parts: &[&str]) {
    let place = folder();
    let message = refused(place.path(), args);
    for part in parts {
        assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
    }
}

/// Every file below `folder` with its content, sorted by path.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("below the folder").to_owned();
                found.push((relative, fs::read(path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_writes_its_files_and_prints_its_summary() {
    let place = folder();
    let args = [
        "run",
        "--strategy",
        "best-ratio",
        "--decode",
        "32",
        "--skip",
        "0.4",
        "--churn",
        "3%",
        "--seed",
        "7",
        "--out",
        "here",
        "--json",
    ];
    let summary = json(place.path(), &args);
    assert_eq!(summary["schema"], 1);
    assert_eq!(summary["strategy"], "best-ratio");
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["steps"], 32);
    for path in [
        "/alpha/mean",
        "/alpha/min",
        "/alpha/max",
        "/alpha/first",
        "/alpha/last",
        "/alpha/attention/mean",
        "/alpha/mlp/last",
        "/token_latency_ns/p999",
        "/layer_latency_ns/mean",
        "/transfers/WeightRead/bytes/hbm",
        "/transfers/KvRead/latency_ns/p50",
        "/transfers/KvWrite/queueing_ns/max",
        "/transfers/MigrateIn/count",
        "/transfers/MigrateOut/bytes/external",
        "/peak_bytes/hbm",
        "/capacity_bytes/external",
        "/lanes/hbm.bus/busy_ns",
        "/lanes/external.link.read/utilization",
        "/lanes/external.bus/bytes",
        "/migration/in_bytes",
        "/migration/out_bytes",
        "/migration/late_tokens",
        "/bound/simulated_ns",
        "/bound/achieved_over_bound",
        "/simulated_ns",
        "/events",
        "/best_ratio",
    ] {
        assert!(summary.pointer(path).is_some_and(Value::is_number), "{path}: {:?}", summary.pointer(path));
    }
    let written: Value = serde_json::from_slice(&fs::read(place.path().join("here/summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);
    let steps = fs::read_to_string(place.path().join("here/steps.csv")).unwrap();
    let mut lines = steps.lines();
    assert_eq!(
        lines.next().unwrap(),
        "step,context_tokens,read_kv_tokens,alpha,latency_ns,bound_ns,hbm_read_bytes,hbm_used_bytes,\
         external_read_bytes,external_used_bytes,migrated_in_bytes,migrated_out_bytes,late_tokens"
    );
    assert_eq!(lines.count(), 32);
    // The bytes of the series are those of the transfers.
    let read: u64 = steps.lines().skip(1).map(|line| line.split(',').nth(6).unwrap().parse::<u64>().unwrap()).sum();
    let of_class = |class: &str| summary["transfers"][class]["bytes"]["hbm"].as_u64().unwrap();
    assert_eq!(read, of_class("WeightRead") + of_class("KvRead"));
    for name in ["alpha", "token_latency", "latency_cdf", "mem_usage"] {
        let png = fs::read(place.path().join(format!("here/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert!(fs::read_to_string(place.path().join(format!("here/{name}.svg"))).unwrap().contains("<svg"));
    }
}

#[test]
fn histograms_read_back_with_the_same_figures() {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    let place = folder();
    let summary = json(
        place.path(),
        &["run", "--strategy", "best-ratio", "--decode", "32", "--skip", "0.4", "--out", "here", "--json"],
    );
    let log = fs::read(place.path().join("here/histograms.hlog")).unwrap();
    let mut seen = Vec::new();
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.expect("a log that parses") {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            seen.push((interval.tag().unwrap().as_str().to_owned(), histogram));
        }
    }
    let token = &seen.iter().find(|(tag, _)| tag == "token_latency").unwrap().1;
    assert_eq!(token.len(), 32);
    assert_eq!(token.value_at_quantile(0.5) as f64 / 1000.0, summary["token_latency_ns"]["p50"].as_f64().unwrap());
    assert!(seen.iter().any(|(tag, _)| tag == "MigrateOut_lateness"));

    let text = fs::read_to_string(place.path().join("here/histograms/token_latency.hgrm")).unwrap();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
    let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
    let fields: Vec<&str> = last.split_whitespace().collect();
    assert_eq!(fields[1..], ["1.000000000000", "32"]);
    assert!((fields[0].parse::<f64>().unwrap() - summary["token_latency_ns"]["max"].as_f64().unwrap()).abs() < 0.001);
}

#[test]
fn several_strategies_have_a_folder_each_and_an_array() {
    let place = folder();
    let args =
        ["run", "--decode", "8", "--strategy", "baseline", "--strategy", "best-ratio", "--out", "both", "--json"];
    let summaries = json(place.path(), &args);
    let names: Vec<&str> = summaries.as_array().unwrap().iter().map(|one| one["strategy"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseline", "best-ratio"]);
    for name in names {
        assert!(place.path().join("both").join(name).join("summary.json").is_file());
    }
}

#[test]
fn parts_replace_those_of_the_strategy() {
    let place = folder();
    let args = ["run", "--decode", "8", "--strategy", "best-ratio", "--migration", "None", "--skip", "0.4", "--json"];
    let summary = json(place.path(), &args);
    assert_eq!(summary["strategy"], "BestRatio/BestRatio/None");
    assert_eq!(summary["transfers"]["MigrateOut"]["count"], 0);
    assert!(place.path().join("out/runs/study,decode=8,skip=0.4/BestRatio-BestRatio-None/summary.json").is_file());
}

#[test]
fn strategies_side_by_side() {
    let place = folder();
    let output =
        tiersim(place.path(), &["strategies", "--decode", "8", "--skip", "40%", "--prefill", "64", "--out", "all"])
            .assert()
            .success()
            .get_output()
            .stdout
            .clone();
    let text = String::from_utf8(output).unwrap();
    assert!(
        text.contains("| balanced ") && text.contains("8 steps") && text.contains("| BestRatio/BestRatio/Lru "),
        "{text}"
    );
    let folder = place.path().join("all");
    assert!(folder.join("time_against_alpha.svg").is_file() && folder.join("balanced/summary.json").is_file());
    // The fastest first: by its own figures, which are of the same runs.
    let cell = |line: &str, column: usize| line.split('|').nth(column).map(|cell| cell.trim().to_owned());
    let ratios: Vec<f64> = text.lines().skip(2).filter_map(|line| cell(line, 4)?.parse().ok()).collect();
    assert!(ratios.len() > 20 && ratios.is_sorted(), "{text}");

    let args = [
        "run",
        "--strategy",
        "best-ratio",
        "--decode",
        "8",
        "--migration",
        "Prior(threshold: 10%)",
        "--migration-budget",
        "1MiB",
        "--json",
    ];
    let summary = json(place.path(), &args);
    assert_eq!(summary["strategy"], "BestRatio/BestRatio/Prior(threshold: 0.1)/1 MiB");
    assert_eq!(summary["scenario"]["strategy"]["migration"]["Prior"]["tokens"], 64);
    refused_with(&["run", "--migration", "Prior(treshold: 1)"], &["unknown field `treshold`", "threshold"]);
    refused_with(&["strategies", "--vary", "decode_tokens=1,2"], &["leave out"]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let place = folder();
    for (jobs, out) in [("1", "one"), ("4", "four"), ("4", "again")] {
        let args = [
            "run",
            "recorded",
            "--decode",
            "60",
            "--strategy",
            "baseline",
            "--strategy",
            "best-ratio",
            "--jobs",
            jobs,
            "--out",
            out,
        ];
        tiersim(place.path(), &args).assert().success();
    }
    let one = files(&place.path().join("one"));
    assert!(one.len() > 20);
    // Not assert_eq: its message would be all bytes of all files.
    assert!(one == files(&place.path().join("four")));
    assert!(one == files(&place.path().join("again")));
}

#[test]
fn a_run_can_be_repeated_from_its_summary() {
    let place = folder();
    let args = [
        "run",
        "recorded",
        "--strategy",
        "best-ratio",
        "--decode",
        "20",
        "--link-bandwidth",
        "450 GB/s",
        "--out",
        "first",
        "--json",
    ];
    let first = json(place.path(), &args);
    assert_eq!(first, json(place.path(), &["run", "first/summary.json", "--out", "second", "--json"]));
    fs::write(place.path().join("part.json"), serde_json::to_string(&first["scenario"]).unwrap()).unwrap();
    assert_eq!(first, json(place.path(), &["run", "part.json", "--out", "third", "--json"]));
    fs::write(place.path().join("part.json"), "{\"scenario\": {\"name\": 7}}").unwrap();
    assert!(refused(place.path(), &["run", "part.json"]).contains("name"));
}

#[test]
fn flags_and_set_reach_their_fields() {
    let place = folder();
    let args = [
        "run",
        "--strategy",
        "baseline",
        "--decode",
        "4",
        "--hbm-capacity",
        "2GiB",
        "--hbm-bandwidth",
        "1 TB/s",
        "--link-bandwidth",
        "100 GB/s",
        "--arbitration",
        "priority",
        "--set",
        "memory.external.capacity=2TiB",
        "--set",
        "trace.sinks=4",
        "--set",
        "weight_prefetch=2",
        "--set",
        "memory.external.link.write=50 GB/s",
        "--set",
        "trace.skip=0.25",
        "--json",
    ];
    let scenario = &json(place.path(), &args)["scenario"];
    assert_eq!(scenario["memory"]["tiers"][0]["capacity"], "2 GiB");
    assert_eq!(scenario["memory"]["tiers"][0]["bandwidth"], "1000 GB/s");
    assert_eq!(scenario["memory"]["tiers"][1]["capacity"], "2 TiB");
    assert_eq!(scenario["memory"]["tiers"][1]["link"]["read"], "100 GB/s");
    assert_eq!(scenario["memory"]["tiers"][1]["link"]["write"], "50 GB/s");
    assert_eq!(scenario["memory"]["arbitration"], "Priority");
    assert_eq!(scenario["trace"]["Generated"]["sinks"], 4);
    assert_eq!(scenario["trace"]["Generated"]["skip"], 0.25);
    assert_eq!(scenario["weight_prefetch"], 2);
}

#[test]
fn sequences_and_prompts_have_flags_and_paths() {
    let place = folder();
    let scenario = |args: &[&str]| {
        let common = ["run", "--strategy", "baseline", "--prefill", "64", "--decode", "2", "--json"];
        json(place.path(), &[&common[..], args].concat())["scenario"].clone()
    };
    let batch = scenario(&["--batch", "3", "--prefill-chunk", "1k", "--prefill-order", "FIRST"]);
    assert_eq!(batch["batch"], 3);
    assert_eq!(batch["prefill"]["Timed"], serde_json::json!({"chunk_tokens": 1024, "order": "First"}));
    let order = scenario(&["--prefill-order", "mixed"]);
    assert_eq!(order["prefill"]["Timed"], serde_json::json!({"chunk_tokens": 2048, "order": "Mixed"}));
    let typed = scenario(&["--set", "prefill=Timed(chunk_tokens: 512)"]);
    assert_eq!(typed["prefill"]["Timed"]["chunk_tokens"], 512);
    assert!(scenario(&["--set", "prefill.chunk_tokens=512", "--set", "prefill=Given"])["prefill"].is_null());
    let groups = scenario(&[
        "--set",
        "sequences=[(count: 2), (prefill_tokens: \"1k\")]",
        "--set",
        "sequences.0.count=4",
        "--set",
        "sequences.1.start_step=1",
        "--set",
        "sequences.1.decode_tokens=3",
    ]);
    let expected = serde_json::json!([
        {"count": 4, "start_step": 0},
        {"count": 1, "prefill_tokens": 1024, "decode_tokens": 3, "start_step": 1},
    ]);
    assert_eq!(groups["sequences"], expected);
}

#[test]
fn a_run_that_runs_out_of_memory_is_incomplete_and_written() {
    let place = folder();
    let args = [
        "run",
        "--strategy",
        "baseline",
        "--decode",
        "64",
        "--hbm-capacity",
        "1GiB",
        "--set",
        "memory.external.capacity=1056MiB",
        "--out",
        "full",
        "--json",
    ];
    let output = tiersim(place.path(), &args).assert().code(1).get_output().clone();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["complete"], false);
    // 32 MiB more than weights and prefill: 32 tokens.
    assert_eq!(summary["steps"], 32);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("step 32, layer 0"), "{message}");
    assert!(place.path().join("full/summary.json").is_file());
}

#[test]
fn replay_prints_the_rows_with_their_times() {
    let place = folder();
    let rows = "issue_ns,class,source,destination,bytes,address\n0,KvRead,external,chip,900,0x40\n";
    fs::write(place.path().join("rows.csv"), rows).unwrap();
    let args = ["replay", "rows.csv", "--memory", "study", "--arbitration", "fifo", "--out", "here"];
    let output = tiersim(place.path(), &args).assert().success().get_output().stdout.clone();
    let expected = "issue_ns,class,source,destination,bytes,address,start_ns,finish_ns,queueing_ns\n\
                    0,KvRead,external,chip,900,0x40,0.000,1.000,0.000\n";
    assert_eq!(String::from_utf8(output).unwrap(), expected);
    let summary: Value = serde_json::from_slice(&fs::read(place.path().join("here/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["transfers"]["KvRead"]["bytes"]["external"], 900);
    assert_eq!(summary["lanes"]["external.link.read"]["utilization"], 1.0);
    assert!(place.path().join("here/histograms/KvRead_latency.hgrm").is_file());
    assert!(refused(place.path(), &["replay", "nowhere.csv", "--memory", "study"]).contains("nowhere.csv"));
    assert!(refused(place.path(), &["replay", "rows.csv", "--memory", "nothing"]).contains("'nothing'"));
}

#[test]
fn lists_everything_that_has_a_name() {
    let place = folder();
    let output = tiersim(place.path(), &["list"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for name in [
        "study",
        "published",
        "smollm2-135m",
        "recorded",
        "python_heapq_skip40",
        "baseline",
        "best-ratio",
        "HbmFirst",
        "BestRatio",
        "PreferHbm",
        "LookAhead",
        "None",
    ] {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.trim().len() > name.len() + 10), "{name}: {line:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_leaves_no_half_written_file() {
    for args in [
        vec!["run", "--strategy", "best-ratio", "--decode", "16384", "--skip", "0.4", "--out", "here"],
        vec!["trace", "generate", "like-recorded-40", "--decode", "100000", "--out", "here/x.parquet"],
    ] {
        let place = folder();
        let mut child = std::process::Command::new(binary())
            .current_dir(place.path())
            .args(args)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !place.path().join("here").is_dir() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(files(&place.path().join("here")), []);
    }
}

#[test]
fn a_folder_that_is_used_again_holds_only_the_last_run() {
    let place = folder();
    let with = ["run", "--strategy", "best-ratio", "--decode", "8", "--skip", "0.4", "--out", "here"];
    tiersim(place.path(), &with).assert().success();
    assert!(place.path().join("here/histograms/MigrateOut_latency.hgrm").is_file());
    fs::write(place.path().join("here/notes.txt"), "mine").unwrap();
    tiersim(place.path(), &[&with[..], &["--migration", "None"]].concat()).assert().success();
    assert!(!place.path().join("here/histograms/MigrateOut_latency.hgrm").exists());
    assert!(place.path().join("here/histograms/KvRead_latency.hgrm").is_file());
    assert!(place.path().join("here/notes.txt").is_file());
}

#[test]
fn the_study_writes_its_sixteen_runs_and_pictures() {
    let (table, at_churn) = STUDY.tables.split_once("At the churn of recorded attention:").unwrap();
    let rows = |table: &str| {
        table.lines().filter(|line| line.contains("| baseline ") || line.contains("| best-ratio ")).count()
    };
    assert_eq!(rows(table), 16);
    assert_eq!(rows(at_churn), 4);
    assert!(at_churn.contains("best-ratio (oracle: sees 1 step) is 3.3 % faster than baseline"), "{at_churn}");
    let results = &STUDY.folder;
    let mut runs = 0;
    for context in ["1_1_1", "1_1_4", "1_1_8", "1_1_16"] {
        assert!(results.join(format!("mem_usage_{context}.svg")).is_file());
        for skip in ["skip0", "skip40"] {
            assert!(results.join(format!("latency_{context}_{skip}.png")).is_file());
            assert!(results.join(format!("latency_cdf_{context}_{skip}.png")).is_file());
            for strategy in ["baseline", "best-ratio"] {
                assert!(results.join(format!("alpha_{context}_{strategy}_{skip}.png")).is_file());
                let summary = results.join(format!("{context}_{strategy}_{skip}/summary.json"));
                let summary: Value = serde_json::from_slice(&fs::read(summary).unwrap()).unwrap();
                assert_eq!(summary["complete"], true);
                assert!(summary["bound"]["achieved_over_bound"].as_f64().unwrap() >= 1.0);
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 16);
    for name in ["made_up_baseline", "recorded_best-ratio", "recorded_BestRatio-BestRatio-None"] {
        assert!(results.join(name).join("summary.json").is_file(), "{name}");
    }
    // The whole study on one page, and each run on its own: small enough to mail.
    let pages = files(results).into_iter().filter(|(path, _)| path.ends_with("report.html"));
    let sizes: Vec<(PathBuf, usize)> = pages.map(|(path, bytes)| (path, bytes.len())).collect();
    assert_eq!(sizes.len(), 23);
    assert!(sizes.iter().all(|(_, size)| *size < 5_000_000), "{sizes:?}");
    // The README shows this one: it must be what the program draws now. After a change that is
    // meant, copy the new one.
    let name = "latency_1_1_8_skip40.svg";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    assert!(fs::read(results.join(name)).unwrap() == fs::read(golden).unwrap(), "{name} differs from tests/golden");
}
