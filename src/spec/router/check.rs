//! What the shape of a router document does not say.

use super::{Ensure, Interface, Provider, Router, Rule, Then, Tools};
use std::collections::BTreeSet;

/// Most rules of one document, and most entries of one of its lists.
pub const RULES_MAX: usize = 100;
pub const LIST_MAX: usize = 1_000;
/// Longest pattern, name or model, bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Headers that are credentials: who may set rules is not to learn of them by trying.
const NOT_MATCHED: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "cookie", "meshagent-llm-delegation", "sec-websocket-protocol"];

impl Then {
    /// Why this cannot be done to requests of an interface of a provider; `None` where it can.
    #[must_use]
    pub fn impossible(&self, provider: Provider, api: Interface) -> Option<&'static str> {
        if api == Interface::Completions && self.instructions.is_some() {
            return Some("completions have no instructions");
        }
        for Ensure::WebSearch(search) in self.tools.iter().flat_map(|tools| &tools.ensure) {
            let domains = !search.allowed_domains.is_empty() || !search.blocked_domains.is_empty();
            match api {
                Interface::Completions | Interface::Realtime => {
                    return Some("it has no web search");
                }
                Interface::ChatCompletions if domains => {
                    return Some("the web search of chat completions takes no domains");
                }
                Interface::Responses
                    if provider == Provider::Openai && !search.blocked_domains.is_empty() =>
                {
                    return Some("the web search of openai takes no `blocked_domains`");
                }
                _ => {}
            }
        }
        None
    }
}

impl Rule {
    /// How texts name it.
    #[must_use]
    pub fn title(&self, n: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("rules[{n}]"))
    }

    /// What it names must be possible: every pair of a provider and an interface that both are named, and of what is
    /// named alone at least one.
    fn check_possible(&self) -> Result<(), String> {
        let (providers, apis) = (&self.when.providers, &self.when.apis);
        let pairs = |api: Option<Interface>, provider: Option<Provider>| {
            let of = Provider::ALL.into_iter().filter(move |one| provider.is_none_or(|want| want == *one));
            let known = of.flat_map(|one| one.apis().iter().map(move |api| (one, *api)));
            known.filter(move |(_, one)| api.is_none_or(|want| want == *one)).collect::<Vec<_>>()
        };
        let why = |(provider, api): &(Provider, Interface)| self.then.impossible(*provider, *api);
        let text = |(provider, api): &(Provider, Interface), why: &str| {
            format!(
                "cannot be held for {} of {}: {why}; name other `apis` or `providers`",
                api.name(),
                provider.name()
            )
        };
        let one_of = |all: Vec<(Provider, Interface)>| match all.first() {
            Some(first) if all.iter().all(|pair| why(pair).is_some()) => {
                Err(text(first, why(first).unwrap_or_default()))
            }
            _ => Ok(()),
        };
        if providers.is_empty() && apis.is_empty() {
            return one_of(pairs(None, None));
        }
        for api in apis {
            if providers.is_empty() {
                one_of(pairs(Some(*api), None))?;
            }
            let both = providers.iter().flat_map(|provider| pairs(Some(*api), Some(*provider)));
            for pair in both {
                if let Some(why) = why(&pair) {
                    return Err(text(&pair, why));
                }
            }
        }
        let alone = providers.iter().filter(|_| apis.is_empty());
        alone.into_iter().try_for_each(|provider| one_of(pairs(None, Some(*provider))))
    }

    fn check(&self) -> Result<(), String> {
        for (name, pattern) in &self.when.header {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("when.header: `{}` is no name of a header", shown(name)));
            }
            if NOT_MATCHED.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("when.header: `{}` is a credential, and is not looked at", shown(name)));
            }
            pattern_of("when.header", pattern)?;
        }
        let folded: BTreeSet<_> = self.when.header.keys().map(|name| name.to_ascii_lowercase()).collect();
        if folded.len() != self.when.header.len() {
            return Err("when.header: a header is there twice".to_owned());
        }
        patterns("when.models", &self.when.models)?;
        if let Some(name) = &self.name {
            pattern_of("name", name)?;
        }
        if self.then.instructions.is_none() && self.then.tools.is_none() {
            return Err("then: give `instructions` or `tools`".to_owned());
        }
        if let Some(told) = &self.then.instructions {
            let texts = [&told.replace, &told.append];
            if texts.iter().all(|text| text.is_none()) {
                return Err("then.instructions: give `replace` or `append`".to_owned());
            }
            if texts.into_iter().flatten().any(|text| text.trim().is_empty()) {
                return Err("then.instructions: a text is empty".to_owned());
            }
        }
        self.then.tools.iter().try_for_each(check_tools)?;
        self.check_possible()
    }
}

