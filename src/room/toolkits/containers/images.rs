//! The image tools. What takes long is a job that its caller follows like a container.

use super::jobs::{Kind, Made, New};
use super::ledger::{Ledger, Standing};
use super::{Containers, args};
use crate::blob::{Blobs, FilePath};
use crate::containers::{Credential, Engine, EngineError, Image, ImageDetails, Progress};
use crate::error_code::RoomCode;
use crate::id::RoomId;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::storage::FileEvent;
use crate::spec::Mounts;
use crate::wire::Content;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

/// Largest block read of an archive, bytes.
const BLOCK_BYTES: usize = 256 * 1024;
/// Words by which an engine names an image it took in.
const LOADED: [&str; 2] = ["Loaded image: ", "Loaded image ID: "];

impl Containers {
    pub(super) async fn list_images(&self, call: &Call) -> Result<Content, ToolError> {
        let engine = match self.parts.engines.engine().await {
            Ok(engine) => engine,
            Err(EngineError::Missing(_)) => return Ok(Content::Json(json!({"images": []}))),
            Err(error) => return Err(error.into()),
        };
        let room = call.session.room.id;
        let images = engine.images().await?;
        let visible = images.iter().filter(|image| self.standing(room, image) != Standing::Foreign);
        let listed: Vec<_> = visible.map(Image::listing).collect();
        Ok(Content::Json(json!({"images": listed})))
    }

