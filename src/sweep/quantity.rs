//! Values of an axis: their unit, their number and their text.
//!
//! A field of a scenario is a JSON value such as `"2 GiB"` or `0.4`. To place points in a range, to
//! sort and to draw, a sweep needs a number in a base unit (bytes, bytes a second, nanoseconds); to
//! set the field and to show the value, it needs the text back. A [`Quantity`] has all three. The
//! unit of an axis follows from the field's present value, or from the axis's first value.

use crate::units::{Bandwidth, Bytes, Ratio, SimTime, SizeStyle, parse_count};
use crate::workload::RateConfig;
use serde_json::{Number, Value};

/// The unit of an axis's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Names, choices, and other values without an order.
    Text,
    /// A whole number.
    Whole,
    /// A number, or a share of one.
    Real,
    /// A size, typed in units of that style; its number is in bytes.
    Bytes(SizeStyle),
    /// A bandwidth; its number is in bytes a second.
    Bandwidth,
    /// A time; its number is in nanoseconds.
    Time,
    /// How many times as fast requests arrive as recorded: `x2`.
    Times,
    /// Requests a second: `4/s`.
    PerSecond,
}

/// A value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// As a person reads it, without loss.
    pub label: String,
    /// In the base of its unit, where it is a number.
    pub number: Option<f64>,
    /// As a field takes it.
    pub value: Value,
}

impl Unit {
    /// The unit of a field whose value now is `present`; of a field without a value, that of the
    /// first of `values`.
    #[must_use]
    pub fn of(present: &Value, values: &[Value]) -> Self {
        match present {
            Value::Null => {
                // 0 needs no unit, so the unit cannot be inferred from it.
                let telling = |value: &&Value| !value.is_null() && value.as_str().is_none_or(|text| text.trim() != "0");
                values.iter().find(telling).map_or(Self::Text, |value| Self::of(value, &[]))
            }
            Value::Number(number) if number.is_f64() => Self::Real,
            Value::Number(_) => Self::Whole,
            Value::String(text) => Self::of_text(text).as_typed(values),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Text,
        }
    }

    /// Sizes are shown in the units in which the first of `values` was typed.
    fn as_typed(self, values: &[Value]) -> Self {
        // Of a rate, what the values say: requests may be recorded.
        if let Some(rate) = values.iter().filter_map(Value::as_str).map(Self::of_text).find(|unit| unit.is_rate()) {
            return rate;
        }
        let Self::Bytes(usual) = self else { return self };
        let sizes = values.iter().filter_map(Value::as_str).filter_map(|text| text.parse::<Bytes>().ok());
        Self::Bytes(sizes.filter(|size| *size != Bytes::ZERO).map(Bytes::style).next().unwrap_or(usual))
    }

    fn of_text(text: &str) -> Self {
        match text.parse::<RateConfig>() {
            Ok(RateConfig::Times(_)) => return Self::Times,
            Ok(RateConfig::PerSecond(_)) => return Self::PerSecond,
            _ => {}
        }
        let numeric = text.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if !numeric {
            Self::Text
        } else if text.parse::<Bandwidth>().is_ok() {
            Self::Bandwidth
        } else if let Ok(size) = text.parse::<Bytes>() {
            Self::Bytes(size.style())
        } else if text.parse::<SimTime>().is_ok() {
            Self::Time
        } else if text.parse::<Ratio>().is_ok() {
            Self::Real
        } else {
            Self::Text
        }
    }

