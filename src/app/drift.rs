//! Drift: what sources applied, and somebody else made otherwise since.

use super::past::{look, restricted};
use super::plan::{self, FieldChange, Found, Key, Resource};
use super::{App, Error};
use crate::domain::inventory::Share;
use crate::eventlog::Recorded;
use crate::id::{Position, ProjectId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Resources whose drift is told at once.
pub const DRIFTS_MAX: usize = 1_000;

/// One resource that is not as a source applied it.
#[derive(Clone, Debug, Serialize)]
pub struct Drift {
    /// Who applied it, and holds the fields.
    pub source: String,
    #[serde(flatten)]
    pub key: Key,
    pub id: Uuid,
    /// Fields that the source holds: as it applied them, and as they are.
    pub changes: Vec<FieldChange>,
    /// The last change since.
    pub by: String,
    pub at: DateTime<Utc>,
    pub position: Position,
}

/// Who changed something.
struct Changed {
    by: String,
    at: DateTime<Utc>,
    position: Position,
}

impl App {
    /// What one source, or each, applied and is otherwise now; at most [`DRIFTS_MAX`], in the order of resources. A field
    /// that another source took over is none.
    pub async fn drifts(&self, project: ProjectId, source: Option<&str>) -> Result<Vec<Drift>, Error> {
        let _look = look(project).await?;
        let world = self.world();
        let mut drifts = vec![];
        for (id, entry) in world.inventory(project).into_iter().flat_map(|all| &all.entries) {
            let Some(resource) = plan::resource(entry.kind) else { continue };
            let now = resource.generation(&world, project, *id);
            for (name, share) in &entry.shares {
                if source.is_some_and(|wanted| wanted != name) || now == Some(share.generation) {
                    continue;
                }
                drifts.extend(self.drift(project, (resource, *id), (name, share)).await?);
                if drifts.len() >= DRIFTS_MAX {
                    return Ok(drifts);
                }
            }
        }
        Ok(drifts)
    }

    async fn drift(
        &self,
        project: ProjectId,
        (resource, id): (&'static dyn Resource, Uuid),
        (source, share): (&str, &Share),
    ) -> Result<Option<Drift>, Error> {
        let now = self.world();
        let Some(is) = resource.read(&now, project, id) else { return Ok(None) };
        let mut world = now.without(project, &resource.stream(project, id));
        let (mut applied, mut changed): (Option<Found>, Option<Changed>) = (None, None);
        // The fields that the source holds, as the last fact left them.
        let mut held = Value::Null;
        self.each_fact(project, resource, id, |event| {
            world.fold(&event).map_err(crate::projection::OpenError::Apply)?;
            let Some(found) = resource.read(&world, project, id) else { return Ok(()) };
            let left = restricted(&found, &share.fields);
            if found.generation > share.generation && left != held {
                let Recorded { metadata, recorded_at: at, position, .. } = event;
                changed = Some(Changed { by: metadata.actor, at, position });
            }
            if found.generation <= share.generation {
                applied = Some(found);
            }
            held = left;
            Ok(())
        })
        .await?;
        let (Some(applied), Some(Changed { by, at, position })) = (applied, changed) else { return Ok(None) };
        let changes = plan::diff(&restricted(&applied, &share.fields), &restricted(&is, &share.fields));
        if changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Drift { source: source.to_owned(), key: is.key, id, changes, by, at, position }))
    }
}
