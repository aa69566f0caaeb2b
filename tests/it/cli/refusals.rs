//! Bad input ends with exit code 2, no output on stdout, and a message with the place and a remedy.

use super::*;

#[test]
fn check_reports_what_a_file_is_or_what_is_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = [
        "models/llm/study.ron",
        "models/llm/published.ron",
        "models/llm/smollm2-135m.ron",
        "models/memory/study.ron",
        "models/scenarios/study.ron",
        "models/scenarios/recorded.ron",
        "traces/python_heapq_skip40.parquet",
    ];
    let mut args = vec!["check"];
    args.extend(shipped);
    let output = tiersim(root, &args).assert().success().get_output().stdout.clone();
    // A memory system has notes below its line.
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output.lines().filter(|line| line.contains(": valid: ")).count(), shipped.len(), "{output}");

    let place = folder();
    let bad = fs::read_to_string(root.join("models/memory/study.ron")).unwrap().replace("\"1900 GB/s\"", "\"0 GB/s\"");
    fs::write(place.path().join("bad.ron"), bad).unwrap();
    let message = refused(place.path(), &["check", "bad.ron"]);
    for part in ["bad.ron:12:", "tiers[1].bandwidth", "'0 GB/s'", "at least 1 MB/s"] {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
}

#[test]
fn bad_input_is_refused_with_a_remedy() {
    refused_with(&["run", "nowhere"], &["'nowhere'", "study, recorded"]);
    refused_with(&["run", "--model", "gpt9"], &["'gpt9'", "smollm2-135m"]);
    refused_with(&["run", "--strategy", "best"], &["'best'", "baseline, best-ratio"]);
    refused_with(&["run", "--migration", "Everything"], &["'Everything'", "LookAhead"]);
    refused_with(&["run", "--skip", "1.4"], &["1.4", "between 0 and 1"]);
    refused_with(&["run", "--skip", "NaN"], &["NaN", "ratio"]);
    refused_with(&["run", "--churn=-0.1"], &["-0.1", "negative"]);
    refused_with(&["run", "--decode", "0"], &["decode_tokens", "more than 0"]);
    refused_with(&["run", "--decode", "4000000000"], &["4000001024", "16777216"]);
    refused_with(&["run", "--hbm-capacity", "4 Gb"], &["'Gb'", "GiB"]);
    refused_with(&["run", "--hbm-capacity", "0"], &["capacity", "0"]);
    refused_with(&["run", "--link-bandwidth", "0 GB/s"], &["0 GB/s", "at least 1 MB/s"]);
    refused_with(&["run", "--set", "memory.hmb.capacity=1GiB"], &["'hmb'", "hbm"]);
    refused_with(&["run", "--set", "memory.hbm.capacity=much"], &["memory.tiers[0].capacity", "'much'"]);
    refused_with(&["run", "--set", "decode_tokens"], &["path=value"]);
    refused_with(&["run", "--trace", "nowhere.kvs"], &["nowhere.kvs"]);
    refused_with(&["run", "--trace", "python_heapq_skip40"], &["30 layers", "'study'", "32"]);
    refused_with(
        &["run", "--model", "smollm2-135m", "--trace", "python_heapq_skip40", "--decode", "321"],
        &["320 steps", "--decode 320", "--extend"],
    );
    refused_with(&["run", "recorded", "--skip", "0.2"], &["--skip", "python_heapq_skip40"]);
    refused_with(&["run", "--hbm-capacity", "1MiB", "--set", "memory.external.capacity=1MiB"], &["1 GiB", "2 MiB"]);
    refused_with(&["run", "--strategy", "baseline", "--strategy", "baseline"], &["'baseline'", "twice"]);
    refused_with(&["run", "--out", "/dev/null/here"], &["/dev/null/here", "--out"]);
    refused_with(&["check", "nowhere.ron"], &["nowhere.ron"]);
    refused_with(&["frobnicate"], &["frobnicate"]);
}