fn check_tools(tools: &Tools) -> Result<(), String> {
    if tools.deny.is_empty() && tools.ignore.is_empty() && tools.ensure.is_empty() {
        return Err("then.tools: give `deny`, `ignore` or `ensure`".to_owned());
    }
    for selector in tools.deny.iter().chain(&tools.ignore) {
        pattern_of("then.tools: type", &selector.kind)?;
        selector.name.iter().try_for_each(|name| pattern_of("then.tools: name", name))?;
    }
    if tools.ensure.len() > 1 {
        return Err("then.tools.ensure: `web_search` is there twice".to_owned());
    }
    for Ensure::WebSearch(search) in &tools.ensure {
        let (allowed, blocked) = (&search.allowed_domains, &search.blocked_domains);
        if !allowed.is_empty() && !blocked.is_empty() {
            return Err("then.tools.ensure: give `allowed_domains` or `blocked_domains`, not both".to_owned());
        }
        if allowed.len() + blocked.len() > LIST_MAX {
            return Err(format!("then.tools.ensure: at most {LIST_MAX} domains"));
        }
        let mut seen = BTreeSet::new();
        for domain in allowed.iter().chain(blocked) {
            if !is_host(domain) {
                return Err(format!("then.tools.ensure: `{}` is no bare host name", shown(domain)));
            }
            if !seen.insert(domain) {
                return Err(format!("then.tools.ensure: the domain `{}` is there twice", shown(domain)));
            }
        }
    }
    Ok(())
}

