//! `meshagent service-account …`.

use super::project;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, ServiceAccount};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Work with service accounts: identities that are not people, and own API keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List service accounts
    List(OutputArgs),
    /// Show one service account
    Get {
        /// Id or name
        service_account: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a service account
    Create(Create),
    /// Delete a service account; its keys stop working
    Delete {
        /// Id or name
        service_account: String,
    },
    /// Work with its API keys
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
}

#[derive(Debug, clap::Args)]
pub struct Create {
    name: String,
    #[arg(long)]
    display_name: Option<String>,
    #[arg(long, default_value = "")]
    description: String,
    /// Free data, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    metadata: Option<Map<String, Value>>,
    /// Annotations, a JSON object of texts
    #[arg(long, value_name = "JSON", value_parser = args::annotations)]
    annotations: Option<BTreeMap<String, String>>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
pub enum ApiKeyCommand {
    /// List the keys of a service account
    List {
        /// Id or name of the service account
        #[arg(long)]
        service_account: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a key; its text is printed once, on stdout
    Create {
        name: String,
        /// Id or name of the service account
        #[arg(long)]
        service_account: String,
        #[arg(long, default_value = "")]
        description: String,
        /// Keep the key as this project's in the settings file
        #[arg(long, overrides_with = "no_activate")]
        activate: bool,
        #[arg(long, hide = true)]
        no_activate: bool,
        /// Do not print the key
        #[arg(long, overrides_with = "no_silent", requires = "activate")]
        silent: bool,
        #[arg(long, hide = true)]
        no_silent: bool,
    },
    /// Delete a key; it stops working at once
    Delete {
        /// Id of the key
        id: String,
        /// Id or name of the service account
        #[arg(long)]
        service_account: String,
    },
}

const COLUMNS: [&str; 4] = ["id", "name", "display_name", "description"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::List(args) => {
            let accounts = project.service_accounts().await?;
            print(&accounts, args.output, &json!({"service_accounts": accounts}))
        }
        Command::Get { service_account, output } => {
            let account = find(&project, &service_account).await?;
            print(std::slice::from_ref(&account), output.output, &json!(account))
        }
        Command::Create(args) => {
            let body = json!({
                "name": args.name, "description": args.description, "display_name": args.display_name,
                "metadata": args.metadata, "annotations": args.annotations,
            });
            let account = project.create_service_account(&body).await?;
            print(std::slice::from_ref(&account), args.output.output, &json!(account))
        }
        Command::Delete { service_account } => {
            let account = find(&project, &service_account).await?;
            project.delete_service_account(&account.id).await?;
            output::note(format!("Deleted service account: {}", account.name));
            Ok(())
        }
        Command::ApiKey(command) => api_key(ctx, &project, command).await,
    }
}

async fn api_key(ctx: &Ctx, project: &ProjectRest, command: ApiKeyCommand) -> Result<(), CliError> {
    match command {
        ApiKeyCommand::List { service_account, output } => {
            let account = find(project, &service_account).await?;
            let keys = project.api_keys(&account.id).await?;
            if output.output == Format::Json {
                return output::json(&json!({"api_keys": keys}));
            }
            let mut table = Table::new(&["id", "name", "description"]);
            for key in &keys {
                table.object(&serde_json::to_value(key)?);
            }
            table.print("No API keys found.")
        }
        ApiKeyCommand::Create { name, service_account, description, activate, silent, .. } => {
            let account = find(project, &service_account).await?;
            let key = project.create_api_key(&account.id, &name, &description).await?;
            let text = key.value.unwrap_or_default();
            if activate {
                project::activate(ctx, project.id(), Some(&text))?;
                output::note(format!("API key {} is now this project's default.", key.id));
            }
            if silent {
                return Ok(());
            }
            output::note(format!("Created API key {}. Its text is shown only now:", key.id));
            output::line(text)
        }
        ApiKeyCommand::Delete { id, service_account } => {
            let account = find(project, &service_account).await?;
            project.delete_api_key(&account.id, &id).await?;
            output::note(format!("Deleted API key: {id}"));
            Ok(())
        }
    }
}

fn print(accounts: &[ServiceAccount], format: Format, json: &Value) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(json);
    }
    let mut table = Table::new(&COLUMNS);
    for account in accounts {
        table.object(&serde_json::to_value(account)?);
    }
    table.print("No service accounts found.")
}

async fn find(project: &ProjectRest, id_or_name: &str) -> Result<ServiceAccount, CliError> {
    project.service_account(id_or_name).await?.ok_or_else(|| {
        CliError::user(format!("there is no service account `{id_or_name}`"))
            .hint("`meshagent service-account list` shows those there are")
    })
}
