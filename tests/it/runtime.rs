//! One conformance suite over the runtimes, and what the process runtime promises beyond it.

use crate::support::podman;
use meshagent::clock::System;
use meshagent::containers::{Containers, Engine, Exec, Settings};
use meshagent::id::{ProjectId, RoomId, ServiceId};
use meshagent::runtime::{
    ContainerExtras, ContainerRuntime, EnvValue, FakeRuntime, InstanceKey, Observed, OutputLine,
    ProcessRuntime, ProcessSettings, RunState, Runtime, RuntimeError, StartRequest, Stream,
};
use meshagent::vault::Secret;
use meshagent::volume::Volume;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncBufReadExt as _;
use uuid::Uuid;

const BINARY: &str = env!("CARGO_BIN_EXE_meshagent");
const PATIENCE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);

pub fn key(n: u16) -> InstanceKey {
    let project = ProjectId::new(Uuid::from_u128(1));
    let (room, service) =
        (RoomId::new(project, Uuid::from_u128(2)), ServiceId::new(project, Uuid::from_u128(3)));
    InstanceKey { room, service, container: n }
}

pub fn request(n: u16, command: &str) -> StartRequest {
    StartRequest {
        key: key(n),
        image: "meshagent/cli:default".to_owned(),
        command: command.to_owned(),
        env: Vec::new(),
        working_dir: None,
        log_sink: Arc::new(|_| ()),
        container: ContainerExtras::default(),
    }
}

/// A request whose lines are kept.
pub fn logged(n: u16, command: &str) -> (StartRequest, Arc<Mutex<Vec<OutputLine>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&lines);
    let log_sink = Arc::new(move |line| own.lock().unwrap().push(line));
    (StartRequest { log_sink, ..request(n, command) }, lines)
}

pub fn texts(lines: &Mutex<Vec<OutputLine>>) -> Vec<String> {
    lines.lock().unwrap().iter().map(|line| line.text.clone()).collect()
}

fn settings(data_dir: &Path) -> ProcessSettings {
    ProcessSettings {
        data_dir: data_dir.to_owned(),
        program: BINARY.into(),
        confine: true,
        readable: Vec::new(),
    }
}

struct Process {
    runtime: ProcessRuntime,
    directory: tempfile::TempDir,
}

fn process() -> Process {
    let directory = tempfile::tempdir().unwrap();
    let runtime =
        ProcessRuntime::open(settings(directory.path()), Arc::new(System), Arc::new(System)).unwrap();
    Process { runtime, directory }
}

pub async fn ended(runtime: &dyn Runtime, key: &InstanceKey) -> RunState {
    let mut exits = runtime.exited();
    tokio::time::timeout(PATIENCE, async {
        loop {
            match runtime.observe_one(key).await.unwrap() {
                Observed::Present { state: RunState::Running, .. } => exits.changed().await.unwrap(),
                Observed::Present { state, .. } => return state,
                Observed::Unknown => tokio::task::yield_now().await,
                Observed::Absent => panic!("it is gone"),
            }
        }
    })
    .await
    .expect("it did not end in time")
}

/// Runs a command to its end; its state and its lines.
async fn run(process: &Process, command: &str) -> (RunState, Vec<String>) {
    let (request, lines) = logged(0, command);
    let key = request.key.clone();
    process.runtime.start(request).await.unwrap();
    let state = ended(&process.runtime, &key).await;
    process.runtime.stop(&key, GRACE).await.unwrap();
    (state, texts(&lines))
}

pub fn exited(code: i32) -> RunState {
    RunState::Exited { code: Some(code), signal: None }
}

