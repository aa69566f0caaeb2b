//! What people type and what other tools write: units, counts, misspelt names, files of another
//! kind, histograms of HdrHistogram's own tools, and control characters in names.

use crate::common::program::{binary, tiersim};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn output(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = tiersim(folder, args).assert().code(code).get_output().clone();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

fn refused(args: &[&str], parts: &[&str]) {
    let place = TempDir::new().unwrap();
    refused_in(place.path(), args, parts);
}

fn refused_in(folder: &Path, args: &[&str], parts: &[&str]) {
    let (stdout, message) = output(folder, args, 2);
    assert!(stdout.is_empty() && !message.contains("panicked"), "{args:?}: {stdout} {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
    }
}

fn hist(file: &str, content: &str, unit: &str) -> Value {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join(file), content).unwrap();
    let (stdout, _) = output(place.path(), &["hist", file, "--unit", unit, "--json"], 0);
    serde_json::from_str(&stdout).expect("stdout is JSON")
}

// ---- Histograms of other tools ----

const HEADING: &str = "\
#[Overall percentile distribution between 0.000 and <Infinite> seconds (relative to StartTime)]
       Value     Percentile TotalCount 1/(1-Percentile)

        1.00 0.000000000000          1           1.00
        2.00 1.000000000000          2
#[Mean    =         1.50, StdDeviation   =         0.50]
#[Max     =         2.00, Total count    =            2]
#[Buckets =           21, SubBuckets     =         2048]
";

/// wrk2 prints a table within its other output, and indents what is below it.
const INDENTED: &str = "\
Running 30s test @ http://127.0.0.1:80/
  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)

       1.000     0.000000            1         1.00
       2.000     1.000000            2          inf
    #[Mean    =        1.500, StdDeviation   =        0.500]
    #[Max     =        2.000, Total count    =            2]
    #[Buckets =           27, SubBuckets     =         2048]
----------------------------------------------------------
  2 requests in 30.00s
";

const CSV: &str = "\
\"Value\",\"Percentile\",\"TotalCount\",\"1/(1-Percentile)\"
1.000000,0.000000000000,1,1.00
2.000000,1.000000000000,2,Infinity
";

#[test]
fn percentile_files_of_other_tools_are_read_exactly() {
    for (file, content) in [("a.hgrm", HEADING), ("b.txt", INDENTED), ("c.csv", CSV)] {
        let found = hist(file, content, "ms");
        let figures = found[file].as_object().unwrap().values().next().unwrap();
        for (name, value) in [("count", 2.0), ("mean", 1.5e6), ("p50", 1e6), ("p99", 2e6), ("max", 2e6), ("min", 1e6)] {
            assert_eq!(figures[name].as_f64(), Some(value), "{file}: {name}");
        }
    }
    // The exact mean and greatest value are those of the footer, not of the rounded lines.
    let rounded =
        HEADING.replace("1.50, Std", "1.47, Std").replace("#[Max     =         2.00", "#[Max     =        1.987");
    let figures = &hist("a.hgrm", &rounded, "ms")["a.hgrm"]["a"];
    assert_eq!((figures["mean"].as_f64(), figures["max"].as_f64()), (Some(1.47e6), Some(1.987e6)));
    assert_eq!(figures["p99"].as_f64(), Some(1.987e6));
    let place = TempDir::new().unwrap();
    for (content, expected) in [
        (HEADING.replace("count    =            2", "count    =            3"), "'Total count' below it is 3"),
        (HEADING.replace("1.50, Std", "9.50, Std"), "'Mean'"),
        (HEADING.replace("        2.00 1.0", "        0.50 1.0"), "less than that of the line before"),
        (HEADING.replace("        2.00 1.0", "        1e300 1.0"), "longer than 213 days"),
    ] {
        fs::write(place.path().join("x.hgrm"), content).unwrap();
        refused_in(place.path(), &["hist", "x.hgrm", "--unit", "ms"], &["x.hgrm:5", expected]);
    }
}

