//! The program's own log: lines on standard error, chosen by `MESHAGENT_LOG` (default `info`).

use super::settings;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is shown unless told: our own news, others' warnings.
const DEFAULT_FILTER: &str = "warn,meshagent=info";

/// Starts the log. Later calls change nothing.
pub fn init() {
    start(DEFAULT_FILTER);
}

/// The same with warnings only, where a person talks to an agent on the same terminal.
pub fn init_quiet() {
    start("warn");
}

fn start(default: &str) {
    let filter = settings::env("MESHAGENT_LOG").unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .compact();
    let _ = log.try_init();
}
