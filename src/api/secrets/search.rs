//! Finding secrets by what is said of them.

use super::owner::Owned;
use super::wire;
use crate::api::body::Body;
use crate::api::paging::Paging;
use crate::api::{Api, Problem};
use crate::domain::secret::Secret;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Prefix under which the platform's own annotations of secrets stand.
const ANNOTATION: &str = "meshagent.secret.";

/// All that is given must fit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Search {
    #[serde(default)]
    page_size: Option<usize>,
    #[serde(default)]
    continuation_token: Option<String>,
    /// Stands somewhere in the name, the type or an annotation, whatever the case.
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    http_only: Option<bool>,
    /// Each member must be there with this value.
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    /// Each member must be there with this value.
    #[serde(default)]
    annotations: Option<Map<String, Value>>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    oauth_provider: Option<String>,
    #[serde(default)]
    oauth_scopes: Option<String>,
}

pub(super) async fn run(
    State(api): State<Api>,
    owned: Owned,
    Body(search): Body<Search>,
) -> Result<Json<Value>, Problem> {
    let world = api.app.world();
    let all = owned.all(&world).filter(|(_, secret)| search.fits(secret)).collect();
    let paging = Paging::of(search.page_size, search.continuation_token.clone());
    wire::page(paging.cut(all)?)
}

impl Search {
    fn fits(&self, secret: &Secret) -> bool {
        let about = &secret.about;
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|text| text == is);
        let notes = [
            ("provider", &self.provider),
            ("service", &self.service),
            ("account", &self.account),
            ("username", &self.username),
            ("email", &self.email),
            ("url", &self.url),
            ("oauth_provider", &self.oauth_provider),
            ("oauth_scopes", &self.oauth_scopes),
        ];
        same(&self.name, &about.name)
            && same(&self.kind, &about.kind)
            && self.http_only.is_none_or(|wanted| wanted == about.http_only)
            && has(&about.metadata, self.metadata.as_ref())
            && has(&about.annotations, self.annotations.as_ref())
            && notes.iter().all(|(key, wanted)| noted(secret, key, wanted.as_deref()))
            && self.found(secret)
    }

    fn found(&self, secret: &Secret) -> bool {
        let Some(filter) = self.filter.as_deref().map(str::to_lowercase).filter(|f| !f.is_empty()) else {
            return true;
        };
        let about = &secret.about;
        let notes = about.annotations.values().filter_map(Value::as_str);
        [about.name.as_str(), about.kind.as_str()]
            .into_iter()
            .chain(notes)
            .any(|text| text.to_lowercase().contains(&filter))
    }
}

fn has(all: &Map<String, Value>, wanted: Option<&Map<String, Value>>) -> bool {
    wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| all.get(key) == Some(value)))
}

/// Whether a standard annotation has this value, under its bare name or the platform's.
fn noted(secret: &Secret, key: &str, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    let notes = &secret.about.annotations;
    let own = format!("{ANNOTATION}{key}");
    let dotted = format!("{ANNOTATION}{}", key.replace('_', "."));
    [key, &own, &dotted].into_iter().any(|key| notes.get(key).and_then(Value::as_str) == Some(wanted))
}
