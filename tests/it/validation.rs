//! `tiersim validate`: figures by hand, groups, what is refused and how.

use crate::common::program::tiersim;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use tiersim::catalog;
use tiersim::runs::{Cancel, Resources, Silent};
use tiersim::validation::{self, Accuracy, Case, CaseFile, Checked, Use};

const HEADING: &str =
    "case,group,memory,runtime,model,set,prefill_tokens,decode_tokens,batch,metric,measured,unit,source,use";

/// One tier of 1000 GB/s; 8 MB of weights in two layers, without KV; and a kernel that reads 4 MB.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("m.ron", "MemorySystem(name: \"m\", tiers: [(name: \"hbm\", capacity: \"1 GB\", bandwidth: \"1000 GB/s\")])");
    put(
        "l.ron",
        "LanguageModel(name: \"l\", layers: [(count: 2, attention: (stored: \"1 MB\"), mlp: (stored: \"3 MB\"), \
         kv_bytes: \"0 B\")])",
    );
    put(
        "k.ron",
        "LanguageModel(name: \"k\", layers: [(count: 1, attention: (stored: \"0 B\"), mlp: (stored: \"4 MB\"), \
         kv_bytes: \"0 B\")])",
    );
    folder
}

fn validate(folder: &Path, rows: &str, args: &[&str]) -> Output {
    fs::write(folder.join("cases.csv"), format!("{HEADING}\n{rows}")).unwrap();
    tiersim(folder, &[&["validate", "cases.csv"], args].concat()).output().unwrap()
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 1e-9 * expected.abs().max(1e-3), "{value} is not {expected}");
}

/// A step reads 8 MB at 1000 GB/s: 8 us, or 125,000 tokens/s. The kernel takes 4 us.
#[test]
fn errors_are_those_computed_by_hand() {
    let folder = folder();
    let rows = "a,one,m.ron,,l.ron,,0,4,1,step,10,us,s,fit\n\
                b,one,m.ron,,l.ron,,0,4,1,tokens_per_s,100000,tokens/s,s,check\n\
                c,one,m.ron,,l.ron,memory.hbm.bandwidth=2000 GB/s;decode_tokens=2,0,4,1,tpot,0.004,ms,s,check\n\
                d,kernels,m.ron,,k.ron,,0,1,1,kernel,5,us,\"s, quoted\",check\n\
                f,batches,m.ron,,l.ron,,0,4,8,step,10,us,s,fit or check\n\
                g,batches,m.ron,,l.ron,,0,4,8,tokens_per_s,800000,tokens/s,s,fit or check\n";
    let output = validate(folder.path(), rows, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        ("a", 8.0, -0.2),
        ("b", 125_000.0, 0.25),
        ("c", 0.004, 0.0),
        ("d", 4.0, -0.2),
        ("f", 8.0, -0.2),
        ("g", 1e6, 0.25),
    ];
    for (index, (name, simulated, error)) in expected.into_iter().enumerate() {
        let case = &json["cases"][index];
        assert_eq!(case["case"], name);
        near(&case["simulated"], simulated);
        near(&case["error"], error);
    }
    assert_eq!(json["cases"].as_array().unwrap().len(), 6);
    let one = &json["groups"]["one"];
    assert_eq!((one["count"].as_u64(), one["worst_case"].as_str()), (Some(3), Some("b")));
    near(&one["mean_abs_error"], 0.15);
    near(&one["median_abs_error"], 0.2);
    near(&one["p90_abs_error"], 0.24);
    near(&one["worst"], 0.25);
    near(&json["overall"]["fit"]["mean_abs_error"], 0.2);
    let written = fs::read_to_string(folder.path().join("out/validation/validation.json")).unwrap();
    assert_eq!(written.trim_end(), String::from_utf8_lossy(&output.stdout).trim_end());
    // Two sizes of a batch make no line.
    let pictures = fs::read_dir(folder.path().join("out/validation")).unwrap();
    assert_eq!(
        pictures.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("batches")).count(),
        0
    );
    for ending in ["svg", "png"] {
        assert!(folder.path().join("out/validation/measured_simulated").with_extension(ending).is_file());
    }
}

