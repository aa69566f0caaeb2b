//! `tiersim decide`: choices against circumstances, by hand, against slow twins, and as a user
//! meets it.

use crate::common::program::{refused, stdout, tiersim};
use crate::common::properties::cases;
use proptest::prelude::*;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;
use tiersim::decision::{
    Asked, Asking, By, Circumstance, Decision, DecisionAxis, Question, Ranked, Tree, decide, from_results, sentences,
};
use tiersim::runs::{Cancel, Resources, Silent};
use tiersim::simulation::ScenarioConfig;
use tiersim::strategy::Knowledge;
use tiersim::sweep::Unit;
use tiersim::units::Bytes;

/// An axis of `levels` values: numbers that double, or names.
fn axis(name: &str, levels: usize, numbers: bool) -> DecisionAxis {
    let level = |place: usize| {
        let number = numbers.then(|| f64::from(1 << place));
        (number.map_or_else(|| format!("{name}{place}"), |number| number.to_string()), number)
    };
    let unit = if numbers { Unit::Whole } else { Unit::Text };
    DecisionAxis { name: name.to_owned(), unit, levels: (0..levels).map(level).collect() }
}

/// A decision between machines whose times in each circumstance are `times`; 0 does not fit.
fn decision(given: Vec<DecisionAxis>, machines: usize, times: &[Vec<u32>]) -> Decision {
    let lengths: Vec<usize> = given.iter().map(|axis| axis.levels.len()).collect();
    let circumstance = |(place, times): (usize, &Vec<u32>)| {
        let mut rest = place;
        let mut levels: Vec<usize> = lengths
            .iter()
            .rev()
            .map(|length| {
                let level = rest % length;
                rest /= length;
                level
            })
            .collect();
        levels.reverse();
        let ranked = |(machine, time): (usize, &u32)| Ranked {
            choice: vec![machine],
            value: f64::from(*time),
            knows: Knowledge::Realizable,
            cost: None,
        };
        let mut ranking: Vec<Ranked> = times.iter().enumerate().filter(|(_, time)| **time > 0).map(ranked).collect();
        ranking.sort_by(|a, b| a.value.total_cmp(&b.value));
        let unfit = times.iter().enumerate().filter(|(_, time)| **time == 0);
        let without = unfit.map(|(machine, _)| (vec![machine], "does not fit".to_owned())).collect();
        Circumstance { given: levels, ranking, without }
    };
    let circumstances = times.iter().enumerate().map(circumstance).collect();
    Decision {
        by: By::tpot(),
        choices: vec![axis("m", machines, false)],
        given,
        best: Vec::new(),
        currency: None,
        within: 0.05,
        answer: Vec::new(),
        circumstances,
        crossovers: Vec::new(),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// The slow twin of the tree looks the winner up in the ranking.
    #[test]
    fn the_tree_of_the_answer_names_a_winner_in_every_circumstance(
        a in 1usize..4, b in 1usize..4, c in 1usize..3, numbers: [bool; 3],
        times in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u32), 100u32..104, 100u32..300], 3), 27),
    ) {
        let given = vec![axis("a", a, numbers[0]), axis("b", b, numbers[1]), axis("c", c, numbers[2])];
        let decision = decision(given, 3, &times[..a * b * c]);
        let tree = Tree::new(&decision).unwrap();
        let choices = Tree::choices(&decision);
        prop_assert!(tree.leaves() <= a * b * c);
        for it in &decision.circumstances {
            match tree.at(&it.given).map(|place| &choices[place]) {
                None => prop_assert!(it.ranking.is_empty()),
                Some(choice) => {
                    let value = it.ranking.iter().find(|ranked| ranked.choice == *choice).unwrap().value;
                    prop_assert!(value <= it.ranking[0].value * (1.0 + decision.within) + 1e-9);
                }
            }
        }
        prop_assert!(sentences(&decision)[0].ends_with('.'));
    }
}

