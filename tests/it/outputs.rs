//! What runs write for other programs, and how repeated runs treat the files that are there.
//!
//! `summary.json` against its published schema, timelines, shell completions, manual pages,
//! progress on stderr, and warnings about results that a new run replaces.

use crate::common::program::tiersim;
use crate::common::schema::violations;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn stdout(folder: &Path, args: &[&str]) -> String {
    String::from_utf8(tiersim(folder, args).assert().success().get_output().stdout.clone()).expect("text")
}

fn json(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).expect("a file")).expect("JSON")
}

#[test]
fn summaries_are_as_their_schema_says() {
    let place = TempDir::new().unwrap();
    let schema: Value = serde_json::from_str(&stdout(place.path(), &["schema"])).unwrap();
    let runs: [&[&str]; 4] = [
        &["run", "--strategy", "best-ratio", "--decode", "20", "--skip", "40%", "--out", "a"],
        &["run", "--decode", "20", "--memory", "hbm-lpddr-cxl", "--strategy", "baseline", "--out", "b"],
        &["run", "recorded", "--strategy", "best-ratio", "--decode", "20", "--page-tokens", "16", "--out", "c"],
        // Ends for want of memory.
        &[
            "run",
            "--strategy",
            "best-ratio",
            "--decode",
            "999",
            "--set",
            "memory.external.capacity=1 MiB",
            "--hbm-capacity",
            "2500MiB",
            "--out",
            "d",
        ],
    ];
    for args in runs {
        let code = tiersim(place.path(), args).output().unwrap().status.code();
        assert_eq!(code, Some(i32::from(args.contains(&"999"))), "{args:?}");
        let summary = json(place.path(), &format!("{}/summary.json", args[args.len() - 1]));
        assert_eq!(violations(&schema, &summary), [""; 0], "{args:?}");
        let mut wrong = summary.clone();
        wrong["simulated_ns"] = "soon".into();
        assert_eq!(violations(&schema, &wrong).len(), 1, "a schema that accepts anything");
    }
}

/// A timeline of a whole run has all its transfers, on the lanes that carried them, in rows that do
/// not overlap.
#[test]
fn a_timeline_shows_what_the_run_did() {
    let place = TempDir::new().unwrap();
    let args =
        ["run", "--strategy", "best-ratio", "--decode", "12", "--skip", "40%", "--timeline", "0..12", "--out", "run"];
    tiersim(place.path(), &args).assert().success();
    let summary = json(place.path(), "run/summary.json");
    let timeline = json(place.path(), "run/timeline.json");
    let events = timeline["traceEvents"].as_array().unwrap();
    let of = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
    let mut names: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    for event in of("M").filter(|event| event["name"] == "thread_name") {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        assert!(names.insert(track, event["args"]["name"].as_str().unwrap()).is_none(), "two names of {track:?}");
    }
    // Picoseconds, so that sums are exact.
    let ps = |value: &Value| (value.as_f64().unwrap() * 1e6).round() as u64;
    let mut rows: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for event in of("X") {
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = names[&track].split(" (").next().unwrap();
        rows.entry(track).or_default().push((ps(&event["ts"]), ps(&event["ts"]) + ps(&event["dur"])));
        if let Some(size) = event["args"]["bytes"].as_u64() {
            *bytes.entry(name.to_owned()).or_default() += size;
        }
    }
    for (track, slices) in &mut rows {
        slices.sort_unstable();
        for pair in slices.windows(2) {
            assert!(pair[1].0 >= pair[0].1, "{}: {pair:?} overlap", names[track]);
        }
    }
    for class in ["WeightRead", "KvRead", "KvWrite", "MigrateIn", "MigrateOut"] {
        let carried: u64 =
            summary["transfers"][class]["bytes"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
        assert!(carried > 0);
        assert_eq!(bytes[class], carried, "{class}");
    }
    for (lane, figures) in summary["lanes"].as_object().unwrap() {
        assert_eq!(bytes[lane], figures["bytes"].as_u64().unwrap(), "{lane}");
    }
    // What a lane carries, integrated over the run, is what it has carried; the last transfers end
    // after the last step.
    let end = ps(&of("X").filter(|event| event["pid"] == 1).map(|event| event["ts"].clone()).next_back().unwrap());
    assert!(end > 0);
    let rate = |lane: &str| {
        let name = format!("{lane} (GB/s)");
        let points: Vec<(u64, f64)> = of("C")
            .filter(|it| it["name"] == *name)
            .map(|it| (ps(&it["ts"]), it["args"]["value"].as_f64().unwrap()))
            .collect();
        points.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64 * pair[0].1 / 1e3).sum::<f64>()
    };
    let (carried, all) = (rate("hbm.bus"), summary["lanes"]["hbm.bus"]["bytes"].as_f64().unwrap());
    assert!(carried <= all * 1.000_001 && carried > all * 0.99, "{carried} of {all}");
    // A later run without one leaves none behind.
    tiersim(place.path(), &["run", "--strategy", "best-ratio", "--decode", "2", "--out", "run"]).assert().success();
    assert!(!place.path().join("run/timeline.json").exists());
}

