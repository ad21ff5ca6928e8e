//! A service document for a model context protocol server that runs elsewhere, made from what the server says of itself.

use super::auth::Access;
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::net::metadata::{self, Endpoints, MetadataError};
use crate::spec::SERVICE_ID;
use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// Name of a service whose address has no word for one.
const NAMELESS: &str = "mcp-service";
/// Longest name that is made, bytes.
const NAME_BYTES_MAX: usize = 63;

pub(super) fn routes() -> Vec<Route> {
    let summary = "Make a service spec for a tool server elsewhere";
    let route =
        Route::new(Method::POST, "/mcp/discover", "discover_mcp", summary, Access::SignedIn, post(discover));
    vec![route.takes::<Discover>()]
}

#[derive(Deserialize, JsonSchema)]
struct Discover {
    /// Of the server's endpoint.
    url: String,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Service,
    Template,
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Refused(refused) => refused.into(),
            MetadataError::Unreachable { .. } => super::proxy::bad_gateway(error.to_string()),
            MetadataError::Late(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream-unreachable", error.to_string())
            }
        }
    }
}

async fn discover(State(api): State<Api>, Body(asked): Body<Discover>) -> Result<Json<Value>, Problem> {
    let url = read(&asked.url)?;
    let endpoints = metadata::find(&url, &api.outward.allowed).await?;
    Ok(Json(document(&url, endpoints.as_ref(), asked.format)))
}

/// The address of the endpoint, without what is none of it.
fn read(text: &str) -> Result<Url, Problem> {
    // What is behind the host may be a secret.
    let wrong =
        || Problem::bad_request("`url` is not the http(s) URL of a tool server, such as https://host/mcp");
    let mut url = Url::parse(text.trim()).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong());
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn document(url: &Url, endpoints: Option<&Endpoints>, format: Format) -> Value {
    let name = name(url);
    let path = url.path();
    let text = url.as_str().trim_end_matches('/');
    let mut base = url.clone();
    base.set_path("");
    let oauth = endpoints.map(|found| {
        json!({
            "authorization_endpoint": found.authorization.as_str(), "token_endpoint": found.token.as_str(),
            "no_pkce": found.pkce == Some(false),
        })
    });
    let mut mcp = json!({"label": name, "description": format!("MCP tools exposed by {text}")});
    if let Some(oauth) = oauth {
        mcp["oauth"] = oauth;
    }
    let kind = if format == Format::Template { "ServiceTemplate" } else { "Service" };
    json!({
        "version": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "description": format!("External MCP service at {text}"),
            "annotations": {SERVICE_ID: text},
        },
        "external": {"url": base.as_str().trim_end_matches('/')},
        "ports": [{
            "num": url.port_or_known_default(), "type": "http", "endpoints": [{"path": path, "mcp": mcp}],
        }],
    })
}

/// A name from the host and the last word of the path that says something.
fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    let mut parts = host.split('.').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    let word = if first == "mcp" { parts.next().unwrap_or(first) } else { first };
    let is_mcp = |part: &str| part.eq_ignore_ascii_case("mcp");
    let last = url.path().rsplit('/').find(|part| !part.is_empty() && !is_mcp(part));
    match last.filter(|last| !last.eq_ignore_ascii_case(word)) {
        Some(last) => slug(&format!("{word}-{last}")),
        None => slug(word),
    }
}

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    if !slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        slug = if slug.is_empty() { NAMELESS.to_owned() } else { format!("mcp-{slug}") };
    }
    slug.truncate(NAME_BYTES_MAX);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_make_names_that_say_something() {
        for (url, wanted) in [
            ("https://mcp.deepwiki.com/mcp", "deepwiki"),
            ("https://www.acme.com/tools/mcp", "acme-tools"),
            ("https://acme.com/Acme", "acme"),
            ("https://api.acme.com/v1/My%20Tools", "api-my-20tools"),
            ("http://127.0.0.1:8080/mcp", "mcp-127"),
            ("https://mcp/", "mcp"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap()), wanted, "{url}");
        }
        assert_eq!(slug("--"), NAMELESS);
    }

    #[test]
    fn what_is_made_is_a_document_of_its_kind() {
        let url = read(" https://h.example/a/mcp/?key=s3cr3t#x ").ok().unwrap();
        let found = Endpoints {
            authorization: Url::parse("https://h/a").unwrap(),
            token: Url::parse("https://h/t").unwrap(),
            registration: None,
            pkce: Some(false),
        };
        for format in [Format::Service, Format::Template] {
            let made = document(&url, Some(&found), format);
            assert!(!made.to_string().contains("s3cr3t"));
            assert_eq!(made["ports"][0]["num"], 443);
            assert_eq!(made["external"]["url"], "https://h.example");
            let mcp = &made["ports"][0]["endpoints"][0]["mcp"];
            assert_eq!(made["ports"][0]["endpoints"][0]["path"], "/a/mcp");
            assert_eq!((&mcp["oauth"]["no_pkce"], &mcp["label"]), (&json!(true), &json!("h-a")));
            match format {
                Format::Service => drop(serde_json::from_value::<crate::spec::Service>(made).unwrap()),
                Format::Template => {
                    drop(serde_json::from_value::<crate::spec::ServiceTemplate>(made).unwrap());
                }
            }
        }
        let open = document(&url, None, Format::Service);
        assert!(open["ports"][0]["endpoints"][0]["mcp"].get("oauth").is_none());
        for wrong in ["", "no url", "file:///etc/passwd", "/mcp"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