#[test]
fn the_sentence_has_the_fewest_leaves_and_says_margins_and_what_does_not_fit() {
    let given = || vec![axis("page-tokens", 2, true), axis("prefill", 3, true)];
    // m0 wins with pages of 2 tokens; with pages of 1 it wins at the two lower contexts only.
    let of = decision(
        given(),
        2,
        &[vec![100, 110], vec![100, 120], vec![150, 100], vec![100, 200], vec![100, 230], vec![100, 230]],
    );
    assert_eq!(
        sentences(&of)[0],
        "With pages of 1 token: m0 up to 2 tokens (by 10 to 20 %), m1 at 4 tokens (by 50 %); with pages of 2 tokens: m0 (by \
         2.0x to 2.3x)."
    );
    assert_eq!(Tree::new(&of).unwrap().leaves(), 3);
    // One exception among many parts is an exception.
    let of = decision(
        given(),
        2,
        &[vec![100, 110], vec![150, 100], vec![100, 120], vec![100, 200], vec![100, 230], vec![100, 230]],
    );
    assert_eq!(Tree::new(&of).unwrap().leaves(), 4);
    assert_eq!(sentences(&of)[0], "m0 (by 10 % to 2.3x), but m1 with pages of 1 token and at 2 tokens (by 50 %).");
    let everywhere = decision(vec![axis("prefill", 2, true)], 2, &[vec![100, 120], vec![100, 0]]);
    assert_eq!(
        sentences(&everywhere),
        ["m0 everywhere (by 20 %; in 1 of 2 it alone fits).", "m1 does not fit in 1 of 2 circumstances."]
    );
    let same = decision(vec![axis("prefill", 2, true)], 2, &[vec![100, 102], vec![100, 97]]);
    assert_eq!(sentences(&same), ["m0 and m1 everywhere about the same (within 5 %)."]);
    let nothing = decision(vec![axis("prefill", 2, true)], 2, &[vec![100, 120], vec![0, 0]]);
    assert_eq!(sentences(&nothing)[0], "m0 at 1 token (by 20 %), nothing fits at 2 tokens.");
}

fn resources() -> Resources {
    Resources { threads: 2, memory: Bytes::new(2 << 30) }
}

/// A machine with fast HBM and a slow link, and one with slow HBM and a fast link: the second wins
/// from the context on that does not fit in HBM.
fn question() -> Question {
    let machine = |name: &str, hbm: &str, link: &str| {
        let mut memory = tiersim::catalog::memory("study").unwrap();
        memory.name = name.to_owned();
        memory.tiers[0].bandwidth = hbm.parse().unwrap();
        let bandwidth = link.parse().unwrap();
        let wire = memory.tiers[1].link_mut().unwrap();
        (wire.read, wire.write) = (bandwidth, bandwidth);
        serde_json::to_value(memory).unwrap()
    };
    let mut question = Question::new(ScenarioConfig::load("study").unwrap());
    question.choose = vec![Asked::list(
        "memory",
        [machine("hbm", "4915 GB/s", "100 GB/s"), machine("link", "3000 GB/s", "900 GB/s")],
    )];
    question.given = vec![Asked::list("prefill_tokens", [1024, 8192])];
    question
}

/// Halving, one run after the other, with the ends that the sweep has.
#[test]
fn crossovers_are_where_plain_bisection_finds_them() {
    let question = question();
    let decided = decide(&question, resources(), &Cancel::new(false), &Silent).unwrap();
    let value = |memory: usize, prefill: u32| {
        let mut one = question.clone();
        one.given = vec![Asked::list("prefill_tokens", [prefill])];
        let decided = decide(&one, resources(), &Cancel::new(false), &Silent).unwrap();
        decided.circumstances[0].ranking.iter().find(|ranked| ranked.choice == [memory]).unwrap().value
    };
    let [crossover] = &decided.crossovers[..] else { panic!("{:?} {:?}", decided.crossovers, decided.answer) };
    let (from, to) = (crossover.from[0], crossover.to[0]);
    let (mut low, mut high) = (1024u32, 8192u32);
    while f64::from(high - low) > 0.02 * f64::from(high) {
        let middle = low.midpoint(high);
        if value(from, middle) < value(to, middle) { low = middle } else { high = middle }
    }
    let (below, above) = crossover.between;
    assert!(below < f64::from(high) * 1.001 && above > f64::from(low) * 0.999, "{below} {above} against {low} {high}");
    assert!((above - below) / above <= 0.02);
    assert!(
        value(from, below as u32) < value(to, below as u32) && value(from, above as u32) >= value(to, above as u32)
    );
}

/// Ranking the cells of the same sweep gives the same winners, and brackets without runs.
#[test]
fn a_finished_sweep_decides_as_runs_in_memory_do() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let sweep = [
        "run",
        "study",
        "--decode",
        "8",
        "--warmup",
        "3",
        "--vary",
        "memory=study,gh200",
        "--vary",
        "prefill_tokens=1024,4096",
        "--vary",
        "trace.skip=0,0.4",
        "--out",
        "sweep",
        "-q",
    ];
    tiersim(place, &sweep).assert().success();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&stdout(place, args)).unwrap() };
    let from = json(&["decide", "--from", "sweep", "--json", "-q"]);
    let direct = json(&[
        "decide",
        "--choose",
        "memory=study,gh200",
        "--given",
        "prefill_tokens=1k,4k",
        "--given",
        "trace.skip=0,40%",
        "--json",
        "-q",
    ]);
    assert_eq!(from["circumstances"], direct["circumstances"]);
    assert_eq!(from["circumstances"].as_array().unwrap().len(), 4);
}

