//! Which tensor llama.cpp stores in which format.
//!
//! A file type such as Q4_K_M names the format of most tensors; llama.cpp stores the sensitive ones
//! with more bits. The rules here are those of `llama_tensor_get_type_impl` and
//! `tensor_type_fallback` in llama.cpp's `src/llama-quant.cpp` (007dbbf, 2026), for files made
//! without an importance matrix: by the role of the tensor, the place of its layer, the number of
//! experts and the query heads of a KV head. File types of less than 3 bits are not resolved: a
//! format of that kind is that of all layers.

use super::tensor::{Part, Role, Tensor};
use crate::workload::format::Format;

/// What the rules ask of a model, and where in it a tensor is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// How many layers the model has.
    pub layers: usize,
    /// How many of them project values, as a matrix of their own or with queries and keys.
    pub values: usize,
    /// The number of experts; 1 or 0 where there are none.
    pub experts: u32,
    /// Query heads of a KV head.
    pub queries_per_kv_head: u32,
    /// Whether llama.cpp takes the model for one of Llama's 70B.
    pub is_70b: bool,
    /// The tensor's layer, from 0.
    pub layer: usize,
    /// How many layers before it project values.
    pub values_before: usize,
    /// How many layers before it have a feed-forward part.
    pub mlps_before: usize,
}

/// The format of `tensor` in a file of the type `file`: a mix, or a GGUF format for all of a model.
pub(super) fn format_of(file: Format, tensor: &Tensor, place: &Place) -> Format {
    fitting(rule(file, tensor, place), tensor.columns)
}

/// `format`, or llama.cpp's substitute where rows are no whole blocks of it.
pub(super) fn fitting(format: Format, columns: u128) -> Format {
    let divides = |format: Format| columns.is_multiple_of(format.block().1.into());
    if divides(format) {
        return format;
    }
    let substitute = match format {
        Format::Q4K => Format::Q5_0,
        Format::Q5K => Format::Q5_1,
        Format::Q6K => Format::Q8_0,
        Format::Q2K | Format::Q3K => Format::Q4_0,
        Format::Iq1S | Format::Iq1M | Format::Iq2Xxs | Format::Iq2Xs | Format::Iq2S => Format::Iq4Nl,
        Format::Iq3Xxs | Format::Iq3S | Format::Iq4Xs => Format::Iq4Nl,
        other => other,
    };
    if divides(substitute) { substitute } else { Format::Fp16 }
}

/// Whether a layer is among the half that is stored with more bits: the first eighth, the last one,
/// and each third one between.
fn use_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The format of most tensors of a file type.
const fn base(file: Format) -> Format {
    match file {
        Format::Q2KS => Format::Q2K,
        Format::Q3KS | Format::Q3KM | Format::Q3KL => Format::Q3K,
        Format::Q4KS | Format::Q4KM => Format::Q4K,
        Format::Q5KS | Format::Q5KM => Format::Q5K,
        Format::Mxfp4Moe => Format::Q8_0,
        plain => plain,
    }
}

fn rule(file: Format, tensor: &Tensor, place: &Place) -> Format {
    let base = base(file);
    match tensor.role {
        Role::Head => head(file, base, tensor),
        _ if file == Format::Mxfp4Moe => {
            if tensor.part == Part::Experts {
                Format::Mxfp4
            } else {
                Format::Q8_0
            }
        }
        Role::Embedding => match base {
            Format::Iq1S | Format::Iq1M | Format::Iq2Xxs | Format::Iq2Xs => Format::Q2K,
            Format::Iq2S | Format::Iq3Xxs => Format::Iq3S,
            other => other,
        },
        Role::Value | Role::QueryKeyValue => value(file, base, place),
        Role::Key if place.experts == 8 => Format::Q8_0,
        Role::Down => down(file, base, place),
        Role::Output => output(file, base, place),
        _ => base,
    }
}

fn head(file: Format, base: Format, tensor: &Tensor) -> Format {
    match base {
        _ if file == Format::Mxfp4Moe => Format::Q8_0,
        _ if !tensor.columns.is_multiple_of(base.block().1.into()) => Format::Q8_0,
        Format::Iq1S | Format::Iq1M | Format::Iq2Xxs | Format::Iq2Xs | Format::Iq2S | Format::Iq3Xxs => Format::Q5K,
        Format::Q8_0 => Format::Q8_0,
        _ => Format::Q6K,
    }
}

