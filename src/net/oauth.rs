//! Token endpoints (RFC 6749): a form by POST, an access token for it. They are asked at public addresses only, and at
//! hosts that the operator allowed; redirects are not followed.

use super::guard::{self, Allowed, Refused};
use serde_json::Value;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a token endpoint may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Longest answer of a token endpoint, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest word for an error that is passed on, bytes.
const ERROR_WORD_BYTES_MAX: usize = 64;

/// Who asks, and where. Secrets are never shown: the type has no `Debug`.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it holds a secret")]
pub struct Client<'a> {
    pub id: &'a str,
    pub secret: Option<&'a str>,
    /// `https://…`
    pub token_endpoint: &'a str,
}

/// What a token endpoint gave.
#[allow(missing_debug_implementations, reason = "it holds secrets")]
pub struct Tokens {
    pub access_token: Zeroizing<String>,
    pub refresh_token: Option<Zeroizing<String>>,
    /// How long the access token is good for, where the endpoint says so.
    pub lifetime: Option<Duration>,
}

/// Why there is no token. Never names what was sent, nor more of an answer than its error code.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token endpoint: {0}")]
    Address(#[from] Refused),
    #[error("`{host}` gave no token: {why}")]
    Unanswered { host: String, why: String },
    #[error("`{host}` gave no token: status {status}, {error}")]
    Denied { host: String, status: u16, error: String },
}

impl TokenError {
    /// The code or refresh token is no good, or no longer.
    #[must_use]
    pub fn is_invalid_grant(&self) -> bool {
        matches!(self, Self::Denied { error, .. } if error == "invalid_grant")
    }
}

/// Asks for a token. `form` says by what: its `grant_type` and what belongs to it.
pub async fn ask(
    client: Client<'_>,
    mut form: Vec<(&str, &str)>,
    allowed: &Allowed,
) -> Result<Tokens, TokenError> {
    let target = guard::check(client.token_endpoint, allowed).await?;
    form.push(("client_id", client.id));
    form.extend(client.secret.map(|secret| ("client_secret", secret)));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let host = target.host().to_owned();
    let unanswered = |why: String| TokenError::Unanswered { host: host.clone(), why };
    let failed = |error: reqwest::Error| unanswered(error.without_url().to_string());
    let http = target.client()?.timeout(ANSWER_WAIT).build().map_err(failed)?;
    let request = http
        .post(target.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(body);
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut bytes = Zeroizing::new(vec![]);
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(unanswered(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |field: &str| answer[field].as_str().filter(|text| !text.is_empty());
    match text("access_token") {
        Some(access_token) if status.is_success() => Ok(Tokens {
            access_token: Zeroizing::new(access_token.to_owned()),
            refresh_token: text("refresh_token").map(|token| Zeroizing::new(token.to_owned())),
            lifetime: lifetime(&answer["expires_in"]),
        }),
        _ => Err(TokenError::Denied { host, status: status.as_u16(), error: error_word(&answer["error"]) }),
    }
}

/// Seconds, as a number or, as some endpoints have it, a text.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    seconds.map(Duration::from_secs)
}

/// An error code of the standard; anything else could be an echo of what was sent.
fn error_word(value: &Value) -> String {
    let is_code = |text: &&str| {
        (1..=ERROR_WORD_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
    };
    value.as_str().filter(is_code).unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_error_codes_are_passed_on() {
        assert_eq!(error_word(&json!("invalid_grant")), "invalid_grant");
        for other in
            [json!("token r-s3cr3t is wrong"), json!(""), json!("x".repeat(65)), json!(7), json!(null)]
        {
            assert_eq!(error_word(&other), "no reason given");
        }
        assert_eq!(lifetime(&json!("60")), Some(Duration::from_mins(1)));
        assert_eq!(lifetime(&json!(-1)), None);
    }

    #[tokio::test]
    async fn a_token_endpoint_within_is_not_asked() {
        let client = Client { id: "c", secret: Some("s3cr3t"), token_endpoint: "http://127.0.0.1:9/token" };
        let error = ask(client, vec![], &Allowed::default()).await.err().unwrap();
        assert!(matches!(error, TokenError::Address(Refused::NotPublic(_))), "{error}");
        assert!(!error.to_string().contains("s3cr3t"));
    }
}
