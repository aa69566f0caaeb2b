//! Connections: who may connect, for how long, and how much of a request is read.
//!
//! A client that sends its headers slowly, or none, is closed after [`HEADER_TIME`]; headers of
//! more than [`MAX_HEADERS`] bytes are refused; [`MAX_CONNECTIONS`] are open at a time. A
//! connection whose client never reads is closed at the end of its life.

use super::log::Log;
use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The most connections at a time; a browser opens six.
const MAX_CONNECTIONS: usize = 64;
/// Headers must have arrived within this time, and a connection without a request is closed.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// The most bytes of headers, the address included: a state of a download is in it.
const MAX_HEADERS: usize = 32 << 10;
/// After this a connection takes no further request, and has as long again for its answer.
const LIFE: Duration = Duration::from_secs(600);
/// How often the server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// The pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers connections until `is_over`.
pub async fn answer(listener: TcpListener, routes: Router, log: Arc<Log>, is_over: &dyn Fn() -> bool) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while !is_over() {
        let stream = match timeout(LOOK, listener.accept()).await {
            Err(_) => continue,
            Ok(Ok((stream, _))) => stream,
            Ok(Err(error)) => {
                log.line(&format!("a connection was not accepted: {error}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            log.line(&format!("refused a connection: {MAX_CONNECTIONS} are open"));
            continue;
        };
        let (routes, log) = (routes.clone(), Arc::clone(&log));
        tokio::spawn(async move {
            one(stream, routes, &log).await;
            drop(permit);
        });
    }
}

/// Answers one connection to its end.
async fn one(stream: TcpStream, routes: Router, log: &Log) {
    // An answer of many short lines is not to wait for its next one.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let ended = match timeout(LIFE, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(LIFE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended
        && (error.is_parse() || error.is_parse_too_large() || error.is_timeout())
    {
        log.line(&format!("refused a request: {error}"));
    }
}
