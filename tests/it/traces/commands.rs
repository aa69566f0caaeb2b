//! `tiersim trace ...` and what `tiersim run --trace` accepts; Python that writes and reads traces;
//! the shipped trace and the generator that was fitted to it.

use super::*;

const SHIPPED: &str = "traces/python_heapq_skip40.parquet";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn import_export_generate_fit_info_and_verify() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    let succeeds = |args: &[&str]| {
        let output = tiersim(place.path(), args).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    };
    let fails = |args: &[&str], parts: &[&str]| {
        let output = tiersim(place.path(), args).assert().code(2).get_output().clone();
        let message = String::from_utf8(output.stderr).unwrap();
        for part in parts.iter().copied() {
            assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
        }
    };
    succeeds(&["trace", "export", "python_heapq_skip40", "-o", "a.kvs"]);
    assert_eq!(fs::metadata(path("a.kvs")).unwrap().len(), 810_024);
    succeeds(&["trace", "import", "a.kvs", "--model", "a model", "--licence", "CC0", "--level", "3"]);
    succeeds(&["trace", "export", "a.parquet", "-o", "b.jsonl"]);
    succeeds(&["trace", "import", "b.jsonl", "-o", "c.parquet", "--encoding", "sets", "--source", "a text"]);
    succeeds(&["trace", "export", "c.parquet", "-o", "c.kvs"]);
    assert!(fs::read(path("a.kvs")).unwrap() == fs::read(path("c.kvs")).unwrap());
    let verified = succeeds(&["trace", "verify", "a.kvs", "b.jsonl", "c.parquet", "python_heapq_skip40"]);
    assert_eq!(verified.matches("valid: a recorded trace").count(), 4, "{verified}");
    assert!(verified.contains("320 steps, 30 layers, 512 tokens before step 0, 39.9"), "{verified}");

    let table = succeeds(&["trace", "info", "c.parquet", "like-recorded-40", "--out", "pictures"]);
    for part in ["a model", "a text", "CC0", "not said", "churn", "Jaccard", "page", "like-recorded-40", "difference"] {
        assert!(table.contains(part), "no '{part}' in {table}");
    }
    for name in ["skip", "churn", "changed", "pages", "jaccard_steps", "jaccard_layers", "runs", "ages"] {
        assert!(path(&format!("pictures/{name}.png")).is_file(), "{name}");
    }

    let generate = ["trace", "generate", "--skip", "0.25", "--churn", "10%", "--layers", "3", "--decode", "40"];
    succeeds(&[&generate[..], &["-o", "made.parquet"]].concat());
    succeeds(&[&generate[..], &["-o", "made.kvs"]].concat());
    succeeds(&["trace", "export", "made.parquet", "-o", "again.kvs"]);
    assert!(fs::read(path("made.kvs")).unwrap() == fs::read(path("again.kvs")).unwrap());
    assert!(succeeds(&["trace", "verify", "made.parquet"]).contains("40 steps, 3 layers, 1024 tokens"));

    succeeds(&["trace", "fit", "python_heapq_skip40", "-o", "fitted.ron"]);
    let once = fs::read(path("fitted.ron")).unwrap();
    succeeds(&["trace", "fit", "a.kvs", "-o", "fitted.ron"]);
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&once), lines(&fs::read(path("fitted.ron")).unwrap()));
    succeeds(&["run", "--trace", "fitted.ron", "--decode", "8"]);
    succeeds(&["run", "--trace", "like-recorded-40", "--decode", "8", "--skip", "30%", "--seed", "4"]);

    fails(&["trace", "import", "a.kvs", "-o", "a.kvs"], &[".parquet"]);
    fails(&["trace", "import", "a.parquet"], &["the trace itself"]);
    fails(&["trace", "export", "a.parquet", "-o", "a.csv"], &["a.csv", ".kvs", ".jsonl"]);
    fails(&["trace", "export", "a.kvs", "-o", "a.parquet/x.kvs"], &["a.parquet/x.kvs"]);
    fails(&["trace", "info", "like-recorded-40"], &["no size of its own"]);
    fails(&["trace", "generate", "nowhere", "-o", "x.kvs"], &["nowhere"]);
    fails(&["trace", "generate", "--skip", "1", "--sinks", "1", "-o", "x.kvs"], &["sinks"]);
    fs::write(path("cut.parquet"), &fs::read(path("a.parquet")).unwrap()[..9000]).unwrap();
    fails(&["trace", "verify", "a.kvs", "cut.parquet"], &["cut.parquet", "damaged"]);
    fs::write(path("empty.parquet"), []).unwrap();
    fails(&["trace", "info", "empty.parquet"], &["0 bytes"]);
    fails(&["run", "--trace", "empty.parquet"], &["0 bytes"]);
    assert!(!path("x.kvs").exists());
}

