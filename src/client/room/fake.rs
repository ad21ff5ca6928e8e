//! A small room server for tests: tokens, start-up, files, queues with leases, hosted toolkits.
//! It speaks the real wire form over a real socket and can refuse, drop and stay silent on command.

use crate::error_code::RoomCode;
use crate::wire::{self, Assembler, Content, Control, pack};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

#[derive(Default)]
pub struct World {
    /// Statuses to refuse the next upgrades with.
    pub refuse: VecDeque<u16>,
    pub files: BTreeMap<String, Bytes>,
    pub queues: BTreeMap<String, VecDeque<(u32, Value)>>,
    pub leased: BTreeMap<String, (String, u32, Value)>,
    pub acked: Vec<Value>,
    pub nacked: Vec<(Value, String)>,
    pub dead: Vec<Value>,
    pub extended: u32,
    /// Items given back with a delay; the fake never offers them again unless told to take no notice of delays.
    pub delayed: Vec<(u32, Value)>,
    pub no_delays: bool,
    pub attributes: Map<String, Value>,
    pub registered: Vec<String>,
    pub messaging_enabled: u32,
    pub connections: u32,
    /// Requests that were made, `toolkit.tool`.
    pub calls: Vec<String>,
    /// Leave the lease tools out.
    pub plain_queues: bool,
    hosts: HashMap<String, Outbox>,
    waiting: HashMap<u64, (Outbox, u64)>,
    next: u64,
}

type Outbox = mpsc::Sender<(u64, String, Bytes)>;

/// Deliveries before an item goes to the dead letters.
pub const ATTEMPTS_MAX: u32 = 3;

#[derive(Clone)]
pub struct FakeRoom {
    pub url: String,
    pub world: Arc<Mutex<World>>,
    pub changed: Arc<Notify>,
    /// Bumped to make every connection drop without a close frame, or with the given close code.
    kill: watch::Sender<(u32, Option<u16>)>,
}

impl FakeRoom {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let room = Self {
            url: format!("ws://{}/rooms/r", listener.local_addr().unwrap()),
            world: Arc::default(),
            changed: Arc::default(),
            kill: watch::Sender::new((0, None)),
        };
        let server = room.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        room
    }

    pub fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        let out = f(&mut self.world.lock().unwrap());
        self.changed.notify_waiters();
        out
    }

    /// Waits until the world is as wanted.
    pub async fn until(&self, mut wanted: impl FnMut(&World) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if wanted(&self.world.lock().unwrap()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the wanted never came");
    }

    pub fn drop_connections(&self, close_code: Option<u16>) {
        self.kill.send_modify(|(n, code)| (*n, *code) = (*n + 1, close_code));
    }

    pub fn enqueue(&self, queue: &str, message: Value) {
        self.with(|w| w.queues.entry(queue.into()).or_default().push_back((0, message)));
    }

    /// Calls a toolkit that a client hosts.
    pub async fn call_hosted(&self, toolkit: &str, tool: &str, arguments: Content) -> Content {
        let (out, mut answers) = mpsc::channel(16);
        self.forward(&out, 1, toolkit, tool, &arguments.into_parts());
        let (_, _, payload) = answers.recv().await.unwrap();
        let (header, data) = wire::unpack(&payload).unwrap();
        Content::from_parts(&header, data).unwrap()
    }

    async fn serve(self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let refuse = self.with(|w| w.refuse.pop_front());
        let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let bearer = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
            let status = match bearer.as_deref() {
                Some("Bearer good") => refuse,
                _ => Some(403),
            };
            match status {
                None => Ok(response),
                Some(status) => Err(Response::builder().status(status).body(None).unwrap()),
            }
        };
        let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
        let id = self.with(|w| {
            w.connections += 1;
            w.connections
        });
        let (mut sink, mut source) = socket.split();
        let (out, mut outbox) = mpsc::channel::<(u64, String, Bytes)>(256);
        let init =
            json!({"type": "init", "participantId": format!("p{id}"), "attributes": {"name": "tester"}});
        let ready = json!({"room_name": "r", "room_url": self.url, "session_id": "s"});
        out.send((1, "connected".into(), pack(&init, &[]))).await.unwrap();
        out.send((2, "room_ready".into(), pack(&ready, &[]))).await.unwrap();
        let mut kill = self.kill.subscribe();
        let mut assembler = Assembler::default();
        let mut inputs: HashMap<String, mpsc::Sender<Content>> = HashMap::new();
        loop {
            tokio::select! {
                _ = kill.changed() => {
                    let code = kill.borrow().1;
                    if let Some(code) = code {
                        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                            code: code.into(), reason: "".into() };
                        let _ = sink.send(Message::Close(Some(frame))).await;
                    }
                    break;
                }
                Some((id, kind, payload)) = outbox.recv() => {
                    for packet in wire::encode(id, &kind, &payload) {
                        if sink.send(Message::Binary(packet)).await.is_err() { break }
                    }
                }
                next = source.next() => match next {
                    Some(Ok(Message::Binary(packet))) => {
                        if let Ok(Some(message)) = assembler.push(&packet) {
                            self.handle(&out, &mut inputs, message).await;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => break,
                },
            }
        }
        self.with(|w| w.hosts.retain(|_, host| !host.same_channel(&out)));
    }

    async fn handle(
        &self,
        out: &Outbox,
        inputs: &mut HashMap<String, mpsc::Sender<Content>>,
        message: wire::Message,
    ) {
        let (header, data) = wire::unpack(&message.payload).unwrap();
        let text = |key: &str| header.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match message.kind.as_str() {
            "set_attributes" => self.with(|w| w.attributes.extend(header)),
            "room.register_toolkit" => {
                self.with(|w| {
                    w.registered.push(text("name"));
                    w.hosts.insert(text("name"), out.clone());
                });
                respond(out, message.id, Content::Json(json!({"id": text("name")}))).await;
            }
            "room.unregister_toolkit" => {
                self.with(|w| w.hosts.remove(&text("id")));
                respond(out, message.id, Content::Empty).await;
            }
            "room.list_toolkits" => {
                let lease = !self.with(|w| w.plain_queues);
                let mut tools = json!({"send": {}, "receive": {}});
                if lease {
                    tools["lease"] = json!({});
                }
                respond(out, message.id, Content::Json(json!({"tools": {"queues": {"tools": tools}}}))).await;
            }
            "room.tool_call_response" => {
                if let Some((caller, id)) = self.with(|w| w.waiting.remove(&message.id)) {
                    caller.send((id, "__response__".into(), message.payload)).await.unwrap();
                }
            }
            "room.tool_call_request_chunk" => {
                let item = Content::from_parts(header["chunk"].as_object().unwrap(), data).unwrap();
                if let Some(input) = inputs.get(&text("tool_call_id")) {
                    let _ = input.send(item).await;
                }
            }
            "room.invoke_tool" => {
                let (toolkit, tool) = (text("toolkit"), text("tool"));
                self.with(|w| w.calls.push(format!("{toolkit}.{tool}")));
                let arguments = header["arguments"].as_object().unwrap().clone();
                let (sender, input) = mpsc::channel(64);
                inputs.insert(text("tool_call_id"), sender);
                let call =
                    Call { room: self.clone(), out: out.clone(), id: message.id, call: text("tool_call_id") };
                tokio::spawn(call.run(toolkit, tool, arguments, data, input));
            }
            other => panic!("the fake room knows no `{other}`"),
        }
    }

    fn forward(
        &self,
        caller: &Outbox,
        id: u64,
        toolkit: &str,
        tool: &str,
        (arguments, data): &(Map<String, Value>, Bytes),
    ) -> bool {
        self.with(|w| {
            w.next += 1;
            let own = w.next;
            let Some(host) = w.hosts.get(toolkit).cloned() else { return false };
            w.waiting.insert(own, (caller.clone(), id));
            let header = json!({"name": tool, "arguments": arguments, "caller_id": "caller",
                "tool_call_id": format!("t{own}")});
            host.try_send((own, format!("room.tool_call.{toolkit}"), pack(&header, data))).is_ok()
        })
    }
}

