//! Signatures by vectors of those who sign, and forged ones.

use super::*;
use axum::http::{HeaderName, HeaderValue};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

struct Case {
    headers: Vec<(&'static str, String)>,
    address: &'static str,
    body: &'static str,
    now: i64,
}

impl Case {
    fn try_with(&self, signer: Signer, key: &str) -> Result<Verdict, Problem> {
        let pair = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = self.headers.iter().map(pair).collect();
        let query = self.address.split_once('?').map_or("", |(_, query)| query);
        let request = Signed {
            method: &Method::POST,
            headers: &headers,
            address: self.address,
            query,
            body: self.body.as_bytes(),
            now: DateTime::from_timestamp(self.now, 0).unwrap(),
        };
        verify(signer, &secret(key), None, &request)
    }

    /// Good as it is; refused with another secret, body, or without the signature.
    fn holds(self, signer: Signer, key: &str) {
        assert_eq!(self.try_with(signer, key).unwrap(), Verdict::Good, "{signer:?}");
        for wrong in ["", "x", "another secret"] {
            assert!(self.try_with(signer, wrong).is_err(), "{signer:?} with `{wrong}`");
        }
        let forged = Case { body: "forged", headers: self.headers.clone(), ..self };
        if !matches!(signer, Signer::Bearer | Signer::Jwt | Signer::Telegram) {
            assert!(forged.try_with(signer, key).is_err(), "{signer:?}: another body");
        }
        for at in 0..forged.headers.len() {
            let mut less = forged.headers.clone();
            if less.remove(at).0 != "content-type" {
                let case = Case { headers: less, ..self };
                assert!(case.try_with(signer, key).is_err(), "{signer:?} without header {at}");
            }
            let mut broken = forged.headers.clone();
            broken[at].1.push('0');
            let case = Case { headers: broken, ..self };
            if forged.headers[at].0 != "content-type" {
                assert!(case.try_with(signer, key).is_err(), "{signer:?} with a longer header {at}");
            }
        }
    }
}

fn hex_tag(key: &str, text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    hex::encode(tag)
}

fn base64_tag(key: &str, text: &str) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes()))
}

