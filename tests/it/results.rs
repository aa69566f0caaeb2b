//! Results that are read back: `compare`, `hist`, and other implementations of HdrHistogram.
//!
//! Other programs read the histograms that tiersim writes. What tiersim reads must be complete:
//! files of another kind, damaged files and runs that differ in their shape are refused or
//! reported.

use crate::common::program::{binary, tiersim};
use crate::common::python;
use crate::skip;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with the runs `a` (baseline) and `b` (best-ratio), of 24 steps.
fn two_runs() -> TempDir {
    let place = TempDir::new().expect("a temporary folder");
    for (out, strategy) in [("a", "baseline"), ("b", "best-ratio")] {
        let args = ["run", "--decode", "24", "--skip", "0.4", "--strategy", strategy, "--out", out];
        tiersim(place.path(), &args).assert().success();
    }
    place
}

fn output(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = tiersim(folder, args).assert().code(code).get_output().clone();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&output(folder, args, 0).0).expect("stdout is JSON and nothing else")
}

fn refused(folder: &Path, args: &[&str], parts: &[&str]) {
    let (stdout, message) = output(folder, args, 2);
    assert!(stdout.is_empty() && !message.contains("panicked"), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
    }
}

#[test]
fn compare_reports_what_differs_and_by_how_much() {
    let place = two_runs();
    let found = json(place.path(), &["compare", "a", "b", "--out", "c", "--json"]);
    let paths: Vec<&str> =
        found["differences"].as_array().unwrap().iter().map(|field| field["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["strategy.initialization", "strategy.migration", "strategy.placement"]);
    let summary = |run: &str| -> Value {
        serde_json::from_slice(&fs::read(place.path().join(run).join("summary.json")).unwrap()).unwrap()
    };
    let (a, b) = (summary("a"), summary("b"));
    let figure = |path: &str| {
        let all = found["figures"].as_array().unwrap();
        all.iter().find(|figure| figure["path"] == path).unwrap_or_else(|| panic!("no {path}")).clone()
    };
    let time = figure("simulated_ns");
    assert_eq!(time["values"], serde_json::json!([a["simulated_ns"], b["simulated_ns"]]));
    let ratio = b["simulated_ns"].as_f64().unwrap() / a["simulated_ns"].as_f64().unwrap();
    assert_eq!(time["ratios"][1].as_f64(), Some(ratio));
    assert_eq!(figure("lanes.hbm.bus.utilization")["values"][1], b["lanes"]["hbm.bus"]["utilization"]);
    let sentence = found["sentences"][0].as_str().unwrap();
    let by = format!("b takes {:.1} % less time than a", 100.0 * (1.0 - ratio));
    assert!(sentence.contains(&by) && sentence.contains("The only difference is the strategy"), "{sentence}");
    for name in ["alpha", "token_latency", "latency_cdf", "mem_usage", "percentiles"] {
        let svg = fs::read_to_string(place.path().join(format!("c/{name}.svg"))).unwrap();
        assert!(svg.contains(">a<") && svg.contains(">b<"), "{name}: both runs are named");
    }
    let written = fs::read_to_string(place.path().join("c/comparison.md")).unwrap();
    assert!(written.contains(sentence) && written.contains("| simulated_ns"), "{written}");
    refused(place.path(), &["compare", "b=a", "b"], &["called 'b'", "LABEL=ENTRY"]);
    // The same again, to the byte; and a run is as itself.
    let again = fs::read(place.path().join("c/token_latency.svg")).unwrap();
    output(place.path(), &["compare", "a", "b", "--out", "c"], 0);
    assert!(again == fs::read(place.path().join("c/token_latency.svg")).unwrap());
    let (text, _) = output(place.path(), &["compare", "a", "x=a/summary.json", "--out", "d"], 0);
    assert!(text.starts_with("The configurations are the same."), "{text}");
    assert!(text.contains("x takes as long as a") && text.ends_with("The configurations are the same.\n"), "{text}");
}

#[test]
fn pictures_of_a_run_read_back_are_the_runs_own() {
    // The bound, the best ratio and every step come from files: the same lines as in the picture
    // that the run drew.
    let place = two_runs();
    output(place.path(), &["compare", "best-ratio=b", "a", "--out", "c"], 0);
    let lines = |path: &str| -> Vec<String> {
        let svg = fs::read_to_string(place.path().join(path)).unwrap();
        svg.split("d=\"")
            .skip(1)
            .map(|part| part.split('"').next().unwrap().to_owned())
            .filter(|d| d.len() > 60)
            .collect()
    };
    let (own, compared) = (lines("b/latency_cdf.svg"), lines("c/latency_cdf.svg"));
    assert_eq!((own.len(), compared.len()), (1, 2));
    let count = |path: &str| path.matches(['L', 'M']).count();
    assert_eq!(count(&own[0]), count(&compared[0]));
}

#[test]
fn compare_is_a_gate_for_scripts() {
    let place = two_runs();
    let gate = |conditions: &[&str], code: i32| {
        let mut args = vec!["compare", "a", "b", "--out", "c"];
        conditions.iter().for_each(|condition| args.extend(["--fail-if", condition]));
        output(place.path(), &args, code).1
    };
    gate(&["token_latency_ns.p99 > 1.05x", "time > +0%", "lanes.hbm.bus.utilization > 100%"], 0);
    let message = gate(&["time > 1.05x", "time < -1%"], 1);
    assert!(
        message.contains("--fail-if 'time < -1%' holds for b") && !message.contains("'time > 1.05x' holds"),
        "{message}"
    );
    let refused_gate = |condition: &str, part: &str| {
        refused(place.path(), &["compare", "a", "b", "--fail-if", condition], &[part]);
    };
    refused_gate("p99 > 5%", "+5% or 1.05x");
    refused_gate("token_latency_ns.p98 > 3ns", "there is max, mean");
    refused_gate("p99", "FIGURE OPERATOR LIMIT");
}

#[test]
fn scenarios_are_run_first() {
    let place = TempDir::new().unwrap();
    let half = "half=study --strategy best-ratio --link-bandwidth '450 GB/s'";
    let entries = ["compare", "whole=study --strategy best-ratio", half, "--set", "decode_tokens=30"];
    let found = json(place.path(), &[&entries[..], &["--set", "trace.skip=0.4", "--out", "c", "--json"]].concat());
    let sentence = found["sentences"][0].as_str().unwrap();
    let cause = "The only difference is memory.external.link (read and write), which is 450 GB/s instead of 900 GB/s.";
    assert!(sentence.contains(cause), "{sentence}");
    // Why: what the ladders of both differ in adds up to the difference.
    let times: Vec<f64> =
        found["figures"][0]["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let parts = found["why"][0]["parts"].as_array().unwrap();
    let sum: f64 = parts.iter().map(|part| part["difference_ps"].as_f64().unwrap()).sum();
    assert!((sum / 1e3 - (times[1] - times[0])).abs() < 1e-3, "{sum} {times:?}");
    let half: Value =
        serde_json::from_slice(&fs::read(place.path().join("c/runs/half/summary.json")).unwrap()).unwrap();
    let late = half["migration"]["late_tokens"].as_u64().unwrap();
    assert!(late > 0 && sentence.contains(&format!("{late} late tokens instead of ")), "{sentence}");
    assert!(sentence.contains("Why half takes ") && !sentence.contains("alpha"), "{sentence}");
    assert!(place.path().join("c/runs/half/steps.csv").is_file());
    let silent = json(place.path(), &[&entries[..], &["--no-why", "--out", "d", "--json"]].concat());
    assert!(!silent["sentences"][0].as_str().unwrap().contains("Why ") && silent["why"][0]["parts"][0].is_null());
    let found =
        json(place.path(), &["compare", "study --decode 4 --strategy baseline --strategy best-ratio", "--json"]);
    assert_eq!(found["runs"][1]["label"], "best-ratio (oracle: sees 1 step)");
    refused(place.path(), &["compare", "study", "study --out x"], &["outside the quotes"]);
    refused(place.path(), &["compare", "study --set x='1"], &["quote"]);
    refused(place.path(), &["compare", "study --decoed 4", "study"], &["--decoed"]);
    refused(place.path(), &["compare", "study"], &["only one run"]);
    refused(place.path(), &["compare", "nothing", "study"], &["'nothing'"]);
}

/// Two machines differ in parts, which have names: not in each timing of their memories.
#[test]
fn machines_are_distinguished_by_their_parts() {
    let place = TempDir::new().unwrap();
    let machine =
        "study --model smollm2-135m --decode 4 --skip 40% --strategy best-ratio --hbm-capacity 200MiB --prefill 4096";
    let other = format!("{machine} --memory cxl-box");
    let (text, _) = output(place.path(), &["compare", machine, &other], 0);
    let rows: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert!(rows[0].contains(" study ") && rows[0].contains(" cxl-box "), "{text}");
    assert!(rows.len() <= 12 && !text.contains("t_faw") && text.contains("ddr5-4800"), "{text}");
    assert!(text.contains("times as long as study: ") && text.contains("Why cxl-box takes "), "{text}");
    assert!(text.contains(" tokens/s instead of ") && text.contains("tier bandwidths"), "{text}");
    // What it found is in a folder named after the runs that were compared.
    let folder = fs::read_dir(place.path().join("out/compare")).unwrap().next().unwrap().unwrap().file_name();
    assert!(folder.to_string_lossy().starts_with("study+smollm2-135m"), "{folder:?}");
}

#[test]
fn folders_that_are_not_whole_or_not_ours_are_refused() {
    let place = two_runs();
    let broken = |name: &str, change: &dyn Fn(&Path)| {
        let to = place.path().join(name);
        fs::create_dir(&to).unwrap();
        for file in ["summary.json", "steps.csv", "histograms.hlog"] {
            fs::copy(place.path().join("b").join(file), to.join(file)).unwrap();
        }
        change(&to);
    };
    let edit = |file: &'static str, edit: fn(String) -> String| {
        move |folder: &Path| {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            let changed = edit(text.clone());
            assert_ne!(text, changed, "the edit of {file} does something");
            fs::write(folder.join(file), changed).unwrap();
        }
    };
    let check = |name: &str, change: &dyn Fn(&Path), parts: &[&str]| {
        broken(name, change);
        refused(place.path(), &["compare", "a", name], &[&[name][..], parts].concat());
    };
    let without = |file: &'static str| move |folder: &Path| fs::remove_file(folder.join(file)).unwrap();
    check("no_summary", &without("summary.json"), &["no summary.json"]);
    check("no_steps", &without("steps.csv"), &["incomplete", "no steps.csv", "tiersim run no_steps/summary.json"]);
    check("no_log", &without("histograms.hlog"), &["incomplete", "no histograms.hlog"]);
    let schema = |text: String| text.replace("\"schema\": 1", "\"schema\": 2");
    check("schema", &edit("summary.json", schema), &["schema: 2", "reads schema 1"]);
    check("empty", &edit("summary.json", |_| String::new()), &["no JSON"]);
    check("other", &edit("summary.json", |_| "{\"steps\": 3}".to_owned()), &["no schema"]);
    check("list", &edit("summary.json", |_| "[1]".to_owned()), &["no schema"]);
    let field = |text: String| text.replace("\"best_ratio\"", "\"bets_ratio\"");
    check("field", &edit("summary.json", field), &["best_ratio"]);
    let steps = |text: String| text.replace("\"steps\": 24", "\"steps\": 25");
    check("steps", &edit("summary.json", steps), &["25 steps, steps.csv 24"]);
    let cut = |text: String| text[..text.len() - 9].to_owned();
    check("cut", &edit("steps.csv", cut), &["steps.csv:25"]);
    let row = |text: String| text.replace("\n7,", "\n8,");
    check("row", &edit("steps.csv", row), &["steps.csv:9", "where step 7 is due"]);
    let column = |text: String| text.replace("hbm_used_bytes", "hmb_used_bytes");
    check("column", &edit("steps.csv", column), &["hbm_used_bytes"]);
    let value = |text: String| text.replacen("\n3,1027,", "\n3,many,", 1);
    check("value", &edit("steps.csv", value), &["steps.csv:5", "context_tokens: 'many'"]);
    let line = |text: String| text.replace("HISTFAAAA", "HISTFAAAB");
    check("line", &edit("histograms.hlog", line), &["histograms.hlog:3", "damaged"]);
    let short = |text: String| text.lines().take(2).fold(String::new(), |all, line| all + line + "\n");
    check("short", &edit("histograms.hlog", short), &["no histogram"]);
    // Of another run: fewer steps.
    tiersim(place.path(), &["run", "--strategy", "best-ratio", "--decode", "8", "--out", "eight"]).assert().success();
    let mixed = |folder: &Path| {
        fs::copy(place.path().join("eight/histograms.hlog"), folder.join("histograms.hlog")).unwrap();
    };
    check("mixed", &mixed, &["24 steps, histograms.hlog 8"]);
    fs::create_dir(place.path().join("above")).unwrap();
    fs::rename(place.path().join("eight"), place.path().join("above/eight")).unwrap();
    refused(place.path(), &["compare", "a", "above"], &["There are runs in above/eight"]);
}

#[test]
fn a_run_that_ended_early_is_compared_but_not_by_its_time() {
    let place = two_runs();
    let full = [
        "run",
        "--strategy",
        "best-ratio",
        "--decode",
        "2000",
        "--set",
        "memory.external.capacity=1GiB",
        "--hbm-capacity",
        "2GiB",
        "--out",
        "full",
    ];
    let (_, message) = output(place.path(), &full, 1);
    assert!(message.contains("incomplete"), "{message}");
    let (text, message) = output(place.path(), &["compare", "a", "full", "--out", "c"], 1);
    assert!(message.contains("incomplete: full:") && text.contains("full ended incomplete after"), "{text} {message}");
}

#[test]
fn histograms_merge_and_subtract() {
    let place = two_runs();
    let figures = |args: &[&str]| json(place.path(), &[&["hist"], args, &["--json"]].concat());
    let both = figures(&["a", "b"]);
    let merged = figures(&["--merge", "a", "b", "--out", "m"]);
    let count = |value: &Value, name: &str, tag: &str| value[name][tag]["count"].as_u64().unwrap_or(0);
    assert_eq!(count(&merged, "merged", "token_latency"), 48);
    for tag in ["KvRead_latency", "MigrateOut_lateness"] {
        assert_eq!(count(&merged, "merged", tag), count(&both, "a", tag) + count(&both, "b", tag), "{tag}");
    }
    assert!(place.path().join("m/percentiles_token_latency.png").is_file());
    // What was written reads back, and the second run taken away leaves the first.
    assert_eq!(figures(&["m"])["m"], merged["merged"]);
    let rest = figures(&["--subtract", "m", "b"]);
    let buckets = |value: &Value| value["token_latency"]["p99"].clone();
    assert_eq!(buckets(&rest["m - b"]), buckets(&both["a"]));
    assert_eq!(count(&rest, "m - b", "token_latency"), 24);
    let one = figures(&["--merge=all", "--tag", "KvRead_latency,WeightRead_latency", "a"]);
    let sum = count(&both, "a", "KvRead_latency") + count(&both, "a", "WeightRead_latency");
    assert_eq!(count(&one, "merged", "merged"), sum);
    // A .hgrm knows the percentiles that it has lines for.
    let approximate = figures(&["a/histograms/token_latency.hgrm"]);
    let (of_file, of_log) = (&approximate["token_latency.hgrm"]["token_latency"], &both["a"]["token_latency"]);
    assert_eq!(of_file["count"], of_log["count"]);
    let close = |key: &str| (of_file[key].as_f64().unwrap() / of_log[key].as_f64().unwrap() - 1.0).abs() < 0.002;
    assert!(close("max") && close("p50") && close("p90"), "{of_file} {of_log}");

    refused(
        place.path(),
        &["hist", "--subtract", "a", "b"],
        &["cannot subtract", "times that the other does not have"],
    );
    refused(place.path(), &["hist", "--subtract", "a", "a"], &["nothing is left"]);
    refused(place.path(), &["hist", "--subtract", "m", "a/histograms/token_latency.hgrm"], &["subtract logs"]);
    refused(place.path(), &["hist", "a", "--tag", "tokens"], &["--tag tokens", "token_latency"]);
    refused(place.path(), &["hist", "nowhere.hlog"], &["nowhere.hlog"]);
    refused(place.path(), &["hist"], &["<FILE>"]);
    fs::write(place.path().join("x.hlog"), "not a log\n").unwrap();
    refused(place.path(), &["hist", "x.hlog"], &["x.hlog:1"]);
    fs::write(place.path().join("x.hlog"), [0xff, 0xfe]).unwrap();
    refused(place.path(), &["hist", "x.hlog"], &["x.hlog"]);
    let hgrm = fs::read_to_string(place.path().join("a/histograms/token_latency.hgrm")).unwrap();
    let lines: Vec<&str> = hgrm.lines().collect();
    fs::write(place.path().join("x.hgrm"), lines[..lines.len() - 6].join("\n")).unwrap();
    refused(place.path(), &["hist", "x.hgrm"], &["x.hgrm", "cut short"]);
    let log = fs::read_to_string(place.path().join("a/histograms.hlog")).unwrap();
    fs::write(place.path().join("foreign.hlog"), log.replace("tiersim", "other")).unwrap();
    refused(place.path(), &["hist", "foreign.hlog"], &["--unit"]);
    let scaled = json(place.path(), &["hist", "foreign.hlog", "--unit", "ns", "--json"]);
    let max = |value: &Value| value["token_latency"]["p50"].as_f64().unwrap();
    assert!((max(&scaled["foreign.hlog"]) / max(&both["a"]) / 1000.0 - 1.0).abs() < 0.002);
}

/// No damaged byte of a log does any harm: it is read or refused.
#[test]
fn damaged_logs_are_read_or_refused() {
    use tiersim::results::Distributions;

    let place = two_runs();
    let log = fs::read(place.path().join("b/histograms.hlog")).unwrap();
    let path = place.path().join("damaged.hlog");
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..300 {
        let mut bytes = log.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(128) as u8,
                1 => drop(bytes.drain(at..(at + 1 + random(40)).min(log.len().min(bytes.len())))),
                _ => bytes.truncate(at.max(1)),
            }
        }
        fs::write(&path, bytes).unwrap();
        refused += usize::from(Distributions::read(&path, None).is_err());
    }
    assert!(refused > 100, "{refused}");
}

