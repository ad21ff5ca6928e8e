//! Feeds, subscriptions and what is published.

use super::Platform;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

async fn feed(platform: &Platform, body: Value) -> String {
    let made = platform.ok(Method::POST, "/feeds", Some(body)).await;
    made["feed"]["id"].as_str().unwrap().to_owned()
}

async fn refused(platform: &Platform, method: Method, path: &str, body: Value) -> (u16, String) {
    let path = format!("/accounts/projects/{}{path}", platform.project);
    let (status, answer) = platform.send(method, &path, Some(&platform.key), Some(body)).await;
    (status.as_u16(), answer["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn feeds_are_made_found_changed_and_deleted() {
    let platform = Platform::new().await;
    let id =
        feed(&platform, json!({"name": "orders", "annotations": {"a": "b"}, "visibility": "project"})).await;
    feed(&platform, json!({"name": "news"})).await;
    let one = platform.ok(Method::GET, &format!("/feeds/{id}"), None).await;
    assert_eq!(one["feed"]["visibility"], "project");
    assert_eq!(
        (&one["feed"]["desired_generation"], &one["feed"]["applied_generation"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(platform.ok(Method::GET, "/feeds/by-name/orders", None).await, one);
    let page = platform.ok(Method::GET, "/feeds?page_size=1", None).await;
    assert_eq!((&page["total"], &page["feeds"][0]["name"]), (&json!(2), &json!("news")));
    assert!(page["continuation_token"].is_string());
    let change = json!({"name": "orders", "description": "x", "paused": true});
    platform.ok(Method::PUT, &format!("/feeds/{id}"), Some(change)).await;
    let changed = platform.ok(Method::GET, &format!("/feeds/{id}"), None).await;
    assert_eq!(
        (&changed["feed"]["visibility"], &changed["feed"]["desired_generation"]),
        (&json!("project"), &json!(2))
    );
    assert_eq!(
        refused(&platform, Method::POST, "/feeds", json!({"name": "orders"})).await,
        (409, "name-taken".into())
    );
    assert_eq!(
        refused(&platform, Method::POST, "/feeds", json!({"name": "a_b"})).await,
        (400, "feed-invalid".into())
    );
    let bad = json!({"name": "c", "message_schema": {"type": "nonsense"}});
    assert_eq!(refused(&platform, Method::POST, "/feeds", bad).await, (400, "feed-invalid".into()));
    let publish = format!("/feeds/{id}/messages");
    assert_eq!(refused(&platform, Method::POST, &publish, json!(1)).await, (409, "feed-paused".into()));
    platform.ok(Method::DELETE, &format!("/feeds/{id}"), None).await;
    assert_eq!(
        refused(&platform, Method::GET, &format!("/feeds/{id}"), json!({})).await,
        (404, "feed-not-found".into())
    );
    feed(&platform, json!({"name": "orders"})).await;
}

#[tokio::test]
async fn messages_are_held_to_the_schema() {
    let platform = Platform::new().await;
    let id =
        feed(&platform, json!({"name": "orders", "message_schema": {"type": "object", "required": ["id"]}}))
            .await;
    let (one, many) = (format!("/feeds/{id}/messages"), format!("/feeds/{id}/messages/batch"));
    platform.ok(Method::POST, &one, Some(json!({"id": 1}))).await;
    platform.ok(Method::POST, &many, Some(json!([{"id": 1}, {"id": 2}]))).await;
    assert_eq!(refused(&platform, Method::POST, &one, json!(1)).await, (400, "feed-message-invalid".into()));
    assert_eq!(
        refused(&platform, Method::POST, &many, json!([{"id": 1}, {}])).await,
        (400, "feed-message-invalid".into())
    );
    assert_eq!(
        refused(&platform, Method::POST, &many, json!({"id": 1})).await,
        (400, "invalid-request".into())
    );
}

#[tokio::test]
async fn subscriptions_belong_to_their_feed_and_room() {
    let platform = Platform::new().await;
    platform.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let (orders, news) =
        (feed(&platform, json!({"name": "orders"})).await, feed(&platform, json!({"name": "news"})).await);
    let all = format!("/feeds/{orders}/subscriptions");
    let body =
        json!({"room": "den", "path": "/logs/orders/", "filename_datetime_format": "YYYY/MM/DD/hh_mm_ssZ"});
    let made = platform.ok(Method::POST, &all, Some(body)).await["subscription"].clone();
    assert_eq!(
        (&made["path"], &made["room"], &made["feed_id"]),
        (&json!("logs/orders"), &json!("den"), &json!(orders))
    );
    let id = made["id"].as_str().unwrap();
    assert_eq!(platform.ok(Method::GET, &all, None).await["subscriptions"][0], made);
    let in_room = platform.ok(Method::GET, "/rooms/den/feeds?count=10&offset=0", None).await;
    assert_eq!((&in_room["total"], &in_room["feeds"][0]["name"]), (&json!(1), &json!("orders")));
    let elsewhere = format!("/feeds/{news}/subscriptions/{id}");
    assert_eq!(
        refused(&platform, Method::GET, &elsewhere, json!({})).await,
        (404, "subscription-not-found".into())
    );
    platform.ok(Method::PUT, &format!("{all}/{id}"), Some(json!({"annotations": {"a": "b"}}))).await;
    let changed = platform.ok(Method::GET, &format!("{all}/{id}"), None).await["subscription"].clone();
    assert_eq!(
        (&changed["filename_datetime_format"], &changed["desired_generation"]),
        (&json!(null), &json!(2))
    );
    for (body, want) in [
        (json!({"room": "nowhere", "path": "a"}), (404, "not-found")),
        (json!({"room": "den", "path": "../x"}), (400, "subscription-invalid")),
        (
            json!({"room": "den", "path": "a", "filename_datetime_format": "../YYYY"}),
            (400, "subscription-invalid"),
        ),
    ] {
        let got = refused(&platform, Method::POST, &all, body.clone()).await;
        assert_eq!((got.0, got.1.as_str()), want, "{body}");
    }
    platform.ok(Method::DELETE, "/rooms/den", None).await;
    assert_eq!(platform.ok(Method::GET, &all, None).await["subscriptions"], json!([]));
}

#[tokio::test]
async fn loggers_are_made_changed_and_hold_their_feed() {
    let platform = Platform::new().await;
    let id = feed(&platform, json!({"name": "calls"})).await;
    let body = json!({"destination_feed_id": id, "filter_expression": " status >= `400` "});
    let made = platform.ok(Method::POST, "/llm-loggers", Some(body.clone())).await["logger"].clone();
    assert_eq!((&made["filter_expression"], &made["paused"]), (&json!("status >= `400`"), &json!(false)));
    let path = format!("/llm-loggers/{}", made["id"].as_str().unwrap());
    assert_eq!(
        refused(&platform, Method::DELETE, &format!("/feeds/{id}"), json!({})).await,
        (409, "feed-in-use".into())
    );
    let change = json!({"destination_feed_id": id, "filter_expression": "", "paused": true});
    platform.ok(Method::PUT, &path, Some(change)).await;
    assert_eq!(platform.ok(Method::GET, &path, None).await["logger"]["paused"], true);
    let wrong = json!({"destination_feed_id": id, "filter_expression": "status >="});
    assert_eq!(
        refused(&platform, Method::POST, "/llm-loggers", wrong).await,
        (400, "llm-logger-invalid".into())
    );
    let nowhere = json!({"destination_feed_id": platform.project.to_string(), "filter_expression": ""});
    assert_eq!(
        refused(&platform, Method::POST, "/llm-loggers", nowhere).await,
        (404, "feed-not-found".into())
    );
    platform.ok(Method::DELETE, &path, None).await;
    assert_eq!(platform.ok(Method::GET, "/llm-loggers", None).await["loggers"], json!([]));
    platform.ok(Method::DELETE, &format!("/feeds/{id}"), None).await;
}

/// Bodies that must not hold up the server; each is answered within this.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_could_hold_up_the_server_is_refused_at_once() {
    let platform = Platform::new().await;
    let soon = async |method: Method, path: &str, body: Value| {
        tokio::time::timeout(SOON, refused(&platform, method, path, body)).await.expect("it is answered")
    };
    let nested = (0..100).fold(json!({}), |inner, _| json!({"items": inner}));
    let doubled: serde_json::Map<String, Value> = (0..64)
        .map(|n| (format!("a{n}"), json!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}, {"$ref": format!("#/$defs/a{}", n + 1)}]})))
        .chain([("a64".to_owned(), json!(true))])
        .collect();
    for schema in [
        nested,
        json!({"$defs": doubled, "$ref": "#/$defs/a0"}),
        json!({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
        json!({"pattern": "((a{100}){100}){100}"}),
        json!({"enum": ["x".repeat(70_000)]}),
    ] {
        let made = soon(Method::POST, "/feeds", json!({"name": "a", "message_schema": schema})).await;
        assert_eq!(made, (400, "feed-invalid".into()), "{}", &schema.to_string()[..80]);
    }
    let notes = json!({"name": "a", "annotations": {"a": "x".repeat(5_000)}});
    assert_eq!(soon(Method::POST, "/feeds", notes).await, (400, "feed-invalid".into()));
    let id = feed(&platform, json!({"name": "calls"})).await;
    for filter in [
        "(".repeat(1_000),
        "(".repeat(1_000_000),
        vec!["[@,@]"; 25].join("|"),
        "to_string(to_string(@))".to_owned(),
    ] {
        let body = json!({"destination_feed_id": id, "filter_expression": filter});
        let made = soon(Method::POST, "/llm-loggers", body).await;
        assert_eq!(made, (400, "llm-logger-invalid".into()), "{}", &filter[..20]);
    }
    assert_eq!(platform.ok(Method::GET, "/llm-loggers", None).await["loggers"], json!([]));
}

#[tokio::test]
async fn bodies_and_messages_have_bounds() {
    let platform = Platform::new().await;
    let id = feed(&platform, json!({"name": "orders"})).await;
    let (one, many) = (format!("/feeds/{id}/messages"), format!("/feeds/{id}/messages/batch"));
    let long = json!("x".repeat(1024 * 1024));
    assert_eq!(refused(&platform, Method::POST, &one, long).await, (413, "too-large".into()));
    let longest: Vec<String> = (0..17).map(|_| "x".repeat(1024 * 1024 - 2)).collect();
    assert_eq!(refused(&platform, Method::POST, &many, json!(longest)).await, (413, "too-large".into()));
    platform.ok(Method::POST, &many, Some(json!(longest[..15]))).await;
    let count = vec![0; meshagent::feed::PUBLISH_MESSAGES_MAX + 1];
    assert_eq!(refused(&platform, Method::POST, &many, json!(count)).await, (413, "too-large".into()));
    // Bodies are held as far as they have come, and one that does not come holds nothing.
    let path = format!("/accounts/projects/{}{one}", platform.project);
    let send = |body: Body| {
        let request = Request::post(&path).header("authorization", format!("Bearer {}", platform.key));
        platform.router.clone().oneshot(request.body(body).unwrap())
    };
    let never = |come: usize| {
        let come = futures_util::stream::iter((come > 0).then(|| Ok(vec![b' '; come])));
        Body::from_stream(come.chain(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>()))
    };
    let mut slow: Vec<_> = (0..4).map(|_| Box::pin(send(never(0)))).collect();
    for slow in &mut slow {
        assert!(futures_util::poll!(slow).is_pending());
    }
    assert_eq!(
        send(Body::from("1")).await.unwrap().status(),
        StatusCode::OK,
        "the slow take nothing from it"
    );
    let most = meshagent::feed::PUBLISH_BYTES_MAX;
    let (mut first, mut second) = (Box::pin(send(never(most))), Box::pin(send(never(most))));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    // What comes before the body is read may take more than one look.
    let refused = async {
        loop {
            let answer = send(Body::from("1")).await.unwrap().status();
            if answer != StatusCode::OK {
                return answer;
            }
            assert!(
                futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending()
            );
        }
    };
    let refused = tokio::time::timeout(SOON, refused).await.unwrap();
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    drop((first, second));
    assert_eq!(send(Body::from("1")).await.unwrap().status(), StatusCode::OK, "their places are free again");
}

#[tokio::test]
async fn a_feed_is_asked_when_the_body_has_come() {
    let platform = Platform::new().await;
    for (name, want) in [("paused", StatusCode::CONFLICT), ("gone", StatusCode::NOT_FOUND)] {
        let id = feed(&platform, json!({ "name": name })).await;
        let path = format!("/accounts/projects/{}/feeds/{id}/messages", platform.project);
        let (sender, body) = when_told(&path, &platform.key);
        let mut sent = Box::pin(platform.router.clone().oneshot(body));
        assert!(futures_util::poll!(&mut sent).is_pending());
        match name {
            "paused" => {
                let change = json!({"name": name, "paused": true});
                platform.ok(Method::PUT, &format!("/feeds/{id}"), Some(change)).await
            }
            _ => platform.ok(Method::DELETE, &format!("/feeds/{id}"), None).await,
        };
        sender.send(()).unwrap();
        let answer = tokio::time::timeout(SOON, sent).await.unwrap().unwrap();
        assert_eq!(answer.status(), want, "{name}");
    }
}

/// A request whose body comes when it is told to.
fn when_told(path: &str, key: &str) -> (tokio::sync::oneshot::Sender<()>, Request<Body>) {
    let (sender, come) = tokio::sync::oneshot::channel();
    let body = futures_util::stream::once(async move {
        come.await.unwrap();
        Ok::<_, std::io::Error>("1")
    });
    let request = Request::post(path).header("authorization", format!("Bearer {key}"));
    (sender, request.body(Body::from_stream(body)).unwrap())
}

#[tokio::test]
async fn feeds_and_subscriptions_are_documents() {
    let platform = Platform::new().await;
    let apply = async |source: &str, prune: bool, force: bool, documents: Value| {
        let path = format!("/v1/projects/{}/apply", platform.project);
        let body = json!({"source": source, "documents": documents, "prune": prune, "force": force});
        let (status, answer) = platform.send(Method::POST, &path, Some(&platform.key), Some(body)).await;
        (status.as_u16(), answer)
    };
    let room = |name: &str| json!({"version": "v1", "kind": "Room", "metadata": {"name": name}});
    let orders = json!({"version": "v1", "kind": "Feed", "metadata": {"name": "orders"}, "message_schema": {"type": "object"}});
    let desk = json!({"version": "v1", "kind": "Subscription", "metadata": {"name": "desk"}, "feed": "orders", "room": "den", "path": "logs"});
    let all = json!([desk, orders, room("den"), room("hall")]);
    let (status, answer) = apply("repo", false, false, all).await;
    assert_eq!((status, &answer["summary"]["create"]), (200, &json!(4)), "{answer}");
    let found = platform.ok(Method::GET, "/feeds/by-name/orders", None).await;
    let id = found["feed"]["id"].as_str().unwrap().to_owned();
    let subscriptions = format!("/feeds/{id}/subscriptions");
    let listed = platform.ok(Method::GET, &subscriptions, None).await;
    assert_eq!(
        (&listed["subscriptions"][0]["name"], &listed["subscriptions"][0]["room"]),
        (&json!("desk"), &json!("den"))
    );
    assert_eq!(refused(&platform, Method::POST, &format!("/feeds/{id}/messages"), json!(1)).await.0, 400);
    // Those of other making have no name: they are not exported, and go with their room all the same.
    let body = json!({"room": "hall", "path": "logs"});
    platform.ok(Method::POST, &subscriptions, Some(body)).await;
    let path = format!("/v1/projects/{}/documents", platform.project);
    let (_, exported) = platform.send(Method::GET, &path, Some(&platform.key), None).await;
    let kinds: Vec<&str> =
        exported["documents"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "Subscription").count(), 1, "{exported}");
    let path = format!("/v1/projects/{}/plan", platform.project);
    let asked = json!({"source": "export", "documents": exported["documents"]});
    let (_, again) = platform.send(Method::POST, &path, Some(&platform.key), Some(asked)).await;
    assert_eq!(again["summary"]["unchanged"], kinds.len(), "{again}");
    let (status, kept) = apply("repo", true, false, json!([desk, orders, room("den")])).await;
    assert_eq!((status, &kept["error"]["code"]), (400, &json!("plan-invalid")), "{kept}");
    assert!(kept.to_string().contains("deleted with a subscription without a name"), "{kept}");
    let (status, pruned) = apply("repo", true, true, json!([desk, orders, room("den")])).await;
    assert_eq!((status, &pruned["summary"]["delete"]), (200, &json!(1)), "{pruned}");
    let listed = platform.ok(Method::GET, &subscriptions, None).await;
    assert_eq!(listed["subscriptions"].as_array().unwrap().len(), 1, "{listed}");
    // A name is free again when its subscription ends, however it does.
    platform.ok(Method::DELETE, "/rooms/den", None).await;
    assert_eq!(platform.ok(Method::GET, &subscriptions, None).await["subscriptions"], json!([]));
    let (status, answer) = apply("repo", false, false, json!([desk, orders, room("den")])).await;
    assert_eq!((status, &answer["summary"]["create"]), (200, &json!(2)), "{answer}");
    platform.ok(Method::DELETE, &format!("/feeds/{id}"), None).await;
    let (status, answer) = apply("repo", false, false, json!([desk, orders, room("den")])).await;
    assert_eq!((status, &answer["summary"]["create"]), (200, &json!(2)), "{answer}");
}
