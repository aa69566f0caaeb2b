//! Prompts that take time, by hand.

use super::*;
use tiersim::config::{self, Reference};
use tiersim::workload::ComputeConfig;

const LARGE: u64 = 1 << 30;

/// One prompt of 10 tokens in chunks of 4, and two tokens decoded.
fn prompt() -> ScenarioConfig {
    let mut config = small(1, (1000, 2000), 10, LARGE, 10, 2);
    config.prefill = timed(4, PrefillOrder::Mixed);
    config
}

fn compute(weights: f64, kv: f64) -> Option<ComputeConfig> {
    Some(ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(weights),
        flop_per_kv_byte: Some(kv),
    })
}

#[test]
fn a_chunk_reads_the_weights_once_and_the_kv_so_far_and_writes_its_own() {
    let (_, watch) = watch(&prompt());
    let chunks: Vec<_> = watch.steps.iter().map(|step| step.chunks.clone()).collect();
    assert_eq!(chunks, [vec![(0, 4)], vec![(0, 4)], vec![(0, 2)], vec![], vec![]]);
    // The write of a chunk shares the bus with the mlp's read.
    let expected = [1000 + 2040, 1040 + 2040, 1080 + 2020, 1100 + 2010, 1110 + 2010];
    assert_eq!(watch.latencies(), expected);
    assert_eq!(watch.used(0), [3040, 3080, 3100, 3110, 3120]);
    // One write for each chunk, and one for each token decoded; no read before there is KV.
    assert_eq!((watch.count[TransferClass::KvWrite], watch.count[TransferClass::KvRead]), (5, 4));
    assert_eq!(watch.count[TransferClass::WeightRead], 5 * 2);
    // The first token comes out of the step that ends the prompt.
    let first = watch.steps.iter().position(|step| step.prompts_ended == [0]).unwrap();
    let ttft: u64 = watch.latencies()[..=first].iter().sum();
    assert_eq!((first, ttft), (2, 9220));
}

#[test]
fn the_tokens_of_a_chunk_attend_to_all_that_come_before_them() {
    let mut config = prompt();
    config.compute = compute(2.0, 3.0);
    let (_, watch) = watch(&config);
    // Of each token 2 FLOP a byte of weights; 3 FLOP a byte of the KV of 0 to 3 tokens, of 4 to 7,
    // of 8 and 9; then of 10 and 11.
    let flop = |tokens: u64, attended: u64| tokens * 2 * 3000 + attended * 10 * 3;
    let chunks = [flop(4, 6), flop(4, 4 + 5 + 6 + 7), flop(2, 8 + 9)];
    assert_eq!(watch.latencies()[..3], chunks);
    // Where a token is computed alone, memory takes longer in the mlp: no, it computes 4000 ps.
    assert_eq!(watch.latencies()[3..], [flop(1, 10), flop(1, 11)]);
    assert!(watch.steps.iter().all(|step| step.bound <= step.latency));
}

#[test]
fn in_a_window_a_chunk_sees_and_keeps_the_last_tokens() {
    let mut config = prompt();
    let Reference::Inline(model) = &mut config.model else { unreachable!() };
    model.layers[0].window = Some(3);
    let (_, plain) = watch(&config);
    // Of each chunk the last three tokens are written; the last one has two.
    assert_eq!(plain.latencies(), [1000 + 2030, 1030 + 2030, 1030 + 2020, 1030 + 2010, 1030 + 2010]);
    assert_eq!(plain.used(0), [3030; 5]);
    config.compute = compute(2.0, 3.0);
    let (_, watch) = watch(&config);
    let flop = |tokens: u64, attended: u64| tokens * 2 * 3000 + attended * 10 * 3;
    // 0, 1, 2 and 3 tokens; then 3 each.
    assert_eq!(watch.latencies(), [flop(4, 6), flop(4, 12), flop(2, 6), flop(1, 3), flop(1, 3)]);
}

#[test]
fn a_short_prompt_leaves_its_step_to_the_next_one() {
    let mut config = decoding(LARGE, &[(5, 1, 0), (3, 2, 0)]);
    config.prefill = timed(4, PrefillOrder::Mixed);
    let (_, watch) = watch(&config);
    assert_eq!(watch.steps[1].chunks, [(0, 1), (1, 3)]);
    // 4 tokens; then the KV of 4, and 4 tokens in two writes; both sequences decode; one does.
    assert_eq!(watch.latencies(), [1000 + 2040, 1040 + 2040, 1080 + 2020, 1040 + 2010]);
    assert_eq!(watch.steps[1].prompts_ended, [0, 1]);
    assert_eq!(watch.used(0), [3040, 3080, 3100, 3050]);
}

#[test]
fn prompts_run_beside_the_sequences_that_decode_or_before_them() {
    let mut config = decoding(LARGE, &[(4, 6, 0), (10, 1, 2)]);
    config.prefill = timed(4, PrefillOrder::Mixed);
    let (_, mixed) = watch(&config);
    let expected = [
        1000 + 2040,
        1040 + 2010,
        1050 + 2050,       // a token and a chunk of 4
        1060 + 40 + 2050,  // the same, after 4
        1070 + 80 + 2030,  // a token and a chunk of 2
        1080 + 100 + 2020, // two tokens
        1090 + 2010,
    ];
    assert_eq!(mixed.latencies(), expected);
    config.prefill = timed(4, PrefillOrder::First);
    let (_, first) = watch(&config);
    let expected = [
        1000 + 2040,
        1040 + 2010,
        1000 + 2040,
        1040 + 2040,
        1080 + 2020,
        1050 + 100 + 2020,
        1060 + 2010,
        1070 + 2010,
        1080 + 2010,
        1090 + 2010,
    ];
    assert_eq!(first.latencies(), expected);
    let decodes = first.steps.iter().map(|step| step.decoded.clone()).collect::<Vec<_>>();
    assert_eq!(decodes[..6], [vec![], vec![0], vec![], vec![], vec![], vec![0, 1]]);
}

