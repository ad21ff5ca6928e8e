//! Projects as namespaces: by id, by key, or by a name that only one of them has.

use super::table::Table;
use super::{Asked, Refusal, json};
use crate::api::auth::Caller;
use crate::crd::names::is_label;
use crate::id::ProjectId;
use crate::projection::World;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// A project as the request calls it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Namespace {
    pub project: ProjectId,
    pub name: String,
}

/// The project of this name, if the caller may work in it. Strangers are not told whether it is there.
pub(super) fn find(asked: &Asked, name: &str) -> Result<Namespace, Refusal> {
    let world = asked.api.app.world();
    let own = asked.caller.project();
    // Nobody takes a caller's own project away by a name or key that is like it.
    let found = if is_called(&world, own, name) {
        Some(own)
    } else {
        by_name(&world, name).filter(|_| asked.caller.is_operator())
    };
    match found {
        Some(project) => Ok(Namespace { project, name: name.to_owned() }),
        None if asked.caller.is_operator() => {
            let text =
                format!("namespaces {name:?} not found; `kubectl get namespaces` shows those there are");
            Err(Refusal::new(StatusCode::NOT_FOUND, "NotFound", text))
        }
        None => Err(Refusal::forbidden(format!(
            "this credential belongs to the namespace {:?} (project {own}), not to {name:?}",
            name_of(&world, own)
        ))),
    }
}

/// Whether a project is called this, in whatever way.
fn is_called(world: &World, project: ProjectId, name: &str) -> bool {
    let state = world.project(project).and_then(|view| view.project.as_ref()).map(|slot| &slot.state);
    state.is_some_and(|state| state.key == name || state.name == name || project.to_string() == name)
}

/// By id, else by a key or name that is of one project alone.
fn by_name(world: &World, name: &str) -> Option<ProjectId> {
    let mut same = world.projects().map(|(id, _)| id).filter(|id| is_called(world, *id, name));
    same.next().filter(|_| same.next().is_none())
}

/// What a project is called where nobody called it anything: its key where Kubernetes takes that, else its id.
fn name_of(world: &World, project: ProjectId) -> String {
    let state = world.project(project).and_then(|view| view.project.as_ref());
    let key = state.map(|slot| slot.state.key.clone()).filter(|key| is_label(key));
    key.filter(|key| by_name(world, key) == Some(project)).unwrap_or_else(|| project.to_string())
}

/// Every project that the caller may work in.
pub(super) fn visible(asked: &Asked) -> Vec<Namespace> {
    let world = asked.api.app.world();
    let own = asked.caller.project();
    let mut all: Vec<Namespace> = world
        .projects()
        .filter(|(id, _)| *id == own || asked.caller.is_operator())
        .map(|(project, _)| Namespace { project, name: name_of(&world, project) })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The namespace as an object.
fn object(world: &World, namespace: &Namespace) -> Value {
    let state = world.project(namespace.project).and_then(|view| view.project.as_ref());
    let name = state.map(|slot| slot.state.name.clone()).unwrap_or_default();
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": namespace.name, "uid": namespace.project.uuid(),
            "resourceVersion": state.map_or(0, |slot| slot.position.0).to_string(),
            "creationTimestamp": state.map(|slot| super::object::time(slot.state.created_at)),
            "labels": {"kubernetes.io/metadata.name": namespace.name},
            "annotations": {"meshagent.dev/project-name": name},
        },
        "spec": {}, "status": {"phase": "Active"},
    })
}

fn refuse_writing(method: &Method) -> Refusal {
    match *method {
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Refusal::forbidden(
            "namespaces are projects here, and are not made by way of this API: use `meshagent project create NAME`",
        ),
        _ => Refusal::no_method(method),
    }
}

fn reading(asked: &Asked) -> Result<(), Refusal> {
    if asked.parts.method != Method::GET {
        return Err(refuse_writing(&asked.parts.method));
    }
    match asked.caller {
        Caller::Account { .. } => Ok(()),
        Caller::Participant(_) | Caller::User(_) => asked.account(),
    }
}

pub(super) fn all(asked: &Asked) -> Result<Response, Refusal> {
    reading(asked)?;
    if asked.options.watch {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "namespaces cannot be watched",
        ));
    }
    let world = asked.api.app.world();
    let items: Vec<Value> = visible(asked)
        .iter()
        .map(|namespace| object(&world, namespace))
        .filter(|object| asked.options.select.takes(object))
        .collect();
    let metadata = json!({"resourceVersion": world.position.0.to_string()});
    Ok(match Table::wanted(asked) {
        Some(form) => json(&Table::of_namespaces().told(&form, asked, &items, &metadata)),
        None => {
            json(&json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": metadata, "items": items}))
        }
    })
}

pub(super) fn one(asked: &Asked, name: &str) -> Result<Response, Refusal> {
    reading(asked)?;
    let namespace = find(asked, name)?;
    let object = object(&asked.api.app.world(), &namespace);
    Ok(match Table::wanted(asked) {
        Some(form) => json(&Table::of_namespaces().told(&form, asked, &[object], &json!({}))),
        None => json(&object),
    })
}
