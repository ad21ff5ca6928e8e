//! The images of the engine.

use super::engine::Engine;
use super::error::EngineError;
use super::labels;
use crate::vault::Secret;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{ErrorDetail, ImageSummary};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    PushImageOptionsBuilder, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;

/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// How often a list is asked for that fails.
const LIST_TRIES_MAX: u32 = 5;

/// An image as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub references: Vec<String>,
    pub labels: HashMap<String, String>,
    pub created_at: Option<DateTime<Utc>>,
    pub size: i64,
}

/// An image with what it is made of.
#[derive(Debug, Clone)]
pub struct ImageDetails {
    pub image: Image,
    /// Digest of its manifest, where the engine knows one.
    pub digest: Option<String>,
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    /// Digests of the layers' contents, base first.
    pub layers: Vec<String>,
}

/// A registry's user.
#[derive(Debug, Clone)]
pub struct Credential {
    /// `None`: any registry.
    pub registry: Option<String>,
    pub username: String,
    pub password: Secret,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    pub tags: Vec<String>,
    /// Path within the context.
    pub dockerfile: String,
    pub labels: HashMap<String, String>,
    pub credentials: Vec<Credential>,
}

/// A step of a long work with images, as text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub text: String,
    /// The id of an image that was made.
    pub image: Option<String>,
}

impl Engine {
    /// All images of the engine.
    pub async fn images(&self) -> Result<Vec<Image>, EngineError> {
        let mut tries = 1;
        loop {
            let options = ListImagesOptionsBuilder::new().all(false).build();
            match self.docker.list_images(Some(options)).await {
                Ok(listed) => return Ok(listed.into_iter().map(summary).collect()),
                // An image that somebody deletes meanwhile fails the whole list of some engines.
                Err(Error::DockerResponseServerError { .. }) if tries < LIST_TRIES_MAX => tries += 1,
                Err(error) => return Err(EngineError::of("list", "images", error)),
            }
        }
    }

    /// An image by id or reference; `None` where there is none.
    pub async fn image(&self, name: &str) -> Result<Option<ImageDetails>, EngineError> {
        check_reference(name)?;
        let found = match self.docker.inspect_image(name).await {
            Ok(found) => found,
            Err(error) if EngineError::is_absent(&error) => return Ok(None),
            Err(error) => return Err(EngineError::of("look at image", name, error)),
        };
        let digest = found
            .repo_digests
            .unwrap_or_default()
            .into_iter()
            .find_map(|reference| reference.split_once('@').map(|(_, digest)| digest.to_owned()));
        Ok(Some(ImageDetails {
            image: Image {
                id: found.id.unwrap_or_default(),
                references: found.repo_tags.unwrap_or_default(),
                labels: found.config.and_then(|config| config.labels).unwrap_or_default(),
                created_at: found.created.and_then(|at| at.clone().parse().ok()),
                size: found.size.unwrap_or_default(),
            },
            digest,
            os: found.os,
            architecture: found.architecture,
            variant: found.variant.filter(|variant| !variant.is_empty()),
            layers: found.root_fs.and_then(|root| root.layers).unwrap_or_default(),
        }))
    }

