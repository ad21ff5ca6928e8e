//! One resource written as clients of Kubernetes do it: what is wanted follows from the newest state, and is planned and
//! carried out as the document of any other source, or only tried.

use super::execute::CONFLICT_RETRIES_MAX;
use super::plan::{self, Facts, Plan, Request, Values, resource};
use super::{Actor, App, Change, Error};
use crate::eventlog::{Expected, Recorded};
use crate::id::{Position, ProjectId};
use crate::projection::{OpenError, World};
use crate::spec::Kind;
use std::sync::Arc;
use uuid::Uuid;

/// What is to be done to one resource.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Made or changed as the only document of the request says.
    Write(Box<Request>),
    /// Deleted with what is in it, by whoever asks.
    Delete { source: String, kind: Kind, id: Uuid },
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Written {
    pub plan: Plan,
    /// The state after it; where it was only tried, as it would be.
    pub world: Arc<World>,
}

impl App {
    /// Does what `make` wishes of the newest state, in one transaction; made anew where somebody else wrote first. With
    /// `dry_run` nothing is recorded.
    pub async fn write_object<E: From<Error> + Send + 'static>(
        self: &Arc<Self>,
        actor: &Actor,
        project: ProjectId,
        dry_run: bool,
        make: impl Fn(&World) -> Result<Wish, E> + Clone + Send + 'static,
    ) -> Result<Written, E> {
        // Nothing here brings values of secrets.
        let values = Arc::new(Values::default());
        for _ in 0..CONFLICT_RETRIES_MAX {
            let given = Arc::clone(&values);
            let world = self.world();
            let (base, make, actor_here) = (Arc::clone(&world), make.clone(), actor.clone());
            let decided = move |app: &Self| {
                let wish = match make(&base) {
                    Ok(wish) => wish,
                    Err(refused) => return Ok(Err(refused)),
                };
                let plan = app.plan_of(&base, project, &wish, &given)?;
                let mut facts = plan::changes(&plan, &base, project, app.with(&given))?;
                let tried = if dry_run {
                    Some(app.tried(&actor_here, &base, std::mem::take(&mut facts.changes))?)
                } else {
                    None
                };
                Ok(Ok((plan, facts, tried)))
            };
            let (plan, facts, tried): (Plan, Facts, Option<World>) = self.planned(project, decided).await??;
            if let Some(tried) = tried {
                return Ok(Written { plan, world: Arc::new(tried) });
            }
            if self.carry_out(actor, &world, facts, &values).await? {
                return Ok(Written { plan, world: self.world() });
            }
        }
        Err(Error::Busy("the same resource".to_owned()).into())
    }

    fn plan_of(
        &self,
        world: &World,
        project: ProjectId,
        wish: &Wish,
        values: &Values,
    ) -> Result<Plan, Error> {
        let (source, kind, id) = match wish {
            Wish::Write(request) => return self.plan_on(world, project, request, values),
            Wish::Delete { source, kind, id } => (source, *kind, *id),
        };
        let found = resource(kind).and_then(|resource| Some((resource, resource.read(world, project, id)?)));
        let missing =
            || Error::NotFound { kind: kind.slug(), name: id.to_string(), hint: "it is gone already" };
        let (resource, found) = found.ok_or_else(missing)?;
        if let Some(why) = resource.keep(&found.key) {
            return Err(Error::Forbidden(format!("{} cannot be deleted: {why}", found.key)));
        }
        Ok(Plan::deletion(source, world.position, found.key, id, found.generation))
    }

    /// The state as it would be after these facts. Its position stays what it was: nothing happened.
    fn tried(&self, actor: &Actor, world: &World, changes: Vec<Change>) -> Result<World, Error> {
        let writes = self.writes(actor, world, changes)?;
        let (mut world, position): (World, Position) = (world.clone(), world.position);
        for write in writes {
            let mut version = match write.expected {
                Expected::Exact(version) => version,
                Expected::Any | Expected::NoStream => 0,
            };
            for event in write.events {
                version += 1;
                let recorded = Recorded {
                    position,
                    event_id: event.event_id,
                    stream: write.stream.clone(),
                    version,
                    kind: event.kind,
                    schema_version: event.schema_version,
                    data: event.data,
                    metadata: event.metadata,
                    recorded_at: self.clock.now(),
                };
                world.fold(&recorded).map_err(OpenError::Apply)?;
            }
        }
        Ok(world)
    }
}
