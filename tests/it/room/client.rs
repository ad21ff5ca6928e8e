//! A participant that speaks packets and nothing more: every message it gets is kept until somebody asks for it.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use meshagent::wire::{Assembler, Content, Control, Message, encode, pack, unpack};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message as Ws};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A test waits this long for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// How a connection ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    Closed(u16, String),
    /// TCP went away without a close frame.
    Dropped,
}

pub struct Client {
    pub socket: Socket,
    assembler: Assembler,
    inbox: VecDeque<Message>,
    next_id: u64,
    pub id: String,
    pub session: String,
    ended: Option<Ended>,
}

/// Opens a socket with the token in the header.
pub async fn connect(address: SocketAddr, room: &str, token: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{address}/rooms/{room}").into_client_request().unwrap();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", value);
    let (socket, _) = tokio_tungstenite::connect_async(request).await?;
    Ok(socket)
}

/// The HTTP status and body of a refused upgrade.
pub fn refusal(error: Error) -> (StatusCode, String) {
    match error {
        Error::Http(response) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status(), String::from_utf8(body).unwrap())
        }
        other => panic!("not refused by HTTP: {other}"),
    }
}

impl Client {
    pub async fn enter(address: SocketAddr, room: &str, token: &str) -> Self {
        Self::on(connect(address, room, token).await.unwrap()).await
    }

    /// Goes through the start-up on an open socket.
    pub async fn on(socket: Socket) -> Self {
        let mut client = Self {
            socket,
            assembler: Assembler::default(),
            inbox: VecDeque::new(),
            next_id: 0,
            id: String::new(),
            session: String::new(),
            ended: None,
        };
        let (init, _) = client.push("connected").await;
        assert_eq!(init["type"], "init");
        client.id = init["participantId"].as_str().unwrap().to_owned();
        let (ready, _) = client.push("room_ready").await;
        client.session = ready["session_id"].as_str().unwrap().to_owned();
        assert!(ready["room_name"].is_string() && ready["room_url"].is_string());
        client
    }

    /// Sends a message; gives its id.
    pub async fn send(&mut self, kind: &str, header: Value, data: &[u8]) -> u64 {
        self.next_id += 1;
        self.send_raw(self.next_id, kind, pack(&header, data)).await;
        self.next_id
    }

