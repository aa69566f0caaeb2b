//! Reports of several sequences: TPOT and TTFT against every token's time, files that read back,
//! and none of it where a run decodes one sequence whose prompt is given.

use super::{Watch, decoding, group, timed};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;
use tiersim::metrics::{Distribution, Histograms, Recorder, RunReport, Timings, compared_paths};
use tiersim::report::html;
use tiersim::report::{Labelled, run_files, write_run};
use tiersim::results::{Condition, FinishedRun};
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::units::SimTime;
use tiersim::workload::{PrefillConfig, PrefillOrder};

fn recorded(config: &ScenarioConfig) -> (RunReport, Watch) {
    let scenario = Scenario::new(config.clone()).unwrap();
    let mut probes = (Recorder::new(&scenario), Watch::default());
    let outcome = run(&scenario, &mut probes).unwrap();
    (probes.0.finish(&scenario, &outcome), probes.1)
}

/// Groups of equal and different lengths that come and go, with prompts of that kind.
fn several(prefill: PrefillConfig) -> ScenarioConfig {
    let mut config = decoding(1_000_000, &[]);
    config.sequences = vec![group(2, (30, 9, 0)), group(3, (50, 4, 2)), group(1, (11, 12, 3))];
    config.prefill = prefill;
    config
}

fn kinds() -> [PrefillConfig; 3] {
    [PrefillConfig::Given, timed(16, PrefillOrder::Mixed), timed(16, PrefillOrder::First)]
}

/// The distribution of these picoseconds.
fn of(times: impl IntoIterator<Item = u64>) -> Option<Distribution> {
    let mut timings = Timings::default();
    times.into_iter().for_each(|ps| timings.record(SimTime::from_ps(ps)));
    timings.distribution()
}

#[test]
fn tpot_and_ttft_are_those_of_every_token() {
    for (prefill, warmup) in kinds().into_iter().flat_map(|prefill| [(prefill, 0), (prefill, 4)]) {
        let mut config = several(prefill);
        config.warmup_steps = warmup;
        let (report, watch) = recorded(&config);
        let starts = [0, 0, 2, 2, 2, 3];
        let (mut began, mut last) = ([0; 6], [0; 6]);
        let (mut tpot, mut ttft, mut measured) = (Vec::new(), Vec::new(), 0);
        let mut now = 0;
        for (number, step) in watch.steps.iter().enumerate() {
            for sequence in (0..6).filter(|id| starts[*id] == number) {
                (began[sequence], last[sequence]) = (now, now);
            }
            now += step.latency;
            let counts = number >= warmup as usize;
            measured += if counts { step.latency } else { 0 };
            for sequence in &step.decoded {
                tpot.extend(counts.then_some(now - last[*sequence]));
                last[*sequence] = now;
            }
            for sequence in &step.prompts_ended {
                ttft.extend(counts.then_some(now - began[*sequence]));
                last[*sequence] = now;
            }
        }
        let tokens = (tpot.len() + ttft.len()) as f64;
        let summary = &report.summary;
        assert_eq!((summary.tpot_ns, summary.ttft_ns), (of(tpot), of(ttft)), "{prefill:?}");
        let rate = tokens / (measured as f64 / 1e12);
        assert!((summary.tokens_per_s.unwrap() / rate - 1.0).abs() < 1e-12, "{prefill:?}");
        let groups: f64 = summary.sequences.iter().map(|group| group.tokens_per_s.unwrap()).sum();
        assert!((groups / rate - 1.0).abs() < 1e-12, "{prefill:?}");
        let finished: Vec<u64> = summary.sequences.iter().map(|group| group.finished).collect();
        assert_eq!(finished, [2, 3, 1]);
    }
}

fn distributions(histograms: &Histograms) -> BTreeMap<String, Option<Distribution>> {
    histograms.named().map(|(name, timings)| (name, timings.distribution())).collect()
}

