//! Models with an architecture: the shipped ones against published figures, formulas against
//! figures by hand, and architectures that cannot be.

use crate::common::program::tiersim;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::catalog;
use tiersim::config::parse;
use tiersim::units::Bytes;
use tiersim::workload::{
    ArchitectureConfig, Format, FormatsConfig, Growth, LanguageModel, ModelConfig, ModelStage, StageLabel,
};

fn shipped(name: &str) -> ModelConfig {
    catalog::model(name).unwrap()
}

fn checked(config: &ModelConfig) -> LanguageModel {
    LanguageModel::new(config).unwrap()
}

fn architecture(config: &mut ModelConfig) -> &mut ArchitectureConfig {
    config.architecture.as_mut().expect("a model with an architecture")
}

/// The shipped model with all weights in one format, as llama.cpp or a table of sizes has them.
fn stored_as(name: &str, format: Format) -> LanguageModel {
    let mut config = shipped(name);
    architecture(&mut config).formats = FormatsConfig { weights: format, ..FormatsConfig::default() };
    checked(&config)
}

/// The stages of that label.
fn labelled(model: &LanguageModel, label: StageLabel) -> Vec<&ModelStage> {
    model.stages().iter().filter(|stage| stage.label == label).collect()
}

fn read(model: &LanguageModel) -> f64 {
    model.weights().map(|weights| weights.read.as_f64()).sum()
}

/// Twelve models by the figures of a table of published configurations: at two bytes a weight, the
/// weights, the megabytes of attention and MLP of the last layer (stored, and read by a token), the
/// gigabytes of weights that a token reads, and the bytes of its KV. The columns of layers leave
/// norms out, which are 0.05 % at most.
#[test]
fn twelve_models_store_and_read_what_is_published() {
    for (name, weights, attention, mlp, active, a_token, kv) in [
        ("qwen2.5-0.5b", 494_032_768_u64, 3.672, 26.149, 26.149, 0.988, 12_288_u64),
        ("qwen2.5-7b", 7_615_616_512, 58.729, 407.372, 407.372, 14.141, 57_344),
        ("llama-2-7b", 6_738_415_616, 134.218, 270.533, 270.533, 13.215, 524_288),
        ("llama-3.1-8b", 8_030_261_248, 83.886, 352.322, 352.322, 15.010, 131_072),
        ("llama-3.1-70b", 70_553_706_496, 301.990, 1_409.286, 1_409.286, 139.006, 327_680),
        ("llama-3.1-405b", 405_853_388_800, 1_140.851, 5_234.491, 5_234.491, 807.504, 516_096),
        ("mistral-7b", 7_241_732_096, 83.886, 352.322, 352.322, 14.221, 131_072),
        ("mixtral-8x7b", 46_702_792_704, 83.886, 2_818.638, 704.709, 25.498, 131_072),
        ("qwen3-30b-a3b", 30_532_122_624, 37.749, 1_208.484, 76.022, 6.084, 98_304),
        ("opt-13b", 12_853_473_280, 209.756, 419.482, 419.482, 25.686, 819_200),
        ("deepseek-v3", 671_026_419_200, 374.210, 22_640.329, 796.393, 73.251, 70_272),
        ("gpt-oss-120b", 116_829_156_672, 53.100, 6_373.048, 199.867, 10.266, 73_728),
    ] {
        let model = stored_as(name, Format::Bf16);
        let near = |found: f64, published: f64, what: &str| {
            assert!((found / published - 1.0).abs() < 0.005, "{name}: {what}: {found}, published {published}");
        };
        near(model.parameters().unwrap() as f64, weights as f64, "weights");
        let last = |label| *labelled(&model, label).last().unwrap();
        near(last(StageLabel::Attention).stored().as_f64(), 1e6 * attention, "attention");
        near(last(StageLabel::Mlp).stored().as_f64(), 1e6 * mlp, "mlp");
        near(last(StageLabel::Mlp).read_at(1).as_f64(), 1e6 * active, "mlp of a token");
        near(read(&model), 1e9 * a_token, "weights that a token reads");
        assert_eq!(model.token_bytes().get(), kv, "{name}");
    }
}

