//! graphile-worker, measured by its script.

use super::{Options, Report};
use crate::bench::BenchError;
use serde::Deserialize;
use std::time::Duration;

const NAME: &str = "graphile-worker";

/// What the script prints.
#[derive(Deserialize)]
struct Line {
    version: String,
    per_second: f64,
    own_cpu_us_per_item: f64,
    wake_us: Vec<f64>,
}

pub(super) async fn measure(
    options: &Options,
    url: &str,
    mode: &str,
    report: &mut Report,
) -> Result<(), BenchError> {
    let failed = |reason: String| BenchError::Failed { name: format!("{NAME} ({mode})"), reason };
    let mut command = tokio::process::Command::new(&options.peer_script);
    let jobs = if mode == "batched" { options.items } else { options.items_one_by_one };
    command.arg(url).arg(jobs.to_string()).arg(options.rounds.to_string()).arg(mode);
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed(format!("{}: {error}", options.peer_script.display())))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let line: Line = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    let manner = match mode {
        "batched" => "24 jobs at once, local queue 500, batched completion",
        _ => "24 jobs at once",
    };
    let figure = report.figure(&format!("{NAME} {}", line.version), manner);
    figure.drain(line.per_second, line.own_cpu_us_per_item);
    for micros in line.wake_us {
        figure.wake(Duration::from_secs_f64(micros / 1e6), None);
    }
    Ok(())
}
