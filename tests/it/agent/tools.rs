//! Tools that flags switch on, used by the echo, as a caller of the agent's toolkit sees them.

use super::endpoint::{Endpoint, PIXEL};
use super::joined::{Joined, client};
use super::{ROOM, text};
use crate::support::podman::{self, IMAGE};
use crate::support::sandbox;
use crate::support::server::Server;
use meshagent::client::room::{RoomClient, Target};
use meshagent::wire::Content;
use serde_json::{Value, json};

const AGENT: [&str; 4] = ["--channel", "toolkit:support-agent", "--model", "builtin/echo"];

pub(super) struct Desk {
    pub agent: Joined,
    pub room: RoomClient,
    pub server: Server,
}

impl Desk {
    pub async fn start(flags: &[&str], env: &[(&str, &str)]) -> Self {
        Self::on(Server::start(&[]), flags, env).await
    }

    pub async fn on(server: Server, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let room = client(&server, "tester", ROOM).await;
        let mut agent = Joined::start(&server, ROOM, &[&AGENT, flags].concat(), env);
        agent.until(&room).await;
        Self { agent, room, server }
    }

    /// What a tool answers the model, as one text.
    pub async fn call(&self, tool: &str, arguments: Value) -> String {
        self.ask(json!({}), tool, arguments).await
    }

    /// The same in a thread that is named.
    pub async fn call_in(&self, thread: &str, tool: &str, arguments: Value) -> String {
        self.ask(json!({"path": thread}), tool, arguments).await
    }

    async fn ask(&self, mut prompt: Value, tool: &str, arguments: Value) -> String {
        let call = json!({"tool": tool, "arguments": arguments});
        prompt["prompt"] = json!(format!("Go.\n```tool\n{call}\n```\n"));
        let target = Target::new("support-agent", "run_support-agent_task");
        let answer = text(self.room.invoke(&target, Content::Json(prompt)).await.unwrap());
        let (_, output) = answer.rsplit_once("answered:\n\n").unwrap_or_else(|| panic!("{answer}"));
        output.lines().map(|line| line.trim_start_matches("> ")).collect::<Vec<_>>().join("\n")
    }