/// As they are published, gpt-oss keeps its experts in 4.25 bits and DeepSeek-V3 all of its layers
/// in 8 with a scale for each 128 x 128 weights.
#[test]
fn published_formats_hold_part_by_part() {
    let near = |found: Bytes, megabytes: f64| {
        assert!((found.as_f64() / megabytes / 1e6 - 1.0).abs() < 0.005, "{found}: {megabytes} MB are published");
    };
    let model = checked(&shipped("gpt-oss-120b"));
    let mlp = labelled(&model, StageLabel::Mlp)[0];
    near(mlp.stored(), 1_695.01);
    near(mlp.read_at(1), 53.68);
    near(labelled(&model, StageLabel::Attention)[0].stored(), 53.10);
    let formats: Vec<&str> = mlp.weights.iter().map(|piece| piece.format.unwrap().name()).collect();
    assert_eq!(formats, ["mxfp4", "bf16"]);

    let model = checked(&shipped("deepseek-v3"));
    // 11,320.16 M weights and 0.02 % of scales.
    near(labelled(&model, StageLabel::Mlp)[60].stored(), 11_320.16 * (1.0 + 4.0 / 16_384.0));
    assert_eq!(labelled(&model, StageLabel::Head)[0].stored(), Bytes::new(2 * (129_280 * 7168 + 7168)));
}

/// Bits of a weight of Llama-3.1-8B in each of llama.cpp's file types, from the table in
/// llama.cpp's tools/quantize/README.md (311c2c9). The table counts all bits of the tensors, so
/// each figure says that each tensor is stored as llama.cpp stores it.
#[test]
fn file_types_of_llama_cpp_have_the_bits_that_it_states() {
    for (name, bits) in [
        ("q2_k_s", 2.9697),
        ("q2_k", 3.1593),
        ("q3_k_s", 3.6429),
        ("q3_k_l", 4.2979),
        ("iq4_xs", 4.4597),
        ("iq4_nl", 4.6818),
        ("q4_k_s", 4.6672),
        ("q4_k_m", 4.8944),
        ("q5_k_s", 5.5704),
        ("q5_k_m", 5.7036),
        ("q6_k", 6.5633),
        ("q8_0", 8.5008),
        ("fp16", 16.0005),
    ] {
        let model = stored_as("llama-3.1-8b", name.parse().unwrap());
        let found = 8.0 * model.stored_weights().as_f64() / model.parameters().unwrap() as f64;
        assert!((found - bits).abs() < 0.0006, "{name}: {found}, llama.cpp has {bits}");
    }
    // Sizes that llama-bench prints, from llama.cpp's benches/dgx-spark.md (4c7e989).
    for (name, format, gib) in [("qwen2.5-7b", Format::Q8_0, 7.54), ("gpt-oss-20b", Format::Mxfp4Moe, 11.27)] {
        let found = stored_as(name, format).stored_weights().as_f64() / (1u64 << 30) as f64;
        assert!((found - gib).abs() < 0.005, "{name}: {found} GiB, llama.cpp has {gib}");
    }
}

/// Gemma-4-31B with its KV in FP8. Of 60 layers, 50 attend to the last 1024 tokens and keep 16
/// heads of K and V of 256 bytes, 8 KiB a token; 10 attend to all and keep 4 heads of 512 bytes,
/// which are K and V at once, 2 KiB. All tokens in all layers: 420 KiB x 32768 = 14.09 GB. What is
/// kept: 50 x 8 KiB x 1024 + 10 x 2 KiB x 32768 = 1.09 GB.
#[test]
fn kv_outside_a_window_is_not_kept() {
    let mut config = shipped("gemma-4-31b");
    architecture(&mut config).formats.kv = Format::Fp8;
    let model = checked(&config);
    assert_eq!(model.token_bytes().get(), 420 << 10);
    assert_eq!((model.token_bytes().get() << 15) / 10_000_000, 1409);
    let kept: u128 = model.kv().iter().map(|layer| layer.bytes_at(32_768)).sum();
    assert_eq!(kept, (50 * 8 * 1024 + 10 * 2 * 32_768) << 10);
    assert_eq!(kept / 10_000_000, 109);
    // A model in bytes may have a window too.
    let text = "LanguageModel(name: \"w\", layers: [(count: 2, attention: (stored: \"1 MB\"), \
        mlp: (stored: \"1 MB\"), kv_bytes: \"1 kB\", window: 500)])";
    let model = checked(&parse(text, "test").unwrap());
    assert!(model.kv().iter().all(|layer| layer.window == Some(500) && layer.bytes_at(4096) == 500_000));
}

