use serde::Serialize;
use std::fmt;

/// What a transfer is for. The order is the order of precedence under `Priority`, and of every report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TransferClass {
    /// A sublayer's weights, read by the sublayer that needs them.
    WeightRead,
    /// A layer's KV of the tokens that attention does not skip.
    KvRead,
    /// The KV of the token just computed; posted.
    KvWrite,
    /// Tokens' KV moved to a faster tier in the background.
    MigrateIn,
    /// Tokens' KV moved to a slower tier in the background.
    MigrateOut,
}

impl TransferClass {
    /// How many classes there are.
    pub const COUNT: usize = 5;
    /// Every class, in order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::WeightRead, Self::KvRead, Self::KvWrite, Self::MigrateIn, Self::MigrateOut];

    /// The place of this class in [`TransferClass::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in every report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WeightRead => "WeightRead",
            Self::KvRead => "KvRead",
            Self::KvWrite => "KvWrite",
            Self::MigrateIn => "MigrateIn",
            Self::MigrateOut => "MigrateOut",
        }
    }
}

impl fmt::Display for TransferClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
