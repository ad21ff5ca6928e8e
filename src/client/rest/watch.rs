//! Following the resources of a kind.

use super::{ProjectRest, RestError, TRANSFER_IDLE_TIMEOUT};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

/// Longest line of a watch, bytes.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One change of a resource, or how far the watch is.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    /// `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`.
    #[serde(rename = "type")]
    pub what: String,
    /// As [`super::Resource`]; of what is gone perhaps only its kind, name and room.
    pub object: Value,
}

impl Change {
    /// The position at which a watch goes on after this.
    pub fn position(&self) -> Option<u64> {
        self.object["resource_version"].as_u64()
    }
}

/// An open watch.
pub struct Watch {
    asked: String,
    lines: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: BytesMut,
    url: String,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl ProjectRest {
    /// The changes of a kind after a position; everything there is first, where no position is named.
    pub async fn watch(&self, kind: &str, since: Option<u64>) -> Result<Watch, RestError> {
        let mut url = self.rest.url(&self.v1(&["resources", kind]))?;
        url.query_pairs_mut().append_pair("watch", "true");
        if let Some(position) = since {
            url.query_pairs_mut().append_pair("resource_version", &position.to_string());
        }
        let asked = format!("GET {}?watch=true", url.path());
        let request = self.rest.request(Method::GET, url);
        let base = self.rest.base().to_owned();
        let timeout = || RestError::Timeout { url: base.clone(), asked: asked.clone() };
        let sent = tokio::time::timeout(TRANSFER_IDLE_TIMEOUT, self.rest.send(request, &asked)).await;
        let response = sent.map_err(|_| timeout())??;
        let lines = response.bytes_stream().boxed();
        Ok(Watch { asked, lines, buffer: BytesMut::new(), url: base })
    }
}

impl Watch {
    /// The next change; `None` when the server ended the watch.
    pub async fn next(&mut self) -> Option<Result<Change, RestError>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let unexpected = |error: serde_json::Error| RestError::Unexpected {
                    asked: self.asked.clone(),
                    reason: error.to_string(),
                };
                return Some(serde_json::from_slice(&line).map_err(unexpected));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Some(Err(self.broken("one line of it has no end")));
            }
            match tokio::time::timeout(TRANSFER_IDLE_TIMEOUT, self.lines.next()).await {
                Ok(Some(Ok(bytes))) => self.buffer.extend_from_slice(&bytes),
                Ok(Some(Err(error))) => return Some(Err(self.broken(&super::error::root_cause(&error)))),
                Ok(None) => return None,
                Err(_) => return Some(Err(self.broken("nothing was heard for too long"))),
            }
        }
    }

    fn broken(&self, reason: &str) -> RestError {
        RestError::Broken { url: self.url.clone(), asked: self.asked.clone(), reason: reason.to_owned() }
    }
}
