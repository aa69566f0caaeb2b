//! Small configurations of the shapes that published ones have: which field becomes what.

use super::{architecture, plain};
use tiersim::workload::{
    ArchitectureConfig, AttentionConfig, Format, HeadsConfig, LayerConfig, MlpConfig, ModelConfig,
};

/// Fields that all small models share, with `more`.
fn config(kind: &str, more: &str) -> String {
    format!(
        "{{\"model_type\": \"{kind}\", \"hidden_size\": 64, \"num_hidden_layers\": 6, \"num_attention_heads\": 8, \
         \"num_key_value_heads\": 2, \"vocab_size\": 1000, \"intermediate_size\": 128, \"torch_dtype\": \"float16\", {more}}}"
    )
}

fn read(kind: &str, more: &str) -> ArchitectureConfig {
    architecture(&plain(&config(kind, more))).clone()
}

/// The layers one by one.
fn layers(architecture: &ArchitectureConfig) -> Vec<LayerConfig> {
    let repeated = |count: u32, layers: &[LayerConfig]| (0..count).flat_map(|_| layers.to_vec()).collect::<Vec<_>>();
    architecture.blocks.iter().flat_map(|block| repeated(block.count, &block.layers)).collect()
}

fn heads(layer: &LayerConfig) -> &HeadsConfig {
    match &layer.attention {
        AttentionConfig::Full(heads) => heads,
        AttentionConfig::Sliding(sliding) => &sliding.of,
        other => panic!("{other:?}"),
    }
}

/// The window of each layer, 0 for none.
fn windows(architecture: &ArchitectureConfig) -> Vec<u32> {
    let window = |layer: &LayerConfig| match &layer.attention {
        AttentionConfig::Sliding(sliding) => sliding.window,
        _ => 0,
    };
    layers(architecture).iter().map(window).collect()
}

/// The experts of each layer, 0 for none.
fn experts(architecture: &ArchitectureConfig) -> Vec<u32> {
    let count = |layer: &LayerConfig| match &layer.mlp {
        MlpConfig::Experts(experts) => experts.count,
        _ => 0,
    };
    layers(architecture).iter().map(count).collect()
}

#[test]
fn a_plain_decoder() {
    let found = read("llama", "\"rope_theta\": 1e4, \"tie_word_embeddings\": true");
    assert_eq!((found.hidden, found.vocabulary, found.tied, found.norms), (64, 1000, true, 2));
    assert_eq!((found.blocks.len(), found.blocks[0].count), (1, 6));
    let wanted = HeadsConfig { heads: 8, kv_heads: 2, head_size: 8, ..HeadsConfig::default() };
    assert_eq!(heads(&found.blocks[0].layers[0]), &wanted);
    assert_eq!((found.formats.weights, found.formats.kv), (Format::Fp16, Format::Fp16));
    assert!(heads(&layers(&read("qwen2", "\"head_dim\": 16"))[0]).bias);
    let qwen3 = read("qwen3", "\"head_dim\": 16");
    assert!(heads(&layers(&qwen3)[0]).qk_norm && heads(&layers(&qwen3)[0]).head_size == 16);
}