/// A model of one layer, of hidden 64 and 100 tokens, in fp16 with fp32 state.
fn small(layer: &str) -> LanguageModel {
    small_of(layer, "")
}

fn small_of(layer: &str, fields: &str) -> LanguageModel {
    let text = format!(
        "LanguageModel(name: \"small\", architecture: (hidden: 64, vocabulary: 100, norms: 0, {fields} \
            formats: (weights: \"fp16\", kv: \"fp16\"), blocks: [(count: 1, layers: [({layer})])]))"
    );
    checked(&parse(&text, "test").unwrap())
}

/// The weights and FLOP of the stage of that label, and the KV of a token, state and FLOP a byte.
fn figures(model: &LanguageModel, label: StageLabel) -> (u64, f64) {
    let [stage] = labelled(model, label)[..] else { panic!("one stage is {label}") };
    (stage.stored().get() / 2, stage.flop)
}

fn keeps(model: &LanguageModel) -> (u64, u64) {
    let layer = model.kv().as_slice()[0];
    (layer.token_bytes.get(), layer.state.get())
}

#[test]
fn attention_by_hand() {
    // Q and O: 64 x 4 x 16; K and V: 64 x 2 x 16. A token leaves 2 x 2 x 16 elements of two bytes.
    let model = small("attention: Full(heads: 4, kv_heads: 2, head_size: 16)");
    let weights = 2 * 64 * 64 + 2 * 64 * 32;
    assert_eq!(figures(&model, StageLabel::Attention), (weights, 2.0 * weights as f64));
    assert_eq!(keeps(&model), (128, 0));
    // Each of 4 heads: 16 products and sums for the score, and 16 for the values.
    let stage = labelled(&model, StageLabel::Attention)[0];
    assert!(stage.attends);
    assert_eq!(stage.flop_per_kv_byte * 128.0, 2.0 * 4.0 * (16.0 + 16.0));

    // Biases of 64 + 32 + 32 and 64; a norm of 16 for queries and for keys; a sink for each head.
    let model = small(
        "attention: Full(heads: 4, kv_heads: 2, head_size: 16, bias: true, output_bias: true, qk_norm: true, sinks: true)",
    );
    assert_eq!(figures(&model, StageLabel::Attention).0, weights + 128 + 64 + 32 + 4);
    // A gate of the output beside the queries; heads of values of 8; keys that are values.
    let model = small("attention: Full(heads: 4, kv_heads: 2, head_size: 16, value_size: 8, gate: true)");
    assert_eq!(figures(&model, StageLabel::Attention).0, 2 * 64 * 64 + 64 * 32 + 64 * 16 + 32 * 64);
    assert_eq!(keeps(&model).0, 2 * (32 + 16));
    let model = small("attention: Full(heads: 4, kv_heads: 2, head_size: 16, keys_are_values: true)");
    assert_eq!((figures(&model, StageLabel::Attention).0, keeps(&model).0), (weights - 64 * 32, 64));

    // Queries over 12: 64 x 12, a norm, 12 x 4 x (8 + 4). KV: 64 x (24 + 4), a norm of 24, and
    // 24 x 4 x (8 + 10). Output: 4 x 10 x 64. A token leaves 24 + 4 elements.
    let model = small("attention: Latent(heads: 4, rank: 24, rope: 4, nope: 8, value: 10, query_rank: 12)");
    let matrices = 64 * 12 + 12 * 4 * 12 + 64 * 28 + 24 * 4 * 18 + 4 * 10 * 64;
    assert_eq!(figures(&model, StageLabel::Attention), (matrices + 12 + 24, 2.0 * matrices as f64));
    assert_eq!(keeps(&model), (56, 0));
    let stage = labelled(&model, StageLabel::Attention)[0];
    assert!((stage.flop_per_kv_byte * 56.0 - 2.0 * 4.0 * (28.0 + 24.0)).abs() < 1e-9);
    // An indexer of 2 heads of 6: queries from the compressed ones, a key with a norm, and weights.
    // Its key of a token takes 6 bytes and a scale of 4.
    let model = small(
        "attention: Latent(heads: 4, rank: 24, rope: 4, nope: 8, value: 10, query_rank: 12, \
            indexer: (heads: 2, size: 6, top_k: 8))",
    );
    assert_eq!(figures(&model, StageLabel::Attention).0, matrices + 12 + 24 + 12 * 12 + 64 * 6 + 64 * 2 + 12);
    assert_eq!(keeps(&model), (56 + 10, 0));
}

