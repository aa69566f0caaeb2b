//! A scheduler of requests allocates nothing per step in steady state.

use crate::{allocations, most_held};
use std::sync::Arc;
use tiersim::units::{BlockId, MoveId, PageSize, SimTime};
use tiersim::workload::{
    CacheConfig, Decision, GoalsConfig, KvConfig, KvRoom, LimitsConfig, Preemption, QueueOrder, Request, Requests,
    Scheduler, StoredBlocks, WriteBack,
};

/// So many requests that arrive one after the other; each third begins as others do.
fn requests(count: u32, kv: KvConfig) -> Requests {
    let (mut blocks, mut distinct) = (Vec::new(), 64);
    let mut request = |number: u32| {
        let start = blocks.len() as u32;
        let (prompt, output) = (100 + number * 37 % 900, 1 + number * 53 % 200);
        for block in 0..prompt.div_ceil(64) {
            let is_shared = number.is_multiple_of(3) && block < 8;
            blocks.push(BlockId::new(if is_shared { number / 3 % 8 * 8 + block } else { distinct } as usize));
            distinct += u32::from(!is_shared);
        }
        let arrival = SimTime::from_ps(u64::from(number) * 3);
        Request { arrival, prompt, output, blocks: start..blocks.len() as u32 }
    };
    Requests {
        all: (0..count).map(&mut request).collect(),
        blocks,
        distinct_blocks: distinct,
        block_tokens: 64,
        limits: LimitsConfig { sequences: 32, tokens: 512, ..LimitsConfig::default() },
        order: QueueOrder::Fcfs,
        preemption: Preemption::Swap,
        kv,
        goals: GoalsConfig::default(),
    }
}

/// Serves all of them, a unit of time a step; moves are complete with the next step. Returns the
/// steps, the moves, and the allocations in the second half of the steps.
fn serve(requests: Requests, steps: u64) -> (u64, usize, u64) {
    let room = KvRoom { hbm: 1000, external: 4000 };
    let mut scheduler = Scheduler::new(Arc::new(requests), room, PageSize::new(16).unwrap());
    let mut going: Vec<MoveId> = Vec::with_capacity(4096);
    let (mut now, mut done, mut moves, mut before) = (SimTime::ZERO, 0, 0, 0);
    loop {
        let decision = scheduler.next(now);
        going.extend(scheduler.take_moves().map(|moved| moved.id));
        match decision {
            Decision::Step => now += SimTime::from_ps(1),
            Decision::Wait(until) if going.is_empty() => now = until,
            Decision::Wait(_) => {}
            Decision::End => return (done, moves, allocations() - before),
        }
        moves += going.len();
        going.drain(..).for_each(|id| scheduler.moved(now, id));
        if decision == Decision::Step {
            done += 1;
            scheduler.completed(now);
            going.extend(scheduler.take_moves().map(|moved| moved.id));
        }
        if done == steps / 2 && before == 0 {
            before = allocations();
        }
    }
}

pub fn schedules_do_not_allocate() {
    let external = |write, blocks| KvConfig { cache: CacheConfig::External, write, blocks, ..KvConfig::default() };
    let cases = [
        ("first tier", KvConfig::default(), 50),
        ("written through", external(WriteBack::Through, StoredBlocks::Prompt), 1000),
        ("all blocks", external(WriteBack::Through, StoredBlocks::All), 1000),
        ("on eviction", external(WriteBack::OnEviction, StoredBlocks::Prompt), 1000),
    ];
    for (name, kv, least_moves) in cases {
        let (steps, moves, _) = serve(requests(2000, kv.clone()), 0);
        assert!(steps > 5000 && moves > least_moves, "{name}: {steps} steps, {moves} moves");
        let (_, _, allocated) = serve(requests(2000, kv), steps);
        // Tables of what is in flight grow now and then.
        assert!(allocated < 20, "{name}: {allocated} allocations");
    }
    // Records, states, and the places of blocks: some 200 bytes a request, and 50 a block.
    let all = Arc::new(requests(20_000, external(WriteBack::OnEviction, StoredBlocks::All)));
    let bytes = most_held(|| {
        let room = KvRoom { hbm: 1000, external: 4000 };
        drop(Scheduler::new(Arc::clone(&all), room, PageSize::new(16).unwrap()));
    });
    assert!(bytes < 20_000 * 250 + 60 * u64::from(all.distinct_blocks), "{bytes} bytes");
}
