//! What a deleted room leaves behind goes with it: its queues, files, documents, databases, datasets, memories and secrets.
//! Values of secrets that a killed server left to nobody go at the start.

use super::room_secrets;
use super::stores::Stores;
use crate::app::App;
use crate::blob::Blobs;
use crate::dataset::DatasetStore;
use crate::document::Documents;
use crate::eventlog::{Filter, KindFilter, Recorded, Tail};
use crate::id::{Position, ProjectId, RoomId};
use std::sync::Arc;
use uuid::Uuid;

/// Events looked back over at the start, for deletions that a crash kept from being cleaned up.
const LOOK_BACK_EVENTS: u64 = 10_000;

/// Follows the log and cleans up after deleted rooms until the server stops. Doing it twice does no harm.
pub(super) async fn follow(
    app: Arc<App>,
    stores: Arc<Stores>,
    files: Blobs,
    documents: Arc<Documents>,
    head: Position,
) {
    sweep(&app).await;
    let filter = Filter { kinds: vec![KindFilter::Exact("room.deleted".to_owned())], ..Filter::all() };
    let after = Position(head.0.saturating_sub(LOOK_BACK_EVENTS));
    let mut tail = Tail::new(Arc::clone(&stores.log), after, filter);
    loop {
        let deleted = match tail.next().await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "deleted rooms are not cleaned up until the next start");
                return;
            }
        };
        for room in deleted.iter().filter_map(room_of) {
            if let Err(error) = stores.queues.delete_room(room).await {
                tracing::warn!(%error, %room, "the queues of a deleted room remain");
            }
            if let Err(error) = files.room(room).delete_all().await {
                tracing::warn!(%error, %room, "the files of a deleted room remain");
            }
            if let Err(error) = stores.datasets.delete_room(room).await {
                tracing::warn!(%error, %room, "the datasets of a deleted room remain");
            }
            if let Err(error) = stores.databases.delete_room(room).await {
                tracing::warn!(%error, %room, "the databases of a deleted room remain");
            }
            if let Err(error) = stores.memories.delete_room(room).await {
                tracing::warn!(%error, %room, "the memories of a deleted room remain");
            }
            if let Err(error) = room_secrets::delete_room(&app.vault, room).await {
                tracing::warn!(%error, %room, "the secrets of a deleted room's participants remain");
            }
            if let Err(error) = documents.delete_room(room).await {
                tracing::warn!(%error, %room, "the documents of a deleted room remain");
            }
        }
    }
}

fn room_of(event: &Recorded) -> Option<RoomId> {
    let project: ProjectId = event.metadata.project?;
    Uuid::parse_str(event.stream.key()).ok().map(|uuid| RoomId::new(project, uuid))
}

/// Values of secrets that an earlier run left to nobody.
async fn sweep(app: &App) {
    match app.sweep_values().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "values that no secret and no key has any more were removed"),
        Err(error) => {
            tracing::warn!(%error, "values that nobody has may stay in the vault until the next start")
        }
    }
}