#[test]
fn recurrent_layers_by_hand() {
    // Keys 2 x 8, values 4 x 8: 64 x (2 x 16 + 32) and a gate of 64 x 32; decay and step: 64 x 8;
    // a convolution of 4 taps over 64; two vectors of 4 and one of 8; output 32 x 64.
    let model =
        small("attention: GatedDelta(key_heads: 2, value_heads: 4, key_size: 8, value_size: 8, convolution: 4)");
    let matrices = 64 * 64 + 64 * 32 + 64 * 8 + 64 * 4 + 32 * 64;
    let state = 4 * 8 * 8;
    assert_eq!(figures(&model, StageLabel::Attention), (matrices + 16, 2.0 * matrices as f64 + 7.0 * f64::from(state)));
    // A matrix for each value head, and three tokens of the convolution's inputs, in fp32.
    assert_eq!(keeps(&model), (0, 4 * (256 + 3 * 64)));
    assert!(!labelled(&model, StageLabel::Attention)[0].attends);

    // 4 heads of 8, a state of 16, one group: 64 x (2 x 32 + 2 x 16 + 4) in, 32 x 64 out, a
    // convolution of 4 taps over 32 + 32 with a bias, three vectors of 4, a norm of 32.
    let model = small(
        "attention: Mamba2(heads: 4, head_size: 8, state: 16, groups: 1, convolution: 4, convolution_bias: true)",
    );
    let matrices = 64 * 100 + 32 * 64 + 64 * 4;
    assert_eq!(
        figures(&model, StageLabel::Attention),
        (matrices + 64 + 12 + 32, 2.0 * matrices as f64 + 5.0 * f64::from(32 * 16))
    );
    assert_eq!(keeps(&model), (0, 4 * (32 * 16 + 3 * 64)));

    let model = small("attention: Recurrent(parameters: 5000, state: \"3 KiB\")");
    assert_eq!((figures(&model, StageLabel::Attention), keeps(&model)), ((5000, 10_000.0), (0, 3072)));
}

#[test]
fn feed_forward_parts_by_hand() {
    let model = small("mlp: Dense(intermediate: 32)");
    assert_eq!(figures(&model, StageLabel::Mlp), (3 * 64 * 32, 6.0 * 64.0 * 32.0));
    let model = small("mlp: Dense(intermediate: 32, gated: false, bias: true)");
    assert_eq!(figures(&model, StageLabel::Mlp).0, 2 * 64 * 32 + 32 + 64);

    // A router of 64 x 8, a shared expert of 24 with its gate of 64, and 8 experts of 16, of which
    // a token passes 2.
    let text =
        "mlp: Experts(count: 8, active: 2, intermediate: 16, shared: 1, shared_intermediate: 24, shared_gate: true)";
    let model = small(text);
    let (fixed, expert) = (64 * 8 + 3 * 64 * 24 + 64, 3 * 64 * 16);
    assert_eq!(figures(&model, StageLabel::Mlp), (fixed + 8 * expert, 2.0 * (fixed + 2 * expert) as f64));
    let stage = labelled(&model, StageLabel::Mlp)[0];
    assert_eq!(stage.read_at(1).get(), 2 * (fixed + 2 * expert));
    // 8 (1 - (3/4)^3) = 4.625 experts at three sequences.
    assert_eq!(stage.read_at(3).get(), 2 * fixed + (2.0 * 4.625 * expert as f64) as u64);
    assert!(matches!(stage.weights.last().unwrap().growth, Growth::Experts(_)));
    // What names such as A3B count: all but the experts that a token does not pass.
    assert_eq!(model.parameters().unwrap() - model.active_parameters().unwrap(), 6 * expert);
    // Experts over a projection to 32: two matrices of 64 x 32 more, and narrower experts.
    let model = small("mlp: Experts(count: 8, active: 2, intermediate: 16, latent: 32)");
    assert_eq!(figures(&model, StageLabel::Mlp).0, 64 * 8 + 2 * 64 * 32 + 8 * 3 * 32 * 16);
    // Popular experts are read by several sequences at once.
    let popular = small(&text.replace("count: 8,", "count: 8, routing: Zipf(1.5),"));
    let popular = labelled(&popular, StageLabel::Mlp)[0];
    assert!(popular.read_at(1) == stage.read_at(1) && popular.read_at(3) < stage.read_at(3));
}

