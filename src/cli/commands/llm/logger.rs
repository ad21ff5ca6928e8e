//! `meshagent llm logger …`.

use crate::cli::commands::feed::annotations;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use serde_json::{Value, json};

/// Loggers: requests to models, published in a feed.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Have requests to models published in a feed
    #[command(after_help = "The filter is a JMESPath expression over the record of a request, such as\n  \
                            starts_with(model, 'gpt-') && usage.total_tokens > `1000`\n\
                            docs/feeds.md has the record's members. For example:\n  \
                            meshagent llm logger create --feed-id FEED --filter-expression 'status >= `400`'")]
    Create {
        /// Feed to publish in
        #[arg(long, visible_alias = "feed-id", value_name = "FEED")]
        destination_feed_id: String,
        /// Which requests are told of; empty: all
        #[arg(short, long, value_name = "JMESPATH")]
        filter_expression: String,
        /// Tells of nothing until it is resumed
        #[arg(long)]
        paused: bool,
        /// Notes, as a JSON object of texts
        #[arg(long, value_name = "JSON")]
        annotations: Option<String>,
    },
    /// Change a logger; what is not named stays
    Update {
        logger_id: String,
        /// Feed to publish in
        #[arg(long, visible_alias = "feed-id", value_name = "FEED")]
        destination_feed_id: Option<String>,
        /// Which requests are told of; empty: all
        #[arg(short, long, value_name = "JMESPATH")]
        filter_expression: Option<String>,
        /// Tell of nothing until it is resumed
        #[arg(long)]
        paused: bool,
        /// Tell again
        #[arg(long, conflicts_with = "paused")]
        resume: bool,
        /// Notes, as a JSON object of texts
        #[arg(long, value_name = "JSON")]
        annotations: Option<String>,
    },
    /// Show one logger
    Get { logger_id: String },
    /// List the loggers of the project
    List(OutputArgs),
    /// Delete a logger
    Delete { logger_id: String },
}

const COLUMNS: [&str; 4] = ["id", "destination_feed_id", "filter_expression", "paused"];

pub async fn run(project: &ProjectRest, command: Command) -> Result<(), CliError> {
    match command {
        Command::Create { destination_feed_id, filter_expression, paused, annotations: notes } => {
            let feed = feed(project, &destination_feed_id).await?;
            let body = json!({
                "destination_feed_id": feed, "filter_expression": filter_expression, "paused": paused,
                "annotations": annotations(notes.as_deref())?.unwrap_or_else(|| json!({})),
            });
            output::json(&project.create_llm_logger(&body).await?)
        }
        Command::Update {
            logger_id,
            destination_feed_id,
            filter_expression,
            paused,
            resume,
            annotations: notes,
        } => {
            let old = project.llm_logger(&logger_id).await?;
            let destination_feed_id = match destination_feed_id {
                Some(named) => Some(feed(project, &named).await?),
                None => None,
            };
            let or_old = |new: Option<String>, name: &str| new.map_or_else(|| old[name].clone(), Value::from);
            let body = json!({
                "destination_feed_id": or_old(destination_feed_id, "destination_feed_id"),
                "filter_expression": or_old(filter_expression, "filter_expression"),
                "paused": if paused || resume { json!(paused) } else { old["paused"].clone() },
                "annotations": annotations(notes.as_deref())?.unwrap_or_else(|| old["annotations"].clone()),
            });
            project.update_llm_logger(&logger_id, &body).await?;
            output::note(format!("Updated logger: {logger_id}"));
            Ok(())
        }
        Command::Get { logger_id } => output::json(&project.llm_logger(&logger_id).await?),
        Command::List(args) => {
            let loggers = project.llm_loggers().await?;
            match args.output {
                Format::Json => output::json(&json!({"loggers": loggers})),
                Format::Table => {
                    let mut table = Table::new(&COLUMNS);
                    loggers.iter().for_each(|logger| table.object(logger));
                    table.print("No LLM loggers found.")
                }
            }
        }
        Command::Delete { logger_id } => {
            project.delete_llm_logger(&logger_id).await?;
            output::note(format!("Deleted logger: {logger_id}"));
            Ok(())
        }
    }
}

/// Id of a feed by its id or name.
async fn feed(project: &ProjectRest, named: &str) -> Result<String, CliError> {
    let feed = project.feed(named).await?;
    Ok(feed["id"].as_str().unwrap_or(named).to_owned())
}