fn is_host(text: &str) -> bool {
    let label = |part: &str| {
        let inner = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&part.len()) && inner && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn pattern_of(place: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > PATTERN_BYTES_MAX {
        return Err(format!("{place}: a text has 1 to {PATTERN_BYTES_MAX} bytes and is not blank"));
    }
    Ok(())
}

fn patterns(place: &str, all: &[String]) -> Result<(), String> {
    if all.len() > LIST_MAX {
        return Err(format!("{place}: at most {LIST_MAX} entries"));
    }
    all.iter().try_for_each(|one| pattern_of(place, one))
}

impl Router {
    /// Puts the document into its usual spelling and checks what its shape does not say.
    pub fn checked(mut self) -> Result<Self, String> {
        for model in self.allowed_models.iter_mut().flatten() {
            model.model = model.model.trim().to_owned();
        }
        for rule in &mut self.rules {
            let lower = |domains: &mut Vec<String>| {
                for domain in domains {
                    *domain = domain.trim().trim_end_matches('.').to_ascii_lowercase();
                }
            };
            let ensured = rule.then.tools.iter_mut().flat_map(|tools| &mut tools.ensure);
            for Ensure::WebSearch(search) in ensured {
                lower(&mut search.allowed_domains);
                lower(&mut search.blocked_domains);
            }
        }
        let models: Vec<String> = self.allowed_models.iter().flatten().map(|one| one.model.clone()).collect();
        patterns("allowedModels", &models)?;
        patterns("apps.userAgentPatterns", &self.apps.user_agent_patterns)?;
        if self.rules.len() > RULES_MAX {
            return Err(format!("rules: at most {RULES_MAX}"));
        }
        let mut names = BTreeSet::new();
        for (n, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|why| format!("the rule `{}`: {why}", shown(&rule.title(n))))?;
            if let Some(name) = &rule.name
                && !names.insert(name.as_str())
            {
                return Err(format!(
                    "the rule `{}` is there twice; give each a name of its own",
                    shown(name)
                ));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Router, String> {
        serde_json::from_value::<Router>(value).map_err(|error| error.to_string())?.checked()
    }

    #[test]
    fn documents_are_read_in_both_spellings_and_written_as_the_clients_do() {
        assert_eq!(read(json!({})).unwrap(), Router::default());
        let list = read(json!([{"provider": " OpenAI ", "model": " gpt-4.1 "}])).unwrap();
        assert_eq!(
            serde_json::to_value(&list).unwrap(),
            json!({"allowedModels": [{"provider": "openai", "model": "gpt-4.1"}],
                "apps": {"mode": "blocked", "userAgentPatterns": [], "blockMissingUserAgent": false}, "rules": []})
        );
        let snake = read(json!({"allowed_models": [], "apps": {"user_agent_patterns": ["a*"]}})).unwrap();
        assert_eq!(snake.allowed_models, Some(Vec::new()));
        let rule = json!({"name": "policy", "when": {"header": {"X-App": "a*"}, "providers": ["GROK"]},
            "then": {"instructions": {"append": "Be kind."}, "tools": {"deny": [{"type": "mcp", "name": null}],
            "ensure": [{"type": "web_search", "allowed_domains": ["Example.COM."]}]}}});
        let read = read(json!({"allowedModels": null, "rules": [rule]})).unwrap();
        let again: Router = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again.checked().unwrap(), read);
        let Some(Ensure::WebSearch(search)) = read.rules[0].then.tools.as_ref().unwrap().ensure.first()
        else {
            panic!()
        };
        assert_eq!(search.allowed_domains, ["example.com"]);
    }

    #[test]
    fn documents_that_are_not_as_wanted_are_refused() {
        let then = json!({"instructions": {"append": "x"}});
        for (bad, why) in [
            (json!("x"), "allowedModels"),
            (json!({"allowedModel": []}), "unknown field"),
            (json!([{"provider": "mistral", "model": "x"}]), "openai, anthropic or grok"),
            (json!([{"provider": "openai", "model": " "}]), "allowedModels"),
            (json!({"apps": {"mode": "maybe"}}), "unknown variant"),
            (json!({"apps": {"userAgentPatterns": [""]}}), "userAgentPatterns"),
            (json!({"rules": [{}]}), "then"),
            (json!({"rules": [{"then": {}}]}), "rules[0]"),
            (json!({"rules": [{"then": {"instructions": {}}}]}), "replace"),
            (json!({"rules": [{"then": {"instructions": {"append": " "}}}]}), "empty"),
            (json!({"rules": [{"then": {"tools": {}}}]}), "deny"),
            (json!({"rules": [{"name": "a", "then": then}, {"name": "a", "then": then}]}), "twice"),
            (json!({"rules": [{"when": {"header": {"authorization": "*"}}, "then": then}]}), "credential"),
            (json!({"rules": [{"when": {"header": {"a b": "*"}}, "then": then}]}), "no name"),
            (json!({"rules": [{"when": {"header": {"a": "*", "A": "*"}}, "then": then}]}), "twice"),
            (json!({"rules": [{"when": {"apis": ["completions"]}, "then": then}]}), "cannot be held"),
            (json!({"rules": [{"when": {"apis": ["telepathy"]}, "then": then}]}), "unknown variant"),
        ] {
            let error = read(bad.clone()).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn tools_that_cannot_be_put_in_are_refused() {
        let rule = |when: Value, tool: Value| {
            read(json!({"rules": [{"when": when, "then": {"tools": {"ensure": [tool]}}}]}))
        };
        let search = |more: Value| {
            let mut tool = json!({"type": "web_search"});
            tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            tool
        };
        assert!(rule(json!({}), search(json!({}))).is_ok());
        assert!(rule(json!({"providers": ["grok"]}), search(json!({"blocked_domains": ["a.b"]}))).is_ok());
        for (when, tool, why) in [
            (
                json!({}),
                json!({"type": "static", "name": "a", "description": "b", "content": "c"}),
                "answers none itself",
            ),
            (json!({}), search(json!({"allowed_domains": ["http://a"]})), "bare host name"),
            (json!({}), search(json!({"allowed_domains": ["a"], "blocked_domains": ["b"]})), "not both"),
            (json!({"apis": ["realtime"]}), search(json!({})), "no web search"),
            (json!({"providers": ["openai"]}), search(json!({"blocked_domains": ["a.b"]})), "cannot be held"),
            (
                json!({"providers": ["openai", "grok"], "apis": ["responses"]}),
                search(json!({"blocked_domains": ["a.b"]})),
                "takes no `blocked_domains`",
            ),
        ] {
            let error = rule(when.clone(), tool.clone()).unwrap_err();
            assert!(error.contains(why), "{when} {tool}: {error}");
        }
    }
}