/// HdrHistogram for Python reads the log and finds the figures of the summary; tiersim reads what
/// it writes.
#[test]
fn another_implementation_reads_the_log_and_writes_one() {
    let Some(python) = python::with("hdrh.log", &["hdrhistogram"]) else {
        skip!("no python3 with hdrhistogram, and none can be installed here");
    };
    let place = two_runs();
    let code = "\
import sys
from hdrh.log import HistogramLogReader, HistogramLogWriter
from hdrh.histogram import HdrHistogram
found = {}
reader = HistogramLogReader('b/histograms.hlog', HdrHistogram(1, 2**62, 3))
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None: break
    found[histogram.get_tag()] = histogram
for tag, one in found.items():
    print(tag, *[f'{it.value_iterated_to}:{it.count_at_value_iterated_to}' for it in one.get_recorded_iterator()])
both = HdrHistogram(1, 2**62, 3)
both.add(found['token_latency'])
both.add(found['token_latency'])
with open('python.hlog', 'w') as file:
    writer = HistogramLogWriter(file)
    writer.output_log_format_version()
    writer.output_legend()
    writer.output_interval_histogram(both, 0, 1)
";
    let run = std::process::Command::new(&python).current_dir(place.path()).args(["-c", code]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // Bucket for bucket what tiersim reads, whose percentiles are those of the summary.
    let ours = tiersim::results::Distributions::read(&place.path().join("b"), None).unwrap();
    let expected: Vec<String> = ours
        .named
        .iter()
        .map(|(tag, timings)| {
            let buckets = timings.histogram().iter_recorded();
            let buckets = buckets.map(|bucket| format!(" {}:{}", bucket.value_iterated_to(), bucket.count_at_value()));
            format!("{tag}{}", buckets.collect::<String>())
        })
        .collect();
    let found = String::from_utf8(run.stdout).unwrap();
    assert!(expected.len() >= 10);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);

    let back = json(place.path(), &["hist", "python.hlog", "--unit", "ps", "--json"]);
    assert_eq!(back["python.hlog"]["untagged"]["count"], 48);
    let ours = json(place.path(), &["hist", "--merge", "b", "b", "--tag", "token_latency", "--json"]);
    assert_eq!(back["python.hlog"]["untagged"]["p90"], ours["merged"]["token_latency"]["p90"]);
}

