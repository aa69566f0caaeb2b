//! The families that are variations of Llama's shape: what differs in each.
//!
//! Sources: the modelling and configuration code of each family in `transformers`, or that which is
//! published with the model.

pub(super) use crate::workload::huggingface::shape::LLAMA;

use crate::workload::huggingface::fields::Says;
use crate::workload::huggingface::mixers::Windows;
use crate::workload::huggingface::mlp::ExpertsShape;
use crate::workload::huggingface::shape::{QkNorm, Shape};

const EXPERTS: Option<ExpertsShape> = Some(ExpertsShape { bias: false, shared_gate: false });
const NO_BIAS: Shape = Shape { bias: Says::No, output_bias: Says::No, mlp_bias: Says::No, ..LLAMA };
/// Layer norms with biases, and a feed-forward part of two matrices.
const CLASSIC: Shape = Shape { norms: 4, final_bias: true, gated: false, ..LLAMA };

pub(super) const MISTRAL: Shape = Shape { windows: Windows::All(4096), ..NO_BIAS };
pub(super) const MINISTRAL: Shape = Shape { windows: Windows::All(0), ..NO_BIAS };
/// Windows are in `layer_types`.
pub(super) const CWM: Shape = Shape { windows: Windows::All(0), ..LLAMA };
pub(super) const MIXTRAL: Shape = Shape { experts: EXPERTS, ..MINISTRAL };

/// `intermediate_size` counts the gate's and the up-projection's rows together.
pub(super) const QWEN: Shape = Shape { bias: Says::Yes, intermediate_halved: true, ..NO_BIAS };
pub(super) const QWEN2: Shape = Shape { bias: Says::Yes, windows: Windows::From, ..NO_BIAS };
pub(super) const QWEN2_MOE: Shape = Shape {
    bias: Says::Field("qkv_bias", true),
    experts: Some(ExpertsShape { bias: false, shared_gate: true }),
    ..QWEN2
};
pub(super) const QWEN3: Shape = Shape { qk_norm: QkNorm::PerHead(Says::Yes), windows: Windows::From, ..LLAMA };
pub(super) const QWEN3_MOE: Shape = Shape { experts: EXPERTS, ..QWEN3 };

pub(super) const GEMMA: Shape = Shape { tied: true, head_size: 256, ..LLAMA };
pub(super) const GEMMA2: Shape = Shape { norms: 4, windows: Windows::Every(2), ..GEMMA };
pub(super) const GEMMA3: Shape = Shape { qk_norm: QkNorm::PerHead(Says::Yes), windows: Windows::Every(6), ..GEMMA2 };

/// One layer norm, with a bias, before attention and feed-forward part, which run in parallel.
pub(super) const PHI: Shape =
    Shape { bias: Says::Yes, output_bias: Says::Yes, mlp_bias: Says::Yes, norms: 2, head_bias: Says::Yes, ..CLASSIC };
pub(super) const PHI3: Shape = Shape { windows: Windows::All(0), ..NO_BIAS };
pub(super) const PHIMOE: Shape = Shape {
    norms: 4,
    final_bias: true,
    head_bias: Says::Field("lm_head_bias", false),
    windows: Windows::All(0),
    experts: EXPERTS,
    ..LLAMA
};

pub(super) const GPT_OSS: Shape = Shape {
    bias: Says::Field("attention_bias", true),
    output_bias: Says::Field("attention_bias", true),
    sinks: true,
    windows: Windows::Every(2),
    experts: Some(ExpertsShape { bias: true, shared_gate: false }),
    ..LLAMA
};

pub(super) const DEEPSEEK: Shape = Shape { experts: EXPERTS, ..LLAMA };

pub(super) const GLM: Shape = Shape { output_bias: Says::No, head_size: 128, ..LLAMA };
pub(super) const GLM4: Shape = Shape { norms: 4, ..GLM };
pub(super) const GLM4_MOE: Shape =
    Shape { qk_norm: QkNorm::PerHead(Says::Field("use_qk_norm", false)), experts: EXPERTS, ..GLM };

pub(super) const MINIMAX_M2: Shape =
    Shape { qk_norm: QkNorm::Width(Says::Field("use_qk_norm", true)), experts: EXPERTS, ..NO_BIAS };

pub(super) const NEMOTRON: Shape = CLASSIC;

