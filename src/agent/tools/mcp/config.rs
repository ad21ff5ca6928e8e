//! A server as a turn names it (`mcp.servers[]`, or `toolkits.mcp.client_options.servers[]`). Pure.

use crate::agent::config::McpConfig;
use crate::client::mcp::Header;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

/// Characters that a label may have.
const LABEL_MAX: usize = 64;

/// A server, checked.
#[derive(Debug)]
pub struct ServerConfig {
    pub label: String,
    given: Given,
}

#[derive(Deserialize)]
struct Given {
    server_label: String,
    server_url: Option<String>,
    allowed_tools: Option<Vec<String>>,
    /// Secret.
    authorization: Option<String>,
    headers: Option<Headers>,
    require_approval: Option<Approval>,
    always_require_approval: Option<Vec<String>>,
    never_require_approval: Option<Vec<String>>,
    openai_connector_id: Option<String>,
    use_proxy_secret: Option<String>,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("server_label", &self.server_label).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    List(Vec<OneHeader>),
    Map(BTreeMap<String, Value>),
}

#[derive(Deserialize)]
struct OneHeader {
    name: String,
    value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Approval {
    Always,
    Never,
}

impl ServerConfig {
    pub fn read(given: &Value) -> Result<Self, String> {
        let given: Given = serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
        let label = given.server_label.trim().to_owned();
        if label.is_empty() || label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
            return Err(format!("its server_label is empty or has more than {LABEL_MAX} characters"));
        }
        if given.openai_connector_id.is_some() {
            return Err(format!(
                "`{label}` is a connector of OpenAI, which only OpenAI reaches; give a server_url"
            ));
        }
        Ok(Self { label, given })
    }

    /// Where to connect, with which headers, and whether that is the server itself: else it is the project's proxy,
    /// which adds the secret. Whoever sends a turn names server and secret, so only pairs of them that `config` has are
    /// taken: else a secret could be sent anywhere.
    pub fn address(&self, config: &McpConfig) -> Result<(String, Vec<Header>, bool), String> {
        let filled = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
        let Some(url) = filled(&self.given.server_url) else {
            return Err("no server_url is given".into());
        };
        let mut headers: Vec<Header> = match &self.given.headers {
            None => Vec::new(),
            Some(Headers::List(list)) => {
                list.iter().map(|h| Header { name: h.name.clone(), value: h.value.clone() }).collect()
            }
            Some(Headers::Map(map)) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                map.iter().map(|(name, value)| Header { name: name.clone(), value: text(value) }).collect()
            }
        };
        let bearer = |token: &str| Header { name: "Authorization".into(), value: bearer(token) };
        let Some(secret) = filled(&self.given.use_proxy_secret) else {
            headers.extend(filled(&self.given.authorization).map(|token| bearer(&token)));
            return Ok((url, headers, true));
        };
        let secret = secret.trim();
        let same = Url::parse(&url).ok();
        let named =
            config.secrets.iter().find(|named| named.id == secret && same.as_ref() == Some(&named.url));
        let Some(named) = named else {
            return Err(
                "the secret of its use_proxy_secret may not be sent there; whoever starts this agent can allow it \
                 with --mcp-secret SECRET=URL"
                    .into(),
            );
        };
        let Some((api_url, key)) = &config.proxy else {
            return Err(
                "it needs a secret of the project (use_proxy_secret), and MESHAGENT_API_KEY is not set"
                    .into(),
            );
        };
        let mut through = Url::parse(&format!("{}/proxy-request", api_url.trim_end_matches('/')))
            .map_err(|error| format!("the server's own address is no URL: {error}"))?;
        through.query_pairs_mut().append_pair("url", named.url.as_str()).append_pair("secret-id", secret);
        headers.push(bearer(key));
        Ok((through.into(), headers, false))
    }

    /// What approvals of its tools are kept under.
    pub fn identity(&self) -> String {
        self.given.server_url.clone().unwrap_or_default()
    }

    pub fn allows(&self, tool: &str) -> bool {
        self.given.allowed_tools.as_ref().is_none_or(|allowed| allowed.iter().any(|name| name == tool))
    }

    /// Whether a person is asked before each call. Where nothing is said, yes.
    pub fn asks(&self, tool: &str) -> bool {
        let names = |list: &Option<Vec<String>>| list.iter().flatten().any(|name| name == tool);
        match self.given.require_approval {
            Some(approval) => approval == Approval::Always,
            None => names(&self.given.always_require_approval) || !names(&self.given.never_require_approval),
        }
    }
}

