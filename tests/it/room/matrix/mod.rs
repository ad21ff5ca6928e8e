//! The access matrix: every tool of every built-in toolkit × {no grant, a narrowed grant outside, a narrowed grant
//! inside, full}.
//!
//! The tools are asked of a whole server, the one `server::start` puts together, so a toolkit that is wired in and a
//! tool that is described must have a row here, or the test fails and names it.
//!
//! To add a toolkit, add one file with `pub fn rows() -> Vec<Row>` and one line to [`all`]. A row says how the tool is
//! called and which api scopes decide it:
//!
//! ```ignore
//! Row::new("queues.send", json!({"name": "mine", "message": {}}))   // the input, or the first item of a stream
//!     .inside(json!({"queues": {"send": ["mine"]}}))                // the least scope that covers this input
//!     .outside(json!({"queues": {"send": ["other"]}}))              // the grant is there and does not cover it
//! ```
//!
//! * Only what the scope decides before the toolkit runs belongs here (`room::guard`). What a toolkit decides while it
//!   works (the tables of an SQL statement) it tests itself.
//! * [`Row::streamed`]: the tool takes a stream, `input` is its first item, JSON; [`Row::binary`]: headers of a binary
//!   item.
//! * [`Row::whole`]: the grant has nothing to narrow; what is outside is then everything but that grant.
//!
//! `cargo test --test it access_matrix -- --nocapture` prints the table.

mod containers;
mod dataset;
mod developer;
mod livekit;
mod memory;
mod messaging;
mod mounts;
mod queues;
mod secrets;
mod services;
mod sqlite;
mod storage;
mod sync;

use super::client::{Client, error, json_of};
use bytes::Bytes;
use meshagent::app::token::Mint;
use meshagent::room::guard;
use meshagent::server::{Options, Server};
use meshagent::spec::ApiScope;
use meshagent::wire::{Content, Control};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn all() -> Vec<Row> {
    [
        containers::rows(),
        dataset::rows(),
        developer::rows(),
        livekit::rows(),
        memory::rows(),
        messaging::rows(),
        mounts::rows(),
        queues::rows(),
        secrets::rows(),
        services::rows(),
        sqlite::rows(),
        storage::rows(),
        sync::rows(),
    ]
    .concat()
}

/// How the input goes in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    AtOnce,
    Stream,
    BinaryStream,
}

/// One tool: a call, and the scopes that decide it.
#[derive(Debug, Clone)]
pub struct Row {
    tool: &'static str,
    input: Value,
    sent: Sent,
    inside: Value,
    outside: Option<Value>,
}

impl Row {
    /// `tool` is `toolkit.tool`.
    pub fn new(tool: &'static str, input: Value) -> Self {
        Self { tool, input, sent: Sent::AtOnce, inside: json!({}), outside: None }
    }

    pub fn inside(self, api: Value) -> Self {
        Self { inside: api, ..self }
    }

    pub fn outside(self, api: Value) -> Self {
        Self { outside: Some(api), ..self }
    }

    /// A grant without members, or whose members do not matter here.
    pub fn whole(self, grant: &str) -> Self {
        let mut scope = full_json();
        scope.remove(grant);
        Self { inside: json!({grant: {}}), outside: Some(Value::Object(scope)), ..self }
    }

    pub fn streamed(self) -> Self {
        Self { sent: Sent::Stream, ..self }
    }

    pub fn binary(self) -> Self {
        Self { sent: Sent::BinaryStream, ..self }
    }

    fn parts(&self) -> (&'static str, &'static str) {
        self.tool.split_once('.').expect("toolkit.tool")
    }

    /// What the scope says; 1001 is a refusal, everything else a different failure of the row itself.
    fn allowed(&self, scope: &Value) -> bool {
        let api: ApiScope = serde_json::from_value(scope.clone()).expect("a row's scope");
        let (toolkit, tool) = self.parts();
        let fields = self.input.as_object().expect("a row's input is an object");
        match guard::check(&api, toolkit, tool, fields) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code.number(), 1001, "{}: the row's input is wrong: {error}", self.tool);
                false
            }
        }
    }

    /// The scopes that must be refused: nothing at all, the narrowed one, and everything without one of the grants.
    fn refused(&self) -> Vec<Value> {
        let inside = self.inside.as_object().expect("an object");
        let without = |grant: &String| {
            let mut scope = full_json();
            scope.remove(grant);
            Value::Object(scope)
        };
        let outside =
            self.outside.clone().unwrap_or_else(|| panic!("{}: a row names what is outside", self.tool));
        [json!({}), outside].into_iter().chain(inside.keys().map(without)).collect()
    }
}

