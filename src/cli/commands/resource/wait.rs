//! `wait --for=condition=Ready|delete`.

use super::kind::Kind;
use super::{Subject, store};
use crate::cli::commands::room::{self, service};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::room::RoomClient;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Wait until a resource is as wanted; exits with 1 when the time is over.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A room is Ready when it is there and enabled; a service when it runs and its ports answer\n\
                        (needs --room); other resources when their condition Ready says so.\n\n\
                        Example:\n  meshagent wait service/my-agent --room my-room --for=condition=Ready --timeout 60s"
)]
pub struct WaitArgs {
    #[command(flatten)]
    subject: Subject,
    /// What to wait for: condition=Ready, or delete
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready", value_parser = goal)]
    goal: Goal,
    /// Longest wait, for example 30s or 2m
    #[arg(long, default_value = "30s", value_parser = crate::cli::args::duration)]
    timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    Ready,
    Gone,
}

fn goal(text: &str) -> Result<Goal, String> {
    match text.to_lowercase().as_str() {
        "condition=ready" | "condition=ready=true" => Ok(Goal::Ready),
        "delete" => Ok(Goal::Gone),
        _ => Err("want condition=Ready or delete".into()),
    }
}

pub async fn wait(ctx: &Ctx, args: WaitArgs) -> Result<(), CliError> {
    let (kind, name) = args.subject.resolve_one()?;
    let room = args.subject.room.as_deref();
    if kind == Kind::Service && args.goal == Goal::Ready && room.is_none() {
        return Err(CliError::usage("a service is ready in a room").hint("pass --room ROOM"));
    }
    let mut look = Look { ctx, kind, name, room, client: None };
    let end = Instant::now() + args.timeout;
    let mut ask = tokio::time::interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ask.tick().await;
        let verdict = look.judge(args.goal).await?;
        match verdict {
            Ok(()) => {
                let met = if args.goal == Goal::Ready { "condition met" } else { "deleted" };
                return output::line(format!("{}/{name} {met}", kind.name()));
            }
            Err(reason) if Instant::now() >= end => {
                return Err(CliError::user(format!(
                    "timed out waiting for {}/{name}: {reason}",
                    kind.name()
                ))
                .hint(format!("`meshagent describe {}/{name}` tells more", kind.name())));
            }
            Err(_) => {}
        }
    }
}

/// Looks at one resource again and again; keeps its room connection.
struct Look<'a> {
    ctx: &'a Ctx,
    kind: Kind,
    name: &'a str,
    room: Option<&'a str>,
    client: Option<RoomClient>,
}

impl Look<'_> {
    /// `Err` inside says what is still missing.
    async fn judge(&mut self, goal: Goal) -> Result<Result<(), String>, CliError> {
        let found = store::look_up(self.ctx, self.kind, self.name, self.room).await?;
        match (goal, found) {
            (Goal::Gone, None) => Ok(Ok(())),
            (Goal::Gone, Some(_)) => Ok(Err("it is still there".into())),
            (Goal::Ready, None) => Ok(Err("it is not there".into())),
            (Goal::Ready, Some(resource)) => match (self.kind, self.room) {
                (Kind::Service, Some(room)) => self.service(room, &resource).await,
                (Kind::Room, _) if resource["enabled"] == false => Ok(Err("it is disabled".into())),
                (Kind::Room | Kind::Session | Kind::Project, _) => Ok(Ok(())),
                _ => self.told().await,
            },
        }
    }

    /// What the server says of it. A task or subscription without a name has no status.
    async fn told(&self) -> Result<Result<(), String>, CliError> {
        let query: Vec<_> = self.room.map(|room| ("room", room.to_owned())).into_iter().collect();
        let found = self.ctx.project()?.resource(self.kind.name(), self.name, &query).await?;
        let found = found.map(serde_json::to_value).transpose()?;
        Ok(found.map_or(Ok(()), |resource| is_ready(&resource)))
    }

    async fn service(&mut self, room: &str, resource: &Value) -> Result<Result<(), String>, CliError> {
        let client = match self.client.take().filter(RoomClient::is_up) {
            Some(client) => client,
            None => room::connect(self.ctx, room).await?,
        };
        let services = service::fetch(&client).await?;
        self.client = Some(client);
        let running = services.iter().find(|running| running.spec["id"] == resource["id"]);
        Ok(running.map_or_else(|| Err("the room does not list it".into()), |running| ready(&running.state)))
    }
}

/// Whether a resource's conditions say that it is ready.
fn is_ready(resource: &Value) -> Result<(), String> {
    let ready = resource.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = ready.into_iter().find(|condition| condition["type"] == "Ready");
    match ready {
        Some(condition) if condition["status"] == "True" => Ok(()),
        Some(condition) => Err(condition["message"].as_str().unwrap_or_default().to_owned()),
        None => Err("nothing is known of it".to_owned()),
    }
}

/// Is a service with this runtime state ready?
fn ready(state: &Value) -> Result<(), String> {
    let word = state["state"].as_str().unwrap_or("unknown");
    if !matches!(word, "running" | "external" | "on_demand") {
        let why = state["last_start_error"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(format!("it is {word}{why}"));
    }
    let ports = state.pointer("/status/ports").and_then(Value::as_array);
    let silent = ports.into_iter().flatten().find(|port| port["liveness_status"] == "not_ready");
    silent.map_or(Ok(()), |port| Err(format!("port {} does not answer yet", port["num"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_ready_when_it_runs_and_its_ports_answer() {
        assert!(ready(&json!({"state": "running", "status": {"ports": []}})).is_ok());
        let silent =
            json!({"state": "running", "status": {"ports": [{"num": 80, "liveness_status": "not_ready"}]}});
        assert_eq!(ready(&silent).unwrap_err(), "port 80 does not answer yet");
        let failed = json!({"state": "failed", "last_start_error": "no such image"});
        assert_eq!(ready(&failed).unwrap_err(), "it is failed (no such image)");
    }
}