    pub async fn json(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments).await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// What one command came to.
    async fn shell(&self, command: &str) -> Value {
        self.json("shell", json!({"commands": [command]})).await["results"][0].take()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_on_the_machine_only_where_that_was_asked_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let working = path.to_str().unwrap();
    let flags =
        ["--shell", "--shell-image", "none", "--working-dir", working, "--shell-set-env", "TEAM=blue"];
    let mut desk = Desk::start(&flags, &[("PATH", "/usr/bin:/bin"), ("OPENAI_API_KEY", "s3cret-key")]).await;
    let ran = desk.shell("pwd; echo $TEAM$OPENAI_API_KEY$MESHAGENT_API_KEY; exit 4").await;
    assert_eq!(ran["outcome"], json!({"type": "exit", "exit_code": 4}), "{ran}");
    assert_eq!(ran["stdout"], format!("{working}\nblue\n"), "no key of the agent is there");
    let slow = desk.json("shell", json!({"commands": ["sleep 600", "echo never"], "timeout_ms": 500})).await;
    assert_eq!(slow["results"].as_array().unwrap().len(), 1, "{slow}");
    assert_eq!(slow["results"][0]["outcome"], json!({"type": "timeout"}));
    let ended = desk.agent.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_keeps_commands_in_their_folder() {
    if !sandbox::is_here() {
        return;
    }
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("key"), "s3cret").unwrap();
    let working = folder.path().to_str().unwrap();
    let flags = ["--shell", "--shell-image", "sandbox", "--working-dir", working];
    let desk = Desk::start(&flags, &[("PATH", "/usr/bin:/bin")]).await;
    let ran = desk.shell("echo hi > made && cat made").await;
    assert_eq!((&ran["stdout"], &ran["outcome"]["exit_code"]), (&json!("hi\n"), &json!(0)), "{ran}");
    let key = outside.path().join("key");
    let ran = desk.shell(&format!("cat {0}; echo x > {0}", key.display())).await;
    assert_ne!(ran["outcome"]["exit_code"], 0, "{ran}");
    assert!(!ran.to_string().contains("s3cret"), "{ran}");
    assert_eq!(std::fs::read_to_string(key).unwrap(), "s3cret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_in_a_container_that_turns_share_and_in_those_the_model_starts() {
    let Some(engine) = podman::engine() else { return };
    let server = Server::start(&["--container-engine", &engine.address()]);
    let flags = ["--shell", "--advanced-shell", "--shell-image", IMAGE, "--shell-set-env", "TEAM=blue"];
    let mut desk = Desk::on(server, &flags, &[]).await;
    let ran =
        desk.shell("echo $TEAM > /kept; echo from-the-shell > /data/made.txt; echo err >&2; exit 3").await;
    assert_eq!((&ran["outcome"]["exit_code"], &ran["stderr"]), (&json!(3), &json!("err\n")), "{ran}");
    let kept = desk.shell("cat /kept").await;
    assert_eq!(kept["stdout"], "blue\n", "the same container: {kept}");
    assert_eq!(desk.room.storage().read("made.txt", 100).await.unwrap().0, "from-the-shell\n");
    let slow = desk.json("shell", json!({"commands": ["sleep 600"], "timeout_ms": 1000})).await;
    assert_eq!(slow["results"][0]["outcome"]["type"], "timeout", "{slow}");

    let start =
        json!({"image": null, "mounts": null, "env": [{"key": "A", "value": "1"}], "working_dir": "/data"});
    let id = desk.json("start_container", start).await["container_id"].as_str().unwrap().to_owned();
    let ran =
        desk.json("run_in_container", json!({"container_id": id, "commands": ["echo $A$TEAM; pwd"]})).await;
    assert_eq!(ran["results"][0]["stdout"], "1blue\n/data\n", "{ran}");
    let listed = desk.json("list_managed_containers", json!({})).await;
    assert_eq!(listed["containers"][0]["container_id"], id.as_str());
    let other = desk.call("run_in_container", json!({"container_id": "x", "commands": ["ls"]})).await;
    assert!(other.contains("no container `x`"), "{other}");
    assert_eq!(desk.json("stop_managed_container", json!({"container_id": id})).await["ok"], true);
    assert_eq!(desk.room.containers().list(true).await.unwrap().len(), 1);
    assert_eq!(desk.agent.terminate().code, Some(0));
    assert_eq!(
        desk.room.containers().list(true).await.unwrap(),
        Vec::<Value>::new(),
        "the agent took it along"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_containers_a_shell_says_so_and_the_turn_goes_on() {
    let server = Server::start(&["--container-engine", "unix:///nowhere/at/all.sock"]);
    let desk = Desk::on(server, &["--shell"], &[]).await;
    let said = desk.call("shell", json!({"commands": ["ls"]})).await;
    assert!(said.contains("unable to complete tool call"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_patched_in_the_room_and_in_folders_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("{}:/work", folder.path().display());
    let flags = [
        "--storage",
        "--apply-patch",
        "--storage-tool-local-path",
        &mount,
        "--storage-tool-room-path",
        "/:/",
    ];
    let desk = Desk::start(&flags, &[]).await;
    let create = json!({"type": "create_file", "path": "notes/a.md", "diff": "+one\n+two\n+"});
    assert_eq!(desk.call("apply_patch", create).await, "Created file: notes/a.md (8 bytes)");
    let update = json!({"type": "update_file", "path": "notes/a.md", "diff": " one\n-two\n+three"});
    desk.call("apply_patch", update).await;
    assert_eq!(desk.room.storage().read("notes/a.md", 100).await.unwrap().0, "one\nthree\n");
    desk.call("write_file", json!({"path": "work/b.txt", "text": "local", "overwrite": false})).await;
    assert_eq!(std::fs::read_to_string(folder.path().join("b.txt")).unwrap(), "local");
    let listed = desk.call("list_files_in_room", json!({"path": ""})).await;
    assert!(listed.contains("work/") && listed.contains("notes/"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_is_fed_searched_and_emptied() {
    let desk = Desk::start(&["--use-memory", "team/notes"], &[]).await;
    let said = "Alice Smith works at Acme Corporation in Berlin.";
    let added = desk.json("add_memory", json!({"memory": said})).await;
    assert!(!added["entity_ids"].as_array().unwrap().is_empty(), "{added}");
    let found = desk.json("search_memories", json!({"query": "Alice Smith", "entity_type": null})).await;
    let best = &found["memories"][0];
    assert!(best["name"].as_str().unwrap().contains("Alice"), "{found}");
    let id = best["entity_id"].clone();
    let entity = desk.json("get_entity", json!({"entity_id": id})).await;
    assert_eq!(entity["entity"]["entity_id"], id, "{entity}");
    let recent = desk.json("get_recent_memories", json!({"limit": 5, "entity_type": null})).await;
    assert!(!recent["memories"].as_array().unwrap().is_empty(), "{recent}");
    let none = json!({"limit": null, "entity_id": "' OR 1=1", "relationship_type": null});
    assert_eq!(desk.json("get_recent_relationships", none).await["relationships"], json!([]));
    desk.json("delete_entity", json!({"entity_id": id})).await;
    assert_eq!(desk.json("get_entity", json!({"entity_id": id})).await["entity"], Value::Null);
    let kept = desk.call("delete_all_memories", json!({"confirm": false})).await;
    assert!(kept.contains("nothing was deleted"), "{kept}");
    desk.json("delete_all_memories", json!({"confirm": true})).await;
    let recent = desk.json("get_recent_memories", json!({"limit": null, "entity_type": null})).await;
    assert_eq!(recent["memories"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_read_and_only_those_named_for_it_written() {
    let server = Server::start(&[]);
    let room = client(&server, "maker", ROOM).await;
    let make = |table: &str| {
        let rows = json!([{"id": 1, "name": "ann"}, {"id": 2, "name": "bob"}]).to_string();
        let said = ["room", "dataset", "create", "--room", ROOM, "--table", table, "--data-json", &rows];
        super::command(&server, &said, &[])
    };
    for table in ["people", "log"] {
        let made = make(table);
        assert_eq!(made.code, Some(0), "{}", made.said);
    }
    drop(room);
    let flags = ["--table-read", "people", "--table-write", "log", "--table-read", "nowhere"];
    let desk = Desk::on(server, &flags, &[]).await;
    let query = json!({"query": "SELECT name FROM people WHERE id = $id", "params": {"id": 2}});
    assert_eq!(desk.json("execute_sql", query).await, json!({"kind": "query", "rows": [{"name": "bob"}]}));
    let refused = desk.call("execute_sql", json!({"query": "DELETE FROM people WHERE id = 1"})).await;
    assert!(refused.contains("`people` can only be read"), "{refused}");
    let refused = desk.call("execute_sql", json!({"query": "DROP TABLE log"})).await;
    assert!(refused.contains("this tool runs queries"), "{refused}");
    assert_eq!(desk.json("count_people", json!({"query": {"id": null, "name": "ann"}})).await["rows"], 1);
    let missing = desk.call("insert_people_rows", json!({"rows": []})).await;
    assert!(missing.contains("there is no tool"), "{missing}");

    let rows = json!({"rows": [{"id": 3, "name": "cy"}, {"id": 4, "name": null}]});
    assert_eq!(desk.json("insert_log_rows", rows).await["rows"], 2);
    let wrong = desk.call("insert_log_rows", json!({"rows": [{"id": "x"}]})).await;
    assert!(wrong.contains("the rows are wrong"), "{wrong}");
    let values = json!({"where": "id >= 3", "values": [{"name": "new"}, {"id": {"expression": "id + 10"}}]});
    assert_eq!(desk.json("update_log_rows", values).await["ok"], true);
    let found = desk.json("advanced_search_log", json!({"where": "name = 'new'"})).await;
    let mut ids: Vec<_> =
        found["rows"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [13, 14]);
    desk.json("advanced_delete_log", json!({"where": "id > 12"})).await;
    let changed = desk.json("execute_sql", json!({"query": "UPDATE log SET name = 'x' WHERE id = 1"})).await;
    assert_eq!(changed, json!({"kind": "statement", "rows_affected": 1}));
    assert_eq!(desk.json("count_log", json!({"query": {"id": null, "name": null}})).await["rows"], 2);
    drop(desk.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_behind_a_search_are_found_and_called() {
    let desk = Desk::start(&["--require-toolkit", "queues", "--tool-search", "agent"], &[]).await;
    let hidden = desk.call("send", json!({})).await;
    assert!(hidden.contains("there is no tool `send`") && hidden.contains("find_tools"), "{hidden}");
    let found = desk.json("find_tools", json!({"query": "send a message to a queue"})).await;
    assert_eq!(found["tools"][0]["tool"], "send", "{found}");
    let arguments = json!({"name": "later", "create": true, "message": {"n": 1}});
    let call = json!({"toolkit": "queues", "tool": "send", "arguments": arguments});
    desk.call("call_tool", call).await;
    let read = json!({"name": "later", "create": true, "wait": false});
    assert_eq!(desk.room.invoke_json("queues", "receive", read).await.unwrap(), json!({"n": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_made_kept_shown_and_written() {
    let endpoint = Endpoint::start(vec![]).await;
    let env = [("OPENAI_BASE_URL", endpoint.url.as_str()), ("OPENAI_API_KEY", "s3cret-model-key")];
    let mut desk = Desk::start(&["--image-generation", "gpt-image-2"], &env).await;
    let made = desk.json("imagegen", json!({"prompt": "a cat", "referenced_image_ids": null})).await;
    assert_eq!(made["mime_type"], "image/png", "{made}");
    let id = made["saved_image_id"].clone();
    let changed = desk.json("imagegen", json!({"prompt": "a dog", "referenced_image_ids": [id]})).await;
    assert_ne!(changed["saved_image_id"], id);
    let asked = endpoint.asked();
    assert_eq!((&asked[0]["what"], &asked[1]["what"]), (&json!("generations"), &json!("edits")));
    assert!(asked[0]["body"].as_str().unwrap().contains(r#""model":"gpt-image-2""#), "{}", asked[0]);
    let form = asked[1]["body"].as_str().unwrap();
    assert!(form.contains("name=\"prompt\"\r\n\r\na dog\r\n") && form.contains("PNG"), "{form}");
    assert_eq!(desk.json("read_image", json!({"id": id})).await["id"], id);
    let out = json!({"id": id, "destination_path": "pictures/cat.jpg"});
    assert_eq!(desk.json("export_image", out).await["destination_path"], "pictures/cat.png");
    let file = desk.room.storage().read("pictures/cat.png", 1000).await.unwrap().0;
    assert_eq!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, file), PIXEL);
    let again = desk.json("import_image", json!({"source_path": "pictures/cat.png"})).await;
    assert_ne!(again["saved_image_id"], id);
    desk.json("delete_image", json!({"id": id})).await;
    let gone = desk.call("read_image", json!({"id": id})).await;
    assert!(gone.contains("image not found"), "{gone}");
    assert!(!desk.agent.terminate().said.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_a_script_is_a_tool() {
    let Some(engine) = podman::engine() else { return };
    let server = Server::start(&["--container-engine", &engine.address()]);
    let room = client(&server, "maker", ROOM).await;
    let spec = format!(
        "version: v1\nkind: Service\nmetadata:\n  name: greeter\n  description: Greets.\n  annotations:\n    \
         meshagent.tool.type: script\n    meshagent.tool.commands: |\n      echo got $PROMPT\n      exit 3\n\
         container:\n  image: {IMAGE}\n  command: sleep 600\n  on_demand: true\n  private: false\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), spec).unwrap();
    let path = file.path().to_str().unwrap();
    let made = super::command(&server, &["service", "create", "--room", ROOM, "-f", path], &[]);
    assert_eq!(made.code, Some(0), "{}", made.said);
    let desk = Desk::on(server, &["--discover-script-tools"], &[]).await;
    let ran = desk.json("greeter", json!({"prompt": "it's me"})).await;
    assert_eq!(ran["results"][0]["stdout"], "got it's me\n", "{ran}");
    assert_eq!(ran["results"][1]["outcome"]["exit_code"], 3, "{ran}");
    drop(room);
}
