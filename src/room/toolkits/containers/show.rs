//! The forms of answers (room protocol §3.11).

use crate::containers::{Exit, Found, State, labels};
use serde_json::{Value, json};

/// `RoomContainer`.
pub(super) fn container(found: &Found) -> Value {
    let label = |name: &str| found.labels.get(name).map(String::as_str);
    let state = match found.state {
        State::Created => "CREATED",
        State::Running => "RUNNING",
        State::Exited => "EXITED",
        State::Unknown => "UNKNOWN",
    };
    let ports: Vec<Value> = found
        .ports
        .iter()
        .map(|(container, host)| json!({"container_port": container, "host_port": host}))
        .collect();
    let mounts: Option<Value> = label(labels::MOUNTS).and_then(|text| serde_json::from_str(text).ok());
    json!({
        "id": found.id,
        "image": label(labels::IMAGE).unwrap_or_default(),
        "image_id": found.image_id,
        "status": found.status,
        "name": label(labels::NAME),
        "ports": ports,
        "started_by": {
            "id": label(labels::STARTED_BY).unwrap_or_default(),
            "name": label(labels::STARTED_BY_NAME).unwrap_or_default(),
        },
        "state": state,
        "private": label(labels::PRIVATE) == Some("true"),
        "service_id": label(labels::SERVICE),
        "mounts": mounts,
        "exit_status": found.exit.as_ref().map(exit),
    })
}

/// `ContainerExitStatus`.
pub(super) fn exit(exit: &Exit) -> Value {
    let reason = match (exit.oom_killed, exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    json!({
        "exit_code": exit.code,
        "reason": reason,
        "message": exit.message,
        "oom_killed": exit.oom_killed,
    })
}
