//! Watches, as clients of Kubernetes follow them: events of whole objects or of tables.

use super::namespaces::Namespace;
use super::object::Seen;
use super::select::Selection;
use super::table::{Form as TableForm, Table};
use super::{Asked, Refusal};
use crate::api::Api;
use crate::api::resources::watch::{self, Form, News, Told, WATCH_LIMIT, Wish};
use crate::app::past::Last;
use crate::app::plan::Resource;
use crate::crd::names;
use crate::domain::object::Object;
use crate::id::Position;
use crate::projection::World;
use crate::spec::Kind;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

/// Says that a watch told everything there was at its begin.
const INITIAL_END: &str = "k8s.io/initial-events-end";

struct Events {
    namespaces: Vec<Namespace>,
    select: Selection,
    table: Option<(Table, TableForm)>,
    bookmarks: bool,
    /// The next bookmark ends what there was at the begin.
    initial: bool,
}

/// The answer to a watch.
pub(super) async fn answer(
    asked: &Asked,
    resource: &'static dyn Resource,
    namespaces: Vec<Namespace>,
) -> Result<Response, Refusal> {
    let options = &asked.options;
    let newest = asked.api.app.world().position;
    if let Some(from) = options.from.filter(|from| *from > newest) {
        return Err(Refusal::expired(format!(
            "version {from} is not there yet, the newest is {newest}; list again"
        )));
    }
    let wish = Wish {
        caller: asked.caller.project(),
        projects: namespaces.iter().map(|namespace| namespace.project).collect(),
        resource,
        from: options.from.filter(|_| !options.initial_events),
        limit: options.timeout.unwrap_or(WATCH_LIMIT),
        form: Events {
            namespaces,
            select: options.select.clone(),
            table: Table::wanted(asked).map(|form| (Table::of(resource), form)),
            bookmarks: options.bookmarks || options.initial_events,
            initial: options.initial_events,
        },
        media: "application/json",
    };
    watch::follow(&asked.api, wish).await.map_err(|problem| match problem.status {
        StatusCode::GONE => Refusal::expired(problem.message),
        _ => problem.into(),
    })
}

impl Events {
    fn line(&self, api: &Api, told: Told, object: &Value) -> String {
        let object = match &self.table {
            Some((table, form)) => &table.one(form, object, api.app.clock.now()),
            None => object,
        };
        format!("{}\n", json!({"type": told.word(), "object": object}))
    }

    /// What becomes of it for those who want only some: what begins or ends to be wanted comes or goes.
    fn told(&self, told: Told, was: Option<&Value>, is: Option<&Value>, is_resumed: bool) -> Option<Told> {
        let wanted = |object: Option<&Value>| object.is_some_and(|object| self.select.takes(object));
        match (wanted(was), wanted(is)) {
            (_, true) if is_resumed => Some(told),
            (true, true) => Some(Told::Modified),
            (false, true) => Some(Told::Added),
            (true, false) => Some(Told::Deleted),
            // It may have been wanted before the client went away.
            (false, false) if is_resumed && told == Told::Modified => {
                is.filter(|object| self.select.takes_place(object)).map(|_| Told::Deleted)
            }
            (false, false) => None,
        }
    }
}

/// What clients kept of an object that is gone.
fn keep(object: &mut Value, kept: &Object) {
    let metadata = &mut object["metadata"];
    if !kept.name.is_empty() {
        metadata["name"] = json!(kept.name);
    }
    (metadata["labels"], metadata["annotations"]) = (json!(kept.labels), json!(kept.annotations));
}

impl Form for Events {
    fn news(&self, api: &Api, news: &News<'_>) -> Option<String> {
        let namespace = self.namespaces.iter().find(|one| one.project == news.project)?;
        let look = |world: &World| {
            let found = news.resource.read(world, news.project, news.id)?;
            let seen = Seen::of(api, world, namespace);
            Some(seen.object_at(news.resource, news.id, &found, news.version))
        };
        let is_resumed = std::ptr::eq(news.before, news.world);
        let gone = |last: &Last| {
            let seen = Seen::of(api, news.world, namespace);
            let mut object = seen.object_at(news.resource, news.id, &last.found, news.version);
            if let Some(kept) = &last.object {
                keep(&mut object, kept);
            }
            object
        };
        let was = match news.gone {
            Some(last) => Some(gone(last)),
            None if news.told == Told::Added || is_resumed => None,
            None => look(news.before),
        };
        let is = if news.told == Told::Deleted { None } else { look(news.world) };
        let told = self.told(news.told, was.as_ref(), is.as_ref(), is_resumed)?;
        let object = if told == Told::Deleted { was.or(is) } else { is }?;
        Some(self.line(api, told, &object))
    }

    fn mark(&mut self, kind: Kind, position: Position) -> Option<String> {
        if !self.bookmarks {
            return None;
        }
        let mut metadata = json!({"resourceVersion": position.0.to_string()});
        if std::mem::take(&mut self.initial) {
            metadata["annotations"] = json!({INITIAL_END: "true"});
        }
        let object = match &self.table {
            Some((table, form)) => table.mark(form, &metadata),
            None => json!({"apiVersion": names::api_version(), "kind": kind.as_str(), "metadata": metadata,
                "spec": {}, "status": {}}),
        };
        Some(format!("{}\n", json!({"type": "BOOKMARK", "object": object})))
    }
}
