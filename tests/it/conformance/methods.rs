//! The table: every method of the SDKs' room clients, and whether it works here.
//!
//! The scripts of `tests/conformance/` run under `coverage.{py,cjs}`, which know all methods and see which ones came
//! back. A method that no script brought back is either in `tests/conformance/not-offered.txt` with the reason, or
//! this test fails.

use super::containers;
use super::room_client::environment;
use crate::support::clients;
use crate::support::server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Share of the methods that must be offered, percent.
const OFFERED_PERCENT_MIN: usize = 95;

/// The longest a case may take.
const CASE_LIMIT: Duration = Duration::from_mins(6);

/// Scripts and their cases; those that kill the server are tests of their own.
const PYTHON: &[(&str, &[&str])] = &[
    ("room.py", &["connect", "queues", "messaging", "streams", "storage", "hosted", "others", "services"]),
    ("datasets.py", &["datasets"]),
    ("sqlite.py", &["sqlite"]),
    ("memory.py", &["methods", "from_tables"]),
    ("sync.py", &["basics"]),
    ("containers.py", &["everything"]),
];
const NODE: &[(&str, &[&str])] = &[
    ("room.cjs", &["queues", "messaging", "storage", "hosted", "others", "services", "secrets"]),
    ("datasets.cjs", &["datasets"]),
    ("memory.cjs", &["methods"]),
    ("sync.cjs", &["basics"]),
    ("containers.cjs", &["everything"]),
];

#[derive(Default)]
struct Table {
    methods: BTreeSet<String>,
    used: BTreeSet<String>,
    failed: Vec<String>,
}

impl Table {
    fn read(&mut self, finished: &clients::Finished, what: &str) {
        let mut done = false;
        for line in finished.stdout.lines() {
            match line.split_once(' ') {
                Some(("method", name)) => _ = self.methods.insert(name.to_owned()),
                Some(("used", name)) => _ = self.used.insert(name.to_owned()),
                _ if line == "done" => done = true,
                _ => {}
            }
        }
        if !done {
            self.failed.push(format!("{what}: {}", finished.said()));
        }
    }

    /// Prints the table and holds it against the list of what is not offered.
    fn judge(&self, sdk: &str) {
        assert!(self.failed.is_empty(), "{sdk}: {}", self.failed.join("\n"));
        let reasons = not_offered(sdk);
        let mut missing = vec![];
        println!("{sdk}: {} methods", self.methods.len());
        for method in &self.methods {
            match (self.used.contains(method), reasons.get(method)) {
                (true, None) => println!("  {method:60} ok"),
                (false, Some(reason)) => println!("  {method:60} not driven to success: {reason}"),
                (true, Some(_)) => missing.push(format!("{method} works; take it off the list")),
                (false, None) => missing.push(format!("{method} did not come back in any script")),
            }
        }
        missing
            .extend(reasons.keys().filter(|m| !self.methods.contains(*m)).map(|m| format!("no method {m}")));
        assert!(missing.is_empty(), "{sdk}:\n{}", missing.join("\n"));
        let offered = 100 * self.used.len() / self.methods.len();
        assert!(offered >= OFFERED_PERCENT_MIN, "{sdk}: only {offered} % of the methods are offered");
        println!("{sdk}: {} of {} methods ok", self.used.len(), self.methods.len());
    }
}

/// `SDK METHOD REASON` a line.
fn not_offered(sdk: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(script("not-offered.txt")).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.splitn(3, ' ').collect::<Vec<_>>())
        .filter(|parts| parts[0] == sdk)
        .map(|parts| (parts[1].to_owned(), parts[2].to_owned()))
        .collect()
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn run(sdk: &str, scripts: &[(&str, &[&str])], program: impl Fn() -> Command) {
    let mut table = Table::default();
    for (name, cases) in scripts {
        for case in *cases {
            let mut command = program();
            command.arg(script(name)).arg(case);
            let prepared = if name.starts_with("containers") {
                containers::prepared(&mut command)
            } else {
                let server = Server::start(&[]);
                environment(&mut command, &server);
                Some((server, None))
            };
            // Without an engine for containers there is no whole table to judge.
            let Some(_server_and_folder) = prepared else { return };
            let finished = clients::run(&mut command, CASE_LIMIT).unwrap();
            table.read(&finished, &format!("{name} {case}"));
        }
    }
    table.judge(sdk);
}

#[test]
fn every_method_of_the_python_sdk_is_accounted_for() {
    let Some(python) = clients::python() else { return };
    run("python", PYTHON, || {
        let mut command = Command::new(&python.python);
        command.arg(script("coverage.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    });
}

#[test]
fn every_method_of_the_npm_sdk_is_accounted_for() {
    let Some(node) = clients::node() else { return };
    run("npm", NODE, || {
        let mut command = Command::new(&node.node);
        command.arg(script("coverage.cjs")).env("NODE_PATH", node.folder.join("node_modules"));
        command
    });
}
