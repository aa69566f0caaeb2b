//! Kinds of parts with their parameters: how they are declared, written and read.
//!
//! A kind is written as its name, `Prior`, or with parameters, `Prior(threshold: 90%, tokens: 64)`;
//! those that are not written have their defaults. In JSON parameters are
//! `{"Prior": {"threshold": 0.9}}`, in RON as in text except that units are in quotes.

use crate::config::{not_finite, typed};
use crate::strategy::UnknownName;
use crate::units::parse_count;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// A part of a strategy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum PartError {
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    #[error("{name}: {message}. Parameters: {known}")]
    Parameter { name: &'static str, message: String, known: String },
    #[error("'{0}' is no part of a strategy: write NAME or NAME(parameter: value, ...)")]
    Form(String),
}

/// Declares the kinds of one part of a strategy: an enum with a variant for each kind, its
/// parameters, and its constructor.
///
/// Each line is `Name { parameter: Type = default } => constructor, "what it does";`, the braces
/// only where there are parameters. A parameter may have attributes of serde for writing it.
macro_rules! registry {
    ($(#[$doc:meta])* $kind:ident, $what:literal, $part:path:
        $($name:ident $({ $($(#[$attribute:meta])* $field:ident: $type:ty = $default:expr),+ })? => $build:expr, $about:literal;)+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        #[allow(missing_docs)]
        pub enum $kind {
            $(#[doc = $about] $name $({ $($(#[$attribute])* $field: $type),+ })?,)+
        }

        impl $kind {
            /// Every kind with its default parameters, in the order of listings.
            pub const ALL: &'static [Self] = &[$(Self::$name { $($($field: $default),+)? }),+];

            /// The name in configurations and reports, without parameters.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)+ }
            }

            /// What it does, in a line.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name { .. } => $about,)+ }
            }

            /// A new one, for one run.
            #[must_use]
            pub fn build(self) -> Box<dyn $part> {
                match self { $(Self::$name { $($($field),+)? } => Box::new($build),)+ }
            }

            /// Its parameters with their values, as they are written.
            #[must_use]
            pub fn parameters(self) -> Vec<(String, String)> {
                crate::strategy::registry::parameters(&self)
            }

            /// The kind of that name, with the parameters in `given` and defaults for the others.
            fn with(name: &str, given: serde_json::Map<String, serde_json::Value>) -> Result<Self, crate::strategy::PartError> {
                $(
                    if name == stringify!($name) {
                        #[derive(serde::Deserialize)]
                        #[serde(default, deny_unknown_fields)]
                        struct Parameters { $($($field: $type),+)? }
                        impl Default for Parameters {
                            fn default() -> Self { Self { $($($field: $default),+)? } }
                        }
                        let read = serde_path_to_error::deserialize::<_, Parameters>(serde_json::Value::Object(given));
                        let Parameters { $($($field),+)? } = read.map_err(|error| crate::strategy::PartError::Parameter {
                            name: stringify!($name),
                            message: crate::strategy::registry::described(&error),
                            known: [$($(concat!(stringify!($field), ": ", stringify!($type))),+)?]
                                .map(str::to_owned as fn(&str) -> String).join(", "),
                        })?;
                        return Ok(Self::$name { $($($field),+)? });
                    }
                )+
                Err(crate::strategy::UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
                }.into())
            }
        }

        impl std::fmt::Display for $kind {
            /// With the parameters that are not the defaults.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let usual = Self::ALL.iter().find(|kind| kind.name() == self.name()).expect("every kind is listed");
                crate::strategy::registry::show(f, self.name(), self.parameters(), &usual.parameters())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = crate::strategy::PartError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let (name, given) = crate::strategy::registry::read(text)?;
                Self::with(name, given)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use crate::strategy::registry::Written;
                let wrong = <D::Error as serde::de::Error>::custom::<crate::strategy::PartError>;
                match Written::deserialize(deserializer)? {
                    Written::Text(text) => text.parse().map_err(wrong),
                    Written::Nothing(None | Some(())) => "None".parse().map_err(wrong),
                    Written::Variant(mut variant) => match variant.pop_first() {
                        Some((name, given)) if variant.is_empty() => Self::with(&name, given).map_err(wrong),
                        _ => Err(wrong(crate::strategy::PartError::Form("{...}".to_owned()))),
                    },
                }
            }
        }
    };
}
pub(super) use registry;

/// A part as it is written in a configuration.
#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of a part of a strategy, or a name with parameters: Name(parameter: value)")]
pub(super) enum Written {
    Text(String),
    Variant(BTreeMap<String, Map<String, Value>>),
    /// RON reads the name `None` as nothing there.
    Nothing(Option<()>),
}

/// `Name(parameter: value, ...)`: a value is JSON or else text, so that units need no quotes.
pub(super) fn read(text: &str) -> Result<(&str, Map<String, Value>), PartError> {
    let form = || PartError::Form(text.to_owned());
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else { return Ok((text, Map::new())) };
    let inner = rest.strip_suffix(')').ok_or_else(form)?;
    let mut given = Map::new();
    for parameter in inner.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (field, value) = parameter.split_once(':').ok_or_else(form)?;
        let value = match typed(value.trim()) {
            Value::String(text) => parse_count(&text, u64::MAX).map_or(Value::String(text), Value::from),
            value => value,
        };
        given.insert(field.trim().to_owned(), value);
    }
    Ok((name.trim_end(), given))
}

/// The message of an error, after the name of the parameter that it is about.
pub(super) fn described(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let message = not_finite(error.inner().to_string());
    match error.path().to_string().as_str() {
        "." => message,
        path => format!("{path}: {message}"),
    }
}

pub(super) fn parameters(kind: &impl serde::Serialize) -> Vec<(String, String)> {
    let fields = match serde_json::to_value(kind) {
        Ok(Value::Object(variant)) => variant.into_iter().next().map(|(_, fields)| fields),
        _ => None,
    };
    let Some(Value::Object(fields)) = fields else { return Vec::new() };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.into_iter().map(|(name, value)| (name, text(value))).collect()
}

pub(super) fn show(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    parameters: Vec<(String, String)>,
    usual: &[(String, String)],
) -> fmt::Result {
    let shown = parameters.into_iter().filter(|parameter| !usual.contains(parameter));
    let shown: Vec<String> = shown.map(|(name, value)| format!("{name}: {value}")).collect();
    if shown.is_empty() { f.pad(name) } else { f.pad(&format!("{name}({})", shown.join(", "))) }
}