fn case(headers: Vec<(&'static str, String)>, body: &'static str) -> Case {
    Case { headers, address: "a.b/x", body, now: 1_700_000_000 }
}

#[test]
fn github_signs_the_body() {
    // The example of its documentation.
    let tag = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let sent = case(vec![("x-hub-signature-256", tag.to_owned())], "Hello, World!");
    sent.holds(Signer::Github, "It's a Secret to Everybody");
    let sha1 = case(vec![("x-hub-signature", "sha1=00".to_owned())], "Hello, World!");
    assert!(sha1.try_with(Signer::Github, "It's a Secret to Everybody").is_err(), "SHA-1 is not enough");
}

#[test]
fn slack_signs_a_time_with_the_body() {
    // The example of its documentation.
    let key = "8f742231b10e8888abcd99yyyzzz85a5";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let tag = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers = || {
        vec![("x-slack-request-timestamp", "1531420618".to_owned()), ("x-slack-signature", tag.to_owned())]
    };
    let sent = |now| Case { headers: headers(), address: "a.b/", body, now };
    sent(1_531_420_618 + TOLERANCE_SECONDS).holds(Signer::Slack, key);
    for late in [1_531_420_618 + TOLERANCE_SECONDS + 1, 1_531_420_618 - TOLERANCE_SECONDS - 1] {
        assert!(sent(late).try_with(Signer::Slack, key).is_err(), "{late}");
    }
    let body = r#"{"type":"url_verification","challenge":"c"}"#;
    let tag = format!("v0={}", hex_tag("k", &format!("v0:1700000000:{body}")));
    let asked =
        case(vec![("x-slack-request-timestamp", "1700000000".into()), ("x-slack-signature", tag)], body);
    assert_eq!(asked.try_with(Signer::Slack, "k").unwrap(), Verdict::Asked("c".to_owned()));
    assert!(asked.try_with(Signer::Slack, "other").is_err(), "only a signed question is answered");
}

#[test]
fn stripe_may_sign_twice_while_a_secret_is_changed() {
    let tag = hex_tag("whsec_a", "1700000000.{}");
    let text = |tags: &str| vec![("stripe-signature", format!("t=1700000000,{tags}"))];
    case(text(&format!("v1={tag}")), "{}").holds(Signer::Stripe, "whsec_a");
    let twice = case(text(&format!("v1=00, v1={tag},v0=11")), "{}");
    assert_eq!(twice.try_with(Signer::Stripe, "whsec_a").unwrap(), Verdict::Good);
    let old = case(text(&format!("v0={tag}")), "{}");
    assert!(old.try_with(Signer::Stripe, "whsec_a").is_err(), "the test scheme is no signature");
    let late = Case { now: 1_700_000_301, ..case(text(&format!("v1={tag}")), "{}") };
    assert!(late.try_with(Signer::Stripe, "whsec_a").is_err());
}

#[test]
fn others_sign_the_body() {
    case(vec![("x-shopify-hmac-sha256", base64_tag("k1", "b"))], "b").holds(Signer::Shopify, "k1");
    case(vec![("x-sfmc-ens-signature", base64_tag("k1", "b"))], "b").holds(Signer::Salesforce, "k1");
    case(vec![("sentry-hook-signature", hex_tag("k1", "b"))], "b").holds(Signer::Sentry, "k1");
    case(vec![("x-hub-signature-256", format!("sha256={}", hex_tag("k1", "b")))], "b")
        .holds(Signer::Whatsapp, "k1");
    let time = "2023-11-14T22:13:20Z";
    let zendesk = vec![
        ("x-zendesk-webhook-signature", base64_tag("k1", &format!("{time}b"))),
        ("x-zendesk-webhook-signature-timestamp", time.to_owned()),
    ];
    case(zendesk, "b").holds(Signer::Zendesk, "k1");
}

#[test]
fn twilio_signs_its_address_and_the_fields_of_a_form() {
    // The example of its documentation.
    let headers = vec![
        ("x-twilio-signature", "0/KCTR6DLpKmkAf8muzZqo1nDgQ=".to_owned()),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    let body =
        "CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212";
    let address = "mycompany.com/myapp.php?foo=1&bar=2";
    Case { headers: headers.clone(), address, body, now: 0 }.holds(Signer::Twilio, "12345");
    let other = Case { headers, address: "other.com/myapp.php?foo=1&bar=2", body, now: 0 };
    assert!(other.try_with(Signer::Twilio, "12345").is_err(), "another address");
    // Any other body: its hash is in the address.
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let address = "a.b/x?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert!(address.ends_with(hash));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
    let tag = STANDARD.encode(hmac::sign(&key, format!("https://{address}").as_bytes()));
    let json = |body| Case { headers: vec![("x-twilio-signature", tag.clone())], address, body, now: 0 };
    assert_eq!(json("{}").try_with(Signer::Twilio, "12345").unwrap(), Verdict::Good);
    assert!(json("{ }").try_with(Signer::Twilio, "12345").is_err(), "another body");
}

#[test]
fn secrets_and_tokens_are_compared_whole() {
    case(vec![("x-telegram-bot-api-secret-token", "k1".into())], "").holds(Signer::Telegram, "k1");
    case(vec![("authorization", "Bearer k1".into())], "").holds(Signer::Bearer, "k1");
    let jwt = |claims: Value| {
        let key = jsonwebtoken::EncodingKey::from_secret(b"k1");
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        case(vec![("authorization", format!("Bearer {token}"))], "")
    };
    jwt(serde_json::json!({"sub": "a", "exp": 1_700_000_001})).holds(Signer::Jwt, "k1");
    for bad in [
        serde_json::json!({"exp": 1_700_000_000}),
        serde_json::json!({"exp": "x"}),
        serde_json::json!({"nbf": 1_700_000_001}),
    ] {
        assert!(jwt(bad.clone()).try_with(Signer::Jwt, "k1").is_err(), "{bad}");
    }
    let none = case(vec![("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.".into())], "");
    assert!(none.try_with(Signer::Jwt, "k1").is_err(), "unsigned");
}

#[test]
fn an_address_is_confirmed_to_who_knows_the_verify_token() {
    let ask = |query: &str| {
        let headers = HeaderMap::new();
        let now = DateTime::UNIX_EPOCH;
        let request =
            Signed { method: &Method::GET, headers: &headers, address: "a.b/", query, body: b"", now };
        verify(Signer::Whatsapp, &secret("app"), Some(&secret("token")), &request)
    };
    let good = "hub.mode=subscribe&hub.verify_token=token&hub.challenge=42";
    assert_eq!(ask(good).unwrap(), Verdict::Asked("42".to_owned()));
    for bad in [
        "",
        "hub.mode=subscribe&hub.verify_token=app&hub.challenge=42",
        "hub.mode=subscribe&hub.challenge=42",
        "hub.mode=x&hub.verify_token=token&hub.challenge=42",
        "hub.mode=subscribe&hub.verify_token=token",
    ] {
        assert!(ask(bad).is_err(), "{bad}");
    }
}