#[test]
fn json_has_the_schema_and_names_files_by_their_stems() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    fs::create_dir(place.join("x")).unwrap();
    let machine = |bandwidth: &str, price: &str| {
        format!(
            "MemorySystem(name: \"m\", price: \"{price}\", tiers: [(name: \"hbm\", capacity: \"64 GB\", bandwidth: \"{bandwidth}\")])"
        )
    };
    fs::write(place.join("x/a96.ron"), machine("4000 GB/s", "3.60 USD/h")).unwrap();
    fs::write(place.join("slow.ron"), machine("1000 GB/s", "1.80 USD/h")).unwrap();
    let args = ["decide", "--choose", "memory=x/a96.ron,x/a96.ron", "--given", "prefill=1k"];
    assert!(refused(place, &args).contains("twice"));
    let args = [
        "decide",
        "--choose",
        "memory=x/a96.ron,slow.ron",
        "--given",
        "prefill=1k",
        "--given",
        "skip=0,40%",
        "--json",
        "-q",
    ];
    let tree: Value = serde_json::from_str(&stdout(place, &args)).unwrap();
    assert_eq!((&tree["by"], &tree["crossovers"]), (&Value::from("tpot"), &Value::Array(vec![])));
    assert!(tree["answer"].as_str().unwrap().starts_with("a96 everywhere (by "), "{}", tree["answer"]);
    let second = &tree["circumstances"][1];
    assert_eq!(second["given"], serde_json::json!({"prefill": 1024, "skip": 0.4}));
    let best = &second["ranking"][0];
    assert_eq!(best["choice"], serde_json::json!({"memory": "a96"}));
    assert_eq!((best["unit"].as_str(), best["knows"].as_str()), (Some("ns"), Some("realizable")));
    let margin = second["ranking"][1]["value"].as_f64().unwrap() / best["value"].as_f64().unwrap() - 1.0;
    assert_eq!(second["margin"].as_f64(), Some(margin));
    // A token of one sequence: 3.60 USD/h over 3600 s is a thousandth of a USD a second.
    let expected = 1e-3 * best["value"].as_f64().unwrap() / 1e9 * 1e6;
    let cost = best["cost"]["value"].as_f64().unwrap();
    assert!((cost / expected - 1.0).abs() < 1e-6, "{cost} {expected}");
}

#[test]
fn gates_hold_with_exit_code_1() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let ends = |condition: &str, code: i32| {
        let args = ["decide", "--choose", "skip=0,40%", "--given", "prefill=1k,2k", "-q", "--fail-if", condition];
        let output = tiersim(place, &args).assert().code(code).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    // What one has now, nothing skipped, is slower than the winner.
    assert!(ends("tpot > 1.05x", 1).contains("--fail-if 'tpot > 1.05x' holds at prefill 1k: skip 0 % has"));
    assert!(ends("margin > 1%", 1).contains("is ahead by"));
    for passes in ["tpot > 5x", "tpot > 1s", "margin > 90%"] {
        assert_eq!(ends(passes, 0), "", "{passes}");
    }
    for (wrong, says) in [
        ("tpott > 1x", "Did you mean"),
        ("margin > much", "not a limit"),
        ("alpha < 0.5", "ranks by"),
        ("tpot > 3", "no unit"),
    ] {
        let text = ends(wrong, 2);
        assert!(text.contains(says), "{wrong}: {text}");
    }
}

#[test]
fn bad_questions_are_refused_with_a_remedy() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let choose = ["decide", "--choose", "memory=study,gh200"];
    for (more, says) in [
        (vec!["--given", "memory=gb200"], "both a choice and a circumstance"),
        (vec!["--given", "strategy=baseline,best-ratio"], "write --choose strategy"),
        (vec!["--given", "layout=*=hbm"], "write --choose layout"),
        (vec!["--by", "speed"], "no figure of that name"),
        (vec!["--by", "ttft"], "--prefill-chunk"),
        (vec!["--by", "cost"], "has no price"),
        (vec!["--best", "runtime"], "not among the choices"),
        (vec!["--choose", "memory=study,nothing"], "'memory'"),
        (vec!["--given", "prefil=1k"], "prefil"),
        (vec!["--strategy", "baseline", "--strategy", "best-ratio"], "--choose strategy"),
        (vec!["--vary", "batch=1,2"], "--choose and --given"),
    ] {
        let text = refused(place, &[&choose[..], &more].concat());
        assert!(text.contains(says), "{more:?}: {text}");
    }
    assert!(refused(place, &["decide", "--given", "prefill=1k"]).contains("--choose memory="));
    assert!(refused(place, &["decide", "--choose", "memory=gh200"]).contains("nothing to decide"));
    assert!(refused(place, &["decide", "--from", "nowhere"]).contains("sweep"));
}