/// The KV of a chunk goes through the lanes to where the placement wants it, and the next chunk
/// waits until it is there.
#[test]
fn the_next_chunk_waits_for_the_write_of_the_one_before() {
    // 30 B on HBM besides the weights: three tokens.
    let mut config = small(1, (1000, 2000), 1000, 3000 + 3000, 8, 1);
    config.prefill = timed(4, PrefillOrder::Mixed);
    let memory = crate::common::runs::memory(&mut config);
    let slow =
        tiersim::memory::LinkConfig::new(crate::common::runs::bandwidth(250), crate::common::runs::bandwidth(10));
    memory.tiers[1].link = Some(slow.into());
    let (_, watch) = watch(&config);
    // Three tokens are written on HBM beside the mlp's read; one goes over the link for 100 ns. The
    // reads of weights and of HBM's KV (1000 + 3000 B) are done long before; then the token is read
    // in 4 ns.
    let first = 1000 + (2000 + 2000);
    assert_eq!(watch.latencies()[0], first);
    // The write began when attention ended, at 1000.
    let second = (1000 + 100_000 - first) + 4000 + 2000;
    assert_eq!(watch.latencies()[1], second);
    // Four tokens more, all over the link, began as the attention of the second step ended.
    let third = 400_000 - 2000 + 5 * 4000 + 2000;
    assert_eq!(watch.latencies()[2], third);
    assert_eq!(watch.used(0), [6000; 3]);
}

const HEADS: &str = "heads: 2, kv_heads: 1, head_size: 8";
/// K and V of a token in a layer of `HEADS`.
const TOKEN: u64 = 2 * 8 * 2;

fn tiny(attentions: &[&str]) -> ScenarioConfig {
    let layer = |attention: &&str| format!("(attention: {attention}, mlp: Dense(intermediate: 24))");
    let layers: Vec<String> = attentions.iter().map(layer).collect();
    let text = format!(
        "(name: \"tiny\", architecture: (hidden: 16, vocabulary: 40, tied: false, formats: (weights: \"bf16\", kv: \"bf16\"), \
         blocks: [(count: 1, layers: [{}])]))",
        layers.join(", ")
    );
    let mut config = prompt();
    config.model = Reference::Inline(config::parse(&text, "model").unwrap());
    config
}

#[test]
fn the_head_is_read_where_a_token_comes_out() {
    let (_, watch) = watch(&tiny(&[&format!("Full({HEADS})")]));
    // The matrix of 16 x 40 and the norm before it.
    let head = (16 * 40 + 16) * 2;
    assert_eq!(watch.steps.iter().map(|step| step.head).collect::<Vec<_>>(), [0, 0, head, head, head]);
    // A row of the embedding for each token.
    let rows = [4, 4, 2, 1, 1].map(|tokens| tokens * 16 * 2);
    assert_eq!(watch.steps.iter().map(|step| step.embedding).collect::<Vec<_>>(), rows);
}

/// What the first step does not read is laid out as well: the head, and the state of a sequence
/// that begins later.
#[test]
fn layouts_hold_what_the_first_step_does_not_read() {
    let mut config = tiny(&["Recurrent(parameters: 500, state: \"64 B\")"]);
    config.sequences = vec![group(1, (10, 2, 0)), group(1, (2, 1, 3))];
    let Reference::Inline(model) = &config.model else { unreachable!() };
    let weights = tiersim::workload::LanguageModel::new(model).unwrap().stored_weights().get();
    for initialization in tiersim::strategy::InitializationKind::ALL {
        config.strategy.initialization = *initialization;
        let (_, watch) = watch(&config);
        let used: u64 = watch.steps[0].used.iter().sum();
        assert_eq!(used, weights + 2 * 64, "{initialization}");
        assert_eq!(watch.bytes[TransferClass::KvRead], (5 + 2) * 64, "{initialization}");
    }
}

#[test]
fn a_chunk_reads_and_writes_a_recurrent_state_once() {
    let (_, watch) = watch(&tiny(&["Recurrent(parameters: 500, state: \"64 B\")"]));
    assert_eq!((watch.bytes[TransferClass::KvRead], watch.bytes[TransferClass::KvWrite]), (5 * 64, 5 * 64));
    assert_eq!(watch.steps.iter().map(|step| step.read_tokens).sum::<u64>(), 0);
}

#[test]
fn layers_that_share_kv_read_that_of_a_chunk_each_and_write_it_once() {
    let (own, shared) = (format!("Full({HEADS})"), format!("Full({HEADS}, shares_kv: true)"));
    let (_, watch) = watch(&tiny(&[&own, &shared, &shared]));
    assert_eq!(watch.bytes[TransferClass::KvWrite], 12 * TOKEN);
    assert_eq!(watch.bytes[TransferClass::KvRead], 3 * TOKEN * (4 + 8 + 10 + 11));
    let weights = watch.used(0)[0] - 4 * TOKEN;
    assert_eq!(watch.used(0), [4, 8, 10, 11, 12].map(|tokens| weights + tokens * TOKEN));
}

#[test]
fn a_prompt_of_no_tokens_decodes_at_once() {
    let mut config = decoding(LARGE, &[(0, 2, 0), (4, 1, 0)]);
    config.prefill = timed(4, PrefillOrder::Mixed);
    let (_, watch) = watch(&config);
    assert_eq!((watch.steps[0].decoded.clone(), watch.steps[0].chunks.clone()), (vec![0], vec![(1, 4)]));
    assert_eq!(watch.latencies(), [1000 + 2050, 1010 + 40 + 2020]);
}