pub(super) const GRANITE: Shape = LLAMA;
pub(super) const GRANITE_MOE: Shape = Shape { experts: EXPERTS, ..LLAMA };

pub(super) const GPT_NEOX: Shape = Shape {
    bias: Says::Field("attention_bias", true),
    output_bias: Says::Field("attention_bias", true),
    mlp_bias: Says::Yes,
    ..CLASSIC
};

pub(super) const STARCODER2: Shape = Shape {
    bias: Says::Field("use_bias", true),
    output_bias: Says::Field("use_bias", true),
    mlp_bias: Says::Field("use_bias", true),
    windows: Windows::All(0),
    tied: true,
    ..CLASSIC
};

pub(super) const PERSIMMON: Shape = Shape {
    bias: Says::Yes,
    output_bias: Says::Yes,
    mlp_bias: Says::Yes,
    qk_norm: QkNorm::PerHead(Says::Field("qk_layernorm", true)),
    ..CLASSIC
};

/// One norm before attention and feed-forward part, which run in parallel.
pub(super) const COHERE: Shape =
    Shape { norms: 1, qk_norm: QkNorm::Width(Says::Field("use_qk_norm", false)), tied: true, ..LLAMA };
pub(super) const COHERE2: Shape = Shape { norms: 1, windows: Windows::Every(4), tied: true, ..LLAMA };

/// Its layer norms have no weights.
pub(super) const OLMO: Shape = Shape { norms: 0, ..LLAMA };
pub(super) const OLMO2: Shape = Shape { qk_norm: QkNorm::Width(Says::Yes), ..LLAMA };
pub(super) const OLMO3: Shape = Shape { windows: Windows::Every(4), ..OLMO2 };
pub(super) const OLMOE: Shape = Shape { experts: EXPERTS, ..OLMO2 };

pub(super) const SMOLLM3: Shape = Shape { windows: Windows::From, tied: true, ..LLAMA };

pub(super) const ERNIE: Shape = Shape {
    bias: Says::Field("use_bias", false),
    output_bias: Says::Field("use_bias", false),
    mlp_bias: Says::Field("use_bias", false),
    tied: true,
    ..LLAMA
};
pub(super) const ERNIE_MOE: Shape = Shape { experts: EXPERTS, ..ERNIE };

pub(super) const SEED_OSS: Shape =
    Shape { bias: Says::Field("attention_bias", true), output_bias: Says::Field("attention_out_bias", false), ..LLAMA };

pub(super) const EXAONE: Shape = NO_BIAS;
pub(super) const EXAONE4: Shape = Shape { qk_norm: QkNorm::PerHead(Says::Yes), windows: Windows::Every(4), ..NO_BIAS };
pub(super) const EXAONE_MOE: Shape = Shape { experts: EXPERTS, ..EXAONE4 };

pub(super) const DOTS1: Shape = Shape { experts: EXPERTS, windows: Windows::From, ..QWEN3 };

pub(super) const BAILING: Shape = Shape {
    bias: Says::Field("use_qkv_bias", false),
    output_bias: Says::Field("use_bias", false),
    mlp_bias: Says::No,
    experts: EXPERTS,
    ..LLAMA
};
pub(super) const BAILING_V2: Shape = Shape { qk_norm: QkNorm::PerHead(Says::Field("use_qk_norm", true)), ..BAILING };

pub(super) const INTERNLM: Shape =
    Shape { bias: Says::Field("bias", true), output_bias: Says::Field("bias", true), ..NO_BIAS };
pub(super) const INTERNLM2: Shape =
    Shape { bias: Says::Field("bias", false), output_bias: Says::Field("bias", false), ..NO_BIAS };
pub(super) const INTERNLM3: Shape = Shape {
    bias: Says::Field("qkv_bias", false),
    output_bias: Says::Field("bias", false),
    mlp_bias: Says::Field("bias", false),
    ..LLAMA
};

pub(super) const BAICHUAN: Shape = NO_BIAS;
pub(super) const MINICPM: Shape = Shape { tied: true, ..LLAMA };
pub(super) const ORION: Shape = Shape { norms: 4, final_bias: true, ..LLAMA };
pub(super) const ARCEE: Shape = Shape { gated: false, ..LLAMA };
pub(super) const APERTUS: Shape = Shape { gated: false, qk_norm: QkNorm::PerHead(Says::Yes), ..LLAMA };
pub(super) const HELIUM: Shape = LLAMA;