#[test]
fn embedding_and_head_by_hand() {
    let layer = "mlp: Dense(intermediate: 32)";
    let model = small(layer);
    // A row of 64 for each token; the head and the last norm in full.
    let embedding = labelled(&model, StageLabel::Embedding)[0];
    assert_eq!((embedding.stored().get(), embedding.read_at(1).get()), (2 * 6400, 128));
    assert_eq!((embedding.read_at(5).get(), embedding.read_at(500).get()), (640, 2 * 6400));
    assert_eq!(figures(&model, StageLabel::Head), (6400 + 64, 2.0 * 6400.0));
    assert_eq!(model.parameters(), Some(2 * 6400 + 64 + 3 * 64 * 32));
    // One matrix for both is stored once, by the head; positions are a table of their own.
    let tied = small_of(layer, "tied: true, positions: 10, extra_parameters: 7,");
    assert_eq!(labelled(&tied, StageLabel::Embedding)[0].stored().get(), 2 * 640);
    assert_eq!(tied.parameters(), Some(6400 + 640 + 64 + 7 + 3 * 64 * 32));
    let tables = small_of(layer, "tied: true, tables: [(rows: 50, width: 20)],");
    let embedding = labelled(&tables, StageLabel::Embedding)[0];
    assert_eq!((embedding.stored().get(), embedding.read_at(1).get()), (2 * 1000, 40));
    // Norms: the first half with attention, the rest with the feed-forward part.
    let text = "LanguageModel(name: \"n\", architecture: (hidden: 64, vocabulary: 100, norms: 3, blocks: [(count: 2, layers: [\
        (attention: Full(heads: 4, kv_heads: 4, head_size: 16), mlp: Dense(intermediate: 32))])]))";
    let model = checked(&parse(text, "test").unwrap());
    assert_eq!(labelled(&model, StageLabel::Attention)[1].stored().get(), 2 * (4 * 64 * 64 + 2 * 64));
    assert_eq!(labelled(&model, StageLabel::Mlp)[1].stored().get(), 2 * (3 * 64 * 32 + 64));
}

/// Two layers with KV of their own, and two that read the KV of the nearest earlier layer of their
/// kind.
#[test]
fn a_layer_may_read_the_kv_of_another() {
    let text = "LanguageModel(name: \"shared\", architecture: (hidden: 64, vocabulary: 100, blocks: [(count: 1, layers: [\
        (attention: Sliding(window: 8, of: (heads: 4, kv_heads: 2, head_size: 16))),\
        (attention: Full(heads: 4, kv_heads: 1, head_size: 16)),\
        (attention: Sliding(window: 8, of: (heads: 4, kv_heads: 2, head_size: 16, shares_kv: true))),\
        (attention: Full(heads: 4, kv_heads: 1, head_size: 16, shares_kv: true))])]))";
    let model = checked(&parse(text, "test").unwrap());
    let kv: Vec<(usize, u64)> = model.kv().iter().map(|of| (of.source.index(), of.token_bytes.get())).collect();
    assert_eq!(kv, [(0, 128), (1, 64), (0, 0), (1, 0)]);
    let attention = labelled(&model, StageLabel::Attention);
    // Without projections of keys and values; the same work for each byte that it reads.
    assert_eq!(attention[2].stored().get(), 2 * (2 * 64 * 64 + 2 * 64));
    assert!(attention[2].attends && attention[2].flop_per_kv_byte == attention[0].flop_per_kv_byte);
}

