//! The flags of other programs that lay a model out as a plan does.

use super::shape::Shape;
use serde::Serialize;

/// Flags of other programs for a plan, where they can say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flags {
    /// Of llama.cpp: <https://github.com/ggml-org/llama.cpp>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llama_cpp: Option<String>,
    /// Of vLLM: <https://docs.vllm.ai>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vllm: Option<String>,
}

impl Flags {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.llama_cpp.is_none() && self.vllm.is_none()
    }

    /// For a model of so many layers. llama.cpp computes on the CPU what lies in its memory: its
    /// flags say a plan in which external memory `computes`, or in which nothing is read from
    /// there; vLLM's offloaded weights are read by the GPU, in place or through a buffer.
    #[must_use]
    pub fn of(shape: &Shape, layers: usize, computes: bool) -> Self {
        // More than there are layers: all, and the head.
        let all = layers + 1;
        let llama_cpp = match *shape {
            Shape::All => Some(format!("-ngl {all}")),
            _ if !computes => None,
            Shape::Layers { on_first, kv_on_first } => {
                let kv = if kv_on_first { "" } else { " --no-kv-offload" };
                Some(format!("-ngl {}{kv}", on_first + 1))
            }
            Shape::ExpertLayers { external } if external == layers => Some(format!("-ngl {all} --cpu-moe")),
            Shape::ExpertLayers { external } => Some(format!("-ngl {all} --n-cpu-moe {external}")),
            _ => None,
        };
        let vllm = match *shape {
            Shape::All => Some(String::new()),
            Shape::Weights { external } if !computes => {
                Some(format!("--cpu-offload-gb {:.1}", external.as_f64() / f64::from(1u32 << 30)))
            }
            _ => None,
        };
        Self { llama_cpp, vllm: vllm.filter(|flags| !flags.is_empty()) }
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [("llama.cpp", &self.llama_cpp), ("vLLM", &self.vllm)];
        let flags = named.iter().filter_map(|(name, flags)| flags.as_ref().map(|flags| format!("{name} {flags}")));
        f.pad(&flags.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    #[test]
    fn known_layouts_have_the_flags_that_say_them() {
        let of = |shape: Shape, computes: bool| Flags::of(&shape, 80, computes).to_string();
        assert_eq!(of(Shape::All, false), "llama.cpp -ngl 81");
        // The head is counted as a layer.
        assert_eq!(of(Shape::Layers { on_first: 20, kv_on_first: true }, true), "llama.cpp -ngl 21");
        assert_eq!(of(Shape::Layers { on_first: 20, kv_on_first: false }, true), "llama.cpp -ngl 21 --no-kv-offload");
        assert_eq!(of(Shape::ExpertLayers { external: 30 }, true), "llama.cpp -ngl 81 --n-cpu-moe 30");
        assert_eq!(of(Shape::ExpertLayers { external: 80 }, true), "llama.cpp -ngl 81 --cpu-moe");
        // llama.cpp does not read the CPU's memory over the link.
        assert_eq!(of(Shape::ExpertLayers { external: 30 }, false), "");
        assert_eq!(of(Shape::Weights { external: Bytes::new(3 << 29) }, false), "vLLM --cpu-offload-gb 1.5");
        assert_eq!(of(Shape::Pieces, false), "");
    }
}
