//! Recorded routing: its formats, damage, dumps of other tools, and `tiersim trace ...` for it;
//! sets for each KV head.

use super::*;
use tiersim::workload::{ExpertsShape, TraceKind};

/// Routing of 3 layers, of which the second has no experts.
fn routing(tokens: usize) -> Sets {
    let shape = ExpertsShape { experts: 9, active: 2, tokens };
    let provenance = Provenance { model: Some("a model".to_owned()), ..Provenance::default() };
    let header = TraceHeader { kind: TraceKind::Experts(shape), provenance, ..TraceHeader::skips(3, 0, 6) };
    let of = |step: usize, row: usize| {
        let first = (step * 5 + row * 3) % 9;
        if row / tokens == 1 { vec![] } else { vec![first.min((first + 4) % 9), first.max((first + 4) % 9)] }
    };
    Sets { header, rows: (0..6).map(|step| (0..3 * tokens).map(|row| of(step, row)).collect()).collect() }
}

/// Skip sets of 2 layers of 3 KV heads.
fn by_head() -> Sets {
    let header = TraceHeader { kv_heads: 3, ..TraceHeader::skips(2, 20, 5) };
    let of = |step: usize, row: usize| (0..20 + step).filter(|token| !(token + row).is_multiple_of(4)).collect();
    Sets { header, rows: (0..5).map(|step| (0..6).map(|row| of(step, row)).collect()).collect() }
}

#[test]
fn routing_and_sets_of_heads_read_back_from_every_format_that_has_room_for_them() {
    for sets in [routing(1), routing(3), by_head()] {
        for encoding in [Encoding::Sets, Encoding::Differences] {
            let found = read(sets.as_parquet(encoding, 3)).unwrap();
            assert_eq!((&found.header, &found.rows), (&sets.header, &sets.rows));
        }
        let found = read(sets.as_json_lines()).unwrap();
        assert_eq!((&found.header, &found.rows), (&sets.header, &sets.rows));
        let error = KvsWriter::new(std::io::Cursor::new(Vec::new()), sets.header).err().expect("no room").to_string();
        assert!(error.contains(".kvs has no room for"), "{error}");
    }
}

#[test]
fn a_token_is_skipped_in_a_layer_if_all_heads_skip_it() {
    let sets = by_head();
    let recording = Recording::in_memory("test", sets.as_parquet(Encoding::Differences, 3).into()).unwrap();
    assert_eq!((recording.header().kv_heads, recording.header().sets()), (3, 6));
    let mut recording = recording.by_layer();
    let header = recording.header().clone();
    assert_eq!((header.kv_heads, header.sets(), header.rows()), (1, 2, 10));
    let mut skips = StepSkips::none(2, 25);
    for step in 0..5 {
        // What was there before does not matter.
        skips.sets[0].extend(0..20);
        recording.next_step(20 + step, &mut skips).unwrap();
        for layer in 0..2 {
            let heads = &sets.rows[step][3 * layer..][..3];
            let wanted: Vec<usize> =
                (0..20 + step).filter(|token| heads.iter().all(|head| head.contains(token))).collect();
            assert!(!wanted.is_empty() && wanted.len() < heads[0].len());
            assert_eq!(skips.sets[layer].iter().collect::<Vec<_>>(), wanted);
            assert_eq!(skips.counts[layer], wanted.len());
        }
    }
}

