//! Quantized checkpoints: which part is stored in which format.

use super::{architecture, plain, read};
use tiersim::workload::huggingface::ImportOptions;
use tiersim::workload::{Format, FormatsConfig, LayerFormatsConfig};

/// A model with a dense layer, then two with experts and a shared one.
fn config(quantization: &str) -> String {
    format!(
        "{{\"model_type\": \"glm4_moe\", \"hidden_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 8, \
         \"num_key_value_heads\": 2, \"vocab_size\": 1000, \"intermediate_size\": 128, \"n_routed_experts\": 4, \
         \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, \"n_shared_experts\": 1, \"first_k_dense_replace\": 1, \
         \"torch_dtype\": \"bfloat16\", \"quantization_config\": {quantization}}}"
    )
}

fn formats(quantization: &str) -> FormatsConfig {
    architecture(&plain(&config(quantization))).formats.clone()
}

/// Attention, dense part, experts, shared experts, head.
fn parts(quantization: &str) -> [Option<Format>; 5] {
    let found = formats(quantization);
    assert_eq!(found.weights, Format::Bf16);
    [found.attention, found.mlp, found.experts, found.shared, found.head]
}

#[test]
fn methods_and_the_modules_they_convert() {
    use Format::{Bf16, Fp8, Fp8Block128, Int4G32, Int4G128, Int8, Mxfp4, Nf4, Nvfp4};
    let all = |format| [Some(format), Some(format), Some(format), Some(format), None];
    assert_eq!(parts("{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}"), all(Fp8Block128));
    assert_eq!(parts("{\"quant_method\": \"fbgemm_fp8\"}"), all(Fp8));
    assert_eq!(parts("{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128}"), all(Int4G128));
    assert_eq!(parts("{\"quant_method\": \"gptq\", \"bits\": 8, \"group_size\": -1}"), all(Int8));
    let awq =
        "{\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 32, \"modules_to_not_convert\": [\"self_attn\"]}";
    assert_eq!(parts(awq)[..3], [Some(Int4G32), Some(Int4G32), Some(Int4G32)]);
    assert_eq!(parts("{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}"), all(Nf4));
    assert_eq!(parts("{\"quant_method\": \"mxfp4\"}"), [None, None, Some(Mxfp4), Some(Bf16), None]);
    let names = "{\"quant_method\": \"fp8\", \"modules_to_not_convert\": [\"model.layers.*.self_attn\", \"lm_head\", \"gate\"]}";
    assert_eq!(parts(names), [None, Some(Fp8), Some(Fp8), Some(Fp8), None]);
    let modelopt = "{\"quant_method\": \"modelopt\", \"quant_algo\": \"NVFP4\", \"ignore\": [\"lm_head\", \"*shared_experts*\"], \
        \"kv_cache_scheme\": {\"num_bits\": 8, \"type\": \"float\"}}";
    assert_eq!(parts(modelopt), [Some(Nvfp4), Some(Nvfp4), Some(Nvfp4), Some(Bf16), None]);
    assert_eq!(formats(modelopt).kv, Fp8);
}

/// Compressed tensors: groups by bits and targets, exceptions as regular expressions.
#[test]
fn groups_of_modules() {
    let groups = "{\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \
        \"weights\": {\"num_bits\": 4, \"type\": \"int\", \"strategy\": \"group\", \"group_size\": 32}}}, \
        \"ignore\": [\"lm_head\", \"re:.*self_attn.*\", \"re:.*shared_experts.*\", \"re:.*mlp\\\\.(gate|up|gate_up|down)_proj.*\"]}";
    assert_eq!(parts(groups), [None, None, Some(Format::Int4G32), Some(Format::Bf16), None]);
    let two = "{\"quant_method\": \"compressed-tensors\", \"config_groups\": {\
        \"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 8, \"type\": \"float\", \"strategy\": \"channel\"}}, \
        \"group_1\": {\"targets\": [\"re:.*experts\\\\.\\\\d+.*\"], \"weights\": {\"num_bits\": 4, \"type\": \"float\", \"group_size\": 16}}}}";
    assert_eq!(
        parts(two),
        [Some(Format::Fp8), Some(Format::Fp8), Some(Format::Nvfp4), Some(Format::Fp8), Some(Format::Fp8)]
    );
}

/// Layers that are stored otherwise than most say so themselves.
#[test]
fn layers_that_are_left_out() {
    let imported = plain(&config("{\"quant_method\": \"fp8\", \"modules_to_not_convert\": [\"model.layers.2\"]}"));
    let architecture = architecture(&imported);
    assert_eq!((architecture.formats.attention, architecture.formats.shared), (Some(Format::Fp8), Some(Format::Fp8)));
    let last = architecture.blocks.last().unwrap().layers.last().unwrap();
    let bf16 = Some(Format::Bf16);
    let wanted = LayerFormatsConfig { attention: bf16, experts: bf16, shared: bf16, ..LayerFormatsConfig::default() };
    assert_eq!(last.formats, wanted);
    tiersim::workload::LanguageModel::new(&imported.model).unwrap();
}

#[test]
fn formats_by_hand_and_beside() {
    let text = config("{\"quant_method\": \"fp8\"}");
    let options = ImportOptions {
        name: "it".to_owned(),
        weights: Some(Format::Q4KM),
        kv: Some(Format::Fp8),
        ..ImportOptions::default()
    };
    let imported = read(&text, options).unwrap();
    let found = &architecture(&imported).formats;
    assert_eq!((found.weights, found.attention, found.kv), (Format::Q4KM, None, Format::Fp8));
    assert!(imported.ignored.iter().any(|note| note.contains("--weights q4_k_m counts")), "{:?}", imported.ignored);

    let quantization = "{\"quantization\": {\"quant_algo\": \"NVFP4\", \"kv_cache_quant_algo\": \"FP8\", \"exclude_modules\": [\"lm_head\"]}}";
    let options = ImportOptions {
        name: "it".to_owned(),
        quantization: Some(("hf_quant_config.json".to_owned(), quantization.to_owned())),
        ..ImportOptions::default()
    };
    let imported = read(&config("null"), options).unwrap();
    let found = &architecture(&imported).formats;
    assert_eq!((found.experts, found.kv, found.head), (Some(Format::Nvfp4), Format::Fp8, None));
}
