//! What every schedule of a random log must be: within its limits, complete, and the same as that
//! of the slow twin.

use super::driver::{Case, Event, Schedules, cases, drive};
use super::twin::Twin;
use super::{KvMove, MoveKind, WhenMoved};
use crate::units::{MoveId, SimTime};
use crate::workload::requests::QueueOrder;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Checks what must be so in every run.
pub(super) fn check(case: &Case, events: &[Event], it: &impl Schedules) {
    let requests = &case.requests;
    assert_eq!(it.lost_pages(), (0, 0), "pages in use at the end");
    let mut computed = vec![0; requests.all.len()];
    let mut outputs = vec![0; requests.all.len()];
    let mut complete: BTreeMap<MoveId, SimTime> = BTreeMap::new();
    let mut known: BTreeMap<MoveId, KvMove> = BTreeMap::new();
    for event in events {
        match event {
            Event::Moved(at, id) => drop(complete.insert(*id, *at)),
            Event::Asked(_, moved) => drop(known.insert(moved.id, *moved)),
            Event::Step(..) => {}
        }
    }
    assert_eq!(complete.len(), known.len());
    let mut last_end = SimTime::ZERO;
    for event in events {
        let Event::Step(begin, end, step) = event else { continue };
        assert!(*begin >= last_end);
        last_end = *end;
        assert!(!step.parts.is_empty());
        assert!(step.tokens() <= requests.limits.tokens);
        assert!(step.running <= requests.limits.sequences && step.parts.len() <= step.running as usize);
        assert!(step.pages_hbm <= case.room.hbm && step.pages_external <= case.room.external);
        assert!(step.pages_cached <= step.pages_hbm);
        for id in &step.after {
            assert!(complete[id] <= *begin && !known[id].kind.is_inward());
        }
        for id in &step.by_layer {
            assert!(complete[id] <= *end && known[id].when == WhenMoved::ByLayer);
        }
        let mut seen = Vec::new();
        for part in &step.parts {
            let request = part.request.index();
            assert!(!seen.contains(&request) && part.tokens > 0);
            seen.push(request);
            assert!(part.context_external <= part.context && part.tokens_external <= part.tokens);
            assert!(part.is_chunk || part.tokens == 1 && part.outputs);
            computed[request] += part.tokens;
            outputs[request] += u32::from(part.outputs);
            assert!(*begin >= requests.all[part.request].arrival);
            // Nothing that is awaited for it is in flight.
            for (id, moved) in &known {
                let is_awaited = moved.kind.is_inward() && moved.when == WhenMoved::Awaited;
                if is_awaited && moved.request == part.request {
                    let asked = events.iter().position(|it| matches!(it, Event::Asked(_, m) if m.id == *id));
                    let here = events.iter().position(|it| std::ptr::eq(it, event));
                    assert!(complete[id] <= *begin || asked > here, "used before it was loaded");
                }
            }
        }
    }
    let mut last_scheduled = SimTime::ZERO;
    let waits = known.values().any(|moved| moved.kind == MoveKind::Load && moved.when == WhenMoved::Awaited)
        || known.values().any(|moved| moved.kind == MoveKind::SwapIn);
    for (id, request) in requests.all.entries() {
        let record = &it.records()[id];
        let index = id.index();
        assert_eq!(record.tokens_out, outputs[index]);
        if record.rejected.is_some() {
            assert_eq!((computed[index], record.scheduled), (0, None));
            continue;
        }
        assert_eq!(record.tokens_out, request.output, "{id} has not finished");
        let hits = record.hit_hbm + record.hit_external;
        assert!(hits < request.prompt);
        let expected = request.prompt - hits + request.output - 1 + record.recomputed;
        assert_eq!(computed[index], expected, "{record:?}");
        let (scheduled, first) = (record.scheduled.unwrap(), record.first_token.unwrap());
        assert!(record.arrival <= scheduled && scheduled < first && first <= record.finished.unwrap());
        if requests.order == QueueOrder::Fcfs && !waits {
            assert!(scheduled >= last_scheduled, "{id} was admitted before its turn");
            last_scheduled = scheduled;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_served_within_the_room(case in cases()) {
        let mut scheduler = case.scheduler();
        let events = drive(&case, &mut scheduler);
        check(&case, &events, &scheduler);
    }

    #[test]
    fn the_slow_twin_does_the_same(case in cases()) {
        let (mut scheduler, mut twin) = (case.scheduler(), Twin::new(&case));
        let (events, expected) = (drive(&case, &mut scheduler), drive(&case, &mut twin));
        for (event, expected) in events.iter().zip(&expected) {
            prop_assert_eq!(event, expected);
        }
        prop_assert_eq!(events.len(), expected.len());
        prop_assert_eq!(scheduler.records(), twin.records());
        prop_assert_eq!(twin.lost_pages(), (0, 0));
    }
}

/// What the cases must come to, for the properties to say anything.
#[test]
fn the_cases_reach_everything() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..1500 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let mut scheduler = case.scheduler();
        let events = drive(&case, &mut scheduler);
        let mut count = |what, is: bool| *counts.entry(what).or_default() += usize::from(is);
        for event in &events {
            match event {
                Event::Asked(_, moved) => {
                    count("loads", moved.kind == MoveKind::Load && moved.when == WhenMoved::Awaited);
                    count("loads by layer", moved.kind == MoveKind::Load && moved.when == WhenMoved::ByLayer);
                    count("stores", moved.kind == MoveKind::Store);
                    count("swaps out", moved.kind == MoveKind::SwapOut);
                    count("swaps in", moved.kind == MoveKind::SwapIn);
                }
                Event::Step(_, _, step) => {
                    let of = |kind| step.after.iter().any(|id| asked(&events, *id).kind == kind);
                    count("waits for stores", of(MoveKind::Store));
                    count("waits for swaps", of(MoveKind::SwapOut));
                    count("read in place", step.parts.iter().any(|part| part.context_external > 0));
                    count("written in place", step.parts.iter().any(|part| part.tokens_external > 0));
                }
                Event::Moved(..) => {}
            }
        }
        for record in scheduler.records().iter() {
            count("hits", record.hit_hbm > 0);
            count("external hits", record.hit_external > 0);
            count("mixed hits", record.hit_hbm > 0 && record.hit_external > 0);
            count("preempted", record.preemptions > 0);
            count("preempted twice", record.preemptions > 1);
            count("recomputed", record.recomputed > 0);
            count("too long", record.rejected == Some(super::Rejection::Context));
            count("too large", record.rejected == Some(super::Rejection::Kv));
        }
    }
    assert!(counts.values().all(|count| *count > 20), "{counts:?}");
}

fn asked(events: &[Event], id: MoveId) -> KvMove {
    let find = |event: &Event| match event {
        Event::Asked(_, moved) if moved.id == id => Some(*moved),
        _ => None,
    };
    events.iter().find_map(find).expect("what is waited for was asked for")
}
