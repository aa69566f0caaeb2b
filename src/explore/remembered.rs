use super::answer::Answer;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The most answers that are kept: about 30 kB each.
const MAX: usize = 64;

/// The last refined answers, by their states: a slider that goes back is answered at once.
#[derive(Default)]
pub struct Remembered(Mutex<VecDeque<(String, Answer)>>);

impl Remembered {
    /// The answer to that state, which counts as used now.
    pub fn get(&self, state: &str) -> Option<Answer> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(other, _)| other == state)?;
        let found = known.remove(at)?;
        let answer = found.1.clone();
        known.push_back(found);
        Some(answer)
    }

    /// Keeps an answer, in the place of the one that was used longest ago.
    pub fn put(&self, state: String, answer: Answer) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| *other != state);
        if known.len() >= MAX {
            known.pop_front();
        }
        known.push_back((state, answer));
    }
}
