//! The scheduler's slow twin: it does the same in the most obvious way.
//!
//! Every page has an owner, every block has the list of those who hold it, and every token its
//! tier. Counts are made by counting, each time. It is written from the rules, not from the
//! scheduler.

use super::driver::{Case, Schedules};
use super::{Decision, KvMove, MoveKind, Rejection, RequestRecord, ServingStep, StepPart, WhenMoved};
use crate::units::{BlockId, MoveId, RequestId, SimTime, Table};
use crate::workload::requests::{CacheConfig, ExternalKv, Preemption, QueueOrder, Requests, StoredBlocks, WriteBack};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Shared(BlockId),
    /// A stored block of outputs.
    Private(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Request(RequestId),
    /// The private KV of a request that was swapped out.
    Swapped(RequestId),
    Block(Key),
    /// Free when the move is complete; a step that waits for it may take it.
    Leaving(MoveId),
    /// Free when the move is complete.
    Kept(MoveId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Request(RequestId),
    Move(MoveId),
}

#[derive(Clone, Debug)]
struct Block {
    holders: Vec<Holder>,
    filled_by: Option<MoveId>,
    used: usize,
    last_user: RequestId,
}

#[derive(Clone, Debug)]
struct Tier {
    pages: Vec<Option<Owner>>,
    blocks: BTreeMap<Key, Block>,
    keeps: bool,
    clock: usize,
    block_pages: usize,
}

impl Tier {
    fn new(pages: u64, block_pages: usize, keeps: bool) -> Self {
        Self { pages: vec![None; pages as usize], blocks: BTreeMap::new(), keeps, clock: 0, block_pages }
    }

    fn count(&self, of: impl Fn(Option<Owner>) -> bool) -> usize {
        self.pages.iter().filter(|page| of(**page)).count()
    }

    fn free(&self) -> usize {
        self.count(|owner| owner.is_none())
    }

    fn owned(&self, request: RequestId) -> usize {
        self.count(|owner| owner == Some(Owner::Request(request)))
    }

    fn leaving(&self) -> usize {
        self.count(|owner| matches!(owner, Some(Owner::Leaving(_))))
    }

    fn unheld(&self) -> Vec<Key> {
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for (key, block) in &self.blocks {
            if block.holders.is_empty() {
                keys.push((block.used, *key));
            }
        }
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn cached_pages(&self) -> usize {
        self.unheld().len() * self.block_pages
    }

    /// So many pages of one owner get another.
    fn hand(&mut self, count: usize, from: Option<Owner>, to: Option<Owner>) {
        let mut left = count;
        for page in &mut self.pages {
            if left > 0 && *page == from {
                *page = to;
                left -= 1;
            }
        }
        assert_eq!(left, 0, "{from:?} has too few pages");
    }

    fn has(&self, id: BlockId) -> bool {
        self.blocks.contains_key(&Key::Shared(id))
    }

    fn is_ready(&self, id: BlockId) -> bool {
        self.blocks.get(&Key::Shared(id)).is_some_and(|block| block.filled_by.is_none())
    }

    fn is_held(&self, id: BlockId) -> bool {
        self.blocks.get(&Key::Shared(id)).is_some_and(|block| !block.holders.is_empty())
    }

    fn add(&mut self, key: Key, holder: Holder, filled_by: Option<MoveId>, from: Option<Owner>) {
        self.hand(self.block_pages, from, Some(Owner::Block(key)));
        let block = Block { holders: vec![holder], filled_by, used: 0, last_user: RequestId::new(0) };
        assert!(self.blocks.insert(key, block).is_none());
    }

    fn hold(&mut self, key: Key, holder: Holder) {
        self.blocks.get_mut(&key).unwrap().holders.push(holder);
    }

    fn let_go(&mut self, key: Key, holder: Holder) {
        self.clock += 1;
        let block = self.blocks.get_mut(&key).unwrap();
        let index = block.holders.iter().position(|it| *it == holder).unwrap();
        block.holders.remove(index);
        block.used = self.clock;
        if block.holders.is_empty() && !self.keeps {
            self.remove(key, None);
        }
    }

    fn touch(&mut self, id: BlockId) {
        self.clock += 1;
        if let Some(block) = self.blocks.get_mut(&Key::Shared(id)) {
            block.used = self.clock;
        }
    }

    fn remove(&mut self, key: Key, to: Option<Owner>) -> Block {
        self.hand(self.block_pages, Some(Owner::Block(key)), to);
        self.blocks.remove(&key).unwrap()
    }

    /// Evicts until so many pages are free; `false`, and nothing, where that is impossible.
    fn make_free(&mut self, pages: usize) -> bool {
        if self.free() + self.cached_pages() < pages {
            return false;
        }
        while self.free() < pages {
            let key = self.unheld()[0];
            self.remove(key, None);
        }
        true
    }
}

/// One request.
#[derive(Clone, Debug)]
struct State {
    /// Tokens of its prompt and its output whose KV it has.
    computed: u32,
    /// What it has to compute before it decodes.
    prompt_end: u32,
    /// The most that it had computed before it was preempted.
    peak: u32,
    /// Its shareable blocks.
    blocks: Vec<BlockId>,
    /// For each of the shareable blocks that it refers to, in which tier: external or not.
    shared: BTreeMap<usize, bool>,
    /// For each token that has room, whether that is in external memory.
    in_external: Vec<bool>,
    /// The tokens in external memory after it was swapped out, and the move.
    swapped: Option<(u32, Option<MoveId>)>,
    /// Moves that it waits for.
    waits: Vec<MoveId>,
}

/// A move in flight.
#[derive(Clone, Debug)]
struct Moving {
    asked: KvMove,
    /// Its blocks that external memory gets, and the first tier.
    to_external: Vec<Key>,
    to_hbm: Vec<BlockId>,
    /// Blocks of the first tier that it holds.
    held: Vec<BlockId>,
    /// Private pages of the first tier that it reads.
    private: usize,
    /// Whether the first tier has evicted its blocks.
    is_eviction: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Twin {
    requests: Arc<Requests>,
    page: u32,
    block: u32,
    block_pages: usize,
    direct: bool,
    by_layer: bool,
    swaps: bool,
    caches: bool,
    through: bool,
    evicted: bool,
    all: bool,
    ahead: usize,
    hbm: Tier,
    external: Tier,
    states: Vec<State>,
    records: Table<RequestId, RequestRecord>,
    arrived: usize,
    preempted: Vec<RequestId>,
    fresh: Vec<RequestId>,
    loading: Vec<RequestId>,
    running: Vec<RequestId>,
    moving: BTreeMap<MoveId, Moving>,
    next_move: usize,
    private_blocks: usize,
    moves: Vec<KvMove>,
    step: ServingStep,
}

impl Twin {
    pub(super) fn new(case: &Case) -> Self {
        let requests = Arc::clone(&case.requests);
        let page = case.page.tokens() as u32;
        let block = requests.block_tokens;
        let block_pages = block.div_ceil(page) as usize;
        let with_external = case.room.external > 0;
        let direct = with_external && requests.kv.external == ExternalKv::Direct;
        let caches = with_external && requests.kv.cache == CacheConfig::External;
        let states = requests.all.iter().map(|request| {
            let full = if requests.kv.cache == CacheConfig::Off { 0 } else { request.prompt / block };
            let blocks = requests.blocks_of(request).iter().copied().take(full as usize).collect();
            State {
                computed: 0,
                prompt_end: request.prompt,
                peak: 0,
                blocks,
                shared: BTreeMap::new(),
                in_external: Vec::new(),
                swapped: None,
                waits: Vec::new(),
            }
        });
        Self {
            states: states.collect(),
            records: requests.all.iter().map(RequestRecord::new).collect(),
            page,
            block,
            block_pages,
            direct,
            by_layer: requests.kv.external == ExternalKv::LoadByLayer,
            swaps: with_external && !direct && requests.preemption == Preemption::Swap,
            caches,
            through: caches && requests.kv.write == WriteBack::Through,
            evicted: caches && requests.kv.write == WriteBack::OnEviction,
            all: caches && requests.kv.blocks == StoredBlocks::All,
            ahead: (2 * requests.limits.tokens.div_ceil(page) as usize).min(case.room.hbm as usize / 8),
            hbm: Tier::new(case.room.hbm, block_pages, true),
            external: Tier::new(case.room.external, block_pages, caches),
            arrived: 0,
            preempted: Vec::new(),
            fresh: Vec::new(),
            loading: Vec::new(),
            running: Vec::new(),
            moving: BTreeMap::new(),
            next_move: 0,
            private_blocks: 0,
            moves: Vec::new(),
            step: ServingStep::default(),
            requests,
        }
    }

    /// Its prompt and its output so far.
    fn tokens(&self, request: RequestId) -> u32 {
        self.requests.all[request].prompt + self.records[request].tokens_out
    }

    fn state(&mut self, request: RequestId) -> &mut State {
        &mut self.states[request.index()]
    }

    /// Pages of tokens that begin with shareable blocks.
    fn pages_of(&self, request: RequestId, tokens: u32) -> usize {
        let blocks = self.states[request.index()].blocks.len() as u32;
        let mut pages = 0;
        let mut at = 0;
        for _ in 0..blocks {
            let here = self.block.min(tokens - at);
            pages += if self.direct && here > 0 { self.block_pages } else { here.div_ceil(self.page) as usize };
            at += here;
        }
        pages + (tokens - at).div_ceil(self.page) as usize
    }

    fn held_pages(&self, request: RequestId) -> usize {
        let own = self.hbm.owned(request) + self.external.owned(request);
        own + self.states[request.index()].shared.len() * self.block_pages
    }

    fn issue(&mut self, moving: Moving) {
        self.moves.push(moving.asked);
        self.moving.insert(moving.asked.id, moving);
        self.next_move += 1;
    }

    fn new_move(&self, kind: MoveKind, request: RequestId, tokens: u32, when: WhenMoved) -> Moving {
        let asked = KvMove { id: MoveId::new(self.next_move), kind, request, tokens, when };
        Moving { asked, to_external: Vec::new(), to_hbm: Vec::new(), held: Vec::new(), private: 0, is_eviction: false }
    }

    /// Whether the first tier's oldest block is to be stored before it is evicted.
    fn oldest(&self) -> Option<(BlockId, bool)> {
        match self.hbm.unheld().first()? {
            Key::Shared(id) => Some((*id, self.evicted && !self.external.has(*id))),
            Key::Private(_) => unreachable!("private blocks are in external memory"),
        }
    }

    fn evict_oldest(&mut self) {
        let Some((id, is_dirty)) = self.oldest() else { return };
        let key = Key::Shared(id);
        let user = self.hbm.blocks[&key].last_user;
        if !is_dirty || self.external.free() + self.external.cached_pages() < self.block_pages {
            self.hbm.remove(key, None);
            return;
        }
        // The last move that was asked for goes on, if it evicts blocks of the same request.
        let last = self.moves.last().map(|last| last.id);
        let goes_on = last.filter(|id| self.moving[id].is_eviction && self.moving[id].asked.request == user);
        let id = goes_on.unwrap_or_else(|| {
            let moving = self.new_move(MoveKind::Store, user, 0, WhenMoved::Background);
            let id = moving.asked.id;
            self.issue(Moving { is_eviction: true, ..moving });
            id
        });
        self.hbm.remove(key, Some(Owner::Leaving(id)));
        self.external.make_free(self.block_pages);
        self.external.add(key, Holder::Move(id), Some(id), None);
        self.moving.get_mut(&id).unwrap().to_external.push(key);
        self.moves.last_mut().unwrap().tokens += self.block;
    }

    /// Makes pages of the first tier free, or has the step wait for them.
    fn make_free(&mut self, pages: usize, waits: bool) -> bool {
        let most = self.hbm.free() + self.hbm.cached_pages() + if waits { self.hbm.leaving() } else { 0 };
        if most < pages {
            return false;
        }
        loop {
            if self.hbm.free() >= pages {
                return true;
            }
            let promised = self.hbm.free() + self.hbm.leaving();
            if let Some((_, is_dirty)) = self.oldest()
                && (!is_dirty || promised < pages)
            {
                self.evict_oldest();
                continue;
            }
            if !waits {
                return false;
            }
            // A page of the earliest move.
            let ids = self.hbm.pages.iter().filter_map(|page| match page {
                Some(Owner::Leaving(id)) => Some(*id),
                _ => None,
            });
            let id = ids.min().unwrap();
            self.hbm.hand(1, Some(Owner::Leaving(id)), None);
            if !self.step.after.contains(&id) {
                self.step.after.push(id);
            }
        }
    }

    /// Room for the tokens up to `end` of a request.
    fn grow(&mut self, request: RequestId, end: u32, waits: bool) -> bool {
        let owner = Some(Owner::Request(request));
        if !self.direct {
            let pages = self.pages_of(request, end).saturating_sub(self.held_pages(request));
            if !self.make_free(pages, waits) {
                return false;
            }
            self.hbm.hand(pages, None, owner);
            self.state(request).in_external.resize(end as usize, false);
            return true;
        }
        // Read in place: one block after the other, then one page after the other.
        let mut hbm = self.hbm.free() + self.hbm.cached_pages() + if waits { self.hbm.leaving() } else { 0 };
        let mut external = self.external.free() + self.external.cached_pages();
        let (mut from_hbm, mut from_external) = (0, 0);
        let mut in_external = self.states[request.index()].in_external.clone();
        let in_blocks = self.states[request.index()].blocks.len() as u32 * self.block;
        while (in_external.len() as u32) < end {
            let at = in_external.len() as u32;
            let offset = if at < in_blocks { at % self.block } else { (at - in_blocks) % self.page };
            if offset > 0 {
                in_external.push(*in_external.last().unwrap());
                continue;
            }
            let pages = if at < in_blocks { self.block_pages } else { 1 };
            if hbm >= pages {
                (hbm, from_hbm) = (hbm - pages, from_hbm + pages);
                in_external.push(false);
            } else if external >= pages {
                (external, from_external) = (external - pages, from_external + pages);
                in_external.push(true);
            } else {
                return false;
            }
        }
        if !self.external.make_free(from_external) {
            return false;
        }
        self.external.hand(from_external, None, owner);
        if !self.make_free(from_hbm, waits) {
            self.external.hand(from_external, owner, None);
            return false;
        }
        self.hbm.hand(from_hbm, None, owner);
        self.state(request).in_external = in_external;
        true
    }

    fn count_external(&self, request: RequestId, from: u32, to: u32) -> u32 {
        let tokens = &self.states[request.index()].in_external[from as usize..to as usize];
        tokens.iter().filter(|is_external| **is_external).count() as u32
    }

    fn add_part(&mut self, request: RequestId, budget: &mut u32) {
        let (tokens, state) = (self.tokens(request), &self.states[request.index()]);
        let count = (tokens - state.computed).min(*budget);
        *budget -= count;
        let part = StepPart {
            request,
            context: state.computed,
            context_external: self.count_external(request, 0, state.computed),
            tokens: count,
            tokens_external: self.count_external(request, state.computed, state.computed + count),
            outputs: state.computed + count == tokens,
            is_chunk: state.computed < state.prompt_end,
        };
        self.step.parts.push(part);
    }

    fn run_running(&mut self, budget: &mut u32) -> bool {
        let mut preempted = false;
        for request in self.running.clone() {
            if *budget == 0 || !self.running.contains(&request) {
                break;
            }
            let computed = self.states[request.index()].computed;
            let end = computed + (self.tokens(request) - computed).min(*budget);
            while self.running.contains(&request) && !self.grow(request, end, true) {
                self.preempt();
                preempted = true;
            }
            if self.running.contains(&request) {
                self.add_part(request, budget);
            }
        }
        preempted
    }

    fn preempt(&mut self) {
        let request = self.running.pop().unwrap();
        self.records[request].preemptions += 1;
        let state = self.state(request);
        state.peak = state.peak.max(state.computed);
        if !self.swaps || !self.swap_out(request) {
            self.give_up(request);
        }
        self.preempted.insert(0, request);
    }

    fn let_blocks_go(&mut self, request: RequestId) {
        let shared = std::mem::take(&mut self.state(request).shared);
        for (index, is_external) in shared.into_iter().rev() {
            let key = Key::Shared(self.states[request.index()].blocks[index]);
            let tier = if is_external { &mut self.external } else { &mut self.hbm };
            tier.blocks.get_mut(&key).unwrap().last_user = request;
            tier.let_go(key, Holder::Request(request));
        }
    }

    /// Pages that stores of the request still read stay until these are complete.
    fn keep_stored(&mut self, request: RequestId) {
        for moving in self.moving.values().filter(|it| it.asked.request == request) {
            let mine = self.hbm.owned(request);
            let pages = moving.private.min(mine);
            self.hbm.hand(pages, Some(Owner::Request(request)), Some(Owner::Kept(moving.asked.id)));
        }
        self.moving.values_mut().filter(|it| it.asked.request == request).for_each(|it| it.private = 0);
    }

    fn give_up(&mut self, request: RequestId) {
        self.let_blocks_go(request);
        self.keep_stored(request);
        let owner = Some(Owner::Request(request));
        self.hbm.hand(self.hbm.owned(request), owner, None);
        self.external.hand(self.external.owned(request), owner, None);
        let state = self.state(request);
        state.computed = 0;
        state.in_external.clear();
    }

    fn finish(&mut self, request: RequestId) {
        let state = &self.states[request.index()];
        let full = (state.computed / self.block) as usize;
        let stored = full.saturating_sub(state.blocks.len());
        if self.evicted && self.all && stored > 0 && self.external.owned(request) == 0 {
            let mut moving = self.new_move(MoveKind::Store, request, 0, WhenMoved::Background);
            let id = moving.asked.id;
            for _ in 0..stored {
                if self.external.make_free(self.block_pages) {
                    moving.to_external.push(self.add_private(id));
                    moving.asked.tokens += self.block;
                } else {
                    break;
                }
            }
            if moving.asked.tokens > 0 {
                let own = self.hbm.owned(request);
                self.hbm.hand(own, Some(Owner::Request(request)), Some(Owner::Leaving(id)));
                self.issue(moving);
            }
        }
        self.give_up(request);
    }

    fn add_private(&mut self, id: MoveId) -> Key {
        let key = Key::Private(self.private_blocks);
        self.private_blocks += 1;
        self.external.add(key, Holder::Move(id), Some(id), None);
        key
    }

    fn swap_out(&mut self, request: RequestId) -> bool {
        let state = self.states[request.index()].clone();
        let full = ((state.computed / self.block) as usize).min(state.blocks.len());
        let tail = state.computed - full as u32 * self.block;
        let holder = Holder::Request(request);
        let (there, missing): (Vec<BlockId>, Vec<BlockId>) =
            state.blocks[..full].iter().partition(|id| self.external.has(**id));
        // Those that are there are not evicted for the others.
        for id in &there {
            self.external.hold(Key::Shared(*id), holder);
        }
        let tail_pages = tail.div_ceil(self.page) as usize;
        if state.computed == 0 || !self.external.make_free(missing.len() * self.block_pages + tail_pages) {
            for id in there.iter().rev() {
                self.external.let_go(Key::Shared(*id), holder);
            }
            return false;
        }
        let tokens = missing.len() as u32 * self.block + tail;
        let mut moving = self.new_move(MoveKind::SwapOut, request, tokens, WhenMoved::Awaited);
        let id = moving.asked.id;
        for index in (0..full).rev() {
            let key = Key::Shared(state.blocks[index]);
            let is_shared = state.shared.contains_key(&index);
            if there.contains(&state.blocks[index]) {
                if is_shared {
                    self.hbm.blocks.get_mut(&key).unwrap().last_user = request;
                    self.hbm.let_go(key, holder);
                }
                continue;
            }
            self.external.add(key, holder, Some(id), None);
            moving.to_external.push(key);
            if is_shared && self.hbm.blocks[&key].holders == [holder] {
                self.hbm.remove(key, Some(Owner::Leaving(id)));
            } else if is_shared {
                self.hbm.let_go(key, holder);
                self.hbm.hold(key, Holder::Move(id));
                moving.held.push(state.blocks[index]);
            }
        }
        self.external.hand(tail_pages, None, Some(Owner::Swapped(request)));
        self.keep_stored(request);
        let own = self.hbm.owned(request);
        let to = (tokens > 0).then_some(Owner::Leaving(id));
        self.hbm.hand(own, Some(Owner::Request(request)), to);
        if tokens > 0 {
            self.issue(moving);
        }
        let state = self.state(request);
        state.swapped = Some((state.computed, (tokens > 0).then_some(id)));
        state.shared.clear();
        state.in_external.clear();
        true
    }

    fn admit(&mut self, now: SimTime, budget: &mut u32) {
        let most = self.requests.limits.sequences as usize;
        for request in self.loading.clone() {
            if *budget > 0 && self.running.len() < most && self.states[request.index()].waits.is_empty() {
                self.loading.retain(|it| *it != request);
                self.start(now, request, budget);
            }
        }
        while *budget > 0 && self.running.len() < most {
            let request = match (self.preempted.first(), self.requests.order) {
                (Some(first), _) => *first,
                (None, QueueOrder::Fcfs) => match self.fresh.first() {
                    Some(first) => *first,
                    None => break,
                },
                (None, QueueOrder::ShortestFirst) => {
                    match self.fresh.iter().min_by_key(|it| self.requests.all[**it].prompt) {
                        Some(first) => *first,
                        None => break,
                    }
                }
            };
            let admitted = match self.states[request.index()].swapped {
                Some((computed, swap)) => self.swap_in(now, request, computed, swap, budget),
                None => self.admit_one(now, request, budget),
            };
            if !admitted {
                break;
            }
            self.preempted.retain(|it| *it != request);
            self.fresh.retain(|it| *it != request);
        }
    }

    fn start(&mut self, now: SimTime, request: RequestId, budget: &mut u32) {
        self.records[request].scheduled.get_or_insert(now);
        self.running.push(request);
        self.add_part(request, budget);
    }

    fn start_or_wait(&mut self, now: SimTime, request: RequestId, budget: &mut u32) {
        if self.states[request.index()].waits.is_empty() {
            self.start(now, request, budget);
        } else {
            self.loading.push(request);
        }
    }

    /// The move that brings a block to the first tier, unless this step waits for it by layer.
    fn arriving(&self, id: BlockId) -> Option<MoveId> {
        let by = self.hbm.blocks.get(&Key::Shared(id))?.filled_by?;
        (!self.step.by_layer.contains(&by)).then_some(by)
    }

    fn admit_one(&mut self, now: SimTime, request: RequestId, budget: &mut u32) -> bool {
        let tokens = self.tokens(request);
        let holder = Holder::Request(request);
        let state = self.states[request.index()].clone();
        let is_there = |id: &&BlockId| self.hbm.has(**id) || self.caches && self.external.is_ready(**id);
        let most = ((tokens - 1) / self.block) as usize;
        let hits: Vec<BlockId> = state.blocks.iter().take(most).take_while(is_there).copied().collect();
        let (in_hbm, in_external): (Vec<BlockId>, Vec<BlockId>) = hits.iter().partition(|id| self.hbm.has(**id));
        let unheld = |tier: &Tier, ids: &[BlockId]| ids.iter().filter(|id| !tier.is_held(**id)).count();
        let pages = self.pages_of(request, tokens) - self.block_pages * in_hbm.len();
        let hbm = self.hbm.free() + self.hbm.cached_pages() - self.block_pages * unheld(&self.hbm, &in_hbm);
        let fits = if self.direct {
            let external = self.external.free() + self.external.cached_pages()
                - self.block_pages * unheld(&self.external, &in_external);
            pages - self.block_pages * in_external.len() <= hbm + external
        } else {
            pages <= hbm
        };
        if !fits {
            return false;
        }
        for (index, id) in hits.iter().enumerate() {
            let is_external = !self.hbm.has(*id);
            let tier = if is_external { &mut self.external } else { &mut self.hbm };
            tier.hold(Key::Shared(*id), holder);
            if !is_external || self.direct {
                self.state(request).shared.insert(index, is_external);
            }
            let tokens = self.block as usize;
            let is_external = is_external && self.direct;
            self.state(request).in_external.extend(std::iter::repeat_n(is_external, tokens));
        }
        let computed = hits.len() as u32 * self.block;
        let mut waits: Vec<MoveId> = Vec::new();
        for id in &hits {
            waits.extend(self.arriving(*id).filter(|by| !waits.contains(by)));
        }
        let loads = !self.direct && !in_external.is_empty();
        let must_wait = !waits.is_empty() || loads && !self.by_layer;
        let end = if must_wait { tokens } else { tokens.min(computed + *budget) };
        if !self.grow(request, end, false) {
            for id in hits.iter().rev() {
                let tier = if self.hbm.has(*id) { &mut self.hbm } else { &mut self.external };
                tier.let_go(Key::Shared(*id), holder);
            }
            let state = self.state(request);
            state.shared.clear();
            state.in_external.clear();
            return false;
        }
        for (index, id) in hits.iter().enumerate().rev() {
            let from = (computed.min((index as u32 + 1) * self.block)).saturating_sub(state.peak);
            let new = from.min(self.block);
            if in_external.contains(id) {
                self.records[request].hit_external += new;
            } else {
                self.records[request].hit_hbm += new;
                self.external.touch(*id);
            }
        }
        let state = self.state(request);
        (state.computed, state.prompt_end) = (computed, tokens);
        if loads {
            let when = if must_wait { WhenMoved::Awaited } else { WhenMoved::ByLayer };
            let tokens = in_external.len() as u32 * self.block;
            let mut moving = self.new_move(MoveKind::Load, request, tokens, when);
            for (index, id) in hits.iter().enumerate().filter(|(_, id)| in_external.contains(id)) {
                let by = Some(moving.asked.id);
                self.hbm.add(Key::Shared(*id), holder, by, Some(Owner::Request(request)));
                self.state(request).shared.insert(index, false);
                moving.to_hbm.push(*id);
            }
            if must_wait {
                waits.push(moving.asked.id);
            } else {
                self.step.by_layer.push(moving.asked.id);
            }
            self.issue(moving);
        }
        self.state(request).waits = waits;
        self.start_or_wait(now, request, budget);
        true
    }

    fn swap_in(
        &mut self,
        now: SimTime,
        request: RequestId,
        computed: u32,
        swap: Option<MoveId>,
        budget: &mut u32,
    ) -> bool {
        let tokens = self.tokens(request);
        let holder = Holder::Request(request);
        let blocks = self.states[request.index()].blocks.clone();
        let full = ((computed / self.block) as usize).min(blocks.len());
        let blocks = &blocks[..full];
        let tail = computed - full as u32 * self.block;
        if swap.is_some_and(|id| self.moving.contains_key(&id)) || !blocks.iter().all(|id| self.external.is_ready(*id))
        {
            return false;
        }
        let (there, missing): (Vec<BlockId>, Vec<BlockId>) = blocks.iter().partition(|id| self.hbm.has(**id));
        let unheld = there.iter().filter(|id| !self.hbm.is_held(**id)).count();
        let pages = self.pages_of(request, tokens) - self.block_pages * there.len();
        if pages > self.hbm.free() + self.hbm.cached_pages() - self.block_pages * unheld {
            return false;
        }
        for (index, id) in blocks.iter().enumerate().filter(|(_, id)| there.contains(id)) {
            self.hbm.hold(Key::Shared(*id), holder);
            self.state(request).shared.insert(index, false);
        }
        if !self.grow(request, tokens, false) {
            for id in there.iter().rev() {
                self.hbm.let_go(Key::Shared(*id), holder);
            }
            self.state(request).shared.clear();
            return false;
        }
        for id in there.iter().rev() {
            self.external.let_go(Key::Shared(*id), holder);
        }
        let mut waits: Vec<MoveId> = Vec::new();
        for id in &there {
            waits.extend(self.arriving(*id).filter(|by| !waits.contains(by)));
        }
        if tail > 0 || !missing.is_empty() {
            let count = missing.len() as u32 * self.block + tail;
            let mut moving = self.new_move(MoveKind::SwapIn, request, count, WhenMoved::Awaited);
            let by = moving.asked.id;
            for (index, id) in blocks.iter().enumerate().filter(|(_, id)| missing.contains(id)) {
                self.hbm.add(Key::Shared(*id), holder, Some(by), Some(Owner::Request(request)));
                self.state(request).shared.insert(index, false);
                moving.to_hbm.push(*id);
            }
            waits.push(by);
            self.issue(moving);
        }
        let state = self.state(request);
        (state.swapped, state.waits) = (None, waits);
        self.start_or_wait(now, request, budget);
        true
    }

    /// Blocks that were computed from `before` on may be shared, and are stored.
    fn fill_blocks(&mut self, request: RequestId, before: u32) {
        let state = self.states[request.index()].clone();
        let owner = Some(Owner::Request(request));
        let holder = Holder::Request(request);
        let (block, computed) = (self.block, state.computed);
        let is_new = move |index: usize| {
            let end = (index as u32 + 1) * block;
            end > before && end <= computed
        };
        let mut filled = Vec::new();
        for index in (0..state.blocks.len()).filter(|index| is_new(*index)) {
            let id = state.blocks[index];
            let key = Key::Shared(id);
            if state.in_external[index * self.block as usize] {
                if self.caches && !self.external.has(id) {
                    self.external.add(key, holder, None, owner);
                    self.state(request).shared.insert(index, true);
                }
            } else if !self.hbm.has(id) {
                self.hbm.add(key, holder, None, owner);
                self.state(request).shared.insert(index, false);
                filled.push(id);
            }
        }
        if !self.through {
            return;
        }
        let mut moving = self.new_move(MoveKind::Store, request, 0, WhenMoved::Background);
        let by = moving.asked.id;
        for id in filled {
            if self.external.has(id) {
                continue;
            }
            if !self.external.make_free(self.block_pages) {
                break;
            }
            self.external.add(Key::Shared(id), Holder::Move(by), Some(by), None);
            self.hbm.hold(Key::Shared(id), Holder::Move(by));
            moving.held.push(id);
            moving.to_external.push(Key::Shared(id));
        }
        if self.all && self.external.owned(request) == 0 {
            let first = state.blocks.len();
            let is_new = |index: &usize| is_new(*index) && (*index as u32 + 1) * block > state.peak;
            for index in (first..(state.computed / self.block) as usize).filter(is_new) {
                if !self.external.make_free(self.block_pages) {
                    break;
                }
                moving.to_external.push(self.add_private(by));
                let pages = |blocks: usize| (blocks as u32 * self.block).div_ceil(self.page) as usize;
                moving.private += pages(index + 1 - first) - pages(index - first);
            }
        }
        moving.asked.tokens = moving.to_external.len() as u32 * self.block;
        if moving.asked.tokens > 0 {
            self.issue(moving);
        }
    }
}

impl Schedules for Twin {
    fn next(&mut self, now: SimTime) -> Decision {
        while let Some(request) = self.requests.all.get(RequestId::new(self.arrived)).filter(|it| it.arrival <= now) {
            let id = RequestId::new(self.arrived);
            let most = u64::from(self.requests.limits.context.unwrap_or(u32::MAX));
            let tokens = request.prompt + request.output - 1;
            let pages = self.pages_of(id, tokens);
            let in_blocks = self.states[id.index()].blocks.len().min(tokens.div_ceil(self.block) as usize);
            let (hbm, external) = (self.hbm.pages.len(), self.external.pages.len());
            let fits = if self.direct {
                in_blocks <= hbm / self.block_pages + external / self.block_pages && pages <= hbm + external
            } else {
                pages <= hbm
            };
            if u64::from(tokens) + 1 > most {
                self.records[id].rejected = Some(Rejection::Context);
            } else if !fits {
                self.records[id].rejected = Some(Rejection::Kv);
            } else {
                self.fresh.push(id);
            }
            self.arrived += 1;
        }
        self.step = ServingStep::default();
        let mut budget = self.requests.limits.tokens;
        let preempted = self.run_running(&mut budget);
        if !preempted || self.step.parts.is_empty() {
            self.admit(now, &mut budget);
        }
        if !self.step.parts.is_empty() {
            self.step.running = self.running.len() as u32;
            self.step.waiting = (self.preempted.len() + self.fresh.len() + self.loading.len()) as u32;
            self.step.pages_hbm = (self.hbm.pages.len() - self.hbm.free()) as u64;
            self.step.pages_cached = self.hbm.cached_pages() as u64;
            self.step.pages_external = (self.external.pages.len() - self.external.free()) as u64;
            return Decision::Step;
        }
        let ended = |record: &RequestRecord| record.rejected.is_some() || record.finished.is_some();
        if self.arrived == self.requests.all.len() && self.records.iter().all(ended) {
            return Decision::End;
        }
        let next = self.requests.all.get(RequestId::new(self.arrived));
        Decision::Wait(next.map_or(SimTime::MAX, |request| request.arrival))
    }

    fn step(&self) -> &ServingStep {
        &self.step
    }

    fn completed(&mut self, now: SimTime) {
        for part in self.step.parts.clone() {
            let request = part.request;
            let before = self.states[request.index()].computed;
            self.state(request).computed += part.tokens;
            let (state, record) = (&self.states[request.index()], &mut self.records[request]);
            record.recomputed += (before..state.computed).filter(|token| *token < state.peak).count() as u32;
            if part.outputs {
                record.tokens_out += 1;
                record.first_token.get_or_insert(now);
                if record.tokens_out == self.requests.all[request].output {
                    record.finished = Some(now);
                }
            }
            self.fill_blocks(request, before);
        }
        for request in self.running.clone() {
            if self.records[request].finished.is_some() {
                self.running.retain(|it| *it != request);
                self.finish(request);
            }
        }
        while self.evicted && self.hbm.free() + self.hbm.leaving() < self.ahead && self.oldest().is_some() {
            self.evict_oldest();
        }
    }

    fn moved(&mut self, _now: SimTime, id: MoveId) {
        let moving = self.moving.remove(&id).unwrap();
        let request = moving.asked.request;
        for id in moving.to_hbm.iter().rev() {
            self.hbm.blocks.get_mut(&Key::Shared(*id)).unwrap().filled_by = None;
            self.external.let_go(Key::Shared(*id), Holder::Request(request));
        }
        let is_private = |key: &&Key| matches!(key, Key::Private(_));
        let mut arrived: Vec<Key> = moving.to_external.to_vec();
        if moving.asked.kind == MoveKind::Store && !moving.is_eviction {
            arrived.reverse();
            // Those of the prompt first.
            arrived.sort_by_key(|key| is_private(&key));
        }
        for key in arrived {
            self.external.blocks.get_mut(&key).unwrap().filled_by = None;
            if moving.asked.kind == MoveKind::Store {
                self.external.let_go(key, Holder::Move(id));
            }
        }
        let mut held = moving.held;
        if moving.asked.kind == MoveKind::Store {
            held.reverse();
        }
        for block in held {
            self.hbm.let_go(Key::Shared(block), Holder::Move(id));
        }
        if moving.asked.kind == MoveKind::SwapIn {
            let pages = self.external.count(|owner| owner == Some(Owner::Swapped(request)));
            self.external.hand(pages, Some(Owner::Swapped(request)), None);
        }
        for owner in [Owner::Leaving(id), Owner::Kept(id)] {
            self.hbm.hand(self.hbm.count(|it| it == Some(owner)), Some(owner), None);
        }
        for state in &mut self.states {
            state.waits.retain(|it| *it != id);
        }
    }

    fn take_moves(&mut self) -> Vec<KvMove> {
        std::mem::take(&mut self.moves)
    }

    fn records(&self) -> &Table<RequestId, RequestRecord> {
        &self.records
    }

    fn lost_pages(&self) -> (u64, u64) {
        let of = |tier: &Tier| (tier.pages.len() - tier.free() - tier.cached_pages()) as u64;
        (of(&self.hbm), of(&self.external))
    }
}
