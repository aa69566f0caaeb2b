//! Which requests are wanted: a newer one of a session ends the older one, and so does a closed
//! connection.
//!
//! A page has a session for each kind of question, and numbers its requests. The session keeps the
//! number of the last one and a [`Ticket`] that its simulation looks at after every step. At most
//! [`MAX_SESSIONS`] sessions have requests that are answered; others without one are forgotten.

use super::error::Refused;
use crate::runs::Cancel;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The most sessions that are answered at once.
pub const MAX_SESSIONS: usize = 8;
/// The most sessions that are remembered.
const MAX_REMEMBERED: usize = 64;
/// The longest name of a session.
const MAX_NAME: usize = 64;
/// A request that is simulated for longer is given up.
const MOST_TIME: Duration = Duration::from_secs(300);

/// Whether the answer to a request is still wanted.
#[derive(Debug)]
pub struct Ticket {
    cancel: Cancel,
    until: Instant,
}

impl Ticket {
    fn new() -> Arc<Self> {
        Arc::new(Self { cancel: Cancel::new(false), until: Instant::now() + MOST_TIME })
    }

    /// Whether it is not: a simulation ends at its next step then.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) || self.is_late()
    }

    /// Whether it took too long.
    #[must_use]
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// A request that is answered, until this is dropped: with the end of its body, or as its client
/// closes the connection.
#[derive(Debug)]
pub struct Wanted(Arc<Ticket>);

impl Wanted {
    /// For the simulation.
    #[must_use]
    pub fn ticket(&self) -> Arc<Ticket> {
        Arc::clone(&self.0)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct Session {
    number: u64,
    used: Instant,
    /// Gone once nobody answers it.
    running: Weak<Ticket>,
}

impl Session {
    fn is_running(&self) -> bool {
        self.running.upgrade().is_some_and(|ticket| !ticket.is_over())
    }
}

/// All sessions.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// Lets a request in, and ends the older one of its session.
    ///
    /// # Errors
    /// [`Refused`] if a newer one of its session was there before, too many sessions are answered,
    /// or its name is not right.
    pub fn begin(&self, name: &str, number: u64) -> Result<Wanted, Refused> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            let message = format!("session: write 1 to {MAX_NAME} letters, digits, - or _");
            return Err(Refused::malformed(message));
        }
        let mut sessions = self.lock();
        if sessions.get(name).is_some_and(|session| session.number >= number) {
            return Err(Refused::replaced());
        }
        let others = sessions.iter().filter(|(known, session)| *known != name && session.is_running()).count();
        if others >= MAX_SESSIONS {
            return Err(Refused::busy(format!(
                "{others} sessions are simulating: close other pages of explore, or try again"
            )));
        }
        if let Some(older) = sessions.get(name).and_then(|session| session.running.upgrade()) {
            older.cancel();
        }
        if sessions.len() >= MAX_REMEMBERED && !sessions.contains_key(name) {
            let idle = sessions.iter().filter(|(_, session)| !session.is_running());
            let oldest = idle.min_by_key(|(_, session)| session.used).map(|(name, _)| name.clone());
            oldest.map(|name| sessions.remove(&name));
        }
        let ticket = Ticket::new();
        let session = Session { number, used: Instant::now(), running: Arc::downgrade(&ticket) };
        sessions.insert(name.to_owned(), session);
        Ok(Wanted(ticket))
    }

    /// A request that belongs to no session, such as a download.
    #[must_use]
    pub fn alone() -> Wanted {
        Wanted(Ticket::new())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn a_newer_number_ends_an_older_one_and_an_older_one_does_not_begin() {
        let sessions = Sessions::default();
        let first = sessions.begin("a", 1).unwrap();
        let other = sessions.begin("b", 1).unwrap();
        let second = sessions.begin("a", 3).unwrap();
        assert!(first.ticket().is_over() && !second.ticket().is_over() && !other.ticket().is_over());
        assert_eq!(sessions.begin("a", 2).unwrap_err().status, StatusCode::CONFLICT);
        assert_eq!(sessions.begin("a", 3).unwrap_err().status, StatusCode::CONFLICT);
        let ticket = second.ticket();
        drop(second);
        assert!(ticket.is_over());
    }

    #[test]
    fn only_so_many_sessions_are_answered_and_remembered() {
        let sessions = Sessions::default();
        let held: Vec<Wanted> =
            (0..MAX_SESSIONS).map(|index| sessions.begin(&format!("s{index}"), 1).unwrap()).collect();
        assert_eq!(sessions.begin("more", 1).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        // One that is there already may go on.
        let again = sessions.begin("s0", 2).unwrap();
        drop((held, again));
        for index in 0..10 * MAX_REMEMBERED {
            drop(sessions.begin(&format!("t{index}"), 1).unwrap());
        }
        assert!(sessions.lock().len() <= MAX_REMEMBERED);
        for wrong in ["", "../x", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(sessions.begin(wrong, 1).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
    }
}