/// The first two lines are of HdrHistogram's own test log; a blank follows the histogram.
#[test]
fn logs_report_the_top_of_a_bucket() {
    let log = "#[Histogram log format version 1.2]\n0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI= \n";
    let figures = &hist("blank.hlog", log, "ns")["blank.hlog"]["untagged"];
    assert_eq!(figures["count"], 741);
    assert_eq!(figures["max"].as_f64(), Some(2_768_895.0));
    assert_eq!(figures["p50"].as_f64(), Some(344_063.0));
    // What was read of another tool is written, and read again, within three digits.
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("x"), log).unwrap();
    refused_in(place.path(), &["hist", "x"], &["--unit"]);
    output(place.path(), &["hist", "x", "--unit", "us", "--out", "o"], 0);
    let (again, _) = output(place.path(), &["hist", "o/histograms.hlog", "--json"], 0);
    let again: Value = serde_json::from_str(&again).unwrap();
    let max = again["o"]["untagged"]["max"].as_f64().unwrap();
    assert!((max / 2_768_895e3 - 1.0).abs() < 0.001, "{max}");
    // Merged with itself: twice as many, the same percentiles.
    let (merged, _) = output(place.path(), &["hist", "x", "x", "--merge", "--unit", "ns", "--json"], 0);
    let merged: Value = serde_json::from_str(&merged).unwrap();
    assert_eq!(merged["merged"]["untagged"]["count"], 1482);
    assert_eq!(merged["merged"]["untagged"]["p50"].as_f64(), Some(344_063.0));
    refused_in(place.path(), &["hist", "--subtract", "x", "x", "--unit", "ns"], &["nothing is left"]);
    // In seconds its greatest value is 32 days; nothing is clamped to the clock's 213.
    fs::write(place.path().join("x"), log.replace("2.769", "1")).unwrap();
    output(place.path(), &["hist", "x", "--unit", "s"], 0);
}

/// A count of 2^54 and more leaves no float between a share and 1, and names that fold to one file
/// stay apart.
#[test]
fn histograms_with_great_counts_and_like_names_are_kept_apart() {
    let huge = "#[Histogram log format version 1.3]\n0.000,1.000,1.0,HISTEwAAAAsAAAAAAAAAAwAAAAAAAAABQAAAAAAAAAA/8AAAAAAAAACAgICAgICAgCAC\n";
    assert_eq!(hist("huge.hlog", huge, "ns")["huge.hlog"]["untagged"]["max"].as_f64(), Some(2.0));
    let place = TempDir::new().unwrap();
    let line = "0.000,1.000,1.0,HISTEwAAAAsAAAAAAAAAAwAAAAAAAAABQAAAAAAAAAA/8AAAAAAAAACAgICAgICAgCAC";
    let tags = ["a/b", "a-b", "c\u{1b}[31m"];
    let log: String = tags.iter().map(|tag| format!("Tag={tag},{line}\n")).collect();
    fs::write(place.path().join("two.hlog"), log).unwrap();
    let (table, message) = output(place.path(), &["hist", "two.hlog", "--unit", "ns", "--out", "o"], 0);
    assert!(!table.contains('\u{1b}') && !message.contains('\u{1b}') && table.contains("c\\u{1b}[31m"), "{table}");
    let histograms = fs::read_dir(place.path().join("o/histograms")).unwrap().count();
    let pictures = fs::read_dir(place.path().join("o")).unwrap().count() - 2;
    assert_eq!((histograms, pictures), (3, 6), "a file each, and two pictures each");
    fs::copy(place.path().join("two.hlog"), place.path().join("two.hlog (1)")).unwrap();
    let args = ["hist", "two.hlog", "two.hlog", "two.hlog (1)", "--unit", "ns", "--json"];
    let all: Value = serde_json::from_str(&output(place.path(), &args, 0).0).unwrap();
    assert_eq!(all.as_object().unwrap().len(), 3);
}

