//! WebSockets: responses and realtime. Each message of the caller that asks for something is looked at before it goes on;
//! each answer that tells what it used is counted.

use super::admit::User;
use super::count::{Answer, Counter};
use super::logged::Logged;
use super::refusal::Refusal;
use super::router::{Apply, held_to, policy};
use super::{Slot, spend, upstream};
use crate::api::{Api, relay};
use crate::llm::body::{Fields, nested_models, tool_models};
use crate::llm::meter::MessageMeter;
use crate::llm::router::{Asked as Looked, Policy};
use crate::llm::{Form, Operation, Transport, headers};
use crate::net::socket::{MESSAGE_BYTES_MAX, Upstream as Socket};
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite as ws;

/// Longest time without a message in either direction.
const SILENCE_MAX: Duration = Duration::from_mins(65);
/// Longest message from the provider to the caller, or back, that may wait to be written.
const WRITE_WAIT: Duration = Duration::from_mins(2);

/// What the provider says when an answer ends.
const ENDS: [&str; 5] =
    ["response.completed", "response.done", "response.failed", "response.incomplete", "response.cancelled"];

/// One connection's user, and what it asks for.
struct Session {
    api: Api,
    user: User,
    operation: Operation,
    annotations: BTreeMap<String, String>,
    /// What the project's rules look at.
    headers: HeaderMap,
    /// Of answers to the model that was asked last.
    counter: Option<Counter>,
    /// The answer that is under way.
    open: Option<Answer>,
    /// Whether the provider said that it is making one.
    began: bool,
    /// The record of it, where loggers listen.
    logged: Option<Logged>,
    meter: MessageMeter,
}

