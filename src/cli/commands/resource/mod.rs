//! `meshagent get|describe|delete|wait KIND[/NAME]`: every kind of resource by the same four verbs. `kind` knows the
//! names of the kinds, `store` reads and deletes them through REST, the verbs are in `verbs` and `wait`.

mod kind;
mod store;
mod verbs;
mod wait;

pub use verbs::{DeleteArgs, DescribeArgs, GetArgs, delete, describe, get};
pub use wait::{WaitArgs, wait};

use crate::cli::error::CliError;
use kind::Kind;

/// What a verb works on: `room`, `room my-room` or `room/my-room`.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// Kind, or KIND/NAME: project, room, service, scheduled-task, mailbox, route, feed, subscription, session,
    /// service-account, api-key, secret, service-template, service-instance, agent, git-source, room-roles
    #[arg(value_name = "KIND[/NAME]")]
    kind: String,
    /// Name or id
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Room of the service or scheduled task
    #[arg(short, long, value_name = "ROOM")]
    room: Option<String>,
}

impl Subject {
    fn resolve(&self) -> Result<(Kind, Option<&str>), CliError> {
        let (kind, name) = match self.kind.split_once('/') {
            Some((kind, name)) => (kind, Some(name)),
            None => (self.kind.as_str(), None),
        };
        if name.is_some() && self.name.is_some() {
            return Err(CliError::usage("the name is given twice").hint("write KIND/NAME or KIND NAME"));
        }
        let name = name.or(self.name.as_deref()).filter(|name| !name.is_empty());
        Ok((Kind::parse(kind)?, name))
    }

    fn resolve_one(&self) -> Result<(Kind, &str), CliError> {
        let (kind, name) = self.resolve()?;
        let name = name.ok_or_else(|| {
            CliError::usage(format!("which {}?", kind.name())).hint(format!("write {}/NAME", kind.name()))
        })?;
        Ok((kind, name))
    }
}