    /// Takes an image, or one of its references, away.
    pub async fn delete_image(&self, name: &str) -> Result<(), EngineError> {
        check_reference(name)?;
        let mut failed = None;
        // What it was built on goes with it, unless another build stands on that too.
        for alone in [false, true] {
            let options = RemoveImageOptionsBuilder::new().noprune(alone).build();
            match self.docker.remove_image(name, Some(options), None).await {
                Ok(_) => return Ok(()),
                Err(error) if EngineError::is_absent(&error) && failed.is_some() => return Ok(()),
                Err(error) if EngineError::is_absent(&error) => {
                    return Err(EngineError::NoImage(name.to_owned()));
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(EngineError::of("delete image", name, error)))
    }

    /// Fetches an image from its registry.
    pub async fn pull(&self, reference: &str, credentials: &[Credential]) -> Result<(), EngineError> {
        check_reference(reference)?;
        let options = CreateImageOptionsBuilder::new().from_image(&with_tag(reference)).build();
        let mut steps =
            Box::pin(self.patient.create_image(Some(options), None, of_registry(reference, credentials)));
        while let Some(step) = steps.next().await {
            let step = step.map_err(|error| EngineError::of("pull image", reference, error))?;
            refused("pull image", reference, step.error_detail)?;
        }
        Ok(())
    }

    /// Sends an image to its registry.
    pub fn push(
        &self,
        reference: &str,
        credentials: &[Credential],
    ) -> Result<BoxStream<'static, Result<Progress, EngineError>>, EngineError> {
        check_reference(reference)?;
        let (name, tag) = split_tag(reference);
        let options = PushImageOptionsBuilder::new().tag(tag.unwrap_or("latest")).build();
        let auth = of_registry(reference, credentials);
        let steps = self.patient.push_image(name, Some(options), auth);
        let reference = reference.to_owned();
        let steps = steps.map(move |step| {
            let step = step.map_err(|error| EngineError::of("push image", &reference, error))?;
            refused("push image", &reference, step.error_detail)?;
            Ok(Progress {
                text: step.status.map(|text| format!("{text}\n")).unwrap_or_default(),
                image: None,
            })
        });
        Ok(steps.boxed())
    }

    /// The image as a tar archive.
    pub fn save(
        &self,
        reference: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        check_reference(reference)?;
        let name = reference.to_owned();
        let blocks = self.patient.export_image(reference);
        Ok(blocks
            .map(move |block| block.map_err(|error| EngineError::of("save image", &name, error)))
            .boxed())
    }

    /// Takes the images of a tar archive in; the texts name them.
    pub fn load<S>(&self, archive: S) -> BoxStream<'static, Result<Progress, EngineError>>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let options = ImportImageOptionsBuilder::new().build();
        let steps = self.patient.import_image_stream(options, archive, None);
        steps.map(|step| info(step, "load", "the archive")).boxed()
    }

    /// Builds an image from a tar archive of its context.
    pub fn build<S>(
        &self,
        request: &BuildRequest,
        context: S,
    ) -> Result<BoxStream<'_, Result<Progress, EngineError>>, EngineError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        for tag in &request.tags {
            check_reference(tag)?;
        }
        let limits = self.settings.limits;
        let kib = i32::try_from(limits.memory_bytes).ok();
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(&request.dockerfile)
            .labels(&request.labels)
            .networkmode(self.settings.network.mode())
            .rm(true)
            .forcerm(true);
        if let Some(tag) = request.tags.first() {
            options = options.t(tag);
        }
        if let Some(bytes) = kib {
            options = options.memory(bytes);
        }
        let auth = request.credentials.iter().map(|credential| {
            let registry = credential.registry.clone().unwrap_or_else(|| DEFAULT_REGISTRY.to_owned());
            (registry, docker_credentials(credential))
        });
        let auth: HashMap<String, DockerCredentials> = auth.collect();
        let steps =
            self.patient.build_image(options.build(), Some(auth), Some(bollard::body_try_stream(context)));
        let name = request.tags.first().cloned().unwrap_or_default();
        Ok(steps.map(move |step| info(step, "build image", &name)).boxed())
    }

    /// Gives an image one more name.
    pub async fn tag(&self, image: &str, reference: &str) -> Result<(), EngineError> {
        check_reference(reference)?;
        let (repository, tag) = split_tag(reference);
        let options = bollard::query_parameters::TagImageOptionsBuilder::new()
            .repo(repository)
            .tag(tag.unwrap_or("latest"))
            .build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| EngineError::of("name image", reference, error))
    }
}

fn info(
    step: Result<bollard::models::BuildInfo, bollard::errors::Error>,
    action: &str,
    object: &str,
) -> Result<Progress, EngineError> {
    let step = step.map_err(|error| EngineError::of(action, object, error))?;
    refused(action, object, step.error_detail)?;
    let text = step.stream.or_else(|| step.status.map(|text| format!("{text}\n"))).unwrap_or_default();
    Ok(Progress { text, image: step.aux.and_then(|made| made.id) })
}

fn refused(action: &str, object: &str, detail: Option<ErrorDetail>) -> Result<(), EngineError> {
    match detail {
        Some(detail) => Err(EngineError::Failed {
            action: format!("{action} `{object}`"),
            detail: detail.message.unwrap_or_else(|| "it gave no reason".to_owned()),
        }),
        None => Ok(()),
    }
}

fn summary(found: ImageSummary) -> Image {
    Image {
        id: found.id,
        references: found.repo_tags.into_iter().filter(|tag| !tag.contains("<none>")).collect(),
        labels: found.labels,
        created_at: DateTime::from_timestamp(found.created, 0),
        size: found.size,
    }
}