    /// A value of this unit.
    ///
    /// # Errors
    /// A description of what is wrong with it.
    pub fn read(self, value: &Value) -> Result<Quantity, String> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let failed = |error: &dyn std::error::Error| error.to_string();
        Ok(match self {
            Self::Text => Quantity { label: text, number: None, value: value.clone() },
            Self::Whole => match (value.as_i64().or_else(|| text.parse().ok()), parse_count(&text, u64::MAX)) {
                (Some(whole), _) => Quantity { label: text, number: Some(whole as f64), value: whole.into() },
                (None, Ok(count)) => {
                    Quantity { label: count.to_string(), number: Some(count as f64), value: count.into() }
                }
                (None, Err(error)) => return Err(error.to_string()),
            },
            Self::Real => {
                let percent = || text.ends_with('%').then(|| text.parse::<Ratio>().ok().map(Ratio::as_f64)).flatten();
                match value.as_f64().or_else(percent) {
                    Some(real) => Self::real(real),
                    None if value.is_null() => {
                        return Err("NaN and inf are not valid here: write 0.4 or \"40%\"".to_owned());
                    }
                    None => return Err(format!("'{text}' is not a number: write 0.4 or \"40%\"")),
                }
            }
            Self::Bytes(_) => {
                let bytes: Bytes = text.parse().map_err(|error| failed(&error))?;
                Self::named(bytes.as_f64(), bytes.to_string())
            }
            Self::Bandwidth => {
                let bandwidth: Bandwidth = text.parse().map_err(|error| failed(&error))?;
                Self::named(bandwidth.as_f64(), bandwidth.to_string())
            }
            Self::Time => {
                let time: SimTime = text.parse().map_err(|error| failed(&error))?;
                Self::named(time.as_ns(), time.to_string())
            }
            Self::Times | Self::PerSecond => match (self, text.parse::<RateConfig>()?) {
                (Self::Times, RateConfig::Times(rate)) | (Self::PerSecond, RateConfig::PerSecond(rate)) => {
                    Self::named(rate, text.trim().to_owned())
                }
                (Self::Times, RateConfig::Recorded) => Self::named(1.0, text),
                _ => {
                    return Err(format!(
                        "'{text}' is another kind of rate than the first value: write all as x2, or all as 4/s"
                    ));
                }
            },
        })
    }

    /// The value of this unit that is nearest to `number`; `None` where there is none.
    #[must_use]
    pub fn nearest(self, number: f64) -> Option<Quantity> {
        let whole = number.round();
        Some(match self {
            Self::Text => return None,
            Self::Whole => Quantity { label: format!("{whole}"), number: Some(whole), value: (whole as i64).into() },
            Self::Real => Self::real(number),
            Self::Bytes(_) => {
                let bytes = Bytes::new(whole as u64);
                Self::named(bytes.as_f64(), bytes.to_string())
            }
            Self::Bandwidth => {
                let bandwidth = Bandwidth::new(whole as u64)?;
                Self::named(bandwidth.as_f64(), bandwidth.to_string())
            }
            Self::Time => {
                let time = SimTime::from_ns(number);
                Self::named(time.as_ns(), time.to_string())
            }
            Self::Times => Self::named(significant(number, 6), RateConfig::Times(significant(number, 6)).to_string()),
            Self::PerSecond => {
                Self::named(significant(number, 6), RateConfig::PerSecond(significant(number, 6)).to_string())
            }
        })
    }

    /// Whether it is how fast requests arrive.
    fn is_rate(self) -> bool {
        matches!(self, Self::Times | Self::PerSecond)
    }

    /// Whether its values are whole in their base.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Whole | Self::Bytes(_) | Self::Bandwidth)
    }

    /// The divisor that makes numbers up to `most` readable, and its unit.
    #[must_use]
    pub fn scale(self, most: f64) -> (f64, &'static str) {
        let units: &[(f64, &'static str)] = match self {
            Self::Time => &[(1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")],
            Self::Bytes(style) => style.units(),
            Self::Bandwidth => &[(1.0, "B/s"), (1e6, "MB/s"), (1e9, "GB/s"), (1e12, "TB/s")],
            Self::Times => &[(1.0, "times")],
            Self::PerSecond => &[(1.0, "/s")],
            Self::Whole | Self::Real | Self::Text => &[(1.0, "")],
        };
        *units.iter().rfind(|(factor, _)| most >= *factor).unwrap_or(&units[0])
    }

    /// A number of this unit as a person reads it, rounded.
    #[must_use]
    pub fn shown(self, number: f64) -> String {
        match self {
            Self::Bytes(_) | Self::Bandwidth => {
                let (factor, name) = self.scale(number);
                let value = number / factor;
                let decimals = if value.fract() == 0.0 {
                    0
                } else if value < 10.0 {
                    3
                } else {
                    1
                };
                format!("{value:.decimals$} {name}")
            }
            Self::Time => SimTime::from_ns(number).rounded(),
            Self::Times => RateConfig::Times(significant(number, 4)).to_string(),
            Self::PerSecond => RateConfig::PerSecond(significant(number, 4)).to_string(),
            Self::Whole | Self::Real | Self::Text => format!("{}", significant(number, 6)),
        }
    }

    /// The name of the unit, for columns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Whole | Self::Real => "number",
            Self::Bytes(_) => "bytes",
            Self::Bandwidth => "bytes a second",
            Self::Time => "ns",
            Self::Times => "times",
            Self::PerSecond => "requests a second",
        }
    }

    /// `number` to twelve significant digits, so that a computed point of a range is the same on
    /// machines whose last bits differ.
    fn real(number: f64) -> Quantity {
        let number = significant(number, 12);
        let value = Number::from_f64(number).map_or(Value::Null, Value::Number);
        Quantity { label: format!("{number}"), number: Some(number), value }
    }

    fn named(number: f64, label: String) -> Quantity {
        Quantity { number: Some(number), value: Value::String(label.clone()), label }
    }
}

