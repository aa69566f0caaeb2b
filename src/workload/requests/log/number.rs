//! Times and counts as logs have them, read exactly.

use crate::config::shortened;
use crate::workload::MAX_TOKENS;

/// Picoseconds in a second, and in a millisecond, as powers of ten.
pub(super) const SECONDS: i32 = 12;
pub(super) const MILLISECONDS: i32 = 9;

/// A decimal number with an optional exponent, times 10^`power`, rounded to the nearest whole,
/// halves up. No float is in between: seconds since 1970 keep their picoseconds.
///
/// # Errors
/// What is wrong, with the value and what to write.
pub(super) fn time(text: &str, power: i32) -> Result<u128, String> {
    let shown = shortened(text, 40);
    let no_number = || format!("'{shown}' is no time: write a number such as 12.5");
    if text.is_empty() {
        return Err("it is empty: write a number such as 12.5".to_owned());
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| no_number())?),
        None => (text, 0),
    };
    let is_negative = mantissa.starts_with('-');
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(part.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(no_number());
    }
    if is_negative && digits().any(|digit| digit != b'0') {
        return Err(format!("'{shown}' is negative: times count from the first arrival, or from any start before it"));
    }
    let too_large = || format!("'{shown}' is too large for a time");
    // Digits beyond a tenth of a picosecond do not change it.
    let places = exponent.saturating_add(power).saturating_sub(part.len() as i32);
    let mut value: u128 = 0;
    let kept = digits().count().saturating_sub((-1 - places).max(0) as usize);
    for digit in digits().take(kept) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u128::from(digit - b'0')))
            .ok_or_else(too_large)?;
    }
    if places < 0 {
        // One digit is left after that of the picosecond, or none at all.
        return Ok((value + 5) / 10);
    }
    if value == 0 {
        return Ok(0);
    }
    10u128.checked_pow(places as u32).and_then(|scale| value.checked_mul(scale)).ok_or_else(too_large)
}

/// A count of tokens from 1.
///
/// # Errors
/// What is wrong, with the value and what to write.
pub(super) fn tokens(text: &str) -> Result<u32, String> {
    let shown = shortened(text, 40);
    if text.is_empty() {
        return Err("it is empty: write a whole number from 1".to_owned());
    }
    if text.starts_with('-') {
        return Err(format!("'{shown}' is negative: write a whole number from 1"));
    }
    // As tables write whole numbers where another row has none.
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if whole.is_empty() || !whole.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("'{shown}' is no whole number: write one from 1, such as 512"));
    }
    match whole.parse::<u64>() {
        Ok(0) => Err("0 tokens: a request has at least 1 in its prompt and 1 in its output; leave it out".to_owned()),
        Ok(count) if count <= MAX_TOKENS => Ok(count as u32),
        _ => Err(format!("'{shown}' is too many: at most {MAX_TOKENS} tokens")),
    }
}

