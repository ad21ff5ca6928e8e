//! Members of a project: how they are kept, and what their roles let them do on every route.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::api::{Access, OPERATOR_ANNOTATION, routes};
use meshagent::app::token::{Grant, Mint, USER_GRANT};
use meshagent::app::{Actor, NewKey};
use meshagent::domain::account::Profile;
use meshagent::spec::ApiScope;
use serde_json::{Value, json};

impl Platform {
    /// A token by which a person acts in the project.
    async fn person(&self, address: &str) -> String {
        let answer = self.ok(Method::POST, "/participant-tokens", Some(json!({"email": address}))).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn member(&self, address: &str, roles: &[&str]) -> String {
        self.ok(Method::POST, "/users", Some(json!({"user_id": address, "roles": roles}))).await;
        self.person(address).await
    }

    /// Asks as somebody; `path` is below the project.
    async fn by(&self, bearer: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let path = format!("/accounts/projects/{}{path}", self.project);
        self.send(method, &path, Some(bearer), Some(body)).await
    }

    async fn operator(&self) -> String {
        let actor = Actor::new("test", "setup");
        let annotations = [(OPERATOR_ANNOTATION.to_owned(), "true".to_owned())].into();
        let profile = Profile { name: "root".into(), key: "root".into(), annotations, ..Profile::default() };
        let account = self.app.create_account(&actor, self.project, profile).await.unwrap();
        self.app.create_key(&actor, account, NewKey::default()).await.unwrap().1.reveal()
    }
}

fn message(answer: &(StatusCode, Value)) -> &str {
    answer.1["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn members_are_added_listed_changed_and_removed() {
    let p = Platform::new().await;
    for (user, roles) in [("Ann@Example.com", json!(["admin"])), ("bob@example.com", json!(["room_creator"]))]
    {
        let body = json!({"user_id": user, "roles": roles, "project_id": p.project.to_string()});
        assert_eq!(p.ok(Method::POST, "/users", Some(body)).await, json!({"ok": true}));
    }
    let all = p.ok(Method::GET, "/users?page_size=100&view=merged", None).await;
    assert_eq!(all["users"][0]["user"]["email"], "ann@example.com");
    assert_eq!(all["users"][1]["direct_roles"], json!(["member", "room_creator"]));
    assert!(all["users"][0]["direct_roles"].as_array().unwrap().len() > 50, "admin has all roles");
    let page = p.ok(Method::GET, "/users?page_size=1", None).await;
    let next = page["continuation_token"].as_str().unwrap();
    let rest = p.ok(Method::GET, &format!("/users?page_size=1&continuation_token={next}"), None).await;
    assert_eq!(
        (&rest["users"][0]["user"]["id"], &rest["continuation_token"]),
        (&json!("bob@example.com"), &json!(null))
    );
    assert_eq!(p.ok(Method::GET, "/users?filter=BOB", None).await["total"], 1);

    p.ok(Method::PUT, "/users/BOB@example.com", Some(json!({"roles": ["developer"]}))).await;
    let policy = p.ok(Method::GET, &format!("/iam/project/{}/policy", p.project), None).await;
    assert!(
        policy["access_grants"][1]["direct_roles"].as_array().unwrap().contains(&json!("service_manager"))
    );
    p.ok(Method::DELETE, "/users/bob@example.com", None).await;
    assert_eq!(p.ok(Method::GET, "/users", None).await["total"], 1);
}

#[tokio::test]
async fn members_that_cannot_be_are_refused() {
    let p = Platform::new().await;
    let (key, post, put) = (p.key.clone(), Method::POST, Method::PUT);
    let ann = |roles: Value| json!({"user_id": "ann@example.com", "roles": roles});
    for (method, path, body, status, why) in [
        (&post, "/users", ann(json!(["admim"])), 400, "did you mean `admin`?"),
        (&post, "/users", ann(json!(["owner"])), 400, "there is no role `owner`"),
        (&post, "/users", ann(json!([])), 400, "no role was named"),
        (&post, "/users", json!({"user_id": " ", "roles": ["admin"]}), 400, "named by an address"),
        (&post, "/users", json!({"user_id": "me", "roles": ["admin"]}), 400, "no person's"),
        (&post, "/users", json!({"user_id": "x".repeat(256), "roles": ["admin"]}), 400, "1 to 255 bytes"),
        (
            &post,
            "/users",
            json!({"user_id": "a", "roles": ["admin"], "project_id": "b"}),
            400,
            "leave it out",
        ),
        (&put, "/users/ann@example.com", json!({"roles": ["admin"]}), 404, "no member of the project"),
        (&Method::DELETE, "/users/ann@example.com", json!({}), 404, "no member of the project"),
    ] {
        let answer = p.by(&key, method.clone(), path, body).await;
        assert_eq!(answer.0.as_u16(), status, "{path}: {}", answer.1);
        assert!(message(&answer).contains(why), "{}", answer.1);
    }
    let grant = format!("/iam/project/{}/policy:grant", p.project);
    for (path, body, why) in [
        (
            grant.as_str(),
            json!({"subject": {"type": "group", "id": "g"}, "roles": ["admin"]}),
            "type `group`",
        ),
        (
            grant.as_str(),
            json!({"subject": {"type": "user", "id": "a@b"}, "roles": ["viewr"]}),
            "no role `viewr`",
        ),
        (
            "/iam/project/x/policy:grant",
            json!({"subject": {"type": "user", "id": "a@b"}, "roles": []}),
            "not the project",
        ),
        (
            "/iam/feed/x/policy:grant",
            json!({"subject": {"type": "user", "id": "a@b"}, "roles": []}),
            "type `feed`",
        ),
    ] {
        let answer = p.by(&key, Method::POST, path, body).await;
        assert!(answer.0.is_client_error() && message(&answer).contains(why), "{}", answer.1);
    }
}

#[tokio::test]
async fn only_the_operator_removes_the_last_who_manages() {
    let p = Platform::new().await;
    let ann = p.member("ann@example.com", &["admin"]).await;
    p.member("bob@example.com", &["developer"]).await;
    for bearer in [&p.key, &ann] {
        for (method, body) in [(Method::DELETE, json!({})), (Method::PUT, json!({"roles": ["developer"]}))] {
            let answer = p.by(bearer, method, "/users/ann@example.com", body).await;
            assert_eq!(answer.0, StatusCode::CONFLICT);
            assert_eq!(answer.1["error"]["code"], "project-last-manager", "{}", answer.1);
        }
    }
    let revoke = json!({"subject": {"type": "user", "id": "ann@example.com"}});
    let path = format!("/iam/project/{}/policy:revoke", p.project);
    assert_eq!(p.by(&p.key, Method::POST, &path, revoke.clone()).await.0, StatusCode::CONFLICT);
    let operator = p.operator().await;
    assert_eq!(p.by(&operator, Method::POST, &path, revoke).await.0, StatusCode::OK);
    assert_eq!(p.ok(Method::GET, "/users", None).await["total"], 1);
}

#[tokio::test]
async fn every_route_refuses_people_without_a_role_for_it() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let stranger = p.person("eve@example.com").await;
    let plain = p.member("ann@example.com", &["member"]).await;
    // What anybody who is a member may ask; all else takes a role that `member` does not give.
    let of_members = ["get_project", "project_status", "project_role", "test_access", "list_rooms"];
    // What handlers hold against the subject or the resource.
    let by_handler = ["effective_access", "access_bindings"];
    let mut refused = 0;
    for route in routes().iter().filter(|route| matches!(route.access, Access::Account | Access::Member)) {
        let project = p.project.to_string();
        let mut path =
            route.path.replace("{project_id}", &project).replace("{room}", "den").replace("{*path}", "a.txt");
        while let (Some(start), Some(end)) = (path.find('{'), path.find('}')) {
            path.replace_range(start..=end, "anything");
        }
        let (status, body) = p.send(route.method.clone(), &path, Some(&stranger), Some(json!({}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{} of a stranger: {body}", route.name);
        let (status, body) = p.send(route.method.clone(), &path, Some(&plain), Some(json!({}))).await;
        if of_members.contains(&route.name) {
            assert_ne!(status, StatusCode::FORBIDDEN, "{}: {body}", route.name);
        } else if !by_handler.contains(&route.name) {
            // Policies of what this server has no roles in are not found.
            let want = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST];
            let is_policy = route.path.contains("/iam/");
            assert!(
                status == want[0] || (is_policy && want.contains(&status)),
                "{}: {status} {body}",
                route.name
            );
            refused += 1;
        }
    }
    assert!(refused > 100, "only {refused} routes were tried");
    for (path, method) in [
        ("/v1/events", Method::GET),
        ("/v1/servers", Method::GET),
        ("/accounts/users/me/secrets", Method::GET),
        ("/llm/connect", Method::POST),
        ("/proxy-request?url=http://example.com", Method::GET),
        ("/openai/v1/models", Method::GET),
        ("/accounts/projects", Method::POST),
        ("/v1/logs", Method::POST),
        ("/mcp/discover", Method::POST),
        ("/apis/meshagent.dev/v1/rooms", Method::GET),
    ] {
        let body = json!({"url": "http://example.com", "name": "x", "subject": {"type": "user", "id": "x"}, "max_budget": "1"});
        for token in [&stranger, &plain] {
            let (status, answer) = p.send(method.clone(), path, Some(token), Some(body.clone())).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_role_lets_people_do_what_it_is_for_and_no_more() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let service = json!({"version": "v1", "kind": "Service", "metadata": {"name": "web"},
        "external": {"url": "http://example.com"}, "ports": []});
    let rows: [(&str, Method, &str, Value); 12] = [
        ("room_creator", Method::POST, "/rooms", json!({"name": "made"})),
        ("room_inventory", Method::GET, "/rooms/den", json!({})),
        ("room_manager", Method::PUT, "/rooms/den", json!({"metadata": {"a": 1}})),
        ("session_inventory", Method::GET, "/sessions", json!({})),
        ("service_inventory", Method::GET, "/services", json!({})),
        ("service_creator", Method::POST, "/services", service),
        ("mailbox_inventory", Method::GET, "/mailboxes", json!({})),
        ("feed_creator", Method::POST, "/feeds", json!({"name": "news", "schema": {"type": "object"}})),
        ("api_key_inventory", Method::GET, "/service-accounts/default/api-keys", json!({})),
        ("service_account_creator", Method::POST, "/service-accounts", json!({"name": "ci"})),
        ("usage_reporter", Method::GET, "/usage", json!({})),
        ("llm_quota_manager", Method::PUT, "/settings/budgets", json!({})),
    ];
    for (index, (role, method, path, body)) in rows.iter().enumerate() {
        let user = format!("u{index}@example.com");
        let token = p.member(&user, &["member"]).await;
        let refused = p.by(&token, method.clone(), path, body.clone()).await;
        assert_eq!(refused.0, StatusCode::FORBIDDEN, "{path} without {role}: {}", refused.1);
        assert!(message(&refused).contains(role), "{}", refused.1);
        // The very same token: what holds is what was granted, not what was minted.
        p.ok(Method::PUT, &format!("/users/{user}"), Some(json!({"roles": [role]}))).await;
        let done = p.by(&token, method.clone(), path, body.clone()).await;
        assert_eq!(done.0, StatusCode::OK, "{path} with {role}: {}", done.1);
        p.ok(Method::DELETE, &format!("/users/{user}"), None).await;
        let gone = p.by(&token, method.clone(), path, body.clone()).await;
        assert!(
            gone.0 == StatusCode::FORBIDDEN
                && (message(&gone).contains("is no member") || message(&gone).contains("has neither")),
            "{}",
            gone.1
        );
    }
    let resources = format!("/v1/projects/{}/resources", p.project);
    let seen = p.member("see@example.com", &["room_inventory"]).await;
    for (path, status) in [("/rooms", 200), ("/rooms/den", 200), ("/secrets", 403), ("/services", 403)] {
        let (got, body) = p.send(Method::GET, &format!("{resources}{path}"), Some(&seen), None).await;
        assert_eq!(got.as_u16(), status, "{path}: {body}");
    }
    let (status, _) = p.send(Method::DELETE, &format!("{resources}/rooms/den"), Some(&seen), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn rooms_are_open_to_people_by_their_roles_in_them() {
    let p = Platform::new().await;
    for room in ["den", "attic"] {
        p.ok(Method::POST, "/rooms", Some(json!({"name": room}))).await;
    }
    let ann = p.member("ann@example.com", &["room_creator"]).await;
    let grant = json!({"subject": {"type": "user", "id": "ann@example.com"}, "roles": ["operator"]});
    p.ok(Method::POST, "/iam/room/den/policy:grant", Some(grant.clone())).await;
    let (_, seen) = p.by(&ann, Method::GET, "/rooms", json!({})).await;
    assert_eq!((&seen["total"], &seen["rooms"][0]["name"]), (&json!(1), &json!("den")));
    let connect =
        async |room: &str, body| p.by(&ann, Method::POST, &format!("/rooms/{room}/connect"), body).await;
    let (status, connected) = connect("den", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{connected}");
    let bearer = p.app.verify(connected["jwt"].as_str().unwrap()).await.unwrap();
    assert_eq!((bearer.name.as_str(), bearer.user), ("ann@example.com", None));
    assert_eq!(bearer.api, Some(ApiScope::user_default()));
    for (room, body) in
        [("attic", json!({})), ("den", json!({"email": "bob@example.com"})), ("nowhere", json!({}))]
    {
        assert_eq!(connect(room, body).await.0, StatusCode::FORBIDDEN, "{room}");
    }
    // An operator in the room does not say who else is in it, nor changes it; files are open as its role says.
    for (method, path, body) in [
        (Method::POST, "/iam/room/den/policy:grant", grant),
        (Method::PUT, "/rooms/den", json!({"metadata": {}})),
        (Method::DELETE, "/rooms/den", json!({})),
        (Method::POST, "/rooms", json!({"name": "attic", "if_not_exists": true})),
    ] {
        let answer = p.by(&ann, method, path, body).await;
        assert_eq!(answer.0, StatusCode::FORBIDDEN, "{path}: {}", answer.1);
    }
    let files = |room: &str| format!("/files/{}/rooms/{room}/a.txt", p.project);
    for (room, status) in [("den", 200), ("attic", 403)] {
        let (got, answer) = p.send(Method::PUT, &files(room), Some(&ann), Some(json!("text"))).await;
        assert_eq!(got.as_u16(), status, "{room}: {answer}");
    }
    let presign = json!({"target": {"project_id": p.project.to_string(), "type": "room", "name": "attic"},
        "path": "a.txt", "method": "GET", "expires_in": 60});
    let (status, answer) = p.send(Method::POST, "/files/v1/presign", Some(&ann), Some(presign)).await;
    assert!(status.is_client_error(), "{answer}");
    // Whoever makes a room is at home in it.
    let (status, made) = p.by(&ann, Method::POST, "/rooms", json!({"name": "own"})).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!(p.by(&ann, Method::PUT, "/rooms/own", json!({"metadata": {"a": 1}})).await.0, StatusCode::OK);
    // Roles in the project reach into all rooms.
    for (role, scope) in [("developer", None), ("room_manager", Some(ApiScope::full()))] {
        let token = p.member("dev@example.com", &[role]).await;
        let (status, answer) = p.by(&token, Method::POST, "/rooms/den/connect", json!({})).await;
        assert_eq!(status, StatusCode::OK, "{role}: {answer}");
        let bearer = p.app.verify(answer["jwt"].as_str().unwrap()).await.unwrap();
        assert!(bearer.api.as_ref().unwrap().tunnels.is_some());
        assert_eq!(bearer.api.as_ref().unwrap().admin.is_some(), scope.is_some(), "{role}");
    }
}

#[tokio::test]
async fn tokens_of_people_are_for_them_and_for_nothing_else() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let ann = p.member("ann@example.com", &["participant_token_creator"]).await;
    p.member("root@example.com", &["admin"]).await;
    let grant = json!({"subject": {"type": "user", "id": "ann@example.com"}, "roles": ["viewer"]});
    p.ok(Method::POST, "/iam/room/den/policy:grant", Some(grant)).await;
    let mint = async |body| p.by(&ann, Method::POST, "/participant-tokens", body).await;
    for body in [
        json!({"email": "root@example.com"}),
        json!({"email": "ann@example.com"}),
        json!({"name": "x", "grants": [{"name": USER_GRANT, "scope": "root@example.com"}]}),
        json!({"name": "x", "room_name": "den", "api": {"admin": {}}}),
        json!({"name": "root@example.com", "room_name": "den"}),
        json!({"name": "lamp", "room_name": "den", "role": "agent"}),
        json!({"email": "someone@example.com", "room_name": "den"}),
    ] {
        let answer = mint(body.clone()).await;
        assert!(answer.0.is_client_error(), "{body}: {}", answer.1);
    }
    let (status, made) = mint(json!({"name": "lamp", "room_name": "den", "role": "user"})).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let lamp = p.app.verify(made["token"].as_str().unwrap()).await.unwrap();
    assert_eq!((lamp.room.as_deref(), lamp.role.as_str(), lamp.user.is_none()), (Some("den"), "user", true));
    assert!(lamp.api.unwrap().storage.is_none() && lamp.expires_at.is_some());

    // A grant beside one for a room, of another name, or of an agent makes nobody a person.
    let user = || Grant { name: USER_GRANT.into(), scope: json!("root@example.com") };
    let mut in_room = Mint::new(p.project, "root@example.com");
    in_room.room = Some("den".into());
    let mut agent = Mint::new(p.project, "root@example.com");
    agent.role = Some("agent".into());
    for mut mint in [in_room, agent, Mint::new(p.project, "eve")] {
        mint.grants = vec![user()];
        let token = p.app.mint(mint).await.unwrap();
        assert_eq!(p.app.verify(&token).await.unwrap().user, None);
        assert_eq!(p.by(&token, Method::GET, "/users", json!({})).await.0, StatusCode::FORBIDDEN);
    }
    // In another project the address is nobody.
    let root = p.person("root@example.com").await;
    assert_eq!(p.by(&root, Method::GET, "/users", json!({})).await.0, StatusCode::OK);
    let other =
        p.send(Method::GET, "/accounts/projects", Some(&p.other_key), None).await.1["projects"][0]["id"]
            .clone();
    let path = format!("/accounts/projects/{}/users", other.as_str().unwrap());
    assert_eq!(p.send(Method::GET, &path, Some(&root), None).await.0, StatusCode::FORBIDDEN);
    let (_, who) = p.send(Method::GET, "/accounts/whoami", Some(&root), None).await;
    assert_eq!((&who["type"], &who["user"]["email"]), (&json!("user"), &json!("root@example.com")));
}

#[tokio::test]
async fn accounts_that_operate_the_server_are_out_of_peoples_reach() {
    let p = Platform::new().await;
    let operator = p.operator().await;
    let ann = p.member("ann@example.com", &["admin"]).await;
    let (_, keys) = p.by(&ann, Method::GET, "/service-accounts/root/api-keys", json!({})).await;
    let key = keys["keys"][0]["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        (Method::POST, "/service-accounts/root/api-keys".to_owned(), json!({"name": "mine"})),
        (Method::DELETE, format!("/service-accounts/root/api-keys/{key}"), json!({})),
        (Method::PUT, "/service-accounts/root".to_owned(), json!({"name": "mine"})),
        (Method::DELETE, "/service-accounts/root".to_owned(), json!({})),
    ] {
        let answer = p.by(&ann, method, &path, body).await;
        assert_eq!(answer.0, StatusCode::FORBIDDEN, "{path}: {}", answer.1);
    }
    let path = format!("/v1/projects/{}/resources/service-account/root", p.project);
    assert_eq!(p.send(Method::DELETE, &path, Some(&ann), None).await.0, StatusCode::FORBIDDEN);
    let (status, _) = p.send(Method::GET, "/v1/servers", Some(&operator), None).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn questions_about_people_are_answered_from_their_roles() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let ann = p.member("ann@example.com", &["developer"]).await;
    let bob = p.member("bob@example.com", &["member"]).await;
    let project = json!({"type": "project", "id": p.project.to_string()});
    let of = |user: &str| json!({"type": "user", "id": user});
    for (subject, resource, relation, allowed) in [
        (of("ann@example.com"), &project, "room_creator", true),
        (of("ann@example.com"), &project, "room_manager", false),
        (of("bob@example.com"), &project, "llm_proxy_user", false),
        (of("eve@example.com"), &project, "member", false),
        (of("ann@example.com"), &json!({"type": "room", "id": "den"}), "developer", true),
        (of("ann@example.com"), &json!({"type": "room", "id": "den"}), "admin", false),
        (of("ann@example.com"), &json!({"type": "feed", "id": "x"}), "admin", false),
    ] {
        let body = json!({"subject": subject, "resource": resource, "relation": relation});
        let answer = p.ok(Method::POST, "/access:test", Some(body)).await;
        assert_eq!(answer["allowed"], allowed, "{subject} {relation}");
    }
    let me = json!({"subject": of("me"), "resource": project, "relation": "room_creator"});
    assert_eq!(p.by(&ann, Method::POST, "/access:test", me.clone()).await.1["allowed"], true);
    assert_eq!(p.by(&bob, Method::POST, "/access:test", me).await.1["allowed"], false);
    let about_ann = json!({"subject": of("ann@example.com"), "resource": project, "relations": ["admin", "feed_creator"]});
    let (status, _) = p.by(&bob, Method::POST, "/access:effective", about_ann.clone()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let answer = p.ok(Method::POST, "/access:effective", Some(about_ann)).await;
    assert_eq!(answer["capabilities"], json!({"admin": false, "feed_creator": true}));
    assert!(answer["effective_roles"].as_array().unwrap().contains(&json!("service_manager")));
    let grant = json!({"subject": of("ann@example.com"), "roles": ["viewer"]});
    p.ok(Method::POST, "/iam/room/den/policy:grant", Some(grant)).await;
    let whose = json!({"subject": of("ann@example.com")});
    let answer = p.ok(Method::POST, "/access:bindings", Some(whose)).await;
    let types: Vec<&Value> =
        answer["access_grants"].as_array().unwrap().iter().map(|g| &g["resource"]["type"]).collect();
    assert_eq!(types, ["project", "room"]);
    let (_, own) = p.by(&ann, Method::GET, "/role", json!({})).await;
    assert_eq!((&own["role"], &own["capabilities"]["feed_manager"]), (&json!("developer"), &json!(true)));
    assert_eq!(p.ok(Method::GET, "/role", None).await["role"], "admin");
}

#[tokio::test]
async fn what_people_make_acts_with_no_more_than_their_rights() {
    let p = Platform::new().await;
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let developer = p.member("dev@example.com", &["developer"]).await;
    let admin = p.member("ann@example.com", &["admin"]).await;
    let service = |name: &str, container: Value| {
        let container = container.as_object().unwrap().clone();
        let mut all = json!({"image": "meshagent/cli:default", "command": "true"});
        all.as_object_mut().unwrap().extend(container);
        json!({"version": "v1", "kind": "Service", "metadata": {"name": name}, "container": all})
    };
    let token = |api: Value| json!({"environment": [{"name": "T", "token": {"identity": "x", "api": api, "role": "agent"}}]});
    let acting = service(
        "acting",
        json!({"run_as": {"email": "default@service.one.localhost"},
            "environment": [{"name": "K", "secret": {"id": "x"}}]}),
    );
    for (body, fields) in
        [(acting, ["secret", "run_as"]), (service("all", token(json!({"admin": {}}))), ["admin", "admin"])]
    {
        for path in ["/services", "/rooms/den/services"] {
            let answer = p.by(&developer, Method::POST, path, body.clone()).await;
            assert_eq!(answer.0, StatusCode::FORBIDDEN, "{path}: {}", answer.1);
            let named =
                fields.iter().any(|field| message(&answer).contains(&format!("may not set `{field}`")));
            assert!(named, "{}", answer.1);
        }
    }
    let plain = service("plain", token(json!({"queues": {}, "llm": {}})));
    let answer = p.by(&developer, Method::POST, "/rooms/den/services", plain).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    let all = service("all", token(json!({"admin": {}})));
    let answer = p.by(&admin, Method::POST, "/rooms/den/services", all).await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    let keys =
        p.by(&developer, Method::POST, "/service-accounts/default/api-keys", json!({"name": "k"})).await;
    assert_eq!(keys.0, StatusCode::FORBIDDEN, "{}", keys.1);
    // A participant asks about rooms, not about who has which roles in the project.
    let mut mint = Mint::new(p.project, "guest");
    mint.room = Some("den".into());
    let guest = p.app.mint(mint).await.unwrap();
    let asked = json!({"subject": {"type": "user", "id": "ann@example.com"}, "relation": "admin",
        "resource": {"type": "project", "id": p.project.to_string()}});
    assert_eq!(p.by(&guest, Method::POST, "/access:test", asked).await.1["allowed"], false);
}
