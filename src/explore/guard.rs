//! Who is answered: requests of this machine's browser for this page, and no others.
//!
//! The server listens on the loopback address, which other programs and, over a browser, other
//! pages reach as well. A page elsewhere that has a name resolve to 127.0.0.1 sends that name as
//! `Host`; one that posts to the address sends its own `Origin`; one that embeds it has the browser
//! say so in `Sec-Fetch-Site`. All three are refused, and so is every path without the token.

use super::error::Refused;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What a request must have.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: [String; 2],
    token: String,
}

impl Guard {
    /// For the server at `port`, with that token.
    pub fn new(port: u16, token: String) -> Self {
        Self { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")], token }
    }

    /// Refuses a request by where it comes from.
    ///
    /// # Errors
    /// [`Refused`], 403 for other hosts and origins, 404 without the token.
    pub fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Refused> {
        let forbidden =
            |what: &str| Err(Refused::new(StatusCode::FORBIDDEN, format!("{what} is not that of this page")));
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() || !host.is_some_and(|host| self.hosts.iter().any(|known| known == host)) {
            return forbidden("the Host");
        }
        let is_own = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            origin.is_some_and(|origin| self.hosts.iter().any(|known| known == origin))
        };
        if !headers.get_all(header::ORIGIN).iter().all(is_own) {
            return forbidden("the Origin");
        }
        let elsewhere = |site: &HeaderValue| site == "cross-site" || site == "same-site";
        if headers.get_all("sec-fetch-site").iter().any(elsewhere) {
            return forbidden("the site that asks");
        }
        let token = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        if !same(token.as_bytes(), self.token.as_bytes()) {
            return Err(Refused::new(StatusCode::NOT_FOUND, "not found"));
        }
        Ok(())
    }
}

/// Compares without ending at the first difference, so that the time says nothing of the token.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// Adds the headers of every answer.
pub fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
