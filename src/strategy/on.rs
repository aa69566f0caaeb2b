use serde::{Deserialize, Serialize};
use std::fmt;

/// What a migration decides for, where experts are units: what it does not decide for stays where
/// it was laid out or placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum On {
    /// Pages of KV.
    #[serde(alias = "kv")]
    Kv,
    /// Experts.
    #[serde(alias = "experts")]
    Experts,
    /// Both, each by itself unless they share room.
    #[default]
    #[serde(alias = "both")]
    Both,
}

impl On {
    /// Each with its name and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 3] = [
        ("kv", "Pages of KV move; experts stay where they were laid out", Self::Kv),
        ("experts", "Experts move; KV stays where it was placed", Self::Experts),
        ("both", "Both move", Self::Both),
    ];

    /// Whether it is the default, which configurations need not spell out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kv => "Kv",
            Self::Experts => "Experts",
            Self::Both => "Both",
        })
    }
}
