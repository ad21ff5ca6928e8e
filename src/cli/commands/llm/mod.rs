//! `meshagent llm …`: models by way of the server's proxy.

mod logger;
mod proxy;
mod usage;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::rest::ProjectRest;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::PathBuf;

/// Longest key or document read from a file or from standard input, bytes.
const INPUT_BYTES_MAX: u64 = 256 * 1024;

/// Models by way of the server: providers, budgets, usage.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The project's own keys and addresses of model providers
    #[command(subcommand)]
    Provider(Provider),
    /// How much may be used, and what it costs
    #[command(subcommand)]
    Budgets(Budgets),
    /// Have requests to models published in a feed
    #[command(subcommand)]
    Logger(logger::Command),
    /// Offer the server's models on a port of this machine
    Proxy(proxy::Args),
    /// Show what models were used, by whom, and what it cost
    Usage(usage::Args),
}

#[derive(Debug, clap::Subcommand)]
pub enum Provider {
    /// Set a provider's key, address or both; the server's own are not asked any more
    #[command(after_help = "The key comes from the environment, never from the command line:\n  \
                            OPENAI_API_KEY=… meshagent llm provider set openai\n  \
                            meshagent llm provider set openai --no-key --base-url http://127.0.0.1:11434/v1")]
    Set(Set),
    /// Show a provider's settings; the key as asterisks
    Get { provider: Name },
    /// Forget the project's settings of a provider; the server's own are asked again
    Delete { provider: Name },
}

#[derive(Debug, clap::Args)]
pub struct Set {
    provider: Name,
    /// Environment variable that holds the key [default: OPENAI_API_KEY, ANTHROPIC_API_KEY or GROK_API_KEY]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key_stdin", "no_key"])]
    key_env: Option<String>,
    /// Read the key from standard input
    #[arg(long, conflicts_with = "no_key")]
    key_stdin: bool,
    /// The provider takes requests without a key
    #[arg(long, requires = "base_url")]
    no_key: bool,
    /// The provider's address, as its SDKs take it [default: OPENAI_BASE_URL and the like, else the provider's own]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// A provider of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    Openai,
    Anthropic,
    Grok,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Grok => "grok",
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub enum Budgets {
    /// Set limits and prices from a YAML or JSON file
    #[command(
        after_help = "For example:\n  limits:\n  - {name: daily, per: day, tokens: 1000000, each: user}\n  \
                            - {per: month, dollars: \"50\"}\n  prices:\n    openai/gpt-*: {input: \"2.50\", output: \"10\"}"
    )]
    Set { file: PathBuf },
    /// Show limits and prices
    Get,
    /// Forget all limits and prices
    Delete,
}

/// Name of the document that the server keeps budgets in.
const BUDGETS: &str = "budgets";

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let command = match command {
        // It may have another credential.
        Command::Proxy(args) => return proxy::run(ctx, args).await,
        other => other,
    };
    let project = ctx.project()?;
    match command {
        Command::Provider(Provider::Set(args)) => set(&project, args).await,
        Command::Provider(Provider::Get { provider }) => show(&project, provider.text()).await,
        Command::Provider(Provider::Delete { provider }) => forget(&project, provider.text()).await,
        Command::Budgets(Budgets::Set { file }) => set_budgets(&project, &file).await,
        Command::Budgets(Budgets::Get) => show(&project, BUDGETS).await,
        Command::Budgets(Budgets::Delete) => forget(&project, BUDGETS).await,
        Command::Logger(command) => logger::run(&project, command).await,
        Command::Proxy(args) => proxy::run(ctx, args).await,
        Command::Usage(args) => usage::run(&project, args).await,
    }
}

async fn set(project: &ProjectRest, args: Set) -> Result<(), CliError> {
    let name = args.provider.text();
    let mut document = Map::new();
    if let Some(key) = key(&args)? {
        document.insert("api_key".to_owned(), json!(key));
    }
    let url = args.base_url.clone().or_else(|| settings::env(&format!("{}_BASE_URL", name.to_uppercase())));
    if let Some(url) = &url {
        document.insert("base_url".to_owned(), json!(url));
    }
    project.set_settings(name, &Value::Object(document)).await?;
    let at = url.map(|url| format!(" at {url}")).unwrap_or_default();
    output::note(format!("The project asks {name}{at} with its own settings"));
    Ok(())
}

fn key(args: &Set) -> Result<Option<String>, CliError> {
    if args.no_key {
        return Ok(None);
    }
    if args.key_stdin {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| CliError::user(format!("cannot read the key: {error}")))?;
        return Ok(Some(text.trim().to_owned()));
    }
    let default = format!("{}_API_KEY", args.provider.text().to_uppercase());
    let variable = args.key_env.clone().unwrap_or(default);
    let key = settings::env(&variable).ok_or_else(|| {
        CliError::user(format!("{variable} is not set"))
            .hint("set it, name another variable with --key-env, or give the key with --key-stdin")
    })?;
    Ok(Some(key))
}

async fn set_budgets(project: &ProjectRest, file: &PathBuf) -> Result<(), CliError> {
    let cannot = |why: String| CliError::user(format!("cannot read {}: {why}", file.display()));
    let text = tokio::fs::read_to_string(file).await.map_err(|error| cannot(error.to_string()))?;
    let document: Value = serde_yaml::from_str(&text).map_err(|error| cannot(error.to_string()))?;
    project.set_settings(BUDGETS, &document).await?;
    output::note("Budgets are set");
    Ok(())
}

async fn show(project: &ProjectRest, name: &str) -> Result<(), CliError> {
    match project.settings(name).await? {
        Some(document) => output::json(&document),
        None => Err(CliError::user(format!("the project has no settings `{name}`"))),
    }
}

async fn forget(project: &ProjectRest, name: &str) -> Result<(), CliError> {
    project.delete_settings(name).await?;
    output::note(format!("Deleted settings: {name}"));
    Ok(())
}
