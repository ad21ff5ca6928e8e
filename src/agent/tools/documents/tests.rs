use super::*;
use crate::client::room::{Options, Token, fake::FakeRoom};
use crate::clock::System;
use std::collections::BTreeSet;

async fn documents(kinds: &[&str]) -> (FakeRoom, Documents) {
    let room = FakeRoom::start().await;
    let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    (room, Documents::new(&client, &kinds, Arc::new(System)))
}

#[tokio::test]
async fn the_tools_are_those_of_the_official_agent() {
    let (_room, documents) = documents(&[]).await;
    let (tools, notes) = documents.tools().await.unwrap();
    let names: BTreeSet<_> =
        tools.iter().map(|tool| (tool.spec().toolkit.as_str(), tool.spec().tool.as_str())).collect();
    assert_eq!((names.len(), notes.len()), (5 + 30, 0), "{names:?}");
    for name in [
        (KIT, "get_document"),
        (KIT, "set_attribute"),
        (KIT, "remove_element_by_id"),
        (KIT, "meshagent.document.open"),
        (KIT, "meshagent.document.close"),
        ("meshagent.document_authoring.widget", "widget_insert_text"),
        ("meshagent.document_authoring.widget", "widget_insert_widgets"),
        ("meshagent.document_authoring.widget", "widget_insert_gridcolumn"),
    ] {
        assert!(names.contains(&name), "{name:?} is not among {names:?}");
    }
    let button = tools.iter().find(|tool| tool.spec().tool == "widget_insert_button").unwrap();
    let parameters = &button.spec().parameters;
    assert_eq!(parameters["required"].as_array().unwrap().len(), 3);
    let own = parameters["properties"]["button"]["properties"].as_object().unwrap();
    assert!(own.contains_key("backgroundColor") && !own.contains_key("children"), "{own:?}");
}

#[tokio::test]
async fn what_is_not_open_and_what_does_not_fit_is_told() {
    let (_room, documents) = documents(&[]).await;
    let (tools, _) = documents.tools().await.unwrap();
    let context = CallContext::new("t", "u", "i");
    let told = async |tool: &str, given: Value| {
        let tool = tools.iter().find(|candidate| candidate.spec().tool == tool).unwrap();
        match tool.run(given, &context).await {
            Err(ToolError::Told(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let closed = told("get_document", json!({"path": "a.widget"})).await;
    assert!(closed.contains("not open") && closed.contains("meshagent.document.open"), "{closed}");
    assert!(told("meshagent.document.open", json!({"path": "../a.widget"})).await.contains("no path"));
    assert!(told("meshagent.document.close", json!({"path": "a.widget"})).await.contains("not open"));
    assert!(told("set_attribute", json!({"path": "a", "id": 1})).await.contains("do not fit"));
    for given in [
        json!([]),
        json!({"path": "a.widget", "parent_element_id": "root"}),
        json!({"path": "a.widget", "parent_element_id": "root", "text": "x"}),
        json!({"path": "a.widget", "parent_element_id": 7, "text": {}}),
        json!({"path": "a.widget", "parent_element_id": "root", "text": {}, "zap": {}}),
    ] {
        let said = told("widget_insert_text", given.clone()).await;
        assert!(said.contains("arguments"), "{given}: {said}");
    }
}

#[test]
fn values_are_what_the_schema_wants() {
    assert_eq!(fitting(json!("12"), Some(ValueKind::Number)), json!(12));
    assert_eq!(fitting(json!(" 1.5 "), Some(ValueKind::Number)), json!(1.5));
    assert_eq!(fitting(json!("true"), Some(ValueKind::Boolean)), json!(true));
    for (text, kind) in [("twelve", Some(ValueKind::Number)), ("12", Some(ValueKind::String)), ("12", None)] {
        assert_eq!(fitting(json!(text), kind), json!(text));
    }
    assert_eq!(fitting(json!(1), Some(ValueKind::String)), json!(1));
}
