//! Many writers at one time, for a while.

use super::{Contestant, Options};
use crate::bench::BenchError;
use crate::bench::measure::{Cpu, Latencies};
use std::sync::Arc;
use std::time::Instant;

/// What one measurement gave.
pub(super) struct Sample {
    pub events: u64,
    pub seconds: f64,
    pub latencies: Latencies,
    pub cpu: Cpu,
}

/// Every writer appends, waits for the acknowledgement, and appends again, until the time is over.
pub(super) async fn drive(
    contestant: &Arc<dyn Contestant>,
    writers: usize,
    options: &Options,
) -> Result<Sample, BenchError> {
    let failed = |reason: String| BenchError::Failed { name: contestant.name(), reason };
    let payload: Arc<str> =
        format!("{{\"text\":\"{}\"}}", "x".repeat(options.payload_bytes.saturating_sub(11))).into();
    let (batch, time) = (contestant.batch(), options.time);
    let mut ready = Vec::with_capacity(writers);
    for _ in 0..writers {
        let mut writer = contestant.writer().await.map_err(failed)?;
        // Prepared statements and connections are not part of the measurement.
        writer.append(&payload, batch).await.map_err(failed)?;
        ready.push(writer);
    }
    let (begun, cpu) = (Instant::now(), Cpu::now());
    let mut tasks = tokio::task::JoinSet::new();
    for mut writer in ready {
        let payload = Arc::clone(&payload);
        tasks.spawn(async move {
            let (mut latencies, mut appends) = (Latencies::default(), 0_u64);
            while begun.elapsed() < time {
                let asked = Instant::now();
                writer.append(&payload, batch).await?;
                latencies.add(asked.elapsed());
                appends += 1;
            }
            Ok::<_, String>((latencies, appends))
        });
    }
    let (mut latencies, mut appends) = (Latencies::default(), 0);
    while let Some(done) = tasks.join_next().await {
        let (own, count) = done.map_err(|e| failed(e.to_string()))?.map_err(failed)?;
        latencies.merge(own);
        appends += count;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), Cpu::now().since(cpu));
    Ok(Sample { events: appends * batch as u64, seconds, latencies, cpu })
}
