//! Watches that go on, of the kind that is a part of the project's own stream: facts there do not say which resource they
//! are about.

use super::{Told, Versions, Waiting};
use crate::api::{Api, Problem};
use crate::app::past::{Last, Moment};
use crate::app::plan::Resource;
use crate::id::{Position, ProjectId};
use crate::projection::World;
use uuid::Uuid;

/// What happened to resources of the kind since a position: by what there was then.
pub(super) async fn since(
    api: &Api,
    project: ProjectId,
    resource: &dyn Resource,
    world: &World,
    from: Position,
) -> Result<Vec<Waiting>, Problem> {
    let newest = world.position_of(project, &resource.stream(project, Uuid::nil()));
    if newest.is_none_or(|newest| newest <= from) {
        return Ok(vec![]);
    }
    let was = api.app.world_at(project, Moment::At(from)).await?;
    let versions = Versions::of(world, project);
    let mut waiting = vec![];
    for (id, _) in resource.all(world, project) {
        let version = versions.at(resource, id);
        let told = match resource.read(&was, project, id) {
            None => Told::Added,
            Some(_) if version > from => Told::Modified,
            Some(_) => continue,
        };
        waiting.push(Waiting { told, project, id, gone: None, version });
    }
    for (id, _) in resource.all(&was, project) {
        if let (None, Some(found)) = (resource.read(world, project, id), resource.read(&was, project, id)) {
            let object = was.project(project).and_then(|view| view.objects.get(&id)).cloned();
            let (version, gone) = (world.position, Some(Last { found, object }));
            waiting.push(Waiting { told: Told::Deleted, project, id, gone, version });
        }
    }
    Ok(waiting)
}