#[test]
fn windows_by_family_and_by_list() {
    let window = "\"sliding_window\": 32, \"max_position_embeddings\": 4096";
    assert_eq!(windows(&read("mistral", window)), [32; 6]);
    assert_eq!(windows(&read("mistral", "\"sliding_window\": null")), [0; 6]);
    assert_eq!(windows(&read("phi3", "\"sliding_window\": 4096, \"max_position_embeddings\": 4096")), [0; 6]);
    assert_eq!(windows(&read("gemma2", window)), [32, 0, 32, 0, 32, 0]);
    assert_eq!(windows(&read("gemma3_text", window)), [32, 32, 32, 32, 32, 0]);
    assert_eq!(
        windows(&read("gemma3_text", &format!("{window}, \"sliding_window_pattern\": 3"))),
        [32, 32, 0, 32, 32, 0]
    );
    assert_eq!(
        windows(&read("exaone4", &format!("{window}, \"sliding_window_pattern\": \"LG\""))),
        [32, 0, 32, 0, 32, 0]
    );
    let from = format!("{window}, \"use_sliding_window\": true, \"max_window_layers\": 4");
    assert_eq!(windows(&read("qwen2", &from)), [0, 0, 0, 0, 32, 32]);
    let kinds = "[\"full_attention\", \"sliding_attention\", \"sliding_attention\", \"full_attention\", \"full_attention\", \
        \"sliding_attention\"]";
    assert_eq!(windows(&read("ministral", &format!("{window}, \"layer_types\": {kinds}"))), [0, 32, 32, 0, 0, 32]);
    let chunks = "\"attention_chunk_size\": 16, \"no_rope_layers\": [1, 1, 0, 1, 1, 0], \"num_local_experts\": 4, \
        \"intermediate_size_mlp\": 256";
    let llama4 = format!("{{\"model_type\": \"llama4\", \"text_config\": {}}}", config("llama4_text", chunks));
    assert_eq!(windows(architecture(&plain(&llama4))), [16, 16, 0, 16, 16, 0]);
}

#[test]
fn experts_by_layer() {
    let some = "\"moe_intermediate_size\": 32, \"num_experts_per_tok\": 2";
    let of = |kind: &str, more: &str| experts(&read(kind, &format!("{some}, {more}")));
    assert_eq!(of("mixtral", "\"num_local_experts\": 8"), [8; 6]);
    assert_eq!(of("qwen3_moe", "\"num_experts\": 8, \"decoder_sparse_step\": 2"), [0, 8, 0, 8, 0, 8]);
    assert_eq!(of("qwen3_moe", "\"num_experts\": 8, \"mlp_only_layers\": [0, 5]"), [0, 8, 8, 8, 8, 0]);
    assert_eq!(of("glm4_moe", "\"n_routed_experts\": 8, \"first_k_dense_replace\": 2"), [0, 0, 8, 8, 8, 8]);
    let ernie = "\"moe_num_experts\": 8, \"moe_layer_start_index\": 1, \"moe_layer_end_index\": 3";
    assert_eq!(of("ernie4_5_moe", ernie), [0, 8, 8, 8, 0, 0]);
    let llama4 = "\"num_local_experts\": 8, \"interleave_moe_layer_step\": 2, \"intermediate_size_mlp\": 256";
    assert_eq!(of("llama4_text", llama4), [0, 8, 0, 8, 0, 8]);
    let shared = "\"num_experts\": 8, \"shared_expert_intermediate_size\": 48";
    let MlpConfig::Experts(found) = &layers(&read("qwen2_moe", &format!("{some}, {shared}")))[0].mlp else { panic!() };
    assert_eq!((found.active, found.intermediate, found.shared, found.shared_intermediate), (2, 32, 1, Some(48)));
    assert!(found.shared_gate);
    let hunyuan = "\"num_experts\": 8, \"moe_topk\": [2, 2, 2, 2, 2, 2], \"num_shared_expert\": [1, 1, 1, 1, 1, 1], \
        \"use_cla\": true, \"cla_share_factor\": 2";
    let found = read("hunyuan", hunyuan);
    assert_eq!(experts(&found), [8; 6]);
    assert_eq!(
        layers(&found).iter().map(|layer| heads(layer).shares_kv).collect::<Vec<_>>(),
        [false, true, false, true, false, true]
    );
}

#[test]
fn latent_attention_and_its_indexer() {
    let latent = "\"kv_lora_rank\": 16, \"q_lora_rank\": 24, \"qk_rope_head_dim\": 4, \"qk_nope_head_dim\": 8, \"v_head_dim\": 8, \
        \"num_nextn_predict_layers\": 1";
    let plain_one = layers(&read("deepseek_v3", latent));
    let AttentionConfig::Latent(found) = &plain_one[0].attention else { panic!("{plain_one:?}") };
    assert_eq!((found.heads, found.rank, found.rope, found.nope, found.value), (8, 16, 4, 8, 8));
    assert_eq!((found.query_rank, found.indexer.is_none()), (Some(24), true));
    let indexed = format!("{latent}, \"index_n_heads\": 4, \"index_head_dim\": 8, \"index_topk\": 32");
    let AttentionConfig::Latent(found) = &layers(&read("glm_moe_dsa", &indexed))[0].attention else { panic!() };
    let indexer = found.indexer.as_ref().unwrap();
    assert_eq!((indexer.heads, indexer.size, indexer.top_k), (4, 8, 32));
    let imported = plain(&config("deepseek_v3", latent));
    assert!(imported.ignored.iter().any(|note| note.starts_with("num_nextn_predict_layers")), "{:?}", imported.ignored);
}

