//! `meshagent bench apply`: many mixed resources made, found unchanged, changed a little and pruned, on a server of its own.

use super::BenchError;
use super::fanout::contestant::Contestant;
use super::measure::median;
use super::timing::Timings;
use crate::client::rest::{Bearer, PlanRequest, ProjectRest, Refusal, Rest};
use crate::clock::{IdSource, System};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the server is left alone to see what it uses then.
const IDLE: Duration = Duration::from_secs(10);
/// How long it may work on after the last change before it counts as idle.
const SETTLE: Duration = Duration::from_secs(2);
/// Services that are waited for, one after another.
const READY_SERVICES: usize = 200;
/// Rooms that they are in; the first of each opens it.
const READY_ROOMS: usize = 20;
/// How long one may take.
const READY_MAX: Duration = Duration::from_secs(20);
/// Pause between two looks at one.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Has the server start nothing.
const FAKE: (&str, &str) = ("MESHAGENT_FAKE_RUNTIME", "true");
/// Of so many resources, one is a room that the others live in.
const PER_ROOM: usize = 20;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under test: this program.
    pub program: PathBuf,
    /// Resources of the large apply; the small one has a tenth.
    pub resources: usize,
    /// Measurements of each, on a server of its own; the median counts.
    pub repeats: usize,
}

/// Milliseconds, one per repeat.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub resources: usize,
    /// A tenth of the resources made.
    pub small: Vec<f64>,
    pub create: Vec<f64>,
    /// The same documents again.
    pub again: Vec<f64>,
    /// One in a hundred documents changed.
    pub changed: Vec<f64>,
    /// All but one gone.
    pub prune: Vec<f64>,
    /// From the apply of one more service until it is Ready, beside all the others, on a runtime that starts nothing.
    pub ready: Vec<f64>,
    /// Share of one processor that the server uses when left alone, percent.
    pub idle_percent: Vec<f64>,
}

impl Report {
    /// How much longer ten times as many resources take.
    #[must_use]
    pub fn growth(&self) -> f64 {
        median(self.create.clone()) / median(self.small.clone()).max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |figures: &[f64]| format!("{:.0} ms", median(figures.to_vec()));
        writeln!(f, "{} mixed resources (median of {}):", self.resources, self.create.len())?;
        writeln!(f, "  made: {}, {:.1} x a tenth of them", ms(&self.create), self.growth())?;
        writeln!(f, "  again: {}", ms(&self.again))?;
        writeln!(f, "  one in a hundred changed: {}", ms(&self.changed))?;
        writeln!(f, "  pruned: {}", ms(&self.prune))?;
        let ready = |percent| percentile(&self.ready, percent);
        writeln!(f, "  one more service is Ready: p50 {:.0} ms, p99 {:.0} ms", ready(50.0), ready(99.0))?;
        write!(f, "  idle after it: {:.2} % of a processor", median(self.idle_percent.clone()))
    }
}

fn failed(reason: impl fmt::Display) -> BenchError {
    BenchError::Failed { name: "apply".to_owned(), reason: reason.to_string() }
}

/// Measures all, each repeat on fresh servers.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    let mut report = Report { resources: options.resources, ..Report::default() };
    for repeat in 1..=options.repeats.max(1) {
        say(&format!("repeat {repeat} of {}", options.repeats));
        let small = Contestant::ours(&options.program).await?;
        report.small.push(apply(&project(&small)?, documents(options.resources / 10, 0), false).await?);
        small.stop().await;
        let folder = std::env::temp_dir().join(format!("meshagent-apply-{}", System.fresh().simple()));
        let server = Contestant::ours_in(&options.program, &folder, &[(FAKE.0, FAKE.1.to_owned())]).await?;
        measure(options, &server, &mut report).await?;
        server.stop().await;
    }
    Ok(report)
}

async fn measure(options: &Options, server: &Contestant, report: &mut Report) -> Result<(), BenchError> {
    let project = project(server)?;
    let all = options.resources;
    report.create.push(apply(&project, documents(all, 0), false).await?);
    report.again.push(apply(&project, documents(all, 0), false).await?);
    report.changed.push(apply(&project, documents(all, all / 100), false).await?);
    tokio::time::sleep(SETTLE).await;
    let before = server.used();
    tokio::time::sleep(IDLE).await;
    let used = server.used().cpu_seconds - before.cpu_seconds;
    report.idle_percent.push(used / IDLE.as_secs_f64() * 100.0);
    for n in 0..READY_SERVICES {
        report.ready.push(ready(&project, n).await?);
    }
    report.prune.push(apply(&project, documents(1, 0), true).await?);
    Ok(())
}

