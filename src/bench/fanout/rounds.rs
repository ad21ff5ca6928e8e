//! The rounds: as fast as it goes, and at a pace with and without slow readers.

use super::contestant::Contestant;
use super::crowd::Crowd;
use super::report::{Figure, SlowFigure};
use super::{Options, SLOW_ONE_IN};
use crate::bench::BenchError;
use crate::bench::measure::Latencies;
use std::time::{Duration, Instant};

/// Messages that may be on their way to all receivers at once.
const WINDOW: u64 = 16;
/// Deliveries before anything is counted.
const WARM_DELIVERIES: usize = 50_000;
/// Deliveries per second of the paced round.
const PACED_DELIVERIES: usize = 20_000;
/// Turns of the paced round: all read, some do not, all read, …
const TURNS: usize = 3;
/// What fills the buffers of those who stop reading: messages, and bytes of each.
const FILLERS: usize = 128;
const FILLER_BYTES: usize = 64 * 1024;

/// One sends as fast as the receivers take it, [`WINDOW`] messages ahead.
pub(super) async fn throughput(
    contestant: &Contestant,
    receivers: usize,
    options: &Options,
) -> Result<Figure, BenchError> {
    let mut crowd = Crowd::gather(contestant, receivers, 0, options.payload_bytes).await?;
    for _ in 0..WARM_DELIVERIES.div_ceil(receivers) {
        crowd.send(options.payload_bytes).await?;
        crowd.settle(WINDOW).await?;
    }
    crowd.settle(0).await?;
    crowd.reset();
    let (before, begun) = (contestant.used(), Instant::now());
    while begun.elapsed() < Duration::from_secs(options.seconds) {
        crowd.send(options.payload_bytes).await?;
        crowd.settle(WINDOW).await?;
    }
    crowd.settle(0).await?;
    let (took, after) = (begun.elapsed(), contestant.used());
    #[allow(clippy::cast_precision_loss, reason = "a count of deliveries")]
    let delivered = crowd.delivered() as f64;
    Ok(Figure {
        name: contestant.name.clone(),
        receivers,
        per_second: delivered / took.as_secs_f64(),
        per_cpu_second: delivered / (after.cpu_seconds - before.cpu_seconds).max(f64::MIN_POSITIVE),
        resident_bytes: after.resident_bytes,
        lost: crowd.lost(),
    })
}

/// The same receivers at a pace, in turns: all of them read, then one in [`SLOW_ONE_IN`] does not.
pub(super) async fn with_slow_readers(
    contestant: &Contestant,
    receivers: usize,
    options: &Options,
) -> Result<SlowFigure, BenchError> {
    let slow = receivers / SLOW_ONE_IN;
    let mut crowd = Crowd::gather(contestant, receivers, slow, options.payload_bytes).await?;
    let mut all_read: Vec<Latencies> = Vec::new();
    let mut some_do_not: Vec<Latencies> = Vec::new();
    paced(&mut crowd, receivers, options).await?;
    for _ in 0..TURNS {
        all_read.push(paced(&mut crowd, receivers, options).await?);
        crowd.sleep(true);
        // Those who read take all of it; those who do not have full buffers then, and a line behind them.
        for _ in 0..FILLERS.min(fillers(receivers)) {
            crowd.send(FILLER_BYTES).await?;
            crowd.settle(WINDOW).await?;
        }
        crowd.settle(0).await?;
        some_do_not.push(paced(&mut crowd, receivers, options).await?);
        crowd.sleep(false);
        crowd.catch_up().await?;
    }
    let resident_bytes = contestant.used().resident_bytes;
    Ok(SlowFigure {
        name: contestant.name.clone(),
        receivers,
        all_read,
        some_do_not,
        lost: crowd.lost(),
        resident_bytes,
    })
}

/// Fewer of them where there are many to be sent to.
fn fillers(receivers: usize) -> usize {
    (64_000 / receivers.max(1)).max(8)
}

/// Messages at a steady pace for the time of one measurement.
async fn paced(crowd: &mut Crowd, receivers: usize, options: &Options) -> Result<Latencies, BenchError> {
    let per_second = (PACED_DELIVERIES / receivers.max(1)).max(1);
    let mut ticks =
        tokio::time::interval(Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX));
    crowd.timed(true);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        ticks.tick().await;
        crowd.send(options.payload_bytes).await?;
    }
    crowd.settle(0).await?;
    Ok(crowd.timed(false))
}
