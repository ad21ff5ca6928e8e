//! What sessions say and measure, by the command line.

use super::Person;
use crate::support::server::Server;
use serde_json::{Value, json};

/// Sends telemetry of one signal as a participant of the room `desk`.
fn export(server: &Server, signal: &str, body: &Value) {
    let sent = async {
        let client = reqwest::Client::new();
        let connect = format!("{}/accounts/projects/{}/rooms/desk/connect", server.url, server.project_id);
        let answer = client.post(connect).bearer_auth(&server.api_key).json(&json!({})).send().await.unwrap();
        let token = answer.json::<Value>().await.unwrap()["jwt"].as_str().unwrap().to_owned();
        let request = client.post(format!("{}/v1/{signal}", server.url)).bearer_auth(token).json(body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{signal}: {}", answer.text().await.unwrap());
    };
    tokio::runtime::Runtime::new().unwrap().block_on(sent);
}

#[test]
fn the_newest_session_shows_its_traces_metrics_and_logs() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let run = |arguments: &[&str]| person.run(arguments);
    assert_eq!(run(&["session", "traces"]).ok().stderr, "No sessions found.\n");
    run(&["rooms", "create", "desk"]).ok();
    run(&["room", "queue", "send", "-r", "desk", "--queue", "jobs", "--json", "{}"]).ok();
    run(&["room", "queue", "receive", "-r", "desk", "--queue", "nothing"]);

    let traces = run(&["session", "traces", "-r", "desk", "--name", "QUEUES"]).ok().stdout;
    assert!(traces.starts_with("Name") && traces.contains("queues.send"), "{traces}");
    let spans = run(&["session", "traces", "--name", "queues.send", "-o", "json"]).json();
    let span = &spans["spans"][0];
    assert_eq!((&span["status_code"], &span["parent_span_id"]), (&json!(1), &Value::Null));
    assert_eq!(span["span_attributes"]["meshagent.tool"], "send");
    let shown = run(&["session", "traces", "--attrs", "--trace-id", span["trace_id"].as_str().unwrap()]).ok();
    assert_eq!(shown.stdout.lines().count(), 2, "{shown:#?}");
    assert!(shown.stdout.contains("meshagent.toolkit=queues"), "{shown:#?}");
    assert!(run(&["session", "traces", "--min-duration", "1000s"]).ok().stderr.contains("No spans found"));

    export(
        &server,
        "metrics",
        &json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "took", "unit": "ms", "histogram": {"dataPoints": [{"count": "2", "sum": 3.0,
                "bucketCounts": ["1", "1"], "explicitBounds": [1.0], "timeUnixNano": "2000000000"}],
                "aggregationTemporality": 2}},
        ]}]}]}),
    );
    let metrics = run(&["session", "metrics", "--buckets"]).ok().stdout;
    let row = "1970-01-01 00:00:02  histogram  took  count=2 sum=3.0 avg=1.5 buckets=<=1.0:1, +Inf:1  ms";
    assert!(metrics.contains(row), "{metrics}");

    export(
        &server,
        "logs",
        &json!({"resourceLogs": [{"scopeLogs": [{"scope": {"name": "web"}, "logRecords": [
            {"timeUnixNano": "3000000000", "severityText": "WARN", "body": {"stringValue": "no paper"},
             "attributes": [{"key": "tray", "value": {"intValue": "2"}}]},
        ]}]}]}),
    );
    let id = run(&["session", "list", "-o", "json"]).json()["sessions"][0]["id"].as_str().unwrap().to_owned();
    let logs = run(&["session", "logs", &id]).ok().stdout;
    assert!(logs.contains("1970-01-01 00:00:03  WARN      web    no paper"), "{logs}");
    let logs = run(&["session", "logs", "--session-id", &id, "--attrs"]).ok().stdout;
    assert!(logs.contains("tray=2"), "{logs}");
    assert_eq!(run(&["session", "logs", "-o", "json"]).json()["logs"][0]["data"]["log"], "no paper");
}

#[test]
fn sessions_that_are_none_are_refused() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["session", "logs", "one", "--session-id", "two"]).fails(2, &["two sessions", "name one"]);
    person.run(&["session", "metrics", "one"]).fails(1, &["no session `one`", "session list"]);
    person.run(&["session", "traces", "--room", "nowhere"]).fails(1, &["there is no room `nowhere`"]);
    person.run(&["session", "traces", "--min-duration", "soon"]).fails(2, &["`soon` is no duration"]);
}
