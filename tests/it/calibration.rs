//! `tiersim calibrate`: costs that are known are found again, and rows that determine none are
//! refused with the reason.

use crate::common::program::tiersim;
use std::fs;
use std::path::Path;
use std::process::Output;
use tiersim::workload::RuntimeConfig;

const HEADING: &str =
    "case,group,memory,runtime,model,set,prefill_tokens,decode_tokens,batch,metric,measured,unit,source,use";

/// One tier of 1000 GB/s without latency; models of two layers, four stages, with so many MB each
/// (a quarter of it attention), in a format or none, with or without KV.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("m.ron", "MemorySystem(name: \"m\", tiers: [(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"1000 GB/s\")])");
    for (name, megabytes, format, kv) in [
        ("8", 8, "", 0),
        ("8.1", 8, "", 100),
        ("16", 16, "", 0),
        ("q8", 8, ", format: \"q8_0\"", 0),
        ("q16", 16, ", format: \"q8_0\"", 0),
        ("kv", 8, "", 1000),
    ] {
        let (attention, mlp) = (megabytes * 125, megabytes * 375);
        put(
            &format!("{name}.ron"),
            &format!(
                "LanguageModel(name: \"l\", layers: [(count: 2, attention: (stored: \"{attention} kB\"{format}), \
                 mlp: (stored: \"{mlp} kB\"{format}), kv_bytes: \"{kv} B\")])"
            ),
        );
    }
    folder
}

fn row(name: &str, model: &str, prefill: u32, us: f64, usage: &str) -> String {
    format!("{name},g,m.ron,,{model}.ron,,{prefill},1,1,step,{us},us,somebody's page,{usage}\n")
}

fn calibrate(folder: &Path, rows: &str, args: &[&str]) -> Output {
    fs::write(folder.join("cases.csv"), format!("{HEADING}\n{rows}")).unwrap();
    tiersim(folder, &[&["calibrate", "cases.csv", "-o", "mine.ron"], args].concat()).output().unwrap()
}

