use super::*;
use crate::spec::grant::FileAction;
use proptest::prelude::*;
use serde_json::{Value, json};

fn scope(value: Value) -> ApiScope {
    serde_json::from_value(value).unwrap()
}

fn path(text: &str) -> StoragePath {
    StoragePath::parse(text).unwrap()
}

fn every_need(path: &StoragePath) -> Vec<Need<'_>> {
    vec![
        Need::JoinCall { breakout_room: Some("b") },
        Need::ListQueues,
        Need::SendToQueue("q"),
        Need::ReceiveFromQueue("q"),
        Need::SendMessage,
        Need::Broadcast,
        Need::ListParticipants,
        Need::ListTables,
        Need::Table { namespace: &["n"], table: "t", action: TableAction::Alter },
        Need::CreateDatabase,
        Need::ListDatabases,
        Need::Database { namespace: &[], database: "d", action: SqliteAction::Drop },
        Need::DatabaseTable { namespace: &[], database: "d", table: "t", action: TableAction::Write },
        Need::ListMemories,
        Need::Memory { namespace: &[], memory: "m", action: MemoryAction::Drop },
        Need::ReadDocument("d"),
        Need::WriteDocument("d"),
        Need::File { action: FileAction::Write, path },
        Need::FileTree { action: FileAction::Delete, path },
        Need::ListFolder(path),
        Need::UseContainers,
        Need::ReadContainerLogs,
        Need::PullImage("i"),
        Need::RunImage("i"),
        Need::Registry { action: RegistryAction::Write, repository: "r" },
        Need::ReadLogs,
        Need::RegisterAgent,
        Need::RegisterPublicToolkit,
        Need::RegisterPrivateToolkit,
        Need::CallService,
        Need::UseAgents,
        Need::UseToolkit("t"),
        Need::UseModel { provider: "openai", model: "m" },
        Need::UseProvider("openai"),
        Need::Configure,
        Need::UseSecrets,
        Need::Tunnel(80),
        Need::ListServices,
    ]
}

#[test]
fn an_absent_grant_denies_and_names_itself() {
    let file = path("a/b");
    for need in every_need(&file) {
        let denied = check(&ApiScope::default(), &need).unwrap_err();
        assert_eq!(denied, Denied::NoGrant { grant: need.grant(), what: need.to_string() });
        assert!(denied.to_string().contains(&format!("`{}`", need.grant())), "{denied}");
    }
}

#[test]
fn presets_allow_what_the_reference_says() {
    let file = path("a/b");
    let agent_lacks = ["admin", "secrets", "tunnels"];
    for need in every_need(&file) {
        let grant = need.grant();
        assert_eq!(allows(&ApiScope::agent_default(), &need), !agent_lacks.contains(&grant), "agent: {need}");
        let user = !agent_lacks.contains(&grant) && grant != "llm";
        assert_eq!(allows(&ApiScope::user_default(), &need), user, "user: {need}");
        assert_eq!(allows(&ApiScope::full(), &need), grant != "secrets", "full: {need}");
    }
}

#[test]
fn each_need_is_decided_by_its_own_grant_only() {
    let file = path("a/b");
    let all = scope(json!({ "secrets": {}, "tunnels": {}, "admin": {} }));
    let all = ApiScope { secrets: all.secrets, ..ApiScope::full() };
    for need in every_need(&file) {
        assert!(allows(&all, &need), "{need}");
        let mut without = serde_json::to_value(&all).unwrap();
        without.as_object_mut().unwrap().remove(need.grant()).unwrap();
        assert!(!allows(&scope(without), &need), "{need}");
    }
}

#[test]
fn queue_lists_are_exact_and_empty_lists_allow_nothing() {
    let some = scope(json!({ "queues": { "send": ["in"], "receive": [], "list": false } }));
    assert!(allows(&some, &Need::SendToQueue("in")));
    assert!(!allows(&some, &Need::SendToQueue("in2")));
    assert!(!allows(&some, &Need::ReceiveFromQueue("in")));
    assert!(!allows(&some, &Need::ListQueues));
    let text = check(&some, &Need::SendToQueue("out")).unwrap_err().to_string();
    assert_eq!(
        text,
        "the token's `queues` grant does not allow sending to the queue `out`; use a token whose api scope does"
    );
}

#[test]
fn table_entries_are_a_union_and_a_missing_namespace_is_any() {
    let some = scope(json!({ "dataset": { "tables": [
        { "name": "t" },
        { "name": "t", "namespace": ["n"], "write": true },
        { "name": "top", "namespace": [], "alter": true, "read": false },
    ] } }));
    let table = |namespace, table, action| allows(&some, &Need::Table { namespace, table, action });
    assert!(table(&["x"], "t", TableAction::Read));
    assert!(table(&["n"], "t", TableAction::Write));
    assert!(!table(&["x"], "t", TableAction::Write));
    assert!(!table(&[], "other", TableAction::Read));
    assert!(table(&[], "top", TableAction::Alter));
    assert!(!table(&["n"], "top", TableAction::Alter));
    assert!(!table(&[], "top", TableAction::Read));
}

