//! The router document at work: which models and programs it lets through, and what its rules make of a request. Pure.

mod instructions;
mod pattern;
mod tools;

use super::body::{Fields, Malformed, VALUES_MAX};
use super::{Form, Operation, Provider, Transport};
use crate::spec::router::{self as document, AppMode, Interface, Router, Rule};
use reqwest::header::{HeaderMap, USER_AGENT};
use serde_json::{Map, Value, json};

/// Longest name of a program or tool that a refusal repeats, characters.
const SHOWN_MAX: usize = 80;

/// Why a request is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    #[error("the project's router lets no program through that does not name itself; send a `User-Agent`")]
    NoUserAgent,
    #[error(
        "the project's router does not let the program `{0}` through; use another, or ask an administrator"
    )]
    App(String),
    #[error("the project's router does not allow {0}; use another model, or ask an administrator")]
    Model(String),
    #[error("the project's router (`{rule}`) denies the tool `{tool}`; leave it out")]
    Tool { rule: String, tool: String },
    #[error(
        "the project's router (`{rule}`) cannot be held here: {why}; ask in another way, or narrow the rule's `when`"
    )]
    Impossible { rule: String, why: &'static str },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// One request, as rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub operation: &'a Operation,
    pub transport: Transport,
    pub headers: &'a HeaderMap,
    /// Empty where none is named.
    pub model: &'a str,
}

/// A checked document, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    document: Router,
}

impl Policy {
    #[must_use]
    pub const fn new(document: Router) -> Self {
        Self { document }
    }

