//! Names of threads: what a model makes of the first message, else the message itself, cut to size (process agents §12).

use super::engine::Engine;
use super::history::{Item, Part};
use super::message::InputContent;
use super::model::ModelId;
use super::provider::{Request, Say};
use serde_json::{Value, json};
use std::time::Duration;

/// Name of a thread of which nothing is known.
pub const DEFAULT_NAME: &str = "New Chat";
/// Longest name, characters.
const NAME_CHARS_MAX: usize = 64;
/// How long a model may think about a name.
const NAMING_MAX: Duration = Duration::from_secs(30);
/// Characters of a message that a model is shown.
const SHOWN_CHARS_MAX: usize = 4000;
/// What a model is told.
const RULES: &str = "Give this conversation a short, friendly title about its topic: 2 to 6 words, with normal capitals and \
                     spaces. Answer with the title as thread_name.";

/// A name from a text: letters, digits, blanks and a few signs.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_suffix(".thread").unwrap_or(text);
    let spaced = |c: char| if matches!(c, '-' | '_' | '/') || c.is_whitespace() { ' ' } else { c };
    let allowed = |c: &char| c.is_ascii_alphanumeric() || " .,!?':()&".contains(*c);
    let kept: String = text.chars().map(spaced).filter(allowed).collect();
    let joined = kept.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let name = joined.trim_matches([' ', '.']);
    if name.is_empty() {
        return DEFAULT_NAME.to_owned();
    }
    let one_case = name == name.to_lowercase() || name == name.to_uppercase();
    let name = if one_case { titled(name) } else { name.to_owned() };
    name.chars().take(NAME_CHARS_MAX).collect::<String>().trim().to_owned()
}

fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        out.push(if begins { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
        begins = !c.is_ascii_alphanumeric();
    }
    out
}

/// A name from what was said first.
#[must_use]
pub fn from_content(content: &[InputContent]) -> String {
    let texts: Vec<_> = content
        .iter()
        .filter_map(|item| match item {
            InputContent::Text { text } => Some(text.trim()),
            _ => None,
        })
        .collect();
    let text = texts.join(" ");
    if !text.trim().is_empty() {
        return sanitize(&text);
    }
    let file = |item: &InputContent| match item {
        InputContent::File { url, name } => {
            Some(name.clone().unwrap_or_else(|| url.rsplit('/').next().unwrap_or(url).to_owned()))
        }
        _ => None,
    };
    sanitize(&content.iter().filter_map(file).take(3).collect::<Vec<_>>().join(", "))
}

/// Name of a thread at a path: what its last part says, unless that is a mere identifier.
#[must_use]
pub fn of_path(path: &str) -> String {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if last.parse::<uuid::Uuid>().is_ok() { DEFAULT_NAME.to_owned() } else { sanitize(last) }
}

/// The name a model gives; `None` when it gives none.
pub async fn by_model(engine: &Engine, model: &ModelId, content: &[InputContent]) -> Option<String> {
    let texts = content.iter().filter_map(|item| match item {
        InputContent::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let text: String = texts.collect::<Vec<_>>().join("\n").chars().take(SHOWN_CHARS_MAX).collect();
    let item = Item::User(vec![Part::Text(format!("Message:\n{text}"))]);
    let schema = json!({"type": "object", "required": ["thread_name"], "additionalProperties": false,
        "properties": {"thread_name": {"type": "string", "description": "title of 2 to 6 words"}}});
    let request = Request {
        model: &model.name,
        instructions: RULES,
        items: &[&item],
        tools: &[],
        answer_schema: Some(&schema),
        web_search: false,
    };
    let say = Say::nobody();
    let asked = engine.provider(model).respond(request, &say);
    let response = match tokio::time::timeout(NAMING_MAX, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => {
            tracing::debug!(%failure, "no model named the thread");
            return None;
        }
        Err(_) => return None,
    };
    let answer = response.items.iter().find_map(|item| match item {
        Item::Answer { text, .. } => serde_json::from_str::<Value>(text).ok(),
        _ => None,
    })?;
    answer.get("thread_name").and_then(Value::as_str).map(sanitize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_bounded() {
        assert_eq!(sanitize("write-the_report/now"), "Write The Report Now");
        assert_eq!(sanitize("Please fix: bug #12 (urgent)!"), "Please fix: bug 12 (urgent)!");
        assert_eq!(sanitize("\u{1F600} \n"), DEFAULT_NAME);
        assert_eq!(sanitize("SHOUT"), "Shout");
        assert_eq!(sanitize(&"word ".repeat(40)).chars().count(), 64);
        assert_eq!(of_path("dataset://a/0191e0a0-0000-7000-8000-000000000000"), DEFAULT_NAME);
        assert_eq!(of_path("dataset://a/daily-summary"), "Daily Summary");
        let file = InputContent::File { url: "room:///x/plan.md".into(), name: None };
        assert_eq!(from_content(&[file]), "Plan.Md");
    }
}
