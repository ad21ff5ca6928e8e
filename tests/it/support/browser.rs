//! A real browser for tests.

use std::process::{Command, Stdio};

/// Whether Chromium is here; said aloud when not; under `CI=true` that fails.
pub fn is_here() -> bool {
    let mut command = Command::new("chromium");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let hint = "`apt-get install chromium`";
    assert!(!in_ci, "computer use cannot be tested without Chromium ({hint}); CI must test it");
    println!("SKIPPED: this test needs Chromium ({hint})");
    false
}