/// `request` runs a command in a directory that is writable; `end` makes the instance end with code 3.
pub async fn one_instance_at_a_time(
    runtime: &dyn Runtime,
    request: impl Fn(u16, &str) -> StartRequest,
    end: impl AsyncFn(&InstanceKey),
) {
    assert_eq!(runtime.observe().await.unwrap(), []);
    assert_eq!(runtime.observe_one(&key(1)).await.unwrap(), Observed::Absent);
    assert_eq!(runtime.stop(&key(1), GRACE).await.unwrap(), Observed::Absent);
    let waits = "sh -c 'while [ ! -e end ]; do sleep 0.02; done; exit 3'";
    let seen = runtime.start(request(1, waits)).await.unwrap();
    assert!(matches!(seen, Observed::Present { handle: Some(_), state: RunState::Running, .. }), "{seen:?}");
    let twice = runtime.start(request(1, waits)).await.unwrap_err();
    assert!(matches!(twice, RuntimeError::AlreadyRunning { handle: Some(_), .. }), "{twice}");
    runtime.start(request(2, waits)).await.unwrap();
    let all: Vec<_> = runtime.observe().await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(all, [key(1), key(2)]);

    end(&key(1)).await;
    assert_eq!(ended(runtime, &key(1)).await, exited(3));
    assert_eq!(ended(runtime, &key(1)).await, exited(3), "it stays known until somebody stops or starts it");
    let again = runtime.start(request(1, waits)).await.unwrap();
    assert!(matches!(again, Observed::Present { state: RunState::Running, .. }));

    for n in [1, 2] {
        let over = runtime.stop(&key(n), GRACE).await.unwrap();
        let by_signal = RunState::Exited { code: None, signal: Some(15) };
        assert!(matches!(over, Observed::Present { state, .. } if state == by_signal), "{over:?}");
    }
    assert_eq!(runtime.observe().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn fake_runs_one_instance_at_a_time() {
    let runtime = FakeRuntime::new(Arc::new(System));
    one_instance_at_a_time(&runtime, request, async |key| runtime.exit(key, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_runs_one_instance_at_a_time() {
    let process = process();
    let end = async |key: &InstanceKey| {
        let Observed::Present { handle: Some(pid), .. } = process.runtime.observe_one(key).await.unwrap()
        else {
            panic!("it is gone")
        };
        let link = format!("/proc/{pid}/cwd");
        // Before it has become its program it has another directory.
        let home = tokio::time::timeout(PATIENCE, async {
            loop {
                let cwd = std::fs::read_link(&link).unwrap();
                if cwd.ends_with("home") {
                    return cwd;
                }
                tokio::task::yield_now().await;
            }
        });
        std::fs::write(home.await.unwrap().join("end"), "").unwrap();
    };
    one_instance_at_a_time(&process.runtime, request, end).await;
    let left = std::fs::read_dir(process.directory.path().join("run")).unwrap().count();
    assert_eq!(left, 0, "directories of ended processes were left");
}

/// A container runtime on the test's engine, with the engine itself.
async fn containers() -> Option<(ContainerRuntime, Arc<Engine>, tempfile::TempDir)> {
    let engine = tokio::task::spawn_blocking(podman::engine).await.unwrap()?;
    let directory = tempfile::tempdir().unwrap();
    let containers = Arc::new(Containers::new(Settings {
        addresses: vec![engine.address()],
        server: format!("test-{}", directory.path().display()),
        folder: directory.path().join("containers"),
        ..Settings::default()
    }));
    let volume = Volume::new(directory.path());
    let runtime = ContainerRuntime::new(Arc::clone(&containers), Some(volume), Arc::new(System));
    Some((runtime, containers.engine().await.unwrap(), directory))
}

fn in_container(n: u16, command: &str) -> StartRequest {
    let working_dir = Some("/tmp".into());
    StartRequest { image: podman::IMAGE.to_owned(), working_dir, ..request(n, command) }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_run_one_instance_at_a_time() {
    let Some((runtime, engine, _directory)) = containers().await else { return };
    let end = async |key: &InstanceKey| {
        let Observed::Present { handle: Some(id), .. } = runtime.observe_one(key).await.unwrap() else {
            panic!("it is gone")
        };
        let touch = ["touch", "/tmp/end"].map(str::to_owned).to_vec();
        let (exec, _output, _input) = Exec::start(&engine, &id, touch, false).await.unwrap();
        assert_eq!(exec.ended().await.unwrap(), 0);
    };
    one_instance_at_a_time(&runtime, in_container, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gives_its_output_and_outlives_its_runtime() {
    let Some((runtime, _, directory)) = containers().await else { return };
    let (logged, lines) = logged(1, "sh -c 'echo \"$SECRET\"; echo err >&2; exit 5'");
    let env = vec![("SECRET".to_owned(), EnvValue::Secret(Secret::from("s3cr3t".to_owned())))];
    runtime.start(StartRequest { env, image: podman::IMAGE.to_owned(), ..logged }).await.unwrap();
    assert_eq!(ended(&runtime, &key(1)).await, exited(5));
    // The engine hands out the last lines on a connection of their own.
    let deadline = std::time::Instant::now() + PATIENCE;
    while texts(&lines).len() < 2 && std::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let mut said = texts(&lines);
    said.sort();
    assert_eq!(said, ["err", "s3cr3t"]);
    runtime.stop(&key(1), GRACE).await.unwrap();

    runtime.start(in_container(2, "sleep 1000")).await.unwrap();
    let before = runtime.observe().await.unwrap();
    drop(runtime);
    let (next, _, _directory) = {
        let engine = podman::engine().unwrap();
        let containers = Arc::new(Containers::new(Settings {
            addresses: vec![engine.address()],
            server: format!("test-{}", directory.path().display()),
            folder: directory.path().join("containers"),
            ..Settings::default()
        }));
        let engine = containers.engine().await.unwrap();
        (ContainerRuntime::new(containers, None, Arc::new(System)), engine, directory)
    };
    assert_eq!(next.observe().await.unwrap().len(), before.len(), "found by its labels");
    let twice = next.start(in_container(2, "sleep 1000")).await.unwrap_err();
    assert!(matches!(twice, RuntimeError::AlreadyRunning { handle: Some(_), .. }), "{twice}");
    next.stop(&key(2), GRACE).await.unwrap();
    assert_eq!(next.observe().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_says_why() {
    let Some((runtime, _, _directory)) = containers().await else { return };
    let mounts = |mounts: serde_json::Value| ContainerExtras {
        mounts: serde_json::from_value(mounts).unwrap(),
        ..ContainerExtras::default()
    };
    let volumes = mounts(serde_json::json!({"volumes": [{"name": "v", "path": "/v"}]}));
    for (request, part) in [
        (
            StartRequest { image: "localhost:1/nothing/here:1".to_owned(), ..request(1, "true") },
            "nothing/here",
        ),
        (in_container(1, "sh -c 'open"), "close its quotes"),
        (StartRequest { container: volumes, ..in_container(1, "true") }, "no volumes"),
    ] {
        let error = runtime.start(request).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(runtime.observe().await.unwrap(), []);
    runtime.start(in_container(1, "/no/such/program")).await.unwrap();
    assert_ne!(ended(&runtime, &key(1)).await, exited(0));
    runtime.stop(&key(1), GRACE).await.unwrap();
    let nowhere = Settings { addresses: vec!["unix:///nowhere.sock".into()], ..Settings::default() };
    let without = ContainerRuntime::new(Arc::new(Containers::new(nowhere)), None, Arc::new(System));
    let error = without.start(in_container(1, "true")).await.unwrap_err();
    assert!(
        matches!(error, RuntimeError::NoEngine { .. }) && error.to_string().contains("install"),
        "{error}"
    );
    assert_eq!(without.observe().await.unwrap(), []);
    assert_eq!(without.stop(&key(1), GRACE).await.unwrap(), Observed::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_output_and_exit_codes() {
    let process = process();
    let (state, lines) = run(&process, r#"sh -c 'echo "a  b"; echo err >&2; exit 7'"#).await;
    assert_eq!(state, exited(7));
    let mut sorted = lines;
    sorted.sort();
    assert_eq!(sorted, ["a  b", "err"]);
    let (_, lines) = run(&process, "printf '%s|' one 'two three' $HOME ; ls").await;
    assert_eq!(lines, ["one|two three|$HOME|;|ls|"], "no shell reads the command");
    let (state, lines) = run(&process, "no-such-program --flag").await;
    assert_eq!(state, exited(127));
    assert!(lines[0].contains("no-such-program"), "{lines:?}");
    let (state, lines) = run(&process, "meshagent __sandbox --nonsense").await;
    assert_eq!(state, exited(127), "the word `meshagent` is this very binary: {lines:?}");
    let (state, _) = run(&process, "sh -c 'kill -9 $$'").await;
    assert_eq!(state, RunState::Exited { code: None, signal: Some(9) });
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_say_what_to_do() {
    let process = process();
    for (image, command, part) in [
        ("python:3.13", "python", "container runtime"),
        ("meshagent/cli:default", "sh -c 'open", "close its quotes"),
        ("meshagent/cli:default", "  ", "empty"),
    ] {
        let request = StartRequest { image: image.to_owned(), ..request(1, command) };
        let error = process.runtime.start(request).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let many = vec![("A".to_owned(), EnvValue::Plain(String::new())); meshagent::runtime::ENV_MAX + 1];
    assert!(process.runtime.start(StartRequest { env: many, ..request(1, "true") }).await.is_err());
    let odd = vec![("A=B".to_owned(), EnvValue::Plain(String::new()))];
    assert!(process.runtime.start(StartRequest { env: odd, ..request(1, "true") }).await.is_err());
    assert_eq!(process.runtime.observe().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(process.directory.path().join("run")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_what_was_asked_for_and_secrets_stand_in_no_argument() {
    let process = process();
    let (mut request, lines) = logged(1, "sh -c 'env; cat /proc/$$/cmdline; echo'");
    request.env = vec![
        ("PLAIN".to_owned(), EnvValue::Plain("a b".to_owned())),
        ("TOKEN".to_owned(), EnvValue::Secret(Secret::from("s3cr3t".to_owned()))),
        ("LANG".to_owned(), EnvValue::Plain("de".to_owned())),
    ];
    assert!(!format!("{request:?}").contains("s3cr3t"));
    process.runtime.start(request).await.unwrap();
    assert_eq!(ended(&process.runtime, &key(1)).await, exited(0));
    let mut lines = texts(&lines);
    let cmdline = lines.pop().unwrap();
    assert!(!cmdline.contains("s3cr3t"), "{cmdline}");
    assert!(lines.contains(&"PLAIN=a b".to_owned()) && lines.contains(&"TOKEN=s3cr3t".to_owned()));
    assert!(lines.contains(&"LANG=de".to_owned()));
    let known = ["PLAIN", "TOKEN", "LANG", "PATH", "HOME", "TMPDIR", "PWD", "SHLVL", "_"];
    for line in &lines {
        let name = line.split('=').next().unwrap();
        assert!(known.contains(&name), "inherited: {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_asks_then_makes_and_leaves_nothing_of_the_group() {
    let process = process();
    let stubborn =
        "sh -c 'trap \"\" TERM; (trap \"\" TERM; sleep 1000) & echo $!; while :; do sleep 1; done'";
    let (request, lines) = logged(1, stubborn);
    process.runtime.start(request).await.unwrap();
    let child = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(pid) = texts(&lines).first() {
                return pid.clone();
            }
            tokio::task::yield_now().await;
        }
    });
    let child = child.await.unwrap();
    assert!(Path::new(&format!("/proc/{child}")).exists());
    let over = process.runtime.stop(&key(1), Duration::from_millis(50)).await.unwrap();
    let killed = RunState::Exited { code: None, signal: Some(9) };
    assert!(matches!(over, Observed::Present { state, .. } if state == killed), "{over:?}");
    assert!(gone(&child).await, "a grandchild lives on");
}

/// A killed process is gone when the kernel says so; a zombie counts as gone.
async fn gone(pid: &str) -> bool {
    let stat = format!("/proc/{pid}/stat");
    let dead = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
    let wait = async {
        while !dead() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confined_process_reaches_its_own_place_only() {
    let process = process();
    let says = process.runtime.describe();
    if says.contains("none:") {
        eprintln!("not tested, this machine has no sandbox: {says}");
        return;
    }
    assert!(says.contains("landlock"), "{says}");
    let data = process.directory.path();
    std::fs::write(data.join("kek"), "the key").unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "x").unwrap();
    let (data, out, server) = (data.display(), outside.path().display(), std::process::id());
    for (what, script) in [
        ("reads the key", format!("cat {data}/kek")),
        ("lists the data directory", format!("ls {data}")),
        ("lists others' directories", format!("ls {data}/run")),
        ("reads outside", format!("cat {out}/file")),
        ("writes outside", format!("echo x > {out}/new")),
        ("reads the server's environment", format!("cat /proc/{server}/environ")),
        ("signals the server", format!("kill -0 {server}")),
    ] {
        let (state, lines) = run(&process, &format!("sh -c '{script}'")).await;
        assert_ne!(state, exited(0), "{what}: {lines:?}");
    }
    for script in
        ["echo x > $HOME/f && cat $HOME/f", "mktemp", "ls /usr > /dev/null", "head -c 4 /dev/urandom | wc -c"]
    {
        let (state, lines) = run(&process, &format!("sh -c '{script}'")).await;
        assert_eq!(state, exited(0), "{script}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_dies_with_its_server_however_that_dies() {
    // A shell stands for the server.
    let script = format!("'{BINARY}' __sandbox --parent $$ -- sleep 1000 & echo $!; wait");
    let mut server = tokio::process::Command::new("sh");
    server.args(["-c", &script]).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let mut output = tokio::io::BufReader::new(server.stdout.take().unwrap());
    let mut child = String::new();
    output.read_line(&mut child).await.unwrap();
    let child = child.trim();
    let runs_sleep =
        || std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm == "sleep\n");
    let started = async {
        while !runs_sleep() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.unwrap();
    server.kill().await.unwrap();
    assert!(gone(child).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_server_is_gone_already_does_not_start() {
    let args = ["__sandbox", "--parent", "1", "--", "echo", "started"];
    let output = tokio::process::Command::new(BINARY).args(args).output().await.unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("server"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_ends_what_the_former_left() {
    let former = process();
    let (request, lines) = logged(1, "sh -c 'sleep 1000 & echo $!; wait'");
    former.runtime.start(request).await.unwrap();
    let started = async {
        while lines.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.unwrap();
    let grandchild = texts(&lines)[0].clone();
    let next =
        ProcessRuntime::open(settings(former.directory.path()), Arc::new(System), Arc::new(System)).unwrap();
    assert_eq!(ended(&former.runtime, &key(1)).await, RunState::Exited { code: None, signal: Some(9) });
    assert!(gone(&grandchild).await);
    assert_eq!(next.observe().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_harms_nobody() {
    let process = process();
    let (state, lines) = run(&process, "sh -c 'seq 1 200000; echo end >&2'").await;
    assert_eq!(state, exited(0));
    assert!(lines.len() < 20_000, "{}", lines.len());
    assert!(lines.iter().any(|line| line.contains("were dropped")));
    assert!(lines.contains(&"end".to_owned()), "the other stream is not touched");
    assert_ne!(Stream::Runtime, Stream::Stderr);
}
