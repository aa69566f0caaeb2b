//! A browser that tests drive: a small client of the WebDriver protocol, which ChromeDriver serves.
//!
//! A [`Browser`] is a Chromium of its own with an empty profile. Tests open a page, click, type,
//! and run scripts in it. What a page shows later is waited for by [`Browser::until`]. At the end
//! [`Browser::quiet`] says that the page wrote nothing to the console.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Why tests of a browser are skipped where there is none.
pub const NO_BROWSER: &str =
    "no chromium and chromedriver in the PATH; Debian: apt-get install chromium chromium-driver";

/// How long a page may take to show what a test waits for: debug builds simulate slowly.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(25);
/// The key under which the protocol returns an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that have no character, as the protocol writes them.
pub mod key {
    /// Held until [`RELEASE`].
    pub const CONTROL: &str = "\u{e009}";
    pub const RELEASE: &str = "\u{e000}";
    pub const ENTER: &str = "\u{e007}";
    pub const LEFT: &str = "\u{e012}";
    pub const RIGHT: &str = "\u{e014}";
    pub const DOWN: &str = "\u{e015}";
}

/// The screen that a browser has.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// A desktop's window.
pub const DESKTOP: Screen = Screen { width: 1280, height: 900, dark: false };
/// A phone's, at night.
pub const PHONE: Screen = Screen { width: 390, height: 844, dark: true };

/// A Chromium, and the ChromeDriver that controls it.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempDir,
}

/// The program of that name in the path.
fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Starts ChromeDriver on a free port, which it prints.
fn driver(path: PathBuf) -> (Child, u16) {
    let mut driver = Command::new(path)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver starts");
    let lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok());
    (driver, port.expect("chromedriver prints its port"))
}

impl Browser {
    /// A browser with that screen; `None` where there is no Chromium, or none that can be driven.
    pub fn start(screen: Screen) -> Option<Self> {
        let chromium = std::env::var_os("TIERSIM_CHROMIUM").map(PathBuf::from).or_else(|| program("chromium"))?;
        let (driver, port) = driver(program("chromedriver")?);
        let profile = TempDir::new().expect("a folder for the profile");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let mut browser =
            Self { driver, agent, session: format!("http://127.0.0.1:{port}/session"), _profile: profile };
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", browser._profile.path().display()),
            &format!("--window-size={},{}", screen.width, screen.height),
        ];
        let made = browser.post(
            "",
            json!({"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": {"binary": chromium, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
            }}}),
        );
        browser.session += &format!("/{}", made["sessionId"].as_str().expect("a session"));
        let size = json!({"width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": false});
        browser.devtools("Emulation.setDeviceMetricsOverride", size);
        let scheme = if screen.dark { "dark" } else { "light" };
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", scheme);
        Some(browser)
    }

    fn answer(&self, mut response: ureq::http::Response<ureq::Body>, asked: &str) -> Value {
        let status = response.status();
        let mut body: Value = response.body_mut().read_json().expect("the driver answers with JSON");
        assert!(status.is_success(), "{asked}: {body:#}");
        body["value"].take()
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let response = self.agent.post(format!("{}{path}", self.session)).send_json(&body);
        self.answer(response.expect("the driver answers"), &format!("{path} {body}"))
    }

    fn get(&self, path: &str) -> Value {
        let response = self.agent.get(format!("{}{path}", self.session)).call();
        self.answer(response.expect("the driver answers"), path)
    }

    /// A command of Chromium's own protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters}))
    }

    /// Opens an address, and waits until it is loaded.
    pub fn open(&self, address: &str) {
        self.post("/url", json!({"url": address}));
    }

    /// What the body of a function returns in the page.
    pub fn script(&self, body: &str) -> Value {
        self.post("/execute/sync", json!({"script": body, "args": []}))
    }

    /// A text that an expression has.
    pub fn text(&self, expression: &str) -> String {
        let found = self.script(&format!("return String({expression})"));
        found.as_str().expect("a string").to_owned()
    }

    /// Waits until an expression holds.
    pub fn until(&self, expression: &str) {
        let began = Instant::now();
        while self.script(&format!("return Boolean({expression})")) != json!(true) {
            let body = || self.text("document.body.innerText");
            assert!(began.elapsed() < PATIENCE, "never: {expression}; the page says:\n{}", body());
            std::thread::sleep(PAUSE);
        }
    }

    /// The elements that a selector finds.
    pub fn all(&self, selector: &str) -> Vec<String> {
        let found = self.post("/elements", json!({"using": "css selector", "value": selector}));
        let elements = found.as_array().expect("a list").iter();
        elements.map(|one| one[ELEMENT].as_str().expect("an element").to_owned()).collect()
    }

    fn one(&self, selector: &str) -> String {
        self.all(selector).into_iter().next().unwrap_or_else(|| panic!("nothing on the page is {selector}"))
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) {
        self.post(&format!("/element/{}/click", self.one(selector)), json!({}));
    }

    /// Types into an element, which gets the focus.
    pub fn keys(&self, selector: &str, text: &str) {
        self.post(&format!("/element/{}/value", self.one(selector)), json!({"text": text}));
    }

    /// Replaces the text of a field, and leaves it with Enter.
    pub fn fill(&self, selector: &str, text: &str) {
        self.keys(selector, &format!("{}a{}{text}{}", key::CONTROL, key::RELEASE, key::ENTER));
    }

    /// The name by which a screen reader calls an element.
    pub fn name(&self, element: &str) -> String {
        self.get(&format!("/element/{element}/computedlabel")).as_str().unwrap_or_default().to_owned()
    }

    /// Lets pages do what a user would be asked for.
    pub fn grant(&self, permission: &str) {
        self.post("/permissions", json!({"descriptor": {"name": permission}, "state": "granted"}));
    }

    /// Fails if the page wrote to the console, but for lines that contain `but`.
    pub fn quiet_but(&self, but: Option<&str>) {
        let log = self.post("/se/log", json!({"type": "browser"}));
        let lines = log.as_array().expect("a list").iter().map(|line| line["message"].to_string());
        let loud: Vec<String> = lines.filter(|line| but.is_none_or(|but| !line.contains(but))).collect();
        assert!(loud.is_empty(), "on the console: {loud:#?}");
    }

    /// Fails if the page wrote to the console.
    pub fn quiet(&self) {
        self.quiet_but(None);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes Chromium; killed first, the driver would leave it behind.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
