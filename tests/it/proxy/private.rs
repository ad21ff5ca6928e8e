//! Sites that are not public: who gets in, and who does not.

use super::{Desk, Got};
use reqwest::{Method, StatusCode};
use serde_json::json;

const HOST: &str = "inside.example";
const SIGN_IN: &str = "/.well-known/meshagent/sign-in";
const PAGE: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

async fn desk() -> Desk {
    let desk = Desk::start("den").await;
    desk.file("den", "site/index.html", "<h1>inside</h1>").await;
    let paths = json!([{"path": "/", "targetContent": {"subpath": "site", "index": true, "iap": true}}]);
    desk.route(HOST, "den", paths.clone()).await;
    desk.route("second.example", "den", paths).await;
    desk
}

async fn form(desk: &Desk, host: &str, token: &str, back: &str, headers: &[(&str, &str)]) -> Got {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("return", back)
        .finish();
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    desk.ask(Method::POST, host, SIGN_IN, &all, &body).await
}

fn cookie(got: &Got) -> String {
    got.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_and_a_stranger_does_not() {
    let desk = desk().await;
    // Programs are refused, people are sent to sign in.
    let refused = desk.get(HOST, "/a?b=c", &[]).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    assert!(!refused.text().contains("inside</h1>"));
    let sent = desk.get(HOST, "/a?b=c", &[PAGE]).await;
    let location = sent.header("location").to_owned();
    assert_eq!(
        (sent.status, location.as_str()),
        (StatusCode::SEE_OTHER, "/.well-known/meshagent/sign-in?return=%2Fa%3Fb%3Dc")
    );
    let page = desk.get(HOST, &location, &[PAGE]).await;
    assert!(page.status == StatusCode::OK && page.text().contains("value=\"/a?b=c\""), "{}", page.text());
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    // Tokens of others.
    desk.rest(Method::POST, "/rooms", json!({"name": "other"})).await;
    let stranger = desk.token(json!({"name": "mallory", "room_name": "other"})).await;
    let nobody = desk.token(json!({"name": "nobody"})).await;
    for (token, want) in
        [("", 401), ("a.b.c", 401), (desk.server.api_key.as_str(), 401), (&stranger, 403), (&nobody, 403)]
    {
        let got = form(&desk, HOST, token, "/", &[]).await;
        assert_eq!(got.status.as_u16(), want, "{}", got.text());
        assert!(!got.headers.contains_key("set-cookie"));
        let bearer = format!("Bearer {token}");
        assert_eq!(desk.get(HOST, "/", &[("authorization", &bearer)]).await.status.as_u16(), want);
    }
    // One's own.
    let token = desk.token(json!({"name": "ann", "room_name": "den"})).await;
    let signed = form(&desk, HOST, &token, "/", &[("origin", "http://inside.example")]).await;
    assert_eq!((signed.status, signed.header("location")), (StatusCode::SEE_OTHER, "/"));
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=28800"] {
        assert!(signed.header("set-cookie").contains(part), "{}", signed.header("set-cookie"));
    }
    assert!(!signed.header("set-cookie").contains("Domain"));
    let kept = cookie(&signed);
    assert!(!kept.contains(&token), "the token itself is not kept");
    let inside = desk.get(HOST, "/", &[("cookie", &format!("x=y; {kept}"))]).await;
    assert_eq!((inside.status, inside.text().as_str()), (StatusCode::OK, "<h1>inside</h1>"));
    assert_eq!(inside.header("cache-control"), "private, no-cache");
    // The cookie is for this site alone, and no credential elsewhere.
    assert_eq!(desk.get("second.example", "/", &[("cookie", &kept)]).await.status, StatusCode::UNAUTHORIZED);
    let value = kept.split_once('=').unwrap().1;
    let whoami = desk
        .client
        .get(format!("{}/accounts/whoami", desk.server.url))
        .bearer_auth(value)
        .send()
        .await
        .unwrap();
    assert_eq!(whoami.status(), StatusCode::UNAUTHORIZED);
    // What the public clients send: their token as the cookie, or as a bearer.
    let own = format!("__meshagent_iap={token}");
    assert_eq!(desk.get("second.example", "/", &[("cookie", &own)]).await.status, StatusCode::OK);
    assert_eq!(
        desk.get(HOST, "/", &[("authorization", &format!("Bearer {token}"))]).await.status,
        StatusCode::OK
    );
    let out = desk.ask(Method::POST, HOST, "/.well-known/meshagent/sign-out", &[], "").await;
    assert!(out.header("set-cookie").starts_with("__meshagent_iap=; Max-Age=0"), "{out:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_leads_nowhere_else_and_is_nobody_elses_to_make() {
    let desk = desk().await;
    let token = desk.token(json!({"name": "ann", "grants": [{"name": "site", "scope": "den"}]})).await;
    for back in [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y",
    ] {
        let got = form(&desk, HOST, &token, back, &[]).await;
        assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/"), "{back}");
    }
    let page = desk.get(HOST, &format!("{SIGN_IN}?return=%22%3E%3Cscript%3E"), &[PAGE]).await;
    assert!(!page.text().contains("<script>"), "{}", page.text());
    for header in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "same-site")] {
        let got = form(&desk, HOST, &token, "/", &[header]).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{header:?}");
        assert!(!got.headers.contains_key("set-cookie"));
    }
    let large = form(&desk, HOST, &"x".repeat(100_000), "/", &[]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_in_the_room_lets_its_user_in_as_long_as_it_lasts() {
    let desk = desk().await;
    let id = desk.rest(Method::GET, "/rooms/den", json!({})).await["id"].as_str().unwrap().to_owned();
    let token = desk.token(json!({"name": "Bob@corp.example"})).await;
    let visit = || async { form(&desk, HOST, &token, "/", &[]).await };
    assert_eq!(visit().await.status, StatusCode::FORBIDDEN);
    let subject = json!({"type": "user", "email": "bob@corp.example"});
    let policy = format!("/iam/room/{id}/policy");
    desk.rest(Method::POST, &format!("{policy}:grant"), json!({"subject": subject, "roles": ["viewer"]}))
        .await;
    let kept = cookie(&visit().await);
    let look = || async { desk.get(HOST, "/", &[("cookie", &kept)]).await.status };
    assert_eq!(look().await, StatusCode::OK);
    desk.rest(Method::POST, &format!("{policy}:revoke"), json!({"subject": subject})).await;
    assert_eq!(look().await, StatusCode::FORBIDDEN, "the role is gone, and with it the way in");
}
