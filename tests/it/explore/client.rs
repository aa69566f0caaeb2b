//! `tiersim explore` as a process, and a client of it.

use crate::common::program::binary;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The state that a page of the study starts with.
pub fn state() -> Value {
    json!({
        "model": "study", "memory": "study", "runtime": null, "strategies": ["baseline", "balanced-online"],
        "prefill": 1024, "batch": 1, "skip": 0.0, "hbm_capacity": null, "link_bandwidth": null, "hbm_bandwidth": null,
        "page_tokens": 1, "prefill_chunk": 0, "steps": 64,
    })
}

/// A server, which ends when this is dropped.
pub struct Page {
    /// With a slash at its end.
    pub address: String,
    child: Child,
    agent: ureq::Agent,
}

impl Page {
    pub fn study() -> Self {
        Self::of(&["study"])
    }

    /// With these arguments.
    pub fn of(args: &[&str]) -> Self {
        Self::start(&binary(), args)
    }

    pub fn start(program: &std::path::Path, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(["explore", "--no-open"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://127.0.0.1:") && address.ends_with('/'), "{address}");
        Self { address, child, agent: agent.into() }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// `127.0.0.1:PORT`, and the token.
    pub fn host_and_token(&self) -> (String, String) {
        let mut parts = self.address.trim_start_matches("http://").split('/');
        (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
    }

    pub fn get(&self, name: &str) -> (u16, String) {
        let mut response = self.agent.get(format!("{}{name}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub fn get_json(&self, name: &str) -> Value {
        let (status, body) = self.get(name);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn get_bytes(&self, name: &str) -> Vec<u8> {
        let mut response = self.agent.get(format!("{}{name}", self.address)).call().unwrap();
        let mut bytes = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
        assert_eq!(response.status().as_u16(), 200, "{}", String::from_utf8_lossy(&bytes));
        bytes
    }

    pub fn post_text(&self, name: &str, body: &str) -> (u16, String) {
        let mut response = self.agent.post(format!("{}{name}", self.address)).send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// The body of an answer as it arrives.
    pub fn post(&self, name: &str, body: &Value) -> impl Read + use<> {
        let response = self.agent.post(format!("{}{name}", self.address)).send(body.to_string()).unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.into_body().into_reader()
    }

    fn lines(&self, name: &str, body: &Value) -> Vec<Value> {
        let (status, text) = self.post_text(name, &body.to_string());
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn run(&self, body: &Value) -> Vec<Value> {
        self.lines("api/run", body)
    }

    pub fn map(&self, body: &Value) -> Vec<Value> {
        self.lines("api/map", body)
    }

    /// Ends it as Ctrl-C does.
    pub fn end(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }

    /// What it prints on stderr until its end.
    pub fn end_and_errors(mut self) -> String {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As a query has it.
pub fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What a server answers to these bytes until it closes the connection or is silent.
pub fn raw(host: &str, bytes: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // It may have closed the connection before the end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
