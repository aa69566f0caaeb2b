/// Declares the kinds of one part of a strategy: an enum with a variant a kind, its names, and what builds it.
///
/// Each line is `Name => constructor, "what it does";`.
macro_rules! registry {
    ($(#[$doc:meta])* $kind:ident, $what:literal, $part:ident: $($name:ident => $build:expr, $about:literal;)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $kind {
            $(#[doc = $about] $name,)+
        }

        impl $kind {
            /// Every kind, in the order of listings.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in configurations and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it does, in a line.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)+ }
            }

            /// A new one, for one run.
            #[must_use]
            pub fn build(self) -> Box<dyn $part> {
                match self { $(Self::$name => Box::new($build),)+ }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = crate::strategy::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
                    crate::strategy::UnknownName {
                        what: $what,
                        name: name.to_owned(),
                        known: Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}
pub(super) use registry;
