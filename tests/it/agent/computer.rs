//! A real browser that agents steer, and what it can reach.

use super::endpoint::Endpoint;
use super::joined::{Joined, client};
use super::tools::Desk;
use super::{ROOM, text};
use crate::support::browser;
use crate::support::server::Server;
use meshagent::client::room::Target;
use meshagent::wire::Content;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A page with a button, a field and a picture that is elsewhere.
const PAGE: &str = "<!doctype html><title>start</title><body style='margin:0'>\
    <button style='position:absolute;left:0;top:0;width:400px;height:100px' onclick=\"document.title='clicked'\">b</button>\
    <input style='position:absolute;left:0;top:200px;width:400px;height:50px' \
    onkeydown=\"if (event.key == 'Enter') document.title = 'typed ' + this.value\">\
    <a style='position:absolute;left:0;top:300px;width:400px;height:50px' target=_blank href='/next'>next</a>\
    <script>fetch('http://OTHER/stolen', {mode: 'no-cors'}).catch(() => {}); new WebSocket('ws://OTHER/stolen')</script>";

/// A site; gives its address, and how often it was asked.
async fn site(page: String) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let html = move |page: String| {
        let count = count.clone();
        axum::routing::any(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            axum::response::Html(page)
        })
    };
    let next = "<!doctype html><title>next</title>".to_owned();
    let app = axum::Router::new().route("/next", html(next)).fallback_service(html(page));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, asked)
}

