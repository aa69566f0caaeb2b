//! The files of a run that serves requests: what is written agrees with the figures of its summary,
//! and results are read back.

use crate::common::program::{stdout, tiersim};
use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A small engine that is too slow for its sixty requests: they queue, share prompts' blocks, and
/// are preempted.
pub const BUSY: &str = r#"Scenario(
    name: "busy",
    model: (name: "tiny", layers: [(count: 4, attention: (stored: "64 MiB"), mlp: (stored: "128 MiB"), kv_bytes: "16 KiB")]),
    memory: (name: "machine", tiers: [
        (name: "hbm", capacity: "1 GiB", bandwidth: "100 GB/s"),
        (name: "ddr", capacity: "8 GiB", bandwidth: "50 GB/s", link: (read: "20 GB/s", write: "20 GB/s")),
    ]),
    requests: (
        source: Generated(per_second: 40, prompt: Uniform(from: 100, to: 900), output: Uniform(from: 2, to: 90)),
        count: 60,
        limits: (sequences: 16, tokens: 512, kv_tokens: 2400),
        preemption: Swap,
        kv: (cache: External),
        goals: "ttft<2s,tpot<150ms",
    ),
)
"#;

/// A folder with the files of such a run in `out`.
pub fn served() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("busy.ron"), BUSY).unwrap();
    tiersim(folder.path(), &["run", "busy.ron", "--out", "out"]).assert().success();
    folder
}

fn summary(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("summary.json")).unwrap()).unwrap()
}

/// The rows of a CSV file, by column.
fn columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in reader.records().map(Result::unwrap) {
        for (name, value) in names.iter().zip(row.iter()) {
            columns.entry(name.clone()).or_default().push(value.to_owned());
        }
    }
    columns
}

fn numbers(column: &[String]) -> Vec<f64> {
    column.iter().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-6 * one.abs().max(1.0)
}

#[test]
fn rows_of_requests_are_what_the_summary_says() {
    let folder = served();
    let out = folder.path().join("out");
    let (summary, rows) = (summary(&out), columns(&out.join("requests.csv")));
    let of = &summary["requests"];
    for (column, figure) in
        [("ttft_ns", "ttft_ns"), ("tpot_ns", "tpot_ns"), ("e2e_ns", "e2e_ns"), ("queueing_ns", "queueing_ns")]
    {
        let found = mean(&numbers(&rows[column]));
        assert!(close(found, of[figure]["mean"].as_f64().unwrap()), "{column}: {found}, {}", of[figure]);
    }
    let sum = |column: &str| numbers(&rows[column]).iter().sum::<f64>();
    assert_eq!(rows["request"].len(), 60);
    assert_eq!(sum("tokens_out"), of["output_tokens"].as_f64().unwrap());
    assert_eq!(sum("preemptions"), of["preemptions"].as_f64().unwrap());
    assert!(sum("preemptions") > 0.0, "nothing was preempted: this test says too little");
    // A request met its goals if each of its times is below its limit.
    let below = |column: &str, limit: f64| -> Vec<bool> {
        rows[column].iter().map(|text| text.is_empty() || text.parse::<f64>().unwrap() < limit).collect()
    };
    let met = below("ttft_ns", 2e9).into_iter().zip(below("tpot_ns", 150e6)).filter(|both| *both == (true, true));
    let met = met.count() as u64;
    assert_eq!(of["goodput"]["requests"].as_u64(), Some(met));
    assert!((1..60).contains(&met), "{met} of 60 meet the goals: this test says too little");
    // Times between tokens: one for each token but the first of a request.
    let hlog = stdout(&out, &["hist", "histograms.hlog"]);
    assert!(hlog.contains("request_tpot") && hlog.contains("e2e"), "{hlog}");
}

#[test]
fn text_and_typed_files_agree() {
    let folder = served();
    let out = folder.path().join("out");
    for name in ["requests", "engine"] {
        let rows = columns(&out.join(format!("{name}.csv")));
        let typed = Bytes::from(fs::read(out.join(format!("{name}.parquet"))).unwrap());
        let reader = SerializedFileReader::new(typed).unwrap();
        let mut count = 0;
        for (index, row) in reader.get_row_iter(None).unwrap().enumerate() {
            for (column, field) in row.unwrap().get_column_iter() {
                let text = &rows[column][index];
                let number = match field {
                    Field::Long(whole) => *whole as f64,
                    Field::Double(real) => *real,
                    other => panic!("{other:?}"),
                };
                // Text has three decimals.
                let same = if text.is_empty() {
                    number.is_nan()
                } else {
                    (text.parse::<f64>().unwrap() - number).abs() < 1e-3
                };
                assert!(same, "{column} of row {index} of {name}: {text}, {number}");
            }
            count += 1;
        }
        assert_eq!(count, rows.values().next().unwrap().len());
    }
}