/// A layer may store parts otherwise than the model does.
#[test]
fn formats_hold_for_the_part_that_they_name() {
    let text = "LanguageModel(name: \"f\", architecture: (hidden: 64, vocabulary: 100, norms: 0,\
        formats: (weights: \"bf16\", mlp: \"fp8\", head: \"mxfp4\"), blocks: [\
        (count: 1, layers: [(attention: Full(heads: 4, kv_heads: 4, head_size: 16), mlp: Dense(intermediate: 32), formats: (mlp: \"bf16\"))]),\
        (count: 1, layers: [(attention: Full(heads: 4, kv_heads: 4, head_size: 16), mlp: Dense(intermediate: 32))])]))";
    let model = checked(&parse(text, "test").unwrap());
    let mlps: Vec<u64> = labelled(&model, StageLabel::Mlp).iter().map(|stage| stage.stored().get()).collect();
    assert_eq!(mlps, [2 * 3 * 64 * 32, 3 * 64 * 32]);
    // 6400 weights of 4.25 bits, and a norm in 16 bits.
    assert_eq!(labelled(&model, StageLabel::Head)[0].stored().get(), 200 * 17 + 128);
    assert_eq!(labelled(&model, StageLabel::Attention)[0].stored().get(), 2 * 4 * 64 * 64);
}

/// What cannot be, with the parts of the message: the field, the value, the remedy.
#[test]
fn architectures_that_cannot_be_are_refused_with_field_value_and_remedy() {
    let place = TempDir::new().unwrap();
    let heads = "attention: Full(heads: 4, kv_heads: 2, head_size: 16)";
    let with = |fields: &str, formats: &str, count: &str, layer: &str| {
        format!(
            "LanguageModel(name: \"m\", architecture: (hidden: 64, vocabulary: 100, {fields} formats: ({formats}), \
                blocks: [(count: {count}, layers: [({layer})])]))"
        )
    };
    let layer = |layer: &str| with("", "", "1", layer);
    for (text, parts) in [
        (with("", "", "1000000000000", heads), vec!["m.ron:1:", "blocks[0].count", "1000000000000", "4294967295"]),
        (with("", "", "4_000_000_000", heads), vec!["architecture.blocks", "4000000000 layers", "4096"]),
        (with("", "", "0", heads), vec!["m.ron:1:", "blocks[0].count", "'0'", "more than 0"]),
        (with("", "weights: \"fp9\"", "1", heads), vec!["m.ron:1:", "formats.weights", "'fp9'", "mxfp4", "Did you mean"]),
        (with("", "kv: \"q4_k_m\"", "1", heads), vec!["formats.kv", "'q4_k_m'", "a mix", "\"fp8\""]),
        (
            with("tied: true,", "embedding: \"fp16\", head: \"q8_0\"", "1", heads),
            vec!["formats", "fp16", "q8_0", "leave one out"],
        ),
        (layer(&heads.replace("heads: 4", "heads: 0")), vec!["m.ron:1:", "attention", "heads", "'0'", "more than 0"]),
        (layer(&heads.replace("kv_heads: 2", "kv_heads: 3")), vec!["layers[0].attention.kv_heads", "3 does not divide heads", "4"]),
        (
            layer("attention: Sliding(window: 0, of: (heads: 4, kv_heads: 2, head_size: 16))"),
            vec!["m.ron:1:", "window", "'0'"],
        ),
        (layer("mlp: Experts(count: 8, active: 9, intermediate: 16)"), vec!["layers[0].mlp.active", "9 of 8", "at most"]),
        (
            layer("mlp: Experts(count: 4294967295, active: 2, intermediate: 1)"),
            vec!["layers[0].mlp.count", "4294967295 experts", "at most 65536"],
        ),
        (
            layer("mlp: Experts(count: 8, active: 2, intermediate: 16, routing: Zipf(-1.0))"),
            vec!["layers[0].mlp.routing", "-1", "from 0 to 8"],
        ),
        (
            layer("mlp: Experts(count: 8, active: 2, intermediate: 16, shared_intermediate: 4)"),
            vec!["shared_intermediate", "no shared experts", "leave it out"],
        ),
        (
            layer("attention: Full(heads: 4, kv_heads: 2, head_size: 16, shares_kv: true)"),
            vec!["layers[0].attention.shares_kv", "no earlier layer", "leave it out"],
        ),
        (layer("extra_parameters: 4"), vec!["blocks[0].layers[0]", "neither an attention nor an mlp"]),
        (layer("attention: Fool(heads: 4)"), vec!["m.ron:1:", "Fool", "Full"]),
        (
            with("", "", "4000", "mlp: Experts(count: 65536, active: 1, intermediate: 4294967295)"),
            vec!["blocks[0].layers[0]", "64 PiB", "smaller"],
        ),
        (
            with("", "", "4000", "mlp: Experts(count: 65536, active: 1, intermediate: 2147483647)"),
            vec!["architecture.blocks: more than 64 PiB of weights"],
        ),
        (
            layer("attention: Full(heads: 4294967295, kv_heads: 4294967295, head_size: 4294967295)"),
            vec!["blocks[0].layers[0]", "smaller"],
        ),
        (
            "LanguageModel(name: \"m\", architecture: (hidden: 64, vocabulary: 100, blocks: []))".to_owned(),
            vec!["architecture.blocks", "there are none"],
        ),
        (
            "LanguageModel(name: \"m\", layers: [(count: 1, attention: (stored: \"1 B\"), mlp: (stored: \"1 B\"), kv_bytes: 0)], \
                architecture: (hidden: 64, vocabulary: 100, blocks: [(count: 1, layers: [(mlp: Dense(intermediate: 8))])]))"
                .to_owned(),
            vec!["layers, architecture", "both", "leave one out"],
        ),
        ("LanguageModel(name: \"m\")".to_owned(), vec!["layers", "there are none", "architecture"]),
        (
            "LanguageModel(name: \"m\", layers: [(count: 1, attention: (stored: \"1 B\"), mlp: (stored: \"1 B\"), kv_bytes: 0, window: 0)])"
                .to_owned(),
            vec!["layers[0].window", "0 tokens", "at least 1"],
        ),
    ] {
        fs::write(place.path().join("m.ron"), &text).unwrap();
        for command in [&["model", "info", "m.ron"][..], &["check", "m.ron"][..]] {
            let output = tiersim(place.path(), command).assert().code(2).get_output().clone();
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(output.stdout.is_empty() && !message.contains("panicked"), "{text}: {message}");
            for part in &parts {
                assert!(message.contains(part), "{text}: no '{part}' in: {message}");
            }
        }
    }
}