pub(super) async fn pass(
    api: &Api,
    user: User,
    operation: Operation,
    request: Request,
    slot: Slot,
) -> Result<Response, Refusal> {
    if !operation.takes_socket() {
        return Err(Refusal::bad_request(format!(
            "`{}` takes no WebSocket; send an ordinary request",
            operation.path
        )));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let query = parts.uri.query().map(str::to_owned);
    let mut session = Session {
        api: api.clone(),
        user,
        operation,
        annotations: headers::annotations(&parts.headers),
        headers: parts.headers.clone(),
        counter: None,
        open: None,
        began: false,
        logged: None,
        meter: MessageMeter::default(),
    };
    let mut opening = None;
    if session.operation.form == Form::Realtime {
        let model = query_model(query.as_deref());
        session.begin(&model).await?;
        opening = session.opening(query.as_deref().unwrap_or_default())?;
    }
    let upstream = upstream(api, session.user.project, &session.operation).await?;
    let mut onward = headers::onward(&parts.headers);
    onward.remove(header::ACCEPT_ENCODING);
    let protocols = headers::protocols(&parts.headers);
    if let Ok(value) = protocols.join(", ").parse()
        && !protocols.is_empty()
    {
        onward.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let (mut provider, answer) = upstream.dial(&session.operation, query.as_deref(), onward).await?;
    if let Some(opening) = opening {
        // Before anything of the caller is passed on.
        let sent = provider.send(ws::Message::text(opening.to_string()));
        tokio::time::timeout(WRITE_WAIT, sent).await.ok().and_then(Result::ok).ok_or_else(unreachable)?;
    }
    let chosen = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let upgrade = match chosen.map(str::to_owned) {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |caller| async move {
        relay(session, caller, provider).await;
        drop(slot);
    }))
}

fn unreachable() -> Refusal {
    Refusal {
        status: StatusCode::BAD_GATEWAY,
        code: "upstream-unreachable",
        message: "the provider closed the socket at once; try again".to_owned(),
    }
}

fn query_model(query: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .filter(|(name, _)| name == "model")
        .map(|(_, value)| value.into_owned())
        .collect::<Vec<_>>()
        .join(",")
}

impl Session {
    /// Whether this model may be used now, and who pays for it.
    async fn begin(&mut self, model: &str) -> Result<(), Refusal> {
        let provider = self.operation.provider;
        let policy = policy(&self.api, self.user.project)?;
        policy.check_app(&self.headers)?;
        if model.is_empty() && (self.user.is_restricted() || policy.is_restricted()) {
            return Err(Refusal::bad_request(
                "no `model` is named, and not every one may be used here; name it",
            ));
        }
        if !model.is_empty() {
            self.user.check_model(provider, model)?;
            policy.check_model(provider, model)?;
        }
        let price = spend::check(&self.api, &self.user, &self.operation, model).await?;
        let annotations = self.annotations.clone();
        self.counter = Some(Counter::new(&self.api, &self.user, provider, model, annotations, price));
        Ok(())
    }

    /// Begins with the answer to a message, unless another is under way.
    async fn begin_answer(&mut self, model: &str, text: &str) -> Result<(), Refusal> {
        if self.open.is_some() {
            return Err(Refusal::bad_request(
                "an answer is under way; wait for its end, or use another socket",
            ));
        }
        self.begin(model).await?;
        self.open = self.counter.as_ref().map(|counter| counter.answer(text.len()));
        self.log(model, text);
        Ok(())
    }

    fn log(&mut self, model: &str, text: &str) {
        let asked = (model, "websocket", &self.annotations);
        let request = || Bytes::copy_from_slice(text.as_bytes());
        self.logged = Logged::begin(&self.api, &self.user, &self.operation, asked, request);
        self.logged.iter_mut().for_each(|logged| logged.status(StatusCode::OK.as_u16()));
    }

    /// What a realtime session is told before the caller says anything.
    fn opening(&self, query: &str) -> Result<Option<Value>, Refusal> {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        if pairs.any(|(name, value)| name == "intent" && value == "transcription") {
            return Ok(None);
        }
        let model = self.counter.as_ref().map(Counter::model).unwrap_or_default();
        let beta = self.headers.get("openai-beta").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let policy = policy(&self.api, self.user.project)?;
        Ok(policy.realtime_opening(&self.looked(model), beta.contains("realtime=v1"))?)
    }

    fn looked<'a>(&'a self, model: &'a str) -> Looked<'a> {
        let transport = Transport::WebSocket;
        Looked { operation: &self.operation, transport, headers: &self.headers, model }
    }

    /// What goes on to the provider of a text of the caller, where that is another.
    async fn onward(&mut self, text: &str) -> Result<Option<String>, Refusal> {
        let fields = Fields::parse(text.as_bytes())?;
        let policy = policy(&self.api, self.user.project)?;
        let creates = fields.text("type")?.as_deref() == Some("response.create");
        if self.operation.form == Form::Realtime {
            // The model is the address's; what else is named must be allowed too.
            self.check_models(&policy, nested_models(text.as_bytes())?)?;
            let model = self.counter.as_ref().map(|counter| counter.model().to_owned()).unwrap_or_default();
            let changed = self.held_to(&policy, &model, fields, Policy::apply_realtime).await?;
            if creates {
                self.begin_answer(&model, changed.as_deref().unwrap_or(text)).await?;
            }
            return Ok(changed);
        }
        if creates {
            self.check_models(&policy, tool_models(&fields)?)?;
            if fields.is_asked_for("background") {
                return Err(Refusal::bad_request("answers in the background are not made over a socket"));
            }
            let model = fields.text("model")?.unwrap_or_default();
            let changed = self.held_to(&policy, &model, fields, Policy::apply).await?;
            self.begin_answer(&model, changed.as_deref().unwrap_or(text)).await?;
            return Ok(changed);
        }
        Ok(None)
    }

    /// A text as the rules make it, where that may be another.
    async fn held_to(
        &self,
        policy: &Arc<Policy>,
        model: &str,
        fields: Fields,
        apply: Apply,
    ) -> Result<Option<String>, Refusal> {
        let (_, changed) = held_to(&self.api, policy, &self.looked(model), fields, apply).await?;
        // It was made of texts.
        Ok(changed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn check_models(&self, policy: &Policy, models: BTreeSet<String>) -> Result<(), Refusal> {
        models.iter().try_for_each(|model| {
            self.user.check_model(self.operation.provider, model)?;
            Ok(policy.check_model(self.operation.provider, model)?)
        })
    }

    /// Counts what a text of the provider tells of.
    fn count(&mut self, text: &str) {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let kind = serde_json::from_str::<Kind<'_>>(text).map(|read| read.kind).unwrap_or_default();
        let told = self.meter.read(text.as_bytes());
        let ends = ENDS.contains(&&*kind);
        let is_realtime = self.operation.form == Form::Realtime;
        if kind == "response.created" {
            self.began = true;
            if self.open.is_none() {
                // The provider's own: it heard the end of what was said.
                self.open = self.counter.as_ref().map(|counter| counter.answer(0));
                let model = self.counter.as_ref().map(|counter| counter.model().to_owned());
                self.log(&model.unwrap_or_default(), "");
            }
        }
        // In realtime an error is about one message of the caller; that may be the one that asked for an answer.
        let over = ends || (kind == "error" && !(is_realtime && self.began));
        match (self.open.as_mut(), told) {
            (Some(open), Some(tokens)) if ends => open.told(tokens, false),
            (Some(open), None) if kind != "error" => open.event(),
            (_, Some(tokens)) => self.counter.iter().for_each(|counter| counter.add(tokens)),
            (_, None) => {}
        }
        if over {
            self.began = false;
            if let Some(mut logged) = self.logged.take() {
                logged.part(text.as_bytes());
                logged.usage(told);
            }
        }
        let refused = kind == "error" && !is_realtime;
        if let Some(open) = self.open.take_if(|_| over)
            && refused
            && !open.has_begun()
        {
            open.free();
        }
    }
}

/// Copies messages both ways until one side closes, or both are silent.
async fn relay(mut session: Session, caller: WebSocket, provider: Socket) {
    let (mut to_caller, mut from_caller) = caller.split();
    let (mut to_provider, mut from_provider) = provider.split();
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, async {
            tokio::select! {
                message = from_caller.next() => Side::Caller(message),
                message = from_provider.next() => Side::Provider(message),
            }
        });
        let Ok(side) = next.await else { break };
        let sent = async {
            match side {
                Side::Caller(Some(Ok(message))) => {
                    let looked = match &message {
                        Message::Text(text) => session.onward(text.as_str()).await,
                        Message::Binary(_) => Err(Refusal::bad_request("send messages as text")),
                        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
                    };
                    match looked {
                        Err(refusal) => to_caller.send(Message::text(refused(&refusal))).await.is_ok(),
                        Ok(Some(changed)) => to_provider.send(ws::Message::text(changed)).await.is_ok(),
                        Ok(None) => to_provider.send(relay::onward(message)).await.is_ok(),
                    }
                }
                Side::Provider(Some(Ok(message))) => {
                    if let ws::Message::Text(text) = &message {
                        session.count(text.as_str());
                    }
                    match relay::back(message) {
                        Some(message) => to_caller.send(message).await.is_ok(),
                        None => true,
                    }
                }
                Side::Caller(Some(Err(_)) | None) | Side::Provider(Some(Err(_)) | None) => false,
            }
        };
        if !matches!(tokio::time::timeout(WRITE_WAIT, sent).await, Ok(true)) {
            break;
        }
    }
    let _ = tokio::time::timeout(WRITE_WAIT, to_provider.close()).await;
    let _ = tokio::time::timeout(WRITE_WAIT, to_caller.close()).await;
}

/// Who said something.
enum Side {
    Caller(Option<Result<Message, axum::Error>>),
    Provider(Option<Result<ws::Message, ws::Error>>),
}

/// A refusal as the provider's own errors look on a socket.
fn refused(refusal: &Refusal) -> String {
    let mut body = refusal.body();
    if let Some(body) = body.as_object_mut() {
        body.insert("status".to_owned(), Value::from(refusal.status.as_u16()));
    }
    body.to_string()
}