/// The picture in the README is what its command draws.
#[test]
fn the_readme_shows_a_timeline_of_today() {
    let place = TempDir::new().unwrap();
    let args =
        ["run", "--decode", "600", "--skip", "40%", "--strategy", "best-ratio", "--timeline", "500", "--out", "run"];
    tiersim(place.path(), &args).assert().success();
    let drawn = fs::read_to_string(place.path().join("run/timeline.svg")).unwrap();
    let shown = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/timeline.svg")).unwrap();
    assert!(drawn == shown, "if the change is meant, copy the new one to tests/golden/timeline.svg");
}

#[test]
fn timelines_are_of_steps_that_there_are() {
    let place = TempDir::new().unwrap();
    for (steps, part) in [("5..9", "0..6"), ("3..3", "no steps"), ("x", "write 100"), ("-1", "write 100")] {
        let refused = tiersim(place.path(), &["run", "--decode", "6", &format!("--timeline={steps}")]).assert().code(2);
        let message = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(message.contains(part), "{steps}: {message}");
    }
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let place = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(place.path(), &["completions", shell]);
        for word in ["curve", "replay", "page-tokens"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    assert!(stdout(place.path(), &["man"]).starts_with(".ie"), "a page for man");
    tiersim(place.path(), &["man", "--out", "pages"]).assert().success();
    let page = fs::read_to_string(place.path().join("pages/tiersim-trace-info.1")).unwrap();
    assert!(page.contains("tiersim trace info"), "{page}");
}

#[test]
fn quiet_prints_only_results_and_errors() {
    let place = TempDir::new().unwrap();
    let quiet = tiersim(place.path(), &["run", "--strategy", "best-ratio", "--decode", "3", "--quiet", "--out", "a"])
        .assert()
        .success();
    assert!(quiet.get_output().stderr.is_empty());
    assert!(!quiet.get_output().stdout.is_empty());
    let refused = tiersim(place.path(), &["run", "--decode", "0", "-q"]).assert().code(2);
    assert!(!refused.get_output().stderr.is_empty());
}

fn stderr(folder: &Path, args: &[&str]) -> String {
    String::from_utf8(tiersim(folder, args).assert().success().get_output().stderr.clone()).expect("text")
}

/// Every page below `folder`, with its path.
fn pages(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "html") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// What a reader can click on is there.
fn links_lead_somewhere(folder: &Path) -> usize {
    let mut links = 0;
    for (path, text) in pages(folder) {
        for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            if !link.starts_with("data:") {
                let target = path.parent().unwrap().join(link.replace("%25", "%").replace("%20", " "));
                assert!(target.is_file(), "{}: {link}", path.display());
                links += 1;
            }
        }
    }
    links
}

