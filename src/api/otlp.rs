//! The OTLP receiver over HTTP: traces, metrics and logs of sessions, protobuf or JSON, plain or gzip. Over gRPC see
//! [`super::otlp_grpc`].

use super::auth::{Access, Caller};
use super::route::Route;
use super::{Api, Problem};
use crate::id::SessionId;
use crate::telemetry::{Record, otlp};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;
use std::io::Read;

/// Longest request after decompression, bytes.
pub const REQUEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/otel/{key}/v1/{signal}",
            "otlp_of_session",
            "Telemetry of a session, by the address that its services are given",
            Access::Open,
            post(by_key),
        ),
        Route::new(
            Method::POST,
            "/v1/{signal}",
            "otlp",
            "Telemetry of the session of the participant whose token it is",
            Access::SignedIn,
            post(by_token),
        ),
    ]
}

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "traces" => Ok(Self::Traces),
            "metrics" => Ok(Self::Metrics),
            "logs" => Ok(Self::Logs),
            other => {
                Err(Problem::not_found(format!("no signal `{other}`; there are traces, metrics and logs")))
            }
        }
    }
}

async fn by_key(
    State(api): State<Api>,
    Path((key, signal)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let session = api.ingest.session(&key).ok_or_else(|| {
        Problem::forbidden(
            "this telemetry address is not one of this server; use OTEL_ENDPOINT as it was given",
        )
    })?;
    take(&api, session, &signal, &headers, &body)
}

async fn by_token(
    State(api): State<Api>,
    caller: Caller,
    Path(signal): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let session = session_of(&api, &caller)?;
    take(&api, session, &signal, &headers, &body)
}

/// The session that runs in the participant's room.
pub(super) fn session_of(api: &Api, caller: &Caller) -> Result<SessionId, Problem> {
    let room = match caller {
        Caller::Participant(bearer) => bearer.room.as_deref(),
        Caller::Account { .. } | Caller::User(_) => None,
    };
    let room = room.ok_or_else(|| {
        Problem::forbidden(
            "telemetry belongs to a room's session; send it with a participant token of the room",
        )
    })?;
    let world = api.app.world();
    let found = world.named(caller.project(), crate::domain::names::Kind::Room, None, room);
    let session = found.and_then(|uuid| world.active_session(crate::id::RoomId::new(caller.project(), uuid)));
    session.map(|(id, _)| id).ok_or_else(|| {
        Problem::not_found(format!("room `{room}` has no session now; connect to the room first"))
    })
}

fn take(
    api: &Api,
    session: SessionId,
    signal: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let signal = Signal::parse(signal)?;
    if api.app.world().session(session).is_none() {
        return Err(Problem::not_found("the session of this telemetry is not known here"));
    }
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
    let body = plain(headers, body)?;
    let records = records(signal, session, &body, is_json)?;
    api.telemetry.add(records);
    api.forward(signal_path(signal), session, &body, is_json);
    // An empty message, in the encoding that was used, says that all was taken.
    let (kind, empty) = if is_json { ("application/json", "{}") } else { ("application/x-protobuf", "") };
    Ok((StatusCode::OK, [(CONTENT_TYPE, kind)], empty).into_response())
}

const fn signal_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    }
}

fn plain(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let too_long = || {
        Problem::bad_request(format!(
            "more than {REQUEST_BYTES_MAX} bytes of telemetry in one request; send smaller batches"
        ))
    };
    let mut plain = vec![];
    match headers.get(CONTENT_ENCODING).map(object_store::HeaderValue::as_bytes) {
        None | Some(b"identity") => plain.extend_from_slice(body),
        Some(b"gzip") => {
            let mut decoder = GzDecoder::new(body).take(REQUEST_BYTES_MAX + 1);
            decoder
                .read_to_end(&mut plain)
                .map_err(|error| Problem::bad_request(format!("the body is not gzip: {error}")))?;
        }
        Some(_) => return Err(Problem::bad_request("telemetry may be plain or gzip, nothing else")),
    }
    if plain.len() as u64 > REQUEST_BYTES_MAX { Err(too_long()) } else { Ok(plain) }
}

fn records(signal: Signal, session: SessionId, body: &[u8], is_json: bool) -> Result<Vec<Record>, Problem> {
    Ok(match signal {
        Signal::Traces => otlp::spans(session, &read::<ExportTraceServiceRequest>(body, is_json)?),
        Signal::Metrics => otlp::metrics(session, &read::<ExportMetricsServiceRequest>(body, is_json)?),
        Signal::Logs => otlp::logs(session, &read::<ExportLogsServiceRequest>(body, is_json)?),
    })
}

fn read<T: Message + Default + DeserializeOwned>(body: &[u8], is_json: bool) -> Result<T, Problem> {
    if is_json {
        return serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("the body is no OTLP request in JSON: {error}")));
    }
    T::decode(body).map_err(|error| Problem::bad_request(format!("the body is no OTLP request: {error}")))
}