fn calibrated(folder: &Path, rows: &str, args: &[&str]) -> (RuntimeConfig, String) {
    let output = calibrate(folder, rows, args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(folder.join("mine.ron")).unwrap();
    (tiersim::config::parse(&text, "mine.ron").unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A stage takes 2 us, reads reach 0.8: 4 x 2 + 8 / 0.8 = 18 us, and 28 us for twice the bytes.
#[test]
fn two_rows_determine_a_time_per_stage_and_a_reach() {
    let folder = folder();
    let rows = row("a", "8", 0, 18.0, "fit") + &row("b", "16", 0, 28.0, "fit") + &row("c", "8", 0, 20.0, "check");
    let (runtime, shown) = calibrated(folder.path(), &rows, &[]);
    assert_eq!((runtime.name.as_str(), runtime.machine.as_deref()), ("mine", Some("m")));
    assert_eq!(runtime.per_stage, "2 us".parse().unwrap());
    assert_eq!(runtime.reaches.len(), 1);
    assert_eq!(serde_json::to_value(&runtime.reaches[0].reach).unwrap(), 0.8);
    for part in ["held out", "-10.0 %", "2.00 us", "reach 0.800 (800 GB/s)"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    // Rows and errors stand in the file.
    for part in ["a +0.0 %", "b +0.0 %", "held out: c -10.0 %", "somebody's page", "condition number"] {
        assert!(runtime.source.contains(part), "{part} is not in {}", runtime.source);
    }
    // What is written is what is simulated.
    let cases = row("a", "8", 0, 18.0, "fit").replace("m.ron,,", "m.ron,mine.ron,");
    fs::write(folder.path().join("with.csv"), format!("{HEADING}\n{cases}")).unwrap();
    let output = tiersim(folder.path(), &["validate", "with.csv", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["cases"][0]["error"].as_f64().unwrap().abs() < 1e-6, "{json}");
}

/// As above, and q8_0 reaches 0.5; KV of 2000 tokens of 2 x 1000 B, 4 us, reaches 0.25: 16 us.
#[test]
fn formats_and_kv_get_a_reach_of_their_own_where_rows_separate_them() {
    let folder = folder();
    let rows = row("a", "8", 0, 18.0, "fit")
        + &row("b", "16", 0, 28.0, "fit")
        + &row("c", "q8", 0, 24.0, "fit")
        + &row("d", "kv", 2000, 34.0, "fit")
        + &row("e", "q16", 0, 40.0, "fit");
    let (runtime, shown) = calibrated(folder.path(), &rows, &[]);
    let reaches: Vec<String> = runtime
        .reaches
        .iter()
        .map(|rule| format!("{} {:?} {}", rule.class, rule.format, serde_json::to_value(&rule.reach).unwrap()))
        .collect();
    assert_eq!(reaches, ["weights Some(Q8_0) 0.5", "weights None 0.8", "KV None 0.25"], "{shown}");
    assert_eq!(runtime.per_stage, "2 us".parse().unwrap());
    // Four costs remain on the four other rows, but only where these still separate them.
    let left_out = shown.lines().find(|line| line.starts_with("| b ")).unwrap();
    assert!(left_out.trim_end_matches([' ', '|']).ends_with("+0.0 %"), "{shown}");
}

/// A machine with room for more, and models with an architecture, whose FLOP are known: two and
/// four layers, and two that are wider, so that stages, steps and bytes are not proportional.
fn architectures(folder: &Path) {
    let memory = "MemorySystem(name: \"m\", tiers: [(name: \"hbm\", capacity: \"100 GB\", bandwidth: \"1000 GB/s\")])";
    fs::write(folder.join("m.ron"), memory).unwrap();
    for (name, layers, intermediate) in [("two", 2, 8192), ("four", 4, 8192), ("wide", 2, 32768)] {
        let text = format!(
            "LanguageModel(name: \"{name}\", architecture: (hidden: 4096, vocabulary: 2048, \
             blocks: [(count: {layers}, layers: [(attention: Full(heads: 32, kv_heads: 4, head_size: 64), \
             mlp: Dense(intermediate: {intermediate}))])], formats: (weights: \"bf16\", kv: \"bf16\")))"
        );
        fs::write(folder.join(format!("{name}.ron")), text).unwrap();
    }
}

/// What the simulator says of rows with known costs is fitted, and the costs are found again: a
/// time per stage, per sequence and per step, two reaches, and a compute rate.
#[test]
fn known_costs_of_batches_and_prefill_are_found_again() {
    let folder = folder();
    architectures(folder.path());
    let known = "Runtime(name: \"known\", per_stage: \"10 us\", per_sequence: \"500 ns\", per_step: \"40 us\", \
                 compute: \"20 TFLOP/s\", reaches: [(class: Weights, reach: 0.8), (class: Kv, reach: 0.5)])";
    fs::write(folder.path().join("known.ron"), known).unwrap();
    let runs = [
        ("two", 16, 1, "step"),
        ("two", 4096, 1, "step"),
        ("two", 512, 8, "step"),
        ("two", 4096, 8, "step"),
        ("four", 16, 1, "step"),
        ("four", 512, 4, "step"),
        ("four", 2048, 16, "step"),
        ("wide", 16, 1, "step"),
        ("two", 2048, 1, "ttft"),
        ("four", 1024, 2, "ttft"),
    ];
    let rows = |runtime: &str, measured: &dyn Fn(usize) -> f64| -> String {
        let row = |(index, (model, prefill, batch, metric)): (usize, &(&str, u32, u32, &str))| {
            let time = measured(index);
            format!("r{index},g,m.ron,{runtime},{model}.ron,,{prefill},1,{batch},{metric},{time},us,simulated,fit\n")
        };
        runs.iter().enumerate().map(row).collect()
    };
    fs::write(folder.path().join("known.csv"), format!("{HEADING}\n{}", rows("known.ron", &|_| 1.0))).unwrap();
    let output = tiersim(folder.path(), &["validate", "known.csv", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let simulated = |index: usize| json["cases"][index]["simulated"].as_f64().unwrap();
    let (runtime, shown) = calibrated(folder.path(), &rows("", &simulated), &[]);
    let near = |what: &str, found: f64, expected: f64| {
        assert!((found / expected - 1.0).abs() < 2e-3, "{what} {found}, not {expected}: {shown}");
    };
    near("per stage", runtime.per_stage.as_ps() as f64, 1e7);
    near("per sequence", runtime.per_sequence.as_ps() as f64, 5e5);
    near("per step", runtime.per_step.as_ps() as f64, 4e7);
    near("compute", runtime.compute.unwrap().as_f64(), 2e13);
    let reach = |class: &str| {
        let rule = runtime.reaches.iter().find(|rule| rule.class.to_string() == class).unwrap();
        serde_json::to_value(&rule.reach).unwrap().as_f64().unwrap()
    };
    near("weights", reach("weights"), 0.8);
    near("KV", reach("KV"), 0.5);
}

/// Batches of one size say nothing of a time per sequence: it stays in the time per stage.
#[test]
fn a_time_per_sequence_needs_batches_of_two_sizes() {
    let folder = folder();
    // 4 x (2 us + 8 x 0.5 us) + 8 / 0.8 = 34 us, and 44 us for twice the bytes.
    let of_eight = |row: String| row.replace(",1,1,step", ",1,8,step");
    let rows = of_eight(row("a", "8", 0, 34.0, "fit")) + &of_eight(row("b", "16", 0, 44.0, "fit"));
    let (runtime, _) = calibrated(folder.path(), &rows, &[]);
    assert_eq!((runtime.per_stage, runtime.per_sequence), ("6 us".parse().unwrap(), "0 s".parse().unwrap()));
    let rows = rows + &row("c", "8", 0, 20.0, "fit");
    let (runtime, _) = calibrated(folder.path(), &rows, &[]);
    assert_eq!((runtime.per_stage, runtime.per_sequence), ("2 us".parse().unwrap(), "500 ns".parse().unwrap()));
}

#[test]
fn prefill_needs_a_model_whose_flop_are_known() {
    let folder = folder();
    let rows = row("a", "8", 16, 18.0, "fit").replace("step", "ttft") + &row("b", "16", 16, 28.0, "fit");
    let output = calibrate(folder.path(), &rows, &[]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("case 'a' is of prefill, but its model gives its layers in bytes"), "{message}");
}

#[test]
fn a_time_per_stage_may_be_held() {
    let folder = folder();
    let (runtime, shown) = calibrated(folder.path(), &row("a", "8", 0, 18.0, "fit"), &["--per-stage", "2 us"]);
    assert_eq!(runtime.per_stage, "2 us".parse().unwrap());
    assert_eq!(serde_json::to_value(&runtime.reaches[0].reach).unwrap(), 0.8);
    assert!(shown.contains("held"), "{shown}");
}

#[test]
fn rows_that_determine_nothing_are_refused_with_the_reason() {
    let folder = folder();
    let refused = |rows: &str, parts: &[&str]| {
        let output = calibrate(folder.path(), rows, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in parts {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!folder.path().join("mine.ron").exists() && output.stdout.is_empty());
    };
    let a = row("a", "8", 0, 18.0, "fit");
    refused(&a, &["1 rows cannot determine 2 costs", "--per-stage"]);
    // The second reads 0.2 MB more in all, a fortieth.
    let near = a.clone() + &row("b", "8.1", 1000, 18.3, "fit");
    refused(&near, &["cannot separate the time per stage from all reads", "from 2.0000 to 2.05", "condition number"]);
    // Less time than the bytes take at the full bandwidth.
    let above = row("a", "8", 0, 9.0, "fit") + &row("b", "16", 0, 16.5, "fit");
    refused(&above, &["not physical", "weights would reach 1.067 of the memory's effective 1000.0 GB/s"]);
    let negative = row("a", "8", 0, 9.0, "fit") + &row("b", "16", 0, 25.0, "fit");
    refused(&negative, &["not physical", "a stage would take -1.8 us"]);
    refused(&row("a", "8", 0, 18.0, "check"), &["no row may be fitted on", "--use all"]);
    let two = a.clone() + &row("b", "16", 0, 28.0, "fit").replace("m.ron", "study");
    refused(&two, &["rows of m.ron and of study", "--group"]);
    refused(&row("a", "8", 0, 0.0, "fit"), &["cases.csv:2: measured is '0'"]);
}
