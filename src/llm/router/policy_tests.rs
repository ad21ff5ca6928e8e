use super::*;

fn policy(document: Value) -> Policy {
    Policy::new(serde_json::from_value::<Router>(document).unwrap().checked().unwrap())
}

fn asked<'a>(operation: &'a Operation, headers: &'a HeaderMap) -> Asked<'a> {
    Asked { operation, transport: Transport::Http, headers, model: "m" }
}

/// What becomes of a body.
fn applied(then: Value, provider: Provider, path: &str, body: Value) -> Result<Value, Stopped> {
    let policy = policy(json!({"rules": [{"then": then}]}));
    let operation = Operation::of(provider, path).unwrap();
    let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
    policy.apply(&asked(&operation, &HeaderMap::new()), &mut fields)?;
    Ok(serde_json::from_slice(&fields.to_bytes()).unwrap())
}

const OPENAI: Provider = Provider::OpenAi;

#[test]
fn programs_are_told_by_their_user_agent() {
    let with = |text: &str| HeaderMap::from_iter([(USER_AGENT, text.parse().unwrap())]);
    let blocked = policy(json!({"apps": {"userAgentPatterns": ["curl/*"]}}));
    assert!(blocked.check_app(&with("codex/1")).is_ok() && blocked.check_app(&HeaderMap::new()).is_ok());
    assert_eq!(blocked.check_app(&with("CURL/8.1")), Err(Stopped::App("CURL/8.1".to_owned())));
    let strict = policy(json!({"apps": {"blockMissingUserAgent": true}}));
    assert_eq!(strict.check_app(&HeaderMap::new()), Err(Stopped::NoUserAgent));
    assert_eq!(strict.check_app(&with(" ")), Err(Stopped::NoUserAgent));
    let allowed = policy(json!({"apps": {"mode": "allowed", "userAgentPatterns": ["meshagent*"]}}));
    assert!(allowed.check_app(&with("meshagent/0.1")).is_ok());
    assert!(allowed.check_app(&with("curl/8.1 meshagent")).is_err());
    assert_eq!(
        allowed.check_app(&HeaderMap::new()),
        Err(Stopped::NoUserAgent),
        "who hides is not on the list"
    );
    assert!(Policy::default().check_app(&HeaderMap::new()).is_ok());
}

#[test]
fn models_are_allowed_by_provider() {
    let some = policy(json!([{"provider": "openai", "model": "gpt-*"}, {"provider": "grok", "model": "g"}]));
    assert!(some.is_restricted() && !Policy::default().is_restricted());
    assert!(some.check_model(OPENAI, "gpt-4").is_ok() && some.check_model(Provider::Grok, "g").is_ok());
    let refused = some.check_model(Provider::Anthropic, "gpt-4").unwrap_err().to_string();
    assert!(refused.contains("anthropic/gpt-4"), "{refused}");
    assert!(policy(json!([])).check_model(OPENAI, "gpt-4").is_err(), "an empty list allows none");
    assert!(
        policy(json!({"rules": [{"when": {"models": ["a"]}, "then": {"tools": {"deny": [{"type": "x"}]}}}]}))
            .is_restricted()
    );
}

#[test]
fn instructions_go_where_each_interface_has_them() {
    let both = json!({"instructions": {"replace": "New.", "append": "More."}});
    let append = json!({"instructions": {"append": "More."}});
    let on = |then: &Value, provider, path: &str, body| applied(then.clone(), provider, path, body).unwrap();
    let items = json!([{"role": "developer", "content": "old"}, {"role": "user", "content": "hi"}]);
    let told = on(&both, OPENAI, "responses", json!({"model": "m", "instructions": "Old.", "input": items}));
    assert_eq!(told["instructions"], "New.\n\nMore.");
    assert_eq!(told["input"], json!([{"role": "user", "content": "hi"}]));
    let told = on(&append, OPENAI, "responses", json!({"model": "m", "input": "hi", "instructions": null}));
    assert_eq!((&told["instructions"], &told["input"]), (&json!("More."), &json!("hi")));
    let messages = json!([{"role": "system", "content": "old"}, {"role": "user", "content": "hi"}]);
    let told = on(&append, OPENAI, "chat/completions", json!({"model": "m", "messages": messages}));
    assert_eq!(told["messages"][1], json!({"role": "system", "content": "More."}));
    assert_eq!(told["messages"].as_array().unwrap().len(), 3);
    let told = on(&both, OPENAI, "chat/completions", json!({"model": "m", "messages": messages}));
    assert_eq!(told["messages"][0]["content"], "New.");
    assert!(!told.to_string().contains("old"), "{told}");
    let blocks = json!([{"type": "text", "text": "old"}]);
    let told = on(&append, Provider::Anthropic, "v1/messages", json!({"model": "m", "system": blocks}));
    assert_eq!(told["system"][1]["text"], "More.");
    let told = on(&both, Provider::Anthropic, "v1/messages", json!({"model": "m", "system": "old"}));
    assert_eq!(told["system"], "New.\n\nMore.");
    let bad = applied(append.clone(), OPENAI, "responses", json!({"instructions": [1]}));
    assert!(matches!(bad, Err(Stopped::Malformed(_))));
    assert!(matches!(
        applied(append, Provider::Anthropic, "v1/complete", json!({"prompt": "hi"})),
        Err(Stopped::Impossible { .. })
    ));
}

