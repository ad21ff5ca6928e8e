//! `builtin/echo`: no model and no network. It runs the tool calls that the prompt spells out and answers with the
//! prompt, so that loops, tools and demonstrations work offline. The format is documented in `docs/echo.md`.

use super::{Provider, Request, Say};
use crate::agent::history::{Item, ToolCall};
use crate::agent::turn::{Failure, Response};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;

/// Tool calls that one prompt may spell out.
const CALLS_MAX: usize = 32;

/// How every answer begins.
pub const NOTICE: &str = "This is builtin/echo, an offline echo and not a model.";

/// The echo.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

#[async_trait::async_trait]
impl Provider for Echo {
    async fn respond(&self, request: Request<'_>, _: &Say) -> Result<Response, Failure> {
        Ok(answer(request.items))
    }
}

/// A ```` ```tool ```` block of a prompt.
#[derive(Debug, PartialEq)]
enum Block {
    Call { toolkit: String, tool: String, arguments: Value },
    Broken { reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    tool: String,
    #[serde(default)]
    toolkit: String,
    #[serde(default)]
    arguments: Option<Value>,
}

/// The first time the calls, the second time (their outputs are there) the text.
fn answer(items: &[&Item]) -> Response {
    let last = items.iter().rposition(|item| matches!(item, Item::User(_)));
    let turn = last.and_then(|at| items.get(at..)).unwrap_or_default();
    let prompt = turn.first().and_then(|item| item.user_text()).unwrap_or_default();
    let blocks = blocks(&prompt);
    let outputs: Vec<_> = turn
        .iter()
        .filter_map(|item| match item {
            Item::Output { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let calls: Vec<_> = blocks.iter().enumerate().filter_map(|(n, block)| call(n, block)).collect();
    let items = if outputs.is_empty() && !calls.is_empty() {
        calls.into_iter().map(Item::Call).collect()
    } else {
        vec![Item::Answer { text: text(&prompt, &blocks, &outputs), phase: None }]
    };
    Response { items, ..Response::default() }
}

fn call(n: usize, block: &Block) -> Option<ToolCall> {
    let Block::Call { toolkit, tool, arguments } = block else { return None };
    Some(ToolCall {
        id: format!("echo_{n}"),
        item_id: String::new(),
        toolkit: toolkit.clone(),
        tool: tool.clone(),
        arguments: arguments.to_string(),
    })
}

fn text(prompt: &str, blocks: &[Block], outputs: &[&str]) -> String {
    let mut out = format!("{NOTICE} It was asked:\n\n{}\n", quote(prompt));
    let mut outputs = outputs.iter();
    for block in blocks {
        // Writing to a text cannot fail.
        let _ = match block {
            Block::Call { tool, .. } => {
                let output = outputs.next().copied().unwrap_or("(not run)");
                write!(out, "\nTool {tool} answered:\n\n{}\n", quote(output))
            }
            Block::Broken { reason } => write!(out, "\nA tool block was not run: {reason}.\n"),
        };
    }
    out
}

fn quote(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

/// The tool blocks of a prompt, in order: a line of three or more backticks and the word `tool`, JSON, and a line
/// of at least as many backticks.
fn blocks(prompt: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = prompt.lines();
    while let Some(line) = lines.next() {
        let Some(ticks) = fence(line, "tool") else { continue };
        let mut body = String::new();
        let mut closed = false;
        for line in lines.by_ref() {
            if fence(line, "").is_some_and(|n| n >= ticks) {
                closed = true;
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        if blocks.len() == CALLS_MAX {
            blocks.push(Block::Broken { reason: format!("only the first {CALLS_MAX} blocks are run") });
            break;
        }
        blocks.push(if closed { read(&body) } else { Block::Broken { reason: "it is not closed".into() } });
    }
    blocks
}

/// The number of backticks of a fence line with exactly this word.
fn fence(line: &str, word: &str) -> Option<usize> {
    let line = line.trim();
    let rest = line.trim_start_matches('`');
    let ticks = line.len() - rest.len();
    (ticks >= 3 && rest.trim() == word).then_some(ticks)
}

fn read(body: &str) -> Block {
    match serde_json::from_str::<Spelled>(body) {
        Ok(Spelled { tool, toolkit, arguments }) => {
            let arguments = arguments.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            Block::Call { toolkit, tool, arguments }
        }
        Err(error) => {
            Block::Broken { reason: format!("want {{\"tool\": …, \"arguments\": {{…}}}}: {error}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::history::Part;
    use serde_json::json;

    fn user(text: &str) -> Item {
        Item::User(vec![Part::Text(text.into())])
    }

    fn said(items: &[Item]) -> Vec<Item> {
        answer(&items.iter().collect::<Vec<_>>()).items
    }

    fn only_text(items: &[Item]) -> String {
        match said(items).as_slice() {
            [Item::Answer { text, .. }] => text.clone(),
            other => panic!("no text: {other:?}"),
        }
    }

    #[test]
    fn a_prompt_comes_back_and_the_answer_says_what_it_is() {
        let text =
            only_text(&[user("old"), Item::Answer { text: "x".into(), phase: None }, user("Hello\nyou")]);
        assert_eq!(text, format!("{NOTICE} It was asked:\n\n> Hello\n> you\n"));
    }

    #[test]
    fn spelled_calls_are_made_and_their_outputs_quoted() {
        let prompt = "Do it\n```tool\n{\"tool\": \"write_file\", \"arguments\": {\"path\": \"a\"}}\n```\nand\n\
                      ````tool\n{\"tool\": \"now\", \"toolkit\": \"datetime\"}\n````\n```\nno tool\n```";
        let calls = said(&[user(prompt)]);
        let [Item::Call(one), Item::Call(two)] = calls.as_slice() else { panic!("{calls:?}") };
        assert_eq!((one.tool.as_str(), one.arguments.as_str()), ("write_file", r#"{"path":"a"}"#));
        assert_eq!((two.toolkit.as_str(), two.arguments.as_str()), ("datetime", "{}"));
        assert_ne!(one.id, two.id);
        let output = |id: &str, text: &str| Item::output(id, text);
        let items = [
            user(prompt),
            calls[0].clone(),
            calls[1].clone(),
            output("echo_0", "wrote"),
            output("echo_1", "noon"),
        ];
        let text = only_text(&items);
        assert!(text.contains("Tool write_file answered:\n\n> wrote\n"), "{text}");
        assert!(text.contains("Tool now answered:\n\n> noon\n"), "{text}");
    }

    #[test]
    fn broken_blocks_are_told_and_not_run() {
        let text = only_text(&[user("```tool\n{\"tol\": 1}\n```\n```tool\n{}")]);
        assert!(text.contains("unknown field `tol`") && text.contains("it is not closed"), "{text}");
        let many = "```tool\n{\"tool\": \"x\"}\n```\n".repeat(CALLS_MAX + 3);
        assert_eq!(said(&[user(&many)]).len(), CALLS_MAX);
        let read = blocks("```tool\n{\"tool\":\"a\",\"arguments\":{\"text\":\"```\\nx\"}}\n```");
        let arguments = json!({"text": "```\nx"});
        assert_eq!(read, [Block::Call { toolkit: String::new(), tool: "a".into(), arguments }]);
    }
}
