//! What became of a commit, told to its forge in the manner of GitHub (Gitea and Forgejo take the same).

use super::guard::{self, Allowed, Refused};
use serde_json::json;
use std::time::Duration;
use url::Url;

/// How long the forge may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Longest description that forges take, characters.
const DESCRIPTION_CHARS_MAX: usize = 140;

/// What is told of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    pub revision: String,
    pub good: bool,
    /// Whose word it is: one status of a commit per context.
    pub context: String,
    pub description: String,
}

/// Why the forge was not told. Never names the token.
#[derive(Debug, thiserror::Error)]
pub enum CommitStatusError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(
        "the forge at `{host}` would be told without encryption, and the token with it; write https, or have the operator \
         allow this host (`meshagent up --allow-host`)"
    )]
    Plain { host: String },
    #[error("the forge at `{host}` could not be told: {why}")]
    Unreachable { host: String, why: String },
    #[error("the forge at `{host}` answered with HTTP {status}")]
    Answered { host: String, status: u16 },
}

/// Tells the forge; `base` is the URL of the repository in its interface.
pub async fn send(
    base: &str,
    told: &CommitStatus,
    token: &str,
    allowed: &Allowed,
) -> Result<(), CommitStatusError> {
    let url = format!("{}/statuses/{}", base.trim_end_matches('/'), told.revision);
    let url = Url::parse(&url).map_err(|error| Refused::Invalid(format!("the url is no URL: {error}")))?;
    let target = guard::check_url(url, allowed).await?;
    let host = target.host().to_owned();
    let port = target.url.port_or_known_default().unwrap_or_default();
    if target.url.scheme() == "http" && !allowed.names(&host, port) {
        return Err(CommitStatusError::Plain { host });
    }
    let failed = |error: reqwest::Error| CommitStatusError::Unreachable {
        host: host.clone(),
        why: error.without_url().to_string(),
    };
    let client = target.client()?.timeout(ANSWER_WAIT).build().map_err(failed)?;
    let first = told.description.lines().next().unwrap_or_default();
    let description: String = first.chars().take(DESCRIPTION_CHARS_MAX).collect();
    let state = if told.good { "success" } else { "failure" };
    let body = json!({"state": state, "context": told.context, "description": description});
    let answer = client
        .post(target.url.clone())
        .bearer_auth(token)
        .header("Accept", "application/json")
        .header("User-Agent", "meshagent")
        .json(&body)
        .send()
        .await
        .map_err(failed)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(CommitStatusError::Answered { host, status: status.as_u16() })
}
