//! `kind: ServiceInstance`: a service made of a template and values. The service is no resource of its own: it comes, changes
//! and goes with the instance, whose UUID it has.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::names;
use crate::domain::service::{self, Service};
use crate::domain::service_instance::{Command, Created, Refused, ServiceInstance};
use crate::domain::service_template;
use crate::domain::template::{self, Missing, Render};
use crate::id::{ProjectId, RoomId, ServiceInstanceId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind};
use serde_json::Value;
use uuid::Uuid;

pub struct Instances;

fn key(world: &World, instance: &ServiceInstance) -> Key {
    let room = instance.room.and_then(|room| world.room(room)).map(|room| room.name.to_string());
    Key::new(Kind::ServiceInstance, room, instance.spec.metadata.name.as_str())
}

impl Resource for Instances {
    fn kind(&self) -> Kind {
        Kind::ServiceInstance
    }

    fn home(&self) -> Home {
        Home::RoomOrProject
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        world.service_instances(project).map(|(id, one)| (id.uuid(), key(world, one))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let instance = world.service_instance(ServiceInstanceId::new(project, id))?;
        Some(Found {
            key: key(world, instance),
            document: document_of(&instance.spec),
            generation: instance.generation,
            created_at: Some(instance.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.service_instance(ServiceInstanceId::new(project, id)).map(|instance| instance.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ServiceInstanceId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let template = document.get("template").and_then(Value::as_str);
        let key = template.map(|name| Key::new(Kind::ServiceTemplate, None, name));
        key.map(|key| Reference { path: "template".to_owned(), key }).into_iter().collect()
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        let problem = |text: String| Problem::of(Code::Invalid, None, key, text);
        let spec: spec::ServiceInstance = match typed(key, document) {
            Ok(spec) => spec,
            Err(error) => return vec![problem(error.to_string())],
        };
        let (world, project) = (ground.world, ground.project);
        let room = key.room.as_deref().and_then(|room| world.room_named(project, room)).map(|(id, _)| id);
        let named = world.named(project, names::Kind::Service, room, &key.name);
        let taken = named.is_some_and(|id| !ground.asked.going.contains(&id));
        if old.is_none() && taken && room.is_some() == key.room.is_some() {
            let text =
                format!("there is a service `{}` already, which the instance would be called", key.name);
            let hint = "delete the service, or give the instance another name";
            return vec![problem(text).at("metadata.name").hint(hint)];
        }
        let asked = |name: &String| ground.asked.templates.get(name).cloned();
        let kept = |name: &String| Some(template_named(world, project, name)?.wanted.source.clone());
        let source = match (&spec.source, &spec.template) {
            (Some(source), _) => Some(source.clone()),
            (None, Some(name)) => asked(name).or_else(|| kept(name)),
            (None, None) => None,
        };
        // That there is no such template is a problem of its own.
        let Some(source) = source else { return vec![] };
        let inline = spec.source.is_some();
        let problems = rendered(&*ground.settings.templates, &source, &spec).err().unwrap_or_default();
        problems.into_iter().map(|found| placed(key, found, inline)).collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.service_instances, &new.service_instances)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                let spec: spec::ServiceInstance = typed(key, document)?;
                let room = key.room.as_deref().map(|room| draft.room(room)).transpose()?;
                let made = made(draft, &spec)?;
                let id = ServiceInstanceId::new(project, id);
                draft.claim(project, names::Kind::Service, room, &key.name, id.uuid())?;
                let created = Created { room, spec };
                draft.decide::<ServiceInstance>(id.stream(), None, Command::Create(created))?;
                let runs = service::Command::Create(service::Created { room, spec: made });
                draft.decide::<Service>(id.service().stream(), None, runs)
            }
            Change::Update { id, key, document } => {
                let spec: spec::ServiceInstance = typed(key, document)?;
                let made = made(draft, &spec)?;
                let id = ServiceInstanceId::new(project, id);
                draft.decide(id.stream(), world.service_instance(id), Command::Update(spec))?;
                let runs = service::Command::Update(made);
                draft.decide(id.service().stream(), world.service(id.service()), runs)
            }
            Change::Delete { id } => {
                let id = ServiceInstanceId::new(project, id);
                let old = world.service_instance(id).ok_or_else(|| Error::rejected(Refused::NotFound))?;
                let room: Option<RoomId> = old.room;
                draft.release(project, names::Kind::Service, room, &old.spec.metadata.name)?;
                draft.decide(id.stream(), Some(old), Command::Delete)?;
                match world.service(id.service()) {
                    Some(runs) => draft.decide(id.service().stream(), Some(runs), service::Command::Delete),
                    None => Ok(()),
                }
            }
        }
    }
}

fn template_named<'w>(
    world: &'w World,
    project: ProjectId,
    name: &str,
) -> Option<&'w service_template::ServiceTemplate> {
    let id = world.named(project, names::Kind::ServiceTemplate, None, name)?;
    world.template(crate::id::ServiceTemplateId::new(project, id))
}

