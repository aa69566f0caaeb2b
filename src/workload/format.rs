//! Number formats: how many bytes a weight or an element of the KV occupies, scales included.
//!
//! A plain format stores blocks: so many weights in so many bytes, the block's scales among them.
//! `q4_k`, for example, stores 256 weights in 144 bytes, 4.5 bits each. A *mix* is what llama.cpp
//! calls a file type: it stores different parts of a model in different plain formats
//! ([`is_mix`](Format::is_mix)); the architecture of a model resolves it part by part.
//!
//! Scales that a whole tensor or a whole row shares are not counted: they add less than 0.1 %. Bits
//! are those of the formats' own definitions: the OCP microscaling formats (MX), NVIDIA's NVFP4,
//! and `ggml-common.h` of llama.cpp for the GGUF formats.

use crate::config::did_you_mean;
use crate::units::Bytes;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

macro_rules! formats {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal, $bytes:literal / $weights:literal, $kind:ident;)+) => {
        /// How numbers are stored; in files its name, such as `"bf16"` or `"q4_k_m"`.
        ///
        /// ```
        /// use tiersim::workload::Format;
        /// let format: Format = "q4_k".parse()?;
        /// assert_eq!(format.bits(), 4.5);
        /// assert_eq!(format.bytes_of(8192 * 1024), "4608 KiB".parse().ok());
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Format {
            $($(#[$doc])+ $variant,)+
        }

        impl Format {
            /// All formats.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => &Row {
                        name: $name, bytes: $bytes, weights: $weights, kind: Kind::$kind
                    },)+
                }
            }
        }
    };
}

/// A format's row in the table.
struct Row {
    name: &'static str,
    /// Bytes of a block; of a mix, of its base format.
    bytes: u64,
    /// Weights of a block.
    weights: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One number after another, without blocks.
    Plain,
    /// Blocks, as checkpoints and serving engines store them.
    Blocks,
    /// A tensor format of GGUF files.
    Gguf,
    /// A file type of llama.cpp: a mix of GGUF formats.
    Mix,
}

