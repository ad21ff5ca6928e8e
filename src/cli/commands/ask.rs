//! `meshagent ask`: a question to a model, by way of the server or at a provider's own address; without a room.

use super::process::config::{EndpointsEnv, Limits, endpoints};
use super::process::talk::input;
use crate::agent::history::{Item, Part, trim};
use crate::agent::model::{DEFAULT_MODEL, ModelId};
use crate::agent::provider::{Providers, Request, SAYINGS_MAX, Said, Say};
use crate::agent::turn::{Failure, Response};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::cli::{output, settings};
use crate::clock::{IdSource, System};
use clap::ValueEnum;
use pulldown_cmark::{Event, Options, Parser, TagEnd};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the model is told about the place.
const RULES: &str = "You answer one person at a terminal. Be brief and exact; write Markdown.";
/// The rule about notes before the work.
const PREAMBLE: &str = "Before a long answer, say in one short sentence what you are about to do.";

/// `ask`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Ask this, print the answer and leave; what is piped in is asked likewise
    #[arg(short = 'm', long, value_name = "TEXT")]
    message: Option<String>,

    /// How the answer is printed: as the model writes it, or without its marks
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,

    /// The model: NAME or PROVIDER/NAME
    #[arg(long, default_value = DEFAULT_MODEL, value_name = "MODEL")]
    model: String,

    /// Let the model say what it is about to do [default]
    #[arg(long, overrides_with = "no_preamble_rule")]
    preamble_rule: bool,

    #[arg(long, hide = true)]
    no_preamble_rule: bool,
}

/// `--format`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Markdown,
    Text,
}

/// Asks once, or talks until the person leaves.
pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let message = input::message(args.message.as_ref()).await?;
    let model: ModelId = args
        .model
        .parse()
        .map_err(|error: crate::agent::model::InvalidModel| CliError::usage(error.to_string()))?;
    if !model.is_supported() || model.is_program() {
        return Err(CliError::usage(format!("this version has no provider for {model}")));
    }
    let key = settings::env("MESHAGENT_TOKEN").or_else(|| ctx.api_key().map(|key| key.expose().to_owned()));
    let limits = Limits { key: key.unwrap_or_default(), api_url: ctx.api_url().ok(), ..Limits::default() };
    let ids: Arc<dyn IdSource> = Arc::new(System);
    let providers =
        Providers::new(&endpoints(&limits, &EndpointsEnv::read(settings::env)), &Arc::default(), &ids);
    let mut talk =
        Talk { providers, model, format: args.format, preamble: !args.no_preamble_rule, past: Vec::new() };
    if let Some(message) = message {
        return talk.ask(message).await;
    }
    output::note("Type a question. Ctrl-C stops an answer, Ctrl-D leaves.");
    let mut lines = input::lines();
    while let Some(line) = lines.recv().await {
        let asked = line.trim();
        match asked {
            "" => continue,
            "/exit" | "/quit" => break,
            "/new" => talk.past.clear(),
            _ => {
                tokio::select! {
                    answered = talk.ask(asked.to_owned()) => {
                        if let Err(error) = answered {
                            output::failure(&error);
                        }
                    }
                    _ = tokio::signal::ctrl_c() => output::note("\nStopped."),
                }
            }
        }
    }
    Ok(())
}

struct Talk {
    providers: Providers,
    model: ModelId,
    format: Format,
    preamble: bool,
    past: Vec<Item>,
}

impl Talk {
    /// Asks, prints the answer, and remembers both.
    async fn ask(&mut self, text: String) -> Result<(), CliError> {
        let asked = Item::User(vec![Part::Text(text)]);
        let (say, mut heard) = mpsc::channel(SAYINGS_MAX);
        let mut shown = false;
        let response = {
            let response = self.respond(&asked, Say::new(say));
            tokio::pin!(response);
            loop {
                tokio::select! {
                    biased;
                    Some(said) = heard.recv() => shown |= self.show(said)?,
                    response = &mut response => break response,
                }
            }
        };
        while let Ok(said) = heard.try_recv() {
            shown |= self.show(said)?;
        }
        let response = response.map_err(|failure| CliError::server(failure.to_string()))?;
        self.end(&response, shown)?;
        self.past.push(asked);
        self.past.extend(response.items);
        trim(&mut self.past);
        Ok(())
    }

    async fn respond(&self, asked: &Item, say: Say) -> Result<Response, Failure> {
        let items: Vec<&Item> = self.past.iter().chain([asked]).collect();
        let instructions = if self.preamble { format!("{RULES}\n{PREAMBLE}") } else { RULES.to_owned() };
        let request = Request {
            model: &self.model.name,
            instructions: &instructions,
            items: &items,
            tools: &[],
            answer_schema: None,
            web_search: false,
        };
        self.providers.of(&self.model).respond(request, &say).await
    }

    /// Prints what comes in; whether that was a part of the answer.
    fn show(&self, said: Said) -> Result<bool, CliError> {
        match said {
            Said::Text { delta, .. } if self.format == Format::Markdown => {
                output::data(&delta)?;
                return Ok(!delta.is_empty());
            }
            Said::Restart => output::note("\nThe answer broke off; it begins anew."),
            _ => {}
        }
        Ok(false)
    }

    /// Prints what was not printed yet.
    fn end(&self, response: &Response, shown: bool) -> Result<(), CliError> {
        if shown {
            return output::line("");
        }
        let texts = response.items.iter().filter_map(|item| match item {
            Item::Answer { text, .. } => Some(text.as_str()),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n\n");
        output::line(if self.format == Format::Text { plain(&text) } else { text })
    }
}

/// Markdown without its marks.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Text(piece) | Event::Code(piece) | Event::InlineHtml(piece) | Event::Html(piece) => {
                text.push_str(&piece)
            }
            Event::SoftBreak | Event::HardBreak => text.push('\n'),
            Event::End(TagEnd::TableCell) => text.push('\t'),
            Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => text.push('\n'),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::List(_)) => {
                text.push_str("\n\n")
            }
            _ => {}
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_left_out_and_words_are_not() {
        let text = plain("# Title\n\nSome **bold** `code`.\n\n- one\n- two\n\n```rs\nlet x = 1;\n```\n");
        assert_eq!(text, "Title\n\nSome bold code.\n\none\ntwo\n\n\nlet x = 1;");
    }
}
