//! Acts on the effects of a turn: asks the model, runs the tools.

use super::history::Item;
use super::provider::{Provider, Request};
use super::tools::Tools;
use super::turn::{Effect, Event, Failure, Limits, Outcome, Turn};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

/// What a turn works with.
pub struct Work<'a> {
    pub provider: &'a dyn Provider,
    pub model: &'a str,
    pub instructions: &'a str,
    pub tools: &'a Tools,
    pub limits: Limits,
    /// What the thread remembers.
    pub history: &'a [Item],
    pub cancel: &'a CancellationToken,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("model", &self.model).finish_non_exhaustive()
    }
}

/// Runs one turn to its end. The items are what the thread may remember; none unless the turn is done.
pub async fn run(work: &Work<'_>, input: Item) -> (Outcome, Vec<Item>) {
    let (mut turn, effects) = Turn::start(work.limits, input);
    let mut running: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
    let mut outcome = take(work, &turn, effects, &running);
    while outcome.is_none() {
        let event = tokio::select! {
            biased;
            () = work.cancel.cancelled() => Event::Cancelled,
            Some(event) = running.next() => event,
        };
        let effects = turn.on(event);
        outcome = take(work, &turn, effects, &running);
    }
    match outcome {
        Some(done @ Outcome::Done { .. }) => (done, turn.into_items()),
        Some(failed) => (failed, Vec::new()),
        None => (lost(), Vec::new()),
    }
}

fn lost() -> Outcome {
    Outcome::Failed(Failure { message: "the turn ended without an outcome".into(), code: "internal" })
}

/// Starts what the effects ask for; the outcome if there is one.
fn take<'a>(
    work: &'a Work<'a>,
    turn: &Turn,
    effects: Vec<Effect>,
    running: &FuturesUnordered<BoxFuture<'a, Event>>,
) -> Option<Outcome> {
    for effect in effects {
        match effect {
            Effect::AskModel => {
                let items = turn.items().to_vec();
                running.push(Box::pin(ask(work, items)));
            }
            Effect::RunTool(call) => running.push(Box::pin(async move {
                tracing::info!(tool = call.tool, "tool call");
                match work.tools.run(&call).await {
                    Ok(text) => Event::ToolFinished { call_id: call.id, text },
                    Err(failure) => Event::Failed(failure),
                }
            })),
            Effect::Finish(outcome) => return Some(outcome),
        }
    }
    None
}

async fn ask(work: &Work<'_>, turn: Vec<Item>) -> Event {
    let items: Vec<&Item> = work.history.iter().chain(&turn).collect();
    let tools: Vec<_> = work.tools.specs().cloned().collect();
    let request =
        Request { model: work.model, instructions: work.instructions, items: &items, tools: &tools };
    match work.provider.respond(request).await {
        Ok(response) => Event::Answered(response),
        Err(failure) => Event::Failed(failure),
    }
}