fn bearer(token: &str) -> String {
    let token = token.trim();
    if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::McpSecret;
    use serde_json::json;
    use std::time::Duration;

    const WIKI: &str = "https://wiki.test/mcp?k=1";

    fn read(more: Value) -> ServerConfig {
        let mut given = json!({"server_label": "wiki", "server_url": "https://wiki.test/mcp?k=1"});
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ServerConfig::read(&given).unwrap()
    }

    fn reach(proxy: Option<(&str, &str)>, secrets: &[(&str, &str)]) -> McpConfig {
        McpConfig {
            call_max: Duration::from_secs(1),
            allowed_hosts: Vec::new(),
            proxy: proxy.map(|(url, key)| (url.to_owned(), key.to_owned())),
            secrets: secrets
                .iter()
                .map(|(id, url)| McpSecret { id: (*id).to_owned(), url: Url::parse(url).unwrap() })
                .collect(),
            servers: Vec::new(),
        }
    }

    fn headers(config: &ServerConfig) -> Vec<(String, String)> {
        let (_, headers, direct) = config.address(&reach(None, &[])).unwrap();
        assert!(direct);
        headers.into_iter().map(|h| (h.name, h.value)).collect()
    }

    #[test]
    fn headers_come_as_list_or_map_and_authorization_is_a_bearer() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let list = json!({"headers": [{"name": "X-A", "value": "1"}], "authorization": "t"});
        assert_eq!(headers(&read(list)), [pair("X-A", "1"), pair("Authorization", "Bearer t")]);
        let map = json!({"headers": {"X-A": 1}, "authorization": "Basic t"});
        assert_eq!(headers(&read(map)), [pair("X-A", "1"), pair("Authorization", "Basic t")]);
    }

    #[test]
    fn a_secret_of_the_project_is_added_by_the_proxy() {
        let config = read(json!({"use_proxy_secret": "s-1", "authorization": "mine"}));
        let named = [("s-2", "https://other.test/"), ("s-1", WIKI)];
        assert!(config.address(&reach(None, &named)).unwrap_err().contains("MESHAGENT_API_KEY"));
        let (url, headers, direct) =
            config.address(&reach(Some(("http://api.test/", "key")), &named)).unwrap();
        assert!(!direct);
        assert_eq!(
            url,
            "http://api.test/proxy-request?url=https%3A%2F%2Fwiki.test%2Fmcp%3Fk%3D1&secret-id=s-1"
        );
        assert_eq!(headers, [Header { name: "Authorization".into(), value: "Bearer key".into() }]);
        assert!(!format!("{headers:?}{config:?}").contains("key"), "secrets are not shown");
    }

    #[test]
    fn a_secret_is_sent_only_where_whoever_started_the_agent_said_that_it_may() {
        let refused = |more: Value, secrets: &[(&str, &str)]| {
            let error = read(more).address(&reach(Some(("http://api.test/", "key")), secrets)).unwrap_err();
            assert!(error.contains("--mcp-secret"), "{error}");
        };
        refused(json!({"use_proxy_secret": "s-1"}), &[]);
        let named = [("s-1", WIKI), ("s-2", "https://other.test/mcp")];
        refused(json!({"use_proxy_secret": "s-2"}), &named);
        for elsewhere in [
            "https://evil.test/mcp?k=1",
            "https://wiki.test/mcp?k=2",
            "https://wiki.test/mcp?k=1&x",
            "https://u@wiki.test/mcp?k=1",
            "http://wiki.test/mcp?k=1",
            "not a url",
        ] {
            refused(json!({"use_proxy_secret": "s-1", "server_url": elsewhere}), &named);
        }
    }

    #[test]
    fn a_person_is_asked_unless_told_otherwise() {
        let asks = |more: Value| read(more).asks("t");
        assert!(asks(json!({})));
        assert!(asks(json!({"require_approval": "always", "never_require_approval": ["t"]})));
        assert!(!asks(json!({"require_approval": "never", "always_require_approval": ["t"]})));
        assert!(!asks(json!({"never_require_approval": ["t"]})));
        assert!(asks(json!({"never_require_approval": ["u"]})));
        assert!(asks(json!({"always_require_approval": ["t"], "never_require_approval": ["t"]})));
        let few = read(json!({"allowed_tools": ["t"]}));
        assert!(few.allows("t") && !few.allows("u") && read(json!({})).allows("u"));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (given, why) in [
            (json!({}), "server_label"),
            (json!({"server_label": " "}), "empty"),
            (json!({"server_label": "x", "require_approval": "maybe"}), "maybe"),
            (json!({"server_label": "x", "openai_connector_id": "c"}), "connector"),
            (json!("x"), "expected"),
        ] {
            let error = ServerConfig::read(&given).unwrap_err();
            assert!(error.contains(why), "{given}: {error}");
        }
        let nowhere = ServerConfig::read(&json!({"server_label": "x"})).unwrap();
        assert!(nowhere.address(&reach(None, &[])).unwrap_err().contains("server_url"));
    }
}