fn project(server: &Contestant) -> Result<ProjectRest, BenchError> {
    let bearer = Bearer::new(server.api_key());
    let rest = Rest::new(&format!("http://{}", server.address), Some(bearer)).map_err(failed)?;
    Ok(rest.project(server.project()))
}

fn percentile(figures: &[f64], percent: f64) -> f64 {
    let all = figures.iter().map(|ms| Duration::from_secs_f64(ms / 1000.0)).collect();
    Timings::new(all).percentile(percent).as_secs_f64() * 1000.0
}

/// Applies one more service, which opens its room where that is closed, and answers how long it took until it was Ready.
async fn ready(project: &ProjectRest, n: usize) -> Result<f64, BenchError> {
    let (name, room) = (format!("runs-{n}"), format!("room-{}", n % READY_ROOMS));
    let document = json!({"version": "v1", "kind": "Service", "container": {"image": "example/app:1"},
        "metadata": {"name": name, "annotations": {"meshagent.room": room}}});
    let source = format!("ready-{n}");
    let request = PlanRequest { documents: vec![document], source, ..PlanRequest::default() };
    let begun = Instant::now();
    project.apply(&request).await.map_err(|refusal| failed(format!("{refusal:?}")))?;
    let is_running = async {
        loop {
            let found =
                project.resource("service", &name, &[("room", room.clone())]).await.map_err(failed)?;
            let status = found.map(|found| found.status).unwrap_or_default();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
            if conditions.iter().any(|one| is_ready(one) && one["reason"] == "Running") {
                return Ok(begun.elapsed().as_secs_f64() * 1000.0);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let late = |_| failed(format!("service {name} was not Ready within {READY_MAX:?}"));
    tokio::time::timeout(READY_MAX, is_running).await.map_err(late)?
}

/// Applies and answers how long it took, milliseconds.
async fn apply(project: &ProjectRest, documents: Vec<Value>, prune: bool) -> Result<f64, BenchError> {
    // The services that were made one by one have sources of their own.
    let source = "bench".to_owned();
    let request = PlanRequest { documents, source, prune, force: prune, ..PlanRequest::default() };
    let begun = Instant::now();
    project.apply(&request).await.map_err(|refusal| match refusal {
        Refusal::Problems(problems, count) => failed(format!("{count} problems: {:?}", problems.first())),
        Refusal::Other(error) => failed(error),
    })?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Rooms with services, scheduled tasks, mailboxes and accounts; the first `changed` differ from what they were.
fn documents(count: usize, changed: usize) -> Vec<Value> {
    (0..count).map(|n| document(n, n < changed)).collect()
}

fn document(n: usize, changed: bool) -> Value {
    let room = format!("room-{}", n / PER_ROOM);
    let note = if changed { "two" } else { "one" };
    let notes = json!({"meshagent.room": room, "note": note});
    match n % PER_ROOM {
        0 => {
            json!({"version": "v1", "kind": "Room", "metadata": {"name": room, "annotations": {"note": note}}})
        }
        1..=4 => json!({"version": "v1", "kind": "ScheduledTask", "schedule": "1 day",
            "metadata": {"name": format!("task-{n}"), "annotations": notes},
            "queue": {"name": "jobs", "payload": {"prompt": "tidy up"}}}),
        5..=7 => json!({"version": "v1", "kind": "Mailbox", "address": format!("box-{n}@mail.example"),
            "room": room, "queue": "mail", "annotations": {"note": note}}),
        8 => json!({"version": "v1", "kind": "ServiceAccount",
            "metadata": {"name": format!("account-{n}"), "annotations": {"note": note}}}),
        _ => {
            json!({"version": "v1", "kind": "Service", "metadata": {"name": format!("service-{n}"), "annotations": notes},
            "ports": [{"num": 443, "endpoints": [{"path": "/mcp"}]}],
            "external": {"url": "http://127.0.0.1:9/"}})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_good_and_differ_where_they_should() {
        for document in documents(PER_ROOM, 0) {
            assert!(crate::spec::document_from_json(document.clone()).is_ok(), "{document}");
        }
        let differing = documents(100, 1).iter().zip(documents(100, 0)).filter(|(a, b)| **a != *b).count();
        assert_eq!(differing, 1);
    }

    #[test]
    fn the_report_tells_growth() {
        let report = Report { resources: 10, small: vec![10.0], create: vec![95.0], ..Report::default() };
        assert!(report.to_string().contains("95 ms, 9.5 x"), "{report}");
    }
}
