//! `tiersim requests` as a user meets it: logs of every format, damaged ones, generators, flags.
//!
//! With `TIERSIM_REQUESTS` the published logs in that folder are read as well.

use crate::common::program::{refused, stdout, tiersim};
use crate::skip;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::units::SimTime;
use tiersim::workload::{Requests, RequestsConfig, SourceConfig};

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,512,8
2023-11-16 18:17:04.2299600,700,3
2023-11-16 18:17:05.9799600,64,1
";

const MOONCAKE: &str = r#"{"timestamp": 1000, "input_length": 512, "output_length": 8, "hash_ids": []}
{"timestamp": 1250, "input_length": 700, "output_length": 3, "hash_ids": []}
{"timestamp": 3000, "input_length": 64, "output_length": 1, "hash_ids": []}
"#;

const CSV: &str = "arrival_s,prompt_tokens,output_tokens
0,512,8
0.25,700,3
2,64,1
";

/// A folder with a log of each format, and a scenario of a small machine without requests.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("azure.csv", AZURE), ("mooncake.jsonl", MOONCAKE), ("own.csv", CSV)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn served(folder: &Path, args: &[&str]) -> Value {
    let args = [&["requests"], args, &["--json", "-q", "--out", "out"]].concat();
    serde_json::from_str(&stdout(folder, &args)).unwrap()
}

#[test]
fn every_format_says_the_same() {
    let folder = folder();
    let own = served(folder.path(), &["own.csv"]);
    assert_eq!((own["requests"]["arrived"].as_u64(), own["requests"]["finished"].as_u64()), (Some(3), Some(3)));
    assert_eq!(own["requests"]["output_tokens"], 12);
    for log in ["azure.csv", "mooncake.jsonl"] {
        let other = served(folder.path(), &[log]);
        assert_eq!(own["requests"], other["requests"], "{log}");
        assert_eq!(own["simulated_ns"], other["simulated_ns"]);
    }
    // Line ends of Windows, a byte order mark, and the format said aloud.
    fs::write(folder.path().join("windows.csv"), format!("\u{feff}{}", CSV.replace('\n', "\r\n"))).unwrap();
    assert_eq!(served(folder.path(), &["windows.csv", "--format", "csv"])["requests"], own["requests"]);
}