#[test]
fn sqlite_table_entries_decide_before_databases() {
    let some = scope(json!({ "sqlite": { "databases": [
        { "name": "d" },
        { "name": "e", "tables": [{ "database": "e", "table": "t", "write": true }] },
        { "name": "f", "tables": [{ "database": "d", "table": "locked", "read": false }] },
    ] } }));
    let table = |database, table, action| {
        allows(&some, &Need::DatabaseTable { namespace: &[], database, table, action })
    };
    assert!(table("d", "any", TableAction::Alter), "tables left open");
    assert!(!table("d", "locked", TableAction::Read), "an entry for the table decides");
    assert!(table("e", "t", TableAction::Write));
    assert!(!table("e", "u", TableAction::Read), "a list without the table");
    assert!(!table("x", "t", TableAction::Read));
    let database = |database, action| allows(&some, &Need::Database { namespace: &[], database, action });
    assert!(!database("d", SqliteAction::Drop));
    assert!(database("d", SqliteAction::Execute));
}

#[test]
fn memory_permissions_are_per_entry() {
    let some = scope(json!({ "memory": { "memories": [
        { "name": "m", "namespace": ["n"], "permissions": { "drop": false } },
    ] } }));
    let memory = |namespace, action| allows(&some, &Need::Memory { namespace, memory: "m", action });
    assert!(memory(&["n"], MemoryAction::Recall));
    assert!(!memory(&["n"], MemoryAction::Drop));
    assert!(!memory(&[], MemoryAction::Recall));
}

#[test]
fn documents_any_match_reads_and_the_first_match_writes() {
    let some = scope(json!({ "sync": { "paths": [
        { "path": "docs/private*", "read_only": true },
        { "path": "docs/*" },
        { "path": "one" },
    ] } }));
    assert!(allows(&some, &Need::ReadDocument("docs/private/a")));
    assert!(!allows(&some, &Need::WriteDocument("docs/private/a")));
    assert!(allows(&some, &Need::WriteDocument("docs/a")));
    assert!(allows(&some, &Need::WriteDocument("one")));
    assert!(!allows(&some, &Need::ReadDocument("one/more")));
}

#[test]
fn older_folders_first_match_wins_and_presign_is_never_granted() {
    let some = scope(json!({ "storage": { "paths": [
        { "path": "/a/b/", "read_only": true },
        { "path": "a" },
    ] } }));
    let file = |action, text: &str| allows(&some, &Need::File { action, path: &path(text) });
    assert!(file(FileAction::Read, "a/b/c"));
    assert!(!file(FileAction::Write, "a/b/c"));
    assert!(file(FileAction::Write, "a/bc"), "by whole segments");
    assert!(!file(FileAction::Read, "ab"));
    assert!(!file(FileAction::Presign, "a/x"));
    assert!(
        !allows(&some, &Need::FileTree { action: FileAction::Delete, path: &path("a") }),
        "a/b is carved out"
    );
    assert!(allows(&some, &Need::FileTree { action: FileAction::Delete, path: &path("a/x") }));
    assert!(allows(&some, &Need::ListFolder(&path(""))), "the way to a");
    assert!(!allows(&some, &Need::ListFolder(&path("z"))));
    let open = scope(json!({ "storage": {} }));
    assert!(allows(&open, &Need::FileTree { action: FileAction::Delete, path: &path("") }));
    assert!(!allows(&open, &Need::File { action: FileAction::Presign, path: &path("x") }));
    let none = scope(json!({ "storage": { "paths": [] } }));
    assert!(!allows(&none, &Need::ListFolder(&path(""))));
}

#[test]
fn a_files_policy_wins_over_folders_and_a_bad_rule_grants_nothing() {
    let some = scope(json!({ "storage": { "paths": [{ "path": "" }], "files": { "paths": [
        { "path": "in", "recursive": false, "actions": ["list"] },
        { "path": "out", "recursive": true, "actions": ["list", "write", "presign"], "excluded_paths": ["out/x"] },
        { "path": "bad", "recursive": true, "actions": ["read"], "excluded_paths": ["/bad/secret"] },
    ] } } }));
    let file = |action, text: &str| allows(&some, &Need::File { action, path: &path(text) });
    assert!(!file(FileAction::Read, "other"));
    assert!(file(FileAction::List, "in"));
    assert!(!file(FileAction::List, "in/a"));
    assert!(file(FileAction::Presign, "out/a"));
    assert!(!file(FileAction::Write, "out/x"));
    assert!(!file(FileAction::Write, "out/x/y"));
    assert!(!file(FileAction::Read, "bad/secret"));
    assert!(!file(FileAction::Read, "bad/other"));
}