#[test]
fn a_folder_reads_back() {
    for prefill in kinds() {
        let (mut report, _) = recorded(&several(prefill));
        let folder = TempDir::new().unwrap();
        let files = run_files(&mut report).unwrap();
        write_run(folder.path(), &files).unwrap();
        let read = FinishedRun::read(folder.path()).unwrap().report;
        assert_eq!(read.series, report.series);
        let text = |report: &RunReport| serde_json::to_string(&report.summary).unwrap();
        assert_eq!(text(&read), text(&report));
        let (written, read) = (distributions(&report.histograms), distributions(&read.histograms));
        let of_groups = |kind: &str| (0..3).map(|group| format!("{kind}_group{group}")).collect::<Vec<_>>();
        for name in of_groups("tpot").iter().chain(["tpot".to_owned()].iter()) {
            assert!(written[name].is_some() && written[name] == read[name], "{name}");
        }
        let has_ttft = of_groups("ttft").iter().all(|name| read.get(name).is_some_and(Option::is_some));
        assert_eq!((has_ttft, read.contains_key("ttft")), (!prefill.is_given(), !prefill.is_given()));
        assert_eq!(written.keys().collect::<Vec<_>>(), read.keys().collect::<Vec<_>>());
        let rows = fs::read_to_string(folder.path().join("sequences.csv")).unwrap();
        assert_eq!(rows.lines().count(), 1 + 6);
        let steps = fs::read_to_string(folder.path().join("steps.csv")).unwrap();
        assert!(steps.starts_with("step,context_tokens,sequences,decoding,prompt_tokens,"));
        assert!(folder.path().join("batch.svg").is_file());
        assert_eq!(folder.path().join("ttft_cdf.svg").is_file(), !prefill.is_given());
    }
}

#[test]
fn one_sequence_with_a_given_prompt_has_none_of_it() {
    let (mut report, _) = recorded(&decoding(1_000_000, &[(30, 9, 0)]));
    let names: Vec<String> = run_files(&mut report).unwrap().iter().map(|it| it.path.display().to_string()).collect();
    for name in ["sequences.csv", "sequences.parquet", "batch.svg", "prompts.svg", "tpot_cdf.svg", "ttft_cdf.svg"] {
        assert!(!names.iter().any(|known| known == name), "{name}");
    }
    assert!(!names.iter().any(|name| name.contains("tpot") || name.contains("ttft")), "{names:?}");
    let summary = serde_json::to_value(&report.summary).unwrap();
    let fields = ["tpot_ns", "ttft_ns", "sequences"];
    assert!(fields.iter().all(|field| summary.get(field).is_none()));
    assert_eq!(report.summary.tpot(), report.summary.token_latency_ns);
}

#[test]
fn a_page_says_step_where_a_step_is_no_token() {
    let page = |config: &ScenarioConfig| {
        let (report, _) = recorded(config);
        let runs = [Labelled { label: "one", run: &report }, Labelled { label: "two", run: &report }];
        let answer = html::answer(&runs[..1]);
        let page = html::comparison("", "", &answer, &runs).unwrap();
        (answer, String::from_utf8(page.bytes).unwrap())
    };
    let (answer, text) = page(&several(timed(16, PrefillOrder::Mixed)));
    assert!(answer.starts_with("one computes 6 prompts and decodes 42 tokens of 6 sequences in"), "{answer}");
    assert!(answer.contains("(TTFT)") && answer.contains("(TPOT)"), "{answer}");
    for part in ["TPOT p99", "TTFT p99", "Groups of sequences", "Throughput against latency", "\"x\":\"step\""] {
        assert!(text.contains(part), "{part}");
    }
    for part in ["Token latency", "\"decoded tokens\"", "token p50"] {
        assert!(!text.contains(part), "{part}");
    }
    let (answer, text) = page(&decoding(1_000_000, &[(30, 9, 0)]));
    assert!(answer.starts_with("one decodes 9 tokens in"), "{answer}");
    assert!(text.contains("token p50") && !text.contains("TPOT") && !text.contains("Throughput against"));
}

#[test]
fn figures_of_a_group_are_compared() {
    let (report, _) = recorded(&several(timed(16, PrefillOrder::First)));
    let summary = serde_json::to_value(&report.summary).unwrap();
    let runs = [("a", &summary), ("b", &summary)];
    let holds = |condition: &str| !condition.parse::<Condition>().unwrap().check(&runs).unwrap().is_empty();
    let ttft = report.summary.sequences[1].ttft_ns.unwrap().p99;
    assert!(holds(&format!("sequences.1.ttft_ns.p99 > {}ns", ttft * 0.99)));
    assert!(!holds(&format!("sequences.1.ttft_ns.p99 > {}ns", ttft * 1.01)));
    assert!(holds("sequences.2.tpot_ns.p50 >= 1x") && !holds("sequences.0.tokens_per_s > 1x"));
    let paths = compared_paths(&[&report.summary]);
    let groups = paths.iter().filter(|path| path.starts_with("sequences.")).count();
    assert_eq!(groups, 3 * 5, "{paths:?}");
}
