//! Registry credentials of a service's image, from the secrets that its account pulls images with.

use super::environment::Refused;
use super::plan::reason;
use crate::app::App;
use crate::app::secrets::use_of::pull_secrets;
use crate::containers::Credential;
use crate::id::ProjectId;
use crate::spec::Container;
use crate::vault::Secret;
use serde::Deserialize;

/// Most credentials tried for one image.
const CREDENTIALS_MAX: usize = 16;

/// A credential as it is kept: JSON.
#[derive(Deserialize)]
struct Kept {
    #[serde(default, alias = "server", alias = "serveraddress")]
    registry: Option<String>,
    username: String,
    password: String,
}

/// The credentials in the order they are to be tried.
pub(super) async fn credentials(
    app: &App,
    project: ProjectId,
    container: &Container,
) -> Result<Vec<Credential>, Refused> {
    let ids = pull_secrets(&app.world(), project, container);
    let Some(run_as) = container.run_as.as_ref().filter(|_| !ids.is_empty()) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for id in ids.into_iter().take(CREDENTIALS_MAX) {
        let refused = |why: String| Refused {
            reason: reason::SECRET_NOT_READABLE,
            message: format!("the image cannot be pulled with secret `{id}`: {why}"),
        };
        let value = app.container_secret(project, run_as, &id).await;
        let value = value.map_err(|error| refused(error.to_string()))?;
        let kept: Kept = serde_json::from_slice(value.expose()).map_err(|_| {
            refused("it is not JSON with `username`, `password` and, if not for any, `registry`".to_owned())
        })?;
        all.push(Credential {
            registry: kept.registry.filter(|registry| !registry.is_empty()),
            username: kept.username,
            password: Secret::from(kept.password),
        });
    }
    Ok(all)
}
