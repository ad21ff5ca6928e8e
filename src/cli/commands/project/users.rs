//! `meshagent project users …`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::spec::ProjectRole;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Work with the members of a project: people, by address, and their roles.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the members with their roles
    List {
        /// Only those whose address has this in it
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Give somebody roles, in place of those they had
    #[command(after_help = "Example:\n  meshagent project users add ann@example.com --role developer")]
    Add(Roles),
    /// Set the roles of a member
    Update(Roles),
    /// Take all roles from a member
    Remove {
        /// Address of the member
        user: String,
    },
    /// Make a token by which a person acts in the project, with the roles they have whenever they use it
    #[command(after_help = "The person sets MESHAGENT_TOKEN to it. It is good for 24 hours.")]
    Token {
        /// Address of the person
        user: String,
        /// Write the token here (mode 0600) instead of to stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub struct Roles {
    /// Address of the person
    user: String,
    /// Role: member, developer, admin, or a finer one such as room_creator; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    roles: Vec<String>,
}

const COLUMNS: [&str; 2] = ["email", "roles"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::List { filter, output } => {
            let members = project.members(filter.as_deref()).await?;
            let rows: Vec<Value> = members.iter().map(row).collect();
            if output.output == Format::Json {
                return output::json(&json!({"users": rows}));
            }
            let mut table = Table::new(&COLUMNS);
            for row in &rows {
                let roles = row["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let email = row["email"].as_str().unwrap_or_default().to_owned();
                table.row([email, roles.collect::<Vec<_>>().join(", ")]);
            }
            table.print("No members found.")
        }
        Command::Add(Roles { user, roles }) => {
            project.add_member(&user, &roles).await?;
            output::note(format!("Granted {} to {user}", roles.join(", ")));
            Ok(())
        }
        Command::Update(Roles { user, roles }) => {
            project.update_member(&user, &roles).await?;
            output::note(format!("{user} now has {}", roles.join(", ")));
            Ok(())
        }
        Command::Remove { user } => {
            project.remove_member(&user).await?;
            output::note(format!("Removed {user}"));
            Ok(())
        }
        Command::Token { user, output } => {
            let token = project.participant_token(&json!({"email": user})).await?;
            match output {
                None => output::line(token),
                Some(path) => {
                    settings::write_private(&path, token.as_bytes()).map_err(|error| {
                        CliError::user(format!("cannot write {}: {error}", path.display()))
                    })?;
                    output::note(format!("Token written to {}", path.display()));
                    Ok(())
                }
            }
        }
    }
}

/// The fewest roles say the most to people; the server sends all that follow from them too.
fn row(member: &Value) -> Value {
    let roles = member["direct_roles"].as_array().into_iter().flatten();
    let roles = roles.filter_map(|role| ProjectRole::parse(role.as_str()?)).collect();
    json!({"email": member["user"]["email"], "roles": crate::spec::fewest_roles(&roles)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_other_roles_is_not_shown() {
        let all: Vec<&str> = ProjectRole::ALL.iter().map(|role| role.as_str()).collect();
        let member = json!({"user": {"email": "ann@x"}, "direct_roles": all});
        assert_eq!(row(&member), json!({"email": "ann@x", "roles": ["admin"]}));
        let odd = json!({"user": {"email": "ann@x"}, "direct_roles": ["member", "of_tomorrow"]});
        assert_eq!(row(&odd)["roles"], json!(["member"]));
    }
}