    pub(super) async fn inspect_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::InspectImage = call.args()?;
        let engine = self.parts.engines.engine().await?;
        let details = self.visible_image(&engine, call.session.room.id, &args.image_id).await?;
        Ok(Content::Json(details.listing()))
    }

    pub(super) async fn delete_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::DeleteImage = call.args()?;
        let engine = self.parts.engines.engine().await?;
        let details = self.visible_image(&engine, call.session.room.id, &args.image).await?;
        self.check_own(call.session.room.id, &details, &args.image)?;
        engine.delete_image(&args.image).await?;
        if engine.image(&details.image.id).await?.is_none() {
            self.ledger(move |ledger| ledger.forget(&details.image.id)).await;
        }
        Ok(Content::Empty)
    }

    pub(super) async fn pull_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Pull = call.args()?;
        let engine = self.parts.engines.engine().await?;
        let credentials = args::credentials(args.credentials);
        self.fetch(&engine, call.session.room.id, &args.tag, &credentials).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn push_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Push = call.args()?;
        let engine = self.parts.engines.engine().await?;
        self.visible_image(&engine, call.session.room.id, &args.tag).await?;
        let credentials = args::credentials(args.credentials);
        let tag = args.tag.clone();
        self.job(call, args.private, args.tag, move |job| async move {
            let steps = engine.push(&tag, &credentials).map_err(|error| error.to_string())?;
            job.relay(steps).await.map(drop).map_err(|error| error.to_string())
        })
    }

    pub(super) async fn load(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Load = call.args()?;
        let engine = self.parts.engines.engine().await?;
        let room = call.session.room.id;
        let taken = take_in(&engine, &self.ledger, room, &self.parts.files, &args.archive_path).await;
        let references = taken.map_err(ToolError::failed)?;
        let first = references.first().cloned().unwrap_or_default();
        Ok(Content::Json(json!({"resolved_ref": first, "refs": references})))
    }

    pub(super) async fn load_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::LoadImage = call.args()?;
        let path = in_storage(&args.mounts, &args.archive_path)?;
        let engine = self.parts.engines.engine().await?;
        let (room, files, ledger) =
            (call.session.room.id, self.parts.files.clone(), Arc::clone(&self.ledger));
        self.job(call, args.private, args.archive_path, move |job| async move {
            for reference in take_in(&engine, &ledger, room, &files, &path).await? {
                job.say(&format!("loaded {reference}\n"));
            }
            Ok(())
        })
    }

    pub(super) async fn save_image(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::SaveImage = call.args()?;
        let path = in_storage(&args.mounts, &args.archive_path)?;
        let engine = self.parts.engines.engine().await?;
        self.visible_image(&engine, call.session.room.id, &args.tag).await?;
        let (files, tag) = (self.parts.files.room(call.session.room.id), args.tag.clone());
        let (session, by) = (Arc::clone(&call.session), call.caller.id.clone());
        self.job(call, args.private, args.tag, move |job| async move {
            let text = |error: &dyn std::fmt::Display| error.to_string();
            let mut blocks = engine.save(&tag).map_err(|error| text(&error))?;
            let mut file = files.open_write(&path, true).await.map_err(|error| text(&error))?;
            let mut bytes = 0_u64;
            while let Some(block) = blocks.next().await {
                let block = block.map_err(|error| text(&error))?;
                bytes += block.len() as u64;
                file.write(block).await.map_err(|error| text(&error))?;
            }
            file.commit().await.map_err(|error| text(&error))?;
            job.say(&format!("saved {tag} as {path} ({bytes} bytes)\n"));
            FileEvent::Updated { path, by }.send(&session);
            Ok(())
        })
    }

    /// Begins a job; answers its id as a container's.
    fn job<F, W>(
        &self,
        call: &Call,
        private: Option<bool>,
        about: String,
        work: W,
    ) -> Result<Content, ToolError>
    where
        W: FnOnce(Arc<super::jobs::Job>) -> F,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let id = self.parts.ids.fresh().simple().to_string();
        let only = private.unwrap_or(false).then(|| call.caller.name.clone());
        let new = New { room: call.session.room.id, id, kind: Kind::Image, about, only };
        let begun = self.jobs.begin(new, work);
        let job = begun.map_err(|text| ToolError::new(RoomCode::InvalidState, text))?;
        Ok(Content::Json(json!({"container_id": job.new.id})))
    }

    /// Fetches an image; it is the room's when it was not here before.
    pub(super) async fn fetch(
        &self,
        engine: &Engine,
        room: RoomId,
        reference: &str,
        credentials: &[Credential],
    ) -> Result<(), EngineError> {
        let before = ids(engine).await?;
        engine.pull(reference, credentials).await?;
        let pulled = engine.image(reference).await?;
        let pulled = pulled.ok_or_else(|| EngineError::NoImage(reference.to_owned()))?;
        let known = self.standing(room, &pulled.image);
        if !before.contains(&pulled.image.id) || known == Standing::Foreign {
            self.ledger(move |ledger| ledger.add(room, &pulled.image.id)).await;
        }
        Ok(())
    }

    /// The image, if the room may know of it.
    pub(super) async fn visible_image(
        &self,
        engine: &Engine,
        room: RoomId,
        name: &str,
    ) -> Result<ImageDetails, EngineError> {
        let found = engine.image(name).await?;
        found
            .filter(|details| self.standing(room, &details.image) != Standing::Foreign)
            .ok_or_else(|| EngineError::NoImage(name.to_owned()))
    }

    pub(super) fn standing(&self, room: RoomId, image: &Image) -> Standing {
        self.ledger.standing(room, &image.id, image.owner().as_ref())
    }

    /// Only what the room brought is its own to change.
    fn check_own(&self, room: RoomId, details: &ImageDetails, name: &str) -> Result<(), ToolError> {
        if self.standing(room, &details.image) == Standing::Own {
            return Ok(());
        }
        let text = format!(
            "image `{name}` was not brought by this room but by the server's operator, who alone may delete it"
        );
        Err(ToolError::new(RoomCode::PermissionDenied, text))
    }

    /// Whether the room may give this name to a new image: not one that somebody else's image has.
    pub(super) async fn check_free(&self, engine: &Engine, room: RoomId, tag: &str) -> Result<(), ToolError> {
        match engine.image(tag).await? {
            Some(found) if self.standing(room, &found.image) != Standing::Own => {
                let text = format!("the name `{tag}` belongs to an image of somebody else; choose another");
                Err(ToolError::new(RoomCode::AlreadyExists, text))
            }
            _ => Ok(()),
        }
    }

    /// Changes the ledger off the async threads.
    pub(super) async fn ledger(&self, change: impl FnOnce(&Ledger) + Send + 'static) {
        let ledger = Arc::clone(&self.ledger);
        let _ = tokio::task::spawn_blocking(move || change(&ledger)).await;
    }
}

async fn ids(engine: &Engine) -> Result<HashSet<String>, EngineError> {
    Ok(engine.images().await?.into_iter().map(|image| image.id).collect())
}

