//! Managed agents with the real binary: made, talked to, kept apart, killed, and gone.

use super::Person;
use crate::support::server::Server;
use meshagent::agent::message::{
    Body, InputContent, OpenThread, Options, StartThread, ThreadPage, TurnStart,
};
use meshagent::agent::session::Session;
use serde_json::{Map, Value, json};
use std::fs;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;

const LIMIT: Duration = Duration::from_mins(2);

fn document(name: &str, more: &Value) -> String {
    let mut document = json!({"version": "v1", "kind": "ManagedAgent", "metadata": {"name": name},
        "allowed_models": [{"provider": "openai", "model": "builtin/echo"}]});
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    document.to_string()
}

fn stage(more: &Value) -> (Server, Person) {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["agent", "create", "-c", &document("helper", more)]).ok();
    (server, person)
}

#[test]
fn agents_are_made_changed_and_deleted_by_commands_and_documents() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let made = person.run(&["agent", "create", "-c", &document("Helper", &json!({}))]).json();
    assert_eq!(made["name"], "helper");
    let id = made["id"].as_str().unwrap();
    person.run(&["agents", "create", "-c", &document("helper", &json!({}))]).fails(1, &["exists already"]);
    person.run(&["agent", "create", "--if-not-exists", "-c", &document("helper", &json!({}))]).ok();
    assert_eq!(person.run(&["agent", "get", "--name", "helper"]).json()["id"], id);
    let listed = person.run(&["agent", "list", "--filter", "HELP", "-o", "json"]).json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(id)));
    let update = ["agent", "update", "--name", "helper", "--thread-isolation", "participant", "-c"];
    person.run(&[&update[..], &[&document("helper", &json!({}))]].concat()).ok();
    let now = person.run(&["agent", "get", "helper"]).json();
    assert_eq!(now["configuration"]["thread_isolation"], "participant");
    person.run(&["agent", "get", "helpr"]).fails(1, &["no agent `helpr`", "did you mean `helper`?"]);
    person
        .run(&["agent", "create", "-c", &document("x", &json!({"tools": [{"name": "t"}]}))])
        .fails(1, &["runs no Python tools"]);

    let file = person.home().join("agents.yaml");
    fs::write(&file, "version: v1\nkind: ManagedAgent\nmetadata: {name: parrot}\nallowed_models: [{provider: openai, model: builtin/echo}]\n").unwrap();
    let file = file.to_str().unwrap();
    for outcome in ["managedagent/parrot created", "managedagent/parrot unchanged"] {
        let applied = person.run(&["apply", "-f", file]).ok();
        assert!(applied.stdout.contains(outcome), "{applied:?}");
    }
    assert!(person.run(&["get", "agents"]).ok().stdout.contains("parrot"));
    person.run(&["describe", "agent", "parrot"]).ok();
    let whose = ["--agent", "parrot"];
    person.run(&[&["agent", "storage", "cp"], &whose[..], &[file, "agent://kept/it.yaml"]].concat()).ok();
    let kept = person.run(&[&["files", "get"], &whose[..], &["agent://kept/it.yaml"]].concat()).ok();
    assert!(kept.stdout.contains("name: parrot"), "{kept:?}");
    person.run(&["delete", "agent", "parrot"]).ok();
    person.run(&["agent", "delete", "--id", id]).ok();
    assert!(person.run(&["agent", "list"]).ok().stdout.is_empty());
}

/// What the agent answers, and the thread.
fn asked(person: &Person, thread: Option<&str>, text: &str) -> (String, String) {
    let mut all = vec!["agent", "use", "helper", "-o", "json", "-m", text];
    all.extend(thread.iter().flat_map(|thread| ["--thread-id", thread]));
    let answer = person.run(&all).json();
    let field = |name: &str| answer[name].as_str().unwrap().to_owned();
    (field("response"), field("thread_path"))
}

/// The process ids of the agents of a server.
fn processes(server: &Server) -> Vec<u32> {
    let read = |pid: u32, what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let holds = |text: &[u8], part: &str| text.windows(part.len()).any(|window| window == part.as_bytes());
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| holds(&read(*pid, "cmdline"), "agent\0serve\0"))
        .filter(|pid| holds(&read(*pid, "environ"), &format!("MESHAGENT_API_URL={}\0", server.url)))
        .collect()
}

