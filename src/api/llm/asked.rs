//! What a request's body asks for.

use super::refusal::Refusal;
use crate::llm::body::{Fields, Malformed, form_model, nested_models};
use crate::llm::{Form, Operation, REQUEST_BYTES_MAX};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;

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
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::bad_request(malformed.to_string())
    }
}

/// Reads a body up to its bound.
pub(super) async fn read(
    operation: &Operation,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Asked, Refusal> {
    let bytes = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|_| Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "too-large",
        message: format!("the body broke off, or is larger than {REQUEST_BYTES_MAX} bytes; send less"),
    })?;
    let none = Asked { bytes: bytes.clone(), fields: None, models: Vec::new(), hides_usage: false };
    if bytes.is_empty() || *method == Method::GET {
        return Ok(none);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "application/json" => of_json(operation, bytes),
        "multipart/form-data" => {
            let models = form_model(kind, &bytes)?.into_iter().collect();
            Ok(Asked { models, ..none })
        }
        other => Err(Malformed::Type(other.chars().take(80).collect()).into()),
    }
}

fn of_json(operation: &Operation, bytes: Bytes) -> Result<Asked, Refusal> {
    let fields = Fields::parse(&bytes)?;
    let mut models: Vec<String> = fields.text("model")?.into_iter().collect();
    if operation.nested_models {
        let whole: Value = serde_json::from_slice(&bytes).map_err(|e| Malformed::NotJson(e.to_string()))?;
        let nested = nested_models(&whole)?;
        models.extend(nested.into_iter().filter(|one| models.first() != Some(one)).collect::<Vec<_>>());
    }
    Ok(Asked { bytes, fields: Some(fields), models, hides_usage: false })
}

impl Asked {
    pub(super) fn model(&self) -> &str {
        self.models.first().map(String::as_str).unwrap_or_default()
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
