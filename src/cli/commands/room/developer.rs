//! `meshagent room developer`: the room's developer log.

use super::connect;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{Answer, Target};
use crate::wire::Content;
use clap::ValueEnum;
use serde_json::{Value, json};

/// How a line of the log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// A line of text
    Plain,
    /// A JSON object on one line
    Json,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    room: RoomArg,
    /// How to print a line
    #[arg(long, value_enum, default_value = "plain")]
    format: LineFormat,
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let client = connect(ctx, args.room.name()?).await?;
    let mut call = client.start(&Target::new("developer", "logs"), None).await?;
    if let Answer::Unary(content) = call.answer().await? {
        return Err(CliError::server(format!("the room answered {content:?} where a stream was due")));
    }
    output::note("Following the developer log; Ctrl-C ends.");
    loop {
        tokio::select! {
            stop = tokio::signal::ctrl_c() => {
                stop?;
                return Ok(());
            }
            item = call.next() => match item? {
                Some(item) => print(item, args.format)?,
                None => return Ok(()),
            },
        }
    }
}

fn print(item: Content, format: LineFormat) -> Result<(), CliError> {
    let Content::Binary { headers, data } = item else { return Ok(()) };
    let kind = headers.get("type").and_then(Value::as_str).unwrap_or("log");
    let body: Value = serde_json::from_slice(&data).unwrap_or(Value::Null);
    match format {
        LineFormat::Json => output::line(json!({"type": kind, "data": body}).to_string()),
        LineFormat::Plain => output::line(plain(kind, &body)),
    }
}

/// `kind message key=value…`.
fn plain(kind: &str, body: &Value) -> String {
    let Some(object) = body.as_object() else { return format!("{kind} {body}") };
    // The server's own lines say what they are in a field; what is in `resourceLogs` is the same once more.
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or(kind);
    let message = object.get("message").map_or_else(String::new, |message| output::cell(Some(message)));
    let others = object.iter().filter(|(key, value)| {
        !["message", "kind", "resourceLogs"].contains(&key.as_str()) && !value.is_null()
    });
    let extra: Vec<String> =
        others.map(|(key, value)| format!("{key}={}", output::cell(Some(value)))).collect();
    [kind.to_owned(), message, extra.join(" ")].join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::plain;
    use serde_json::json;

    #[test]
    fn a_line_says_what_then_the_rest() {
        let line = plain("info", &json!({"message": "started", "extra": null, "pid": 7}));
        assert_eq!(line, "info started pid=7");
        let own = json!({"kind": "error", "message": "broke", "n": 3, "resourceLogs": [{}]});
        assert_eq!(plain("otel.log", &own), "error broke n=3");
    }
}
