use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Something that a configuration names (a shipped one, or a file) or spells out in place.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference<T> {
    /// A name or a path.
    Name(String),
    /// The thing itself.
    Inline(T),
}

impl<T> Reference<T> {
    /// The thing itself, where it is spelled out.
    #[must_use]
    pub fn inline(&self) -> Option<&T> {
        match self {
            Self::Name(_) => None,
            Self::Inline(value) => Some(value),
        }
    }

    /// The thing itself: as it is spelled out, or as `find` finds it by its name.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn resolve<E>(self, find: impl FnOnce(&str) -> Result<T, E>) -> Result<T, E> {
        match self {
            Self::Name(name) => find(&name),
            Self::Inline(value) => Ok(value),
        }
    }
}

impl<T> From<T> for Reference<T> {
    fn from(value: T) -> Self {
        Self::Inline(value)
    }
}

impl<T: Serialize> Serialize for Reference<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Inline(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Reference<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrInline<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for NameOrInline<T> {
            type Value = Reference<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, a path, or the thing itself in parentheses")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Reference::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Reference::Inline)
            }
        }

        deserializer.deserialize_any(NameOrInline(PhantomData))
    }
}
