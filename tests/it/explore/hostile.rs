//! Requests by others, and requests that are not right: refused, logged, and survived.

use super::client::{Page, raw, state};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// It still answers.
fn is_alive(page: &Page, number: u64) {
    let mut small = state();
    small["steps"] = json!(2);
    let lines = page.run(&json!({ "session": "alive", "number": number, "state": small }));
    assert_eq!(lines.last().unwrap()["refined"], true);
}

#[test]
fn other_hosts_origins_sites_and_tokens_are_refused_and_logged() {
    let page = Page::study();
    let (host, token) = page.host_and_token();
    let port = host.rsplit(':').next().unwrap().to_owned();
    let ask = |path: &str, headers: &str| {
        raw(&host, format!("GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    let path = format!("/{token}/api/catalog");
    let own = format!("Host: {host}");
    for (headers, wanted) in [
        (own.clone(), "200"),
        (format!("Host: localhost:{port}"), "200"),
        (format!("{own}\r\nOrigin: http://{host}"), "200"),
        (format!("{own}\r\nSec-Fetch-Site: same-origin"), "200"),
        ("Host: evil.example".to_owned(), "403"),
        (format!("Host: evil.example:{port}"), "403"),
        (format!("Host: 127.0.0.1:{}", port.parse::<u16>().unwrap() ^ 1), "403"),
        (format!("{own}\r\nHost: evil.example"), "403"),
        (format!("{own}\r\nOrigin: http://evil.example"), "403"),
        (format!("{own}\r\nOrigin: null"), "403"),
        (format!("{own}\r\nOrigin: https://{host}"), "403"),
        (format!("{own}\r\nSec-Fetch-Site: cross-site"), "403"),
    ] {
        let answer = ask(&path, &headers);
        assert_eq!(status(&answer), wanted, "{headers}\n{answer}");
        let answer = answer.to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(header), "{headers}: {header}");
        }
    }
    for wrong in [
        "/",
        "/x",
        &format!("/{token}"),
        &format!("/{token}x/"),
        &format!("/{token}/x"),
        "//",
        "/api/catalog",
        &format!("/{token}/../x"),
    ] {
        let answer = ask(wrong, &own);
        assert_eq!(status(&answer), "404", "{wrong}");
        assert!(!answer.contains(&token) && !answer.contains("tiersim"), "{answer}");
    }
    assert_eq!(status(&ask(&format!("/{token}/api/run"), &own)), "405");
    is_alive(&page, 1);
    let errors = page.end_and_errors();
    assert!(errors.matches("refused a request").count() >= 10 && !errors.contains(&token), "{errors}");
}

#[test]
fn malformed_and_oversized_requests_are_refused() {
    let page = Page::study();
    let (host, token) = page.host_and_token();
    let post = |body: &str, length: &str| {
        let head = format!("POST /{token}/api/run HTTP/1.1\r\nHost: {host}\r\n{length}\r\nConnection: close\r\n\r\n");
        raw(&host, [head.as_bytes(), body.as_bytes()].concat().as_slice())
    };
    let with_length = |body: &str| post(body, &format!("Content-Length: {}", body.len()));
    let deep = "[".repeat(60_000);
    let huge = format!("{{\"session\":\"{}\"}}", "x".repeat(70_000));
    for (body, wanted) in [
        ("", "400"),
        ("{", "400"),
        ("null", "400"),
        ("[]", "400"),
        ("\u{0}", "400"),
        (&deep, "400"),
        (r#"{"session":"a","number":-1,"state":{}}"#, "400"),
        (r#"{"session":"a","number":1e300,"state":{}}"#, "400"),
        (&json!({ "session": "../", "number": 1, "state": state() }).to_string(), "400"),
        (&huge, "413"),
    ] {
        assert_eq!(status(&with_length(body)), wanted, "{}", body.chars().take(60).collect::<String>());
    }
    assert_eq!(status(&post("", "Content-Length: 99999999999")), "413");
    let chunk = format!("{:x}\r\n{}\r\n", 40_000, "x".repeat(40_000)).repeat(2) + "0\r\n\r\n";
    assert_eq!(status(&post(&chunk, "Transfer-Encoding: chunked")), "413");
    let mut unknown = state();
    unknown["extra"] = json!(1);
    let body = json!({ "session": "a", "number": 1, "state": unknown }).to_string();
    assert_eq!(status(&with_length(&body)), "400");

    for bytes in [
        b"\x00\x01\x02\x03\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "X: y\r\n".repeat(5_000)).into_bytes(),
        format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "x".repeat(100_000)).into_bytes(),
    ] {
        let answer = raw(&host, &[bytes.clone(), b"\r\n\r\n".to_vec()].concat());
        let refused = answer.is_empty() || status(&answer).starts_with('4');
        assert!(refused, "{}: {answer}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    for query in ["", "?state=", "?state=%", "?state=%zz", "?state={}", "?other=1"] {
        let asked = format!("GET /{token}/api/run.zip{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&raw(&host, asked.as_bytes())), "400", "{query}");
    }
    is_alive(&page, 1);
}

#[test]
fn too_many_connections_and_sessions_are_refused_and_slow_clients_are_closed() {
    let page = Page::study();
    let (host, token) = page.host_and_token();
    // Clients that send half of their headers, and nothing more.
    let mut slow: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(&host).unwrap();
            let _ = stream.write_all(format!("GET /{token}/ HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
            stream
        })
        .collect();
    // Those beyond the limit are closed at once, the others after ten seconds.
    let mut one = slow.swap_remove(0);
    one.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let begun = std::time::Instant::now();
    let _ = one.read_to_end(&mut Vec::new());
    assert!(begun.elapsed() < std::time::Duration::from_secs(25));
    drop(slow);
    is_alive(&page, 1);

    // Sessions that never read their answers.
    let mut long = super::long_state();
    long["batch"] = json!(2);
    let held: Vec<_> = (0..10)
        .map(|index| {
            let body = json!({ "session": format!("s{index}"), "number": 1, "state": long }).to_string();
            let mut stream = TcpStream::connect(&host).unwrap();
            let head =
                format!("POST /{token}/api/run HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let more = json!({ "session": "more", "number": 1, "state": state() });
    assert_eq!(page.post_text("api/run", &more.to_string()).0, 429);
    drop(held);
    // The server sees closed connections, and its threads are free.
    let begun = std::time::Instant::now();
    while page.post_text("api/run", &json!({ "session": "more", "number": 1, "state": state() }).to_string()).0 == 429 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    is_alive(&page, 2);
}