/// Refuses what could change the address of the engine's request.
fn check_reference(text: &str) -> Result<(), EngineError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./:@-_".contains(&byte);
    let parts = || text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if text.is_empty() || text.len() > 512 || !text.bytes().all(plain) || !parts() {
        return Err(EngineError::Invalid(format!(
            "{text:?} is not the name of an image; write `repository:tag` or `registry/repository:tag`"
        )));
    }
    Ok(())
}

/// Repository and tag; a port of the registry is no tag.
fn split_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !reference.contains('@') => (name, Some(tag)),
        _ => (reference, None),
    }
}

fn with_tag(reference: &str) -> String {
    if split_tag(reference).1.is_some() || reference.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

/// The registry that a reference names.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DEFAULT_REGISTRY,
    }
}

/// The credential for a reference's registry, else the one for any; never another registry's.
fn of_registry(reference: &str, credentials: &[Credential]) -> Option<DockerCredentials> {
    let registry = registry_of(reference);
    let of = |credential: &&Credential| credential.registry.as_deref() == Some(registry);
    let found = credentials.iter().find(of);
    found.or_else(|| credentials.iter().find(|c| c.registry.is_none())).map(docker_credentials)
}

fn docker_credentials(credential: &Credential) -> DockerCredentials {
    DockerCredentials {
        username: Some(credential.username.clone()),
        password: credential.password.expose_str().map(str::to_owned),
        serveraddress: credential.registry.clone(),
        ..DockerCredentials::default()
    }
}

impl Image {
    /// The room that built it here, by its labels.
    #[must_use]
    pub fn owner(&self) -> Option<labels::Owner> {
        labels::Owner::read(&self.labels)
    }

    /// The form of `containers.list_images` (room protocol §3.11).
    #[must_use]
    pub fn listing(&self) -> Value {
        json!({
            "id": self.id,
            "preferred_ref": self.references.first(),
            "references": self.references,
            "labels": self.labels,
            "created_at": self.created_at.map(|at| at.to_rfc3339()),
            "updated_at": self.created_at.map(|at| at.to_rfc3339()),
            "target_media_type": null,
        })
    }
}

impl ImageDetails {
    /// The form of `containers.inspect_image`. The engine tells the digests of the layers' contents, not their sizes.
    #[must_use]
    pub fn listing(&self) -> Value {
        let descriptor =
            |digest: &str| json!({"digest": digest, "media_type": null, "size": null, "annotations": {}});
        let target = descriptor(self.digest.as_deref().unwrap_or(&self.image.id));
        json!({
            "image": self.image.listing(),
            "target": target,
            "selected_manifest": target,
            "manifests": [{
                "descriptor": target,
                "platform_os": self.os,
                "platform_architecture": self.architecture,
                "platform_variant": self.variant,
            }],
            "config": descriptor(&self.image.id),
            "layers": self.layers.iter().map(|layer| descriptor(layer)).collect::<Vec<_>>(),
            "content_size": self.image.size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_goes_to_another_registry() {
        let of = |registry: Option<&str>, username: &str| Credential {
            registry: registry.map(str::to_owned),
            username: username.to_owned(),
            password: Secret::from("p".to_owned()),
        };
        let all = [of(Some("a.example"), "a"), of(Some("b.example:5000"), "b")];
        let user = |reference: &str, all: &[Credential]| of_registry(reference, all).and_then(|c| c.username);
        assert_eq!(user("b.example:5000/x:1", &all), Some("b".to_owned()));
        assert_eq!(user("busybox", &all), None);
        assert_eq!(user("evil.example/x", &all), None);
        assert_eq!(user("evil.example/x", &[of(None, "any")]), Some("any".to_owned()));
        assert!(!format!("{all:?}").contains("\"p\""));
    }

    #[test]
    fn names_are_split_and_odd_ones_refused() {
        assert_eq!(split_tag("host:5000/a/b"), ("host:5000/a/b", None));
        assert_eq!(split_tag("host:5000/a/b:1"), ("host:5000/a/b", Some("1")));
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("a@sha256:12"), "a@sha256:12");
        for bad in ["", "a b", "a/../../containers/x", "a?b", "x\n", "/a", "a%2f"] {
            assert!(check_reference(bad).is_err(), "{bad:?}");
        }
    }
}
