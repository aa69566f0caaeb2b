//! Generated requests: arrivals, lengths and prefixes drawn from distributions.
//!
//! Each kind of draw has a stream of random numbers of its own, so that the same seed gives the
//! same arrivals whatever lengths are, and the reverse. The numbers and their arithmetic are the
//! same to the bit on every machine. The first request arrives at 0.

mod arrivals;
mod config;
mod lengths;
mod prefixes;
mod random;

pub use config::{ArrivalsConfig, GeneratedConfig, LengthConfig, PrefixesConfig};

use super::error::RequestsError;
use super::gathered::{Gathered, LATEST, MAX_BLOCKS, MAX_REQUESTS, PartBlocks, Taken};
use crate::units::SimTime;
use crate::workload::MAX_TOKENS;
use arrivals::Arrivals;
use lengths::Lengths;
use prefixes::Prefixes;
use random::Random;

/// What is wrong with a parameter: its path in the generator, and what to write.
type Wrong = (String, String);

/// The error of a parameter that is not finite or outside of `least..=most`.
fn check(field: &str, value: f64, least: f64, most: f64) -> Result<(), Wrong> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err((field.to_owned(), format!("'{value}' is outside of what it may be: write a number from {least} to {most}")))
}

/// The highest and the lowest rate, in requests a second.
const RATES: (f64, f64) = (1e-6, 1e6);