#[test]
fn images_and_registry_use_patterns() {
    let some = scope(json!({ "containers": {
        "run": ["meshagent/*", "redis:7"], "pull": [], "registry": { "pull": ["apps/*"], "write": [] },
    } }));
    assert!(allows(&some, &Need::RunImage("meshagent/cli:default")));
    assert!(allows(&some, &Need::RunImage("redis:7")));
    assert!(!allows(&some, &Need::RunImage("redis:70")));
    assert!(!allows(&some, &Need::PullImage("redis:7")));
    let registry = |action, repository| allows(&some, &Need::Registry { action, repository });
    assert!(registry(RegistryAction::List, "apps/x"), "listing follows pulling");
    assert!(!registry(RegistryAction::List, "other"));
    assert!(!registry(RegistryAction::Write, "apps/x"));
    assert!(registry(RegistryAction::Run, "anything"));
}

#[test]
fn toolkits_models_and_tunnels_have_lists() {
    let some = scope(json!({
        "agents": { "allowed_toolkits": ["t"], "call": false },
        "llm": { "models": ["openai/gpt-5", "anthropic/*"] },
        "tunnels": { "ports": ["8080"] },
    }));
    assert!(allows(&some, &Need::UseToolkit("t")));
    assert!(!allows(&some, &Need::UseToolkit("u")));
    assert!(!allows(&some, &Need::CallService));
    assert!(allows(&some, &Need::UseModel { provider: "openai", model: "gpt-5" }));
    assert!(!allows(&some, &Need::UseModel { provider: "openai", model: "gpt-5-mini" }));
    assert!(allows(&some, &Need::UseModel { provider: "anthropic", model: "x" }));
    assert!(allows(&some, &Need::UseProvider("openai")));
    assert!(!allows(&some, &Need::UseProvider("grok")));
    assert!(allows(&some, &Need::Tunnel(8080)));
    assert!(!allows(&some, &Need::Tunnel(80)));
    assert!(allows(&scope(json!({ "tunnels": { "ports": [] } })), &Need::Tunnel(80)));
    let off = scope(json!({ "agents": { "use_tools": false } }));
    assert!(!allows(&off, &Need::UseToolkit("t")));
}

const SEGMENTS: &str = "[ab](/[ab]){0,2}";

proptest! {
    /// The older folders against the plainest model of them: the first folder that covers the path decides.
    #[test]
    fn older_folders_equal_first_match(
        folders in prop::collection::vec((SEGMENTS, any::<bool>()), 0..5), wanted in SEGMENTS,
    ) {
        let written: Vec<Value> =
            folders.iter().map(|(path, read_only)| json!({ "path": path, "read_only": read_only })).collect();
        let grant = scope(json!({ "storage": { "paths": written } }));
        let wanted = path(&wanted);
        let first = folders.iter().find(|(folder, _)| path(folder).covers(&wanted));
        let file = |action| allows(&grant, &Need::File { action, path: &wanted });
        prop_assert_eq!(file(FileAction::Read), first.is_some());
        prop_assert_eq!(file(FileAction::Delete), first.is_some_and(|(_, read_only)| !read_only));
    }

    /// What may be done with a whole folder may be done with every file in it.
    #[test]
    fn a_subtree_is_never_more_than_its_files(
        folders in prop::collection::vec((SEGMENTS, any::<bool>()), 0..5), top in SEGMENTS, below in SEGMENTS,
    ) {
        let written: Vec<Value> =
            folders.iter().map(|(path, read_only)| json!({ "path": path, "read_only": read_only })).collect();
        let grant = scope(json!({ "storage": { "paths": written } }));
        let (tree, file) = (path(&top), path(&format!("{top}/{below}")));
        if allows(&grant, &Need::FileTree { action: FileAction::Delete, path: &tree }) {
            let one = Need::File { action: FileAction::Delete, path: &file };
            prop_assert!(allows(&grant, &one));
        }
    }

    /// Taking a name off a list never allows more.
    #[test]
    fn shorter_lists_allow_less(names in prop::collection::vec("[ab]{1,2}", 1..4), wanted in "[ab]{1,2}") {
        let long = scope(json!({ "queues": { "send": names } }));
        let short = scope(json!({ "queues": { "send": names[1..] } }));
        let need = Need::SendToQueue(&wanted);
        prop_assert!(allows(&long, &need) || !allows(&short, &need));
    }
}