#[test]
fn a_recorded_trace_is_made_to_fit_by_flags_and_set() {
    let place = TempDir::new().unwrap();
    let scenario = |args: &[&str]| -> serde_json::Value {
        let args =
            [&["run", "study", "--json", "--trace", "python_heapq_skip40", "--strategy", "baseline"], args].concat();
        let output = tiersim(place.path(), &args).assert().success().get_output().stdout.clone();
        serde_json::from_slice::<serde_json::Value>(&output).unwrap()["scenario"].clone()
    };
    let flags = scenario(&["--layer-map", "scale", "--decode", "7"]);
    let set = scenario(&["--set", "trace.layer_map=Scale", "--decode", "7"]);
    assert_eq!(flags, set);
    assert_eq!((&flags["prefill_tokens"], &flags["decode_tokens"]), (&512.into(), &7.into()));
    let moved = scenario(&[
        "--layer-map",
        "Repeat",
        "--first-step",
        "300",
        "--prefill-offset",
        "212",
        "--extend",
        "repeat",
        "--decode",
        "70",
    ]);
    assert_eq!(moved["prefill_tokens"], 1024);
    let extended = scenario(&["--layer-map", "Scale", "--extend", "Statistics", "--decode", "330"]);
    assert!(extended["trace"]["Recorded"]["extend"]["Like"]["exchange"].is_number(), "{}", extended["trace"]);
    // Both forms of the configuration.
    let old = fs::read_to_string(in_repository("models/scenarios/recorded.ron")).unwrap();
    let start = old.find("trace: Recorded(").unwrap();
    let end = old.rfind(')').unwrap();
    let short =
        format!("{}trace: Recorded(\"python_heapq_skip40\"), model: \"smollm2-135m\", {}", &old[..start], &old[end..]);
    let short = short.replace("    model: \"study\",\n", "").replace("decode_tokens: 4096", "decode_tokens: 4");
    fs::write(place.path().join("short.ron"), short).unwrap();
    tiersim(place.path(), &["run", "short.ron"]).assert().success();
}