#[test]
fn a_denied_tool_is_found_wherever_it_stands() {
    let deny = json!({"tools": {"deny": [{"type": "web_search"}, {"type": "function", "name": "rm*"}, {"type": "mcp"}]}});
    for (provider, path, body) in [
        (OPENAI, "responses", json!({"tools": [{"type": "web_search_preview"}]})),
        (OPENAI, "responses", json!({"tools": [{"type": "mcp", "server_label": "x"}]})),
        (
            OPENAI,
            "responses",
            json!({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "rmdir"}]}]}),
        ),
        (
            OPENAI,
            "responses",
            (0..20).fold(json!({"tools": [{"type": "mcp"}]}), |inner, _| json!({"tools": [inner]})),
        ),
        (
            OPENAI,
            "responses",
            json!({"input": [{"type": "tool_search_output", "tools": [{"type": "function", "name": "rm"}]}]}),
        ),
        (OPENAI, "chat/completions", json!({"tools": [{"type": "function", "function": {"name": "rm"}}]})),
        (OPENAI, "chat/completions", json!({"functions": [{"name": "rm"}]})),
        (OPENAI, "chat/completions", json!({"web_search_options": {}})),
        (Provider::Anthropic, "v1/messages", json!({"tools": [{"name": "rm", "input_schema": {}}]})),
        (Provider::Anthropic, "v1/messages", json!({"tools": [{"type": "custom", "name": "rm"}]})),
        (
            Provider::Anthropic,
            "v1/messages",
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ),
        (Provider::Anthropic, "v1/messages", json!({"mcp_servers": [{"type": "url", "name": "x"}]})),
        (
            Provider::Anthropic,
            "v1/messages/batches",
            json!({"requests": [{"params": {"model": "m", "tools": [{"name": "rm"}]}}]}),
        ),
    ] {
        let stopped = applied(deny.clone(), provider, path, body.clone());
        assert!(matches!(stopped, Err(Stopped::Tool { .. })), "{path} {body}: {stopped:?}");
    }
    let fine = json!({"model": "m", "tools": [{"type": "function", "name": "ls"}], "input": "web_search"});
    assert_eq!(applied(deny.clone(), OPENAI, "responses", fine.clone()).unwrap(), fine);
    let stored = json!({"prompt": {"id": "pmpt_1"}});
    assert!(matches!(applied(deny, OPENAI, "responses", stored), Err(Stopped::Impossible { .. })));
}

#[test]
fn only_what_rules_are_about_is_read() {
    let many = json!({"model": "m", "input": vec![0; VALUES_MAX]});
    let deny = json!({"tools": {"deny": [{"type": "mcp"}]}});
    let stopped = applied(deny, OPENAI, "responses", many.clone());
    assert_eq!(stopped, Err(Stopped::Malformed(Malformed::Values("input".to_owned()))));
    let append = json!({"instructions": {"append": "More."}});
    assert_eq!(applied(append, OPENAI, "responses", many.clone()).unwrap()["input"], many["input"]);
    let batch = json!({"requests": vec![json!({"params": {}}); VALUES_MAX]});
    let replace = json!({"instructions": {"replace": "New."}});
    assert!(matches!(
        applied(replace, Provider::Anthropic, "v1/messages/batches", batch),
        Err(Stopped::Malformed(Malformed::Values(_)))
    ));
}