// ---- Units and counts ----

#[test]
fn sizes_and_times_need_units() {
    refused(&["run", "--hbm-capacity", "4"], &["no unit", "GiB"]);
    refused(&["run", "--set", "memory.hbm.capacity=4"], &["memory.tiers[0].capacity", "no unit"]);
    refused(&["run", "--vary", "memory.hbm.capacity=4,8"], &["memory.hbm.capacity", "no unit"]);
    refused(&["curve", "--bytes", "4096"], &["no unit"]);
    refused(&["sweep", "strategies", "--memory-limit", "1000000000"], &["no unit"]);
    refused(&["run", "--migration-budget", "64"], &["64"]);
    refused(&["compare", "study", "study", "--fail-if", "p99 < 1"], &["'p99 < 1'", "no unit", "ms"]);
    refused(&["solve", "--vary", "memory.hbm.capacity=1..4", "--until", "p99 < 1ms"], &["no unit"]);
    let place = TempDir::new().unwrap();
    let model = "LanguageModel(name: \"m\", layers: [(count: 1, attention: (stored: \"1 MB\"), mlp: (stored: \"1 MB\"), kv_bytes: 256)])";
    fs::write(place.path().join("m.ron"), model).unwrap();
    refused_in(place.path(), &["check", "m.ron"], &["m.ron:1:", "kv_bytes", "'256' has no unit"]);
}

#[test]
fn counts_are_written_as_people_do() {
    let place = TempDir::new().unwrap();
    let scenario = |prefill: &str| {
        let text = format!(
            "Scenario(name: \"w\", model: \"study\", memory: \"study\", prefill_tokens: {prefill}, decode_tokens: 1, strategy: \"baseline\")"
        );
        fs::write(place.path().join("s.ron"), text).unwrap();
    };
    for (typed, tokens) in [("\"2k\"", 2048), ("\"1_024\"", 1024), ("1_024", 1024), ("1e3", 1000)] {
        scenario(typed);
        let (message, _) = output(place.path(), &["check", "s.ron"], 0);
        assert!(message.contains(&format!("{tokens} + 1 tokens")), "{typed}: {message}");
    }
    for typed in ["1.5", "-1", "4294967296", "NaN", "\"2 KiB\""] {
        scenario(typed);
        refused_in(place.path(), &["check", "s.ron"], &["s.ron:1:", "prefill_tokens", "whole number"]);
    }
    for args in [["--prefill", "2k"], ["--set", "prefill_tokens=2k"], ["--set", "prefill_tokens=2_048"]] {
        let command = [&["run", "--decode", "1", "--strategy", "baseline", "--json", "-q"], &args[..]].concat();
        let summary: Value = serde_json::from_str(&output(place.path(), &command, 0).0).unwrap();
        assert_eq!(summary["scenario"]["prefill_tokens"], 2048, "{args:?}");
    }
    let grid = ["sweep", "strategies", "--vary", "decode_tokens=1k,2_048", "--dry-run"];
    assert!(output(place.path(), &grid, 0).0.contains("1024, 2048"));
    for args in [["--seed", "-1"], ["--prefill", "-1"], ["--jobs", "-1"], ["--migration-budget", "-1"]] {
        refused(&["run", args[0], args[1]], &["-1", args[0]]);
    }
}

// ---- Names ----

