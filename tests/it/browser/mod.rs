//! Pages in a real browser, Chromium, which a WebDriver client controls. Where there is no Chromium
//! or no ChromeDriver, these tests are skipped.

pub mod driver;
mod explore;
mod requests;
