//! `meshagent setup`: checks the connection and makes it the default. Asks nothing.

use super::project;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::rest::{Project, RestError};

pub async fn run(ctx: &Ctx) -> Result<(), CliError> {
    let url = ctx.api_url()?;
    let rest = ctx.rest()?;
    let config = rest.config().await?;
    output::note(format!("Server: {url} (version {})", config.version.as_deref().unwrap_or("unknown")));
    let project = match ctx.project_id() {
        Ok(id) => project::find(ctx, &id).await?,
        Err(_) => choose(ctx).await?,
    };
    let caller = rest.whoami().await.ok();
    let email = caller.as_ref().and_then(|caller| caller["email"].as_str());
    let key = ctx.api_key();
    project::activate(ctx, &project.id, key.as_ref().map(crate::client::rest::Bearer::expose))?;
    if let Some(email) = email {
        output::note(format!("Signed in as: {email}"));
    }
    output::note(format!("Active project: {} ({})", project.name, project.id));
    output::note("Ready. Next: meshagent rooms create my-room");
    Ok(())
}

/// The only project there is; the first one is made if there is none.
async fn choose(ctx: &Ctx) -> Result<Project, CliError> {
    let rest = ctx.rest()?;
    let mut projects = rest.projects().await?;
    match (projects.len(), projects.pop()) {
        (1, Some(project)) => Ok(project),
        (0, _) => {
            let project = rest.create_project("default").await.map_err(|error: RestError| {
                CliError::from(error).hint("ask for a project, then run `meshagent project activate ID`")
            })?;
            output::note("Created project: default");
            Ok(project)
        }
        _ => Err(CliError::user("there are several projects, and none is named")
            .hint("`meshagent project list` shows them; choose with `meshagent project activate ID`")),
    }
}
