//! The credential of requests to one server: asked for when it is first needed, and again shortly before it ends.

use super::ToolSecrets;
use crate::app::tools::ToolServer;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderName, HeaderValue};
use futures_util::stream::BoxStream;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long before its end a credential is asked for anew.
const LEEWAY: Duration = Duration::from_secs(30);

type Failed = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// A header, and until when it is good where that is known.
type Given = Option<(HeaderValue, Option<Instant>)>;

/// An HTTP client that puts the credential of a server into each request.
#[derive(Clone)]
pub(super) struct Renewing {
    http: reqwest::Client,
    secrets: Arc<dyn ToolSecrets>,
    server: Arc<ToolServer>,
    given: Arc<Mutex<Given>>,
}

impl Renewing {
    pub fn new(http: reqwest::Client, secrets: Arc<dyn ToolSecrets>, server: ToolServer) -> Self {
        Self { http, secrets, server: Arc::new(server), given: Arc::default() }
    }

    /// The header, where the server gets one.
    pub async fn header(&self) -> Result<Option<HeaderValue>, String> {
        if self.server.secret.is_none() && self.server.oauth.is_none() {
            return Ok(None);
        }
        let mut given = self.given.lock().await;
        let is_good = |until: &Option<Instant>| until.is_none_or(|until| Instant::now() + LEEWAY < until);
        if let Some((header, until)) = given.as_ref()
            && is_good(until)
        {
            return Ok(Some(header.clone()));
        }
        let new = self.secrets.credential(&self.server).await?;
        let text = new.value.expose_str().map(str::trim).unwrap_or_default();
        let text = if text.contains(' ') { text.to_owned() } else { format!("Bearer {text}") };
        let text = zeroize::Zeroizing::new(text);
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| "the credential has bytes that no header can carry".to_owned())?;
        header.set_sensitive(true);
        *given = Some((header.clone(), new.valid_for.map(|time| Instant::now() + time)));
        Ok(Some(header))
    }

    async fn with(&self, mut headers: Headers) -> Result<Headers, Failed> {
        let header = self.header().await.map_err(|why| Failed::Io(io::Error::other(why)))?;
        headers.extend(header.map(|header| (AUTHORIZATION, header)));
        Ok(headers)
    }
}

impl StreamableHttpClient for Renewing {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let headers = self.with(headers).await?;
        self.http.post_message(uri, message, session_id, auth, headers).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
        most: usize,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let headers = self.with(headers).await?;
        self.http.post_message_with_max_sse_event_size(uri, message, session_id, auth, headers, most).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        let headers = self.with(headers).await?;
        self.http.delete_session(uri, session_id, auth, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let headers = self.with(headers).await?;
        self.http.get_stream(uri, session_id, last, auth, headers).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last: Option<String>,
        auth: Option<String>,
        headers: Headers,
        most: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let headers = self.with(headers).await?;
        self.http.get_stream_with_max_sse_event_size(uri, session_id, last, auth, headers, most).await
    }
}