/// Runs of different configurations have folders of their own; what takes the place of another is
/// told, and no page shows what is gone.
#[test]
fn results_are_not_lost_and_pages_not_stale() {
    let place = TempDir::new().unwrap();
    let here = place.path();
    let commands: [&[&str]; 4] = [
        &["run", "--decode", "8", "--strategy", "baseline"],
        &["run", "--decode", "8", "--skip", "40%", "--strategy", "baseline"],
        &["run", "--decode", "8", "--link-bandwidth", "450 GB/s", "--strategy", "baseline"],
        &["run", "--decode", "8", "--model", "smollm2-135m", "--memory", "gh200", "--strategy", "baseline"],
    ];
    for args in commands {
        assert!(!stderr(here, args).contains("replace"), "{args:?}");
    }
    let folders = [
        "study,decode=8",
        "study,decode=8,skip=0.4",
        "study,decode=8,external-link=450GBps",
        "study+smollm2-135m+gh200,decode=8",
    ];
    for folder in folders {
        assert!(here.join("out/runs").join(folder).join("baseline/summary.json").is_file(), "{folder}");
    }
    assert_eq!(fs::read_dir(here.join("out/runs")).unwrap().count(), folders.len());
    // The same again replaces nothing that differs.
    assert!(!stderr(here, commands[0]).contains("replace"));

    let both = ["run", "--decode", "8", "--strategy", "baseline", "--strategy", "best-ratio", "--out", "both"];
    tiersim(here, &both).assert().success();
    assert!(here.join("both/report.html").is_file());
    let one = ["run", "--decode", "8", "--strategy", "baseline", "--out", "both/baseline"];
    assert!(!stderr(here, &one).contains("removed"), "the same run");
    assert!(here.join("both/report.html").is_file());
    let message = stderr(here, &[&one[..], &["--prefill", "64"]].concat());
    assert!(
        message.contains("prefill_tokens was 1024, now 64") && message.contains("both/report.html showed"),
        "{message}"
    );
    assert!(!here.join("both/report.html").exists() && here.join("both/best-ratio/report.html").is_file());
}

/// A page is called by what was run, and asks what it answers: a scenario's own words are true of
/// nothing else.
#[test]
fn pages_are_about_what_was_run() {
    let place = TempDir::new().unwrap();
    let own = "fits in HBM";
    let page = |args: &[&str]| {
        tiersim(place.path(), &[&["run"], args, &["--out", "x"]].concat()).assert().success();
        let html = fs::read_to_string(place.path().join("x/report.html")).unwrap();
        let between = |start: &str, end: &str| html.split(start).nth(1).unwrap().split(end).next().unwrap().to_owned();
        (between("<title>", " · "), between("<meta name=\"question\" content=\"", "\">"))
    };
    let (title, question) = page(&["study", "--strategy", "baseline"]);
    assert!(title == "study: baseline" && question.contains(own), "{title}: {question}");
    let (title, question) = page(&["study", "--strategy", "baseline", "--decode", "8", "--skip", "40%"]);
    assert_eq!(title, "study, decode 8, skip 0.4: baseline");
    assert!(!question.contains(own) && question.contains("8 tokens") && question.contains("40 % of"), "{question}");
    let (title, question) = page(&["study", "--decode", "8", "--memory", "gh200", "--strategy", "baseline"]);
    assert!(title == "study + gh200, decode 8: baseline" && question.contains("memory system gh200"), "{question}");
    // The scenario's own file applies to the scenario unchanged.
    let mine = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/models/scenarios/study.ron")).unwrap();
    let mine = mine.replace("name: \"study\"", "name: \"mine\"").replace("decode_tokens: 1024", "decode_tokens: 8");
    fs::write(place.path().join("mine.ron"), mine).unwrap();
    assert!(page(&["mine.ron"]).1.contains(own) && !page(&["mine.ron", "--prefill", "9"]).1.contains(own));
}

