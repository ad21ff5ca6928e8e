//! One file or folder per noun; each has its clap types and a `run`. They use the clients and print, and know nothing
//! of the server's inside.

mod agent;
mod apply;
mod ask;
mod bench;
mod completion;
pub mod env;
mod events;
mod explain;
mod feed;
mod iam;
mod kubeconfig;
mod launch;
mod llm;
mod log;
mod mailbox;
mod mcp;
mod operator;
mod past;
mod pause;
mod port;
pub mod process;
mod project;
mod resource;
pub mod room;
mod rooms;
mod route;
mod scheduled_task;
mod secret;
mod server;
mod service;
mod service_account;
mod session;
mod setup;
mod source;
mod token;
pub mod up;
mod validate;
mod version;
mod voicebot;
mod webhook;
mod why;

use super::Cli;
use super::error::CliError;
use super::resolve::Ctx;

/// Every command.
#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once")]
pub enum Command {
    /// Run the whole platform on this machine, as one process
    Up(up::Args),
    /// Check the connection to a server and make it the default
    Setup,
    /// Print the environment that points other tools at the local server
    Env(env::Args),
    /// Projects: what holds rooms, services and keys
    #[command(subcommand)]
    Project(project::Command),
    /// Rooms: the live places where people, agents, tools and services meet
    #[command(subcommand)]
    Rooms(rooms::Command),
    /// Inside a room: queues, files, tools, messages, services, the log
    #[command(subcommand)]
    Room(room::Command),
    /// Files of a room or an agent (the same as `room storage`)
    #[command(subcommand)]
    Files(room::storage::Command),
    /// Ports of a room's containers as ports of this machine
    Port(port::Args),
    /// Services: what runs in a room, or in every room of a project
    #[command(subcommand)]
    Service(service::Command),
    /// Scheduled tasks: work put into queues at set times
    #[command(subcommand)]
    ScheduledTask(scheduled_task::Command),
    /// Mailboxes: mail that becomes work in a queue
    #[command(subcommand)]
    Mailbox(mailbox::Command),
    /// Routes: services and files of rooms that answer at domains
    #[command(subcommand)]
    Route(route::Command),
    /// Feeds: messages that rooms subscribe to
    #[command(subcommand)]
    Feed(feed::Command),
    /// Subscriptions: feeds that are written into files of a room
    #[command(subcommand)]
    Subscription(feed::Subscription),
    /// Webhooks: addresses that are called when rooms start and end
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Sessions: the runs of rooms
    #[command(subcommand)]
    Session(session::Command),
    /// Service accounts and their API keys
    #[command(subcommand)]
    ServiceAccount(service_account::Command),
    /// Roles of users in rooms
    #[command(subcommand)]
    Iam(iam::Command),
    /// Secrets: values that agents and services use without seeing them
    #[command(subcommand)]
    Secret(secret::Command),
    /// Git sources: repositories whose documents the server keeps applied
    #[command(subcommand, visible_alias = "sources")]
    Source(source::Command),
    /// Create or change resources so that they are as documents say
    Apply(apply::Args),
    /// Show what `apply` would change, before it does
    Diff(apply::DiffArgs),
    /// Show who changed what of a resource, and when
    History(past::HistoryArgs),
    /// Bring back what was applied, as it was at a moment
    Rollback(past::RollbackArgs),
    /// Write every resource of the project as a file
    Export(past::ExportArgs),
    /// Say why a resource is not ready
    Why(why::WhyArgs),
    /// Have the server leave a resource alone, while what runs goes on
    Pause(pause::Args),
    /// Have the server work on a paused resource again
    Resume(pause::Args),
    /// Explain how things came to be as they are
    #[command(subcommand)]
    Explain(explain::Command),
    /// Show what needs what
    Graph(why::GraphArgs),
    /// List resources of a kind, or show one
    Get(resource::GetArgs),
    /// Show one resource with its state and what happened to it
    Describe(resource::DescribeArgs),
    /// Delete a resource
    Delete(resource::DeleteArgs),
    /// Wait until a resource is ready, or gone
    Wait(resource::WaitArgs),
    /// Check documents without a server
    Validate(validate::Args),
    /// Print the JSON Schema of a kind of document
    Schema(validate::SchemaArgs),
    /// Mint a participant token from a file
    Token(token::Args),
    /// Show the log of facts: what was asked for and what was seen
    Events(events::Args),
    /// Measure beside peers, and try crashes
    #[command(subcommand)]
    Bench(bench::Command),
    /// Ask a model, by way of the server
    Ask(ask::Args),
    /// Models by way of the server: providers, budgets, usage
    #[command(subcommand)]
    Llm(llm::Command),
    /// Start Codex or Claude Code with their models by way of the server
    #[command(subcommand)]
    Launch(launch::Command),
    /// Check, export or import the whole log, offline
    #[command(subcommand)]
    Log(log::Command),
    /// MCP servers as toolkits of a room, and toolkits of a room for MCP clients
    #[command(subcommand)]
    Mcp(mcp::Command),
    /// Managed agents: agents that the server runs by itself
    #[command(subcommand, visible_alias = "agents")]
    Agent(agent::Command),
    /// Servers that share a database: list them, and move rooms off one
    #[command(subcommand, visible_alias = "servers")]
    Server(server::Command),
    /// Keep a server as the custom resources of a Kubernetes cluster say
    Operator(operator::Args),
    /// Print a kubeconfig with which kubectl works on this server
    Kubeconfig(kubeconfig::Args),
    /// Run, describe and deploy process-backed agents
    #[command(subcommand)]
    Process(process::Command),
    /// Agents to speak with
    #[command(subcommand)]
    Voicebot(voicebot::Command),
    /// Print the versions of this program and of the server
    Version,
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// Runs one command.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    let globals = cli.globals;
    let ctx = |globals| Ctx::load(globals);
    match cli.command {
        Command::Up(args) => {
            super::telemetry::init();
            up::run(args).await
        }
        Command::Setup => setup::run(&ctx(globals)?).await,
        Command::Env(args) => env::run(args),
        Command::Project(command) => project::run(&ctx(globals)?, command).await,
        Command::Rooms(command) => rooms::run(&ctx(globals)?, command).await,
        Command::Files(command) => room::storage::run(&ctx(globals)?, command).await,
        Command::Room(command) => room::run(&ctx(globals)?, command).await,
        Command::Port(args) => port::run(&ctx(globals)?, args).await,
        Command::Service(command) => service::run(&ctx(globals)?, command).await,
        Command::Server(command) => server::run(&ctx(globals)?, command).await,
        Command::Source(command) => source::run(&ctx(globals)?, command).await,
        Command::Apply(args) => apply::run(&ctx(globals)?, args).await,
        Command::Diff(args) => apply::diff(&ctx(globals)?, args).await,
        Command::History(args) => past::history(&ctx(globals)?, args).await,
        Command::Rollback(args) => past::rollback(&ctx(globals)?, args).await,
        Command::Export(args) => past::export(&ctx(globals)?, args).await,
        Command::Why(args) => why::why(&ctx(globals)?, args).await,
        Command::Pause(args) => pause::run(&ctx(globals)?, args, true).await,
        Command::Resume(args) => pause::run(&ctx(globals)?, args, false).await,
        Command::Explain(command) => explain::run(&ctx(globals)?, command).await,
        Command::Graph(args) => why::graph(&ctx(globals)?, args).await,
        Command::Get(args) => resource::get(&ctx(globals)?, args).await,
        Command::Describe(args) => resource::describe(&ctx(globals)?, args).await,
        Command::Delete(args) => resource::delete(&ctx(globals)?, args).await,
        Command::Wait(args) => resource::wait(&ctx(globals)?, args).await,
        Command::Validate(args) => validate::run(args).await,
        Command::Schema(args) => validate::print_schema(args),
        Command::ScheduledTask(command) => scheduled_task::run(&ctx(globals)?, command).await,
        Command::Mailbox(command) => mailbox::run(&ctx(globals)?, command).await,
        Command::Route(command) => route::run(&ctx(globals)?, command).await,
        Command::Feed(command) => feed::run(&ctx(globals)?, command).await,
        Command::Subscription(command) => feed::run_subscription(&ctx(globals)?, command).await,
        Command::Webhook(command) => webhook::run(&ctx(globals)?, command).await,
        Command::Session(command) => session::run(&ctx(globals)?, command).await,
        Command::ServiceAccount(command) => service_account::run(&ctx(globals)?, command).await,
        Command::Iam(command) => iam::run(&ctx(globals)?, command).await,
        Command::Secret(command) => secret::run(&ctx(globals)?, command).await,
        Command::Token(args) => token::run(&ctx(globals)?, args).await,
        Command::Events(args) => events::run(&ctx(globals)?, args).await,
        Command::Bench(command) => bench::run(command).await,
        Command::Ask(args) => ask::run(&ctx(globals)?, args).await,
        Command::Llm(command) => llm::run(&ctx(globals)?, command).await,
        Command::Launch(command) => launch::run(&ctx(globals)?, command),
        Command::Log(command) => log::run(command).await,
        Command::Mcp(command) => mcp::run(globals, command).await,
        Command::Agent(command) => agent::run(globals, command).await,
        Command::Operator(args) => operator::run(globals, args).await,
        Command::Kubeconfig(args) => kubeconfig::run(globals, args).await,
        Command::Process(command) => process::run(globals, command).await,
        Command::Voicebot(command) => voicebot::run(globals, command).await,
        Command::Version => version::run(&ctx(globals)?).await,
        Command::Completion(args) => completion::run(&args),
    }
}
