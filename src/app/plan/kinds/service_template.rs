//! `kind: ServiceTemplate`: kept as its text, and rendered for every `ServiceInstance` of it.

use super::service_instance::{of_template, rendered};
use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::service::{self, Service};
use crate::domain::service_template::{Command, Refused, ServiceTemplate, TEMPLATES_MAX, Wanted};
use crate::domain::{names, template};
use crate::id::{ProjectId, ServiceTemplateId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind, TEMPLATE_SOURCE};
use serde_json::{Value, json};
use std::collections::HashSet;
use uuid::Uuid;

pub struct Templates;

impl Resource for Templates {
    fn kind(&self) -> Kind {
        Kind::ServiceTemplate
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let key = |template: &ServiceTemplate| Key::new(Kind::ServiceTemplate, None, &*template.wanted.name);
        world.templates(project).map(|(id, template)| (id.uuid(), key(template))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let template = world.template(ServiceTemplateId::new(project, id))?;
        let wanted = &template.wanted;
        let mut annotations = wanted.annotations.clone();
        annotations.insert(TEMPLATE_SOURCE.to_owned(), wanted.source.clone());
        let document = json!({"version": "v1", "kind": Kind::ServiceTemplate.as_str(),
            "metadata": {"name": wanted.name, "annotations": annotations}});
        Some(Found {
            key: Key::new(Kind::ServiceTemplate, None, wanted.name.as_str()),
            document: document_of(&document),
            generation: template.generation,
            created_at: Some(template.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.template(ServiceTemplateId::new(project, id)).map(|template| template.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ServiceTemplateId::new(project, id).stream()
    }

    /// A template that came as a document is its own text.
    fn plain(&self, document: Value) -> Value {
        let mut plain = json!({"version": "v1", "kind": Kind::ServiceTemplate.as_str(),
            "metadata": {"name": document["metadata"]["name"]}});
        let annotations = document.pointer("/metadata/annotations").and_then(Value::as_object);
        let mut annotations = annotations.cloned().unwrap_or_default();
        if !annotations.contains_key(TEMPLATE_SOURCE) {
            annotations.insert(TEMPLATE_SOURCE.to_owned(), format!("{document:#}\n").into());
        }
        annotations.remove(spec::ROOM);
        annotations.remove(template::TEMPLATE_VALUES);
        plain["metadata"]["annotations"] = Value::Object(annotations);
        plain
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let problem = |text: String| Problem::of(Code::Invalid, None, key, text);
        let wanted = match wanted(key, document) {
            Ok(wanted) => wanted,
            Err(error) => return vec![problem(error.to_string())],
        };
        if let Err(why) = template::compile(&wanted.source) {
            return vec![problem(format!("line {}: {}", why.line, why.message))];
        }
        if old.is_none() {
            return vec![];
        }
        // Those that have documents of their own here say themselves what is wrong.
        let others = of_template(ground.world, ground.project, &key.name);
        let others = others.filter(|(_, instance)| {
            let room =
                instance.room.and_then(|room| ground.world.room(room)).map(|room| room.name.to_string());
            let name = instance.spec.metadata.name.as_str();
            !ground.asked.instances.contains(&Key::new(Kind::ServiceInstance, room, name))
        });
        let failing = others.filter_map(|(_, instance)| {
            let problems = rendered(&*ground.settings.templates, &wanted.source, &instance.spec).err()?;
            let text = format!(
                "the instance `{}` cannot be made of it: {}",
                instance.spec.metadata.name,
                spec::summary(&problems)
            );
            Some(problem(text).hint("change the instance's values in the same apply"))
        });
        failing.collect()
    }

    fn in_use(&self, world: &World, project: ProjectId, id: Uuid, going: &HashSet<Uuid>) -> Option<String> {
        let name = &world.template(ServiceTemplateId::new(project, id))?.wanted.name;
        let users = of_template(world, project, name);
        let mut users = users.filter(|(instance, _)| !going.contains(&instance.uuid()));
        users.next().map(|(_, one)| format!("service-instance/{} is made of it", one.spec.metadata.name))
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.templates, &new.templates)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                let there = || world.templates(project).count();
                if draft.count(Kind::ServiceTemplate, project.uuid(), there) >= TEMPLATES_MAX {
                    return Err(Error::rejected(Refused::TooMany));
                }
                let wanted = wanted(key, document)?;
                draft.claim(project, names::Kind::ServiceTemplate, None, &key.name, id)?;
                draft.keep_template(&wanted.name, &wanted.source);
                let stream = ServiceTemplateId::new(project, id).stream();
                draft.decide::<ServiceTemplate>(stream, None, Command::Create(wanted))
            }
            Change::Update { id, key, document } => {
                let wanted = wanted(key, document)?;
                draft.keep_template(&wanted.name, &wanted.source);
                for (instance, state) in of_template(world, project, &key.name) {
                    // Those that change too are made of the new text then.
                    if !draft.is_changed(instance.uuid()) {
                        let made = rendered(draft.rendering(), &wanted.source, &state.spec)
                            .map_err(|problems| super::service_instance::refused(&state.spec, &problems))?;
                        let runs = instance.service();
                        draft.decide::<Service>(
                            runs.stream(),
                            world.service(runs),
                            service::Command::Update(made),
                        )?;
                    }
                }
                let id = ServiceTemplateId::new(project, id);
                draft.decide(id.stream(), world.template(id), Command::Update(wanted))
            }
            Change::Delete { id } => {
                let id = ServiceTemplateId::new(project, id);
                let old = world.template(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
                let users = of_template(world, project, &old.wanted.name);
                let users: Vec<&str> = users
                    .filter(|(instance, _)| !draft.is_changed(instance.uuid()))
                    .map(|(_, state)| state.spec.metadata.name.as_str())
                    .collect();
                if !users.is_empty() {
                    return Err(Error::rejected(Refused::InUse(users.join(", "))));
                }
                draft.release(project, names::Kind::ServiceTemplate, None, &old.wanted.name)?;
                draft.decide(id.stream(), Some(old), Command::Delete)
            }
        }
    }
}

fn wanted(key: &Key, document: &Value) -> Result<Wanted, Error> {
    let spec: spec::ServiceTemplate = typed(key, document)?;
    let mut annotations = spec.metadata.annotations.unwrap_or_default();
    let source = annotations.remove(TEMPLATE_SOURCE).unwrap_or_default();
    Ok(Wanted { name: spec.metadata.name, source, annotations })
}

/// The text of a template among the documents.
pub(in crate::app::plan) fn source(document: &Value) -> Option<(String, String)> {
    let name = document.pointer("/metadata/name")?.as_str()?;
    let notes = document.pointer("/metadata/annotations")?.as_object()?;
    Some((name.to_owned(), notes.get(TEMPLATE_SOURCE)?.as_str()?.to_owned()))
}
