//! What became of mail that a mailbox sent.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use serde_json::Value;

const DELIVERIES: [&str; 6] = ["id", "recipient", "status", "attempt_count", "status_at", "description"];
const EVENTS: [&str; 6] = ["occurred_at", "event_type", "attempt_no", "smtp_code", "mx_host", "description"];

#[derive(Debug, clap::Args)]
pub struct Deliveries {
    address: String,
    /// Only those that stand so
    #[arg(long, value_parser = ["accepted", "deferred", "delivered", "failed"])]
    status: Option<String>,
    /// Only those to this address
    #[arg(long)]
    recipient: Option<String>,
    /// Only those of the message with this Message-ID
    #[arg(long)]
    message_id: Option<String>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Events {
    address: String,
    delivery_id: String,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Page {
    /// Most lines to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    count: u64,
    /// Lines to skip
    #[arg(long, default_value_t = 0)]
    offset: u64,
}

impl Page {
    fn query(&self) -> Vec<(&'static str, String)> {
        vec![("count", self.count.to_string()), ("offset", self.offset.to_string())]
    }
}

pub(super) async fn list(project: &ProjectRest, args: Deliveries) -> Result<(), CliError> {
    let mut query = args.page.query();
    let filters = [("status", args.status), ("recipient", args.recipient), ("message_id", args.message_id)];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let answer = project.mailbox_deliveries(&args.address, &query).await?;
    match args.output.output {
        Format::Json => output::json(&answer),
        Format::Table => table(&DELIVERIES, &answer["deliveries"]).print("No deliveries found."),
    }
}

pub(super) async fn one(project: &ProjectRest, address: &str, id: &str) -> Result<(), CliError> {
    let delivery = project.mailbox_delivery(address, id).await?;
    output::json(&delivery.ok_or_else(|| {
        CliError::user(format!("{address} has no delivery `{id}`"))
            .hint(format!("`meshagent mailbox deliveries {address}` shows those there are"))
    })?)
}

pub(super) async fn events(project: &ProjectRest, args: Events) -> Result<(), CliError> {
    let answer =
        project.mailbox_delivery_events(&args.address, &args.delivery_id, &args.page.query()).await?;
    match args.output.output {
        Format::Json => output::json(&answer),
        Format::Table => table(&EVENTS, &answer["events"]).print("No events found."),
    }
}

fn table(columns: &[&'static str], rows: &Value) -> Table {
    let mut table = Table::new(columns);
    rows.as_array().into_iter().flatten().for_each(|row| table.object(row));
    table
}