#[test]
fn misspelt_names_and_misplaced_files_are_told() {
    refused(&["run", "--strategy", "base-line"], &["Did you mean 'baseline'?"]);
    refused(&["run", "--memory", "gh20"], &["Did you mean 'gh200'?"]);
    refused(&["run", "--set", "memory.hbm.capasity=2GiB"], &["Did you mean 'capacity'?"]);
    refused(&["run", "--set", "compute.rate=1TFLOP/s"], &["'compute' is not set", "compute={rate"]);
    refused(
        &["compare", "study", "study", "--fail-if", "latency < 1ms"],
        &["no figure 'latency'", "Did you mean 'token_latency_ns"],
    );
    refused(&["run", "llama-3.1-70b"], &["it is a language model", "--model llama-3.1-70b"]);
    let place = TempDir::new().unwrap();
    let (memory, _) = output(place.path(), &["list", "--memory", "gh200", "--ron"], 0);
    fs::write(place.path().join("a.ron"), memory).unwrap();
    refused_in(place.path(), &["run", "a.ron"], &["it is a memory system", "--memory a.ron"]);
    refused_in(place.path(), &["run", "--model", "a.ron"], &["it is a memory system"]);
    refused_in(place.path(), &["sweep", "a.ron"], &["it is a memory system"]);
    output(place.path(), &["check", "a.ron"], 0);
}

#[test]
fn what_is_listed_can_be_started_from() {
    let place = TempDir::new().unwrap();
    let kinds = [
        ("--model", "study"),
        ("--memory", "gh200"),
        ("--scenario", "gh200"),
        ("--sweep", "strategies"),
        ("--generator", "study-skip40"),
    ];
    for (kind, name) in kinds {
        let (text, _) = output(place.path(), &["list", kind, name, "--ron"], 0);
        fs::write(place.path().join("x.ron"), text).unwrap();
        output(place.path(), &["check", "x.ron"], 0);
    }
    for (kind, name) in [("--dram", "hbm3-6400"), ("--link", "pcie5-x16"), ("--strategy", "balanced-online")] {
        assert!(output(place.path(), &["list", kind, name, "--ron"], 0).0.contains('('), "{kind}");
    }
    let (strategy, _) = output(place.path(), &["list", "--strategy", "balanced-online", "--ron"], 0);
    let text = format!(
        "Scenario(name: \"w\", model: \"study\", memory: \"study\", prefill_tokens: 16, decode_tokens: 1, {strategy})"
    );
    fs::write(place.path().join("s.ron"), text).unwrap();
    assert!(output(place.path(), &["check", "s.ron"], 0).0.contains("balanced-online"));
    refused(&["list", "--ron"], &["--ron"]);
}

#[test]
fn shells_complete_names_and_files() {
    let place = TempDir::new().unwrap();
    let (script, _) = output(place.path(), &["completions", "bash"], 0);
    for names in ["study published", "gh200", "balanced-online", "python_heapq_skip40", "hbm-or-link"] {
        assert!(script.contains(names), "{names}");
    }
    assert!(script.contains("compgen -f -W \"study published"));
    assert!(output(place.path(), &["completions", "zsh"], 0).0.contains("_files"));
    // bash itself completes them.
    fs::write(place.path().join("complete.bash"), script).unwrap();
    let ask = "source complete.bash; touch mine.ron; COMP_WORDS=(tiersim run --memory \"$1\"); COMP_CWORD=3; \
               _tiersim tiersim \"$1\" --memory; echo \"${COMPREPLY[@]}\"";
    let complete = |typed: &str| {
        let bash =
            std::process::Command::new("bash").current_dir(place.path()).args(["-c", ask, "bash", typed]).output();
        String::from_utf8(bash.unwrap().stdout).unwrap()
    };
    assert_eq!(complete("gh2").trim(), "gh200");
    assert_eq!(complete("min").trim(), "mine.ron");
}

// ---- What files do to a terminal ----

