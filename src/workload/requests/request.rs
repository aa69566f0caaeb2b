//! Requests, checked: in the order of arrival, with dense ids for their prefix blocks.

pub use super::gathered::Request;

use super::config::{CacheConfig, KvConfig, LimitsConfig, Preemption, QueueOrder, RequestsConfig, SourceConfig};
use super::error::RequestsError;
use super::gathered::{MAX_BLOCKS, Taken};
use super::generate::generate;
use super::goals::GoalsConfig;
use super::log::{self, DEFAULT_BLOCK_TOKENS, Lines};
use crate::units::{BlockId, RequestId, Table};

/// The requests of a run and how they are served, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// All of them, sorted by arrival; of equal times in the order of the source.
    pub all: Table<RequestId, Request>,
    /// The prefix blocks of all prompts, one request after the other. Ids are dense. Where external
    /// memory keeps blocks, all full blocks of prompts are among them, shared or not.
    pub blocks: Vec<BlockId>,
    /// How many different blocks there are.
    pub distinct_blocks: u32,
    /// How many tokens a prefix block has: 512 in Mooncake's logs, 16 elsewhere by default.
    pub block_tokens: u32,
    /// Limits of the engine.
    pub limits: LimitsConfig,
    /// Which of the waiting requests is admitted first.
    pub order: QueueOrder,
    /// What happens to the KV of a request that is preempted.
    pub preemption: Preemption,
    /// Where KV is kept.
    pub kv: KvConfig,
    /// What counts as goodput.
    pub goals: GoalsConfig,
}

impl Requests {
    /// Reads or generates the requests of `config`, and checks how they are served.
    ///
    /// # Errors
    /// [`RequestsError`], naming the file, row and column, or the field, and what to write instead.
    pub fn new(config: &RequestsConfig) -> Result<Self, RequestsError> {
        Self::read(config, |_| None)
    }

    /// As [`new`](Self::new); a log of a name that `shipped` knows is the text that it returns.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn read(
        config: &RequestsConfig,
        shipped: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Self, RequestsError> {
        config.check()?;
        let taken = Taken { before: config.first, count: config.count };
        let (mut gathered, block_tokens) = match &config.source {
            SourceConfig::Log { file, format } => {
                let name = file.to_string_lossy();
                let lines = match shipped(&name) {
                    Some(text) => Lines::of(&name, text),
                    None => Lines::open(file)?,
                };
                log::read(lines, *format, config.block_tokens, taken)?
            }
            SourceConfig::Generated(generated) => {
                let block_tokens = config.block_tokens.unwrap_or(DEFAULT_BLOCK_TOKENS);
                (generate(generated, block_tokens, taken)?, block_tokens)
            }
        };
        if config.kv.cache == CacheConfig::External && !gathered.add_own_blocks(block_tokens) {
            let message =
                format!("prompts of more than {MAX_BLOCKS} blocks of {block_tokens} tokens: write more tokens");
            return Err(RequestsError::field("block_tokens", message));
        }
        config.rate.apply(&mut gathered.requests).map_err(|message| RequestsError::field("rate", message))?;
        Ok(Self {
            distinct_blocks: gathered.distinct_blocks(),
            all: Table::from(gathered.requests),
            blocks: gathered.blocks,
            block_tokens,
            limits: config.limits,
            order: config.order,
            preemption: config.preemption,
            kv: config.kv.clone(),
            goals: config.goals,
        })
    }