#[test]
fn the_engine_over_time_adds_up_to_the_run() {
    let folder = served();
    let out = folder.path().join("out");
    let (summary, rows) = (summary(&out), columns(&out.join("engine.csv")));
    let sum = |column: &str| numbers(&rows[column]).iter().sum::<f64>();
    assert!(rows["steps"].len() <= 2000);
    assert_eq!(sum("steps"), summary["steps"].as_f64().unwrap());
    let near = |one: f64, other: f64| (one / other - 1.0).abs() < 1e-6;
    // Each row is rounded to a thousandth of a token.
    let out = summary["requests"]["output_tokens"].as_f64().unwrap();
    assert!((sum("tokens_out") - out).abs() < 1.0, "{} of {out}", sum("tokens_out"));
    let (idle, moves) = (&summary["requests"]["idle_ns"], &summary["requests"]["moves_ns"]);
    let simulated = summary["simulated_ns"].as_f64().unwrap();
    assert!(sum("busy_ns") <= simulated - idle.as_f64().unwrap() + 1.0, "{simulated} {idle} {moves}");
    let read = ["WeightRead", "KvRead"].map(|class| summary["transfers"][class]["bytes"]["hbm"].as_f64().unwrap());
    assert!(near(sum("hbm_weight_bytes") + sum("hbm_kv_bytes"), read.iter().sum()));
    for (kind, of) in summary["requests"]["moves"].as_object().unwrap() {
        assert!(near(sum(&format!("{kind}_bytes")), of["bytes"].as_f64().unwrap()), "{kind}");
    }
}

#[test]
fn the_timeline_has_every_request_and_its_preemptions() {
    let folder = served();
    let text = fs::read_to_string(folder.path().join("out/requests_timeline.json")).unwrap();
    let trace: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> =
        trace["traceEvents"].as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap()).collect();
    let with = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
    assert_eq!((with("request "), with("queued") > 0, with("decode") > 0), (60, true, true));
    assert!(with("preempted") > 0 && with("SwapOut of request") > 0);
}

/// The page answers first, and is complete without its script.
#[test]
fn the_page_says_whether_goals_are_met_and_what_limits() {
    let folder = served();
    let out = folder.path().join("out");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let share = 100.0 * summary(&out)["requests"]["goodput"]["share"].as_f64().unwrap();
    for part in [
        &format!("<p>{share:.1} % of 60 requests meet ttft&#60;2s,tpot&#60;150ms: a goodput of"),
        "Goals that were missed:",
        "of TTFT is waiting for the first step",
        "The engine waits for ",
        "meet ttft&#60;2s,tpot&#60;150ms, and what limits them?",
        "<th scope=\"row\">SwapOut</th>",
        ">end-to-end time</th>",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

/// Folders of such runs are read back; one that is damaged is refused by name.
#[test]
fn folders_are_compared_and_damage_is_named() {
    let folder = served();
    tiersim(folder.path(), &["run", "busy.ron", "--set", "requests.preemption=Recompute", "--out", "again"])
        .assert()
        .success();
    let text = stdout(folder.path(), &["compare", "out", "again"]);
    for figure in ["requests.goodput.share", "requests.recomputed_tokens", "requests.e2e_ns.p99"] {
        assert!(text.contains(figure), "{figure} in\n{text}");
    }
    tiersim(folder.path(), &["compare", "out", "again", "--out", "both"]).assert().success();
    for file in ["report.html", "ttft_cdf.svg", "e2e_cdf.png"] {
        assert!(folder.path().join("both").join(file).is_file(), "{file}");
    }
    let log = folder.path().join("again/histograms.hlog");
    let mut bytes = fs::read_to_string(&log).unwrap();
    bytes.push_str("# more\n");
    fs::write(&log, bytes).unwrap();
    let command = tiersim(folder.path(), &["compare", "out", "again"]).assert().failure();
    let said = String::from_utf8_lossy(&command.get_output().stderr).into_owned();
    assert!(said.contains("histograms.hlog is not the one that summary.json was written with"), "{said}");
}