/// Generates the requests of `config` that are taken.
///
/// # Errors
/// [`RequestsError::Field`] if a parameter is not right or nothing ends the generator.
pub(super) fn generate(config: &GeneratedConfig, block_tokens: u32, taken: Taken) -> Result<Gathered, RequestsError> {
    let of_source = |(field, message): Wrong| RequestsError::field(format!("source.{field}"), message);
    if taken.before.is_none() && taken.count.is_none() {
        return Err(RequestsError::field(
            "count",
            "a generator has no end of its own: say how many requests it generates with `count`, or how long with `first`",
        ));
    }
    check("per_second", config.per_second, RATES.0, RATES.1).map_err(of_source)?;
    let mut streams = Random::streams(config.seed);
    let mut stream = || streams.next().expect("streams have no end");
    let mut arrivals = Arrivals::new(config.arrivals, config.per_second, stream()).map_err(of_source)?;
    let mut prompts = Lengths::new("prompt", &config.prompt, stream()).map_err(of_source)?;
    let mut outputs = Lengths::new("output", &config.output, stream()).map_err(of_source)?;
    let mut prefixes =
        config.prefixes.as_ref().map(|config| Prefixes::new(config, stream())).transpose().map_err(of_source)?;
    let prefix_tokens = config.prefixes.map_or(0, |prefixes| prefixes.tokens);
    let longest = u64::from(prompts.most()) + u64::from(outputs.most()) + u64::from(prefix_tokens);
    if longest > MAX_TOKENS {
        let message = format!(
            "a prompt and its output may have {longest} tokens together, but a request has at most {MAX_TOKENS}: write shorter ones, or `most` in a LogNormal"
        );
        return Err(of_source(("prompt".to_owned(), message)));
    }
    let mut gathered = Gathered::default();
    let mut blocks = PartBlocks::new(block_tokens);
    loop {
        let arrival = arrivals.next();
        if !taken.takes(gathered.requests.len(), arrival) {
            return Ok(gathered);
        }
        let few =
            |most: String| Err(RequestsError::field("count", format!("{most}: write a smaller `count` or `first`")));
        if gathered.requests.len() == MAX_REQUESTS {
            return few(format!("a run has at most {MAX_REQUESTS} requests"));
        }
        if arrival > LATEST {
            let days = LATEST.as_ps() / (86_400 * SimTime::PS_PER_SECOND);
            return few(format!("request {} would arrive after {days} days", gathered.requests.len()));
        }
        if let Some(prefixes) = &mut prefixes
            && !blocks.add(&[(prefixes.next(), prefix_tokens)], &mut gathered)
        {
            return few(format!("prompts have at most {MAX_BLOCKS} prefix blocks together"));
        }
        gathered.add(arrival, prefix_tokens + prompts.next(), outputs.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn generated(text: &str, count: u32) -> Result<Gathered, String> {
        let config: GeneratedConfig = parse(text, "test").map_err(|error| error.to_string())?;
        let taken = Taken { before: None, count: Some(count) };
        generate(&config, 16, taken).map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let of = |seed: u32, prompt: &str| {
            let text = format!("(per_second: 4, prompt: {prompt}, output: Uniform(from: 1, to: 99), seed: {seed})");
            generated(&text, 50).unwrap().requests
        };
        let requests = of(1, "LogNormal(median: 1000, sigma: 1)");
        assert_eq!(requests, of(1, "LogNormal(median: 1000, sigma: 1)"));
        assert_ne!(requests, of(2, "LogNormal(median: 1000, sigma: 1)"));
        // Another length of prompts changes neither arrivals nor outputs.
        for (one, other) in requests.iter().zip(of(1, "Fixed(7)")) {
            assert_eq!((one.arrival, one.output, 7), (other.arrival, other.output, other.prompt));
        }
        assert_eq!((requests.len(), requests[0].arrival), (50, SimTime::ZERO));
    }

    #[test]
    fn prompts_share_whole_blocks_of_their_prefixes() {
        let text = "(per_second: 4, prompt: Fixed(10), output: Fixed(1), prefixes: (count: 3, tokens: 40))";
        let gathered = generated(text, 100).unwrap();
        assert!(gathered.requests.iter().all(|request| request.prompt == 50 && request.blocks.len() == 2));
        assert_eq!((gathered.distinct_blocks(), gathered.blocks.len()), (6, 200));
    }

    #[test]
    fn time_ends_a_generator() {
        let config: GeneratedConfig =
            parse("(per_second: 4, arrivals: Uniform, prompt: Fixed(10), output: Fixed(1))", "test").unwrap();
        let taken = Taken { before: Some("2s".parse().unwrap()), count: None };
        let gathered = generate(&config, 16, taken).unwrap();
        // At 0, 0.25, ... 1.75 s.
        assert_eq!(gathered.requests.len(), 8);
        let error = generate(&config, 16, Taken::default()).unwrap_err().to_string();
        assert!(error.contains("requests.count: a generator has no end"), "{error}");
    }

    #[test]
    fn wrong_parameters_are_named() {
        let lengths = "prompt: Fixed(10), output: Fixed(1)";
        for (text, reason) in [
            (format!("(per_second: 0, {lengths})"), "requests.source.per_second: '0' is outside"),
            (format!("(per_second: inf, {lengths})"), "requests.source.per_second"),
            (format!("(per_second: 1, arrivals: Gamma(cv: 0), {lengths})"), "requests.source.arrivals.cv"),
            (format!("(per_second: 1, arrivals: Gamma(cv: 1, k: 2), {lengths})"), "Unexpected field named `k`"),
            (format!("(per_second: 1, arrivals: Weibull, {lengths})"), "Weibull"),
            (format!("(per_second: 1, {lengths}, tokens: 3)"), "tokens"),
            ("(per_second: 1, prompt: Fixed(0), output: Fixed(1))".to_owned(), "'0' is too little"),
            ("(per_second: 1, prompt: Fixed(1))".to_owned(), "output"),
            ("(per_second: 1, prompt: LogNormal(sigma: 1), output: Fixed(1))".to_owned(), "requests.source.prompt"),
            (
                "(per_second: 1, prompt: Fixed(9M), output: Fixed(9M))".replace("9M", "9000000"),
                "18000000 tokens together",
            ),
            (format!("(per_second: 0.000001, {lengths})"), "after 100 days: write a smaller `count`"),
        ] {
            let error = generated(&text, 100).map(|_| ()).unwrap_err();
            assert!(error.contains(reason), "{text}\n{error}");
        }
    }
}
