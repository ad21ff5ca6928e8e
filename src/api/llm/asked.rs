//! What a request's body asks for.

use super::refusal::Refusal;
use super::router::held_to;
use crate::api::Api;
use crate::llm::body::{Fields, Malformed, nested_models, tool_models};
use crate::llm::form::form_model;
use crate::llm::router::{Asked as Looked, Policy};
use crate::llm::{Form, Operation, REQUEST_BYTES_MAX, Transport};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest time in which a body must have come.
const BODY_WAIT: Duration = Duration::from_mins(2);

/// A body that was read.
#[derive(Debug)]
pub(super) struct Asked {
    pub bytes: Bytes,
    /// Present for JSON.
    pub fields: Option<Fields>,
    /// All that are named; the first is what the usage is counted under.
    pub models: Vec<String>,
    /// The answer is a stream of chat chunks, and this server asked for one more that tells the usage.
    pub hides_usage: bool,
    /// The answer does not tell what it uses: it is made in the background.
    pub answers_later: bool,
    /// Of the bytes that all bodies may take.
    _place: Option<OwnedSemaphorePermit>,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::bad_request(malformed.to_string())
    }
}

/// Reads a body up to its bound, while all bodies together stay within theirs.
pub(super) async fn read(
    api: &Api,
    operation: &Operation,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Asked, Refusal> {
    let (bytes, place) = collect(&api.llm.bodies, body).await?;
    let mut asked = Asked {
        bytes,
        fields: None,
        models: Vec::new(),
        hides_usage: false,
        answers_later: false,
        _place: place,
    };
    if asked.bytes.is_empty() || *method == Method::GET {
        return Ok(asked);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "application/json" => asked.read_json(operation)?,
        "multipart/form-data" => asked.models = form_model(kind, &asked.bytes)?.into_iter().collect(),
        other => return Err(Malformed::Type(other.chars().take(80).collect()).into()),
    }
    Ok(asked)
}

/// The body, and its share of what all bodies may take.
async fn collect(all: &Arc<Semaphore>, body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let refused = |status, code, message: &str| Refusal { status, code, message: message.to_owned() };
    let mut parts = body.into_data_stream();
    let (mut bytes, mut place): (BytesMut, Option<OwnedSemaphorePermit>) = (BytesMut::new(), None);
    let read = async {
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| {
                refused(StatusCode::BAD_REQUEST, "invalid-request", "the body broke off; send it again")
            })?;
            if bytes.len().saturating_add(part.len()) > REQUEST_BYTES_MAX {
                return Err(Refusal {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    code: "too-large",
                    message: format!("the body is larger than {REQUEST_BYTES_MAX} bytes; send less"),
                });
            }
            let more = u32::try_from(part.len()).ok();
            let more = more.and_then(|more| Arc::clone(all).try_acquire_many_owned(more).ok());
            let more = more.ok_or_else(|| {
                let message = "the bodies of other requests take all their room; try again in a moment";
                refused(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
            })?;
            match &mut place {
                Some(place) => place.merge(more),
                None => place = Some(more),
            }
            bytes.extend_from_slice(&part);
        }
        Ok(())
    };
    tokio::time::timeout(BODY_WAIT, read).await.unwrap_or_else(|_| {
        let message = "the body did not come in time; send it faster, or less of it";
        Err(refused(StatusCode::REQUEST_TIMEOUT, "timeout", message))
    })?;
    Ok((bytes.freeze(), place))
}

impl Asked {
    fn read_json(&mut self, operation: &Operation) -> Result<(), Refusal> {
        let fields = Fields::parse(&self.bytes)?;
        self.models = fields.text("model")?.into_iter().collect();
        let more = if operation.nested_models { nested_models(&self.bytes)? } else { tool_models(&fields)? };
        for model in more {
            if !self.models.contains(&model) {
                self.models.push(model);
            }
        }
        self.answers_later = fields.is_asked_for("background");
        self.fields = Some(fields);
        Ok(())
    }

    pub(super) fn model(&self) -> &str {
        self.models.first().map(String::as_str).unwrap_or_default()
    }

    /// Has the project's rules make of it what they say.
    pub(super) async fn route(
        &mut self,
        api: &Api,
        policy: &Arc<Policy>,
        operation: &Operation,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let fields = self.fields.take();
        let looked = Looked { operation, transport: Transport::Http, headers, model: self.model() };
        let Some(fields) = fields else {
            // What is empty asks for nothing that rules are about; a form may, and is passed on as it is.
            return if self.bytes.is_empty() { Ok(()) } else { Ok(policy.check_unread(&looked)?) };
        };
        let (fields, changed) = held_to(api, policy, &looked, fields, Policy::apply).await?;
        if let Some(changed) = changed {
            self.bytes = changed;
        }
        self.fields = Some(fields);
        Ok(())
    }

    /// Has a chat stream tell its usage at the end.
    pub(super) fn ask_for_usage(&mut self, operation: &Operation) {
        if operation.form != Form::ChatCompletions {
            return;
        }
        let Some(fields) = &mut self.fields else { return };
        if fields.value("stream") != Some(Value::Bool(true)) {
            return;
        }
        let mut options = match fields.value("stream_options") {
            None => serde_json::Map::new(),
            Some(Value::Object(options)) => options,
            // The provider's to refuse.
            Some(_) => return,
        };
        if options.get("include_usage") == Some(&Value::Bool(true)) {
            return;
        }
        options.insert("include_usage".to_owned(), Value::Bool(true));
        fields.set("stream_options", &Value::Object(options));
        self.bytes = fields.to_bytes().into();
        self.hides_usage = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_bodies_together_have_a_bound() {
        let all = Arc::new(Semaphore::new(4));
        let held = collect(&all, Body::from("abc")).await.unwrap();
        assert_eq!((&held.0[..], all.available_permits()), (&b"abc"[..], 1));
        let refused = collect(&all, Body::from("de")).await.unwrap_err();
        assert_eq!((refused.status, refused.code), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        drop(held);
        assert_eq!(&collect(&all, Body::from("de")).await.unwrap().0[..], b"de");
        assert_eq!(all.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = collect(&Arc::new(Semaphore::new(4)), never).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }
}
