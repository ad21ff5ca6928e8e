//! Containers and images of the room (room protocol §3.11), as a person uses them.

use super::call::{Answer, Call, Target};
use super::link::unexpected;
use super::{RoomClient, RoomError};
use crate::wire::Content;
use bytes::Bytes;
use serde_json::{Value, json};

/// Container requests of one client.
#[derive(Debug)]
pub struct Containers<'a> {
    client: &'a RoomClient,
}

/// A piece of what a container or a program in it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Out(Bytes),
    Err(Bytes),
    /// The program's exit status; the last piece.
    Status(i64),
}

/// A stream of output.
#[derive(Debug)]
pub struct OutputStream {
    call: Call,
    what: &'static str,
}

/// Input of a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    Data(&'a [u8]),
    /// Size of the terminal, characters.
    Size {
        width: u16,
        height: u16,
    },
    Kill,
    /// No more data comes.
    End,
}

impl<'a> Containers<'a> {
    pub(super) fn new(client: &'a RoomClient) -> Self {
        Self { client }
    }

    /// The room's containers; exited ones with `all`.
    pub async fn list(&self, all: bool) -> Result<Vec<Value>, RoomError> {
        self.array("list_containers", json!({"all": all}), "containers").await
    }

    /// Starts a container as the fields of `run` say; its id.
    pub async fn run(&self, fields: Value) -> Result<String, RoomError> {
        self.id("run", fields).await
    }

    pub async fn stop(&self, id: &str, force: bool) -> Result<(), RoomError> {
        self.call("stop_container", json!({"container_id": id, "force": force})).await.map(drop)
    }

    pub async fn delete(&self, id: &str) -> Result<(), RoomError> {
        self.call("delete_container", json!({"container_id": id})).await.map(drop)
    }

    /// Waits for the end of a container or an image job; its exit code.
    pub async fn wait(&self, id: &str) -> Result<i64, RoomError> {
        let ended = self.call("wait_for_exit", json!({"container_id": id})).await?;
        ended["exit_code"].as_i64().ok_or_else(|| failed("wait_for_exit", "the answer has no exit code"))
    }

    /// What a container wrote, and with `follow` what it writes.
    pub async fn logs(&self, id: &str, follow: bool) -> Result<OutputStream, RoomError> {
        self.stream("logs", json!({"kind": "start", "request_id": id, "container_id": id, "follow": follow}))
            .await
    }

    /// Runs a program in a running container. Without words, a shell.
    pub async fn exec(
        &self,
        id: &str,
        words: Option<&[String]>,
        tty: bool,
    ) -> Result<OutputStream, RoomError> {
        let start = json!({
            "kind": "start", "request_id": id, "container_id": id, "command": words, "tty": tty,
        });
        self.stream("exec", start).await
    }

    pub async fn images(&self) -> Result<Vec<Value>, RoomError> {
        self.array("list_images", json!({}), "images").await
    }

    pub async fn inspect_image(&self, id: &str) -> Result<Value, RoomError> {
        self.call("inspect_image", json!({"image_id": id})).await
    }

    pub async fn delete_image(&self, image: &str) -> Result<(), RoomError> {
        self.call("delete_image", json!({"image": image})).await.map(drop)
    }

    /// `credentials`: `[{registry, username, password}]`.
    pub async fn pull(&self, tag: &str, credentials: Value) -> Result<(), RoomError> {
        self.call("pull_image", json!({"tag": tag, "credentials": credentials})).await.map(drop)
    }

    /// Begins a push; the job's id, to be followed like a container.
    pub async fn push(&self, tag: &str, credentials: Value, private: bool) -> Result<String, RoomError> {
        self.id("push_image", json!({"tag": tag, "credentials": credentials, "private": private})).await
    }

    /// Takes an archive of room storage in; the reference of its first image.
    pub async fn load(&self, path: &str) -> Result<String, RoomError> {
        let loaded = self.call("load", json!({"archive_path": path})).await?;
        Ok(loaded["resolved_ref"].as_str().unwrap_or_default().to_owned())
    }

    /// Begins to write an image as an archive; the job's id.
    pub async fn save(&self, fields: Value) -> Result<String, RoomError> {
        self.id("save_image", fields).await
    }

    async fn call(&self, tool: &str, input: Value) -> Result<Value, RoomError> {
        self.client.invoke_json("containers", tool, input).await
    }

    async fn id(&self, tool: &str, input: Value) -> Result<String, RoomError> {
        let answer = self.call(tool, input).await?;
        let id = answer["container_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| failed(tool, "the answer has no container id"))
    }

    async fn array(&self, tool: &str, input: Value, field: &str) -> Result<Vec<Value>, RoomError> {
        match self.call(tool, input).await?[field].take() {
            Value::Array(all) => Ok(all),
            _ => Err(failed(tool, "the answer is no list")),
        }
    }

    async fn stream(&self, what: &'static str, start: Value) -> Result<OutputStream, RoomError> {
        let mut call = self.client.start(&Target::new("containers", what), None).await?;
        call.send(Content::binary(start, Bytes::new())).await?;
        match call.answer().await? {
            Answer::Stream => Ok(OutputStream { call, what }),
            Answer::Unary(Content::Error { text, code }) => {
                Err(RoomError::Failed { request: format!("containers.{what}"), text, code })
            }
            Answer::Unary(other) => Err(unexpected(&format!("containers.{what}"), &other, "a stream")),
        }
    }
}

impl OutputStream {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Output>, RoomError> {
        while let Some(item) = self.call.next().await? {
            let Content::Binary { headers, data } = item else {
                return Err(unexpected(&format!("containers.{}", self.what), &item, "binary"));
            };
            match headers.get("channel").and_then(Value::as_u64) {
                Some(1) => return Ok(Some(Output::Out(data))),
                Some(2) => return Ok(Some(Output::Err(data))),
                Some(3) => {
                    let status = serde_json::from_slice::<Value>(&data).ok();
                    let status = status.and_then(|status| status["status"].as_i64());
                    return status
                        .map(|status| Some(Output::Status(status)))
                        .ok_or_else(|| failed(self.what, "the status is unreadable"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Sends input to a program.
    pub async fn send(&self, input: Input<'_>) -> Result<(), RoomError> {
        let (channel, data, size) = match input {
            Input::Data(data) => (1, data, None),
            Input::Size { width, height } => (4, &[][..], Some((width, height))),
            Input::Kill => (5, &[][..], None),
            Input::End => (255, &[][..], None),
        };
        let headers = json!({
            "kind": "input", "channel": channel,
            "width": size.map(|(width, _)| width), "height": size.map(|(_, height)| height),
        });
        self.call.send(Content::binary(headers, Bytes::copy_from_slice(data))).await
    }
}

fn failed(tool: &str, text: &str) -> RoomError {
    RoomError::Failed { request: format!("containers.{tool}"), text: text.to_owned(), code: None }
}