async fn respond(out: &Outbox, id: u64, content: Content) {
    let _ = out.send((id, "__response__".into(), content.pack())).await;
}

struct Call {
    room: FakeRoom,
    out: Outbox,
    id: u64,
    call: String,
}

impl Call {
    async fn run(
        self,
        toolkit: String,
        tool: String,
        arguments: Map<String, Value>,
        data: Bytes,
        input: mpsc::Receiver<Content>,
    ) {
        let json = arguments.get("json").cloned().unwrap_or_default();
        let answer = match (toolkit.as_str(), tool.as_str()) {
            ("storage", "upload") => return self.upload(input).await,
            ("storage", "download") => return self.download(input).await,
            ("storage", _) => self.storage(&tool, &json),
            ("queues", "lease" | "receive") => self.take(&tool, &json).await,
            ("queues", _) => self.queues(&tool, &json),
            ("messaging", "enable") => {
                self.room.with(|w| w.messaging_enabled += 1);
                Content::Empty
            }
            ("test", "echo") => Content::from_parts(&arguments, data).unwrap(),
            ("test", "hang") => return,
            ("test", "count") => {
                respond(&self.out, self.id, Content::Control(Control::Open)).await;
                for n in 0..json["to"].as_u64().unwrap() {
                    self.chunk(Content::Json(json!(n))).await;
                }
                self.chunk(Content::Control(Control::END)).await;
                return self.room.with(|w| w.calls.push("counted".into()));
            }
            _ => {
                if self.room.forward(&self.out, self.id, &toolkit, &tool, &(arguments, data)) {
                    return;
                }
                Content::error(RoomCode::NotFound, format!("no toolkit {toolkit}"))
            }
        };
        respond(&self.out, self.id, answer).await;
    }

    async fn chunk(&self, content: Content) {
        let (header, data) = content.into_parts();
        let payload = pack(&json!({"tool_call_id": self.call, "chunk": header}), &data);
        let _ = self.out.send((0, "room.tool_call_response_chunk".into(), payload)).await;
    }

