use super::quantity::{self, QuantityError, decimal};
use std::fmt;
use std::str::FromStr;

/// What a machine costs for an hour, in some currency, in millionths: `2.99 USD/h`.
///
/// ```
/// use tiersim::units::Price;
/// let price: Price = "3.60 USD/h".parse()?;
/// assert_eq!(price.to_string(), "3.6 USD/h");
/// // 100 tokens/s are a million tokens in 10,000 s.
/// assert!((price.of_million(100.0) - 10.0).abs() < 1e-9);
/// # Ok::<(), tiersim::units::QuantityError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    millionths: u64,
    currency: String,
}

const WHAT: &str = "price";
const EXAMPLE: &str = "\"2.99 USD/h\"";
/// The most millionths: a machine for a million an hour is a mistake.
const MOST: u128 = 1_000_000_000_000;
/// The longest name of a currency.
const MOST_LETTERS: usize = 8;

impl Price {
    /// The currency, as it was written.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// What a million tokens cost on a machine that produces so many a second, in the currency.
    #[must_use]
    pub fn of_million(&self, tokens_per_s: f64) -> f64 {
        let hours = 1e6 / tokens_per_s / 3600.0;
        self.millionths as f64 / 1e6 * hours
    }
}

impl FromStr for Price {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(QuantityError::Negative { what: WHAT, text: text.to_owned(), example: EXAMPLE });
        }
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
        let no_number = || QuantityError::NoNumber { what: WHAT, text: text.to_owned(), example: EXAMPLE };
        let (mantissa, scale) = decimal(number).ok_or_else(no_number)?;
        let currency = unit.strip_suffix("/h").map(str::trim);
        let is_name =
            |name: &&str| (1..=MOST_LETTERS).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphabetic());
        let Some(currency) = currency.filter(is_name) else {
            let found =
                if unit.is_empty() { "no unit".to_owned() } else { format!("the unit '{unit}', which is not one") };
            let units = "a currency an hour: USD/h, EUR/h".to_owned();
            return Err(QuantityError::Unit { what: WHAT, text: text.to_owned(), found, units, example: EXAMPLE });
        };
        let millionths = mantissa.checked_mul(1_000_000).map(|scaled| (scaled + scale / 2) / scale);
        let millionths = millionths.filter(|millionths| (1..=MOST).contains(millionths)).ok_or_else(|| {
            let limit = "it goes from 0.000001 to 1,000,000 an hour".to_owned();
            QuantityError::Range { what: WHAT, text: text.to_owned(), limit }
        })?;
        Ok(Self { millionths: millionths as u64, currency: currency.to_owned() })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.millionths / 1_000_000, format!("{:06}", self.millionths % 1_000_000));
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        f.pad(&format!("{whole}{point}{part} {}/h", self.currency))
    }
}

quantity::serialize_as_text!(Price);
quantity::deserialize_from_text!(Price, "a price such as \"2.99 USD/h\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_read_back_as_they_are_printed() {
        for (text, shown) in [("2.99 USD/h", "2.99 USD/h"), ("3EUR/h", "3 EUR/h"), ("0.000001 X/h", "0.000001 X/h")] {
            let price: Price = text.parse().unwrap();
            assert_eq!(price.to_string(), shown);
            assert_eq!(shown.parse::<Price>().unwrap(), price);
        }
    }

    #[test]
    fn what_is_no_price_is_refused_with_an_example() {
        for text in
            ["", "2.99", "2.99 USD", "2.99 USD/s", "-1 USD/h", "0 USD/h", "1e9 USD/h", "2 U$D/h", "1000001 USD/h"]
        {
            let error = text.parse::<Price>().unwrap_err().to_string();
            assert!(error.contains("price"), "{text}: {error}");
        }
    }
}
