//! `tiersim search` as a user meets it, and the migration that it was made for: a window of the
//! future and the share of the wanted moves that is carried out.

use crate::common::program::{refused, stdout};
use std::fs;
use tempfile::TempDir;

const RUN: [&str; 12] =
    ["study", "--prefill", "64", "--decode", "12", "--skip", "50%", "--churn", "20%", "--strategy", "best-ratio", "-q"];

#[test]
fn a_window_and_a_share_are_searched_for() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let over =
        ["--migration", "LookAheadShare", "--over", "migration.steps=1..12", "--over", "migration.share=0%..100%/9"];
    let search = |more: &[&'static str]| [&["search"], &RUN[..], &over, &["--evaluations", "20"], more].concat();
    let json: serde_json::Value =
        serde_json::from_str(&stdout(place, &search(&["--json", "--jobs", "1", "--out", "kept/one.csv"]))).unwrap();
    let again = stdout(place, &search(&["--jobs", "3", "--out", "three.csv"]));
    let [one, three] = ["kept/one.csv", "three.csv"].map(|file| fs::read_to_string(place.join(file)).unwrap());
    assert_eq!(one, three, "the points depend on the number of threads");
    assert_eq!(one.lines().count(), 21);
    let header = "evaluation,chain,temperature,accepted,strategy.migration.steps,strategy.migration.share,tpot_ns.mean,\
                  achieved_over_bound,error";
    assert_eq!(one.lines().next().unwrap(), header);

    // The best of the file is the best of the answer, and a run with its values is as fast.
    let figure = |point: &serde_json::Value| point["figure"].as_f64().unwrap();
    let points = json["evaluated"].as_array().unwrap();
    let least = points.iter().map(figure).fold(f64::INFINITY, f64::min);
    assert_eq!((figure(&json["best"]), json["best_is"].as_str()), (least, Some("least")));
    assert!((json["gain_over_start"].as_f64().unwrap() - figure(&json["start"]) / least).abs() < 1e-12);
    assert!(json["best"]["achieved_over_bound"].as_f64().unwrap() >= 1.0);
    let values = &json["best"]["values"];
    let migration = format!(
        "LookAheadShare(steps: {}, share: {})",
        values["strategy.migration.steps"], values["strategy.migration.share"]
    );
    let run = stdout(place, &[&["run"], &RUN[..], &["--migration", &migration, "--json", "--out", "run"]].concat());
    let summary: serde_json::Value = serde_json::from_str(&run).unwrap();
    assert_eq!(summary["token_latency_ns"]["mean"].as_f64(), Some(least));
    assert!(again.contains("20 of 108 points were run. The best tpot_ns.mean is"), "{again}");
    assert!(again.contains("(oracle: sees"), "{again}");
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let place = TempDir::new().unwrap();
    let search = |more: &[&str]| refused(place.path(), &[&["search"], &RUN[..], more].concat());
    assert!(search(&[]).contains("--over"));
    assert!(search(&["--over", "migration.steps"]).contains("FIELD=FROM..TO"));
    assert!(search(&["--over", "memory.hbm.capasity=1GiB..2GiB"]).contains("capacity"));
    assert!(search(&["--over", "memory.hbm.capacity=2GiB..2GiB"]).contains("empty"));
    assert!(search(&["--over", "strategy=baseline,balanced"]).contains("number to number"));
    assert!(search(&["--over", "batch=1..2", "--evaluations", "0"]).contains("evaluations"));
    assert!(search(&["--over", "batch=1..2", "--vary", "batch=1,2"]).contains("--over"));
    assert!(search(&["--over", "batch=1..2", "--by", "p98"]).contains("p99"));
}

/// Without churn the tokens that are read stay the same: all of them come to HBM, which has room
/// for half of the KV and is full of others at first. With a share of 0 nothing moves.
#[test]
fn the_tokens_that_a_window_reads_come_to_hbm() {
    let place = TempDir::new().unwrap();
    let run = |migration: &str, out: &str| -> serde_json::Value {
        let of = [
            "run",
            "study",
            "--prefill",
            "256",
            "--decode",
            "12",
            "--skip",
            "60%",
            "--churn",
            "0",
            "--hbm-capacity",
            "1152MiB",
            "--initialization",
            "HbmFirst",
            "--placement",
            "PreferHbm",
            "--migration",
            migration,
            "--json",
            "-q",
            "--out",
            out,
        ];
        serde_json::from_str(&stdout(place.path(), &of)).unwrap()
    };
    let moving = run("LookAheadShare(steps: 4)", "moving");
    assert!(moving["alpha"]["first"].as_f64().unwrap() < 0.96, "{}", moving["alpha"]);
    // But for the token that the step before has written.
    // The weights of attention are as many bytes as 512 tokens.
    let read = 512.0 + 0.4 * 267.0;
    let last = moving["alpha"]["attention"]["last"].as_f64().unwrap();
    assert!((last - (1.0 - 1.0 / read)).abs() < 0.0002, "{}", moving["alpha"]);
    let (still, none) = (run("LookAheadShare(share: 0%)", "still"), run("None", "none"));
    assert_eq!(still["simulated_ns"], none["simulated_ns"]);
    let half = run("LookAheadShare(steps: 4, share: 50%)", "half");
    let moved = |of: &serde_json::Value| of["migration"]["in_bytes"].as_u64().unwrap();
    assert!(moved(&none) == 0 && 0 < moved(&half) && moved(&half) < moved(&moving));
}
