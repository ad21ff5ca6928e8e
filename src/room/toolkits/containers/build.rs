//! Builds: a context comes in as a stream, is put on disk, and goes to the engine as a job.

use super::jobs::{Job, Kind, Made, New, Status};
use super::stream::{Paced, channel};
use super::{Containers, args, images};
use crate::containers::{BuildRequest, Engine, Owner};
use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError};
use crate::wire::Content;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Largest context, bytes.
const CONTEXT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Most tags of one build.
const TAGS_MAX: usize = 16;
const DOCKERFILE: &str = "Dockerfile";
const BLOCK_BYTES: usize = 256 * 1024;

/// A context on disk; gone when dropped.
#[derive(Debug)]
struct Context {
    path: PathBuf,
}

impl Drop for Context {
    fn drop(&mut self) {
        // One unlink; a runtime to do it elsewhere may be gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Containers {
    pub(super) async fn build(&self, call: &Call) -> Result<Content, ToolError> {
        if call.content.kind() != Some("start") {
            return Err(ToolError::invalid(
                "the first item of containers.build must be binary with headers `kind: start` and `tags`",
            ));
        }
        let args: args::Build = call.args()?;
        let tags = tags(&args)?;
        let dockerfile = dockerfile(&args)?;
        let engine = self.parts.engines.engine().await?;
        let room = call.session.room.id;
        for tag in &tags {
            self.check_free(&engine, room, tag).await?;
        }
        let context = self.receive(call, args.size).await?;
        let owner = Owner {
            server: self.parts.engines.settings().server.clone(),
            room,
            session: None,
            service: None,
        };
        let request = BuildRequest {
            tags: tags.clone(),
            dockerfile,
            labels: owner.labels(),
            credentials: args::credentials(args.credentials),
        };
        let id = self.parts.ids.fresh().simple().to_string();
        let only = args.private.unwrap_or(false).then(|| call.caller.name.clone());
        let about = tags.first().cloned().unwrap_or_default();
        let begun =
            self.jobs.begin(New { room, id, kind: Kind::Build, about, only }, move |job| async move {
                work(&engine, &request, &context, &job).await
            });
        let job = begun.map_err(|text| ToolError::new(RoomCode::InvalidState, text))?;
        Ok(Content::Json(json!({"build_id": job.new.id})))
    }

    /// Puts the context on disk as fast as it comes: its sender waits for nobody.
    async fn receive(&self, call: &Call, size: Option<u64>) -> Result<Context, ToolError> {
        let most = size.map_or(CONTEXT_BYTES_MAX, |size| size.min(CONTEXT_BYTES_MAX));
        let failed = |error: io::Error| ToolError::failed(format!("the context cannot be kept: {error}"));
        let folder = self.parts.engines.settings().folder.join("contexts");
        tokio::fs::create_dir_all(&folder).await.map_err(failed)?;
        let context = Context { path: folder.join(self.parts.ids.fresh().simple().to_string()) };
        let mut file = File::create_new(&context.path).await.map_err(failed)?;
        let mut bytes: u64 = 0;
        while let Some(item) = call.next().await? {
            let data = match item {
                Content::Binary { headers, data } if headers.get("kind") == Some(&Value::from("data")) => {
                    data
                }
                other => {
                    return Err(ToolError::invalid(format!(
                        "a build's context is binary items with the header `kind: data`, got {:?}",
                        other.kind().unwrap_or("an item without a kind")
                    )));
                }
            };
            bytes += data.len() as u64;
            if bytes > most {
                return Err(ToolError::invalid(format!("the context is larger than {most} bytes")));
            }
            file.write_all(&data).await.map_err(failed)?;
        }
        if let Some(size) = size.filter(|size| *size != bytes) {
            return Err(ToolError::invalid(format!(
                "the context was announced with {size} bytes and {bytes} came; send it again"
            )));
        }
        file.flush().await.map_err(failed)?;
        Ok(context)
    }

    pub(super) fn list_builds(&self, call: &Call) -> Content {
        let all = self.jobs.of_room(call);
        let builds = all.iter().filter(|job| job.new.kind == Kind::Build).map(|job| {
            json!({
                "id": job.new.id,
                "tag": job.new.about,
                "status": job.status().word(),
                "exit_code": job.status().code(),
                "published_images": job.made().iter().map(images::made).collect::<Vec<_>>(),
            })
        });
        Content::Json(json!({"builds": builds.collect::<Vec<_>>()}))
    }

    pub(super) async fn cancel_build(&self, call: &Call) -> Result<Content, ToolError> {
        let job = self.find_build(call).await?;
        self.jobs.stop(call, &job.new.id);
        Ok(Content::Empty)
    }

    pub(super) async fn delete_build(&self, call: &Call) -> Result<Content, ToolError> {
        let job = self.find_build(call).await?;
        self.jobs.forget(call, &job.new.id);
        Ok(Content::Empty)
    }

    async fn find_build(&self, call: &Call) -> Result<Arc<Job>, ToolError> {
        let args: args::OneBuild = call.args()?;
        self.build_named(call, &args.build_id).await
    }

    /// A build of the room. Where there is no engine, that is what is said.
    async fn build_named(&self, call: &Call, id: &str) -> Result<Arc<Job>, ToolError> {
        let found = self.jobs.find(call, id).filter(|job| job.new.kind == Kind::Build);
        if let Some(job) = found {
            return Ok(job);
        }
        self.parts.engines.engine().await?;
        Err(ToolError::not_found(format!(
            "build `{id}` does not exist in this room; `containers.list_builds` shows those that do"
        )))
    }

    pub(super) async fn build_logs(&self, call: &mut Call) -> Result<Content, ToolError> {
        let args: args::BuildLogs = call.args()?;
        let job = self.build_named(call, &args.build_id).await?;
        call.open();
        let call: &Call = call;
        let paced = Paced::new(call);
        let follow = args.follow.unwrap_or(true);
        let said = async {
            let mut from = 0;
            while let Some(text) = job.text_after(&mut from, follow).await {
                paced.send_text(channel::OUT, &text).await;
            }
            if let Some(code) = job.status().code() {
                paced.status(code).await;
            }
        };
        let stopped = async { while let Ok(Some(_)) = call.next().await {} };
        tokio::select! {
            () = said => {}
            () = stopped => {}
        }
        Ok(Content::Empty)
    }
}

async fn work(engine: &Engine, request: &BuildRequest, context: &Context, job: &Job) -> Result<(), String> {
    let file = File::open(&context.path).await.map_err(|error| error.to_string())?;
    let steps = engine.build(request, blocks(file)).map_err(|error| error.to_string())?;
    job.relay(steps).await.map_err(|error| error.to_string())?;
    let Some(tag) = request.tags.first() else { return Ok(()) };
    let built = engine.image(tag).await.map_err(|error| error.to_string())?;
    let built = built.ok_or_else(|| format!("the engine built no image `{tag}`"))?;
    for tag in &request.tags {
        engine.tag(&built.image.id, tag).await.map_err(|error| error.to_string())?;
        let digest = built.digest.clone().unwrap_or_else(|| built.image.id.clone());
        job.add_made(Made { tag: tag.clone(), digest });
    }
    debug_assert_eq!(job.status(), Status::Running);
    Ok(())
}

fn blocks(file: File) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut block = bytes::BytesMut::with_capacity(BLOCK_BYTES);
        match file.read_buf(&mut block).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(block.freeze()), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

fn tags(args: &args::Build) -> Result<Vec<String>, ToolError> {
    let mut all: Vec<String> = args.tags.iter().flatten().chain(&args.tag).cloned().collect();
    all.dedup();
    if all.is_empty() || all.len() > TAGS_MAX {
        return Err(ToolError::invalid(format!("a build has 1 to {TAGS_MAX} `tags`")));
    }
    Ok(all)
}

/// The Dockerfile's path within the context.
fn dockerfile(args: &args::Build) -> Result<String, ToolError> {
    let clean = |path: &Option<String>| {
        path.as_deref().map(|path| path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty())
    };
    let mount = clean(&args.mount_path).unwrap_or_default();
    let context = clean(&args.context_path).unwrap_or_else(|| mount.clone());
    if context != mount && context != "." {
        return Err(ToolError::invalid(format!(
            "`context_path` `{context}` is not `mount_path` `{mount}`: the streamed archive is the whole context; send \
             that folder alone"
        )));
    }
    let Some(path) = clean(&args.dockerfile_path) else { return Ok(DOCKERFILE.to_owned()) };
    let inner = path.strip_prefix(&mount).unwrap_or(&path).trim_start_matches('/').to_owned();
    if inner.is_empty() || inner.split('/').any(|part| part == "..") {
        return Err(ToolError::invalid(format!("`dockerfile_path` `{path}` is no file of the context")));
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mount: &str, context: &str, dockerfile: Option<&str>) -> Result<String, u16> {
        let args = json!({"tag": "a:1", "mount_path": mount, "context_path": context, "dockerfile_path": dockerfile});
        let args: args::Build = serde_json::from_value(args).unwrap();
        super::dockerfile(&args).map_err(|error| error.code.number())
    }

    #[test]
    fn the_dockerfile_is_found_within_the_context() {
        assert_eq!(at("/context", "/context", None), Ok("Dockerfile".into()));
        assert_eq!(at("/context/", "/context", Some("/context/x/D")), Ok("x/D".into()));
        assert_eq!(at("/context", "/context", Some("other.Dockerfile")), Ok("other.Dockerfile".into()));
        assert_eq!(at("/context", "/context/sub", None), Err(1002));
        assert_eq!(at("/context", "/context", Some("/context/../x")), Err(1002));
    }
}
