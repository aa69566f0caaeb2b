//! An answer that arrives in parts: from a worker, through a bounded channel, into a body.
//!
//! A channel has room for everything that its worker sends, so a worker never waits for a slow
//! client. The body holds the request's [`Wanted`]: when the connection closes, the server drops
//! the body, and the worker ends at its next step.

use super::error::Refused;
use super::sessions::{Ticket, Wanted};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What a worker sends.
enum Message {
    Part(Bytes),
    Last(Bytes),
    Refused(Refused),
}

/// The worker's end of an answer.
#[derive(Clone)]
pub struct Writer {
    sender: Sender<Message>,
    ticket: Arc<Ticket>,
}

impl Writer {
    /// Whether nobody waits for more.
    pub fn is_over(&self) -> bool {
        self.ticket.is_over()
    }

    /// Why it is over, for those who still listen.
    pub fn end(&self) {
        let late = "the simulation took too long and was given up: simulate fewer steps, tokens or sequences";
        let refused = if self.ticket.is_late() {
            Refused::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, late)
        } else {
            Refused::replaced()
        };
        self.refuse(refused);
    }

    /// Sends a line of JSON.
    pub fn line(&self, value: &impl Serialize) {
        self.send(Message::Part(json_line(value)));
    }

    /// Sends the last line.
    pub fn last_line(&self, value: &impl Serialize) {
        self.send(Message::Last(json_line(value)));
    }

    /// Sends all of an answer that is no JSON.
    pub fn whole(&self, bytes: Vec<u8>) {
        self.send(Message::Last(bytes.into()));
    }

    /// Sends an error, and nothing after it.
    pub fn refuse(&self, refused: Refused) {
        self.send(Message::Refused(refused));
    }

    /// Nobody listens any more where this fails.
    fn send(&self, message: Message) {
        let _ = self.sender.try_send(message);
    }
}

fn json_line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The server's end of an answer.
pub struct Lines {
    receiver: Receiver<Message>,
    first: Option<Bytes>,
    ended: bool,
    wanted: Wanted,
}

/// Both ends of an answer of at most `parts` parts.
pub fn lines(wanted: Wanted, parts: usize) -> (Writer, Lines) {
    // One more for an error.
    let (sender, receiver) = channel(parts + 1);
    let writer = Writer { sender, ticket: wanted.ticket() };
    (writer, Lines { receiver, first: None, ended: false, wanted })
}

impl Lines {
    /// Waits for the first part, so that an error before it has a status of its own, and makes the
    /// rest a body of that type.
    pub async fn answer(mut self, content_type: &'static str) -> Response {
        match self.receiver.recv().await {
            Some(Message::Part(bytes)) => self.first = Some(bytes),
            Some(Message::Last(bytes)) => (self.first, self.ended) = (Some(bytes), true),
            Some(Message::Refused(refused)) => return refused.into_response(),
            None => return self.broken().into_response(),
        }
        let mut response = Body::from_stream(self).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    /// Why the worker ended without a word: it panicked, unless it was to end.
    fn broken(&self) -> Refused {
        if self.wanted.ticket().is_over() { Refused::replaced() } else { Refused::panicked() }
    }
}

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|message| {
            let (bytes, ended) = match message {
                Some(Message::Part(bytes)) => (bytes, false),
                Some(Message::Last(bytes)) => (bytes, true),
                Some(Message::Refused(refused)) => (json_line(&refused.json()), true),
                None => (json_line(&self.broken().json()), true),
            };
            self.ended = ended;
            Some(Ok(bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::sessions::Sessions;
    use axum::http::StatusCode;
    use serde_json::json;

    /// The status and the body of the answer that `write` leaves, after which the worker is gone.
    fn answered(write: impl FnOnce(Writer)) -> (StatusCode, String) {
        let (writer, lines) = lines(Sessions::alone(), 2);
        write(writer);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let response = lines.answer("application/x-ndjson").await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    }

    #[test]
    fn a_worker_that_panics_is_an_error_500_or_a_last_line() {
        let (status, body) = answered(drop);
        assert!(status == StatusCode::INTERNAL_SERVER_ERROR && body.contains("fault of tiersim"), "{body}");
        let (status, body) = answered(|writer| writer.line(&json!({ "steps": 4 })));
        let lines: Vec<&str> = body.lines().collect();
        assert!(status == StatusCode::OK && lines.len() == 2 && lines[1].contains("fault of tiersim"), "{body}");
    }

    #[test]
    fn what_is_refused_first_has_its_status_and_later_a_line() {
        let refused = || Refused::value("batch", "too much");
        assert_eq!(answered(|writer| writer.refuse(refused())).0, StatusCode::UNPROCESSABLE_ENTITY);
        let (status, body) = answered(|writer| {
            writer.line(&json!({ "steps": 4 }));
            writer.refuse(refused());
        });
        assert_eq!((status, body.lines().count()), (StatusCode::OK, 2));
        assert!(body.ends_with("{\"error\":\"too much\",\"field\":\"batch\"}\n"), "{body}");
        let (_, body) = answered(|writer| writer.last_line(&json!({ "done": true })));
        assert_eq!(body, "{\"done\":true}\n");
    }
}