    /// Whether requests must name their model.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        let by_model = |rule: &Rule| !rule.when.models.is_empty();
        self.document.allowed_models.is_some() || self.document.rules.iter().any(by_model)
    }

    /// Whether anything may be made of a request.
    #[must_use]
    pub const fn has_rules(&self) -> bool {
        !self.document.rules.is_empty()
    }

    /// Whether the calling program is let through.
    pub fn check_app(&self, headers: &HeaderMap) -> Result<(), Stopped> {
        let apps = &self.document.apps;
        let value = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let name = value.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let Some(name) = name else {
            let blocked = apps.block_missing_user_agent || apps.mode == AppMode::Allowed;
            return if blocked { Err(Stopped::NoUserAgent) } else { Ok(()) };
        };
        let listed = apps.user_agent_patterns.iter().any(|one| pattern::folded(one, name));
        if listed == (apps.mode == AppMode::Allowed) {
            return Ok(());
        }
        Err(Stopped::App(name.chars().take(SHOWN_MAX).collect()))
    }

    /// Whether a model may be used.
    pub fn check_model(&self, provider: Provider, model: &str) -> Result<(), Stopped> {
        let Some(allowed) = &self.document.allowed_models else { return Ok(()) };
        let is = |one: &document::AllowedModel| {
            one.provider.name() == provider.name() && pattern::exact(&one.model, model)
        };
        if allowed.iter().any(is) {
            return Ok(());
        }
        let model: String = model.chars().take(SHOWN_MAX).collect();
        Err(Stopped::Model(format!("{provider}/{model}")))
    }

    /// Makes of a request's members what the rules say. Whether anything of them may have changed.
    pub fn apply(&self, asked: &Asked<'_>, fields: &mut Fields) -> Result<bool, Stopped> {
        let Some(api) = interface(asked.operation.form) else { return Ok(false) };
        if asked.operation.nested_models && api == Interface::Messages {
            return self.apply_batch(asked, api, fields);
        }
        let rules = self.matching(asked, api);
        if rules.is_empty() {
            return Ok(false);
        }
        if api == Interface::Realtime {
            // What is made of them later is seen by nobody here.
            let why = "calls and secrets of clients go past this server; use a WebSocket";
            return Err(Stopped::Impossible { rule: rules[0].0.clone(), why });
        }
        let names = read_by(&rules, api);
        let (mut body, mut left) = (Map::new(), VALUES_MAX);
        for name in &names {
            if let Some(value) = fields.read(name, &mut left)? {
                body.insert((*name).to_owned(), value);
            }
        }
        change(&rules, asked.operation, api, &mut body)?;
        for name in names {
            match body.remove(name) {
                Some(value) => fields.set(name, &value),
                None => fields.remove(name),
            }
        }
        Ok(true)
    }

    /// For a body whose members are not read here: no rule may be about it.
    pub fn check_unread(&self, asked: &Asked<'_>) -> Result<(), Stopped> {
        let Some(api) = interface(asked.operation.form) else { return Ok(()) };
        match self.matching(asked, api).into_iter().next() {
            Some((rule, _)) => {
                Err(Stopped::Impossible { rule, why: "the body is no JSON, and is not looked into" })
            }
            None => Ok(()),
        }
    }

    /// As [`Policy::apply`], for each request of a batch.
    fn apply_batch(&self, asked: &Asked<'_>, api: Interface, fields: &mut Fields) -> Result<bool, Stopped> {
        let mut left = VALUES_MAX;
        let Some(mut requests) = fields.read("requests", &mut left)? else { return Ok(false) };
        let each = requests.as_array_mut().into_iter().flatten();
        for params in each.filter_map(|one| one.get_mut("params")?.as_object_mut()) {
            let model = params.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
            let rules = self.matching(&Asked { model: &model, ..*asked }, api);
            change(&rules, asked.operation, api, params)?;
        }
        fields.set("requests", &requests);
        Ok(true)
    }

    /// As [`Policy::apply`], for a message over a realtime socket: `session.update`, `response.create` and items of the
    /// conversation.
    pub fn apply_realtime(&self, asked: &Asked<'_>, fields: &mut Fields) -> Result<bool, Stopped> {
        let rules = self.matching(asked, Interface::Realtime);
        if rules.is_empty() {
            return Ok(false);
        }
        let name = match fields.text("type")?.as_deref() {
            Some("session.update") => "session",
            Some("response.create") => "response",
            Some("conversation.item.create") => "item",
            _ => return Ok(false),
        };
        let mut left = VALUES_MAX;
        let Some(Value::Object(mut body)) = fields.read(name, &mut left)? else { return Ok(false) };
        if name == "item" {
            return check_item(&rules, &Value::Object(body)).map(|()| false);
        }
        change(&rules, asked.operation, Interface::Realtime, &mut body)?;
        fields.set(name, &Value::Object(body));
        Ok(true)
    }

    /// What a realtime socket begins with, so that instructions hold for callers that give none.
    pub fn realtime_opening(&self, asked: &Asked<'_>, beta: bool) -> Result<Option<Value>, Stopped> {
        let rules = self.matching(asked, Interface::Realtime);
        let mut session = Map::new();
        for (title, rule) in &rules {
            if let Some(why) = rule.then.impossible(provider(asked.operation.provider), Interface::Realtime) {
                return Err(Stopped::Impossible { rule: title.clone(), why });
            }
            if let Some(told) = &rule.then.instructions {
                // From the first rule on there is a text to change.
                session.entry("instructions").or_insert_with(|| json!(""));
                instructions::change(Interface::Realtime, &mut session, told)?;
            }
        }
        if session.is_empty() {
            return Ok(None);
        }
        if !beta {
            session.insert("type".to_owned(), json!("realtime"));
        }
        Ok(Some(json!({"type": "session.update", "session": session})))
    }

    /// The rules that are about a request, each with how texts name it.
    fn matching(&self, asked: &Asked<'_>, api: Interface) -> Vec<(String, &Rule)> {
        let all = self.document.rules.iter().enumerate();
        let found = all.filter(|(_, rule)| is_about(rule, asked, api));
        found.map(|(n, rule)| (rule.title(n), rule)).collect()
    }
}

/// Members that rules about tools read and change.
const OF_TOOLS: [&str; 7] = [
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "web_search_options",
    "mcp_servers",
];

