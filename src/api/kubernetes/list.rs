//! Lists and single objects.

use super::namespaces::Namespace;
use super::object::Seen;
use super::table::Table;
use super::{Asked, Refusal, json, watch};
use crate::app::Error;
use crate::app::plan::Resource;
use crate::crd::names;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::Semaphore;

/// Objects of a list without a limit; more are on pages.
const LIST_MAX: usize = 20_000;

/// Lists that are made at once; more wait.
static LISTS: Semaphore = Semaphore::const_new(4);

/// The objects of a kind in these namespaces, or their changes.
pub(super) async fn answer(
    asked: Asked,
    resource: &'static dyn Resource,
    namespaces: Vec<Namespace>,
) -> Result<Response, Refusal> {
    if asked.options.watch {
        return watch::answer(&asked, resource, namespaces).await;
    }
    let busy = || Refusal::from(Error::Busy("lists".to_owned()));
    let _place = LISTS.acquire().await.map_err(|_| busy())?;
    let listed = tokio::task::spawn_blocking(move || listed(&asked, resource, &namespaces)).await;
    listed.map_err(|_| busy())?
}

/// Thousands of objects take their time: the threads of the server's connections do not wait for them.
fn listed(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespaces: &[Namespace],
) -> Result<Response, Refusal> {
    let world = asked.api.app.world();
    let after = asked.options.after.as_deref().map(decode).transpose()?;
    let size = asked.options.limit.unwrap_or(LIST_MAX);
    let (mut items, mut left, mut last) = (vec![], 0_usize, (String::new(), String::new()));
    for namespace in namespaces {
        let seen = Seen::of(&asked.api, &world, namespace);
        for (name, id) in seen.all(resource) {
            if asked.options.select.name().is_some_and(|wanted| wanted != name) {
                continue;
            }
            let place = (namespace.name.clone(), name);
            if after.as_ref().is_some_and(|after| place <= *after) {
                continue;
            }
            if items.len() >= size {
                left += 1;
                continue;
            }
            let Some(found) = resource.read(&world, namespace.project, id) else { continue };
            let object = seen.object(resource, id, &found);
            if asked.options.select.takes(&object) {
                items.push(object);
                last = place;
            }
        }
    }
    let mut metadata = json!({"resourceVersion": world.position.0.to_string()});
    if left > 0 {
        metadata["continue"] = json!(URL_SAFE_NO_PAD.encode(format!("{}/{}", last.0, last.1)));
        if asked.options.select.is_all() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    Ok(match Table::wanted(asked) {
        Some(form) => json(&Table::of(resource).told(&form, asked, &items, &metadata)),
        None => json(&json!({"kind": format!("{}List", resource.kind()), "apiVersion": names::api_version(),
            "metadata": metadata, "items": items})),
    })
}

/// The namespace and the name of the last object that was told.
fn decode(token: &str) -> Result<(String, String), Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.as_deref().and_then(|text| text.rsplit_once('/'));
    place.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).ok_or_else(|| {
        Refusal::bad_request("this continue token was not given out here; begin again without it")
    })
}

/// One object.
pub(super) fn one(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: &Namespace,
    name: &str,
) -> Result<Response, Refusal> {
    let world = asked.api.app.world();
    let seen = Seen::of(&asked.api, &world, namespace);
    let object = seen.shown(resource, name).ok_or_else(|| Refusal::no_object(resource, name))?;
    Ok(match Table::wanted(asked) {
        Some(form) => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            json(&Table::of(resource).told(&form, asked, &[object], &metadata))
        }
        None => json(&object),
    })
}
