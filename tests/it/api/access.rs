//! Every route against: no token, a key of another project, a token with too small a grant.
//! The rows are the router's own table, so that a new route is tested by being there.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::api::{Access, Route, routes};
use meshagent::app::token::Mint;
use meshagent::spec::ApiScope;
use serde_json::json;

fn path(route: &Route, platform: &Platform) -> String {
    let project = platform.project.to_string();
    let mut path =
        route.path.replace("{project_id}", &project).replace("{room}", "den").replace("{*path}", "a.txt");
    while let (Some(start), Some(end)) = (path.find('{'), path.find('}')) {
        path.replace_range(start..=end, "anything");
    }
    path
}

async fn refused(platform: &Platform, route: &Route, bearer: Option<&str>, want: &[StatusCode]) {
    let path = path(route, platform);
    let (status, body) = platform.send(route.method.clone(), &path, bearer, Some(json!({}))).await;
    assert!(want.contains(&status), "{} {path}: {status} {body}", route.method);
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 20, "{} {path}: the refusal must say what to do: {body}", route.method);
}

#[tokio::test]
async fn every_route_refuses_those_it_is_not_for() {
    let platform = Platform::new().await;
    for name in ["den", "other"] {
        platform.ok(Method::POST, "/rooms", Some(json!({"name": name}))).await;
    }
    let mut mint = Mint::new(platform.project, "visitor");
    mint.room = Some("other".to_owned());
    mint.api = Some(ApiScope::full());
    let visitor = platform.app.mint(mint).await.unwrap();
    let forbidden = &[StatusCode::FORBIDDEN];

    let mut guarded = 0;
    for route in routes().iter().filter(|r| r.access != Access::Open) {
        guarded += 1;
        refused(&platform, route, None, &[StatusCode::UNAUTHORIZED]).await;
        refused(&platform, route, Some("ma-nonsense"), &[StatusCode::UNAUTHORIZED]).await;
        refused(&platform, route, Some("a.b.c"), &[StatusCode::UNAUTHORIZED]).await;
        if route.path.contains("{project_id}") {
            // Whether a project exists is not told to strangers.
            let want = &[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
            refused(&platform, route, Some(&platform.other_key), want).await;
        }
        match route.access {
            Access::Account => refused(&platform, route, Some(&visitor), forbidden).await,
            Access::Operator => {
                refused(&platform, route, Some(&visitor), forbidden).await;
                refused(&platform, route, Some(&platform.key), forbidden).await;
            }
            Access::Member if route.path.contains("{room}") => {
                refused(&platform, route, Some(&visitor), forbidden).await;
            }
            _ => {}
        }
    }
    assert!(guarded > 50, "the table has shrunk to {guarded} guarded routes");
}

#[tokio::test]
async fn open_routes_need_no_credential_and_give_nothing_away() {
    let platform = Platform::new().await;
    for path in ["/", "/healthz", "/config", "/openapi.json"] {
        let (status, body) = platform.send(Method::GET, path, None, None).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!body.to_string().contains(&platform.key), "{path}");
    }
    let link =
        format!("/links/{}/{}/a.txt?expires=9999999999&signature=AAAA", platform.project, platform.project);
    let (status, _) = platform.send(Method::GET, &link, None, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nobody_makes_an_operator_of_a_service_account() {
    let platform = Platform::new().await;
    let path = format!("/accounts/projects/{}/service-accounts", platform.project);
    let body = json!({"name": "root", "annotations": {"meshagent.operator": "true"}});
    let (status, _) = platform.send(Method::POST, &path, Some(&platform.key), Some(body)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
