//! What an import understood, assumed and ignored, in sentences.

use std::cell::RefCell;

/// Sentences that an import collects on its way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    understood: RefCell<Vec<String>>,
    assumed: RefCell<Vec<String>>,
    ignored: RefCell<Vec<String>>,
}

impl Notes {
    pub fn understood(&self, sentence: impl Into<String>) {
        push(&self.understood, sentence.into());
    }

    pub fn assumed(&self, sentence: impl Into<String>) {
        push(&self.assumed, sentence.into());
    }

    pub fn ignored(&self, sentence: impl Into<String>) {
        push(&self.ignored, sentence.into());
    }

    /// The three lists, in the order in which they were written.
    pub fn into_lists(self) -> (Vec<String>, Vec<String>, Vec<String>) {
        (self.understood.into_inner(), self.assumed.into_inner(), self.ignored.into_inner())
    }
}

/// Once: a sentence about layers is the same for each of them.
fn push(list: &RefCell<Vec<String>>, sentence: String) {
    let mut list = list.borrow_mut();
    if !list.contains(&sentence) {
        list.push(sentence);
    }
}
