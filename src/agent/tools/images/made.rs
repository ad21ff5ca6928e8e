//! The provider's images endpoint (`/images/generations`, `/images/edits`).

use crate::agent::config::EndpointConfig;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// How long an image may take.
const MAKE_MAX: Duration = Duration::from_mins(5);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a refusal that are told.
const REFUSAL_BYTES_MAX: usize = 2 * 1024;
/// Between the parts of a form; what stands in images is never this.
const BOUNDARY: &str = "meshagent-2f1d6f0e-0b41-4d0a-9f5b-1f1f2c9b7a55";

pub(super) struct Maker {
    model: String,
    endpoint: EndpointConfig,
    http: Result<reqwest::Client, String>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Maker {
    pub fn new(model: &str, endpoint: EndpointConfig) -> Self {
        let http = reqwest::Client::builder()
            .timeout(MAKE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("meshagent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string());
        Self { model: model.to_owned(), endpoint, http }
    }

    /// A new image, or with `references` (content, media type) a changed one.
    pub async fn make(&self, prompt: &str, references: &[(Bytes, String)]) -> Result<Bytes, String> {
        let http = self.http.as_ref().map_err(Clone::clone)?;
        let fields = [
            ("model", self.model.as_str()),
            ("prompt", prompt),
            ("background", "auto"),
            ("quality", "auto"),
            ("size", "auto"),
            ("output_format", "png"),
        ];
        let base = &self.endpoint.base_url;
        let request = if references.is_empty() {
            let body: serde_json::Map<String, Value> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            http.post(format!("{base}/images/generations")).json(&body)
        } else {
            http.post(format!("{base}/images/edits"))
                .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
                .body(form(&fields, references))
        };
        let sent = request.bearer_auth(&self.endpoint.api_key).send().await;
        let response =
            sent.map_err(|error| format!("the provider cannot be reached: {}", error.without_url()))?;
        let status = response.status();
        let limit = if status.is_success() { ANSWER_BYTES_MAX } else { REFUSAL_BYTES_MAX };
        let body = read(response, limit, status.is_success()).await?;
        if !status.is_success() {
            return Err(format!("the provider answered {status}: {}", String::from_utf8_lossy(&body)));
        }
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|error| format!("the provider's answer is no JSON: {error}"))?;
        let data = answer.pointer("/data/0/b64_json").and_then(Value::as_str);
        let data = data.ok_or("image generation returned no image data")?;
        let data =
            BASE64_STANDARD.decode(data).map_err(|_| "image generation returned invalid image data")?;
        Ok(data.into())
    }
}

/// A body within a limit: what is beyond it fails where all is needed, else it is left.
async fn read(mut response: reqwest::Response, limit: usize, whole: bool) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            if whole {
                return Err(format!("the provider's answer has more than {limit} bytes"));
            }
            body.truncate(limit);
            break;
        }
    }
    Ok(body)
}

fn form(fields: &[(&str, &str)], images: &[(Bytes, String)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    for (n, (data, mime_type)) in images.iter().enumerate() {
        let ending = super::ending(mime_type);
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"{n}{ending}\"\r\n\
             Content-Type: {mime_type}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}
