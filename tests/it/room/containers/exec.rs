//! Programs in running containers: terminals, sizes, input, ends.

use super::rig::{Rig, run};
use crate::room::client::{Client, error};
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};

/// A program under way.
struct Exec<'a> {
    client: &'a mut Client,
    call: String,
}

impl<'a> Exec<'a> {
    async fn start(client: &'a mut Client, container: &str, command: Value, tty: bool) -> Self {
        let call = format!("exec-{}", command.to_string().len());
        let start = json!({"kind": "start", "request_id": "r", "container_id": container, "command": command, "tty": tty});
        let request = client.open("containers", "exec", &call).await;
        client.item(&call, Content::binary(start, Bytes::new())).await;
        assert_eq!(client.answer(request).await, Content::Control(Control::Open));
        Self { client, call }
    }

    async fn input(&mut self, channel: u64, data: &[u8], size: Option<(u16, u16)>) {
        let headers = json!({
            "kind": "input", "channel": channel,
            "width": size.map(|(width, _)| width), "height": size.map(|(_, height)| height),
        });
        let item = Content::binary(headers, Bytes::copy_from_slice(data));
        let call = self.call.clone();
        self.client.item(&call, item).await;
    }

    /// The next piece of output, or the status.
    async fn next(&mut self) -> (u64, Bytes) {
        match self.client.chunk(&self.call).await {
            Content::Binary { headers, data } => (headers["channel"].as_u64().unwrap(), data),
            other => panic!("{other:?}"),
        }
    }

    /// Reads until `wanted` was written.
    async fn until(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            let (channel, data) = self.next().await;
            assert_eq!(channel, 1, "{text}");
            text.push_str(&String::from_utf8_lossy(&data));
        }
        text
    }

    /// The rest: standard output, error output, status.
    async fn end(mut self) -> (String, String, i64) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = loop {
            match self.next().await {
                (1, data) => out.extend(data),
                (2, data) => err.extend(data),
                (3, data) => {
                    break serde_json::from_slice::<Value>(&data).unwrap()["status"].as_i64().unwrap();
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(self.client.chunk(&self.call).await, Content::Control(Control::END));
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), status)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_apart_input_ends_and_the_status_comes_last() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let id = run(&mut a, json!({})).await;
    let words = json!(["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let ended = Exec::start(&mut a, &id, words, false).await.end().await;
    assert_eq!(ended, ("out\n".into(), "err\n".into(), 3));
    let ended = Exec::start(&mut a, &id, json!("echo 'one line' two"), false).await.end().await;
    assert_eq!(ended, ("one line two\n".into(), String::new(), 0));

    let mut cat = Exec::start(&mut a, &id, json!(["cat"]), false).await;
    cat.input(1, b"first\n", None).await;
    cat.until("first\n").await;
    cat.input(1, b"second", None).await;
    cat.input(255, b"", None).await;
    assert_eq!(cat.end().await, ("second".into(), String::new(), 0));
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_a_size_that_changes_and_a_program_can_be_killed() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let id = run(&mut a, json!({})).await;
    let mut shell = Exec::start(&mut a, &id, json!(["sh"]), true).await;
    shell.input(4, b"", Some((101, 37))).await;
    shell.input(1, b"stty size; echo re''ady\n", None).await;
    let text = shell.until("ready\r\n").await;
    assert!(text.contains("37 101\r\n"), "{text}");
    shell.input(4, b"", Some((44, 22))).await;
    shell.input(1, b"stty size; echo ag''ain\n", None).await;
    assert!(shell.until("again\r\n").await.contains("22 44\r\n"));
    shell.input(1, b"exit 5\n", None).await;
    assert_eq!(shell.end().await.2, 5);

    let mut long = Exec::start(&mut a, &id, json!(["sh", "-c", "echo started; sleep 1000"]), false).await;
    long.until("started\n").await;
    long.input(5, b"", None).await;
    assert_eq!(long.end().await.2, 137);
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_or_goes_ends_its_program() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let id = run(&mut a, json!({})).await;
    let script = "echo started; sleep 777";
    let mut stopped = Exec::start(&mut a, &id, json!(["sh", "-c", script]), false).await;
    stopped.until("started\n").await;
    let call = stopped.call.clone();
    stopped.client.end(&call).await;
    assert_eq!(stopped.end().await.2, 137);

    let mut b = rig.join("room", "bob").await;
    let mut gone = Exec::start(&mut b, &id, json!(["sh", "-c", script]), false).await;
    gone.until("started\n").await;
    drop(b);
    let deadline = tokio::time::Instant::now() + super::rig::PATIENCE;
    loop {
        let look = json!(["sh", "-c", "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done"]);
        let (out, _, _) = Exec::start(&mut a, &id, look, false).await.end().await;
        if !out.contains("sh\0-c\0echo started") && !out.contains("sleep\0777") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it lives on: {out}");
    }
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_is_an_error() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let id = run(&mut a, json!({})).await;
    let ended = Exec::start(&mut a, &id, json!(["no-such-program"]), false).await.end().await;
    assert!(ended.2 == 127 || ended.2 == 126 || ended.2 == 255, "{ended:?}");
    let stop = json!({"container_id": id, "force": true});
    a.invoke("containers", "stop_container", stop).await;
    for (container, code) in [(id.as_str(), 1006), ("nobody-there", 6001)] {
        let call = format!("refused-{container}");
        let start = json!({"kind": "start", "request_id": "r", "container_id": container, "command": "ls", "tty": null});
        let request = a.open("containers", "exec", &call).await;
        a.item(&call, Content::binary(start, Bytes::new())).await;
        assert_eq!(error(a.answer(request).await).0, code);
    }
    rig.server.stop().await;
}
