//! `meshagent iam …`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use serde_json::{Value, json};

/// Work with roles of people in the project and in its rooms. What a role may do in rooms: `meshagent project set-room-roles`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show who has which roles in the project or in a room
    Policy {
        #[command(flatten)]
        resource: Resource,
        /// Taken for the official tool's sake: all are shown
        #[arg(long, default_value_t = 50, hide = true)]
        page_size: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Give somebody roles in the project or in a room, in place of those they had
    #[command(
        after_help = "Example:\n  meshagent iam grant --resource-type room --resource-id my-room \\\n      \
                            --subject-type user --subject-id ann@example.com --role operator"
    )]
    Grant {
        #[command(flatten)]
        resource: Resource,
        #[command(flatten)]
        subject: Subject,
        /// Role: in a room guest, viewer, operator, developer or admin; in the project member, developer, admin or a finer
        /// one; may be given several times
        #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
        roles: Vec<String>,
    },
    /// Take all roles in the project or in a room from somebody
    Revoke {
        #[command(flatten)]
        resource: Resource,
        #[command(flatten)]
        subject: Subject,
    },
}

#[derive(Debug, clap::Args)]
pub struct Resource {
    /// What the roles are in: project or room
    #[arg(long, value_name = "TYPE")]
    resource_type: String,
    /// Id or key of the project; id or name of the room
    #[arg(long, value_name = "ID")]
    resource_id: String,
}

#[derive(Debug, clap::Args)]
pub struct Subject {
    /// Who has the roles; this server knows users
    #[arg(long, value_name = "TYPE")]
    subject_type: String,
    /// Address of the user
    #[arg(long, value_name = "ID")]
    subject_id: String,
}

const COLUMNS: [&str; 8] = [
    "resource_type",
    "resource_id",
    "resource_name",
    "subject_type",
    "subject_id",
    "subject_name",
    "subject_email",
    "roles",
];

impl Subject {
    fn json(&self) -> Value {
        json!({"type": self.subject_type, "id": self.subject_id})
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Policy { resource, page_size: _, output } => {
            let grants = project.policy(&resource.resource_type, &resource.resource_id).await?;
            let rows: Vec<Value> = grants.iter().map(row).collect();
            if output.output == Format::Json {
                return output::json(&json!({"access_grants": rows}));
            }
            let mut table = Table::new(&COLUMNS);
            rows.iter().for_each(|row| table.object(row));
            table.print("No grants found.")
        }
        Command::Grant { resource, subject, roles } => {
            let body = json!({"subject": subject.json(), "roles": roles});
            project.change_policy(&resource.resource_type, &resource.resource_id, "grant", &body).await?;
            output::note(format!("Granted {} to {}", roles.join(", "), subject.subject_id));
            Ok(())
        }
        Command::Revoke { resource, subject } => {
            let body = json!({"subject": subject.json()});
            project.change_policy(&resource.resource_type, &resource.resource_id, "revoke", &body).await?;
            output::note(format!("Revoked the roles of {}", subject.subject_id));
            Ok(())
        }
    }
}

fn row(grant: &Value) -> Value {
    let roles = grant["direct_roles"].as_array().into_iter().flatten();
    let roles: Vec<&str> = roles.filter_map(Value::as_str).collect();
    let (resource, subject) = (&grant["resource"], &grant["subject"]);
    json!({
        "resource_type": resource["type"], "resource_id": resource["id"], "resource_name": resource["name"],
        "subject_type": subject["type"], "subject_id": subject["id"], "subject_name": subject["name"],
        "subject_email": subject["email"], "roles": roles.join(", "),
    })
}