/// Takes the images of an archive of the room's files in; their references, else their ids.
async fn take_in(
    engine: &Engine,
    ledger: &Arc<Ledger>,
    room: RoomId,
    files: &Blobs,
    path: &str,
) -> Result<Vec<String>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let names = super::archive::names(files, room, path).await?;
    for name in &names {
        if let Some(found) = engine.image(name).await.map_err(|error| text(&error))?
            && ledger.standing(room, &found.image.id, found.image.owner().as_ref()) != Standing::Own
        {
            return Err(format!(
                "the archive `{path}` holds the name `{name}`, which belongs to an image of somebody else; save it under another"
            ));
        }
    }
    let before = ids(engine).await.map_err(|error| text(&error))?;
    let mut steps = engine.load(blocks(files, room, path).await?);
    let mut references = Vec::new();
    while let Some(step) = steps.next().await {
        let Progress { text: said, .. } = step.map_err(|error| text(&error))?;
        references.extend(named(&said));
    }
    let after = engine.images().await.map_err(|error| text(&error))?;
    for image in after.into_iter().filter(|image| !before.contains(&image.id)) {
        let (ledger, id) = (Arc::clone(ledger), image.id.clone());
        let _ = tokio::task::spawn_blocking(move || ledger.add(room, &id)).await;
        if references.is_empty() {
            references.extend(image.references.first().cloned().or(Some(image.id)));
        }
    }
    if references.is_empty() {
        references = names;
    }
    Ok(references)
}

/// References in what an engine says of an archive; Podman names several in one line.
fn named(said: &str) -> Vec<String> {
    let rest = |line: &str| LOADED.iter().find_map(|begin| line.strip_prefix(begin).map(str::to_owned));
    let several = said.lines().filter_map(rest);
    several.flat_map(|line| line.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()).collect()
}

/// The blocks of a file of the room.
pub(super) async fn blocks(
    files: &Blobs,
    room: RoomId,
    path: &str,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static + use<>, String> {
    let file = files.room(room).open_read(path, None).await.map_err(|error| error.to_string())?;
    Ok(stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        match file.read(BLOCK_BYTES).await {
            Ok(block) if block.is_empty() => None,
            Ok(block) => Some((Ok(block), Some(file))),
            Err(error) => Some((Err(io::Error::other(error.to_string())), None)),
        }
    }))
}

/// The path in room storage of a path below one of the mounts.
fn in_storage(mounts: &[Mounts], path: &str) -> Result<String, ToolError> {
    for mount in mounts.iter().flat_map(|mounts| mounts.room.iter().flatten()) {
        let at = mount.path.trim_end_matches('/');
        if let Some(rest) = path.strip_prefix(at).and_then(|rest| rest.strip_prefix('/')) {
            let below = mount.subpath.as_deref().unwrap_or_default().trim_matches('/');
            let joined = if below.is_empty() { rest.to_owned() } else { format!("{below}/{rest}") };
            let parsed = FilePath::parse_file(&joined)?;
            // What was granted is the mount, not what `..` leads to.
            return Ok(parsed.to_string());
        }
    }
    Err(ToolError::invalid(format!(
        "`{path}` is below none of the mounts of room storage; archives are kept in room storage only"
    )))
}

/// The form of an image that a build made.
pub(super) fn made(made: &Made) -> serde_json::Value {
    json!({"tag": made.tag, "digest": made.digest, "resolved_ref": made.tag, "optimized": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_found_below_mounts_of_room_storage_only() {
        let mounts = json!([{"room": [{"path": "/w/", "subpath": "images"}, {"path": "/all"}]}]);
        let mounts: Vec<Mounts> = serde_json::from_value(mounts).unwrap();
        let at = |path: &str| in_storage(&mounts, path).map_err(|error| error.code.number());
        assert_eq!(at("/w/a.tar"), Ok("images/a.tar".to_owned()));
        assert_eq!(at("/all/x/a.tar"), Ok("x/a.tar".to_owned()));
        assert_eq!(at("/wide/a.tar"), Err(1002));
        assert_eq!(at("/w/../secret"), Err(3004));
        assert_eq!(at("/all"), Err(1002));
    }

    #[test]
    fn names_are_read_from_what_engines_say() {
        assert_eq!(named("Loaded image: a:1\n"), ["a:1"]);
        assert_eq!(named("Loaded image: a:1,b:2"), ["a:1", "b:2"]);
        assert_eq!(named("something else"), Vec::<String>::new());
    }
}