/// One request alone takes the time of a run of one sequence: its prompt in one chunk, then a step
/// for each token after the first.
#[test]
fn one_request_takes_the_time_of_a_run() {
    let folder = folder();
    let served = served(folder.path(), &["own.csv", "--count", "1"]);
    let machine = ["--model", "llama-3.1-8b", "--memory", "h100-sxm", "--runtime", "vllm", "--page-tokens", "16"];
    let run = [
        &["run", "study", "--json", "-q", "--out", "run", "--strategy", "baseline", "--skip", "0", "--prefill", "512"]
            [..],
        &machine,
        &["--decode", "7", "--prefill-chunk", "2048", "--set", r#"compute={"rate": "690 TFLOP/s"}"#],
    ];
    let run: Value = serde_json::from_str(&stdout(folder.path(), &run.concat())).unwrap();
    let time = |summary: &Value, path: &str| summary.pointer(path).and_then(Value::as_f64).unwrap();
    assert_eq!(time(&served, "/requests/ttft_ns/mean"), time(&run, "/ttft_ns/mean"));
    assert_eq!(time(&served, "/simulated_ns"), time(&run, "/simulated_ns"));
    let tpot = (time(&run, "/simulated_ns") - time(&run, "/ttft_ns/mean")) / 7.0;
    assert!((time(&served, "/requests/tpot_ns/mean") / tpot - 1.0).abs() < 1e-9);
}

#[test]
fn flags_take_part_of_a_log_and_change_its_rate() {
    let folder = folder();
    let arrived = |args: &[&str]| {
        let served = served(folder.path(), &[&["own.csv"], args].concat());
        (served["requests"]["arrived"].as_u64().unwrap(), served["simulated_ns"].as_f64().unwrap())
    };
    let (all, time) = arrived(&[]);
    assert_eq!(all, 3);
    assert_eq!(arrived(&["--first", "2s"]).0, 2);
    assert_eq!(arrived(&["--first", "1h"]), (3, time));
    assert_eq!(arrived(&["--count", "1"]).0, 1);
    // The last request arrives after 2 s: ten times as fast after 0.2 s. Two gaps at 4/s are 0.5 s.
    assert!((2e9..2.1e9).contains(&time), "{time}");
    assert!((0.2e9..0.3e9).contains(&arrived(&["--rate", "x10"]).1));
    assert!((0.5e9..0.6e9).contains(&arrived(&["--rate", "4/s"]).1));
}

#[test]
fn flags_are_fields_of_the_scenario() {
    let folder = folder();
    let flags = [
        "own.csv --rate x2 --first 30min --count 2 --block-tokens 32 --policy shortest-first --preemption swap",
        "--limits sequences=9,tokens=1k,kv=41408,context=32768,memory=0.8 --cache external --external load-by-layer",
        "--write on-eviction --blocks all --moves loads-first --kv-capacity 64GiB --slo ttft<2s,tpot<50ms",
    ];
    let flags: Vec<&str> = flags.iter().flat_map(|line| line.split(' ')).collect();
    let summary = served(folder.path(), &flags);
    let expected = serde_json::json!({
        "source": {"Log": {"file": "own.csv", "format": null}},
        "rate": "x2",
        "first": "1800 s",
        "count": 2,
        "block_tokens": 32,
        "limits": {"sequences": 9, "tokens": 1024, "context": 32768, "kv_tokens": 41408, "memory": 0.8},
        "order": "ShortestFirst",
        "preemption": "Swap",
        "kv": {
            "cache": "External", "tier": null, "capacity": "64 GiB", "external": "LoadByLayer", "write": "OnEviction",
            "blocks": "All", "moves": "LoadsFirst"
        },
        "goals": "ttft<2s,tpot<50ms"
    });
    assert_eq!(summary["scenario"]["requests"], expected);
    assert_eq!(summary["requests"]["goodput"]["requests"], 2);
    // The same by path, as sweeps and scenario files have them.
    let set = ["own.csv", "--set", "requests.rate=x2", "--set", "requests.limits.kv_tokens=41408", "--count", "2"];
    let set = served(folder.path(), &[&set[..], &["--set", "requests.kv.cache=off"]].concat());
    assert_eq!(set["scenario"]["requests"]["limits"]["kv_tokens"], 41408);
    assert_eq!(set["scenario"]["requests"]["kv"]["cache"], "Off");
}

#[test]
fn generators_are_typed_as_scenarios_have_them() {
    let folder = folder();
    let generator =
        "per_second: 50, arrivals: Gamma(cv: 2), prompt: LogNormal(mean: 300, sigma: 0.5), output: Fixed(4)";
    let plain = served(folder.path(), &["--generate", generator, "--count", "20"]);
    assert_eq!(plain["requests"]["finished"], 20);
    let whole = served(folder.path(), &["--generate", &format!("Generated({generator})"), "--count", "20"]);
    assert_eq!(plain, whole);
    // A fifth of a second at 50/s.
    let short =
        served(folder.path(), &["--generate", &generator.replace("Gamma(cv: 2)", "Uniform"), "--first", "200ms"]);
    assert_eq!(short["requests"]["arrived"], 10);
    let refusal = |args: &[&str]| refused(folder.path(), &[&["requests"], args].concat());
    assert!(refusal(&["own.csv", "--generate", generator]).contains("leave out one"));
    assert!(
        refusal(&["--generate", "per_second: 0, prompt: Fixed(1), output: Fixed(1)"]).contains("source.per_second")
    );
    let unknown = refusal(&["--generate", "per_second: 1, prompt: Fixed(1), output: Fixed(1), seeds: 3"]);
    assert!(unknown.contains("seeds") && unknown.contains("--generate"), "{unknown}");
}

/// Later turns of a conversation find what came before in the cache.
#[test]
fn the_shipped_log_shares_prefixes() {
    let folder = folder();
    assert!(stdout(folder.path(), &["list"]).contains("conversations"));
    let args = ["conversations", "--count", "60"];
    let cached = served(folder.path(), &args);
    let without = served(folder.path(), &[&args[..], &["--cache", "off"]].concat());
    let rate = |summary: &Value| summary["requests"]["prompt_tokens"]["hit_rate"].as_f64().unwrap_or(0.0);
    assert!(rate(&cached) > 0.5, "{}", cached["requests"]["prompt_tokens"]);
    assert_eq!(rate(&without), 0.0);
    let ttft = |summary: &Value| summary["requests"]["ttft_ns"]["mean"].as_f64().unwrap();
    assert!(ttft(&cached) < ttft(&without));
    // A file of one's own of that name is another log.
    fs::write(folder.path().join("conversations.csv"), CSV).unwrap();
    assert_eq!(served(folder.path(), &["conversations.csv"])["requests"]["arrived"], 3);
}

#[test]
fn requests_that_can_never_fit_are_rejected_and_counted() {
    let folder = folder();
    let summary = served(folder.path(), &["own.csv", "--limits", "context=512"]);
    assert_eq!((&summary["requests"]["rejected"], &summary["requests"]["finished"]), (&2.into(), &1.into()));
    let kv = served(folder.path(), &["own.csv", "--limits", "kv=600"]);
    assert_eq!((&kv["requests"]["rejected"], &kv["requests"]["finished"]), (&1.into(), &2.into()));
    let none = stdout(folder.path(), &["requests", "own.csv", "--limits", "context=2", "-q", "--out", "none"]);
    assert!(none.contains("All 3 requests were rejected"), "{none}");
    let said = stdout(folder.path(), &["requests", "own.csv", "--limits", "context=512", "-q", "--out", "out"]);
    assert!(said.contains("1 of 3 requests were served") && said.contains("2 requests were rejected"), "{said}");
}

#[test]
fn damaged_logs_are_refused_with_file_row_and_column() {
    let folder = folder();
    let header = "arrival_s,prompt_tokens,output_tokens";
    for (name, text, place, reason) in [
        ("empty.csv", String::new(), "empty.csv: no request", "at least one"),
        ("header.csv", format!("{header}\n"), "header.csv: no request after the header", "at least one"),
        ("text.csv", "Dear all,\n".to_owned(), "text.csv, row 1", "start of no log"),
        ("negative.csv", format!("{header}\n-1,5,5\n"), "negative.csv, row 2, arrival_s", "negative"),
        ("order.csv", format!("{header}\n1,5,5\n0.5,5,5\n"), "order.csv, row 3, arrival_s", "before that of row 2"),
        ("zero.csv", format!("{header}\n1,0,5\n"), "zero.csv, row 2, prompt_tokens", "0 tokens"),
        ("many.csv", format!("{header}\n1,5,99999999\n"), "many.csv, row 2, output_tokens", "at most 16777216"),
        ("short.csv", format!("{header}\n1,5\n"), "short.csv, row 2, output_tokens", "2 columns"),
        ("nan.csv", format!("{header}\nNaN,5,5\n"), "nan.csv, row 2, arrival_s", "no time"),
        ("column.csv", format!("{header},model\n1,5,5,x\n"), "column.csv, row 1", "unknown column 'model'"),
        ("json.jsonl", "{\"timestamp\":0}\n".to_owned(), "json.jsonl, row 1", "input_length"),
        ("half.jsonl", format!("{}{{\"timest", MOONCAKE), "half.jsonl, row 4", "write {"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        let said = refused(folder.path(), &["requests", name]);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(place) && said.contains(reason), "{name}: {said}");
    }
    fs::write(folder.path().join("bytes.csv"), [header.as_bytes(), b"\n0,\xff,1\n"].concat()).unwrap();
    assert!(refused(folder.path(), &["requests", "bytes.csv"]).contains("row 2: it is not UTF-8"));
    assert!(refused(folder.path(), &["requests", "nowhere.csv"]).contains("conversations"));
    assert!(refused(folder.path(), &["requests", "."]).contains("no regular file"));
    // What is not right for any log.
    for (args, reason) in [
        (&["--rate", "fast"][..], "write x2"),
        (&["--rate", "x0"], "outside"),
        (&["--first", "1 day"], "'day'"),
        (&["--first", "0s"], "requests.first"),
        (&["--count", "0"], "'0'"),
        (&["--limits", "batch=3"], "no limit 'batch'"),
        (&["--limits", "tokens=0"], "tokens: '0'"),
        (&["--slo", "ttft>2s"], "write goals"),
        (&["--slo", "ttft<=2s"], "ttft"),
        (&["--kv-capacity", "0B"], "requests.kv.capacity"),
        (&["--format", "xml"], "azure"),
        (&["--format", "mooncake"], "row 1"),
        (&["--prefill", "100"], "prefill_tokens"),
        (&["--skip", "40%"], "trace"),
    ] {
        let said = refused(folder.path(), &[&["requests", "own.csv"], args].concat());
        assert!(said.contains(reason), "{args:?}: {said}");
    }
    assert!(refused(folder.path(), &["requests", "study"]).contains("no requests"));
    assert!(!folder.path().join("out").exists(), "what is refused writes nothing");
}

#[test]
fn kv_without_room_and_blocks_that_are_no_pages_are_refused() {
    let folder = folder();
    for (args, reason) in [
        (&["--limits", "memory=0.1"][..], "requests.limits"),
        (&["--cache", "external", "--page-tokens", "24"], "requests.block_tokens"),
        (&["--set", "requests.kv.tier=nowhere"], "requests.kv.tier"),
    ] {
        let said = refused(folder.path(), &[&["requests", "own.csv"], args].concat());
        assert!(said.contains(reason), "{args:?}: {said}");
    }
}

#[test]
fn settings_without_effect_are_noted() {
    let folder = folder();
    let printed = |more: &[&str]| {
        let args = ["requests", "own.csv", "-q", "--out", "out", "--write", "on-eviction", "--kv-capacity", "1GiB"];
        stdout(folder.path(), &[&args[..], more].concat())
    };
    let said = printed(&[]);
    assert!(said.contains("Without effect") && said.contains("requests.kv.capacity, requests.kv.write"), "{said}");
    assert!(!printed(&["--cache", "external"]).contains("Without effect"));
}

#[test]
fn a_grid_of_rates_is_a_sweep() {
    let folder = folder();
    let args = [
        "requests",
        "own.csv",
        "--vary",
        "requests.rate=x1,x10",
        "--vary",
        "requests.kv.cache=Off,Hbm",
        "--out",
        "grid",
    ];
    tiersim(folder.path(), &args).assert().success();
    let said = stdout(folder.path(), &["sweep", "report", "grid"]);
    assert!(said.contains("x10") && said.contains("Off"), "{said}");
}

/// Ranges of rates have values between their ends, and so can be searched.
#[test]
fn the_rate_that_an_engine_sustains_is_solved_for() {
    let folder = folder();
    let limits = "requests.limits.sequences=1";
    let args =
        ["solve", "serving", "--set", "requests.count=20", "--set", limits, "--vary", "requests.rate=0.1/s..8/s"];
    let until = ["--until", "requests.queueing_ns.p50 > 1s", "--samples", "3", "--tolerance", "20%", "-q"];
    let said = stdout(folder.path(), &[&args[..], &until].concat());
    assert!(said.contains("0.1/s") && said.contains("8/s") && said.contains("begins"), "{said}");
}

#[test]
fn logs_are_checked() {
    let folder = folder();
    let said = stdout(folder.path(), &["check", "own.csv", "azure.csv", "mooncake.jsonl"]);
    assert_eq!(
        said.matches("a log of 3 requests in 2.000 s: 1276 tokens of prompts and 12 of outputs").count(),
        3,
        "{said}"
    );
    fs::write(folder.path().join("bad.csv"), format!("{CSV}1,5,5\n")).unwrap();
    assert!(refused(folder.path(), &["check", "bad.csv"]).contains("row 5, arrival_s"));
}

/// The published logs: how many requests each has, and how long it is.
#[test]
#[ignore = "needs published logs: TIERSIM_REQUESTS=FOLDER cargo test --test it published_logs -- --ignored"]
fn published_logs_are_read() {
    let Some(folder) = std::env::var_os("TIERSIM_REQUESTS") else {
        skip!("TIERSIM_REQUESTS names no folder of published logs");
    };
    for (name, count, prompts, outputs, seconds, blocks) in [
        ("AzureLLMInferenceTrace_conv.csv", 19_366, 22_361_870, 4_088_665, 3501, 0),
        ("AzureLLMInferenceTrace_code.csv", 8819, 18_059_974, 245_896, 3435, 0),
        ("mooncake_conversation_trace.jsonl", 12_031, 144_793_823, 4_122_048, 3536, 182_790),
    ] {
        let source = SourceConfig::Log { file: Path::new(&folder).join(name), format: None };
        let requests = Requests::new(&RequestsConfig::of(source)).unwrap();
        let last = requests.all.iter().last().unwrap().arrival;
        let sum =
            |of: fn(&tiersim::workload::Request) -> u32| requests.all.iter().map(|it| u64::from(of(it))).sum::<u64>();
        assert_eq!((requests.all.len(), sum(|it| it.prompt), sum(|it| it.output)), (count, prompts, outputs), "{name}");
        assert_eq!((last.as_ps() / SimTime::PS_PER_SECOND, requests.distinct_blocks), (seconds, blocks), "{name}");
    }
}
