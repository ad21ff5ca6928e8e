//! `meshagent process run --no-room`: an agent and a talk with it, and no server anywhere.

use super::endpoint::Endpoint;
use serde_json::json;
use std::process::{Command, Output, Stdio};

fn run(flags: &[&str], env: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
    command.args(["process", "run", "--no-room"]).args(flags).env_clear();
    command.env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(env.iter().copied()).current_dir(home.path()).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_works_without_a_room_with_tools_that_need_none() {
    let call = json!({"tool": "now", "toolkit": "datetime"});
    let prompt = format!("What time is it?\n```tool\n{call}\n```\n");
    let ran = run(&["--model", "builtin/echo", "--message", &prompt], &[]);
    let said = text(&ran.stdout);
    assert!(ran.status.success() && said.contains("Tool now answered"), "{said}{}", text(&ran.stderr));
    let says = json!({"type": "message", "content": [{"type": "output_text", "text": "It is four."}]});
    let endpoint = Endpoint::start(vec![says]).await;
    let env = [("OPENAI_BASE_URL", endpoint.url.as_str()), ("OPENAI_API_KEY", "key")];
    let flags =
        ["--model", "gpt-x", "--decision-model", "builtin/echo", "--web-fetch", "--message", "2 + 2?"];
    let ran = run(&flags, &env);
    assert_eq!(text(&ran.stdout), "It is four.\n", "{}", text(&ran.stderr));
    let tools = endpoint.asked()[0]["tools"].to_string();
    assert!(tools.contains("web_fetch") && !tools.contains("storage"), "{tools}");
}

#[test]
fn files_of_this_machine_are_files_of_an_agent_without_a_room() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("{}:/", folder.path().display());
    let call = json!({"tool": "write_file", "arguments": {"path": "a.txt", "text": "hi", "overwrite": true}});
    let prompt = format!("Write.\n```tool\n{call}\n```\n");
    let flags =
        ["--storage", "--storage-tool-local-path", &mount, "--model", "builtin/echo", "--message", &prompt];
    let ran = run(&flags, &[]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert_eq!(std::fs::read_to_string(folder.path().join("a.txt")).unwrap(), "hi");
}

#[test]
fn what_needs_a_room_is_refused_by_name() {
    for (flags, named) in [
        (&["--channel", "queue:jobs"][..], "--channel queue:jobs"),
        (&["--storage"], "--storage without --storage-tool-local-path"),
        (&["--require-toolkit", "wiki", "--table-read", "t"], "--require-toolkit, --table-read"),
        (&["--room-rules", "r.txt"], "--room-rules"),
        (&["--shell"], "--shell without --shell-image"),
        (&["--thread-storage", "dataset"], "--thread-storage dataset"),
    ] {
        let all = [&["--model", "builtin/echo", "--message", "x"], flags].concat();
        let ran = run(&all, &[]);
        let said = text(&ran.stderr);
        assert!(ran.status.code() == Some(1) && said.contains(named), "{flags:?}: {said}");
    }
}