#[test]
fn recurrent_layers() {
    let linear = "\"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 8, \
        \"linear_value_head_dim\": 8, \"linear_conv_kernel_dim\": 4, \"full_attention_interval\": 3";
    let found = read("qwen3_next", linear);
    let block = &found.blocks[0];
    assert_eq!((found.blocks.len(), block.count, block.layers.len()), (1, 2, 3));
    assert!(matches!(&block.layers[0].attention, AttentionConfig::GatedDelta(delta) if delta.value_heads == 4));
    assert!(heads(&block.layers[2]).gate);

    // Python writes Infinity.
    let mamba = "\"hybrid_override_pattern\": \"M-*EM-\", \"mamba_num_heads\": 4, \"mamba_head_dim\": 8, \"ssm_state_size\": 16, \
        \"n_groups\": 2, \"conv_kernel\": 4, \"n_routed_experts\": 4, \"num_experts_per_tok\": 1, \"moe_intermediate_size\": 32, \
        \"moe_latent_size\": 16, \"time_step_limit\": [0.0, Infinity]";
    let found = layers(&read("nemotron_h", mamba));
    assert!(
        matches!(&found[0].attention, AttentionConfig::Mamba2(mamba) if mamba.state == 16)
            && found[0].mlp == MlpConfig::None
    );
    assert!(
        matches!(&found[1].mlp, MlpConfig::Dense(dense) if !dense.gated) && found[1].attention == AttentionConfig::None
    );
    assert!(matches!(&found[2].attention, AttentionConfig::Full(_)));
    assert!(matches!(&found[3].mlp, MlpConfig::Experts(experts) if experts.latent == Some(16)));

    // In: 2 x 128 from 64; taps and their bias; x: 128 to 4 + 2 x 16; dt: 4 to 128 and its bias; A,
    // D; out; norms.
    let jamba = "\"attn_layer_period\": 3, \"attn_layer_offset\": 1, \"num_experts\": 4, \"num_experts_per_tok\": 1, \
        \"expert_layer_period\": 2, \"expert_layer_offset\": 1, \"mamba_dt_rank\": 4";
    let found = read("jamba", jamba);
    assert_eq!(experts(&found), [0, 4, 0, 4, 0, 4]);
    let AttentionConfig::Recurrent(mamba) = &layers(&found)[0].attention else { panic!() };
    let wanted = 64 * 256 + 128 * 4 + 128 + 128 * 36 + 4 * 128 + 128 + 128 * 16 + 128 + 128 * 64 + 36;
    assert_eq!((mamba.parameters, mamba.state.get()), (wanted, 128 * 16 * 4 + 128 * 4 * 2));
    assert!(matches!(&layers(&found)[4].attention, AttentionConfig::Full(_)));

    let lightning = layers(&read(
        "minimax_text_01",
        "\"attn_type_list\": [0, 0, 1, 0, 0, 1], \"num_local_experts\": 4, \"num_experts_per_tok\": 1",
    ));
    let AttentionConfig::Recurrent(found) = &lightning[0].attention else { panic!() };
    assert_eq!((found.parameters, found.state.get()), (5 * 64 * 64 + 64, 8 * 8 * 8 * 4));
}