    pub async fn send_raw(&mut self, id: u64, kind: &str, payload: Bytes) {
        for packet in encode(id, kind, &payload) {
            self.socket.feed(Ws::Binary(packet)).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    /// Sends one packet as it is.
    pub async fn packet(&mut self, bytes: impl Into<Bytes>) {
        self.socket.send(Ws::Binary(bytes.into())).await.unwrap();
    }

    /// Waits for the message that `wanted` picks; the others stay for later.
    async fn find<T>(&mut self, what: &str, mut wanted: impl FnMut(&Message) -> Option<T>) -> T {
        if let Some(at) = self.inbox.iter().position(|m| wanted(m).is_some()) {
            return wanted(&self.inbox.remove(at).unwrap()).unwrap();
        }
        let search = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Ws::Binary(packet))) => {
                        if let Some(message) = self.assembler.push(&packet).unwrap() {
                            match wanted(&message) {
                                Some(found) => return found,
                                None => self.inbox.push_back(message),
                            }
                        }
                    }
                    Some(Ok(Ws::Close(frame))) => {
                        self.ended = Some(closed(frame));
                        panic!("closed while waiting for {what}: {:?}", self.ended);
                    }
                    Some(Ok(_)) => {}
                    other => panic!("lost while waiting for {what}: {other:?}"),
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("{what} did not come; there is {:?}", self.inbox),
        }
    }

    /// The next push of that type.
    pub async fn push(&mut self, kind: &str) -> (Value, Bytes) {
        self.find(kind, |m| (m.kind == kind).then(|| m.clone())).await.into_header()
    }

    /// The next message of that type, with its id.
    pub async fn message(&mut self, kind: &str) -> Message {
        self.find(kind, |m| (m.kind == kind).then(|| m.clone())).await
    }

    /// The answer to request `id`.
    pub async fn answer(&mut self, id: u64) -> Content {
        let message =
            self.find("an answer", |m| (m.kind == "__response__" && m.id == id).then(|| m.clone())).await;
        content(&message.payload)
    }

    pub async fn request(&mut self, kind: &str, header: Value) -> Content {
        let id = self.send(kind, header, b"").await;
        self.answer(id).await
    }

    /// Sends a unary call; gives its id.
    pub async fn begin(&mut self, toolkit: &str, tool: &str, input: Content) -> u64 {
        self.begin_at(None, toolkit, tool, input, "").await
    }

    pub async fn begin_at(
        &mut self,
        participant: Option<&str>,
        toolkit: &str,
        tool: &str,
        input: Content,
        call: &str,
    ) -> u64 {
        let (arguments, data) = input.into_parts();
        let call = if call.is_empty() { format!("call-{}", self.next_id + 1) } else { call.to_owned() };
        let header = json!({
            "toolkit": toolkit, "tool": tool, "participant_id": participant, "on_behalf_of_id": null,
            "arguments": arguments, "tool_call_id": call,
        });
        self.send("room.invoke_tool", header, &data).await
    }

    pub async fn invoke(&mut self, toolkit: &str, tool: &str, input: Value) -> Content {
        let id = self.begin(toolkit, tool, Content::Json(input)).await;
        self.answer(id).await
    }

    /// Calls and expects an error; gives its code and text.
    pub async fn fails(&mut self, toolkit: &str, tool: &str, input: Value) -> (u16, String) {
        error(self.invoke(toolkit, tool, input).await)
    }

    /// Begins a call with streamed input.
    pub async fn open(&mut self, toolkit: &str, tool: &str, call: &str) -> u64 {
        self.begin_at(None, toolkit, tool, Content::Control(Control::Open), call).await
    }

    /// Sends one input item and takes its acknowledgement.
    pub async fn item(&mut self, call: &str, content: Content) {
        let (chunk, data) = content.into_parts();
        let header = json!({"tool_call_id": call, "chunk": chunk});
        let id = self.send("room.tool_call_request_chunk", header, &data).await;
        assert_eq!(self.answer(id).await, Content::Empty);
    }

    pub async fn end(&mut self, call: &str) {
        self.item(call, Content::Control(Control::END)).await;
    }

    /// The next output chunk of a call, as it came.
    pub async fn raw_chunk(&mut self, call: &str) -> (Map<String, Value>, Bytes) {
        let message = self
            .find("a chunk", |m| {
                if m.kind != "room.tool_call_response_chunk" {
                    return None;
                }
                let (header, _) = unpack(&m.payload).unwrap();
                (header["tool_call_id"] == call).then(|| m.clone())
            })
            .await;
        let (mut header, data) = unpack(&message.payload).unwrap();
        match header.remove("chunk") {
            Some(Value::Object(chunk)) => (chunk, data),
            other => panic!("no chunk: {other:?}"),
        }
    }

    pub async fn chunk(&mut self, call: &str) -> Content {
        let (chunk, data) = self.raw_chunk(call).await;
        Content::from_parts(&chunk, data).unwrap()
    }

    /// Waits for the end of the connection.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        let wait = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Ws::Close(frame))) => return closed(frame),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Ended::Dropped,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the connection did not end")
    }

    /// A round trip, after which everything sent to this client before has arrived.
    pub async fn settle(&mut self) {
        self.request("room.list_toolkits", json!({})).await;
    }

    /// True when an output chunk of the call has come.
    pub fn has_chunk(&self, call: &str) -> bool {
        self.inbox.iter().filter(|m| m.kind == "room.tool_call_response_chunk").any(|m| {
            let (header, _) = unpack(&m.payload).unwrap();
            header["tool_call_id"] == call
        })
    }

    /// True when a message of that type has come.
    pub fn has(&self, kind: &str) -> bool {
        self.inbox.iter().any(|m| m.kind == kind)
    }
}

trait IntoHeader {
    fn into_header(self) -> (Value, Bytes);
}

impl IntoHeader for Message {
    fn into_header(self) -> (Value, Bytes) {
        let (header, data) = unpack(&self.payload).unwrap();
        (Value::Object(header), data)
    }
}

fn closed(frame: Option<CloseFrame>) -> Ended {
    frame.map_or(Ended::Closed(1005, String::new()), |f| Ended::Closed(f.code.into(), f.reason.to_string()))
}

pub fn content(payload: &Bytes) -> Content {
    let (header, data) = unpack(payload).unwrap();
    Content::from_parts(&header, data).unwrap()
}

pub fn error(content: Content) -> (u16, String) {
    match content {
        Content::Error { text, code } => (code.unwrap(), text),
        other => panic!("expected an error, got {other:?}"),
    }
}

pub fn json_of(content: Content) -> Value {
    match content {
        Content::Json(value) => value,
        other => panic!("expected json, got {other:?}"),
    }
}
