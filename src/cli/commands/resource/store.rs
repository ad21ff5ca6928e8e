//! Resources of every kind through REST.

use super::kind::Kind;
use crate::cli::args;
use crate::cli::commands::{project, service};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, TaskFilter};
use serde::Serialize;
use serde_json::Value;

/// Sessions looked through by name.
const SESSIONS_MAX: usize = 1000;

fn values<T: Serialize>(items: Vec<T>) -> Result<Vec<Value>, CliError> {
    items.into_iter().map(|item| Ok(serde_json::to_value(item)?)).collect()
}

/// All resources of a kind.
pub async fn list(ctx: &Ctx, kind: Kind, room: Option<&str>) -> Result<Vec<Value>, CliError> {
    if kind == Kind::Project {
        return values(ctx.rest()?.projects().await?);
    }
    let project = ctx.project()?;
    let room_id = match (room, kind) {
        (Some(room), Kind::ScheduledTask | Kind::Session | Kind::Service) => {
            Some(crate::cli::commands::rooms::find(&project, room).await?.id)
        }
        _ => None,
    };
    match kind {
        Kind::Project => Ok(vec![]),
        Kind::Room => values(project.rooms(true, None).await?),
        Kind::Service => Ok(project.services(&service::scope(room)).await?),
        Kind::ScheduledTask => values(project.tasks(&TaskFilter { room_id, ..TaskFilter::default() }).await?),
        Kind::Mailbox => values(project.mailboxes(room, None).await?),
        Kind::Route => values(project.routes(room, None).await?),
        Kind::Session => values(project.sessions(SESSIONS_MAX, room_id.as_deref()).await?),
        Kind::ServiceAccount => values(project.service_accounts().await?),
        Kind::Agent => values(project.agents(None).await?),
        Kind::Feed => match room {
            Some(room) => Ok(project.room_feeds(room).await?),
            None => Ok(project.feeds().await?),
        },
        Kind::Subscription => subscriptions(&project, room).await,
        Kind::GitSource
        | Kind::Secret
        | Kind::ApiKey
        | Kind::ServiceTemplate
        | Kind::ServiceInstance
        | Kind::RoomRoles => values(project.resources(kind.name(), &in_room(room)).await?),
    }
}

/// The query of what lives in a room.
fn in_room(room: Option<&str>) -> Vec<(&'static str, String)> {
    room.into_iter().map(|room| ("room", room.to_owned())).collect()
}

/// The subscriptions of all feeds, each with the name of its feed.
async fn subscriptions(project: &ProjectRest, room: Option<&str>) -> Result<Vec<Value>, CliError> {
    let mut all = vec![];
    for feed in project.feeds().await? {
        for mut one in project.feed_subscriptions(feed["id"].as_str().unwrap_or_default()).await? {
            one["feed"] = feed["name"].clone();
            if room.is_none_or(|room| one["room"] == room) {
                all.push(one);
            }
        }
    }
    Ok(all)
}

/// The resource with this name or id, if there is one.
pub async fn look_up(
    ctx: &Ctx,
    kind: Kind,
    name: &str,
    room: Option<&str>,
) -> Result<Option<Value>, CliError> {
    let found = match kind {
        Kind::Project => ctx.rest()?.find_project(name).await?.map(serde_json::to_value).transpose()?,
        Kind::Room => ctx.project()?.room(name).await?.map(serde_json::to_value).transpose()?,
        Kind::Mailbox => ctx.project()?.mailbox(name).await?.map(serde_json::to_value).transpose()?,
        Kind::Route => ctx.project()?.route(name).await?.map(serde_json::to_value).transpose()?,
        Kind::Service => ctx.project()?.service(&service::scope(room), name).await?,
        Kind::ServiceAccount => {
            ctx.project()?.service_account(name).await?.map(serde_json::to_value).transpose()?
        }
        Kind::Agent => ctx.project()?.agent(name).await?.map(serde_json::to_value).transpose()?,
        Kind::GitSource
        | Kind::Secret
        | Kind::ApiKey
        | Kind::ServiceTemplate
        | Kind::ServiceInstance
        | Kind::RoomRoles => {
            let found = ctx.project()?.resource(kind.name(), name, &in_room(room)).await?;
            found.map(serde_json::to_value).transpose()?
        }
        Kind::ScheduledTask | Kind::Session | Kind::Feed | Kind::Subscription => {
            let all = list(ctx, kind, room).await?;
            all.into_iter().find(|resource| kind.names(resource).contains(&name))
        }
    };
    Ok(found)
}

/// The resource with this name or id; not finding it is an error that names the nearest.
pub async fn find(ctx: &Ctx, kind: Kind, name: &str, room: Option<&str>) -> Result<Value, CliError> {
    if let Some(resource) = look_up(ctx, kind, name, room).await? {
        return Ok(resource);
    }
    if kind == Kind::Project {
        return Err(project::find(ctx, name).await.err().unwrap_or_else(|| CliError::user("try again")));
    }
    let error = CliError::user(format!("there is no {} `{name}`", kind.name()));
    let all = list(ctx, kind, room).await.unwrap_or_default();
    let names = all.iter().map(|resource| kind.names(resource)[0]);
    Err(match (args::nearest(name, names), kind, room) {
        (Some(near), ..) => error.hint(format!("did you mean `{near}`?")),
        (None, Kind::Service, None) => error.hint("a room's service needs --room ROOM"),
        _ => error.hint(format!("`meshagent get {}` shows those there are", kind.name())),
    })
}

/// Deletes a resource.
pub async fn delete(ctx: &Ctx, kind: Kind, resource: &Value, room: Option<&str>) -> Result<(), CliError> {
    let [name, id] = kind.names(resource);
    let project = ctx.project()?;
    match kind {
        Kind::Room => project.delete_room(id).await?,
        Kind::Service => project.delete_service(&service::scope(room), id).await?,
        Kind::ScheduledTask => project.delete_task(id).await?,
        Kind::Mailbox => project.delete_mailbox(name).await?,
        Kind::Route => project.delete_route(name).await?,
        Kind::ServiceAccount => project.delete_service_account(id).await?,
        Kind::Agent => project.delete_agent(id).await?,
        Kind::Feed => project.delete_feed(id).await?,
        Kind::Subscription => {
            let feed = resource["feed_id"].as_str().unwrap_or_default();
            project.delete_feed_subscription(feed, id).await?;
        }
        Kind::GitSource => project.delete_source(name).await?,
        Kind::Secret | Kind::ApiKey | Kind::ServiceTemplate | Kind::ServiceInstance | Kind::RoomRoles => {
            project.delete_resource(kind.name(), id).await?;
        }
        Kind::Session => project.kill_session(id).await?,
        Kind::Project => return Err(CliError::user("projects cannot be deleted")),
    }
    Ok(())
}
