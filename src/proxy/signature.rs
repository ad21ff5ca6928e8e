//! Whether a request was signed by whom it says: the public algorithms of those who call webhooks. Pure; secrets are
//! compared in a time that does not depend on where they differ.

use super::page::Problem;
use crate::vault::Secret;
use aws_lc_rs::{constant_time, hmac};
use axum::http::{HeaderMap, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;

/// How old or early a signature with a time may be, seconds: what those who sign advise.
pub const TOLERANCE_SECONDS: i64 = 5 * 60;

/// Who signs, and how. The texts are the values of the annotation `meshagent.request.validation.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The secret itself as a bearer.
    Bearer,
    /// A JWT that the secret signed, HS256.
    Jwt,
    Github,
    Salesforce,
    Sentry,
    Slack,
    Shopify,
    Stripe,
    Telegram,
    Twilio,
    Whatsapp,
    Zendesk,
}

impl Signer {
    /// By the text of the annotation.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bearer" => Self::Bearer,
            "jwt" => Self::Jwt,
            "github" => Self::Github,
            "salesforce" => Self::Salesforce,
            "sentry" => Self::Sentry,
            "slack" => Self::Slack,
            "shopify" => Self::Shopify,
            "stripe" => Self::Stripe,
            "telegram" => Self::Telegram,
            "twilio" => Self::Twilio,
            "whatsapp" => Self::Whatsapp,
            "zendesk" => Self::Zendesk,
            _ => return None,
        })
    }

    /// The header in which its signature is.
    const fn header(self) -> &'static str {
        match self {
            Self::Bearer | Self::Jwt => "authorization",
            Self::Github | Self::Whatsapp => "x-hub-signature-256",
            Self::Salesforce => "x-sfmc-ens-signature",
            Self::Sentry => "sentry-hook-signature",
            Self::Shopify => "x-shopify-hmac-sha256",
            Self::Slack => "x-slack-signature",
            Self::Stripe => "stripe-signature",
            Self::Telegram => "x-telegram-bot-api-secret-token",
            Self::Twilio => "x-twilio-signature",
            Self::Zendesk => "x-zendesk-webhook-signature",
        }
    }

    /// Refuses who shows no signature at all, before the body is read.
    pub fn expect(self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let asks = self == Self::Whatsapp && method == Method::GET;
        if asks || headers.contains_key(self.header()) { Ok(()) } else { Err(unsigned()) }
    }
}

/// Why is the sender's own to find out: whoever guesses learns nothing.
fn unsigned() -> Problem {
    let text = "the request is not signed as this address wants it, or too long ago";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// As the caller knows it: with the host, without the scheme.
    pub address: &'a str,
    pub query: &'a str,
    pub body: &'a [u8],
    pub now: DateTime<Utc>,
}

/// What a signature does for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is by whom it says.
    Good,
    /// A question whether this is the right address, with the answer to it.
    Asked(String),
}

/// Holds a request against what its sender's signature should be.
pub fn verify(
    signer: Signer,
    secret: &Secret,
    challenge: Option<&Secret>,
    request: &Signed<'_>,
) -> Result<Verdict, Problem> {
    if signer == Signer::Whatsapp && request.method == Method::GET {
        return asked(challenge.unwrap_or(secret), request.query);
    }
    let good = match signer {
        Signer::Bearer => request.bearer().is_some_and(|token| same(token.as_bytes(), secret.expose())),
        Signer::Jwt => request.bearer().is_some_and(|token| is_jwt(token, secret, request.now)),
        Signer::Telegram => {
            request.text(signer.header()).is_some_and(|token| same(token.as_bytes(), secret.expose()))
        }
        Signer::Github | Signer::Whatsapp => request
            .text(signer.header())
            .and_then(|text| hex::decode(text.strip_prefix("sha256=")?).ok())
            .is_some_and(|tag| request.is_tag(secret, &[request.body], &tag)),
        Signer::Sentry => request
            .text(signer.header())
            .and_then(|text| hex::decode(text).ok())
            .is_some_and(|tag| request.is_tag(secret, &[request.body], &tag)),
        Signer::Shopify => request.is_base64(signer.header(), secret, &[request.body]),
        Signer::Salesforce => request.is_base64(signer.header(), secret, &[request.body]),
        Signer::Zendesk => is_zendesk(secret, request),
        Signer::Slack => is_slack(secret, request),
        Signer::Stripe => is_stripe(secret, request),
        Signer::Twilio => is_twilio(secret, request),
    };
    if !good {
        return Err(unsigned());
    }
    Ok(if signer == Signer::Slack { slack_question(request.body) } else { Verdict::Good })
}

impl Signed<'_> {
    /// A header that is there once.
    fn text(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).into_iter();
        let (Some(value), None) = (all.next(), all.next()) else { return None };
        value.to_str().ok().map(str::trim)
    }

    fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.text(Signer::Bearer.header())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    fn is_tag(&self, secret: &Secret, parts: &[&[u8]], tag: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        hmac::verify(&key, &parts.concat(), tag).is_ok()
    }

    fn is_base64(&self, name: &str, secret: &Secret, parts: &[&[u8]]) -> bool {
        let tag = self.text(name).and_then(|text| STANDARD.decode(text).ok());
        tag.is_some_and(|tag| self.is_tag(secret, parts, &tag))
    }

    /// Whether a time, in seconds since 1970, is near enough.
    fn is_fresh(&self, seconds: i64) -> bool {
        self.now.timestamp().abs_diff(seconds) <= TOLERANCE_SECONDS.unsigned_abs()
    }
}