fn info(folder: &Path, args: &[&str]) -> Value {
    let args = [&["model", "info"], args, &["--json"]].concat();
    let output = tiersim(folder, &args).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn info_adds_up() {
    let place = TempDir::new().unwrap();
    let info = |args: &[&str]| info(place.path(), args);
    let one = info(&["gpt-oss-20b", "--context", "32k"]);
    assert_eq!((&one["layers"], &one["batch"], &one["context"]), (&24.into(), &1.into(), &32_768.into()));
    let total = |of: &Value, field: &str| -> u64 {
        let stages = of["stages"].as_array().unwrap();
        stages.iter().map(|stage| stage["count"].as_u64().unwrap() * stage[field].as_u64().unwrap()).sum()
    };
    for (field, sum) in [
        ("stored_bytes", "weights_stored_bytes"),
        ("read_bytes", "weights_read_bytes"),
        ("kv_bytes_per_token", "kv_bytes_per_token"),
        ("state_bytes", "state_bytes"),
    ] {
        assert_eq!(total(&one, field), one[sum].as_u64().unwrap(), "{field}");
    }
    // 12 layers keep the last 128 tokens, 12 all of them.
    assert_eq!(one["kv_bytes_at_context"], 12 * 2048 * (128 + 32_768));
    // 4 FLOP for each of 64 x 64 elements and token read.
    let attention = 4.0 * 4096.0 * 12.0 * (128.0 + 32_768.0);
    assert!((one["kv_flop_at_context"].as_f64().unwrap() / attention - 1.0).abs() < 1e-9);
    let eight = info(&["gpt-oss-20b", "--batch", "8"]);
    // 32 (1 - (28/32)^8) = 21.0 of 32 experts in the place of 4.
    let experts = |of: &Value| {
        let stages = of["stages"].as_array().unwrap();
        let mlp = stages.iter().find(|stage| stage["label"] == "mlp").unwrap();
        mlp["pieces"][0]["read_bytes"].as_f64().unwrap()
    };
    let union = 32.0 * (1.0 - (28.0f64 / 32.0).powi(8));
    assert!((experts(&eight) / experts(&one) - union / 4.0).abs() < 1e-6);

    // A model in bytes has no parameters and no FLOP.
    let bytes = info(&["llama-3.1-70b-fp8"]);
    assert!(bytes["parameters"].is_null() && bytes["flop_per_token"].is_null());
    assert_eq!(bytes["weights_read_bytes"], 80_u64 * (150_994_944 + 704_643_072));
    let text = tiersim(place.path(), &["model", "info", "qwen3-next-80b-a3b"]).assert().success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    assert!(text.contains("79.674 B parameters, 3.875 B of them active, 48 layers"), "{text}");
    assert!(text.contains("its state 79.04 MB"), "{text}");
}

/// A run reads what the architecture says: weights at one bandwidth, and the KV of the prompt.
#[test]
fn a_run_reads_what_the_architecture_says() {
    let place = TempDir::new().unwrap();
    let args = ["run", "--model", "llama-3.1-8b", "--memory", "study", "--hbm-capacity", "64GiB", "--prefill", "64"];
    let args = [&args[..], &["--decode", "1", "--skip", "0", "--strategy", "baseline", "--out", "out"]].concat();
    tiersim(place.path(), &args).assert().success();
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("out/summary.json")).unwrap()).unwrap();
    // 15.01 GB of weights, a row of the embedding and 64 tokens of 128 KiB, at 4915 GB/s.
    let model = checked(&shipped("llama-3.1-8b"));
    let bytes = read(&model) + 64.0 * 131_072.0;
    let nanoseconds = summary["simulated_ns"].as_f64().unwrap();
    assert!((nanoseconds * 4915.0 / bytes - 1.0).abs() < 1e-4, "{nanoseconds}: {bytes}");
}

