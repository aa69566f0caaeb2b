use crate::units::parse_count;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// An unsigned integer that a configuration counts in.
pub trait Counting: TryFrom<u64> {
    /// The greatest one.
    const MOST: u64;
}

impl Counting for u32 {
    const MOST: u64 = u32::MAX as u64;
}

impl Counting for u64 {
    const MOST: u64 = u64::MAX;
}

/// For `#[serde(deserialize_with = "...")]`: a number of tokens, steps or the like, which may also
/// be written as text: `"128k"`, `"131_072"`. What is no whole number, or too great a one, is
/// refused with what to write.
///
/// # Errors
/// The deserializer's error.
pub fn count<'de, D: Deserializer<'de>, T: Counting>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Count(PhantomData))
}

/// The same, but not 0.
///
/// # Errors
/// The deserializer's error.
pub fn count_from_1<'de, D: Deserializer<'de>, T: Counting + PartialEq + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value: T = count(deserializer)?;
    if value == T::default() {
        return Err(D::Error::custom(TOO_LITTLE));
    }
    Ok(value)
}

/// The same, where the field may be left out: as [`count`] where it is given.
///
/// # Errors
/// The deserializer's error.
pub fn optional_count<'de, D: Deserializer<'de>, T: Counting>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(OptionalCount(PhantomData))
}

/// The same, but not 0.
///
/// # Errors
/// The deserializer's error.
pub fn optional_count_from_1<'de, D: Deserializer<'de>, T: Counting + PartialEq + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match optional_count(deserializer)? {
        Some(value) if value == T::default() => Err(D::Error::custom(TOO_LITTLE)),
        value => Ok(value),
    }
}

struct OptionalCount<T>(PhantomData<T>);

impl<'de, T: Counting> Visitor<'de> for OptionalCount<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Count::<T>(PhantomData).expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        count(deserializer).map(Some)
    }
}

/// What is wrong with a count of 0.
const TOO_LITTLE: &str = "'0' is too little: it must be more than 0";

struct Count<T>(PhantomData<T>);

impl<T: Counting> Visitor<'_> for Count<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, such as 1024, 131_072 or \"128k\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let count = parse_count(text, T::MOST).map_err(E::custom)?;
        T::try_from(count).map_err(|_| E::custom("it is too great"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        // `1e3` is a whole number. Others keep their digits, but no 309 of them.
        if number.is_finite() && number.abs() < 1e18 {
            self.visit_str(&number.to_string())
        } else {
            self.visit_str(&format!("{number:e}"))
        }
    }
}
