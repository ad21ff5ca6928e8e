//! `meshagent process run`, as a person uses it at a terminal and as a program uses it in a pipe.

use super::ROOM;
use super::endpoint::Endpoint;
use super::joined::{client, command, program};
use crate::support::server::Server;
use axum::body::{Body, Bytes};
use axum::extract::{Json, State};
use futures_util::StreamExt;
use meshagent::client::room::RoomMessage;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(2);
const RUN: [&str; 6] = ["process", "run", "--room", ROOM, "--agent-name", "helper"];

/// A program on a terminal of its own; killed when dropped.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(server: &Server, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let words = [&[env!("CARGO_BIN_EXE_meshagent")], &RUN[..], flags].concat();
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let like = program(server, &[], env);
        let mut command = Command::new("script");
        command.args(["-qefc", &format!("exec {}", quoted.join(" ")), "/dev/null"]).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux's script");
        let (keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let to = shown.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut piece) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        });
        Self { child, keys, shown }
    }

    fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the terminal shows `text` once more than what was waited for before.
    async fn until(&self, text: &str) {
        let there = async {
            loop {
                {
                    let mut shown = self.shown.lock().unwrap();
                    if let Some(at) = shown.find(text) {
                        shown.drain(..at + text.len());
                        return;
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, there).await.is_ok();
        assert!(in_time, "`{text}` was never shown: {}", self.shown.lock().unwrap());
    }

    async fn code(&mut self) -> Option<i32> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, ended).await.expect("it never ended")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[derive(Clone, Default)]
struct Model(Arc<Mutex<Vec<Value>>>);

/// Calls a tool first; then it begins texts that never end, but for the request that holds `also this`.
async fn respond(State(model): State<Model>, Json(asked): Json<Value>) -> Body {
    let number = {
        let mut all = model.0.lock().unwrap();
        all.push(asked.clone());
        all.len()
    };
    let event = |value: Value| Ok::<_, Infallible>(Bytes::from(format!("data: {value}\n\n")));
    let item = |item: Value| event(json!({"type": "response.output_item.done", "item": item}));
    let completed = || event(json!({"type": "response.completed", "response": {}}));
    if number == 1 {
        let call =
            json!({"type": "function_call", "call_id": "c", "name": "datetime__now", "arguments": "{}"});
        return Body::from_stream(futures_util::stream::iter([item(call), completed()]));
    }
    if number == 3 {
        assert!(asked["input"].to_string().contains("also this"), "{asked}");
        let text = json!({"type": "message", "content": [{"type": "output_text", "text": "heard you"}]});
        return Body::from_stream(futures_util::stream::iter([item(text), completed()]));
    }
    let begun = [
        event(json!({"type": "response.output_item.added", "item": {"type": "message", "id": "x"}})),
        event(
            json!({"type": "response.output_text.delta", "item_id": "x", "delta": format!("begun {number}")}),
        ),
    ];
    Body::from_stream(futures_util::stream::iter(begun).chain(futures_util::stream::pending()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_talks_steers_interrupts_and_picks_a_thread() {
    let model = Model::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/v1/responses", axum::routing::post(respond)).with_state(model);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let server = Server::start(&[]);
    let env = [("OPENAI_BASE_URL", url.as_str()), ("OPENAI_API_KEY", "key")];
    let flags = ["--model", "gpt-x", "--model", "builtin/echo", "--decision-model", "builtin/echo"];
    let mut terminal = Terminal::start(&server, &flags, &env);
    terminal.until("/help").await;
    terminal.keys("/models\n");
    terminal.until("builtin/echo").await;
    terminal.keys("what time is it\n");
    terminal.until("→ datetime.now").await;
    terminal.until("begun 2").await;
    terminal.keys("also this\n");
    terminal.until("Added to the running turn").await;
    terminal.keys("\u{3}");
    terminal.until("heard you").await;
    terminal.keys("once more\n");
    terminal.until("begun 4").await;
    terminal.keys("\u{3}");
    terminal.until("turn cancelled").await;
    terminal.keys("/threads\n");
    terminal.until("  1  ").await;
    terminal.keys("/open 1\n");
    terminal.until("you: what time is it").await;
    terminal.until("helper: heard you").await;
    terminal.keys("/open 7\n");
    terminal.until("Which one?").await;
    terminal.keys("/exit\n");
    assert_eq!(terminal.code().await, Some(0), "{}", terminal.shown.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipe_one_thing_is_asked_and_answered() {
    let server = Server::start(&[]);
    let run = |flags: &[&str], piped: &str| {
        let mut command = program(&server, &[&RUN[..], &["--model", "builtin/echo"], flags].concat(), &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(piped.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    let (code, out, err) = run(&[], "two\nlines\n");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("> two\n> lines\n") && out.starts_with("This is builtin/echo"), "{out}");
    let (code, out, _) = run(&["--message", "by a flag", "--thread-id", "kept"], "not this");
    assert!(code == Some(0) && out.contains("> by a flag"), "{out}");
    let call =
        "```tool\n{\"tool\": \"grep_current_thread\", \"arguments\": {\"pattern\": \"by a FLAG\"}}\n```";
    let (_, out, _) = run(&["--thread-id", "kept"], call);
    assert!(out.contains("matching messages") && out.contains("\"text\":\"by a flag\""), "{out}");
    let (code, _, err) = run(&[], " \n");
    assert!(code == Some(2) && err.contains("nothing is asked"), "{code:?} {err}");
    let (code, _, err) = run(&["--message", "x", "--model", "unheard-of/model"], "");
    assert!(code == Some(2) && err.contains("provider is unknown"), "{code:?} {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipe_a_tool_that_asks_is_refused() {
    let server = Server::start(&[]);
    let agent = client(&server, "asker", ROOM).await;
    let mut pushes = agent.pushes();
    agent.enable_messaging().await.unwrap();
    let flags = ["process", "use", "--room", ROOM, "--agent-name", "asker", "--message", "go"];
    let mut command = program(&server, &flags, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let play = async {
        loop {
            let Ok(push) = pushes.recv().await else { panic!("the room is gone") };
            let Some(message) = RoomMessage::from_push(&push).filter(|m| m.kind == "agent-message") else {
                continue;
            };
            let heard = message.body;
            let says = match heard["type"].as_str().unwrap() {
                "meshagent.agent.thread.start" => vec![
                    json!({"type": "thread.started"}),
                    json!({"type": "turn.start.accepted", "turn_id": "u"}),
                    json!({"type": "tool_call.approval_requested", "turn_id": "u", "item_id": "i",
                        "toolkit": "wiki", "tool": "write", "arguments": {}}),
                ],
                "meshagent.agent.tool_call.reject" => vec![json!({"type": "turn.ended", "turn_id": "u"})],
                _ => continue,
            };
            for mut say in says {
                say["type"] = json!(format!("meshagent.agent.{}", say["type"].as_str().unwrap()));
                (say["thread_id"], say["source_message_id"]) = (json!("t"), heard["message_id"].clone());
                agent.send_message(&message.from_participant_id, "agent-message", &say, None).await.unwrap();
            }
            if heard["type"] == "meshagent.agent.tool_call.reject" {
                return heard;
            }
        }
    };
    let rejected = tokio::time::timeout(LIMIT, play).await.expect("nobody answered the tool");
    assert_eq!((&rejected["turn_id"], &rejected["item_id"]), (&json!("u"), &json!("i")));
    let out = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && err.contains("wiki.write") && err.contains("It is refused"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_asked_without_a_room() {
    let says = |text: &str| json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
    let endpoint = Endpoint::start(vec![says("It is **four**."), says("It is **five**.")]).await;
    let server = Server::start(&[]);
    let env = [("OPENAI_BASE_URL", endpoint.url.as_str()), ("OPENAI_API_KEY", "key")];
    let asked = command(&server, &["ask", "--model", "gpt-x", "--message", "2 + 2?"], &env);
    assert!(asked.code == Some(0) && asked.said == "It is **four**.\n", "{asked:?}");
    let asked = command(&server, &["ask", "--model", "gpt-x", "-m", "2 + 3?", "--format", "text"], &env);
    assert!(asked.code == Some(0) && asked.said == "It is five.\n", "{asked:?}");
    assert!(endpoint.asked()[1]["input"].to_string().contains("2 + 3?"));
    // Without an address of one's own the server is asked, under the project's key; it has no provider either.
    let refused = command(&server, &["ask", "--model", "gpt-x", "--message", "x"], &[]);
    assert!(refused.code == Some(1) && refused.said.contains("/openai/v1/responses answered"), "{refused:?}");
    let unknown = command(&server, &["ask", "--model", "zap/x", "--message", "x"], &[]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}
