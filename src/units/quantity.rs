//! Reading and printing a number with a unit, exactly: no float stands between the text and the
//! integer.

use thiserror::Error;

/// Why a text is not the quantity that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum QuantityError {
    /// The text does not start with a number.
    #[error("'{text}' is no {what}: write a number and a unit, such as {example}")]
    NoNumber { what: &'static str, text: String, example: &'static str },
    /// The number is not whole, or there is none.
    #[error("'{text}' is no whole number: write {example}")]
    Whole { text: String, example: &'static str },
    /// The number is negative.
    #[error("'{text}' is negative, but a {what} must not be: write {example}")]
    Negative { what: &'static str, text: String, example: &'static str },
    /// The unit is missing or unknown.
    #[error("'{text}' has {found} for a {what}: use one of {units}, such as {example}")]
    Unit { what: &'static str, text: String, found: String, units: String, example: &'static str },
    /// The value is outside of what the simulator accepts.
    #[error("'{text}' is outside of what a {what} may be: {limit}")]
    Range { what: &'static str, text: String, limit: String },
}

/// One kind of quantity: its name in messages, an example, and its units with their factors.
pub(super) struct Kind {
    pub what: &'static str,
    pub example: &'static str,
    /// Unit and how many base units it is, the smallest first; of two names for one, the one to
    /// print last. An empty name allows a bare number; without one, only 0 needs no unit.
    pub units: &'static [(&'static str, u128)],
}

impl Kind {
    /// The value in base units, rounded to the nearest (halves up).
    pub fn parse(&self, text: &str) -> Result<u128, QuantityError> {
        let trimmed = text.trim();
        let no_number = || QuantityError::NoNumber { what: self.what, text: text.to_owned(), example: self.example };
        if trimmed.starts_with('-') {
            return Err(QuantityError::Negative { what: self.what, text: text.to_owned(), example: self.example });
        }
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim();
        let (mantissa, scale) = decimal(number).ok_or_else(no_number)?;
        if mantissa == 0 && unit.is_empty() {
            return Ok(0);
        }
        let factor = self.units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(|| {
            QuantityError::Unit {
                what: self.what,
                text: text.to_owned(),
                found: if unit.is_empty() {
                    "no unit".to_owned()
                } else {
                    format!("the unit '{unit}', which is not one")
                },
                units: self
                    .units
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| !name.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
                example: self.example,
            }
        })?;
        mantissa
            .checked_mul(factor)
            .map(|scaled| (scaled + scale / 2) / scale)
            .ok_or_else(|| self.range(text, "a number that large cannot be counted"))
    }

    pub fn range(&self, text: &str, limit: impl Into<String>) -> QuantityError {
        QuantityError::Range { what: self.what, text: text.to_owned(), limit: limit.into() }
    }
}

/// Digits with at most one point, as `mantissa / scale`. At most 18 digits after the point, 24 in
/// all.
pub(super) fn decimal(text: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.contains('.') {
        return None;
    }
    let digits = |part: &str| part.chars().filter(|c| *c != '_').collect::<String>();
    let (whole, fraction) = (digits(whole), digits(fraction));
    if whole.len() + fraction.len() == 0 || fraction.len() > 18 || whole.len() > 24 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some((whole.checked_mul(scale)?.checked_add(part)?, scale))
}

/// Quantities of up to so many digits are printed exactly, longer ones rounded.
pub(super) const READ_EXACTLY: usize = 5;

/// `value` with four significant digits, without a unit.
pub(super) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v.fract() == 0.0 && v < 1e4 => 0,
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// `value` in the largest of `units` that holds it with at most three decimals, so that it reads
/// back as the same value. Of two names for one unit, the later in the list is printed; the first
/// unit holds every whole value.
pub(super) fn exact(value: u64, units: &[(&str, u128)]) -> String {
    let value = u128::from(value);
    let fits = |factor: u128| value >= factor && (value * 1000).is_multiple_of(factor);
    let smallest = units.partition_point(|(_, factor)| *factor == 1).max(1) - 1;
    let (name, factor) = units.iter().rfind(|(_, factor)| fits(*factor)).unwrap_or(&units[smallest]);
    let milli = value * 1000 / factor;
    let part = format!("{:03}", milli % 1000);
    match part.trim_end_matches('0') {
        "" => format!("{} {name}", milli / 1000),
        part => format!("{}.{part} {name}", milli / 1000),
    }
}

/// Implements `Serialize` by way of `Display`.
macro_rules! serialize_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
pub(crate) use serialize_as_text;

/// Implements `Deserialize` by way of `FromStr`; a number is read as its text is.
macro_rules! deserialize_from_text {
    ($type:ty, $expecting:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        // Digits as they are typed, but no 309 of them.
                        if number.is_finite() && (number == 0.0 || (1e-18..1e24).contains(&number.abs())) {
                            self.visit_str(&number.to_string())
                        } else {
                            self.visit_str(&format!("{number:e}"))
                        }
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}
pub(crate) use deserialize_from_text;
