use super::quantity::{Kind, QuantityError, decimal};

const KIND: Kind = Kind {
    what: "whole number",
    example: "1024, 131_072 or \"128k\"",
    units: &[("", 1), ("k", 1 << 10), ("K", 1 << 10), ("Ki", 1 << 10), ("M", 1 << 20), ("Mi", 1 << 20)],
};

/// A whole number up to `most`, as people write how many tokens there are: `1024`, `131_072`,
/// `128k`. Contexts are named in powers of two, so `k` is 1024: `128k` tokens are 131,072 of them.
///
/// ```
/// use tiersim::units::parse_count;
/// assert_eq!(parse_count("128k", u64::MAX), Ok(131_072));
/// assert_eq!(parse_count("131_072", u64::MAX), Ok(131_072));
/// assert!(parse_count("1.5", u64::MAX).is_err() && parse_count("-1", u64::MAX).is_err());
/// ```
///
/// # Errors
/// [`QuantityError`] for what is no whole number from 0 to `most`.
pub fn parse_count(text: &str, most: u64) -> Result<u64, QuantityError> {
    let no_whole = || QuantityError::Whole { text: text.to_owned(), example: KIND.example };
    KIND.parse(text).map_err(|error| if let QuantityError::Negative { .. } = error { error } else { no_whole() })?;
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor = KIND.units.iter().find(|(name, _)| *name == unit.trim()).map_or(1, |(_, factor)| *factor);
    let limit = || format!("it goes from 0 to {most}, such as {}", KIND.example);
    let (mantissa, scale) = decimal(number).ok_or_else(no_whole)?;
    let exact = mantissa.checked_mul(factor).ok_or_else(|| KIND.range(text, limit()))?;
    if exact % scale != 0 {
        return Err(no_whole());
    }
    u64::try_from(exact / scale).ok().filter(|count| *count <= most).ok_or_else(|| KIND.range(text, limit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole() {
        for (text, count) in [("0", 0), ("128k", 131_072), ("131_072", 131_072), ("1.5k", 1536), ("1 M", 1 << 20)] {
            assert_eq!(parse_count(text, 1 << 32).unwrap(), count, "{text}");
        }
        for text in
            ["", "-1", "1.5", "0.3k", "1e3", "4294967297", "k", "128kB", "128 KiB", "NaN", "99999999999999999999M"]
        {
            let error = parse_count(text, 1 << 32).unwrap_err().to_string();
            assert!(error.contains("whole number") && error.contains("1024"), "{text}: {error}");
        }
    }
}