fn same(given: &[u8], wanted: &[u8]) -> bool {
    !wanted.is_empty() && constant_time::verify_slices_are_equal(given, wanted).is_ok()
}

fn is_jwt(token: &str, secret: &Secret, now: DateTime<Utc>) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(secret.expose());
    let Ok(read) = jsonwebtoken::decode::<Value>(token, &key, &validation) else { return false };
    let time = |name: &str| read.claims.get(name).map(serde_json::Value::as_f64);
    // A time that cannot be read is none to trust.
    #[allow(clippy::cast_precision_loss, reason = "seconds of this era fit a double")]
    let now = now.timestamp() as f64;
    time("exp").is_none_or(|end| end.is_some_and(|end| now < end))
        && time("nbf").is_none_or(|begin| begin.is_some_and(|begin| begin <= now))
}

/// `v0=` and the tag of `v0:<time>:<body>`.
fn is_slack(secret: &Secret, request: &Signed<'_>) -> bool {
    let Some(time) = request.text("x-slack-request-timestamp") else { return false };
    let tag =
        request.text(Signer::Slack.header()).and_then(|text| hex::decode(text.strip_prefix("v0=")?).ok());
    time.parse().is_ok_and(|seconds| request.is_fresh(seconds))
        && tag.is_some_and(|tag| request.is_tag(secret, &[b"v0:", time.as_bytes(), b":", request.body], &tag))
}

/// `t=<time>,v1=<tag>[,v1=<tag>]` of `<time>.<body>`; while a secret is changed there are two.
fn is_stripe(secret: &Secret, request: &Signed<'_>) -> bool {
    let Some(text) = request.text(Signer::Stripe.header()) else { return false };
    let pairs = || text.split(',').filter_map(|pair| pair.trim().split_once('='));
    let Some((_, time)) = pairs().find(|(key, _)| *key == "t") else { return false };
    let signed = |tag: Vec<u8>| request.is_tag(secret, &[time.as_bytes(), b".", request.body], &tag);
    time.parse().is_ok_and(|seconds| request.is_fresh(seconds))
        && pairs().filter(|(key, _)| *key == "v1").filter_map(|(_, tag)| hex::decode(tag).ok()).any(signed)
}

/// The tag of `<time><body>`, where the time is a text.
fn is_zendesk(secret: &Secret, request: &Signed<'_>) -> bool {
    let Some(time) = request.text("x-zendesk-webhook-signature-timestamp") else { return false };
    let at = DateTime::parse_from_rfc3339(time);
    at.is_ok_and(|at| request.is_fresh(at.timestamp()))
        && request.is_base64(Signer::Zendesk.header(), secret, &[time.as_bytes(), request.body])
}

/// The SHA-1 tag of the whole address and, of a form, its fields in order; of any other body the address has a hash.
fn is_twilio(secret: &Secret, request: &Signed<'_>) -> bool {
    let Some(tag) = request.text(Signer::Twilio.header()).and_then(|text| STANDARD.decode(text).ok()) else {
        return false;
    };
    let is_form = request
        .text("content-type")
        .is_some_and(|mime| mime.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    let mut fields = String::new();
    if is_form {
        let mut all: Vec<_> = url::form_urlencoded::parse(request.body).collect();
        all.sort();
        all.dedup();
        for (key, value) in all {
            let _ = write!(fields, "{key}{value}");
        }
    } else if !request.body.is_empty() {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, request.body);
        let given = url::form_urlencoded::parse(request.query.as_bytes());
        let given =
            given.filter(|(key, _)| key == "bodySHA256").map(|(_, hash)| hash.to_ascii_lowercase()).next();
        if !given.and_then(|given| hex::decode(given).ok()).is_some_and(|given| same(&given, hash.as_ref())) {
            return false;
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    ["https", "http"].iter().any(|scheme| {
        let text = format!("{scheme}://{}{fields}", request.address);
        hmac::verify(&key, text.as_bytes(), &tag).is_ok()
    })
}

/// Whoever makes a subscription asks once, with a secret of its own, and wants a text back.
fn asked(secret: &Secret, query: &str) -> Result<Verdict, Problem> {
    let get = |name: &str| {
        let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let known = get("hub.verify_token").is_some_and(|token| same(token.as_bytes(), secret.expose()));
    match (get("hub.mode").as_deref(), known, get("hub.challenge")) {
        (Some("subscribe"), true, Some(text)) if !text.is_empty() => Ok(Verdict::Asked(text)),
        _ => {
            let text = "the address is not confirmed: the verify token is another one";
            Err(Problem::new(StatusCode::FORBIDDEN, "permission-denied", text))
        }
    }
}

/// Slack asks once with a signed body, and wants a text back.
fn slack_question(body: &[u8]) -> Verdict {
    let read: Option<Value> = serde_json::from_slice(body).ok();
    let of_kind = read.filter(|body| body["type"] == "url_verification");
    let text = of_kind.and_then(|body| body["challenge"].as_str().map(str::to_owned));
    text.map_or(Verdict::Good, Verdict::Asked)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
