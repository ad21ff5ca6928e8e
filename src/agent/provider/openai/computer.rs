//! Calls of the tool `computer` of OpenAI's models, and the pictures that answer them. Pure.

use super::body::{is_computer, wire_part};
use crate::agent::history::{Item, ToolCall};
use crate::agent::tools::{COMPUTER, COMPUTER_CALL};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pictures that are sent again, the newest; of those before there is a blank one, as of a page that did not come.
const PICTURES_MAX: usize = 4;
/// One pixel of nothing.
const BLANK: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

/// The call that an item `computer_call` is.
pub(super) fn call(item: &Value) -> ToolCall {
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |key: &str| item.get(key).filter(|value| value.is_array()).cloned();
    let actions = list("actions").unwrap_or_else(|| match item.get("action") {
        Some(action) if action.is_object() => json!([action]),
        _ => json!([]),
    });
    let checks = list("pending_safety_checks").unwrap_or_else(|| json!([]));
    ToolCall {
        id: text("call_id"),
        item_id: text("id"),
        toolkit: COMPUTER.to_owned(),
        tool: COMPUTER_CALL.to_owned(),
        arguments: json!({"actions": actions, "pending_safety_checks": checks}).to_string(),
    }
}

/// The calls of a request to a model that has the tool, and what is shown of their pictures.
pub(super) struct Screens<'a> {
    calls: BTreeMap<&'a str, &'a ToolCall>,
    /// Outputs to come whose pictures are too old.
    blank: usize,
}

impl<'a> Screens<'a> {
    pub fn of(items: &[&'a Item]) -> Self {
        let mut calls = BTreeMap::new();
        let mut outputs = 0_usize;
        for item in items {
            match item {
                Item::Call(call) if is_computer(&call.toolkit, &call.tool) => {
                    calls.insert(call.id.as_str(), call);
                }
                Item::Output { call_id, .. } if calls.contains_key(call_id.as_str()) => outputs += 1,
                _ => {}
            }
        }
        Self { calls, blank: outputs.saturating_sub(PICTURES_MAX) }
    }

    /// A call or its output; `None` for all else. Each item is asked for once, in order.
    pub fn items(&mut self, item: &Item) -> Option<Vec<Value>> {
        match item {
            Item::Call(call) if self.calls.contains_key(call.id.as_str()) => Some(vec![called(call)]),
            Item::Output { call_id, text, files } => {
                let call = *self.calls.get(call_id.as_str())?;
                let picture = files.first().filter(|_| self.blank == 0).map(wire_part);
                let picture = picture.and_then(|part| part["image_url"].as_str().map(str::to_owned));
                self.blank = self.blank.saturating_sub(1);
                let mut items = vec![answered(call, call_id, picture)];
                if files.is_empty() {
                    // It went wrong; a picture alone does not say so.
                    let said = json!([{"type": "input_text", "text": text}]);
                    items.push(json!({"type": "message", "role": "user", "content": said}));
                }
                Some(items)
            }
            _ => None,
        }
    }
}

fn arguments(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).unwrap_or_default()
}

fn called(call: &ToolCall) -> Value {
    let mut given = arguments(call);
    let mut list = |key: &str| match given.get_mut(key).map(Value::take) {
        Some(list @ Value::Array(_)) => list,
        _ => json!([]),
    };
    let (actions, checks) = (list("actions"), list("pending_safety_checks"));
    let mut item = json!({"type": "computer_call", "call_id": call.id, "actions": actions,
        "pending_safety_checks": checks, "status": "completed"});
    if !call.item_id.is_empty() {
        item["id"] = json!(call.item_id);
    }
    item
}

/// What a person approved is acknowledged.
fn answered(call: &ToolCall, call_id: &str, picture: Option<String>) -> Value {
    let checks = arguments(call).get("pending_safety_checks").cloned();
    let checks = checks.filter(|checks| picture.is_some() && checks.is_array()).unwrap_or_else(|| json!([]));
    let picture = picture.unwrap_or_else(|| BLANK.to_owned());
    json!({"type": "computer_call_output", "call_id": call_id, "acknowledged_safety_checks": checks,
        "output": {"type": "computer_screenshot", "image_url": picture}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::history::Part;

    fn input(items: &[&Item]) -> Vec<Value> {
        let mut screens = Screens::of(items);
        items.iter().filter_map(|item| screens.items(item)).flatten().collect()
    }

    fn item(n: usize) -> Value {
        json!({"type": "computer_call", "id": format!("i{n}"), "call_id": format!("c{n}"), "status": "completed",
            "actions": [{"type": "click", "x": 1, "y": 2, "button": "left"}],
            "pending_safety_checks": [{"id": "s", "code": "k", "message": "m"}]})
    }

    fn picture(n: usize) -> Item {
        let data = vec![u8::try_from(n).unwrap()].into();
        let file = Part::File { name: "p.png".into(), mime_type: "image/png".into(), data };
        Item::Output { call_id: format!("c{n}"), text: "{}".into(), files: vec![file] }
    }

    #[test]
    fn calls_go_back_as_they_came_with_the_newest_pictures() {
        let items: Vec<Item> = (0..6).flat_map(|n| [Item::Call(call(&item(n))), picture(n)]).collect();
        let items: Vec<&Item> = items.iter().collect();
        let sent = input(&items);
        assert_eq!(sent.len(), 12);
        assert_eq!(sent[0], item(0));
        assert_eq!(sent[1]["output"]["image_url"], BLANK);
        assert_eq!(sent[11]["output"]["image_url"], "data:image/png;base64,BQ==");
        assert_eq!(sent[11]["acknowledged_safety_checks"], item(5)["pending_safety_checks"]);
        assert_eq!(sent.iter().filter(|item| item["output"]["image_url"] == BLANK).count(), 2);
    }

    #[test]
    fn an_action_alone_is_one_of_several_and_a_failure_is_said() {
        let one = json!({"call_id": "c", "id": "i", "action": {"type": "screenshot"}});
        let call = call(&one);
        assert_eq!(
            arguments(&call),
            json!({"actions": [{"type": "screenshot"}], "pending_safety_checks": []})
        );
        let failed = Item::output("c", "it failed");
        let call = Item::Call(call);
        let sent = input(&[&call, &failed]);
        assert_eq!(sent[1]["output"]["image_url"], BLANK);
        assert_eq!(sent[1]["acknowledged_safety_checks"], json!([]));
        assert_eq!(sent[2]["content"][0]["text"], "it failed");
    }
}