/// A chunk of a prompt reads 8 MB at 1000 GB/s, as a step does: 8 us. Chunks have 4 tokens.
#[test]
fn prompts_are_computed_in_chunks_before_anything_is_decoded() {
    let folder = folder();
    let chunks = "prefill.Timed.chunk_tokens=4";
    // 10 tokens are 3 chunks. Two prompts of 6 tokens share the second of 3: one ends after 16 us,
    // the other after 24. Without the first chunk of 8 tokens, 4 tokens take 8 us. The steps that
    // decode come after all chunks, and the mean is of those steps alone.
    let rows = format!(
        "a,g,m.ron,,l.ron,{chunks},10,4,1,ttft,20,us,s,check
         b,g,m.ron,,l.ron,{chunks},6,4,2,ttft,16,us,s,check
         c,g,m.ron,,l.ron,{chunks},6,4,2,prefill_tokens_per_s,400000,tokens/s,s,check
         d,g,m.ron,,l.ron,{chunks};warmup_steps=1,8,4,1,prefill_tokens_per_s,400000,tokens/s,s,check
         e,g,m.ron,,l.ron,\"prefill={{\"\"Timed\"\":{{\"\"chunk_tokens\"\":4}}}}\",6,4,2,step,10,us,s,check
"
    );
    let output = validate(folder.path(), &rows, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [("a", 24.0), ("b", 20.0), ("c", 500_000.0), ("d", 500_000.0), ("e", 8.0)];
    for (index, (name, simulated)) in expected.into_iter().enumerate() {
        assert_eq!(json["cases"][index]["case"], name);
        near(&json["cases"][index]["simulated"], simulated);
    }
}

/// A picture for each model whose rate was measured at three sizes of a batch.
#[test]
fn rates_by_batch_are_drawn() {
    let folder = folder();
    let row = |batch: u32, context: u32, rate: f64| {
        format!("b{batch}c{context},g,m.ron,,l.ron,,{context},4,{batch},tokens_per_s,{rate},tokens/s,s,check\n")
    };
    let rows: String = [1, 2, 4].map(|batch| row(batch, 7, 125_000.0 * f64::from(batch))).concat() + &row(1, 9, 1e5);
    let output = validate(folder.path(), &rows, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = fs::read_to_string(folder.path().join("out/validation/batches_m_ideal_l.svg")).unwrap();
    assert!(picture.contains("7 tokens, measured") && !picture.contains("9 tokens"), "{picture}");
}

#[test]
fn a_case_that_does_not_fit_is_shown_and_not_counted() {
    let folder = folder();
    let rows = "a,one,m.ron,,l.ron,,0,4,1,step,8,us,s,fit\n\
                b,one,m.ron,,l.ron,memory.hbm.capacity=1 MB,0,4,1,step,8,us,s,fit\n";
    let output = validate(folder.path(), rows, &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("1 case failed") && shown.contains("- b (one): prefill_tokens: the weights"), "{shown}");
    let of_group = shown.lines().find(|line| line.starts_with("| one")).unwrap();
    assert!(of_group.contains("|     1 |"), "{of_group}");
}

/// Each is refused with file, line, column, value and remedy; nothing is written.
#[test]
fn bad_rows_are_refused_with_their_place() {
    let folder = folder();
    let refused = |rows: &str, parts: &[&str]| {
        let output = validate(folder.path(), rows, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{rows}: {message}");
        for part in parts {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(output.stdout.is_empty() && !folder.path().join("out").exists());
    };
    let row = |measured: &str| format!("a,g,m.ron,,l.ron,,0,1,1,step,{measured},ms,s,check\n");
    for value in ["0", "NaN", "inf", "-3", "1e999"] {
        refused(&row(value), &["cases.csv:2: measured is", value, "finite and more than 0"]);
    }
    refused(&row(""), &["cases.csv:2: measured is ''", "write a figure"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,step,3,,s,check\n", &["cases.csv:2: unit is ''", "s, ms, us, ns"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,tokens_per_s,3,ms,s,check\n", &["unit is 'ms'", "tokens/s"]);
    refused(",g,m.ron,,l.ron,,0,1,1,step,3,ms,s,check\n", &["cases.csv:2: case is ''", "write a name"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,stpe,3,ms,s,check\n", &["metric is 'stpe'", "use one of tpot"]);
    refused("a,g,m.ron,,l.ron,,0,1,0,step,3,ms,s,check\n", &["batch is '0'", "at least 1"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,step,3,ms,s,maybe\n", &["use is 'maybe'", "fit or check"]);
    refused(&(row("1") + &row("2")), &["cases.csv:3: case is 'a'", "same name"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,step,3,ms,s\n", &["cases.csv:2: the row has 13 fields"]);
    refused("", &["there are no cases"]);
    refused("a,g,m.ron,,no.ron,,0,1,1,step,3,ms,s,check\n", &["cases.csv:2: case 'a': model: ", "no.ron"]);
    refused("a,g,m.ron,,l.ron,trace.skip=7,0,1,1,step,3,ms,s,check\n", &["set trace.skip=7", "between 0 and 1"]);
    refused("a,g,m.ron,,l.ron,skip,0,1,1,step,3,ms,s,check\n", &["set is 'skip'", "PATH=VALUE"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,ttft,3,us,s,check\n", &["prefill_tokens is '0'", "ttft is of a prompt"]);
    refused("a,g,m.ron,,l.ron,,0,1,1,kernel,3,us,s,check\n", &["metric is 'kernel'", "4 stages"]);
    let heading = HEADING.replace("unit,", "");
    fs::write(folder.path().join("cases.csv"), heading).unwrap();
    let output = tiersim(folder.path(), &["validate", "cases.csv"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("cases.csv:1: there is no column 'unit'"), "{message}");
    let output = tiersim(folder.path(), &["validate", "nowhere.csv"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && message.contains("cannot read 'nowhere.csv'"), "{message}");
}

/// The steps of shipped cases that nothing was fitted on, at batch 1 on one tier: the errors that
/// README.md promises.
#[test]
fn shipped_runtimes_hold_on_cases_that_they_were_not_fitted_on() {
    let files: Vec<CaseFile> = catalog::CASES.iter().map(CaseFile::shipped).collect();
    let mut cases = validation::read(&files).unwrap();
    let on_several_tiers = |case: &Case| ["-ngl", "host", "CPU"].iter().any(|part| case.group.contains(part));
    cases.retain(|case| {
        case.usage == Use::Check
            && case.batch == 1
            && case.measured.metric.is_of_decoding()
            && case.prefill_tokens > 0
            && !on_several_tiers(case)
    });
    assert!(cases.len() >= 40, "{}", cases.len());
    let simulated =
        validation::validate(Checked::new(cases).unwrap(), Resources::new(None, None), &Cancel::new(false), &Silent);
    let accuracy = Accuracy::new(&simulated.unwrap());
    assert!(accuracy.failed.is_empty(), "{:?}", accuracy.failed);
    let all = &accuracy.overall["all"];
    assert!(all.mean_abs_error <= 0.06, "{all:?}");
    let spark = &accuracy.groups["DGX Spark llama.cpp dense"];
    assert!(spark.mean_abs_error <= 0.05, "{spark:?}");
}

/// The errors that README.md promises of batches and of prefill.
#[test]
fn shipped_runtimes_hold_for_batches_and_prefill() {
    let files: Vec<CaseFile> = catalog::CASES.iter().map(CaseFile::shipped).collect();
    let mut cases = validation::read(&files).unwrap();
    let of = |case: &Case, names: &[&str]| names.iter().any(|name| case.name.ends_with(name));
    cases.retain(|case| match case.group.as_str() {
        "DGX Spark llama.cpp dense batches" => of(case, &["c512-b8", "c512-b32", "c4096-b16", "c8192-b4"]),
        "DGX Spark llama.cpp dense prefill" => of(case, &["pp512-b1", "pp2048-d0"]),
        "H200 PyTorch batches" => case.usage == Use::Check && !case.model.contains("0.5b"),
        _ => false,
    });
    assert_eq!(cases.len(), 18);
    let simulated =
        validation::validate(Checked::new(cases).unwrap(), Resources::new(None, None), &Cancel::new(false), &Silent);
    let accuracy = Accuracy::new(&simulated.unwrap());
    assert!(accuracy.failed.is_empty(), "{:?}", accuracy.failed);
    for (group, errors) in &accuracy.groups {
        assert!(errors.mean_abs_error <= 0.05 && errors.worst <= 0.1, "{group}: {errors:?}");
    }
}

/// Every file of cases in the source tree is shipped, and its cases are valid.
#[test]
fn every_file_of_cases_is_shipped() {
    let mut files: Vec<String> = fs::read_dir("models/validation")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".csv"))
        .collect();
    files.sort();
    let mut shipped: Vec<String> = catalog::CASES.iter().map(|file| format!("{}.csv", file.name)).collect();
    shipped.sort();
    assert_eq!(files, shipped);
}

/// 300 requests that vLLM served on an RTX 4090, with costs that were fitted on kernels alone: the
/// errors that README.md promises, and as many requests running at a time.
#[test]
fn served_requests_take_as_long_as_measured() {
    let files: Vec<CaseFile> = catalog::CASES.iter().map(CaseFile::shipped).collect();
    let mut cases = validation::read(&files).unwrap();
    cases.retain(|case| case.group == "RTX 4090 vLLM requests");
    let metrics: Vec<String> = cases.iter().map(|case| case.measured.metric.to_string()).collect();
    assert_eq!(metrics, ["ttft", "tpot", "e2e"]);
    assert!(cases.iter().all(|case| case.usage == Use::Check));
    let resources = Resources::new(None, None);
    let simulated =
        validation::validate(Checked::new(cases).unwrap(), resources, &Cancel::new(false), &Silent).unwrap();
    let accuracy = Accuracy::new(&simulated);
    assert!(accuracy.failed.is_empty(), "{:?}", accuracy.failed);
    let errors = &accuracy.groups["RTX 4090 vLLM requests"];
    assert!(errors.worst < 0.1, "{errors:?}");
    for case in &simulated {
        let running = case.running.as_ref().unwrap();
        assert_eq!((running.measured.len(), running.simulated.len()), (184, 184));
        let mean = |points: &[(f64, f64)]| points.iter().map(|(_, running)| running).sum::<f64>() / 184.0;
        let (measured, simulated) = (mean(&running.measured), mean(&running.simulated));
        assert!((simulated / measured - 1.0).abs() < 0.05, "{simulated} instead of {measured}");
        let apart = running.measured.iter().zip(&running.simulated).map(|((_, a), (_, b))| (a - b).abs());
        assert!(apart.sum::<f64>() / 184.0 < 0.1 * measured);
    }
}

/// A step of the model reads 8 MB at 1000 GB/s, whatever it computes: 8 us. The first request
/// decodes alone, the second arrives in the second step of the first and begins with the third.
#[test]
fn requests_that_arrive_over_time_have_means_of_their_own() {
    let folder = folder();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("log.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,4\n0.000012,5,2\n");
    put("log.running.csv", "time_s,running\n0.000004,1\n0.00002,2\n0.00003,1\n0.1,0\n");
    let set = "\"requests={\"\"source\"\":{\"\"Log\"\":{\"\"file\"\":\"\"log.csv\"\"}}}\"";
    let row =
        |name: &str, metric: &str, us: f64| format!("{name},g,m.ron,,l.ron,{set},0,1,1,{metric},{us},us,s,check\n");
    let rows = [row("a", "ttft", 10.0), row("b", "tpot", 8.0), row("c", "e2e", 20.0)].concat();
    let output = validate(folder.path(), &rows, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The first: 8 us and 32 us. The second waits from 12 to 16 us, and ends at 24 and 32 us.
    for (index, expected) in [(8.0 + 12.0) / 2.0, 8.0, (32.0 + 20.0) / 2.0].into_iter().enumerate() {
        near(&json["cases"][index]["simulated"], expected);
    }
    for ending in ["svg", "png"] {
        assert!(folder.path().join("out/validation/running_m_ideal_l_log").with_extension(ending).is_file());
    }
    let refused = |rows: &str, parts: &[&str]| {
        let output = validate(folder.path(), rows, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{rows}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused(&row("a", "step", 8.0), &["cases.csv:2: metric is 'step'", "ttft, tpot and e2e"]);
    refused("a,g,m.ron,,l.ron,,5,1,1,e2e,3,us,s,check\n", &["metric is 'e2e'", "set requests="]);
    put("log.running.csv", "time_s,running\n5,1\n4,1\n");
    refused(&row("a", "ttft", 8.0), &["log.running.csv:3", "not after"]);
    put("log.running.csv", "time_s,running\n5,one\n");
    refused(&row("a", "ttft", 8.0), &["log.running.csv:2", "no count"]);
}