fn value(file: Format, base: Format, place: &Place) -> Format {
    let wide_groups = place.queries_per_kv_head >= 4;
    let at = place.values_before;
    let format = match file {
        Format::Q2K if wide_groups => Format::Q4K,
        Format::Q2K => Format::Q3K,
        Format::Q2KS if wide_groups => Format::Q4K,
        Format::Q3KM if at < 2 => Format::Q5K,
        Format::Q3KM => Format::Q4K,
        Format::Q3KL => Format::Q5K,
        Format::Iq4Nl | Format::Iq4Xs if wide_groups => Format::Q5K,
        Format::Q4KM | Format::Q5KM if use_more_bits(at, place.values) => Format::Q6K,
        Format::Q4KS if at < 4 => Format::Q5K,
        _ => base,
    };
    match format {
        _ if place.experts == 8 => Format::Q8_0,
        Format::Q3K | Format::Q4K if place.is_70b => Format::Q5K,
        other => other,
    }
}

fn down(file: Format, base: Format, place: &Place) -> Format {
    // Of a mixture of experts llama.cpp takes the number of the layer, otherwise it counts.
    let at = if place.experts > 1 { place.layer } else { place.mlps_before };
    let first_eighth = at < place.layers / 8;
    match file {
        Format::Q2K => Format::Q3K,
        Format::Q2KS if first_eighth => Format::Q4K,
        Format::Q3KM if at < place.layers / 16 => Format::Q5K,
        Format::Q3KM => Format::Q4K,
        Format::Q3KL => Format::Q5K,
        Format::Q4KM | Format::Q5KM if use_more_bits(at, place.layers) => Format::Q6K,
        Format::Iq4Nl | Format::Iq4Xs | Format::Q4KS if first_eighth => Format::Q5K,
        _ => base,
    }
}

fn output(file: Format, base: Format, place: &Place) -> Format {
    let eight = place.experts == 8;
    match file {
        Format::Q2K | Format::Q3KS | Format::Q3KM | Format::Q4KS | Format::Q4KM if eight => Format::Q5K,
        Format::Iq4Nl | Format::Iq4Xs if eight => Format::Q5K,
        _ if eight => base,
        Format::Q2K => Format::Q3K,
        Format::Q3KM => Format::Q4K,
        Format::Q3KL => Format::Q5K,
        _ => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(layer: usize, layers: usize) -> Place {
        let at = Place { layers, values: layers, queries_per_kv_head: 4, ..Place::default() };
        Place { layer, values_before: layer, mlps_before: layer, ..at }
    }

    fn of(file: Format, role: Role, columns: u128, place: &Place) -> Format {
        format_of(file, &Tensor::matrix(role, Part::Mlp, 1024, columns), place)
    }

    #[test]
    fn a_medium_mix_stores_half_of_the_layers_with_more_bits() {
        // Of 32 layers: the first and the last 4, and 6, 9, ..., 27.
        let more: Vec<usize> =
            (0..32).filter(|layer| of(Format::Q4KM, Role::Down, 4096, &place(*layer, 32)) == Format::Q6K).collect();
        assert_eq!(more, [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]);
        for layer in 0..32 {
            let value = of(Format::Q4KM, Role::Value, 4096, &place(layer, 32));
            assert_eq!(value == Format::Q6K, more.contains(&layer));
            assert_eq!(of(Format::Q4KM, Role::Query, 4096, &place(layer, 32)), Format::Q4K);
        }
    }

    #[test]
    fn heads_keep_six_bits_and_values_of_70b_five() {
        let first = place(0, 80);
        assert_eq!(of(Format::Q4_0, Role::Head, 4096, &first), Format::Q6K);
        assert_eq!(of(Format::Q8_0, Role::Head, 4096, &first), Format::Q8_0);
        assert_eq!(of(Format::Q4_0, Role::Embedding, 4096, &first), Format::Q4_0);
        let seventy = Place { is_70b: true, ..place(20, 80) };
        assert_eq!(of(Format::Q4KM, Role::Value, 8192, &seventy), Format::Q5K);
        assert_eq!(of(Format::Q4KM, Role::Value, 8192, &Place { layer: 0, values_before: 0, ..seventy }), Format::Q6K);
        let mixtral = Place { experts: 8, ..place(20, 32) };
        assert_eq!(of(Format::Q4KM, Role::Value, 4096, &mixtral), Format::Q8_0);
        assert_eq!(of(Format::Q4KM, Role::Output, 4096, &mixtral), Format::Q5K);
    }

    #[test]
    fn rows_of_no_whole_blocks_have_a_substitute() {
        // 896 is no multiple of 256, but of 32; 100 of neither.
        let at = place(5, 24);
        assert_eq!(of(Format::Q4KM, Role::Query, 896, &at), Format::Q5_0);
        assert_eq!(of(Format::Q4KM, Role::Head, 896, &at), Format::Q8_0);
        assert_eq!(of(Format::Q4KM, Role::Query, 100, &at), Format::Fp16);
    }
}
