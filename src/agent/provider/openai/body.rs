//! The request body. Pure.

use crate::agent::config::OpenAiConfig;
use crate::agent::history::{Item, Part, ToolCall};
use crate::agent::provider::Request;
use crate::agent::tools::ToolSpec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Longest function name that endpoints take, characters.
const NAME_CHARS_MAX: usize = 64;

/// Function name on the wire → toolkit and tool.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, (String, String)>);

impl Names {
    /// The call that the model means by this function name; an unknown one keeps it, so that the error can name it.
    pub fn call(&self, id: String, item_id: String, name: &str, arguments: String) -> ToolCall {
        let (toolkit, tool) = self.tool(name);
        ToolCall { id, item_id, toolkit, tool, arguments }
    }

    /// Toolkit and tool of a function name.
    pub fn tool(&self, name: &str) -> (String, String) {
        self.0.get(name).cloned().unwrap_or_else(|| (String::new(), name.to_owned()))
    }
}

pub(super) fn body(config: &OpenAiConfig, request: Request<'_>) -> (Value, Names) {
    let mut names = Names::default();
    let tools: Vec<_> = request.tools.iter().map(|spec| function(spec, &mut names)).collect();
    let input: Vec<_> = request.items.iter().map(|item| wire_item(item)).collect();
    let mut body = json!({
        "model": request.model,
        "instructions": request.instructions,
        "input": input,
        "max_output_tokens": config.max_output_tokens,
        "store": false,
        "stream": true,
    });
    if !tools.is_empty() {
        body["tools"] = Value::Array(tools);
    }
    if let Some(schema) = request.answer_schema {
        body["text"] =
            json!({"format": {"type": "json_schema", "name": "response", "strict": true, "schema": schema}});
    }
    if let Some(effort) = &config.reasoning_effort {
        body["reasoning"] = json!({"effort": effort, "summary": "detailed"});
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    (body, names)
}

fn function(spec: &ToolSpec, names: &mut Names) -> Value {
    let mut name = function_name(&spec.toolkit, &spec.tool);
    if names.0.contains_key(&name) {
        // Equal after sanitising or cutting: a number tells them apart.
        name = format!("{}_{}", name.get(..NAME_CHARS_MAX - 8).unwrap_or(&name), names.0.len());
    }
    names.0.insert(name.clone(), (spec.toolkit.clone(), spec.tool.clone()));
    json!({
        "type": "function",
        "name": name,
        "description": spec.description,
        "parameters": spec.parameters,
        "strict": spec.strict,
    })
}

/// `<toolkit>__<tool>` in the characters that endpoints take.
fn function_name(toolkit: &str, tool: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("{toolkit}__{tool}").chars().map(allowed).take(NAME_CHARS_MAX).collect()
}

fn wire_item(item: &Item) -> Value {
    match item {
        Item::User(parts) => {
            let content: Vec<_> = parts.iter().map(wire_part).collect();
            json!({"type": "message", "role": "user", "content": content})
        }
        Item::Answer { text, phase } => {
            let mut message = json!({"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": text}]});
            if let Some(phase) = phase {
                message["phase"] = json!(phase);
            }
            message
        }
        Item::Call(call) => json!({"type": "function_call", "call_id": call.id,
            "name": function_name(&call.toolkit, &call.tool), "arguments": call.arguments}),
        Item::Output { call_id, text, files } if files.is_empty() => {
            json!({"type": "function_call_output", "call_id": call_id, "output": text})
        }
        Item::Output { call_id, text, files } => {
            let mut output = vec![json!({"type": "input_text", "text": text})];
            output.extend(files.iter().map(wire_part));
            json!({"type": "function_call_output", "call_id": call_id, "output": output})
        }
        Item::Opaque(value) => value.clone(),
    }
}

fn wire_part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "input_text", "text": text}),
        Part::Link { url, .. } => json!({"type": "input_file", "file_url": url}),
        Part::File { name, mime_type, data } => {
            let url = format!("data:{mime_type};base64,{}", STANDARD.encode(data));
            if mime_type.starts_with("image/") {
                return json!({"type": "input_image", "image_url": url});
            }
            match std::str::from_utf8(data) {
                Ok(text) if mime_type.starts_with("text/") => {
                    json!({"type": "input_text", "text": format!("File {name}:\n{text}")})
                }
                _ => json!({"type": "input_file", "filename": name, "file_data": url}),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(toolkit: &str, tool: &str) -> ToolSpec {
        ToolSpec {
            toolkit: toolkit.into(),
            tool: tool.into(),
            description: "d".into(),
            parameters: json!({"type": "object"}),
            strict: true,
            approval: false,
        }
    }

    #[test]
    fn function_names_are_allowed_unique_and_lead_back() {
        let mut names = Names::default();
        let long = "x".repeat(80);
        let written: Vec<_> = [("a.b", "c d"), ("a-b", "e"), (&long, "1"), (&long, "2"), (&long, "3")]
            .into_iter()
            .map(|(toolkit, tool)| function(&spec(toolkit, tool), &mut names)["name"].clone())
            .collect();
        assert_eq!(written[0], "a_b__c_d");
        assert_eq!(written[1], "a-b__e");
        let unique: std::collections::HashSet<_> = written.iter().map(|n| n.as_str().unwrap()).collect();
        assert_eq!(unique.len(), 5);
        assert!(unique.iter().all(|n| n.len() <= NAME_CHARS_MAX));
        let call = names.call("1".into(), "1".into(), "a_b__c_d", "{}".into());
        assert_eq!((call.toolkit.as_str(), call.tool.as_str()), ("a.b", "c d"));
        assert_eq!(names.call("1".into(), "1".into(), "zap", "{}".into()).tool, "zap");
    }

    #[test]
    fn a_thread_becomes_input_items() {
        let png = Part::File { name: "p.png".into(), mime_type: "image/png".into(), data: vec![1].into() };
        let md = Part::File { name: "m.md".into(), mime_type: "text/markdown".into(), data: "hi".into() };
        let items = [
            Item::User(vec![Part::Text("t".into()), png, md]),
            Item::Answer { text: "a".into(), phase: Some("commentary".into()) },
            Item::Call(ToolCall {
                id: "1".into(),
                item_id: "1".into(),
                toolkit: "s".into(),
                tool: "w".into(),
                arguments: "{}".into(),
            }),
            Item::output("1", "ok"),
            Item::Opaque(json!({"type": "reasoning"})),
        ];
        let config = OpenAiConfig {
            base_url: String::new(),
            api_key: String::new(),
            max_output_tokens: 5,
            reasoning_effort: Some("low".into()),
        };
        let items: Vec<_> = items.iter().collect();
        let request =
            Request { model: "m", instructions: "i", items: &items, tools: &[], answer_schema: None };
        let (body, _) = body(&config, request);
        assert_eq!(body["input"][0]["content"][1]["image_url"], "data:image/png;base64,AQ==");
        assert_eq!(body["input"][0]["content"][2]["text"], "File m.md:\nhi");
        assert_eq!(body["input"][1]["phase"], "commentary");
        assert_eq!(body["input"][2]["name"], "s__w");
        assert_eq!(body["input"][4], json!({"type": "reasoning"}));
        assert_eq!((&body["store"], &body["stream"]), (&json!(false), &json!(true)));
        assert_eq!(body["reasoning"]["effort"], "low");
        assert_eq!(body.get("tools"), None);
    }
}