formats! {
    /// 32-bit floating point.
    Fp32 = "fp32", 4 / 1, Plain;
    /// 16-bit floating point with the exponent of fp32.
    #[default]
    Bf16 = "bf16", 2 / 1, Plain;
    /// 16-bit floating point.
    Fp16 = "fp16", 2 / 1, Plain;
    /// 8-bit floating point with a scale for a tensor or a row.
    Fp8 = "fp8", 1 / 1, Plain;
    /// 8-bit integers with a scale for a row.
    Int8 = "int8", 1 / 1, Plain;
    /// 8-bit floating point with an fp32 scale for each 128 x 128 weights (DeepSeek-V3).
    Fp8Block128 = "fp8-block128", 16_388 / 16_384, Blocks;
    /// 4-bit integers with a 16-bit scale and a 4-bit zero point for each 32 weights (GPTQ, AWQ).
    Int4G32 = "int4-g32", 37 / 64, Blocks;
    /// The same for each 64 weights.
    Int4G64 = "int4-g64", 69 / 128, Blocks;
    /// The same for each 128 weights.
    Int4G128 = "int4-g128", 133 / 256, Blocks;
    /// 4-bit integers with a scale and a zero point of 16 bits each for each 32 weights (torchao,
    /// gpt-fast, MLX).
    Int4G32Z16 = "int4-g32-z16", 20 / 32, Blocks;
    /// The same for each 64 weights.
    Int4G64Z16 = "int4-g64-z16", 36 / 64, Blocks;
    /// The same for each 128 weights.
    Int4G128Z16 = "int4-g128-z16", 68 / 128, Blocks;
    /// 4-bit floating point (E2M1) with an 8-bit scale for each 32 weights.
    Mxfp4 = "mxfp4", 17 / 32, Blocks;
    /// 8-bit floating point with an 8-bit scale for each 32 weights.
    Mxfp8 = "mxfp8", 33 / 32, Blocks;
    /// 4-bit floating point (E2M1) with an fp8 scale for each 16 weights.
    Nvfp4 = "nvfp4", 9 / 16, Blocks;
    /// 4-bit normal float with an fp32 scale for each 64 weights (bitsandbytes).
    Nf4 = "nf4", 36 / 64, Blocks;
    /// GGUF, 4 bits and a scale for each 32 weights.
    Q4_0 = "q4_0", 18 / 32, Gguf;
    /// GGUF, 4 bits, a scale and a minimum for each 32 weights.
    Q4_1 = "q4_1", 20 / 32, Gguf;
    /// GGUF, 5 bits and a scale for each 32 weights.
    Q5_0 = "q5_0", 22 / 32, Gguf;
    /// GGUF, 5 bits, a scale and a minimum for each 32 weights.
    Q5_1 = "q5_1", 24 / 32, Gguf;
    /// GGUF, 8 bits and a scale for each 32 weights.
    Q8_0 = "q8_0", 34 / 32, Gguf;
    /// GGUF K-quants, 2.625 bits.
    Q2K = "q2_k", 84 / 256, Gguf;
    /// GGUF K-quants, 3.4375 bits.
    Q3K = "q3_k", 110 / 256, Gguf;
    /// GGUF K-quants, 4.5 bits.
    Q4K = "q4_k", 144 / 256, Gguf;
    /// GGUF K-quants, 5.5 bits.
    Q5K = "q5_k", 176 / 256, Gguf;
    /// GGUF K-quants, 6.5625 bits.
    Q6K = "q6_k", 210 / 256, Gguf;
    /// GGUF I-quants, 1.5625 bits.
    Iq1S = "iq1_s", 50 / 256, Gguf;
    /// GGUF I-quants, 1.75 bits.
    Iq1M = "iq1_m", 56 / 256, Gguf;
    /// GGUF I-quants, 2.0625 bits.
    Iq2Xxs = "iq2_xxs", 66 / 256, Gguf;
    /// GGUF I-quants, 2.3125 bits.
    Iq2Xs = "iq2_xs", 74 / 256, Gguf;
    /// GGUF I-quants, 2.5625 bits.
    Iq2S = "iq2_s", 82 / 256, Gguf;
    /// GGUF I-quants, 3.0625 bits.
    Iq3Xxs = "iq3_xxs", 98 / 256, Gguf;
    /// GGUF I-quants, 3.4375 bits.
    Iq3S = "iq3_s", 110 / 256, Gguf;
    /// GGUF I-quants, 4.5 bits in blocks of 32.
    Iq4Nl = "iq4_nl", 18 / 32, Gguf;
    /// GGUF I-quants, 4.25 bits.
    Iq4Xs = "iq4_xs", 136 / 256, Gguf;
    /// llama.cpp's Q2_K_S: most in q2_k.
    Q2KS = "q2_k_s", 84 / 256, Mix;
    /// llama.cpp's Q3_K_S: all layers in q3_k.
    Q3KS = "q3_k_s", 110 / 256, Mix;
    /// llama.cpp's Q3_K_M: most in q3_k.
    Q3KM = "q3_k_m", 110 / 256, Mix;
    /// llama.cpp's Q3_K_L: most in q3_k.
    Q3KL = "q3_k_l", 110 / 256, Mix;
    /// llama.cpp's Q4_K_S: most in q4_k.
    Q4KS = "q4_k_s", 144 / 256, Mix;
    /// llama.cpp's Q4_K_M: most in q4_k.
    Q4KM = "q4_k_m", 144 / 256, Mix;
    /// llama.cpp's Q5_K_S: all layers in q5_k.
    Q5KS = "q5_k_s", 176 / 256, Mix;
    /// llama.cpp's Q5_K_M: most in q5_k.
    Q5KM = "q5_k_m", 176 / 256, Mix;
    /// llama.cpp's MXFP4_MOE: experts in mxfp4, all else in q8_0.
    Mxfp4Moe = "mxfp4_moe", 34 / 32, Mix;
}

/// Other spellings of formats.
const ALIASES: &[(&str, Format)] = &[
    ("f32", Format::Fp32),
    ("float32", Format::Fp32),
    ("bfloat16", Format::Bf16),
    ("f16", Format::Fp16),
    ("float16", Format::Fp16),
    ("q8", Format::Q8_0),
];

impl Format {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The bytes and the weights of a block; of a mix, those of its base format.
    #[must_use]
    pub const fn block(self) -> (Bytes, u64) {
        (Bytes::new(self.row().bytes), self.row().weights)
    }

