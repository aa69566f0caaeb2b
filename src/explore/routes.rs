//! The addresses of the server, and what each answers.

use super::app::App;
use super::catalog::catalog;
use super::download::archive;
use super::error::Refused;
use super::files::FILES;
use super::guard::{Guard, protect};
use super::lines::Lines;
use super::log::Log;
use super::map::{Map, Question};
use super::sessions::Sessions;
use super::stages::{STAGES, refine};
use super::state::State as PageState;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The largest body, and the largest state of a download.
pub const MAX_BODY: usize = 64 << 10;
/// A body must have arrived within this time.
const BODY_TIME: Duration = Duration::from_secs(10);

const NDJSON: &str = "application/x-ndjson";

/// A request for simulations: its session, its number, and what it asks.
#[derive(Deserialize)]
struct Numbered<T> {
    session: String,
    number: u64,
    #[serde(flatten)]
    question: T,
}

#[derive(Deserialize)]
struct Run {
    state: PageState,
}

/// All addresses below the token, behind the guard.
pub fn routes(app: Arc<App>, guard: Guard, log: Arc<Log>) -> Router {
    let mut router = Router::new()
        .route("/{token}/api/catalog", get(send_catalog))
        .route("/{token}/api/run", post(send_run))
        .route("/{token}/api/map", post(send_map))
        .route("/{token}/api/run.zip", get(send_archive))
        .with_state(app);
    for (name, content_type, text) in FILES {
        let file = move || async move { ([(header::CONTENT_TYPE, *content_type)], *text) };
        router = router.route(&format!("/{{token}}/{name}"), get(file));
    }
    router
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "not found") })
        .layer(from_fn_with_state((Arc::new(guard), log), guarded))
}

/// Lets a request through, logs what is refused, and protects every answer.
async fn guarded(State((guard, log)): State<(Arc<Guard>, Arc<Log>)>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let checked = guard.check(&path, request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    let status = response.status();
    // What a newer request replaced is no fault.
    if status.is_client_error() && status != StatusCode::CONFLICT || status.is_server_error() {
        // Without what stands for the token, which is not for logs.
        let name = path.splitn(3, '/').nth(2).unwrap_or_default();
        let name: String = name.chars().take(40).collect();
        log.line(&format!("refused a request for '{name}': {status}"));
    }
    protect(response.headers_mut());
    response
}

async fn send_catalog(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], catalog(&app.base).to_string()).into_response()
}

async fn send_run(State(app): State<Arc<App>>, request: Request) -> Response {
    let begun = read(request).await.and_then(|asked: Numbered<Run>| {
        let setting = asked.question.state.checked(&app.base)?;
        let wanted = app.sessions.begin(&asked.session, asked.number)?;
        app.run(wanted, STAGES, move |app, writer| refine(app, &setting, writer))
    });
    answer(begun, NDJSON).await
}

async fn send_map(State(app): State<Arc<App>>, request: Request) -> Response {
    let begun = read(request).await.and_then(|asked: Numbered<Question>| {
        asked.question.state.clone().checked(&app.base)?;
        let map = Map::new(asked.question)?;
        let wanted = app.sessions.begin(&asked.session, asked.number)?;
        let of_map = Arc::clone(&app);
        app.run(wanted, map.parts(), move |_, writer| map.fill(&of_map, writer))
    });
    answer(begun, NDJSON).await
}

async fn send_archive(State(app): State<Arc<App>>, request: Request) -> Response {
    let begun = state_of(request.uri().query().unwrap_or_default()).and_then(|state: PageState| {
        let setting = state.checked(&app.base)?;
        app.run(Sessions::alone(), 1, move |app, writer| archive(app, &setting, writer))
    });
    let mut response = answer(begun, "application/zip").await;
    if response.status().is_success() {
        let name = HeaderValue::from_static("attachment; filename=\"tiersim-run.zip\"");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

async fn answer(begun: Result<Lines, Refused>, content_type: &'static str) -> Response {
    match begun {
        Ok(lines) => lines.answer(content_type).await,
        Err(refused) => refused.into_response(),
    }
}

/// The body of a request, as JSON.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refused> {
    let too_large = || Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {MAX_BODY} bytes"));
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    let bytes = timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await;
    let bytes = bytes.map_err(|_| Refused::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?;
    let bytes = bytes.map_err(|_| too_large())?;
    serde_json::from_slice(&bytes).map_err(|error| Refused::malformed(format!("the body is not right: {error}")))
}

/// The state in the query of a download.
fn state_of<T: DeserializeOwned>(query: &str) -> Result<T, Refused> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let text = pairs.find(|(name, _)| *name == "state").map(|(_, text)| text);
    let text = text.ok_or_else(|| Refused::malformed("there is no ?state="))?;
    let text = unescaped(text).ok_or_else(|| Refused::malformed("?state= is not escaped as it must be"))?;
    serde_json::from_str(&text).map_err(|error| Refused::malformed(format!("?state= is not right: {error}")))
}

/// The text behind the escapes of a query.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(16 * digit()? + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped_and_broken_escapes_refused() {
        assert_eq!(unescaped("a%20b+c%C3%A9").as_deref(), Some("a b cé"));
        for broken in ["%", "%2", "%zz", "%ff", "%C3"] {
            assert_eq!(unescaped(broken), None, "{broken}");
        }
    }
}