/// Sequences that make no sense, or that no tier has room for.
#[test]
fn sequences_are_refused_with_a_remedy() {
    refused_with(&["run", "--batch", "0"], &["--batch", "more than 0"]);
    refused_with(&["run", "--batch", "70000"], &["batch: 70000", "at most 65536"]);
    refused_with(&["run", "--set", "batch=0"], &["batch=0", "more than 0"]);
    let groups = |text: &str, parts: &[&str]| {
        refused_with(&["run", "gh200", "--decode", "32", "--set", &format!("sequences={text}")], parts);
    };
    groups("[(count: 0)]", &["count", "more than 0"]);
    groups("[(cuont: 4)]", &["cuont", "`count`"]);
    groups("[(count: 2), (start_step: 33)]", &["sequences[1].start_step: 33", "at most 32"]);
    groups("[(start_step: 1)]", &["start_step: 0"]);
    groups("[(decode_tokens: 0)]", &["decode_tokens", "more than 0"]);
    refused_with(&["run", "--batch", "2", "--set", "sequences=[()]"], &["batch: 2", "sequences", "count"]);
    refused_with(&["run", "--set", "sequences.0.count=2"], &["sequences.0.count=2"]);
    refused_with(&["run", "--prefill-chunk", "0"], &["--prefill-chunk", "more than 0"]);
    refused_with(&["run", "--set", "prefill=Timed(chunk_tokens: 0)"], &["chunk_tokens", "more than 0"]);
    refused_with(&["run", "--set", "prefill=Later"], &["Later", "Timed"]);
    refused_with(&["run", "--batch", "2", "--decode", "8", "--warmup", "8"], &["warmup_steps: 8", "at most 7"]);
    // The trace of a group.
    let recorded =
        "sequences=[(), (decode_tokens: 400, trace: Recorded(file: \"python_heapq_skip40\", layer_map: Scale))]";
    let parts = ["sequences[1].trace", "320 steps", "400 tokens", "320 or less"];
    refused_with(&["run", "recorded", "--decode", "4", "--set", recorded], &parts);
    let recorded = "sequences=[(), (prefill_tokens: 400)]";
    refused_with(&["run", "recorded", "--set", recorded], &["sequences[1].trace", "512", "400", "prefill_tokens: 512"]);
}