/// The example in traces/README.md, run by Python, makes a file that the real reader takes; pyarrow
/// and pyroaring read what tiersim writes.
#[test]
fn python_writes_and_reads_traces() {
    let Some(python) = python::with("pyarrow.parquet, pyroaring", &["pyarrow", "pyroaring"]) else {
        skip!("no python3 with pyarrow and pyroaring, and none can be installed here");
    };
    let place = TempDir::new().unwrap();
    let readme = fs::read_to_string(in_repository("traces/README.md")).unwrap();
    let (_, rest) = readme.split_once("```python\n").expect("an example in traces/README.md");
    let (example, _) = rest.split_once("```").expect("the end of the example");
    assert!(example.lines().count() <= 12, "the example is to be short");
    let run = |code: &str| {
        let output = std::process::Command::new(&python).current_dir(place.path()).args(["-c", code]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(example);
    let verified = tiersim(place.path(), &["trace", "verify", "mine.parquet"]).assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&verified.stdout).contains("valid: a recorded trace (Parquet)"));

    for encoding in ["sets", "differences"] {
        let args = ["trace", "generate", "like-recorded-40", "--layers", "2", "--prefill", "70", "--decode", "5"];
        let args = [&args[..], &["--encoding", encoding, "-o", "ours.parquet"]].concat();
        tiersim(place.path(), &args).assert().success();
        tiersim(place.path(), &["trace", "export", "ours.parquet", "-o", "ours.jsonl"]).assert().success();
        let same = run("import json, pyarrow.parquet as pq, pyroaring\n\
             table = pq.read_table('ours.parquet')\n\
             differences = table.schema.metadata[b'encoding'] == b'differences'\n\
             lines = [json.loads(line) for line in open('ours.jsonl')][1:]\n\
             before = {}\n\
             for row, line in zip(table.to_pylist(), lines, strict=True):\n\
             \x20   assert (row['step'], row['layer']) == (line['step'], line['layer'])\n\
             \x20   found = pyroaring.BitMap.deserialize(row['skipped'])\n\
             \x20   if differences: found = found ^ before.get(row['layer'], pyroaring.BitMap())\n\
             \x20   before[row['layer']] = found\n\
             \x20   assert list(found) == line['skipped'], row\n\
             print(len(lines))");
        assert_eq!(same.trim(), "10");
    }
}

#[test]
fn the_shipped_trace_is_small_and_the_scenario_goes_on_with_the_shipped_generator() {
    assert!(fs::metadata(in_repository(SHIPPED)).unwrap().len() < 1_000_000);
    let scenario = tiersim::simulation::ScenarioConfig::load("recorded").unwrap();
    let generator = tiersim::catalog::generator("like-recorded-40").unwrap();
    let (TraceConfig::Recorded(recorded), Some(TraceConfig::Lifelike(like))) = (scenario.trace, generator) else {
        panic!("a recorded trace and a generator");
    };
    assert_eq!(recorded.extend, Extend::Like(like));
}

/// The shipped generator resembles the whole recording in the statistics of `trace info`; the
/// recording is not shipped.
#[test]
#[ignore = "needs recordings: TIERSIM_RECORDED=FOLDER cargo test --test it recorded -- --ignored"]
fn the_shipped_generator_is_like_the_recorded_trace() {
    let Some(folder) = std::env::var_os("TIERSIM_RECORDED") else {
        skip!("TIERSIM_RECORDED names no folder of recorded .kvs files");
    };
    let mut compared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "kvs") {
            continue;
        }
        let mut recording = Recording::open(&path).unwrap();
        let header = recording.header().clone();
        let fit = Fit::of("test", &mut recording).unwrap();
        let mut recording = Recording::open(&path).unwrap();
        let (layers, prefill, steps) = (header.layers, header.prefill, header.steps);
        let wanted = TraceStatistics::measure(&mut recording, layers, prefill, steps).unwrap().mean;
        let mut generated = Lifelike::new(&fit.config, layers, prefill + steps);
        let found = TraceStatistics::measure(&mut generated, layers, prefill, steps).unwrap().mean;
        let pairs = [
            (wanted.churn, found.churn, 0.1),
            (wanted.jaccard[0], found.jaccard[0], 0.1),
            (wanted.jaccard[1], found.jaccard[1], 0.1),
            (wanted.jaccard[2], found.jaccard[2], 0.1),
            (wanted.layer_jaccard, found.layer_jaccard, 0.1),
            (wanted.read_run, found.read_run, 0.1),
            (wanted.skipped_run, found.skipped_run, 0.1),
            // Few pages are skipped, by some chance.
            (wanted.skipped_pages, found.skipped_pages, 0.15),
        ];
        for (index, (wanted, found, most)) in pairs.into_iter().enumerate() {
            let (wanted, found) = (wanted.unwrap(), found.unwrap());
            assert!((found / wanted - 1.0).abs() < most, "{path:?}, {index}: {found} for {wanted}");
        }
        compared += 1;
    }
    assert!(compared > 0, "no .kvs file in TIERSIM_RECORDED");
}
