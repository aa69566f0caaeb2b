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

/// A heap of marks, the least first. A node has four children, which lie beside each other in two lines of the cache: half the levels of a
/// binary heap.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    first: Option<Mark>,
    /// The children of node n, the first of all being 0: nodes 4 n + 1 to 4 n + 4.
    children: Vec<Four>,
    /// How many there are.
    len: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Four([Mark; 4]);

/// In the place of a child that there is not.
const NONE: Mark = Mark { at: u128::MAX, order: u64::MAX, slot: u32::MAX };

impl Marks {
    /// With room for so many.
    pub fn with_capacity(marks: usize) -> Self {
        Self { first: None, children: Vec::with_capacity(marks.div_ceil(4)), len: 0 }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.first = None;
        self.children.clear();
        self.len = 0;
    }

    /// The first.
    #[inline]
    pub fn first(&self) -> Option<&Mark> {
        self.first.as_ref()
    }

    #[inline]
    pub fn push(&mut self, mark: Mark) {
        let Some(first) = &mut self.first else {
            self.first = Some(mark);
            self.len = 1;
            return;
        };
        let mut node = self.len;
        self.len += 1;
        if node % 4 == 1 {
            self.children.push(Four([NONE; 4]));
        }
        // The hole rises until the mark fits.
        loop {
            let parent = (node - 1) / 4;
            let above = if parent == 0 { *first } else { self.children[(parent - 1) / 4].0[(parent - 1) % 4] };
            if !is_less(&mark, &above) {
                self.children[parent].0[(node - 1) % 4] = mark;
                return;
            }
            self.children[parent].0[(node - 1) % 4] = above;
            if parent == 0 {
                *first = mark;
                return;
            }
            node = parent;
        }
    }

    /// Takes the first out.
    #[inline]
    pub fn pop(&mut self) {
        if self.len <= 1 {
            self.clear();
            return;
        }
        self.len -= 1;
        let last_place = self.len - 1;
        let last = std::mem::replace(&mut self.children[last_place / 4].0[last_place % 4], NONE);
        if last_place.is_multiple_of(4) {
            self.children.pop();
        }
        // The hole sinks until the last one fits. Which child is the least is as good as random.
        let (mut node, mut hole) = (0, None);
        while let Some(Four([a, b, c, d])) = self.children.get(node) {
            let one = select_unpredictable(is_less(b, a), 1, 0);
            let other = select_unpredictable(is_less(d, c), 3, 2);
            let four = &self.children[node].0;
            let least = select_unpredictable(is_less(&four[other], &four[one]), other, one);
            let mark = four[least];
            if !is_less(&mark, &last) {
                break;
            }
            self.fill(hole, mark);
            hole = Some((node, least));
            node = 4 * node + 1 + least;
        }
        self.fill(hole, last);
    }

    fn fill(&mut self, hole: Option<(usize, usize)>, mark: Mark) {
        match hole {
            None => self.first = Some(mark),
            Some((node, child)) => self.children[node].0[child] = mark,
        }
    }
}

#[inline]
fn is_less(a: &Mark, b: &Mark) -> bool {
    if a.at == b.at { (a.order, a.slot) < (b.order, b.slot) } else { a.at < b.at }
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
            // Far apart, near each other, and equal.
            ops in prop::collection::vec((0u8..5, any::<u128>(), 0u32..8), 1..300),
        ) {
            let (mut marks, mut twin) = (Marks::with_capacity(4), BinaryHeap::new());
            for (order, (kind, random, slot)) in (0..).zip(ops) {
                if kind == 0 {
                    marks.pop();
                    twin.pop();
                } else {
                    let bits = [4, 10, 64, 127][usize::from(kind) - 1];
                    let mark = Mark { at: random & ((1 << bits) - 1), order, slot };
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
