//! Telemetry goes on to a collector of the operator's, tagged with where it came from, best effort.

use crate::id::SessionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use url::Url;

/// Requests that may wait for the collector; more are dropped and counted.
pub const WAITING_MAX: usize = 256;
/// How long the collector may take for one.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// One request as it came.
#[derive(Debug)]
struct Request {
    signal: &'static str,
    session: SessionId,
    body: Vec<u8>,
    is_json: bool,
}

/// The way to the collector; cheap to clone.
#[derive(Debug, Clone)]
pub struct Forward {
    waiting: mpsc::Sender<Request>,
    dropped: Arc<AtomicU64>,
}

impl Forward {
    /// Starts the worker, which ends with the last handle. `collector` is the base of its OTLP/HTTP endpoints.
    #[must_use]
    pub fn start(collector: Url) -> Self {
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(collector, inbox));
        Self { waiting, dropped: Arc::default() }
    }

    /// Takes a request; never waits.
    pub fn send(&self, signal: &'static str, session: SessionId, body: &[u8], is_json: bool) {
        let request = Request { signal, session, body: body.to_vec(), is_json };
        if self.waiting.try_send(request).is_err() && self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("the telemetry collector is too slow; some telemetry does not reach it");
        }
    }
}

async fn run(collector: Url, mut inbox: mpsc::Receiver<Request>) {
    let client = match reqwest::Client::builder().timeout(ANSWER_WAIT).build() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "telemetry cannot be forwarded"),
    };
    let base = collector.as_str().trim_end_matches('/').to_owned();
    let mut failing = false;
    while let Some(request) = inbox.recv().await {
        let kind = if request.is_json { "application/json" } else { "application/x-protobuf" };
        let sent = client
            .post(format!("{base}/v1/{}", request.signal))
            .header("content-type", kind)
            .header("x-meshagent-project", request.session.project().to_string())
            .header("x-meshagent-session", request.session.to_string())
            .body(request.body)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        match sent {
            Ok(_) => failing = false,
            // Said once per outage, not once per request.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = %error.without_url(), "the telemetry collector does not take telemetry");
            }
            Err(_) => {}
        }
    }
}
