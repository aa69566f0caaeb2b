//! What cannot be imported is refused with file, line, field, value and remedy; nothing is written.

use crate::common::program::tiersim;
use std::fs;
use tempfile::TempDir;

/// A small model with one field in place of another, or further ones.
fn config(kind: &str, more: &str) -> String {
    format!(
        "{{\n \"model_type\": \"{kind}\",\n \"hidden_size\": 64,\n \"num_attention_heads\": 8,\n \"num_key_value_heads\": 2,\n \
         \"vocab_size\": 1000,\n \"intermediate_size\": 128,\n \"torch_dtype\": \"bfloat16\",\n{more}\n}}\n"
    )
}

#[test]
fn bad_configurations_are_refused_with_their_place() {
    let place = TempDir::new().unwrap();
    let llama = |more: &str| config("llama", more);
    let six = " \"num_hidden_layers\": 6";
    let quantized = |json: &str| llama(&format!("{six},\n \"quantization_config\": {json}"));
    let whole = llama(six);
    let cases: Vec<(String, &[&str])> = vec![
        (whole[..60].to_owned(), &["c.json:4:", "ends too early"]),
        ("[]".to_owned(), &["c.json", "no JSON object"]),
        (whole.replace("llama", "lama"), &["c.json:2:2: model_type: 'lama'", "by hand", "Did you mean 'llama'"]),
        (whole.replace("\"model_type\"", "\"kind\""), &["c.json: model_type: it is missing"]),
        (whole.replace("\"vocab_size\": 1000", "\"vocab\": 1"), &["c.json: vocab_size: it is missing", "by hand"]),
        (whole.replace("64,", "null,"), &["hidden_size: it is missing"]),
        (llama(" \"num_hidden_layers\": 1000000000000"), &["c.json:9:2: num_hidden_layers: 1000000000000"]),
        (llama(" \"num_hidden_layers\": 5000"), &["num_hidden_layers: 5000", "4096"]),
        (llama(" \"num_hidden_layers\": 0"), &["num_hidden_layers: 0", "from 1"]),
        (whole.replace("heads\": 8", "heads\": 0"), &["c.json:4:2: num_attention_heads: 0", "from 1"]),
        (whole.replace("heads\": 8", "heads\": 6"), &["num_attention_heads: 6", "hidden_size: 64", "head_dim"]),
        (whole.replace("heads\": 2", "heads\": 3"), &["num_key_value_heads: 3", "num_attention_heads: 8"]),
        (whole.replace("128,", "\"big\","), &["intermediate_size: \"big\"", "no whole number"]),
        (whole.replace("128,", "-1,"), &["intermediate_size: -1"]),
        (whole.replace("bfloat16", "float3"), &["torch_dtype: 'float3'", "--weights"]),
        (
            config("mixtral", &format!("{six},\n \"num_local_experts\": 4,\n \"num_experts_per_tok\": 5")),
            &["num_experts_per_tok: 5", "4 experts"],
        ),
        (config("mixtral", &format!("{six},\n \"num_local_experts\": 4")), &["num_experts_per_tok: it is missing"]),
        (
            config(
                "gpt_oss",
                &format!(
                    "{six},\n \"layer_types\": [\"full_attention\"],\n \"num_local_experts\": 4,\n \"num_experts_per_tok\": 1"
                ),
            ),
            &["layer_types: 1 entries", "number of layers, 6"],
        ),
        (
            config("qwen3", " \"num_hidden_layers\": 1,\n \"layer_types\": [\"odd_attention\"]"),
            &["layer_types: 'odd_attention'", "layer 0", "by hand"],
        ),
        (
            config("gemma2", " \"num_hidden_layers\": 1,\n \"layer_types\": [\"sliding_attention\"]"),
            &["sliding_window: it is missing"],
        ),
        (llama(&format!("{six},\n \"n_layer\": 7")), &["n_layer: 7", "contradicts num_hidden_layers: 6"]),
        (
            config("nemotron_h", &format!("{six},\n \"hybrid_override_pattern\": \"M-\"")),
            &["hybrid_override_pattern: 2", "6"],
        ),
        (config("deepseek_v3", six), &["v_head_dim: it is missing"]),
        (config("deepseek_v4", six), &["model_type: 'deepseek_v4'", "compress_ratios", "by hand"]),
        (config("t5", six), &["model_type: 't5'", "encoder"]),
        (quantized("{\"quant_method\": \"magic\"}"), &["quantization_config.quant_method: 'magic'", "--weights"]),
        (quantized("{\"quant_method\": \"gptq\", \"bits\": 3, \"group_size\": 128}"), &["3 bits", "--weights"]),
        (
            quantized("{\"quant_method\": \"fp8\", \"weight_block_size\": [64, 64]}"),
            &["weight_block_size: [64, 64]", "128"],
        ),
        (
            quantized("{\"quant_method\": \"fp8\", \"modules_to_not_convert\": [\"re:a(?=b)\"]}"),
            &["modules_to_not_convert: 're:a(?=b)'", "--weights"],
        ),
    ];
    for (text, words) in cases {
        fs::write(place.path().join("c.json"), &text).unwrap();
        let output = tiersim(place.path(), &["model", "import", "c.json", "-o", "m.ron"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}\n{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{text}\n{message}");
        assert!(output.stdout.is_empty() && !place.path().join("m.ron").exists(), "{text}");
    }
}

#[test]
fn formats_that_do_not_exist_are_refused() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("c.json"), config("llama", " \"num_hidden_layers\": 6")).unwrap();
    for flag in ["--weights", "--kv"] {
        let output = tiersim(place.path(), &["model", "import", "c.json", flag, "fp9"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(flag) && message.contains("fp9") && message.contains("fp8"), "{message}");
    }
}

/// The model is called after its file, or the folder of a `config.json`, and what was assumed is on
/// stderr.
#[test]
fn names_and_notes() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("tiny-model");
    fs::create_dir(&folder).unwrap();
    let text = config("llama", " \"num_hidden_layers\": 6").replace("\"torch_dtype\": \"bfloat16\",\n", "");
    fs::write(folder.join("config.json"), text).unwrap();
    let output =
        tiersim(place.path(), &["model", "import", "tiny-model/config.json", "-o", "tiny.ron"]).output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{notes}");
    for words in [
        "understood: the family 'llama': 6 layers",
        "assumed: weights are stored as bf16",
        "tiny-model: 0.00 B parameters",
    ] {
        assert!(notes.contains(words), "{notes}");
    }
    let written = fs::read_to_string(place.path().join("tiny.ron")).unwrap();
    assert!(written.contains("name: \"tiny-model\""), "{written}");
    let output = tiersim(place.path(), &["check", "tiny.ron"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