/// The instances of a template.
pub(super) fn of_template<'w>(
    world: &'w World,
    project: ProjectId,
    name: &str,
) -> impl Iterator<Item = (ServiceInstanceId, &'w ServiceInstance)> + use<'w> {
    let name = name.to_owned();
    world.service_instances(project).filter(move |(_, one)| one.spec.template.as_deref() == Some(&*name))
}

/// The service that a template's text makes with an instance's values.
pub(super) fn rendered(
    with: &dyn Render,
    source: &str,
    instance: &spec::ServiceInstance,
) -> Result<spec::Service, Vec<spec::Problem>> {
    let name = instance.template.as_deref().unwrap_or("source");
    let mut service = template::render_service(with, name, source, &instance.values, Missing::Refused)?;
    service.id = None;
    service.metadata.name.clone_from(&instance.metadata.name);
    if let Some(notes) = &mut service.metadata.annotations {
        // The instance says where it lives, and of what it is made.
        for note in [spec::ROOM, template::TEMPLATE_YAML, template::TEMPLATE_VALUES] {
            notes.remove(note);
        }
    }
    spec::reconcile::take_cadence(&mut service.metadata.annotations, &instance.metadata.annotations);
    Ok(service)
}

fn made(draft: &Draft<'_>, spec: &spec::ServiceInstance) -> Result<spec::Service, Error> {
    let source = match (&spec.source, &spec.template) {
        (Some(source), _) => source.clone(),
        (None, Some(name)) => {
            let kept =
                || template_named(draft.world(), draft.project(), name).map(|one| one.wanted.source.clone());
            let missing = || Error::rejected(service_template::Refused::NotFound);
            draft.template(name).or_else(kept).ok_or_else(missing)?
        }
        (None, None) => return Err(Error::rejected(service_template::Refused::NotFound)),
    };
    rendered(draft.rendering(), &source, spec).map_err(|problems| refused(spec, &problems))
}

pub(super) fn refused(spec: &spec::ServiceInstance, problems: &[spec::Problem]) -> Error {
    let text = format!("the instance `{}` cannot be made: {}", spec.metadata.name, spec::summary(problems));
    Error::Invalid { code: "spec-invalid", text }
}

/// A problem of a rendered template, at the field of the instance that it comes of.
fn placed(key: &Key, found: spec::Problem, inline: bool) -> Problem {
    let spec::Problem { line, path, message, hint, .. } = found;
    if let Some(variable) = path.strip_prefix("variables.") {
        let hint = "give it in `values`, or declare it with `optional: true` in the template";
        return Problem::of(Code::Invalid, None, key, message).at(format!("values.{variable}")).hint(hint);
    }
    if path.starts_with("values.") {
        let problem = Problem::of(Code::Invalid, None, key, message).at(path);
        return hint.into_iter().fold(problem, Problem::hint);
    }
    let place = if line > 0 { format!("line {line}: {path}") } else { path };
    let text = format!("the template does not make a service with these values: {place}: {message}");
    let problem = Problem::of(Code::Invalid, None, key, text).at(if inline { "source" } else { "template" });
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
