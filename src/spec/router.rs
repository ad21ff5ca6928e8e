//! The router document of a project (`settings/router`): which models and programs are let through to the providers, and
//! what is changed in requests on their way.

mod check;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The whole document. Empty, it restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    /// `null`: every model; an empty list: none.
    pub allowed_models: Option<Vec<AllowedModel>>,
    pub apps: Apps,
    pub rules: Vec<Rule>,
}

/// One model that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedModel {
    pub provider: Provider,
    /// A name, or a pattern with `*` and `?`.
    pub model: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Openai,
    Anthropic,
    Grok,
}

impl Provider {
    pub const ALL: [Self; 3] = [Self::Openai, Self::Anthropic, Self::Grok];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Grok => "grok",
        }
    }

    /// The interfaces that it has here.
    const fn apis(self) -> &'static [Interface] {
        match self {
            Self::Openai => &[Interface::ChatCompletions, Interface::Responses, Interface::Realtime],
            Self::Anthropic => &[Interface::Completions, Interface::Messages],
            Self::Grok => &[Interface::Responses, Interface::Messages],
        }
    }
}

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.trim().to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| serde::de::Error::custom("a provider is openai, anthropic or grok"))
    }
}

/// Which programs are let through, by the `User-Agent` that they send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Apps {
    pub mode: AppMode,
    /// With `*` and `?`, without regard to case; the whole header must match.
    #[serde(alias = "user_agent_patterns")]
    pub user_agent_patterns: Vec<String>,
    #[serde(alias = "block_missing_user_agent")]
    pub block_missing_user_agent: bool,
}

/// What the patterns name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppMode {
    /// Programs that are refused.
    #[default]
    Blocked,
    /// Programs that are let through; no others.
    Allowed,
}

/// What is done with which requests. All rules that match are applied, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub when: Match,
    pub then: Then,
}

/// All that is given must hold; an empty list holds for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Patterns of values by header name.
    pub header: BTreeMap<String, String>,
    /// Patterns of `model` or `provider/model`.
    pub models: Vec<String>,
    pub providers: Vec<Provider>,
    pub apis: Vec<Interface>,
    pub transports: Vec<Transport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    Completions,
    ChatCompletions,
    Responses,
    Messages,
    Realtime,
}

impl Interface {
    pub const ALL: [Self; 5] =
        [Self::Completions, Self::ChatCompletions, Self::Responses, Self::Messages, Self::Realtime];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Realtime => "realtime",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Http,
    Websocket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Then {
    #[serde(default)]
    pub instructions: Option<Instructions>,
    #[serde(default)]
    pub tools: Option<Tools>,
}

/// What models are told. `replace` comes first where both are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instructions {
    #[serde(default)]
    pub replace: Option<String>,
    #[serde(default)]
    pub append: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    /// A request with one of these is refused.
    pub deny: Vec<Selector>,
    /// These are taken out.
    pub ignore: Vec<Selector>,
    /// These are put in.
    pub ensure: Vec<Ensure>,
}

/// Tools of a type, or the one of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Without the date or `preview` at the end of providers' types: `web_search`, `computer`, `function`, `mcp`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", try_from = "Written")]
#[schemars(!try_from)]
pub enum Ensure {
    /// The provider's own search.
    WebSearch(WebSearch),
}

/// As documents have them.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Written {
    WebSearch(WebSearch),
    Static(IgnoredAny),
    Advice(IgnoredAny),
}

impl TryFrom<Written> for Ensure {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        match written {
            Written::WebSearch(search) => Ok(Self::WebSearch(search)),
            Written::Static(_) | Written::Advice(_) => Err(
                "this server passes tools on and answers none itself, so that of `ensure` it has `web_search` only",
            ),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSearch {
    /// Given where the provider takes it.
    pub search_context_size: Option<ContextSize>,
    pub allowed_domains: Vec<String>,
    pub blocked_domains: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContextSize {
    Low,
    Medium,
    High,
}

impl ContextSize {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

// A bare list is the allowed models.
impl<'de> Deserialize<'de> for Router {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
        struct Members {
            #[serde(alias = "allowed_models")]
            allowed_models: Option<Vec<AllowedModel>>,
            apps: Apps,
            rules: Vec<Rule>,
        }
        struct Reader;
        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = Router;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with allowedModels, apps and rules, or a list of allowed models")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Router, A::Error> {
                let all = Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list))?;
                Ok(Router { allowed_models: Some(all), ..Router::default() })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Router, A::Error> {
                let members = Members::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let Members { allowed_models, apps, rules } = members;
                Ok(Router { allowed_models, apps, rules })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