/// At a rate at which every stage computes for longer than it reads, a step takes the FLOP that
/// `model info` states for its weights and for the KV of the tokens before it.
#[test]
fn a_run_computes_what_the_shapes_say() {
    let place = TempDir::new().unwrap();
    let run = |model: &str, compute: &str| {
        let args = ["run", "--model", model, "--memory", "study", "--hbm-capacity", "64GiB", "--prefill", "64"];
        let rest = ["--decode", "1", "--skip", "0", "--strategy", "baseline", "--out", "out", "--set", compute];
        tiersim(place.path(), &[&args[..], &rest[..]].concat()).assert()
    };
    run("qwen2.5-0.5b", "compute={\"rate\": \"100 GFLOP/s\"}").success();
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("out/summary.json")).unwrap()).unwrap();
    let info = info(place.path(), &["qwen2.5-0.5b", "--context", "64"]);
    // 4 FLOP for each of 14 x 64 elements, 24 layers and 64 tokens.
    assert_eq!(info["kv_flop_at_context"].as_f64().unwrap(), 4.0 * 896.0 * 24.0 * 64.0);
    let flop = info["flop_per_token"].as_f64().unwrap() + info["kv_flop_at_context"].as_f64().unwrap();
    let nanoseconds = summary["simulated_ns"].as_f64().unwrap();
    assert!((nanoseconds * 100.0 / flop - 1.0).abs() < 1e-6, "{nanoseconds} ns for {flop} FLOP");

    // Each kind of model has its own fields.
    for (model, compute, parts) in [
        (
            "study",
            "compute={\"rate\": \"1 TFLOP/s\", \"flop_per_weight_byte\": 1}",
            ["compute.flop_per_kv_byte", "missing"],
        ),
        (
            "qwen2.5-0.5b",
            "compute={\"rate\": \"1 TFLOP/s\", \"flop_per_weight_byte\": 1}",
            ["compute.flop_per_weight_byte: 1", "leave it out"],
        ),
    ] {
        let output = run(model, compute).code(2).get_output().clone();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