/// A date and time such as `2023-11-16 18:17:03.9799600`, in picoseconds since the year 0. `T` may
/// stand for the blank, and `Z` or an offset such as `+01:00` may follow.
///
/// # Errors
/// What is wrong, with the value and what to write.
pub(super) fn timestamp(text: &str) -> Result<u128, String> {
    let wrong = || {
        let shown = shortened(text, 40);
        format!("'{shown}' is no time: write it as 2023-11-16 18:17:03.9799600")
    };
    let bytes = text.as_bytes();
    if !text.is_ascii()
        || bytes.len() < 19
        || bytes[4] != b'-'
        || bytes[7] != b'-'
        || ![b' ', b'T'].contains(&bytes[10])
    {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let within = |value: Option<u32>, least: u32, most: u32| {
        value.filter(|value| (least..=most).contains(value)).ok_or_else(wrong)
    };
    if bytes[13] != b':' || bytes[16] != b':' {
        return Err(wrong());
    }
    let year = within(number(0, 4), 1, 9999)?;
    let month = within(number(5, 7), 1, 12)?;
    let day = within(number(8, 10), 1, days_of(month, year))?;
    let (hour, minute) = (within(number(11, 13), 0, 23)?, within(number(14, 16), 0, 59)?);
    let second = within(number(17, 19), 0, 60)?;
    let rest = &text[19..];
    let fraction_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(fraction_end);
    let fraction = match fraction {
        "" => 0,
        "." => return Err(wrong()),
        fraction => time(&format!("0{fraction}"), SECONDS).map_err(|_| wrong())?,
    };
    let offset = match zone {
        "" | "Z" => 0,
        zone => offset(zone).ok_or_else(wrong)?,
    };
    // From year 1 and offsets of at most a day: never before the year 0.
    let days = i64::from(days_before(year)) + (1..month).map(|month| i64::from(days_of(month, year))).sum::<i64>();
    let minutes = ((days + i64::from(day)) * 24 + i64::from(hour)) * 60 + i64::from(minute) - offset;
    let seconds = minutes as u128 * 60 + u128::from(second);
    Ok(seconds * 10u128.pow(SECONDS as u32) + fraction)
}

/// Minutes of `+01:00`.
fn offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |digits: &str, most: i64| {
        let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse::<i64>().ok())?.filter(|number| *number <= most)
    };
    Some(sign * (number(hours, 23)? * 60 + number(minutes, 59)?))
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of(month: u32, year: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days of all years before `year`, from year 0.
fn days_before(year: u32) -> u32 {
    let last = year - 1;
    year * 365 + last / 4 - last / 100 + last / 400 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        for (text, ps) in [
            ("0", 0),
            ("-0.0", 0),
            ("12.5", 12_500_000_000_000),
            ("1787267980.0827403", 1_787_267_980_082_740_300_000),
            ("1e-05", 10_000_000),
            ("1.5E3", 1_500_000_000_000_000),
            ("0.0000000000014", 1),
            ("0.0000000000015", 2),
            ("0.00000000000049999999999999999999999999999999999999", 0),
            ("4e-13", 0),
            ("5e-13", 1),
            ("9e-14", 0),
            ("99e-14", 1),
            ("9e-30", 0),
            (".5", 500_000_000_000),
            ("+2.", 2_000_000_000_000),
        ] {
            assert_eq!(time(text, SECONDS), Ok(ps), "{text}");
        }
        assert_eq!(time("3001", MILLISECONDS), Ok(3_001_000_000_000));
        for (text, reason) in [
            ("", "empty"),
            ("-1", "negative"),
            ("-1e-9", "negative"),
            ("nan", "no time"),
            ("inf", "no time"),
            ("1.2.3", "no time"),
            ("1e", "no time"),
            ("1e999999999999", "no time"),
            ("12 s", "no time"),
            ("1e30", "too large"),
            ("1e2000000000", "too large"),
            ("999999999999999999999999999999999999999999", "too large"),
        ] {
            let error = time(text, SECONDS).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn counts_are_whole_and_from_1() {
        assert_eq!((tokens("1"), tokens("374.0"), tokens("16777216")), (Ok(1), Ok(374), Ok(1 << 24)));
        for (text, reason) in [
            ("", "empty"),
            ("0", "0 tokens"),
            ("0.0", "0 tokens"),
            ("-3", "negative"),
            ("1.5", "no whole number"),
            (".0", "no whole number"),
            ("1e3", "no whole number"),
            ("16777217", "too many"),
            ("99999999999999999999999", "too many"),
        ] {
            let error = tokens(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn timestamps_know_the_calendar() {
        let at = |text: &str| timestamp(text).unwrap();
        let span = |from: &str, to: &str| at(to) - at(from);
        const DAY: u128 = 86_400 * 1_000_000_000_000;
        assert_eq!(span("2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600"), 52_000_000_000);
        assert_eq!(span("2023-12-31 23:59:59", "2024-01-01T00:00:00"), 1_000_000_000_000);
        assert_eq!(span("2024-02-28 12:00:00", "2024-03-01 12:00:00"), 2 * DAY);
        assert_eq!(span("1900-02-28 12:00:00", "1900-03-01 12:00:00"), DAY);
        assert_eq!(span("1970-01-01 00:00:00", "2000-01-01 00:00:00"), 10_957 * DAY);
        assert_eq!(span("2024-01-01 00:00:00Z", "2024-01-01 00:00:00-01:00"), DAY / 24);
        assert_eq!(at("2024-05-10 01:00:00.009930+01:00"), at("2024-05-10 00:00:00.009930"));
        for text in [
            "",
            "12.5",
            "2023-02-29 00:00:00",
            "2023-13-01 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16",
            "16/11/2023 18:17:03",
            "2023-11-16 18:17:03.",
            "2023-11-16 18:17:03.1.2",
            "2023-11-16 18:17:03 CET",
            "2023-11-16 18:17:03+1",
            "2023-11-16 18:17:0é",
        ] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }
}
