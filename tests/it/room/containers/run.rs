//! Running, looking, stopping: what a container gets, and who sees it.

use super::rig::{PATIENCE, Rig, line, list, logs, run};
use crate::room::client::json_of;
use crate::support::podman::IMAGE;
use meshagent::wire::Content;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_is_listed_logs_ends_and_is_deleted() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    assert_eq!(list(&mut a, true).await, Vec::<serde_json::Value>::new());
    let command = r#"sh -c 'echo "it says $GREETING €"; echo err >&2; sleep 0.2; echo end; exit 7'"#;
    let env = json!([{"key": "GREETING", "value": "hello there"}]);
    let id = run(&mut a, json!({"command": command, "env": env, "name": "first"})).await;
    let listed = list(&mut a, true).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let shown = &listed[0];
    assert_eq!((&shown["id"], &shown["image"], &shown["name"]), (&json!(id), &json!(IMAGE), &json!("first")));
    assert_eq!((&shown["started_by"]["name"], &shown["private"]), (&json!("ann"), &json!(false)));
    assert_eq!(shown["started_by"]["id"], json!(a.id));

    let followed = logs(&mut a, &id, true).await;
    for part in ["it says hello there €\n", "err\n", "end\n"] {
        assert!(followed.contains(part), "{followed}");
    }
    let ended = json_of(a.invoke("containers", "wait_for_exit", json!({"container_id": "first"})).await);
    assert_eq!((&ended["exit_code"], &ended["oom_killed"]), (&json!(7), &json!(false)));
    assert_eq!(list(&mut a, false).await.len(), 0, "those that run");
    let all = list(&mut a, true).await;
    assert_eq!((&all[0]["state"], &all[0]["exit_status"]["exit_code"]), (&json!("EXITED"), &json!(7)));
    let gone = a.invoke("containers", "delete_container", json!({"container_id": id})).await;
    assert_eq!(gone, Content::Empty);
    let (code, text) = a.fails("containers", "wait_for_exit", json!({"container_id": id})).await;
    assert_eq!(code, 6001, "{text}");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_confined_and_sees_of_the_room_what_it_mounts() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let (code, text) =
        line(&mut a, json!({}), "touch /x; echo status $?; echo t > /tmp/t && cat /tmp/t").await;
    assert_eq!(code, 0);
    // Engines do not keep the order between the two outputs.
    for part in ["Read-only file system\n", "status 1\n", "\nt\n"] {
        assert!(text.contains(part), "{text}");
    }
    let (_, text) = line(&mut a, json!({"writable_root_fs": true}), "touch /x; echo status $?").await;
    assert_eq!(text, "status 0\n");
    let (_, text) = line(&mut a, json!({}), "cat /proc/self/status").await;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("NoNewPrivs:"), "1");
    let capabilities = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
    assert_eq!(capabilities & (1 << 21 | 1 << 12 | 1 << 19), 0, "no administration, network or ptrace");

    // The room's files, both ways, and a part of them.
    let mounted = json!({"mount_path": "/files"});
    let (_, text) = line(&mut a, mounted, "echo from inside > /files/in.txt; echo $?").await;
    assert_eq!(text, "0\n");
    assert_eq!(std::fs::read_to_string(rig.files("room").join("in.txt")).unwrap(), "from inside\n");
    let stat = json_of(a.invoke("storage", "stat", json!({"path": "in.txt"})).await);
    assert_eq!(stat["size"], 12);
    std::fs::create_dir_all(rig.files("room").join("part")).unwrap();
    std::fs::write(rig.files("room").join("part/p.txt"), "only this").unwrap();
    let part = json!({"mounts": {
        "room": [{"path": "/part", "subpath": "part", "read_only": true}],
        "files": [{"path": "/etc/note", "text": "written in the spec"}],
        "empty_dirs": [{"path": "/scratch"}],
        "configs": [{}],
    }});
    let shell = "ls /part; cat /etc/note; echo; touch /part/x; echo $?; touch /scratch/x; echo $?; cat /var/run/meshagent/spec.json";
    let (_, text) = line(&mut a, part, shell).await;
    let complaint = "touch: /part/x: Read-only file system\n";
    assert!(text.contains(complaint), "{text}");
    assert!(text.replace(complaint, "").starts_with("p.txt\nwritten in the spec\n1\n0\n{}"), "{text}");
    let left = rig.dir().join("containers/files");
    assert_eq!(std::fs::read_dir(left).unwrap().count(), 0, "files of containers that are gone");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_in_the_room_leads_nowhere() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    // Somebody who may write is there while a folder is mounted.
    let writer = run(&mut a, json!({"mount_path": "/files", "command": "sh -c 'busybox ln -s / /files/evil; busybox mkdir /files/good; sleep 1000'"})).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !rig.files("room").join("good").exists() {
        assert!(tokio::time::Instant::now() < deadline);
        a.settle().await;
    }
    let input = json!({"image": IMAGE, "mount_path": "/m", "mount_subpath": "evil", "template": "none"});
    let (code, text) = a.fails("containers", "run", input).await;
    assert_eq!(code, 1002, "{text}");
    let good = json!({"mount_path": "/m", "mount_subpath": "good"});
    let (_, text) = line(&mut a, good, "ls /m; echo done").await;
    assert_eq!(text, "done\n");
    let listed = list(&mut a, false).await;
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(writer)), "it goes on after it was held");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_agent_brings_a_token_of_no_more_than_its_caller() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let own = json!([{"key": "OPENAI_API_KEY", "value": "mine"}]);
    let fields = json!({"template": "agent", "name": "worker", "env": own});
    let (_, text) = line(&mut a, fields, "env; ls -d /data").await;
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned));
    assert_eq!(value("OPENAI_API_KEY").as_deref(), Some("mine"), "what the call says wins");
    assert_eq!(value("MESHAGENT_ROOM").as_deref(), Some("room"));
    assert!(text.ends_with("/data\n"), "{text}");
    let token = value("MESHAGENT_TOKEN").unwrap();
    assert_eq!(value("ANTHROPIC_API_KEY"), Some(token.clone()));
    let bearer = rig.server.app().verify(&token).await.unwrap();
    assert_eq!((bearer.name.as_str(), bearer.role.as_str()), ("worker", "agent"));
    let api = bearer.api.unwrap();
    assert!(api.tunnels.is_none() && api.admin.is_none() && api.storage.is_some());
    let (_, text) = line(&mut a, json!({}), "env").await;
    assert!(!text.contains("MESHAGENT"), "{text}");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_room_s_container_is_not_there_and_a_private_one_is_closed() {
    let Some(rig) = Rig::start().await else { return };
    let mut ann = rig.join("room", "ann").await;
    let mut bob = rig.join("room", "bob").await;
    let mut eve = rig.join("elsewhere", "ann").await;
    let id = run(&mut ann, json!({"name": "mine", "private": true})).await;
    assert!(list(&mut eve, true).await.is_empty());
    for name in [id.as_str(), "mine", &id[..12]] {
        for tool in ["stop_container", "delete_container", "wait_for_exit"] {
            let (code, text) = eve.fails("containers", tool, json!({"container_id": name})).await;
            assert_eq!(code, 6001, "{tool}: {text}");
        }
    }
    assert_eq!(list(&mut bob, true).await[0]["private"], true, "it is seen");
    let (code, text) = bob.fails("containers", "stop_container", json!({"container_id": id})).await;
    assert_eq!(code, 1001, "{text}");
    let stopped =
        ann.invoke("containers", "stop_container", json!({"container_id": "mine", "force": true})).await;
    assert_eq!(stopped, Content::Empty);
    let ended = json_of(ann.invoke("containers", "wait_for_exit", json!({"container_id": id})).await);
    assert_eq!(ended["exit_code"], 137);
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_say_what_is_wrong_and_leave_nothing() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let running = run(&mut a, json!({"name": "taken"})).await;
    for (fields, code, part) in [
        (json!({"image": "no such image"}), 1002, "not the name of an image"),
        (json!({"image": "localhost:1/nobody/nothing:9"}), 1003, "nothing:9"),
        (json!({"command": "sh -c 'open"}), 1002, "close its quotes"),
        (json!({"name": "taken"}), 1004, "taken"),
        (json!({"name": "a/b"}), 1002, "not a container's name"),
        (json!({"working_dir": "relative"}), 1002, "absolute"),
        (json!({"mount_subpath": "a"}), 1002, "mount_path"),
        (json!({"mount_path": "relative"}), 1002, "absolute path"),
        (json!({"mount_path": "/m", "mount_subpath": "../x"}), 3004, ".."),
        (json!({"mounts": {"volumes": [{"name": "v", "path": "/v"}]}}), 1002, "no volumes"),
        (json!({"mounts": {"nonsense": []}}), 1002, "nonsense"),
        (json!({"ports": [{"container_port": 8078, "host_port": 0}]}), 1002, "8078"),
        (json!({"ports": [{"container_port": 70000, "host_port": 0}]}), 1002, "70000"),
        (json!({"env": [{"key": "A=B", "value": ""}]}), 1002, "A=B"),
        (json!({"annotations": {"meshagent.room": "another"}}), 1002, "platform's own"),
        (json!({"image": 7}), 1002, "image"),
    ] {
        let mut input = json!({"image": IMAGE, "template": "none"});
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (found, text) = a.fails("containers", "run", input).await;
        assert_eq!(found, code, "{fields}: {text}");
        assert!(text.contains(part), "{fields}: {text}");
    }
    let id = run(&mut a, json!({"command": "/bin/no-such-program"})).await;
    let ended = json_of(a.invoke("containers", "wait_for_exit", json!({"container_id": id})).await);
    assert_ne!(ended["exit_code"], 0);
    a.invoke("containers", "delete_container", json!({"container_id": id})).await;
    let left = list(&mut a, true).await;
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(running)), "{left:?}");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_end_with_their_session() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    run(&mut a, json!({})).await;
    let (session, _) = {
        let world = rig.server.app().world();
        let project = rig.server.connection().project_id.parse().unwrap();
        let (room, _) = world.room_named(project, "room").unwrap();
        world.active_session(room).map(|(id, session)| (id, session.clone())).unwrap()
    };
    let url = format!(
        "{}/accounts/projects/{}/sessions/{session}/terminate",
        rig.server.connection().api_url,
        rig.server.connection().project_id
    );
    let answer =
        reqwest::Client::new().post(url).bearer_auth(&rig.server.connection().api_key).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    a.ended().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut b = rig.join("room", "bob").await;
    while !list(&mut b, true).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the container outlived its session");
    }
    rig.server.stop().await;
}