    /// Bits of a weight, scales included; of a mix, those of its base format.
    #[must_use]
    pub fn bits(self) -> f64 {
        8.0 * self.row().bytes as f64 / self.row().weights as f64
    }

    /// Whether it is a file type of llama.cpp that stores different parts in different formats.
    #[must_use]
    pub const fn is_mix(self) -> bool {
        matches!(self.row().kind, Kind::Mix)
    }

    /// Whether GGUF files have it, as a mix or as the format of a tensor.
    #[must_use]
    pub const fn is_gguf(self) -> bool {
        matches!(self.row().kind, Kind::Mix | Kind::Gguf)
    }

    /// Whether it stores one number after another, without blocks of weights that share a scale.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        matches!(self.row().kind, Kind::Plain)
    }

    /// What so many weights occupy, the last block rounded up to bytes; `None` where that exceeds
    /// [`Bytes::MAX_INPUT`].
    #[must_use]
    pub fn bytes_of(self, weights: u64) -> Option<Bytes> {
        let row = self.row();
        let bytes = (u128::from(weights) * u128::from(row.bytes)).div_ceil(u128::from(row.weights));
        u64::try_from(bytes).ok().map(Bytes::new).filter(|bytes| *bytes <= Bytes::MAX_INPUT)
    }
}

/// A name that is no format's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{name}' is no number format: use one of {known}.{meant}")]
pub struct FormatError {
    /// What was written.
    pub name: String,
    /// The names of all formats.
    pub known: String,
    /// Which one was probably meant, in a sentence that starts with a space; empty if none.
    pub meant: String,
}

impl FromStr for Format {
    type Err = FormatError;

    /// Upper and lower case are the same: `"Q4_K_M"` is `"q4_k_m"`.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let wanted = text.trim().to_ascii_lowercase();
        let named = Self::ALL.iter().copied().find(|format| format.name() == wanted);
        let alias = || ALIASES.iter().find(|(name, _)| *name == wanted).map(|(_, format)| *format);
        named.or_else(alias).ok_or_else(|| FormatError {
            name: crate::config::shortened(text, 40).into_owned(),
            known: Self::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", "),
            meant: did_you_mean(text, Self::ALL.iter().map(|format| format.name())),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl serde::de::Visitor<'_> for Name {
            type Value = Format;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a number format, such as \"bf16\" or \"q4_k_m\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Format, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_include_scales() {
        for (name, bits) in [
            ("bf16", 16.0),
            ("mxfp4", 4.25),
            ("mxfp8", 8.25),
            ("nvfp4", 4.5),
            ("int4-g128", 4.0 + 20.0 / 128.0),
            ("int4-g32", 4.0 + 20.0 / 32.0),
            ("int4-g32-z16", 5.0),
            ("int4-g128-z16", 4.25),
            ("q4_0", 4.5),
            ("q8_0", 8.5),
            ("q4_k", 4.5),
            ("q5_k", 5.5),
            ("q6_k", 6.5625),
            ("iq4_xs", 4.25),
        ] {
            assert_eq!(name.parse::<Format>().unwrap().bits(), bits, "{name}");
        }
        // 7168 x 2048 weights of DeepSeek-V3 are 56 x 16 blocks with a scale of 4 bytes each.
        assert_eq!(Format::Fp8Block128.bytes_of(7168 * 2048), Some(Bytes::new(7168 * 2048 + 56 * 16 * 4)));
    }

    #[test]
    fn names_read_back_and_others_are_refused_with_the_one_that_was_meant() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(*format));
        }
        assert_eq!("Q4_K_M".parse(), Ok(Format::Q4KM));
        assert_eq!("F16".parse(), Ok(Format::Fp16));
        let error = "fp9".parse::<Format>().unwrap_err().to_string();
        assert!(error.contains("'fp9'") && error.contains("mxfp4") && error.contains("fp8"), "{error}");
        let error = "q4-km".parse::<Format>().unwrap_err().to_string();
        assert!(error.ends_with("Did you mean 'q4_k_m'?"), "{error}");
    }

    #[test]
    fn sizes_that_cannot_be_counted_are_none() {
        assert_eq!(Format::Fp32.bytes_of(u64::MAX), None);
        assert_eq!(Format::Q6K.bytes_of(0), Some(Bytes::ZERO));
        assert_eq!(Format::Mxfp4.bytes_of(1), Some(Bytes::new(1)));
    }
}
