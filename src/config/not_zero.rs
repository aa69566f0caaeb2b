use serde::de::{Deserialize, Deserializer, Error};
use std::fmt::Display;

/// For `#[serde(deserialize_with = "...")]`: refuses 0 where it is read, so that the error names
/// its place.
///
/// # Errors
/// The deserializer's error, for 0 and for what is no `T`.
pub fn not_zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default + PartialEq + Display,
{
    let value = T::deserialize(deserializer)?;
    if value == T::default() {
        return Err(D::Error::custom(format_args!("'{value}' is too little: it must be more than 0")));
    }
    Ok(value)
}
