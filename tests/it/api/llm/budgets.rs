//! Budgets and delegations stop.

use super::Rig;
use axum::http::Method;
use meshagent::app::{Actor, NewKey};
use meshagent::id::ServiceAccountId;
use serde_json::{Value, json};
use uuid::Uuid;

const ASK: &str = "/openai/v1/responses";

impl Rig {
    async fn set_budgets(&self, budgets: Value) {
        self.platform.ok(Method::PUT, "/settings/budgets", Some(budgets)).await;
    }

    async fn delegation(&self, wanted: Value) -> Value {
        let (status, answer) =
            self.platform.send(Method::POST, "/llm/connect", Some(&self.platform.key), Some(wanted)).await;
        assert_eq!(status.as_u16(), 200, "{answer}");
        answer
    }
}

#[tokio::test]
async fn an_exhausted_budget_stops_whom_it_is_about() {
    let rig = Rig::new().await;
    // Each answer of the stand-in is 15 tokens.
    rig.set_budgets(json!({"limits": [{"name": "daily", "per": "day", "tokens": 30, "each": "user"}]})).await;
    let (ann, bob) = (rig.token("ann", None).await, rig.token("bob", None).await);
    for _ in 0..2 {
        assert_eq!(rig.ask(ASK, &ann, json!({"model": "m"})).await.0, 200);
    }
    let (status, answer) = rig.ask(ASK, &ann, json!({"model": "m"})).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (402, "budget-exhausted"), "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("budget `daily` exhausted: 30 of 30 tokens")
    );
    assert_eq!(rig.ask(ASK, &bob, json!({"model": "m"})).await.0, 200, "bob has a budget of his own");
    let answer = rig.client.get(format!("http://{}/openai/v1/models", rig.here)).bearer_auth(&ann);
    assert_eq!(answer.send().await.unwrap().status().as_u16(), 200, "to look costs nothing");
    assert_eq!(rig.seen().len(), 4);
    let batches = rig.ask("/anthropic/v1/messages/batches", &bob, json!({"requests": []})).await;
    assert_eq!(batches.0, 403, "{}", batches.1);
    for (path, body) in [
        (ASK, json!({"model": "m", "background": true})),
        ("/openai/v1/audio/speech", json!({"model": "m", "input": "hi"})),
    ] {
        let (status, answer) = rig.ask(path, &bob, body).await;
        assert_eq!(status, 403, "what it uses is not told: {answer}");
    }
    assert_eq!(rig.ask(ASK, &bob, json!({"model": "m", "background": false})).await.0, 200);
}

#[tokio::test]
async fn dollars_need_a_price() {
    let rig = Rig::new().await;
    let prices = json!({"openai/m": {"input": "100000", "cached_input": "50000", "output": "200000"}});
    rig.set_budgets(json!({"limits": [{"per": "month", "dollars": "1.80"}], "prices": prices})).await;
    let ann = rig.token("ann", None).await;
    let (status, answer) = rig.ask(ASK, &ann, json!({"model": "other"})).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (403, "model-unpriced"), "{answer}");
    // 6 plain, 4 cached, 5 made: 0.6 + 0.2 + 1 dollars.
    assert_eq!(rig.ask(ASK, &ann, json!({"model": "m"})).await.0, 200);
    assert_eq!(rig.usage("").await[0]["cost"], "1.8");
    assert_eq!(rig.ask(ASK, &ann, json!({"model": "m"})).await.0, 402);
}

