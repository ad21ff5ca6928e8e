//! The running commentary of `meshagent up`: every fact as one line, as it is recorded.

use crate::eventlog::{EventLog, Filter, Recorded, Tail};
use crate::id::Position;
use crate::projection::Projection;
use std::sync::Arc;

/// Says each new fact through the log output until the server stops.
pub(super) async fn follow(log: Arc<dyn EventLog>, projection: Arc<Projection>, after: Position) {
    let mut tail = Tail::new(log, after, Filter::all());
    loop {
        match tail.next().await {
            Ok(events) => events.iter().for_each(|event| say(event, &projection)),
            Err(error) => {
                tracing::warn!(%error, "the commentary on the event log stopped");
                return;
            }
        }
    }
}

fn say(event: &Recorded, projection: &Projection) {
    let world = projection.world();
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
    let name = name_of(event, &data, &world);
    tracing::info!(
        target: "meshagent::event",
        position = event.position.0,
        subject = name,
        by = event.metadata.actor,
        "{}",
        event.kind
    );
}

/// What people call the thing that an event is about.
fn name_of(event: &Recorded, data: &serde_json::Value, world: &crate::projection::World) -> String {
    let text = |pointer: &str| data.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
    let direct = ["/name", "/spec/metadata/name", "/room_name", "/address"].into_iter().find_map(text);
    let by_id = || {
        let service = text("/key/service")?.parse::<crate::id::ServiceId>().ok()?;
        world.service(service).map(|s| s.spec.metadata.name.clone())
    };
    direct.or_else(by_id).unwrap_or_else(|| event.stream.key().to_owned())
}
