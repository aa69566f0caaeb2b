//! The completion marks of a group in ascending order: a ladder queue.
//!
//! The *ladder queue* of Tang, Goh and Thng ("Ladder queue: an O(1) priority queue structure for
//! large-scale discrete event simulation", ACM TOMACS 15, 2005), with buckets whose widths are
//! powers of two. The first marks are *near*: in order, and what is pushed is put among them. What
//! is farther lies on the ladder, in no order: in one of the 64 buckets of a *rung*, or on the
//! *top*, beyond all rungs. Where no mark is near, the next bucket is sorted and comes near; if it
//! holds too many for that, they are spread over a rung of their own, with buckets 64 times as
//! narrow. So does the top when its turn comes. On its way down a mark moves at most once for each
//! six bits in which it differs from others: two or three times among a million. Near ones go back
//! where many are pushed in the midst of many.
//!
//! Few are all near, and so are any number that are pushed in their order; to take one out there is
//! to go on to the next.

/// The completion mark of a transfer: it is complete when its group has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The group's progress at which it is complete; less than `u128::MAX - 1`.
    pub at: u128,
    /// Of equal ones the lower comes first. Higher than that of all that were pushed before.
    pub order: u64,
    pub slot: u32,
}

/// Marks, the least first.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// From `head` on, in order, all that are less than `beyond`.
    near: Vec<Mark>,
    head: usize,
    /// What is on the ladder is here or farther. `u128::MAX`: there is nothing on it.
    beyond: u128,
    /// The last comes first. Each was a bucket of the one before it, or was near, and ends where
    /// its last mark was: what comes between there and the next bucket of the one before it goes
    /// into that one's bucket again, or into its first.
    rungs: Vec<Rung>,
    /// What is at the end of the first rung or farther.
    top: List,
    /// What is on the ladder, and nodes without use.
    nodes: Vec<Node>,
    vacant: List,
}

/// Up to this many near marks are moved for an insertion, or sorted, before the ladder is cheaper.
const FEW: usize = 32;

/// A mark on the ladder; flat, so that it takes no more room than a mark.
#[derive(Clone, Copy, Debug)]
struct Node {
    at: u128,
    order: u64,
    slot: u32,
    next: List,
}

/// A linked list of nodes, by its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List(u32);

impl List {
    const EMPTY: Self = Self(u32::MAX);
}

const BUCKETS: usize = u64::BITS as usize;

/// What is from `from` to before `end`, in buckets.
#[derive(Clone, Debug)]
struct Rung {
    from: u128,
    end: u128,
    /// Each bucket is 2^`width` wide.
    width: u32,
    /// A bit for each bucket that holds anything.
    filled: u64,
    buckets: [List; BUCKETS],
}

impl Rung {
    /// For what is from `least` to `most`, in buckets as narrow as 64 of them can be.
    fn new(least: u128, most: u128) -> Self {
        let bits = u128::BITS - (most - least).leading_zeros();
        let width = bits.saturating_sub(BUCKETS.ilog2());
        Self { from: least, end: most + 1, width, filled: 0, buckets: [List::EMPTY; BUCKETS] }
    }

    /// The bucket of what is at `at`. What comes before the first one is in the first.
    #[inline]
    fn bucket(&mut self, at: u128) -> &mut List {
        let index = (at.saturating_sub(self.from) >> self.width) as usize % BUCKETS;
        self.filled |= 1 << index;
        &mut self.buckets[index]
    }

    /// Empties the first bucket that holds anything, and says where it ends.
    fn take_first(&mut self) -> Option<(List, u128)> {
        let index = self.filled.trailing_zeros() as usize;
        let list = self.buckets.get_mut(index)?;
        self.filled &= self.filled - 1;
        let end = match index + 1 {
            BUCKETS => self.end,
            next => self.from.saturating_add((next as u128) << self.width).min(self.end),
        };
        Some((std::mem::replace(list, List::EMPTY), end))
    }
}

impl Marks {
    /// An empty queue with room for so many near marks.
    pub fn with_capacity(marks: usize) -> Self {
        Self {
            near: Vec::with_capacity(marks),
            head: 0,
            beyond: u128::MAX,
            rungs: Vec::new(),
            top: List::EMPTY,
            nodes: Vec::new(),
            vacant: List::EMPTY,
        }
    }

    /// Removes all marks.
    pub fn clear(&mut self) {
        self.near.clear();
        self.head = 0;
        self.beyond = u128::MAX;
        self.rungs.clear();
        self.top = List::EMPTY;
        self.nodes.clear();
        self.vacant = List::EMPTY;
    }

    /// The least mark.
    #[inline]
    pub fn first(&self) -> Option<&Mark> {
        self.near.get(self.head)
    }

    #[inline]
    pub fn push(&mut self, mark: Mark) {
        if mark.at >= self.beyond {
            self.push_on_ladder(mark);
            return;
        }
        if self.near.len() == self.near.capacity() && self.head > self.near.len() / 2 {
            // Half of the room in front stays, for what comes first.
            let gone = self.head / 2;
            self.near.drain(..gone);
            self.head -= gone;
        }
        // Most come last, or nearly.
        let end = self.near.len();
        let mut place = end;
        self.near.push(mark);
        while place > self.head && mark.at < self.near[place - 1].at {
            if place + FEW == end {
                self.near.remove(place);
                self.push_deep(mark);
                return;
            }
            self.near[place] = self.near[place - 1];
            place -= 1;
        }
        self.near[place] = mark;
    }

