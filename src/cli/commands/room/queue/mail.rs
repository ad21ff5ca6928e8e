//! `meshagent room queue send-mail`: an email for an agent, without a mail server.

use super::{QueueArgs, enter};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_builder::MessageBuilder;
use serde_json::json;
use std::path::PathBuf;

/// Longest attachment, bytes.
const ATTACHMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct SendMail {
    #[command(flatten)]
    target: QueueArgs,
    /// Subject
    #[arg(long)]
    subject: String,
    /// Address that it is from
    #[arg(long)]
    from: String,
    /// Text
    #[arg(long, default_value = "")]
    body: String,
    /// File to attach (repeatable)
    #[arg(long = "attachment", value_name = "FILE")]
    attachments: Vec<PathBuf>,
}

pub(super) async fn send(ctx: &Ctx, args: SendMail) -> Result<(), CliError> {
    let queue = args.target.queue.clone();
    let mut message =
        MessageBuilder::new().from(args.from).to(queue.clone()).subject(args.subject).text_body(args.body);
    for path in &args.attachments {
        let failed = |reason: String| CliError::user(format!("cannot attach {}: {reason}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > ATTACHMENT_BYTES_MAX {
            return Err(failed(format!("it has more than {ATTACHMENT_BYTES_MAX} bytes")));
        }
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = mime_guess::from_path(path).first_or_octet_stream().to_string();
        message = message.attachment(kind, name, bytes);
    }
    let bytes = message.write_to_vec().map_err(|error| CliError::internal(error.to_string()))?;
    let item = json!({"base64": STANDARD.encode(bytes)});
    enter(ctx, &args.target).await?.queues().send(&queue, true, item).await?;
    output::note(format!("Queued email message in {queue}."));
    Ok(())
}