#[test]
fn the_index_lists_all_results_below_out() {
    let place = TempDir::new().unwrap();
    let here = place.path();
    let run = ["run", "--decode", "8", "--strategy", "baseline", "--strategy", "best-ratio"];
    tiersim(here, &[&run[..], &["--skip", "50%"]].concat()).assert().success();
    tiersim(here, &["explain", "--decode", "8", "--strategy", "baseline"]).assert().success();
    tiersim(here, &["compare", "study --decode 4", "study --decode 4 --skip 40%", "--no-why"]).assert().success();
    tiersim(here, &["run", "--decode", "6", "--strategy", "baseline", "--out", "elsewhere"]).assert().success();
    let index = fs::read_to_string(here.join("out/index.html")).unwrap();
    // Three pages of the run, one of the explanation, three of the comparison.
    assert_eq!(index.matches("<tr><td").count(), 7, "{index}");
    assert_eq!(links_lead_somewhere(&here.join("out")), 7);
    assert!(index.contains("study, decode 8, skip 0.5: baseline</a>") && !index.contains("elsewhere"), "{index}");
    assert!(
        index.contains("Of 2 runs, ")
            && index.contains("Which is the fastest of baseline and best-ratio (oracle: sees 1 step), ")
    );
    // Damaged, foreign and empty files, and links in a circle, do no harm; what is gone is no
    // longer listed.
    fs::write(here.join("out/runs/report.html"), [0xff, 0xfe, b'<']).unwrap();
    fs::create_dir_all(here.join("out/other/foreign")).unwrap();
    fs::write(here.join("out/other/foreign/report.html"), "<title>not ours</title>").unwrap();
    fs::write(here.join("out/other/report.html"), "<title>&#60;b&#62; · tiersim</title>").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(here.join("out"), here.join("out/other/circle")).unwrap();
    fs::remove_dir_all(here.join("out/explain")).unwrap();
    tiersim(here, &[&run[..], &["--skip", "50%"]].concat()).assert().success();
    let index = fs::read_to_string(here.join("out/index.html")).unwrap();
    assert_eq!(index.matches("<tr><td").count(), 7, "{index}");
    assert!(
        index.contains(">&#60;b&#62;</a>") && !index.contains("not ours") && !index.contains("explain/"),
        "{index}"
    );
}

/// HBM has room for the weights and half of the prefill's KV: 512 of 1024 tokens of 1 MiB, and none
/// of the 8 that follow.
#[test]
fn runs_report_the_layout_and_their_waits() {
    let place = TempDir::new().unwrap();
    let args = ["run", "--decode", "8", "--hbm-capacity", "1.5GiB", "--strategy", "baseline", "--out", "x"];
    let text = stdout(place.path(), &args);
    for part in [
        "| weights             | 100.0 % hbm of 1 GiB",
        "50.0 % hbm, 50.0 % external of 1 GiB",
        "49.6 % hbm, 50.4 % external of 1.008 GiB",
        "baseline decodes 8 tokens in ",
        " tokens/s), ",
        "waits for reads from external in ",
    ] {
        assert!(text.contains(part), "no '{part}' in {text}");
    }
    let summary = json(place.path(), "x/summary.json");
    let mib = |pointer: &str| summary.pointer(pointer).unwrap().as_u64().unwrap() >> 20;
    assert_eq!((mib("/layout/start/weights_bytes/hbm"), mib("/layout/end/weights_bytes/external")), (1024, 0));
    assert_eq!((mib("/layout/start/kv_bytes/hbm"), mib("/layout/start/kv_bytes/external")), (512, 512));
    assert_eq!((mib("/layout/end/kv_bytes/hbm"), mib("/layout/end/kv_bytes/external")), (512, 520));
    assert_eq!(summary["layout"]["start"]["kv_share"]["hbm"], 0.5);
    let number = |pointer: &str| summary.pointer(pointer).unwrap().as_f64().unwrap();
    let waited = number("/waits/tiers_ns/hbm") + number("/waits/tiers_ns/external") + number("/waits/compute_ns");
    assert!((waited - number("/simulated_ns")).abs() < 1e-3, "{waited}");
    // Weights are read from HBM, 16 MiB of them in each stage at 4915 GB/s; KV comes later, from
    // external memory. So only the mlp waits for HBM: 32 of them a step.
    let mlp = (16u64 << 20) as f64 / 4915.0;
    assert!((number("/waits/tiers_ns/hbm") / (8.0 * 32.0 * mlp) - 1.0).abs() < 0.02, "{summary}");
    assert!((number("/tokens_per_s") - 8e9 / number("/simulated_ns")).abs() < 1e-6);
    let page = fs::read_to_string(place.path().join("x/report.html")).unwrap();
    assert!(page.contains(">Layout of the bytes<") && page.contains("49.6 %") && page.contains("50.4 %"));
    let table = stdout(place.path(), &["strategies", "--decode", "2", "--prefill", "64", "--strategy", "baseline"]);
    assert!(table.contains("weights in hbm") && table.contains("KV at the end in hbm"), "{table}");
}

