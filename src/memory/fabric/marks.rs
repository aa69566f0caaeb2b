//! The transfers of a group in the order of their completion.

use std::hint::select_unpredictable;

/// A transfer that waits for its group to come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The group's progress at which it is complete.
    pub at: u128,
    /// Of equal ones the lower comes first.
    pub order: u64,
    pub slot: u32,
}

/// Where a mark is kept, as long as it is pending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell(u32);

/// A heap of marks, the least first.
///
/// What is compared are keys of 64 bits, four of which are a line of the cache, so a level of four children costs one.
/// The marks themselves lie beside the heap and are looked at where keys are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// The children of entry i are 4 i + 1 to 4 i + 4.
    heap: Vec<Entry>,
    marks: Vec<Mark>,
    vacant: Vec<u32>,
    /// What keys count from: a mark that was the least when there was no other.
    base: u128,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How far the mark is from the base, in units of 2^-8 byte; what is too far for it is as far as can be.
    key: u64,
    cell: u32,
}

/// The bits of a mark that are not in its key: with it, 2^56 bytes have keys of their own.
const BELOW_KEY: u32 = 56;
const CHILDREN: usize = 4;

impl Marks {
    /// With room for so many.
    pub fn with_capacity(marks: usize) -> Self {
        Self {
            heap: Vec::with_capacity(marks),
            marks: Vec::with_capacity(marks),
            vacant: Vec::with_capacity(marks),
            base: 0,
        }
    }

    /// Takes all out. No mark that comes before the next clearing may be less than `base`.
    pub fn clear(&mut self, base: u128) {
        self.heap.clear();
        self.marks.clear();
        self.vacant.clear();
        self.base = base;
    }

    /// The first.
    #[inline]
    pub fn first(&self) -> Option<&Mark> {
        self.heap.first().map(|entry| &self.marks[entry.cell as usize])
    }

    /// The mark kept in `cell`, which must be pending.
    #[inline]
    pub fn get(&self, cell: Cell) -> &Mark {
        &self.marks[cell.0 as usize]
    }

    #[inline]
    pub fn push(&mut self, mark: Mark) -> Cell {
        debug_assert!(mark.at >= self.base, "a mark before the base");
        let cell = match self.vacant.pop() {
            Some(cell) => {
                self.marks[cell as usize] = mark;
                cell
            }
            None => {
                self.marks.push(mark);
                self.marks.len() as u32 - 1
            }
        };
        let key = u64::try_from(mark.at.wrapping_sub(self.base) >> BELOW_KEY).unwrap_or(u64::MAX);
        let entry = Entry { key, cell };
        let mut at = self.heap.len();
        self.heap.push(entry);
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if !self.is_less(entry, self.heap[parent]) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = entry;
        Cell(cell)
    }

    /// Takes the first out.
    #[inline]
    pub fn pop(&mut self) {
        let Some(last) = self.heap.pop() else { return };
        let Some(first) = self.heap.first() else {
            self.vacant.push(last.cell);
            return;
        };
        self.vacant.push(first.cell);
        // The hole sinks until `last` fits.
        let mut at = 0;
        loop {
            let first_child = CHILDREN * at + 1;
            let least = match self.heap.get(first_child..first_child + CHILDREN) {
                Some(&[a, b, c, d]) => {
                    // Which one is the least is as good as random.
                    let one = select_unpredictable(self.is_less(b, a), 1, 0);
                    let other = select_unpredictable(self.is_less(d, c), 3, 2);
                    let (x, y) = (self.heap[first_child + one], self.heap[first_child + other]);
                    first_child + select_unpredictable(self.is_less(y, x), other, one)
                }
                _ => {
                    let rest = first_child..self.heap.len();
                    let less = |a: usize, b: usize| if self.is_less(self.heap[b], self.heap[a]) { b } else { a };
                    match rest.reduce(less) {
                        Some(least) => least,
                        None => break,
                    }
                }
            };
            if !self.is_less(self.heap[least], last) {
                break;
            }
            self.heap[at] = self.heap[least];
            at = least;
        }
        self.heap[at] = last;
    }

    #[inline]
    fn is_less(&self, a: Entry, b: Entry) -> bool {
        if a.key == b.key { self.comes_before(a, b) } else { a.key < b.key }
    }

    #[cold]
    fn comes_before(&self, a: Entry, b: Entry) -> bool {
        self.marks[a.cell as usize] < self.marks[b.cell as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    proptest! {
        #[test]
        fn equals_a_binary_heap(
            base in prop::sample::select(vec![0, 1 << 64, u128::MAX >> 8]),
            // Far apart, near each other, with equal keys, equal, and beyond what keys can tell.
            ops in prop::collection::vec((0u8..5, any::<u128>(), 0u32..8), 1..300),
        ) {
            let (mut marks, mut twin) = (Marks::with_capacity(4), BinaryHeap::new());
            marks.clear(base);
            let mut cells = Vec::new();
            for (order, (kind, random, slot)) in (0..).zip(ops) {
                if kind == 0 {
                    marks.pop();
                    if let Some(Reverse(gone)) = twin.pop() {
                        cells.retain(|(_, mark)| *mark != gone);
                    }
                } else {
                    let bits = [60, 70, 100, 127][usize::from(kind) - 1] - slot;
                    let at = base.saturating_add(random & ((1 << bits) - 1) & !0xF);
                    let mark = Mark { at, order, slot };
                    cells.push((marks.push(mark), mark));
                    twin.push(Reverse(mark));
                }
                prop_assert_eq!(marks.first(), twin.peek().map(|Reverse(mark)| mark));
                for (cell, mark) in &cells {
                    prop_assert_eq!(marks.get(*cell), mark);
                }
            }
        }
    }
}