fn click(x: u32, y: u32) -> Value {
    json!({"type": "click", "x": x, "y": y, "button": "left"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_steered_and_reaches_only_what_is_allowed() {
    if !browser::is_here() {
        return;
    }
    let (other, stolen) = site("secret".into()).await;
    let (site, _) = site(PAGE.replace("OTHER", &other)).await;
    let env = [("PATH", "/usr/bin:/bin"), ("MESHAGENT_ALLOW_HOSTS", site.as_str())];
    let mut desk = Desk::start(&["--computer-use", "--allow-goto-url"], &env).await;
    let url = format!("http://{site}/");
    let seen = desk.json("goto", json!({"url": url})).await;
    assert_eq!(seen, json!({"url": url, "title": "start"}));
    let seen = desk.json("computer_call", json!({"actions": [click(50, 50)]})).await;
    // Each call is a thread of its own, and so is its page.
    assert_eq!(seen["url"], "about:blank", "{seen}");
    let thread = "dataset://agents/support-agent/threads/one";
    let steer = async |tool: &str, given: Value| -> Value {
        let answer = desk.call_in(thread, tool, given).await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    };
    steer("goto", json!({"url": url})).await;
    let seen = steer("computer_call", json!({"actions": [click(50, 50)]})).await;
    assert_eq!(seen["title"], "clicked", "{seen}");
    let typed = json!({"actions": [click(50, 220), {"type": "type", "text": "grüße"},
        {"type": "keypress", "keys": ["ENTER"]}]});
    assert_eq!(steer("computer_call", typed).await["title"], "typed grüße");
    let seen = steer("computer_call", json!({"actions": [click(50, 320)]})).await;
    assert_eq!(seen, json!({"url": format!("{url}next"), "title": "next"}), "a link to another window");
    assert_eq!(steer("computer_call", json!({"actions": [{"type": "back"}]})).await["url"], url);

    for (tool, given, why) in [
        ("goto", json!({"url": "file:///etc/passwd"}), "begins with https"),
        ("goto", json!({"url": "chrome://version"}), "begins with https"),
        ("goto", json!({"url": format!("https://{other}/")}), "cannot be opened"),
        ("goto", json!({"url": "https://169.254.169.254/"}), "cannot be opened"),
        ("computer_call", json!({"actions": [{"type": "click", "x": 1}]}), "cannot be done"),
        ("computer_call", json!({"actions": [{"type": "goto", "url": "file:///etc"}]}), "cannot be done"),
        ("computer_call", json!({"actions": [{"type": "keypress", "keys": ["zap"]}]}), "no key `zap`"),
        ("computer_call", json!({"actions": vec![json!({"type": "wait"}); 65]}), "more than 64"),
        ("computer_call", json!({"actions": 7}), "do not fit"),
    ] {
        let said = desk.call_in(thread, tool, given.clone()).await;
        assert!(said.contains(why), "{tool} {given}: {said}");
    }
    let refused = steer("goto", json!({"url": format!("http://{other}/")})).await;
    assert_eq!(refused["title"], "", "{refused}");
    assert_eq!(stolen.load(Ordering::SeqCst), 0, "neither the model nor the page got there");
    assert_eq!(desk.agent.terminate().code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_beginning_is_away_is_of_use_all_the_same() {
    if !browser::is_here() {
        return;
    }
    let (site, _) = site(PAGE.to_owned()).await;
    let env = [("PATH", "/usr/bin:/bin"), ("MESHAGENT_ALLOW_HOSTS", site.as_str())];
    // Nobody may go there.
    let start = "--starting-url=https://169.254.169.254/";
    let mut desk = Desk::start(&["--computer-use", "--allow-goto-url", start], &env).await;
    let thread = "dataset://agents/support-agent/threads/one";
    for _ in 0..2 {
        let said = desk.call_in(thread, "computer_call", json!({"actions": []})).await;
        assert!(said.contains("cannot be opened"), "{said}");
    }
    let url = format!("http://{site}/");
    let said = desk.call_in(thread, "goto", json!({"url": url})).await;
    assert!(said.contains("start"), "{said}");
    let said = desk.call_in(thread, "computer_call", json!({"actions": [click(50, 50)]})).await;
    assert!(said.contains("clicked"), "{said}");
    assert_eq!(desk.agent.terminate().code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_openai_uses_its_computer_and_what_it_saw_is_kept() {
    if !browser::is_here() {
        return;
    }
    let (site, _) = site(PAGE.replace("OTHER", "127.0.0.1:9")).await;
    let call = |n: u32, actions: Value, checks: Value| {
        json!({"type": "computer_call", "id": format!("cu_{n}"), "call_id": format!("call_{n}"), "status": "completed",
            "actions": actions, "pending_safety_checks": checks})
    };
    let check = json!([{"id": "s1", "code": "malicious_instructions", "message": "look at this"}]);
    let endpoint = Endpoint::start(vec![
        call(1, json!([{"type": "screenshot"}]), json!([])),
        call(2, json!([click(50, 50)]), check),
        json!({"type": "message", "phase": "final_answer", "content": [{"type": "output_text", "text": "I saw it."}]}),
    ])
    .await;
    let server = Server::start(&[]);
    let room = client(&server, "tester", ROOM).await;
    let start = format!("http://{site}/");
    let flags =
        ["--channel", "toolkit:support-agent", "--computer-use", "--starting-url", &start, "--no-time"];
    let env = [
        ("PATH", "/usr/bin:/bin"),
        ("OPENAI_BASE_URL", endpoint.url.as_str()),
        ("OPENAI_API_KEY", "s3cret-model-key"),
        ("MESHAGENT_ALLOW_HOSTS", site.as_str()),
    ];
    let mut agent = Joined::start(&server, ROOM, &flags, &env);
    agent.until(&room).await;
    let path = "dataset://agents/support-agent/threads/seen";
    let ask = Content::Json(json!({"prompt": "look", "path": path}));
    let target = Target::new("support-agent", "run_support-agent_task");
    assert_eq!(text(room.invoke(&target, ask).await.unwrap()), "I saw it.");

    let asked = endpoint.asked();
    let tools = asked[0]["tools"].as_array().unwrap();
    assert!(tools.contains(&json!({"type": "computer"})) && !tools.iter().any(|t| t["name"] == "goto"));
    let input = asked[1]["input"].as_array().unwrap();
    let [called, answered] = &input[input.len() - 2..] else { panic!("{input:?}") };
    assert_eq!((&called["type"], &called["call_id"]), (&json!("computer_call"), &json!("call_1")));
    assert_eq!((&answered["type"], &answered["call_id"]), (&json!("computer_call_output"), &json!("call_1")));
    let picture = answered["output"]["image_url"].as_str().unwrap();
    assert!(picture.starts_with("data:image/png;base64,iVBOR") && picture.len() > 2000, "{}", picture.len());
    // What the provider warns of is done by nobody where nobody can be asked.
    let input = asked[2]["input"].as_array().unwrap();
    let refused = input.last().unwrap()["content"][0]["text"].as_str().unwrap();
    assert!(refused.contains("nobody is there to approve"), "{refused}");
    assert_eq!(input[input.len() - 2]["acknowledged_safety_checks"], json!([]));

    let query = "SELECT count(*) AS pictures FROM images WHERE mime_type = 'image/png'";
    let sql = ["room", "dataset", "sql", "--room", ROOM, "--query", query, "--format", "json"];
    let kept = super::command(&server, &sql, &[]);
    assert_eq!(kept.code, Some(0), "{}", kept.said);
    assert_eq!(serde_json::from_str::<Value>(&kept.said).unwrap(), json!([{"pictures": 1}]));
    let read = [
        "process",
        "messages",
        "--room",
        ROOM,
        "--agent-name",
        "support-agent",
        "--thread-id",
        path,
        "-o",
        "json",
    ];
    let told = super::command(&server, &read, &[]).said;
    assert!(told.contains("computer.screenshot") && told.contains("dataset://images?id="), "{told}");
    assert!(!agent.terminate().said.contains("s3cret"));
}

#[test]
fn a_browser_that_is_not_there_is_named_before_the_agent_starts() {
    let server = Server::start(&[]);
    let join = |more: &[&str], path: &str| {
        let flags = [
            "process",
            "join",
            "--room",
            ROOM,
            "--agent-name",
            "a",
            "--channel",
            "queue:q",
            "--computer-use",
        ];
        super::command(&server, &[&flags, more].concat(), &[("OPENAI_API_KEY", "k"), ("PATH", path)])
    };
    let none = join(&[], "/nowhere");
    assert!(
        none.said.contains("finds no browser") && none.said.contains("MESHAGENT_BROWSER"),
        "{}",
        none.said
    );
    let url = join(&["--starting-url", "file:///etc/passwd"], "/usr/bin");
    assert!(url.said.contains("no address of the web"), "{}", url.said);
    let model = join(&["--model", "claude-x"], "/usr/bin");
    assert!(model.said.contains("needs a model of OpenAI"), "{}", model.said);
}