/// Everything there is, `secrets` too.
fn full_json() -> Map<String, Value> {
    let mut scope = serde_json::to_value(ApiScope::full()).unwrap();
    scope["secrets"] = json!({});
    let Value::Object(mut scope) = scope else { unreachable!("a scope is an object") };
    scope.retain(|_, grant| !grant.is_null());
    scope
}

#[test]
fn access_matrix_each_tool_runs_inside_its_grant_and_nowhere_else() {
    let mut wrong = Vec::new();
    println!("{:<40} none   outside  inside  full", "tool");
    for row in all() {
        let cells = [
            row.allowed(&json!({})),
            row.refused().iter().any(|scope| row.allowed(scope)),
            row.allowed(&row.inside),
            row.allowed(&Value::Object(full_json())),
        ];
        let [none, outside, inside, whole] = cells.map(|allowed| if allowed { "allowed" } else { "refused" });
        println!("{:<40} {none} {outside} {inside} {whole}", row.tool);
        if cells != [false, false, true, true] {
            wrong
                .push(format!("{}: none {none}, outside {outside}, inside {inside}, full {whole}", row.tool));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn access_matrix_what_is_not_known_is_refused() {
    let scope: ApiScope = serde_json::from_value(Value::Object(full_json())).unwrap();
    let toolkits: BTreeSet<&str> = all().iter().map(|row| row.parts().0).collect();
    for toolkit in toolkits.into_iter().chain(["nothing"]) {
        let refused = guard::check(&scope, toolkit, "no_such_tool", &Map::new()).unwrap_err();
        assert_eq!(refused.code.number(), 1001, "{toolkit}");
    }
}

/// A whole server, and the tokens to enter a room of it.
struct Whole {
    server: Server,
    address: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

impl Whole {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server =
            Server::start(Options::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = server.connection().api_url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { server, address, _dir: dir }
    }

    async fn join(&self, scope: &Value) -> Client {
        let mut mint = Mint::new(self.server.connection().project_id.parse().unwrap(), "somebody");
        mint.room = Some("room".to_owned());
        mint.api = Some(serde_json::from_value(scope.clone()).unwrap());
        let token = self.server.app().mint(mint).await.unwrap();
        Client::enter(self.address, "room", &token).await
    }
}

async fn call(client: &mut Client, row: &Row) -> Content {
    let (toolkit, tool) = row.parts();
    let item = match row.sent {
        Sent::AtOnce => return client.invoke(toolkit, tool, row.input.clone()).await,
        Sent::Stream => Content::Json(row.input.clone()),
        Sent::BinaryStream => Content::binary(row.input.clone(), Bytes::new()),
    };
    let id = client.open(toolkit, tool, row.tool).await;
    client.item(row.tool, item).await;
    let answer = client.answer(id).await;
    assert_ne!(answer, Content::Control(Control::Open), "{} opened without its grant", row.tool);
    answer
}

#[tokio::test]
async fn access_matrix_every_tool_of_the_server_has_a_row_and_is_refused_over_the_wire() {
    let whole = Whole::start().await;
    let mut nothing = whole.join(&json!({})).await;
    let listed = json_of(nothing.request("room.list_toolkits", json!({})).await);
    let mut offered = BTreeSet::new();
    for (name, toolkit) in listed["tools"].as_object().unwrap() {
        offered.extend(toolkit["tools"].as_object().unwrap().keys().map(|tool| format!("{name}.{tool}")));
    }
    let rows = all();
    let described: BTreeSet<String> = rows.iter().map(|row| row.tool.to_owned()).collect();
    let missing: Vec<_> = offered.difference(&described).collect();
    let unknown: Vec<_> = described.difference(&offered).collect();
    assert!(missing.is_empty(), "tools without a row in tests/it/room/matrix: {missing:?}");
    assert!(unknown.is_empty(), "rows without a tool: {unknown:?}");
    let mut outsiders: Vec<(Value, Client)> = vec![];
    for row in &rows {
        for scope in [json!({}), row.outside.clone().unwrap()] {
            if !outsiders.iter().any(|(known, _)| *known == scope) {
                outsiders.push((scope.clone(), whole.join(&scope).await));
            }
            let (_, client) = outsiders.iter_mut().find(|(known, _)| *known == scope).unwrap();
            let (code, text) = error(call(client, row).await);
            assert_eq!(code, 1001, "{} with {scope}: {text}", row.tool);
            assert!(text.contains("grant"), "{}: {text}", row.tool);
        }
    }
    drop((outsiders, nothing));
    whole.server.stop().await;
}