/// `number` to `digits` significant digits.
fn significant(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits - 1).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_their_field_is() {
        let read = |present: Value, value: Value| Unit::of(&present, &[]).read(&value);
        assert_eq!(read(json!("4 GiB"), json!("2GiB")).unwrap().number, Some(2.0 * 1_073_741_824.0));
        assert_eq!(read(json!("900 GB/s"), json!("450GB/s")).unwrap().label, "450 GB/s");
        assert_eq!(read(json!(0.0), json!("40%")).unwrap().value, json!(0.4));
        assert_eq!(read(json!(1024), json!("64")).unwrap().value, json!(64));
        assert_eq!(read(json!("best-ratio"), json!("baseline")).unwrap().number, None);
        assert_eq!(read(json!("100 ns"), json!("1us")).unwrap().number, Some(1000.0));
        assert_eq!(read(json!(1024), json!("128k")).unwrap().value, json!(131_072));
        assert_eq!(read(json!(1024), json!("131_072")).unwrap().label, "131072");
        assert_eq!(read(json!(1), json!(18_446_744_073_709_551_614u64)).unwrap().label, "18446744073709551614");
        assert!(read(json!("4 GiB"), json!("4")).unwrap_err().contains("no unit"));
        assert!(read(json!("4 GiB"), json!(4)).unwrap_err().contains("no unit"));
        assert!(read(json!("100 ns"), json!(1)).unwrap_err().contains("no unit"));
        assert!(read(json!("4 GiB"), json!("much")).unwrap_err().contains("much"));
        assert!(read(json!(1024), json!(0.5)).unwrap_err().contains("0.5"));
        assert_eq!(Unit::of(&Value::Null, &[json!("1 TB/s")]), Unit::Bandwidth);
    }

    #[test]
    fn numbers_become_values_without_noise() {
        assert_eq!(Unit::Real.nearest(0.1 + 0.2).unwrap().value, json!(0.3));
        assert_eq!(Unit::Bytes(SizeStyle::Binary).nearest(2.0 * 1_073_741_824.0 + 0.2).unwrap().label, "2 GiB");
        assert_eq!(Unit::Whole.nearest(2.5).unwrap().value, json!(3));
        assert_eq!(Unit::Bandwidth.nearest(0.2), None);
        assert_eq!(Unit::Bytes(SizeStyle::Binary).shown(1.5 * 1_073_741_824.0), "1.500 GiB");
        // Sizes are shown in the units that they were typed in.
        let unit = Unit::of(&json!("4 GiB"), &[json!("0"), json!("96GB"), json!("144GB")]);
        assert_eq!((unit, unit.shown(120.5e9).as_str()), (Unit::Bytes(SizeStyle::Decimal), "120.5 GB"));
        assert_eq!(Unit::of(&json!("96 GB"), &[json!("64GiB")]), Unit::Bytes(SizeStyle::Binary));
        assert_eq!(Unit::of(&json!("96 GB"), &[]), Unit::Bytes(SizeStyle::Decimal));
    }
}