#[tokio::test]
async fn a_delegation_lets_its_subject_spend_up_to_its_sum() {
    let rig = Rig::new().await;
    let prices = json!({"openai/*": {"input": "100000", "output": "200000"}});
    rig.set_budgets(json!({"prices": prices})).await;
    let wanted =
        json!({"subject": {"type": "user", "name": "ann"}, "max_budget": "2", "models": ["openai/m"]});
    let made = rig.delegation(wanted).await;
    assert_eq!((&made["max_budget"], &made["delegator"]["type"]), (&json!("2"), &json!("service_account")));
    let token = made["token"].as_str().unwrap();
    let ann = rig.scoped("ann", meshagent::spec::ApiScope::user_default()).await;
    let bob = rig.scoped("bob", meshagent::spec::ApiScope::user_default()).await;
    let ask = async |bearer: &str, model: &str| {
        let request = rig.post(ASK, bearer).header("meshagent-llm-delegation", token);
        request.json(&json!({"model": model})).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&ann, "other").await, 403, "another model");
    assert_eq!(ask(&bob, "m").await, 403, "another subject");
    assert_eq!(ask(&ann, "m").await, 200);
    assert_eq!(rig.ask(ASK, token, json!({"model": "m"})).await.0, 402, "2 dollars are spent");
    assert_eq!(ask(&ann, "m").await, 402);
    let rows = rig.usage("").await;
    assert_eq!((&rows[0]["delegation"], &rows[0]["user"]), (&made["id"], &json!("ann")));
}

#[tokio::test]
async fn delegations_are_refused_where_they_are_not_whole() {
    let rig = Rig::new().await;
    let connect = async |bearer: &str, wanted: Value| {
        rig.platform.send(Method::POST, "/llm/connect", Some(bearer), Some(wanted)).await.0.as_u16()
    };
    let subject = json!({"type": "user", "name": "ann"});
    let key = rig.platform.key.clone();
    for wanted in [
        json!({"subject": subject}),
        json!({"subject": {"type": "user"}, "max_budget": "1"}),
        json!({"subject": {"type": "everyone", "id": "x"}, "max_budget": "1"}),
        json!({"subject": subject, "max_budget": "-1"}),
        json!({"subject": subject, "max_budget": "1", "providers": ["nobody"]}),
        json!({"subject": subject, "max_budget": "1", "expires_in_seconds": 0}),
        json!({"subject": subject, "max_budget": "1", "expires_in_seconds": 999_999_999}),
    ] {
        assert_eq!(connect(&key, wanted.clone()).await, 400, "{wanted}");
    }
    let ann = rig.token("ann", None).await;
    assert_eq!(connect(&ann, json!({"subject": subject, "max_budget": "1"})).await, 403);
    let made = rig.delegation(json!({"subject": subject, "max_budget": "1"})).await;
    let token = made["token"].as_str().unwrap();
    let (status, answer) = rig.ask(ASK, token, json!({"model": "m"})).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (403, "model-unpriced"));
    let forged = format!("{token}x");
    assert_eq!(rig.ask(ASK, &forged, json!({"model": "m"})).await.0, 401);
    let as_participant = format!("/accounts/projects/{}", rig.platform.project);
    let (status, _) = rig.platform.send(Method::GET, &as_participant, Some(token), None).await;
    assert_eq!(status.as_u16(), 401, "a delegation opens nothing else");
}

#[tokio::test]
async fn a_delegation_ends_with_the_key_that_made_it() {
    let rig = Rig::new().await;
    rig.set_budgets(json!({"prices": {"openai/*": {"input": "1", "output": "1"}}})).await;
    let subject = json!({"subject": {"type": "user", "name": "ann"}, "max_budget": "100"});
    let first = rig.delegation(subject.clone()).await;
    let account: Uuid = first["delegator"]["id"].as_str().unwrap().parse().unwrap();
    let account = ServiceAccountId::new(rig.platform.project, account);
    let actor = Actor::new("test", "setup");
    let (id, key) = rig.platform.app.create_key(&actor, account, NewKey::default()).await.unwrap();
    let (status, second) =
        rig.platform.send(Method::POST, "/llm/connect", Some(&key.reveal()), Some(subject)).await;
    assert_eq!(status.as_u16(), 200, "{second}");
    let tokens = [&first, &second].map(|made| made["token"].as_str().unwrap().to_owned());
    for token in &tokens {
        assert_eq!(rig.ask(ASK, token, json!({"model": "m"})).await.0, 200);
    }
    rig.platform.app.revoke_key(&actor, id).await.unwrap();
    assert_eq!(rig.ask(ASK, &tokens[1], json!({"model": "m"})).await.0, 401);
    assert_eq!(rig.ask(ASK, &tokens[0], json!({"model": "m"})).await.0, 200);
}
