use super::rig::{Rig, actor};
use meshagent::app::host::RoomHost;
use meshagent::control::Controller;
use meshagent::control::service::Services;
use meshagent::domain::instance::Phase;
use meshagent::domain::room::Updated;
use meshagent::domain::session::Reason;
use meshagent::runtime::{EnvValue, Observed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The variables of the newest start.
fn environment(rig: &Rig) -> BTreeMap<String, String> {
    let started = rig.runtime.started().pop().unwrap();
    let text = |value: EnvValue| match value {
        EnvValue::Plain(text) => text,
        EnvValue::Secret(secret) => secret.expose_str().unwrap().to_owned(),
    };
    started.request.env.into_iter().map(|(name, value)| (name, text(value))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_service_of_a_room_opens_it_and_runs() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "the service runs", |i| i.phase == Phase::Running).await;
    let started = rig.runtime.started();
    assert_eq!(started.len(), 1, "{started:?}");
    assert_eq!(started[0].request.command, "meshagent process join");
    assert_eq!(rig.control.service_condition(service).status, "True");
    let session = rig.host.live()[0].1;
    let state = rig.control.service_state(service, Some(session));
    assert_eq!((&state["state"], &state["restart_count"]), (&json!("running"), &json!(0)), "{state}");
    assert!(state["started_at"].as_f64().unwrap() >= 1_767_225_600.0, "{state}");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_the_project_runs_in_every_room_that_runs() {
    let rig = Rig::new().await;
    let rooms = [rig.room("a").await, rig.room("b").await, rig.room("c").await];
    let service = rig.service(None, "agent", json!({})).await;
    for room in &rooms[..2] {
        rig.host.open(*room).await.unwrap();
    }
    let project = rig.project;
    let running = move |i: &&meshagent::domain::instance::Instance| i.phase == Phase::Running;
    rig.until("it runs twice", |world| world.instances(project).filter(running).count() == 2).await;
    rig.pass(Duration::from_mins(1)).await;
    let keys: Vec<_> = rig.runtime.started().into_iter().map(|started| started.request.key).collect();
    assert_eq!(keys, [Rig::key(rooms[0], service), Rig::key(rooms[1], service)]);
}

#[tokio::test(start_paused = true)]
async fn the_agent_template_gives_addresses_and_a_token_of_the_service() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let env = environment(&rig);
    let expected = [
        ("MESHAGENT_API_URL", "http://one:8078"),
        ("MESHAGENT_ROOM_URL", "http://one:8078"),
        ("MESHAGENT_ROOM", "support"),
        ("MESHAGENT_HOST", "127.0.0.1"),
        ("OPENAI_BASE_URL", "http://one:8078/openai/v1"),
        ("ANTHROPIC_BASE_URL", "http://one:8078/anthropic"),
    ];
    for (name, value) in expected {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(env["MESHAGENT_PROJECT_ID"], rig.project.to_string());
    assert_eq!(env["MESHAGENT_SESSION_ID"], rig.host.live()[0].1.to_string());
    assert_eq!(env["OPENAI_API_KEY"], env["MESHAGENT_TOKEN"]);
    let bearer = rig.app.verify(&env["MESHAGENT_TOKEN"]).await.unwrap();
    assert_eq!((bearer.name.as_str(), bearer.role.as_str()), ("agent", "agent"));
    assert_eq!((bearer.room.as_deref(), bearer.service), (Some("support"), Some(service)));
}

#[tokio::test(start_paused = true)]
async fn variables_of_the_spec_win_and_tokens_are_minted_as_written() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let container = json!({
        "image": "meshagent/cli:default", "template": "agent", "command": "x",
        "environment": [
            {"name": "MESHAGENT_TOKEN", "token": {"identity": "bob", "role": "user", "api": {"queues": {}}}},
            {"name": "OPENAI_API_KEY", "value": "own"},
        ],
    });
    let service = rig.service(Some(room), "agent", json!({"container": container})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let env = environment(&rig);
    let bearer = rig.app.verify(&env["MESHAGENT_TOKEN"]).await.unwrap();
    assert_eq!((bearer.name.as_str(), bearer.role.as_str()), ("bob", "user"));
    let api = bearer.api.unwrap();
    assert!(api.queues.is_some() && api.storage.is_none());
    assert_eq!(env["OPENAI_API_KEY"], "own");
}

#[tokio::test(start_paused = true)]
async fn what_a_process_cannot_do_is_noted() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let container = json!({
        "image": "meshagent/cli:default", "command": "x", "working_dir": "/data",
        "storage": {"room": [{"path": "/data"}]},
    });
    let service = rig.service(Some(room), "agent", json!({"container": container})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let state = rig.control.service_state(service, Some(rig.host.live()[0].1));
    let text = state["events"].to_string();
    assert!(text.contains("storage.room") && text.contains("working_dir"), "{text}");
    assert!(!environment(&rig).contains_key("MESHAGENT_TOKEN"), "no template, no token");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_is_started_again_after_a_growing_wait() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    let mut waits = Vec::new();
    for round in 1..=4 {
        rig.until_instance(service, "it runs", |i| i.phase == Phase::Running && i.restart_count == round - 1)
            .await;
        let ended = rig.shared.clock.now();
        rig.runtime.exit(&Rig::key(room, service), 3);
        rig.until_instance(service, "its end is seen", |i| i.phase == Phase::Exited).await;
        assert_eq!(rig.control.service_condition(service).reason, "Restarting");
        let state = rig.control.service_state(service, Some(rig.host.live()[0].1));
        assert_eq!((&state["state"], &state["last_exit_code"]), (&json!("restarting"), &json!(3)), "{state}");
        assert!(state["restart_scheduled_at"].is_f64(), "{state}");
        rig.until_instance(service, "it runs again", |i| i.phase == Phase::Running).await;
        waits.push((rig.shared.clock.now() - ended).num_milliseconds());
    }
    for (wait, plain) in waits.iter().zip([1_000, 2_000, 4_000, 8_000]) {
        assert!((plain..plain * 13 / 10 + 50).contains(wait), "{waits:?}");
    }
    assert_eq!(rig.runtime.started().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_replaces_what_runs() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let container = json!({"image": "meshagent/cli:default", "command": "meshagent other"});
    rig.update_service(service, "agent", json!({"container": container})).await;
    rig.until_instance(service, "the new one runs", |i| i.phase == Phase::Running && i.generation == 2).await;
    assert_eq!(rig.runtime.stopped(), [Rig::key(room, service)]);
    rig.app.restart_service(&actor(), service).await.unwrap();
    rig.until_instance(service, "it runs anew", |i| i.phase == Phase::Running && i.generation == 3).await;
    let commands: Vec<String> = rig.runtime.started().into_iter().map(|s| s.request.command).collect();
    assert_eq!(commands, ["meshagent process join", "meshagent other", "meshagent other"]);
}

#[tokio::test(start_paused = true)]
async fn disabling_deleting_and_ending_the_session_stop_it() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "one", json!({})).await;
    let other = rig.service(Some(room), "two", json!({})).await;
    let third = rig.service(Some(room), "three", json!({})).await;
    for id in [service, other, third] {
        rig.until_instance(id, "it runs", |i| i.phase == Phase::Running).await;
    }
    rig.update_service(service, "one", json!({"enabled": false})).await;
    rig.until_instance(service, "it is stopped", |i| i.phase == Phase::Stopped).await;
    assert_eq!(rig.control.service_condition(service).reason, "Disabled");
    rig.app.delete_service(&actor(), other).await.unwrap();
    rig.until_instance(other, "it is stopped", |i| i.phase == Phase::Stopped).await;
    let (_, session) = rig.host.live()[0];
    rig.host.end(room, session, Reason::Terminated).await;
    let mut exits = meshagent::runtime::Runtime::exited(&*rig.runtime);
    while rig.runtime.stopped().len() < 3 {
        exits.changed().await.unwrap();
    }
    rig.pass(Duration::from_hours(1)).await;
    assert_eq!(rig.runtime.started().len(), 3, "nothing starts again");
    assert!(rig.host.live().is_empty());
}

/// The host tells nobody when a session that was recorded is there: who did not see it in time looks again.
#[tokio::test(start_paused = true)]
async fn a_session_that_comes_while_the_controller_looks_is_not_missed() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let services = Services::new(rig.parts.clone(), tokio::sync::watch::Sender::new(0));
    *rig.host.forgets.lock().unwrap() = 1;
    let outcome = services.reconcile().await.unwrap();
    assert!(outcome.next.is_some(), "it looks again soon: {outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_room_ends_with_its_services() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let session = rig.host.live()[0].1;
    let off = Updated { enabled: Some(false), ..Updated::default() };
    rig.app.update_room(&actor(), room, off).await.unwrap();
    rig.until("the session ended", |w| w.session(session).is_some_and(|s| !s.is_active())).await;
    let mut exits = meshagent::runtime::Runtime::exited(&*rig.runtime);
    while rig.runtime.stopped().is_empty() {
        exits.changed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_is_looked_at_again_and_nothing_is_started_twice() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let key = Rig::key(room, service);
    let seen = meshagent::runtime::Runtime::observe_one(&*rig.runtime, &key).await.unwrap();
    rig.runtime.show(&key, Observed::Unknown);
    rig.control.wake();
    rig.pass(Duration::from_mins(5)).await;
    assert_eq!(rig.runtime.started().len(), 1);
    assert!(rig.runtime.stopped().is_empty());
    rig.runtime.show(&key, seen);
    rig.pass(Duration::from_mins(5)).await;
    assert_eq!((rig.runtime.started().len(), rig.runtime.stopped().len()), (1, 0));
    rig.until_instance(service, "it still runs", |i| i.phase == Phase::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_told_and_tried_again() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    rig.runtime.fail_next_start("no more processes");
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it failed", |i| i.phase == Phase::Failed).await;
    let told = rig.control.service_condition(service);
    assert_eq!((told.status, told.reason.as_str()), ("False", "StartFailed"));
    assert!(told.message.contains("no more processes"), "{told:?}");
    rig.until_instance(service, "it runs after all", |i| i.phase == Phase::Running).await;
}

/// A secret of the project's `default` account with this value; its id.
async fn secret(rig: &Rig, name: &str, http_only: bool, value: &str) -> String {
    use meshagent::domain::secret::{About, Created, Owner};
    let account = rig.app.world().accounts(rig.project).next().unwrap().0.uuid();
    let about = About {
        name: name.to_owned(),
        kind: "opaque".into(),
        http_only,
        metadata: serde_json::Map::new(),
        annotations: serde_json::Map::new(),
    };
    let created = Created { owner: Owner::ServiceAccount(account), by: account, about };
    let id = rig.app.create_secret(&actor(), rig.project, created).await.unwrap();
    let value = meshagent::vault::Secret::from(value.to_owned());
    rig.app.add_secret_version(&actor(), id, account, value, true).await.unwrap();
    id.to_string()
}

fn container_with(secret: &str, run_as: Option<&str>) -> Value {
    let mut container = json!({
        "image": "meshagent/cli:default",
        "environment": [{"name": "KEY", "secret": {"id": secret}}],
    });
    if let Some(email) = run_as {
        container["run_as"] = json!({"email": email});
    }
    json!({"container": container})
}

#[tokio::test(start_paused = true)]
async fn a_variable_takes_the_value_of_a_secret_at_the_start() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let id = secret(&rig, "key", false, "needle").await;
    let service = rig.service(Some(room), "agent", container_with(&id, Some("default@any.host"))).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    assert_eq!(environment(&rig)["KEY"], "needle");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_may_not_be_read_keeps_its_service_from_starting_and_says_why() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let readable = secret(&rig, "key", false, "needle").await;
    let proxy_only = secret(&rig, "proxy", true, "needle").await;
    let profile = meshagent::domain::account::Profile { name: "other".into(), ..Default::default() };
    rig.app.create_account(&actor(), rig.project, profile).await.unwrap();
    for (name, container, reason, said) in [
        ("a", container_with(&readable, None), "SecretNotSupported", "no `run_as`"),
        ("b", container_with(&readable, Some("nobody")), "SecretNotReadable", "no service account `nobody`"),
        ("c", container_with(&readable, Some("other")), "SecretNotReadable", "`other` may use"),
        ("d", container_with("nonsense", Some("default")), "SecretNotReadable", "`default` may use"),
        ("e", container_with(&proxy_only, Some("default")), "SecretNotReadable", "for the proxy only"),
    ] {
        let service = rig.service(Some(room), name, container).await;
        rig.until_instance(service, "it failed", |i| i.phase == Phase::Failed).await;
        let told = rig.control.service_condition(service);
        assert_eq!(told.reason, reason, "{told:?}");
        assert!(told.message.contains("`KEY`") && told.message.contains(said), "{told:?}");
        assert!(!told.message.contains("needle"));
    }
    assert!(rig.runtime.started().is_empty());
}

#[tokio::test(start_paused = true)]
async fn files_are_put_into_the_room_only_where_missing() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let files = rig.blobs.room(room);
    files.write("kept.md", "mine".into(), false).await.unwrap();
    let seeds = json!([{"path": "/kept.md", "text": "theirs"}, {"path": "rules/new.md", "text": "new"}]);
    let service = rig.service(Some(room), "agent", json!({"files": seeds})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let read = async |path: &str| {
        let mut file = files.open_read(path, None).await.unwrap();
        String::from_utf8(file.read(1_000).await.unwrap().to_vec()).unwrap()
    };
    assert_eq!((read("kept.md").await, read("rules/new.md").await), ("mine".into(), "new".into()));
}

#[tokio::test(start_paused = true)]
async fn output_becomes_lines_of_the_developer_log() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    let sink = rig.runtime.started()[0].request.log_sink.clone();
    let stream = meshagent::runtime::Stream::Stdout;
    sink(meshagent::runtime::OutputLine { stream, text: "hello".into() });
    let lines: Vec<(String, Value)> =
        rig.host.lines.lock().unwrap().iter().map(|(_, kind, data)| (kind.clone(), data.clone())).collect();
    let expected = json!({
        "service": "agent", "service_id": service.to_string(), "stream": "stdout", "message": "hello",
    });
    assert_eq!(lines, [("service.output".to_owned(), expected)]);
}

#[tokio::test(start_paused = true)]
async fn stopping_the_server_stops_every_process_and_leaves_the_session() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let service = rig.service(Some(room), "agent", json!({})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    rig.control.stop().await;
    assert_eq!(rig.runtime.stopped(), [Rig::key(room, service)]);
    rig.until_instance(service, "that is recorded", |i| i.phase == Phase::Stopped).await;
    assert!(rig.app.world().active_session(room).is_some());
}

#[tokio::test]
async fn a_port_is_ready_when_it_answers() {
    let rig = Rig::new().await;
    let room = rig.room("support").await;
    let ports = json!([{"num": "*", "liveness": "/healthz"}]);
    let service = rig.service(Some(room), "agent", json!({"ports": ports})).await;
    rig.until_instance(service, "it runs", |i| i.phase == Phase::Running).await;
    assert_eq!(rig.control.service_condition(service).reason, "PortNotReady");
    let port: u16 = environment(&rig)["MESHAGENT_PORT"].parse().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answer = axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
    tokio::spawn(async move { axum::serve(listener, answer).await.unwrap() });
    let session = rig.host.live()[0].1;
    let ready = async {
        while rig.control.service_state(service, Some(session))["status"]["ports"][0]["liveness_status"]
            != "ready"
        {
            // The next look is at most a second away, and nothing tells of it.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.unwrap();
    assert_eq!(rig.control.service_condition(service).status, "True");
}

#[tokio::test]
async fn an_endpoint_of_a_service_is_called_into_the_room_once_per_start() {
    let rig = Rig::new().await;
    let (sender, mut calls) = tokio::sync::mpsc::channel(8);
    let take = move |body: axum::Json<Value>| async move { sender.send(body.0).await.unwrap() };
    let answer = axum::Router::new().route("/agent", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, answer).await.unwrap() });
    let room = rig.room("support").await;
    let endpoint = json!({"path": "/agent", "meshagent": {"identity": "helper"}});
    let ports = json!([{"num": port, "endpoints": [endpoint]}]);
    let service = rig.service(Some(room), "agent", json!({"ports": ports})).await;
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(20), calls.recv()).await.unwrap().unwrap();
    let call = next().await;
    assert_eq!(call["event"], "room.call");
    assert_eq!(call["data"]["room_name"], "support");
    assert_eq!(call["data"]["room_url"], "ws://one:8078/rooms/support");
    let bearer = rig.app.verify(call["data"]["token"].as_str().unwrap()).await.unwrap();
    assert_eq!((bearer.name.as_str(), bearer.room.as_deref()), ("helper", Some("support")));
    assert_eq!(bearer.service, Some(service));
    rig.runtime.exit(&Rig::key(room, service), 0);
    rig.until_instance(service, "it runs again", |i| i.phase == Phase::Running && i.restart_count == 1).await;
    assert_ne!(next().await["data"]["token"], Value::Null);
    assert!(calls.try_recv().is_err(), "one call per start");
}