/// The members that rules read and change in a request. The others are passed on as they are.
fn read_by(rules: &[(String, &Rule)], api: Interface) -> Vec<&'static str> {
    let tools = rules.iter().any(|(_, rule)| rule.then.tools.is_some());
    let told = || rules.iter().filter_map(|(_, rule)| rule.then.instructions.as_ref());
    let replaces = told().any(|told| told.replace.is_some());
    let mut names = vec!["prompt"];
    if tools {
        names.extend(OF_TOOLS);
    }
    if tools || replaces {
        names.push("input");
    }
    if told().next().is_some() {
        names.extend(["instructions", "system"]);
        if api == Interface::ChatCompletions {
            names.push("messages");
        }
    }
    names
}

/// An item of a realtime conversation tells the model something, where rules say what it is told: refused, as it stays.
fn check_item(rules: &[(String, &Rule)], item: &Value) -> Result<(), Stopped> {
    let replaces = |(_, rule): &&(String, &Rule)| {
        rule.then.instructions.as_ref().is_some_and(|told| told.replace.is_some())
    };
    match rules.iter().find(replaces) {
        Some((title, _)) if instructions::tells(item) => {
            let why = "an item of the role system or developer goes past its instructions; send none";
            Err(Stopped::Impossible { rule: title.clone(), why })
        }
        _ => Ok(()),
    }
}

fn change(
    rules: &[(String, &Rule)],
    operation: &Operation,
    api: Interface,
    body: &mut Map<String, Value>,
) -> Result<(), Stopped> {
    for (title, rule) in rules {
        if let Some(why) = rule.then.impossible(provider(operation.provider), api) {
            return Err(Stopped::Impossible { rule: title.clone(), why });
        }
        if body.get("prompt").is_some_and(Value::is_object) {
            let why = "what a stored prompt says and uses is not seen by this server";
            return Err(Stopped::Impossible { rule: title.clone(), why });
        }
        // Before anything is put in by a rule.
        let denied = rule.then.tools.as_ref().and_then(|changes| tools::denied(api, body, &changes.deny));
        if let Some(tool) = denied {
            let tool = tool.chars().take(SHOWN_MAX).collect();
            return Err(Stopped::Tool { rule: title.clone(), tool });
        }
    }
    for (_, rule) in rules {
        if let Some(told) = &rule.then.instructions {
            instructions::change(api, body, told)?;
        }
        if let Some(changes) = &rule.then.tools {
            tools::ignore(api, body, &changes.ignore);
            // What compacts a conversation uses no tools.
            if !operation.path.ends_with("/compact") {
                let provider = operation.provider;
                changes.ensure.iter().for_each(|ensured| tools::ensure(provider, api, body, ensured));
            }
        }
    }
    Ok(())
}

fn is_about(rule: &Rule, asked: &Asked<'_>, api: Interface) -> bool {
    let when = &rule.when;
    let of = asked.operation.provider;
    let any = |list: usize, is: bool| list == 0 || is;
    let transport = match asked.transport {
        Transport::Http => document::Transport::Http,
        Transport::WebSocket => document::Transport::Websocket,
    };
    let full = format!("{of}/{}", asked.model);
    let model = |one: &String| pattern::exact(one, asked.model) || pattern::exact(one, &full);
    let header = |(name, want): (&String, &String)| {
        let values = asked.headers.get_all(name.as_str()).into_iter();
        values.into_iter().any(|value| pattern::folded(want, &String::from_utf8_lossy(value.as_bytes())))
    };
    any(when.providers.len(), when.providers.contains(&provider(of)))
        && any(when.apis.len(), when.apis.contains(&api))
        && any(when.transports.len(), when.transports.contains(&transport))
        && any(when.models.len(), when.models.iter().any(model))
        && when.header.iter().all(header)
}

const fn provider(of: Provider) -> document::Provider {
    match of {
        Provider::OpenAi => document::Provider::Openai,
        Provider::Anthropic => document::Provider::Anthropic,
        Provider::Grok => document::Provider::Grok,
    }
}

const fn interface(form: Form) -> Option<Interface> {
    match form {
        Form::Completions => Some(Interface::Completions),
        Form::ChatCompletions => Some(Interface::ChatCompletions),
        Form::Responses => Some(Interface::Responses),
        Form::Messages => Some(Interface::Messages),
        Form::Realtime => Some(Interface::Realtime),
        Form::Other => None,
    }
}

#[cfg(test)]
mod policy_tests;
