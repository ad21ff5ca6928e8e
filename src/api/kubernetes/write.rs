//! Creating, changing and deleting objects; dry runs too.

use super::namespaces::Namespace;
use super::object::Seen;
use super::options::Options;
use super::wish::{Asking, Verb, source};
use super::{Asked, Refusal, json, json_as, sent};
use crate::app::Error;
use crate::app::objects::Written;
use crate::app::plan::{Problems, Resource};
use crate::crd::names::{self, GROUP};
use crate::projection::World;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Characters that are added where the server is to make up the end of a name.
const NAME_END: usize = 6;

/// Why a write was not carried out.
enum Failed {
    Refused(Refusal),
    /// What is in the way of the plan.
    Problems(Box<Problems>),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Plan(problems) => Self::Problems(problems),
            error => Self::Refused(error.into()),
        }
    }
}

pub(super) async fn create(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: Namespace,
) -> Result<Response, Refusal> {
    let object = asked.body()?;
    let sent = sent::object(resource, "", &object)?;
    let name = match (sent.name.is_empty(), sent.generate_name.as_str()) {
        (true, "") => {
            return Err(Refusal::invalid_at(
                resource,
                "",
                "metadata.name",
                "name or generateName is required",
            ));
        }
        (true, stem) => {
            let end = asked.api.app.ids.fresh().simple().to_string();
            format!("{stem}{}", &end[end.len() - NAME_END..])
        }
        (false, _) => sent.name,
    };
    let written = write(asked, resource, &namespace, &name, Verb::Create(object)).await?;
    Ok(json_as(StatusCode::CREATED, &written))
}

pub(super) async fn change(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: Namespace,
    name: &str,
) -> Result<Response, Refusal> {
    let verb = if asked.parts.method == Method::PUT { Verb::Replace(asked.body()?) } else { patch(asked)? };
    let is_apply = matches!(verb, Verb::Apply { .. });
    if is_apply && asked.options.manager.is_none() {
        let text =
            "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch";
        return Err(Refusal::bad_request(text));
    }
    let before = asked.api.app.world();
    let written = write(asked, resource, &namespace, name, verb).await?;
    let is_new = is_apply && super::object::find(&before, &namespace, resource, name).is_none();
    Ok(json_as(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &written))
}

fn patch(asked: &Asked) -> Result<Verb, Refusal> {
    let media = asked.header(header::CONTENT_TYPE);
    let body = asked.body()?;
    match media.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => Ok(Verb::Merge(body)),
        "application/json-patch+json" => Ok(Verb::Steps(body)),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
            Ok(Verb::Apply { config: body, force: asked.options.force })
        }
        other => {
            let text = format!(
                "the body of the request was in an unknown format ({other}) - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            );
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", text))
        }
    }
}

fn asking(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: &Namespace,
    name: &str,
    verb: Verb,
) -> Result<Asking, Refusal> {
    let (api, place) = (asked.api.clone(), namespace.clone());
    let render =
        move |world: &World, id: Uuid, found: &_| Seen::of(&api, world, &place).object(resource, id, found);
    Ok(Asking {
        resource,
        namespace: namespace.clone(),
        name: name.to_owned(),
        source: source(asked.options.manager.as_deref(), asked.header(header::USER_AGENT))?,
        verb,
        render: Arc::new(render),
    })
}

async fn carry_out(asked: &Asked, asking: Asking, dry_run: bool) -> Result<Written, Refusal> {
    let (resource, name) = (asking.resource, asking.name.clone());
    let project = asking.namespace.project;
    let make = move |world: &World| asking.wish(world).map_err(Failed::Refused);
    let written = asked.api.app.write_object(&asked.caller.actor(), project, dry_run, make).await;
    written.map_err(|failed| match failed {
        Failed::Refused(refusal) => refusal,
        Failed::Problems(problems) => Refusal::of_plan(resource, &name, &problems),
    })
}

/// Writes an object, and tells what it is then.
async fn write(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: &Namespace,
    name: &str,
    verb: Verb,
) -> Result<Value, Refusal> {
    let asking = asking(asked, resource, namespace, name, verb)?;
    let dry_run = asked.options.dry_run;
    let before = asked.api.app.world();
    let Written { world, .. } = carry_out(asked, asking, dry_run).await?;
    let seen = Seen::of(&asked.api, &world, namespace);
    // Somebody may have deleted it since.
    let (id, found) = seen.find(resource, name).ok_or_else(|| Refusal::no_object(resource, name))?;
    let mut object = seen.object(resource, id, &found);
    if dry_run {
        as_tried(&mut object, Seen::of(&asked.api, &before, namespace).shown(resource, name));
    }
    Ok(object)
}

/// What only happens when something happens stays as it was.
fn as_tried(object: &mut Value, before: Option<Value>) {
    let (version, status) = match before {
        Some(mut before) => (before["metadata"]["resourceVersion"].take(), before["status"].take()),
        None => (Value::Null, Value::Null),
    };
    for (of, field, value) in [("/metadata", "resourceVersion", version), ("", "status", status)] {
        let Some(of) = object.pointer_mut(of).and_then(Value::as_object_mut) else { continue };
        if value.is_null() {
            of.remove(field);
        } else {
            of.insert(field.to_owned(), value);
        }
    }
}

pub(super) async fn delete(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespace: Namespace,
    name: &str,
) -> Result<Response, Refusal> {
    let body = if asked.body.is_empty() { Value::Null } else { asked.body()? };
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let verb = Verb::Delete {
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
    };
    let dry_run = asked.options.dry_run || is_dry(&body)?;
    let world = asked.api.app.world();
    let found = super::object::find(&world, &namespace, resource, name);
    let (id, _) = found.ok_or_else(|| Refusal::no_object(resource, name))?;
    let asking = asking(asked, resource, &namespace, name, verb)?;
    carry_out(asked, asking, dry_run).await?;
    Ok(json(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "group": GROUP, "kind": names::plural(resource.kind()), "uid": id},
    })))
}

fn is_dry(body: &Value) -> Result<bool, Refusal> {
    let mut dry = Options::default();
    for one in body.get("dryRun").and_then(Value::as_array).into_iter().flatten() {
        let one = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("dryRun", one.as_str().unwrap_or("?"))
            .finish();
        dry = Options::of(&one)?;
    }
    Ok(dry.dry_run)
}