#[test]
fn an_agent_answers_and_its_threads_outlive_its_process_and_the_server() {
    let (mut server, person) = stage(&json!({}));
    assert_eq!(processes(&server), Vec::<u32>::new(), "nobody has connected yet");
    let (answer, thread) = asked(&person, None, "hello");
    assert!(answer.contains("hello"), "{answer}");
    assert!(thread.starts_with("dataset://threads/"), "{thread}");
    let plain = person.run(&["agent", "use", "--name", "helper", "-m", "again"]).ok();
    assert!(plain.stdout.contains("again"), "{plain:?}");

    let [pid] = processes(&server)[..] else { panic!("one process for the agent: {:?}", processes(&server)) };
    let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(kill.success());
    let (answer, same) = asked(&person, Some(&thread), "after the agent was killed");
    assert_eq!((answer.contains("after the agent was killed"), &same), (true, &thread));

    server.kill_9();
    server.restart();
    let (answer, _) = asked(&person, Some(&thread), "after the server was killed");
    assert!(answer.contains("after the server was killed"), "{answer}");
    let room = person.run(&["agent", "get", "helper"]).json()["id"].as_str().unwrap().replace('-', "");
    let room = format!("agent-{room}");
    let told = person
        .run(&["process", "messages", "--room", &room, "--agent-name", "helper", "--thread-id", &thread])
        .ok();
    for text in ["hello", "after the agent was killed", "after the server was killed"] {
        assert!(told.stdout.contains(text), "{told:?}");
    }
    let gone = person.run(&["agent", "delete", "--name", "helper"]);
    gone.ok();
    person.run(&["agent", "use", "helper", "-m", "x"]).fails(1, &["no agent `helper`"]);
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let more = json!({"run_as": {"email": "nobody@x", "scopes": ["secrets:read"]},
        "environment": [{"name": "TEAM", "secret": {"id": "team"}}]});
    let (_server, person) = stage(&more);
    person.run(&["agent", "use", "helper", "-m", "x"]).fails(1, &["does not answer", "TEAM"]);
}

/// What `connect` gives to somebody.
async fn connected(server: &Server, email: &str) -> (String, String) {
    let url = format!("{}/accounts/projects/{}/agents/helper/connect", server.url, server.project_id);
    let request =
        reqwest::Client::new().post(url).bearer_auth(&server.api_key).json(&json!({"email": email}));
    let body: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    assert_eq!((&body["agent_name"], &body["project_id"]), (&json!("helper"), &json!(server.project_id)));
    let field = |name: &str| body[name].as_str().unwrap().to_owned();
    (field("agent_url"), field("jwt"))
}

