//! The files service: folders, copies between rooms, signed URLs, conditions and parts.

use super::Platform;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use meshagent::app::token::Mint;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Largest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

struct Desk {
    platform: Platform,
}

impl Desk {
    async fn new() -> Self {
        let platform = Platform::new().await;
        for name in ["den", "attic"] {
            platform.ok(Method::POST, "/rooms", Some(json!({"name": name}))).await;
        }
        Self { platform }
    }

    fn at(&self, room: &str, rest: &str) -> String {
        format!("/files/{}/rooms/{room}/{rest}", self.platform.project)
    }

    async fn raw(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.platform.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }

    async fn put(&self, room: &str, path: &str, text: &str) {
        let key = self.platform.key.clone();
        let answer = self.raw(Method::PUT, &self.at(room, path), Some(&key), &[], text.to_owned()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }

    async fn get(&self, room: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let key = self.platform.key.clone();
        text(self.raw(Method::GET, &self.at(room, path), Some(&key), headers, Body::empty()).await).await
    }

    async fn act(
        &self,
        bearer: &str,
        room: &str,
        path: &str,
        action: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let path = self.at(room, &format!("{path}?action={action}"));
        self.platform.send(Method::POST, &path, Some(bearer), Some(body)).await
    }

    fn source(&self, room: &str, path: &str) -> Value {
        json!({"target": {"project_id": self.platform.project.to_string(), "kind": "room", "name": room}, "path": path})
    }

    /// A token for the room `den` whose storage grant is `storage`.
    async fn visitor(&self, storage: Value) -> String {
        let mut mint = Mint::new(self.platform.project, "visitor");
        mint.room = Some("den".to_owned());
        mint.api = Some(serde_json::from_value(json!({"storage": storage})).unwrap());
        self.platform.app.mint(mint).await.unwrap()
    }

    async fn names(&self, room: &str, folder: &str) -> Vec<String> {
        let key = self.platform.key.clone();
        let path = self.at(room, &format!("?list=&prefix={folder}"));
        let (status, page) = self.platform.send(Method::GET, &path, Some(&key), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect()
    }
}

async fn text(answer: Response<Body>) -> (StatusCode, String) {
    let status = answer.status();
    let bytes = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn folders_are_made_and_files_copied_and_moved_between_rooms() {
    let desk = Desk::new().await;
    let key = desk.platform.key.clone();
    assert_eq!(desk.act(&key, "den", "empty/deep", "mkdir", json!({})).await.0, StatusCode::OK);
    assert_eq!(desk.act(&key, "den", "empty/deep", "mkdir", json!({})).await.0, StatusCode::OK, "again");
    assert_eq!(desk.names("den", "empty").await, ["deep"]);
    assert!(desk.names("den", "empty/deep").await.is_empty(), "its mark is not seen");
    desk.put("den", "in/a.txt", "a").await;
    desk.put("den", "in/deep/b.txt", "b").await;
    let copy = json!({"source": desk.source("den", "in"), "overwrite": false});
    let (status, said) = desk.act(&key, "attic", "out", "copy", copy.clone()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(desk.get("attic", "out/deep/b.txt", &[]).await, (StatusCode::OK, "b".into()));
    assert_eq!(desk.act(&key, "attic", "out", "copy", copy).await.0, StatusCode::CONFLICT);
    let moved = json!({"source": desk.source("den", "in/a.txt"), "overwrite": true});
    assert_eq!(desk.act(&key, "attic", "out/a.txt", "move", moved).await.0, StatusCode::OK);
    assert_eq!(desk.get("den", "in/a.txt", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(desk.get("attic", "out/a.txt", &[]).await.1, "a");
    // A folder that holds nothing but its mark is deleted as an empty one.
    let gone = desk.platform.send(Method::DELETE, &desk.at("den", "empty/deep"), Some(&key), None).await;
    assert_eq!(gone.0, StatusCode::OK, "{}", gone.1);
}

#[tokio::test]
async fn actions_that_make_no_sense_or_reach_too_far_are_refused() {
    let desk = Desk::new().await;
    let key = desk.platform.key.clone();
    desk.put("den", "a/b.txt", "b").await;
    for (path, action, body, want) in [
        ("x", "dance", json!({}), StatusCode::BAD_REQUEST),
        ("x", "copy", json!({}), StatusCode::BAD_REQUEST),
        ("x", "copy", json!({"source": desk.source("den", "none")}), StatusCode::NOT_FOUND),
        ("x", "copy", json!({"source": desk.source("nowhere", "a")}), StatusCode::NOT_FOUND),
        ("x", "copy", json!({"source": desk.source("den", "../attic")}), StatusCode::BAD_REQUEST),
        ("a/deeper", "copy", json!({"source": desk.source("den", "a")}), StatusCode::BAD_REQUEST),
        ("a/b.txt", "mkdir", json!({}), StatusCode::CONFLICT),
    ] {
        let (status, said) = desk.act(&key, "den", path, action, body.clone()).await;
        assert_eq!(status, want, "{action} {path} {body}: {said}");
    }
    let visitor = desk.visitor(json!({"paths": [{"path": "a"}]})).await;
    for (path, action, source) in [
        ("outside", "mkdir", desk.source("den", "a")),
        ("a/c", "copy", desk.source("attic", "a")),
        ("outside", "copy", desk.source("den", "a/b.txt")),
        ("a/c", "move", desk.source("den", "other.txt")),
    ] {
        let (status, said) = desk.act(&visitor, "den", path, action, json!({"source": source})).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{action} {path}: {said}");
    }
    let copied =
        desk.act(&visitor, "den", "a/c.txt", "copy", json!({"source": desk.source("den", "a/b.txt")})).await;
    assert_eq!(copied.0, StatusCode::OK, "{}", copied.1);
}

async fn sign(desk: &Desk, bearer: &str, path: &str, method: &str, seconds: i64) -> (StatusCode, Value) {
    let target = desk.source("den", path);
    let body = json!({"target": target["target"], "path": path, "method": method, "expires_in": seconds});
    desk.platform.send(Method::POST, "/files/v1/presign", Some(bearer), Some(body)).await
}

fn local(signed: &Value) -> String {
    signed["url"].as_str().unwrap().strip_prefix("http://host").unwrap().to_owned()
}

#[tokio::test]
async fn a_signed_url_does_one_thing_to_one_path() {
    let desk = Desk::new().await;
    let key = desk.platform.key.clone();
    let put = local(&sign(&desk, &key, "a b.txt", "PUT", 60).await.1);
    assert_eq!(desk.raw(Method::GET, &put, None, &[], "").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(desk.raw(Method::PUT, &put, None, &[], "signed").await.status(), StatusCode::OK);
    let (status, signed) = sign(&desk, &key, "a b.txt", "GET", 60).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(signed["headers"], json!({}));
    assert!(signed["expires_at"].is_string());
    let get = local(&signed);
    assert_eq!(
        text(desk.raw(Method::GET, &get, None, &[], "").await).await,
        (StatusCode::OK, "signed".into())
    );
    assert_eq!(desk.raw(Method::HEAD, &get, None, &[], "").await.status(), StatusCode::OK);
    for wrong in [
        get.replace("a%20b.txt", "other.txt"),
        get.replace("method=GET", "method=DELETE"),
        get.replace("signature=", "signature=A"),
        get.replace("expires=", "expires=9"),
    ] {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(
                desk.raw(method, &wrong, None, &[], "").await.status(),
                StatusCode::FORBIDDEN,
                "{wrong}"
            );
        }
    }
    let delete = local(&sign(&desk, &key, "a b.txt", "DELETE", 60).await.1);
    assert_eq!(desk.raw(Method::DELETE, &delete, None, &[], "").await.status(), StatusCode::OK);
    assert_eq!(desk.raw(Method::GET, &get, None, &[], "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn signing_needs_presign_and_what_is_signed_for() {
    let desk = Desk::new().await;
    let key = desk.platform.key.clone();
    for (method, seconds) in [("POST", 60), ("get", 60), ("GET", 0), ("GET", 604_801)] {
        assert_eq!(
            sign(&desk, &key, "a", method, seconds).await.0,
            StatusCode::BAD_REQUEST,
            "{method} {seconds}"
        );
    }
    assert_eq!(sign(&desk, &key, "", "GET", 60).await.0, StatusCode::BAD_REQUEST, "the root");
    let legacy = desk.visitor(json!({"paths": [{"path": "a"}]})).await;
    assert_eq!(
        sign(&desk, &legacy, "a/b", "GET", 60).await.0,
        StatusCode::FORBIDDEN,
        "paths never give presign"
    );
    let rule =
        json!({"path": "a", "recursive": true, "actions": ["read", "presign"], "excluded_paths": ["a/no"]});
    let reader = desk.visitor(json!({"files": {"paths": [rule]}})).await;
    assert_eq!(sign(&desk, &reader, "a/b", "GET", 60).await.0, StatusCode::OK);
    for (path, method) in [("a/b", "PUT"), ("a/b", "DELETE"), ("a/no/b", "GET"), ("b", "GET")] {
        assert_eq!(sign(&desk, &reader, path, method, 60).await.0, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn conditions_and_parts_are_honoured() {
    let desk = Desk::new().await;
    let key = desk.platform.key.clone();
    desk.put("den", "n.txt", "0123456789").await;
    let head = desk.raw(Method::HEAD, &desk.at("den", "n.txt"), Some(&key), &[], "").await;
    let etag = head.headers()[header::ETAG].to_str().unwrap().to_owned();
    let modified = head.headers()[header::LAST_MODIFIED].to_str().unwrap().to_owned();
    assert_eq!(head.headers()[header::CONTENT_LENGTH], "10");
    for (name, value, status, body) in [
        ("if-none-match", etag.as_str(), 304, ""),
        ("if-none-match", "\"other\"", 200, "0123456789"),
        ("if-modified-since", modified.as_str(), 304, ""),
        ("if-modified-since", "Mon, 01 Jan 2300 00:00:00 GMT", 304, ""),
        ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 200, "0123456789"),
        ("if-modified-since", "yesterday", 200, "0123456789"),
        ("range", "bytes=2-4", 206, "234"),
        ("range", "bytes=-3", 206, "789"),
        ("range", "bytes=8-", 206, "89"),
        ("range", "bytes=10-", 416, ""),
        ("range", "bytes=-0", 416, ""),
    ] {
        let got = desk.get("den", "n.txt", &[(name, value)]).await;
        assert_eq!((got.0.as_u16(), got.1.as_str()), (status, body), "{name}: {value}");
    }
    let stale = [("range", "bytes=2-4"), ("if-range", "\"other\"")];
    assert_eq!(desk.get("den", "n.txt", &stale).await.1, "0123456789");
}

#[tokio::test]
async fn a_listing_comes_in_pages_and_shows_only_what_may_be_listed() {
    let desk = Desk::new().await;
    for name in ["a/1", "a/2", "a/3", "b/1", "secret/1"] {
        desk.put("den", name, "x").await;
    }
    let visitor = desk.visitor(json!({"paths": [{"path": "a"}, {"path": "b"}]})).await;
    let page = |rest: &str| desk.at("den", &format!("?list=&limit=1{rest}"));
    let (_, first) = desk.platform.send(Method::GET, &page(""), Some(&visitor), None).await;
    assert_eq!(first["entries"][0]["name"], "a");
    let token = first["continuation_token"].as_str().unwrap();
    let next = page(&format!("&continuation_token={token}"));
    let (_, second) = desk.platform.send(Method::GET, &next, Some(&visitor), None).await;
    assert_eq!(second["entries"][0]["name"], "b");
    assert!(second["continuation_token"].is_null(), "what may not be seen makes no page: {second}");
}

#[tokio::test]
async fn a_project_has_files_of_its_own() {
    let desk = Desk::new().await;
    let (key, other) = (desk.platform.key.clone(), desk.platform.other_key.clone());
    let path = |what: &str| format!("/projects/{}/storage/{what}?path=logo.png", desk.platform.project);
    let (up, down) = (path("upload"), path("download"));
    assert_eq!(desk.raw(Method::GET, &down, Some(&key), &[], "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(desk.raw(Method::POST, &up, Some(&key), &[], "image").await.status(), StatusCode::OK);
    assert_eq!(text(desk.raw(Method::GET, &down, Some(&key), &[], "").await).await.1, "image");
    assert_ne!(desk.raw(Method::GET, &down, Some(&other), &[], "").await.status(), StatusCode::OK);
    assert!(desk.names("den", "").await.is_empty());
}