#[test]
fn items_of_a_realtime_conversation_do_not_go_past_instructions() {
    let operation = Operation::of(OPENAI, "realtime").unwrap();
    let sent = |then: Value, item: Value| {
        let policy = policy(json!({"rules": [{"then": then}]}));
        let body = json!({"type": "conversation.item.create", "item": item}).to_string();
        let mut fields = Fields::parse(body.as_bytes()).unwrap();
        policy.apply_realtime(&asked(&operation, &HeaderMap::new()), &mut fields)
    };
    let (replace, append) =
        (json!({"instructions": {"replace": "New."}}), json!({"instructions": {"append": "More."}}));
    let system = json!({"type": "message", "role": "system", "content": []});
    assert!(matches!(sent(replace.clone(), system.clone()), Err(Stopped::Impossible { .. })));
    assert_eq!(sent(replace, json!({"type": "message", "role": "user"})), Ok(false));
    assert_eq!(sent(append, system), Ok(false));
}

#[test]
fn members_that_cannot_be_read_are_not_let_through() {
    let policy = policy(json!({"rules": [{"then": {"tools": {"deny": [{"type": "mcp"}]}}}]}));
    let operation = Operation::of(OPENAI, "responses").unwrap();
    let deep = format!("{{\"tools\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let mut fields = Fields::parse(deep.as_bytes()).unwrap();
    let read = policy.apply(&asked(&operation, &HeaderMap::new()), &mut fields);
    assert!(matches!(read, Err(Stopped::Malformed(_))), "{read:?}");
    // What two parsers may read differently is written anew.
    let twice = r#"{"tools": [{"type": "mcp", "type": "function", "name": "a"}]}"#;
    let mut fields = Fields::parse(twice.as_bytes()).unwrap();
    assert!(policy.apply(&asked(&operation, &HeaderMap::new()), &mut fields).unwrap());
    assert!(!String::from_utf8(fields.to_bytes()).unwrap().contains("mcp"));
}

#[test]
fn ignored_tools_are_taken_out_with_what_asks_for_them() {
    let ignore =
        json!({"tools": {"ignore": [{"type": "image_generation"}, {"type": "function", "name": "rm"}]}});
    let on = |path: &str, body: Value| applied(ignore.clone(), OPENAI, path, body).unwrap();
    let body = json!({"tools": [{"type": "image_generation"}, {"type": "function", "name": "ls"}],
        "tool_choice": {"type": "image_generation"}});
    assert_eq!(on("responses", body), json!({"tools": [{"type": "function", "name": "ls"}]}));
    let body = json!({"tools": [{"type": "image_generation"}], "tool_choice": "required", "parallel_tool_calls": true});
    assert_eq!(on("responses", body), json!({}));
    let body = json!({"tools": [{"type": "function", "function": {"name": "ls"}}], "tool_choice": "auto"});
    assert_eq!(on("chat/completions", body.clone()), body);
    let body = json!({"functions": [{"name": "rm"}], "function_call": {"name": "rm"}});
    assert_eq!(on("chat/completions", body), json!({}));
}

#[test]
fn the_search_is_put_in_as_each_provider_has_it() {
    let then = |more: Value| {
        let mut tool = json!({"type": "web_search", "search_context_size": "low"});
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"tools": {"ensure": [tool]}})
    };
    let allowed = then(json!({"allowed_domains": ["a.b"]}));
    let body = json!({"tools": [{"type": "web_search_preview"}, {"type": "function", "name": "ls"}]});
    assert_eq!(
        applied(allowed.clone(), OPENAI, "responses", body).unwrap()["tools"],
        json!([{"type": "function", "name": "ls"},
            {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a.b"]}}])
    );
    let told = applied(allowed.clone(), Provider::Anthropic, "v1/messages", json!({})).unwrap();
    let want = json!({"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.b"]});
    assert_eq!(told["tools"], json!([want]));
    let told = applied(then(json!({})), OPENAI, "chat/completions", json!({})).unwrap();
    assert_eq!(told["web_search_options"], json!({"search_context_size": "low"}));
    let not = applied(allowed, OPENAI, "chat/completions", json!({}));
    assert!(matches!(not, Err(Stopped::Impossible { .. })), "never left out in silence");
    let rule = json!({"rules": [{"when": {"providers": ["grok"]}, "then": then(json!({"blocked_domains": ["a.b"]}))}]});
    let operation = Operation::of(Provider::Grok, "responses").unwrap();
    let mut fields = Fields::parse(b"{}").unwrap();
    policy(rule).apply(&asked(&operation, &HeaderMap::new()), &mut fields).unwrap();
    assert!(
        String::from_utf8(fields.to_bytes()).unwrap().contains(r#""filters":{"excluded_domains":["a.b"]}"#)
    );
}

#[test]
fn rules_are_about_what_they_name() {
    let about = |when: Value, model: &str, headers: &HeaderMap, transport| {
        let policy = policy(json!({"rules": [{"when": when, "then": {"instructions": {"append": "x"}}}]}));
        let operation = Operation::of(OPENAI, "responses").unwrap();
        let mut fields = Fields::parse(b"{}").unwrap();
        let asked = Asked { operation: &operation, transport, headers, model };
        policy.apply(&asked, &mut fields).unwrap()
    };
    let headers = HeaderMap::from_iter([("x-app".parse().unwrap(), "Nightly-1".parse().unwrap())]);
    let http = Transport::Http;
    for (when, want) in [
        (json!({}), true),
        (json!({"header": {"X-App": "nightly*"}}), true),
        (json!({"header": {"x-app": "daily*"}}), false),
        (json!({"header": {"x-other": "*"}}), false),
        (json!({"models": ["gpt-*"]}), true),
        (json!({"models": ["openai/gpt-4"]}), true),
        (json!({"models": ["grok/*", "o3"]}), false),
        (json!({"providers": ["grok"]}), false),
        (json!({"apis": ["messages", "responses"]}), true),
        (json!({"apis": ["messages"]}), false),
        (json!({"transports": ["websocket"]}), false),
        (json!({"models": ["gpt-*"], "transports": ["websocket"]}), false),
    ] {
        assert_eq!(about(when.clone(), "gpt-4", &headers, http), want, "{when}");
    }
    assert!(about(json!({"transports": ["websocket"]}), "m", &headers, Transport::WebSocket));
    let operation = Operation::of(OPENAI, "embeddings").unwrap();
    let policy = policy(json!({"rules": [{"then": {"instructions": {"append": "x"}}}]}));
    let mut fields = Fields::parse(b"{}").unwrap();
    assert!(
        !policy.apply(&asked(&operation, &headers), &mut fields).unwrap(),
        "embeddings have no instructions"
    );
}

#[test]
fn realtime_sessions_are_told_from_the_beginning() {
    let told = policy(
        json!({"rules": [{"then": {"instructions": {"append": "Be brief."}, "tools": {"ignore": [{"type": "mcp"}]}}}]}),
    );
    let operation = Operation::of(OPENAI, "realtime").unwrap();
    let headers = HeaderMap::new();
    let asked = Asked { transport: Transport::WebSocket, ..asked(&operation, &headers) };
    let opening = told.realtime_opening(&asked, false).unwrap().unwrap();
    assert_eq!(opening["session"], json!({"type": "realtime", "instructions": "Be brief."}));
    assert_eq!(
        told.realtime_opening(&asked, true).unwrap().unwrap()["session"],
        json!({"instructions": "Be brief."})
    );
    assert_eq!(Policy::default().realtime_opening(&asked, false).unwrap(), None);
    let message = |text: &str| {
        let mut fields = Fields::parse(text.as_bytes()).unwrap();
        told.apply_realtime(&asked, &mut fields).unwrap();
        serde_json::from_slice::<Value>(&fields.to_bytes()).unwrap()
    };
    let changed = message(
        r#"{"type": "session.update", "session": {"instructions": "Hi.", "tools": [{"type": "mcp"}]}}"#,
    );
    assert_eq!(changed["session"], json!({"instructions": "Hi.\n\nBe brief."}));
    assert_eq!(message(r#"{"type": "response.create"}"#), json!({"type": "response.create"}));
    assert_eq!(message(r#"{"type": "session.update", "session": {"a": 1}}"#)["session"], json!({"a": 1}));
    let http = Operation::of(OPENAI, "realtime/client_secrets").unwrap();
    let mut fields = Fields::parse(b"{}").unwrap();
    let refused = told.apply(&Asked { operation: &http, transport: Transport::Http, ..asked }, &mut fields);
    assert!(matches!(refused, Err(Stopped::Impossible { .. })));
}
