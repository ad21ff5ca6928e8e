//! Two servers at once: what refers to an object is not made while the other server deletes that object.

use crate::api::Platform;
use meshagent::app::attempts::Attempts;
use meshagent::app::plan::Request;
use meshagent::app::{Actor, App, Error};
use meshagent::id::{ProjectId, RoomId};
use meshagent::projection::Projection;
use meshagent::spec::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

fn actor() -> Actor {
    Actor::new("test", "meanwhile")
}

/// Another server on the same log. It has heard of all until now, and of nothing after that.
async fn another(app: &App) -> Arc<App> {
    Arc::new(App {
        log: Arc::clone(&app.log),
        projection: Projection::open(Arc::clone(&app.log)).await.unwrap(),
        vault: Arc::clone(&app.vault),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        settings: app.settings.clone(),
        attempts: Attempts::default(),
    })
}

async fn apply(app: &Arc<App>, project: ProjectId, documents: Vec<Value>) -> Result<(), Error> {
    let request = Request { source: "cli".into(), documents, ..Request::default() };
    app.apply(&actor(), project, Arc::new(request), None).await.map(drop)
}

fn template() -> Value {
    json!({"version": "v1", "kind": "ServiceTemplate", "metadata": {"name": "greeter"},
        "container": {"image": "i", "command": "say", "on_demand": true}})
}

fn is_there(app: &App, project: ProjectId, (kind, name): (Kind, &str)) -> bool {
    let resource = meshagent::app::plan::resource(kind).unwrap();
    resource.all(&app.world(), project).iter().any(|(_, key)| key.name == name)
}

/// `made` refers to `ended`, whose server has deleted it by the time that the other one makes it.
async fn refuses(ended: (Kind, &str), made: Value) {
    let platform = Platform::new().await;
    let project = platform.project;
    let base = vec![
        json!({"version": "v1", "kind": "Room", "metadata": {"name": "den"}}),
        json!({"version": "v1", "kind": "Room", "metadata": {"name": "home"}}),
        json!({"version": "v1", "kind": "Feed", "metadata": {"name": "orders"}}),
        json!({"version": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}}),
        template(),
    ];
    apply(&platform.app, project, base).await.unwrap();
    let late = another(&platform.app).await;
    let found = meshagent::app::plan::resource(ended.0).unwrap().all(&platform.app.world(), project);
    let id = found.iter().find(|(_, key)| key.name == ended.1).unwrap().0;
    platform.app.delete_resource(&actor(), project, (ended.0, id)).await.unwrap();
    assert!(is_there(&late, project, ended), "the other server has not heard of it");

    let name = made.get("domain").or_else(|| made.get("address")).or_else(|| made.pointer("/metadata/name"));
    let (name, kind) =
        (name.unwrap().as_str().unwrap().to_owned(), made["kind"].as_str().unwrap().to_owned());
    let error = apply(&late, project, vec![made]).await.expect_err(&kind);
    assert!(error.to_string().contains(ended.1), "{error}");
    let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind).unwrap();
    assert!(!is_there(&late, project, (kind, &name)), "{error}");
}

#[tokio::test]
async fn no_document_is_left_without_what_it_refers_to() {
    let den = (Kind::Room, "den");
    let notes = json!({"meshagent.room": "den"});
    let task = json!({"version": "v1", "kind": "ScheduledTask", "metadata": {"name": "t", "annotations": notes},
        "schedule": "@daily", "queue": {"name": "q", "payload": {}}});
    refuses(den, task).await;
    refuses(
        den,
        json!({"version": "v1", "kind": "Mailbox", "address": "a@b.example", "room": "den", "queue": "q"}),
    )
    .await;
    let route = json!({"version": "v1", "kind": "Route", "metadata": {"name": "r"}, "domain": "a.example", "backend": {"room": {"name": "den"}},
        "paths": [{"path": "/", "targetContent": {"subpath": "site"}}]});
    refuses(den, route).await;
    let subscription = json!({"version": "v1", "kind": "Subscription", "metadata": {"name": "s"}, "feed": "orders",
        "room": "home", "path": "logs"});
    refuses((Kind::Feed, "orders"), subscription).await;
    let instance =
        json!({"version": "v1", "kind": "ServiceInstance", "metadata": {"name": "i"}, "template": "greeter"});
    refuses((Kind::ServiceTemplate, "greeter"), instance).await;
    let key = json!({"version": "v1", "kind": "ApiKey", "metadata": {"name": "k"}, "account": "bot",
        "secret": {"secret": "k", "account": "bot"}});
    refuses((Kind::ServiceAccount, "bot"), key).await;
}

#[tokio::test]
async fn nothing_is_made_in_a_room_that_ends() {
    let platform = Platform::new().await;
    let (app, project) = (&platform.app, platform.project);
    apply(app, project, vec![json!({"version": "v1", "kind": "Room", "metadata": {"name": "den"}})])
        .await
        .unwrap();
    // None of these has heard of the end.
    let [tasks, sessions, routes] = [another(app).await, another(app).await, another(app).await];
    let room: RoomId = app.world().room_named(project, "den").unwrap().0;
    app.delete_room(&actor(), room).await.unwrap();

    let task = json!({"version": "v1", "kind": "ScheduledTask", "metadata": {"name": "t"}, "schedule": "@daily",
        "queue": {"name": "q", "payload": {}}});
    let refused = tasks.create_task(&actor(), room, serde_json::from_value(task).unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), "not-found");
    let refused = sessions.start_session(&actor(), room, 1).await;
    assert_eq!(refused.unwrap_err().code(), "not-found");
    let route = json!({"version": "v1", "kind": "Route", "metadata": {"name": "r"}, "domain": "a.example", "backend": {"room": {"name": "den"}},
        "paths": [{"path": "/", "targetContent": {"subpath": "site"}}]});
    let refused = routes.create_route(&actor(), project, serde_json::from_value(route).unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), "not-found");
}