    async fn upload(&self, mut input: mpsc::Receiver<Content>) {
        let Some(Content::Binary { headers, .. }) = input.recv().await else { panic!("no start") };
        let path = headers["path"].as_str().unwrap().to_owned();
        let exists = self.room.with(|w| w.files.contains_key(&path));
        if exists && headers["overwrite"] == json!(false) {
            let error = Content::error(RoomCode::StorageAlreadyExists, "exists");
            return respond(&self.out, self.id, error).await;
        }
        respond(&self.out, self.id, Content::Control(Control::Open)).await;
        let mut all = Vec::new();
        loop {
            self.chunk(Content::binary(json!({"kind": "pull", "chunk_size": 1000}), Bytes::new())).await;
            match input.recv().await {
                Some(Content::Binary { data, .. }) => all.extend_from_slice(&data),
                Some(Content::Control(_)) => break,
                other => panic!("unexpected {other:?}"),
            }
        }
        self.room.with(|w| w.files.insert(path, all.into()));
        self.chunk(Content::Control(Control::END)).await;
    }

    async fn download(&self, mut input: mpsc::Receiver<Content>) {
        let Some(Content::Binary { headers, .. }) = input.recv().await else { panic!("no start") };
        let path = headers["path"].as_str().unwrap().to_owned();
        let Some(file) = self.room.with(|w| w.files.get(&path).cloned()) else {
            let error = Content::error(RoomCode::StorageNotFound, "no such file");
            return respond(&self.out, self.id, error).await;
        };
        respond(&self.out, self.id, Content::Control(Control::Open)).await;
        let start = json!({"kind": "start", "name": "f", "mime_type": "text/plain", "size": file.len()});
        self.chunk(Content::binary(start, Bytes::new())).await;
        for block in file.chunks(1000) {
            let pull = input.recv().await;
            assert_eq!(pull.as_ref().and_then(Content::kind), Some("pull"));
            self.chunk(Content::binary(json!({"kind": "data"}), file.slice_ref(block))).await;
        }
        self.chunk(Content::Control(Control::END)).await;
    }

    fn storage(&self, tool: &str, input: &Value) -> Content {
        let path = input["path"].as_str().unwrap().to_owned();
        self.room.with(|w| match tool {
            "exists" => Content::Json(json!({"exists": w.files.contains_key(&path)})),
            "list" => {
                let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                let names = w.files.iter().filter_map(|(p, d)| Some((p.strip_prefix(&prefix)?, d.len())));
                let files: Vec<_> = names
                    .filter(|(n, _)| !n.contains('/'))
                    .map(|(n, size)| json!({"name": n, "is_folder": false, "size": size}))
                    .collect();
                Content::Json(json!({"files": files}))
            }
            "delete" => match w.files.remove(&path) {
                Some(_) => Content::Empty,
                None => Content::error(RoomCode::StorageNotFound, "not there"),
            },
            _ => Content::error(RoomCode::NotFound, format!("no tool {tool}")),
        })
    }

    async fn take(&self, tool: &str, input: &Value) -> Content {
        let queue = input["name"].as_str().unwrap().to_owned();
        loop {
            let changed = self.room.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let item = self.room.world.lock().unwrap().queues.entry(queue.clone()).or_default().pop_front();
            if let Some((attempts, message)) = item {
                if tool == "receive" {
                    return Content::Json(message);
                }
                let attempt = attempts + 1;
                let id = self.room.with(|w| {
                    w.next += 1;
                    let id = format!("i{}", w.next);
                    w.leased.insert(id.clone(), (queue.clone(), attempt, message.clone()));
                    id
                });
                return Content::Json(
                    json!({"item_id": id, "lease_token": "t", "attempt": attempt, "message": message}),
                );
            }
            if input["wait"] != json!(true) {
                return Content::Empty;
            }
            tokio::select! {
                () = &mut changed => {}
                () = self.out.closed() => return Content::Empty,
            }
        }
    }

    fn queues(&self, tool: &str, input: &Value) -> Content {
        let id = input["item_id"].as_str().unwrap_or_default().to_owned();
        self.room.with(|w| {
            if tool == "send" {
                let queue = input["name"].as_str().unwrap().to_owned();
                w.queues.entry(queue).or_default().push_back((0, input["message"].clone()));
                return Content::Empty;
            }
            if tool == "extend" && w.leased.contains_key(&id) {
                w.extended += 1;
                return Content::Empty;
            }
            let Some((queue, attempt, message)) = w.leased.remove(&id) else {
                return Content::error(RoomCode::Conflict, "the lease is over");
            };
            if tool == "ack" {
                w.acked.push(message);
            } else {
                let reason = input["reason"].as_str().unwrap_or_default().to_owned();
                w.nacked.push((message.clone(), reason));
                if attempt >= ATTEMPTS_MAX {
                    w.dead.push(message);
                } else if input["delay_ms"].as_u64() > Some(0) && !w.no_delays {
                    w.delayed.push((attempt, message));
                } else {
                    w.queues.entry(queue).or_default().push_back((attempt, message));
                }
            }
            Content::Empty
        })
    }
}