    /// The prefix blocks of `request`.
    #[must_use]
    pub fn blocks_of(&self, request: &Request) -> &[BlockId] {
        &self.blocks[request.blocks.start as usize..request.blocks.end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn requests(text: &str) -> Result<Requests, String> {
        let config: RequestsConfig = parse(text, "test").map_err(|error| error.to_string())?;
        Requests::new(&config).map_err(|error| error.to_string())
    }

    const SOURCE: &str = "source: Generated(per_second: 4, prompt: Fixed(10), output: Fixed(5))";

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!(
            "({SOURCE}, rate: \"x2\", first: \"1h\", count: 7, block_tokens: 64, limits: (sequences: 9, kv_tokens: 41408),
              order: ShortestFirst, preemption: Swap, goals: \"ttft<2s\",
              kv: (cache: External, tier: \"cpu\", capacity: \"64 GiB\", external: Direct, write: OnEviction, blocks: All, moves: LoadsFirst))"
        );
        let config: RequestsConfig = parse(&text, "test").unwrap();
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<RequestsConfig>(json.clone()).unwrap(), config);
        assert_eq!(
            (&json["rate"], &json["goals"], &json["first"]),
            (&"x2".into(), &"ttft<2s".into(), &"3600 s".into())
        );
        // Every field is written, so that `--set` knows it.
        assert_eq!(json["limits"].as_object().unwrap().len(), 5);
        let plain = serde_json::to_value(RequestsConfig::of(config.source.clone())).unwrap();
        assert!(plain.as_object().unwrap().keys().eq(json.as_object().unwrap().keys()));
        assert_eq!(serde_json::from_value::<RequestsConfig>(plain).unwrap(), RequestsConfig::of(config.source));
        assert_eq!(requests(&text).unwrap().all.len(), 7);
    }

    #[test]
    fn the_rate_comes_last() {
        let slow = requests(&format!("({SOURCE}, first: \"60s\")")).unwrap();
        let fast = requests(&format!("({SOURCE}, first: \"60s\", rate: \"x2\")")).unwrap();
        assert_eq!(slow.all.len(), fast.all.len());
        let last = |requests: &Requests| requests.all.iter().last().unwrap().arrival.as_ps();
        assert!(last(&slow).abs_diff(2 * last(&fast)) <= 2);
    }

    #[test]
    fn external_memory_keeps_what_no_log_names() {
        let with =
            |cache: &str| requests(&format!("({SOURCE}, count: 3, block_tokens: 4, kv: (cache: {cache}))")).unwrap();
        let in_hbm = with("Hbm");
        assert!(in_hbm.blocks.is_empty());
        // Of 10 tokens two blocks of 4 are full: no two prompts share any.
        let external = with("External");
        assert_eq!(external.distinct_blocks, 6);
        let ids: Vec<usize> =
            external.all.iter().flat_map(|it| external.blocks_of(it)).map(|block| block.index()).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (text, reason) in [
            ("count: 0", "'0' is too little"),
            ("first: \"0s\"", "requests.first: '0' is too little"),
            ("first: \"1 hour\"", "'hour'"),
            ("count: 1, rate: \"fast\"", "write x2"),
            ("count: 1, goals: \"ttft\"", "write goals such as"),
            ("count: 1, limits: (sequences: 70000)", "requests.limits.sequences: '70000' is outside"),
            ("count: 1, limits: (sequences: 0)", "'0' is too little"),
            ("count: 1, limits: (tokens: 20000000)", "requests.limits.tokens"),
            ("count: 1, limits: (context: 20000000)", "requests.limits.context"),
            ("count: 1, limits: (memory: 0)", "requests.limits.memory"),
            ("count: 1, limits: (memory: 1.1)", "1.1"),
            ("count: 1, limits: (batch: 3)", "batch"),
            ("count: 1, kv: (capacity: \"0 B\")", "requests.kv.capacity"),
            ("count: 1, kv: (tier: \"\")", "requests.kv.tier"),
            ("count: 1, kv: (cache: L2)", "L2"),
            ("count: 1, block_tokens: 20000000", "requests.block_tokens"),
            ("count: 1, policy: 3", "policy"),
        ] {
            let error = requests(&format!("({SOURCE}, {text})")).map(|_| ()).unwrap_err();
            assert!(error.contains(reason), "{text}\n{error}");
        }
        assert!(requests("(source: Log(file: \"none.csv\"))").unwrap_err().contains("none.csv"));
        assert!(requests("(source: Log(path: \"none.csv\"))").unwrap_err().contains("path"));
    }
}