fn refused(file: Vec<u8>, parts: &[&str]) {
    let message = read(file).expect_err("an invalid file").to_string();
    for part in parts {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
}

/// The lines of a file, with changes.
fn lines(sets: &Sets, change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let text = String::from_utf8(sets.as_json_lines()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    lines.join("\n").into_bytes()
}

#[test]
fn damaged_routing_is_refused() {
    let sets = routing(2);
    let with = |at: usize, from: &str, to: &str| {
        lines(&sets, |lines| {
            assert!(lines[at].contains(from), "no {from} in {}", lines[at]);
            lines[at] = lines[at].replace(from, to);
        })
    };
    for file in [sets.as_parquet(Encoding::Sets, 3), sets.as_parquet(Encoding::Differences, 3)] {
        for length in (0..file.len()).step_by(7) {
            assert!(read(file[..length].to_vec()).is_err(), "{length} of {} bytes were read", file.len());
        }
    }
    refused(lines(&sets, |lines| drop(lines.pop())), &["35 rows", "36"]);
    refused(with(0, "\"experts\":9", "\"experts\":4"), &["row 0", "expert", "4 experts"]);
    refused(with(0, "\"kind\":\"experts\"", "\"kind\":\"heads\""), &["kind = 'heads'", "skips", "experts"]);
    refused(with(0, "\"active\":2", "\"active\":3"), &["step 0, layer 0", "2 experts", "routed to 3"]);
    refused(with(0, "\"active\":2,", ""), &["active", "first line"]);
    refused(with(0, "\"experts\":9", "\"experts\":0"), &["experts = 0", "between 1 and 65536"]);
    refused(with(0, "\"active\":2", "\"active\":10"), &["active = 10", "between 1 and 9"]);
    refused(with(0, "\"tokens\":2", "\"tokens\":3"), &["row 2", "missing"]);
    refused(with(2, "\"token\":1", "\"token\":0"), &["row 1", "'token' is 0, where 1"]);
    refused(with(2, "\"token\":1,", ""), &["row 1", "'token' is empty"]);
    refused(with(1, "\"experts\":[", "\"skipped\":["), &["line 2", "'experts'"]);
    refused(with(1, "\"token\":0", "\"token\":0,\"kv_head\":0"), &["line 2"]);
    let row = r#""experts":[0,4]"#;
    refused(with(1, row, r#""experts":[0]"#), &["row 0 (step 0, layer 0)", "1 experts", "routed to 2"]);
    refused(with(1, row, r#""experts":[0,0]"#), &["row 0", "comes twice"]);
    refused(with(1, row, r#""experts":[0,9]"#), &["row 0", "expert 9", "9 experts"]);
    // The second layer has no experts: in no step, and for no token.
    refused(with(9, r#""experts":[]"#, row), &["row 8 (step 1, layer 1)", "in step 0 this layer has none"]);
    refused(with(4, r#""experts":[]"#, row), &["row 3 (step 0, layer 1)", "first token has none"]);
    // A skip set of a file without kind.
    refused(with(0, "\"kind\":\"experts\",", ""), &["prefill_tokens"]);

    let heads = by_head();
    let text = String::from_utf8(lines(&heads, |_| {})).unwrap();
    refused(text.replacen("\"kv_heads\":3", "\"kv_heads\":2", 1).into_bytes(), &["row 2", "twice"]);
    refused(text.replacen("\"kv_heads\":3", "\"kv_heads\":70000", 1).into_bytes(), &["kv_heads = 70000"]);
    refused(text.replacen("\"kv_head\":1", "\"kv_head\":2", 1).into_bytes(), &["row 1", "'kv_head' is 2, where 1"]);
}

#[test]
fn commands_know_routing() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    let run = |args: &[&str], code: i32, parts: &[&str]| {
        let output = tiersim(place.path(), args).assert().code(code).get_output().clone();
        let text = String::from_utf8(if code == 0 { output.stdout } else { output.stderr }).unwrap();
        for part in parts {
            assert!(text.contains(part), "{args:?}: no '{part}' in: {text}");
        }
        text
    };
    let generate =
        ["trace", "generate", "--experts", "32", "--active", "4", "--layers", "4", "--decode", "120", "--seed", "1"];
    let more =
        ["--exponent", "0.9", "--persistence", "50%", "--correlation", "0.6", "--tokens", "2", "-o", "r.parquet"];
    run(&[&generate[..], &more].concat(), 0, &[]);
    run(
        &["trace", "verify", "r.parquet"],
        0,
        &["valid: recorded routing", "120 steps of 2 tokens, 4 layers, 4 of 32 experts"],
    );
    let info = run(
        &["trace", "info", "r.parquet"],
        0,
        &["exponent of Zipf", "persistence", "predicted", "LFU", "Belady", "99 %"],
    );
    assert!(info.contains("synthetic") && !info.contains("Jaccard"), "{info}");
    run(&["trace", "export", "r.parquet", "-o", "r.jsonl"], 0, &[]);
    run(&["trace", "import", "r.jsonl", "-o", "again.parquet", "--model", "mine"], 0, &[]);
    run(&["trace", "export", "again.parquet", "-o", "again.jsonl"], 0, &[]);
    let rows =
        |name: &str| fs::read_to_string(path(name)).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rows("r.jsonl"), rows("again.jsonl"));

    // What other tools dump, in three formats: the same routing.
    let mut dump = Vec::new();
    for line in rows("r.jsonl") {
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        for expert in row["experts"].as_array().unwrap() {
            dump.push(format!("{},{},{},{expert},0.5", 7 + row["step"].as_i64().unwrap(), row["layer"], row["token"]));
        }
    }
    dump.reverse();
    fs::write(path("dump.csv"), format!("step,layer,token,expert,weight\n{}\n", dump.join("\n"))).unwrap();
    let json = dump.iter().map(|row| {
        let cells: Vec<&str> = row.split(',').collect();
        format!(
            r#"{{"step":{},"layer":{},"token":{},"expert":{},"weight":0.5}}"#,
            cells[0], cells[1], cells[2], cells[3]
        )
    });
    fs::write(path("dump.jsonl"), json.collect::<Vec<_>>().join("\n")).unwrap();
    for dump in ["dump.csv", "dump.jsonl"] {
        run(&["trace", "import", dump, "--experts", "32", "-o", "d.parquet"], 0, &[]);
        run(&["trace", "export", "d.parquet", "-o", "d.jsonl"], 0, &[]);
        assert_eq!(rows("d.jsonl"), rows("r.jsonl"), "{dump}");
    }
    run(&["trace", "import", "r.parquet", "--steps", "10", "--every-layer", "2", "-o", "cut.parquet"], 0, &[]);
    run(&["trace", "verify", "cut.parquet"], 0, &["10 steps of 2 tokens, 2 layers"]);

    run(&["trace", "import", "r.jsonl", "--experts", "3", "-o", "x.parquet"], 2, &["--experts", "no dump"]);
    run(&["trace", "import", "dump.csv", "--experts", "9", "-o", "x.parquet"], 2, &["there are to be 9"]);
    run(&["trace", "import", "r.parquet", "--steps", "121", "-o", "x.parquet"], 2, &["steps = 121", "120"]);
    run(&["trace", "generate", "--active", "4", "-o", "x.parquet"], 2, &["--experts"]);
    run(&["trace", "generate", "--experts", "4", "--active", "5", "-o", "x.parquet"], 2, &["active = 5"]);
    run(&["trace", "generate", "--experts", "4", "--exponent", "9", "-o", "x.parquet"], 2, &["exponent is 9"]);
    run(&["trace", "export", "r.parquet", "-o", "x.kvs"], 2, &[".kvs", "no room for routing"]);
    // Each kind where the other is wanted.
    run(&["run", "study", "--trace", "r.parquet"], 2, &["routing", "skip sets are wanted"]);
    run(&["trace", "fit", "r.parquet"], 2, &["skip sets are wanted"]);
    run(&["trace", "info", "python_heapq_skip40", "r.parquet"], 2, &["skip sets are wanted"]);
    run(&["trace", "info", "r.parquet", "python_heapq_skip40"], 2, &["routing is wanted", "--trace"]);
    assert!(!path("x.parquet").exists() && !path("x.kvs").exists());
}

#[test]
fn a_scenario_takes_recorded_routing_that_fits() {
    use tiersim::workload::{ExpertTraceConfig, Popularity, Routing, unread};
    let place = TempDir::new().unwrap();
    let file = place.path().join("routing.parquet");
    fs::write(&file, routing(1).as_parquet(Encoding::Sets, 3)).unwrap();
    let parse = |text: &str| tiersim::config::parse::<ExpertTraceConfig>(text, "test");
    let short = parse(&format!("Recorded({:?})", file.display().to_string())).unwrap();
    let long =
        parse(&format!("Recorded(file: {:?}, extend: Repeat, first_step: 1)", file.display().to_string())).unwrap();
    let layers = [2, 0, 2].map(|active| Routing::new(9, active, Popularity::Uniform));
    let mut source = tiersim::catalog::routing(&short, &layers, 6).unwrap();
    let mut skips = unread(&layers);
    for step in 0..6 {
        source.next_step(1, &mut skips).unwrap();
        for layer in [0, 2] {
            let used: Vec<usize> = (0..9).filter(|expert| !skips.sets[layer].contains(*expert)).collect();
            assert_eq!(used, routing(1).rows[step][layer]);
        }
        assert_eq!((skips.counts[1], skips.counts[0]), (0, 7));
    }
    assert!(tiersim::catalog::routing(&short, &layers, 7).err().unwrap().to_string().contains("Repeat"));
    tiersim::catalog::routing(&long, &layers, 700).unwrap();
    let generated = parse("Generated(exponent: 1.1, persistence: 0.6, correlation: 0.2, seed: 4)").unwrap();
    tiersim::catalog::routing(&generated, &layers, 7).unwrap();
    for (text, part) in [("Generated(zipf: 1)", "zipf"), ("Recorded(file: \"x\", layer_map: Same)", "layer_map")] {
        let message = format!("{:?}", parse(text).unwrap_err());
        assert!(message.contains(part), "{message}");
    }
    let skips =
        tiersim::catalog::routing(&parse("Recorded(\"python_heapq_skip40\")").unwrap(), &layers, 6).err().unwrap();
    assert!(skips.to_string().contains("routing is wanted"), "{skips}");
}
