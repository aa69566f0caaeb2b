//! `tiersim explore`: a page on this machine that answers while its reader looks and plays.
//!
#![doc = include_str!("README.md")]

mod answer;
mod app;
mod base;
mod catalog;
mod command;
mod connections;
mod download;
mod error;
mod fields;
mod files;
mod guard;
mod lines;
mod log;
mod map;
mod remembered;
mod routes;
mod sessions;
mod simulate;
mod stages;
mod state;
mod workers;

pub use base::Base;
pub use error::ExploreError;

use crate::simulation::Room;
use crate::units::Bytes;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How a page is served.
pub struct Options {
    /// What its states start from.
    pub base: Base,
    /// The port; 0 is a free one.
    pub port: u16,
    /// The memory that its runs may take together.
    pub memory: Bytes,
    /// Receives a line for each request that is refused.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

/// The bytes of a token: 128 bits, which nobody guesses.
const TOKEN: usize = 16;

/// Serves the page until `is_over`. Calls `started` with its address once it can be opened.
///
/// The server runs on the calling thread; runs have threads of their own.
///
/// # Errors
/// [`ExploreError`] if the scenario cannot be explored, or the port or a thread cannot be had.
pub fn serve(options: Options, started: impl FnOnce(&str), is_over: &dyn Fn() -> bool) -> Result<(), ExploreError> {
    let Options { base, port, memory, log } = options;
    base.check()?;
    let start = |source| ExploreError::Start { what: "the server", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(start)?;
    let listener = runtime.block_on(listen(port))?;
    let port = listener.local_addr().map_err(start)?.port();
    let token = token()?;
    let app = Arc::new(app::App {
        base,
        workers: workers::Workers::start()?,
        sessions: sessions::Sessions::default(),
        room: Room::new(memory),
        remembered: remembered::Remembered::default(),
    });
    let log = Arc::new(log::Log::new(log));
    let guard = guard::Guard::new(port, token.clone());
    let routes = routes::routes(Arc::clone(&app), guard, Arc::clone(&log));
    started(&format!("http://127.0.0.1:{port}/{token}/"));
    runtime.block_on(connections::answer(listener, routes, log, is_over));
    // Answers that are dropped end their simulations.
    drop(runtime);
    app.workers.close();
    Ok(())
}

/// Listens on the loopback address alone.
async fn listen(port: u16) -> Result<TcpListener, ExploreError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => ExploreError::PortInUse(port),
        _ => ExploreError::Listen { port, source },
    })
}

/// A random part of the address, in hexadecimal digits.
fn token() -> Result<String, ExploreError> {
    let mut bytes = [0; TOKEN];
    getrandom::fill(&mut bytes).map_err(ExploreError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
