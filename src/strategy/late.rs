use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a move that is not complete when the read that it was meant for is issued.
///
/// Either way the read takes every page where it is: pages that have not arrived are read at their
/// source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Late {
    /// It goes on, beside the reads, until all has arrived.
    #[default]
    #[serde(alias = "finish")]
    Finish,
    /// What has not arrived stays where it was, and its room at the destination is free again. A
    /// token that was on its way has been carried in vain.
    #[serde(alias = "drop")]
    Drop,
}

impl Late {
    /// Each with its name and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 2] = [
        ("finish", "The move goes on, beside the reads, until all has arrived", Self::Finish),
        (
            "drop",
            "What has not arrived stays where it was, and its room at the destination is free again. A token that was on \
             its way has been carried in vain",
            Self::Drop,
        ),
    ];

    /// Whether it is the default, which configurations need not spell out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Finish => "Finish",
            Self::Drop => "Drop",
        })
    }
}