    /// Puts `mark` among the near ones, more than a few of which come after it.
    #[cold]
    fn push_deep(&mut self, mark: Mark) {
        let before = self.near[self.head..].partition_point(|other| other.at <= mark.at);
        let rest = self.near.len() - self.head - before;
        // Not where few come before many: the many, equal ones perhaps, would be back at once.
        if before > FEW && before * before > rest {
            // The marks after it go to the ladder.
            let after = self.head + before;
            let (least, most) = (self.near[after].at, self.near[self.near.len() - 1].at);
            let mut list = List::EMPTY;
            for index in after..self.near.len() {
                let node = self.node(self.near[index]);
                self.nodes[node as usize].next = std::mem::replace(&mut list, List(node));
            }
            self.near.truncate(after);
            self.near.push(mark);
            match std::mem::replace(&mut self.beyond, least) {
                u128::MAX => self.top = list,
                _ => {
                    while self.rungs.last().is_some_and(|rung| rung.filled == 0) {
                        self.rungs.pop();
                    }
                    self.spread(list, least, most);
                }
            }
        } else {
            // The marks before it move to the front. The room made there is as large as the list,
            // so making it is O(1) amortized.
            if self.head == 0 {
                self.head = self.near.len();
                self.near.splice(..0, std::iter::repeat_n(mark, self.head));
            }
            self.near.copy_within(self.head..self.head + before, self.head - 1);
            self.head -= 1;
            self.near[self.head + before] = mark;
        }
    }

    fn push_on_ladder(&mut self, mark: Mark) {
        let node = self.node(mark);
        let within = self.rungs.partition_point(|rung| mark.at < rung.end);
        let list = match within.checked_sub(1) {
            Some(rung) => self.rungs[rung].bucket(mark.at),
            None => &mut self.top,
        };
        self.nodes[node as usize].next = std::mem::replace(list, List(node));
    }

    /// A node for `mark`, in no list.
    fn node(&mut self, Mark { at, order, slot }: Mark) -> u32 {
        let node = Node { at, order, slot, next: List::EMPTY };
        let place = self.vacant.0;
        if let Some(vacant) = self.nodes.get_mut(place as usize) {
            self.vacant = vacant.next;
            *vacant = node;
            place
        } else {
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        }
    }

    /// Removes the first mark. O(1) amortized: see the module.
    #[inline]
    pub fn pop(&mut self) {
        self.head += 1;
        if self.head >= self.near.len() {
            self.climb_down();
        }
    }

    /// Brings the least marks on the ladder near, if there are any. No mark is near before.
    fn climb_down(&mut self) {
        self.near.clear();
        self.head = 0;
        if self.beyond == u128::MAX {
            return;
        }
        while self.near.is_empty() {
            let (list, end) = match self.rungs.last_mut() {
                Some(rung) => match rung.take_first() {
                    Some(first) => first,
                    None => {
                        self.rungs.pop();
                        continue;
                    }
                },
                None => (std::mem::replace(&mut self.top, List::EMPTY), u128::MAX),
            };
            self.beyond = end;
            if list == List::EMPTY {
                break;
            }
            let (mut count, mut least, mut most) = (0, u128::MAX, 0);
            let mut next = list;
            while let Some(node) = self.nodes.get(next.0 as usize) {
                (count, least, most) = (count + 1, least.min(node.at), most.max(node.at));
                next = node.next;
            }
            if count <= FEW || least == most {
                self.bring_near(list);
            } else {
                self.spread(list, least, most);
            }
        }
    }

    fn bring_near(&mut self, list: List) {
        let mut next = list;
        while let Some(node) = self.nodes.get_mut(next.0 as usize) {
            self.near.push(Mark { at: node.at, order: node.order, slot: node.slot });
            let after = std::mem::replace(&mut node.next, self.vacant);
            self.vacant = std::mem::replace(&mut next, after);
        }
        self.near.sort_unstable_by_key(|mark| (mark.at, mark.order));
    }

    /// Spreads `list`, of which this is the least and this the most, over a rung of its own.
    fn spread(&mut self, list: List, least: u128, most: u128) {
        let mut rung = Rung::new(least, most);
        let mut next = list;
        while let Some(node) = self.nodes.get_mut(next.0 as usize) {
            let this = std::mem::replace(&mut next, node.next);
            node.next = std::mem::replace(rung.bucket(node.at), this);
        }
        self.rungs.push(rung);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn equals_a_binary_heap(
            // Far apart, near each other, and equal; a few at any time, or most of them; after the
            // last one taken out, or anywhere.
            bits in prop::collection::vec(prop_oneof![0u32..6, 0u32..16, 0u32..126], 1..4), anywhere: bool,
            ops in prop::collection::vec((any::<prop::sample::Index>(), any::<u128>(), 0u8..100), 1..4000),
            pops in prop::collection::vec(0u8..100, 1..9),
        ) {
            let (mut marks, mut twin, mut last) = (Marks::with_capacity(4), BinaryHeap::new(), 0);
            let stretch = ops.len().div_ceil(pops.len());
            for (order, (which, random, chance)) in (0..).zip(ops) {
                let bits = which.get(&bits);
                let mark = Mark { at: (last + (random & ((1 << bits) - 1))).min(1 << 127), order, slot: order as u32 };
                if chance < pops[order as usize / stretch] {
                    if let Some(Reverse(Mark { at, .. })) = twin.pop() {
                        last = if anywhere { 0 } else { at };
                        marks.pop();
                    }
                } else {
                    marks.push(mark);
                    twin.push(Reverse(mark));
                }
                prop_assert_eq!(marks.first(), twin.peek().map(|Reverse(mark)| mark));
            }
            while let Some(Reverse(mark)) = twin.pop() {
                prop_assert_eq!(marks.first(), Some(&mark));
                marks.pop();
            }
            prop_assert_eq!(marks.first(), None);
        }
    }
}