/// A batch that fits nowhere is refused with the largest that fits, which does.
#[test]
fn a_batch_that_does_not_fit_is_refused_with_the_largest_that_does() {
    let batch = |batch: &str, more: &[&str]| {
        let args = ["run", "gh200", "--strategy", "baseline", "--decode", "2", "--batch", batch, "--json"];
        [&args[..], more].concat().iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let place = folder();
    let refusal = |args: Vec<String>| refused(place.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
    // KV of 131,074 tokens in whole pages is 42.956 GB; 576 GB less the weights has room for 11.
    let message = refusal(batch("12", &[]));
    for part in ["batch: the weights", "12 sequences at once", "step 1", "at most 11 fit", "batch: 11"] {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
    // Eleven have room in all tiers together.
    let eleven = batch("11", &[]);
    assert_eq!(json(place.path(), &eleven.iter().map(String::as_str).collect::<Vec<_>>())["complete"], true);
    // Prompts that take time come one after the other, and those that have ended make room.
    assert!(refusal(batch("12", &["--prefill-chunk", "1M"])).contains("at most 11 fit"));
    let groups = "sequences=[(count: 2), (count: 40, start_step: 1)]";
    let message = refusal(batch("1", &["--set", groups]));
    assert!(
        message.contains("sequences: the weights") && message.contains("sequences[1].count: 9 instead of 40"),
        "{message}"
    );
    let message = refusal(batch("2", &["--hbm-capacity", "1GB", "--set", "memory.lpddr5x.capacity=70GB"]));
    assert!(message.contains("not even one fits"), "{message}");
}

/// The greatest numbers are refused at once, too.
#[test]
fn absurd_batches_are_refused_at_once() {
    let begin = std::time::Instant::now();
    refused_with(&["run", "--batch", "65536", "--prefill", "16M"], &["16777216", "prefill_tokens"]);
    refused_with(
        &["run", "gh200", "--batch", "65536", "--prefill", "128k"],
        &["batch: 65536", "page_tokens", "batch: 3"],
    );
    let chunks = ["run", "--prefill-chunk", "1", "--prefill", "8M", "--decode", "64"];
    refused_with(&chunks, &["prefill.chunk_tokens: 1", "8388672 steps", "larger chunks"]);
    assert!(begin.elapsed() < std::time::Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[cfg(unix)]
#[test]
fn special_files_are_not_read_and_absurd_runs_not_begun() {
    refused_with(&["check", "/dev/zero"], &["/dev/zero", "no regular file"]);
    refused_with(&["run", "/dev/zero"], &["/dev/zero"]);
    refused_with(&["run", "--trace", "/dev/zero"], &["/dev/zero"]);
    refused_with(&["replay", "/dev/zero", "--memory", "study"], &["/dev/zero", "no regular file"]);
    let place = folder();
    let model = |layers: &str, weights: &str, kv: &str| {
        format!(
            "LanguageModel(name: \"m\", layers: [(count: {layers}, attention: (stored: \"{weights}\"), mlp: (stored: \"1 B\"), kv_bytes: \"{kv}\")])"
        )
    };
    let run = |text: String, flags: &[&str]| {
        fs::write(place.path().join("m.ron"), text).unwrap();
        refused(place.path(), &[&["run", "--model", "m.ron"], flags].concat())
    };
    assert!(
        run(model("4096", "1 B", "1 B"), &["--decode", "16000000"])
            .contains("16001024 tokens in 4096 layers on 2 tiers")
    );
    assert!(run(model("1", "31 PiB", "1 B"), &["--decode", "600"]).contains("600 steps"));
    assert!(run(model("4096", "1 B", "64 PiB"), &[]).contains("KV of one token"));
    let message = run(model("0", "1 B", "1 B"), &[]);
    assert!(message.contains("m.ron:1:") && message.contains("layers[0].count"), "{message}");
    // More threads than runs are not started.
    let args = ["run", "--decode", "2", "--jobs", "65535"];
    tiersim(place.path(), &args).timeout(std::time::Duration::from_secs(20)).assert().success();
}

#[test]
fn unknown_fields_and_broken_files_are_refused_with_their_place() {
    let place = folder();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    write("field.ron", "Scenario(\n  name: \"x\",\n  modle: \"study\",\n)");
    let message = refused(place.path(), &["run", "field.ron"]);
    assert!(message.contains("field.ron:3:") && message.contains("modle"), "{message}");
    write("open.ron", "Scenario(\n  name: \"x\",\n");
    assert!(refused(place.path(), &["run", "open.ron"]).contains("open.ron:"));
    write("empty.ron", "");
    refused(place.path(), &["run", "empty.ron"]);
    refused(place.path(), &["check", "empty.ron"]);
    fs::write(place.path().join("binary.ron"), [0xff, 0xfe, 0x00]).unwrap();
    refused(place.path(), &["run", "binary.ron"]);
    refused(place.path(), &["run", "."]);
    // A path in a scenario is relative to it.
    fs::create_dir(place.path().join("deep")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("models/memory/study.ron"), place.path().join("deep/mine.ron")).unwrap();
    let scenario = fs::read_to_string(root.join("models/scenarios/study.ron")).unwrap();
    write(
        "deep/scenario.ron",
        &scenario
            .replace("memory: \"study\"", "memory: \"mine.ron\"")
            .replace("decode_tokens: 1024", "decode_tokens: 4"),
    );
    tiersim(place.path(), &["run", "deep/scenario.ron"]).assert().success();
}

#[test]
fn damaged_traces_are_refused() {
    let place = folder();
    tiersim(place.path(), &["trace", "export", "python_heapq_skip40", "-o", "whole.kvs"]).assert().success();
    let whole = fs::read(place.path().join("whole.kvs")).unwrap();
    let try_one = |name: &str, bytes: &[u8], parts: &[&str]| {
        fs::write(place.path().join(name), bytes).unwrap();
        for args in [vec!["check", name], vec!["run", "--model", "smollm2-135m", "--trace", name, "--decode", "5"]] {
            let message = refused(place.path(), &args);
            for part in parts.iter().chain([&name]) {
                assert!(message.contains(part), "{args:?}: no '{part}' in: {message}");
            }
        }
    };
    try_one("short.kvs", &whole[..whole.len() - 7], &["cut short", "810017"]);
    try_one("header.kvs", &whole[..20], &["20 bytes"]);
    try_one("empty.kvs", &[], &["0 bytes"]);
    try_one("magic.kvs", &[b"KVSKIP02", &whole[8..]].concat(), &["KVSKIP02", "KVSKIP01"]);
    try_one("huge.kvs", &[&whole[..8], &[0xff; 4], &whole[12..]].concat(), &["steps = 4294967295"]);
    // Step 1 has a context of 513 tokens: 65 bytes a layer, the last with one bit in use.
    let mut stray = whole.clone();
    stray[24 + 30 * 64 + 64] |= 0x80;
    try_one("stray.kvs", &stray, &["step 1, layer 0", "513"]);
}