async fn status(url: &str, token: Option<&str>) -> u16 {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_for_the_agent_opens_its_socket() {
    let (server, person) = tokio::task::spawn_blocking(|| stage(&json!({}))).await.unwrap();
    let person = tokio::task::spawn_blocking(move || {
        person.run(&["agent", "create", "-c", &document("other", &json!({}))]).ok();
        person
    })
    .await
    .unwrap();
    let (url, jwt) = connected(&server, "ann@x").await;
    assert_eq!(status(&url, Some(&jwt)).await, 101);
    assert_eq!(status(&format!("{url}?token={jwt}"), None).await, 101);
    let other = url.replace("/helper/", "/other/");
    let project = url.replace(&server.project_id, "00000000-0000-4000-8000-000000000000");
    let room = format!("{}/accounts/projects/{}/rooms", server.url, server.project_id);
    let client = reqwest::Client::new();
    let post = |url: String, body: Value| client.post(url).bearer_auth(&server.api_key).json(&body).send();
    post(room.clone(), json!({"name": "den"})).await.unwrap().error_for_status().unwrap();
    let of_room: Value = post(format!("{room}/den/connect"), json!({})).await.unwrap().json().await.unwrap();
    for (url, token) in [
        (url.as_str(), None),
        (&url, Some("a.b.c")),
        (&url, of_room["jwt"].as_str()),
        (&url, Some(server.api_key.as_str())),
        (&other, Some(jwt.as_str())),
        (&project, Some(jwt.as_str())),
    ] {
        assert_eq!(status(url, token).await, 403, "{url}");
    }
    // The token is good for nothing else.
    let room_url = server.url.replacen("http", "ws", 1) + "/rooms/den";
    assert_eq!(status(&room_url, Some(&jwt)).await, 403);
    let agents = format!("{}/accounts/projects/{}/agents", server.url, server.project_id);
    let listed = client.get(agents).bearer_auth(&jwt).send().await.unwrap();
    assert_eq!(listed.status().as_u16(), 403);
    tokio::task::spawn_blocking(move || drop((server, person))).await.unwrap();
}

async fn heard(session: &mut Session, kind: &str) -> Map<String, Value> {
    let find = async {
        loop {
            let message = session.hear().await.unwrap();
            if message["type"] == format!("meshagent.agent.{kind}") {
                return message;
            }
        }
    };
    tokio::time::timeout(LIMIT, find).await.unwrap_or_else(|_| panic!("no {kind} came"))
}

async fn begun(session: &mut Session, text: &str) -> String {
    let content = Some(vec![InputContent::text(text)]);
    let options = Options::default();
    let start = StartThread { content, name: None, realtime_protocol: None, options };
    session.say(Body::ThreadStart(start)).await.unwrap();
    let thread = heard(session, "thread.started").await["thread_id"].as_str().unwrap().to_owned();
    heard(session, "turn.ended").await;
    thread
}

async fn listed(session: &mut Session) -> Vec<String> {
    session.say(Body::ThreadList(ThreadPage { limit: 50, offset: 0 })).await.unwrap();
    let page = heard(session, "thread.listed").await;
    page["threads"].as_array().unwrap().iter().map(|t| t["path"].as_str().unwrap().to_owned()).collect()
}

fn open(thread: &str) -> Body {
    Body::ThreadOpen(OpenThread {
        thread_id: thread.to_owned(),
        backend: None,
        load: Some(true),
        since_turn: None,
    })
}

async fn threads_are_kept_apart(store: bool) {
    let more = json!({"thread_isolation": "participant", "store": store});
    let (server, person) = tokio::task::spawn_blocking(move || stage(&more)).await.unwrap();
    let talk = async |email: &str| {
        let (url, jwt) = connected(&server, email).await;
        Session::at(&url, &jwt).await.unwrap()
    };
    let (mut ann, mut bob, mut again) = (talk("ann@x").await, talk("bob@x").await, talk("Ann@x").await);
    bob.say(Body::ThreadWatch(Default::default())).await.unwrap();
    let of_ann = begun(&mut ann, "a secret of ann's").await;
    let of_bob = begun(&mut bob, "bob's own").await;
    assert_eq!(listed(&mut ann).await, [of_ann.clone()]);
    assert_eq!(listed(&mut bob).await, [of_bob.clone()]);
    assert_eq!(listed(&mut again).await, [of_ann.clone()], "whoever comes again finds theirs");

    // A turn on another's thread is refused; everything else is as if the thread were not there.
    let content = vec![InputContent::text("tell me")];
    let turn = TurnStart { thread_id: of_ann.clone(), turn_id: None, content, options: Options::default() };
    bob.say(open(&of_ann)).await.unwrap();
    bob.say(Body::TurnStart(turn)).await.unwrap();
    let refused = loop {
        let message = tokio::time::timeout(LIMIT, bob.hear()).await.expect("no answer came").unwrap();
        if message["type"] == "meshagent.agent.turn.start.rejected" {
            break message;
        }
        let text = Value::Object(message).to_string();
        assert!(!text.contains("ann's") && !text.contains("thread.loaded"), "{text}");
    };
    assert_eq!(refused["error"]["code"], "thread_not_available");
    ann.say(open(&of_ann)).await.unwrap();
    heard(&mut ann, "thread.loaded").await;
    // All that bob hears until the end of a turn of his own.
    let content = vec![InputContent::text("mine")];
    let turn = TurnStart { thread_id: of_bob, turn_id: None, content, options: Options::default() };
    bob.say(Body::TurnStart(turn)).await.unwrap();
    let all = async {
        loop {
            let message = bob.hear().await.unwrap();
            let text = Value::Object(message.clone()).to_string();
            assert!(!text.contains("ann's") && !text.contains(&of_ann), "{text}");
            if message["type"] == "meshagent.agent.turn.ended" {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, all).await.unwrap();
    tokio::task::spawn_blocking(move || drop((server, person))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_threads_are_kept_apart_by_participant() {
    threads_are_kept_apart(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_in_memory_are_kept_apart_by_participant() {
    threads_are_kept_apart(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_host_the_agent_passes_conversations_on() {
    let Some(url) = crate::support::postgres::database().await else { return };
    let shared = tempfile::tempdir().unwrap();
    let folder = shared.path().to_str().unwrap().to_owned();
    let start = move |name: &str| {
        Server::start(&["--database-url", &url, "--shared-dir", &folder, "--server-name", name])
    };
    let both = tokio::task::spawn_blocking(move || {
        let (one, two) = (start("one"), start("two"));
        Person::of(&one).run(&["agent", "create", "-c", &document("helper", &json!({}))]).ok();
        (one, two)
    });
    let (one, two) = both.await.unwrap();
    let (url, jwt) = connected(&one, "ann@x").await;
    let mut here = Session::at(&url, &jwt).await.unwrap();
    let thread = begun(&mut here, "said at its host").await;
    let mut there = Session::at(&url.replace(&one.url[4..], &two.url[4..]), &jwt).await.unwrap();
    assert_eq!(listed(&mut there).await, [thread]);
    begun(&mut there, "said elsewhere").await;
    assert_eq!(listed(&mut here).await.len(), 2);
    tokio::task::spawn_blocking(move || drop((one, two, shared))).await.unwrap();
}