/// A table of a row per token, shared KV, and double-wide layers.
#[test]
fn gemmas_with_inputs_per_layer() {
    let more = "\"head_dim\": 8, \"global_head_dim\": 16, \"sliding_window\": 32, \"num_kv_shared_layers\": 2, \
        \"use_double_wide_mlp\": true, \"hidden_size_per_layer_input\": 4, \"vocab_size_per_layer_input\": 900";
    let found = read("gemma4_text", more);
    assert_eq!((found.tables[0].rows, found.tables[0].width, found.extra_parameters), (900, 24, 64 * 24 + 4));
    let each = layers(&found);
    let shares: Vec<bool> = each.iter().map(|layer| heads(layer).shares_kv).collect();
    assert_eq!(shares, [false, false, false, false, true, true]);
    let size = |layer: &LayerConfig| match &layer.mlp {
        MlpConfig::Dense(dense) => dense.intermediate,
        other => panic!("{other:?}"),
    };
    assert_eq!(each.iter().map(size).collect::<Vec<_>>(), [128, 128, 128, 128, 256, 256]);
    assert_eq!((heads(&each[0]).head_size, heads(&each[5]).head_size), (8, 16));
    let experts = "\"head_dim\": 8, \"global_head_dim\": 16, \"num_global_key_value_heads\": 1, \"attention_k_eq_v\": true, \
        \"sliding_window\": 32, \"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 2, \"moe_intermediate_size\": 32";
    let each = layers(&read("gemma4_text", experts));
    assert!(heads(&each[5]).keys_are_values && heads(&each[5]).kv_heads == 1 && heads(&each[0]).kv_heads == 2);
    // The dense part is passed by every token, as a shared expert is.
    assert!(
        matches!(&each[0].mlp, MlpConfig::Experts(found) if (found.shared, found.shared_intermediate) == (1, Some(128)))
    );
}

#[test]
fn layers_with_a_window_may_have_other_heads() {
    let mimo = "\"head_dim\": 12, \"v_head_dim\": 8, \"swa_num_attention_heads\": 8, \"swa_num_key_value_heads\": 4, \"swa_head_dim\": 12, \
        \"swa_v_head_dim\": 8, \"sliding_window\": 16, \"hybrid_layer_pattern\": [0, 1, 1, 0, 1, 1], \"add_swa_attention_sink_bias\": true, \
        \"n_routed_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, \"moe_layer_freq\": [0, 1, 1, 1, 1, 1]";
    let found = read("mimo_v2_flash", mimo);
    assert_eq!((windows(&found), experts(&found)), (vec![0, 16, 16, 0, 16, 16], vec![0, 4, 4, 4, 4, 4]));
    let each = layers(&found);
    let of = |layer: &LayerConfig| (heads(layer).kv_heads, heads(layer).value_size, heads(layer).sinks);
    assert_eq!((of(&each[0]), of(&each[1])), ((2, Some(8), false), (4, Some(8), true)));
}

/// Of a model with several parts the decoder is read, and the rest is ignored with a note.
#[test]
fn a_decoder_inside() {
    let text = format!(
        "{{\"architectures\": [\"SomeVisionModel\"], \"model_type\": \"some_vision\", \"tie_word_embeddings\": true, \
         \"vision_config\": {{\"depth\": 2}}, \"text_config\": {}}}",
        config("qwen3", "\"head_dim\": 16, \"odd_field\": 7")
    );
    let imported = plain(&text);
    assert!(architecture(&imported).tied);
    for words in ["vision_config: the vision tower", "text_config.odd_field = 7: a field that is not known"] {
        assert!(imported.ignored.iter().any(|note| note.starts_with(words)), "{:?}", imported.ignored);
    }
    assert!(imported.understood.iter().any(|note| note.starts_with("text_config holds the decoder")));
}

/// The written file is read back as the same model; notes are comments, whatever the fields hold.
#[test]
fn files_are_read_back() {
    let imported =
        plain(&config("mixtral", "\"num_local_experts\": 4, \"num_experts_per_tok\": 2, \"odd\": \"a\\n)\""));
    let text = imported.text("con\nfig.json");
    assert_eq!(tiersim::config::parse::<ModelConfig>(&text, "it").unwrap(), imported.model, "{text}");
    let model = text.lines().position(|line| line.starts_with("LanguageModel(")).unwrap();
    assert!(text.lines().take(model).all(|line| line.starts_with("// ")), "{text}");
    // A layer is a line.
    assert_eq!(text.lines().filter(|line| line.contains("Experts(")).count(), 1, "{text}");
}
