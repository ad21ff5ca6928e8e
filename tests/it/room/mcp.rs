//! Tool servers whose tools a room offers.

use super::client::{Client, error, json_of};
use super::harness::{Edge, room_id};
use crate::support::mcp::McpServer;
use async_trait::async_trait;
use meshagent::app::tools::{AllowedTools, ToolServer, ToolServerState};
use meshagent::clock::System;
use meshagent::id::ServiceId;
use meshagent::net::guard::Allowed;
use meshagent::room::mcp::{Credential, ToolSecrets, ToolServers};
use meshagent::vault::Secret;
use meshagent::wire::Content;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_mins(1);

struct FakeSecrets(Allowed);

#[async_trait]
impl ToolSecrets for FakeSecrets {
    async fn credential(&self, server: &ToolServer) -> Result<Credential, String> {
        if server.secret.as_deref() == Some("known") {
            Ok(Credential { value: Secret::from("needle".to_owned()), valid_for: None })
        } else {
            Err("no such secret".to_owned())
        }
    }
    fn allowed_hosts(&self) -> &Allowed {
        &self.0
    }
}

fn servers(edge: &Edge, allowed: &[&str]) -> ToolServers {
    let allowed = Allowed::new(allowed.iter().map(ToString::to_string));
    ToolServers::new(Arc::clone(&edge.hub), Arc::new(FakeSecrets(allowed)), Arc::new(System))
}

fn server(url: &str) -> ToolServer {
    ToolServer {
        place: (ServiceId::new(room_id("room").project(), Uuid::from_u128(9)), 0, 0),
        generation: 1,
        label: "wiki".into(),
        description: "A wiki.".into(),
        url: url.to_owned(),
        here: false,
        headers: BTreeMap::from([("x-own".to_owned(), "1".to_owned())]),
        secret: Some("known".into()),
        oauth: None,
        allowed: None,
        approval: Some(true),
    }
}

async fn until(
    all: &ToolServers,
    of: &ToolServer,
    fits: impl Fn(&ToolServerState) -> bool,
) -> ToolServerState {
    let there = async {
        loop {
            match all.state(room_id("room"), of.place) {
                Some(state) if fits(&state) => return state,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let state = all.state(room_id("room"), of.place);
    tokio::time::timeout(LIMIT, there).await.unwrap_or_else(|_| panic!("it stayed {state:?}"))
}

async fn listed(client: &mut Client) -> Value {
    json_of(client.request("room.list_toolkits", json!({})).await)["tools"].take()
}

#[tokio::test]
async fn the_tools_of_a_server_are_a_toolkit_that_participants_call() {
    let edge = Edge::start().await;
    let mcp =
        McpServer::start(&[("echo", true), ("shape", true), ("fail", false)], Some("Bearer needle")).await;
    let mut a = edge.join("a").await;
    let all = servers(&edge, &["127.0.0.1"]);
    let server = server(&mcp.url());
    all.offer(room_id("room"), vec![server.clone()]);
    assert_eq!(
        until(&all, &server, |s| matches!(s, ToolServerState::Ready(_))).await,
        ToolServerState::Ready(3)
    );
    assert_eq!(mcp.told.lock().unwrap().last["x-own"], "1");

    let toolkit = listed(&mut a).await["wiki"].take();
    assert_eq!(toolkit["description"], "A wiki.");
    assert_eq!(toolkit["annotations"], json!({"meshagent.mcp.require_approval": "always"}));
    assert_eq!(toolkit["tools"]["echo"]["description"], "does echo");
    assert_eq!(toolkit["tools"]["echo"]["input_spec"]["schema"]["properties"]["text"]["type"], "string");
    assert_eq!(a.invoke("wiki", "echo", json!({"text": "hello"})).await, Content::Text("hello".into()));
    assert_eq!(a.invoke("wiki", "shape", json!({"text": "x"})).await, Content::Json(json!({"said": "x"})));
    let (code, said) = a.fails("wiki", "fail", json!({})).await;
    assert_eq!((code, said.as_str()), (1008, "it broke"));
    let (code, said) = a.fails("wiki", "nothing", json!({})).await;
    assert_eq!(code, 1003, "{said}");
    let id = a.begin("wiki", "echo", Content::Text("no object".into())).await;
    assert_eq!(error(a.answer(id).await).0, 1002);

    // The grant is the one of every hosted toolkit.
    let mut b = edge.join_as(&json!({"name": "b", "api": {"agents": {"use_tools": false}}})).await;
    assert_eq!(b.fails("wiki", "echo", json!({})).await.0, 1001);
    assert!(listed(&mut b).await.get("wiki").is_none());

    // No longer wanted, it goes.
    all.offer(room_id("room"), vec![]);
    let gone = async { while listed(&mut a).await.get("wiki").is_some() {} };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(all.state(room_id("room"), server.place), None);
}

#[tokio::test]
async fn only_the_tools_that_the_spec_lets_through_are_offered_and_callable() {
    let edge = Edge::start().await;
    let mcp = McpServer::start(&[("echo", true), ("shape", false), ("fail", false)], None).await;
    let mut a = edge.join("a").await;
    let all = servers(&edge, &["127.0.0.1"]);
    let mut server = server(&mcp.url());
    server.allowed = Some(vec![
        AllowedTools { names: vec!["shape".into()], read_only: None },
        AllowedTools { names: vec![], read_only: Some(true) },
    ]);
    all.offer(room_id("room"), vec![server.clone()]);
    assert_eq!(
        until(&all, &server, |s| matches!(s, ToolServerState::Ready(_))).await,
        ToolServerState::Ready(2)
    );
    let (code, _) = a.fails("wiki", "fail", json!({})).await;
    assert_eq!(code, 1003);
    assert_eq!(mcp.told.lock().unwrap().called, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_and_says_why() {
    let edge = Edge::start().await;
    let _a = edge.join("a").await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let all = servers(&edge, &["127.0.0.1"]);
    let server = server(&format!("http://{address}/mcp"));
    all.offer(room_id("room"), vec![server.clone()]);
    until(&all, &server, |s| matches!(s, ToolServerState::Failed(_))).await;
    let mcp = McpServer::at(address, &[("echo", true)], None).await;
    until(&all, &server, |s| *s == ToolServerState::Ready(1)).await;
    drop(mcp);

    for (change, why) in [
        (server_with(&server, |s| s.secret = Some("unknown".into())), "no such secret"),
        (server_with(&server, |s| s.url = "http://localhost:1/mcp".into()), "not a public address"),
        (
            server_with(&server, |s| s.headers = BTreeMap::from([("a b".into(), String::new())])),
            "`a b` is no header",
        ),
    ] {
        all.offer(room_id("room"), vec![change.clone()]);
        let state = until(&all, &change, |s| matches!(s, ToolServerState::Failed(_))).await;
        let ToolServerState::Failed(said) = state else { unreachable!() };
        assert!(said.contains(why) && !said.contains("needle"), "{said}");
    }
}

fn server_with(server: &ToolServer, change: impl FnOnce(&mut ToolServer)) -> ToolServer {
    let mut changed = server.clone();
    changed.generation += 1;
    change(&mut changed);
    changed
}