/// `--best strategy` is the best of all strategies on each machine.
#[test]
fn inner_choices_are_made_before_outer_ones_are_compared() {
    let mut all = question();
    all.choose.push(Asked::list("strategy", ["baseline", "balanced-online"]));
    let run = |question: &Question| decide(question, resources(), &Cancel::new(false), &Silent).unwrap();
    let both = run(&all);
    all.best = vec!["strategy".to_owned()];
    let best = run(&all);
    for (both, best) in both.circumstances.iter().zip(&best.circumstances) {
        assert_eq!((both.ranking.len(), best.ranking.len()), (4, 2));
        for of in &best.ranking {
            let first = both.ranking.iter().find(|ranked| ranked.choice[0] == of.choice[0]).unwrap();
            assert_eq!((&first.choice, first.value), (&of.choice, of.value));
        }
    }
    // The answer is about the machines; the strategies of the winners follow.
    let (last, answer) = best.answer.split_last().unwrap();
    assert!(!answer.iter().any(|line| line.contains("balanced-online") || line.contains("baseline")), "{answer:?}");
    assert!(last.starts_with("Each choice has its best strategy; that of the winners is "), "{last}");
    assert!(best.crossovers.iter().all(|it| it.from[0] != it.to[0]), "{:?}", best.crossovers);
}

#[test]
fn axes_of_a_sweep_are_told_apart_by_what_they_vary() {
    use tiersim::sweep::{AxisConfig, Plan, Results, SweepConfig};
    let values = |field: &str, values: Value| AxisConfig::Values {
        field: field.to_owned(),
        values: values.as_array().unwrap().clone(),
    };
    let axes = vec![
        values("memory.hbm.capacity", serde_json::json!(["2GiB", "4GiB"])),
        values("strategy", serde_json::json!(["baseline", "best-ratio"])),
        values("batch", serde_json::json!([1, 2])),
    ];
    let plan = Plan::new(SweepConfig::of("t".to_owned(), ScenarioConfig::load("study").unwrap(), axes)).unwrap();
    let results = Results::of(plan, Vec::new());
    let names = |of: &[(String, usize)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let asking = Asking::of(&results, &[], &[], By::tpot()).unwrap();
    assert_eq!(
        (names(&asking.choose), names(&asking.given)),
        (vec!["memory.hbm.capacity".to_owned(), "strategy".to_owned()], vec!["batch".to_owned()])
    );
    let given = Asking::of(&results, &[], &["memory.hbm.capacity".to_owned()], By::tpot()).unwrap();
    assert_eq!(names(&given.given), ["memory.hbm.capacity", "batch"]);
    assert!(from_results(&results, &asking).unwrap().answer[0].contains("No choice has a figure"));
    assert!(Asking::of(&results, &["batches".to_owned()], &[], By::tpot()).unwrap_err().to_string().contains("batch"));
}

/// A choice that sets several fields is the run with these fields.
#[test]
fn a_choice_may_set_several_fields_and_the_machine_may_be_a_circumstance() {
    let place = TempDir::new().unwrap();
    let place = place.path();
    let kv = "KV=dense{skip=0;strategy=baseline},sparse{skip=40%;strategy=balanced-online}";
    let args = ["decide", "--choose", kv, "--given", "memory=study,gh200", "--json", "-q"];
    let tree: Value = serde_json::from_str(&stdout(place, &args)).unwrap();
    assert_eq!(tree["circumstances"][1]["given"], serde_json::json!({"memory": "gh200"}));
    let dense = tree["circumstances"][1]["ranking"].as_array().unwrap();
    let dense = dense.iter().find(|ranked| ranked["choice"]["KV"] == "dense").unwrap();
    let fields = ["run", "study", "--memory", "gh200", "--skip", "0", "--strategy", "baseline"];
    let run = [&fields[..], &["--decode", "8", "--warmup", "3", "--json", "-q", "--out", "one"]].concat();
    let summary: Value = serde_json::from_str(&stdout(place, &run)).unwrap();
    assert_eq!(dense["value"], summary["token_latency_ns"]["mean"]);
    assert!(refused(place, &["decide", "--choose", "KV=dense{skip},sparse{skip=40%}"]).contains("LABEL{FIELD=VALUE"));
    let both = ["decide", "--choose", kv, "--given", "skip=0,10%"];
    assert!(refused(place, &both).contains("both set trace.skip"), "{}", refused(place, &both));
}