#[test]
fn a_warm_up_is_left_out_of_histograms_and_means() {
    let place = TempDir::new().unwrap();
    let args = ["run", "--decode", "20", "--skip", "40%", "--strategy", "best-ratio", "--out"];
    tiersim(place.path(), &[&args[..], &["all"]].concat()).assert().success();
    let text = stdout(place.path(), &[&args[..], &["warm", "--warmup", "5"]].concat());
    assert!(text.contains("tokens/s after a warm-up of 5 steps"), "{text}");
    let (all, warm) = (json(place.path(), "all/summary.json"), json(place.path(), "warm/summary.json"));
    assert!(all["scenario"].get("warmup_steps").is_none() && warm["scenario"]["warmup_steps"] == 5);
    let steps = fs::read_to_string(place.path().join("warm/steps.csv")).unwrap();
    assert_eq!(steps, fs::read_to_string(place.path().join("all/steps.csv")).unwrap());
    let column = |index: usize| -> Vec<f64> {
        steps.lines().skip(6).map(|line| line.split(',').nth(index).unwrap().parse().unwrap()).collect()
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let close = |one: f64, other: &Value| (one / other.as_f64().unwrap() - 1.0).abs() < 1e-9;
    let latency = mean(column(4));
    assert!(close(latency, &warm["token_latency_ns"]["mean"]) && close(1e9 / latency, &warm["tokens_per_s"]));
    assert!(close(mean(column(3)), &warm["alpha"]["mean"]), "alpha");
    for total in ["simulated_ns", "lanes", "migration", "bound", "peak_bytes", "events", "steps"] {
        assert_eq!(warm[total], all[total], "{total}");
    }
    let count = |summary: &Value| summary["transfers"]["KvRead"]["count"].as_u64().unwrap();
    assert!(count(&warm) > 0 && count(&warm) * 20 == count(&all) * 15, "{} {}", count(&warm), count(&all));
    // It reads back, and is a field as any other.
    tiersim(place.path(), &["compare", "all", "warm", "--out", "c", "--no-why"]).assert().success();
    tiersim(
        place.path(),
        &["run", "--strategy", "baseline", "--decode", "4", "--set", "warmup_steps=2", "--out", "set"],
    )
    .assert()
    .success();
    assert_eq!(json(place.path(), "set/summary.json")["scenario"]["warmup_steps"], 2);
    let refused = tiersim(place.path(), &["run", "--decode", "4", "--warmup", "4"]).assert().code(2);
    let message = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(message.contains("warmup_steps: 4") && message.contains("at most 3"), "{message}");
}

/// Of the 40 % that real attention skips, whole pages of 16 leave little.
#[test]
fn what_pages_read_beyond_the_trace_is_in_the_sentence() {
    let place = TempDir::new().unwrap();
    let warnings = |tokens: &str| {
        let args =
            ["run", "recorded", "--decode", "20", "--page-tokens", tokens, "--strategy", "baseline", "--out", tokens];
        stdout(place.path(), &args)
    };
    assert!(!warnings("1").contains("more KV than"));
    let text = warnings("16");
    let summary = json(place.path(), "16/summary.json");
    let read: u64 =
        summary["transfers"]["KvRead"]["bytes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let beyond = summary["read_beyond_bytes"].as_u64().unwrap();
    let share = 100.0 * beyond as f64 / (read - beyond) as f64;
    assert!(share > 2.0);
    let sentence = format!("whole pages of 16 tokens make it read {share:.1} % more KV than the trace asks for");
    assert!(text.contains(&sentence), "{sentence}: {text}");
}
