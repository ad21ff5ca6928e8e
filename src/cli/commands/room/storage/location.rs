//! Where a path of the command line points: this machine, a room's tree, an agent's tree.

use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::client::rest::{FileTarget, TargetKind};

/// Scheme of a path that names everything itself.
const FULL: &str = "meshagent://";

/// Whose files plain paths mean.
#[derive(Debug, clap::Args)]
pub struct Selected {
    /// Room whose files are meant
    #[arg(long, env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    room: Option<String>,
    /// Agent whose files are meant
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
}

/// A path with its tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    Local(String),
    /// In a tree of the files service.
    Remote(FileTarget, String),
}

impl Selected {
    /// The tree that `--room` or `--agent` means.
    pub fn target(&self, ctx: &Ctx) -> Result<FileTarget, CliError> {
        match &self.agent {
            Some(_) => self.agent(ctx),
            None => self.room(ctx),
        }
    }

    fn room(&self, ctx: &Ctx) -> Result<FileTarget, CliError> {
        let room = self.room.clone().filter(|room| !room.is_empty());
        let name = room.ok_or_else(|| {
            CliError::usage("no room is named").hint("pass --room ROOM or set MESHAGENT_ROOM")
        })?;
        Ok(FileTarget { project_id: ctx.project_id()?, kind: TargetKind::Room, name })
    }

    fn agent(&self, ctx: &Ctx) -> Result<FileTarget, CliError> {
        let name = self
            .agent
            .clone()
            .ok_or_else(|| CliError::usage("no agent is named").hint("pass --agent AGENT"))?;
        Ok(FileTarget { project_id: ctx.project_id()?, kind: TargetKind::Agent, name })
    }
}

impl Location {
    /// Reads a path; one without a scheme is local.
    pub fn parse(ctx: &Ctx, selected: &Selected, path: &str) -> Result<Self, CliError> {
        if let Some(path) = path.strip_prefix("room://") {
            return Ok(Self::Remote(selected.room(ctx)?, clean(path)));
        }
        if let Some(path) = path.strip_prefix("agent://") {
            return Ok(Self::Remote(selected.agent(ctx)?, clean(path)));
        }
        match path.strip_prefix(FULL) {
            None => Ok(Self::Local(path.to_owned())),
            Some(full) => parse_full(full).ok_or_else(|| {
                CliError::usage(format!("`{path}` is not a full path"))
                    .hint("want meshagent://PROJECT/rooms/NAME/PATH or meshagent://PROJECT/agents/NAME/PATH")
            }),
        }
    }
}

fn parse_full(full: &str) -> Option<Location> {
    let mut parts = full.splitn(4, '/');
    let project_id = parts.next().filter(|part| !part.is_empty())?.to_owned();
    let kind = match parts.next()? {
        "rooms" => TargetKind::Room,
        "agents" => TargetKind::Agent,
        _ => return None,
    };
    let name = parts.next().filter(|part| !part.is_empty())?.to_owned();
    let path = clean(parts.next().unwrap_or_default());
    Some(Location::Remote(FileTarget { project_id, kind, name }, path))
}

/// A path in a tree: no slash in front; one at the end stays, since it says "into this folder".
pub fn clean(path: &str) -> String {
    path.trim_start_matches("./").trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_paths_name_project_tree_and_path() {
        let want = FileTarget { project_id: "p".into(), kind: TargetKind::Agent, name: "n".into() };
        assert_eq!(parse_full("p/agents/n/a/b"), Some(Location::Remote(want.clone(), "a/b".into())));
        assert_eq!(parse_full("p/agents/n"), Some(Location::Remote(want, String::new())));
        assert_eq!(parse_full("p/things/n/a"), None);
        assert_eq!(parse_full("p"), None);
    }

    #[test]
    fn paths_in_a_tree_have_no_leading_slash() {
        assert_eq!(clean("/a/b/"), "a/b/");
        assert_eq!(clean("./a"), "a");
    }
}
