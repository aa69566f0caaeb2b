//! The families that are understood, one line each.
//!
//! A family is known by `model_type`, or by its class in `architectures`. Those of a common
//! [`Shape`](super::shape::Shape) are a constant in [`shapes`]; the others have a file here. Those
//! that an architecture cannot express are listed with the reason, so that the refusal gives it.

mod deepseek;
mod defaults;
mod delta;
mod gemma;
mod kimi_linear;
mod laguna;
mod lfm2;
mod lightning;
mod llama4;
mod mamba;
mod mimo;
mod nas;
mod nemotron_h;
mod older;
mod shapes;
mod variations;

pub(super) use defaults::inner_defaults;

use super::fields::Fields;
use super::refusal::Refusal;
use super::shape::{Draft, Shape};
use Reader::{Own, Refused, Shaped};

/// How a family's configuration is read.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// A common shape.
    Shaped(Shape),
    /// By a function of its own.
    Own(fn(&Fields<'_>) -> Result<Draft, Refusal>),
    /// Not, for this reason.
    Refused(&'static str),
}

/// How the family called `name` is read: a `model_type` or a class.
pub(super) fn reader(name: &str) -> Option<Reader> {
    FAMILIES.iter().find(|(names, _)| names.split_whitespace().any(|known| known == name)).map(|(_, reader)| *reader)
}

/// The `model_type`s that are understood, for messages.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let understood = FAMILIES.iter().filter(|(_, reader)| !matches!(reader, Refused(_)));
    let names = understood.flat_map(|(names, _)| names.split_whitespace());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The names of each family, types and classes, and how it is read.
const FAMILIES: &[(&str, Reader)] = &[
    ("llama yi xverse aquila LlamaForCausalLM LLaMAForCausalLM YiForCausalLM", Shaped(shapes::LLAMA)),
    ("llama4_text llama4 Llama4ForCausalLM Llama4ForConditionalGeneration", Own(llama4::read)),
    ("mistral MistralForCausalLM", Shaped(shapes::MISTRAL)),
    ("ministral ministral3 mistral3 MinistralForCausalLM Ministral3ForCausalLM", Shaped(shapes::MINISTRAL)),
    ("mixtral MixtralForCausalLM", Shaped(shapes::MIXTRAL)),
    ("qwen QWenLMHeadModel", Shaped(shapes::QWEN)),
    (
        "qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text qwen2_5_omni_text Qwen2ForCausalLM",
        Shaped(shapes::QWEN2),
    ),
    ("qwen2_moe Qwen2MoeForCausalLM", Shaped(shapes::QWEN2_MOE)),
    ("qwen3 qwen3_vl qwen3_vl_text qwen3_omni_text Qwen3ForCausalLM", Shaped(shapes::QWEN3)),
    ("qwen3_moe qwen3_vl_moe qwen3_vl_moe_text qwen3_omni_moe_text Qwen3MoeForCausalLM", Shaped(shapes::QWEN3_MOE)),
    (
        "qwen3_next qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text Qwen3NextForCausalLM Qwen3_5ForCausalLM \
         Qwen3_5MoeForCausalLM Qwen3_5ForConditionalGeneration Qwen3_5MoeForConditionalGeneration",
        Own(delta::read),
    ),
    ("gemma gemma_text GemmaForCausalLM", Shaped(shapes::GEMMA)),
    ("gemma2 gemma2_text Gemma2ForCausalLM", Shaped(shapes::GEMMA2)),
    ("gemma3_text gemma3 Gemma3ForCausalLM Gemma3ForConditionalGeneration", Own(gemma::gemma3)),
    ("gemma3n_text gemma3n Gemma3nForCausalLM Gemma3nForConditionalGeneration", Own(gemma::gemma3n)),
    ("gemma4_text gemma4 Gemma4ForCausalLM Gemma4ForConditionalGeneration", Own(gemma::gemma4)),
    ("phi PhiForCausalLM", Shaped(shapes::PHI)),
    ("phi3 phi3_v phi4mm phi4_multimodal Phi3ForCausalLM Phi4MMForCausalLM", Shaped(shapes::PHI3)),
    ("phimoe PhiMoEForCausalLM PhimoeForCausalLM", Shaped(shapes::PHIMOE)),
    ("gpt_oss GptOssForCausalLM", Shaped(shapes::GPT_OSS)),
    ("deepseek DeepseekForCausalLM", Shaped(shapes::DEEPSEEK)),
    (
        "deepseek_v2 deepseek_v3 deepseek_v32 deepseek_vl_v2 kimi_k2 kimi_k25 kimi_vl glm_moe_dsa glm4_moe_lite \
         DeepseekV2ForCausalLM DeepseekV3ForCausalLM DeepseekV32ForCausalLM GlmMoeDsaForCausalLM KimiK25ForConditionalGeneration \
         Glm4MoeLiteForCausalLM",
        Own(deepseek::read),
    ),
    ("minicpm3 MiniCPM3ForCausalLM", Own(deepseek::minicpm3)),
    ("kimi_linear KimiLinearForCausalLM", Own(kimi_linear::read)),
    ("glm GlmForCausalLM", Shaped(shapes::GLM)),
    ("glm4 glm4v_text Glm4ForCausalLM", Shaped(shapes::GLM4)),
    ("glm4_moe glm4v_moe_text Glm4MoeForCausalLM", Shaped(shapes::GLM4_MOE)),
    ("chatglm ChatGLMModel ChatGLMForConditionalGeneration", Own(older::chatglm)),
    ("minimax_m2 MiniMaxM2ForCausalLM", Shaped(shapes::MINIMAX_M2)),
    (
        "minimax minimax_text_01 minimax_m1 MiniMaxForCausalLM MiniMaxText01ForCausalLM MiniMaxM1ForCausalLM",
        Own(lightning::read),
    ),
    ("mimo MiMoForCausalLM", Shaped(shapes::QWEN2)),
    ("mimo_v2_flash mimo_v2 MiMoV2FlashForCausalLM", Own(mimo::read)),
    ("step3p5 step3p7 Step3p5ForCausalLM Step3p7FlashForCausalLM", Own(mimo::step)),
    ("laguna LagunaForCausalLM", Own(laguna::read)),
    ("nemotron NemotronForCausalLM", Shaped(shapes::NEMOTRON)),
    ("nemotron_h NemotronHForCausalLM", Own(nemotron_h::read)),
    ("nemotron-nas deci DeciLMForCausalLM", Own(nas::read)),
    ("granite GraniteForCausalLM", Shaped(shapes::GRANITE)),
    ("granitemoe GraniteMoeForCausalLM", Shaped(shapes::GRANITE_MOE)),
    ("granitemoeshared GraniteMoeSharedForCausalLM", Shaped(shapes::GRANITE_MOE)),
    ("granitemoehybrid GraniteMoeHybridForCausalLM", Own(mamba::granite)),
    ("bamba BambaForCausalLM", Own(mamba::bamba)),
    ("jamba JambaForCausalLM", Own(mamba::jamba)),
    ("mamba falcon_mamba MambaForCausalLM FalconMambaForCausalLM", Own(mamba::mamba)),
    ("mamba2 Mamba2ForCausalLM", Own(mamba::mamba2)),
    ("lfm2 lfm2_moe Lfm2ForCausalLM Lfm2MoeForCausalLM", Own(lfm2::read)),
    ("opt OPTForCausalLM", Own(older::opt)),
    ("gpt2 GPT2LMHeadModel", Own(older::gpt2)),
    ("gpt_bigcode GPTBigCodeForCausalLM", Own(older::bigcode)),
    ("gptj GPTJForCausalLM", Own(older::gptj)),
    ("gpt_neox GPTNeoXForCausalLM", Shaped(shapes::GPT_NEOX)),
    ("bloom BloomForCausalLM", Own(older::bloom)),
    ("falcon RefinedWeb RefinedWebModel FalconForCausalLM RWForCausalLM", Own(older::falcon)),
    ("mpt MPTForCausalLM MptForCausalLM", Own(older::mpt)),
    ("dbrx DbrxForCausalLM", Own(older::dbrx)),
    ("starcoder2 Starcoder2ForCausalLM", Shaped(shapes::STARCODER2)),
    ("stablelm stablelm_epoch StableLmForCausalLM StableLMEpochForCausalLM", Own(variations::stablelm)),
    ("persimmon PersimmonForCausalLM", Shaped(shapes::PERSIMMON)),
    ("cohere CohereForCausalLM", Shaped(shapes::COHERE)),
    ("cohere2 Cohere2ForCausalLM", Shaped(shapes::COHERE2)),
    ("olmo OlmoForCausalLM", Shaped(shapes::OLMO)),
    ("olmo2 Olmo2ForCausalLM", Shaped(shapes::OLMO2)),
    ("olmo3 Olmo3ForCausalLM", Shaped(shapes::OLMO3)),
    ("olmoe OlmoeForCausalLM", Shaped(shapes::OLMOE)),
    ("flex_olmo FlexOlmoForCausalLM", Shaped(shapes::OLMOE)),
    ("smollm3 SmolLM3ForCausalLM", Shaped(shapes::SMOLLM3)),
    ("ernie4_5 Ernie4_5ForCausalLM Ernie4_5_ForCausalLM", Shaped(shapes::ERNIE)),
    ("ernie4_5_moe Ernie4_5_MoeForCausalLM Ernie4_5_MoEForCausalLM", Shaped(shapes::ERNIE_MOE)),
    ("seed_oss SeedOssForCausalLM", Shaped(shapes::SEED_OSS)),
    (
        "hunyuan_v1_dense hunyuan_v1_moe hunyuan HunYuanDenseV1ForCausalLM HunYuanMoEV1ForCausalLM HunYuanForCausalLM",
        Own(variations::hunyuan),
    ),
    ("exaone ExaoneForCausalLM", Shaped(shapes::EXAONE)),
    ("exaone4 Exaone4ForCausalLM", Shaped(shapes::EXAONE4)),
    ("exaone_moe ExaoneMoEForCausalLM ExaoneMoeForCausalLM", Shaped(shapes::EXAONE_MOE)),
    ("dots1 Dots1ForCausalLM", Shaped(shapes::DOTS1)),
    ("bailing_moe BailingMoeForCausalLM", Shaped(shapes::BAILING)),
    ("bailing_moe_v2 BailingMoeV2ForCausalLM", Shaped(shapes::BAILING_V2)),
    ("internlm InternLMForCausalLM", Shaped(shapes::INTERNLM)),
    ("internlm2 InternLM2ForCausalLM", Shaped(shapes::INTERNLM2)),
    ("internlm3 InternLM3ForCausalLM", Shaped(shapes::INTERNLM3)),
    ("baichuan BaichuanForCausalLM BaiChuanForCausalLM", Shaped(shapes::BAICHUAN)),
    ("minicpm MiniCPMForCausalLM", Shaped(shapes::MINICPM)),
    ("orion OrionForCausalLM", Shaped(shapes::ORION)),
    ("arcee ArceeForCausalLM", Shaped(shapes::ARCEE)),
    ("apertus ApertusForCausalLM", Shaped(shapes::APERTUS)),
    ("helium HeliumForCausalLM", Shaped(shapes::HELIUM)),
    ("afmoe AfmoeForCausalLM", Own(variations::afmoe)),
    ("cwm CwmForCausalLM", Shaped(shapes::CWM)),
    ("arctic ArcticForCausalLM", Own(variations::arctic)),
    ("grok-1 Grok1ForCausalLM Grok1ModelForCausalLM", Own(variations::grok)),
    (
        "deepseek_v4 DeepseekV4ForCausalLM",
        Refused(
            "its KV is compressed over several tokens (compress_ratios) beside a sliding window in the same layer, and \
             its residual streams are mixed (hc_mult): a layer with two kinds of KV cannot be expressed",
        ),
    ),
    (
        "mllama mllama_text_model MllamaForConditionalGeneration",
        Refused("layers of cross-attention read KV of images, which a decode step cannot express"),
    ),
    (
        "falcon_h1 FalconH1ForCausalLM",
        Refused("a layer has attention and a state space part at once, which cannot be expressed"),
    ),
    (
        "hymba HymbaForCausalLM",
        Refused("a layer has attention and a state space part at once, which cannot be expressed"),
    ),
    (
        "zamba zamba2 ZambaForCausalLM Zamba2ForCausalLM",
        Refused("its attention layers share one set of weights, which cannot be expressed"),
    ),
    (
        "recurrent_gemma RecurrentGemmaForCausalLM",
        Refused("the sizes of its RG-LRU layers are not known to this importer"),
    ),
    (
        "rwkv rwkv5 rwkv6 rwkv7 RwkvForCausalLM Rwkv5ForCausalLM Rwkv6ForCausalLM RWKV7ForCausalLM",
        Refused("the sizes of its time-mix layers are not known to this importer"),
    ),
    (
        "longcat_flash LongcatFlashForCausalLM",
        Refused("each layer has two attentions, and zero experts make the number of active experts vary by token"),
    ),
    (
        "phi3small Phi3SmallForCausalLM",
        Refused("its block-sparse attention skips blocks by a pattern that cannot be expressed"),
    ),
    ("jetmoe JetMoeForCausalLM", Refused("its attention heads are experts, which cannot be expressed")),
    (
        "t5 mt5 t5gemma bart mbart whisper marian pegasus m2m_100 seamless_m4t",
        Refused("it has an encoder: only decoders are simulated"),
    ),
    (
        "bert roberta xlm-roberta distilbert albert electra deberta deberta-v2 modernbert nomic_bert vit siglip clip clip_text_model",
        Refused("it is no decoder and keeps no KV: only decoders are simulated"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_family() {
        let readme = include_str!("../README.md");
        for (names, reader) in FAMILIES {
            let first = names.split_whitespace().next().unwrap();
            assert!(matches!(reader, Refused(_)) || readme.contains(&format!("`{first}`")), "{first}");
        }
    }

    #[test]
    fn a_name_stands_for_one_family() {
        let mut names: Vec<&str> = FAMILIES.iter().flat_map(|(names, _)| names.split_whitespace()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
