//! What a plain command does: a strategy that a real system could run, the baseline beside it,
//! oracles that are marked as such, and layouts that assume what the trace reads.

use crate::common::program::tiersim;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::config::Reference;
use tiersim::explain::Explanation;
use tiersim::metrics::{Recorder, Summary};
use tiersim::runs::{Cancel, Resources, Silent, climb};
use tiersim::simulation::{Scenario, ScenarioConfig, run};

const ORACLE: &str = "best-ratio (oracle: sees 1 step)";

fn stdout(folder: &Path, args: &[&str]) -> String {
    let output = tiersim(folder, args).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&stdout(folder, args)).unwrap()
}

#[test]
fn a_plain_run_is_realizable_and_has_the_baseline_beside_it() {
    let place = TempDir::new().unwrap();
    let both = json(place.path(), &["run", "study", "--decode", "8", "--json"]);
    let names: Vec<&str> = both.as_array().unwrap().iter().map(|run| run["strategy"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseline", "balanced-online"]);
    assert!(both.as_array().unwrap().iter().all(|run| run["knows"] == "realizable"));
    // A command that sets its strategy runs without the baseline: a flag for it or for a part of
    // it, and a run that is repeated.
    for flags in [&["--strategy", "best-ratio"][..], &["--migration", "None"], &["--set", "strategy=baseline"]] {
        let one = json(place.path(), &[&["run", "study", "--decode", "4", "--json"], flags].concat());
        assert!(one["strategy"].is_string(), "{flags:?}: {one}");
    }
    stdout(place.path(), &["run", "study", "--decode", "4", "--strategy", "balanced-online", "--out", "one"]);
    let again = json(place.path(), &["run", "one/summary.json", "--out", "two", "--json"]);
    assert_eq!(again["strategy"], "balanced-online");
    let explained = json(place.path(), &["explain", "study", "--decode", "4", "--json"]);
    assert_eq!(explained["strategy"], "balanced-online");
}

#[test]
fn the_faster_machine_is_the_faster_one() {
    // An oracle that moves at any cost reports that the H200 takes more than twice the time.
    let place = TempDir::new().unwrap();
    let entries = ["gh200=gh200 --decode 4", "h200=gh200 --memory h200-pcie --decode 4"];
    let found = json(place.path(), &["compare", entries[0], entries[1], "--json"]);
    let time = found["figures"].as_array().unwrap().iter().find(|figure| figure["path"] == "simulated_ns").unwrap();
    let ratio = time["ratios"][1].as_f64().unwrap();
    assert!((0.4..0.95).contains(&ratio), "{ratio}");
    assert!(found["runs"].as_array().unwrap().iter().all(|run| run["strategy"] == "balanced-online"));
}

#[test]
fn oracles_are_marked_wherever_they_are_named() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let short = ["--decode", "6", "--skip", "40%"];
    let run = [&["run", "study"], &short[..], &["--strategy", "baseline", "--strategy", "best-ratio", "--out", "both"]];
    let table = stdout(place, &run.concat());
    assert!(table.contains(ORACLE) && !table.contains("baseline (oracle"), "{table}");
    let pages = ["both/report.html", "both/best-ratio/report.html", "both/best-ratio/alpha.svg"];
    for page in pages {
        let text = fs::read_to_string(place.join(page)).unwrap();
        assert!(text.contains("oracle: sees 1 step"), "{page}");
    }
    let table = stdout(place, &[&["strategies", "study"], &short[..], &["--out", "all"]].concat());
    assert!(table.contains(ORACLE) && table.contains("oracle: sees 8 steps"), "{table}");
    assert!(fs::read_to_string(place.join("all/table.md")).unwrap().contains("oracle: sees 8 steps"));
    let explained = stdout(place, &[&["explain", "study"], &short[..], &["--strategy", "best-ratio"]].concat());
    assert!(explained.contains(&format!("{ORACLE} decodes")), "{explained}");
    let grid = [&["run", "study"], &short[..], &["--vary", "strategy=baseline,best-ratio", "--out", "grid"]];
    let table = stdout(place, &grid.concat());
    assert!(table.contains(ORACLE) && !table.contains("baseline (oracle"), "{table}");
    assert!(fs::read_to_string(place.join("grid/report/report.html")).unwrap().contains(ORACLE));
    let grid = [&["run", "study"], &short[..], &["--vary", "memory.hbm.capacity=2GiB,4GiB", "--out", "other"]];
    assert!(stdout(place, &grid.concat()).contains("All cells run balanced-online."));
    let solved = ["solve", "study", "--vary", "memory.hbm.capacity=2GiB..4GiB", "--until", "time < 1s"];
    let solved = stdout(place, &[&solved, &short[..], &["--strategy", "best-ratio"]].concat());
    assert!(solved.contains(&format!("The strategy is {ORACLE}.")), "{solved}");
    assert!(stdout(place, &["list"]).contains("(oracle: sees 8 steps)"));
}

/// Qwen3-235B-A22B with 131,072 tokens of dense attention on 96 GB of HBM: KV is read more often a
/// byte than experts are.
fn experts(initialization: &str) -> ScenarioConfig {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.model = Reference::Name("qwen3-235b-a22b-fp8".to_owned());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hbm96-c2c.ron");
    config.memory = Reference::Name(file.display().to_string());
    (config.prefill_tokens, config.decode_tokens) = (131_072, 2);
    config.strategy.initialization = initialization.parse().unwrap();
    config
}

fn summary(config: ScenarioConfig) -> Summary {
    let scenario = Scenario::new(config).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    recorder.finish(&scenario, &outcome).summary
}

#[test]
fn a_layout_assumes_what_the_trace_reads() {
    let a_token = |summary: &Summary| summary.simulated_ns / summary.steps as f64 / 1e6;
    let (auto, all) = (summary(experts("ByRoom")), summary(experts("ByRoom(active: 1)")));
    assert!(a_token(&auto) < 34.0, "{}", a_token(&auto));
    assert_eq!(auto.simulated_ns, all.simulated_ns);
    let few = summary(experts("ByRoom(active: 5%)"));
    assert!(a_token(&few) > 2.0 * a_token(&auto), "{}", a_token(&few));
    // The share: of a generator what its skip leaves; of pages and of recordings it is measured.
    let share = |set: &dyn Fn(&mut ScenarioConfig)| {
        let mut config = ScenarioConfig::load("study").unwrap();
        set(&mut config);
        Scenario::new(config).unwrap().read_share().unwrap()
    };
    assert_eq!(share(&|_| {}), 1.0);
    let skip = |config: &mut ScenarioConfig| config.trace = common_skipping();
    assert!((share(&skip) - 0.6).abs() < 1e-12);
    let pages = share(&|config| {
        skip(config);
        config.page_tokens = 16;
    });
    assert!(pages > 0.99, "of 16 tokens one is nearly always read: {pages}");
    let recorded = Scenario::new(ScenarioConfig::load("recorded").unwrap()).unwrap().read_share().unwrap();
    assert!((recorded - 0.6).abs() < 0.01, "{recorded}");
}

fn common_skipping() -> tiersim::workload::TraceConfig {
    let config = tiersim::workload::GeneratorConfig { skip: "40%".parse().unwrap(), ..Default::default() };
    tiersim::workload::TraceConfig::Generated(config)
}

fn explain(config: ScenarioConfig) -> Explanation {
    let scenario = Scenario::new(config).unwrap();
    let resources = Resources { threads: 1, memory: tiersim::units::Bytes::new(2 << 30) };
    let ladder = climb(&scenario, resources, &Cancel::new(false), &Silent).unwrap();
    ladder.explanation(&scenario).unwrap()
}

#[test]
fn a_poor_layout_is_not_blamed_on_scarce_hbm() {
    let share = |explanation: &Explanation, name: &str| {
        let cost = explanation.costs.iter().find(|cost| cost.name == name).unwrap_or_else(|| panic!("no {name}"));
        cost.share.unwrap()
    };
    let explanation = explain(experts("ByRoom(active: 5%)"));
    assert!(share(&explanation, "BoundLayout") > 0.6, "{:?}", explanation.costs);
    assert!(share(&explanation, "AmpleHbm").abs() < 0.02, "{:?}", explanation.costs);
    assert!(explanation.sentences[1].starts_with("The initial layout causes"), "{:?}", explanation.sentences);
    let costs: i64 = explanation.costs.iter().map(|cost| cost.loss_ps).sum();
    assert_eq!(costs, explanation.loss_ps);
    // The layout of the bound is as good as it gets: the loss is elsewhere then.
    let better = explain(experts("ByRoom"));
    assert!(share(&better, "BoundLayout") < 0.2, "{:?}", better.costs);
}
