//! Plain HTTP and event streams. The request is read whole, because it names the model; the answer passes as it comes.

use super::admit::User;
use super::asked::{self, Asked};
use super::count::{Answer, Counter};
use super::logged::Logged;
use super::refusal::Refusal;
use super::router::policy;
use super::{Slot, spend, upstream};
use crate::api::Api;
use crate::llm::router::Policy;
use crate::llm::upstream::Ask;
use crate::llm::{ANSWER_BYTES_MAX, Meter, Operation, headers};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) async fn pass(
    api: &Api,
    user: User,
    operation: Operation,
    request: Request,
    slot: Slot,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let policy = policy(api, user.project)?;
    // What needs no look at the body is refused before it is read.
    let mut operation = operation;
    if operation.is_realtime_call() && (user.is_restricted() || policy.is_restricted()) {
        return Err(Refusal::forbidden(
            "calls do not say here which models they use, and this credential may not use every one; use a WebSocket",
        ));
    }
    let upstream = upstream(api, user.project, &operation).await?;
    spend::check_unmetered(api, &user, &operation)?;
    let mut asked = asked::read(api, &operation, &parts.method, &parts.headers, body).await?;
    check_models(&user, &policy, &operation, &parts.method, &asked)?;
    operation.unmetered |= asked.answers_later;
    let price = spend::check(api, &user, &operation, asked.model()).await?;
    asked.route(api, &policy, &operation, &parts.headers).await?;
    asked.ask_for_usage(&operation);
    let annotations = headers::annotations(&parts.headers);
    let about = (asked.model(), "http", &annotations);
    let begin = || Logged::begin(api, &user, &operation, about, || asked.bytes.clone());
    let mut logged = operation.generates.then(begin).flatten();
    let counter = Counter::new(api, &user, operation.provider, asked.model(), annotations, price);
    // Before it is sent: who leaves while the provider works pays too.
    let mut counted = operation.generates.then(|| counter.answer(asked.bytes.len()));
    let ask = Ask {
        operation: &operation,
        method: parts.method,
        query: parts.uri.query(),
        headers: headers::onward(&parts.headers),
        body: asked.bytes.clone(),
    };
    let sent = upstream.send(ask).await;
    let made = sent.as_ref().is_ok_and(|answer| answer.status().is_success());
    if let Some(free) = counted.take_if(|_| !made) {
        free.free();
    }
    let answer = sent.map_err(Refusal::from).and_then(|answer| match answer.status() {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(key_refused(&operation, status)),
        _ => Ok(answer),
    });
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, reqwest::Response::status);
    if let Some(logged) = &mut logged {
        logged.status(status.as_u16());
    }
    let answer = answer?;
    let back = headers::back(answer.headers());
    let passing = Passing {
        parts: answer.bytes_stream().boxed(),
        meter: Meter::new(content_type(&back), asked.hides_usage),
        answer: counted,
        logged,
        request_bytes: asked.bytes.len() as u64,
        passed: 0,
        ended: false,
        _slot: slot,
    };
    let mut response = Response::new(Body::from_stream(passing));
    *response.status_mut() = status;
    *response.headers_mut() = back;
    Ok(response)
}

/// Every model that is named must be allowed, and where not all are, one must be named.
fn check_models(
    user: &User,
    policy: &Policy,
    operation: &Operation,
    method: &Method,
    asked: &Asked,
) -> Result<(), Refusal> {
    for model in &asked.models {
        user.check_model(operation.provider, model)?;
        policy.check_model(operation.provider, model)?;
    }
    if *method == Method::GET || !(user.is_restricted() || policy.is_restricted()) {
        return Ok(());
    }
    // Of a form only one field is read, and these name models anywhere.
    if operation.nested_models && asked.fields.is_none() {
        return Err(Refusal::bad_request(
            "not every model may be used here, and what is no JSON is not looked into for them; send JSON",
        ));
    }
    if asked.models.is_empty() && (operation.generates || operation.nested_models) {
        return Err(Refusal::bad_request(
            "the body names no `model`, and not every one may be used here; name it",
        ));
    }
    Ok(())
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The provider does not take the key. What it says of the key is not the caller's to know.
fn key_refused(operation: &Operation, status: StatusCode) -> Refusal {
    let provider = operation.provider;
    tracing::warn!(%provider, status = status.as_u16(), "a provider of models refused the key that it was given");
    Refusal {
        status: StatusCode::FAILED_DEPENDENCY,
        code: "provider-refused",
        message: format!(
            "{provider} refused the key that this server gave it (HTTP {}); set another with `meshagent llm provider set {provider}`, or in the server's environment",
            status.as_u16()
        ),
    }
}

/// An answer on its way; counted when it ends, and when it is cut off.
struct Passing {
    parts: BoxStream<'static, reqwest::Result<Bytes>>,
    meter: Meter,
    answer: Option<Answer>,
    logged: Option<Logged>,
    request_bytes: u64,
    passed: u64,
    ended: bool,
    _slot: Slot,
}

impl Passing {
    fn read(&mut self, part: Bytes) -> Result<Bytes, io::Error> {
        self.passed = self.passed.saturating_add(part.len() as u64);
        if self.passed > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer has at most {ANSWER_BYTES_MAX} bytes")));
        }
        if let Some(logged) = &mut self.logged {
            logged.part(&part);
        }
        let part = self.meter.feed(part);
        // Before the caller can know, so that who asks then is told all.
        if let (Some(answer), Some(tokens)) = (&mut self.answer, self.meter.told()) {
            answer.told(tokens, false);
        }
        Ok(part)
    }
}

impl Stream for Passing {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let part = match self.parts.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(part) => part,
            };
            let passed = match part {
                Some(Ok(part)) => self.read(part),
                Some(Err(error)) => Err(io::Error::other(error.without_url())),
                None => {
                    self.ended = true;
                    Ok(self.meter.rest())
                }
            };
            match passed {
                Ok(part) if part.is_empty() => {}
                Ok(part) => return Poll::Ready(Some(Ok(part))),
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(logged) = &mut self.logged {
            logged.usage(self.meter.told());
        }
        let Some(answer) = &mut self.answer else { return };
        // Where nothing can be read, the answer counts its estimate.
        if let Some(reading) = self.meter.reading(self.request_bytes) {
            answer.told(reading.tokens, reading.estimated);
        }
    }
}
