//! Models behind one trait: a thread and tools go in, what the model says comes out. One file or folder per provider.

pub mod echo;
pub mod openai;

use super::history::Item;
use super::tools::ToolSpec;
use super::turn::{Failure, Response};

/// One request to a model.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub model: &'a str,
    pub instructions: &'a str,
    /// The thread so far and the present turn, oldest first.
    pub items: &'a [&'a Item],
    pub tools: &'a [ToolSpec],
}

/// A source of answers. Retries what may pass by itself; an error is final for the turn.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    async fn respond(&self, request: Request<'_>) -> Result<Response, Failure>;
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), code: "model_error" }
}
