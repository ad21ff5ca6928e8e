use super::*;
use crate::id::{ProjectId, RoomId, ServiceId};
use crate::runtime::kubernetes::names;
use serde_json::{Value, json};
use uuid::Uuid;

fn seen(status: Value) -> Seen {
    let project = ProjectId::new(Uuid::from_u128(1));
    let (room, service) =
        (RoomId::new(project, Uuid::from_u128(2)), ServiceId::new(project, Uuid::from_u128(3)));
    let key = InstanceKey { room, service, container: 0 };
    let mut pod: K8sPod = serde_json::from_value(json!({
        "metadata": {"name": names::pod_name(&key), "uid": "u", "resourceVersion": "17",
            "creationTimestamp": "2026-01-02T03:04:05Z"},
        "status": status,
    }))
    .unwrap();
    pod.metadata.labels = Some(names::labels(&key, "i", "s"));
    Seen::of(&pod).unwrap()
}

fn waiting(reason: &str) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": CONTAINER_NAME, "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "because"}}}]})
}

fn terminated(state: Value) -> Value {
    json!({"phase": "Failed", "containerStatuses": [{"name": CONTAINER_NAME, "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": state}}]})
}

const SOON: Duration = Duration::ZERO;
const LATE: Duration = Duration::from_mins(3);
const VERY_LATE: Duration = Duration::from_mins(11);
const LOST: Option<RunState> = Some(RunState::Exited { code: None, signal: None });

#[test]
fn what_is_being_prepared_is_unknown_and_what_cannot_be_has_ended() {
    let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes"}]});
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"});
    for (status, states, trouble) in [
        (json!({}), [None, None, LOST], None),
        (json!({"phase": "Pending"}), [None, None, LOST], None),
        (json!({"phase": "Unknown"}), [None, None, LOST], None),
        (waiting("ContainerCreating"), [None, None, LOST], None),
        (waiting("ErrImagePull"), [None, LOST, LOST], Some("ErrImagePull: because")),
        (
            waiting("CreateContainerConfigError"),
            [None, LOST, LOST],
            Some("CreateContainerConfigError: because"),
        ),
        (waiting("ImagePullBackOff"), [LOST; 3], Some("ImagePullBackOff: because")),
        (waiting("InvalidImageName"), [LOST; 3], Some("InvalidImageName: because")),
        (unschedulable, [None, LOST, LOST], Some("Unschedulable: 0/3 nodes")),
        (evicted, [LOST; 3], Some("Evicted: low on disk")),
        (json!({"phase": "Succeeded"}), [Some(RunState::Exited { code: Some(0), signal: None }); 3], None),
    ] {
        let seen = seen(status.clone());
        assert_eq!([SOON, LATE, VERY_LATE].map(|age| seen.run(age, None)), states, "{status}");
        assert_eq!(seen.trouble.as_ref().map(Trouble::text).as_deref(), trouble, "{status}");
        assert!(trouble.is_none_or(|text| seen.why() == text) && !seen.why().is_empty());
    }
}

#[test]
fn what_runs_runs_until_it_is_told_to_go_and_is_lost_when_it_does_not() {
    let mut status = waiting("x");
    status["containerStatuses"][0]["state"] = json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}});
    let mut seen = seen(status);
    assert_eq!(seen.run(VERY_LATE, None), Some(RunState::Running));
    seen.is_going = true;
    assert_eq!(seen.run(VERY_LATE, Some(SOON)), None);
    assert_eq!(seen.run(VERY_LATE, Some(GOING_LIMIT)), LOST);
}

#[test]
fn how_it_ended_is_told_with_its_reason() {
    for (state, code, signal, trouble) in [
        (json!({"exitCode": 3, "reason": "Error"}), Some(3), None, None),
        (json!({"exitCode": 0, "reason": "Completed"}), Some(0), None, None),
        (
            json!({"exitCode": 137, "reason": "OOMKilled"}),
            Some(137),
            None,
            Some("OOMKilled: it used more memory than it may"),
        ),
        (json!({"exitCode": 0, "signal": 9}), None, Some(9), None),
        (
            json!({"exitCode": 128, "reason": "ContainerCannotRun", "message": "no such\nfile"}),
            Some(128),
            None,
            Some("ContainerCannotRun: no such file"),
        ),
    ] {
        let seen = seen(terminated(state.clone()));
        assert_eq!(seen.run(SOON, None), Some(RunState::Exited { code, signal }), "{state}");
        assert_eq!(seen.trouble.as_ref().map(Trouble::text).as_deref(), trouble, "{state}");
    }
}

#[test]
fn where_it_answers_and_since_when() {
    let mut status = waiting("x");
    status["podIP"] = json!("10.1.2.3");
    status["startTime"] = json!("2026-01-02T03:04:06Z");
    let seen = seen(status);
    assert_eq!(seen.ip, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(seen.started_at.to_rfc3339(), "2026-01-02T03:04:06+00:00");
    assert_eq!(seen.version, 17);
    assert!(!seen.is_going);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let long = "ä".repeat(MESSAGE_BYTES_MAX);
    let trouble = Trouble::new("R", Some(&long));
    assert!(trouble.message.len() <= MESSAGE_BYTES_MAX && trouble.message.ends_with('ä'));
}
