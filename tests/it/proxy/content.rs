//! A static site from room storage.

use super::Desk;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::io::Read as _;

const HOST: &str = "docs.example";

async fn desk() -> Desk {
    let desk = Desk::start("den").await;
    for (path, text) in [
        ("site/index.html", "<h1>home</h1>".to_owned()),
        ("site/app.js", "let a = 1;\n".repeat(1_000)),
        ("site/sub/index.html", "<h1>sub</h1>".to_owned()),
        ("site/a b.txt", "spaced".to_owned()),
        ("site/404.html", "<h1>lost</h1>".to_owned()),
        ("site/.env", "SECRET=1".to_owned()),
        ("site/.well-known/x.txt", "known".to_owned()),
        ("other/secret.txt", "SECRET=2".to_owned()),
    ] {
        desk.file("den", path, text).await;
    }
    let content = json!({"subpath": "site", "index": true, "notFound": "404.html",
        "cors": [{"allowedOrigins": ["https://app.example"], "exposeHeaders": ["ETag"]}]});
    desk.route(HOST, "den", json!([{"path": "/", "targetContent": content}])).await;
    desk
}

/// The same beside a site of another room.
async fn two() -> Desk {
    let desk = desk().await;
    desk.rest(Method::POST, "/rooms", json!({"name": "other"})).await;
    desk.file("other", "site/index.html", "another room").await;
    let content = json!({"subpath": "site", "index": true});
    desk.route("other.example", "other", json!([{"path": "/", "targetContent": content}])).await;
    desk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_room_are_a_site() {
    let desk = desk().await;
    let home = desk.get(HOST, "/", &[]).await;
    assert_eq!((home.status, home.text().as_str()), (StatusCode::OK, "<h1>home</h1>"));
    assert_eq!(home.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(home.header("x-content-type-options"), "nosniff");
    // As browsers ask again.
    let etag = home.header("etag").to_owned();
    let again = desk.get(HOST, "/", &[("if-none-match", &etag)]).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let modified = home.header("last-modified").to_owned();
    assert_eq!(
        desk.get(HOST, "/", &[("if-modified-since", &modified)]).await.status,
        StatusCode::NOT_MODIFIED
    );
    desk.file("den", "site/index.html", "<h1>new</h1>").await;
    let changed = desk.get(HOST, "/", &[("if-none-match", &etag)]).await;
    assert_eq!((changed.status, changed.text().as_str()), (StatusCode::OK, "<h1>new</h1>"));
    // Parts, heads, folders, names.
    let part = desk.get(HOST, "/app.js", &[("range", "bytes=4-6")]).await;
    assert_eq!((part.status, part.text().as_str()), (StatusCode::PARTIAL_CONTENT, "a ="));
    assert_eq!(part.header("content-range"), "bytes 4-6/11000");
    assert_eq!(
        desk.get(HOST, "/app.js", &[("range", "bytes=11000-")]).await.status,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
    let head = desk.ask(Method::HEAD, HOST, "/app.js", &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "11000", 0));
    let moved = desk.get(HOST, "/sub?a=b", &[]).await;
    assert_eq!((moved.status, moved.header("location")), (StatusCode::PERMANENT_REDIRECT, "/sub/?a=b"));
    assert_eq!(desk.get(HOST, "/sub/", &[]).await.text(), "<h1>sub</h1>");
    assert_eq!(desk.get(HOST, "/a%20b.txt", &[]).await.text(), "spaced");
    assert_eq!(desk.get(HOST, "/.well-known/x.txt", &[]).await.text(), "known");
    let lost = desk.get(HOST, "/nope", &[]).await;
    assert_eq!((lost.status, lost.text().as_str()), (StatusCode::NOT_FOUND, "<h1>lost</h1>"));
    for path in ["/.env", "/app.js/", "/index.html/x"] {
        assert_eq!(desk.get(HOST, path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let posted = desk.ask(Method::POST, HOST, "/", &[], "x").await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_compressed_and_pages_elsewhere_may_read_what_the_rules_say() {
    let desk = desk().await;
    let plain = desk.get(HOST, "/app.js", &[]).await;
    for (accepts, coding) in [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")] {
        let got = desk.get(HOST, "/app.js", &[("accept-encoding", accepts)]).await;
        assert_eq!(
            (got.header("content-encoding"), got.header("vary")),
            (coding, "Accept-Encoding"),
            "{got:?}"
        );
        assert_ne!(got.header("etag"), plain.header("etag"), "another form is another thing");
        assert!(got.body.len() < plain.body.len() / 4, "{}", got.body.len());
        if coding == "gzip" {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&got.body[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, plain.text());
        }
        let again = [("accept-encoding", accepts), ("if-none-match", got.header("etag"))];
        assert_eq!(desk.get(HOST, "/app.js", &again).await.status, StatusCode::NOT_MODIFIED);
    }
    let origin = ("origin", "https://app.example");
    let read = desk.get(HOST, "/app.js", &[origin]).await;
    assert_eq!(read.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(read.header("access-control-expose-headers"), "ETag");
    let other = desk.get(HOST, "/app.js", &[("origin", "https://evil.example")]).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let asked = [origin, ("access-control-request-method", "GET")];
    let first = desk.ask(Method::OPTIONS, HOST, "/app.js", &asked, "").await;
    assert_eq!(
        (first.status, first.header("access-control-allow-methods")),
        (StatusCode::NO_CONTENT, "GET, HEAD")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trick_with_paths_leads_elsewhere() {
    let desk = two().await;
    for target in [
        "/../other/secret.txt",
        "/%2e%2e/other/secret.txt",
        "/.%2E/other/secret.txt",
        "/..%2fother/secret.txt",
        "/sub/..%5c..%5cother/secret.txt",
        "/sub/..;/../other/secret.txt",
        "/..;/other/secret.txt",
        "/%00",
        "/a%0d%0aX: y",
        "/%zz",
        "/sub/./x",
        "/%ff",
    ] {
        let (status, answer) = desk.line(target, HOST, &[]);
        assert_eq!(status, 400, "{target}: {answer}");
    }
    // Where slashes are doubled the site is the same, and nobody is sent to another one.
    let (status, answer) = desk.line("//sub", HOST, &[]);
    assert!(status == 308 && answer.to_lowercase().contains("location: /sub/\r\n"), "{answer}");
    let (status, answer) = desk.line("//other.example/sub", HOST, &[]);
    assert!(status == 404, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_for_one_host_and_for_routes_alone() {
    let desk = two().await;
    // One host, written once.
    assert!(desk.line("/", "other.example", &[]).1.contains("another room"));
    assert!(desk.line("/", "DOCS.example.:80", &[]).1.contains("home"));
    assert!(desk.line("http://docs.example/", HOST, &[]).1.contains("home"));
    for (text, want) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: docs.example\r\nHost: other.example\r\nConnection: close\r\n\r\n", 400),
        ("GET http://other.example/ HTTP/1.1\r\nHost: docs.example\r\nConnection: close\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: docs.example\r\nX-Forwarded-Host: other.example\r\nConnection: close\r\n\r\n",
            200,
        ),
        ("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n", 404),
        ("CONNECT docs.example:443 HTTP/1.1\r\nHost: docs.example:443\r\nConnection: close\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nHost: docs.example\r\nConnection: close\r\n\r\n", 405),
        (
            "POST / HTTP/1.1\r\nHost: docs.example\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost : docs.example\r\nConnection: close\r\n\r\n", 400),
    ] {
        let (status, answer) = desk.raw(text);
        assert_eq!(status, want, "{text}{answer}");
        assert!(!answer.contains("another room"), "{text}{answer}");
    }
    // With chunks a length beside them counts for nothing, and what comes behind them is no further request.
    let smuggled = "POST / HTTP/1.1\r\nHost: docs.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /sub/ HTTP/1.1\r\nHost: docs.example\r\n\r\n";
    let (status, answer) = desk.raw(smuggled);
    assert!([400, 405].contains(&status), "{answer}");
    assert!(!answer.contains("<h1>sub</h1>") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    // What the server itself answers elsewhere is not here.
    let (status, answer) =
        desk.line("/accounts/whoami", HOST, &[&format!("Authorization: Bearer {}", desk.server.api_key)]);
    assert_eq!(status, 404, "{answer}");
    let (status, _) = desk.line(&format!("/{}", "a".repeat(20_000)), HOST, &[]);
    assert_eq!(status, 414);
}