/// A file-size limit stands for a disk that is full: the write fails in mid-file.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_is_an_error_and_leaves_the_earlier_files_whole() {
    let place = two_runs();
    let all = |folder: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![place.path().join(folder)];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    };
    let limited = |blocks: &str, args: &str| {
        // Without the trap the signal would end the process; a full disk sends none.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {} {args}", binary().display());
        let output = std::process::Command::new("sh").current_dir(place.path()).args(["-c", &script]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let before = all("a");
    assert!(before.len() > 10);
    // Blocks of 512 B: the summary of some 10 KB fits in none of these, the pictures in the second
    // do not.
    for blocks in ["4", "40"] {
        let message = limited(blocks, "run --decode 24 --seed 5 --skip 0.4 --out a");
        assert!(message.contains("cannot write") && message.contains("a/") && message.contains("--out"), "{message}");
        assert!(before == all("a"), "{blocks} blocks: the earlier run is not as it was");
    }
    output(place.path(), &["compare", "a", "b", "--out", "c"], 0);
    let before = all("c");
    let message = limited("4", "compare b a --out c");
    assert!(message.contains("cannot write"), "{message}");
    assert!(before == all("c"));
    let message = limited("4", "hist a b --out h");
    assert!(message.contains("cannot write") && all("h").is_empty(), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_an_error() {
    let place = TempDir::new().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = ["run", "--decode", "2", "--json"];
    let output =
        std::process::Command::new(binary()).current_dir(place.path()).args(args).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout"));
}