#[test]
fn control_characters_and_long_lines_do_not_reach_a_terminal() {
    let place = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    write(
        "m.ron",
        "MemorySystem(name:\"m\",tiers:[(name:\"\\u{1b}]0;x\\u{7}\",capacity:\"4 GiB\",bandwidth:\"1 GB/s\"),(name:\"e\",capacity:\"4 GiB\",bandwidth:\"1 GB/s\")])",
    );
    let (_, message) = output(place.path(), &["check", "m.ron"], 2);
    assert!(!message.contains('\u{1b}') && !message.contains('\u{7}') && message.contains("\\u{1b}]0;x"), "{message}");
    // The same within the text that is shown around a place.
    write("m.ron", "MemorySystem(\n // \u{1b}[31m \u{202e}\n nam: 1)");
    let (_, message) = output(place.path(), &["check", "m.ron"], 2);
    assert!(
        !message.contains("\u{1b}[31m") && !message.contains('\u{202e}') && message.contains("m.ron:3"),
        "{message}"
    );
    // miette cannot show what stands beyond column 65535; nobody reads a line of a megabyte.
    for fill in [" ".repeat(70_000), "/* */".repeat(200_000)] {
        write("f.ron", &format!("Scenario({fill}x:1)"));
        let (_, message) = output(place.path(), &["check", "f.ron"], 2);
        assert!(message.contains("f.ron:1:") && message.contains("x:1)") && message.len() < 2_000, "{}", message.len());
    }
    write("f.ron", &format!("Scenario(name:\"a\",prefill_tokens:\"{}\")", "9".repeat(1 << 20)));
    assert!(output(place.path(), &["check", "f.ron"], 2).1.len() < 4_000);
    write(
        "f.ron",
        "LanguageModel(name:\"m\",layers:[(count:1,attention:(stored:1e308),mlp:(stored:\"1 B\"),kv_bytes:\"1 B\")])",
    );
    let (_, message) = output(place.path(), &["check", "f.ron"], 2);
    assert!(message.contains("1e308") && message.len() < 1_000, "{message}");
    // A byte order mark is none of the text; bytes that are not UTF-8 are reported by their line.
    write(
        "b.ron",
        "\u{feff}Scenario(name:\"w\",model:\"study\",memory:\"study\",prefill_tokens:16,decode_tokens:1,strategy:\"baseline\")",
    );
    output(place.path(), &["check", "b.ron"], 0);
    fs::write(place.path().join("u.ron"), b"Scenario(\n\n\xff)").unwrap();
    refused_in(place.path(), &["check", "u.ron"], &["u.ron", "line 3 is not UTF-8"]);
}

#[test]
fn a_grid_with_a_failed_cell_exits_with_1() {
    let (table, message) = grid("page_tokens=1,70000", 1);
    assert!(table.contains("| 1 ") || table.contains(" 1 |"), "{table}");
    assert!(message.contains("1 of 2 cells failed") && message.contains("65536"), "{table} {message}");
}

/// That a machine is too small for a model is an answer, and no failure of the sweep.
#[test]
fn a_grid_shows_the_cells_that_do_not_fit() {
    let (table, _) = grid("memory.external.capacity=1MiB,64GiB", 0);
    assert!(table.contains("64 GiB") && table.contains("does not fit"), "{table}");
    assert!(table.contains("1 cell does not fit") && table.contains("1023 MiB more"), "{table}");
}

/// The output of a sweep of the study over `axis`, which ends with `code`.
fn grid(axis: &str, code: i32) -> (String, String) {
    let place = TempDir::new().unwrap();
    let study = ["run", "study", "--decode", "4", "--prefill", "4k", "--strategy", "baseline"];
    output(place.path(), &[&study[..], &["--out", "grid", "--vary", axis]].concat(), code)
}

/// Ctrl-C ends a command that looks at no flag, at once and with 130.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_every_command() {
    let place = TempDir::new().unwrap();
    let rows: String = (0..3_000_000).map(|row| format!("{row},KvRead,hbm,chip,1000000\n")).collect();
    fs::write(place.path().join("t.csv"), format!("issue_ns,class,source,destination,bytes\n{rows}")).unwrap();
    for args in [&["curve", "--transfers", "50000000"][..], &["replay", "t.csv", "--memory", "study"]] {
        let mut child = std::process::Command::new(binary())
            .current_dir(place.path())
            .args(args)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(400));
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let ended = std::time::Instant::now();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{args:?}");
        assert!(ended.elapsed() < std::time::Duration::from_secs(3), "{args:?}");
    }
}
